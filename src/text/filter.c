#include "text/filter.h"

#include <string.h>

#include "base/text.h"
#include "text/codec_field.h"
#include "text/filter_tree.h"
#include "text/pattern.h"

/* ---- selectors ---- */

static bool is_integer(const ProtobufCFieldDescriptor *field)
{
    return field->type == PROTOBUF_C_TYPE_INT32 || field->type == PROTOBUF_C_TYPE_INT64 ||
           field->type == PROTOBUF_C_TYPE_UINT32 || field->type == PROTOBUF_C_TYPE_UINT64;
}

/* A field by its exact name, also of an inlined message, whose step then comes first. */
static const struct codec_field *find_field(const struct codec_message *type, const char *name,
                                            struct filter_step *steps, size_t *count)
{
    for (size_t i = 0; i < type->field_count; i++) {
        const struct codec_field *field = &type->fields[i];
        const ProtobufCFieldDescriptor *about = &type->descriptor->fields[field->index];
        if (field->inlined) {
            size_t before = *count;
            steps[(*count)++].field = about;
            const struct codec_field *inner = find_field(field->message, name, steps, count);
            if (inner != NULL)
                return inner;
            *count = before;
            continue;
        }
        bool hidden = field->format == CODEC_SECRET || field->format == CODEC_UNSEEN ||
                      field->format == CODEC_RAW_JSON;
        if (!hidden && strcmp(field->name, name) == 0) {
            steps[(*count)++].field = about;
            return field;
        }
    }
    return NULL;
}

static bool type_of(const ProtobufCFieldDescriptor *about, enum filter_type *ret_type)
{
    if (about->type == PROTOBUF_C_TYPE_STRING || about->type == PROTOBUF_C_TYPE_ENUM)
        *ret_type = FILTER_TEXT;
    else if (about->type == PROTOBUF_C_TYPE_BOOL)
        *ret_type = FILTER_BOOLEAN;
    else if (is_integer(about))
        *ret_type = FILTER_NUMBER;
    else
        return false;
    return true;
}

/* Walks the words from a message on. False: there is no such thing to select. */
static bool walk(const struct codec_message *type, const char *const *words, size_t count,
                 struct filter_step *steps, size_t *step_count, enum filter_type *ret_type)
{
    for (size_t i = 0; i < count;) {
        if (*step_count + 3 > FILTER_STEPS_MAX || type == NULL || type->bare)
            return false;
        const struct codec_field *field = find_field(type, words[i++], steps, step_count);
        if (field == NULL)
            return false;
        const ProtobufCFieldDescriptor *about = steps[*step_count - 1].field;
        bool repeated = about->label == PROTOBUF_C_LABEL_REPEATED;
        if (repeated && i == count) {
            *ret_type = field->map                              ? FILTER_MAP
                        : about->type == PROTOBUF_C_TYPE_STRING ? FILTER_LIST
                                                                : FILTER_OBJECTS;
            return true;
        }
        if (repeated && !field->map)
            return false;
        if (repeated) { /* into the map, by key */
            const ProtobufCMessageDescriptor *entry = about->descriptor;
            about = &entry->fields[1];
            steps[(*step_count)++] = (struct filter_step){about, words[i++]};
        }
        if (i == count)
            return type_of(about, ret_type);
        type = field->message;
    }
    return false;
}

