#include "peering/removal.h"

#include <stdlib.h>

#include "base/text.h"
#include "catalog/catalog.h"
#include "peering/records.h"

#define CHUNK 64
#define RETRY_MS 1000

struct removal {
    struct store *store;
    removal_done_fn *done; /* NULL: abandoned */
    void *arg;
    char *id, *name, *partition;
    bool over; /* the step under way is the last */
    struct timer *retry;
};

/* Up to CHUNK instances, as node, id, node, id, …; of nodes, just their names. */
static struct text_list first_keys(struct txn *txn, const struct tenancy *tenancy, enum table table)
{
    struct text_list keys = {0};
    struct buffer value = {0};
    size_t count;
    const struct record *const *records =
        view_list(txn_view(txn), table, BY_TENANCY, key_all(&value, tenancy), &count);
    for (size_t i = 0; i < count && i < CHUNK; i++) {
        const Pb__NodeService *service = records[i]->message;
        const Pb__Node *node = records[i]->message;
        text_list_add(&keys, table == TABLE_SERVICE ? service->node : node->node);
        if (table == TABLE_SERVICE)
            text_list_add(&keys, service->id);
    }
    buffer_free(&value);
    return keys;
}

/* False if there was nothing. */
static bool remove_services(struct txn *txn, const struct tenancy *tenancy)
{
    struct text_list keys = first_keys(txn, tenancy, TABLE_SERVICE);
    bool some = keys.count > 0;
    for (size_t i = 0; i < keys.count; i += 2)
        catalog_delete_service(txn, tenancy, keys.items[i], keys.items[i + 1]);
    text_list_free(&keys);
    return some;
}

static bool remove_nodes(struct txn *txn, const struct tenancy *tenancy)
{
    struct text_list keys = first_keys(txn, tenancy, TABLE_NODE);
    bool some = keys.count > 0;
    for (size_t i = 0; i < keys.count; i++)
        catalog_delete_node(txn, tenancy, keys.items[i]);
    text_list_free(&keys);
    return some;
}

static bool step(struct txn *txn, void *arg, struct error *error)
{
    (void)error;
    struct removal *removal = arg;
    removal->over = true;
    if (removal->done == NULL)
        return true;
    const struct record *record = peering_find_by_id(txn_view(txn), removal->id);
    if (record == NULL || !peering_is_inactive(record->message))
        return true; /* removed already, or established anew */
    struct tenancy tenancy = {.partition = removal->partition, .peer = removal->name};
    if (remove_services(txn, &tenancy) || remove_nodes(txn, &tenancy)) {
        removal->over = false;
        return true;
    }
    const Pb__Peering *peering = record->message;
    if (peering->state == PB__PEERING_STATE__DELETING)
        peering_remove(txn, peering);
    else
        peering_remove_bundle(txn, peering);
    return true;
}

static void removal_free(struct removal *removal)
{
    timer_free(removal->retry);
    free(removal->id);
    free(removal->name);
    free(removal->partition);
    free(removal);
}

static void on_step(void *arg, const struct error *error, uint64_t index);

static void run(void *arg)
{
    struct removal *removal = arg;
    store_commit(removal->store, step, on_step, removal);
}

static void on_step(void *arg, const struct error *error, uint64_t index)
{
    (void)index;
    struct removal *removal = arg;
    if (removal->done == NULL) {
        removal_free(removal);
    } else if (error != NULL) {
        timer_start(removal->retry, RETRY_MS,
                    0); /* the engine refused: it must not stay half done */
    } else if (!removal->over) {
        run(removal);
    } else {
        removal_done_fn *done = removal->done;
        void *done_arg = removal->arg;
        removal_free(removal);
        done(done_arg);
    }
}

struct removal *removal_start(struct store *store, const Pb__Peering *peering,
                              removal_done_fn *done, void *arg)
{
    struct removal *removal = mem_zalloc(sizeof *removal);
    removal->store = store;
    removal->done = done;
    removal->arg = arg;
    removal->id = mem_strdup(peering->id);
    removal->name = mem_strdup(peering->name);
    removal->partition = mem_strdup(peering->partition);
    removal->retry = timer_new(store_loop(store), run, removal);
    run(removal);
    return removal;
}

void removal_abandon(struct removal *removal)
{
    if (removal == NULL)
        return;
    removal->done = NULL;
    if (timer_active(removal->retry))
        removal_free(removal); /* nothing is under way */
}
