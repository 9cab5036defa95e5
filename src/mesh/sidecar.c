/* The snapshot of a sidecar: what its service may be called by, and what it calls. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "ca/spiffe.h"
#include "config/entry.h"
#include "intention/intention.h"
#include "mesh/gather.h"
#include "mesh/opaque.h"
#include "proto/proto.h"

#define CONNECT_TIMEOUT_MS 5000

static void read_limits(struct upstream *upstream, const struct opaque *config, struct arena *arena)
{
    struct opaque given = opaque_object(config, "limits");
    if (given.object == NULL)
        return;
    static const struct {
        const char *key;
        size_t offset;
    } fields[] = {
        {"max_connections", offsetof(Pb__UpstreamLimits, max_connections)},
        {"max_pending_requests", offsetof(Pb__UpstreamLimits, max_pending_requests)},
        {"max_concurrent_requests", offsetof(Pb__UpstreamLimits, max_concurrent_requests)},
    };
    Pb__UpstreamLimits *limits = proto_new(arena, pb__upstream_limits);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        int64_t value = 0;
        if (opaque_int(&given, fields[i].key, 0, INT32_MAX, &value))
            *(int32_t *)((char *)limits + fields[i].offset) = (int32_t)value;
    }
    upstream->limits = limits;
    opaque_clear(&given);
}

static void read_passive_health_check(struct upstream *upstream, const struct opaque *config,
                                      struct arena *arena)
{
    struct opaque given = opaque_object(config, "passive_health_check");
    if (given.object == NULL)
        return;
    Pb__PassiveHealthCheck *check = proto_new(arena, pb__passive_health_check);
    int64_t value;
    if (opaque_duration(&given, "interval", &value))
        check->interval = value;
    if (opaque_duration(&given, "base_ejection_time", &value))
        check->base_ejection_time = value;
    if (opaque_int(&given, "max_failures", 0, UINT32_MAX, &value))
        check->max_failures = (uint32_t)value;
    if (opaque_int(&given, "enforcing_consecutive_5xx", 0, 100, &value))
        check->enforcing_consecutive_5xx = (uint32_t)value;
    if (opaque_int(&given, "max_ejection_percent", 0, 100, &value))
        check->max_ejection_percent = (uint32_t)value;
    upstream->passive_health_check = check;
    opaque_clear(&given);
}

/* Fills what the upstream's own options say; `protocol` is a default that the caller may overrule.
 */
static void read_options(struct upstream *upstream, struct arena *arena)
{
    struct opaque config = opaque_parse(upstream->definition->config, NULL);
    int64_t timeout = CONNECT_TIMEOUT_MS;
    if (!opaque_int(&config, "connect_timeout_ms", 1, INT32_MAX, &timeout))
        timeout = CONNECT_TIMEOUT_MS;
    upstream->connect_timeout_ms = (uint32_t)timeout;
    const char *protocol = opaque_text(&config, "protocol");
    if (!text_empty(protocol)) {
        char *lower = arena_strdup(arena, protocol);
        text_lower(lower);
        upstream->protocol = lower;
    }
    read_limits(upstream, &config, arena);
    read_passive_health_check(upstream, &config, arena);
    opaque_clear(&config);
}

/* A service of a peer: its metadata, protocol included, is the exporter's word. It can be dialled
 * once the peer's bundle and at least one instance (which is a gateway of the peer) are there. */
static void gather_peer_upstream(struct gather *gather, struct upstream *upstream)
{
    struct arena *arena = gather->snapshot->arena;
    const Pb__Upstream *definition = upstream->definition;
    struct tenancy remote = {gather->tenancy.partition, definition->destination_namespace,
                             definition->destination_peer};
    upstream->id = arena_printf(arena, "%s?peer=%s", definition->destination_name,
                                definition->destination_peer);
    upstream->bundle = gather_peer_bundle(gather, definition->destination_peer);
    struct catalog_instances instances =
        catalog_connect_instances(gather->view, &remote, definition->destination_name, arena);
    const Pb__PeeringServiceMeta *meta = gather_peer_meta(&instances);
    upstream->protocol = "tcp";
    if (upstream->bundle == NULL || meta == NULL)
        return;
    if (!text_empty(meta->protocol))
        upstream->protocol = meta->protocol;
    upstream->sni = meta->sni[0];
    upstream->spiffe_count = meta->n_spiffe_id;
    upstream->spiffe_ids = (const char *const *)meta->spiffe_id;
    upstream->cluster_name = gather_keep(
        gather, cluster_peered_service(upstream->bundle->trust_domain, &remote,
                                       definition->destination_peer, definition->destination_name));
    const char *mode = definition->mesh_gateway != NULL ? definition->mesh_gateway->mode : "";
    if (strcmp(mode, "local") == 0) {
        struct catalog_instances gateways =
            catalog_mesh_gateways(gather->view, &gather->tenancy, arena);
        upstream->endpoints = gather_endpoints(gather, &gateways, false);
    } else {
        upstream->endpoints = gather_endpoints(gather, &instances, true);
    }
}