bool filter_resolve(struct filter *test, const struct filter_root *root, const char *const *words,
                    size_t count, struct arena *arena, struct error *error)
{
    struct filter_step steps[FILTER_STEPS_MAX] = {0};
    for (size_t i = 0; i < FILTER_PARTS_MAX && root->parts[i].type != NULL; i++) {
        const struct filter_part *part = &root->parts[i];
        size_t skip = part->name != NULL;
        if (skip && strcmp(part->name, words[0]) != 0)
            continue;
        test->part = i;
        if (part->list && count == 1) {
            test->type = FILTER_OBJECTS;
            return true;
        }
        size_t step_count = 0;
        if (part->list ||
            !walk(part->type, words + skip, count - skip, steps, &step_count, &test->type))
            continue;
        test->steps = arena_dup(arena, steps, step_count * sizeof steps[0]);
        test->step_count = step_count;
        return true;
    }
    struct buffer name = {0};
    for (size_t i = 0; i < count; i++)
        buffer_printf(&name, "%s%s", i > 0 ? "." : "", words[i]);
    error_set(error, ERR_INVALID, "Selector \"%s\" is not valid", buffer_text(&name));
    buffer_free(&name);
    return false;
}

/* ---- values ---- */

static bool read_boolean(struct filter *test, struct error *error)
{
    static const char *const yes[] = {"1", "t", "T", "TRUE", "true", "True"};
    static const char *const no[] = {"0", "f", "F", "FALSE", "false", "False"};
    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++) {
        test->boolean = strcmp(test->text, yes[i]) == 0;
        if (test->boolean || strcmp(test->text, no[i]) == 0)
            return true;
    }
    return error_set(error, ERR_INVALID,
                     "Failed to coerce value \"%s\" of type \"string\" to a bool", test->text);
}

static bool read_number(struct filter *test, struct error *error)
{
    bool negative = test->text[0] == '-';
    uint64_t value;
    if (!text_to_u64(test->text + negative, INT64_MAX, &value))
        return error_set(error, ERR_INVALID,
                         "Failed to coerce value \"%s\" of type \"string\" to an int", test->text);
    test->number = negative ? -(int64_t)value : (int64_t)value;
    return true;
}

static bool operator_applies(const struct filter *test)
{
    switch (test->operator) {
    case FILTER_EQUAL:
        return test->type == FILTER_TEXT || test->type == FILTER_NUMBER ||
               test->type == FILTER_BOOLEAN;
    case FILTER_IN:
        return test->type == FILTER_TEXT || test->type == FILTER_LIST || test->type == FILTER_MAP;
    case FILTER_EMPTY:
        return test->type != FILTER_NUMBER && test->type != FILTER_BOOLEAN;
    case FILTER_MATCHES:
        return test->type == FILTER_TEXT;
    }
    return false;
}

bool filter_finish_test(struct filter *test, const char *selector, struct arena *arena,
                        struct error *error)
{
    static const char *const names[][2] = {
        [FILTER_EQUAL] = {"Equal", "Not Equal"},
        [FILTER_IN] = {"In", "Not In"},
        [FILTER_EMPTY] = {"Is Empty", "Is Not Empty"},
        [FILTER_MATCHES] = {"Matches", "Not Matches"},
    };
    if (!operator_applies(test))
        return error_set(error, ERR_INVALID, "Invalid match operator \"%s\" for selector \"%s\"",
                         names[test->operator][test->negated], selector);
    if (test->operator== FILTER_MATCHES)
        return (test->pattern = pattern_compile(test->text, arena, error)) != NULL;
    if (test->operator!= FILTER_EQUAL || test->type == FILTER_TEXT)
        return true;
    return test->type == FILTER_NUMBER ? read_number(test, error) : read_boolean(test, error);
}

/* ---- evaluation ---- */

struct found {
    bool absent; /* a map has no such key */
    const ProtobufCFieldDescriptor *field;
    const char *at; /* the value; NULL: the field's zero value */
    size_t count;   /* of a repeated field */
};

static const void *pointer_at(const char *at)
{
    return at == NULL ? NULL : *(const void *const *)(const void *)at;
}

static void step_field(struct found *found, const char *message,
                       const ProtobufCFieldDescriptor *field)
{
    found->field = field;
    found->at = message == NULL ? NULL : message + field->offset;
    found->count = message == NULL || field->label != PROTOBUF_C_LABEL_REPEATED
                       ? 0
                       : *(const size_t *)(const void *)(message + field->quantifier_offset);
}

