/* A proxy's snapshot: everything that its xDS resources are made from, gathered from the store
 * (snapshot.c) and turned into Envoy's resources by pure functions of it (xds/resources.h).
 *
 * Everything a snapshot points at lives in its arena or in the store's records: it is valid until
 * the end of the turn in which it was built. Lists are sorted by name, so that equal input gives
 * equal bytes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/memory.h"
#include "chain/chain.h"
#include "consul/service.pb-c.h"
#include "pons/config_entry.pb-c.h"
#include "store/key.h"
#include "store/store.h"

enum proxy_kind { PROXY_SIDECAR, PROXY_MESH_GATEWAY };

struct leaf_certificate {
    const char *chain_pem, *private_key_pem;
};

struct trust_bundle {
    const char *peer; /* local name of the peer; "" for the own trust domain */
    const char *trust_domain;
    const char *exported_partition; /* "" for default */
    const char *roots_pem;          /* all roots, concatenated */
};

struct endpoint {
    const char *address;
    uint16_t port;
    bool hostname; /* address is no IP literal: goes into CDS, not EDS */
    bool healthy;
    uint32_t weight; /* 1…128 */
};

struct endpoint_list {
    size_t count;
    const struct endpoint *items;
};

/* One explicit upstream of a sidecar. */
struct upstream {
    const Pb__Upstream *definition;
    const char *id;           /* "backend", "backend?peer=cluster-02" */
    const char *cluster_name; /* NULL while it can't be dialled (no bundle, not exported, no such service) */
    const char *protocol;     /* "tcp", "http", "http2", "grpc" */
    const char *sni;
    size_t spiffe_count;
    const char *const *spiffe_ids; /* that the other end may carry */
    const struct trust_bundle *bundle; /* that it is verified with */
    uint32_t connect_timeout_ms;
    const Pb__UpstreamLimits *limits;                  /* NULL: none */
    const Pb__PassiveHealthCheck *passive_health_check; /* NULL: none */
    struct endpoint_list endpoints;
    /* Local services with entries of a discovery chain: the chain, and an upstream for each of its
     * targets, in their order. NULL: calls go to the service itself. */
    const struct chain *chain;
    const struct upstream *targets;
};

/* One source of an intention that matches the proxy's service, in order of precedence. */
struct intention_source {
    const char *peer, *partition, *namespace, *name; /* name may be "*" */
    bool allow; /* false where there are permissions: they decide, request by request */
    int32_t precedence;
    size_t permission_count;
    Pb__IntentionPermission *const *permissions; /* the first that matches a request decides */
};

/* A service that the gateway offers to local callers by SNI (any mesh service of this cluster). */
struct gateway_service {
    const char *name;
    struct tenancy tenancy;
    const char *sni; /* also the cluster's name */
    const char *protocol;
    struct endpoint_list endpoints; /* its sidecars */
    uint32_t connect_timeout_ms;
    /* Peers that it is exported to, sorted; none: not exported. */
    size_t peer_count;
    const struct trust_bundle *const *peers; /* only those whose bundle is known */
    const char *const *peer_snis;            /* one a peer, same order */
    const char *spiffe_id;                   /* of the service, to verify its sidecars */
    /* Its discovery chain: its targets, each as a service of its own, in the chain's order. NULL:
     * the peers' calls go to the service itself. */
    const struct chain *chain;
    const struct gateway_service *targets;
    /* Subsets of the service, which local callers name by SNI as they name the service. */
    size_t subset_count;
    const struct gateway_service *subsets;
};

/* A service imported from a peer, reachable through this gateway in local mode. */
struct gateway_import {
    const char *sni; /* also the cluster's name */
    struct endpoint_list endpoints;
};

/* Servers that take a peering's stream, reached through this gateway by their name in SNI. */
struct gateway_control {
    const char *server_name; /* also the cluster's name */
    bool own;                /* this cluster's, not a peer's */
    struct endpoint_list endpoints;
};

struct gateway_listener {
    const char *name, *address;
    uint16_t port;
};

struct proxy_snapshot {
    struct arena *arena;
    enum proxy_kind kind;
    const char *proxy_id, *service_name; /* of the proxy's own registration */
    const char *datacenter;
    const char *namespace, *partition;
    const Pb__NodeService *registration;
    const char *config;            /* merged opaque proxy.config as JSON text; "" if none */
    const Pb__MeshEntry *mesh;     /* NULL if there is none */
    const Pb__AccessLogsConfig *access_logs; /* NULL: nothing is logged */
    const char *trust_domain;
    const struct trust_bundle *own_bundle;
    struct leaf_certificate leaf;  /* sidecar: its service's; gateway: its own */
    bool default_allow;            /* what holds where no intention matches */

    /* sidecar */
    const char *destination_service;
    const char *protocol;          /* of the local service */
    size_t upstream_count;
    const struct upstream *upstreams;
    size_t intention_count;
    const struct intention_source *intentions;
    size_t inbound_bundle_count;   /* peers that the service is exported to, sorted by trust domain */
    const struct trust_bundle *const *inbound_bundles;

    /* mesh gateway */
    size_t listener_count;
    const struct gateway_listener *listeners; /* sorted by name */
    const Pb__UpstreamLimits *gateway_limits; /* towards services; NULL: none */
    size_t service_count;
    const struct gateway_service *services;
    size_t import_count;
    struct gateway_import *imports; /* sorted by name */
    /* Own first, then by name; none unless peerings go through gateways. */
    size_t control_count;
    const struct gateway_control *controls;
};

void proxy_snapshot_free(struct proxy_snapshot *snapshot); /* NULL is fine */

/* ---- building ---- */

struct memo; /* memo.h */

struct snapshot_inputs {
    const char *trust_domain, *datacenter;
    const char *node, *proxy_id;
    bool default_allow;
    /* The leaf that the proxy carries; NULL while it is not known which one that is. */
    const struct leaf_certificate *leaf;
    struct memo *memo; /* of this proxy's builds */
};

/* Gathers through the view, so that waiting on the view is waiting for a change of the snapshot.
 * NULL if there is no such proxy, or the service is no proxy: `error` says which. */
struct proxy_snapshot *proxy_snapshot_build(struct view *view, const struct snapshot_inputs *inputs,
                                            struct error *error);
