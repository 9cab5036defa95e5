/* The connection: session, limits, keep-alive, and nghttp2's callbacks. */
#include "net/grpc_core.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "net/grpc_private.h"

#define STREAM_WINDOW ((int32_t)1 << 20)
#define CONNECTION_WINDOW ((int32_t)4 << 20)
#define STREAMS_MAX 2048
#define ACKS_MAX 256 /* answers to PING and SETTINGS that wait to be sent */

void core_wake(struct grpc_core *core)
{
    if (!core->silent && core->on_wake != NULL)
        core->on_wake(core->wake_arg);
}

/* The first reason is the cause; what follows from it is not news. */
void core_set_reason(struct grpc_core *core, const char *format, ...)
{
    if (core->reason != NULL)
        return;
    struct buffer text = {0};
    va_list args;
    va_start(args, format);
    buffer_vprintf(&text, format, args);
    va_end(args);
    core->reason = buffer_take(&text);
}

/* Tells the other side why, and takes nothing more from it. */
static void end_connection(struct grpc_core *core, uint32_t http2_code, const char *word,
                           const char *reason)
{
    if (core->ending)
        return;
    core_set_reason(core, "connection of %s ended: %s", core->peer, reason);
    core->ending = true;
    nghttp2_submit_goaway(core->session, NGHTTP2_FLAG_NONE,
                          nghttp2_session_get_last_proc_stream_id(core->session), http2_code,
                          (const uint8_t *)word, strlen(word));
    core_wake(core);
}

static void list_move_all(struct list *to, struct list *from)
{
    list_init(to);
    list_for_each (node, from) {
        list_remove(node);
        list_append(to, node);
    }
}

/* ---- nghttp2's callbacks ---- */

static struct grpc_call *find_call(struct grpc_core *core, int32_t stream_id)
{
    return stream_id == 0 ? NULL : nghttp2_session_get_stream_user_data(core->session, stream_id);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct grpc_core *core = arg;
    if (core->server && frame->hd.type == NGHTTP2_HEADERS &&
        frame->headers.cat == NGHTTP2_HCAT_REQUEST && !core->ending && !core->silent)
        nghttp2_session_set_stream_user_data(session, frame->hd.stream_id,
                                             call_new(core, frame->hd.stream_id));
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_length, const uint8_t *value, size_t value_length, uint8_t flags,
                     void *arg)
{
    (void)session, (void)flags;
    struct grpc_core *core = arg;
    struct grpc_call *call = find_call(core, frame->hd.stream_id);
    if (call != NULL && !call->ended && !(core->server && call->headers_done))
        call_add_header(call, (const char *)name, name_length, (const char *)value, value_length);
    return 0;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t stream_id,
                         const uint8_t *data, size_t length, void *arg)
{
    (void)session, (void)flags;
    struct grpc_core *core = arg;
    struct grpc_call *call = find_call(core, stream_id);
    if (call != NULL)
        call_receive(call, data, length);
    return core->silent ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static void goaway_received(struct grpc_core *core, const nghttp2_goaway *goaway)
{
    char words[128];
    size_t length = 0;
    for (; length < goaway->opaque_data_len && length < sizeof words - 1; length++) {
        uint8_t byte = goaway->opaque_data[length];
        words[length] = byte >= 0x20 && byte <= 0x7e ? (char)byte : '?';
    }
    words[length] = '\0';
    core_set_reason(core, "%s closes the connection: GOAWAY %s%s%s", core->peer,
                    nghttp2_http2_strerror(goaway->error_code), length > 0 ? ", " : "", words);
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    (void)session;
    struct grpc_core *core = arg;
    struct grpc_call *call = find_call(core, frame->hd.stream_id);
    bool end_stream = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        if (call != NULL)
            role_headers(call, end_stream);
        break;
    case NGHTTP2_DATA:
        if (call != NULL && end_stream)
            role_end_of_data(call);
        break;
    case NGHTTP2_PING:
        if (core->server && !(frame->hd.flags & NGHTTP2_FLAG_ACK) &&
            !http2_pings_allow(&core->pings, core->now))
            end_connection(core, NGHTTP2_ENHANCE_YOUR_CALM, "too_many_pings", "it pings too often");
        break;
    case NGHTTP2_GOAWAY:
        goaway_received(core, &frame->goaway);
        break;
    default:
        break;
    }
    return core->silent ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct grpc_core *core = arg;
    int32_t id = frame->hd.stream_id;
    switch (frame->hd.type) {
    case NGHTTP2_DATA:
        http2_pings_forgive(&core->pings);
        break;
    case NGHTTP2_HEADERS:
        http2_pings_forgive(&core->pings);
        /* The answer is complete: a client that would send on is told to stop. */
        if (core->server && frame->hd.flags & NGHTTP2_FLAG_END_STREAM &&
            nghttp2_session_get_stream_remote_close(session, id) == 0)
            nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_NO_ERROR);
        break;
    case NGHTTP2_GOAWAY:
        if (frame->goaway.error_code != NGHTTP2_NO_ERROR)
            core_set_reason(core, "connection of %s ended: it broke the rules of HTTP/2 (%s%s%s)",
                            core->peer, nghttp2_http2_strerror(frame->goaway.error_code),
                            core->last_error == NULL ? "" : ": ",
                            core->last_error == NULL ? "" : core->last_error);
        break;
    default:
        break;
    }
    return 0;
}

