/* Headers and trailers: what each side sends, and what they mean to the other. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "net/grpc_private.h"

#define METADATA_MAX 32

static nghttp2_nv header(const char *name, const char *value)
{
    return (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name,
                        .value = (uint8_t *)(uintptr_t)value,
                        .namelen = strlen(name),
                        .valuelen = strlen(value)};
}

static ssize_t read_body(nghttp2_session *session, int32_t stream_id, uint8_t *room, size_t size,
                         uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    (void)session, (void)stream_id, (void)arg;
    return call_read(source->ptr, room, size, flags);
}

/* ---- what is sent ---- */

/* Adds the caller's metadata; false with the offending name if HTTP/2 cannot carry it. The value
 * may be a secret: it stays out of messages, and out of the compression table. */
static bool add_metadata(const char *const *metadata, nghttp2_nv *headers, size_t *count,
                         const char **ret_name)
{
    for (; metadata != NULL && metadata[0] != NULL; metadata += 2) {
        nghttp2_nv nv = header(metadata[0], metadata[1]);
        if (nv.namelen == 0 || nv.name[0] == ':' || *count == METADATA_MAX ||
            !nghttp2_check_header_name(nv.name, nv.namelen) ||
            !nghttp2_check_header_value_rfc9113(nv.value, nv.valuelen)) {
            *ret_name = metadata[0];
            return false;
        }
        nv.flags = NGHTTP2_NV_FLAG_NO_INDEX;
        headers[(*count)++] = nv;
    }
    return true;
}

bool role_submit_request(struct grpc_call *call, const char *const *metadata)
{
    struct grpc_core *core = call->core;
    nghttp2_nv headers[METADATA_MAX] = {
        header(":method", "POST"),
        header(":scheme", core->secure ? "https" : "http"),
        header(":path", call->path),
        header(":authority", core->authority),
        header("content-type", "application/grpc"),
        header("user-agent", "pons/" PONS_VERSION),
        header("te", "trailers"),
        header("grpc-accept-encoding", "identity"),
    };
    size_t count = 8;
    const char *name = NULL;
    if (!add_metadata(metadata, headers, &count, &name)) {
        call_put_off_end(call, GRPC_INVALID_ARGUMENT,
                         "call of %s on %s: metadata \"%s\" cannot be sent over HTTP/2: check it "
                         "for line breaks and other control characters",
                         call->path, core->peer, name);
        return false;
    }
    nghttp2_data_provider body = {.source.ptr = call, .read_callback = read_body};
    int32_t id = nghttp2_submit_request(core->session, NULL, headers, count, &body, call);
    if (id < 0) {
        call_put_off_end(call, GRPC_UNAVAILABLE, "call of %s on %s could not start: %s", call->path,
                         core->peer, nghttp2_strerror(id));
        return false;
    }
    call->stream_id = id;
    return true;
}

bool role_submit_response(struct grpc_call *call)
{
    nghttp2_nv headers[] = {
        header(":status", "200"),
        header("content-type", "application/grpc"),
    };
    nghttp2_data_provider body = {.source.ptr = call, .read_callback = read_body};
    if (nghttp2_submit_response(call->core->session, call->stream_id, headers,
                                sizeof headers / sizeof *headers, &body) != 0)
        return false;
    call->started = true;
    return true;
}

void role_submit_trailers(struct grpc_call *call)
{
    nghttp2_nv headers[6];
    size_t count = 0;
    if (!call->started) {
        headers[count++] = header(":status", "200");
        headers[count++] = header("content-type", "application/grpc");
        headers[count++] = header("grpc-accept-encoding", "identity");
    }
    headers[count++] = header("grpc-status", call->trailer_code);
    if (call->trailer_message[0] != '\0')
        headers[count++] = header("grpc-message", call->trailer_message);
    if (call->trailer_details != NULL)
        headers[count++] = header("grpc-status-details-bin", call->trailer_details);
    nghttp2_session *session = call->core->session;
    int failed = call->started
                     ? nghttp2_submit_trailer(session, call->stream_id, headers, count)
                     : nghttp2_submit_response(session, call->stream_id, headers, count, NULL);
    call->started = true;
    if (failed)
        call_reset(call, NGHTTP2_INTERNAL_ERROR);
}

/* Refuses what is no gRPC at all. */
void role_submit_http(struct grpc_call *call, const char *status)
{
    nghttp2_nv headers[] = {header(":status", status), header("allow", "POST")};
    size_t count = text_equal(status, "405") ? 2 : 1;
    call->started = call->last = call->ended = true;
    if (nghttp2_submit_response(call->core->session, call->stream_id, headers, count, NULL) != 0)
        call_reset(call, NGHTTP2_INTERNAL_ERROR);
}

/* ---- what is received ---- */

/* The owner may be gone, and the stream already reset, when this returns. */
static void half_close(struct grpc_call *call)
{
    if (call_message_open(call) && !call->ended)
        call_refuse(call, GRPC_INTERNAL, "the client of %s ended its messages in the middle of one",
                    call->path);
    else if (call->handler != NULL && call->handler->on_half_close != NULL)
        call->handler->on_half_close(call->arg, call);
}

