#include "net/stream.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "net/stream_internal.h"

/* A closing stream that gets rid of no byte for this long is dropped. */
#define FLUSH_STALL_MS 10000
/* How long the other side may take to end its half after ours: unread bytes of its would otherwise
 * turn our last answer into a reset. */
#define LINGER_MS 2000
/* Buffers of more than this are not kept while nothing is queued. */
#define KEEP_BUFFER ((size_t)4096)
/* Plaintext is encrypted at the latest when so much has gathered. */
#define PLAIN_BATCH ((size_t)65536)

static void pump(struct stream *stream, const uint8_t *data, size_t length);
static void flush(struct stream *stream);
static void finish(struct stream *stream);
static void begin_close(struct stream *stream);
static void read_start(struct stream *stream);

static void on_resource_close(struct loop_resource *resource)
{
    struct stream *stream = list_entry(resource, struct stream, resource);
    stream->handler = NULL;
    stream_kill(stream);
}

struct stream *stream_alloc(struct loop *loop, const struct stream_handler *handler, void *arg)
{
    struct stream *stream = mem_zalloc(sizeof *stream);
    stream->loop = loop;
    stream->handler = handler;
    stream->arg = arg;
    stream->refs = 1;
    loop_attach(loop, &stream->resource, on_resource_close);
    return stream;
}

void stream_unref(struct stream *stream)
{
    if (--stream->refs > 0)
        return;
    buffer_free(&stream->plain);
    buffer_free(&stream->held);
    buffer_free(&stream->out);
    buffer_free(&stream->sending);
    tls_session_free(stream->tls);
    dial_free(stream->dial);
    free(stream->name);
    free(stream);
}

static void on_handle_closed(uv_handle_t *handle)
{
    stream_unref(handle->data);
}

void stream_kill(struct stream *stream)
{
    if (stream->state == STREAM_DEAD)
        return;
    stream->state = STREAM_DEAD;
    loop_detach(&stream->resource);
    timer_free(stream->timer);
    stream->timer = NULL;
    if (stream->listener)
        listener_forget(stream);
    if (!stream->dial || dial_cancel(stream))
        uv_close(&stream->uv.handle, on_handle_closed);
}

static bool is_over(const struct stream *stream)
{
    return stream->state == STREAM_ENDED || stream->state == STREAM_DEAD;
}

/* A deferred turn: the first connects, the others write what has gathered and go on reading. */
static void on_deferred(void *arg)
{
    struct stream *stream = arg;
    stream->deferred = false;
    if (stream->dial && stream->state == STREAM_OPENING) {
        dial_start(stream);
    } else if (stream->connected && stream->state != STREAM_DEAD) {
        flush(stream);
        if (stream->resumed && stream->state == STREAM_OPEN && !stream->paused)
            pump(stream, NULL, 0);
        stream->resumed = false;
    }
    stream_unref(stream);
}

void stream_defer(struct stream *stream)
{
    if (stream->deferred)
        return;
    stream->deferred = true;
    stream->refs++;
    loop_defer(stream->loop, on_deferred, stream);
}

static void read_stop(struct stream *stream)
{
    if (stream->reading)
        uv_read_stop(&stream->uv.stream);
    stream->reading = false;
}

void stream_fail(struct stream *stream, const struct error *error)
{
    if (stream->state == STREAM_FLUSHING) {
        stream_kill(stream);
        return;
    }
    if (is_over(stream))
        return;
    bool opening = stream->state == STREAM_OPENING;
    if (opening && (stream->listener || !stream->handler)) {
        stream_kill(
            stream); /* an incoming connection that never came about, or an owner that left */
        return;
    }
    if (stream->connected)
        read_stop(stream);
    timer_free(stream->timer);
    stream->timer = NULL;
    stream->state = STREAM_ENDED;
    if (stream->handler && stream->handler->on_close)
        stream->handler->on_close(stream->arg, error);
}

static void fail_with(struct stream *stream, enum error_code code, const char *what,
                      const char *why)
{
    struct error error;
    error_set(&error, code, "%s %s: %s", what, stream_peer(stream), why);
    stream_fail(stream, &error);
}

