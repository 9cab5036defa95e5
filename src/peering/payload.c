#include "peering/payload.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "ca/authority.h"
#include "ca/spiffe.h"
#include "chain/chain.h"
#include "config/entry.h"
#include "peering/resource.h"
#include "proto/proto.h"

#define TEXT(text) ((char *)(uintptr_t)(text))

static struct tenancy tenancy_of(const struct export_scope *scope)
{
    return (struct tenancy){.partition = scope->partition};
}

static char *keep(struct arena *arena, char *fresh)
{
    char *copy = arena_strdup(arena, fresh);
    free(fresh);
    return copy;
}

Ps__ExportedServiceList *payload_list(const struct text_list *services, struct arena *arena)
{
    Ps__ExportedServiceList *list = proto_new(arena, ps__exported_service_list);
    list->n_services = services->count;
    list->services = services->items;
    return list;
}

/* ---- one instance ---- */

/* Copies are shallow: strings and lists are the stored record's, which outlives the turn. */
static Pb__Node *copy_node(const Pb__Node *stored, struct arena *arena)
{
    Pb__Node *node = proto_new(arena, pb__node);
    node->id = stored->id;
    node->node = stored->node;
    node->address = stored->address;
    node->datacenter = stored->datacenter;
    node->n_tagged_addresses = stored->n_tagged_addresses;
    node->tagged_addresses = stored->tagged_addresses;
    node->n_meta = stored->n_meta;
    node->meta = stored->meta;
    node->locality = stored->locality;
    return node;
}

static void copy_tagged_addresses(const Pb__NodeService *stored, Pb__NodeService *service,
                                  struct arena *arena)
{
    service->tagged_addresses = proto_array(arena, stored->n_tagged_addresses);
    for (size_t i = 0; i < stored->n_tagged_addresses; i++) {
        if (strcmp(stored->tagged_addresses[i]->key, "consul-virtual") != 0)
            service->tagged_addresses[service->n_tagged_addresses++] = stored->tagged_addresses[i];
    }
}

static Pb__NodeService *copy_address(const Pb__NodeService *stored, struct arena *arena)
{
    Pb__NodeService *service = proto_new(arena, pb__node_service);
    service->address = stored->address;
    service->port = stored->port;
    service->socket_path = stored->socket_path;
    service->weights = stored->weights;
    copy_tagged_addresses(stored, service, arena);
    service->enterprise_meta = proto_new(arena, pb__enterprise_meta);
    return service;
}

static bool is_sent_meta(const char *key)
{
    return !text_starts(key, "consul-"); /* importers refuse the whole instance for one of these */
}

static Pb__NodeService *copy_service(const Pb__NodeService *stored, struct arena *arena)
{
    Pb__NodeService *service = copy_address(stored, arena);
    service->id = stored->id;
    service->service = stored->service;
    service->n_tags = stored->n_tags;
    service->tags = stored->tags;
    service->meta = proto_array(arena, stored->n_meta);
    for (size_t i = 0; i < stored->n_meta; i++) {
        if (is_sent_meta(stored->meta[i]->key))
            service->meta[service->n_meta++] = stored->meta[i];
    }
    service->enable_tag_override = stored->enable_tag_override;
    service->locality = stored->locality;
    return service;
}

/* ---- checks, flattened (9.5) ---- */

static int badness(const char *status)
{
    static const char *const known[] = {"passing", "warning", "critical"};
    for (int i = 0; i < 3; i++) {
        if (strcmp(status, known[i]) == 0)
            return i;
    }
    return 3;
}

static const char *worst_status(size_t count, const struct record *const *checks)
{
    const char *worst = "passing";
    for (size_t i = 0; i < count; i++) {
        const Pb__HealthCheck *check = checks[i]->message;
        if (strcmp(check->check_id, "_node_maintenance") == 0 ||
            text_starts(check->check_id, "_service_maintenance:"))
            return "maintenance";
        if (badness(check->status) > badness(worst))
            worst = check->status;
    }
    return worst;
}

static Pb__HealthCheck *overall_check(const char *node, const char *service_id,
                                      const char *service_name, const char *status,
                                      struct arena *arena)
{
    Pb__HealthCheck *check = proto_new(arena, pb__health_check);
    check->node = TEXT(node);
    check->check_id =
        arena_printf(arena, "%s:overall-check", text_empty(service_id) ? service_name : service_id);
    check->name = TEXT("overall-check");
    check->status = TEXT(status);
    check->service_id = TEXT(service_id);
    check->service_name = TEXT(service_name);
    check->enterprise_meta = proto_new(arena, pb__enterprise_meta);
    return check;
}

static void add_overall_check(Pb__CheckServiceNode *instance, const char *status,
                              struct arena *arena)
{
    if (status == NULL)
        return;
    instance->checks = proto_array(arena, 1);
    instance->checks[instance->n_checks++] = overall_check(
        instance->node->node, instance->service->id, instance->service->service, status, arena);
}

