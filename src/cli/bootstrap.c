#include "cli/bootstrap.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "cli/bootstrap_parts.h"
#include "config/access_log.h"
#include "config/envoy_json.h"
#include "text/json.h"

bool bootstrap_text(const struct bootstrap_spec *spec, const char *key, const char **ret_text,
                    struct error *error)
{
    const json_t *value = json_get_nocase(spec->config, key);
    if (value != NULL && !json_is_string(value))
        return error_set(error, ERR_INVALID, "%s must be a text", key);
    *ret_text = value == NULL ? "" : json_string_value(value);
    return true;
}

json_t *bootstrap_socket_address(const char *address, uint16_t port)
{
    return json_pack("{s:{s:s, s:i}}", "socket_address", "address", address, "port_value",
                     (int)port);
}

json_t *bootstrap_static_cluster(const char *name, const char *timeout, json_t *address)
{
    return json_pack("{s:s, s:b, s:s, s:s, s:{s:s, s:[{s:[{s:{s:o}}]}]}}", "name", name,
                     "ignore_health_on_host_removal", 0, "connect_timeout", timeout, "type",
                     "STATIC", "loadAssignment", "clusterName", name, "endpoints", "lbEndpoints",
                     "endpoint", "address", address);
}

void bootstrap_set_protocol(json_t *cluster, const char *protocol)
{
    static const char options[] = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    json_object_set_new(cluster, "typed_extension_protocol_options",
                        json_pack("{s:{s:s, s:{s:{}}}}", options, "@type",
                                  TYPE_PREFIX "extensions.upstreams.http.v3.HttpProtocolOptions",
                                  "explicit_http_config", protocol));
}

static json_t *make_agent_cluster(const struct bootstrap_spec *spec)
{
    json_t *address = spec->agent_socket != NULL
                          ? json_pack("{s:{s:s}}", "pipe", "path", spec->agent_socket)
                          : bootstrap_socket_address(spec->agent_address, spec->agent_port);
    json_t *cluster = bootstrap_static_cluster("local_agent", "1s", address);
    bootstrap_set_protocol(cluster, "http2_protocol_options");
    if (spec->agent_ca_pem != NULL)
        json_object_set_new(
            cluster, "transport_socket",
            json_pack("{s:s, s:{s:s, s:{s:{s:{s:s}}}}}", "name", "tls", "typed_config", "@type",
                      TYPE_PREFIX "extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                      "common_tls_context", "validation_context", "trusted_ca", "inline_string",
                      spec->agent_ca_pem));
    return cluster;
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

/* ---- what the configuration adds ---- */

static bool set_static_resources(json_t *bootstrap, const struct bootstrap_spec *spec,
                                 struct error *error)
{
    json_t *clusters = json_pack("[o]", make_agent_cluster(spec)), *more = NULL;
    json_t *resources = json_pack("{s:o}", "clusters", clusters);
    json_object_set_new(bootstrap, "static_resources", resources);
    if (!config_read_envoy_json(spec->config, "envoy_extra_static_clusters_json", &more, error))
        return false;
    json_array_extend(clusters, more);
    json_decref(more);
    if (!config_read_envoy_json(spec->config, "envoy_extra_static_listeners_json", &more, error))
        return false;
    if (more != NULL)
        json_object_set_new(resources, "listeners", more);
    return bootstrap_add_admin_listeners(spec, resources, error);
}

static bool set_statistics(json_t *bootstrap, const struct bootstrap_spec *spec,
                           struct error *error)
{
    json_t *config, *sinks = bootstrap_stats_sinks(spec, error);
    if (sinks == NULL)
        return false;
    if (json_array_size(sinks) > 0)
        json_object_set(bootstrap, "stats_sinks", sinks);
    json_decref(sinks);
    const char *flush;
    if (!config_read_envoy_json(spec->config, "envoy_stats_config_json", &config, error) ||
        !bootstrap_text(spec, "envoy_stats_flush_interval", &flush, error))
        return false;
    json_object_set_new(bootstrap, "stats_config",
                        config != NULL ? config : bootstrap_stats_config(spec));
    if (*flush != '\0')
        json_object_set_new(bootstrap, "stats_flush_interval", json_string(flush));
    return true;
}

static bool set_tracing(json_t *bootstrap, const struct bootstrap_spec *spec, struct error *error)
{
    json_t *tracing;
    if (!config_read_envoy_json(spec->config, "envoy_tracing_json", &tracing, error))
        return false;
    if (tracing != NULL)
        json_object_set_new(bootstrap, "tracing", tracing);
    return true;
}

static bool refuse_unsupported(const struct bootstrap_spec *spec, struct error *error)
{
    static const struct {
        const char *key, *instead;
    } unsupported[] = {
        {"envoy_bootstrap_json_tpl",
         "it is a template in Go's language, which Pons does not read: use "
         "envoy_extra_static_clusters_json, envoy_extra_static_listeners_json, "
         "envoy_extra_stats_sinks_json, envoy_stats_config_json and envoy_tracing_json, or change "
         "what -bootstrap prints and start Envoy with that"},
        {"envoy_telemetry_collector_bind_socket_dir",
         "Pons leads to no telemetry collector: use envoy_extra_stats_sinks_json with a cluster "
         "of envoy_extra_static_clusters_json"},
    };
    for (size_t i = 0; i < sizeof unsupported / sizeof unsupported[0]; i++) {
        const char *text;
        if (!bootstrap_text(spec, unsupported[i].key, &text, error))
            return false;
        if (*text != '\0')
            return error_set(error, ERR_UNSUPPORTED, "%s is not supported: %s", unsupported[i].key,
                             unsupported[i].instead);
    }
    return true;
}

/* ---- the whole ---- */

static json_t *make_node(const struct bootstrap_spec *spec)
{
    json_t *metadata =
        json_pack("{s:s, s:s}", "namespace", spec->namespace, "partition", spec->partition);
    if (spec->node_name != NULL)
        json_object_set_new(metadata, "node_name", json_string(spec->node_name));
    return json_pack("{s:s, s:s, s:o}", "cluster", spec->proxy_source, "id", spec->proxy_id,
                     "metadata", metadata);
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

json_t *bootstrap_make(const struct bootstrap_spec *spec, struct error *error)
{
    json_t *bootstrap =
        json_pack("{s:{s:[o], s:o}, s:o, s:{s:[{s:s, s:{s:i}}]}}", "admin", "access_log",
                  make_access_log(spec), "address",
                  bootstrap_socket_address(spec->admin_address, spec->admin_port), "node",
                  make_node(spec), "layered_runtime", "layers", "name", "base", "static_layer",
                  "re2.max_program_size.error_level", 1048576);
    json_object_set_new(bootstrap, "dynamic_resources", make_dynamic_resources(spec));
    if (refuse_unsupported(spec, error) && set_static_resources(bootstrap, spec, error) &&
        set_statistics(bootstrap, spec, error) && set_tracing(bootstrap, spec, error))
        return bootstrap;
    json_decref(bootstrap);
    error_prefix(error, "%s: proxy configuration: ", spec->proxy_id);
    return NULL;
}