static void gather_local_upstream(struct gather *gather, struct upstream *upstream)
{
    struct proxy_snapshot *snapshot = gather->snapshot;
    struct arena *arena = snapshot->arena;
    const char *name = upstream->definition->destination_name;
    const char *datacenter = upstream->definition->datacenter;
    struct tenancy tenancy = gather->tenancy;
    if (!text_empty(upstream->definition->destination_namespace))
        tenancy.namespace = upstream->definition->destination_namespace;
    upstream->id = name;
    const char *own = config_service_protocol(gather->view, &tenancy, name, arena);
    upstream->protocol = own;
    read_options(upstream, arena);
    if (!text_empty(datacenter) && strcmp(datacenter, snapshot->datacenter) != 0) {
        upstream->id = arena_printf(arena, "%s?dc=%s", name, datacenter);
        return; /* other datacenters are reached as peers */
    }
    upstream->bundle = snapshot->own_bundle;
    if (gather_chain(gather, upstream, &tenancy,
                     text_equal(own, upstream->protocol) ? NULL : upstream->protocol))
        return;
    upstream->sni = gather_keep(
        gather, sni_service(snapshot->trust_domain, &tenancy, snapshot->datacenter, NULL, name));
    upstream->cluster_name = upstream->sni;
    const char **spiffe = arena_alloc(arena, sizeof *spiffe);
    spiffe[0] = gather_keep(
        gather, spiffe_service(snapshot->trust_domain, &tenancy, snapshot->datacenter, name));
    upstream->spiffe_ids = spiffe;
    upstream->spiffe_count = 1;
    struct catalog_instances instances =
        catalog_connect_instances(gather->view, &tenancy, name, arena);
    upstream->endpoints = gather_endpoints(gather, &instances, false);
}

static void gather_upstreams(struct gather *gather)
{
    struct proxy_snapshot *snapshot = gather->snapshot;
    const Pb__ConnectProxyConfig *proxy = snapshot->registration->proxy;
    struct upstream *upstreams =
        arena_alloc(snapshot->arena, proxy->n_upstreams * sizeof *upstreams);
    for (size_t i = 0; i < proxy->n_upstreams; i++) {
        struct upstream *upstream = &upstreams[i];
        upstream->definition = proxy->upstreams[i];
        if (text_empty(upstream->definition->destination_peer)) {
            gather_local_upstream(gather, upstream);
        } else {
            read_options(upstream, snapshot->arena);
            gather_peer_upstream(gather, upstream);
        }
    }
    snapshot->upstream_count = proxy->n_upstreams;
    snapshot->upstreams = upstreams;
}

static void gather_intentions(struct gather *gather)
{
    struct proxy_snapshot *snapshot = gather->snapshot;
    const struct intention_match *matches;
    size_t count = intention_match_destination(
        gather->view, &gather->tenancy, snapshot->destination_service, snapshot->arena, &matches);
    struct intention_source *sources = arena_alloc(snapshot->arena, count * sizeof *sources);
    for (size_t i = 0; i < count; i++) {
        const Pb__SourceIntention *source = matches[i].source;
        sources[i] = (struct intention_source){
            .peer = source->peer,
            .partition = source->partition,
            .namespace = source->namespace_,
            .name = source->name,
            .allow = strcmp(source->action, "allow") == 0,
            .precedence = source->precedence,
            .permission_count = source->n_permissions,
            .permissions = source->permissions,
        };
    }
    snapshot->intention_count = count;
    snapshot->intentions = sources;
}

static int compare_bundles(const void *a, const void *b)
{
    const struct trust_bundle *left = *(const struct trust_bundle *const *)a;
    const struct trust_bundle *right = *(const struct trust_bundle *const *)b;
    return strcmp(left->trust_domain, right->trust_domain);
}

static void gather_inbound_bundles(struct gather *gather)
{
    struct proxy_snapshot *snapshot = gather->snapshot;
    struct text_list peers =
        config_exported_to(gather->view, &gather->tenancy, snapshot->destination_service);
    gather_exported_through(gather, snapshot->destination_service, &peers);
    const struct trust_bundle **bundles = proto_array(snapshot->arena, peers.count);
    size_t count = 0;
    for (size_t i = 0; i < peers.count; i++) {
        const struct trust_bundle *bundle = gather_peer_bundle(gather, peers.items[i]);
        if (bundle != NULL)
            bundles[count++] = bundle;
    }
    text_list_free(&peers);
    if (count > 1)
        qsort(bundles, count, sizeof *bundles, compare_bundles);
    snapshot->inbound_bundle_count = count;
    snapshot->inbound_bundles = bundles;
}

bool gather_sidecar(struct gather *gather, struct error *error)
{
    struct proxy_snapshot *snapshot = gather->snapshot;
    const Pb__ConnectProxyConfig *proxy = snapshot->registration->proxy;
    if (proxy == NULL || text_empty(proxy->destination_service_name))
        return error_set(error, ERR_INVALID,
                         "proxy \"%s\" names no destination service: register it with "
                         "Proxy.DestinationServiceName",
                         snapshot->proxy_id);
    snapshot->destination_service = proxy->destination_service_name;
    gather_upstreams(gather);
    gather_intentions(gather);
    gather_inbound_bundles(gather);
    return true;
}
