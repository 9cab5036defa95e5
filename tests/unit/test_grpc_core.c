/* gRPC without sockets: a server and a client back to back in memory. */
#include "grpc_party.h"

struct pair {
    struct grpc_core *server, *client;
    struct party s, c;
    uint64_t now;
    size_t part; /* bytes are handed over in parts of this size */
};

static struct pair *pair_new(void)
{
    struct pair *pair = mem_zalloc(sizeof *pair);
    struct grpc_core_config server = server_config(&pair->s), client = client_config();
    pair->now = 1000;
    pair->part = 1500;
    pair->server = grpc_core_new(&server, pair->now);
    pair->client = grpc_core_new(&client, pair->now);
    return pair;
}

static void pair_free(struct pair *pair)
{
    grpc_core_free(pair->server);
    grpc_core_free(pair->client);
    buffer_free(&pair->s.last);
    buffer_free(&pair->c.last);
    free(pair);
}

static bool carry(struct pair *pair, struct grpc_core *from, struct grpc_core *to)
{
    struct buffer bytes = {0};
    grpc_core_dispatch(from);
    bool some = grpc_core_output(from, &bytes, 65536);
    for (size_t at = 0; at < bytes.length;) {
        size_t part = bytes.length - at < pair->part ? bytes.length - at : pair->part;
        /* A copy of its own, so that a sanitizer sees every byte read too far. */
        uint8_t *copy = mem_dup(bytes.data + at, part);
        grpc_core_receive(to, copy, part, pair->now);
        free(copy);
        at += part;
    }
    buffer_free(&bytes);
    return some;
}

static void pump(struct pair *pair)
{
    for (bool some = true; some;) {
        some = carry(pair, pair->client, pair->server);
        some |= carry(pair, pair->server, pair->client);
    }
    grpc_core_dispatch(pair->client);
    grpc_core_dispatch(pair->server);
}

static void start(struct pair *pair, const char *const *metadata)
{
    pair->c.call = grpc_core_call(pair->client, "/pkg.Service/Method", metadata, &events, &pair->c);
}

static uint8_t *pattern(size_t length)
{
    uint8_t *bytes = mem_alloc(length);
    for (size_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)(i * 31 + i / 251);
    return bytes;
}

/* ---- calls that go well ---- */

static void test_unary(void **state)
{
    (void)state;
    struct pair *pair = pair_new();
    static const char *const metadata[] = {"x-consul-token", "abc", NULL};
    pair->s.echo = pair->s.finish_at_half_close = true;
    start(pair, metadata);
    assert_true(grpc_send(pair->c.call, "hello", 5));
    grpc_half_close(pair->c.call);
    assert_false(grpc_send(pair->c.call, "late", 4));
    pump(pair);
    assert_int_equal(pair->s.messages, 1);
    assert_int_equal(pair->c.messages, 1);
    assert_memory_equal(pair->c.last.data, "hello", 5);
    assert_int_equal(pair->c.ends, 1);
    assert_int_equal(pair->c.code, GRPC_OK);
    assert_string_equal(pair->c.message, "");
    assert_string_equal(pair->s.seen, ":authority=server.dc1.peering\n:scheme=https\nte=trailers\n"
                                      "content-type=application/grpc\nuser-agent=pons/" PONS_VERSION
                                      "\nx-consul-token=abc\nno-such-name=-\n");
    assert_int_equal(pair->s.ends, 0); /* it finished the call itself */
    pair_free(pair);
}

static void test_large_messages_both_ways(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 61150, 65535, 70000, MIB, 3 * MIB};
    struct pair *pair = pair_new();
    pair->s.echo = true;
    start(pair, NULL);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint8_t *bytes = pattern(sizes[i]);
        assert_true(grpc_send(pair->c.call, bytes, sizes[i]));
        pump(pair);
        assert_int_equal(pair->c.messages, i + 1);
        assert_int_equal(pair->c.last.length, sizes[i]);
        if (sizes[i] > 0)
            assert_memory_equal(pair->c.last.data, bytes, sizes[i]);
        free(bytes);
    }
    pair_free(pair);
}

