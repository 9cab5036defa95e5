/* The cluster's certificate authority: the built-in provider.
 *
 * Roots and their keys live in the store. Leaf certificates are made on demand and kept in memory
 * for all who ask for the same identity, renewed well before they end (at half to two thirds of their life), and made anew when
 * the active root changes. Belongs to the loop's thread. */
#pragma once

#include "consul/peering.pb-c.h"
#include "pons/ca.pb-c.h"
#include "store/key.h"
#include "store/store.h"

struct authority;

struct authority_config {
    const char *datacenter;
    /* Both for the first start only; after that, what the store holds counts. */
    const char *cluster_id; /* NULL: made */
    int64_t leaf_ttl_ns;    /* 0: 72 h */
};

/* Makes the cluster's id and first root if the store has none; `ready` once there is a root, or with
 * an error. Before that only authority_free is allowed. */
struct authority *authority_new(struct store *store, const struct authority_config *config,
                                store_ready_fn *ready, void *arg);
void authority_free(struct authority *authority); /* after its watches; NULL is fine */

const char *authority_trust_domain(const struct authority *authority); /* "<uuid>.consul" */
const char *authority_datacenter(const struct authority *authority);

/* All roots of the cluster; the active one first. Tracked by the view; valid until the turn ends or
 * the next call. */
const struct record *const *authority_roots(struct view *view, size_t *ret_count);
const Pb__CaRoot *authority_active_root(struct view *view);
/* All root PEMs concatenated; in `arena`. */
const char *authority_roots_pem(struct view *view, struct arena *arena);

enum leaf_kind { LEAF_SERVICE, LEAF_MESH_GATEWAY, LEAF_SERVER };

struct leaf {
    char *certificate_pem; /* leaf, then intermediates if any */
    char *private_key_pem;
    char *serial, *uri;
    int64_t not_before_ns, not_after_ns;
    /* The store's index when it was made, or one more than its predecessor's if that is higher: what
     * /v1/agent/connect/ca/leaf blocks on. */
    uint64_t index;
};

/* A held interest in one identity. `changed` runs whenever a new certificate is there (the first one
 * is there at once). `service` is NULL for gateways and the server. The server's has the DNS name
 * server.<dc>.peering.<TD>. */
struct leaf_watch;
struct leaf_watch *leaf_watch_new(struct authority *authority, enum leaf_kind kind,
                                  const struct tenancy *tenancy, const char *service,
                                  loop_fn *changed, void *arg);
const struct leaf *leaf_watch_get(const struct leaf_watch *watch); /* never NULL; valid until `changed` or free */
void leaf_watch_free(struct leaf_watch *watch);
