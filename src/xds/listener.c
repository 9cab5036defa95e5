/* A sidecar's listeners: the public one, and one an upstream. */
#include <stdlib.h>

#include "base/text.h"
#include "envoy/connection_limit.pb-c.h"
#include "envoy/network_rbac.pb-c.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"
#include "xds/build.h"

Envoy__Listener *xds_listener(struct xds_build *build, const char *name, const char *host,
                              uint16_t port)
{
    Envoy__Listener *listener = proto_new(build->arena, envoy__listener);
    /* The address is part of the name, because Envoy can't move a listener. */
    listener->name = arena_printf(build->arena, "%s:%s:%u", name, host, port);
    listener->address = xds_address(build->arena, host, port);
    listener->access_log = xds_access_logs(build, XDS_LOG_LISTENER, &listener->n_access_log);
    return listener;
}

static void set_chain(struct arena *arena, Envoy__Listener *listener, Envoy__FilterChain *chain)
{
    listener->n_filter_chains = 1;
    listener->filter_chains = proto_array(arena, 1);
    listener->filter_chains[0] = chain;
}

static void set_balance(struct xds_build *build, Envoy__Listener *listener, const char *wanted,
                        const char *where)
{
    struct arena *arena = build->arena;
    if (text_empty(wanted))
        return;
    if (!text_equal_nocase(wanted, "exact_balance")) {
        xds_problem(build, "%s: \"%s\" is not known, only \"exact_balance\" is", where, wanted);
        return;
    }
    Envoy__Listener__ConnectionBalanceConfig *balance =
        proto_new(arena, envoy__listener__connection_balance_config);
    balance->balance_type_case =
        ENVOY__LISTENER__CONNECTION_BALANCE_CONFIG__BALANCE_TYPE_EXACT_BALANCE;
    balance->exact_balance =
        proto_new(arena, envoy__listener__connection_balance_config__exact_balance);
    listener->connection_balance_config = balance;
}

static Envoy__Filter *network_rbac(struct xds_build *build)
{
    EnvoyNetwork__RBAC *rbac = proto_new(build->arena, envoy_network__rbac);
    rbac->rules = xds_rbac(build, false);
    rbac->stat_prefix = xds_text("connect_authz");
    return xds_filter(build->arena, "envoy.filters.network.rbac", xds_any(build->arena, rbac));
}

static Envoy__Filter *connection_limit(struct xds_build *build)
{
    Envoy__ConnectionLimit *limit = proto_new(build->arena, envoy__connection_limit);
    limit->stat_prefix = xds_text("inbound_connection_limit");
    limit->max_connections = proto_new(build->arena, google__protobuf__uint64_value);
    limit->max_connections->value = (uint64_t)build->options.max_inbound_connections;
    return xds_filter(build->arena, "envoy.filters.network.connection_limit",
                      xds_any(build->arena, limit));
}

/* Callers of gRPC services, and those of a mesh that sanitises it, never saw the header in Consul.
 */
static bool hides_xfcc(const struct proxy_snapshot *snapshot)
{
    const Pb__MeshEntry *mesh = snapshot->mesh;
    return text_equal(snapshot->protocol, "grpc") ||
           (mesh != NULL && mesh->http != NULL && mesh->http->sanitize_x_forwarded_client_cert);
}

/* Callers from peers are known by that header alone. So where there are any, the filters must see
 * it; if the application must not, the route takes it away behind them. (Consul sanitises it
 * before the filters: every such call is denied.) */
bool xds_xfcc_only_for_rbac(const struct proxy_snapshot *snapshot)
{
    return hides_xfcc(snapshot) && snapshot->inbound_bundle_count > 0;
}

