/* A bidirectional byte stream: TCP or a Unix socket, plain or TLS.
 *
 * Callbacks run on the loop. The owner closes a stream exactly once with stream_close (flushes what was written,
 * TLS close_notify, then FIN) or stream_abort (at once); the stream is then gone for the owner, and no
 * callback comes any more, `on_close` included. `on_close` tells that the other side or the system
 * ended it; the owner must still call stream_close or stream_abort (it may do so inside of the callback).
 * `error` is NULL when the other side ended in good order. Writes never block: bytes are
 * queued; `on_drain` tells when the queue fell below STREAM_LOW_WATER after having been above
 * STREAM_HIGH_WATER. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "net/address.h"
#include "net/loop.h"
#include "net/tls.h"

#define STREAM_HIGH_WATER ((size_t)262144)
#define STREAM_LOW_WATER ((size_t)65536)

struct stream;

struct stream_handler {
    void (*on_open)(void *arg); /* connected, handshake done; may be NULL on accepted streams */
    void (*on_data)(void *arg, const uint8_t *data, size_t length); /* borrowed for the call */
    void (*on_close)(void *arg, const struct error *error);
    void (*on_drain)(void *arg); /* may be NULL */
};

/* Dials; names are resolved off the loop, and every resolved address is tried in turn. `tls` NULL: plain. The handler is
 * borrowed for the life of the stream (make it static const). Failure comes by on_close, with
 * words that name the address: "connect 127.0.0.1:8503: connection refused". */
struct stream *stream_dial(struct loop *loop, const struct address *address,
                           struct tls_context *tls, uint64_t timeout_ms,
                           const struct stream_handler *handler, void *arg);

/* An accepted stream is born open (handshake done) and paused-free; set its handler inside of on_accept. */
void stream_set_handler(struct stream *stream, const struct stream_handler *handler, void *arg);

bool stream_write(struct stream *stream, const void *data, size_t length); /* copies; false if closed */
size_t stream_queued(const struct stream *stream); /* bytes not yet handed to the kernel */
uint64_t stream_sent(const struct stream *stream); /* bytes that the kernel took so far: is there progress? */
void stream_pause(struct stream *stream);  /* stop reading: back-pressure */
void stream_resume(struct stream *stream);
void stream_close(struct stream *stream);
void stream_abort(struct stream *stream);

const char *stream_alpn(const struct stream *stream);        /* negotiated, or "" */
const char *stream_server_name(const struct stream *stream); /* SNI that the client sent, or "" */
const char *stream_peer(const struct stream *stream);        /* "127.0.0.1:43210", for logs */

struct listener;

/* `stream` belongs to the callee. Connections whose TLS handshake fails or takes longer than 10 s never
 * appear here. */
typedef void listener_accept_fn(void *arg, struct stream *stream);

/* Port 0 picks a free one (listener_port). `max_connections` 0: no limit; beyond it new ones are
 * closed at once. The error names address and cause, and says what to do if the port is in use. */
struct listener *listener_new(struct loop *loop, const struct address *address,
                              struct tls_context *tls, unsigned max_connections,
                              listener_accept_fn *accept, void *arg, struct error *error);
uint16_t listener_port(const struct listener *listener);
void listener_set_tls(struct listener *listener, struct tls_context *tls); /* for new connections */
void listener_free(struct listener *listener); /* accepted streams live on */
