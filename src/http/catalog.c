/* /v1/catalog: nodes and services as registered. */
#include "catalog/catalog.h"

#include <string.h>

#include "base/text.h"
#include "http/handlers.h"
#include "http/shapes.h"
#include "text/json.h"

void api_catalog_datacenters(struct api_request *request, struct view *view, struct reply *reply)
{
    (void)view;
    buffer_add_byte(reply->body, '[');
    json_write_string(reply->body, request->api->config.datacenter);
    buffer_add_byte(reply->body, ']');
}

void api_catalog_nodes(struct api_request *request, struct view *view, struct reply *reply)
{
    struct buffer key = {0};
    size_t count;
    const struct tenancy everywhere = TENANCY_DEFAULT; /* nodes are in no namespace */
    const struct record *const *nodes =
        view_list(view, TABLE_NODE, BY_TENANCY, key_all(&key, &everywhere), &count);
    buffer_free(&key);
    buffer_add_byte(reply->body, '[');
    for (size_t i = 0; i < count; i++) {
        const void *parts[] = {nodes[i]->message};
        if (!filter_match(request->filter, parts) ||
            !request_wants_node(request, nodes[i]->message))
            continue;
        reply_comma(reply->body);
        reply_record(reply->body, nodes[i]);
    }
    buffer_add_byte(reply->body, ']');
}

/* ---- services ---- */

/* Nodes are looked up only where a filter or ?node-meta asks for them. */
static bool instance_is_wanted(struct api_request *request, struct view *view, struct buffer *key,
                               const Pb__NodeService *service)
{
    if (request->filter == NULL && request->node_meta_count == 0)
        return true;
    const struct record *node =
        view_get(view, TABLE_NODE, key_node(key, &request->tenancy, service->node));
    if (node == NULL)
        return false;
    const void *parts[] = {node->message, service};
    return request_wants_node(request, node->message) && filter_match(request->filter, parts);
}

/* Adds the tags of the wanted instances; false if there is no such instance. */
static bool gather_tags(struct api_request *request, struct view *view, const char *name,
                        struct text_list *tags)
{
    struct buffer key = {0};
    size_t count;
    bool any = false;
    const struct record *const *services = view_list(
        view, TABLE_SERVICE, SERVICE_BY_NAME, key_named(&key, &request->tenancy, name), &count);
    for (size_t i = 0; i < count; i++) {
        const Pb__NodeService *service = services[i]->message;
        if (!instance_is_wanted(request, view, &key, service))
            continue;
        any = true;
        for (size_t j = 0; j < service->n_tags; j++)
            text_list_add(tags, service->tags[j]);
    }
    buffer_free(&key);
    text_list_sort(tags);
    return any;
}

void api_catalog_services(struct api_request *request, struct view *view, struct reply *reply)
{
    struct buffer key = {0};
    size_t count;
    const struct view_value *values =
        view_values(view, TABLE_SERVICE, SERVICE_BY_NAME, key_all(&key, &request->tenancy), &count);
    buffer_add_byte(reply->body, '{');
    for (size_t i = 0; i < count; i++) {
        const char *name = ((const Pb__NodeService *)values[i].record->message)->service;
        struct text_list tags = {0};
        if (gather_tags(request, view, name, &tags)) {
            reply_comma(reply->body);
            json_write_string(reply->body, name);
            buffer_add_text(reply->body, ":[");
            for (size_t j = 0; j < tags.count; j++) {
                reply_comma(reply->body);
                json_write_string(reply->body, tags.items[j]);
            }
            buffer_add_byte(reply->body, ']');
        }
        text_list_free(&tags);
    }
    buffer_add_byte(reply->body, '}');
    buffer_free(&key);
}

static void write_catalog_service(struct buffer *body, const struct record *node,
                                  const struct record *service)
{
    reply_comma(body);
    buffer_add_byte(body, '{');
    codec_write_fields(body, &shape_catalog_node, node->message);
    buffer_add_byte(body, ',');
    codec_write_fields(body, &shape_catalog_service, service->message);
    buffer_printf(body, ",\"CreateIndex\":%llu,\"ModifyIndex\":%llu}",
                  (unsigned long long)service->create_index,
                  (unsigned long long)service->modify_index);
}

/* Instances without their checks: reading through those would wake a client for each change of
 * health, which is no change of the catalog. */
static void read_services(struct api_request *request, struct view *view, struct reply *reply,
                          enum service_index index)
{
    struct buffer key = {0};
    size_t count;
    const struct record *const *services = view_list(
        view, TABLE_SERVICE, index, key_named(&key, &request->tenancy, request->argument), &count);
    buffer_add_byte(reply->body, '[');
    for (size_t i = 0; i < count; i++) {
        const Pb__NodeService *service = services[i]->message;
        const struct record *node =
            view_get(view, TABLE_NODE, key_node(&key, &request->tenancy, service->node));
        if (node == NULL)
            continue;
        const void *parts[] = {node->message, service};
        if (request_wants_node(request, node->message) && request_wants_tags(request, service) &&
            filter_match(request->filter, parts))
            write_catalog_service(reply->body, node, services[i]);
    }
    buffer_add_byte(reply->body, ']');
    buffer_free(&key);
}

void api_catalog_service(struct api_request *request, struct view *view, struct reply *reply)
{
    read_services(request, view, reply, SERVICE_BY_NAME);
}

void api_catalog_connect(struct api_request *request, struct view *view, struct reply *reply)
{
    read_services(request, view, reply, SERVICE_BY_CONNECT);
}

/* Ingress and terminating gateways, which this would list, cannot be registered yet. */
void api_catalog_gateway_services(struct api_request *request, struct view *view,
                                  struct reply *reply)
{
    (void)request;
    (void)view;
    buffer_add_text(reply->body, "[]");
}

/* ---- one node ---- */

static void write_node_services(struct api_request *request, struct view *view, struct buffer *body,
                                bool as_map)
{
    struct buffer key = {0};
    size_t count;
    const struct record *const *services =
        view_list(view, TABLE_SERVICE, SERVICE_BY_NODE,
                  key_node(&key, &request->tenancy, request->argument), &count);
    buffer_free(&key);
    for (size_t i = 0; i < count; i++) {
        const Pb__NodeService *service = services[i]->message;
        const void *parts[] = {service};
        if (!filter_match(request->filter, parts))
            continue;
        reply_comma(body);
        if (as_map) {
            json_write_string(body, service->id);
            buffer_add_byte(body, ':');
        }
        reply_record(body, services[i]);
    }
}

static void read_node(struct api_request *request, struct view *view, struct reply *reply,
                      bool as_map)
{
    struct buffer key = {0};
    const struct record *node =
        view_get(view, TABLE_NODE, key_node(&key, &request->tenancy, request->argument));
    buffer_free(&key);
    if (node == NULL) {
        buffer_add_text(reply->body, as_map ? "null" : "{\"Node\":null,\"Services\":null}");
        return;
    }
    buffer_add_text(reply->body, "{\"Node\":");
    reply_record(reply->body, node);
    buffer_add_text(reply->body, ",\"Services\":");
    buffer_add_byte(reply->body, as_map ? '{' : '[');
    write_node_services(request, view, reply->body, as_map);
    buffer_add_byte(reply->body, as_map ? '}' : ']');
    buffer_add_byte(reply->body, '}');
}

void api_catalog_node(struct api_request *request, struct view *view, struct reply *reply)
{
    read_node(request, view, reply, true);
}

void api_catalog_node_services(struct api_request *request, struct view *view, struct reply *reply)
{
    read_node(request, view, reply, false);
}
