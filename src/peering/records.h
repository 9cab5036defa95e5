/* A peering's record and its secrets as a state machine, inside of transactions (peering-protocol
 * sections 4 and 11.1).
 *
 * Stored states: acceptor PENDING; dialer PENDING, then ESTABLISHING; either way then DELETING, or
 * TERMINATED if the peer ended it. ACTIVE and FAILING are shown, never stored. */
#pragma once

#include <stdbool.h>

#include "consul/peering.pb-c.h"
#include "store/key.h"
#include "store/store.h"

/* Lookups; NULL if there is none. Borrowed as view_get's. */
const struct record *peering_find(struct view *view, const struct tenancy *tenancy,
                                  const char *name);
const struct record *peering_find_by_id(struct view *view, const char *id);
const Pb__PeeringSecrets *peering_secrets(struct view *view, const char *id);
const struct record *const *peering_all(struct view *view, const struct tenancy *tenancy,
                                        size_t *ret_count);

bool peering_is_dialer(const Pb__Peering *peering);   /* it has addresses */
bool peering_is_inactive(const Pb__Peering *peering); /* DELETING or TERMINATED */

bool peering_check_name(const char *name, struct error *error);
/* Peerings live in the default partition only, so far. */
bool peering_check_partition(const char *partition, struct error *error);
bool peering_check_meta(size_t count, Pb__GenerateTokenRequest__MetaEntry *const *meta,
                        struct error *error);

/* Creates or replaces a record under the rules of 11.1; state UNDEFINED and an empty Remote keep
 * what is there. A write that makes it inactive removes its secrets. */
bool peering_put(struct txn *txn, const Pb__Peering *peering, struct error *error);
/* Removes the record, its trust bundle and its secrets. */
void peering_remove(struct txn *txn, const Pb__Peering *peering);
/* The trust bundle under the peering's local name. */
void peering_remove_bundle(struct txn *txn, const Pb__Peering *peering);

/* ---- secrets ---- */

/* A new token: replaces an older establishment secret. */
void secrets_generate(struct txn *txn, const char *id, const char *establishment);
/* ExchangeSecret: `given` is spent, `pending` waits for its first use. Refused with ERR_DENIED and
 * "invalid peering establishment secret". */
bool secrets_exchange(struct txn *txn, const char *id, const char *given, const char *pending,
                      struct error *error);
/* Open with `given`: the active secret, or the pending one, which then becomes active and brings
 * `remote` into the record. */
bool secrets_open(struct txn *txn, const char *id, const char *given, const Pb__RemoteInfo *remote,
                  struct error *error);
/* The dialer's side of an exchange. */
void secrets_establish(struct txn *txn, const char *id, const char *active);
