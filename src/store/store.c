#include "store/store.h"

#include <stdlib.h>
#include <string.h>

#include "proto/proto.h"
#include "store/state.h"

static bool table_find(const char *name, enum table *ret_table)
{
    for (enum table table = 0; table < TABLE_COUNT; table++) {
        if (strcmp(table_class(table)->name, name) == 0) {
            *ret_table = table;
            return true;
        }
    }
    return false;
}

static bool load_row(struct store *store, const struct engine_row *row, struct error *error)
{
    enum table table;
    if (!table_find(row->table, &table))
        return error_set(error, ERR_UNSUPPORTED,
                         "the stored state has a table `%s` that this version does not know: it "
                         "was written by a newer version; run that one",
                         row->table);
    struct arena *arena = arena_new();
    const struct table_class *class = table_class(table);
    void *message =
        proto_unpack_trusted(class->message->descriptor, row->value, row->value_length, arena);
    struct stored *stored = message == NULL ? NULL : stored_new(class, message);
    arena_free(arena);
    if (stored == NULL || stored->record.key_length != row->key_length ||
        memcmp(stored->record.key, row->key, row->key_length) != 0) {
        if (stored != NULL)
            record_unref(&stored->record);
        return error_set(error, ERR_INVALID,
                         "the stored state is damaged: a row of table `%s` cannot be read; nothing "
                         "was changed in it; restore it from a backup",
                         row->table);
    }
    stored->record.create_index = row->create_index;
    stored->record.modify_index = row->modify_index;
    state_apply(store, table, stored->record.key, stored->record.key_length, stored,
                row->modify_index);
    return true;
}

static void on_row(void *arg, const struct engine_row *row)
{
    struct store *store = arg;
    if (store->load_error.code == ERR_NONE)
        load_row(store, row, &store->load_error);
}

static void on_loaded(void *arg, const struct error *error)
{
    struct store *store = arg;
    if (error == NULL && store->load_error.code != ERR_NONE)
        error = &store->load_error;
    if (error == NULL) {
        if (store->loaded_index > store->index)
            store->index = store->loaded_index;
        state_settle(store);
        queue_start(store->queue);
    }
    store->ready(store->ready_arg, error);
}

struct store *store_new(struct loop *loop, struct engine *engine, store_ready_fn *ready, void *arg)
{
    struct store *store = mem_zalloc(sizeof *store);
    store->loop = loop;
    store->engine = engine;
    store->ready = ready;
    store->ready_arg = arg;
    store->index = store->settled = 1;
    list_init(&store->told);
    store->queue = queue_new(store);
    engine->class->load(engine, on_row, on_loaded, store, &store->loaded_index);
    return store;
}

void store_free(struct store *store)
{
    if (store == NULL)
        return;
    queue_free(store->queue);
    state_free(store);
    store->closed = true;
    if (store->deferred == 0)
        free(store);
}

uint64_t store_index(const struct store *store)
{
    return store->index;
}

struct loop *store_loop(struct store *store)
{
    return store->loop;
}
