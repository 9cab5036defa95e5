/* The one codec between stored messages and the text that users see.
 *
 * The tables come from src/proto's .proto files and the options in pons/options.proto
 * (tools/codec_tables.py, at build time; generated header "proto/codec_tables.h" declares
 * `extern const struct codec_message pb__node__codec;` for every message pb__node, in
 * namespace-less C names). Writing goes straight from the message into a buffer; reading goes from
 * a jansson value into a message in an arena. */
#pragma once

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"

enum codec_empty { CODEC_OMIT, CODEC_SHOW, CODEC_NIL };
enum codec_format {
    CODEC_PLAIN,
    CODEC_DURATION,
    CODEC_NANOSECONDS,
    CODEC_RAW_JSON,
    CODEC_TIME,
    CODEC_SECRET,
    CODEC_UNSEEN,
    CODEC_HUNDREDTHS,
};

struct codec_message;

struct codec_field {
    const char *name;           /* as written: "ServiceID" */
    const char *snake;          /* also taken: "service_id" */
    const char *const *aliases; /* NULL-terminated, or NULL */
    unsigned index;             /* into descriptor->fields */
    enum codec_empty empty;
    enum codec_format format;
    bool inlined;
    bool map; /* entries are written as an object */
    const struct codec_message
        *message; /* of a message field; of the value, in a map of messages */
};

struct codec_message {
    const ProtobufCMessageDescriptor *descriptor;
    size_t field_count;
    const struct codec_field *fields; /* in the order they are written */
    bool bare; /* its only field, a list, stands for it: HeaderValues is a list of strings */
};

/* Appends the message as a JSON object. A NULL message is written as null. */
void codec_write(struct buffer *output, const struct codec_message *type, const void *message);
/* The same without the braces, so that the caller can add keys of its own (indexes, hashes). */
void codec_write_fields(struct buffer *output, const struct codec_message *type,
                        const void *message);

enum codec_read_flags {
    CODEC_HCL = 1, /* blocks are lists: take a list of one for a message, merge for a map */
    CODEC_IGNORE_UNKNOWN = 2, /* skip unknown keys; else they are refused by name */
    CODEC_WEAK =
        4, /* "8080" for a number, "true" for a boolean, 1 for a string, one value for a list */
};

/* Reads a JSON value into a new message in `arena`. Keys match without regard to case. On failure
 * NULL, and the message names the key by its path: `Connect.SidecarService: unknown key "Prot"`,
 * `Port: expected a number, got a string`. Integers out of range are refused. null is "unset". */
void *codec_read(const struct codec_message *type, const json_t *value, unsigned flags,
                 struct arena *arena, struct error *error);
/* The same, but reading goes on behind what is wrong, which is left out: `errors` gets a line for
 * each. Never NULL. */
void *codec_read_all(const struct codec_message *type, const json_t *value, unsigned flags,
                     struct arena *arena, struct text_list *errors);
