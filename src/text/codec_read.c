#include "text/codec.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/duration.h"
#include "base/text.h"
#include "text/codec_field.h"
#include "text/json.h"

#define HUNDREDTHS_MAX 10000000.0

/* Where we are in the document, from the inside out; made into text only for a message. */
struct place {
    const struct place *parent;
    const char *name; /* NULL: an element of the parent's list */
    size_t index;
};

struct reader {
    unsigned flags;
    struct arena *arena;
    struct error *error;
    struct text_list *errors; /* NULL: the first ends it; else each is added, and reading goes on */
};

static bool read_into(struct reader *reader, const struct codec_message *type, void *message,
                      const json_t *object, const struct place *place);
static void *read_message(struct reader *reader, const struct codec_message *type,
                          const json_t *value, const struct place *place);

static void add_place(struct buffer *output, const struct place *place)
{
    if (place == NULL)
        return;
    add_place(output, place->parent);
    if (place->name == NULL) {
        buffer_printf(output, "[%zu]", place->index);
        return;
    }
    if (output->length > 0)
        buffer_add_byte(output, '.');
    buffer_add_text(output, place->name);
}

static bool fail(struct reader *reader, const struct place *place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool fail(struct reader *reader, const struct place *place, const char *format, ...)
{
    struct buffer text = {0};
    add_place(&text, place);
    if (text.length > 0)
        buffer_add_text(&text, ": ");
    va_list args;
    va_start(args, format);
    buffer_vprintf(&text, format, args);
    va_end(args);
    error_set(reader->error, ERR_INVALID, "%s", buffer_text(&text));
    if (reader->errors != NULL)
        text_list_add(reader->errors, buffer_text(&text));
    buffer_free(&text);
    return false;
}

static const char *kind_of(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "a list";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_NULL:
        return "null";
    default:
        return "a boolean";
    }
}

static bool expected(struct reader *reader, const struct place *place, const char *wanted,
                     const json_t *value)
{
    return fail(reader, place, "expected %s, got %s", wanted, kind_of(value));
}

static bool unknown_key(struct reader *reader, const struct codec_message *type,
                        const struct place *place, const char *key)
{
    const char *near = codec_suggest_key(type, key);
    if (near == NULL)
        return fail(reader, place, "unknown key \"%s\"", key);
    return fail(reader, place, "unknown key \"%s\"; did you mean \"%s\"?", key, near);
}

/* --- scalars --- */

static bool weak(const struct reader *reader)
{
    return (reader->flags & CODEC_WEAK) != 0;
}

static bool store_integer(struct reader *reader, const struct place *place,
                          const ProtobufCFieldDescriptor *about, int64_t value, void *at)
{
    int64_t least = INT64_MIN, most = INT64_MAX;
    if (about->type == PROTOBUF_C_TYPE_INT32) {
        least = INT32_MIN;
        most = INT32_MAX;
    } else if (about->type == PROTOBUF_C_TYPE_UINT32) {
        least = 0;
        most = UINT32_MAX;
    } else if (about->type == PROTOBUF_C_TYPE_UINT64) {
        least = 0;
    }
    if (value < least || value > most)
        return fail(reader, place, "%" PRId64 " is out of range, which is %" PRId64 " to %" PRId64,
                    value, least, most);
    if (about->type == PROTOBUF_C_TYPE_INT32 || about->type == PROTOBUF_C_TYPE_UINT32) {
        uint32_t small = (uint32_t)value;
        memcpy(at, &small, sizeof small);
    } else {
        memcpy(at, &value, sizeof value);
    }
    return true;
}

/* Decimal, with a sign, as a whole. */
static bool integer_from_text(const char *text, int64_t *ret_value)
{
    bool negative = *text == '-';
    uint64_t size;
    if (!text_to_u64(text + negative, INT64_MAX, &size))
        return false;
    *ret_value = negative ? -(int64_t)size : (int64_t)size;
    return true;
}

