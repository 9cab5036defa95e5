/* The delta ADS service: gRPC calls (net/grpc.h) bound to sessions (xds/session.h).
 *
 * A proxy says who it is; from then on its snapshots are watched, resources are built from each,
 * and the session sends what changed. A proxy that is not registered is no error: its stream stays
 * open and silent until it is, as in Consul, and one that is deregistered keeps what it has.
 * Belongs to the loop's thread. */
#pragma once

#include "mesh/proxy.h"
#include "net/grpc.h"
#include "xds/session.h"

/* Where snapshots come from. `arg` is the one given to xds_server_new. */
struct xds_source {
    /* Watches the proxy that `node` names (borrowed). `changed` is never called from inside.
     * NULL with `error` refuses the stream with the code of that error. */
    void *(*watch)(void *arg, const struct xds_node *node, proxy_changed_fn *changed,
                   void *changed_arg, struct error *error);
    void (*unwatch)(void *arg, void *watch);
    /* The proxy's stream is up, or down; once each. NULL: nobody wants to know. */
    void (*connected)(void *arg, const struct xds_node *node, bool up);
};

struct xds_server;

/* Registers its methods with `grpc`; frees neither of what is given. */
struct xds_server *xds_server_new(struct grpc_server *grpc, const struct xds_source *source,
                                  void *source_arg);
/* Before the gRPC server is freed; ends the streams so that proxies come back later. */
void xds_server_free(struct xds_server *server); /* NULL is fine */
size_t xds_server_streams(const struct xds_server *server);
