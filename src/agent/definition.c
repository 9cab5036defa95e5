#include "agent/definition.h"

#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "base/duration.h"
#include "base/text.h"
#include "proto/proto.h"

/* ---- checks ---- */

static const char *check_type(const Pb__CheckDefinition *check)
{
    if (!text_empty(check->alias_service) || !text_empty(check->alias_node))
        return "alias";
    if (check->ttl != 0)
        return "ttl";
    if (!text_empty(check->http))
        return "http";
    if (!text_empty(check->tcp))
        return "tcp";
    if (!text_empty(check->grpc))
        return "grpc";
    if (!text_empty(check->h2ping))
        return "h2ping";
    if (!text_empty(check->udp))
        return "udp";
    if (!text_empty(check->os_service))
        return "os_service";
    if (!text_empty(check->docker_container_id))
        return "docker";
    if (check->n_script_args > 0)
        return "script";
    return "";
}

static bool validate_check(const Pb__CheckDefinition *check, const char *type, const char *id,
                           struct error *error)
{
    static const char *const built[] = {"alias", "ttl", "http", "tcp"};
    if (*type == '\0')
        return error_set(error, ERR_INVALID,
                         "Invalid check: check '%s' must have one of TTL, HTTP, TCP, AliasService "
                         "or AliasNode",
                         id);
    bool known = false;
    for (size_t i = 0; i < sizeof built / sizeof built[0]; i++)
        known = known || strcmp(type, built[i]) == 0;
    if (!known)
        return error_set(error, ERR_INVALID,
                         "Invalid check: check '%s' is of type %s, which this version of Pons does "
                         "not run; use TTL, HTTP or TCP",
                         id, type);
    if (check->ttl < 0)
        return error_set(error, ERR_INVALID, "Invalid check: TTL must be > 0 for TTL checks");
    if ((strcmp(type, "http") == 0 || strcmp(type, "tcp") == 0) && check->interval <= 0)
        return error_set(
            error, ERR_INVALID,
            "Invalid check: Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or "
            "OSService checks");
    if (!text_empty(check->status) && strcmp(check->status, "passing") != 0 &&
        strcmp(check->status, "warning") != 0 && strcmp(check->status, "critical") != 0)
        return error_set(error, ERR_INVALID,
                         "Bad check status: \"%s\" is none of passing, warning and critical",
                         check->status);
    return true;
}

static char *duration_text(int64_t ns, struct arena *arena)
{
    char text[DURATION_TEXT_MAX];
    return ns == 0 ? (char *)"" : arena_strdup(arena, duration_format(ns, text));
}

Pb__HealthCheck *definition_expand_check(const struct definition_target *target,
                                         const Pb__CheckDefinition *definition,
                                         const Pb__NodeService *service, struct arena *arena,
                                         struct error *error)
{
    const char *id = text_empty(definition->id) ? definition->name : definition->id;
    if (text_empty(id)) {
        error_set(error, ERR_INVALID, "Missing check name");
        return NULL;
    }
    const char *type = check_type(definition);
    if (!validate_check(definition, type, id, error))
        return NULL;
    Pb__HealthCheck *check = proto_new(arena, pb__health_check);
    check->node = arena_strdup(arena, target->node);
    check->check_id = arena_strdup(arena, id);
    check->name = text_empty(definition->name) ? check->check_id : definition->name;
    check->status = text_empty(definition->status) ? (char *)"critical" : definition->status;
    check->notes = definition->notes;
    check->type = (char *)type;
    check->interval = duration_text(definition->interval, arena);
    check->timeout = duration_text(definition->timeout, arena);
    check->agent_definition = (Pb__CheckDefinition *)definition;
    check->enterprise_meta = definition->enterprise_meta;
    if (service != NULL) {
        check->service_id = service->id;
        check->service_name = service->service;
        check->n_service_tags = service->n_tags;
        check->service_tags = service->tags;
        check->enterprise_meta = service->enterprise_meta;
    }
    return check;
}

static bool expand_checks(const struct definition_target *target,
                          const Pb__ServiceDefinition *definition, struct arena *arena,
                          struct expanded_service *expanded, struct error *error)
{
    size_t single = definition->check != NULL;
    size_t count = single + definition->n_checks;
    expanded->checks = proto_array(arena, count);
    for (size_t i = 0; i < count; i++) {
        const Pb__CheckDefinition *given =
            i < single ? definition->check : definition->checks[i - single];
        if (protobuf_c_message_get_packed_size(&given->base) == 0)
            continue; /* clients write {} for none */
        Pb__CheckDefinition *named = proto_copy(given, arena);
        if (text_empty(named->id))
            named->id = count == 1
                            ? arena_printf(arena, "service:%s", expanded->service->id)
                            : arena_printf(arena, "service:%s:%zu", expanded->service->id, i + 1);
        if (text_empty(named->name))
            named->name = arena_printf(arena, "Service '%s' check", expanded->service->service);
        Pb__HealthCheck *check =
            definition_expand_check(target, named, expanded->service, arena, error);
        if (check == NULL)
            return false;
        expanded->checks[expanded->check_count++] = check;
    }
    return true;
}

