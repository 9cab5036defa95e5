#include "store/record.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "proto/proto.h"

/* A block is filled from two ends: structs and arrays, which need alignment, then bytes. With no
 * memory behind it (structs NULL) the same walk only measures. */
struct block {
    char *structs, *bytes;
    size_t struct_size, byte_size;
};

static void *block_struct(struct block *block, size_t size)
{
    size_t at = block->struct_size;
    block->struct_size += (size + 7) & ~(size_t)7;
    return block->structs == NULL ? NULL : block->structs + at;
}

static void *block_bytes(struct block *block, const void *bytes, size_t size)
{
    size_t at = block->byte_size;
    block->byte_size += size;
    if (block->bytes == NULL)
        return NULL;
    if (size > 0)
        memcpy(block->bytes + at, bytes, size);
    return block->bytes + at;
}

static size_t value_size(const ProtobufCFieldDescriptor *field)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_ENUM:
        return 4;
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    default:
        return 8;
    }
}

static void *copy_message(struct block *block, const ProtobufCMessage *source);

/* `to` is NULL while measuring, and holds the field's default otherwise. */
static void copy_value(struct block *block, const ProtobufCFieldDescriptor *field, const char *from,
                       char *to)
{
    const void *pointer = NULL;
    void *copy;
    if (field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_MESSAGE)
        memcpy(&pointer, from, sizeof pointer);
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
        if (pointer == NULL || pointer == field->default_value)
            return;
        /* An empty string of proto3 is its default, which is shared. */
        if (*(const char *)pointer == '\0' && field->label == PROTOBUF_C_LABEL_NONE)
            return;
        copy = block_bytes(block, pointer, strlen(pointer) + 1);
        if (to != NULL)
            memcpy(to, &copy, sizeof copy);
        return;
    case PROTOBUF_C_TYPE_MESSAGE:
        copy = pointer == NULL ? NULL : copy_message(block, pointer);
        if (to != NULL)
            memcpy(to, &copy, sizeof copy);
        return;
    case PROTOBUF_C_TYPE_BYTES: {
        ProtobufCBinaryData data;
        memcpy(&data, from, sizeof data);
        data.data = block_bytes(block, data.data, data.len);
        if (to != NULL)
            memcpy(to, &data, sizeof data);
        return;
    }
    default:
        if (to != NULL)
            memcpy(to, from, value_size(field));
    }
}

/* protobuf-c has no mark for maps; this is the shape that protoc gives their entries. */
static bool is_map(const ProtobufCFieldDescriptor *field)
{
    if (field->type != PROTOBUF_C_TYPE_MESSAGE)
        return false;
    const ProtobufCMessageDescriptor *entry = field->descriptor;
    size_t length = strlen(entry->short_name);
    return entry->n_fields == 2 && strcmp(entry->fields[0].name, "key") == 0 &&
           strcmp(entry->fields[1].name, "value") == 0 &&
           entry->fields[0].type == PROTOBUF_C_TYPE_STRING && length > 5 &&
           strcmp(entry->short_name + length - 5, "Entry") == 0;
}

static int compare_entries(const void *a, const void *b)
{
    const struct proto_string_entry *const *left = a, *const *right = b;
    return strcmp((*left)->key, (*right)->key);
}

static void copy_repeated(struct block *block, const ProtobufCFieldDescriptor *field,
                          const char *from, char *to, size_t count)
{
    const char *items = *(char *const *)(const void *)from;
    size_t size = value_size(field);
    char *copy = block_struct(block, count * size);
    for (size_t i = 0; i < count; i++) {
        /* An element has no default: an empty string must be a string of its own. */
        if (field->type == PROTOBUF_C_TYPE_STRING) {
            const char *text = ((char *const *)(const void *)items)[i];
            char *own = block_bytes(block, text, strlen(text) + 1);
            if (copy != NULL)
                ((char **)(void *)copy)[i] = own;
        } else {
            copy_value(block, field, items + i * size, copy == NULL ? NULL : copy + i * size);
        }
    }
    if (to == NULL)
        return;
    memcpy(to, &copy, sizeof copy);
    if (is_map(field))
        qsort(copy, count, sizeof(void *), compare_entries);
}

static void copy_field(struct block *block, const ProtobufCFieldDescriptor *field,
                       const char *source, char *target)
{
    const char *from = source + field->offset;
    char *to = target == NULL ? NULL : target + field->offset;
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        size_t count;
        memcpy(&count, source + field->quantifier_offset, sizeof count);
        if (count > 0)
            copy_repeated(block, field, from, to, count);
        if (count > 0 && target != NULL)
            memcpy(target + field->quantifier_offset, &count, sizeof count);
        return;
    }
    if (field->quantifier_offset != 0) { /* a has_ flag, or the case of a oneof */
        uint32_t quantifier;
        memcpy(&quantifier, source + field->quantifier_offset, sizeof quantifier);
        if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) && quantifier != field->id)
            return;
        if (target != NULL)
            memcpy(target + field->quantifier_offset, &quantifier, sizeof quantifier);
    }
    copy_value(block, field, from, to);
}

static void *copy_message(struct block *block, const ProtobufCMessage *source)
{
    const ProtobufCMessageDescriptor *type = source->descriptor;
    char *target = block_struct(block, type->sizeof_message);
    if (target != NULL)
        protobuf_c_message_init(type, target);
    for (unsigned i = 0; i < type->n_fields; i++)
        copy_field(block, &type->fields[i], (const char *)source, target);
    return target;
}

struct stored *stored_new(const struct table_class *class, const void *message)
{
    struct buffer key = {0};
    class->key(message, &key);
    struct block block = {0};
    block_struct(&block, sizeof(struct stored));
    copy_message(&block, message);
    size_t structs = block.struct_size;
    char *memory = mem_alloc(structs + block.byte_size + key.length);

    block = (struct block){.structs = memory, .bytes = memory + structs};
    struct stored *stored = block_struct(&block, sizeof *stored);
    memset(stored, 0, sizeof *stored);
    stored->references = 1;
    list_init(&stored->watchers);
    stored->record.class = class;
    stored->record.message = copy_message(&block, message);
    stored->record.key = block_bytes(&block, key.data, key.length);
    stored->record.key_length = key.length;
    buffer_free(&key);
    return stored;
}

bool stored_equal(const struct stored *a, const struct stored *b)
{
    return proto_equal(a->record.message, b->record.message);
}

struct record *record_ref(const struct record *record)
{
    struct stored *stored = stored_of(record);
    stored->references++;
    return &stored->record;
}

void record_unref(const struct record *record)
{
    if (record == NULL)
        return;
    struct stored *stored = stored_of(record);
    if (--stored->references > 0)
        return;
    free(stored->json);
    free(stored);
}

const char *record_json(const struct record *record, size_t *ret_length)
{
    struct stored *stored = stored_of(record);
    if (stored->json == NULL) {
        struct buffer json = {0};
        codec_write_fields(&json, record->class->message, record->message);
        buffer_printf(&json, "%s\"CreateIndex\":%llu,\"ModifyIndex\":%llu",
                      json.length > 0 ? "," : "", (unsigned long long)record->create_index,
                      (unsigned long long)record->modify_index);
        stored->json_length = json.length;
        stored->json = mem_dup(buffer_text(&json), json.length + 1); /* exact size: it stays */
        buffer_free(&json);
    }
    *ret_length = stored->json_length;
    return stored->json;
}
