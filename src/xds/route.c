#include "base/text.h"
#include "envoy/http_rbac.pb-c.h"
#include "envoy/route.pb-c.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/duration.pb-c.h"
#include "xds/build.h"

Envoy__RouteConfiguration *xds_route_all(struct arena *arena, const char *name,
                                         const char *virtual_host, const char *cluster)
{
    Envoy__RouteConfiguration *config = proto_new(arena, envoy__route_configuration);
    Envoy__VirtualHost *host = proto_new(arena, envoy__virtual_host);
    Envoy__Route *route = proto_new(arena, envoy__route);
    route->match = proto_new(arena, envoy__route_match);
    route->match->path_specifier_case = ENVOY__ROUTE_MATCH__PATH_SPECIFIER_PREFIX;
    route->match->prefix = xds_text("/");
    route->action_case = ENVOY__ROUTE__ACTION_ROUTE;
    route->route = proto_new(arena, envoy__route_action);
    route->route->cluster_specifier_case = ENVOY__ROUTE_ACTION__CLUSTER_SPECIFIER_CLUSTER;
    route->route->cluster = xds_text(cluster);
    host->name = xds_text(virtual_host);
    host->n_domains = host->n_routes = 1;
    host->domains = proto_array(arena, 1);
    host->domains[0] = xds_text("*");
    host->routes = proto_array(arena, 1);
    host->routes[0] = route;
    config->name = xds_text(name);
    config->n_virtual_hosts = 1;
    config->virtual_hosts = proto_array(arena, 1);
    config->virtual_hosts[0] = host;
    return config;
}

/* The rules of the HTTP filter, on the virtual host. */
static void set_rbac(struct xds_build *build, Envoy__VirtualHost *host)
{
    struct arena *arena = build->arena;
    EnvoyHttp__RBACPerRoute *per_route = proto_new(arena, envoy_http__rbacper_route);
    Envoy__VirtualHost__TypedPerFilterConfigEntry *entry =
        proto_new(arena, envoy__virtual_host__typed_per_filter_config_entry);
    per_route->rbac = proto_new(arena, envoy_http__rbac);
    per_route->rbac->rules = xds_rbac(build, true);
    entry->key = xds_text(XDS_HTTP_RBAC);
    entry->value = xds_any(arena, per_route);
    host->n_typed_per_filter_config = 1;
    host->typed_per_filter_config = proto_array(arena, 1);
    host->typed_per_filter_config[0] = entry;
}

void xds_add_route(struct xds_build *build, Envoy__RouteConfiguration *config)
{
    const Pb__MeshEntry *mesh = build->snapshot->mesh;
    if (mesh != NULL && mesh->validate_clusters)
        config->validate_clusters = xds_true(build->arena);
    xds_add(build, XDS_ROUTE, config->name, config, NULL);
}

/* The route of a sidecar's HTTP listener. Consul has it, and the intentions, inline in the
 * listener: a changed intention then makes a new listener, and open connections keep the old
 * rules until the old one is drained, minutes later. By RDS it holds from the next request on. */
void xds_public_route(struct xds_build *build)
{
    const struct proxy_snapshot *snapshot = build->snapshot;
    Envoy__RouteConfiguration *config =
        xds_route_all(build->arena, "public_listener", "public_listener", "local_app");
    Envoy__Route *route = config->virtual_hosts[0]->routes[0];
    if (build->options.local_request_timeout_ms >= 0)
        route->route->timeout =
            xds_duration_ms(build->arena, build->options.local_request_timeout_ms);
    if (build->options.local_idle_timeout_ms >= 0)
        route->route->idle_timeout =
            xds_duration_ms(build->arena, build->options.local_idle_timeout_ms);
    if (xds_xfcc_only_for_rbac(snapshot)) {
        route->n_request_headers_to_remove = 1;
        route->request_headers_to_remove = proto_array(build->arena, 1);
        route->request_headers_to_remove[0] = xds_text("x-forwarded-client-cert");
    }
    set_rbac(build, config->virtual_hosts[0]);
    xds_add_route(build, config);
}