static void test_many_messages_in_one_write_and_byte_by_byte(void **state)
{
    (void)state;
    struct pair *pair = pair_new();
    pair->part = 1;
    pair->s.echo = true;
    start(pair, NULL);
    for (int i = 0; i < 200; i++)
        assert_true(grpc_send(pair->c.call, "message", (size_t)i % 8));
    pump(pair);
    assert_int_equal(pair->s.messages, 200);
    assert_int_equal(pair->c.messages, 200);
    pair_free(pair);
}

static void test_finish_comes_after_what_is_queued(void **state)
{
    (void)state;
    struct pair *pair = pair_new();
    uint8_t *bytes = pattern(3 * MIB);
    start(pair, NULL);
    pump(pair);
    for (int i = 0; i < 3; i++)
        assert_true(grpc_send(pair->s.call, bytes, 3 * MIB));
    assert_int_equal(grpc_queued(pair->s.call), 3 * (3 * MIB + 5));
    grpc_finish(pair->s.call, GRPC_ABORTED, "over", NULL, 0);
    pump(pair);
    assert_int_equal(pair->c.messages, 3);
    assert_int_equal(pair->c.code, GRPC_ABORTED);
    assert_string_equal(pair->c.message, "over");
    free(bytes);
    pair_free(pair);
}

static void test_queue_is_told_and_drains(void **state)
{
    (void)state;
    struct pair *pair = pair_new();
    uint8_t *bytes = pattern(2 * MIB);
    start(pair, NULL);
    pump(pair);
    assert_true(grpc_send(pair->s.call, bytes, 2 * MIB));
    struct buffer held = {0};
    while (grpc_core_output(pair->server, &held, 65536)) /* nobody reads: the window ends it */
        ;
    assert_int_equal(pair->s.drains, 0);
    assert_true(grpc_queued(pair->s.call) > MIB / 2);
    buffer_free(&held);
    pair_free(pair);

    pair = pair_new();
    start(pair, NULL);
    pump(pair);
    assert_true(grpc_send(pair->s.call, bytes, 2 * MIB));
    pump(pair);
    assert_int_equal(pair->s.drains, 1);
    assert_int_equal(grpc_queued(pair->s.call), 0);
    free(bytes);
    pair_free(pair);
}

/* ---- errors that the server's owner sends ---- */

static void test_trailers_only_error_with_details(void **state)
{
    (void)state;
    struct pair *pair = pair_new();
    static const char words[] = "100% na\xc3\xafve\nsecond \"line\"";
    pair->s.finish_at_start = true;
    pair->s.finish_code = GRPC_FAILED_PRECONDITION;
    pair->s.finish_message = words;
    memcpy(pair->s.details, "\x08\x09\x00\xff", 4);
    pair->s.details_length = 4;
    start(pair, NULL);
    grpc_send(pair->c.call, "x", 1);
    pump(pair);
    assert_int_equal(pair->c.ends, 1);
    assert_int_equal(pair->c.code, GRPC_FAILED_PRECONDITION);
    assert_string_equal(pair->c.message, words);
    assert_int_equal(pair->c.details_length, 4);
    assert_memory_equal(pair->c.details, "\x08\x09\x00\xff", 4);
    pair_free(pair);
}

static void test_long_words_are_cut_not_lost(void **state)
{
    (void)state;
    struct pair *pair = pair_new();
    char *words = mem_alloc(100001);
    for (size_t i = 0; i < 100000; i += 2)
        memcpy(words + i, "\xc3\xa9", 2);
    words[100000] = '\0';
    pair->s.finish_at_start = true;
    pair->s.finish_code = GRPC_INTERNAL;
    pair->s.finish_message = words;
    start(pair, NULL);
    pump(pair);
    assert_int_equal(pair->c.code, GRPC_INTERNAL);
    assert_int_equal(strlen(pair->c.message), sizeof pair->c.message - 1);
    free(words);
    pair_free(pair);
}