/* Writing. */

size_t stream_queued(const struct stream *stream)
{
    size_t sending = stream->writing ? stream->uv.stream.write_queue_size : 0;
    return stream->plain.length + stream->out.length + sending;
}

uint64_t stream_sent(const struct stream *stream)
{
    size_t left = stream->writing ? stream->uv.stream.write_queue_size : 0;
    return stream->sent - left;
}

static void trim(struct buffer *buffer)
{
    if (buffer->capacity > KEEP_BUFFER)
        buffer_free(buffer);
    else
        buffer_reset(buffer);
}

/* On failure the plaintext stays, so that the next flush meets the same failure and tells of it. */
static bool encrypt(struct stream *stream, struct error *error)
{
    if (!stream->secure || stream->plain.length == 0)
        return true;
    if (!tls_session_write(stream->tls, stream->plain.data, stream->plain.length, error))
        return false;
    trim(&stream->plain);
    return true;
}

bool stream_write(struct stream *stream, const void *data, size_t length)
{
    if (stream->state != STREAM_OPEN && stream->state != STREAM_OPENING)
        return false;
    buffer_add(stream->tls ? &stream->plain : &stream->out, data, length);
    if (stream->plain.length >= PLAIN_BATCH)
        encrypt(stream, NULL);
    if (stream_queued(stream) > STREAM_HIGH_WATER)
        stream->above = true;
    if (stream->connected)
        stream_defer(stream);
    return true;
}

static void check_drain(struct stream *stream)
{
    if (!stream->above || stream->state != STREAM_OPEN || stream_queued(stream) >= STREAM_LOW_WATER)
        return;
    stream->above = false;
    if (stream->handler && stream->handler->on_drain)
        stream->handler->on_drain(stream->arg);
}

static void on_written(uv_write_t *write, int status)
{
    struct stream *stream = write->data;
    stream->writing = false;
    trim(&stream->sending);
    if (stream->state == STREAM_DEAD)
        return;
    if (status < 0) {
        stream->peer_ended = true;
        fail_with(stream, ERR_IO, "write to", uv_strerror(status));
        return;
    }
    flush(stream);
}

/* Bytes that the kernel does not take at once go to uv_write, one batch at a time. */
static int send_out(struct stream *stream)
{
    uv_buf_t buf = {.base = stream->out.data, .len = stream->out.length};
    int taken = uv_try_write(&stream->uv.stream, &buf, 1);
    if (taken == UV_EAGAIN)
        taken = 0;
    if (taken < 0)
        return taken;
    stream->sent += stream->out.length;
    if ((size_t)taken == stream->out.length) {
        trim(&stream->out);
        return 0;
    }
    struct buffer spare = stream->sending;
    stream->sending = stream->out;
    stream->out = spare;
    stream->writing = true;
    stream->write.data = stream;
    buf.base = stream->sending.data + taken;
    buf.len = stream->sending.length - (size_t)taken;
    int status = uv_write(&stream->write, &stream->uv.stream, &buf, 1, on_written);
    if (status < 0)
        stream->writing = false;
    return status;
}

/* Never called from inside of stream_write, so the owner may be told of an error. */
static void flush(struct stream *stream)
{
    /* A stream that the other side has ended still sends what was written, if it can. */
    struct error error;
    if (!encrypt(stream, &error)) {
        error_prefix(&error, "write to %s: ", stream_peer(stream));
        stream_fail(stream, &error);
        return;
    }
    if (!stream->writing && stream->out.length > 0) {
        int status = send_out(stream);
        if (status < 0) {
            stream->peer_ended = true;
            fail_with(stream, ERR_IO, "write to", uv_strerror(status));
            return;
        }
    }
    if (stream_queued(stream) > STREAM_HIGH_WATER)
        stream->above = true; /* encryption adds to it */
    if (stream->state == STREAM_FLUSHING)
        finish(stream);
    else
        check_drain(stream);
}

/* Opening and reading. */