static Pb__CheckServiceNode *build_instance(const struct catalog_instance *stored,
                                            struct arena *arena)
{
    Pb__CheckServiceNode *instance = proto_new(arena, pb__check_service_node);
    instance->node = copy_node(stored->node->message, arena);
    instance->service = copy_service(stored->service->message, arena);
    if (stored->check_count > 0)
        add_overall_check(instance, worst_status(stored->check_count, stored->checks), arena);
    return instance;
}

static bool is_plain(const Pb__NodeService *service)
{
    return text_empty(service->kind) && !text_ends(service->service, PROXY_SUFFIX) &&
           !text_empty(service->id);
}

Ps__ExportedService *payload_service(struct view *view, const struct export_scope *scope,
                                     const char *service, struct arena *arena)
{
    struct tenancy tenancy = tenancy_of(scope);
    struct catalog_instances stored = catalog_service_instances(view, &tenancy, service, arena);
    Ps__ExportedService *payload = proto_new(arena, ps__exported_service);
    payload->nodes = proto_array(arena, stored.count);
    for (size_t i = 0; i < stored.count; i++) {
        if (is_plain(stored.items[i].service->message))
            payload->nodes[payload->n_nodes++] = build_instance(&stored.items[i], arena);
    }
    return payload;
}

/* ---- the synthetic proxy ---- */

Ps__ExportedService *payload_gateways(struct view *view, const struct export_scope *scope,
                                      struct arena *arena)
{
    struct tenancy tenancy = tenancy_of(scope);
    struct catalog_instances stored = catalog_mesh_gateways(view, &tenancy, arena);
    Ps__ExportedService *payload = proto_new(arena, ps__exported_service);
    payload->n_nodes = stored.count;
    payload->nodes = proto_array(arena, stored.count);
    for (size_t i = 0; i < stored.count; i++)
        payload->nodes[i] = build_instance(&stored.items[i], arena);
    return payload;
}

bool payload_is_connect(struct view *view, const struct export_scope *scope, const char *service)
{
    struct tenancy tenancy = tenancy_of(scope);
    struct buffer value = {0};
    size_t count;
    view_list(view, TABLE_SERVICE, SERVICE_BY_CONNECT, key_named(&value, &tenancy, service),
              &count);
    buffer_free(&value);
    return count > 0;
}

/* Those that the gateway leads to, and those of them that it would send a call to. */
static Pb__InstancesBehind *instances_behind(struct view *view, const struct tenancy *tenancy,
                                             const char *service, struct arena *arena)
{
    struct catalog_instances stored = catalog_connect_instances(view, tenancy, service, arena);
    if (stored.count == 0)
        return NULL;
    Pb__InstancesBehind *behind = proto_new(arena, pb__instances_behind);
    behind->total = (uint32_t)stored.count;
    for (size_t i = 0; i < stored.count; i++) {
        enum catalog_health health = catalog_instance_health(&stored.items[i]);
        if (health == CATALOG_PASSING || health == CATALOG_WARNING)
            behind->healthy++;
    }
    return behind;
}

/* Who may answer: the targets of the service's chain, or, where it has none, the service itself;
 * and the gateway. */
static void add_spiffe_ids(struct view *view, const struct export_scope *scope, const char *service,
                           Pb__PeeringServiceMeta *meta, struct arena *arena)
{
    struct chain_input input = {
        .view = view,
        .tenancy = tenancy_of(scope),
        .service = service,
        .trust_domain = scope->trust_domain,
        .datacenter = scope->datacenter,
    };
    const struct chain *chain = chain_compile(&input, arena, NULL);
    size_t targets = chain == NULL ? 0 : chain->target_count;
    struct text_list ids = {0};
    for (size_t i = 0; i < targets; i++) {
        const struct chain_target *target = chain->targets[i];
        char *id = spiffe_service(scope->trust_domain, &target->tenancy, scope->datacenter,
                                  target->service);
        text_list_add(&ids, id);
        free(id);
    }
    if (targets == 0) {
        char *id = spiffe_service(scope->trust_domain, &input.tenancy, scope->datacenter, service);
        text_list_add(&ids, id);
        free(id);
    }
    text_list_sort(&ids); /* subsets of a service share its identity */
    meta->spiffe_id = proto_array(arena, ids.count + 1);
    for (size_t i = 0; i < ids.count; i++)
        meta->spiffe_id[meta->n_spiffe_id++] = arena_strdup(arena, ids.items[i]);
    meta->spiffe_id[meta->n_spiffe_id++] =
        keep(arena, spiffe_mesh_gateway(scope->trust_domain, scope->partition, scope->datacenter));
    text_list_free(&ids);
}

