/* /v1/health: instances with their checks. The hottest reads: they only join texts that the
 * records keep. */
#include "catalog/catalog.h"

#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "config/entry.h"
#include "http/handlers.h"
#include "proto/codec_tables.h"

/* ---- which instances are wanted ---- */

static bool has_tag(const Pb__NodeService *service, const char *tag)
{
    for (size_t i = 0; i < service->n_tags; i++) {
        if (text_equal_nocase(service->tags[i], tag))
            return true;
    }
    return false;
}

bool request_wants_tags(const struct api_request *request, const Pb__NodeService *service)
{
    const char *tag;
    for (size_t i = 0; (tag = http_query(request->http, "tag", i)) != NULL; i++) {
        if (!has_tag(service, tag))
            return false;
    }
    return true;
}

static bool all_pass(const struct catalog_instance *instance)
{
    for (size_t i = 0; i < instance->check_count; i++) {
        const Pb__HealthCheck *check = instance->checks[i]->message;
        if (!text_equal(check->status, "passing"))
            return false;
    }
    return true;
}

static bool is_wanted(const struct api_request *request, const struct catalog_instance *instance,
                      bool passing)
{
    const void *parts[] = {instance->node->message, instance->service->message,
                           instance->check_count == 0 ? NULL : instance->checks[0]->message};
    return (!passing || all_pass(instance)) && request_wants_node(request, parts[0]) &&
           request_wants_tags(request, parts[1]) && filter_match(request->filter, parts);
}

/* ?passing alone means true. */
static bool read_passing(const struct api_request *request, struct reply *reply, bool *ret_passing)
{
    const char *text = http_query(request->http, "passing", 0);
    *ret_passing = false;
    if (text == NULL)
        return true;
    *ret_passing = true;
    if (*text == '\0' || strcmp(text, "1") == 0 || strcasecmp(text, "true") == 0)
        return true;
    *ret_passing = false;
    if (strcmp(text, "0") == 0 || strcasecmp(text, "false") == 0)
        return true;
    reply_error(reply, 400, "Invalid value for ?passing");
    return false;
}

/* ---- instances ---- */

/* `arena` is set where central configuration is to be merged in. */
static void write_service(struct view *view, struct buffer *body, const struct record *record,
                          struct arena *arena)
{
    const Pb__NodeService *service = record->message;
    if (arena == NULL || text_empty(service->kind)) {
        reply_record(body, record);
        return;
    }
    service = config_merge_proxy(view, service, arena);
    buffer_add_byte(body, '{');
    codec_write_fields(body, &pb__node_service__codec, service);
    buffer_printf(body, ",\"CreateIndex\":%llu,\"ModifyIndex\":%llu}",
                  (unsigned long long)record->create_index,
                  (unsigned long long)record->modify_index);
}

static void write_instance(struct view *view, struct buffer *body,
                           const struct catalog_instance *instance, struct arena *arena)
{
    reply_comma(body);
    buffer_add_text(body, "{\"Node\":");
    reply_record(body, instance->node);
    buffer_add_text(body, ",\"Service\":");
    write_service(view, body, instance->service, arena);
    buffer_add_text(body, ",\"Checks\":[");
    for (size_t i = 0; i < instance->check_count; i++) {
        reply_comma(body);
        reply_record(body, instance->checks[i]);
    }
    buffer_add_text(body, "]}");
}

static void write_instances(struct api_request *request, struct view *view, struct reply *reply,
                            struct catalog_instances instances, struct arena *scratch)
{
    bool passing;
    if (!read_passing(request, reply, &passing))
        return;
    bool merged = http_query(request->http, "merge-central-config", 0) != NULL;
    struct arena *arena = merged ? scratch : NULL;
    buffer_add_byte(reply->body, '[');
    for (size_t i = 0; i < instances.count; i++) {
        if (is_wanted(request, &instances.items[i], passing))
            write_instance(view, reply->body, &instances.items[i], arena);
    }
    buffer_add_byte(reply->body, ']');
}

/* Arrays of a read that may be run again do not belong in the request's arena, which lasts as long
 * as the client blocks. */
static void read_instances(struct api_request *request, struct view *view, struct reply *reply,
                           struct catalog_instances (*find)(struct view *, const struct tenancy *,
                                                            const char *, struct arena *))
{
    struct arena *scratch = arena_new();
    write_instances(request, view, reply, find(view, &request->tenancy, request->argument, scratch),
                    scratch);
    arena_free(scratch);
}

void api_health_service(struct api_request *request, struct view *view, struct reply *reply)
{
    read_instances(request, view, reply, catalog_service_instances);
}

void api_health_connect(struct api_request *request, struct view *view, struct reply *reply)
{
    read_instances(request, view, reply, catalog_connect_instances);
}

/* There are no ingress gateways, so none leads to any service. */
void api_health_ingress(struct api_request *request, struct view *view, struct reply *reply)
{
    (void)request;
    (void)view;
    reply->index = 1;
    buffer_add_text(reply->body, "[]");
}

/* ---- checks ---- */

static bool node_is_wanted(struct api_request *request, struct view *view, struct buffer *key,
                           const Pb__HealthCheck *check)
{
    if (request->node_meta_count == 0)
        return true;
    const struct record *node =
        view_get(view, TABLE_NODE, key_node(key, &request->tenancy, check->node));
    return node != NULL && request_wants_node(request, node->message);
}

/* `status` NULL: any. */
static void write_checks(struct api_request *request, struct view *view, struct reply *reply,
                         const struct record *const *checks, size_t count, const char *status)
{
    struct buffer key = {0};
    buffer_add_byte(reply->body, '[');
    for (size_t i = 0; i < count; i++) {
        const Pb__HealthCheck *check = checks[i]->message;
        const void *parts[] = {check};
        if ((status != NULL && !text_equal(check->status, status)) ||
            !filter_match(request->filter, parts) || !node_is_wanted(request, view, &key, check))
            continue;
        reply_comma(reply->body);
        reply_record(reply->body, checks[i]);
    }
    buffer_add_byte(reply->body, ']');
    buffer_free(&key);
}

static void read_checks(struct api_request *request, struct view *view, struct reply *reply,
                        unsigned index, const struct buffer *value, const char *status)
{
    size_t count;
    const struct record *const *checks = view_list(view, TABLE_CHECK, index, value, &count);
    write_checks(request, view, reply, checks, count, status);
}

void api_health_checks(struct api_request *request, struct view *view, struct reply *reply)
{
    struct buffer key = {0};
    read_checks(request, view, reply, CHECK_BY_SERVICE,
                key_named(&key, &request->tenancy, request->argument), NULL);
    buffer_free(&key);
}

void api_health_node(struct api_request *request, struct view *view, struct reply *reply)
{
    struct buffer key = {0};
    read_checks(request, view, reply, CHECK_BY_NODE,
                key_node(&key, &request->tenancy, request->argument), NULL);
    buffer_free(&key);
}

void api_health_state(struct api_request *request, struct view *view, struct reply *reply)
{
    struct buffer key = {0};
    const char *status = strcmp(request->argument, "any") == 0 ? NULL : request->argument;
    read_checks(request, view, reply, BY_TENANCY, key_all(&key, &request->tenancy), status);
    buffer_free(&key);
}
