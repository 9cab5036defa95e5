#include <stdlib.h>
#include <string.h>

#include "google/protobuf/wrappers.pb-c.h"
#include "xds/build.h"

bool xds_has_hostnames(const struct endpoint_list *endpoints)
{
    for (size_t i = 0; i < endpoints->count; i++) {
        if (endpoints->items[i].hostname)
            return true;
    }
    return false;
}

static int compare(const void *a, const void *b)
{
    const struct endpoint *left = *(const struct endpoint *const *)a;
    const struct endpoint *right = *(const struct endpoint *const *)b;
    int order = strcmp(left->address, right->address);
    if (order == 0)
        order = (left->port > right->port) - (left->port < right->port);
    if (order == 0)
        order = right->healthy - left->healthy;
    if (order == 0)
        order = (left->weight > right->weight) - (left->weight < right->weight);
    return order;
}

/* Sorted, and each address once (the healthy one holds): equal sets give equal bytes. */
static size_t sorted(struct arena *arena, const struct endpoint_list *endpoints,
                     const struct endpoint ***ret_sorted)
{
    const struct endpoint **list = proto_array(arena, endpoints->count);
    size_t kept = 0;
    for (size_t i = 0; i < endpoints->count; i++)
        list[i] = &endpoints->items[i];
    if (endpoints->count > 0)
        qsort(list, endpoints->count, sizeof(*list), compare);
    for (size_t i = 0; i < endpoints->count; i++) {
        if (kept == 0 || strcmp(list[kept - 1]->address, list[i]->address) != 0 ||
            list[kept - 1]->port != list[i]->port)
            list[kept++] = list[i];
    }
    *ret_sorted = list;
    return kept;
}

static Envoy__LbEndpoint *lb_endpoint(struct arena *arena, const struct endpoint *endpoint)
{
    Envoy__LbEndpoint *lb = proto_new(arena, envoy__lb_endpoint);
    uint32_t weight = endpoint->weight < 1 ? 1 : endpoint->weight > 128 ? 128 : endpoint->weight;
    lb->host_identifier_case = ENVOY__LB_ENDPOINT__HOST_IDENTIFIER_ENDPOINT;
    lb->endpoint = proto_new(arena, envoy__endpoint);
    lb->endpoint->address = xds_address(arena, endpoint->address, endpoint->port);
    lb->health_status =
        endpoint->healthy ? ENVOY__HEALTH_STATUS__HEALTHY : ENVOY__HEALTH_STATUS__UNHEALTHY;
    lb->load_balancing_weight = xds_uint32(arena, weight);
    return lb;
}

/* An empty list still gives one empty locality: Envoy waits for an answer. */
static Envoy__ClusterLoadAssignment *assignment(struct arena *arena, const char *cluster,
                                                const struct endpoint *const *list, size_t count)
{
    Envoy__ClusterLoadAssignment *load = proto_new(arena, envoy__cluster_load_assignment);
    Envoy__LocalityLbEndpoints *locality = proto_new(arena, envoy__locality_lb_endpoints);
    load->cluster_name = xds_text(cluster);
    load->n_endpoints = 1;
    load->endpoints = proto_array(arena, 1);
    load->endpoints[0] = locality;
    locality->n_lb_endpoints = count;
    locality->lb_endpoints = proto_array(arena, count);
    for (size_t i = 0; i < count; i++)
        locality->lb_endpoints[i] = lb_endpoint(arena, list[i]);
    return load;
}

Envoy__ClusterLoadAssignment *xds_load_assignment(struct xds_build *build, const char *cluster,
                                                  const struct endpoint_list *endpoints)
{
    const struct endpoint **list;
    size_t count = sorted(build->arena, endpoints, &list);
    return assignment(build->arena, cluster, list, count);
}

Envoy__ClusterLoadAssignment *xds_dns_assignment(struct xds_build *build, const char *cluster,
                                                 const struct endpoint_list *endpoints, bool one)
{
    const struct endpoint **list;
    size_t count = sorted(build->arena, endpoints, &list), best = count;
    for (size_t i = 0; one && i < count; i++) {
        bool better = best == count || (list[i]->healthy && !list[best]->healthy);
        if (list[i]->hostname && better)
            best = i;
    }
    return best < count ? assignment(build->arena, cluster, &list[best], 1)
                        : assignment(build->arena, cluster, list, count);
}
