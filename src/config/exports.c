/* Who sees which service: the exported-services entries laid over the catalog. */
#include <string.h>

#include "base/text.h"
#include "config/entry.h"
#include "consul/service.pb-c.h"

static const Pb__ExportedServicesEntry *exports_of(struct view *view, const struct tenancy *tenancy)
{
    static const struct config_kind kind = {.table = TABLE_EXPORTED_SERVICES};
    const char *partition = text_empty(tenancy->partition) ? "default" : tenancy->partition;
    const struct record *record = config_entry_get(view, &kind, tenancy, partition);
    return record == NULL ? NULL : record->message;
}

static bool covers_namespace(const Pb__ExportedService *service, const struct tenancy *tenancy)
{
    const char *own = text_empty(service->namespace_) ? "default" : service->namespace_;
    const char *asked = text_empty(tenancy->namespace) ? "default" : tenancy->namespace;
    return strcmp(own, "*") == 0 || text_equal_nocase(own, asked);
}

static bool has_consumer(const Pb__ExportedService *service, const char *peer)
{
    for (size_t i = 0; i < service->n_consumers; i++) {
        if (strcmp(service->consumers[i]->peer, peer) == 0)
            return true;
    }
    return false;
}

static bool is_wildcard(const Pb__ExportedService *service)
{
    return strcmp(service->name, "*") == 0;
}

static bool never_exported(const char *name)
{
    return text_equal_nocase(name, "consul");
}

/* The name as its instances spell it if some instance of it is a typical service (no proxy and no
 * gateway): what a wildcard stands for. NULL if none is. */
static const char *typical_name(struct view *view, const struct tenancy *tenancy, const char *name)
{
    struct tenancy local = {tenancy->partition, tenancy->namespace, NULL};
    struct buffer value = {0};
    size_t count;
    const struct record *const *records =
        view_list(view, TABLE_SERVICE, SERVICE_BY_NAME, key_named(&value, &local, name), &count);
    buffer_free(&value);
    for (size_t i = 0; i < count; i++) {
        const Pb__NodeService *service = records[i]->message;
        if (service->kind[0] == '\0')
            return service->service;
    }
    return NULL;
}

static void add_all_typical(struct view *view, const struct tenancy *tenancy,
                            struct text_list *names)
{
    struct tenancy local = {tenancy->partition, tenancy->namespace, NULL};
    struct buffer value = {0};
    size_t count;
    const struct view_value *values =
        view_values(view, TABLE_SERVICE, SERVICE_BY_NAME, key_all(&value, &local), &count);
    buffer_free(&value);
    for (size_t i = 0; i < count; i++) {
        const char *name =
            typical_name(view, tenancy, key_name(values[i].bytes, values[i].length, 0));
        if (name != NULL && !never_exported(name))
            text_list_add(names, name);
    }
}

struct text_list config_exported_services(struct view *view, const struct tenancy *tenancy,
                                          const char *peer)
{
    struct text_list names = {0};
    const Pb__ExportedServicesEntry *entry = exports_of(view, tenancy);
    bool all = false;
    for (size_t i = 0; entry != NULL && i < entry->n_services; i++) {
        const Pb__ExportedService *service = entry->services[i];
        if (!covers_namespace(service, tenancy) || !has_consumer(service, peer))
            continue;
        if (is_wildcard(service))
            all = true;
        else if (!never_exported(service->name))
            text_list_add(&names, service->name);
    }
    if (all)
        add_all_typical(view, tenancy, &names);
    text_list_sort(&names);
    return names;
}

struct text_list config_exported_to(struct view *view, const struct tenancy *tenancy,
                                    const char *service)
{
    struct text_list peers = {0};
    const Pb__ExportedServicesEntry *entry =
        never_exported(service) ? NULL : exports_of(view, tenancy);
    for (size_t i = 0; entry != NULL && i < entry->n_services; i++) {
        const Pb__ExportedService *exported = entry->services[i];
        if (!covers_namespace(exported, tenancy))
            continue;
        bool hit = is_wildcard(exported) ? typical_name(view, tenancy, service) != NULL
                                         : text_equal_nocase(exported->name, service);
        for (size_t j = 0; hit && j < exported->n_consumers; j++)
            text_list_add(&peers, exported->consumers[j]->peer);
    }
    text_list_sort(&peers);
    return peers;
}
