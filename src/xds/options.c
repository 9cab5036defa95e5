#include "xds/options.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/duration.h"
#include "base/text.h"
#include "text/json.h"

enum option_kind { OPTION_TEXT, OPTION_NUMBER, OPTION_FLAG, OPTION_DURATION, OPTION_HATCH };

struct option_row {
    const char *name;
    enum option_kind kind;
    size_t offset;
    int64_t max;
};

#define PROXY(member) offsetof(struct proxy_options, member)
#define UPSTREAM(member) offsetof(struct upstream_options, member)

static const struct option_row sidecar_rows[] = {
    {"bind_address", OPTION_TEXT, PROXY(bind_address), 0},
    {"bind_port", OPTION_NUMBER, PROXY(bind_port), 65535},
    {"local_connect_timeout_ms", OPTION_NUMBER, PROXY(local_connect_timeout_ms), INT32_MAX},
    {"local_request_timeout_ms", OPTION_NUMBER, PROXY(local_request_timeout_ms), INT32_MAX},
    {"local_idle_timeout_ms", OPTION_NUMBER, PROXY(local_idle_timeout_ms), INT32_MAX},
    {"max_inbound_connections", OPTION_NUMBER, PROXY(max_inbound_connections), INT32_MAX},
    {"balance_inbound_connections", OPTION_TEXT, PROXY(balance_inbound_connections), 0},
    {"xds_fetch_timeout_ms", OPTION_NUMBER, PROXY(fetch_timeout_ms), INT32_MAX},
    {"envoy_public_listener_json", OPTION_HATCH, 0, 0},
    {"envoy_local_cluster_json", OPTION_HATCH, 0, 0},
    {"envoy_listener_tracing_json", OPTION_HATCH, 0, 0},
    {NULL},
};

static const struct option_row gateway_rows[] = {
    {"envoy_dns_discovery_type", OPTION_TEXT, PROXY(dns_discovery_type), 0},
    {"connect_timeout_ms", OPTION_NUMBER, PROXY(connect_timeout_ms), INT32_MAX},
    {"envoy_gateway_remote_tcp_enable_keepalive", OPTION_FLAG, PROXY(keepalive_enable), 0},
    {"envoy_gateway_remote_tcp_keepalive_time", OPTION_NUMBER, PROXY(keepalive_time), INT32_MAX},
    {"envoy_gateway_remote_tcp_keepalive_interval", OPTION_NUMBER, PROXY(keepalive_interval),
     INT32_MAX},
    {"envoy_gateway_remote_tcp_keepalive_probes", OPTION_NUMBER, PROXY(keepalive_probes),
     INT32_MAX},
    {"protocol", OPTION_TEXT, PROXY(protocol), 0},
    {"xds_fetch_timeout_ms", OPTION_NUMBER, PROXY(fetch_timeout_ms), INT32_MAX},
    {NULL},
};

static const struct option_row upstream_rows[] = {
    {"connect_timeout_ms", OPTION_NUMBER, UPSTREAM(connect_timeout_ms), INT32_MAX},
    {"balance_outbound_connections", OPTION_TEXT, UPSTREAM(balance_outbound_connections), 0},
    {"envoy_listener_json", OPTION_HATCH, 0, 0},
    {"envoy_cluster_json", OPTION_HATCH, 0, 0},
    {NULL},
};

static const struct option_row limit_rows[] = {
    {"max_connections", OPTION_NUMBER, UPSTREAM(max_connections), INT32_MAX},
    {"max_pending_requests", OPTION_NUMBER, UPSTREAM(max_pending_requests), INT32_MAX},
    {"max_concurrent_requests", OPTION_NUMBER, UPSTREAM(max_concurrent_requests), INT32_MAX},
    {NULL},
};

static const struct option_row health_rows[] = {
    {"interval", OPTION_DURATION, UPSTREAM(interval_ns), 0},
    {"max_failures", OPTION_NUMBER, UPSTREAM(max_failures), INT32_MAX},
    {"enforcing_consecutive_5xx", OPTION_NUMBER, UPSTREAM(enforcing_consecutive_5xx), 100},
    {"max_ejection_percent", OPTION_NUMBER, UPSTREAM(max_ejection_percent), 100},
    {"base_ejection_time", OPTION_DURATION, UPSTREAM(base_ejection_time_ns), 0},
    {NULL},
};

