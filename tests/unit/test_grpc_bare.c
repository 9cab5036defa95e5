/* gRPC's server and client, each against a bare HTTP/2 session that says what no well-behaved peer
 * would say. */
#include <nghttp2/nghttp2.h>

#include "grpc_party.h"

struct bare {
    nghttp2_session *session;
    struct buffer log;
    const uint8_t *body; /* sent with the headers */
    size_t body_length, body_sent;
    bool keep_open;
    struct grpc_core *core;
    struct party party;
    uint64_t now;
};

static int bare_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                       size_t name_length, const uint8_t *value, size_t value_length, uint8_t flags,
                       void *arg)
{
    (void)session, (void)frame, (void)name_length, (void)value_length, (void)flags;
    buffer_printf(&((struct bare *)arg)->log, "%s: %s\n", (const char *)name, (const char *)value);
    return 0;
}

static int bare_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    (void)session;
    struct buffer *log = &((struct bare *)arg)->log;
    if (frame->hd.type == NGHTTP2_RST_STREAM)
        buffer_printf(log, "RST %s\n", nghttp2_http2_strerror(frame->rst_stream.error_code));
    if (frame->hd.type == NGHTTP2_GOAWAY)
        buffer_printf(log, "GOAWAY %s %.*s\n", nghttp2_http2_strerror(frame->goaway.error_code),
                      (int)frame->goaway.opaque_data_len, (const char *)frame->goaway.opaque_data);
    if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
        buffer_add_text(log, "END\n");
    return 0;
}

static ssize_t bare_read(nghttp2_session *session, int32_t id, uint8_t *room, size_t size,
                         uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    (void)session, (void)id, (void)arg;
    struct bare *bare = source->ptr;
    size_t part = bare->body_length - bare->body_sent;
    if (part > size)
        part = size;
    if (part > 0)
        memcpy(room, bare->body + bare->body_sent, part);
    bare->body_sent += part;
    if (bare->body_sent == bare->body_length) {
        if (bare->keep_open && part == 0)
            return NGHTTP2_ERR_DEFERRED;
        if (!bare->keep_open)
            *flags |= NGHTTP2_DATA_FLAG_EOF;
    }
    return (ssize_t)part;
}

static struct bare *bare_new(bool bare_is_server)
{
    struct bare *bare = mem_zalloc(sizeof *bare);
    nghttp2_session_callbacks *callbacks;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, bare_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, bare_frame);
    struct grpc_core_config config = bare_is_server ? client_config() : server_config(&bare->party);
    if (bare_is_server)
        nghttp2_session_server_new(&bare->session, callbacks, bare);
    else
        nghttp2_session_client_new(&bare->session, callbacks, bare);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(bare->session, 0, NULL, 0);
    bare->now = 1000;
    bare->core = grpc_core_new(&config, bare->now);
    return bare;
}

static void bare_free(struct bare *bare)
{
    nghttp2_session_del(bare->session);
    grpc_core_free(bare->core);
    buffer_free(&bare->log);
    buffer_free(&bare->party.last);
    free(bare);
}

static void bare_pump(struct bare *bare)
{
    for (bool some = true; some;) {
        const uint8_t *data;
        ssize_t length = nghttp2_session_mem_send(bare->session, &data);
        assert_true(length >= 0);
        some = length > 0;
        grpc_core_receive(bare->core, data, (size_t)length, bare->now);
        grpc_core_dispatch(bare->core);
        struct buffer output = {0};
        some |= grpc_core_output(bare->core, &output, 65536);
        if (output.length > 0)
            nghttp2_session_mem_recv(bare->session, (uint8_t *)output.data, output.length);
        buffer_free(&output);
    }
}

#define NV(n, v)                                                               \
    {                                                                          \
        .name = (uint8_t *)(n), .value = (uint8_t *)(v), .namelen = strlen(n), \
        .valuelen = strlen(v)                                                  \
    }

