/* The tables of the store: what is kept, under which key, and by what it can be looked up.
 *
 * To add a resource: a message in src/proto, a row in `enum table`, its class in tables.c. */
#pragma once

#include "base/buffer.h"
#include "text/codec.h"

enum table {
    TABLE_NODE,         /* Pb__Node */
    TABLE_SERVICE,      /* Pb__NodeService: service instances */
    TABLE_CHECK,        /* Pb__HealthCheck */
    TABLE_EXPORTED_SERVICES,  /* config entries, one table a kind */
    TABLE_SERVICE_INTENTIONS,
    TABLE_SERVICE_DEFAULTS,
    TABLE_PROXY_DEFAULTS,
    TABLE_MESH,
    TABLE_PEERING,
    TABLE_PEERING_SECRETS,
    TABLE_TRUST_BUNDLE,
    TABLE_CA_CONFIG,
    TABLE_CA_ROOT,
    TABLE_VIRTUAL_IP,   /* Pb__VirtualIp: (peer, service) -> 240.0.0.0 + n */
    TABLE_COUNT,
};

#define TABLE_INDEXES_MAX 4

/* Appends the index value of a message to `value`, or leaves it empty if the record is not in the index. */
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

/* Every table's index 0: all records of one (partition, namespace, peer); value by key_tenancy. */
#define BY_TENANCY 0
enum service_index { SERVICE_BY_NAME = 1, SERVICE_BY_NODE, SERVICE_BY_CONNECT };
/* SERVICE_BY_CONNECT: by the service that an instance makes reachable in the mesh: a connect-proxy's
 * DestinationServiceName, or a native instance's own name. */
enum check_index { CHECK_BY_SERVICE = 1, CHECK_BY_NODE, CHECK_BY_INSTANCE };
/* CHECK_BY_NODE: all checks of a node; CHECK_BY_INSTANCE: (node, service id), service id empty for node checks. */
enum peering_index { PEERING_BY_ID = 1 };
