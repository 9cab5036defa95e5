#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/ident.h"
#include "base/memory.h"
#include "catalog/virtual_ip.h"
#include "config/envoy_json.h"
#include "proto/proto.h"

#define SERF_CHECK "serfHealth"
#define META_PAIRS_MAX 64
#define META_KEY_MAX 128
#define META_VALUE_MAX 512

struct tenancy catalog_node_tenancy(const Pb__Node *node)
{
    return table_tenancy(TABLE_NODE, node);
}

struct tenancy catalog_service_tenancy(const Pb__NodeService *service)
{
    return table_tenancy(TABLE_SERVICE, service);
}

struct tenancy catalog_check_tenancy(const Pb__HealthCheck *check)
{
    return table_tenancy(TABLE_CHECK, check);
}

/* ---- nodes ---- */

static const void *find(struct txn *txn, enum table table, const struct buffer *key)
{
    const struct record *record = view_get(txn_view(txn), table, key);
    return record == NULL ? NULL : record->message;
}

static bool is_alive(struct txn *txn, const struct tenancy *tenancy, const char *node)
{
    struct buffer key = {0};
    const Pb__HealthCheck *serf =
        find(txn, TABLE_CHECK, key_check(&key, tenancy, node, SERF_CHECK));
    buffer_free(&key);
    return serf != NULL && !text_equal(serf->status, "critical");
}

/* A name belongs to the node that has it as long as that lives; an id goes with its new name. */
static bool claim_name(struct txn *txn, const struct tenancy *tenancy, const Pb__Node *node,
                       struct error *error)
{
    struct buffer key = {0};
    size_t count;
    const struct record *const *same_id = view_list(txn_view(txn), TABLE_NODE, NODE_BY_ID,
                                                    key_named(&key, tenancy, node->id), &count);
    const Pb__Node *former = count == 0 ? NULL : same_id[0]->message;
    const Pb__Node *holder = find(txn, TABLE_NODE, key_node(&key, tenancy, node->node));
    buffer_free(&key);
    if (holder != NULL && !text_equal_nocase(holder->id, node->id) &&
        !(text_empty(holder->id) && former == NULL) && is_alive(txn, tenancy, holder->node))
        return error_set(error, ERR_INTERNAL,
                         "Error while renaming Node ID: \"%s\": Node name %s is reserved by node "
                         "%s with name %s (%s)",
                         node->id, node->node, holder->id, holder->node, holder->address);
    if (former != NULL && !text_equal_nocase(former->node, node->node))
        catalog_delete_node(txn, tenancy, former->node);
    return true;
}

bool catalog_put_node(struct txn *txn, const Pb__Node *node, struct error *error)
{
    struct tenancy tenancy = catalog_node_tenancy(node);
    if (text_empty(node->node))
        return error_set(error, ERR_INVALID, "Must provide node and address");
    if (!text_empty(node->id)) {
        if (!uuid_valid(node->id))
            return error_set(error, ERR_INVALID, "Bad node ID: \"%s\" is not a UUID", node->id);
        if (!claim_name(txn, &tenancy, node, error))
            return false;
    }
    txn_put(txn, TABLE_NODE, node);
    return true;
}

void catalog_delete_node(struct txn *txn, const struct tenancy *tenancy, const char *node)
{
    struct buffer key = {0};
    key_node(&key, tenancy, node);
    size_t count;
    const struct record *const *list =
        view_list(txn_view(txn), TABLE_SERVICE, SERVICE_BY_NODE, &key, &count);
    for (size_t i = 0; i < count; i++) {
        const Pb__NodeService *service = list[i]->message;
        struct tenancy of_service = catalog_service_tenancy(service);
        catalog_delete_service(txn, &of_service, service->node, service->id);
    }
    list = view_list(txn_view(txn), TABLE_CHECK, CHECK_BY_NODE, &key, &count);
    for (size_t i = 0; i < count; i++) {
        const Pb__HealthCheck *check = list[i]->message;
        struct tenancy of_check = catalog_check_tenancy(check);
        catalog_delete_check(txn, &of_check, check->node, check->check_id);
    }
    txn_delete(txn, TABLE_NODE, &key);
    buffer_free(&key);
}

/* ---- services ---- */

/* The service that the instance makes reachable in the mesh, or NULL. */
static const char *reachable(const Pb__NodeService *service)
{
    if (text_equal(service->kind, "connect-proxy") && service->proxy != NULL)
        return service->proxy->destination_service_name;
    if (service->connect != NULL && service->connect->native)
        return service->service;
    return NULL;
}

