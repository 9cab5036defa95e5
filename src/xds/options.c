#include "xds/options.h"

#include <string.h>

#include "base/text.h"
#include "mesh/opaque.h"

/* A map that is being read, and what was wrong with it. */
struct reading {
    struct opaque map;
    struct buffer lines;
    struct arena *arena;
};

static void start(struct reading *reading, const char *json, struct arena *arena)
{
    *reading = (struct reading){.arena = arena};
    reading->map = opaque_parse(json, &reading->lines);
}

/* Hands over the problems, each with `where` in front. */
static void finish(struct reading *reading, const char *where, struct buffer *problems)
{
    for (const char *line = buffer_text(&reading->lines); *line != '\0';) {
        size_t length = strcspn(line, "\n");
        buffer_printf(problems, "%s%s: %.*s", problems->length > 0 ? "\n" : "", where, (int)length,
                      line);
        line += length + (line[length] == '\n');
    }
    buffer_free(&reading->lines);
    opaque_clear(&reading->map);
}

static int64_t number(const struct reading *reading, const char *key, int64_t max,
                      int64_t otherwise)
{
    int64_t value = otherwise;
    opaque_int(&reading->map, key, 0, max, &value);
    return value;
}

static const char *word(const struct reading *reading, const char *key)
{
    const char *value = opaque_text(&reading->map, key);
    return value == NULL ? "" : arena_strdup(reading->arena, value);
}

static void refuse_hatches(struct reading *reading, const char *const *keys)
{
    for (; *keys != NULL; keys++) {
        json_t *value = opaque_get(&reading->map, *keys);
        if (value != NULL && !(json_is_string(value) && json_string_length(value) == 0))
            buffer_printf(&reading->lines,
                          "config key \"%s\" is not supported yet; what Pons generates is used\n",
                          *keys);
    }
}

static void read_sidecar(struct reading *reading, struct proxy_options *options)
{
    static const char *const hatches[] = {"envoy_public_listener_json", "envoy_local_cluster_json",
                                          "envoy_listener_tracing_json", NULL};
    options->bind_address = word(reading, "bind_address");
    options->bind_port = number(reading, "bind_port", UINT16_MAX, 0);
    options->local_connect_timeout_ms = number(reading, "local_connect_timeout_ms", INT32_MAX, 0);
    options->local_request_timeout_ms =
        number(reading, "local_request_timeout_ms", INT32_MAX, OPTION_UNSET);
    options->local_idle_timeout_ms =
        number(reading, "local_idle_timeout_ms", INT32_MAX, OPTION_UNSET);
    options->max_inbound_connections = number(reading, "max_inbound_connections", INT32_MAX, 0);
    options->balance_inbound_connections = word(reading, "balance_inbound_connections");
    refuse_hatches(reading, hatches);
    if (options->local_connect_timeout_ms < 1)
        options->local_connect_timeout_ms = 5000;
}

static void read_gateway(struct reading *reading, struct proxy_options *options)
{
    options->dns_discovery_type = word(reading, "envoy_dns_discovery_type");
    options->connect_timeout_ms = number(reading, "connect_timeout_ms", INT32_MAX, 0);
    opaque_bool(&reading->map, "envoy_gateway_remote_tcp_enable_keepalive", &options->keepalive);
    options->keepalive_time =
        number(reading, "envoy_gateway_remote_tcp_keepalive_time", INT32_MAX, 0);
    options->keepalive_interval =
        number(reading, "envoy_gateway_remote_tcp_keepalive_interval", INT32_MAX, 0);
    options->keepalive_probes =
        number(reading, "envoy_gateway_remote_tcp_keepalive_probes", INT32_MAX, 0);
    options->protocol = word(reading, "protocol");
    if (options->connect_timeout_ms < 1)
        options->connect_timeout_ms = 5000;
}

void proxy_options_read(const struct proxy_snapshot *snapshot, struct arena *arena,
                        struct proxy_options *ret_options, struct buffer *problems)
{
    struct reading reading;
    struct proxy_options options = {.fetch_timeout_ms = OPTION_UNSET};
    start(&reading, snapshot->config, arena);
    if (snapshot->kind == PROXY_MESH_GATEWAY)
        read_gateway(&reading, &options);
    else
        read_sidecar(&reading, &options);
    opaque_int(&reading.map, "xds_fetch_timeout_ms", INT32_MIN, INT32_MAX,
               &options.fetch_timeout_ms);
    finish(&reading, "proxy", problems);
    *ret_options = options;
}

