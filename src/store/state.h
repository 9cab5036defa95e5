/* What the store holds: tables, buckets, and who waits for a change of them. Private to the store.
 *
 * Everything that can be read and waited for is one of three things, and each has a list of
 * watchers: a record that is there, a bucket, and something that is not there (struct absent: a key
 * or an index value that was read and found missing). A watcher is unlinked when it is told, so a
 * burst of changes costs one walk. */
#pragma once

#include "base/list.h"
#include "store/engine.h"
#include "store/record.h"

struct bucket {
    UT_hash_handle hh; /* in its table and index, by value */
    uint64_t index;    /* of the last change */
    uint64_t seen;     /* serial of the view that read it last */
    struct list watchers;
    struct bucket *group; /* of a distinct index: the bucket of buckets of this tenancy */
    const void **items;   /* records by key; in a group: buckets that are not empty, by value */
    const void *one;      /* what `items` points at as long as one is enough: most have no more */
    uint32_t count, capacity;
    uint32_t length;
    char value[];
};

/* What an absent thing would be: a record, a bucket of index n, a group of index n. */
#define ABSENT_RECORD 0
#define ABSENT_BUCKET(index) (1 + (index))
#define ABSENT_GROUP(index) (1 + TABLE_INDEXES_MAX + (index))

struct absent {
    UT_hash_handle hh;
    struct store *store; /* NULL once the thing has appeared, or the store is gone */
    unsigned references; /* views and watches */
    uint64_t seen;
    struct list watchers;
    size_t length;
    char name[]; /* table, kind, then the key or value */
};

struct table_state {
    struct stored *records;
    uint64_t deleted; /* index of the last deletion */
    struct bucket *buckets[TABLE_INDEXES_MAX];
    struct bucket *groups[TABLE_INDEXES_MAX];
};

/* Memory that was borrowed this turn; freed when the turn is over. */
struct bin {
    void **items; /* records have bit 0 set */
    size_t count, capacity;
};

struct queue; /* transaction.c */

struct store {
    struct loop *loop;
    struct engine *engine;
    store_ready_fn *ready;
    void *ready_arg;
    uint64_t index;
    uint64_t loaded_index;
    uint64_t settled; /* index when all was loaded; what happened before is not known in detail */
    struct error load_error;
    bool closed;
    unsigned deferred; /* functions that the loop will still call with this store */

    struct table_state tables[TABLE_COUNT];
    struct absent *absents;
    uint64_t serial;  /* of the newest view */
    struct list told; /* watches that fire at the end of the turn */
    bool firing;
    struct bin thrown, dying;
    bool emptying;
    struct queue *queue;
    struct buffer scratch; /* for index values */
};

/* Calls `fn(store)` at the end of the turn, also when the store is freed before: then it only
 * counts. */
void state_defer(struct store *store, loop_fn *fn);
/* To be called first by such a function: false if the store is gone. */
bool state_defer_enter(struct store *store);

struct stored *state_record(struct store *store, enum table table, const char *key, size_t length);
struct bucket *state_bucket(struct store *store, enum table table, unsigned index,
                            const char *value, size_t length);
struct bucket *state_group(struct store *store, enum table table, unsigned index,
                           const char *tenancy, size_t length);
struct absent *state_absent(struct store *store, enum table table, unsigned kind, const char *key,
                            size_t length); /* a new reference */
void absent_unref(struct absent *absent);

/* Puts `fresh` (taken over; NULL: deletes) in the place of the record with this key, and tells who
 * waits. `index` is the transaction's. */
void state_apply(struct store *store, enum table table, const char *key, size_t length,
                 struct stored *fresh, uint64_t index);
/* After loading: buckets say nothing older than what they may have said before the restart. */
void state_settle(struct store *store);
void state_free(struct store *store);

/* Keeps borrowed things until the turn is over. */
void state_throw(struct store *store, void *memory);
void state_throw_record(struct store *store, struct stored *stored);

int bytes_compare(const char *a, size_t a_length, const char *b, size_t b_length);

/* watch.c */
void watchers_tell(struct store *store, struct list *watchers);
void watchers_leave(struct list *watchers); /* the store goes */

/* view.c */
enum dep_kind { DEP_RECORD, DEP_BUCKET, DEP_ABSENT };
struct dep {
    uintptr_t what;   /* pointer | dep_kind; a record or an absent is a reference */
    uint64_t version; /* of a bucket, its index when it was read */
};
#define DEP_KIND_MASK ((uintptr_t)3)
struct list *dep_watchers(const struct dep *dep);
bool dep_changed(const struct dep *dep);
void dep_drop(uintptr_t what);

struct txn;
struct view {
    struct store *store;
    struct txn *txn; /* reads through its writes and tracks nothing; else NULL */
    uint64_t serial;
    uint64_t index;
    struct dep *deps;
    size_t count, capacity;
};

/* transaction.c */
const struct record *txn_get(struct txn *txn, enum table table, const struct buffer *key);
const struct record *const *txn_list(struct txn *txn, enum table table, unsigned index,
                                     const char *value, size_t length, size_t *ret_count);
const struct view_value *txn_values(struct txn *txn, enum table table, unsigned index,
                                    const struct buffer *tenancy, size_t *ret_count);
struct queue *queue_new(struct store *store);
void queue_start(struct queue *queue); /* the store is loaded */
void queue_free(struct queue *queue);
