/* Bytes from the network into a gRPC server and a gRPC client, with owners that react.
 *
 * The first byte chooses the side and, for a server, whether the HTTP/2 preface is put in front.
 * The second one is the size of the parts in which the rest arrives. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "net/grpc_core.h"

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/* The message's first byte says what its receiver does. */
static void on_message(void *arg, struct grpc_call *call, const uint8_t *data, size_t length)
{
    (void)arg;
    switch (length == 0 ? 0 : data[0] % 6) {
    case 1:
        grpc_finish(call, GRPC_ABORTED, (const char[]){(char)data[0], '%', '\n', 0}, data, length);
        break;
    case 2:
        grpc_cancel(call);
        break;
    case 3:
        for (int i = 0; i < 50; i++)
            grpc_send(call, "0123456789", 10);
        break;
    case 4: {
        void *large = mem_zalloc(300000);
        grpc_send(call, large, 300000);
        free(large);
        break;
    }
    case 5:
        grpc_half_close(call);
        break;
    default:
        grpc_send(call, data, length);
    }
}

static void on_half_close(void *arg, struct grpc_call *call)
{
    (void)arg;
    grpc_finish(call, GRPC_OK, "", NULL, 0);
}

static void on_drain(void *arg, struct grpc_call *call)
{
    (void)arg;
    grpc_send(call, "drained", 7);
}

static void on_end(void *arg, struct grpc_call *call, const struct grpc_status *status)
{
    (void)arg;
    if (strlen(status->message) > 1 << 20 || strlen(grpc_path(call)) > 1 << 20)
        abort();
}

static const struct grpc_call_handler events = {
    .on_message = on_message,
    .on_half_close = on_half_close,
    .on_drain = on_drain,
    .on_end = on_end,
};

static void on_call(void *arg, struct grpc_call *call)
{
    (void)arg;
    grpc_call_set_handler(call, &events, NULL);
}

static void settle(struct grpc_core *core)
{
    struct buffer output = {0};
    grpc_core_dispatch(core);
    while (grpc_core_output(core, &output, 65536))
        buffer_reset(&output);
    buffer_free(&output);
}

static void feed(struct grpc_core *core, const uint8_t *data, size_t length, size_t part)
{
    uint64_t now = 1000;
    while (length > 0 && !grpc_core_done(core, NULL)) {
        size_t taken = length < part ? length : part;
        uint8_t *copy = mem_dup(data, taken);
        now += 500;
        grpc_core_receive(core, copy, taken, now);
        free(copy);
        settle(core);
        grpc_core_tick(core, now);
        data += taken;
        length -= taken;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > 100000)
        return 0;
    bool server = data[0] & 1, with_preface = data[0] & 2;
    struct grpc_core_config config = {.server = server,
                                      .peer = "192.0.2.1:1",
                                      .authority = "fuzz",
                                      .max_message_bytes = 1000,
                                      .keepalive_ms = 30000,
                                      .keepalive_timeout_ms = 10000,
                                      .on_call = on_call};
    struct grpc_core *core = grpc_core_new(&config, 1000);
    if (server && with_preface)
        grpc_core_receive(core, (const uint8_t *)preface, sizeof preface - 1, 1000);
    for (int i = 0; i < 3 && !server; i++)
        grpc_send(grpc_core_call(core, "/fuzz.Service/Method", NULL, &events, NULL), "hello", 5);
    settle(core);
    feed(core, data + 2, size - 2, data[1] == 0 ? 100000 : data[1]);
    if (data[0] & 4)
        grpc_core_shutdown(core);
    settle(core);
    grpc_core_fail(core, NULL);
    settle(core);
    grpc_core_free(core);
    return 0;
}