static void read_limits(struct reading *reading, struct upstream_options *options)
{
    options->max_connections = number(reading, "max_connections", INT32_MAX, OPTION_UNSET);
    options->max_pending_requests =
        number(reading, "max_pending_requests", INT32_MAX, OPTION_UNSET);
    options->max_concurrent_requests =
        number(reading, "max_concurrent_requests", INT32_MAX, OPTION_UNSET);
}

static void read_health_check(struct reading *reading, struct upstream_options *options)
{
    opaque_duration(&reading->map, "interval", &options->interval_ns);
    opaque_duration(&reading->map, "base_ejection_time", &options->base_ejection_time_ns);
    options->max_failures = number(reading, "max_failures", INT32_MAX, 0);
    options->enforcing_consecutive_5xx =
        number(reading, "enforcing_consecutive_5xx", 100, OPTION_UNSET);
    options->max_ejection_percent = number(reading, "max_ejection_percent", 100, OPTION_UNSET);
}

/* A member object, where it is given, over what the snapshot says. */
static void read_member(struct reading *reading, const char *key,
                        void (*read)(struct reading *, struct upstream_options *),
                        struct upstream_options *options)
{
    struct opaque outer = reading->map;
    reading->map = opaque_object(&outer, key);
    if (reading->map.object != NULL)
        read(reading, options);
    opaque_clear(&reading->map);
    reading->map = outer;
}

static int64_t positive(int64_t value)
{
    return value > 0 ? value : OPTION_UNSET;
}

struct upstream_options upstream_options_limits(const Pb__UpstreamLimits *limits)
{
    static const Pb__UpstreamLimits none = PB__UPSTREAM_LIMITS__INIT;
    if (limits == NULL)
        limits = &none;
    return (struct upstream_options){
        .max_connections = positive(limits->max_connections),
        .max_pending_requests = positive(limits->max_pending_requests),
        .max_concurrent_requests = positive(limits->max_concurrent_requests),
    };
}

/* In records zero means that nothing was said. */
static struct upstream_options from_snapshot(const struct upstream *upstream)
{
    static const Pb__UpstreamLimits no_limits = PB__UPSTREAM_LIMITS__INIT;
    static const Pb__PassiveHealthCheck no_check = PB__PASSIVE_HEALTH_CHECK__INIT;
    const Pb__UpstreamLimits *limits = upstream->limits != NULL ? upstream->limits : &no_limits;
    const Pb__PassiveHealthCheck *check =
        upstream->passive_health_check != NULL ? upstream->passive_health_check : &no_check;
    return (struct upstream_options){
        .connect_timeout_ms =
            upstream->connect_timeout_ms > 0 ? upstream->connect_timeout_ms : 5000,
        .max_connections = positive(limits->max_connections),
        .max_pending_requests = positive(limits->max_pending_requests),
        .max_concurrent_requests = positive(limits->max_concurrent_requests),
        .interval_ns = check->interval,
        .base_ejection_time_ns = check->base_ejection_time,
        .max_failures = check->max_failures,
        .enforcing_consecutive_5xx = positive(check->enforcing_consecutive_5xx),
        .max_ejection_percent = positive(check->max_ejection_percent),
    };
}

void upstream_options_read(const struct upstream *upstream, struct arena *arena,
                           struct upstream_options *ret_options, struct buffer *problems)
{
    static const char *const hatches[] = {"envoy_listener_json", "envoy_cluster_json", NULL};
    struct reading reading;
    struct upstream_options options = from_snapshot(upstream);
    start(&reading, upstream->definition->config, arena);
    int64_t timeout = number(&reading, "connect_timeout_ms", INT32_MAX, 0);
    if (timeout > 0)
        options.connect_timeout_ms = timeout;
    read_member(&reading, "limits", read_limits, &options);
    read_member(&reading, "passive_health_check", read_health_check, &options);
    options.balance_outbound_connections = word(&reading, "balance_outbound_connections");
    refuse_hatches(&reading, hatches);
    finish(&reading, arena_printf(arena, "upstream %s", upstream->id), problems);
    *ret_options = options;
}