static void step_key(struct found *found, const struct filter_step *step)
{
    struct codec_map_entry *const *entries = pointer_at(found->at);
    for (size_t i = 0; i < found->count; i++) {
        if (!text_equal(entries[i]->key, step->key))
            continue;
        *found = (struct found){.field = step->field, .at = (const char *)&entries[i]->value};
        return;
    }
    found->absent = true;
}

static struct found find(const struct filter *test, const void *part)
{
    struct found found = {0};
    const char *message = part;
    for (size_t i = 0; i < test->step_count && !found.absent; i++) {
        const struct filter_step *step = &test->steps[i];
        if (step->key != NULL)
            step_key(&found, step);
        else
            step_field(&found, message, step->field);
        if (!found.absent && found.field->type == PROTOBUF_C_TYPE_MESSAGE &&
            (found.field->label != PROTOBUF_C_LABEL_REPEATED || step->key != NULL))
            message = pointer_at(found.at);
    }
    return found;
}

static const char *text_at(const struct found *found)
{
    if (found->at == NULL)
        return "";
    if (found->field->type == PROTOBUF_C_TYPE_ENUM) {
        const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(
            found->field->descriptor, *(const int *)(const void *)found->at);
        return value == NULL ? "" : value->name;
    }
    const char *text = pointer_at(found->at);
    return text == NULL ? "" : text;
}

static int64_t number_at(const struct found *found)
{
    const void *at = found->at;
    if (at == NULL)
        return 0;
    switch (found->field->type) {
    case PROTOBUF_C_TYPE_INT32:
        return *(const int32_t *)at;
    case PROTOBUF_C_TYPE_UINT32:
        return *(const uint32_t *)at;
    default:
        return *(const int64_t *)at;
    }
}

static bool test_equal(const struct filter *test, const struct found *found)
{
    if (test->type == FILTER_NUMBER)
        return number_at(found) == test->number;
    if (test->type == FILTER_BOOLEAN)
        return (found->at != NULL && *(const protobuf_c_boolean *)(const void *)found->at != 0) ==
               test->boolean;
    return strcmp(text_at(found), test->text) == 0;
}

static bool test_in(const struct filter *test, const struct found *found)
{
    if (test->type == FILTER_TEXT)
        return strstr(text_at(found), test->text) != NULL;
    const void *items = pointer_at(found->at);
    for (size_t i = 0; i < found->count; i++) {
        const char *item = test->type == FILTER_LIST
                               ? ((char *const *)items)[i]
                               : ((struct codec_map_entry *const *)items)[i]->key;
        if (text_equal(item, test->text))
            return true;
    }
    return false;
}

static bool test_holds(const struct filter *test, const void *part)
{
    if (test->type == FILTER_OBJECTS && test->step_count == 0)
        return part == NULL;
    struct found found = find(test, part);
    if (found.absent)
        return test->operator== FILTER_EMPTY;
    switch (test->operator) {
    case FILTER_EQUAL:
        return test_equal(test, &found);
    case FILTER_IN:
        return test_in(test, &found);
    case FILTER_MATCHES:
        return pattern_match(test->pattern, text_at(&found));
    case FILTER_EMPTY:
        break;
    }
    return test->type == FILTER_TEXT ? *text_at(&found) == '\0' : found.count == 0;
}

bool filter_match(const struct filter *filter, const void *const *parts)
{
    if (filter == NULL)
        return true;
    switch (filter->kind) {
    case FILTER_AND:
        return filter_match(filter->left, parts) && filter_match(filter->right, parts);
    case FILTER_OR:
        return filter_match(filter->left, parts) || filter_match(filter->right, parts);
    case FILTER_NOT:
        return !filter_match(filter->left, parts);
    case FILTER_TEST:
        break;
    }
    return test_holds(filter, parts[filter->part]) != filter->negated;
}
