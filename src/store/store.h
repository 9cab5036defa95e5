/* The state of a cluster: records in tables, with indexes, watches and transactions.
 *
 * Concepts
 *   record   one stored message with its key and its create and modify index. Immutable and
 *            reference-counted: an update replaces the record, so whoever holds a reference keeps
 *            seeing what it saw.
 *   table    all records of one type (tables.h). The key carries the tenancy: partition,
 *            namespace, peer, name (key.h).
 *   bucket   all records of a table that share one value of one of its indexes ("instances of
 *            service web"), ordered by key. A bucket remembers the index of its last change,
 *            also when it has become empty.
 *   view     a tracked read: everything that is read through a view is remembered. From what was
 *            read come the index of the answer (view_index) and the wait for a change of it
 *            (watch_new). So nobody states dependencies by hand.
 *   watch    a lasting wait on what a view has read.
 *   txn      a function that reads through a view and writes. Transactions run one after the
 *            other, each on what the ones before it wrote; many share one commit of the engine,
 *            and fail with it. A transaction may be run again; so it has no effects but its
 *            writes and its `arg`.
 *
 * The index grows by one per committed transaction. It never goes back, also not over a restart.
 *
 * Watches fire once at the end of the loop's turn in which something they read has changed,
 * however much has changed. All of it belongs to the loop's thread. */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "net/loop.h"
#include "store/tables.h"

struct store;
struct engine; /* engine.h */

struct record {
    const struct table_class *class;
    const void *message; /* of type class->message->descriptor; read-only */
    const char *key;     /* may contain NULs: parts are separated by them (key.h) */
    size_t key_length;
    uint64_t create_index, modify_index;
    /* private to the store: references, and caches that are filled on demand */
};

struct record *record_ref(const struct record *record); /* shared, though const to the holder */
void record_unref(const struct record *record);         /* NULL is fine */
/* The record's message as JSON fields without braces, with CreateIndex and ModifyIndex at the end;
 * made once and kept. */
const char *record_json(const struct record *record, size_t *ret_length);

/* Takes over the engine. `ready` is called once everything that the engine holds is loaded, or with
 * an error. */
typedef void store_ready_fn(void *arg, const struct error *error);
struct store *store_new(struct loop *loop, struct engine *engine, store_ready_fn *ready, void *arg);
/* Ends the commit in flight; transactions that wait behind it end with ERR_UNAVAILABLE. */
void store_free(struct store *store);
uint64_t store_index(const struct store *store); /* of the last committed transaction; ≥ 1 */
struct loop *store_loop(struct store *store);

/* ---- reading ---- */

struct view;

struct view *view_new(struct store *store);
void view_free(struct view *view); /* NULL is fine */
/* The record with this key, or NULL. Borrowed: valid until the turn ends; take a reference to keep
 * it. */
const struct record *view_get(struct view *view, enum table table, const struct buffer *key);
/* The bucket of `index` (one of the table's, tables.h) with this value: an array, borrowed
 * likewise; it may be NULL if it is empty. */
const struct record *const *view_list(struct view *view, enum table table, unsigned index,
                                      const struct buffer *value, size_t *ret_count);
/* The distinct values of an index under one tenancy (made by key_all) that have records, as bytes
 * in order; changes in which values exist are tracked, changes of the records are not. Only for
 * indexes with `distinct` set. Borrowed until the turn ends; key_name(bytes, length, 0) is the
 * name. */
struct view_value {
    const char *bytes;
    size_t length;
    const struct record *record; /* one of them, for the spelling that the key does not keep */
};
const struct view_value *view_values(struct view *view, enum table table, unsigned index,
                                     const struct buffer *tenancy, size_t *ret_count);
/* The highest index of all that was read: of a record its modify index, of a bucket the index of
 * its last change, of a missing record that of the last deletion in its table; none is lower than
 * what was said before a restart. At least 1. Unrelated writes do not move it. */
uint64_t view_index(const struct view *view);

struct watch;
/* Waits for a change of what `view` has read; takes the view over and frees it. Calls `fn` once, at
 * the end of a turn; the watch is then spent and is freed by the caller. If the data changed since
 * it was read, it fires at the end of this turn. */
struct watch *watch_new(struct view *view, loop_fn *fn, void *arg);
/* What was read has changed, whether `fn` was called already or will be. */
bool watch_is_spent(const struct watch *watch);
void watch_free(struct watch *watch); /* NULL is fine */

/* ---- writing ---- */

struct txn;

struct view *txn_view(struct txn *txn); /* reads of the transaction; they see its own writes */
/* Creates or replaces. The message is copied; its key comes from the table's class. A write that
 * changes nothing is dropped. */
void txn_put(struct txn *txn, enum table table, const void *message);
void txn_delete(struct txn *txn, enum table table, const struct buffer *key); /* absent is fine */

/* Returns false with `error` filled to give up; nothing is written then. */
typedef bool txn_fn(struct txn *txn, void *arg, struct error *error);
/* `error` is NULL once the writes are durable and visible; `index` is theirs (or, if it wrote
 * nothing, the store's). Never called from inside of store_commit. */
typedef void txn_done_fn(void *arg, const struct error *error, uint64_t index);
/* `done` may be NULL. Both functions get `arg`. */
void store_commit(struct store *store, txn_fn *fn, txn_done_fn *done, void *arg);
