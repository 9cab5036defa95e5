#include <stdlib.h>
#include <string.h>

#include "proto/proto.h"
#include "store/overlay.h"

/* One commit of the engine carries at most so much; more waits for the next. */
#define BATCH_TRANSACTIONS 512
#define BATCH_WRITES 8192

/* A call of store_commit. */
struct request {
    struct list node;
    txn_fn *fn;
    txn_done_fn *done;
    void *arg;
    uint64_t index;
    struct error *error; /* its own; NULL if it went well */
};

struct txn {
    struct queue *queue;
    struct view *view;
    uint64_t index; /* that it gets if it writes */
    struct undo *undo;
    size_t count, capacity;
};

/* Requests wait until the engine is free. Then a batch of them runs, one after the other, each on
 * what the ones before it wrote, and all their writes go to the engine as one commit. When it is
 * done they are applied to the tables, and everybody is told. So transactions never conflict, and
 * nobody sees what is not durable. If the commit fails, all of the batch fails: each may have
 * built on what is lost. (An engine with several writers must compare what was read, too, and run
 * a batch again that lost.) */
struct queue {
    struct store *store;
    struct list waiting;
    struct list batch;
    struct overlay overlay;
    uint64_t index; /* of the last transaction of the batch that writes */
    bool started, scheduled, committing, closing;
    struct engine_row *rows;
    struct buffer bytes; /* the rows' values */
};

/* ---- inside of a transaction ---- */

struct view *txn_view(struct txn *txn)
{
    return txn->view;
}

const struct record *txn_get(struct txn *txn, enum table table, const struct buffer *key)
{
    struct stored *stored = overlay_get(&txn->queue->overlay, table, key->data, key->length);
    return stored == NULL ? NULL : &stored->record;
}

const struct record *const *txn_list(struct txn *txn, enum table table, unsigned index,
                                     const char *value, size_t length, size_t *ret_count)
{
    return overlay_list(&txn->queue->overlay, table, index, value, length, ret_count);
}

const struct view_value *txn_values(struct txn *txn, enum table table, unsigned index,
                                    const struct buffer *tenancy, size_t *ret_count)
{
    return overlay_values(&txn->queue->overlay, table, index, tenancy->data, tenancy->length,
                          ret_count);
}

static void txn_write(struct txn *txn, enum table table, const char *key, size_t length,
                      struct stored *fresh)
{
    if (txn->count == txn->capacity) {
        txn->capacity = txn->capacity ? txn->capacity * 2 : 8;
        txn->undo = mem_realloc(txn->undo, txn->capacity * sizeof *txn->undo);
    }
    txn->undo[txn->count++] =
        overlay_set(&txn->queue->overlay, table, key, length, fresh, txn->index);
}

void txn_put(struct txn *txn, enum table table, const void *message)
{
    struct stored *fresh = stored_new(table_class(table), message);
    const char *key = fresh->record.key;
    size_t length = fresh->record.key_length;
    struct stored *old = overlay_get(&txn->queue->overlay, table, key, length);
    if (old != NULL && stored_equal(old, fresh)) {
        record_unref(&fresh->record);
        return;
    }
    fresh->record.modify_index = txn->index;
    fresh->record.create_index = old == NULL ? txn->index : old->record.create_index;
    txn_write(txn, table, key, length, fresh);
}

void txn_delete(struct txn *txn, enum table table, const struct buffer *key)
{
    if (overlay_get(&txn->queue->overlay, table, key->data, key->length) != NULL)
        txn_write(txn, table, key->data, key->length, NULL);
}

static void txn_close(struct txn *txn, bool keep)
{
    struct overlay *overlay = &txn->queue->overlay;
    while (txn->count > 0) {
        struct undo *undo = &txn->undo[--txn->count];
        if (!keep)
            overlay_undo(overlay, undo);
        else if (undo->record != NULL)
            state_throw_record(overlay->store, undo->record);
    }
    free(txn->undo);
    view_free(txn->view);
}

static void request_run(struct queue *queue, struct request *request)
{
    struct txn txn = {.queue = queue, .index = queue->index + 1};
    txn.view = view_new(queue->store);
    txn.view->txn = &txn;
    txn.view->index = queue->index;
    struct error error = {0};
    bool good = request->fn(&txn, request->arg, &error);
    if (!good) {
        if (error.code == ERR_NONE)
            error_set(&error, ERR_INTERNAL, "the change was given up without a reason");
        request->error = mem_dup(&error, sizeof error);
    } else if (txn.count > 0) {
        queue->index = txn.index;
    }
    request->index = queue->index;
    txn_close(&txn, good);
}

/* ---- the end of a batch ---- */

static void request_end(struct request *request, const struct error *error)
{
    if (error == NULL)
        error = request->error;
    if (request->done != NULL)
        request->done(request->arg, error, request->index);
    free(request->error);
    free(request);
}