static const char *bad_meta(const char *key, const char *value)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    if (text_empty(key))
        return "Key cannot be blank";
    if (key[strspn(key, allowed)] != '\0')
        return "Key contains invalid characters";
    if (strlen(key) > META_KEY_MAX)
        return "Key is too long (limit: 128 characters)";
    if (text_starts(key, "consul-") && strcmp(key, "consul-wan-federation") != 0)
        return "Key prefix 'consul-' is reserved for internal use";
    if (strlen(value) > META_VALUE_MAX)
        return "Value is too long (limit: 512 characters)";
    return NULL;
}

static bool validate_meta(const Pb__NodeService *service, struct error *error)
{
    if (service->n_meta > META_PAIRS_MAX)
        return error_set(error, ERR_INVALID,
                         "Invalid Service Meta for node %s and serviceID %s: Node metadata cannot "
                         "contain more than %d key/value pairs",
                         service->node, service->id, META_PAIRS_MAX);
    for (size_t i = 0; i < service->n_meta; i++) {
        const char *key = service->meta[i]->key, *value = service->meta[i]->value;
        const char *why = bad_meta(key, value);
        if (why != NULL)
            return error_set(error, ERR_INVALID,
                             "Invalid Service Meta for node %s and serviceID %s: Couldn't load "
                             "metadata pair ('%s', '%s'): %s",
                             service->node, service->id, key, value, why);
    }
    return true;
}

static bool validate_expose(const Pb__ConnectProxyConfig *proxy, struct error *error)
{
    const Pb__ExposeConfig *expose = proxy->expose;
    for (size_t i = 0; expose != NULL && i < expose->n_paths; i++) {
        const Pb__ExposePath *path = expose->paths[i];
        if (text_empty(path->path))
            return error_set(error, ERR_INVALID, "expose.paths: empty path exposed");
        if (path->listener_port < 1 || path->listener_port > 65535)
            return error_set(error, ERR_INVALID, "expose.paths: invalid listener port: %d",
                             path->listener_port);
        if (path->local_path_port < 0 || path->local_path_port > 65535)
            return error_set(error, ERR_INVALID, "expose.paths: invalid local path port: %d",
                             path->local_path_port);
        if (!text_empty(path->protocol) && !text_equal_nocase(path->protocol, "http") &&
            !text_equal_nocase(path->protocol, "http2"))
            return error_set(error, ERR_INVALID,
                             "protocol '%s' not supported for path: %s, must be in: [http http2]",
                             path->protocol, path->path);
        for (size_t j = 0; j < i; j++) {
            if (expose->paths[j]->listener_port == path->listener_port)
                return error_set(error, ERR_INVALID,
                                 "expose.paths: duplicate listener ports exposed");
        }
    }
    return true;
}

/* What a peer sends has been through its own cluster's rules. */
static bool validate_local(const Pb__NodeService *service, struct error *error)
{
    if (text_equal(service->address, "0.0.0.0") || text_equal(service->address, "::"))
        return error_set(error, ERR_INVALID, "Invalid service address");
    if (text_equal(service->kind, "connect-proxy")) {
        if (service->proxy == NULL || text_empty(service->proxy->destination_service_name))
            return error_set(error, ERR_INVALID,
                             "Proxy.DestinationServiceName must be non-empty for Connect proxy "
                             "services");
        if (strcmp(service->proxy->destination_service_name, "*") == 0)
            return error_set(
                error, ERR_INVALID,
                "Proxy.DestinationServiceName must not be a wildcard for Connect proxy "
                "services");
        if (service->port == 0 && text_empty(service->socket_path))
            return error_set(error, ERR_INVALID,
                             "Port or SocketPath must be set for a Connect proxy");
        if (text_equal(service->proxy->mode, "transparent"))
            return error_set(error, ERR_INVALID,
                             "Proxy.Mode \"transparent\" of %s is not supported by this version of "
                             "Pons: leave it out or use direct",
                             service->id);
        if (!validate_expose(service->proxy, error))
            return false;
    } else if (text_ends(service->kind, "-gateway") && service->proxy != NULL) {
        if (!text_empty(service->proxy->destination_service_name))
            return error_set(error, ERR_INVALID,
                             "The Proxy.DestinationServiceName configuration is invalid for a %s",
                             service->kind);
    }
    if (service->proxy != NULL && !config_check_envoy_json(service->proxy->config, error)) {
        error_prefix(error, "service \"%s\": Proxy.Config: ", service->id);
        return false;
    }
    return true;
}