static void opened(struct stream *stream)
{
    timer_free(stream->timer);
    stream->timer = NULL;
    stream->state = STREAM_OPEN;
    if (stream->paused)
        read_stop(stream);
    if (stream->plain.length + stream->out.length > 0)
        stream_defer(stream);
    if (stream->close_at_open)
        stream_close(stream);
    else if (stream->listener)
        listener_opened(stream);
    else if (stream->handler && stream->handler->on_open)
        stream->handler->on_open(stream->arg);
}

/* False: no more can be done now. */
static bool handshake(struct stream *stream)
{
    struct error error;
    enum tls_result result = tls_session_handshake(stream->tls, &error);
    if (stream->out.length > 0)
        flush(stream);
    if (stream->state != STREAM_OPENING || result == TLS_WANT)
        return false;
    if (result != TLS_DONE) {
        if (result == TLS_ENDED)
            error_set(&error, ERR_CLOSED, "the other side ended it");
        error_prefix(&error, "TLS handshake with %s: ", stream_peer(stream));
        if (stream->listener)
            begin_close(stream); /* the alert has to arrive */
        else
            stream_fail(stream, &error);
        return false;
    }
    stream->secure = true;
    opened(stream);
    return stream->state == STREAM_OPEN;
}

static void deliver(struct stream *stream, const uint8_t *data, size_t length)
{
    if (stream->handler && stream->handler->on_data)
        stream->handler->on_data(stream->arg, data, length);
}

static void decrypt(struct stream *stream)
{
    uint8_t *plain = loop_plain_scratch(stream->loop);
    while (stream->state == STREAM_OPEN && !stream->paused) {
        size_t length;
        struct error error;
        switch (tls_session_read(stream->tls, plain, &length, &error)) {
        case TLS_DONE:
            deliver(stream, plain, length);
            break;
        case TLS_WANT:
            return;
        case TLS_ENDED:
            stream->peer_ended = true;
            stream_fail(stream, NULL);
            return;
        case TLS_FAILED:
            error_prefix(&error, "read from %s: ", stream_peer(stream));
            stream_fail(stream, &error);
            return;
        }
    }
}

/* Ciphertext through the session, as far as the owner takes it; the rest is held. */
static void pump_tls(struct stream *stream, const uint8_t *data, size_t length)
{
    struct buffer held = stream->held;
    stream->held = (struct buffer){0};
    if (held.length > 0) {
        buffer_add(&held, data, length);
        data = (const uint8_t *)held.data;
        length = held.length;
    }
    tls_session_feed(stream->tls, data, length);
    if (stream->secure || handshake(stream))
        decrypt(stream);
    data = tls_session_rest(stream->tls, &length);
    if (length > 0 && stream->state == STREAM_OPEN)
        buffer_add(&stream->held, data, length);
    buffer_free(&held);
    if (stream->out.length > 0 && stream->state != STREAM_DEAD)
        stream_defer(stream); /* an alert, or what the protocol itself answers */
}

static void pump(struct stream *stream, const uint8_t *data, size_t length)
{
    if (stream->tls)
        pump_tls(stream, data, length);
    else if (length > 0)
        deliver(stream, data, length);
    if (!stream->paused)
        read_start(stream);
}