static void test_finish_from_inside_of_a_message(void **state)
{
    (void)state;
    struct pair *pair = pair_new();
    pair->s.finish_at_message = true;
    pair->s.finish_code = GRPC_INVALID_ARGUMENT;
    pair->s.finish_message = "no";
    start(pair, NULL);
    for (int i = 0; i < 3; i++)
        grpc_send(pair->c.call, "abc", 3);
    pump(pair);
    assert_int_equal(pair->s.messages, 1); /* what follows is not delivered to an owner that left */
    assert_int_equal(pair->s.ends, 0);
    assert_int_equal(pair->c.code, GRPC_INVALID_ARGUMENT);
    pair_free(pair);
}

/* ---- cancelling ---- */

static void test_client_cancels(void **state)
{
    (void)state;
    struct pair *pair = pair_new();
    start(pair, NULL);
    pump(pair);
    grpc_cancel(pair->c.call);
    pump(pair);
    assert_int_equal(pair->c.ends, 0);
    assert_int_equal(pair->s.ends, 1);
    assert_int_equal(pair->s.code, GRPC_CANCELLED);
    assert_non_null(strstr(pair->s.message, "10.0.0.1:4000"));
    pair_free(pair);
}

static void test_client_cancels_before_anything_is_sent(void **state)
{
    (void)state;
    struct pair *pair = pair_new();
    start(pair, NULL);
    grpc_cancel(pair->c.call);
    pump(pair);
    assert_int_equal(pair->c.ends, 0);
    assert_int_equal(pair->s.calls, pair->s.ends);
    pair_free(pair);
}

static void test_cancel_from_inside_of_a_message(void **state)
{
    (void)state;
    struct pair *pair = pair_new();
    pair->s.echo = true;
    pair->c.cancel_at_message = true;
    start(pair, NULL);
    for (int i = 0; i < 3; i++)
        grpc_send(pair->c.call, "abc", 3);
    pump(pair);
    assert_int_equal(pair->c.messages, 1);
    assert_int_equal(pair->c.ends, 0);
    assert_int_equal(pair->s.code, GRPC_CANCELLED);
    pair_free(pair);
}

static void test_server_cancels(void **state)
{
    (void)state;
    struct pair *pair = pair_new();
    start(pair, NULL);
    pump(pair);
    grpc_cancel(pair->s.call);
    pump(pair);
    assert_int_equal(pair->s.ends, 0);
    assert_int_equal(pair->c.ends, 1);
    assert_int_equal(pair->c.code, GRPC_CANCELLED);
    pair_free(pair);
}

/* ---- limits ---- */

static void test_message_over_the_limit(void **state)
{
    (void)state;
    struct pair *pair = pair_new();
    uint8_t *bytes = pattern(4 * MIB + 1);
    start(pair, NULL);
    grpc_send(pair->c.call, bytes, 4 * MIB + 1);
    pump(pair);
    assert_int_equal(pair->s.code, GRPC_RESOURCE_EXHAUSTED); /* both owners learn it */
    assert_int_equal(pair->c.code, GRPC_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(pair->c.message, "4194305"));
    assert_non_null(strstr(pair->c.message, "/pkg.Service/Method"));

    start(pair, NULL);
    pump(pair);
    grpc_send(pair->s.call, bytes, 4 * MIB + 1);
    pump(pair);
    assert_int_equal(pair->c.ends, 2);
    assert_int_equal(pair->c.code, GRPC_RESOURCE_EXHAUSTED);
    assert_int_equal(pair->s.code, GRPC_CANCELLED);
    free(bytes);
    pair_free(pair);
}

