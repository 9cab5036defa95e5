/* Config entries: the registry of kinds, their validation, and what is computed from them.
 *
 * To add a kind: its message in pons/config_entry.proto (starting with ConfigEntryHead's fields), its
 * table, its row in the registry in entry.c with its validator. A kind that Consul has and Pons
 * has not yet is refused by name. */
#pragma once

#include <jansson.h>

#include "pons/config_chain.pb-c.h"
#include "pons/config_entry.pb-c.h"
#include "store/key.h"
#include "store/store.h"
#include "text/filter.h"

struct config_kind {
    const char *name; /* "service-defaults" */
    enum table table;
    /* Normalises in place (in `arena`) and refuses what is contradictory. May be NULL. */
    bool (*validate)(void *entry, struct arena *arena, struct error *error);
};

/* NULL with words: `invalid config entry kind: x`, or that the kind is known but not built yet. */
const struct config_kind *config_kind_find(const char *name, struct error *error);
const struct config_kind *config_kinds(size_t *ret_count);

/* Reads an entry of any kind (`Kind` decides) from JSON or HCL text's JSON form, validates and normalises it. */
void *config_entry_read(const json_t *value, unsigned codec_flags,
                        const struct config_kind **ret_kind, struct arena *arena,
                        struct error *error);
/* Common fields of an entry of any kind. */
const Pb__ConfigEntryHead *config_entry_head(const void *entry);

/* `cas`: NULL, or the modify index that the stored entry must have (0: must not exist); losing sets ERR_CONFLICT. */
bool config_entry_put(struct txn *txn, const struct config_kind *kind, const void *entry,
                      const uint64_t *cas, struct error *error);
bool config_entry_delete(struct txn *txn, const struct config_kind *kind,
                         const struct tenancy *tenancy, const char *name, const uint64_t *cas,
                         struct error *error);
const struct record *config_entry_get(struct view *view, const struct config_kind *kind,
                                      const struct tenancy *tenancy, const char *name);

/* ---- what follows from them ---- */

const Pb__ProxyDefaultsEntry *config_proxy_defaults(struct view *view, const struct tenancy *tenancy);
const Pb__ServiceDefaultsEntry *config_service_defaults(struct view *view,
                                                        const struct tenancy *tenancy,
                                                        const char *service);
const Pb__MeshEntry *config_mesh(struct view *view, const struct tenancy *tenancy);

/* The protocol of a local service: service-defaults, else proxy-defaults' config, else "tcp". Lower case; in `arena`. */
const char *config_service_protocol(struct view *view, const struct tenancy *tenancy,
                                    const char *service, struct arena *arena);
bool config_protocol_is_http(const char *protocol); /* http, http2, grpc */

/* A proxy's registration with the central configuration merged in, as Consul merges it: proxy-defaults, then
 * service-defaults of its destination, then its own (`?merge-central-config`, xDS, /v1/agent/service/:id). */
Pb__NodeService *config_merge_proxy(struct view *view, const Pb__NodeService *registration,
                                    struct arena *arena);

/* Names of services exported to `peer`, sorted; the consumer rules of peering-protocol 9.1, "*" expanded over
 * the catalog. `consul` is never among them. */
struct text_list config_exported_services(struct view *view, const struct tenancy *tenancy,
                                          const char *peer);
/* Local names of the peers that a service is exported to, sorted. */
struct text_list config_exported_to(struct view *view, const struct tenancy *tenancy,
                                    const char *service);

/* ---- subsets ---- */

/* What the filter of a subset selects from: an instance's node, service and checks, as in
 * /v1/health. */
extern const struct filter_root config_subset_root;
struct filter *config_subset_filter(const char *text, struct arena *arena, struct error *error);
const Pb__ServiceResolverSubset *config_find_subset(const Pb__ServiceResolverEntry *entry,
                                                    const char *name);