struct reading {
    const char *where; /* "proxy.config" */
    struct arena *arena;
    struct buffer *problems;
};

static void problem(const struct reading *reading, const char *key, json_t *value, const char *what)
{
    if (reading->problems->length > 0)
        buffer_add_byte(reading->problems, '\n');
    buffer_printf(reading->problems, "%s.%s: ", reading->where, key);
    if (value != NULL) {
        json_write(reading->problems, value);
        buffer_add_byte(reading->problems, ' ');
    }
    buffer_add_text(reading->problems, what);
}

static bool read_number(json_t *value, int64_t *ret_number)
{
    uint64_t number;
    if (json_is_integer(value)) {
        *ret_number = json_integer_value(value);
        return true;
    }
    if (json_is_real(value)) {
        double real = json_real_value(value);
        if (real != floor(real) || fabs(real) > 9e15)
            return false;
        *ret_number = (int64_t)real;
        return true;
    }
    if (!json_is_string(value) || !text_to_u64(json_string_value(value), INT64_MAX, &number))
        return false;
    *ret_number = (int64_t)number;
    return true;
}

static bool read_flag(json_t *value, int64_t *ret_flag)
{
    int64_t number;
    const char *text = json_string_value(value);
    if (json_is_boolean(value))
        *ret_flag = json_is_true(value);
    else if (text_equal_nocase(text, "true") || text_equal_nocase(text, "t"))
        *ret_flag = 1;
    else if (text_equal_nocase(text, "false") || text_equal_nocase(text, "f"))
        *ret_flag = 0;
    else if (read_number(value, &number))
        *ret_flag = number != 0;
    else
        return false;
    return true;
}

static bool read_duration(json_t *value, int64_t *ret_ns)
{
    int64_t ns;
    if (json_is_string(value) ? !duration_parse(json_string_value(value), &ns)
                              : !read_number(value, &ns))
        return false;
    if (ns < 0)
        return false;
    *ret_ns = ns;
    return true;
}

static const char *read_text(const struct reading *reading, json_t *value)
{
    if (json_is_string(value))
        return arena_strdup(reading->arena, json_string_value(value));
    if (json_is_integer(value))
        return arena_printf(reading->arena, "%" PRId64, (int64_t)json_integer_value(value));
    return NULL;
}

static void read_option(const struct reading *reading, const struct option_row *row,
                        const char *key, json_t *value, void *target)
{
    int64_t *number = (int64_t *)(void *)((char *)target + row->offset);
    int64_t found;
    const char *text;
    if (json_is_null(value))
        return;
    switch (row->kind) {
    case OPTION_TEXT:
        if ((text = read_text(reading, value)) == NULL)
            problem(reading, key, value, "is no text; its default is used");
        else
            *(const char **)(void *)((char *)target + row->offset) = text;
        break;
    case OPTION_NUMBER:
        if (!read_number(value, &found) || found > row->max)
            problem(reading, key, value, "is no number in the range; its default is used");
        else
            *number = found < 0 ? OPTION_UNSET : found;
        break;
    case OPTION_FLAG:
        if (!read_flag(value, number))
            problem(reading, key, value, "is neither true nor false; its default is used");
        break;
    case OPTION_DURATION:
        if (!read_duration(value, number))
            problem(reading, key, value, "is no duration such as \"10s\"; its default is used");
        break;
    case OPTION_HATCH:
        if (!json_is_string(value) || !text_empty(json_string_value(value)))
            problem(reading, key, NULL, "is not supported yet; what Pons generates is used");
        break;
    }
}

static void read_object(const struct reading *reading, json_t *object,
                        const struct option_row *rows, void *target)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        for (const struct option_row *row = rows; row->name != NULL; row++) {
            if (text_equal_nocase(row->name, key))
                read_option(reading, row, key, value, target);
        }
    }
}