static bool validate_service(const Pb__NodeService *service, struct error *error)
{
    if (text_empty(service->id) || text_empty(service->service))
        return error_set(error, ERR_INVALID, "Must provide service name (Service.Service) with ID");
    if (service->port < 0 || service->port > 65535)
        return error_set(error, ERR_INVALID, "service \"%s\": port %d is not between 0 and 65535",
                         service->id, service->port);
    return validate_meta(service, error) &&
           (!text_empty(service->peer_name) || validate_local(service, error));
}

/* Adds or replaces; the array has room. */
static void tag_address(Pb__NodeService *service, const char *tag, const char *address,
                        bool replace, struct arena *arena)
{
    size_t at = 0;
    while (at < service->n_tagged_addresses && strcmp(service->tagged_addresses[at]->key, tag) != 0)
        at++;
    if (at < service->n_tagged_addresses && !replace)
        return;
    Pb__NodeService__TaggedAddressesEntry *entry =
        proto_new(arena, pb__node_service__tagged_addresses_entry);
    entry->key = arena_strdup(arena, tag);
    entry->value = proto_new(arena, pb__service_address);
    entry->value->address = arena_strdup(arena, address);
    entry->value->port = service->port;
    service->tagged_addresses[at] = entry;
    if (at == service->n_tagged_addresses)
        service->n_tagged_addresses++;
}

/* Consul's agent names a literal address by its family; its catalog does not. */
static void tag_by_family(Pb__NodeService *service, struct arena *arena)
{
    unsigned char bytes[sizeof(struct in6_addr)];
    bool is_v4 = inet_pton(AF_INET, service->address, bytes) == 1;
    if (!is_v4 && inet_pton(AF_INET6, service->address, bytes) != 1)
        return;
    tag_address(service, is_v4 ? "lan_ipv4" : "lan_ipv6", service->address, false, arena);
    tag_address(service, is_v4 ? "wan_ipv4" : "wan_ipv6", service->address, false, arena);
}

static bool fill_service(struct txn *txn, Pb__NodeService *service, struct arena *arena,
                         struct error *error)
{
    if (service->weights == NULL) {
        service->weights = proto_new(arena, pb__weights);
        service->weights->passing = service->weights->warning = 1;
    }
    Pb__NodeService__TaggedAddressesEntry **room =
        proto_array(arena, service->n_tagged_addresses + 3);
    if (service->n_tagged_addresses > 0)
        memcpy(room, service->tagged_addresses, service->n_tagged_addresses * sizeof *room);
    service->tagged_addresses = room;
    if (service->registered_by_agent)
        tag_by_family(service, arena);
    const char *name = reachable(service);
    if (text_empty(name))
        return true;
    struct tenancy tenancy = catalog_service_tenancy(service);
    const char *address = virtual_ip_need(txn, &tenancy, name, arena, error);
    if (address != NULL)
        tag_address(service, "consul-virtual", address, true, arena);
    return address != NULL;
}

static bool same_tags(const Pb__HealthCheck *check, const Pb__NodeService *service)
{
    if (check->n_service_tags != service->n_tags)
        return false;
    for (size_t i = 0; i < service->n_tags; i++) {
        if (strcmp(check->service_tags[i], service->tags[i]) != 0)
            return false;
    }
    return true;
}

/* Checks carry their service's name and tags. */
static void refresh_checks(struct txn *txn, const Pb__NodeService *service)
{
    struct tenancy tenancy = catalog_service_tenancy(service);
    struct buffer key = {0};
    size_t count;
    const struct record *const *list =
        view_list(txn_view(txn), TABLE_CHECK, CHECK_BY_INSTANCE,
                  key_service(&key, &tenancy, service->node, service->id), &count);
    buffer_free(&key);
    for (size_t i = 0; i < count; i++) {
        Pb__HealthCheck check = *(const Pb__HealthCheck *)list[i]->message;
        if (text_equal(check.service_name, service->service) && same_tags(&check, service))
            continue;
        check.service_name = service->service;
        check.service_tags = service->tags;
        check.n_service_tags = service->n_tags;
        txn_put(txn, TABLE_CHECK, &check);
    }
}

