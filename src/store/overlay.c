#include "store/overlay.h"

#include <stdlib.h>
#include <string.h>

/* An index value that a write of the batch took a record from or put one to. */
struct touched {
    UT_hash_handle hh;
    enum table table;
    unsigned index;
    struct write **writes;
    size_t count, capacity;
    bool merged;
    const struct record **list;
    size_t list_count;
    size_t length;
    char name[]; /* table, index, then the value */
};

#define TOUCHED_PREFIX 2

void overlay_clear(struct overlay *overlay)
{
    struct write *write, *next;
    HASH_ITER (hh, overlay->writes, write, next) {
        if (write->record != NULL)
            state_throw_record(overlay->store, write->record);
    }
    HASH_CLEAR(hh, overlay->writes);
    HASH_CLEAR(hh, overlay->touched);
    arena_free(overlay->arena);
    overlay->arena = NULL;
}

static struct arena *overlay_arena(struct overlay *overlay)
{
    if (overlay->arena == NULL)
        overlay->arena = arena_new();
    return overlay->arena;
}

static struct write *find_write(struct overlay *overlay, enum table table, const char *key,
                                size_t length)
{
    struct write *write = NULL;
    if (overlay->writes == NULL)
        return NULL;
    struct buffer name = {0};
    buffer_add_byte(&name, (char)table);
    buffer_add(&name, key, length);
    HASH_FIND(hh, overlay->writes, name.data, name.length, write);
    buffer_free(&name);
    return write;
}

struct stored *overlay_get(struct overlay *overlay, enum table table, const char *key,
                           size_t length)
{
    struct write *write = find_write(overlay, table, key, length);
    return write != NULL ? write->record : state_record(overlay->store, table, key, length);
}

static struct touched *find_touched(struct overlay *overlay, enum table table, unsigned index,
                                    const char *value, size_t length, bool create)
{
    struct buffer name = {0};
    buffer_add_byte(&name, (char)table);
    buffer_add_byte(&name, (char)index);
    buffer_add(&name, value, length);
    struct touched *touched = NULL;
    HASH_FIND(hh, overlay->touched, name.data, name.length, touched);
    if (touched == NULL && create) {
        touched = arena_alloc(overlay_arena(overlay), sizeof *touched + name.length);
        touched->table = table;
        touched->index = index;
        touched->length = name.length;
        memcpy(touched->name, name.data, name.length);
        HASH_ADD(hh, overlay->touched, name, touched->length, touched);
    }
    buffer_free(&name);
    return touched;
}

static void touched_add(struct overlay *overlay, struct touched *touched, struct write *write)
{
    touched->merged = false;
    if (touched->count > 0 && touched->writes[touched->count - 1] == write)
        return;
    if (touched->count == touched->capacity) {
        size_t capacity = touched->capacity ? touched->capacity * 2 : 1;
        struct write **writes =
            arena_alloc(overlay_arena(overlay), capacity * sizeof(struct write *));
        if (touched->count > 0)
            memcpy(writes, touched->writes, touched->count * sizeof *writes);
        touched->writes = writes;
        touched->capacity = capacity;
    }
    touched->writes[touched->count++] = write;
}

static void touch(struct overlay *overlay, struct write *write, const struct stored *record)
{
    if (record == NULL)
        return;
    const struct table_class *class = table_class(write->table);
    struct buffer value = {0};
    for (unsigned i = 0; i < TABLE_INDEXES_MAX && class->indexes[i].name != NULL; i++) {
        buffer_reset(&value);
        class->indexes[i].value(record->record.message, &value);
        if (value.length > 0)
            touched_add(overlay,
                        find_touched(overlay, write->table, i, value.data, value.length, true),
                        write);
    }
    buffer_free(&value);
}

struct undo overlay_set(struct overlay *overlay, enum table table, const char *key, size_t length,
                        struct stored *fresh, uint64_t index)
{
    struct write *write = find_write(overlay, table, key, length);
    struct undo undo = {.first = write == NULL};
    if (write == NULL) {
        write = arena_alloc(overlay_arena(overlay), sizeof *write + 1 + length);
        write->table = table;
        write->length = 1 + length;
        write->name[0] = (char)table;
        memcpy(write->name + 1, key, length);
        HASH_ADD(hh, overlay->writes, name, write->length, write);
    }
    undo.write = write;
    undo.record = write->record;
    undo.index = write->index;
    touch(overlay, write,
          undo.first ? state_record(overlay->store, table, key, length) : write->record);
    touch(overlay, write, fresh);
    write->record = fresh;
    write->index = index;
    return undo;
}

void overlay_undo(struct overlay *overlay, const struct undo *undo)
{
    struct write *write = undo->write;
    if (write->record != NULL)
        state_throw_record(overlay->store, write->record);
    write->record = undo->record;
    write->index = undo->index;
    if (undo->first) {
        write->undone = true;
        HASH_DELETE(hh, overlay->writes, write);
    }
    struct touched *touched, *next;
    HASH_ITER (hh, overlay->touched, touched, next) {
        touched->merged = false;
    }
}

/* ---- lists ---- */

