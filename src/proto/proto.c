#include "proto/proto.h"

#include <string.h>

static void *arena_proto_alloc(void *arena, size_t size)
{
    return arena_alloc(arena, size);
}

static void arena_proto_free(void *arena, void *memory)
{
    (void)arena;
    (void)memory; /* freed with the arena */
}

void *proto_unpack_trusted(const ProtobufCMessageDescriptor *type, const uint8_t *data,
                           size_t length, struct arena *arena)
{
    ProtobufCAllocator allocator = {arena_proto_alloc, arena_proto_free, arena};
    return protobuf_c_message_unpack(type, &allocator, length, data);
}

void *proto_unpack(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t length,
                   const struct proto_limits *limits, struct arena *arena, struct error *error)
{
    if (!proto_validate(type, data, length, limits, error))
        return NULL;
    void *message = proto_unpack_trusted(type, data, length, arena);
    if (message == NULL)
        error_set(error, ERR_INVALID, "malformed %s message", type->short_name);
    return message;
}

void proto_pack(const void *message, struct buffer *output)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    protobuf_c_message_pack(message, buffer_grow(output, size));
    buffer_grow_done(output, size);
}

void *proto_copy(const void *message, struct arena *arena)
{
    struct buffer bytes = {0};
    proto_pack(message, &bytes);
    void *copy = proto_unpack_trusted(((const ProtobufCMessage *)message)->descriptor,
                                      (const uint8_t *)buffer_text(&bytes), bytes.length, arena);
    buffer_free(&bytes);
    return copy;
}

bool proto_equal(const void *a, const void *b)
{
    struct buffer left = {0}, right = {0};
    proto_pack(a, &left);
    proto_pack(b, &right);
    bool equal = left.length == right.length &&
                 memcmp(buffer_text(&left), buffer_text(&right), left.length) == 0;
    buffer_free(&left);
    buffer_free(&right);
    return equal;
}

void *proto_new_message(struct arena *arena, const ProtobufCMessageDescriptor *type)
{
    ProtobufCMessage *message = arena_alloc(arena, type->sizeof_message);
    protobuf_c_message_init(type, message);
    return message;
}

void *proto_array(struct arena *arena, size_t count)
{
    return arena_alloc(arena, count * sizeof(void *));
}

const char *proto_map_get(size_t count, const void *entries, const char *key)
{
    struct proto_string_entry *const *list = entries;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(list[i]->key, key) == 0)
            return list[i]->value;
    }
    return NULL;
}
