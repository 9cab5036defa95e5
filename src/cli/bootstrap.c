#include "cli/bootstrap.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "base/text.h"
#include "config/access_log.h"

/* ---- statistics tags ----
 *
 * A cluster is named <hash>~<subset>.<service>.<namespace>.<partition>.<dc>.<routing>.<trust
 * domain>.consul, where hash, subset and partition may be missing. Each tag captures one part of
 * it, or a run of parts from the start; the outer group is what Envoy cuts out of the statistic's
 * name. */

enum part { HASH, SUBSET, SERVICE, NAMESPACE, PARTITION, DATACENTER, ROUTING, TRUST_DOMAIN, PARTS };

static const struct {
    const char *before, *after;
} part_frames[PARTS] = {
    [HASH] = {"(?:", "~)?"},   [SUBSET] = {"(?:", "\\.)?"},           [SERVICE] = {"", "\\."},
    [NAMESPACE] = {"", "\\."}, [PARTITION] = {"(?:", "\\.)?"},        [DATACENTER] = {"", "\\."},
    [ROUTING] = {"", "\\."},   [TRUST_DOMAIN] = {"", "\\.consul\\."},
};

struct cluster_tag {
    const char *name;
    enum part first, last; /* captured */
    bool internal;         /* only clusters of this kind of cluster: routing is "internal…" */
    bool deprecated;       /* has a twin without "destination" */
};

static const struct cluster_tag cluster_tags[] = {
    {"custom_hash", HASH, HASH, false, true},
    {"service_subset", SUBSET, SUBSET, false, true},
    {"service", SERVICE, SERVICE, false, true},
    {"namespace", NAMESPACE, NAMESPACE, false, true},
    {"partition", PARTITION, PARTITION, true, false},
    {"datacenter", DATACENTER, DATACENTER, true, true},
    {"routing_type", ROUTING, ROUTING, false, true},
    {"trust_domain", TRUST_DOMAIN, TRUST_DOMAIN, false, true},
    {"target", HASH, DATACENTER, false, true},
    {"full_target", HASH, TRUST_DOMAIN, false, true},
};

static char *cluster_regex(const struct cluster_tag *tag, const char *prefix)
{
    bool run = tag->first != tag->last;
    struct buffer regex = {0};
    buffer_printf(&regex, "^cluster\\.%s(", prefix);
    for (int part = 0; part < PARTS; part++) {
        if (run && part == (int)tag->first)
            buffer_add_byte(&regex, '(');
        buffer_add_text(&regex, part_frames[part].before);
        const char *word = part == ROUTING && tag->internal ? "internal[^.]*" : "[^.]+";
        buffer_printf(&regex, !run && part == (int)tag->first ? "(%s)" : "%s", word);
        /* A run ends before the dot behind its last part. */
        if (run && part == (int)tag->last)
            buffer_add_byte(&regex, ')');
        buffer_add_text(&regex, part_frames[part].after);
    }
    buffer_add_byte(&regex, ')');
    return buffer_take(&regex);
}

static void add_regex_tag(json_t *tags, const char *name, const char *regex)
{
    json_array_append_new(tags, json_pack("{s:s, s:s}", "regex", regex, "tag_name", name));
}

static void add_cluster_tags(json_t *tags, const char *scope, const char *prefix, bool deprecated)
{
    for (size_t i = 0; i < sizeof cluster_tags / sizeof cluster_tags[0]; i++) {
        const struct cluster_tag *tag = &cluster_tags[i];
        if (deprecated && !tag->deprecated)
            continue;
        char *name = mem_printf("%s.%s", scope, tag->name);
        char *regex = cluster_regex(tag, prefix);
        add_regex_tag(tags, name, regex);
        free(name);
        free(regex);
        if (!deprecated && strcmp(tag->name, "datacenter") == 0)
            add_regex_tag(
                tags, "consul.destination.peer",
                "^cluster\\.([^.]+\\.(?:[^.]+\\.)?([^.]+)\\.external\\.[^.]+\\.consul\\.)");
    }
}

