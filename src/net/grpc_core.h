/* One HTTP/2 connection with gRPC calls on it, server or client: bytes in, bytes out, the time
 * (milliseconds, monotonic) as an argument; no sockets. nghttp2 speaks HTTP/2, this file's side
 * speaks gRPC. grpc_link.h binds it to a stream.
 *
 * Owners' callbacks run inside of grpc_core_receive, _dispatch, _tick and _fail. They may do
 * anything to calls (send, finish, cancel, open new ones), but must not enter the core again except
 * by grpc_core_call, _silence and _shutdown. Whatever is to be sent as a result is announced by
 * `on_wake`; then call grpc_core_dispatch and grpc_core_output, soon and not from inside of it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "net/grpc.h"

struct grpc_core;

struct grpc_core_config {
    bool server;
    const char *peer;        /* "127.0.0.1:8503": for words and grpc_peer; copied */
    const char *server_name; /* server: the SNI; copied; NULL is fine */
    const char *authority;   /* client; copied */
    bool secure;             /* client: the scheme is https */
    size_t max_message_bytes;
    uint64_t keepalive_ms; /* 0: none */
    uint64_t keepalive_timeout_ms;
    void (*on_call)(void *arg, struct grpc_call *call); /* server: the headers are in */
    void *call_arg;
    void (*on_wake)(void *arg);
    void *wake_arg;
};

struct grpc_core *grpc_core_new(const struct grpc_core_config *config, uint64_t now);
void grpc_core_free(struct grpc_core *core); /* drops calls without callbacks */

void grpc_core_receive(struct grpc_core *core, const uint8_t *data, size_t length, uint64_t now);
/* Runs callbacks that were put off: on_drain, and ends of calls that never got anywhere. */
void grpc_core_dispatch(struct grpc_core *core);
/* Adds what is to be sent, about `limit` bytes at most; false if there was nothing. */
bool grpc_core_output(struct grpc_core *core, struct buffer *output, size_t limit);

void grpc_core_tick(struct grpc_core *core, uint64_t now);
uint64_t grpc_core_deadline(const struct grpc_core *core); /* next tick; UINT64_MAX: none */

/* True when the connection has come to its end (GOAWAY, protocol error, dead peer, grpc_core_fail):
 * close it once there is no more output. `ret_error` says why. */
bool grpc_core_done(const struct grpc_core *core, struct error *ret_error);

/* The connection is gone (`error` NULL: the other side closed it): ends every call with
 * UNAVAILABLE. */
void grpc_core_fail(struct grpc_core *core, const struct error *error);
/* Ends every call with UNAVAILABLE, on both sides, and queues GOAWAY. */
void grpc_core_shutdown(struct grpc_core *core);
/* No callback comes any more. */
void grpc_core_silence(struct grpc_core *core);

/* Client: see grpc_call_new. */
struct grpc_call *grpc_core_call(struct grpc_core *core, const char *path,
                                 const char *const *metadata,
                                 const struct grpc_call_handler *handler, void *arg);
