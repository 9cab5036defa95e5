#include <string.h>

#include "base/text.h"
#include "envoy/cluster.pb-c.h"
#include "envoy/http_options.pb-c.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/duration.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"
#include "xds/build.h"

#define WAITING_NAMED 8 /* of the upstreams that have no way yet */

static Envoy__Cluster *cluster_new(struct xds_build *build, const char *name, int64_t timeout_ms)
{
    Envoy__Cluster *cluster = proto_new(build->arena, envoy__cluster);
    cluster->name = xds_text(name);
    cluster->cluster_discovery_type_case = ENVOY__CLUSTER__CLUSTER_DISCOVERY_TYPE_TYPE;
    cluster->connect_timeout = xds_duration_ms(build->arena, timeout_ms);
    return cluster;
}

static void set_no_panic(struct xds_build *build, Envoy__Cluster *cluster)
{
    cluster->common_lb_config = proto_new(build->arena, envoy__cluster__common_lb_config);
    cluster->common_lb_config->healthy_panic_threshold = proto_new(build->arena, envoy__percent);
}

static void set_http_options(struct xds_build *build, Envoy__Cluster *cluster,
                             Envoy__HttpProtocolOptions *options)
{
    Envoy__Cluster__TypedExtensionProtocolOptionsEntry *entry =
        proto_new(build->arena, envoy__cluster__typed_extension_protocol_options_entry);
    entry->key = xds_text("envoy.extensions.upstreams.http.v3.HttpProtocolOptions");
    entry->value = xds_any(build->arena, options);
    cluster->n_typed_extension_protocol_options = 1;
    cluster->typed_extension_protocol_options = proto_array(build->arena, 1);
    cluster->typed_extension_protocol_options[0] = entry;
}

static void set_http2(struct xds_build *build, Envoy__Cluster *cluster)
{
    Envoy__HttpProtocolOptions *options = proto_new(build->arena, envoy__http_protocol_options);
    Envoy__HttpProtocolOptions__ExplicitHttpConfig *config =
        proto_new(build->arena, envoy__http_protocol_options__explicit_http_config);
    config->protocol_config_case =
        ENVOY__HTTP_PROTOCOL_OPTIONS__EXPLICIT_HTTP_CONFIG__PROTOCOL_CONFIG_HTTP2_PROTOCOL_OPTIONS;
    config->http2_protocol_options = proto_new(build->arena, envoy__http2_protocol_options);
    options->upstream_protocol_options_case =
        ENVOY__HTTP_PROTOCOL_OPTIONS__UPSTREAM_PROTOCOL_OPTIONS_EXPLICIT_HTTP_CONFIG;
    options->explicit_http_config = config;
    set_http_options(build, cluster, options);
}

static void set_dns(struct xds_build *build, Envoy__Cluster *cluster, bool strict)
{
    cluster->type = strict ? ENVOY__CLUSTER__DISCOVERY_TYPE__STRICT_DNS
                           : ENVOY__CLUSTER__DISCOVERY_TYPE__LOGICAL_DNS;
    cluster->dns_refresh_rate = xds_duration_ms(build->arena, 10000);
    cluster->dns_lookup_family = ENVOY__CLUSTER__DNS_LOOKUP_FAMILY__V4_ONLY;
}

/* A name of LOGICAL_DNS stands for all that it resolves to, and takes no second one beside it: with
 * several gateways, what is behind the others would be lost, and the only one could die. */
static bool wants_strict_dns(const struct xds_build *build, const struct endpoint_list *endpoints)
{
    const char *wanted = build->options.dns_discovery_type;
    if (!text_empty(wanted))
        return text_equal_nocase(wanted, "strict_dns");
    for (size_t i = 1; i < endpoints->count; i++) {
        if (strcmp(endpoints->items[i].address, endpoints->items[0].address) != 0 ||
            endpoints->items[i].port != endpoints->items[0].port)
            return true;
    }
    return false;
}

/* Adds the cluster with its endpoints: by EDS, or, as EDS does not resolve names, inline with DNS
 * when there is a name among them. */
static void add_cluster(struct xds_build *build, Envoy__Cluster *cluster,
                        const struct endpoint_list *endpoints)
{
    if (xds_has_hostnames(endpoints)) {
        bool strict = wants_strict_dns(build, endpoints);
        set_dns(build, cluster, strict);
        cluster->load_assignment = xds_dns_assignment(build, cluster->name, endpoints, !strict);
        xds_add(build, XDS_CLUSTER, cluster->name, cluster, NULL);
        return;
    }
    cluster->type = ENVOY__CLUSTER__DISCOVERY_TYPE__EDS;
    cluster->eds_cluster_config = proto_new(build->arena, envoy__cluster__eds_cluster_config);
    cluster->eds_cluster_config->eds_config = xds_ads_source(build);
    xds_add(build, XDS_CLUSTER, cluster->name, cluster, xds_child(build, cluster->name));
    xds_add(build, XDS_ENDPOINT, cluster->name,
            xds_load_assignment(build, cluster->name, endpoints), NULL);
}

