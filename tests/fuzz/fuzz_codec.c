/* Bodies and files on their way into a message: the first byte picks the flags, the rest is HCL or
 * JSON. What is read must be written as JSON that is read again to the same message. */
#include <stdlib.h>

#include "proto/codec_tables.h"
#include "proto/proto.h"
#include "text/codec.h"
#include "text/hcl.h"
#include "text/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_type(const struct codec_message *type, const json_t *value, unsigned flags)
{
    struct error error = {0};
    struct arena *arena = arena_new();
    void *message = codec_read(type, value, flags, arena, &error);
    if (message != NULL) {
        struct buffer output = {0}, again = {0};
        codec_write(&output, type, message);
        json_t *written = json_parse(buffer_text(&output), output.length, NULL, NULL);
        /* A document may become deeper than the limit only by what its opaque parts hold. */
        void *copy = written == NULL ? NULL : codec_read(type, written, 0, arena, &error);
        if (written != NULL && copy == NULL)
            abort();
        if (copy != NULL) {
            codec_write(&again, type, copy);
            if (!text_equal(buffer_text(&output), buffer_text(&again)))
                abort();
        }
        json_decref(written);
        buffer_free(&output);
        buffer_free(&again);
    }
    arena_free(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    unsigned flags = data[0] & (CODEC_HCL | CODEC_IGNORE_UNKNOWN | CODEC_WEAK);
    json_t *value = hcl_parse((const char *)data + 1, size - 1, NULL, NULL, NULL);
    if (value == NULL)
        return 0;
    try_type(&pb__service_definition__codec, value, flags);
    try_type(&pb__check_service_node__codec, value, flags);
    try_type(&pb__service_defaults_entry__codec, value, flags);
    try_type(&pb__service_intentions_entry__codec, value, flags);
    try_type(&pb__peering__codec, value, flags);
    try_type(&pb__ca_root__codec, value, flags);
    json_decref(value);
    return 0;
}