static void test_unfinished_messages_are_bounded_together(void **state)
{
    (void)state;
    struct pair *pair = pair_new();
    struct grpc_call *calls[4];
    uint8_t *bytes = pattern(4 * MIB);
    struct party parties[4] = {0};
    for (int i = 0; i < 4; i++) {
        calls[i] = grpc_core_call(pair->client, "/pkg.Service/Method", NULL, &events, &parties[i]);
        grpc_send(calls[i], bytes, 4 * MIB);
    }
    pump(pair); /* they are interleaved, so that none is complete when 8 MiB are in */
    unsigned refused = 0;
    for (int i = 0; i < 4; i++)
        refused += parties[i].ends == 1 && parties[i].code == GRPC_RESOURCE_EXHAUSTED;
    assert_true(refused > 0 && refused < 4);
    free(bytes);
    pair_free(pair);
}

static void test_metadata_with_a_line_break(void **state)
{
    (void)state;
    struct pair *pair = pair_new();
    static const char *const metadata[] = {"x-consul-token", "secret\r\nevil: 1", NULL};
    start(pair, metadata);
    assert_int_equal(pair->c.ends, 0); /* not from inside of the call */
    assert_false(grpc_send(pair->c.call, "x", 1));
    pump(pair);
    assert_int_equal(pair->c.code, GRPC_INVALID_ARGUMENT);
    assert_non_null(strstr(pair->c.message, "x-consul-token"));
    assert_null(strstr(pair->c.message, "secret"));
    assert_int_equal(pair->s.calls, 0);
    pair_free(pair);
}

static void test_more_calls_than_the_server_takes_at_once(void **state)
{
    (void)state;
    struct pair *pair = pair_new();
    struct party *parties = mem_array(2050, sizeof *parties);
    pump(pair);
    for (int i = 0; i < 2050; i++)
        parties[i].call = grpc_core_call(pair->client, "/a", NULL, &events, &parties[i]);
    pump(pair);
    assert_int_equal(pair->s.calls, 2048); /* the others wait */
    grpc_cancel(parties[0].call);
    grpc_cancel(parties[1].call);
    pump(pair);
    assert_int_equal(pair->s.calls, 2050);
    free(parties);
    pair_free(pair);
}

/* ---- the connection's life ---- */

static void test_deadline(void **state)
{
    (void)state;
    struct pair *pair = pair_new();
    static const char *const metadata[] = {"grpc-timeout", "500m", NULL};
    start(pair, metadata);
    pump(pair);
    assert_int_equal(grpc_core_deadline(pair->server), pair->now + 500);
    grpc_core_tick(pair->server, pair->now + 499);
    assert_int_equal(pair->s.ends, 0);
    grpc_core_tick(pair->server, pair->now + 500);
    pump(pair);
    assert_int_equal(pair->s.code, GRPC_DEADLINE_EXCEEDED);
    assert_int_equal(pair->c.code, GRPC_DEADLINE_EXCEEDED);
    pair_free(pair);
}

static void test_keepalive(void **state)
{
    (void)state;
    struct pair *pair = pair_new();
    pump(pair);
    for (int i = 0; i < 5; i++) { /* answered pings keep it alive for ever */
        pair->now = grpc_core_deadline(pair->client);
        grpc_core_tick(pair->client, pair->now);
        pump(pair);
        assert_false(grpc_core_done(pair->client, NULL));
    }
    assert_int_equal(pair->now, 1000 + 5 * 30000);
    start(pair, NULL);
    struct buffer lost = {0};
    grpc_core_tick(pair->client, pair->now + 30000);
    assert_true(grpc_core_output(pair->client, &lost, 65536));
    assert_int_equal(grpc_core_deadline(pair->client), pair->now + 40000);
    grpc_core_tick(pair->client, pair->now + 40000);
    struct error error;
    assert_true(grpc_core_done(pair->client, &error));
    assert_non_null(strstr(error.message, "10.0.0.2:8503"));
    assert_non_null(strstr(error.message, "keep-alive"));
    grpc_core_fail(pair->client, &error);
    assert_int_equal(pair->c.code, GRPC_UNAVAILABLE);
    assert_non_null(strstr(pair->c.message, "keep-alive"));
    buffer_free(&lost);
    pair_free(pair);
}

