/* The core of the HTTP/1.1 server: bytes in, requests out, answers in order, bytes out. No sockets
 * and no clock inside; http_server.c and the fuzz target are its shells.
 *
 * A connection has a queue of requests that were handed over, oldest first. Only the first may
 * write to the transport; what the others answer is kept with them until it is their turn. A
 * request outlives its connection if the client leaves: it then has no connection, and goes when it
 * is answered. */
#pragma once

#include <llhttp.h>

#include "base/list.h"
#include "net/http_server.h"

/* What a connection needs from below. Nothing here calls back into the connection. */
struct http_transport {
    void (*write)(void *arg, const void *data, size_t length);
    bool (*full)(void *arg); /* more is queued than should be; http_connection_continue when not */
    void (*pause)(void *arg, bool paused); /* stop or go on feeding */
    void (*kick)(void *arg);               /* wants http_connection_continue, later in this turn */
    void (*finish)(void *arg); /* flush and close. The last call; may free the connection */
    const char *(*peer)(void *arg);
};

/* What the connections of a server share. */
struct http_core {
    struct http_limits limits;
    http_handler_fn *handler;
    void *handler_arg;
    const struct http_transport *transport;
    uint64_t now; /* ms; kept up to date by the shell */

    struct list spares; /* requests to use again, with their memory */
    unsigned spare_count;
    struct buffer head; /* scratch for the head of an answer */
};

void http_core_init(struct http_core *core, const struct http_limits *limits,
                    http_handler_fn *handler, void *arg, const struct http_transport *transport);
void http_core_clear(struct http_core *core); /* after all connections are freed */

enum http_phase { HTTP_IDLE, HTTP_HEADERS, HTTP_BODY };

struct http_connection {
    struct http_core *core;
    void *transport_arg;
    int refs;     /* the shell's, and one while the connection is at work */
    bool closed;  /* the shell has freed it */
    bool stopped; /* what comes is ignored: an error, or the last request, was read */
    bool paused;
    bool running; /* inside of the parsing loop */

    llhttp_t parser;
    enum http_phase phase;
    enum http_event { HTTP_EVENT_NONE, HTTP_EVENT_HEADERS, HTTP_EVENT_MESSAGE } event;
    bool owes_continue;      /* the client waits for "100 Continue" */
    bool after_cr, after_lf; /* the last header byte that was checked */
    int fail_status;         /* why a callback stopped the parser */
    const char *fail_words;
    uint64_t deadline;            /* core->now; 0: none */
    struct http_request *reading; /* not complete yet; NULL between requests */
    struct buffer held;           /* came while no further request may begin */

    struct list queue; /* of http_request: handed over, oldest first */
    unsigned queued;
};

struct http_connection *http_connection_new(struct http_core *core, void *transport_arg);
void http_connection_free(struct http_connection *connection); /* open requests see on_abort */
void http_connection_input(struct http_connection *connection, const void *data, size_t length);
void http_connection_continue(struct http_connection *connection);
void http_connection_tick(struct http_connection *connection); /* core->now has moved on */

enum http_state { HTTP_READING, HTTP_WORKING, HTTP_STREAMING, HTTP_ANSWERED };

struct http_pair {
    uint32_t name, value; /* offsets in `text` */
};

struct http_pairs {
    struct http_pair *items;
    size_t count, capacity;
};

struct http_request {
    struct list node;                   /* in the connection's queue, or among the spares */
    struct http_connection *connection; /* NULL: abandoned */
    enum http_state state;
    const char *method;
    bool head, http10;
    bool last;     /* the connection closes after the answer */
    bool bodiless; /* a streamed answer whose body is not sent */

    struct buffer text; /* the target, then names and values, each NUL-terminated */
    size_t path;        /* offset */
    size_t header_bytes;
    struct http_pairs headers, query;
    struct buffer body;
    struct arena *arena; /* NULL until asked for */
    struct buffer out;   /* the answer so far, while others are before it */

    loop_fn *on_abort;
    void *abort_arg;
};

/* http_request.c */
struct http_request *http_request_take(struct http_connection *connection);
void http_request_drop(struct http_core *core, struct http_request *request); /* core may be NULL */
void http_pairs_add(struct http_pairs *pairs, size_t name, size_t value);
/* Takes the target apart; NULL, or why it cannot be taken. */
const char *http_request_parse_target(struct http_request *request);
size_t http_request_header_count(const struct http_request *request, const char *name);

/* http_connection.c */
void http_request_emit(struct http_request *request, const void *data, size_t length);
void http_request_done(struct http_request *request); /* answered in full; may be gone afterwards */

/* http_answer.c: the whole answer as text/plain, written as the request's last. */
void http_answer_error(struct http_request *request, int status, const char *words);