static bool read_integer(struct reader *reader, const struct place *place,
                         const ProtobufCFieldDescriptor *about, const json_t *value, void *at)
{
    int64_t number;
    if (json_is_integer(value)) {
        number = json_integer_value(value);
    } else if (json_is_real(value)) {
        double real = json_real_value(value);
        if (real != floor(real) || fabs(real) >= 0x1p63)
            return fail(reader, place, "expected a whole number");
        number = (int64_t)real;
    } else if (weak(reader) && json_is_string(value)) {
        const char *text = json_string_value(value);
        if (!integer_from_text(text, &number))
            return fail(reader, place, "expected a number, got \"%s\"", text);
    } else if (weak(reader) && json_is_boolean(value)) {
        number = json_is_true(value);
    } else {
        return expected(reader, place, "a number", value);
    }
    return store_integer(reader, place, about, number, at);
}

static bool read_duration(struct reader *reader, const struct place *place, const json_t *value,
                          void *at)
{
    int64_t ns;
    if (json_is_integer(value))
        ns = json_integer_value(value);
    else if (!json_is_string(value))
        return expected(reader, place, "a duration such as \"10s\"", value);
    else if (text_empty(json_string_value(value)))
        ns = 0;
    else if (!duration_parse(json_string_value(value), &ns))
        return fail(reader, place,
                    "time: invalid duration \"%s\"; write it like \"10s\" or \"1m30s\"",
                    json_string_value(value));
    memcpy(at, &ns, sizeof ns);
    return true;
}

static bool read_time(struct reader *reader, const struct place *place, const json_t *value,
                      void *at)
{
    int64_t ns;
    const char *text = json_string_value(value);
    if (text == NULL)
        return expected(reader, place, "a time such as \"2026-01-31T12:00:00Z\"", value);
    if (*text == '\0' || strcmp(text, "0001-01-01T00:00:00Z") == 0)
        ns = 0; /* Go's zero time, which means "never" */
    else if (!timestamp_parse(text, &ns))
        return fail(reader, place, "\"%s\" is not a time; write it like \"2026-01-31T12:00:00Z\"",
                    text);
    memcpy(at, &ns, sizeof ns);
    return true;
}

static bool read_bool(struct reader *reader, const struct place *place, const json_t *value,
                      void *at)
{
    static const char *const yes[] = {"1", "t", "true"}, *const no[] = {"", "0", "f", "false"};
    protobuf_c_boolean *flag = at;
    if (json_is_boolean(value)) {
        *flag = json_is_true(value);
        return true;
    }
    if (weak(reader) && json_is_number(value)) {
        *flag = json_number_value(value) != 0;
        return true;
    }
    const char *text = json_string_value(value);
    if (!weak(reader) || text == NULL)
        return expected(reader, place, "true or false", value);
    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++) {
        if (text_equal_nocase(text, yes[i])) {
            *flag = true;
            return true;
        }
    }
    for (size_t i = 0; i < sizeof no / sizeof no[0]; i++) {
        if (text_equal_nocase(text, no[i])) {
            *flag = false;
            return true;
        }
    }
    return fail(reader, place, "expected true or false, got \"%s\"", text);
}

static bool read_string(struct reader *reader, const struct place *place, const json_t *value,
                        void *at)
{
    char **text = at;
    if (json_is_string(value)) {
        *text = arena_strdup(reader->arena, json_string_value(value));
    } else if (weak(reader) && json_is_boolean(value)) {
        *text = arena_strdup(reader->arena, json_is_true(value) ? "1" : "0"); /* as in Consul */
    } else if (weak(reader) && json_is_number(value)) {
        struct buffer digits = {0};
        json_write(&digits, value);
        *text = arena_strdup(reader->arena, buffer_text(&digits));
        buffer_free(&digits);
    } else {
        return expected(reader, place, "a string", value);
    }
    return true;
}