/* Request headers that cannot be sent have no stream yet: the call ends here. */
static int on_frame_not_send(nghttp2_session *session, const nghttp2_frame *frame, int error,
                             void *arg)
{
    (void)session;
    struct grpc_core *core = arg;
    if (frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    if (core->server) {
        struct grpc_call *call = find_call(core, frame->hd.stream_id);
        if (call != NULL)
            call_reset(call, NGHTTP2_INTERNAL_ERROR);
        return 0;
    }
    list_for_each (node, &core->calls) {
        struct grpc_call *call = list_entry(node, struct grpc_call, node);
        if (call->stream_id != frame->hd.stream_id || call->stream_id == 0)
            continue;
        call->stream_id = 0;
        call_put_off_end(call, GRPC_UNAVAILABLE, "call of %s on %s could not start: %s", call->path,
                         core->peer, core->reason == NULL ? nghttp2_strerror(error) : core->reason);
    }
    return 0;
}

static void end_reset_call(struct grpc_call *call, uint32_t http2_code)
{
    const char *peer = call->core->peer, *name = nghttp2_http2_strerror(http2_code);
    const char *reason = call->core->reason;
    if (call->core->server)
        call_end_with(call, GRPC_CANCELLED, "client %s cancelled the call of %s (%s)", peer,
                      call->path, name);
    else if (http2_code == NGHTTP2_REFUSED_STREAM && reason != NULL)
        call_end_with(call, GRPC_UNAVAILABLE, "%s was not served: %s", call->path, reason);
    else
        call_end_with(call, grpc_code_of_reset(http2_code), "%s reset the call of %s (%s)", peer,
                      call->path, name);
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t http2_code,
                           void *arg)
{
    (void)session;
    struct grpc_core *core = arg;
    struct grpc_call *call = find_call(core, stream_id);
    if (call != NULL) {
        nghttp2_session_set_stream_user_data(session, stream_id, NULL);
        end_reset_call(call, http2_code);
        call_free(call);
    }
    if (core->server && http2_code != NGHTTP2_NO_ERROR && !core->ending &&
        !http2_resets_allow(&core->resets, core->now))
        end_connection(core, NGHTTP2_ENHANCE_YOUR_CALM, "too_many_resets",
                       "it resets too many calls");
    return 0;
}

static int on_error(nghttp2_session *session, int code, const char *words, size_t length, void *arg)
{
    (void)session, (void)code;
    struct grpc_core *core = arg;
    free(core->last_error);
    core->last_error = mem_strndup(words, length);
    return 0;
}

/* ---- making and freeing ---- */

static nghttp2_session *make_session(struct grpc_core *core)
{
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *option = NULL;
    nghttp2_session *session = NULL;
    if (nghttp2_session_callbacks_new(&callbacks) != 0 || nghttp2_option_new(&option) != 0)
        abort();
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, on_frame_not_send);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_error_callback2(callbacks, on_error);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_max_outbound_ack(option, ACKS_MAX);
    nghttp2_option_set_max_reserved_remote_streams(option, 0);
    int failed = core->server ? nghttp2_session_server_new2(&session, callbacks, core, option)
                              : nghttp2_session_client_new2(&session, callbacks, core, option);
    if (failed)
        abort(); /* out of memory is the only cause */
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    return session;
}