/* Listeners of upstreams: (tcp|http).upstream[_peered].<service>.<namespace>.<partition>.<dc or
 * peer>. */
static void add_upstream_tags(json_t *tags)
{
    add_regex_tag(
        tags, "consul.upstream.service",
        "^(?:tcp|http)\\.upstream(?:_peered)?\\.(([^.]+)(?:\\.[^.]+)?(?:\\.[^.]+)?\\.[^.]+\\.)");
    add_regex_tag(tags, "consul.upstream.datacenter",
                  "^(?:tcp|http)\\.upstream\\.([^.]+(?:\\.[^.]+)?(?:\\.[^.]+)?\\.([^.]+)\\.)");
    add_regex_tag(tags, "consul.upstream.peer",
                  "^(?:tcp|http)\\.upstream_peered\\.([^.]+(?:\\.[^.]+)?\\.([^.]+)\\.)");
    add_regex_tag(
        tags, "consul.upstream.namespace",
        "^(?:tcp|http)\\.upstream(?:_peered)?\\.([^.]+(?:\\.([^.]+))?(?:\\.[^.]+)?\\.[^.]+\\.)");
    add_regex_tag(tags, "consul.upstream.partition",
                  "^(?:tcp|http)\\.upstream\\.([^.]+(?:\\.[^.]+)?(?:\\.([^.]+))?\\.[^.]+\\.)");
}

static void add_fixed_tag(json_t *tags, const char *name, const char *value)
{
    json_array_append_new(tags, json_pack("{s:s, s:s}", "tag_name", name, "fixed_value", value));
}

/* `envoy_stats_tags`: "name=value", or a name alone, which gets the value 1. */
static void add_user_tags(json_t *tags, const json_t *config)
{
    size_t index;
    json_t *entry;
    json_array_foreach(json_object_get(config, "envoy_stats_tags"), index, entry)
    {
        const char *text = json_string_value(entry);
        if (text == NULL)
            continue;
        const char *equals = strchr(text, '=');
        char *name = mem_strndup(text, equals != NULL ? (size_t)(equals - text) : strlen(text));
        text_lower(name);
        add_fixed_tag(tags, name, equals != NULL ? equals + 1 : "1");
        free(name);
    }
}

static json_t *make_stats_config(const struct bootstrap_spec *spec)
{
    json_t *tags = json_array();
    add_user_tags(tags, spec->config);
    add_cluster_tags(tags, "consul.destination", "(?:passthrough~)?", false);
    add_upstream_tags(tags);
    if (!spec->omit_deprecated_tags)
        add_cluster_tags(tags, "consul", "", true);
    add_fixed_tag(tags, "local_cluster", spec->proxy_source);
    add_fixed_tag(tags, "consul.source.service", spec->proxy_source);
    add_fixed_tag(tags, "consul.source.namespace", spec->namespace);
    add_fixed_tag(tags, "consul.source.partition", spec->partition);
    add_fixed_tag(tags, "consul.source.datacenter", spec->datacenter);
    return json_pack("{s:o, s:b}", "stats_tags", tags, "use_all_default_tags", 1);
}

/* ---- clusters and listeners ---- */

static json_t *make_socket_address(const char *address, uint16_t port)
{
    return json_pack("{s:{s:s, s:i}}", "socket_address", "address", address, "port_value",
                     (int)port);
}

static json_t *make_static_cluster(const char *name, json_t *address)
{
    return json_pack("{s:s, s:b, s:s, s:s, s:{s:s, s:[{s:[{s:{s:o}}]}]}}", "name", name,
                     "ignore_health_on_host_removal", 0, "connect_timeout", "1s", "type", "STATIC",
                     "loadAssignment", "clusterName", name, "endpoints", "lbEndpoints", "endpoint",
                     "address", address);
}

