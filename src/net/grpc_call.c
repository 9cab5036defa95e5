/* One call: its queue, the messages that come in, and its end. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "net/grpc_private.h"

#define KEPT_MESSAGE_MEMORY ((size_t)4096) /* between messages; a quiet stream should cost little \
                                            */

struct grpc_call *call_new(struct grpc_core *core, int32_t stream_id)
{
    struct grpc_call *call = mem_zalloc(sizeof *call);
    call->core = core;
    call->stream_id = stream_id;
    call->deadline = UINT64_MAX;
    list_init(&call->outgoing);
    list_init(&call->put_off);
    list_append(&core->calls, &call->node);
    return call;
}

/* Drops what is queued; a message of which a part is sent goes on if it `may_end`. */
static void drop_outgoing(struct grpc_call *call, bool may_end)
{
    list_for_each (node, &call->outgoing) {
        struct chunk *chunk = list_entry(node, struct chunk, node);
        if (may_end && chunk->sent > 0)
            continue;
        call->queued -= chunk->length - chunk->sent;
        list_remove(node);
        free(chunk);
    }
}

void call_free(struct grpc_call *call)
{
    list_remove(&call->node);
    list_remove(&call->put_off);
    if (call->deadline != UINT64_MAX)
        call->core->deadlines--;
    drop_outgoing(call, false);
    buffer_free(&call->headers);
    call->core->gathered -= call->message.length;
    buffer_free(&call->message);
    free(call->path);
    free(call->trailer_code);
    free(call->trailer_message);
    free(call->trailer_details);
    free(call->end_message);
    free(call);
}

/* ---- headers ---- */

void call_add_header(struct grpc_call *call, const char *name, size_t name_length,
                     const char *value, size_t value_length)
{
    call->headers_size += name_length + value_length + 32;
    if (call->headers_size > HEADERS_MAX) {
        call->headers_over = true;
        return;
    }
    buffer_add(&call->headers, name, name_length);
    buffer_add_byte(&call->headers, '\0');
    buffer_add(&call->headers, value, value_length);
    buffer_add_byte(&call->headers, '\0');
}

const char *grpc_metadata(const struct grpc_call *call, const char *name)
{
    const char *at = call->headers.data;
    const char *end = at == NULL ? NULL : at + call->headers.length;
    while (at < end) {
        const char *value = at + strlen(at) + 1;
        if (strcmp(at, name) == 0)
            return value;
        at = value + strlen(value) + 1;
    }
    return NULL;
}

const char *grpc_path(const struct grpc_call *call)
{
    return call->path;
}

const char *grpc_peer(const struct grpc_call *call)
{
    return call->core->peer;
}

const char *grpc_server_name(const struct grpc_call *call)
{
    return call->core->server_name;
}

void grpc_call_set_handler(struct grpc_call *call, const struct grpc_call_handler *handler,
                           void *arg)
{
    if (call->ended)
        return;
    call->handler = handler;
    call->arg = arg;
}

/* ---- the end ---- */

void call_end(struct grpc_call *call, const struct grpc_status *status)
{
    if (call->ended)
        return;
    const struct grpc_call_handler *handler = call->handler;
    call->ended = true;
    call->handler = NULL;
    if (handler != NULL && handler->on_end != NULL)
        handler->on_end(call->arg, call, status);
}

static void end_with_text(struct grpc_call *call, enum grpc_code code, const char *message)
{
    struct grpc_status status = {.code = code, .message = message};
    call_end(call, &status);
}

static char *format_text(const char *format, va_list args)
{
    struct buffer text = {0};
    buffer_vprintf(&text, format, args);
    return buffer_take(&text);
}

void call_end_with(struct grpc_call *call, enum grpc_code code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *message = format_text(format, args);
    va_end(args);
    end_with_text(call, code, message);
    free(message);
}

void call_put_off_end(struct grpc_call *call, enum grpc_code code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    free(call->end_message);
    call->end_message = format_text(format, args);
    va_end(args);
    call->end_code = code;
    list_remove(&call->put_off);
    list_append(&call->core->put_off, &call->put_off);
    core_wake(call->core);
}