static void submit_settings(struct grpc_core *core)
{
    nghttp2_settings_entry entries[] = {
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HEADERS_MAX},
        {core->server ? NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS : NGHTTP2_SETTINGS_ENABLE_PUSH,
         core->server ? STREAMS_MAX : 0},
    };
    nghttp2_submit_settings(core->session, NGHTTP2_FLAG_NONE, entries,
                            sizeof entries / sizeof *entries);
    nghttp2_session_set_local_window_size(core->session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW);
}

struct grpc_core *grpc_core_new(const struct grpc_core_config *config, uint64_t now)
{
    struct grpc_core *core = mem_zalloc(sizeof *core);
    core->server = config->server;
    core->secure = config->secure;
    core->peer = mem_strdup(config->peer);
    core->server_name = mem_strdup(config->server_name == NULL ? "" : config->server_name);
    core->authority = mem_strdup(config->authority == NULL ? config->peer : config->authority);
    core->max_message = config->max_message_bytes;
    core->max_gathered = 2 * core->max_message;
    core->on_call = config->on_call;
    core->on_wake = config->on_wake;
    core->call_arg = config->call_arg;
    core->wake_arg = config->wake_arg;
    core->now = core->resets.since = now;
    core->keepalive = (struct http2_keepalive){.interval_ms = config->keepalive_ms,
                                               .timeout_ms = config->keepalive_timeout_ms,
                                               .since = now};
    list_init(&core->calls);
    list_init(&core->put_off);
    core->session = make_session(core);
    submit_settings(core);
    return core;
}

void grpc_core_free(struct grpc_core *core)
{
    if (core == NULL)
        return;
    list_for_each (node, &core->calls)
        call_free(list_entry(node, struct grpc_call, node));
    nghttp2_session_del(core->session);
    free(core->peer);
    free(core->server_name);
    free(core->authority);
    free(core->reason);
    free(core->last_error);
    free(core);
}

/* ---- bytes in, bytes out ---- */

void grpc_core_receive(struct grpc_core *core, const uint8_t *data, size_t length, uint64_t now)
{
    core->now = now;
    http2_keepalive_heard(&core->keepalive, now);
    if (core->ending || core->failed || core->silent)
        return;
    ssize_t taken = nghttp2_session_mem_recv(core->session, data, length);
    if (taken >= 0 || core->silent)
        return;
    core->ending = true;
    core_set_reason(core, "connection of %s ended: what it sent is no HTTP/2 (%s)", core->peer,
                    core->last_error == NULL ? nghttp2_strerror((int)taken) : core->last_error);
    core_wake(core);
}

bool grpc_core_output(struct grpc_core *core, struct buffer *output, size_t limit)
{
    size_t before = output->length;
    while (!core->failed && output->length - before < limit) {
        const uint8_t *data = NULL;
        ssize_t length = nghttp2_session_mem_send(core->session, &data);
        if (length <= 0) {
            if (length < 0) {
                core->ending = true;
                core_set_reason(core, "connection of %s ended: %s", core->peer,
                                nghttp2_strerror((int)length));
            }
            break;
        }
        buffer_add(output, data, (size_t)length);
    }
    return output->length > before;
}

void grpc_core_dispatch(struct grpc_core *core)
{
    struct list due;
    list_move_all(&due, &core->put_off);
    while (!list_empty(&due)) {
        struct grpc_call *call = list_entry(due.next, struct grpc_call, put_off);
        list_remove(&call->put_off);
        if (call->end_message != NULL) {
            call_end_with(call, call->end_code, "%s", call->end_message);
            if (call->stream_id == 0)
                call_free(call);
        } else if (call->drained) {
            call->drained = false;
            if (call->handler != NULL && call->handler->on_drain != NULL)
                call->handler->on_drain(call->arg, call);
        }
    }
}

/* ---- time ---- */

