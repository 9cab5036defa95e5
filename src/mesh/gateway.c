/* The snapshot of a mesh gateway: where it listens, which services of this cluster it leads to
 * (and which of them are exported to whom), and which imported services it passes on. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "ca/spiffe.h"
#include "config/entry.h"
#include "consul/peering.pb-c.h"
#include "mesh/gather.h"
#include "mesh/opaque.h"
#include "proto/proto.h"

#define CONNECT_TIMEOUT_MS 5000

/* ---- listeners (xds.md 2.4.1) ---- */

struct listeners {
    struct arena *arena;
    struct gateway_listener *items;
    size_t count, capacity;
};

static void add_listener(struct listeners *listeners, const char *name, const char *address,
                         int64_t port)
{
    if (port <= 0 || port > 65535)
        return;
    if (listeners->count == listeners->capacity) {
        size_t capacity = listeners->capacity ? listeners->capacity * 2 : 8;
        struct gateway_listener *grown =
            arena_alloc(listeners->arena, capacity * sizeof *listeners->items);
        if (listeners->count > 0)
            memcpy(grown, listeners->items, listeners->count * sizeof *listeners->items);
        listeners->items = grown;
        listeners->capacity = capacity;
    }
    listeners->items[listeners->count++] = (struct gateway_listener){
        arena_strdup(listeners->arena, name),
        arena_strdup(listeners->arena, text_empty(address) ? "0.0.0.0" : address), (uint16_t)port};
}

static bool option(const struct opaque *config, const char *name)
{
    char alias[64];
    bool value = false;
    snprintf(alias, sizeof alias, "envoy_mesh_gateway_%s", name);
    if (!opaque_bool(config, alias, &value)) {
        snprintf(alias, sizeof alias, "envoy_gateway_%s", name);
        opaque_bool(config, alias, &value);
    }
    return value;
}

static void add_bind_addresses(struct listeners *listeners, const struct opaque *config)
{
    struct opaque addresses = opaque_object(config, "envoy_gateway_bind_addresses");
    if (addresses.object == NULL)
        addresses = opaque_object(config, "envoy_mesh_gateway_bind_addresses");
    const char *name;
    json_t *value;
    json_object_foreach(addresses.object, name, value)
    {
        struct opaque bind = {json_incref(value), NULL};
        int64_t port = 0;
        if (json_is_object(value) && opaque_int(&bind, "port", 1, 65535, &port))
            add_listener(listeners, name, opaque_text(&bind, "address"), port);
        opaque_clear(&bind);
    }
    opaque_clear(&addresses);
}

static int compare_listeners(const void *a, const void *b)
{
    return strcmp(((const struct gateway_listener *)a)->name,
                  ((const struct gateway_listener *)b)->name);
}

/* One socket can be bound once: of equal addresses the first name wins. */
static size_t drop_repeated(struct gateway_listener *items, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        bool seen = false;
        for (size_t j = 0; j < kept && !seen; j++)
            seen =
                items[j].port == items[i].port && strcmp(items[j].address, items[i].address) == 0;
        if (!seen)
            items[kept++] = items[i];
    }
    return kept;
}

static void gather_listeners(struct gather *gather)
{
    struct proxy_snapshot *snapshot = gather->snapshot;
    const Pb__NodeService *service = snapshot->registration;
    struct opaque config = opaque_parse(snapshot->config, NULL);
    struct listeners listeners = {.arena = snapshot->arena};
    if (!option(&config, "no_default_bind"))
        add_listener(&listeners, "default", service->address, service->port);
    if (option(&config, "bind_tagged_addresses")) {
        for (size_t i = 0; i < service->n_tagged_addresses; i++) {
            const Pb__ServiceAddress *tagged = service->tagged_addresses[i]->value;
            add_listener(&listeners, service->tagged_addresses[i]->key, tagged->address,
                         tagged->port);
        }
    }
    add_bind_addresses(&listeners, &config);
    opaque_clear(&config);
    if (listeners.count > 1)
        qsort(listeners.items, listeners.count, sizeof *listeners.items, compare_listeners);
    snapshot->listener_count = drop_repeated(listeners.items, listeners.count);
    snapshot->listeners = listeners.items;
}

/* ---- services ---- */

static void gather_consumers(struct gather *gather, struct gateway_service *service,
                             const struct text_list *peers)
{
    struct arena *arena = gather->snapshot->arena;
    const struct trust_bundle **bundles = proto_array(arena, peers->count);
    const char **snis = proto_array(arena, peers->count);
    for (size_t i = 0; i < peers->count; i++) {
        const struct trust_bundle *bundle = gather_peer_bundle(gather, peers->items[i]);
        if (bundle == NULL)
            continue;
        bundles[service->peer_count] = bundle;
        snis[service->peer_count++] = gather_keep(
            gather, sni_peered_service(gather->snapshot->trust_domain, &service->tenancy,
                                       peers->items[i], service->name));
    }
    service->peers = bundles;
    service->peer_snis = snis;
}