/* `old` is what was there before, or NULL. */
static void replace_service(struct txn *txn, const Pb__NodeService *old,
                            const Pb__NodeService *service)
{
    struct tenancy tenancy = catalog_service_tenancy(service);
    txn_put(txn, TABLE_SERVICE, service);
    if (old == NULL)
        return;
    const char *name = reachable(old);
    if (!text_empty(name) && !text_equal_nocase(name, reachable(service)))
        virtual_ip_release(txn, &tenancy, name);
    refresh_checks(txn, service);
}

bool catalog_put_service(struct txn *txn, const Pb__NodeService *given, struct error *error)
{
    Pb__NodeService service = *given; /* its parts stay the caller's */
    if (text_empty(service.id))
        service.id = service.service;
    if (!validate_service(&service, error))
        return false;
    struct tenancy tenancy = catalog_service_tenancy(&service);
    struct buffer key = {0};
    bool good =
        find(txn, TABLE_NODE, key_node(&key, &tenancy, service.node)) != NULL ||
        error_set(error, ERR_NOT_FOUND, "Missing node registration: node \"%s\"", service.node);
    const Pb__NodeService *old =
        find(txn, TABLE_SERVICE, key_service(&key, &tenancy, service.node, service.id));
    buffer_free(&key);
    struct arena *arena = arena_new();
    good = good && fill_service(txn, &service, arena, error);
    if (good)
        replace_service(txn, old, &service);
    arena_free(arena);
    return good;
}

void catalog_delete_service(struct txn *txn, const struct tenancy *tenancy, const char *node,
                            const char *service_id)
{
    struct buffer key = {0};
    const Pb__NodeService *service =
        find(txn, TABLE_SERVICE, key_service(&key, tenancy, node, service_id));
    if (service != NULL) {
        size_t count;
        const struct record *const *checks =
            view_list(txn_view(txn), TABLE_CHECK, CHECK_BY_INSTANCE, &key, &count);
        txn_delete(txn, TABLE_SERVICE, &key);
        for (size_t i = 0; i < count; i++)
            catalog_delete_check(txn, tenancy, node,
                                 ((const Pb__HealthCheck *)checks[i]->message)->check_id);
        const char *name = reachable(service);
        if (!text_empty(name))
            virtual_ip_release(txn, tenancy, name);
    }
    buffer_free(&key);
}

/* ---- checks ---- */

/* Fills in what comes from the service. */
static bool fill_check(struct txn *txn, Pb__HealthCheck *check, struct error *error)
{
    struct tenancy tenancy = catalog_check_tenancy(check);
    if (text_empty(check->service_id)) {
        check->service_name = (char *)"";
        check->n_service_tags = 0;
        return true;
    }
    struct buffer key = {0};
    const Pb__NodeService *service =
        find(txn, TABLE_SERVICE, key_service(&key, &tenancy, check->node, check->service_id));
    buffer_free(&key);
    if (service == NULL)
        return error_set(error, ERR_NOT_FOUND, "Unknown service ID '%s' for check ID '%s'",
                         check->service_id, check->check_id);
    check->service_name = service->service;
    check->service_tags = service->tags;
    check->n_service_tags = service->n_tags;
    return true;
}

bool catalog_put_check(struct txn *txn, const Pb__HealthCheck *given, struct error *error)
{
    Pb__HealthCheck check = *given;
    if (text_empty(check.check_id))
        check.check_id = check.name;
    if (text_empty(check.check_id))
        return error_set(error, ERR_INVALID, "Must provide a check ID or name: node \"%s\"",
                         check.node);
    if (text_empty(check.status))
        check.status = (char *)"critical";
    struct tenancy tenancy = catalog_check_tenancy(&check);
    struct buffer key = {0};
    bool node_known = find(txn, TABLE_NODE, key_node(&key, &tenancy, check.node)) != NULL;
    buffer_free(&key);
    if (!node_known)
        return error_set(error, ERR_NOT_FOUND, "Missing node registration: node \"%s\"",
                         check.node);
    if (!fill_check(txn, &check, error))
        return false;
    txn_put(txn, TABLE_CHECK, &check);
    return true;
}

void catalog_delete_check(struct txn *txn, const struct tenancy *tenancy, const char *node,
                          const char *check_id)
{
    struct buffer key = {0};
    txn_delete(txn, TABLE_CHECK, key_check(&key, tenancy, node, check_id));
    buffer_free(&key);
}
