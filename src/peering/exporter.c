#include "peering/exporter.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "base/list.h"
#include "config/entry.h"
#include "proto/proto.h"

/* One of a service's two resources. */
struct part {
    struct service *service;
    bool is_proxy;
    bool sent; /* a proxy: with more than nothing */
    struct watch *watch;
    struct list dirty; /* in exporter->dirty while it must be read again */
};

struct service {
    UT_hash_handle hh;
    struct exporter *exporter;
    bool listed; /* mark and sweep of a new list */
    struct part plain, proxy;
    char *proxy_name;
    char name[];
};

struct exporter {
    struct store *store;
    struct export_scope scope;
    const char *(*server_address)(void *arg);
    const struct exporter_handler *handler;
    void *arg;

    bool started[RESOURCE_COUNT];
    struct watch *list_watch, *gateways_watch, *roots_watch, *addresses_watch;
    struct service *services;
    struct list dirty; /* parts */
    bool list_dirty;
    struct text_list names;
    bool has_names;
    struct arena *gateways_arena;
    Ps__ExportedService *gateways; /* NULL until they are read */
};

struct exporter *exporter_new(const struct exporter_config *config,
                              const struct exporter_handler *handler, void *arg)
{
    struct exporter *exporter = mem_zalloc(sizeof *exporter);
    exporter->store = config->store;
    exporter->scope = (struct export_scope){
        .peer_name = mem_strdup(config->scope.peer_name),
        .partition = mem_strdup(config->scope.partition),
        .datacenter = mem_strdup(config->scope.datacenter),
        .trust_domain = mem_strdup(config->scope.trust_domain),
    };
    exporter->server_address = config->server_address;
    exporter->handler = handler;
    exporter->arg = arg;
    list_init(&exporter->dirty);
    return exporter;
}

const struct text_list *exporter_services(const struct exporter *exporter)
{
    return exporter->has_names ? &exporter->names : NULL;
}

static void publish(struct exporter *exporter, enum resource resource, const char *id,
                    const void *payload)
{
    exporter->handler->publish(exporter->arg, resource, id, payload);
}

/* ---- services ---- */

static void on_part_changed(void *arg);
static void flush(struct exporter *exporter);

static void mark_dirty(struct part *part)
{
    watch_free(part->watch);
    part->watch = NULL;
    list_remove(&part->dirty);
    list_append(&part->service->exporter->dirty, &part->dirty);
}

static void init_part(struct part *part, struct service *service, bool is_proxy)
{
    part->service = service;
    part->is_proxy = is_proxy;
    list_init(&part->dirty);
    mark_dirty(part);
}

static void add_service(struct exporter *exporter, const char *name)
{
    size_t length = strlen(name);
    struct service *service = mem_zalloc(sizeof *service + length + 1);
    service->exporter = exporter;
    service->listed = true;
    memcpy(service->name, name, length);
    service->proxy_name = mem_printf("%s" PROXY_SUFFIX, name);
    init_part(&service->proxy, service, true);
    init_part(&service->plain, service, false);
    HASH_ADD_KEYPTR(hh, exporter->services, service->name, length, service);
}

static void free_service(struct service *service)
{
    watch_free(service->plain.watch);
    watch_free(service->proxy.watch);
    list_remove(&service->plain.dirty);
    list_remove(&service->proxy.dirty);
    HASH_DEL(service->exporter->services, service);
    free(service->proxy_name);
    free(service);
}

static void withdraw_proxy(struct part *part)
{
    if (!part->sent)
        return;
    part->sent = false;
    Ps__ExportedService nothing = PS__EXPORTED_SERVICE__INIT;
    publish(part->service->exporter, RESOURCE_SERVICE, part->service->proxy_name, &nothing);
}

static void send_proxy(struct part *part, struct view *view, struct arena *arena)
{
    struct exporter *exporter = part->service->exporter;
    const char *name = part->service->name;
    if (!payload_is_connect(view, &exporter->scope, name)) {
        withdraw_proxy(part);
        return;
    }
    part->sent = true;
    publish(exporter, RESOURCE_SERVICE, part->service->proxy_name,
            payload_proxy(view, &exporter->scope, name, exporter->gateways, arena));
}

static void send_part(struct part *part)
{
    struct exporter *exporter = part->service->exporter;
    list_remove(&part->dirty);
    struct view *view = view_new(exporter->store);
    struct arena *arena = arena_new();
    if (part->is_proxy)
        send_proxy(part, view, arena);
    else
        publish(exporter, RESOURCE_SERVICE, part->service->name,
                payload_service(view, &exporter->scope, part->service->name, arena));
    arena_free(arena);
    part->watch = watch_new(view, on_part_changed, part);
}

static void on_part_changed(void *arg)
{
    struct part *part = arg;
    mark_dirty(part);
    flush(part->service->exporter);
}

/* ---- the list ---- */

static void on_list_changed(void *arg)
{
    struct exporter *exporter = arg;
    watch_free(exporter->list_watch);
    exporter->list_watch = NULL;
    exporter->list_dirty = true;
    flush(exporter);
}

static void drop_unlisted(struct exporter *exporter)
{
    struct service *service, *next;
    HASH_ITER (hh, exporter->services, service, next) {
        if (service->listed)
            continue;
        withdraw_proxy(&service->proxy);
        exporter->handler->forget(exporter->arg, RESOURCE_SERVICE, service->name);
        exporter->handler->forget(exporter->arg, RESOURCE_SERVICE, service->proxy_name);
        free_service(service);
    }
}

