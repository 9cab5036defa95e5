/* Listeners that show a part of Envoy's admin port: statistics for Prometheus and others, and
 * whether it is ready. Everything else is a 404 there, for the admin port can do harm. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/bootstrap_parts.h"

struct admin_listener {
    const char *name; /* of the statistics; the listener's has _listener behind it */
    const char *match, *path, *rewrite; /* match: "path" or "prefix" */
    const char *cluster;
    uint16_t cluster_port;
};

static json_t *make_routes(const struct admin_listener *listener)
{
    return json_pack("[{s:{s:s}, s:{s:s, s:s}}, {s:{s:s}, s:{s:i}}]", "match", listener->match,
                     listener->path, "route", "cluster", listener->cluster, "prefix_rewrite",
                     listener->rewrite, "match", "prefix", "/", "direct_response", "status", 404);
}

static json_t *make_manager(const struct admin_listener *listener)
{
    return json_pack(
        "{s:s, s:s, s:s, s:{s:s, s:[{s:s, s:[s], s:o}]}, s:[{s:s, s:{s:s}}]}", "@type",
        TYPE_PREFIX "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix", listener->name, "codec_type", "HTTP1", "route_config", "name",
        "self_admin_route", "virtual_hosts", "name", "self_admin", "domains", "*", "routes",
        make_routes(listener), "http_filters", "name", "envoy.filters.http.router", "typedConfig",
        "@type", TYPE_PREFIX "extensions.filters.http.router.v3.Router");
}

static json_t *make_tls(void)
{
    return json_pack(
        "{s:s, s:{s:s, s:{s:[{s:s}], s:{s:s}}}}", "name", "tls", "typedConfig", "@type",
        TYPE_PREFIX "extensions.transport_sockets.tls.v3.DownstreamTlsContext", "commonTlsContext",
        "tlsCertificateSdsSecretConfigs", "name", "prometheus_cert",
        "validationContextSdsSecretConfig", "name", "prometheus_validation_context");
}

/* The array `name` of an object, which is made if it is not there. Borrowed. */
static json_t *list_of(json_t *resources, const char *name)
{
    json_t *list = json_object_get(resources, name);
    if (list == NULL) {
        list = json_array();
        json_object_set_new(resources, name, list);
    }
    return list;
}

static void add_cluster(const struct bootstrap_spec *spec, const struct admin_listener *listener,
                        json_t *clusters)
{
    size_t index;
    json_t *cluster;
    json_array_foreach(clusters, index, cluster)
    {
        if (text_equal(json_string_value(json_object_get(cluster, "name")), listener->cluster))
            return;
    }
    cluster = bootstrap_static_cluster(
        listener->cluster, "5s",
        bootstrap_socket_address(spec->admin_address, listener->cluster_port));
    bootstrap_set_protocol(cluster, "http_protocol_options");
    json_array_append_new(clusters, cluster);
}

/* `tls`: a transport socket, stolen, or NULL. */
static void add_listener(const struct bootstrap_spec *spec, const struct admin_listener *listener,
                         const char *host, uint16_t port, json_t *tls, json_t *resources)
{
    json_t *chain = json_pack("{s:[{s:s, s:o}]}", "filters", "name",
                              "envoy.filters.network.http_connection_manager", "typedConfig",
                              make_manager(listener));
    if (tls != NULL)
        json_object_set_new(chain, "transportSocket", tls);
    json_array_append_new(list_of(resources, "listeners"),
                          json_pack("{s:s+, s:o, s:[o]}", "name", listener->name, "_listener",
                                    "address", bootstrap_socket_address(host, port),
                                    "filter_chains", chain));
    add_cluster(spec, listener, list_of(resources, "clusters"));
}

/* Where the configuration wants the listener; "" if it does not. Fresh memory. */
static bool read_bind_address(const struct bootstrap_spec *spec, const char *key, char **ret_host,
                              uint16_t *ret_port, struct error *error)
{
    const char *text;
    *ret_host = NULL;
    if (!bootstrap_text(spec, key, &text, error))
        return false;
    if (*text == '\0')
        return true;
    char *host;
    if (!text_split_host_port(text, false, &host, ret_port))
        return error_set(error, ERR_INVALID, "%s: \"%s\" is not of the form ip:port", key, text);
    if (text_is_ip(host)) {
        *ret_host = host;
        return true;
    }
    free(host);
    return error_set(error, ERR_INVALID,
                     "%s: Envoy resolves no names here: \"%s\" must start with an IP address "
                     "(0.0.0.0 for all)",
                     key, text);
}

static void add_prometheus_secrets(const struct bootstrap_prometheus *prometheus, json_t *resources)
{
    json_t *secrets = list_of(resources, "secrets");
    json_array_append_new(secrets, json_pack("{s:s, s:{s:{s:s}, s:{s:s}}}", "name",
                                             "prometheus_cert", "tlsCertificate",
                                             "certificateChain", "filename", prometheus->cert_file,
                                             "privateKey", "filename", prometheus->key_file));
    json_t *context = prometheus->ca_path != NULL
                          ? json_pack("{s:{s:s}}", "watchedDirectory", "path", prometheus->ca_path)
                          : json_pack("{s:{s:s}}", "trustedCa", "filename", prometheus->ca_file);
    json_array_append_new(secrets, json_pack("{s:s, s:o}", "name", "prometheus_validation_context",
                                             "validationContext", context));
}

static bool add_prometheus(const struct bootstrap_spec *spec, json_t *resources,
                           struct error *error)
{
    const struct bootstrap_prometheus *prometheus = &spec->prometheus;
    bool own = prometheus->backend_port == 0;
    const struct admin_listener listener = {
        .name = "envoy_prometheus_metrics",
        .match = "path",
        .path = prometheus->scrape_path,
        .rewrite = "/stats/prometheus",
        .cluster = own ? "self_admin" : "prometheus_backend",
        .cluster_port = own ? spec->admin_port : prometheus->backend_port,
    };
    char *host;
    uint16_t port;
    if (!read_bind_address(spec, "envoy_prometheus_bind_addr", &host, &port, error))
        return false;
    if (host == NULL)
        return true;
    bool tls = prometheus->cert_file != NULL;
    add_listener(spec, &listener, host, port, tls ? make_tls() : NULL, resources);
    if (tls)
        add_prometheus_secrets(prometheus, resources);
    free(host);
    return true;
}

static bool add_stats(const struct bootstrap_spec *spec, json_t *resources, struct error *error)
{
    const struct admin_listener listener = {
        .name = "envoy_metrics",
        .match = "prefix",
        .path = "/stats",
        .rewrite = "/stats",
        .cluster = "self_admin",
        .cluster_port = spec->admin_port,
    };
    char *host;
    uint16_t port;
    if (!read_bind_address(spec, "envoy_stats_bind_addr", &host, &port, error))
        return false;
    if (host != NULL)
        add_listener(spec, &listener, host, port, NULL, resources);
    free(host);
    return true;
}

bool bootstrap_add_admin_listeners(const struct bootstrap_spec *spec, json_t *resources,
                                   struct error *error)
{
    const struct admin_listener ready = {
        .name = "envoy_ready",
        .match = "path",
        .path = "/ready",
        .rewrite = "/ready",
        .cluster = "self_admin",
        .cluster_port = spec->admin_port,
    };
    if (!add_prometheus(spec, resources, error) || !add_stats(spec, resources, error))
        return false;
    if (spec->ready_address != NULL)
        add_listener(spec, &ready, spec->ready_address, spec->ready_port, NULL, resources);
    return true;
}
