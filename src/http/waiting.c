#include "http/waiting.h"

#include "base/text.h"
#include "catalog/catalog.h"
#include "text/json.h"

/* What is missing, or NULL. */
static const char *reason(struct view *view, const struct tenancy *own,
                          const Pb__Upstream *upstream, struct arena *arena)
{
    const char *peer = upstream->destination_peer, *name = upstream->destination_name;
    struct tenancy partition = {.partition = own->partition};
    struct tenancy remote = {own->partition, upstream->destination_namespace, peer};
    struct buffer key = {0};
    bool peered = view_get(view, TABLE_PEERING, key_named(&key, &partition, peer)) != NULL;
    bool trusted = view_get(view, TABLE_TRUST_BUNDLE, key_named(&key, &partition, peer)) != NULL;
    buffer_free(&key);
    if (!peered)
        return arena_printf(arena, "there is no peering named \"%s\" yet", peer);
    if (!trusted)
        return arena_printf(arena, "the peering \"%s\" has not been connected yet", peer);
    if (catalog_connect_instances(view, &remote, name, arena).count == 0)
        return arena_printf(arena,
                            "peer \"%s\" exports no mesh service \"%s\" to this cluster, or has no "
                            "mesh gateway",
                            peer, name);
    return NULL;
}

void waiting_write(struct view *view, const Pb__NodeService *proxy, struct buffer *body)
{
    if (proxy->proxy == NULL)
        return;
    struct tenancy own = catalog_service_tenancy(proxy);
    struct arena *arena = arena_new();
    struct buffer waiting = {0};
    for (size_t i = 0; i < proxy->proxy->n_upstreams; i++) {
        const Pb__Upstream *upstream = proxy->proxy->upstreams[i];
        if (text_empty(upstream->destination_peer))
            continue;
        const char *why = reason(view, &own, upstream, arena);
        if (why == NULL)
            continue;
        if (waiting.length > 0)
            buffer_add_byte(&waiting, ',');
        json_write_string(&waiting, arena_printf(arena, "%s?peer=%s", upstream->destination_name,
                                                 upstream->destination_peer));
        buffer_add_byte(&waiting, ':');
        json_write_string(&waiting, why);
    }
    if (waiting.length > 0)
        buffer_printf(body, ",\"UpstreamsWaiting\":{%s}", buffer_text(&waiting));
    buffer_free(&waiting);
    arena_free(arena);
}
