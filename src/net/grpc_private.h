/* What grpc_core.c (connection, HTTP/2 callbacks), grpc_call.c (one call: both directions of its
 * messages, its end) and grpc_role.c (what headers mean to a server and to a client) share.
 *
 * A call's memory belongs to its connection and lives until the HTTP/2 stream is closed, so that a
 * callback may end its own call; `handler` is NULL from the moment the owner is gone. */
#pragma once

#include <nghttp2/nghttp2.h>

#include "base/list.h"
#include "net/grpc_core.h"
#include "net/grpc_wire.h"
#include "net/http2_guard.h"

#define HEADERS_MAX ((size_t)65536) /* of one call, counted as HTTP/2 does */

struct grpc_core {
    /* for life */
    bool server, secure;
    char *peer, *server_name, *authority;
    size_t max_message;
    size_t max_gathered; /* of all unfinished messages together */
    void (*on_call)(void *arg, struct grpc_call *call);
    void *call_arg;
    void (*on_wake)(void *arg);
    void *wake_arg;
    nghttp2_session *session;
    struct list calls;

    /* state */
    uint64_t now;
    struct http2_keepalive keepalive;
    struct http2_pings pings;
    struct http2_resets resets;
    struct list put_off; /* calls that wait for grpc_core_dispatch */
    size_t gathered;     /* bytes of unfinished messages */
    unsigned deadlines;  /* calls that have one */
    bool silent;         /* the owner is gone */
    bool ending;         /* take no more input; close after the output */
    bool failed;         /* the connection is gone */
    char *reason;        /* why it ends; NULL while it does not */
    char *last_error;    /* nghttp2's latest words */
};

struct chunk { /* a message with its prefix, in a call's queue */
    struct list node;
    size_t length, sent;
    uint8_t data[];
};

struct grpc_call {
    struct list node;
    struct grpc_core *core;
    int32_t stream_id; /* 0: there is no stream */
    const struct grpc_call_handler *handler;
    void *arg;
    char *path;
    uint64_t deadline; /* UINT64_MAX: none */

    /* the other side's headers: name NUL value NUL … */
    struct buffer headers;
    size_t headers_size;
    bool headers_over; /* too many: not kept */
    bool headers_done; /* server: request headers are in; client: final response headers are */

    /* the message that is coming in */
    uint8_t prefix[GRPC_PREFIX_SIZE];
    size_t prefix_length;
    size_t message_length; /* valid once the prefix is whole */
    struct buffer message;

    /* messages going out */
    struct list outgoing;
    size_t queued;
    bool above;    /* the queue has been above the high mark */
    bool deferred; /* nghttp2 waits for data */
    bool started;  /* server: response headers are submitted */
    bool last;     /* nothing follows what is queued, but trailers on a server */
    char *trailer_code, *trailer_message, *trailer_details; /* server, with `last` */

    /* put off until grpc_core_dispatch */
    struct list put_off;
    bool drained;
    bool ended; /* the owner's on_end has been called, or the owner left */
    enum grpc_code end_code;
    char *end_message; /* an end that is put off; NULL: none */
};

/* grpc_call.c */
struct grpc_call *call_new(struct grpc_core *core, int32_t stream_id);
void call_free(struct grpc_call *call);
void call_add_header(struct grpc_call *call, const char *name, size_t name_length,
                     const char *value, size_t value_length);
void call_receive(struct grpc_call *call, const uint8_t *data, size_t length);
bool call_message_open(const struct grpc_call *call); /* part of a message is in */
ssize_t call_read(struct grpc_call *call, uint8_t *room, size_t size, uint32_t *flags);
/* Tells the owner, once. */
void call_end(struct grpc_call *call, const struct grpc_status *status);
void call_end_with(struct grpc_call *call, enum grpc_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Ends the call from here, for both sides: trailers from a server, RST_STREAM from a client. */
void call_refuse(struct grpc_call *call, enum grpc_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void call_put_off_end(struct grpc_call *call, enum grpc_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void call_reset(struct grpc_call *call, uint32_t http2_code);

/* grpc_role.c */
bool role_submit_request(struct grpc_call *call, const char *const *metadata);
bool role_submit_response(struct grpc_call *call);
void role_submit_trailers(struct grpc_call *call); /* trailers-only if nothing was started */
void role_submit_http(struct grpc_call *call, const char *status);
void role_headers(struct grpc_call *call, bool end_stream); /* a block of headers is complete */
void role_end_of_data(struct grpc_call *call);              /* the other side's last DATA is in */

/* grpc_core.c */
void core_wake(struct grpc_core *core);
void core_set_reason(struct grpc_core *core, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
