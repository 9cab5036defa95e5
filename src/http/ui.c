/* /v1/internal/ui: a line for each service, local and imported, with counts. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "catalog/catalog.h"
#include "config/entry.h"
#include "http/handlers.h"
#include "text/json.h"

struct summary {
    const char *name, *kind, *datacenter;
    struct text_list tags, nodes;
    size_t instances;
    size_t checks[3]; /* passing, warning, critical */
    bool native, transparent;
};

/* A node's check counts once for a service, however many instances are on the node. */
static bool counted_before(const Pb__HealthCheck *check, struct text_list *seen)
{
    if (!text_empty(check->service_id))
        return false;
    char *id = mem_printf("%s/%s", check->node, check->check_id);
    bool before = text_list_has(seen, id);
    text_list_add(seen, id);
    free(id);
    return before;
}

static void count_checks(struct summary *summary, const struct catalog_instance *instance,
                         struct text_list *seen)
{
    for (size_t i = 0; i < instance->check_count; i++) {
        const Pb__HealthCheck *check = instance->checks[i]->message;
        if (counted_before(check, seen))
            continue;
        summary->checks[text_equal(check->status, "passing")   ? 0
                        : text_equal(check->status, "warning") ? 1
                                                               : 2]++;
    }
}

static void count_instance(struct summary *summary, const struct catalog_instance *instance,
                           struct text_list *seen)
{
    const Pb__Node *node = instance->node->message;
    const Pb__NodeService *service = instance->service->message;
    summary->instances++;
    summary->name = service->service;
    summary->kind = service->kind;
    summary->datacenter = node->datacenter;
    summary->native |= service->connect != NULL && service->connect->native;
    summary->transparent |=
        service->proxy != NULL && text_equal(service->proxy->mode, "transparent");
    text_list_add(&summary->nodes, node->node);
    for (size_t i = 0; i < service->n_tags; i++)
        text_list_add(&summary->tags, service->tags[i]);
    count_checks(summary, instance, seen);
}

static void write_list(struct buffer *body, struct text_list *list)
{
    text_list_sort(list);
    if (list->count == 0) {
        buffer_add_text(body, "null");
        return;
    }
    buffer_add_byte(body, '[');
    for (size_t i = 0; i < list->count; i++) {
        reply_comma(body);
        json_write_string(body, list->items[i]);
    }
    buffer_add_byte(body, ']');
}

static void write_text(struct buffer *body, const char *key, const char *text)
{
    buffer_printf(body, "\"%s\":", key);
    json_write_string(body, text);
    buffer_add_byte(body, ',');
}

static void write_summary(struct buffer *body, struct summary *summary, const char *peer,
                          bool with_proxy)
{
    reply_comma(body);
    buffer_add_byte(body, '{');
    if (!text_empty(summary->kind))
        write_text(body, "Kind", summary->kind);
    write_text(body, "Name", summary->name);
    write_text(body, "Datacenter", summary->datacenter);
    buffer_add_text(body, "\"Tags\":");
    write_list(body, &summary->tags);
    buffer_add_text(body, ",\"Nodes\":");
    write_list(body, &summary->nodes);
    buffer_printf(body,
                  ",\"ExternalSources\":null,\"InstanceCount\":%zu,\"ChecksPassing\":%zu,"
                  "\"ChecksWarning\":%zu,\"ChecksCritical\":%zu,\"GatewayConfig\":{},"
                  "\"TransparentProxy\":%s,\"ConnectNative\":%s,",
                  summary->instances, summary->checks[0], summary->checks[1], summary->checks[2],
                  summary->transparent ? "true" : "false", summary->native ? "true" : "false");
    if (!text_empty(peer))
        write_text(body, "PeerName", peer);
    buffer_printf(body, "\"ConnectedWithProxy\":%s,\"ConnectedWithGateway\":false}",
                  with_proxy ? "true" : "false");
}

