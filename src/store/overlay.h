/* What the transactions of one batch have written so far, on top of the committed tables. Private
 * to the store.
 *
 * A transaction reads through it, so it sees those before it in the batch as if they were
 * committed. Lists are merged on demand: for every index value that a write touches the overlay
 * remembers the writes, and drops the merged list when there is another one. */
#pragma once

#include "base/memory.h"
#include "store/state.h"

struct write {
    UT_hash_handle hh;
    enum table table;
    struct stored *record; /* NULL: deletes */
    uint64_t index;        /* of the transaction that wrote it last */
    bool undone;           /* its transaction failed: it counts no more */
    size_t length;
    char name[]; /* table, then the key */
};

static inline const char *write_key(const struct write *write)
{
    return write->name + 1;
}

static inline size_t write_key_length(const struct write *write)
{
    return write->length - 1;
}

struct touched;

struct overlay {
    struct store *store;
    struct write *writes; /* in the order of their first write */
    struct touched *touched;
    struct arena *arena; /* everything but the records */
};

/* What a write has replaced, to take it back. */
struct undo {
    struct write *write;
    struct stored *record;
    uint64_t index;
    bool first; /* there was no write of this key before */
};

void overlay_clear(struct overlay *overlay);
/* The record as the batch sees it. */
struct stored *overlay_get(struct overlay *overlay, enum table table, const char *key,
                           size_t length);
/* Takes `fresh` over (NULL: deletes). */
struct undo overlay_set(struct overlay *overlay, enum table table, const char *key, size_t length,
                        struct stored *fresh, uint64_t index);
void overlay_undo(struct overlay *overlay, const struct undo *undo);
/* Both lists live until the overlay is cleared. */
const struct record *const *overlay_list(struct overlay *overlay, enum table table, unsigned index,
                                         const char *value, size_t length, size_t *ret_count);
const struct view_value *overlay_values(struct overlay *overlay, enum table table, unsigned index,
                                        const char *tenancy, size_t length, size_t *ret_count);