static int compare_writes(const void *a, const void *b)
{
    const struct write *left = *(struct write *const *)a, *right = *(struct write *const *)b;
    return bytes_compare(left->name, left->length, right->name, right->length);
}

/* Whether the write's record belongs to the list, as it is now. */
static bool belongs(const struct touched *touched, const struct write *write, struct buffer *value)
{
    if (write->record == NULL)
        return false;
    buffer_reset(value);
    table_class(touched->table)
        ->indexes[touched->index]
        .value(write->record->record.message, value);
    return value->length == touched->length - TOUCHED_PREFIX &&
           (value->length == 0 ||
            memcmp(value->data, touched->name + TOUCHED_PREFIX, value->length) == 0);
}

/* The writes that count, each once, in order of key. */
static size_t live_writes(const struct touched *touched, struct write **ret_writes)
{
    size_t count = 0;
    for (size_t i = 0; i < touched->count; i++) {
        if (!touched->writes[i]->undone)
            ret_writes[count++] = touched->writes[i];
    }
    if (count > 0)
        qsort(ret_writes, count, sizeof(struct write *), compare_writes);
    size_t unique = 0;
    for (size_t i = 0; i < count; i++) {
        if (unique == 0 || ret_writes[unique - 1] != ret_writes[i])
            ret_writes[unique++] = ret_writes[i];
    }
    return unique;
}

static void merge(struct overlay *overlay, struct touched *touched, const struct bucket *bucket)
{
    size_t committed = bucket == NULL ? 0 : bucket->count;
    struct write **writes = mem_array(touched->count, sizeof *writes);
    size_t write_count = live_writes(touched, writes);
    const struct record **list = arena_alloc(
        overlay_arena(overlay), (committed + write_count) * sizeof(const struct record *));
    struct buffer value = {0};
    size_t count = 0, at = 0;
    for (size_t i = 0; i < write_count; i++) {
        const char *key = write_key(writes[i]);
        size_t length = write_key_length(writes[i]);
        for (; at < committed; at++) {
            const struct record *record = bucket->items[at];
            int order = bytes_compare(record->key, record->key_length, key, length);
            if (order > 0)
                break;
            if (order < 0)
                list[count++] = record;
        }
        if (belongs(touched, writes[i], &value))
            list[count++] = &writes[i]->record->record;
    }
    for (; at < committed; at++)
        list[count++] = bucket->items[at];
    buffer_free(&value);
    free(writes);
    touched->list = list;
    touched->list_count = count;
    touched->merged = true;
}

const struct record *const *overlay_list(struct overlay *overlay, enum table table, unsigned index,
                                         const char *value, size_t length, size_t *ret_count)
{
    const struct bucket *bucket = state_bucket(overlay->store, table, index, value, length);
    struct touched *touched = find_touched(overlay, table, index, value, length, false);
    if (touched != NULL) {
        if (!touched->merged)
            merge(overlay, touched, bucket);
        *ret_count = touched->list_count;
        return touched->list;
    }
    *ret_count = bucket == NULL ? 0 : bucket->count;
    return bucket == NULL ? NULL : (const struct record *const *)bucket->items;
}

static int compare_values(const void *a, const void *b)
{
    const struct view_value *left = a, *right = b;
    return bytes_compare(left->bytes, left->length, right->bytes, right->length);
}

/* Drops doubles, and values that the batch has emptied. */
static size_t filter_values(struct overlay *overlay, enum table table, unsigned index,
                            struct view_value *values, size_t count)
{
    size_t kept = 0;
    struct view_value last = {0};
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && compare_values(&last, &values[i]) == 0)
            continue;
        last = values[i];
        size_t records;
        const struct record *const *list =
            overlay_list(overlay, table, index, values[i].bytes, values[i].length, &records);
        if (records == 0)
            continue;
        values[kept] = values[i];
        values[kept++].record = list[0];
    }
    return kept;
}

const struct view_value *overlay_values(struct overlay *overlay, enum table table, unsigned index,
                                        const char *tenancy, size_t length, size_t *ret_count)
{
    const struct bucket *group = state_group(overlay->store, table, index, tenancy, length);
    size_t committed = group == NULL ? 0 : group->count;
    struct view_value *values =
        arena_alloc(overlay_arena(overlay),
                    (committed + HASH_COUNT(overlay->touched)) * sizeof(struct view_value));
    size_t count = 0;
    for (; count < committed; count++) {
        const struct bucket *bucket = group->items[count];
        values[count] = (struct view_value){.bytes = bucket->value, .length = bucket->length};
    }
    struct touched *touched, *next;
    HASH_ITER (hh, overlay->touched, touched, next) {
        const char *value = touched->name + TOUCHED_PREFIX;
        size_t value_length = touched->length - TOUCHED_PREFIX;
        if (touched->table == table && touched->index == index && value_length >= length &&
            memcmp(value, tenancy, length) == 0)
            values[count++] = (struct view_value){.bytes = value, .length = value_length};
    }
    qsort(values, count, sizeof *values, compare_values);
    *ret_count = filter_values(overlay, table, index, values, count);
    return values;
}
