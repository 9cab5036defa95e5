/* Paths of the application that are open to everyone, past mTLS and intentions (Proxy.Expose): for
 * those who cannot speak mTLS, such as monitoring. A listener and a cluster each. */
#include <ctype.h>

#include "base/text.h"
#include "xds/build.h"

/* The path in a listener's name: letters and digits alone. */
static char *stripped(struct arena *arena, const char *path)
{
    char *name = arena_strdup(arena, path), *to = name;
    for (const char *from = path; *from != '\0'; from++) {
        if (isalnum((unsigned char)*from))
            *to++ = *from;
    }
    *to = '\0';
    return name;
}

static bool is_port(int64_t port)
{
    return port >= 1 && port <= UINT16_MAX;
}

/* The one cluster a port; the application's own port has one already. */
static const char *cluster_for(struct xds_build *build, const Pb__ExposePath *path,
                               const char *protocol)
{
    const Pb__ConnectProxyConfig *proxy = build->snapshot->registration->proxy;
    if (path->local_path_port == proxy->local_service_port)
        return "local_app";
    const char *name = arena_printf(build->arena, "exposed_cluster_%d", (int)path->local_path_port);
    xds_app_cluster(build, name, protocol, (uint16_t)path->local_path_port);
    return name;
}

/* Envoy refuses a listener whose port another one has. */
static bool is_taken(const struct xds_build *build, size_t at)
{
    const Pb__ExposeConfig *expose = build->snapshot->registration->proxy->expose;
    int32_t port = expose->paths[at]->listener_port;
    bool taken = port == xds_inbound_port(build);
    for (size_t i = 0; i < at; i++)
        taken |= expose->paths[i]->listener_port == port;
    return taken;
}

static void add_path(struct xds_build *build, size_t at)
{
    struct arena *arena = build->arena;
    const Pb__ExposePath *path = build->snapshot->registration->proxy->expose->paths[at];
    const char *protocol = text_equal_nocase(path->protocol, "http2") ? "http2" : "http";
    if (!is_port(path->listener_port) || !is_port(path->local_path_port)) {
        xds_problem(build,
                    "the exposed path %s gets no listener: ListenerPort %d and LocalPathPort %d "
                    "must be 1 to 65535",
                    path->path, (int)path->listener_port, (int)path->local_path_port);
        return;
    }
    if (is_taken(build, at)) {
        xds_problem(build, "the exposed path %s gets no listener: the proxy has port %d in use",
                    path->path, (int)path->listener_port);
        return;
    }
    const char *name = stripped(arena, path->path);
    Envoy__Listener *listener =
        xds_listener(build, arena_printf(arena, "exposed_path_%s", name), xds_inbound_host(build),
                     (uint16_t)path->listener_port);
    listener->traffic_direction = ENVOY__TRAFFIC_DIRECTION__INBOUND;
    const char *filter =
        arena_printf(arena, "exposed_path_filter_%s_%d", name, (int)path->listener_port);
    struct xds_hcm hcm = {
        .stat_prefix = filter,
        .protocol = protocol,
        .route = xds_route_all(arena, filter, filter, cluster_for(build, path, protocol)),
    };
    Envoy__RouteMatch *match = hcm.route->virtual_hosts[0]->routes[0]->match;
    match->path_specifier_case = ENVOY__ROUTE_MATCH__PATH_SPECIFIER_PATH;
    match->path = path->path;
    Envoy__Filter **filters = proto_array(arena, 1);
    filters[0] = xds_hcm_filter(build, &hcm);
    listener->n_filter_chains = 1;
    listener->filter_chains = proto_array(arena, 1);
    listener->filter_chains[0] = xds_filter_chain(arena, filters, 1);
    xds_add(build, XDS_LISTENER, listener->name, listener, NULL);
}

void xds_exposed_paths(struct xds_build *build)
{
    const Pb__ConnectProxyConfig *proxy = build->snapshot->registration->proxy;
    if (proxy == NULL || proxy->expose == NULL)
        return;
    if (proxy->expose->checks)
        xds_problem(build, "Expose.Checks is not supported by this version of Pons: checks are not "
                           "led through the proxy; name their paths in Expose.Paths");
    for (size_t i = 0; i < proxy->expose->n_paths; i++)
        add_path(build, i);
}
