#include "text/codec.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/duration.h"
#include "base/text.h"
#include "text/codec_field.h"
#include "text/json.h"

/* Go's zero time, which is what Consul shows where a time was never set. */
#define TIME_UNSET "0001-01-01T00:00:00Z"

struct writer {
    struct buffer *output;
    bool any; /* a key was written in the object at hand */
};

static void write_value(struct buffer *output, const struct codec_message *type,
                        const void *message);

static void write_key(struct writer *writer, const char *name)
{
    if (writer->any)
        buffer_add_byte(writer->output, ',');
    writer->any = true;
    json_write_string(writer->output, name);
    buffer_add_byte(writer->output, ':');
}

static const char *text_or_empty(const char *text)
{
    return text != NULL ? text : "";
}

static void write_string(struct buffer *output, const struct codec_field *field, const char *text)
{
    if (field->format != CODEC_RAW_JSON)
        json_write_string(output, text_or_empty(text));
    else
        buffer_add_text(output, text_empty(text) ? "{}" : text);
}

static void write_int64(struct buffer *output, const struct codec_field *field, int64_t value)
{
    char text[DURATION_TEXT_MAX > TIMESTAMP_TEXT_MAX ? DURATION_TEXT_MAX : TIMESTAMP_TEXT_MAX];
    if (field->format == CODEC_DURATION)
        json_write_string(output, duration_format(value, text));
    else if (field->format == CODEC_TIME)
        json_write_string(output, value == 0 ? TIME_UNSET : timestamp_format(value, text));
    else
        buffer_printf(output, "%" PRId64, value);
}

static void write_int32(struct buffer *output, const struct codec_field *field, int32_t value)
{
    if (field->format != CODEC_HUNDREDTHS || value % 100 == 0)
        buffer_printf(output, "%" PRId32, field->format == CODEC_HUNDREDTHS ? value / 100 : value);
    else if (value % 10 == 0)
        buffer_printf(output, "%s%d.%d", value < 0 ? "-" : "", abs(value / 100),
                      abs(value % 100) / 10);
    else
        buffer_printf(output, "%s%d.%02d", value < 0 ? "-" : "", abs(value / 100),
                      abs(value % 100));
}

static void write_enum(struct buffer *output, const ProtobufCEnumDescriptor *type, int value)
{
    const ProtobufCEnumValue *known = protobuf_c_enum_descriptor_get_value(type, value);
    if (known != NULL)
        json_write_string(output, known->name);
    else
        buffer_printf(output, "%d", value); /* from a newer peer */
}

/* One value of the field: the field itself, or an element of its list. */
static void write_one(struct buffer *output, const struct codec_field *field,
                      const ProtobufCFieldDescriptor *about, const void *at)
{
    switch (about->type) {
    case PROTOBUF_C_TYPE_STRING:
        write_string(output, field, *(char *const *)at);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        buffer_add_text(output, *(const protobuf_c_boolean *)at ? "true" : "false");
        break;
    case PROTOBUF_C_TYPE_INT32:
        write_int32(output, field, *(const int32_t *)at);
        break;
    case PROTOBUF_C_TYPE_UINT32:
        buffer_printf(output, "%" PRIu32, *(const uint32_t *)at);
        break;
    case PROTOBUF_C_TYPE_INT64:
        write_int64(output, field, *(const int64_t *)at);
        break;
    case PROTOBUF_C_TYPE_UINT64:
        buffer_printf(output, "%" PRIu64, *(const uint64_t *)at);
        break;
    case PROTOBUF_C_TYPE_ENUM:
        write_enum(output, about->descriptor, *(const int *)at);
        break;
    default: /* a message: codec_tables.py lets no other type through */
        write_value(output, field->message, *(void *const *)at);
    }
}

static void write_list(struct buffer *output, const struct codec_field *field,
                       const ProtobufCFieldDescriptor *about, const char *elements, size_t count)
{
    size_t size = codec_element_size(about);
    buffer_add_byte(output, '[');
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buffer_add_byte(output, ',');
        write_one(output, field, about, elements + i * size);
    }
    buffer_add_byte(output, ']');
}

