/* The wire validator of proto.h: walks bytes along a descriptor before protobuf-c sees them. */
#include <string.h>

#include "proto/proto.h"

struct walk {
    const uint8_t *at, *end;
    size_t elements_left;
    struct error *error;
};

static bool fail(struct walk *walk, const ProtobufCMessageDescriptor *type, const char *field,
                 const char *what)
{
    return error_set(walk->error, ERR_INVALID, "malformed %s message: field %s %s",
                     type->short_name, field, what);
}

static bool read_varint(struct walk *walk, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (int shift = 0; shift < 70; shift += 7) {
        if (walk->at == walk->end)
            return false;
        uint8_t byte = *walk->at++;
        if (shift == 63 && byte > 1)
            return false;
        value |= (uint64_t)(byte & 0x7F) << shift;
        if ((byte & 0x80) == 0) {
            *ret_value = value;
            return true;
        }
    }
    return false;
}

/* Well-formed UTF-8 (no overlong forms, no surrogates) without NUL. */
static bool is_clean_text(const uint8_t *at, size_t length)
{
    const uint8_t *end = at + length;
    while (at < end) {
        uint8_t lead = *at++;
        if (lead == 0)
            return false;
        if (lead < 0x80)
            continue;
        size_t more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
        if (lead < 0xC2 || lead > 0xF4 || (size_t)(end - at) < more)
            return false;
        uint8_t low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
        uint8_t high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
        if (*at < low || *at > high)
            return false;
        for (size_t i = 1; i < more; i++) {
            if ((at[i] & 0xC0) != 0x80)
                return false;
        }
        at += more;
    }
    return true;
}

static bool wire_type_fits(const ProtobufCFieldDescriptor *field, unsigned wire_type)
{
    bool packable = false;
    unsigned want;
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        want = 2;
        break;
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        want = 1;
        packable = true;
        break;
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        want = 5;
        packable = true;
        break;
    default:
        want = 0;
        packable = true;
    }
    if (wire_type == want)
        return true;
    return wire_type == 2 && packable && field->label == PROTOBUF_C_LABEL_REPEATED;
}

static bool walk_message(struct walk *walk, const ProtobufCMessageDescriptor *type, int depth);

/* The length-delimited field that starts at walk->at, `length` bytes long and known to fit. */
static bool walk_delimited(struct walk *walk, const ProtobufCMessageDescriptor *type,
                           const ProtobufCFieldDescriptor *field, size_t length, int depth)
{
    if (field->type == PROTOBUF_C_TYPE_STRING && !is_clean_text(walk->at, length))
        return fail(walk, type, field->name, "is not UTF-8 text without NUL");
    if (field->type != PROTOBUF_C_TYPE_MESSAGE) {
        if (field->label == PROTOBUF_C_LABEL_REPEATED && field->type != PROTOBUF_C_TYPE_STRING &&
            field->type != PROTOBUF_C_TYPE_BYTES) { /* packed: at least one byte an element */
            if (length > walk->elements_left)
                return fail(walk, type, field->name, "has too many elements");
            walk->elements_left -= length;
        }
        walk->at += length;
        return true;
    }
    if (depth + 1 > PROTO_DEPTH_MAX)
        return fail(walk, type, field->name, "is nested too deeply");
    const uint8_t *end = walk->end;
    walk->end = walk->at + length;
    bool ok = walk_message(walk, field->descriptor, depth + 1);
    walk->end = end;
    return ok;
}

static bool walk_message(struct walk *walk, const ProtobufCMessageDescriptor *type, int depth)
{
    while (walk->at < walk->end) {
        uint64_t tag, value;
        if (!read_varint(walk, &tag) || tag >> 3 == 0 || tag >> 32 != 0)
            return fail(walk, type, "number", "is malformed");
        if (walk->elements_left == 0)
            return fail(walk, type, "count", "is over the limit");
        walk->elements_left--;
        const ProtobufCFieldDescriptor *field =
            protobuf_c_message_descriptor_get_field(type, (unsigned)(tag >> 3));
        const char *name = field != NULL ? field->name : "of unknown number";
        unsigned wire_type = (unsigned)(tag & 7);
        if (field != NULL && !wire_type_fits(field, wire_type))
            return fail(walk, type, name, "has the wrong wire type");
        size_t left = (size_t)(walk->end - walk->at);
        switch (wire_type) {
        case 0:
            if (!read_varint(walk, &value))
                return fail(walk, type, name, "is cut off");
            break;
        case 1:
        case 5:
            if (left < (wire_type == 1 ? 8 : 4))
                return fail(walk, type, name, "is cut off");
            walk->at += wire_type == 1 ? 8 : 4;
            break;
        case 2:
            if (!read_varint(walk, &value) || value > (uint64_t)(walk->end - walk->at))
                return fail(walk, type, name, "is cut off");
            if (field == NULL)
                walk->at += value;
            else if (!walk_delimited(walk, type, field, (size_t)value, depth))
                return false;
            break;
        default: /* groups: nothing here uses them */
            return fail(walk, type, name, "has an unsupported wire type");
        }
    }
    return true;
}

bool proto_validate(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t length,
                    const struct proto_limits *limits, struct error *error)
{
    if (length > limits->bytes)
        return error_set(error, ERR_TOO_LARGE,
                         "%s message of %zu bytes is larger than the limit of %zu bytes",
                         type->short_name, length, limits->bytes);
    if (length == 0)
        return true; /* `data` may be NULL then */
    struct walk walk = {data, data + length, limits->elements, error};
    return walk_message(&walk, type, 1);
}
