#include "store/state.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

int bytes_compare(const char *a, size_t a_length, const char *b, size_t b_length)
{
    int order = memcmp(a, b, a_length < b_length ? a_length : b_length);
    if (order != 0)
        return order;
    return (a_length > b_length) - (a_length < b_length);
}

/* ---- deferred functions that outlive the store ---- */

void state_defer(struct store *store, loop_fn *fn)
{
    store->deferred++;
    loop_defer(store->loop, fn, store);
}

bool state_defer_enter(struct store *store)
{
    store->deferred--;
    if (!store->closed)
        return true;
    if (store->deferred == 0)
        free(store);
    return false;
}

/* ---- the bin ---- */

static void bin_empty(struct bin *bin)
{
    for (size_t i = 0; i < bin->count; i++) {
        uintptr_t item = (uintptr_t)bin->items[i];
        if (item & 1)
            record_unref((const struct record *)(item & ~(uintptr_t)1));
        else
            free(bin->items[i]);
    }
    free(bin->items);
    *bin = (struct bin){0};
}

/* What was thrown away in this turn may be in the hands of functions deferred to its end, which run
 * before or after this one; so it goes one round later. */
static void bin_round(void *arg)
{
    struct store *store = arg;
    if (!state_defer_enter(store))
        return;
    bin_empty(&store->dying);
    store->dying = store->thrown;
    store->thrown = (struct bin){0};
    store->emptying = store->dying.count > 0;
    if (store->emptying)
        state_defer(store, bin_round);
}

static void bin_add(struct store *store, void *item)
{
    struct bin *bin = &store->thrown;
    if (bin->count == bin->capacity) {
        bin->capacity = bin->capacity ? bin->capacity * 2 : 64;
        bin->items = mem_realloc(bin->items, bin->capacity * sizeof *bin->items);
    }
    bin->items[bin->count++] = item;
    if (!store->emptying) {
        store->emptying = true;
        state_defer(store, bin_round);
    }
}

void state_throw(struct store *store, void *memory)
{
    if (memory != NULL)
        bin_add(store, memory);
}

void state_throw_record(struct store *store, struct stored *stored)
{
    bin_add(store, (void *)((uintptr_t)stored | 1));
}

/* ---- what is not there ---- */

static size_t absent_name(struct buffer *name, enum table table, unsigned kind, const char *key,
                          size_t length)
{
    buffer_reset(name);
    buffer_add_byte(name, (char)table);
    buffer_add_byte(name, (char)kind);
    buffer_add(name, key, length);
    return name->length;
}

static struct absent *absent_find(struct store *store, enum table table, unsigned kind,
                                  const char *key, size_t length)
{
    struct absent *absent = NULL;
    if (store->absents == NULL)
        return NULL;
    struct buffer name = {0};
    absent_name(&name, table, kind, key, length);
    HASH_FIND(hh, store->absents, name.data, name.length, absent);
    buffer_free(&name);
    return absent;
}

struct absent *state_absent(struct store *store, enum table table, unsigned kind, const char *key,
                            size_t length)
{
    struct absent *absent = absent_find(store, table, kind, key, length);
    if (absent == NULL) {
        struct buffer name = {0};
        absent_name(&name, table, kind, key, length);
        absent = mem_zalloc(sizeof *absent + name.length);
        absent->store = store;
        absent->length = name.length;
        memcpy(absent->name, name.data, name.length);
        buffer_free(&name);
        list_init(&absent->watchers);
        HASH_ADD(hh, store->absents, name, absent->length, absent);
    }
    absent->references++;
    return absent;
}

void absent_unref(struct absent *absent)
{
    if (--absent->references > 0)
        return;
    if (absent->store != NULL)
        HASH_DELETE(hh, absent->store->absents, absent);
    free(absent);
}

static void absent_appear(struct store *store, enum table table, unsigned kind, const char *key,
                          size_t length)
{
    struct absent *absent = absent_find(store, table, kind, key, length);
    if (absent == NULL)
        return;
    HASH_DELETE(hh, store->absents, absent);
    absent->store = NULL;
    watchers_tell(store, &absent->watchers);
}

/* ---- buckets ---- */

struct stored *state_record(struct store *store, enum table table, const char *key, size_t length)
{
    struct stored *stored = NULL;
    HASH_FIND(hh, store->tables[table].records, key, length, stored);
    return stored;
}