/* ---- services ---- */

/* A service's name is part of a TLS server name of at most 255 bytes. */
#define NAME_MAX_BYTES 128
/* The kernel's limit for the path of a socket. */
#define SOCKET_PATH_MAX (sizeof((struct sockaddr_un *)0)->sun_path - 1)

static bool validate_upstream(const Pb__Upstream *upstream, size_t at, const char *service,
                              struct error *error)
{
    if (text_empty(upstream->destination_name))
        return error_set(error, ERR_INVALID,
                         "Invalid service \"%s\": Upstreams[%zu]: upstream destination name cannot "
                         "be empty: set DestinationName",
                         service, at);
    if (strcmp(upstream->destination_name, "*") == 0)
        return error_set(error, ERR_INVALID,
                         "Invalid service \"%s\": Upstreams[%zu]: upstream destination name cannot "
                         "be a wildcard",
                         service, at);
    if (!text_empty(upstream->destination_type) &&
        strcmp(upstream->destination_type, "service") != 0)
        return error_set(error, ERR_INVALID,
                         "Invalid service \"%s\": Upstreams[%zu] \"%s\": DestinationType \"%s\" is "
                         "not supported by this version of Pons; only \"service\" is",
                         service, at, upstream->destination_name, upstream->destination_type);
    if (strlen(upstream->destination_name) > NAME_MAX_BYTES)
        return error_set(
            error, ERR_INVALID,
            "Invalid service \"%s\": Upstreams[%zu]: DestinationName is longer than %d "
            "bytes",
            service, at, NAME_MAX_BYTES);
    if (strlen(upstream->local_bind_socket_path) > SOCKET_PATH_MAX)
        return error_set(error, ERR_INVALID,
                         "Invalid service \"%s\": Upstreams[%zu] \"%s\": LocalBindSocketPath is "
                         "longer than %zu bytes",
                         service, at, upstream->destination_name, SOCKET_PATH_MAX);
    if (upstream->local_bind_port == 0 && text_empty(upstream->local_bind_socket_path))
        return error_set(error, ERR_INVALID,
                         "Invalid service \"%s\": Upstreams[%zu] \"%s\": upstream local bind port "
                         "or local socket path must be defined and nonzero",
                         service, at, upstream->destination_name);
    if (upstream->local_bind_port < 0 || upstream->local_bind_port > 65535)
        return error_set(error, ERR_INVALID,
                         "Invalid service \"%s\": Upstreams[%zu] \"%s\": %d is no port", service,
                         at, upstream->destination_name, upstream->local_bind_port);
    if (!text_empty(upstream->destination_peer) && !text_empty(upstream->datacenter))
        return error_set(error, ERR_INVALID,
                         "Invalid service \"%s\": Upstreams[%zu] \"%s\": DestinationPeer and "
                         "Datacenter cannot both be set",
                         service, at, upstream->destination_name);
    return true;
}

static bool same_bind(const Pb__Upstream *a, const Pb__Upstream *b)
{
    if (!text_empty(a->local_bind_socket_path) || !text_empty(b->local_bind_socket_path))
        return text_equal(a->local_bind_socket_path, b->local_bind_socket_path);
    const char *left = text_empty(a->local_bind_address) ? "127.0.0.1" : a->local_bind_address;
    const char *right = text_empty(b->local_bind_address) ? "127.0.0.1" : b->local_bind_address;
    return a->local_bind_port == b->local_bind_port && strcmp(left, right) == 0;
}

static bool validate_upstreams(const Pb__ConnectProxyConfig *proxy, const char *service,
                               struct error *error)
{
    for (size_t i = 0; i < proxy->n_upstreams; i++) {
        if (!validate_upstream(proxy->upstreams[i], i, service, error))
            return false;
        for (size_t j = 0; j < i; j++) {
            if (same_bind(proxy->upstreams[i], proxy->upstreams[j]))
                return error_set(
                    error, ERR_INVALID,
                    "Invalid service \"%s\": upstreams \"%s\" and \"%s\" listen on the "
                    "same address; give one another LocalBindPort",
                    service, proxy->upstreams[j]->destination_name,
                    proxy->upstreams[i]->destination_name);
        }
    }
    return true;
}