/* What the server answers to one request. */
static const char *ask(struct bare *bare, const char *method, const char *type,
                       const char *extra_name, const char *extra_value, const void *body,
                       size_t length)
{
    nghttp2_nv headers[] = {NV(":method", method),    NV(":scheme", "http"),
                            NV(":path", "/x.Y/Z"),    NV(":authority", "h"),
                            NV("content-type", type), NV(extra_name, extra_value)};
    nghttp2_data_provider provider = {.source.ptr = bare, .read_callback = bare_read};
    bare->body = body;
    bare->body_length = length;
    bare->body_sent = 0;
    assert_true(nghttp2_submit_request(bare->session, NULL, headers, 6, &provider, NULL) > 0);
    bare_pump(bare);
    return buffer_text(&bare->log);
}

static void test_server_refuses_what_is_no_grpc(void **state)
{
    (void)state;
    struct bare *bare = bare_new(false);
    assert_non_null(strstr(ask(bare, "POST", "text/html", "a", "b", "", 0), ":status: 415\n"));
    assert_non_null(
        strstr(ask(bare, "GET", "application/grpc", "a", "b", "", 0), ":status: 405\n"));
    assert_non_null(strstr(ask(bare, "POST", "application/grpcx", "a", "b", "", 0), "415"));
    assert_int_equal(bare->party.calls, 0);
    ask(bare, "POST", "application/grpc+proto", "a", "b", "", 0);
    ask(bare, "POST", "application/grpc;charset=x", "a", "b", "", 0);
    assert_int_equal(bare->party.calls, 2);
    buffer_reset(&bare->log);
    assert_non_null(strstr(ask(bare, "POST", "application/grpc", "grpc-timeout", "soon", "", 0),
                           "grpc-status: 13\n"));
    bare_free(bare);
}

static void test_server_refuses_broken_messages(void **state)
{
    (void)state;
    struct bare *bare = bare_new(false);
    const char *log =
        ask(bare, "POST", "application/grpc", "grpc-encoding", "gzip", "\1\0\0\0\1x", 6);
    assert_non_null(strstr(log, "grpc-status: 12\n"));
    assert_non_null(strstr(log, "grpc-accept-encoding: identity\n"));
    assert_int_equal(bare->party.code, GRPC_UNIMPLEMENTED);
    buffer_reset(&bare->log);
    log = ask(bare, "POST", "application/grpc", "a", "b", "\1\0\0\0\1x", 6);
    assert_non_null(strstr(log, "grpc-status: 13\n"));
    buffer_reset(&bare->log);
    log = ask(bare, "POST", "application/grpc", "a", "b", "\2\0\0\0\1x", 6);
    assert_non_null(strstr(log, "grpc-status: 13\n"));
    assert_non_null(strstr(log, "flag byte"));
    buffer_reset(&bare->log);
    log = ask(bare, "POST", "application/grpc", "a", "b", "\0\0\0\0\5xy", 7);
    assert_non_null(strstr(log, "grpc-status: 13\n"));
    assert_non_null(strstr(log, "in the middle"));
    buffer_reset(&bare->log);
    log = ask(bare, "POST", "application/grpc", "a", "b", "\0\xff\xff\xff\xff", 5);
    assert_non_null(strstr(log, "grpc-status: 8\n"));
    assert_int_equal(bare->party.messages, 0);
    assert_int_equal(bare->party.ends, 5);
    bare_free(bare);
}

static void test_server_ends_a_client_that_talks_on(void **state)
{
    (void)state;
    struct bare *bare = bare_new(false);
    bare->keep_open = true;
    bare->party.finish_at_start = true;
    bare->party.finish_code = GRPC_NOT_FOUND;
    bare->party.finish_message = "gone";
    const char *log = ask(bare, "POST", "application/grpc", "a", "b", "", 0);
    assert_non_null(strstr(log, "grpc-status: 5\ngrpc-message: gone\nEND\nRST NO_ERROR\n"));
    bare_free(bare);
}