static Envoy__CircuitBreakers *connection_limit(struct xds_build *build,
                                                const struct upstream_options *limits)
{
    struct arena *arena = build->arena;
    Envoy__CircuitBreakers *breakers = proto_new(arena, envoy__circuit_breakers);
    if (limits->max_connections < 0 && limits->max_pending_requests < 0 &&
        limits->max_concurrent_requests < 0)
        return breakers;
    Envoy__CircuitBreakers__Thresholds *thresholds =
        proto_new(arena, envoy__circuit_breakers__thresholds);
    if (limits->max_connections >= 0)
        thresholds->max_connections = xds_uint32(arena, (uint32_t)limits->max_connections);
    if (limits->max_pending_requests >= 0)
        thresholds->max_pending_requests =
            xds_uint32(arena, (uint32_t)limits->max_pending_requests);
    if (limits->max_concurrent_requests >= 0)
        thresholds->max_requests = xds_uint32(arena, (uint32_t)limits->max_concurrent_requests);
    breakers->n_thresholds = 1;
    breakers->thresholds = proto_array(arena, 1);
    breakers->thresholds[0] = thresholds;
    return breakers;
}

/* Consul lets a peered cluster eject 100 % of its endpoints. With one gateway on the other side,
 * five failures of the service behind it then cut off every service of that peer for 30 s. Envoy
 * ejects only while (ejected + 1) / all stays within the percentage, so at 99 the last one stays,
 * also when it is the only one. (Envoy before 1.31 may eject one regardless; it is refused.) The
 * value does not depend on the endpoints: a changed cluster would drop its connections. */
#define PEERED_EJECTION_MAX 99

static Envoy__OutlierDetection *
outlier_detection(struct xds_build *build, const struct upstream_options *options, bool peered)
{
    struct arena *arena = build->arena;
    int64_t percent = options->max_ejection_percent;
    Envoy__OutlierDetection *outliers = proto_new(arena, envoy__outlier_detection);
    if (peered && (percent < 0 || percent > PEERED_EJECTION_MAX))
        percent = PEERED_EJECTION_MAX;
    if (percent >= 0)
        outliers->max_ejection_percent = xds_uint32(arena, (uint32_t)percent);
    if (options->max_failures > 0)
        outliers->consecutive_5xx = xds_uint32(arena, (uint32_t)options->max_failures);
    if (options->enforcing_consecutive_5xx >= 0)
        outliers->enforcing_consecutive_5xx =
            xds_uint32(arena, (uint32_t)options->enforcing_consecutive_5xx);
    if (options->interval_ns > 0)
        outliers->interval = xds_duration_ns(arena, options->interval_ns);
    if (options->base_ejection_time_ns > 0)
        outliers->base_ejection_time = xds_duration_ns(arena, options->base_ejection_time_ns);
    return outliers;
}