/* A new reference, or NULL. */
static json_t *parse_config(const struct reading *reading, const char *text)
{
    struct error error;
    if (text_empty(text))
        return NULL;
    json_t *config = json_parse(text, strlen(text), NULL, &error);
    if (config == NULL || !json_is_object(config)) {
        problem(reading, "*", NULL, "is no JSON object; defaults are used");
        json_decref(config);
        return NULL;
    }
    return config;
}

void proxy_options_read(const struct proxy_snapshot *snapshot, struct arena *arena,
                        struct proxy_options *ret_options, struct buffer *problems)
{
    struct reading reading = {"proxy.config", arena, problems};
    struct proxy_options options = {
        .bind_address = "",
        .local_connect_timeout_ms = OPTION_UNSET,
        .local_request_timeout_ms = OPTION_UNSET,
        .local_idle_timeout_ms = OPTION_UNSET,
        .balance_inbound_connections = "",
        .dns_discovery_type = "",
        .connect_timeout_ms = OPTION_UNSET,
        .keepalive_time = OPTION_UNSET,
        .keepalive_interval = OPTION_UNSET,
        .keepalive_probes = OPTION_UNSET,
        .protocol = "",
        .fetch_timeout_ms = OPTION_UNSET,
    };
    json_t *config = parse_config(&reading, snapshot->config);
    read_object(&reading, config,
                snapshot->kind == PROXY_MESH_GATEWAY ? gateway_rows : sidecar_rows, &options);
    json_decref(config);
    if (options.bind_port < 1)
        options.bind_port = 0;
    if (options.local_connect_timeout_ms < 1)
        options.local_connect_timeout_ms = 5000;
    if (options.connect_timeout_ms < 1)
        options.connect_timeout_ms = 5000;
    *ret_options = options;
}

static int64_t positive(int64_t number)
{
    return number > 0 ? number : OPTION_UNSET;
}

void upstream_options_read(const struct upstream *upstream, struct arena *arena,
                           struct upstream_options *ret_options, struct buffer *problems)
{
    char *where = arena_printf(arena, "upstream %s: config", upstream->id);
    struct reading reading = {where, arena, problems};
    const Pb__UpstreamLimits *limits = upstream->limits;
    const Pb__PassiveHealthCheck *health = upstream->passive_health_check;
    struct upstream_options options = {
        .connect_timeout_ms = upstream->connect_timeout_ms,
        .max_connections = limits != NULL ? positive(limits->max_connections) : OPTION_UNSET,
        .max_pending_requests =
            limits != NULL ? positive(limits->max_pending_requests) : OPTION_UNSET,
        .max_concurrent_requests =
            limits != NULL ? positive(limits->max_concurrent_requests) : OPTION_UNSET,
        .interval_ns = health != NULL ? positive(health->interval) : OPTION_UNSET,
        .base_ejection_time_ns =
            health != NULL ? positive(health->base_ejection_time) : OPTION_UNSET,
        .max_failures = health != NULL ? positive(health->max_failures) : OPTION_UNSET,
        .enforcing_consecutive_5xx =
            health != NULL ? positive(health->enforcing_consecutive_5xx) : OPTION_UNSET,
        .max_ejection_percent =
            health != NULL ? positive(health->max_ejection_percent) : OPTION_UNSET,
        .balance_outbound_connections = "",
    };
    json_t *config =
        parse_config(&reading, upstream->definition != NULL ? upstream->definition->config : NULL);
    read_object(&reading, config, upstream_rows, &options);
    const char *key;
    json_t *value;
    json_object_foreach(config, key, value)
    {
        if (text_equal_nocase(key, "limits"))
            read_object(&reading, value, limit_rows, &options);
        else if (text_equal_nocase(key, "passive_health_check"))
            read_object(&reading, value, health_rows, &options);
    }
    json_decref(config);
    if (options.connect_timeout_ms < 1)
        options.connect_timeout_ms = 5000;
    if (options.interval_ns == 0) /* Envoy refuses zero */
        options.interval_ns = OPTION_UNSET;
    if (options.base_ejection_time_ns == 0)
        options.base_ejection_time_ns = OPTION_UNSET;
    *ret_options = options;
}