static Envoy__Filter *public_hcm(struct xds_build *build)
{
    const struct proxy_snapshot *snapshot = build->snapshot;
    bool sanitize = hides_xfcc(snapshot) && !xds_xfcc_only_for_rbac(snapshot);
    struct xds_hcm hcm = {
        .stat_prefix = "public_listener",
        .protocol = snapshot->protocol,
        .rds_name = "public_listener",
        .xfcc = sanitize
                    ? ENVOY__HTTP_CONNECTION_MANAGER__FORWARD_CLIENT_CERT_DETAILS__SANITIZE
                    : ENVOY__HTTP_CONNECTION_MANAGER__FORWARD_CLIENT_CERT_DETAILS__APPEND_FORWARD,
        .inbound = true,
        .deny_all = true, /* the route has the rules; without its rules it fails closed */
    };
    return xds_hcm_filter(build, &hcm);
}

static Envoy__FilterChain *public_chain(struct xds_build *build, bool http)
{
    const struct proxy_snapshot *snapshot = build->snapshot;
    Envoy__Filter **filters = proto_array(build->arena, 3);
    size_t count = 0;
    if (!http)
        filters[count++] = network_rbac(build);
    if (build->options.max_inbound_connections > 0)
        filters[count++] = connection_limit(build);
    filters[count++] =
        http ? public_hcm(build) : xds_tcp_proxy(build, "public_listener", "local_app");
    Envoy__FilterChain *chain = xds_filter_chain(build->arena, filters, count);
    chain->transport_socket = xds_tls_downstream(
        build, snapshot->inbound_bundles, snapshot->inbound_bundle_count, snapshot->protocol);
    return chain;
}

const char *xds_inbound_host(const struct xds_build *build)
{
    const char *host = build->options.bind_address;
    if (text_empty(host))
        host = build->snapshot->registration->address;
    return text_is_ip(host) ? host : "0.0.0.0";
}

uint16_t xds_inbound_port(const struct xds_build *build)
{
    return (uint16_t)(build->options.bind_port > 0 ? build->options.bind_port
                                                   : build->snapshot->registration->port);
}

static void add_public_listener(struct xds_build *build)
{
    const struct proxy_snapshot *snapshot = build->snapshot;
    const char *host = build->options.bind_address;
    bool http = xds_is_http(snapshot->protocol);
    if (text_empty(host))
        host = snapshot->registration->address;
    if (!text_empty(host) && !text_is_ip(host))
        xds_problem(build,
                    "the proxy's address %s is no IP literal, and no address to listen on; "
                    "it listens on 0.0.0.0 (set proxy.config.bind_address)",
                    host);
    Envoy__Listener *listener =
        xds_listener(build, "public_listener", xds_inbound_host(build), xds_inbound_port(build));
    listener->traffic_direction = ENVOY__TRAFFIC_DIRECTION__INBOUND;
    set_balance(build, listener, build->options.balance_inbound_connections,
                "proxy.config.balance_inbound_connections");
    set_chain(build->arena, listener, public_chain(build, http));
    xds_add(build, XDS_LISTENER, listener->name, listener,
            http ? xds_child(build, "public_listener") : NULL);
    if (http)
        xds_public_route(build);
}

static Envoy__Filter *upstream_filter(struct xds_build *build, const struct upstream *upstream)
{
    struct arena *arena = build->arena;
    const Pb__Upstream *definition = upstream->definition;
    const char *namespace = text_empty(definition->destination_namespace)
                                ? "default"
                                : definition->destination_namespace;
    const char *name, *prefix;
    if (!text_empty(definition->destination_peer)) {
        prefix = "upstream_peered";
        name = arena_printf(arena, "%s.%s.%s", definition->destination_name, namespace,
                            definition->destination_peer);
    } else {
        prefix = "upstream";
        name = arena_printf(arena, "%s.%s.%s.%s", definition->destination_name, namespace,
                            text_empty(definition->destination_partition)
                                ? "default"
                                : definition->destination_partition,
                            text_empty(definition->datacenter) ? build->snapshot->datacenter
                                                               : definition->datacenter);
    }
    char *stat_prefix = arena_printf(arena, "%s.%s", prefix, name);
    if (!xds_is_http(upstream->protocol))
        return xds_tcp_proxy(build, stat_prefix, upstream->cluster_name);
    if (upstream->chain != NULL) {
        struct xds_hcm by_name = {
            .stat_prefix = stat_prefix, .protocol = upstream->protocol, .rds_name = upstream->id};
        return xds_hcm_filter(build, &by_name);
    }
    struct xds_hcm hcm = {
        .stat_prefix = stat_prefix,
        .protocol = upstream->protocol,
        .route = xds_route_all(arena, upstream->id, name, upstream->cluster_name),
    };
    return xds_hcm_filter(build, &hcm);
}

