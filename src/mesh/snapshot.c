#include "mesh/snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "ca/authority.h"
#include "ca/spiffe.h"
#include "config/entry.h"
#include "consul/peering.pb-c.h"
#include "mesh/gather.h"
#include "mesh/opaque.h"

const char *gather_keep(struct gather *gather, char *text)
{
    const char *kept = arena_strdup(gather->snapshot->arena, text);
    free(text);
    return kept;
}

const struct trust_bundle *gather_peer_bundle(struct gather *gather, const char *peer)
{
    struct tenancy tenancy = {.partition = gather->tenancy.partition};
    struct buffer key = {0};
    const struct record *record =
        view_get(gather->view, TABLE_TRUST_BUNDLE, key_named(&key, &tenancy, peer));
    buffer_free(&key);
    if (record == NULL)
        return NULL;
    const Pb__PeeringTrustBundle *stored = record->message;
    struct buffer roots = {0};
    for (size_t i = 0; i < stored->n_root_pems; i++) {
        buffer_add_text(&roots, stored->root_pems[i]);
        if (!text_ends(buffer_text(&roots), "\n"))
            buffer_add_byte(&roots, '\n');
    }
    struct arena *arena = gather->snapshot->arena;
    struct trust_bundle *bundle = arena_alloc(arena, sizeof *bundle);
    *bundle = (struct trust_bundle){
        .peer = arena_strdup(arena, peer),
        .trust_domain = stored->trust_domain,
        .exported_partition = stored->exported_partition,
        .roots_pem = arena_strdup(arena, buffer_text(&roots)),
    };
    buffer_free(&roots);
    return bundle;
}

static struct endpoint make_endpoint(const struct catalog_instance *instance, bool wan)
{
    const Pb__NodeService *service = instance->service->message;
    struct endpoint endpoint = {.weight = 1, .healthy = true};
    endpoint.address = catalog_instance_address(instance, wan, &endpoint.port);
    endpoint.hostname = !text_is_ip(endpoint.address);
    enum catalog_health health = catalog_instance_health(instance);
    int32_t weight = 1;
    if (service->weights != NULL)
        weight = health == CATALOG_PASSING ? service->weights->passing : service->weights->warning;
    if (health == CATALOG_CRITICAL || health == CATALOG_MAINTENANCE || weight < 1)
        endpoint.healthy = false;
    else
        endpoint.weight = weight > 128 ? 128 : (uint32_t)weight;
    return endpoint;
}

struct endpoint_list gather_endpoints(struct gather *gather,
                                      const struct catalog_instances *instances, bool wan)
{
    struct endpoint *items = arena_alloc(gather->snapshot->arena, instances->count * sizeof *items);
    size_t count = 0;
    for (size_t i = 0; i < instances->count; i++) {
        struct endpoint endpoint = make_endpoint(&instances->items[i], wan);
        if (!text_empty(endpoint.address) && endpoint.port != 0)
            items[count++] = endpoint;
    }
    return (struct endpoint_list){count, items};
}

const Pb__PeeringServiceMeta *gather_peer_meta(const struct catalog_instances *instances)
{
    for (size_t i = 0; i < instances->count; i++) {
        const Pb__NodeService *service = instances->items[i].service->message;
        if (service->connect != NULL && service->connect->peer_meta != NULL &&
            service->connect->peer_meta->n_sni > 0)
            return service->connect->peer_meta;
    }
    return NULL;
}

static void gather_common(struct gather *gather, const Pb__NodeService *registration,
                          const struct snapshot_inputs *inputs)
{
    struct proxy_snapshot *snapshot = gather->snapshot;
    struct arena *arena = snapshot->arena;
    const Pb__NodeService *merged = config_merge_proxy(gather->view, registration, arena);
    snapshot->registration = merged;
    snapshot->proxy_id = merged->id;
    snapshot->service_name = merged->service;
    snapshot->config = merged->proxy != NULL ? merged->proxy->config : "";
    snapshot->datacenter = arena_strdup(arena, inputs->datacenter);
    snapshot->trust_domain = arena_strdup(arena, inputs->trust_domain);
    snapshot->namespace = gather->tenancy.namespace;
    snapshot->partition = gather->tenancy.partition;
    snapshot->mesh = config_mesh(gather->view, &gather->tenancy);
    const Pb__ProxyDefaultsEntry *defaults = config_proxy_defaults(gather->view, &gather->tenancy);
    snapshot->access_logs = defaults != NULL ? defaults->access_logs : NULL;
    snapshot->default_allow = inputs->default_allow;
    snapshot->leaf = *inputs->leaf;

    struct trust_bundle *own = arena_alloc(arena, sizeof *own);
    *own = (struct trust_bundle){
        .peer = "",
        .trust_domain = snapshot->trust_domain,
        .exported_partition = "",
        .roots_pem = authority_roots_pem(gather->view, arena),
    };
    snapshot->own_bundle = own;

    struct opaque config = opaque_parse(snapshot->config, NULL);
    const char *protocol = opaque_text(&config, "protocol");
    char *lower = arena_strdup(arena, text_empty(protocol) ? "tcp" : protocol);
    text_lower(lower);
    snapshot->protocol = lower;
    opaque_clear(&config);
}

struct proxy_snapshot *proxy_snapshot_build(struct view *view, const struct snapshot_inputs *inputs,
                                            struct error *error)
{
    struct tenancy tenancy = TENANCY_DEFAULT;
    struct buffer key = {0};
    const struct record *record =
        view_get(view, TABLE_SERVICE, key_service(&key, &tenancy, inputs->node, inputs->proxy_id));
    buffer_free(&key);
    if (record == NULL || inputs->leaf == NULL) {
        error_set(error, ERR_NOT_FOUND, "no proxy \"%s\" is registered on node \"%s\"",
                  inputs->proxy_id, inputs->node);
        return NULL;
    }
    const Pb__NodeService *registration = record->message;
    struct arena *arena = arena_new();
    struct proxy_snapshot *snapshot = arena_alloc(arena, sizeof *snapshot);
    snapshot->arena = arena;
    struct gather gather = {view, snapshot, catalog_service_tenancy(registration), inputs->memo};
    bool ok;
    if (strcmp(registration->kind, "connect-proxy") == 0) {
        snapshot->kind = PROXY_SIDECAR;
        gather_common(&gather, registration, inputs);
        ok = gather_sidecar(&gather, error);
    } else if (strcmp(registration->kind, "mesh-gateway") == 0) {
        snapshot->kind = PROXY_MESH_GATEWAY;
        gather_common(&gather, registration, inputs);
        ok = gather_mesh_gateway(&gather, error);
    } else {
        ok = error_set(error, ERR_INVALID,
                       "service must be a sidecar proxy or gateway: \"%s\" is %s%s",
                       registration->id, text_empty(registration->kind) ? "a plain service" : "a ",
                       registration->kind);
    }
    if (ok)
        return snapshot;
    arena_free(arena);
    return NULL;
}

void proxy_snapshot_free(struct proxy_snapshot *snapshot)
{
    if (snapshot != NULL)
        arena_free(snapshot->arena);
}