/* What is finer than a hundredth is rounded. */
static bool read_hundredths(struct reader *reader, const struct place *place, const json_t *value,
                            void *at)
{
    char *end = NULL;
    double number = json_number_value(value);
    if (weak(reader) && json_is_string(value))
        number = strtod(json_string_value(value), &end);
    if (!json_is_number(value) && (end == NULL || end == json_string_value(value) || *end != '\0'))
        return expected(reader, place, "a number", value);
    if (!(number >= -HUNDREDTHS_MAX && number <= HUNDREDTHS_MAX))
        return fail(reader, place, "%g is out of range", number);
    *(int32_t *)at = (int32_t)(number * 100 + (number < 0 ? -0.5 : 0.5));
    return true;
}

static bool read_enum(struct reader *reader, const struct place *place,
                      const ProtobufCEnumDescriptor *type, const json_t *value, void *at)
{
    int *number = at;
    if (json_is_integer(value) && json_integer_value(value) >= 0 &&
        json_integer_value(value) <= INT_MAX) {
        *number = (int)json_integer_value(value);
        return true;
    }
    const char *text = json_string_value(value);
    if (text == NULL)
        return expected(reader, place, "a name", value);
    for (unsigned i = 0; i < type->n_values; i++) {
        if (text_equal_nocase(type->values[i].name, text)) {
            *number = type->values[i].value;
            return true;
        }
    }
    return fail(reader, place, "\"%s\" is not one of the known names", text);
}

/* --- opaque JSON --- */

static bool is_block(const json_t *value)
{
    return json_array_size(value) == 1 && json_is_object(json_array_get(value, 0));
}

/* A deep copy in which a list of one object is that object: what a reader of HCL meant. */
static json_t *flatten_blocks(const json_t *value)
{
    if (is_block(value))
        value = json_array_get(value, 0);
    if (json_is_object(value)) {
        json_t *copy = json_object(), *member;
        const char *key;
        json_object_foreach((json_t *)value, key, member)
        {
            json_object_set_new_nocheck(copy, key, flatten_blocks(member));
        }
        return copy;
    }
    if (json_is_array(value)) {
        json_t *copy = json_array();
        for (size_t i = 0; i < json_array_size(value); i++)
            json_array_append_new(copy, flatten_blocks(json_array_get(value, i)));
        return copy;
    }
    return json_incref((json_t *)value);
}

static bool is_list_of_objects(const json_t *value)
{
    for (size_t i = 0; i < json_array_size(value); i++) {
        if (!json_is_object(json_array_get(value, i)))
            return false;
    }
    return json_is_array(value);
}

/* One object for several blocks of the same name; later keys win. A new reference. */
static json_t *merge_blocks(const json_t *list)
{
    json_t *merged = json_object();
    for (size_t i = 0; i < json_array_size(list); i++)
        json_object_update(merged, json_array_get(list, i));
    return merged;
}

static bool read_raw(struct reader *reader, const struct place *place, const json_t *value,
                     void *at)
{
    char **text = at;
    json_t *own = NULL;
    if ((reader->flags & CODEC_HCL) != 0) {
        json_t *merged = is_list_of_objects(value) ? merge_blocks(value) : NULL;
        own = flatten_blocks(merged != NULL ? merged : value);
        json_decref(merged);
        value = own;
    }
    bool ok = json_is_object(value);
    if (!ok) {
        expected(reader, place, "an object", value);
    } else if (json_object_size(value) > 0) {
        struct buffer written = {0};
        json_write(&written, value);
        *text = arena_strndup(reader->arena, buffer_text(&written), written.length);
        buffer_free(&written);
    }
    json_decref(own);
    return ok;
}

/* --- fields --- */