static bool validate_service(const Pb__ServiceDefinition *definition, struct error *error)
{
    static const char *const kinds[] = {"", "connect-proxy", "mesh-gateway"};
    const char *name = definition->name;
    if (text_empty(name))
        return error_set(error, ERR_INVALID, "Missing service name");
    if (strlen(name) > NAME_MAX_BYTES)
        return error_set(error, ERR_INVALID,
                         "Invalid service \"%.16s...\": the name is longer than %d bytes", name,
                         NAME_MAX_BYTES);
    bool known = false;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        known = known || strcmp(definition->kind, kinds[i]) == 0;
    if (!known)
        return error_set(error, ERR_INVALID,
                         "Invalid service \"%s\": kind \"%s\" is not supported by this version of "
                         "Pons; use connect-proxy or mesh-gateway, or leave it out",
                         name, definition->kind);
    if (definition->port < 0 || definition->port > 65535)
        return error_set(error, ERR_INVALID, "Invalid service \"%s\": %d is no port", name,
                         definition->port);
    if (strcmp(definition->address, "0.0.0.0") == 0 || strcmp(definition->address, "::") == 0)
        return error_set(error, ERR_INVALID,
                         "Invalid service \"%s\": address \"%s\" cannot be reached by others; set "
                         "the address they should use",
                         name, definition->address);
    if (strcmp(definition->kind, "connect-proxy") == 0 &&
        (definition->proxy == NULL || text_empty(definition->proxy->destination_service_name)))
        return error_set(error, ERR_INVALID,
                         "Invalid service \"%s\": Proxy.DestinationServiceName must be non-empty "
                         "for Connect proxy services",
                         name);
    if (strcmp(definition->kind, "mesh-gateway") == 0 && definition->port == 0)
        return error_set(error, ERR_INVALID,
                         "Invalid service \"%s\": Port must be non-zero for a mesh-gateway", name);
    const Pb__Weights *weights = definition->weights;
    if (weights != NULL && weights->passing < 1)
        return error_set(error, ERR_INVALID,
                         "Invalid service \"%s\": Invalid Weights: Passing must be greater than 0",
                         name);
    if (weights != NULL && weights->warning < 0)
        return error_set(error, ERR_INVALID,
                         "Invalid service \"%s\": Invalid Weights: Warning must be greater or "
                         "equal than 0",
                         name);
    if (strcmp(definition->kind, "connect-proxy") == 0 && definition->port == 0)
        return error_set(error, ERR_INVALID,
                         "Invalid service \"%s\": Port or SocketPath must be set for a Connect "
                         "proxy",
                         name);
    return definition->proxy == NULL || validate_upstreams(definition->proxy, name, error);
}

/* The proxy part as stored: upstreams have their type, the local service its address. */
static Pb__ConnectProxyConfig *expand_proxy(const Pb__ConnectProxyConfig *given,
                                            struct arena *arena)
{
    if (given == NULL)
        return NULL;
    Pb__ConnectProxyConfig *proxy = proto_copy(given, arena);
    for (size_t i = 0; i < proxy->n_upstreams; i++) {
        if (text_empty(proxy->upstreams[i]->destination_type))
            proxy->upstreams[i]->destination_type = (char *)"service";
    }
    return proxy;
}

bool definition_expand_service(const struct definition_target *target,
                               const Pb__ServiceDefinition *definition, struct arena *arena,
                               struct expanded_service *ret_expanded, struct error *error)
{
    if (!validate_service(definition, error))
        return false;
    struct expanded_service expanded = {.service = proto_new(arena, pb__node_service)};
    Pb__NodeService *service = expanded.service;
    service->node = arena_strdup(arena, target->node);
    service->registered_by_agent = true;
    service->kind = definition->kind;
    service->id = text_empty(definition->id) ? definition->name : definition->id;
    service->service = definition->name;
    service->n_tags = definition->n_tags;
    service->tags = definition->tags;
    service->address = definition->address;
    service->port = definition->port;
    service->socket_path = definition->socket_path;
    service->weights = definition->weights;
    service->enable_tag_override = definition->enable_tag_override;
    service->registration_token = definition->token;
    service->locality = definition->locality;
    service->enterprise_meta = definition->enterprise_meta;
    service->proxy = expand_proxy(definition->proxy, arena);
    if (definition->connect != NULL && definition->connect->native) {
        service->connect = proto_new(arena, pb__service_connect);
        service->connect->native = true;
    }
    /* Map entries are messages of the field's own type: copied by way of the wire they would be
     * the same bytes, so they are moved over as they are. */
    service->n_meta = definition->n_meta;
    service->meta = arena_alloc(arena, definition->n_meta * sizeof *service->meta);
    for (size_t i = 0; i < definition->n_meta; i++) {
        service->meta[i] = proto_new(arena, pb__node_service__meta_entry);
        service->meta[i]->key = definition->meta[i]->key;
        service->meta[i]->value = definition->meta[i]->value;
    }
    service->n_tagged_addresses = definition->n_tagged_addresses;
    service->tagged_addresses =
        arena_alloc(arena, definition->n_tagged_addresses * sizeof *service->tagged_addresses);
    for (size_t i = 0; i < definition->n_tagged_addresses; i++) {
        service->tagged_addresses[i] = proto_new(arena, pb__node_service__tagged_addresses_entry);
        service->tagged_addresses[i]->key = definition->tagged_addresses[i]->key;
        service->tagged_addresses[i]->value = definition->tagged_addresses[i]->value;
    }
    if (!expand_checks(target, definition, arena, &expanded, error))
        return false;
    *ret_expanded = expanded;
    return true;
}

