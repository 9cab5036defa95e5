/* What the codec's reader and writer share: the layout of fields, and the match of keys. */
#pragma once

#include "text/codec.h"

/* Any map's entry: key and value are at the same places whatever the value's type is. */
struct codec_map_entry {
    ProtobufCMessage base;
    char *key;
    void *value;
};

static inline size_t codec_element_size(const ProtobufCFieldDescriptor *about)
{
    switch (about->type) {
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_UINT32:
        return 4;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_UINT64:
        return 8;
    case PROTOBUF_C_TYPE_ENUM:
        return sizeof(int);
    default:
        return sizeof(void *);
    }
}

/* Equal but for case and underscores, so that one comparison covers every spelling of a name. */
bool codec_same_key(const char *a, const char *b);
/* The field that `key` names, or NULL; inlined messages are not searched. */
const struct codec_field *codec_find_field(const struct codec_message *type, const char *key);
/* The name, inlined ones included, that `key` was likely meant to be, or NULL. */
const char *codec_suggest_key(const struct codec_message *type, const char *key);
