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
    struct record *root; /* the active one; a reference */
    struct watch *watch;

    /* Serial numbers serial..serial_end - 1 are this process's own. */
    uint64_t serial, serial_end;
    struct reservation *reservation; /* NULL if none is in flight */

    struct identity *identities; /* by uri */
    struct list due;             /* leaf_watch.due: those that have not heard of the new leaf yet */
    struct timer *timer;
    int64_t next_tick_ns; /* when the timer runs, if it is active */
};

/* A leaf, shared by the identity and by watches that have not heard of its successor yet. */
struct issued;

uint64_t authority_take_serial(struct authority *authority);

/* A new key and its certificate, with one reference; also from a root that is only being tried. */
struct issued *leaf_issue(struct authority *authority, const Pb__CaRoot *root, const char *uri,
                          const char *dns_name, struct error *error);
void leaf_unref(struct issued *issued); /* NULL is fine */
/* Renews what is due, or all, and tells the watches. */
void leaf_renew_all(struct authority *authority, bool even_if_fresh);
void leaf_tick(void *arg); /* the timer's function */
