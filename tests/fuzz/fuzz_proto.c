/* Messages from a peer: whatever passes the validator is decoded, copied and written as JSON. */
#include <stdlib.h>

#include "consul/peerstream.pb-c.h"
#include "proto/codec_tables.h"
#include "proto/proto.h"
#include "text/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct proto_limits limits = {.bytes = 1 << 20, .elements = 10000};

static void try_service(const uint8_t *data, size_t size)
{
    struct error error = {0};
    struct arena *arena = arena_new();
    Pb__NodeService *service =
        proto_unpack(&pb__node_service__descriptor, data, size, &limits, arena, &error);
    if (service != NULL) {
        struct buffer output = {0};
        codec_write(&output, &pb__node_service__codec, service);
        buffer_free(&output);
    } else if (error.code == ERR_NONE) {
        abort();
    }
    arena_free(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error error = {0};
    struct arena *arena = arena_new();
    try_service(data, size);
    void *message =
        proto_unpack(&ps__replication_message__descriptor, data, size, &limits, arena, &error);
    if (message != NULL && !proto_equal(message, proto_copy(message, arena)))
        abort();
    arena_free(arena);
    return 0;
}