static void test_server_takes_headers_up_to_a_limit(void **state)
{
    (void)state;
    struct bare *bare = bare_new(false);
    char *value = mem_zalloc(30001);
    memset(value, 'v', 30000);
    nghttp2_nv headers[] = {NV(":method", "POST"),
                            NV(":scheme", "http"),
                            NV(":path", "/x.Y/Z"),
                            NV(":authority", "h"),
                            NV("content-type", "application/grpc"),
                            NV("a", value),
                            NV("b", value),
                            NV("c", value)};
    nghttp2_submit_request(bare->session, NULL, headers, 6, NULL, NULL);
    bare_pump(bare);
    assert_int_equal(bare->party.calls, 1);
    /* nghttp2's sender refuses such blocks, so they are sent as HPACK by hand. */
    nghttp2_hd_deflater *deflater;
    nghttp2_hd_deflate_new(&deflater, 0);
    size_t room = nghttp2_hd_deflate_bound(deflater, headers, 8);
    uint8_t *block = mem_alloc(room);
    ssize_t length = nghttp2_hd_deflate_hd(deflater, block, room, headers, 8);
    assert_true(length > 0);
    struct buffer frames = {0};
    for (ssize_t at = 0; at < length; at += 16384) {
        ssize_t part = length - at < 16384 ? length - at : 16384;
        uint8_t head[9] = {(uint8_t)(part >> 16),
                           (uint8_t)(part >> 8),
                           (uint8_t)part,
                           at == 0 ? 1 : 9,
                           at + part == length ? 4 : 0,
                           0,
                           0,
                           0,
                           101};
        buffer_add(&frames, head, sizeof head);
        buffer_add(&frames, block + at, (size_t)part);
    }
    grpc_core_receive(bare->core, (uint8_t *)frames.data, frames.length, bare->now);
    bare_pump(bare);
    assert_int_equal(bare->party.calls, 1);
    buffer_free(&frames);
    nghttp2_hd_deflate_del(deflater);
    free(block);
    free(value);
    bare_free(bare);
}

static void test_pings_that_are_too_frequent(void **state)
{
    (void)state;
    struct bare *bare = bare_new(false);
    for (int i = 0; i < 100; i++) { /* at ease */
        bare->now += 5000;
        nghttp2_submit_ping(bare->session, 0, NULL);
        bare_pump(bare);
    }
    assert_null(strstr(buffer_text(&bare->log), "GOAWAY"));
    for (int i = 0; i < 10; i++) {
        bare->now += 100;
        nghttp2_submit_ping(bare->session, 0, NULL);
        bare_pump(bare);
    }
    assert_null(strstr(buffer_text(&bare->log), "GOAWAY")); /* some haste is forgiven */
    nghttp2_submit_ping(bare->session, 0, NULL);
    bare_pump(bare);
    assert_non_null(strstr(buffer_text(&bare->log), "GOAWAY ENHANCE_YOUR_CALM too_many_pings\n"));
    assert_true(grpc_core_done(bare->core, NULL));
    bare_free(bare);
}

static void test_pings_while_data_flows(void **state)
{
    (void)state;
    struct bare *bare = bare_new(false);
    bare->keep_open = true;
    bare->party.echo = true;
    ask(bare, "POST", "application/grpc", "a", "b", "", 0);
    for (int i = 0; i < 100; i++) {
        nghttp2_submit_ping(bare->session, 0, NULL);
        grpc_send(bare->party.call, "x", 1);
        bare_pump(bare);
    }
    assert_null(strstr(buffer_text(&bare->log), "GOAWAY"));
    bare_free(bare);
}

