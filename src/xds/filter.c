#include "base/text.h"
#include "config/mesh_options.h"
#include "envoy/grpc_stats.pb-c.h"
#include "envoy/http_rbac.pb-c.h"
#include "envoy/tcp_proxy.pb-c.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"
#include "xds/build.h"

Envoy__Filter *xds_filter(struct arena *arena, const char *name, Google__Protobuf__Any *config)
{
    Envoy__Filter *filter = proto_new(arena, envoy__filter);
    filter->name = xds_text(name);
    filter->typed_config = config;
    return filter;
}

/* A colon separates parts of a metric's name for some of those who read them. */
static char *stat_name(struct arena *arena, const char *text)
{
    char *name = arena_strdup(arena, text);
    for (char *at = name; *at != '\0'; at++) {
        if (*at == ':')
            *at = '_';
    }
    return name;
}

Envoy__Filter *xds_tcp_proxy(struct xds_build *build, const char *stat_prefix, const char *cluster)
{
    Envoy__TcpProxy *proxy = proto_new(build->arena, envoy__tcp_proxy);
    proxy->stat_prefix = stat_name(build->arena, stat_prefix);
    proxy->cluster_specifier_case = ENVOY__TCP_PROXY__CLUSTER_SPECIFIER_CLUSTER;
    proxy->cluster = xds_text(cluster);
    proxy->access_log = xds_access_logs(build, XDS_LOG_FILTER, &proxy->n_access_log);
    return xds_filter(build->arena, "envoy.filters.network.tcp_proxy",
                      xds_any(build->arena, proxy));
}

static void add_http_filter(struct arena *arena, Envoy__HttpConnectionManager *manager,
                            const char *name, Google__Protobuf__Any *config)
{
    Envoy__HttpFilter *filter = proto_new(arena, envoy__http_filter);
    filter->name = xds_text(name);
    filter->typed_config = config;
    manager->http_filters[manager->n_http_filters++] = filter;
}

/* Consul also writes the caller's identity into metadata (header_to_metadata). That is left out:
 * five regular expressions a request, most of what the serving sidecar spends, for what hardly
 * anyone reads. */
static void add_http_filters(struct arena *arena, Envoy__HttpConnectionManager *manager,
                             const struct xds_hcm *hcm)
{
    manager->http_filters = proto_array(arena, 4);
    if (text_equal(hcm->protocol, "grpc")) {
        EnvoyGrpcStats__FilterConfig *stats = proto_new(arena, envoy_grpc_stats__filter_config);
        stats->per_method_stat_specifier_case =
            ENVOY_GRPC_STATS__FILTER_CONFIG__PER_METHOD_STAT_SPECIFIER_STATS_FOR_ALL_METHODS;
        stats->stats_for_all_methods = xds_true(arena);
        add_http_filter(arena, manager, "envoy.filters.http.grpc_stats", xds_any(arena, stats));
        add_http_filter(
            arena, manager, "envoy.filters.http.grpc_http1_bridge",
            xds_any_empty(arena, "envoy.extensions.filters.http.grpc_http1_bridge.v3.Config"));
    }
    if (hcm->deny_all) {
        EnvoyHttp__RBAC *rbac = proto_new(arena, envoy_http__rbac);
        rbac->rules = proto_new(arena, envoy_rbac__rbac); /* allow rules, none of them */
        add_http_filter(arena, manager, XDS_HTTP_RBAC, xds_any(arena, rbac));
    }
    add_http_filter(arena, manager, "envoy.filters.http.router",
                    xds_any_empty(arena, "envoy.extensions.filters.http.router.v3.Router"));
}

static void set_route(struct xds_build *build, Envoy__HttpConnectionManager *manager,
                      const struct xds_hcm *hcm)
{
    if (hcm->rds_name == NULL) {
        manager->route_specifier_case =
            ENVOY__HTTP_CONNECTION_MANAGER__ROUTE_SPECIFIER_ROUTE_CONFIG;
        manager->route_config = hcm->route;
        return;
    }
    manager->route_specifier_case = ENVOY__HTTP_CONNECTION_MANAGER__ROUTE_SPECIFIER_RDS;
    manager->rds = proto_new(build->arena, envoy__rds);
    manager->rds->config_source = xds_ads_source(build);
    manager->rds->route_config_name = xds_text(hcm->rds_name);
}

static void set_normalization(struct xds_build *build, Envoy__HttpConnectionManager *manager)
{
    const Pb__MeshRequestNormalization *wanted = mesh_normalization(build->snapshot->mesh);
    if (wanted == NULL || !wanted->insecure_disable_path_normalization)
        manager->normalize_path = xds_true(build->arena);
    if (wanted == NULL)
        return;
    manager->merge_slashes = wanted->merge_slashes;
    manager->path_with_escaped_slashes_action =
        mesh_escaped_slashes_action(wanted->path_with_escaped_slashes_action);
    int action = mesh_underscores_action(wanted->headers_with_underscores_action);
    if (action == 0)
        return;
    manager->common_http_protocol_options =
        proto_new(build->arena, envoy__common_http_protocol_options);
    manager->common_http_protocol_options->headers_with_underscores_action = action;
}

Envoy__Filter *xds_hcm_filter(struct xds_build *build, const struct xds_hcm *hcm)
{
    struct arena *arena = build->arena;
    Envoy__HttpConnectionManager *manager = proto_new(arena, envoy__http_connection_manager);
    Envoy__HttpConnectionManager__UpgradeConfig *upgrade =
        proto_new(arena, envoy__http_connection_manager__upgrade_config);
    manager->stat_prefix = stat_name(arena, hcm->stat_prefix);
    set_route(build, manager, hcm);
    add_http_filters(arena, manager, hcm);
    manager->tracing = proto_new(arena, envoy__http_connection_manager__tracing);
    manager->tracing->random_sampling = proto_new(arena, envoy__percent); /* none */
    upgrade->upgrade_type = xds_text("websocket");
    manager->n_upgrade_configs = 1;
    manager->upgrade_configs = proto_array(arena, 1);
    manager->upgrade_configs[0] = upgrade;
    if (xds_is_http2(hcm->protocol))
        manager->http2_protocol_options = proto_new(arena, envoy__http2_protocol_options);
    if (hcm->inbound)
        set_normalization(build, manager);
    manager->access_log = xds_access_logs(build, XDS_LOG_FILTER, &manager->n_access_log);
    manager->forward_client_cert_details = hcm->xfcc;
    if (hcm->xfcc != ENVOY__HTTP_CONNECTION_MANAGER__FORWARD_CLIENT_CERT_DETAILS__SANITIZE) {
        /* Consul adds subject, certificate, chain and DNS names: 4 KB a request. Who calls is in
         * the URI alone. */
        manager->set_current_client_cert_details =
            proto_new(arena, envoy__http_connection_manager__set_current_client_cert_details);
        manager->set_current_client_cert_details->uri = true;
    }
    return xds_filter(arena, "envoy.filters.network.http_connection_manager",
                      xds_any(arena, manager));
}

Envoy__FilterChain *xds_filter_chain(struct arena *arena, Envoy__Filter **filters, size_t count)
{
    Envoy__FilterChain *chain = proto_new(arena, envoy__filter_chain);
    chain->n_filters = count;
    chain->filters = filters;
    return chain;
}
