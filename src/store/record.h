/* Records as the store keeps them: one block of exact size with the message, the key and what the
 * store needs. Private to the store. */
#pragma once

#include "base/list.h"
#include "store/store.h"

#include <uthash.h>

struct bucket;

struct stored {
    struct record record; /* first: a `const struct record *` is one of these */
    unsigned references;
    bool replaced;                             /* no longer what its table holds */
    uint64_t seen;                             /* serial of the view that read it last (view.c) */
    struct bucket *buckets[TABLE_INDEXES_MAX]; /* where it is indexed; while it is in its table */
    struct list watchers;
    char *json;
    size_t json_length;
    UT_hash_handle hh; /* in its table, by key */
};

static inline struct stored *stored_of(const struct record *record)
{
    return (struct stored *)(void *)(uintptr_t)record;
}

/* Copies the message, with maps sorted by key and without fields that its type does not know, so
 * that equal content is equal bytes. One reference, the caller's. */
struct stored *stored_new(const struct table_class *class, const void *message);
bool stored_equal(const struct stored *a, const struct stored *b);