/* ---- sidecars ---- */

static bool refuse_in_sidecar(const Pb__ServiceDefinition *sidecar, const char *parent,
                              struct error *error)
{
    const char *field = NULL;
    if (!text_empty(sidecar->id))
        field = "ID";
    else if (sidecar->connect != NULL)
        field = "Connect";
    else if (!text_empty(sidecar->kind) && strcmp(sidecar->kind, "connect-proxy") != 0)
        field = "Kind";
    else if (sidecar->enterprise_meta != NULL &&
             (!text_empty(sidecar->enterprise_meta->namespace_) ||
              !text_empty(sidecar->enterprise_meta->partition)))
        field = "Namespace";
    if (field == NULL)
        return true;
    return error_set(error, ERR_INVALID,
                     "Invalid SidecarService of \"%s\": %s belongs to the parent service and must "
                     "not be set in it",
                     parent, field);
}

Pb__ServiceDefinition *definition_sidecar(const Pb__ServiceDefinition *definition,
                                          struct arena *arena, struct error *error)
{
    if (definition->connect == NULL || definition->connect->sidecar_service == NULL)
        return NULL;
    const Pb__ServiceDefinition *given = definition->connect->sidecar_service;
    if (!refuse_in_sidecar(given, definition->name, error))
        return NULL;
    const char *parent_id = text_empty(definition->id) ? definition->name : definition->id;
    Pb__ServiceDefinition *sidecar = proto_copy(given, arena);
    sidecar->kind = (char *)"connect-proxy";
    sidecar->id = arena_printf(arena, "%s-sidecar-proxy", parent_id);
    if (text_empty(sidecar->name))
        sidecar->name = arena_printf(arena, "%s-sidecar-proxy", definition->name);
    if (sidecar->n_tags == 0) {
        sidecar->n_tags = definition->n_tags;
        sidecar->tags = definition->tags;
    }
    if (sidecar->n_meta == 0) {
        sidecar->n_meta = definition->n_meta;
        sidecar->meta = definition->meta;
    }
    if (sidecar->weights == NULL)
        sidecar->weights = definition->weights;
    if (text_empty(sidecar->address))
        sidecar->address = definition->address;
    if (text_empty(sidecar->token))
        sidecar->token = definition->token;
    sidecar->enterprise_meta = definition->enterprise_meta;
    sidecar->locality = definition->locality;
    if (sidecar->proxy == NULL)
        sidecar->proxy = proto_new(arena, pb__connect_proxy_config);
    Pb__ConnectProxyConfig *proxy = sidecar->proxy;
    proxy->destination_service_name = definition->name;
    proxy->destination_service_id = (char *)parent_id;
    if (text_empty(proxy->local_service_address) && text_empty(proxy->local_service_socket_path))
        proxy->local_service_address = (char *)"127.0.0.1";
    if (proxy->local_service_port == 0)
        proxy->local_service_port = definition->port;
    return sidecar;
}

void definition_sidecar_checks(Pb__ServiceDefinition *sidecar, const char *parent_id,
                               struct arena *arena)
{
    if (sidecar->check != NULL || sidecar->n_checks > 0)
        return;
    const char *host = text_empty(sidecar->address) ? "127.0.0.1" : sidecar->address;
    Pb__CheckDefinition *listening = proto_new(arena, pb__check_definition);
    listening->name = (char *)"Connect Sidecar Listening";
    char *address = text_join_host_port(host, (uint16_t)sidecar->port);
    listening->tcp = arena_strdup(arena, address);
    free(address);
    listening->interval = 10 * DURATION_SECOND;
    Pb__CheckDefinition *aliasing = proto_new(arena, pb__check_definition);
    aliasing->name = arena_printf(arena, "Connect Sidecar Aliasing %s", parent_id);
    aliasing->alias_service = arena_strdup(arena, parent_id);
    sidecar->checks = proto_array(arena, 2);
    sidecar->checks[0] = listening;
    sidecar->checks[1] = aliasing;
    sidecar->n_checks = 2;
}
