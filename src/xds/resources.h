/* Envoy resources of a proxy, as a pure function of its snapshot (reference: xds.md section 2).
 * Equal snapshots give equal bytes. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "mesh/snapshot.h"

enum xds_type { XDS_CLUSTER, XDS_ENDPOINT, XDS_LISTENER, XDS_ROUTE, XDS_SECRET, XDS_TYPE_COUNT };

const char *xds_type_url(enum xds_type type);

struct xds_resource {
    char *name;
    char version[65]; /* lower-case hex SHA-256 of the bytes */
    uint8_t *bytes;   /* serialised message; goes into an Any of the type's URL */
    size_t length;
    char **children; /* NULL-terminated or NULL: EDS name of a cluster, RDS names of a listener */
};

struct xds_resource_list {
    size_t count;
    struct xds_resource *items; /* sorted by name */
};

struct xds_resources {
    struct xds_resource_list types[XDS_TYPE_COUNT];
    char *problems; /* what was left out and why, one line each; NULL if nothing: of the opaque
                       configuration, and upstreams that have no way yet */
};

struct xds_resources *xds_resources_build(const struct proxy_snapshot *snapshot);
void xds_resources_free(struct xds_resources *resources); /* NULL is fine */