#define TYPE_PREFIX "type.googleapis.com/envoy."

static json_t *make_agent_cluster(const struct bootstrap_spec *spec)
{
    json_t *address = spec->agent_socket != NULL
                          ? json_pack("{s:{s:s}}", "pipe", "path", spec->agent_socket)
                          : make_socket_address(spec->agent_address, spec->agent_port);
    json_t *cluster = make_static_cluster("local_agent", address);
    static const char options[] = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    json_object_set_new(cluster, "typed_extension_protocol_options",
                        json_pack("{s:{s:s, s:{s:{}}}}", options, "@type",
                                  TYPE_PREFIX "extensions.upstreams.http.v3.HttpProtocolOptions",
                                  "explicit_http_config", "http2_protocol_options"));
    if (spec->agent_ca_pem != NULL)
        json_object_set_new(
            cluster, "transport_socket",
            json_pack("{s:s, s:{s:s, s:{s:{s:{s:s}}}}}", "name", "tls", "typed_config", "@type",
                      TYPE_PREFIX "extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                      "common_tls_context", "validation_context", "trusted_ca", "inline_string",
                      spec->agent_ca_pem));
    return cluster;
}

/* A plain HTTP listener with one route to the admin port; everything else is a 404. */
static json_t *make_admin_listener(const char *name, const char *address, uint16_t port,
                                   const char *path)
{
    json_t *routes = json_pack("[{s:{s:s}, s:{s:s}}, {s:{s:s}, s:{s:i}}]", "match", "path", path,
                               "route", "cluster", "self_admin", "match", "prefix", "/",
                               "direct_response", "status", 404);
    json_t *manager = json_pack(
        "{s:s, s:s, s:s, s:{s:s, s:[{s:s, s:[s], s:o}]}, s:[{s:s, s:{s:s}}]}", "@type",
        TYPE_PREFIX "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix", name, "codec_type", "HTTP1", "route_config", "name", "self_admin_route",
        "virtual_hosts", "name", "self_admin", "domains", "*", "routes", routes, "http_filters",
        "name", "envoy.filters.http.router", "typed_config", "@type",
        TYPE_PREFIX "extensions.filters.http.router.v3.Router");
    return json_pack("{s:s, s:o, s:[{s:[{s:s, s:o}]}]}", "name", name, "address",
                     make_socket_address(address, port), "filter_chains", "filters", "name",
                     "envoy.filters.network.http_connection_manager", "typed_config", manager);
}

static json_t *make_static_resources(const struct bootstrap_spec *spec)
{
    json_t *clusters = json_pack("[o]", make_agent_cluster(spec));
    json_t *resources = json_pack("{s:o}", "clusters", clusters);
    if (spec->ready_address != NULL) {
        json_array_append_new(
            clusters, make_static_cluster("self_admin", make_socket_address(spec->admin_address,
                                                                            spec->admin_port)));
        json_object_set_new(
            resources, "listeners",
            json_pack("[o]", make_admin_listener("envoy_ready_listener", spec->ready_address,
                                                 spec->ready_port, "/ready")));
    }
    return resources;
}

static json_t *make_dynamic_resources(const struct bootstrap_spec *spec)
{
    json_t *ads = json_pack("{s:{}, s:s, s:s}", "ads", "initial_fetch_timeout", "0s",
                            "resource_api_version", "V3");
    json_t *config = json_pack("{s:O, s:o}", "lds_config", ads, "cds_config", ads);
    json_object_set_new(config, "ads_config",
                        json_pack("{s:s, s:s, s:{s:[{s:s, s:s}], s:{s:s}}}", "api_type",
                                  "DELTA_GRPC", "transport_api_version", "V3", "grpc_services",
                                  "initial_metadata", "key", "x-consul-token", "value", spec->token,
                                  "envoy_grpc", "cluster_name", "local_agent"));
    return config;
}

