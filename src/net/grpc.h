/* gRPC over HTTP/2 (nghttp2), server and client: unary and bidirectional calls, trailers, flow
 * control, keep-alive pings, cancellation, message limits, status codes.
 *
 * One object stands for a call on either side. Messages are whole, uncompressed protobuf bytes.
 * Window credit is returned while a message is still arriving (Envoy's xDS requests are 61 KB,
 * the default window 64 KB).
 *
 * A call ends exactly once with `on_end`, after which the call object is gone: the server's handler sees how the client
 * left, the client's handler sees the server's status. An owner that is no longer interested ends it
 * with grpc_finish (server) or grpc_cancel (either side); then no callback comes any more. Every
 * function here may be called from inside of a callback, also those that free. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "net/stream.h"

enum grpc_code {
    GRPC_OK = 0,
    GRPC_CANCELLED = 1,
    GRPC_UNKNOWN = 2,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_ALREADY_EXISTS = 6,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_FAILED_PRECONDITION = 9,
    GRPC_ABORTED = 10,
    GRPC_OUT_OF_RANGE = 11,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
    GRPC_DATA_LOSS = 15,
    GRPC_UNAUTHENTICATED = 16,
};
const char *grpc_code_name(enum grpc_code code); /* "PermissionDenied" */
enum grpc_code grpc_code_of_error(enum error_code code);

struct grpc_status {
    enum grpc_code code;
    const char *message;    /* decoded; "" if none */
    const uint8_t *details; /* bytes of google.rpc.Status, or NULL */
    size_t details_length;
};

struct grpc_call;

struct grpc_call_handler {
    /* Bytes are borrowed for the call. */
    void (*on_message)(void *arg, struct grpc_call *call, const uint8_t *data, size_t length);
    void (*on_half_close)(void *arg, struct grpc_call *call); /* the other side sends no more; may be NULL */
    void (*on_drain)(void *arg, struct grpc_call *call);      /* queue fell below the low mark; may be NULL */
    void (*on_end)(void *arg, struct grpc_call *call, const struct grpc_status *status);
};

void grpc_call_set_handler(struct grpc_call *call, const struct grpc_call_handler *handler,
                           void *arg);
bool grpc_send(struct grpc_call *call, const void *message, size_t length); /* copies; false if over */
size_t grpc_queued(const struct grpc_call *call); /* bytes not yet sent, flow control included */
void grpc_half_close(struct grpc_call *call);     /* client: no more messages from here */
void grpc_cancel(struct grpc_call *call);         /* RST_STREAM; the call is gone */
const char *grpc_metadata(const struct grpc_call *call, const char *name); /* of the other side; NULL if absent */
const char *grpc_path(const struct grpc_call *call);
const char *grpc_peer(const struct grpc_call *call);
const char *grpc_server_name(const struct grpc_call *call); /* SNI that the client used, or "" */

/* Server: sends the trailers (trailers-only if nothing was sent before), after what is queued. The
 * call is gone for the owner. `details` may be NULL. */
void grpc_finish(struct grpc_call *call, enum grpc_code code, const char *message,
                 const uint8_t *details, size_t details_length);

struct grpc_server;

/* A method's entry: called when the request headers are in; sets the handler, or finishes at once
 * (a call that is left without either is answered INTERNAL). The client's grpc-timeout is kept by
 * the server itself: `on_end` then comes with DEADLINE_EXCEEDED, and the client has been told. */
typedef void grpc_method_fn(void *arg, struct grpc_call *call);

struct grpc_server *grpc_server_new(struct loop *loop, size_t max_message_bytes);
/* `path` like "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
 * kept by reference. Other paths are answered UNIMPLEMENTED. */
void grpc_server_method(struct grpc_server *server, const char *path, grpc_method_fn *method,
                        void *arg);
/* Asked before the method of each call: false refuses it with PERMISSION_DENIED and these words. At
 * most one. */
typedef bool grpc_guard_fn(void *arg, const struct grpc_call *call, const char **ret_refusal);
void grpc_server_guard(struct grpc_server *server, grpc_guard_fn *guard, void *arg);
bool grpc_server_listen(struct grpc_server *server, const struct address *address,
                        struct tls_context *tls, struct error *error);
uint16_t grpc_server_port(const struct grpc_server *server, size_t listener_index);
void grpc_server_free(struct grpc_server *server); /* ends all calls with UNAVAILABLE */

/* A channel is one connection, dialled when it is made; it does not reconnect by itself. When the
 * connection ends, `on_close` is called once, after all calls ended; the owner then frees the channel. */
struct grpc_channel;
typedef void grpc_channel_close_fn(void *arg, struct grpc_channel *channel,
                                   const struct error *error);
struct grpc_channel_config {
    const struct address *address;
    struct tls_context *tls;    /* NULL: cleartext with prior knowledge. No ALPN answer is fine. */
    const char *authority;
    uint64_t connect_timeout_ms;
    uint64_t keepalive_ms;         /* ping interval, also without calls; 0: none */
    uint64_t keepalive_timeout_ms;
    size_t max_message_bytes;
};
struct grpc_channel *grpc_channel_new(struct loop *loop, const struct grpc_channel_config *config,
                                      grpc_channel_close_fn *on_close, void *arg);
/* May be called before the connection is up; it waits. `metadata` is name, value, …, NULL (or NULL). */
struct grpc_call *grpc_call_new(struct grpc_channel *channel, const char *path,
                                const char *const *metadata,
                                const struct grpc_call_handler *handler, void *arg);
void grpc_channel_free(struct grpc_channel *channel); /* drops open calls without callbacks */