void xds_app_cluster(struct xds_build *build, const char *name, const char *protocol, uint16_t port)
{
    const struct proxy_snapshot *snapshot = build->snapshot;
    const Pb__ConnectProxyConfig *proxy = snapshot->registration->proxy;
    struct arena *arena = build->arena;
    const char *host = proxy != NULL && !text_empty(proxy->local_service_address)
                           ? proxy->local_service_address
                           : "127.0.0.1";
    Envoy__Cluster *cluster = cluster_new(build, name, build->options.local_connect_timeout_ms);
    struct endpoint endpoint = {.address = host, .port = port};
    struct endpoint_list endpoints = {1, &endpoint};
    Envoy__ClusterLoadAssignment *load = xds_load_assignment(build, name, &endpoints);
    Envoy__LbEndpoint *lb = load->endpoints[0]->lb_endpoints[0];
    lb->health_status = ENVOY__HEALTH_STATUS__UNKNOWN; /* unset: it is not watched from here */
    lb->load_balancing_weight = NULL;
    cluster->type = ENVOY__CLUSTER__DISCOVERY_TYPE__STATIC;
    if (proxy != NULL && !text_empty(proxy->local_service_socket_path) &&
        text_equal(name, "local_app"))
        lb->endpoint->address = xds_pipe(arena, proxy->local_service_socket_path, 0);
    else if (!text_is_ip(host))
        set_dns(build, cluster, true);
    cluster->load_assignment = load;
    if (build->options.max_inbound_connections > 0) {
        struct upstream_options limits = {
            .max_connections = build->options.max_inbound_connections,
            .max_pending_requests = OPTION_UNSET,
            .max_concurrent_requests = OPTION_UNSET,
        };
        cluster->circuit_breakers = connection_limit(build, &limits);
    }
    if (xds_is_http2(protocol)) {
        Envoy__HttpProtocolOptions *options = proto_new(arena, envoy__http_protocol_options);
        Envoy__HttpProtocolOptions__UseDownstreamHttpConfig *config =
            proto_new(arena, envoy__http_protocol_options__use_downstream_http_config);
        config->http_protocol_options = proto_new(arena, envoy__http1_protocol_options);
        config->http2_protocol_options = proto_new(arena, envoy__http2_protocol_options);
        options->upstream_protocol_options_case =
            ENVOY__HTTP_PROTOCOL_OPTIONS__UPSTREAM_PROTOCOL_OPTIONS_USE_DOWNSTREAM_PROTOCOL_CONFIG;
        options->use_downstream_protocol_config = config;
        set_http_options(build, cluster, options);
    }
    xds_add(build, XDS_CLUSTER, name, cluster, NULL);
}

static void add_local_app(struct xds_build *build)
{
    const Pb__ConnectProxyConfig *proxy = build->snapshot->registration->proxy;
    xds_app_cluster(build, "local_app", build->snapshot->protocol,
                    proxy != NULL ? (uint16_t)proxy->local_service_port : 0);
}

static void add_upstream(struct xds_build *build, const struct upstream *upstream)
{
    struct upstream_options options;
    bool peered = !text_empty(upstream->definition->destination_peer);
    upstream_options_read(upstream, build->arena, &options, &build->problems);
    Envoy__Cluster *cluster =
        cluster_new(build, upstream->cluster_name, options.connect_timeout_ms);
    if (!peered)
        cluster->alt_stat_name = xds_text(upstream->cluster_name);
    set_no_panic(build, cluster);
    cluster->circuit_breakers = connection_limit(build, &options);
    cluster->outlier_detection = outlier_detection(build, &options, peered);
    if (xds_is_http2(upstream->protocol))
        set_http2(build, cluster);
    cluster->transport_socket =
        xds_tls_upstream(build, upstream->bundle->roots_pem, upstream->spiffe_ids,
                         upstream->spiffe_count, upstream->sni);
    add_cluster(build, cluster, &upstream->endpoints);
}

/* In one line however many they are: it is told anew with each that comes. */
static void tell_waiting(struct xds_build *build)
{
    struct buffer names = {0};
    size_t waiting = 0;
    for (size_t i = 0; i < build->snapshot->upstream_count; i++) {
        const struct upstream *upstream = &build->snapshot->upstreams[i];
        if (xds_can_dial(upstream) || upstream->definition == NULL ||
            text_empty(upstream->definition->destination_peer))
            continue;
        if (waiting++ < WAITING_NAMED)
            buffer_printf(&names, "%s%s", waiting > 1 ? ", " : "", upstream->id);
    }
    if (waiting > WAITING_NAMED)
        buffer_printf(&names, " and %zu more", waiting - WAITING_NAMED);
    if (waiting > 0)
        xds_problem(
            build,
            "no way yet to upstreams %s: there must be a peering of that name, and the peer "
            "must export the service and have a mesh gateway",
            buffer_text(&names));
    buffer_free(&names);
}

void xds_sidecar_clusters(struct xds_build *build)
{
    tell_waiting(build);
    add_local_app(build);
    for (size_t i = 0; i < build->snapshot->upstream_count; i++) {
        const struct upstream *upstream = &build->snapshot->upstreams[i];
        if (!xds_can_dial(upstream))
            continue;
        for (size_t j = 0; upstream->chain != NULL && j < upstream->chain->target_count; j++)
            add_upstream(build, &upstream->targets[j]);
        if (upstream->chain == NULL)
            add_upstream(build, upstream);
    }
}

#define EXPORTED_TIMEOUT_MS 5000

/* The sni_cluster filter looks for the SNI as Envoy sees it: in lower case, whoever sent it. */
static char *name_for_sni(struct xds_build *build, const char *sni)
{
    char *name = arena_strdup(build->arena, sni);
    text_lower(name);
    return name;
}

