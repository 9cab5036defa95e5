/* What a peer sends, written to the catalog under the peer's name.
 *
 * Resources are written in bounded transactions, many in flight: changes of one resource keep their
 * order, those of different resources do not wait for each other. A newer version of a service that
 * arrives while the older one still waits takes its place. Each response is answered once all of it
 * is committed. */
#pragma once

#include "base/text.h"
#include "peering/session.h"
#include "store/store.h"

struct importer;

/* The response was written (error NULL) or could not be. Takes the response. */
typedef void importer_done_fn(void *arg, struct session_response *response,
                              const struct error *error);

struct importer *importer_new(struct store *store, const Pb__Peering *peering,
                              const char *own_trust_domain, importer_done_fn *done, void *arg);
/* Takes the response. */
void importer_submit(struct importer *importer, struct session_response *response);
/* Bytes of messages that are not yet written: what bounds the memory that a peer can take. */
size_t importer_pending(const struct importer *importer);
/* Names of the last LIST that was written; its sequence is the peer's. NULL before the first. */
const struct text_list *importer_services(const struct importer *importer);
/* What is in flight ends quietly; no callback comes any more. */
void importer_free(struct importer *importer);