void call_reset(struct grpc_call *call, uint32_t http2_code)
{
    drop_outgoing(call, false);
    if (call->stream_id == 0 || call->core->failed)
        return;
    nghttp2_submit_rst_stream(call->core->session, NGHTTP2_FLAG_NONE, call->stream_id, http2_code);
    core_wake(call->core);
}

/* Sets what the trailers say, and sends them after what is queued. */
static void finish(struct grpc_call *call, enum grpc_code code, const char *message,
                   const uint8_t *details, size_t details_length)
{
    if (call->last || call->stream_id == 0 || call->core->failed)
        return;
    call->last = true;
    call->trailer_code = mem_printf("%d", (int)code);
    call->trailer_message = grpc_message_encode(message == NULL ? "" : message);
    if (details != NULL && details_length / 3 * 4 + 4 <= GRPC_DETAILS_MAX)
        call->trailer_details = grpc_binary_encode(details, details_length);
    if (!call->started) {
        role_submit_trailers(call);
    } else if (call->deferred) {
        call->deferred = false;
        nghttp2_session_resume_data(call->core->session, call->stream_id);
    }
    core_wake(call->core);
}

void call_refuse(struct grpc_call *call, enum grpc_code code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *message = format_text(format, args);
    va_end(args);
    if (call->core->server) {
        drop_outgoing(call, true);
        finish(call, code, message, NULL, 0);
    } else {
        call_reset(call, NGHTTP2_CANCEL);
    }
    end_with_text(call, code, message);
    free(message);
}

/* The owner leaves. A call that never had a stream has nobody else who would free it. */
static void leave(struct grpc_call *call)
{
    call->ended = true;
    call->handler = NULL;
    if (call->stream_id != 0)
        list_remove(&call->put_off);
}

void grpc_finish(struct grpc_call *call, enum grpc_code code, const char *message,
                 const uint8_t *details, size_t details_length)
{
    if (call->ended)
        return;
    leave(call);
    if (call->core->server)
        finish(call, code, message, details, details_length);
    else
        call_reset(call, NGHTTP2_CANCEL);
}

void grpc_cancel(struct grpc_call *call)
{
    if (call->ended)
        return;
    leave(call);
    call_reset(call, NGHTTP2_CANCEL);
}

/* ---- messages going out ---- */

bool grpc_send(struct grpc_call *call, const void *message, size_t length)
{
    struct grpc_core *core = call->core;
    if (call->ended || call->last || call->end_message != NULL || core->failed ||
        length > UINT32_MAX)
        return false;
    if (core->server && !call->started && !role_submit_response(call))
        return false;
    struct chunk *chunk = mem_alloc(sizeof *chunk + GRPC_PREFIX_SIZE + length);
    chunk->length = GRPC_PREFIX_SIZE + length;
    chunk->sent = 0;
    chunk->data[0] = 0;
    for (int i = 0; i < 4; i++)
        chunk->data[1 + i] = (uint8_t)(length >> (24 - 8 * i));
    if (length > 0)
        memcpy(chunk->data + GRPC_PREFIX_SIZE, message, length);
    list_append(&call->outgoing, &chunk->node);
    call->queued += chunk->length;
    if (call->queued > STREAM_HIGH_WATER)
        call->above = true;
    if (call->deferred) {
        call->deferred = false;
        nghttp2_session_resume_data(core->session, call->stream_id);
    }
    core_wake(core);
    return true;
}

size_t grpc_queued(const struct grpc_call *call)
{
    return call->queued;
}

void grpc_half_close(struct grpc_call *call)
{
    if (call->core->server || call->ended || call->last)
        return;
    call->last = true;
    if (call->deferred) {
        call->deferred = false;
        nghttp2_session_resume_data(call->core->session, call->stream_id);
    }
    core_wake(call->core);
}

