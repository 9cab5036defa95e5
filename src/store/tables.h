/* The tables of the store: what is kept, under which key, and by what it can be looked up.
 *
 * To add a resource: a message in src/proto, a row in `enum table`, its class in tables.c. */
#pragma once

#include "base/buffer.h"
#include "store/key.h"
#include "text/codec.h"

enum table {
    TABLE_NODE,              /* Pb__Node: key_node */
    TABLE_SERVICE,           /* Pb__NodeService, service instances: key_service */
    TABLE_CHECK,             /* Pb__HealthCheck: key_check */
    TABLE_EXPORTED_SERVICES, /* config entries, one table a kind: key_named */
    TABLE_SERVICE_INTENTIONS,
    TABLE_SERVICE_DEFAULTS,
    TABLE_PROXY_DEFAULTS,
    TABLE_MESH,
    TABLE_SERVICE_ROUTER,
    TABLE_SERVICE_SPLITTER,
    TABLE_SERVICE_RESOLVER,
    TABLE_PEERING,         /* key_named, of its partition */
    TABLE_PEERING_SECRETS, /* key_named, default tenancy, peer id */
    TABLE_TRUST_BUNDLE, /* key_named, of its partition, peer name (the tenancy's peer is empty) */
    TABLE_CA_CONFIG,    /* one row: key_all, default tenancy */
    TABLE_CA_ROOT,      /* key_named, default tenancy, root id */
    TABLE_VIRTUAL_IP,   /* Pb__VirtualIp: key_named, service -> 240.0.0.0 + n */
    TABLE_COUNT,
};

#define TABLE_INDEXES_MAX 5

/* Appends the index value of a message to `value`, or leaves it empty if the record is not in the
 * index. */
typedef void table_value_fn(const void *message, struct buffer *value);

struct index_class {
    const char *name;
    table_value_fn *value;
    bool distinct; /* view_values is wanted */
};

struct table_class {
    const char *name; /* stable: engines use it on disk */
    const struct codec_message *message;
    table_value_fn *key;
    struct index_class indexes[TABLE_INDEXES_MAX]; /* name NULL: none */
};

const struct table_class *table_class(enum table table);
/* The tenancy that a message of this table names in itself; borrowed from it. */
struct tenancy table_tenancy(enum table table, const void *message);

/* Every table's index 0: all records of one (partition, namespace, peer); value by key_all. */
#define BY_TENANCY 0
enum node_index { NODE_BY_ID = 1 }; /* key_named, the node's id */
/* BY_NAME: key_named. BY_NODE: key_node with the node's tenancy, whose namespace is "default": what
 * is on the node in every namespace. BY_CONNECT: key_named, by the service that an instance makes
 * reachable in the mesh: a connect-proxy's DestinationServiceName, or a native instance's own name.
 * BY_KIND: key_named, only gateways: "mesh-gateway". */
enum service_index { SERVICE_BY_NAME = 1, SERVICE_BY_NODE, SERVICE_BY_CONNECT, SERVICE_BY_KIND };
/* BY_SERVICE: key_named, by service name. BY_NODE: key_node, as above, all checks of a node.
 * BY_INSTANCE: key_service; the service id is empty for the node's own checks. */
enum check_index { CHECK_BY_SERVICE = 1, CHECK_BY_NODE, CHECK_BY_INSTANCE };
enum peering_index { PEERING_BY_ID = 1 }; /* key_named, default tenancy, id */
/* ALL: key_all, default tenancy: the addresses given to services of every tenancy and peer. */
enum virtual_ip_index { VIRTUAL_IP_ALL = 1 };
