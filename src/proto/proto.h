/* Protobuf: what every user of the generated messages needs.
 *
 * Messages from outside go through proto_unpack, which first walks the raw bytes along the
 * descriptor: nesting, number of elements, sizes, UTF-8 without NUL (protobuf-c checks none of
 * these). The message then lives in an arena and is freed with it. */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/memory.h"

struct proto_limits {
    size_t bytes;    /* whole message */
    size_t elements; /* fields and list elements, all levels together */
};

#define PROTO_DEPTH_MAX 32

/* Checks `data` against the descriptor. The message says which field is wrong, by its path. */
bool proto_validate(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t length,
                    const struct proto_limits *limits, struct error *error);

/* Validates and decodes into `arena`. NULL with `error` filled if it is malformed. */
void *proto_unpack(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t length,
                   const struct proto_limits *limits, struct arena *arena, struct error *error);

/* Decodes bytes that this process wrote (the engine's rows): no validation but protobuf-c's own. */
void *proto_unpack_trusted(const ProtobufCMessageDescriptor *type, const uint8_t *data,
                           size_t length, struct arena *arena);

void proto_pack(const void *message, struct buffer *output); /* appends */
/* A deep copy in `arena`. */
void *proto_copy(const void *message, struct arena *arena);
/* True if both encode to the same bytes. */
bool proto_equal(const void *a, const void *b);

/* A zeroed, initialised message in `arena`: `Pb__Node *node = proto_new(arena, pb__node);` */
#define proto_new(arena, name) proto_new_message((arena), &name##__descriptor)
void *proto_new_message(struct arena *arena, const ProtobufCMessageDescriptor *type);

/* A pointer array of `count` messages or strings in `arena`, to hang on a repeated field. */
void *proto_array(struct arena *arena, size_t count);

/* Value of `key` in a map<string,string> field, or NULL. All map entries share this layout. */
struct proto_string_entry {
    ProtobufCMessage base;
    char *key;
    char *value;
};
const char *proto_map_get(size_t count, const void *entries, const char *key);