/* NULL if the upstream has no place to listen on. */
static Envoy__Listener *upstream_listener(struct xds_build *build, const struct upstream *upstream)
{
    struct arena *arena = build->arena;
    const Pb__Upstream *definition = upstream->definition;
    if (!text_empty(definition->local_bind_socket_path)) {
        Envoy__Listener *listener = proto_new(arena, envoy__listener);
        const char *mode = definition->local_bind_socket_mode;
        listener->name =
            arena_printf(arena, "%s:%s", upstream->id, definition->local_bind_socket_path);
        listener->address =
            xds_pipe(arena, definition->local_bind_socket_path,
                     text_empty(mode) ? 0 : (uint32_t)strtoul(mode, NULL, 8) & 0777);
        listener->access_log = xds_access_logs(build, XDS_LOG_LISTENER, &listener->n_access_log);
        return listener;
    }
    if (definition->local_bind_port < 1 || definition->local_bind_port > UINT16_MAX)
        return NULL;
    const char *host = definition->local_bind_address;
    if (text_empty(host))
        host = "127.0.0.1";
    if (!text_is_ip(host)) {
        xds_problem(build,
                    "upstream %s: local_bind_address %s is no IP literal; it gets no "
                    "listener",
                    upstream->id, host);
        return NULL;
    }
    return xds_listener(build, upstream->id, host, (uint16_t)definition->local_bind_port);
}

static void add_upstream_listener(struct xds_build *build, const struct upstream *upstream)
{
    struct upstream_options options;
    struct buffer told = {0}; /* the cluster's builder has told the problems */
    Envoy__Listener *listener = upstream_listener(build, upstream);
    if (listener == NULL)
        return;
    upstream_options_read(upstream, build->arena, &options, &told);
    buffer_free(&told);
    listener->traffic_direction = ENVOY__TRAFFIC_DIRECTION__OUTBOUND;
    set_balance(build, listener, options.balance_outbound_connections,
                arena_printf(build->arena, "upstream %s: config.balance_outbound_connections",
                             upstream->id));
    Envoy__Filter **filters = proto_array(build->arena, 1);
    filters[0] = upstream_filter(build, upstream);
    set_chain(build->arena, listener, xds_filter_chain(build->arena, filters, 1));
    bool routed = upstream->chain != NULL && xds_is_http(upstream->protocol);
    xds_add(build, XDS_LISTENER, listener->name, listener,
            routed ? xds_child(build, upstream->id) : NULL);
    if (routed)
        xds_chain_route(build, upstream->id, "", upstream->chain);
}

bool xds_can_dial(const struct upstream *upstream)
{
    return upstream->definition != NULL && upstream->cluster_name != NULL &&
           upstream->bundle != NULL && upstream->spiffe_count > 0 && !text_empty(upstream->sni);
}

void xds_sidecar_listeners(struct xds_build *build)
{
    add_public_listener(build);
    xds_exposed_paths(build);
    for (size_t i = 0; i < build->snapshot->upstream_count; i++) {
        if (xds_can_dial(&build->snapshot->upstreams[i]))
            add_upstream_listener(build, &build->snapshot->upstreams[i]);
    }
}