/* One value into the place `at`: the field itself, or an element of its list. */
static bool read_one(struct reader *reader, const struct codec_field *field,
                     const ProtobufCFieldDescriptor *about, const json_t *value, void *at,
                     const struct place *place)
{
    switch (about->type) {
    case PROTOBUF_C_TYPE_STRING:
        if (field->format == CODEC_RAW_JSON)
            return read_raw(reader, place, value, at);
        return read_string(reader, place, value, at);
    case PROTOBUF_C_TYPE_BOOL:
        return read_bool(reader, place, value, at);
    case PROTOBUF_C_TYPE_ENUM:
        return read_enum(reader, place, about->descriptor, value, at);
    case PROTOBUF_C_TYPE_MESSAGE: {
        void *message = read_message(reader, field->message, value, place);
        if (message != NULL)
            memcpy(at, &message, sizeof message);
        return message != NULL;
    }
    default:
        if (field->format == CODEC_DURATION || field->format == CODEC_NANOSECONDS)
            return read_duration(reader, place, value, at);
        if (field->format == CODEC_HUNDREDTHS)
            return read_hundredths(reader, place, value, at);
        if (field->format == CODEC_TIME)
            return read_time(reader, place, value, at);
        return read_integer(reader, place, about, value, at);
    }
}

static void set_repeated(const ProtobufCFieldDescriptor *about, char *message, void *elements,
                         size_t count)
{
    memcpy(message + about->offset, &elements, sizeof elements);
    memcpy(message + about->quantifier_offset, &count, sizeof count);
}

static bool read_list(struct reader *reader, const struct codec_field *field,
                      const ProtobufCFieldDescriptor *about, const json_t *value, char *message,
                      const struct place *place)
{
    bool block = (reader->flags & CODEC_HCL) != 0 && json_is_object(value);
    bool alone = !json_is_array(value) && (weak(reader) || block);
    if (!json_is_array(value) && !alone)
        return expected(reader, place, "a list", value);
    size_t count = alone ? 1 : json_array_size(value), size = codec_element_size(about), used = 0;
    char *elements = count > 0 ? arena_alloc(reader->arena, count * size) : NULL;
    for (size_t i = 0; i < count; i++) {
        struct place element = {place, NULL, i};
        const json_t *item = alone ? value : json_array_get(value, i);
        if (json_is_null(item))
            continue;
        if (!read_one(reader, field, about, item, elements + used * size, &element))
            return false;
        used++;
    }
    set_repeated(about, message, used > 0 ? elements : NULL, used);
    return true;
}

static int compare_entries(const void *a, const void *b)
{
    return strcmp((*(struct codec_map_entry *const *)a)->key,
                  (*(struct codec_map_entry *const *)b)->key);
}

static bool read_map_entries(struct reader *reader, const struct codec_field *field,
                             const ProtobufCFieldDescriptor *about, const json_t *object,
                             char *message, const struct place *place)
{
    const ProtobufCMessageDescriptor *type = about->descriptor;
    size_t size = json_object_size(object), count = 0;
    struct codec_map_entry **entries = arena_alloc(reader->arena, size * sizeof(void *));
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        struct place member = {place, key, 0};
        struct codec_map_entry *entry = arena_alloc(reader->arena, type->sizeof_message);
        protobuf_c_message_init(type, entry);
        entry->key = arena_strdup(reader->arena, key);
        if (!json_is_null(value) &&
            !read_one(reader, field, &type->fields[1], value, &entry->value, &member))
            return false;
        entries[count++] = entry;
    }
    if (count > 1)
        qsort(entries, count, sizeof(void *), compare_entries);
    set_repeated(about, message, entries, count);
    return true;
}

static bool read_map(struct reader *reader, const struct codec_field *field,
                     const ProtobufCFieldDescriptor *about, const json_t *value, char *message,
                     const struct place *place)
{
    if (json_is_object(value))
        return read_map_entries(reader, field, about, value, message, place);
    if ((reader->flags & CODEC_HCL) == 0 || !is_list_of_objects(value))
        return expected(reader, place, "an object", value);
    json_t *merged = merge_blocks(value);
    bool ok = read_map_entries(reader, field, about, merged, message, place);
    json_decref(merged);
    return ok;
}

static bool read_field(struct reader *reader, const struct codec_message *type,
                       const struct codec_field *field, const json_t *value, char *message,
                       const struct place *parent)
{
    struct place place = {parent, field->name, 0};
    const ProtobufCFieldDescriptor *about = &type->descriptor->fields[field->index];
    if (json_is_null(value))
        return true;
    if (field->map)
        return read_map(reader, field, about, value, message, &place);
    if (about->label == PROTOBUF_C_LABEL_REPEATED)
        return read_list(reader, field, about, value, message, &place);
    return read_one(reader, field, about, value, message + about->offset, &place);
}

