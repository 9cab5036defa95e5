/* A mesh gateway's listeners: one an address, alike but for their names. By SNI, in this order:
 * services exported to peers, the servers of peerings that go through gateways, then whatever names
 * a cluster (local services and imported ones). */
#include "base/text.h"
#include "google/protobuf/any.pb-c.h"
#include "xds/build.h"

#define EXPORTED "exported~" /* before the names of clusters */

static const char *or_default(const char *tenancy)
{
    return text_empty(tenancy) ? "default" : tenancy;
}

char *xds_exported_name(struct xds_build *build, const struct gateway_service *service)
{
    return arena_printf(build->arena, EXPORTED "%s", service->sni);
}

bool xds_is_exported(const struct xds_build *build, const struct gateway_service *service)
{
    return service->peer_count > 0 && service->endpoints.count > 0 &&
           (!xds_is_http(service->protocol) || !text_empty(build->snapshot->leaf.chain_pem));
}

/* The name of an exported HTTP service's route. Consul's for the default namespace. */
static char *route_name(struct arena *arena, const struct gateway_service *service)
{
    const char *namespace = or_default(service->tenancy.namespace);
    return text_equal(namespace, "default")
               ? arena_strdup(arena, service->name)
               : arena_printf(arena, "%s/%s", namespace, service->name);
}

/* On TCP a chain is one resolver, which has one target. */
static const struct gateway_service *tcp_target(const struct gateway_service *service)
{
    return service->chain == NULL ? service : &service->targets[0];
}

static Envoy__Filter *exported_filter(struct xds_build *build,
                                      const struct gateway_service *service)
{
    struct arena *arena = build->arena;
    char *stat_prefix =
        arena_printf(arena, "mesh_gateway_local_peered.%s.%s.%s.%s", service->name,
                     or_default(service->tenancy.namespace), or_default(service->tenancy.partition),
                     build->snapshot->datacenter);
    if (!xds_is_http(service->protocol))
        return xds_tcp_proxy(build, stat_prefix, xds_exported_name(build, tcp_target(service)));
    struct xds_hcm hcm = {
        .stat_prefix = stat_prefix,
        .protocol = service->protocol,
        .rds_name = route_name(arena, service),
        /* What the caller claims is dropped: only its certificate counts. */
        .xfcc = ENVOY__HTTP_CONNECTION_MANAGER__FORWARD_CLIENT_CERT_DETAILS__SANITIZE_SET,
    };
    return xds_hcm_filter(build, &hcm);
}

static Envoy__FilterChain *exported_chain(struct xds_build *build,
                                          const struct gateway_service *service)
{
    struct arena *arena = build->arena;
    Envoy__Filter **filters = proto_array(arena, 1);
    filters[0] = exported_filter(build, service);
    Envoy__FilterChain *chain = xds_filter_chain(arena, filters, 1);
    chain->filter_chain_match = proto_new(arena, envoy__filter_chain_match);
    chain->filter_chain_match->n_server_names = service->peer_count;
    chain->filter_chain_match->server_names = proto_array(arena, service->peer_count);
    for (size_t i = 0; i < service->peer_count; i++)
        chain->filter_chain_match->server_names[i] = xds_text(service->peer_snis[i]);
    if (xds_is_http(service->protocol))
        chain->transport_socket =
            xds_tls_downstream(build, service->peers, service->peer_count, build->options.protocol);
    return chain;
}

/* Passes a peering's stream through, encrypted from server to server. */
static Envoy__FilterChain *control_chain(struct xds_build *build, const char *listener,
                                         const struct gateway_control *control)
{
    struct arena *arena = build->arena;
    char *stat_prefix =
        control->own
            ? arena_printf(arena, "mesh_gateway_local_peering_server.%s.%s", listener,
                           build->snapshot->datacenter)
            : arena_printf(arena, "mesh_gateway_remote_peering_servers.%s", control->server_name);
    Envoy__Filter **filters = proto_array(arena, 1);
    filters[0] = xds_tcp_proxy(build, stat_prefix, control->server_name);
    Envoy__FilterChain *chain = xds_filter_chain(arena, filters, 1);
    chain->filter_chain_match = proto_new(arena, envoy__filter_chain_match);
    chain->filter_chain_match->n_server_names = 1;
    chain->filter_chain_match->server_names = proto_array(arena, 1);
    chain->filter_chain_match->server_names[0] = xds_text(control->server_name);
    return chain;
}

