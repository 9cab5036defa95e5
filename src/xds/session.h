/* One delta ADS stream as a state machine (reference: xds.md section 1): messages in, messages
 * out, no sockets and no clock. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "xds/resources.h"

struct xds_session;

struct xds_node {
    char *id;        /* service ID of the proxy */
    char *node_name; /* metadata.node_name, or "" */
    char *cluster;
    char *user_agent_name;
    unsigned version_major, version_minor, version_patch;
};

struct xds_session_handler {
    /* The proxy has said who it is: start to watch its snapshot. Once. */
    void (*on_node)(void *arg, const struct xds_node *node);
    void (*send)(void *arg, const uint8_t *message, size_t length); /* borrowed */
    /* The proxy refused a resource (NACK); for the log and for diagnosis. */
    void (*on_nack)(void *arg, enum xds_type type, const char *message);
};

struct xds_session *xds_session_new(const struct xds_session_handler *handler, void *arg);
void xds_session_free(struct xds_session *session);
/* A DeltaDiscoveryRequest. False ends the stream with `error` (its code maps to gRPC's). */
bool xds_session_receive(struct xds_session *session, const uint8_t *message, size_t length,
                         struct error *error);
/* New resources for this proxy; the session takes them over. */
void xds_session_update(struct xds_session *session, struct xds_resources *resources);
