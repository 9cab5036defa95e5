/* gRPC's text rules, and the state machines that guard an HTTP/2 connection. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "net/grpc_wire.h"
#include "net/http2_guard.h"

static void check_encoding(const char *message, const char *text)
{
    char *encoded = grpc_message_encode(message), *decoded = grpc_message_decode(text);
    assert_string_equal(encoded, text);
    assert_string_equal(decoded, message);
    free(encoded);
    free(decoded);
}

static void test_messages(void **state)
{
    (void)state;
    check_encoding("", "");
    check_encoding("plain ~ words", "plain ~ words");
    check_encoding("100%", "100%25");
    check_encoding("a\nb\x7f", "a%0Ab%7F");
    check_encoding("\xe2\x82\xac", "%E2%82%AC");
    char *decoded = grpc_message_decode("%e2%82%ac %00 %g1 %4");
    assert_string_equal(decoded, "\xe2\x82\xac %00 %g1 %4");
    free(decoded);
}

static void test_long_message_ends_at_a_character(void **state)
{
    (void)state;
    for (size_t lead = 0; lead < 12; lead++) {
        char message[3 * GRPC_MESSAGE_MAX + 1];
        memset(message, 'x', lead);
        for (size_t i = lead; i + 3 < sizeof message; i += 3)
            memcpy(message + i, "\xe2\x82\xac", 4);
        char *encoded = grpc_message_encode(message), *decoded = grpc_message_decode(encoded);
        assert_true(strlen(encoded) <= GRPC_MESSAGE_MAX);
        assert_true(strlen(encoded) > GRPC_MESSAGE_MAX - 9);
        assert_int_equal((strlen(decoded) - lead) % 3, 0);
        free(encoded);
        free(decoded);
    }
}

static void test_binary(void **state)
{
    (void)state;
    static const char *const texts[] = {"CAk=", "CAk"};
    for (int i = 0; i < 2; i++) {
        uint8_t *bytes;
        size_t length;
        assert_true(grpc_binary_decode(texts[i], &bytes, &length));
        assert_int_equal(length, 2);
        assert_memory_equal(bytes, "\x08\x09", 2);
        free(bytes);
    }
    uint8_t *bytes = NULL;
    size_t length;
    assert_false(grpc_binary_decode("C", &bytes, &length));
    assert_false(grpc_binary_decode("!!!!", &bytes, &length));
    assert_null(bytes);
    char *text = grpc_binary_encode("\x08\x09", 2);
    assert_string_equal(text, "CAk");
    free(text);
}

static void test_timeouts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t ms;
    } good[] = {{"1H", 3600000}, {"2M", 120000}, {"3S", 3000}, {"4m", 4},
                {"1u", 1},       {"2001u", 3},   {"1n", 1},    {"99999999H", 31536000000}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        uint64_t ms = 0;
        assert_true(grpc_timeout_parse(good[i].text, &ms));
        assert_int_equal(ms, good[i].ms);
    }
    static const char *const bad[] = {"", "S", "1", "1s", "1SS", "-1S", "123456789S", " 1S"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint64_t ms = 77;
        assert_false(grpc_timeout_parse(bad[i], &ms));
        assert_int_equal(ms, 77);
    }
}

static void test_codes(void **state)
{
    (void)state;
    assert_int_equal(grpc_code_parse("0"), GRPC_OK);
    assert_int_equal(grpc_code_parse("16"), GRPC_UNAUTHENTICATED);
    assert_int_equal(grpc_code_parse("17"), GRPC_UNKNOWN);
    assert_int_equal(grpc_code_parse(""), GRPC_UNKNOWN);
    assert_int_equal(grpc_code_parse("-1"), GRPC_UNKNOWN);
    assert_string_equal(grpc_code_name(GRPC_PERMISSION_DENIED), "PermissionDenied");
    assert_string_equal(grpc_code_name((enum grpc_code)99), "Unknown");
    assert_int_equal(grpc_code_of_error(ERR_DENIED), GRPC_PERMISSION_DENIED);
    assert_int_equal(grpc_code_of_error(ERR_NONE), GRPC_OK);
}

static void test_keepalive(void **state)
{
    (void)state;
    struct http2_keepalive keepalive = {.interval_ms = 30000, .timeout_ms = 10000, .since = 100};
    assert_int_equal(http2_keepalive_tick(&keepalive, 30099), HTTP2_KEEPALIVE_WAIT);
    http2_keepalive_heard(&keepalive, 20000);
    assert_int_equal(http2_keepalive_tick(&keepalive, 30100), HTTP2_KEEPALIVE_WAIT);
    assert_int_equal(http2_keepalive_tick(&keepalive, 50000), HTTP2_KEEPALIVE_PING);
    assert_int_equal(http2_keepalive_tick(&keepalive, 59999), HTTP2_KEEPALIVE_WAIT);
    assert_int_equal(http2_keepalive_tick(&keepalive, 60000), HTTP2_KEEPALIVE_DEAD);
    struct http2_keepalive none = {0};
    assert_int_equal(http2_keepalive_tick(&none, UINT64_MAX - 1), HTTP2_KEEPALIVE_WAIT);
}

static void test_resets_refill(void **state)
{
    (void)state;
    struct http2_resets resets = {0};
    uint64_t now = 1000;
    for (int i = 0; i < 10000; i++, now += 40) /* 25 a second, for ever */
        assert_true(http2_resets_allow(&resets, now));
    unsigned burst = 0;
    while (http2_resets_allow(&resets, now))
        burst++;
    assert_true(burst > HTTP2_RESET_BURST / 2 && burst <= HTTP2_RESET_BURST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_long_message_ends_at_a_character),
        cmocka_unit_test(test_binary),
        cmocka_unit_test(test_timeouts),
        cmocka_unit_test(test_codes),
        cmocka_unit_test(test_keepalive),
        cmocka_unit_test(test_resets_refill),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