static void apply_batch(struct queue *queue)
{
    struct store *store = queue->store;
    struct write *write, *next;
    HASH_ITER (hh, queue->overlay.writes, write, next) {
        struct stored *record = write->record;
        write->record = NULL;
        state_apply(store, write->table, write_key(write), write_key_length(write), record,
                    write->index);
    }
    store->index = queue->index;
}

static void run_batch(void *arg);

static void schedule(struct queue *queue)
{
    if (queue->scheduled || queue->closing || !queue->started || queue->committing ||
        list_empty(&queue->waiting))
        return;
    queue->scheduled = true;
    state_defer(queue->store, run_batch);
}

static void end_batch(void *arg, const struct error *error)
{
    struct queue *queue = arg;
    struct list ended;
    list_init(&ended);
    list_for_each (node, &queue->batch) {
        list_remove(node);
        list_append(&ended, node);
    }
    if (error == NULL)
        apply_batch(queue);
    queue->index = queue->store->index;
    overlay_clear(&queue->overlay);
    buffer_reset(&queue->bytes);
    free(queue->rows);
    queue->rows = NULL;
    queue->committing = false;
    list_for_each (node, &ended) {
        request_end(list_entry(node, struct request, node), error);
    }
    schedule(queue);
}

/* ---- the start of a batch ---- */

static size_t make_rows(struct queue *queue)
{
    struct overlay *overlay = &queue->overlay;
    size_t count = 0;
    queue->rows = mem_array(HASH_COUNT(overlay->writes), sizeof *queue->rows);
    struct write *write, *next;
    HASH_ITER (hh, overlay->writes, write, next) {
        const char *key = write_key(write);
        size_t length = write_key_length(write);
        if (write->record == NULL &&
            state_record(overlay->store, write->table, key, length) == NULL)
            continue; /* came and went inside of the batch */
        struct engine_row *row = &queue->rows[count++];
        row->table = table_class(write->table)->name;
        row->key = key;
        row->key_length = length;
        if (write->record == NULL)
            continue;
        size_t before = queue->bytes.length;
        proto_pack(write->record->record.message, &queue->bytes);
        row->value_length = queue->bytes.length - before;
        row->value = (const uint8_t *)""; /* marks it; the bytes may still move */
        row->create_index = write->record->record.create_index;
        row->modify_index = write->record->record.modify_index;
    }
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        if (queue->rows[i].value == NULL)
            continue;
        queue->rows[i].value = (const uint8_t *)buffer_text(&queue->bytes) + at;
        at += queue->rows[i].value_length;
    }
    return count;
}

static void run_batch(void *arg)
{
    struct store *store = arg;
    if (!state_defer_enter(store))
        return;
    struct queue *queue = store->queue;
    queue->scheduled = false;
    queue->committing = true;
    for (size_t count = 0; count < BATCH_TRANSACTIONS && !list_empty(&queue->waiting); count++) {
        if (HASH_COUNT(queue->overlay.writes) >= BATCH_WRITES)
            break;
        struct list *node = queue->waiting.next;
        list_remove(node);
        list_append(&queue->batch, node);
        request_run(queue, list_entry(node, struct request, node));
    }
    size_t rows = make_rows(queue);
    if (queue->index == store->index)
        end_batch(queue, NULL); /* nobody wrote */
    else
        store->engine->class->commit(store->engine, queue->rows, rows, queue->index, end_batch,
                                     queue);
}

void store_commit(struct store *store, txn_fn *fn, txn_done_fn *done, void *arg)
{
    struct request *request = mem_zalloc(sizeof *request);
    request->fn = fn;
    request->done = done;
    request->arg = arg;
    list_append(&store->queue->waiting, &request->node);
    schedule(store->queue);
}

/* ---- life ---- */

struct queue *queue_new(struct store *store)
{
    struct queue *queue = mem_zalloc(sizeof *queue);
    queue->store = store;
    queue->overlay.store = store;
    list_init(&queue->waiting);
    list_init(&queue->batch);
    return queue;
}

void queue_start(struct queue *queue)
{
    queue->started = true;
    queue->index = queue->store->index;
    schedule(queue);
}

void queue_free(struct queue *queue)
{
    struct store *store = queue->store;
    queue->closing = true;
    store->engine->class->free(store->engine); /* ends the batch in flight */
    store->engine = NULL;
    struct error error = {0};
    error_set(&error, ERR_UNAVAILABLE,
              "the change was not made: this agent is stopping; send it again when it runs");
    while (!list_empty(&queue->waiting)) {
        struct list *node = queue->waiting.next;
        list_remove(node);
        struct request *request = list_entry(node, struct request, node);
        request->index = store->index;
        request_end(request, &error);
    }
    overlay_clear(&queue->overlay);
    buffer_free(&queue->bytes);
    free(queue->rows);
    free(queue);
}
