/* What makes the store durable and shared. Four operations: load, commit, watch, free.
 *
 * An engine keeps rows (table name, key) -> (value bytes, create and modify index) and the store's
 * index. It knows nothing of what the bytes mean. Every completion is a callback on the loop, in
 * every engine, never from inside of the call. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "net/loop.h"

struct engine_row {
    const char *table;
    const char *key;
    size_t key_length;
    const uint8_t *value; /* NULL: the row is deleted */
    size_t value_length;
    uint64_t create_index, modify_index;
};

typedef void engine_row_fn(void *arg, const struct engine_row *row);
typedef void engine_done_fn(void *arg, const struct error *error);

struct engine; /* starts with `const struct engine_class *class` */

struct engine_class {
    const char *name;
    /* Calls `row` for every row, then `done` with the index of the last commit in `*ret_index`. */
    void (*load)(struct engine *engine, engine_row_fn *row, engine_done_fn *done, void *arg,
                 uint64_t *ret_index);
    /* Writes all rows or none, durably, and sets the index. The rows are borrowed until `done`. One
     * commit at a time. */
    void (*commit)(struct engine *engine, const struct engine_row *rows, size_t count,
                   uint64_t index, engine_done_fn *done, void *arg);
    /* Rows that others wrote (etcd, remote); engines with one writer never call it. May be NULL. */
    void (*watch)(struct engine *engine, engine_row_fn *row, void *arg);
    /* Waits for a commit in flight and calls its `done`, the one case of a call from inside. */
    void (*free)(struct engine *engine);
};

struct engine {
    const struct engine_class *class;
};

struct engine *engine_memory_new(struct loop *loop);
/* Opens or creates `path` (0600): WAL, full sync. The message says what to do if it is locked or
 * damaged. */
struct engine *engine_sqlite_new(struct loop *loop, const char *path, struct error *error);
