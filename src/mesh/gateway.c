/* The snapshot of a mesh gateway: where it listens, which services of this cluster it leads to
 * (and which of them are exported to whom), and which imported services it passes on. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "ca/spiffe.h"
#include "config/entry.h"
#include "consul/peering.pb-c.h"
#include "mesh/memo.h"
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

/* A memo_fn. The tenancy and the connect timeout are added in each build. */
static const void *gather_service(struct gather *gather, const char *name)
{
    const struct proxy_snapshot *snapshot = gather->snapshot;
    const struct tenancy *tenancy = &gather->tenancy;
    struct gateway_service *service = arena_alloc(snapshot->arena, sizeof *service);
    service->name = arena_strdup(snapshot->arena, name);
    service->tenancy = *tenancy;
    service->sni = gather_keep(
        gather, sni_service(snapshot->trust_domain, tenancy, snapshot->datacenter, NULL, name));
    service->spiffe_id = gather_keep(
        gather, spiffe_service(snapshot->trust_domain, tenancy, snapshot->datacenter, name));
    service->protocol = config_service_protocol(gather->view, tenancy, name, snapshot->arena);
    struct arena *scratch = arena_new();
    struct catalog_instances instances =
        catalog_connect_instances(gather->view, tenancy, name, scratch);
    service->endpoints = gather_endpoints(gather, &instances, false);
    arena_free(scratch);
    struct text_list peers = config_exported_to(gather->view, tenancy, name);
    gather_consumers(gather, service, &peers);
    text_list_free(&peers);
    gather_gateway_chain(gather, service);
    return service;
}

/* What service-defaults of the gateway's own name say of its upstreams. */
static void gather_limits(struct gather *gather)
{
    struct proxy_snapshot *snapshot = gather->snapshot;
    const Pb__ServiceDefaultsEntry *defaults =
        config_service_defaults(gather->view, &gather->tenancy, snapshot->service_name);
    if (defaults != NULL && defaults->upstream_config != NULL &&
        defaults->upstream_config->defaults != NULL)
        snapshot->gateway_limits = defaults->upstream_config->defaults->limits;
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
    for (size_t i = 0; i < names.count; i++) {
        const struct gateway_service *part = memo_get(gather, gather_service, names.items[i]);
        services[i] = *part;
        services[i].tenancy = gather->tenancy;
        services[i].connect_timeout_ms = (uint32_t)timeout;
    }
    snapshot->service_count = names.count;
    snapshot->services = services;
    text_list_free(&names);
}

/* ---- imports ---- */

static int compare_imports(const void *a, const void *b)
{
    return strcmp(((const struct gateway_import *)a)->sni, ((const struct gateway_import *)b)->sni);
}

/* A memo_fn. NULL if the peer has not said what the service's name in SNI is. */
static const void *gather_import(struct gather *gather, const char *name)
{
    struct arena *arena = gather->snapshot->arena, *scratch = arena_new();
    struct catalog_instances instances =
        catalog_connect_instances(gather->view, &gather->tenancy, name, scratch);
    const Pb__PeeringServiceMeta *meta = gather_peer_meta(&instances);
    struct gateway_import *import = NULL;
    if (meta != NULL) {
        import = arena_alloc(arena, sizeof *import);
        *import = (struct gateway_import){meta->sni[0], gather_endpoints(gather, &instances, true)};
    }
    arena_free(scratch);
    return import;
}

static void add_imports(struct gather *gather, const char *peer, size_t *capacity)
{
    struct proxy_snapshot *snapshot = gather->snapshot;
    struct gather remote = *gather;
    remote.tenancy.peer = peer;
    struct text_list names = catalog_connect_names(gather->view, &remote.tenancy);
    if (snapshot->import_count + names.count > *capacity) {
        *capacity = 2 * (snapshot->import_count + names.count);
        struct gateway_import *grown = arena_alloc(snapshot->arena, *capacity * sizeof *grown);
        if (snapshot->import_count > 0)
            memcpy(grown, snapshot->imports, snapshot->import_count * sizeof *grown);
        snapshot->imports = grown;
    }
    for (size_t i = 0; i < names.count; i++) {
        const struct gateway_import *import = memo_get(&remote, gather_import, names.items[i]);
        if (import != NULL)
            snapshot->imports[snapshot->import_count++] = *import;
    }
    text_list_free(&names);
}

static void gather_imports(struct gather *gather)
{
    struct proxy_snapshot *snapshot = gather->snapshot;
    struct buffer key = {0};
    size_t count, capacity = 0;
    const struct record *const *bundles = view_list(gather->view, TABLE_TRUST_BUNDLE, BY_TENANCY,
                                                    key_all(&key, &gather->tenancy), &count);
    buffer_free(&key);
    for (size_t i = 0; i < count; i++) {
        const Pb__PeeringTrustBundle *bundle = bundles[i]->message;
        add_imports(gather, bundle->peer_name, &capacity);
    }
    if (snapshot->import_count > 1)
        qsort(snapshot->imports, snapshot->import_count, sizeof *snapshot->imports,
              compare_imports);
}

bool gather_mesh_gateway(struct gather *gather, struct error *error)
{
    gather_listeners(gather);
    if (gather->snapshot->listener_count == 0)
        return error_set(error, ERR_INVALID,
                         "mesh gateway \"%s\" has no address to listen on: give it a port, or "
                         "envoy_gateway_bind_addresses",
                         gather->snapshot->proxy_id);
    gather_limits(gather);
    gather_services(gather);
    gather_imports(gather);
    gather_controls(gather);
    return true;
}
