/* The catalog's rules: nodes, service instances and checks, local ones and those imported from
 * peers (their PeerName says which; it is part of every key).
 *
 * Writers are called inside of a transaction. They fill in what Consul fills in (weights, a
 * check's service name and tags, tagged addresses lan_ipv4/wan_ipv4 of local instances, virtual addresses of mesh
 * services) and refuse what Consul refuses, with its words. */
#pragma once

#include <stdbool.h>

#include "base/text.h"
#include "consul/service.pb-c.h"
#include "store/key.h"
#include "store/store.h"

/* The tenancy that a stored message names in itself. */
struct tenancy catalog_node_tenancy(const Pb__Node *node);
struct tenancy catalog_service_tenancy(const Pb__NodeService *service);
struct tenancy catalog_check_tenancy(const Pb__HealthCheck *check);

bool catalog_put_node(struct txn *txn, const Pb__Node *node, struct error *error);
/* service->node names its node, which must exist. */
bool catalog_put_service(struct txn *txn, const Pb__NodeService *service, struct error *error);
/* A service check (service_id set) needs its service: "Unknown service ID '…' for check ID '…'". */
bool catalog_put_check(struct txn *txn, const Pb__HealthCheck *check, struct error *error);

/* Absent things are no error. A service goes with its checks, a node with everything on it. */
void catalog_delete_node(struct txn *txn, const struct tenancy *tenancy, const char *node);
void catalog_delete_service(struct txn *txn, const struct tenancy *tenancy, const char *node,
                            const char *service_id);
void catalog_delete_check(struct txn *txn, const struct tenancy *tenancy, const char *node,
                          const char *check_id);

/* ---- reading ---- */

/* One instance with its node and the checks that count for it: its own and its node's. */
struct catalog_instance {
    const struct record *node, *service; /* Pb__Node, Pb__NodeService; never NULL */
    size_t check_count;
    const struct record *const *checks; /* Pb__HealthCheck */
};

struct catalog_instances {
    size_t count;
    const struct catalog_instance *items; /* by node name, then service id */
};

/* Instances of a service. Everything borrowed from the view's turn or in `arena`. */
struct catalog_instances catalog_service_instances(struct view *view,
                                                   const struct tenancy *tenancy,
                                                   const char *service, struct arena *arena);
/* What reaches it in the mesh: its connect proxies and native instances. */
struct catalog_instances catalog_connect_instances(struct view *view,
                                                   const struct tenancy *tenancy,
                                                   const char *service, struct arena *arena);
/* Names of all services that can be reached in the mesh (that catalog_connect_instances finds
 * something for), sorted. */
struct text_list catalog_connect_names(struct view *view, const struct tenancy *tenancy);
/* Mesh gateways of this cluster, of every service name. */
struct catalog_instances catalog_mesh_gateways(struct view *view, const struct tenancy *tenancy,
                                               struct arena *arena);

enum catalog_health { CATALOG_PASSING, CATALOG_WARNING, CATALOG_CRITICAL, CATALOG_MAINTENANCE };
/* The worst of the instance's checks. */
enum catalog_health catalog_instance_health(const struct catalog_instance *instance);
const char *catalog_health_name(enum catalog_health health); /* "passing", … */

/* Where to reach an instance (xds.md 2.2): service `wan` tag, service address, node `wan` tag,
 * node address; without `wan` the tags are skipped. The address is borrowed; "" if there is none. */
const char *catalog_instance_address(const struct catalog_instance *instance, bool wan,
                                     uint16_t *ret_port);