static void write_map(struct buffer *output, const struct codec_field *field,
                      const ProtobufCFieldDescriptor *about, struct codec_map_entry *const *entries,
                      size_t count)
{
    const ProtobufCMessageDescriptor *entry_type = about->descriptor;
    struct writer writer = {output, false};
    buffer_add_byte(output, '{');
    for (size_t i = 0; i < count; i++) {
        write_key(&writer, text_or_empty(entries[i]->key));
        write_one(output, field, &entry_type->fields[1], &entries[i]->value);
    }
    buffer_add_byte(output, '}');
}

static bool field_is_empty(const ProtobufCFieldDescriptor *about, const char *at)
{
    switch (about->type) {
    case PROTOBUF_C_TYPE_STRING:
        return text_empty(*(char *const *)(const void *)at);
    case PROTOBUF_C_TYPE_MESSAGE:
        return *(void *const *)(const void *)at == NULL;
    default:
        for (size_t i = 0; i < codec_element_size(about); i++) {
            if (at[i] != 0)
                return false;
        }
        return true;
    }
}

static void write_fields(struct writer *writer, const struct codec_message *type,
                         const void *message);

static void write_repeated(struct writer *writer, const struct codec_field *field,
                           const ProtobufCFieldDescriptor *about, const char *message)
{
    size_t count = *(const size_t *)(const void *)(message + about->quantifier_offset);
    const void *elements = *(void *const *)(const void *)(message + about->offset);
    if (count == 0 && field->empty == CODEC_OMIT)
        return;
    write_key(writer, field->name);
    if (count == 0 && field->empty == CODEC_NIL)
        buffer_add_text(writer->output, "null");
    else if (field->map)
        write_map(writer->output, field, about, elements, count);
    else
        write_list(writer->output, field, about, elements, count);
}

static void write_field(struct writer *writer, const struct codec_field *field,
                        const ProtobufCFieldDescriptor *about, const char *message)
{
    if (field->format == CODEC_SECRET || field->format == CODEC_UNSEEN)
        return;
    if (about->label == PROTOBUF_C_LABEL_REPEATED) {
        write_repeated(writer, field, about, message);
        return;
    }
    const char *at = message + about->offset;
    bool empty = field_is_empty(about, at);
    if (field->inlined) {
        if (!empty)
            write_fields(writer, field->message, *(void *const *)(const void *)at);
        return;
    }
    if (empty && field->empty == CODEC_OMIT)
        return;
    write_key(writer, field->name);
    if (empty && field->empty == CODEC_NIL)
        buffer_add_text(writer->output, "null");
    else if (empty && about->type == PROTOBUF_C_TYPE_MESSAGE)
        write_value(writer->output, field->message, NULL);
    else
        write_one(writer->output, field, about, at);
}

static void write_fields(struct writer *writer, const struct codec_message *type,
                         const void *message)
{
    for (size_t i = 0; i < type->field_count; i++) {
        const struct codec_field *field = &type->fields[i];
        write_field(writer, field, &type->descriptor->fields[field->index], message);
    }
}

static void write_bare(struct buffer *output, const struct codec_message *type, const char *message)
{
    const ProtobufCFieldDescriptor *about = &type->descriptor->fields[type->fields[0].index];
    size_t count = *(const size_t *)(const void *)(message + about->quantifier_offset);
    write_list(output, &type->fields[0], about,
               *(const char *const *)(const void *)(message + about->offset), count);
}

/* An absent message looks like one whose fields are all empty, as Go's embedded structs do. */
static void write_value(struct buffer *output, const struct codec_message *type,
                        const void *message)
{
    void *blank = NULL;
    if (message == NULL) {
        message = blank = mem_alloc(type->descriptor->sizeof_message);
        protobuf_c_message_init(type->descriptor, blank);
    }
    if (type->bare) {
        write_bare(output, type, message);
    } else {
        struct writer writer = {output, false};
        buffer_add_byte(output, '{');
        write_fields(&writer, type, message);
        buffer_add_byte(output, '}');
    }
    free(blank);
}

void codec_write(struct buffer *output, const struct codec_message *type, const void *message)
{
    if (message == NULL)
        buffer_add_text(output, "null");
    else
        write_value(output, type, message);
}

void codec_write_fields(struct buffer *output, const struct codec_message *type,
                        const void *message)
{
    struct writer writer = {output, false};
    write_fields(&writer, type, message);
}
