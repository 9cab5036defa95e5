/* Removes what was imported from a peer, in transactions of bounded size: service instances, then
 * nodes, then the trust bundle; and for a peering that is being deleted, at last its record. */
#pragma once

#include "consul/peering.pb-c.h"
#include "store/store.h"

struct removal;

typedef void removal_done_fn(void *arg);

/* `done` comes from a later turn: when all is removed, or when the record does not ask for it any
 * more. The removal is over then and frees itself. */
struct removal *removal_start(struct store *store, const Pb__Peering *peering,
                              removal_done_fn *done, void *arg);
/* Stops after the transaction under way, without a callback. */
void removal_abandon(struct removal *removal); /* NULL is fine */
