/* /v1/agent: what this agent has registered, and how it fares. */
#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "catalog/catalog.h"
#include "config/entry.h"
#include "http/content_hash.h"
#include "http/handlers.h"
#include "http/shapes.h"
#include "http/waiting.h"
#include "text/json.h"

static bool same_namespace(const struct api_request *request, const Pb__EnterpriseMeta *meta)
{
    const char *own = meta == NULL || text_empty(meta->namespace_) ? "default" : meta->namespace_;
    const char *asked = request->tenancy.namespace;
    return text_equal_nocase(own, text_empty(asked) ? "default" : asked);
}

/* Of the agent's own doing, not of the catalog's: serfHealth is not. */
static bool is_agent_check(const Pb__HealthCheck *check)
{
    return check->agent_definition != NULL || text_starts(check->check_id, "_node_maintenance") ||
           text_starts(check->check_id, "_service_maintenance:");
}

static const struct record *const *own_records(struct api_request *request, struct view *view,
                                               enum table table, unsigned index, size_t *ret_count)
{
    struct buffer key = {0};
    const struct record *const *records =
        view_list(view, table, index,
                  key_node(&key, &request->tenancy, request->api->config.node_name), ret_count);
    buffer_free(&key);
    return records;
}

/* Without the closing brace. */
static void open_service(struct api_request *request, struct buffer *body,
                         const Pb__NodeService *service)
{
    buffer_add_byte(body, '{');
    codec_write_fields(body, &shape_agent_service, service);
    buffer_add_text(body, ",\"Datacenter\":");
    json_write_string(body, request->api->config.datacenter);
}

void api_agent_services(struct api_request *request, struct view *view, struct reply *reply)
{
    size_t count;
    const struct record *const *services =
        own_records(request, view, TABLE_SERVICE, SERVICE_BY_NODE, &count);
    struct arena *scratch = arena_new();
    buffer_add_byte(reply->body, '{');
    for (size_t i = 0; i < count; i++) {
        const Pb__NodeService *service = services[i]->message;
        const void *parts[] = {service};
        if (!service->registered_by_agent || !same_namespace(request, service->enterprise_meta) ||
            !filter_match(request->filter, parts))
            continue;
        if (!text_empty(service->kind))
            service = config_merge_proxy(view, service, scratch);
        reply_comma(reply->body);
        json_write_string(reply->body, service->id);
        buffer_add_byte(reply->body, ':');
        open_service(request, reply->body, service);
        buffer_add_byte(reply->body, '}');
    }
    buffer_add_byte(reply->body, '}');
    arena_free(scratch);
}

static const Pb__NodeService *own_service(struct api_request *request, struct view *view,
                                          const char *service_id)
{
    struct buffer key = {0};
    const struct record *record =
        view_get(view, TABLE_SERVICE,
                 key_service(&key, &request->tenancy, request->api->config.node_name, service_id));
    buffer_free(&key);
    const Pb__NodeService *service = record == NULL ? NULL : record->message;
    return service != NULL && service->registered_by_agent ? service : NULL;
}

void api_agent_service(struct api_request *request, struct view *view, struct reply *reply)
{
    const Pb__NodeService *service = own_service(request, view, request->argument);
    if (service == NULL) {
        reply_error(reply, 404, "unknown service ID: %s", request->argument);
        return;
    }
    struct arena *scratch = arena_new();
    if (!text_empty(service->kind))
        service = config_merge_proxy(view, service, scratch);
    open_service(request, reply->body, service);
    bool has_proxy = !text_empty(service->kind);
    uint64_t hash = content_hash_service(service, has_proxy ? buffer_text(reply->body) : NULL);
    reply->hash = arena_printf(request->arena, "%" PRIx64, hash);
    buffer_printf(reply->body, ",\"ContentHash\":\"%s\"", reply->hash);
    waiting_write(view, service, reply->body);
    buffer_add_byte(reply->body, '}');
    arena_free(scratch);
}

void api_agent_checks(struct api_request *request, struct view *view, struct reply *reply)
{
    size_t count;
    const struct record *const *checks =
        own_records(request, view, TABLE_CHECK, CHECK_BY_NODE, &count);
    buffer_add_byte(reply->body, '{');
    for (size_t i = 0; i < count; i++) {
        const Pb__HealthCheck *check = checks[i]->message;
        const void *parts[] = {check};
        if (!is_agent_check(check) || !same_namespace(request, check->enterprise_meta) ||
            !filter_match(request->filter, parts))
            continue;
        reply_comma(reply->body);
        json_write_string(reply->body, check->check_id);
        buffer_add_byte(reply->body, ':');
        reply_record(reply->body, checks[i]);
    }
    buffer_add_byte(reply->body, '}');
}