static void test_connection_dies(void **state)
{
    (void)state;
    struct pair *pair = pair_new();
    struct party other = {0}, third = {0};
    start(pair, NULL);
    other.call = grpc_core_call(pair->client, "/other", NULL, &events, &other);
    third.call = grpc_core_call(pair->client, "/third", NULL, &events, &third);
    pump(pair);
    pair->c.cancel_at_end = other.call; /* an end that pulls down another call, and opens one */
    pair->c.open_at_end = pair->client;
    struct error error;
    error_set(&error, ERR_IO, "read from 10.0.0.2:8503: connection reset by peer");
    grpc_core_fail(pair->client, &error);
    assert_int_equal(pair->c.ends, 1);
    assert_int_equal(pair->c.code, GRPC_UNAVAILABLE);
    assert_string_equal(pair->c.message, error.message);
    assert_int_equal(other.ends, 0);
    assert_int_equal(third.ends, 1);
    assert_non_null(pair->c.call);
    pair->c.cancel_at_end = NULL;
    grpc_core_dispatch(pair->client);
    assert_int_equal(pair->c.ends, 2);
    assert_int_equal(pair->c.code, GRPC_UNAVAILABLE);
    grpc_core_fail(pair->server, NULL);
    assert_int_equal(pair->s.code, GRPC_UNAVAILABLE);
    assert_string_equal(pair->s.message, "10.0.0.1:4000 closed the connection");
    pair_free(pair);
}

static void test_server_shuts_down(void **state)
{
    (void)state;
    struct pair *pair = pair_new();
    start(pair, NULL);
    pump(pair);
    grpc_core_shutdown(pair->server);
    assert_int_equal(pair->s.code, GRPC_UNAVAILABLE);
    pump(pair);
    assert_int_equal(pair->c.code, GRPC_UNAVAILABLE);
    assert_string_equal(pair->c.message, "the server is shutting down");
    assert_true(grpc_core_done(pair->server, NULL));
    assert_true(grpc_core_done(pair->client, NULL));
    start(pair, NULL); /* too late, but the owner is told */
    pump(pair);
    assert_int_equal(pair->c.ends, 2);
    assert_int_equal(pair->c.code, GRPC_UNAVAILABLE);
    assert_non_null(strstr(pair->c.message, "GOAWAY"));
    pair_free(pair);
}

static void test_silence(void **state)
{
    (void)state;
    struct pair *pair = pair_new();
    start(pair, NULL);
    pump(pair);
    grpc_core_silence(pair->client);
    grpc_send(pair->s.call, "x", 1);
    grpc_finish(pair->s.call, GRPC_OK, NULL, NULL, 0);
    pump(pair);
    grpc_core_fail(pair->client, NULL);
    assert_int_equal(pair->c.messages + pair->c.ends, 0);
    pair_free(pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unary),
        cmocka_unit_test(test_large_messages_both_ways),
        cmocka_unit_test(test_many_messages_in_one_write_and_byte_by_byte),
        cmocka_unit_test(test_finish_comes_after_what_is_queued),
        cmocka_unit_test(test_queue_is_told_and_drains),
        cmocka_unit_test(test_trailers_only_error_with_details),
        cmocka_unit_test(test_long_words_are_cut_not_lost),
        cmocka_unit_test(test_finish_from_inside_of_a_message),
        cmocka_unit_test(test_client_cancels),
        cmocka_unit_test(test_client_cancels_before_anything_is_sent),
        cmocka_unit_test(test_cancel_from_inside_of_a_message),
        cmocka_unit_test(test_server_cancels),
        cmocka_unit_test(test_message_over_the_limit),
        cmocka_unit_test(test_unfinished_messages_are_bounded_together),
        cmocka_unit_test(test_metadata_with_a_line_break),
        cmocka_unit_test(test_more_calls_than_the_server_takes_at_once),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_keepalive),
        cmocka_unit_test(test_connection_dies),
        cmocka_unit_test(test_server_shuts_down),
        cmocka_unit_test(test_silence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
