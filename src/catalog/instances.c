#include <string.h>

#include "base/memory.h"
#include "catalog/catalog.h"

struct checks {
    const struct record *const *items;
    size_t count;
};

/* Of a node if the service id is empty. */
static struct checks find_checks(struct view *view, const struct tenancy *tenancy, const char *node,
                                 const char *service_id)
{
    struct buffer value = {0};
    struct checks checks;
    checks.items = view_list(view, TABLE_CHECK, CHECK_BY_INSTANCE,
                             key_service(&value, tenancy, node, service_id), &checks.count);
    buffer_free(&value);
    return checks;
}

/* The node's checks come first, as in Consul. */
static void add_checks(struct view *view, struct catalog_instance *instance, struct arena *arena)
{
    const Pb__NodeService *service = instance->service->message;
    struct tenancy tenancy = catalog_service_tenancy(service);
    struct tenancy of_node = {.partition = tenancy.partition, .peer = tenancy.peer};
    struct checks node = find_checks(view, &of_node, service->node, "");
    struct checks own = find_checks(view, &tenancy, service->node, service->id);
    const struct record **all =
        arena_alloc(arena, (node.count + own.count) * sizeof(const struct record *));
    if (node.count > 0)
        memcpy(all, node.items, node.count * sizeof *all);
    if (own.count > 0)
        memcpy(all + node.count, own.items, own.count * sizeof *all);
    instance->checks = all;
    instance->check_count = node.count + own.count;
}

static struct catalog_instances find_instances(struct view *view, enum service_index index,
                                               const struct tenancy *tenancy, const char *name,
                                               struct arena *arena)
{
    struct buffer key = {0};
    size_t count;
    const struct record *const *services =
        view_list(view, TABLE_SERVICE, index, key_named(&key, tenancy, name), &count);
    struct catalog_instance *items = arena_alloc(arena, count * sizeof *items);
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        const Pb__NodeService *service = services[i]->message;
        const struct record *node =
            view_get(view, TABLE_NODE, key_node(&key, tenancy, service->node));
        if (node == NULL)
            continue; /* being deleted by this very transaction */
        items[found] = (struct catalog_instance){.node = node, .service = services[i]};
        add_checks(view, &items[found++], arena);
    }
    buffer_free(&key);
    return (struct catalog_instances){found, items};
}

struct catalog_instances catalog_service_instances(struct view *view, const struct tenancy *tenancy,
                                                   const char *service, struct arena *arena)
{
    return find_instances(view, SERVICE_BY_NAME, tenancy, service, arena);
}

struct catalog_instances catalog_connect_instances(struct view *view, const struct tenancy *tenancy,
                                                   const char *service, struct arena *arena)
{
    return find_instances(view, SERVICE_BY_CONNECT, tenancy, service, arena);
}

struct text_list catalog_connect_names(struct view *view, const struct tenancy *tenancy)
{
    struct buffer key = {0};
    size_t count;
    const struct view_value *values =
        view_values(view, TABLE_SERVICE, SERVICE_BY_CONNECT, key_all(&key, tenancy), &count);
    buffer_free(&key);
    struct text_list names = {0};
    for (size_t i = 0; i < count; i++) {
        const Pb__NodeService *service = values[i].record->message;
        bool is_proxy = text_equal(service->kind, "connect-proxy") && service->proxy != NULL;
        text_list_add(&names,
                      is_proxy ? service->proxy->destination_service_name : service->service);
    }
    text_list_sort(&names);
    return names;
}

struct catalog_instances catalog_mesh_gateways(struct view *view, const struct tenancy *tenancy,
                                               struct arena *arena)
{
    struct tenancy local = {.partition = tenancy->partition};
    return find_instances(view, SERVICE_BY_KIND, &local, "mesh-gateway", arena);
}

/* ---- health and address ---- */

static enum catalog_health check_health(const Pb__HealthCheck *check)
{
    if (strcmp(check->check_id, "_node_maintenance") == 0 ||
        text_starts(check->check_id, "_service_maintenance:"))
        return CATALOG_MAINTENANCE;
    if (strcmp(check->status, "passing") == 0)
        return CATALOG_PASSING;
    return strcmp(check->status, "warning") == 0 ? CATALOG_WARNING : CATALOG_CRITICAL;
}

enum catalog_health catalog_instance_health(const struct catalog_instance *instance)
{
    enum catalog_health worst = CATALOG_PASSING;
    for (size_t i = 0; i < instance->check_count; i++) {
        enum catalog_health health = check_health(instance->checks[i]->message);
        if (health > worst)
            worst = health;
    }
    return worst;
}

const char *catalog_health_name(enum catalog_health health)
{
    static const char *const names[] = {"passing", "warning", "critical", "maintenance"};
    return names[health];
}

/* NULL if the instance has no such tag. */
static const Pb__ServiceAddress *tagged(const Pb__NodeService *service, const char *tag)
{
    for (size_t i = 0; i < service->n_tagged_addresses; i++) {
        const Pb__NodeService__TaggedAddressesEntry *entry = service->tagged_addresses[i];
        if (strcmp(entry->key, tag) == 0)
            return entry->value;
    }
    return NULL;
}

static const char *node_address(const Pb__Node *node, bool wan)
{
    for (size_t i = 0; wan && i < node->n_tagged_addresses; i++) {
        if (strcmp(node->tagged_addresses[i]->key, "wan") == 0 &&
            !text_empty(node->tagged_addresses[i]->value))
            return node->tagged_addresses[i]->value;
    }
    return text_empty(node->address) ? "" : node->address;
}

const char *catalog_instance_address(const struct catalog_instance *instance, bool wan,
                                     uint16_t *ret_port)
{
    const Pb__NodeService *service = instance->service->message;
    const Pb__ServiceAddress *wan_address = wan ? tagged(service, "wan") : NULL;
    *ret_port = (uint16_t)service->port;
    if (wan_address != NULL && !text_empty(wan_address->address)) {
        if (wan_address->port != 0)
            *ret_port = (uint16_t)wan_address->port;
        return wan_address->address;
    }
    if (!text_empty(service->address))
        return service->address;
    return node_address(instance->node->message, wan);
}
