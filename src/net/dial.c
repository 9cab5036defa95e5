/* Connecting: name resolution off the loop, then each address in turn within the time limit. */
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "net/stream_internal.h"

struct dial {
    struct address address;
    uint64_t deadline; /* loop_now() */
    uv_getaddrinfo_t resolve;
    struct addrinfo *addresses, *next; /* owned; the next to try */
    struct addrinfo literal;           /* an IP literal needs no resolver */
    struct sockaddr_storage literal_address;
    uv_connect_t connect;
    bool handle_up;      /* the uv handle is initialised */
    bool handle_closing; /* an attempt failed: the next begins when its handle is gone */
    int status;          /* why the last attempt failed */
};

static void try_next(struct stream *stream);

void dial_free(struct dial *dial)
{
    if (!dial)
        return;
    address_clear(&dial->address);
    if (dial->addresses)
        uv_freeaddrinfo(dial->addresses);
    free(dial);
}

bool dial_cancel(struct stream *stream)
{
    struct dial *dial = stream->dial;
    uv_cancel((uv_req_t *)&dial->resolve); /* harmless if none is under way */
    if (dial->handle_closing)
        return false; /* on_attempt_closed sees that the stream is dead */
    if (dial->handle_up)
        return true;
    stream_defer(stream); /* holds the memory until our callers are done with it */
    stream_unref(stream);
    return false;
}

static void dial_fail(struct stream *stream, const char *what, int status)
{
    struct error error;
    error_set(&error, status == UV_ETIMEDOUT ? ERR_TIMEOUT : ERR_UNAVAILABLE, "%s %s: %s", what,
              stream->name, uv_strerror(status));
    stream_fail(stream, &error);
}

static void on_attempt_closed(uv_handle_t *handle)
{
    struct stream *stream = handle->data;
    stream->dial->handle_closing = stream->dial->handle_up = false;
    if (stream->state == STREAM_DEAD)
        stream_unref(stream);
    else if (stream->state == STREAM_OPENING)
        try_next(stream);
}

/* The last failure is the one that is told. */
static void attempt_failed(struct stream *stream, int status)
{
    struct dial *dial = stream->dial;
    dial->status = status;
    if (!dial->next) {
        dial_fail(stream, "connect", status);
        return;
    }
    dial->handle_closing = true;
    uv_close(&stream->uv.handle, on_attempt_closed);
}

static void on_connect(uv_connect_t *connect, int status)
{
    struct stream *stream = connect->data;
    struct dial *dial = stream->dial;
    if (stream->state != STREAM_OPENING || dial->handle_closing)
        return;
    if (status < 0) {
        attempt_failed(stream, status);
        return;
    }
    uint64_t now = loop_now(stream->loop);
    timer_start(stream->timer, dial->deadline > now ? dial->deadline - now : 1, 0);
    if (dial->address.host) {
        uv_tcp_nodelay(&stream->uv.tcp, 1);
        uv_tcp_keepalive(&stream->uv.tcp, 1, 60);
    }
    stream->dial = NULL;
    dial_free(dial);
    stream_connected(stream);
}

static void connect_pipe(struct stream *stream)
{
    struct dial *dial = stream->dial;
    uv_pipe_init(loop_uv(stream->loop), &stream->uv.pipe, 0);
    stream->uv.handle.data = stream;
    dial->handle_up = true;
    dial->connect.data = stream;
    uv_pipe_connect(&dial->connect, &stream->uv.pipe, dial->address.path, on_connect);
}

/* What is left of the time is shared among the addresses that are left, so that one that does not
 * answer does not starve the others. */
static void try_next(struct stream *stream)
{
    struct dial *dial = stream->dial;
    const struct addrinfo *address = dial->next;
    uint64_t left = 0, now = loop_now(stream->loop);
    for (const struct addrinfo *one = address; one; one = one->ai_next)
        left++;
    uint64_t time = dial->deadline > now ? (dial->deadline - now) / left : 0;
    timer_start(stream->timer, time ? time : 1, 0);
    dial->next = address->ai_next;
    uv_tcp_init(loop_uv(stream->loop), &stream->uv.tcp);
    stream->uv.handle.data = stream;
    dial->handle_up = true;
    dial->connect.data = stream;
    int status = uv_tcp_connect(&dial->connect, &stream->uv.tcp, address->ai_addr, on_connect);
    if (status < 0)
        attempt_failed(stream, status);
}

static void on_resolved(uv_getaddrinfo_t *resolve, int status, struct addrinfo *addresses)
{
    struct stream *stream = resolve->data;
    stream->dial->addresses = stream->dial->next = addresses;
    if (stream->state == STREAM_OPENING) {
        if (status < 0 || !addresses)
            dial_fail(stream, "look up the name in", status < 0 ? status : UV_EAI_NONAME);
        else
            try_next(stream);
    }
    stream_unref(stream);
}

static bool parse_literal(struct dial *dial)
{
    struct sockaddr_storage *address = &dial->literal_address;
    if (uv_ip4_addr(dial->address.host, dial->address.port, (struct sockaddr_in *)address) != 0 &&
        uv_ip6_addr(dial->address.host, dial->address.port, (struct sockaddr_in6 *)address) != 0)
        return false;
    dial->literal.ai_addr = (struct sockaddr *)address;
    dial->next = &dial->literal;
    return true;
}

void dial_start(struct stream *stream)
{
    struct dial *dial = stream->dial;
    if (dial->address.path) {
        connect_pipe(stream);
        return;
    }
    if (parse_literal(dial)) {
        try_next(stream);
        return;
    }
    char port[8];
    snprintf(port, sizeof port, "%u", dial->address.port);
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    dial->resolve.data = stream;
    stream->refs++;
    int status = uv_getaddrinfo(loop_uv(stream->loop), &dial->resolve, on_resolved,
                                dial->address.host, port, &hints);
    if (status == 0)
        return;
    dial_fail(stream, "look up the name in", status);
    stream_unref(stream);
}

static void on_time_out(void *arg)
{
    struct stream *stream = arg;
    struct dial *dial = stream->dial;
    if (dial && dial->next && dial->handle_up && !dial->handle_closing &&
        loop_now(stream->loop) < dial->deadline)
        attempt_failed(stream, UV_ETIMEDOUT);
    else
        dial_fail(stream, dial ? "connect" : "TLS handshake with", UV_ETIMEDOUT);
}

struct stream *stream_dial(struct loop *loop, const struct address *address,
                           struct tls_context *tls, uint64_t timeout_ms,
                           const struct stream_handler *handler, void *arg)
{
    struct stream *stream = stream_alloc(loop, handler, arg);
    struct dial *dial = stream->dial = mem_zalloc(sizeof *dial);
    dial->address = address_copy(address);
    dial->deadline = loop_now(loop) + timeout_ms;
    stream->name = address_format(address);
    if (tls)
        stream->tls = tls_session_new(tls, &stream->out);
    stream->timer = timer_new(loop, on_time_out, stream);
    timer_start(stream->timer, timeout_ms, 0);
    stream_defer(stream); /* calls dial_start */
    return stream;
}
