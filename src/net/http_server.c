/* The shell of the HTTP server: listeners, streams and the clock around the core. */
#include "net/http_server.h"

#include <stdlib.h>

#include "base/memory.h"
#include "net/http_core.h"

struct http_server {
    struct loop *loop;
    struct http_core core;
    struct listener **listeners;
    size_t listener_count;
    struct list sessions;
    struct timer *sweep; /* looks for deadlines that have passed; runs while there are sessions */
    uint64_t sweep_ms;
};

/* One connection. */
struct session {
    struct list node;
    struct http_server *server; /* NULL once it is over */
    struct stream *stream;
    struct http_connection *core;
    int refs; /* one of the server, one of a deferred call */
    bool kicked;
    uint64_t sent, sent_at; /* progress of what is queued */
};

static void session_unref(struct session *session)
{
    if (--session->refs == 0)
        free(session);
}

/* The stream is taken care of; open requests see on_abort. */
static void session_end(struct session *session)
{
    struct http_server *server = session->server;
    list_remove(&session->node);
    session->server = NULL;
    session->stream = NULL;
    if (list_empty(&server->sessions))
        timer_stop(server->sweep);
    http_connection_free(session->core);
    session_unref(session);
}

/* What the core asks for. */

static void transport_write(void *arg, const void *data, size_t length)
{
    struct session *session = arg;
    stream_write(session->stream, data, length);
}

static bool transport_full(void *arg)
{
    struct session *session = arg;
    return session->stream && stream_queued(session->stream) > STREAM_HIGH_WATER;
}

static void transport_pause(void *arg, bool paused)
{
    struct session *session = arg;
    if (paused)
        stream_pause(session->stream);
    else
        stream_resume(session->stream);
}

static void on_kicked(void *arg)
{
    struct session *session = arg;
    session->kicked = false;
    if (session->server)
        http_connection_continue(session->core);
    session_unref(session);
}

static void transport_kick(void *arg)
{
    struct session *session = arg;
    if (session->kicked)
        return;
    session->kicked = true;
    session->refs++;
    loop_defer(session->server->loop, on_kicked, session);
}

static void transport_finish(void *arg)
{
    struct session *session = arg;
    stream_close(session->stream);
    session_end(session);
}

static const char *transport_peer(void *arg)
{
    struct session *session = arg;
    return stream_peer(session->stream);
}

static const struct http_transport transport = {
    .write = transport_write,
    .full = transport_full,
    .pause = transport_pause,
    .kick = transport_kick,
    .finish = transport_finish,
    .peer = transport_peer,
};

/* What the stream tells. */

static void on_data(void *arg, const uint8_t *data, size_t length)
{
    struct session *session = arg;
    session->server->core.now = loop_now(session->server->loop);
    http_connection_input(session->core, data, length);
}

static void on_close(void *arg, const struct error *error)
{
    (void)error;
    struct session *session = arg;
    stream_close(session->stream); /* answers that are on their way still go out */
    session_end(session);
}

static void on_drain(void *arg)
{
    struct session *session = arg;
    http_connection_continue(session->core);
}

static const struct stream_handler stream_handler = {
    .on_data = on_data, .on_close = on_close, .on_drain = on_drain};

static void on_accept(void *arg, struct stream *stream)
{
    struct http_server *server = arg;
    struct session *session = mem_zalloc(sizeof *session);
    server->core.now = loop_now(server->loop);
    session->server = server;
    session->stream = stream;
    session->refs = 1;
    session->core = http_connection_new(&server->core, session);
    list_append(&server->sessions, &session->node);
    stream_set_handler(stream, &stream_handler, session);
    if (!timer_active(server->sweep))
        timer_start(server->sweep, server->sweep_ms, server->sweep_ms);
}

/* A client that takes nothing of what is queued for it is gone, or means harm. */
static bool is_stuck(struct session *session)
{
    const struct http_core *core = &session->server->core;
    uint64_t sent = stream_sent(session->stream);
    if (stream_queued(session->stream) == 0 || sent != session->sent || !session->sent_at) {
        session->sent = sent;
        session->sent_at = core->now;
    }
    return core->now - session->sent_at > core->limits.body_timeout_ms;
}

static void on_sweep(void *arg)
{
    struct http_server *server = arg;
    server->core.now = loop_now(server->loop);
    /* What is done to one session may end others, so none is looked ahead at. */
    struct list todo = server->sessions;
    if (list_empty(&server->sessions))
        return;
    todo.next->prev = todo.prev->next = &todo;
    list_init(&server->sessions);
    while (!list_empty(&todo)) {
        struct session *session = list_entry(todo.next, struct session, node);
        list_remove(&session->node);
        list_append(&server->sessions, &session->node);
        if (is_stuck(session)) {
            stream_abort(session->stream);
            session_end(session);
        } else {
            http_connection_tick(session->core);
        }
    }
}

/* The server. */

static uint64_t sweep_interval(const struct http_limits *limits)
{
    uint64_t shortest = limits->header_timeout_ms;
    if (limits->body_timeout_ms < shortest)
        shortest = limits->body_timeout_ms;
    if (limits->idle_timeout_ms < shortest)
        shortest = limits->idle_timeout_ms;
    shortest /= 4;
    return shortest < 10 ? 10 : shortest > 1000 ? 1000 : shortest;
}

struct http_server *http_server_new(struct loop *loop, const struct http_limits *limits,
                                    http_handler_fn *handler, void *arg)
{
    struct http_server *server = mem_zalloc(sizeof *server);
    server->loop = loop;
    http_core_init(&server->core, limits, handler, arg, &transport);
    server->core.now = loop_now(loop);
    server->sweep_ms = sweep_interval(&server->core.limits);
    server->sweep = timer_new(loop, on_sweep, server);
    list_init(&server->sessions);
    return server;
}

bool http_server_listen(struct http_server *server, const struct address *address,
                        struct tls_context *tls, struct error *error)
{
    struct listener *listener =
        listener_new(server->loop, address, tls, 0, on_accept, server, error);
    if (!listener)
        return false;
    server->listeners =
        mem_realloc(server->listeners, (server->listener_count + 1) * sizeof *server->listeners);
    server->listeners[server->listener_count++] = listener;
    return true;
}

uint16_t http_server_port(const struct http_server *server, size_t listener_index)
{
    return listener_index < server->listener_count
               ? listener_port(server->listeners[listener_index])
               : 0;
}

void http_server_free(struct http_server *server)
{
    if (!server)
        return;
    for (size_t i = 0; i < server->listener_count; i++)
        listener_free(server->listeners[i]);
    list_for_each (node, &server->sessions) {
        struct session *session = list_entry(node, struct session, node);
        stream_abort(session->stream);
        session_end(session);
    }
    timer_free(server->sweep);
    http_core_clear(&server->core);
    free(server->listeners);
    free(server);
}