static void test_resets_without_end(void **state)
{
    (void)state;
    struct bare *bare = bare_new(false);
    bare->keep_open = true;
    int i = 0;
    for (; i < 2000 && !grpc_core_done(bare->core, NULL); i++) {
        ask(bare, "POST", "application/grpc", "a", "b", "", 0);
        nghttp2_submit_rst_stream(bare->session, 0, 2 * i + 1, NGHTTP2_CANCEL);
        bare_pump(bare);
    }
    assert_true(i > 500 && i < 1100);
    assert_non_null(strstr(buffer_text(&bare->log), "GOAWAY ENHANCE_YOUR_CALM"));
    assert_int_equal(bare->party.calls, bare->party.ends);
    bare_free(bare);
}

static void test_no_http2_at_all(void **state)
{
    (void)state;
    struct party party = {0};
    struct grpc_core_config config = server_config(&party);
    struct grpc_core *core = grpc_core_new(&config, 1);
    static const char request[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    grpc_core_receive(core, (const uint8_t *)request, sizeof request - 1, 1);
    struct error error;
    assert_true(grpc_core_done(core, &error));
    assert_non_null(strstr(error.message, "no HTTP/2"));
    assert_int_equal(grpc_core_deadline(core), UINT64_MAX);
    grpc_core_free(core);

    config = client_config();
    core = grpc_core_new(&config, 1);
    party.call = grpc_core_call(core, "/a", NULL, &events, &party);
    static const char answer[] = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
    grpc_core_receive(core, (const uint8_t *)answer, sizeof answer - 1, 1);
    struct buffer output = {0};
    grpc_core_output(core, &output, 65536);
    buffer_free(&output);
    assert_true(grpc_core_done(core, &error));
    assert_non_null(strstr(error.message, "10.0.0.2:8503"));
    grpc_core_fail(core, &error);
    assert_int_equal(party.code, GRPC_UNAVAILABLE);
    grpc_core_free(core);
}

/* What the client makes of an answer. `body` NULL: the headers are all there is. */
static struct party *answer(struct bare *bare, const nghttp2_nv *headers, size_t count,
                            const void *body, size_t length)
{
    struct party *party = &bare->party;
    party->call = grpc_core_call(bare->core, "/x.Y/Z", NULL, &events, party);
    bare_pump(bare);
    int32_t id = nghttp2_session_get_last_proc_stream_id(bare->session);
    nghttp2_data_provider provider = {.source.ptr = bare, .read_callback = bare_read};
    bare->body = body;
    bare->body_length = length;
    bare->body_sent = 0;
    assert_int_equal(
        nghttp2_submit_response(bare->session, id, headers, count, body == NULL ? NULL : &provider),
        0);
    bare_pump(bare);
    return party;
}

static void test_client_on_http_errors(void **state)
{
    (void)state;
    struct bare *bare = bare_new(true);
    nghttp2_nv unavailable[] = {NV(":status", "503"), NV("content-type", "text/html")};
    struct party *party = answer(bare, unavailable, 2, "<html>", 6);
    assert_int_equal(party->ends, 1);
    assert_int_equal(party->code, GRPC_UNAVAILABLE);
    assert_non_null(strstr(party->message, "503"));
    nghttp2_nv missing[] = {NV(":status", "404")};
    assert_int_equal(answer(bare, missing, 1, NULL, 0)->code, GRPC_UNIMPLEMENTED);
    nghttp2_nv html[] = {NV(":status", "200"), NV("content-type", "text/html")};
    assert_int_equal(answer(bare, html, 2, "<html>", 6)->code, GRPC_UNKNOWN);
    assert_int_equal(party->messages, 0);
    assert_int_equal(party->ends, 3);
    bare_free(bare);
}

static void test_client_on_odd_ends(void **state)
{
    (void)state;
    struct bare *bare = bare_new(true);
    nghttp2_nv plain[] = {NV(":status", "200"), NV("content-type", "application/grpc")};
    assert_int_equal(answer(bare, plain, 2, "\0\0\0\0\1x", 6)->code, GRPC_INTERNAL);
    assert_non_null(strstr(bare->party.message, "without trailers"));
    assert_int_equal(answer(bare, plain, 2, NULL, 0)->code, GRPC_UNKNOWN);
    assert_non_null(strstr(bare->party.message, "grpc-status"));
    bare->keep_open = true;
    assert_int_equal(answer(bare, plain, 2, "\1\0\0\0\1x", 6)->code, GRPC_INTERNAL);
    assert_non_null(strstr(bare->party.message, "compressed"));
    assert_non_null(strstr(buffer_text(&bare->log), "RST CANCEL"));
    nghttp2_nv odd[] = {NV(":status", "200"), NV("content-type", "application/grpc"),
                        NV("grpc-status", "77"), NV("grpc-message", "50%25 %zz%4"),
                        NV("grpc-status-details-bin", "CAk=")};
    struct party *party = answer(bare, odd, 5, NULL, 0);
    assert_int_equal(party->code, GRPC_UNKNOWN);
    assert_string_equal(party->message, "50% %zz%4");
    assert_int_equal(party->details_length, 2);
    assert_memory_equal(party->details, "\x08\x09", 2);
    bare_free(bare);
}

static void test_client_on_resets(void **state)
{
    (void)state;
    static const struct {
        uint32_t http2;
        enum grpc_code code;
    } cases[] = {
        {NGHTTP2_REFUSED_STREAM, GRPC_UNAVAILABLE},
        {NGHTTP2_CANCEL, GRPC_CANCELLED},
        {NGHTTP2_ENHANCE_YOUR_CALM, GRPC_RESOURCE_EXHAUSTED},
        {NGHTTP2_INADEQUATE_SECURITY, GRPC_PERMISSION_DENIED},
        {NGHTTP2_INTERNAL_ERROR, GRPC_INTERNAL},
        {NGHTTP2_NO_ERROR, GRPC_INTERNAL},
    };
    struct bare *bare = bare_new(true);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bare->party.call = grpc_core_call(bare->core, "/x.Y/Z", NULL, &events, &bare->party);
        bare_pump(bare);
        nghttp2_submit_rst_stream(bare->session, 0, (int32_t)(2 * i + 1), cases[i].http2);
        bare_pump(bare);
        assert_int_equal(bare->party.ends, i + 1);
        assert_int_equal(bare->party.code, cases[i].code);
    }
    bare_free(bare);
}