static Pb__PeeringServiceMeta *peer_meta(struct view *view, const struct export_scope *scope,
                                         const char *service, struct arena *arena)
{
    struct tenancy tenancy = tenancy_of(scope);
    Pb__PeeringServiceMeta *meta = proto_new(arena, pb__peering_service_meta);
    meta->n_sni = 1;
    meta->sni = proto_array(arena, 1);
    meta->sni[0] =
        keep(arena, sni_peered_service(scope->trust_domain, &tenancy, scope->peer_name, service));
    meta->protocol = TEXT(config_service_protocol(view, &tenancy, service, arena));
    meta->instances = instances_behind(view, &tenancy, service, arena);
    add_spiffe_ids(view, scope, service, meta, arena);
    return meta;
}

static Pb__CheckServiceNode *proxy_instance(const Pb__CheckServiceNode *gateway, size_t at,
                                            const char *service, Pb__ServiceConnect *connect,
                                            struct arena *arena)
{
    bool has_id = !text_empty(gateway->service->id);
    Pb__NodeService *proxy = copy_address(gateway->service, arena);
    proxy->kind = TEXT("connect-proxy");
    proxy->service = arena_printf(arena, "%s" PROXY_SUFFIX, service);
    proxy->id =
        has_id ? arena_printf(arena, "%s-instance-%zu", proxy->service, at) : proxy->service;
    proxy->proxy = proto_new(arena, pb__connect_proxy_config);
    proxy->proxy->destination_service_name = TEXT(service);
    proxy->proxy->destination_service_id =
        has_id ? arena_printf(arena, "%s-instance-%zu", service, at) : TEXT(service);
    proxy->connect = connect;
    Pb__CheckServiceNode *instance = proto_new(arena, pb__check_service_node);
    instance->node = gateway->node;
    instance->service = proxy;
    add_overall_check(instance, gateway->n_checks > 0 ? gateway->checks[0]->status : NULL, arena);
    return instance;
}

Ps__ExportedService *payload_proxy(struct view *view, const struct export_scope *scope,
                                   const char *service, const Ps__ExportedService *gateways,
                                   struct arena *arena)
{
    Ps__ExportedService *payload = proto_new(arena, ps__exported_service);
    Pb__ServiceConnect *connect = proto_new(arena, pb__service_connect);
    connect->peer_meta = peer_meta(view, scope, service, arena);
    payload->n_nodes = gateways->n_nodes;
    payload->nodes = proto_array(arena, gateways->n_nodes);
    for (size_t i = 0; i < gateways->n_nodes; i++)
        payload->nodes[i] = proxy_instance(gateways->nodes[i], i, service, connect, arena);
    return payload;
}

/* ---- roots and addresses ---- */

Pb__PeeringTrustBundle *payload_roots(struct view *view, const struct export_scope *scope,
                                      struct arena *arena)
{
    size_t count;
    const struct record *const *roots = authority_roots(view, &count);
    if (count == 0)
        return NULL;
    Pb__PeeringTrustBundle *bundle = proto_new(arena, pb__peering_trust_bundle);
    bundle->trust_domain = TEXT(scope->trust_domain);
    bundle->root_pems = proto_array(arena, count);
    for (size_t i = 0; i < count; i++) {
        const Pb__CaRoot *root = roots[i]->message;
        bundle->root_pems[bundle->n_root_pems++] = root->root_cert;
    }
    if (!text_empty(scope->partition) && strcmp(scope->partition, "default") != 0)
        bundle->exported_partition = TEXT(scope->partition);
    return bundle;
}

bool peering_through_gateways(struct view *view, const struct tenancy *tenancy)
{
    const Pb__MeshEntry *mesh = config_mesh(view, tenancy);
    return mesh != NULL && mesh->peering != NULL && mesh->peering->peer_through_mesh_gateways;
}

struct text_list payload_gateway_addresses(struct view *view, const struct tenancy *tenancy,
                                           bool wan)
{
    struct text_list addresses = {0};
    struct arena *arena = arena_new();
    struct catalog_instances gateways = catalog_mesh_gateways(view, tenancy, arena);
    for (size_t i = 0; i < gateways.count; i++) {
        uint16_t port = 0;
        const char *host = catalog_instance_address(&gateways.items[i], wan, &port);
        if (text_empty(host) || port == 0)
            continue;
        char *address = text_join_host_port(host, port);
        text_list_add(&addresses, address);
        free(address);
    }
    arena_free(arena);
    return addresses;
}

Pb__PeeringServerAddresses *payload_addresses(struct view *view, const struct tenancy *tenancy,
                                              const char *server_address, struct arena *arena)
{
    struct text_list addresses = {0};
    if (peering_through_gateways(view, tenancy))
        addresses = payload_gateway_addresses(view, tenancy, true);
    else if (!text_empty(server_address))
        text_list_add(&addresses, server_address);
    Pb__PeeringServerAddresses *payload = NULL;
    if (addresses.count > 0) {
        payload = proto_new(arena, pb__peering_server_addresses);
        payload->addresses = proto_array(arena, addresses.count);
        for (size_t i = 0; i < addresses.count; i++)
            payload->addresses[payload->n_addresses++] = arena_strdup(arena, addresses.items[i]);
    }
    text_list_free(&addresses);
    return payload;
}
