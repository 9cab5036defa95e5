/* Discovery chains: where calls to a service go, compiled from its config entries.
 *
 * A chain is a graph of nodes. A router (service-router) chooses by the request, a splitter
 * (service-splitter) by chance, a resolver (service-resolver) ends at a target: a service, or a
 * subset of its instances. A service without entries has a default chain: one resolver, whose
 * target is the service itself.
 *
 * Compiling is a pure function of what is read through the view. A chain that cannot be compiled
 * (a loop, a missing subset, several protocols, routing on TCP) is refused when an entry of it is
 * written (chain_entry_put), with the words of Consul where it has them. */
#pragma once

#include "config/entry.h"

#define CHAIN_CONNECT_TIMEOUT_NS INT64_C(5000000000)

/* What may be asked for besides what entries say. */
struct chain_overrides {
    const char *protocol;       /* "" or NULL: none */
    int64_t connect_timeout_ns; /* 0: none */
    const char *gateway_mode;   /* "" or NULL: none */
};

struct chain_input {
    struct view *view;
    struct tenancy tenancy; /* of the service */
    const char *service;
    const char *trust_domain, *datacenter;
    struct chain_overrides overrides;
};

struct chain_target {
    const char *id;               /* "v1.backend.default.default.dc1" */
    const char *service, *subset; /* subset: "" for all instances */
    struct tenancy tenancy;       /* never NULL or "" in partition and namespace */
    const char *sni;              /* also Envoy's name for the cluster */
    const char *gateway_mode;
    int64_t connect_timeout_ns;
    const Pb__ServiceResolverSubset *definition; /* of the subset; NULL: none */
};

enum chain_kind { CHAIN_RESOLVER, CHAIN_SPLITTER, CHAIN_ROUTER };

struct chain_node;

struct chain_split {
    const Pb__ServiceSplit *definition; /* headers include those of splitters in front of it */
    int64_t weight;                     /* 10000 is all */
    const struct chain_node *next;      /* a resolver */
};

struct chain_route {
    const Pb__ServiceRoute *definition;
    const struct chain_node *next; /* a splitter or a resolver */
};

struct chain_node {
    enum chain_kind kind;
    const char *name; /* a resolver's is its target's id */
    /* resolver */
    const struct chain_target *target;
    int64_t connect_timeout_ns, request_timeout_ns; /* request: 0 for none */
    bool no_entry;                                  /* nobody has written one for the service */
    /* splitter, router */
    size_t split_count, route_count;
    struct chain_split *splits;
    struct chain_route *routes; /* the last one takes all */
};

struct chain {
    const char *service;
    struct tenancy tenancy;
    const char *datacenter, *protocol;
    bool is_default; /* no entry and no override makes a difference */
    bool customized; /* an override does */
    const struct chain_node *start;
    size_t node_count, target_count;
    const struct chain_node *const *nodes;     /* by kind and name, as they are shown */
    const struct chain_target *const *targets; /* by id */
};

/* NULL with words. In `arena`; points into the view's records besides. */
const struct chain *chain_compile(const struct chain_input *input, struct arena *arena,
                                  struct error *error);

/* False with words if a chain of this namespace cannot be compiled. */
bool chain_check_all(struct view *view, const struct tenancy *tenancy, struct error *error);
/* True if an entry of this kind is part of chains. */
bool chain_has_kind(const struct config_kind *kind);
/* As config_entry_put and config_entry_delete, and no chain may be left that cannot be compiled. */
bool chain_entry_put(struct txn *txn, const struct config_kind *kind, const void *entry,
                     const uint64_t *cas, struct error *error);
bool chain_entry_delete(struct txn *txn, const struct config_kind *kind,
                        const struct tenancy *tenancy, const char *name, const uint64_t *cas,
                        struct error *error);