/* Not for exported clusters, nor for the way to peers' servers, as in Consul. */
static void set_gateway_limits(struct xds_build *build, Envoy__Cluster *cluster)
{
    if (build->snapshot->gateway_limits == NULL)
        return;
    struct upstream_options limits = upstream_options_limits(build->snapshot->gateway_limits);
    cluster->circuit_breakers = connection_limit(build, &limits);
}

/* What local callers name by SNI: passed through as it is. */
static void add_named_service(struct xds_build *build, const struct gateway_service *service)
{
    int64_t timeout = service->connect_timeout_ms > 0 ? service->connect_timeout_ms
                                                      : build->options.connect_timeout_ms;
    Envoy__Cluster *cluster = cluster_new(build, name_for_sni(build, service->sni), timeout);
    cluster->outlier_detection = proto_new(build->arena, envoy__outlier_detection);
    set_gateway_limits(build, cluster);
    add_cluster(build, cluster, &service->endpoints);
}

/* The way of a peer's call is the exporter's to shape: the gateway's own time does not count. */
static void add_exported_target(struct xds_build *build, const struct gateway_service *service,
                                int64_t timeout_ms)
{
    Envoy__Cluster *cluster = cluster_new(build, xds_exported_name(build, service), timeout_ms);
    cluster->alt_stat_name = cluster->name;
    set_no_panic(build, cluster);
    cluster->circuit_breakers = proto_new(build->arena, envoy__circuit_breakers);
    cluster->outlier_detection = proto_new(build->arena, envoy__outlier_detection);
    if (xds_is_http2(service->protocol))
        set_http2(build, cluster);
    /* TCP passes through as it is, encrypted from end to end. */
    if (xds_is_http(service->protocol))
        cluster->transport_socket = xds_tls_upstream(build, build->snapshot->own_bundle->roots_pem,
                                                     &service->spiffe_id, 1, service->sni);
    add_cluster(build, cluster, &service->endpoints);
}

static void add_gateway_service(struct xds_build *build, const struct gateway_service *service)
{
    add_named_service(build, service);
    for (size_t i = 0; i < service->subset_count; i++)
        add_named_service(build, &service->subsets[i]);
    if (!xds_is_exported(build, service))
        return;
    if (service->chain == NULL)
        add_exported_target(build, service, EXPORTED_TIMEOUT_MS);
    for (size_t i = 0; service->chain != NULL && i < service->chain->target_count; i++)
        add_exported_target(build, &service->targets[i], service->targets[i].connect_timeout_ms);
}

static Envoy__UpstreamConnectionOptions *keepalive(struct xds_build *build)
{
    const struct proxy_options *options = &build->options;
    if (!options->keepalive)
        return NULL;
    Envoy__UpstreamConnectionOptions *connection =
        proto_new(build->arena, envoy__upstream_connection_options);
    connection->tcp_keepalive = proto_new(build->arena, envoy__tcp_keepalive);
    if (options->keepalive_time > 0)
        connection->tcp_keepalive->keepalive_time =
            xds_uint32(build->arena, (uint32_t)options->keepalive_time);
    if (options->keepalive_interval > 0)
        connection->tcp_keepalive->keepalive_interval =
            xds_uint32(build->arena, (uint32_t)options->keepalive_interval);
    if (options->keepalive_probes > 0)
        connection->tcp_keepalive->keepalive_probes =
            xds_uint32(build->arena, (uint32_t)options->keepalive_probes);
    return connection;
}

void xds_gateway_clusters(struct xds_build *build)
{
    const struct proxy_snapshot *snapshot = build->snapshot;
    for (size_t i = 0; i < snapshot->service_count; i++)
        add_gateway_service(build, &snapshot->services[i]);
    for (size_t i = 0; i < snapshot->control_count; i++) {
        const struct gateway_control *control = &snapshot->controls[i];
        Envoy__Cluster *cluster =
            cluster_new(build, control->server_name, build->options.connect_timeout_ms);
        if (control->own)
            set_gateway_limits(build, cluster);
        cluster->outlier_detection = proto_new(build->arena, envoy__outlier_detection);
        add_cluster(build, cluster, &control->endpoints);
    }
    for (size_t i = 0; i < snapshot->import_count; i++) {
        Envoy__Cluster *cluster = cluster_new(build, name_for_sni(build, snapshot->imports[i].sni),
                                              build->options.connect_timeout_ms);
        cluster->outlier_detection = proto_new(build->arena, envoy__outlier_detection);
        cluster->upstream_connection_options = keepalive(build);
        set_gateway_limits(build, cluster);
        add_cluster(build, cluster, &snapshot->imports[i].endpoints);
    }
}
