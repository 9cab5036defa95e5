#include "agent/proxies.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "catalog/catalog.h"

struct proxies {
    struct proxy_config config;
    struct checks *checks;
    char *node;
};

struct proxies *proxies_new(const struct proxy_config *config, struct checks *checks,
                            const char *node)
{
    struct proxies *proxies = mem_zalloc(sizeof *proxies);
    proxies->config = *config;
    proxies->checks = checks;
    proxies->node = mem_strdup(node);
    return proxies;
}

void proxies_free(struct proxies *proxies)
{
    if (proxies == NULL)
        return;
    free(proxies->node);
    free(proxies);
}

static const char *node_of(const struct proxies *proxies, const struct xds_node *node)
{
    return text_empty(node->node_name) ? proxies->node : node->node_name;
}

static void *watch_proxy(void *arg, const struct xds_node *node, proxy_changed_fn *changed,
                         void *changed_arg, struct error *error)
{
    struct proxies *proxies = arg;
    (void)error;
    return proxy_new(&proxies->config, node_of(proxies, node), node->id, changed, changed_arg);
}

static void unwatch_proxy(void *arg, void *watch)
{
    (void)arg;
    proxy_free(watch);
}

/* A gateway that has just connected, or has just gone, is looked at now and not at its check's
 * next turn: what calls through it should come back with it. */
static void proxy_connected(void *arg, const struct xds_node *node, bool up)
{
    struct proxies *proxies = arg;
    (void)up;
    struct tenancy tenancy = TENANCY_DEFAULT;
    struct view *view = view_new(proxies->config.store);
    struct buffer key = {0};
    size_t count;
    const struct record *const *checks =
        view_list(view, TABLE_CHECK, CHECK_BY_INSTANCE,
                  key_service(&key, &tenancy, node_of(proxies, node), node->id), &count);
    for (size_t i = 0; i < count; i++) {
        const Pb__HealthCheck *check = checks[i]->message;
        checks_run_now(proxies->checks, &tenancy, check->check_id);
    }
    buffer_free(&key);
    view_free(view);
}

const struct xds_source proxies_source = {watch_proxy, unwatch_proxy, proxy_connected};
