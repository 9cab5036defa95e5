/* A proxy that somebody is interested in: its snapshot, built anew whenever something that it was
 * made from has changed, the leaf certificate included. Belongs to the loop's thread. */
#pragma once

#include "ca/authority.h"
#include "mesh/snapshot.h"
#include "store/store.h"

struct proxy;

struct proxy_config {
    struct store *store;
    struct authority *authority;
    bool default_allow;
};

/* NULL `snapshot`: there is no such proxy (yet, or any more), and `error` says why. Borrowed for
 * the call. Never called from inside of proxy_new. */
typedef void proxy_changed_fn(void *arg, const struct proxy_snapshot *snapshot,
                              const struct error *error);

struct proxy *proxy_new(const struct proxy_config *config, const char *node, const char *proxy_id,
                        proxy_changed_fn *changed, void *arg);
void proxy_free(struct proxy *proxy); /* not from inside of `changed` */