/* ---- health as an HTTP status, for load balancers ---- */

static const char *const health_names[] = {"passing", "warning", "critical", "maintenance"};

static int http_status_of(enum catalog_health health)
{
    return health == CATALOG_PASSING ? 200 : health == CATALOG_WARNING ? 429 : 503;
}

static enum catalog_health health_of(const Pb__HealthCheck *check)
{
    if (text_starts(check->check_id, "_node_maintenance") ||
        text_starts(check->check_id, "_service_maintenance:"))
        return CATALOG_MAINTENANCE;
    return text_equal(check->status, "passing")   ? CATALOG_PASSING
           : text_equal(check->status, "warning") ? CATALOG_WARNING
                                                  : CATALOG_CRITICAL;
}

/* The checks that count for a service of this agent, written as a list; gives the worst. */
static enum catalog_health write_checks(struct api_request *request, struct view *view,
                                        struct buffer *body, const char *service_id)
{
    size_t count;
    const struct record *const *checks =
        own_records(request, view, TABLE_CHECK, CHECK_BY_NODE, &count);
    enum catalog_health worst = CATALOG_PASSING;
    buffer_add_byte(body, '[');
    for (size_t i = 0; i < count; i++) {
        const Pb__HealthCheck *check = checks[i]->message;
        bool counts =
            text_empty(check->service_id) || (text_equal(check->service_id, service_id) &&
                                              same_namespace(request, check->enterprise_meta));
        if (!is_agent_check(check) || !counts)
            continue;
        if (health_of(check) > worst)
            worst = health_of(check);
        reply_comma(body);
        reply_record(body, checks[i]);
    }
    buffer_add_byte(body, ']');
    return worst;
}

static enum catalog_health write_health(struct api_request *request, struct view *view,
                                        struct buffer *body, const Pb__NodeService *service)
{
    struct buffer checks = {0};
    enum catalog_health health = write_checks(request, view, &checks, service->id);
    reply_comma(body);
    buffer_printf(body, "{\"AggregatedStatus\":\"%s\",\"Service\":", health_names[health]);
    open_service(request, body, service);
    buffer_printf(body, "},\"Checks\":%s}", buffer_text(&checks));
    buffer_free(&checks);
    return health;
}

/* The status alone, as text, if that is what the client wants. */
static void finish_health(struct api_request *request, struct reply *reply, int status,
                          const char *reason)
{
    const char *format = http_query(request->http, "format", 0);
    const char *accept = http_header(request->http, "Accept");
    bool text = text_equal(format, "text") || (format == NULL && text_equal(accept, "text/plain"));
    if (text)
        reply_error(reply, status, "%s", reason);
    reply->status = status;
    reply->reason = reason;
}

void api_agent_health_by_id(struct api_request *request, struct view *view, struct reply *reply)
{
    const Pb__NodeService *service = own_service(request, view, request->argument);
    if (service == NULL) {
        buffer_add_text(reply->body,
                        "{\"AggregatedStatus\":\"critical\",\"Service\":null,\"Checks\":null}");
        finish_health(request, reply, 404,
                      arena_printf(request->arena, "ServiceId %s not found", request->argument));
        return;
    }
    enum catalog_health health = write_health(request, view, reply->body, service);
    finish_health(request, reply, http_status_of(health), health_names[health]);
}

void api_agent_health_by_name(struct api_request *request, struct view *view, struct reply *reply)
{
    size_t count;
    const struct record *const *services =
        own_records(request, view, TABLE_SERVICE, SERVICE_BY_NODE, &count);
    bool any = false;
    enum catalog_health worst = CATALOG_PASSING;
    buffer_add_byte(reply->body, '[');
    for (size_t i = 0; i < count; i++) {
        const Pb__NodeService *service = services[i]->message;
        if (!service->registered_by_agent || !text_equal(service->service, request->argument) ||
            !same_namespace(request, service->enterprise_meta))
            continue;
        any = true;
        enum catalog_health health = write_health(request, view, reply->body, service);
        if (health > worst)
            worst = health;
    }
    buffer_add_byte(reply->body, ']');
    if (any)
        finish_health(request, reply, http_status_of(worst), health_names[worst]);
    else
        finish_health(request, reply, 404,
                      arena_printf(request->arena, "ServiceName %s Not Found", request->argument));
}