static void test_client_on_goaway(void **state)
{
    (void)state;
    struct bare *bare = bare_new(true);
    bare_pump(bare);
    bare->party.call = grpc_core_call(bare->core, "/x.Y/Z", NULL, &events, &bare->party);
    nghttp2_submit_goaway(bare->session, 0, 0, NGHTTP2_ENHANCE_YOUR_CALM,
                          (const uint8_t *)"too_many\npings", 14);
    bare_pump(bare);
    assert_int_equal(bare->party.ends, 1);
    assert_int_equal(bare->party.code, GRPC_UNAVAILABLE);
    assert_non_null(strstr(bare->party.message, "GOAWAY ENHANCE_YOUR_CALM, too_many?pings"));
    struct error error;
    assert_true(grpc_core_done(bare->core, &error));
    assert_non_null(strstr(error.message, "10.0.0.2:8503"));
    bare_free(bare);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_server_refuses_what_is_no_grpc),
        cmocka_unit_test(test_server_refuses_broken_messages),
        cmocka_unit_test(test_server_ends_a_client_that_talks_on),
        cmocka_unit_test(test_server_takes_headers_up_to_a_limit),
        cmocka_unit_test(test_pings_that_are_too_frequent),
        cmocka_unit_test(test_pings_while_data_flows),
        cmocka_unit_test(test_resets_without_end),
        cmocka_unit_test(test_no_http2_at_all),
        cmocka_unit_test(test_client_on_http_errors),
        cmocka_unit_test(test_client_on_odd_ends),
        cmocka_unit_test(test_client_on_resets),
        cmocka_unit_test(test_client_on_goaway),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