static void mark_listed(struct exporter *exporter)
{
    struct service *service, *next;
    HASH_ITER (hh, exporter->services, service, next)
        service->listed = false;
    for (size_t i = 0; i < exporter->names.count; i++) {
        const char *name = exporter->names.items[i];
        HASH_FIND_STR(exporter->services, name, service);
        if (service != NULL)
            service->listed = true;
        else
            add_service(exporter, name);
    }
}

static void send_list(struct exporter *exporter)
{
    exporter->list_dirty = false;
    struct view *view = view_new(exporter->store);
    struct tenancy tenancy = {.partition = exporter->scope.partition};
    text_list_free(&exporter->names);
    exporter->names = config_exported_services(view, &tenancy, exporter->scope.peer_name);
    exporter->has_names = true;
    exporter->list_watch = watch_new(view, on_list_changed, exporter);
    mark_listed(exporter);
    drop_unlisted(exporter);
    struct arena *arena = arena_new();
    publish(exporter, RESOURCE_LIST, resource_single_id(RESOURCE_LIST),
            payload_list(&exporter->names, arena));
    arena_free(arena);
}

static void flush(struct exporter *exporter)
{
    if (exporter->list_dirty)
        send_list(exporter);
    while (!list_empty(&exporter->dirty) && exporter->handler->has_room(exporter->arg))
        send_part(list_entry(exporter->dirty.next, struct part, dirty));
}

void exporter_resume(struct exporter *exporter)
{
    flush(exporter);
}

/* ---- gateways, roots, addresses ---- */

static void on_gateways_changed(void *arg);

static void read_gateways(struct exporter *exporter)
{
    struct view *view = view_new(exporter->store);
    struct arena *scratch = arena_new(), *arena = arena_new();
    /* Kept over turns, unlike the other payloads: a deep copy. */
    exporter->gateways = proto_copy(payload_gateways(view, &exporter->scope, scratch), arena);
    arena_free(scratch);
    arena_free(exporter->gateways_arena);
    exporter->gateways_arena = arena;
    exporter->gateways_watch = watch_new(view, on_gateways_changed, exporter);
}

static void on_gateways_changed(void *arg)
{
    struct exporter *exporter = arg;
    watch_free(exporter->gateways_watch);
    read_gateways(exporter);
    struct service *service, *next;
    HASH_ITER (hh, exporter->services, service, next)
        mark_dirty(&service->proxy);
    flush(exporter);
}

static void on_roots_changed(void *arg)
{
    struct exporter *exporter = arg;
    watch_free(exporter->roots_watch);
    struct view *view = view_new(exporter->store);
    struct arena *arena = arena_new();
    Pb__PeeringTrustBundle *bundle = payload_roots(view, &exporter->scope, arena);
    if (bundle != NULL)
        publish(exporter, RESOURCE_ROOTS, resource_single_id(RESOURCE_ROOTS), bundle);
    arena_free(arena);
    exporter->roots_watch = watch_new(view, on_roots_changed, exporter);
}

static void on_addresses_changed(void *arg)
{
    struct exporter *exporter = arg;
    watch_free(exporter->addresses_watch);
    struct view *view = view_new(exporter->store);
    struct arena *arena = arena_new();
    struct tenancy tenancy = {.partition = exporter->scope.partition};
    Pb__PeeringServerAddresses *addresses =
        payload_addresses(view, &tenancy, exporter->server_address(exporter->arg), arena);
    if (addresses != NULL)
        publish(exporter, RESOURCE_ADDRESSES, resource_single_id(RESOURCE_ADDRESSES), addresses);
    arena_free(arena);
    exporter->addresses_watch = watch_new(view, on_addresses_changed, exporter);
}

void exporter_resend_addresses(struct exporter *exporter)
{
    if (exporter->started[RESOURCE_ADDRESSES])
        on_addresses_changed(exporter);
}

void exporter_start(struct exporter *exporter, enum resource resource)
{
    if (exporter->started[resource])
        return;
    exporter->started[resource] = true;
    switch (resource) {
    case RESOURCE_SERVICE:
        read_gateways(exporter);
        exporter->list_dirty = true;
        flush(exporter);
        break;
    case RESOURCE_ROOTS:
        on_roots_changed(exporter);
        break;
    case RESOURCE_ADDRESSES:
        on_addresses_changed(exporter);
        break;
    case RESOURCE_LIST:
    case RESOURCE_COUNT:
        break;
    }
}

void exporter_free(struct exporter *exporter)
{
    if (exporter == NULL)
        return;
    struct service *service, *next;
    HASH_ITER (hh, exporter->services, service, next)
        free_service(service);
    watch_free(exporter->list_watch);
    watch_free(exporter->gateways_watch);
    watch_free(exporter->roots_watch);
    watch_free(exporter->addresses_watch);
    text_list_free(&exporter->names);
    arena_free(exporter->gateways_arena);
    free((char *)(uintptr_t)exporter->scope.peer_name);
    free((char *)(uintptr_t)exporter->scope.partition);
    free((char *)(uintptr_t)exporter->scope.datacenter);
    free((char *)(uintptr_t)exporter->scope.trust_domain);
    free(exporter);
}