/* Tries the messages whose keys stand among this one's; makes them when the first is set. */
static const struct codec_field *
find_inlined(struct reader *reader, const struct codec_message *type, char *message,
             const char *key, const struct codec_message **ret_type, char **ret_message)
{
    for (size_t i = 0; i < type->field_count; i++) {
        const struct codec_field *outer = &type->fields[i];
        const struct codec_field *field =
            outer->inlined ? codec_find_field(outer->message, key) : NULL;
        if (field == NULL)
            continue;
        const ProtobufCMessageDescriptor *inner_type = outer->message->descriptor;
        char *at = message + type->descriptor->fields[outer->index].offset, *inner;
        memcpy(&inner, at, sizeof inner);
        if (inner == NULL) {
            inner = arena_alloc(reader->arena, inner_type->sizeof_message);
            protobuf_c_message_init(inner_type, inner);
            memcpy(at, &inner, sizeof inner);
        }
        *ret_type = outer->message;
        *ret_message = inner;
        return field;
    }
    return NULL;
}

/* What we and Consul show beside the fields of an object; it may come back and means nothing. */
static bool is_shown_only(const char *key)
{
    return codec_same_key(key, "CreateIndex") || codec_same_key(key, "ModifyIndex") ||
           codec_same_key(key, "Hash");
}

static bool read_into(struct reader *reader, const struct codec_message *type, void *message,
                      const json_t *object, const struct place *place)
{
    const char *key;
    json_t *value;
    bool ok = true;
    json_object_foreach((json_t *)object, key, value)
    {
        const struct codec_message *owner = type;
        char *target = message;
        const struct codec_field *field = codec_find_field(type, key);
        if (field == NULL)
            field = find_inlined(reader, type, message, key, &owner, &target);
        if (field == NULL) {
            bool skip = (reader->flags & CODEC_IGNORE_UNKNOWN) != 0 ||
                        (place == NULL && is_shown_only(key));
            ok = (skip || unknown_key(reader, type, place, key)) && ok;
        } else {
            ok = read_field(reader, owner, field, value, target, place) && ok;
        }
        if (!ok && reader->errors == NULL)
            return false;
    }
    return ok;
}

static void *read_message(struct reader *reader, const struct codec_message *type,
                          const json_t *value, const struct place *place)
{
    char *message = arena_alloc(reader->arena, type->descriptor->sizeof_message);
    protobuf_c_message_init(type->descriptor, message);
    bool ok;
    if (type->bare) {
        ok = read_list(reader, &type->fields[0], &type->descriptor->fields[type->fields[0].index],
                       value, message, place);
        return ok || reader->errors != NULL ? message : NULL;
    }
    if ((reader->flags & CODEC_HCL) != 0 && is_list_of_objects(value)) {
        if (json_array_size(value) > 1) {
            fail(reader, place, "is there %zu times, and may be there once",
                 json_array_size(value));
            return reader->errors != NULL ? message : NULL;
        }
        if (json_array_size(value) == 1)
            value = json_array_get(value, 0);
    }
    if (json_is_object(value))
        ok = read_into(reader, type, message, value, place);
    else
        ok = expected(reader, place, "an object", value);
    return ok || reader->errors != NULL ? message : NULL;
}

void *codec_read(const struct codec_message *type, const json_t *value, unsigned flags,
                 struct arena *arena, struct error *error)
{
    struct reader reader = {flags, arena, error, NULL};
    return read_message(&reader, type, value, NULL);
}

void *codec_read_all(const struct codec_message *type, const json_t *value, unsigned flags,
                     struct arena *arena, struct text_list *errors)
{
    struct reader reader = {flags, arena, NULL, errors};
    return read_message(&reader, type, value, NULL);
}