/* Passes TLS through to the cluster that the SNI names. */
static Envoy__FilterChain *catch_all_chain(struct xds_build *build, const char *listener)
{
    struct arena *arena = build->arena;
    Envoy__Filter **filters = proto_array(arena, 2);
    filters[0] = xds_filter(
        arena, "envoy.filters.network.sni_cluster",
        xds_any_empty(arena, "envoy.extensions.filters.network.sni_cluster.v3.SniCluster"));
    filters[1] = xds_tcp_proxy(build, arena_printf(arena, "mesh_gateway_local.%s", listener), "");
    return xds_filter_chain(arena, filters, 2);
}

static void set_tls_inspector(struct arena *arena, Envoy__Listener *listener)
{
    Envoy__ListenerFilter *filter = proto_new(arena, envoy__listener_filter);
    filter->name = xds_text("envoy.filters.listener.tls_inspector");
    filter->typed_config =
        xds_any_empty(arena, "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector");
    listener->n_listener_filters = 1;
    listener->listener_filters = proto_array(arena, 1);
    listener->listener_filters[0] = filter;
}

/* The exported services' chains, shared by all listeners, and the names of their routes. */
struct exported {
    size_t count;
    Envoy__FilterChain **chains;
    char **routes; /* NULL-terminated, kept with the result; NULL if there are none */
};

static void gather_exported(struct xds_build *build, struct exported *exported)
{
    const struct proxy_snapshot *snapshot = build->snapshot;
    size_t route_count = 0;
    exported->chains = proto_array(build->arena, snapshot->service_count);
    char **routes = arena_alloc(build->kept, (snapshot->service_count + 1) * sizeof(*routes));
    for (size_t i = 0; i < snapshot->service_count; i++) {
        const struct gateway_service *service = &snapshot->services[i];
        if (!xds_is_exported(build, service))
            continue;
        exported->chains[exported->count++] = exported_chain(build, service);
        if (!xds_is_http(service->protocol))
            continue;
        char *name = route_name(build->kept, service);
        routes[route_count++] = name;
        if (service->chain != NULL) {
            xds_chain_route(build, name, EXPORTED, service->chain);
            continue;
        }
        xds_add_route(build,
                      xds_route_all(build->arena, name, name, xds_exported_name(build, service)));
    }
    if (route_count > 0)
        exported->routes = routes;
}

void xds_gateway_listeners(struct xds_build *build)
{
    const struct proxy_snapshot *snapshot = build->snapshot;
    struct exported exported = {0};
    gather_exported(build, &exported);
    for (size_t i = 0; i < snapshot->listener_count; i++) {
        const struct gateway_listener *bind = &snapshot->listeners[i];
        Envoy__Listener *listener = xds_listener(build, bind->name, bind->address, bind->port);
        set_tls_inspector(build->arena, listener);
        listener->filter_chains =
            proto_array(build->arena, exported.count + snapshot->control_count + 1);
        for (size_t j = 0; j < exported.count; j++)
            listener->filter_chains[listener->n_filter_chains++] = exported.chains[j];
        for (size_t j = 0; j < snapshot->control_count; j++)
            listener->filter_chains[listener->n_filter_chains++] =
                control_chain(build, bind->name, &snapshot->controls[j]);
        listener->filter_chains[listener->n_filter_chains++] = catch_all_chain(build, bind->name);
        xds_add(build, XDS_LISTENER, listener->name, listener, exported.routes);
    }
}