struct bucket *state_bucket(struct store *store, enum table table, unsigned index,
                            const char *value, size_t length)
{
    struct bucket *bucket = NULL;
    HASH_FIND(hh, store->tables[table].buckets[index], value, length, bucket);
    return bucket;
}

struct bucket *state_group(struct store *store, enum table table, unsigned index,
                           const char *tenancy, size_t length)
{
    struct bucket *group = NULL;
    HASH_FIND(hh, store->tables[table].groups[index], tenancy, length, group);
    return group;
}

static struct bucket *bucket_new(const char *value, size_t length)
{
    struct bucket *bucket = mem_zalloc(sizeof *bucket + length);
    bucket->length = (uint32_t)length;
    memcpy(bucket->value, value, length);
    list_init(&bucket->watchers);
    return bucket;
}

static struct bucket *group_need(struct store *store, enum table table, unsigned index,
                                 const char *value, size_t length)
{
    size_t tenancy = (size_t)(key_name(value, length, 0) - value);
    struct bucket *group = state_group(store, table, index, value, tenancy);
    if (group == NULL) {
        group = bucket_new(value, tenancy);
        HASH_ADD(hh, store->tables[table].groups[index], value, group->length, group);
        absent_appear(store, table, ABSENT_GROUP(index), value, tenancy);
    }
    return group;
}

static struct bucket *bucket_need(struct store *store, enum table table, unsigned index,
                                  const char *value, size_t length)
{
    struct bucket *bucket = state_bucket(store, table, index, value, length);
    if (bucket == NULL) {
        bucket = bucket_new(value, length);
        HASH_ADD(hh, store->tables[table].buckets[index], value, bucket->length, bucket);
        if (table_class(table)->indexes[index].distinct)
            bucket->group = group_need(store, table, index, value, length);
        absent_appear(store, table, ABSENT_BUCKET(index), value, length);
    }
    return bucket;
}

