/* What this cluster sends to one peer.
 *
 * Each exported service has a watch of its own for its instances and one for its proxy; the list,
 * the gateways, the roots and the addresses have one each. So a change costs what it touches. What
 * changed is sent at the end of that turn, or, while the connection is congested, once there is
 * room again: then in its newest state only. */
#pragma once

#include "base/text.h"
#include "peering/payload.h"
#include "peering/resource.h"
#include "store/store.h"

struct exporter;

struct exporter_handler {
    void (*publish)(void *arg, enum resource resource, const char *id,
                    const ProtobufCMessage *payload);
    /* The peer drops it by itself: send it in any case when it comes again. */
    void (*forget)(void *arg, enum resource resource, const char *id);
    bool (*has_room)(void *arg); /* false: stop for now; exporter_resume follows */
};

/* `server_address` is asked for each time it matters; the owner calls exporter_resend_addresses
 * when it changes. */
struct exporter_config {
    struct store *store;
    struct export_scope scope; /* strings are copied */
    const char *(*server_address)(void *arg);
};

struct exporter *exporter_new(const struct exporter_config *config,
                              const struct exporter_handler *handler, void *arg);
void exporter_free(struct exporter *exporter);
/* The peer subscribed to a type: begins to send it. LIST goes with SERVICE. */
void exporter_start(struct exporter *exporter, enum resource resource);
void exporter_resume(struct exporter *exporter);
void exporter_resend_addresses(struct exporter *exporter);
/* The exported names as last sent. NULL before that. */
const struct text_list *exporter_services(const struct exporter *exporter);