static json_t *list_unapplied(const json_t *config)
{
    static const char *const known[] = {
        "envoy_statsd_url",
        "envoy_dogstatsd_url",
        "envoy_prometheus_bind_addr",
        "envoy_stats_bind_addr",
        "envoy_bootstrap_json_tpl",
        "envoy_extra_static_clusters_json",
        "envoy_extra_static_listeners_json",
        "envoy_extra_stats_sinks_json",
        "envoy_stats_config_json",
        "envoy_tracing_json",
        "envoy_telemetry_collector_bind_socket_dir",
    };
    json_t *unapplied = json_array();
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (json_object_get(config, known[i]) != NULL)
            json_array_append_new(unapplied, json_string(known[i]));
    }
    return unapplied;
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text == NULL ? "" : text;
}

/* Requests to the administration interface are logged as those of the listeners are. */
static json_t *make_access_log(const struct bootstrap_spec *spec)
{
    const json_t *logs = spec->access_logs;
    if (!json_is_true(json_object_get(logs, "Enabled")))
        return json_pack("{s:s, s:{s:s, s:s}}", "name", "envoy.access_loggers.file", "typed_config",
                         "@type", TYPE_PREFIX "extensions.access_loggers.file.v3.FileAccessLog",
                         "path", spec->admin_access_log);
    const char *type = text_of(logs, "Type"), *text = text_of(logs, "TextFormat");
    const char *url = strcmp(type, "file") == 0     ? "file.v3.FileAccessLog"
                      : strcmp(type, "stderr") == 0 ? "stream.v3.StderrAccessLog"
                                                    : "stream.v3.StdoutAccessLog";
    char *type_url = mem_printf("%sextensions.access_loggers.%s", TYPE_PREFIX, url);
    json_t *format = access_log_json_format(text_of(logs, "JSONFormat"), text);
    if (format != NULL) {
        format = json_pack("{s:o}", "json_format", format);
    } else {
        char *line = mem_printf("%s%s", text, text_ends(text, "\n") ? "" : "\n");
        format = json_pack("{s:{s:s}}", "text_format_source", "inline_string", line);
        free(line);
    }
    json_t *sink = json_pack("{s:s, s:o}", "@type", type_url, "log_format", format);
    free(type_url);
    if (strcmp(type, "file") == 0)
        json_object_set_new(sink, "path", json_string(text_of(logs, "Path")));
    return json_pack("{s:s, s:o}", "name", "Consul Listener Filter Log", "typed_config", sink);
}

json_t *bootstrap_make(const struct bootstrap_spec *spec, json_t **ret_unapplied)
{
    json_t *metadata =
        json_pack("{s:s, s:s}", "namespace", spec->namespace, "partition", spec->partition);
    if (spec->node_name != NULL)
        json_object_set_new(metadata, "node_name", json_string(spec->node_name));
    json_t *bootstrap = json_pack("{s:{s:[o], s:o}, s:{s:s, s:s, s:o}, s:{s:[{s:s, s:{s:i}}]}}",
                                  "admin", "access_log", make_access_log(spec), "address",
                                  make_socket_address(spec->admin_address, spec->admin_port),
                                  "node", "cluster", spec->proxy_source, "id", spec->proxy_id,
                                  "metadata", metadata, "layered_runtime", "layers", "name", "base",
                                  "static_layer", "re2.max_program_size.error_level", 1048576);
    json_object_set_new(bootstrap, "static_resources", make_static_resources(spec));
    json_object_set_new(bootstrap, "stats_config", make_stats_config(spec));
    json_t *flush = json_object_get(spec->config, "envoy_stats_flush_interval");
    if (json_is_string(flush))
        json_object_set(bootstrap, "stats_flush_interval", flush);
    json_object_set_new(bootstrap, "dynamic_resources", make_dynamic_resources(spec));
    *ret_unapplied = list_unapplied(spec->config);
    return bootstrap;
}
