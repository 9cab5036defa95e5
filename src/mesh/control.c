/* The control planes that a mesh gateway leads to when peerings go through gateways (mesh entry,
 * Peering.PeerThroughMeshGateways): this cluster's own servers, and those of each dialled peer
 * (xds.md 2.4.2, chains 5 and 6). */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "ca/spiffe.h"
#include "mesh/gather.h"
#include "peering/payload.h"
#include "peering/records.h"

static const char *service_meta(const Pb__NodeService *service, const char *key)
{
    for (size_t i = 0; i < service->n_meta; i++) {
        if (strcmp(service->meta[i]->key, key) == 0)
            return service->meta[i]->value;
    }
    return "";
}

static struct endpoint_list own_servers(struct gather *gather)
{
    struct arena *arena = gather->snapshot->arena;
    struct catalog_instances servers =
        catalog_service_instances(gather->view, &gather->tenancy, "consul", arena);
    struct endpoint *items = arena_alloc(arena, servers.count * sizeof *items);
    size_t count = 0;
    for (size_t i = 0; i < servers.count; i++) {
        const Pb__NodeService *service = servers.items[i].service->message;
        int port = atoi(service_meta(service, "grpc_tls_port"));
        uint16_t rpc_port;
        const char *address = catalog_instance_address(&servers.items[i], false, &rpc_port);
        if (port <= 0 || port > UINT16_MAX || text_empty(address))
            continue;
        items[count++] = (struct endpoint){.address = address,
                                           .port = (uint16_t)port,
                                           .hostname = !text_is_ip(address),
                                           .healthy = true,
                                           .weight = 1};
    }
    return (struct endpoint_list){count, items};
}

static struct endpoint_list peer_servers(struct gather *gather, const Pb__Peering *peering)
{
    struct arena *arena = gather->snapshot->arena;
    bool manual = peering->n_manual_server_addresses > 0;
    size_t all = manual ? peering->n_manual_server_addresses : peering->n_peer_server_addresses;
    char *const *addresses =
        manual ? peering->manual_server_addresses : peering->peer_server_addresses;
    struct endpoint *items = arena_alloc(arena, all * sizeof *items);
    size_t count = 0;
    for (size_t i = 0; i < all; i++) {
        char *host;
        uint16_t port;
        if (!text_split_host_port(addresses[i], false, &host, &port))
            continue;
        const char *kept = gather_keep(gather, host);
        items[count++] = (struct endpoint){.address = kept,
                                           .port = port,
                                           .hostname = !text_is_ip(kept),
                                           .healthy = true,
                                           .weight = 1};
    }
    return (struct endpoint_list){count, items};
}

/* Two peerings with one cluster have one name; the first one's addresses serve both. */
static bool is_known(const struct proxy_snapshot *snapshot, const char *server_name)
{
    for (size_t i = 0; i < snapshot->control_count; i++) {
        if (strcmp(snapshot->controls[i].server_name, server_name) == 0)
            return true;
    }
    return false;
}

static int compare(const void *a, const void *b)
{
    const struct gateway_control *left = a, *right = b;
    if (left->own != right->own)
        return left->own ? -1 : 1;
    return strcmp(left->server_name, right->server_name);
}

void gather_controls(struct gather *gather)
{
    struct proxy_snapshot *snapshot = gather->snapshot;
    struct tenancy tenancy = {.partition = gather->tenancy.partition};
    if (!peering_through_gateways(gather->view, &tenancy))
        return;
    size_t count;
    const struct record *const *peerings = peering_all(gather->view, &tenancy, &count);
    struct gateway_control *controls = arena_alloc(snapshot->arena, (count + 1) * sizeof *controls);
    snapshot->controls = controls;
    const char *own =
        gather_keep(gather, name_peering_server(snapshot->trust_domain, snapshot->datacenter));
    struct endpoint_list servers = own_servers(gather);
    if (servers.count > 0)
        controls[snapshot->control_count++] = (struct gateway_control){own, true, servers};
    for (size_t i = 0; i < count; i++) {
        const Pb__Peering *peering = peerings[i]->message;
        if (peering_is_inactive(peering) || text_empty(peering->peer_server_name) ||
            is_known(snapshot, peering->peer_server_name))
            continue;
        struct endpoint_list endpoints = peer_servers(gather, peering);
        if (endpoints.count > 0)
            controls[snapshot->control_count++] =
                (struct gateway_control){peering->peer_server_name, false, endpoints};
    }
    if (snapshot->control_count > 1)
        qsort(controls, snapshot->control_count, sizeof *controls, compare);
}
