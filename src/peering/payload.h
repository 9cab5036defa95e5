/* The payloads that this cluster sends to a peer (peering-protocol section 9), built from tracked
 * reads: pure functions of a view, results in an arena. */
#pragma once

#include "catalog/catalog.h"
#include "consul/peerstream.pb-c.h"

/* Whom it is for, and who is sending. Borrowed strings. */
struct export_scope {
    const char *peer_name; /* our name of the importer */
    const char *partition;
    const char *datacenter, *trust_domain; /* ours */
};

/* 9.2. */
Ps__ExportedServiceList *payload_list(const struct text_list *services, struct arena *arena);
/* 9.3: the instances of a plain service. */
Ps__ExportedService *payload_service(struct view *view, const struct export_scope *scope,
                                     const char *service, struct arena *arena);
/* 9.4 in two steps: what the local mesh gateways are, and one service's proxy on top of them. */
Ps__ExportedService *payload_gateways(struct view *view, const struct export_scope *scope,
                                      struct arena *arena);
bool payload_is_connect(struct view *view, const struct export_scope *scope, const char *service);
Ps__ExportedService *payload_proxy(struct view *view, const struct export_scope *scope,
                                   const char *service, const Ps__ExportedService *gateways,
                                   struct arena *arena);
/* 9.6. NULL while there is no root. */
Pb__PeeringTrustBundle *payload_roots(struct view *view, const struct export_scope *scope,
                                      struct arena *arena);
/* 9.7: this server's address, or the gateways' if peering goes through them. NULL if there is none.
 */
Pb__PeeringServerAddresses *payload_addresses(struct view *view, const struct tenancy *tenancy,
                                              const char *server_address, struct arena *arena);

/* Addresses of the local mesh gateways, wan (for the other side) or lan (our way out). */
struct text_list payload_gateway_addresses(struct view *view, const struct tenancy *tenancy,
                                           bool wan);
bool peering_through_gateways(struct view *view, const struct tenancy *tenancy);
