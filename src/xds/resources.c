#include "xds/resources.h"

#include <stdlib.h>
#include <string.h>

#include "xds/build.h"

/* What a caller holds, and the memory behind it. */
struct result {
    struct xds_resources resources;
    struct arena *arena;
};

const char *xds_type_url(enum xds_type type)
{
    static const char *const urls[XDS_TYPE_COUNT] = {
        [XDS_CLUSTER] = "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        [XDS_ENDPOINT] = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
        [XDS_LISTENER] = "type.googleapis.com/envoy.config.listener.v3.Listener",
        [XDS_ROUTE] = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        [XDS_SECRET] = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
    };
    return urls[type];
}

/* By name; equal names by content, so that which one is kept does not depend on chance. */
static int compare(const void *a, const void *b)
{
    const struct xds_resource *left = a, *right = b;
    int order = strcmp(left->name, right->name);
    return order != 0 ? order : strcmp(left->version, right->version);
}

static void finish_list(struct xds_build *build, struct xds_resource_list *list)
{
    size_t kept = 0;
    if (list->count > 0)
        qsort(list->items, list->count, sizeof(*list->items), compare);
    for (size_t i = 0; i < list->count; i++) {
        if (kept == 0 || strcmp(list->items[kept - 1].name, list->items[i].name) != 0)
            list->items[kept++] = list->items[i];
        else if (strcmp(list->items[kept - 1].version, list->items[i].version) != 0)
            xds_problem(build, "%s is defined twice and differently; one of the two is used",
                        list->items[i].name);
    }
    list->count = kept;
    struct xds_resource *heap = list->items;
    list->items = arena_alloc(build->kept, kept * sizeof(*heap));
    if (kept > 0)
        memcpy(list->items, heap, kept * sizeof(*heap));
    free(heap);
}

struct xds_resources *xds_resources_build(const struct proxy_snapshot *snapshot)
{
    struct xds_build build = {.snapshot = snapshot, .arena = arena_new(), .kept = arena_new()};
    proxy_options_read(snapshot, build.arena, &build.options, &build.problems);
    if (snapshot->kind == PROXY_MESH_GATEWAY) {
        xds_gateway_clusters(&build);
        xds_gateway_listeners(&build);
    } else {
        xds_sidecar_clusters(&build);
        xds_sidecar_listeners(&build);
    }
    for (int type = 0; type < XDS_TYPE_COUNT; type++)
        finish_list(&build, &build.lists[type]);

    struct result *result = arena_alloc(build.kept, sizeof(*result));
    result->arena = build.kept;
    memcpy(result->resources.types, build.lists, sizeof(build.lists));
    if (build.problems.length > 0)
        result->resources.problems = arena_strdup(build.kept, buffer_text(&build.problems));
    buffer_free(&build.problems);
    arena_free(build.arena);
    return &result->resources;
}

void xds_resources_free(struct xds_resources *resources)
{
    if (resources != NULL)
        arena_free(((struct result *)(void *)resources)->arena);
}
