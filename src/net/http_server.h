/* HTTP/1.1 server over streams: keep-alive, pipelining (answers in order), chunked bodies in,
 * limits and time-outs. llhttp parses.
 *
 * A request is handed over when its body is complete. The handler answers now or later with
 * exactly one http_respond, or starts a streamed answer (http_respond_start, http_respond_chunk, http_respond_end).
 * Between hand-over and answer the request may be abandoned by its client: `on_abort` (if set) is
 * called once, and answering afterwards is a harmless no-op that frees the request. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "net/stream.h"

struct http_limits {
    size_t header_bytes;     /* request line and headers; 431 beyond */
    size_t body_bytes;       /* 413 beyond */
    uint64_t header_timeout_ms; /* from first byte to end of headers; 408 */
    uint64_t body_timeout_ms;
    uint64_t idle_timeout_ms; /* between requests on a kept-alive connection */
    unsigned pipeline;        /* requests of one connection that are in work at once; reading pauses beyond */
};
extern const struct http_limits http_limits_default; /* 64 KiB, 8 MiB, 10 s, 60 s, 120 s, 16 */

struct http_header {
    const char *name, *value;
};

struct http_request; /* owned by the server until answered */

const char *http_method(const struct http_request *request);
const char *http_path(const struct http_request *request); /* still percent-encoded, without the query */
/* Header by name, any case; NULL if absent. Repeated headers are joined with ", ". */
const char *http_header(const struct http_request *request, const char *name);
/* Query parameter, decoded; "" for `?stale`; NULL if absent. `at` counts repetitions from 0. */
const char *http_query(const struct http_request *request, const char *name, size_t at);
size_t http_query_count(const struct http_request *request);
const char *http_query_name(const struct http_request *request, size_t index);
const char *http_body(const struct http_request *request, size_t *ret_length); /* never NULL; NUL-terminated */
const char *http_peer(const struct http_request *request);
struct arena *http_arena(struct http_request *request); /* lives as long as the request */

void http_on_abort(struct http_request *request, loop_fn *on_abort, void *arg);

/* The body is copied. Content-Length, Date and Connection are added; a HEAD gets no body. */
void http_respond(struct http_request *request, int status, const struct http_header *headers,
                  size_t header_count, const void *body, size_t length);
/* A streamed, chunked answer. */
void http_respond_start(struct http_request *request, int status,
                        const struct http_header *headers, size_t header_count);
void http_respond_chunk(struct http_request *request, const void *data, size_t length);
void http_respond_end(struct http_request *request);
/* True while the client reads more slowly than chunks come: hold back. */
bool http_respond_full(const struct http_request *request);

typedef void http_handler_fn(void *arg, struct http_request *request);

struct http_server;

struct http_server *http_server_new(struct loop *loop, const struct http_limits *limits,
                                    http_handler_fn *handler, void *arg);
/* May be called several times. */
bool http_server_listen(struct http_server *server, const struct address *address,
                        struct tls_context *tls, struct error *error);
uint16_t http_server_port(const struct http_server *server, size_t listener_index);
/* Stops listening and drops connections; open requests see on_abort. */
void http_server_free(struct http_server *server);
