#include "mesh/memo.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "base/buffer.h"

struct part {
    UT_hash_handle hh;
    struct memo *memo;
    struct arena *arena;
    const void *value;
    struct watch *watch;
    bool used; /* in the build under way */
    size_t key_length;
    char key[];
};

struct memo {
    struct store *store;
    loop_fn *changed;
    void *arg;
    struct part *parts;
};

struct memo *memo_new(struct store *store, loop_fn *changed, void *arg)
{
    struct memo *memo = mem_zalloc(sizeof *memo);
    memo->store = store;
    memo->changed = changed;
    memo->arg = arg;
    return memo;
}

static void forget(struct part *part)
{
    watch_free(part->watch);
    part->watch = NULL;
    arena_free(part->arena);
    part->arena = NULL;
}

static void drop(struct part *part)
{
    HASH_DEL(part->memo->parts, part);
    forget(part);
    free(part);
}

void memo_free(struct memo *memo)
{
    struct part *part, *next;
    if (memo == NULL)
        return;
    HASH_ITER (hh, memo->parts, part, next)
        drop(part);
    free(memo);
}

void memo_sweep(struct memo *memo)
{
    struct part *part, *next;
    HASH_ITER (hh, memo->parts, part, next) {
        if (!part->used)
            drop(part);
        else
            part->used = false;
    }
}

static struct part *find_or_add(struct memo *memo, const struct tenancy *tenancy, memo_fn *fn,
                                const char *name)
{
    struct part *part;
    struct buffer key = {0};
    key_named(&key, tenancy, name);
    buffer_add(&key, &fn, sizeof fn);
    HASH_FIND(hh, memo->parts, key.data, key.length, part);
    if (part == NULL) {
        part = mem_zalloc(sizeof *part + key.length);
        part->memo = memo;
        part->key_length = key.length;
        memcpy(part->key, key.data, key.length);
        HASH_ADD(hh, memo->parts, key, key.length, part);
    }
    buffer_free(&key);
    return part;
}

static void part_changed(void *arg)
{
    struct part *part = arg;
    part->memo->changed(part->memo->arg);
}

const void *memo_get(struct gather *gather, memo_fn *fn, const char *name)
{
    struct memo *memo = gather->memo;
    struct part *part = find_or_add(memo, &gather->tenancy, fn, name);
    part->used = true;
    if (part->watch != NULL && !watch_is_spent(part->watch))
        return part->value;
    forget(part);
    part->arena = arena_new();
    struct proxy_snapshot snapshot = *gather->snapshot;
    snapshot.arena = part->arena;
    struct gather own = {view_new(memo->store), &snapshot, gather->tenancy, NULL};
    part->value = fn(&own, name);
    part->watch = watch_new(own.view, part_changed, part);
    return part->value;
}
