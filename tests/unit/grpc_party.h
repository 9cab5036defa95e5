/* For the tests of gRPC's core: an owner of calls that notes what it saw and reacts as it was told.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "net/grpc_core.h"

#define MIB ((size_t)1 << 20)

struct party {
    struct grpc_call *call; /* the open call, NULL after its end */
    unsigned calls, messages, half_closes, drains, ends;
    struct buffer last; /* the latest message */
    enum grpc_code code;
    char message[512];
    uint8_t details[64];
    size_t details_length;
    char seen[1024]; /* the server: what it knew at the start */

    bool echo, finish_at_half_close, finish_at_start, cancel_at_message, finish_at_message;
    const char *finish_message;
    enum grpc_code finish_code;
    struct grpc_call *cancel_at_end; /* another call of the same owner */
    struct grpc_core *open_at_end;
};

static const struct grpc_call_handler events;

static void note_end(struct party *party, const struct grpc_status *status)
{
    party->ends++;
    party->call = NULL;
    party->code = status->code;
    snprintf(party->message, sizeof party->message, "%s", status->message);
    assert_true(status->details_length <= sizeof party->details);
    if (status->details_length > 0)
        memcpy(party->details, status->details, status->details_length);
    party->details_length = status->details_length;
}

static void on_message(void *arg, struct grpc_call *call, const uint8_t *data, size_t length)
{
    struct party *party = arg;
    party->messages++;
    buffer_reset(&party->last);
    buffer_add(&party->last, data, length);
    if (party->echo)
        assert_true(grpc_send(call, data, length));
    if (party->finish_at_message) {
        party->call = NULL;
        grpc_finish(call, party->finish_code, party->finish_message, NULL, 0);
    }
    if (party->cancel_at_message) {
        party->call = NULL;
        grpc_cancel(call);
    }
}

static void on_half_close(void *arg, struct grpc_call *call)
{
    struct party *party = arg;
    party->half_closes++;
    if (party->finish_at_half_close) {
        party->call = NULL;
        grpc_finish(call, party->finish_code, party->finish_message, NULL, 0);
    }
}

static void on_drain(void *arg, struct grpc_call *call)
{
    (void)call;
    ((struct party *)arg)->drains++;
}

static void on_end(void *arg, struct grpc_call *call, const struct grpc_status *status)
{
    struct party *party = arg;
    const char *trailer = grpc_metadata(call, "grpc-status");
    assert_true(trailer == NULL || strlen(trailer) < 3);
    note_end(party, status);
    if (party->cancel_at_end != NULL)
        grpc_cancel(party->cancel_at_end);
    if (party->open_at_end != NULL) {
        struct grpc_core *core = party->open_at_end;
        party->open_at_end = NULL;
        party->call = grpc_core_call(core, "/again", NULL, &events, party);
    }
}

static const struct grpc_call_handler events = {
    .on_message = on_message,
    .on_half_close = on_half_close,
    .on_drain = on_drain,
    .on_end = on_end,
};

static void append_seen(struct party *party, const struct grpc_call *call, const char *name)
{
    const char *value = grpc_metadata(call, name);
    size_t at = strlen(party->seen);
    snprintf(party->seen + at, sizeof party->seen - at, "%s=%s\n", name, value ? value : "-");
}

static void on_call(void *arg, struct grpc_call *call)
{
    struct party *party = arg;
    party->calls++;
    party->seen[0] = '\0';
    static const char *const names[] = {":authority",   ":scheme",    "te",
                                        "content-type", "user-agent", "x-consul-token",
                                        "no-such-name"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        append_seen(party, call, names[i]);
    if (party->finish_at_start) {
        grpc_finish(call, party->finish_code, party->finish_message,
                    party->details_length ? party->details : NULL, party->details_length);
        return;
    }
    party->call = call;
    grpc_call_set_handler(call, &events, party);
}

static inline struct grpc_core_config server_config(struct party *party)
{
    return (struct grpc_core_config){.server = true,
                                     .peer = "10.0.0.1:4000",
                                     .server_name = "server.dc1",
                                     .max_message_bytes = 4 * MIB,
                                     .keepalive_ms = 30000,
                                     .keepalive_timeout_ms = 20000,
                                     .on_call = on_call,
                                     .call_arg = party};
}

static inline struct grpc_core_config client_config(void)
{
    return (struct grpc_core_config){.peer = "10.0.0.2:8503",
                                     .authority = "server.dc1.peering",
                                     .secure = true,
                                     .max_message_bytes = 4 * MIB,
                                     .keepalive_ms = 30000,
                                     .keepalive_timeout_ms = 10000};
}