static void gather_service(struct gather *gather, struct gateway_service *service, const char *name,
                           uint32_t connect_timeout_ms)
{
    struct proxy_snapshot *snapshot = gather->snapshot;
    struct arena *arena = snapshot->arena;
    service->name = name;
    service->tenancy = gather->tenancy;
    service->sni = gather_keep(gather, sni_service(snapshot->trust_domain, &service->tenancy,
                                                   snapshot->datacenter, NULL, name));
    service->spiffe_id =
        gather_keep(gather, spiffe_service(snapshot->trust_domain, &service->tenancy,
                                           snapshot->datacenter, name));
    service->protocol = config_service_protocol(gather->view, &service->tenancy, name, arena);
    service->connect_timeout_ms = connect_timeout_ms;
    struct catalog_instances instances =
        catalog_connect_instances(gather->view, &service->tenancy, name, arena);
    service->endpoints = gather_endpoints(gather, &instances, false);
    struct text_list peers = config_exported_to(gather->view, &service->tenancy, name);
    gather_consumers(gather, service, &peers);
    text_list_free(&peers);
}

static void gather_services(struct gather *gather)
{
    struct proxy_snapshot *snapshot = gather->snapshot;
    struct opaque config = opaque_parse(snapshot->config, NULL);
    int64_t timeout = CONNECT_TIMEOUT_MS;
    opaque_int(&config, "connect_timeout_ms", 1, INT32_MAX, &timeout);
    opaque_clear(&config);

    struct text_list names = catalog_connect_names(gather->view, &gather->tenancy);
    struct gateway_service *services = arena_alloc(snapshot->arena, names.count * sizeof *services);
    for (size_t i = 0; i < names.count; i++)
        gather_service(gather, &services[i], arena_strdup(snapshot->arena, names.items[i]),
                       (uint32_t)timeout);
    snapshot->service_count = names.count;
    snapshot->services = services;
    text_list_free(&names);
}

/* ---- imports ---- */

static int compare_imports(const void *a, const void *b)
{
    return strcmp(((const struct gateway_import *)a)->sni, ((const struct gateway_import *)b)->sni);
}

static void gather_imports(struct gather *gather)
{
    struct proxy_snapshot *snapshot = gather->snapshot;
    struct tenancy own = gather->tenancy;
    struct buffer key = {0};
    size_t bundle_count;
    const struct record *const *bundles =
        view_list(gather->view, TABLE_TRUST_BUNDLE, BY_TENANCY, key_all(&key, &own), &bundle_count);
    buffer_free(&key);
    struct gateway_import *imports = NULL;
    size_t count = 0, capacity = 0;
    for (size_t i = 0; i < bundle_count; i++) {
        const Pb__PeeringTrustBundle *bundle = bundles[i]->message;
        struct tenancy remote = {own.partition, own.namespace, bundle->peer_name};
        struct text_list names = catalog_connect_names(gather->view, &remote);
        for (size_t j = 0; j < names.count; j++) {
            struct catalog_instances instances =
                catalog_connect_instances(gather->view, &remote, names.items[j], snapshot->arena);
            const Pb__PeeringServiceMeta *meta = gather_peer_meta(&instances);
            if (meta == NULL)
                continue;
            if (count == capacity) {
                capacity = capacity ? capacity * 2 : 16;
                struct gateway_import *grown =
                    arena_alloc(snapshot->arena, capacity * sizeof *imports);
                if (count > 0)
                    memcpy(grown, imports, count * sizeof *imports);
                imports = grown;
            }
            imports[count++] =
                (struct gateway_import){meta->sni[0], gather_endpoints(gather, &instances, true)};
        }
        text_list_free(&names);
    }
    if (count > 1)
        qsort(imports, count, sizeof *imports, compare_imports);
    snapshot->import_count = count;
    snapshot->imports = imports;
}

bool gather_mesh_gateway(struct gather *gather, struct error *error)
{
    gather_listeners(gather);
    if (gather->snapshot->listener_count == 0)
        return error_set(error, ERR_INVALID,
                         "mesh gateway \"%s\" has no address to listen on: give it a port, or "
                         "envoy_gateway_bind_addresses",
                         gather->snapshot->proxy_id);
    gather_services(gather);
    gather_imports(gather);
    gather_controls(gather);
    return true;
}
