#include "http/leaves.h"

#include <stdlib.h>
#include <uthash.h>

#include "base/memory.h"
#include "http/request.h"

#define HELD_MAX 4096
#define HELD_MS (UINT64_C(30) * 60 * 1000)
#define SWEEP_MS (UINT64_C(60) * 1000)

struct held {
    UT_hash_handle hh;
    struct leaf_watch *watch;
    struct list wakers;
    uint64_t used_ms, index;
    size_t key_length;
    char key[];
};

struct leaves {
    struct loop *loop;
    struct authority *authority;
    struct timer *sweeper;
    struct held *table;
    struct buffer key;
};

static void held_free(struct leaves *leaves, struct held *held)
{
    HASH_DEL(leaves->table, held);
    leaf_watch_free(held->watch);
    free(held);
}

static void sweep(void *arg)
{
    struct leaves *leaves = arg;
    struct held *held, *next;
    HASH_ITER (hh, leaves->table, held, next) {
        if (list_empty(&held->wakers) && loop_now(leaves->loop) - held->used_ms > HELD_MS)
            held_free(leaves, held);
    }
}

struct leaves *leaves_new(struct loop *loop, struct authority *authority)
{
    struct leaves *leaves = mem_zalloc(sizeof *leaves);
    leaves->loop = loop;
    leaves->authority = authority;
    leaves->sweeper = timer_new(loop, sweep, leaves);
    return leaves;
}

void leaves_free(struct leaves *leaves)
{
    if (leaves == NULL)
        return;
    struct held *held, *next;
    HASH_ITER (hh, leaves->table, held, next)
        held_free(leaves, held);
    timer_free(leaves->sweeper);
    buffer_free(&leaves->key);
    free(leaves);
}

static void leaf_changed(void *arg)
{
    struct held *held = arg;
    uint64_t index = leaf_watch_get(held->watch)->index;
    held->index = index > held->index ? index : held->index + 1;
    request_wake_all(&held->wakers);
}

static struct held *held_new(struct leaves *leaves, const struct tenancy *tenancy,
                             const char *service)
{
    const struct buffer *key = &leaves->key;
    struct held *held = mem_zalloc(sizeof *held + key->length);
    list_init(&held->wakers);
    held->key_length = key->length;
    memcpy(held->key, key->data, key->length);
    held->watch =
        leaf_watch_new(leaves->authority, LEAF_SERVICE, tenancy, service, leaf_changed, held);
    held->index = leaf_watch_get(held->watch)->index;
    HASH_ADD_KEYPTR(hh, leaves->table, held->key, held->key_length, held);
    if (!timer_active(leaves->sweeper))
        timer_start(leaves->sweeper, SWEEP_MS, SWEEP_MS);
    return held;
}

const struct leaf *leaves_get(struct leaves *leaves, const struct tenancy *tenancy,
                              const char *service, uint64_t *ret_index, struct list **ret_wakers)
{
    key_all(&leaves->key, tenancy);
    key_part_exact(&leaves->key, service);
    struct held *held;
    HASH_FIND(hh, leaves->table, leaves->key.data, leaves->key.length, held);
    if (held == NULL) {
        if (HASH_COUNT(leaves->table) >= HELD_MAX)
            return NULL;
        held = held_new(leaves, tenancy, service);
    }
    held->used_ms = loop_now(leaves->loop);
    *ret_index = held->index;
    *ret_wakers = &held->wakers;
    return leaf_watch_get(held->watch);
}