/* Where an item with this key is or belongs. */
static uint32_t bucket_place(const struct bucket *bucket, bool of_buckets, const char *key,
                             size_t length, bool *ret_there)
{
    uint32_t low = 0, high = bucket->count;
    *ret_there = false;
    while (low < high) {
        /* Loading comes in order: look at the end first. */
        uint32_t middle = low == 0 && high == bucket->count ? high - 1 : low + (high - low) / 2;
        const struct record *record = bucket->items[middle];
        const struct bucket *inner = bucket->items[middle];
        int order = of_buckets ? bytes_compare(key, length, inner->value, inner->length)
                               : bytes_compare(key, length, record->key, record->key_length);
        if (order == 0) {
            *ret_there = true;
            return middle;
        }
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static void items_throw(struct store *store, struct bucket *bucket)
{
    if (bucket->items != &bucket->one)
        state_throw(store, bucket->items);
}

static void bucket_insert(struct store *store, struct bucket *bucket, uint32_t at, const void *item)
{
    if (bucket->count == bucket->capacity) {
        uint32_t capacity = bucket->capacity == 0 ? 1 : bucket->capacity * 2;
        const void **items = capacity == 1 ? &bucket->one : mem_array(capacity, sizeof *items);
        if (bucket->count > 0)
            memcpy(items, bucket->items, bucket->count * sizeof *items);
        items_throw(store, bucket);
        bucket->items = items;
        bucket->capacity = capacity;
    }
    memmove(bucket->items + at + 1, bucket->items + at,
            (bucket->count - at) * sizeof *bucket->items);
    bucket->items[at] = item;
    bucket->count++;
}

static void bucket_remove(struct store *store, struct bucket *bucket, uint32_t at)
{
    bucket->count--;
    memmove(bucket->items + at, bucket->items + at + 1,
            (bucket->count - at) * sizeof *bucket->items);
    if (bucket->count == 0) { /* it stays, for its index; its array need not */
        items_throw(store, bucket);
        bucket->items = NULL;
        bucket->capacity = 0;
    }
}

static void bucket_touch(struct store *store, struct bucket *bucket, uint64_t index)
{
    if (index > bucket->index)
        bucket->index = index;
    watchers_tell(store, &bucket->watchers);
}

/* The group holds the buckets that are not empty. */
static void group_update(struct store *store, struct bucket *bucket, uint64_t index)
{
    struct bucket *group = bucket->group;
    if (group == NULL)
        return;
    bool there;
    uint32_t at = bucket_place(group, true, bucket->value, bucket->length, &there);
    if (there == (bucket->count > 0))
        return;
    if (there)
        bucket_remove(store, group, at);
    else
        bucket_insert(store, group, at, bucket);
    bucket_touch(store, group, index);
}

static void bucket_put(struct store *store, struct bucket *bucket, const struct stored *stored,
                       uint64_t index)
{
    bool there;
    uint32_t at =
        bucket_place(bucket, false, stored->record.key, stored->record.key_length, &there);
    if (there)
        bucket->items[at] = &stored->record;
    else
        bucket_insert(store, bucket, at, &stored->record);
    bucket_touch(store, bucket, index);
    group_update(store, bucket, index);
}

static void bucket_drop(struct store *store, struct bucket *bucket, const struct stored *stored,
                        uint64_t index)
{
    bool there;
    uint32_t at =
        bucket_place(bucket, false, stored->record.key, stored->record.key_length, &there);
    if (there)
        bucket_remove(store, bucket, at);
    bucket_touch(store, bucket, index);
    group_update(store, bucket, index);
}

/* ---- applying a write ---- */

static void find_buckets(struct store *store, enum table table, struct stored *fresh)
{
    const struct table_class *class = table_class(table);
    for (unsigned i = 0; i < TABLE_INDEXES_MAX && class->indexes[i].name != NULL; i++) {
        struct buffer *value = &store->scratch;
        buffer_reset(value);
        class->indexes[i].value(fresh->record.message, value);
        if (value->length > 0)
            fresh->buckets[i] = bucket_need(store, table, i, value->data, value->length);
    }
}

void state_apply(struct store *store, enum table table, const char *key, size_t length,
                 struct stored *fresh, uint64_t index)
{
    struct table_state *state = &store->tables[table];
    struct stored *old = state_record(store, table, key, length);
    if (old == NULL && fresh == NULL)
        return;
    if (old != NULL)
        HASH_DELETE(hh, state->records, old);
    if (fresh == NULL)
        state->deleted = index;
    if (fresh != NULL) {
        HASH_ADD_KEYPTR(hh, state->records, fresh->record.key, fresh->record.key_length, fresh);
        find_buckets(store, table, fresh);
    }
    for (unsigned i = 0; i < TABLE_INDEXES_MAX; i++) {
        struct bucket *from = old == NULL ? NULL : old->buckets[i];
        struct bucket *to = fresh == NULL ? NULL : fresh->buckets[i];
        if (from != NULL && from != to)
            bucket_drop(store, from, old, index);
        if (to != NULL)
            bucket_put(store, to, fresh, index);
    }
    if (old == NULL) {
        absent_appear(store, table, ABSENT_RECORD, key, length);
        return;
    }
    old->replaced = true;
    watchers_tell(store, &old->watchers);
    state_throw_record(store, old);
}

void state_settle(struct store *store)
{
    struct bucket *bucket, *next;
    store->settled = store->index;
    for (enum table table = 0; table < TABLE_COUNT; table++) {
        for (unsigned i = 0; i < TABLE_INDEXES_MAX; i++) {
            HASH_ITER (hh, store->tables[table].buckets[i], bucket, next) {
                bucket->index = store->index;
            }
            HASH_ITER (hh, store->tables[table].groups[i], bucket, next) {
                bucket->index = store->index;
            }
        }
    }
}

/* ---- the end ---- */

static void buckets_free(struct bucket **buckets)
{
    struct bucket *bucket, *next;
    HASH_ITER (hh, *buckets, bucket, next) {
        HASH_DELETE(hh, *buckets, bucket);
        watchers_leave(&bucket->watchers);
        if (bucket->items != &bucket->one)
            free(bucket->items);
        free(bucket);
    }
}

static void records_free(struct table_state *state)
{
    struct stored *stored, *next;
    HASH_ITER (hh, state->records, stored, next) {
        HASH_DELETE(hh, state->records, stored);
        memset(stored->buckets, 0, sizeof stored->buckets);
        record_unref(&stored->record);
    }
}

void state_free(struct store *store)
{
    for (enum table table = 0; table < TABLE_COUNT; table++) {
        records_free(&store->tables[table]);
        for (unsigned i = 0; i < TABLE_INDEXES_MAX; i++) {
            buckets_free(&store->tables[table].buckets[i]);
            buckets_free(&store->tables[table].groups[i]);
        }
    }
    struct absent *absent, *next;
    HASH_ITER (hh, store->absents, absent, next) {
        HASH_DELETE(hh, store->absents, absent);
        absent->store = NULL;
    }
    watchers_leave(&store->told);
    bin_empty(&store->thrown);
    bin_empty(&store->dying);
    buffer_free(&store->scratch);
}
