/* What the snapshots of sidecars and gateways gather in the same way. Private to mesh/. */
#pragma once

#include "catalog/catalog.h"
#include "mesh/snapshot.h"

/* Reads of one build: the view that tracks them, and the snapshot that they go into. */
struct gather {
    struct view *view;
    struct proxy_snapshot *snapshot;
    struct tenancy tenancy; /* of the proxy; of a peer while its services are gathered */
    struct memo *memo;      /* parts that are kept from build to build (memo.h) */
};

/* Moves fresh memory (of spiffe_*, sni_*, cluster_*) into the snapshot's arena. */
const char *gather_keep(struct gather *gather, char *text);
/* The peer's bundle; NULL while the peer has not sent one. */
const struct trust_bundle *gather_peer_bundle(struct gather *gather, const char *peer);
struct endpoint_list gather_endpoints(struct gather *gather,
                                      const struct catalog_instances *instances, bool wan);
/* Metadata that the exporter put on its instances, or NULL (they all carry the same). */
const Pb__PeeringServiceMeta *gather_peer_meta(const struct catalog_instances *instances);

/* Fills the upstream from the chain of its service, if that is not the default one. `protocol`: what
 * the upstream's own options ask for, or NULL. False if calls go to the service itself. */
bool gather_chain(struct gather *gather, struct upstream *upstream, const struct tenancy *tenancy,
                  const char *protocol);
/* Adds the peers that a chain is exported to which has the local service among its targets. */
void gather_exported_through(struct gather *gather, const char *service, struct text_list *peers);
/* Adds the chain's targets and the subsets of the service. */
void gather_gateway_chain(struct gather *gather, struct gateway_service *service);
void gather_controls(struct gather *gather);
bool gather_sidecar(struct gather *gather, struct error *error);
bool gather_mesh_gateway(struct gather *gather, struct error *error);