uint64_t grpc_core_deadline(const struct grpc_core *core)
{
    if (core->ending || core->failed)
        return UINT64_MAX;
    uint64_t deadline = http2_keepalive_deadline(&core->keepalive);
    if (core->deadlines == 0)
        return deadline;
    list_for_each (node, &core->calls) {
        const struct grpc_call *call = list_entry(node, struct grpc_call, node);
        if (!call->ended && call->deadline < deadline)
            deadline = call->deadline;
    }
    return deadline;
}

static void expire_calls(struct grpc_core *core)
{
    list_for_each (node, &core->calls) {
        struct grpc_call *call = list_entry(node, struct grpc_call, node);
        if (!call->ended && call->deadline <= core->now)
            call_refuse(call, GRPC_DEADLINE_EXCEEDED,
                        "the call of %s took longer than its client gave it (%s)", call->path,
                        grpc_metadata(call, "grpc-timeout"));
    }
}

void grpc_core_tick(struct grpc_core *core, uint64_t now)
{
    core->now = now;
    if (core->ending || core->failed)
        return;
    if (core->deadlines > 0)
        expire_calls(core);
    switch (http2_keepalive_tick(&core->keepalive, now)) {
    case HTTP2_KEEPALIVE_WAIT:
        break;
    case HTTP2_KEEPALIVE_PING:
        nghttp2_submit_ping(core->session, NGHTTP2_FLAG_NONE, NULL);
        core_wake(core);
        break;
    case HTTP2_KEEPALIVE_DEAD:
        core->ending = true;
        core_set_reason(core, "connection of %s ended: no answer to a keep-alive ping within %g s",
                        core->peer, (double)core->keepalive.timeout_ms / 1000);
        core_wake(core);
        break;
    }
}

/* ---- the end ---- */

bool grpc_core_done(const struct grpc_core *core, struct error *ret_error)
{
    if (!core->ending && !core->failed &&
        (nghttp2_session_want_read(core->session) || nghttp2_session_want_write(core->session)))
        return false;
    error_set(ret_error, ERR_UNAVAILABLE, "%s",
              core->reason == NULL ? "the HTTP/2 session is over" : core->reason);
    return true;
}

/* Calls that an on_end opens are none of these: they are put off, and end in grpc_core_dispatch. */
static void end_all_calls(struct grpc_core *core, const char *words)
{
    struct list calls;
    list_move_all(&calls, &core->calls);
    while (!list_empty(&calls)) {
        struct grpc_call *call = list_entry(calls.next, struct grpc_call, node);
        list_remove(&call->node);
        list_append(&core->calls, &call->node);
        if (core->failed) {
            call_end_with(call, GRPC_UNAVAILABLE, "%s", words);
            call->stream_id = 0;
            call_free(call);
        } else if (!call->ended) {
            call_refuse(call, GRPC_UNAVAILABLE, "%s", words);
        }
    }
}

void grpc_core_fail(struct grpc_core *core, const struct error *error)
{
    if (core->failed)
        return;
    core->failed = true;
    if (error == NULL)
        core_set_reason(core, "%s closed the connection", core->peer);
    else if (strstr(error->message, core->peer) != NULL)
        core_set_reason(core, "%s", error->message);
    else
        core_set_reason(core, "connection of %s ended: %s", core->peer, error->message);
    end_all_calls(core, core->reason);
}

void grpc_core_shutdown(struct grpc_core *core)
{
    if (core->failed)
        return;
    core_set_reason(core, "%s is shutting down", core->server ? "the server" : "the client");
    end_all_calls(core, core->reason);
    end_connection(core, NGHTTP2_NO_ERROR, "", "shutdown");
}

void grpc_core_silence(struct grpc_core *core)
{
    core->silent = true;
    list_for_each (node, &core->calls) {
        struct grpc_call *call = list_entry(node, struct grpc_call, node);
        call->handler = NULL;
        call->ended = true;
    }
}

/* ---- client ---- */

struct grpc_call *grpc_core_call(struct grpc_core *core, const char *path,
                                 const char *const *metadata,
                                 const struct grpc_call_handler *handler, void *arg)
{
    struct grpc_call *call = call_new(core, 0);
    call->path = mem_strdup(path);
    call->handler = handler;
    call->arg = arg;
    if (core->failed || core->ending)
        call_put_off_end(call, GRPC_UNAVAILABLE, "%s", core->reason);
    else if (role_submit_request(call, metadata))
        core_wake(core);
    return call;
}
