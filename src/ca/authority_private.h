/* What authority.c (roots, serial numbers, the store) and leaf.c (the certificates given out)
 * share. */
#pragma once

#include "base/list.h"
#include "ca/authority.h"

struct authority {
    struct store *store;
    char *datacenter;
    store_ready_fn *ready;
    void *arg;

    /* From the store. */
    char *trust_domain;
    int64_t leaf_ttl_ns;
    struct record *root;               /* the active one; a reference */
    struct certificate_signer *signer; /* made from it */
    struct watch *watch;

    /* Serial numbers serial..serial_end - 1 are this process's own. */
    uint64_t serial, serial_end;
    struct reservation *reservation; /* NULL if none is in flight */

    struct identity *identities; /* by uri */
    struct list due;             /* leaf_watch.due: those that have not heard of the new leaf yet */
    struct timer *timer;
    int64_t next_tick_ns; /* when the timer runs, if it is active */
};

uint64_t authority_take_serial(struct authority *authority);

/* Makes all leaves anew, beginning at once, and tells the watches. */
void leaf_renew_all(struct authority *authority);
void leaf_tick(void *arg); /* the timer's function: renews what is due */