/* nghttp2 asks for the body's next bytes. */
ssize_t call_read(struct grpc_call *call, uint8_t *room, size_t size, uint32_t *flags)
{
    size_t filled = 0;
    while (filled < size && !list_empty(&call->outgoing)) {
        struct chunk *chunk = list_entry(call->outgoing.next, struct chunk, node);
        size_t part = chunk->length - chunk->sent;
        if (part > size - filled)
            part = size - filled;
        memcpy(room + filled, chunk->data + chunk->sent, part);
        filled += part;
        chunk->sent += part;
        if (chunk->sent == chunk->length) {
            list_remove(&chunk->node);
            free(chunk);
        }
    }
    call->queued -= filled;
    if (call->above && call->queued < STREAM_LOW_WATER && !call->ended) {
        call->above = false;
        call->drained = true;
        list_remove(&call->put_off);
        list_append(&call->core->put_off, &call->put_off);
        core_wake(call->core);
    }
    if (list_empty(&call->outgoing) && call->last) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (call->core->server) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            role_submit_trailers(call);
        }
    } else if (filled == 0) {
        call->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    return (ssize_t)filled;
}

/* ---- messages coming in ---- */

bool call_message_open(const struct grpc_call *call)
{
    return call->prefix_length > 0;
}

/* Checks a whole prefix; false when it ended the call. */
static bool take_prefix(struct grpc_call *call)
{
    const uint8_t *p = call->prefix;
    size_t length = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
    if (p[0] > 1) {
        call_refuse(call, GRPC_INTERNAL, "message of %s starts with the flag byte %u, not 0 or 1",
                    call->path, p[0]);
    } else if (p[0] == 1) {
        const char *encoding = grpc_metadata(call, "grpc-encoding");
        bool named = encoding != NULL && strcmp(encoding, "identity") != 0;
        call_refuse(call, named && call->core->server ? GRPC_UNIMPLEMENTED : GRPC_INTERNAL,
                    "message of %s is compressed (grpc-encoding \"%s\"); only identity is "
                    "supported: switch compression off",
                    call->path, encoding == NULL ? "" : encoding);
    } else if (length > call->core->max_message) {
        call_refuse(call, GRPC_RESOURCE_EXHAUSTED,
                    "message of %s has %zu bytes, over the limit of %zu that its receiver takes",
                    call->path, length, call->core->max_message);
    } else {
        call->message_length = length;
        return true;
    }
    return false;
}

static void drop_message(struct grpc_call *call)
{
    call->core->gathered -= call->message.length;
    if (call->message.capacity > KEPT_MESSAGE_MEMORY)
        buffer_free(&call->message);
    else
        buffer_reset(&call->message);
}

static void deliver(struct grpc_call *call, const uint8_t *data)
{
    size_t length = call->message_length;
    call->prefix_length = 0;
    if (call->handler->on_message != NULL)
        call->handler->on_message(call->arg, call, data, length);
    drop_message(call);
}

/* Keeps a part of a message; false when the connection holds so many unfinished ones that it ended
 * the call. */
static bool gather(struct grpc_call *call, const uint8_t *data, size_t length)
{
    struct grpc_core *core = call->core;
    if (core->gathered + length > core->max_gathered) {
        call_refuse(call, GRPC_RESOURCE_EXHAUSTED,
                    "unfinished messages of one connection are over %zu bytes: send them one after "
                    "the other",
                    core->max_gathered);
        return false;
    }
    buffer_add(&call->message, data, length);
    core->gathered += length;
    return true;
}

/* Every turn takes at least one byte or delivers one message; it stops when the owner is gone. */
void call_receive(struct grpc_call *call, const uint8_t *data, size_t length)
{
    while (call->handler != NULL) {
        if (call->prefix_length < GRPC_PREFIX_SIZE) {
            if (length == 0)
                break;
            call->prefix[call->prefix_length++] = *data++;
            length--;
            if (call->prefix_length == GRPC_PREFIX_SIZE && !take_prefix(call))
                break;
            continue;
        }
        size_t missing = call->message_length - call->message.length;
        if (call->message.length == 0 && length >= missing) { /* whole: no copy */
            deliver(call, data);
        } else {
            size_t part = length < missing ? length : missing;
            if (!gather(call, data, part) || part < missing)
                break;
            deliver(call, (const uint8_t *)call->message.data);
        }
        data += missing;
        length -= missing;
    }
    if (call->handler == NULL)
        drop_message(call);
}