/* A service's line counts its instances' checks and those of the proxies before them. */
static void write_service(struct view *view, struct buffer *body, const struct tenancy *tenancy,
                          const char *name)
{
    struct arena *scratch = arena_new();
    struct text_list seen = {0};
    struct summary own = {0};
    struct catalog_instances instances = catalog_service_instances(view, tenancy, name, scratch);
    struct catalog_instances reach = catalog_connect_instances(view, tenancy, name, scratch);
    for (size_t i = 0; i < instances.count; i++)
        count_instance(&own, &instances.items[i], &seen);
    for (size_t i = 0; i < reach.count && !own.native; i++)
        count_checks(&own, &reach.items[i], &seen);
    if (own.instances > 0)
        write_summary(body, &own, tenancy->peer, reach.count > 0 && !own.native);
    text_list_free(&own.tags);
    text_list_free(&own.nodes);
    text_list_free(&seen);
    arena_free(scratch);
}

/* A name of a list, with the peer that it comes from. */
struct named {
    const char *name;
    const char *peer; /* "" for local ones */
};

struct names {
    struct named *items;
    size_t count, capacity;
};

static int compare_names(const void *a, const void *b)
{
    const struct named *left = a, *right = b;
    int order = strcmp(left->name, right->name);
    return order != 0 ? order : strcmp(left->peer, right->peer);
}

static void add_names(struct view *view, struct names *names, const struct tenancy *tenancy)
{
    struct buffer key = {0};
    size_t count;
    const struct view_value *values =
        view_values(view, TABLE_SERVICE, SERVICE_BY_NAME, key_all(&key, tenancy), &count);
    buffer_free(&key);
    if (names->count + count > names->capacity) {
        names->capacity = 2 * names->capacity + count;
        names->items = mem_realloc(names->items, names->capacity * sizeof *names->items);
    }
    for (size_t i = 0; i < count; i++) {
        const Pb__NodeService *service = values[i].record->message;
        names->items[names->count++] = (struct named){service->service, service->peer_name};
    }
}

static void add_imported_names(struct view *view, struct names *names, struct tenancy tenancy)
{
    struct buffer key = {0};
    size_t count;
    const struct tenancy everywhere = TENANCY_DEFAULT;
    const struct record *const *peerings =
        view_list(view, TABLE_PEERING, BY_TENANCY, key_all(&key, &everywhere), &count);
    buffer_free(&key);
    for (size_t i = 0; i < count; i++) {
        tenancy.peer = ((const Pb__Peering *)peerings[i]->message)->name;
        add_names(view, names, &tenancy);
    }
}

void api_ui_services(struct api_request *request, struct view *view, struct reply *reply)
{
    struct tenancy tenancy = request->tenancy;
    struct names names = {0};
    add_names(view, &names, &tenancy);
    if (text_empty(tenancy.peer))
        add_imported_names(view, &names, tenancy);
    if (names.count > 0)
        qsort(names.items, names.count, sizeof *names.items, compare_names);
    buffer_add_byte(reply->body, '[');
    for (size_t i = 0; i < names.count; i++) {
        tenancy.peer = names.items[i].peer;
        write_service(view, reply->body, &tenancy, names.items[i].name);
    }
    buffer_add_byte(reply->body, ']');
    free(names.items);
}

void api_ui_exported_services(struct api_request *request, struct view *view, struct reply *reply)
{
    const char *peer = http_query(request->http, "peer", 0);
    struct text_list names =
        config_exported_services(view, &request->tenancy, peer == NULL ? "" : peer);
    buffer_add_byte(reply->body, '[');
    for (size_t i = 0; i < names.count; i++) {
        struct summary summary = {.name = names.items[i],
                                  .datacenter = request->api->config.datacenter};
        write_summary(reply->body, &summary, "", false);
    }
    buffer_add_byte(reply->body, ']');
    text_list_free(&names);
}
