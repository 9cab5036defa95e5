#include "mesh/proxy.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "catalog/catalog.h"
#include "mesh/memo.h"

/* Each build is followed by a pause of so many times what it took: in a storm of changes builds
 * take a fifth of the time at most, while a change after quiet is built at once. */
#define PAUSE 4

struct proxy {
    struct proxy_config config;
    char *node, *id;
    proxy_changed_fn *changed;
    void *arg;

    struct watch *watch; /* on what the last build read */
    struct memo *memo;   /* what of it is kept for the next */
    struct timer *soon;  /* the build that the start or a new leaf asked for, or that is paused */
    uint64_t pause_end;  /* loop_clock_ns */

    struct leaf_watch *leaf; /* of the identity below; NULL while there is none */
    enum leaf_kind leaf_kind;
    char *leaf_service;
};

static void rebuild(void *arg);

static void rebuild_soon(void *arg)
{
    struct proxy *proxy = arg;
    timer_start(proxy->soon, 0, 0);
}

static void drop_leaf(struct proxy *proxy)
{
    leaf_watch_free(proxy->leaf);
    proxy->leaf = NULL;
    free(proxy->leaf_service);
    proxy->leaf_service = NULL;
}

/* Holds the certificate of the identity that the registration gives the proxy. */
static void follow_identity(struct proxy *proxy, const Pb__NodeService *registration)
{
    const char *service = NULL;
    enum leaf_kind kind = LEAF_MESH_GATEWAY;
    if (strcmp(registration->kind, "connect-proxy") == 0 && registration->proxy != NULL) {
        kind = LEAF_SERVICE;
        service = registration->proxy->destination_service_name;
    } else if (strcmp(registration->kind, "mesh-gateway") != 0) {
        drop_leaf(proxy);
        return;
    }
    if (proxy->leaf != NULL && proxy->leaf_kind == kind && text_equal(proxy->leaf_service, service))
        return;
    drop_leaf(proxy);
    if (kind == LEAF_SERVICE && text_empty(service))
        return;
    struct tenancy tenancy = catalog_service_tenancy(registration);
    proxy->leaf_kind = kind;
    proxy->leaf_service = mem_strdup(service);
    proxy->leaf =
        leaf_watch_new(proxy->config.authority, kind, &tenancy, service, rebuild_soon, proxy);
}

static void rebuild_unless_paused(void *arg)
{
    struct proxy *proxy = arg;
    uint64_t now = loop_clock_ns();
    if (now >= proxy->pause_end)
        rebuild(proxy);
    else
        timer_start(proxy->soon, (proxy->pause_end - now) / 1000000, 0);
}

static const Pb__NodeService *find_registration(struct proxy *proxy, struct view *view)
{
    struct tenancy tenancy = TENANCY_DEFAULT;
    struct buffer key = {0};
    const struct record *record =
        view_get(view, TABLE_SERVICE, key_service(&key, &tenancy, proxy->node, proxy->id));
    buffer_free(&key);
    return record != NULL ? record->message : NULL;
}

static void rebuild(void *arg)
{
    struct proxy *proxy = arg;
    uint64_t start = loop_clock_ns();
    watch_free(proxy->watch);
    timer_stop(proxy->soon);
    struct view *view = view_new(proxy->config.store);
    const Pb__NodeService *registration = find_registration(proxy, view);
    if (registration != NULL)
        follow_identity(proxy, registration);
    else
        drop_leaf(proxy);

    struct leaf_certificate leaf;
    if (proxy->leaf != NULL) {
        const struct leaf *current = leaf_watch_get(proxy->leaf);
        leaf = (struct leaf_certificate){current->certificate_pem, current->private_key_pem};
    }
    struct snapshot_inputs inputs = {
        .trust_domain = authority_trust_domain(proxy->config.authority),
        .datacenter = authority_datacenter(proxy->config.authority),
        .node = proxy->node,
        .proxy_id = proxy->id,
        .default_allow = proxy->config.default_allow,
        .leaf = proxy->leaf != NULL ? &leaf : NULL,
        .memo = proxy->memo,
    };
    struct error error = {0};
    struct proxy_snapshot *snapshot = proxy_snapshot_build(view, &inputs, &error);
    proxy->changed(proxy->arg, snapshot, snapshot == NULL ? &error : NULL);
    proxy_snapshot_free(snapshot);
    memo_sweep(proxy->memo);
    proxy->watch = watch_new(view, rebuild_unless_paused, proxy);
    uint64_t end = loop_clock_ns();
    proxy->pause_end = end + PAUSE * (end - start);
}

struct proxy *proxy_new(const struct proxy_config *config, const char *node, const char *proxy_id,
                        proxy_changed_fn *changed, void *arg)
{
    struct proxy *proxy = mem_zalloc(sizeof *proxy);
    proxy->config = *config;
    proxy->node = mem_strdup(node);
    proxy->id = mem_strdup(proxy_id);
    proxy->changed = changed;
    proxy->arg = arg;
    proxy->memo = memo_new(config->store, rebuild_unless_paused, proxy);
    proxy->soon = timer_new(store_loop(config->store), rebuild, proxy);
    timer_start(proxy->soon, 0, 0);
    return proxy;
}

void proxy_free(struct proxy *proxy)
{
    watch_free(proxy->watch);
    memo_free(proxy->memo);
    timer_free(proxy->soon);
    drop_leaf(proxy);
    free(proxy->node);
    free(proxy->id);
    free(proxy);
}
