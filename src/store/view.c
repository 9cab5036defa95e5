#include <stdlib.h>

#include "base/memory.h"
#include "store/state.h"

/* ---- dependencies ---- */

static void *dep_pointer(uintptr_t what)
{
    return (void *)(what & ~DEP_KIND_MASK);
}

struct list *dep_watchers(const struct dep *dep)
{
    void *thing = dep_pointer(dep->what);
    switch ((enum dep_kind)(dep->what & DEP_KIND_MASK)) {
    case DEP_RECORD:
        return &((struct stored *)thing)->watchers;
    case DEP_BUCKET:
        return &((struct bucket *)thing)->watchers;
    case DEP_ABSENT:
        break;
    }
    return &((struct absent *)thing)->watchers;
}

bool dep_changed(const struct dep *dep)
{
    void *thing = dep_pointer(dep->what);
    switch ((enum dep_kind)(dep->what & DEP_KIND_MASK)) {
    case DEP_RECORD:
        return ((struct stored *)thing)->replaced;
    case DEP_BUCKET:
        return ((struct bucket *)thing)->index != dep->version;
    case DEP_ABSENT:
        break;
    }
    return ((struct absent *)thing)->store == NULL;
}

void dep_drop(uintptr_t what)
{
    void *thing = dep_pointer(what);
    switch ((enum dep_kind)(what & DEP_KIND_MASK)) {
    case DEP_RECORD:
        record_unref(&((struct stored *)thing)->record);
        return;
    case DEP_BUCKET:
        return; /* lives as long as the store */
    case DEP_ABSENT:
        absent_unref(thing);
    }
}

static void view_note(struct view *view, void *thing, enum dep_kind kind, uint64_t version)
{
    if (view->count == view->capacity) {
        view->capacity = view->capacity ? view->capacity * 2 : 8;
        view->deps = mem_realloc(view->deps, view->capacity * sizeof *view->deps);
    }
    view->deps[view->count++] = (struct dep){(uintptr_t)thing | kind, version};
}

static void view_raise(struct view *view, uint64_t index)
{
    if (index > view->index)
        view->index = index;
}

/* ---- reading ---- */

struct view *view_new(struct store *store)
{
    struct view *view = mem_zalloc(sizeof *view);
    view->store = store;
    view->serial = ++store->serial;
    view->index = 1;
    return view;
}

void view_free(struct view *view)
{
    if (view == NULL)
        return;
    for (size_t i = 0; i < view->count; i++)
        dep_drop(view->deps[i].what);
    free(view->deps);
    free(view);
}

/* What is missing was deleted at the latest when something of its table was, or it has not been
 * there since the store was loaded. A bucket stays when it is empty: a missing one was never there.
 */
static void note_absent(struct view *view, enum table table, unsigned kind, const char *key,
                        size_t length)
{
    view_raise(view, view->store->settled);
    if (kind == ABSENT_RECORD)
        view_raise(view, view->store->tables[table].deleted);
    struct absent *absent = state_absent(view->store, table, kind, key, length);
    if (absent->seen == view->serial) {
        absent_unref(absent); /* noted before */
        return;
    }
    absent->seen = view->serial;
    view_note(view, absent, DEP_ABSENT, 0);
}

static void note_bucket(struct view *view, struct bucket *bucket)
{
    view_raise(view, bucket->index);
    if (bucket->seen == view->serial)
        return;
    bucket->seen = view->serial;
    view_note(view, bucket, DEP_BUCKET, bucket->index);
}

const struct record *view_get(struct view *view, enum table table, const struct buffer *key)
{
    if (view->txn != NULL)
        return txn_get(view->txn, table, key);
    struct stored *stored = state_record(view->store, table, key->data, key->length);
    if (stored == NULL) {
        note_absent(view, table, ABSENT_RECORD, key->data, key->length);
        return NULL;
    }
    view_raise(view, stored->record.modify_index);
    if (stored->seen != view->serial) {
        stored->seen = view->serial;
        record_ref(&stored->record);
        view_note(view, stored, DEP_RECORD, 0);
    }
    return &stored->record;
}

const struct record *const *view_list(struct view *view, enum table table, unsigned index,
                                      const struct buffer *value, size_t *ret_count)
{
    if (view->txn != NULL)
        return txn_list(view->txn, table, index, value->data, value->length, ret_count);
    struct bucket *bucket = state_bucket(view->store, table, index, value->data, value->length);
    if (bucket == NULL) {
        note_absent(view, table, ABSENT_BUCKET(index), value->data, value->length);
        *ret_count = 0;
        return NULL;
    }
    note_bucket(view, bucket);
    *ret_count = bucket->count;
    return (const struct record *const *)bucket->items;
}

const struct view_value *view_values(struct view *view, enum table table, unsigned index,
                                     const struct buffer *tenancy, size_t *ret_count)
{
    if (view->txn != NULL)
        return txn_values(view->txn, table, index, tenancy, ret_count);
    struct bucket *group = state_group(view->store, table, index, tenancy->data, tenancy->length);
    if (group == NULL) {
        note_absent(view, table, ABSENT_GROUP(index), tenancy->data, tenancy->length);
        *ret_count = 0;
        return NULL;
    }
    note_bucket(view, group);
    struct view_value *values = mem_array(group->count, sizeof *values);
    for (uint32_t i = 0; i < group->count; i++) {
        const struct bucket *bucket = group->items[i];
        values[i] = (struct view_value){bucket->value, bucket->length, bucket->items[0]};
    }
    state_throw(view->store, values);
    *ret_count = group->count;
    return values;
}

uint64_t view_index(const struct view *view)
{
    return view->index;
}