static bool set_deadline(struct grpc_call *call)
{
    const char *text = grpc_metadata(call, "grpc-timeout");
    uint64_t timeout_ms = 0;
    if (text == NULL)
        return true;
    if (!grpc_timeout_parse(text, &timeout_ms))
        return false;
    call->deadline = call->core->now + timeout_ms;
    call->core->deadlines++;
    core_wake(call->core);
    return true;
}

static void start_server_call(struct grpc_call *call)
{
    const char *path = grpc_metadata(call, ":path");
    call->path = mem_strdup(path == NULL ? "" : path);
    if (call->headers_over) {
        call_refuse(call, GRPC_RESOURCE_EXHAUSTED, "the request's headers are over %zu bytes",
                    HEADERS_MAX);
    } else if (!text_equal(grpc_metadata(call, ":method"), "POST")) {
        role_submit_http(call, "405");
    } else if (!grpc_content_type_ok(grpc_metadata(call, "content-type"))) {
        role_submit_http(call, "415");
    } else if (!set_deadline(call)) {
        call_refuse(call, GRPC_INTERNAL, "malformed grpc-timeout: \"%s\"",
                    grpc_metadata(call, "grpc-timeout"));
    } else {
        if (!call->core->silent)
            call->core->on_call(call->core->call_arg, call);
        if (!call->ended && call->handler == NULL)
            call_refuse(call, GRPC_INTERNAL, "nobody handles the call of %s", call->path);
    }
}

/* The server's last word, from trailers or from the headers of an answer without messages. */
static void end_client_call(struct grpc_call *call)
{
    const char *code = grpc_metadata(call, "grpc-status");
    const char *message = grpc_metadata(call, "grpc-message");
    const char *details = grpc_metadata(call, "grpc-status-details-bin");
    struct grpc_core *core = call->core;
    if (call->headers_over) {
        call_end_with(call, GRPC_RESOURCE_EXHAUSTED,
                      "headers of the answer to %s are over %zu bytes", call->path, HEADERS_MAX);
        return;
    }
    if (code == NULL) {
        call_end_with(call, GRPC_UNKNOWN, "%s ended %s without a grpc-status", core->peer,
                      call->path);
        return;
    }
    struct grpc_status status = {.code = grpc_code_parse(code)};
    if (status.code == GRPC_OK && call_message_open(call)) {
        call_end_with(call, GRPC_INTERNAL, "%s ended %s in the middle of a message", core->peer,
                      call->path);
        return;
    }
    char *decoded = grpc_message_decode(message == NULL ? "" : message);
    uint8_t *bytes = NULL;
    if (details != NULL && grpc_binary_decode(details, &bytes, &status.details_length))
        status.details = bytes;
    status.message = decoded;
    call_end(call, &status);
    free(decoded);
    free(bytes);
}

/* Final headers of an answer; false when it is no gRPC and the call is ended. */
static bool start_answer(struct grpc_call *call)
{
    const char *status = grpc_metadata(call, ":status");
    const char *type = grpc_metadata(call, "content-type");
    call->headers_done = true;
    if (grpc_metadata(call, "grpc-status") != NULL)
        return true;
    if (!text_equal(status, "200")) {
        call_refuse(call, grpc_code_of_http(status),
                    "%s answered %s with HTTP status %s: is that a gRPC server?", call->core->peer,
                    call->path, status == NULL ? "(none)" : status);
        return false;
    }
    if (!grpc_content_type_ok(type)) {
        call_refuse(call, GRPC_UNKNOWN,
                    "%s answered %s with content-type \"%s\": is that a gRPC server?",
                    call->core->peer, call->path, type == NULL ? "" : type);
        return false;
    }
    return true;
}

static void client_headers(struct grpc_call *call, bool end_stream)
{
    if (call->ended)
        return;
    if (!call->headers_done && !call->headers_over) {
        const char *status = grpc_metadata(call, ":status");
        if (status != NULL && status[0] == '1' && !end_stream) {
            buffer_reset(&call->headers); /* 100 Continue and its like: the answer follows */
            return;
        }
        if (!start_answer(call))
            return;
    }
    if (end_stream) {
        end_client_call(call);
        if (nghttp2_session_get_stream_local_close(call->core->session, call->stream_id) == 0)
            call_reset(call, NGHTTP2_NO_ERROR);
    } else if (call->headers_over) {
        call_refuse(call, GRPC_RESOURCE_EXHAUSTED, "headers of the answer to %s are over %zu bytes",
                    call->path, HEADERS_MAX);
    }
}

void role_headers(struct grpc_call *call, bool end_stream)
{
    if (!call->core->server) {
        client_headers(call, end_stream);
        return;
    }
    if (!call->headers_done) {
        call->headers_done = true;
        start_server_call(call);
    }
    if (end_stream)
        half_close(call);
}

void role_end_of_data(struct grpc_call *call)
{
    if (call->core->server)
        half_close(call);
    else
        call_refuse(call, GRPC_INTERNAL, "%s ended %s without trailers", call->core->peer,
                    call->path);
}
