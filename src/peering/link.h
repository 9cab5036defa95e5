/* One open stream: the session, what it exports and imports, and the gRPC call that carries it.
 *
 * Callbacks that end something (`ended`) come from a turn of their own, so the owner may free the
 * link inside of them. */
#pragma once

#include "peering/exporter.h"
#include "peering/importer.h"
#include "peering/session.h"

struct peerings;
struct link;

struct link_handler {
    void (*opened)(void *arg, struct link *link, const Ps__Open *open); /* acceptor */
    void (*active)(void *arg, struct link *link); /* the other side takes part: ACTIVE from here */
    void (*terminated)(void *arg, struct link *link);
    /* GRPC_OK: in good order. The owner frees the link. */
    void (*ended)(void *arg, struct link *link, enum grpc_code code, const char *message);
};

/* Takes the call. */
struct link *link_accept(struct peerings *peerings, struct grpc_call *call,
                         const struct link_handler *handler, void *arg);
/* Dials `address`; `tls` NULL: cleartext. */
struct link *link_dial(struct peerings *peerings, const struct address *address,
                       struct tls_context *tls, const Pb__Peering *peering, const char *secret,
                       const struct link_handler *handler, void *arg);
void link_free(struct link *link);
/* Whom its callbacks go to from now on. */
void link_set_owner(struct link *link, const struct link_handler *handler, void *arg);

/* Acceptor: the stream belongs to this peering; it runs. */
void link_start(struct link *link, const Pb__Peering *peering);
void link_refuse(struct link *link, bool terminated_first, enum grpc_code code,
                 const char *message);
void link_terminate(struct link *link); /* this side ends the peering */
/* Ends it at once; `ended` follows. */
void link_fail(struct link *link, enum grpc_code code, const char *message);
void link_resend_addresses(struct link *link);

bool link_is_draining(const struct link *link);
const struct session_stats *link_stats(const struct link *link);
const struct text_list *link_imported(const struct link *link); /* NULL: not known yet */
const struct text_list *link_exported(const struct link *link);