static void on_end(struct stream *stream, ssize_t status)
{
    stream->peer_ended = true;
    read_stop(stream);
    if (stream->state == STREAM_FLUSHING) {
        if (status != UV_EOF || stream->shutting)
            stream_kill(stream);
    } else if (status != UV_EOF) {
        fail_with(stream, ERR_IO,
                  stream->state == STREAM_OPENING ? "TLS handshake with" : "read from",
                  uv_strerror((int)status));
    } else if (stream->state == STREAM_OPENING) {
        fail_with(stream, ERR_CLOSED, "TLS handshake with",
                  "the other side closed the connection; is it a TLS port?");
    } else if (stream->tls) {
        fail_with(stream, ERR_IO, "read from", "the connection was cut off without a TLS goodbye");
    } else {
        stream_fail(stream, NULL);
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct stream *stream = handle->data;
    *buf = uv_buf_init((char *)loop_read_scratch(stream->loop), (unsigned)LOOP_SCRATCH_SIZE);
}

static void on_read(uv_stream_t *handle, ssize_t length, const uv_buf_t *buf)
{
    struct stream *stream = handle->data;
    if (length < 0)
        on_end(stream, length);
    else if (length > 0 && stream->state <= STREAM_OPEN)
        pump(stream, (const uint8_t *)buf->base, (size_t)length);
}

static void read_start(struct stream *stream)
{
    if (stream->reading || stream->peer_ended || is_over(stream))
        return;
    stream->reading = uv_read_start(&stream->uv.stream, on_alloc, on_read) == 0;
}

void stream_connected(struct stream *stream)
{
    stream->connected = true;
    if (stream->tls)
        handshake(stream);
    else
        opened(stream);
    /* A handshake goes on even if the owner wants no data yet. */
    if (stream->state == STREAM_OPENING || (stream->state == STREAM_OPEN && !stream->paused))
        read_start(stream);
}

void stream_pause(struct stream *stream)
{
    stream->paused = true;
    if (stream->state == STREAM_OPEN)
        read_stop(stream);
}

void stream_resume(struct stream *stream)
{
    if (!stream->paused)
        return;
    stream->paused = false;
    stream->resumed = true;
    if (stream->connected)
        stream_defer(stream);
}

/* Closing. */

static void on_shut(uv_shutdown_t *shutdown, int status)
{
    struct stream *stream = shutdown->data;
    if (stream->state != STREAM_FLUSHING)
        return;
    if (status < 0 || stream->peer_ended)
        stream_kill(stream);
    else
        timer_start(stream->timer, LINGER_MS, 0);
}

/* Everything is with the kernel: FIN. */
static void finish(struct stream *stream)
{
    if (stream->writing || stream->out.length > 0 || stream->shutting)
        return;
    stream->shutting = true;
    stream->shutdown.data = stream;
    if (uv_shutdown(&stream->shutdown, &stream->uv.stream, on_shut) < 0)
        stream_kill(stream);
}

static void on_flush_watch(void *arg)
{
    struct stream *stream = arg;
    uint64_t sent = stream_sent(stream);
    if (stream->shutting || sent == stream->sent_seen) {
        stream_kill(stream);
        return;
    }
    stream->sent_seen = sent;
    timer_start(stream->timer, FLUSH_STALL_MS, 0);
}

/* → FLUSHING */
static void begin_close(struct stream *stream)
{
    stream->handler = NULL;
    if (stream->secure && encrypt(stream, NULL))
        tls_session_close(stream->tls);
    stream->state = STREAM_FLUSHING;
    buffer_free(&stream->held);
    read_start(stream); /* what still comes is thrown away; its end is what matters */
    timer_free(stream->timer);
    stream->timer = timer_new(stream->loop, on_flush_watch, stream);
    stream->sent_seen = stream_sent(stream);
    timer_start(stream->timer, FLUSH_STALL_MS, 0);
    stream_defer(stream);
}

void stream_close(struct stream *stream)
{
    if (stream->state == STREAM_OPENING && stream_queued(stream) > 0) {
        stream->close_at_open = true;
        stream->handler = NULL;
        return;
    }
    bool nothing_to_say =
        stream->state == STREAM_ENDED && !stream->secure && stream_queued(stream) == 0;
    if (stream->state == STREAM_OPENING || !stream->connected || nothing_to_say)
        stream_abort(stream);
    else
        begin_close(stream);
}

void stream_abort(struct stream *stream)
{
    stream->handler = NULL;
    stream_kill(stream);
}

void stream_set_handler(struct stream *stream, const struct stream_handler *handler, void *arg)
{
    stream->handler = handler;
    stream->arg = arg;
}

const char *stream_alpn(const struct stream *stream)
{
    return stream->tls ? tls_session_alpn(stream->tls) : "";
}

const char *stream_server_name(const struct stream *stream)
{
    return stream->tls ? tls_session_server_name(stream->tls) : "";
}
