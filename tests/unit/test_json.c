/* Without these, a client could crash the server with brackets, or see other JSON than Go's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
/* cmocka.h needs the headers above. */
#include <cmocka.h>

#include "text/json.h"

static void assert_written(const char *input, const char *output)
{
    struct error error = {0};
    json_t *value = json_parse(input, strlen(input), NULL, &error);
    if (value == NULL)
        fail_msg("%s", error.message);
    struct buffer text = {0};
    json_write(&text, value);
    assert_string_equal(buffer_text(&text), output);
    buffer_free(&text);
    json_decref(value);
}

static void assert_error(const char *input, const char *name, const char *message)
{
    struct error error = {0};
    assert_null(json_parse(input, strlen(input), name, &error));
    assert_string_equal(error.message, message);
    assert_int_equal(error.code, ERR_INVALID);
}

static void test_round_trip(void **state)
{
    (void)state;
    assert_written(" {\"b\":1, \"a\":[true,false,null, \"x\"]} ",
                   "{\"b\":1,\"a\":[true,false,null,\"x\"]}");
    assert_written("9223372036854775807", "9223372036854775807");
    assert_written("{\"Hash\":17756122927576899394,\"a\":7}",
                   "{\"Hash\":17756122927576899584,\"a\":7}");
    assert_written("-17756122927576899394", "-17756122927576899584");
    assert_written("[1.5,1.0,0.1,1e-7,1e21,123456.75,-0.25]",
                   "[1.5,1,0.1,1e-7,1e+21,123456.75,-0.25]");
    assert_written("\"\\u00e9\\ud83d\\ude00\"", "\"é😀\"");
}

static void test_strings_are_escaped_as_in_go(void **state)
{
    (void)state;
    struct buffer text = {0};
    json_write_string(&text, "<a href=\"x\">&\\\n\t\r\x01\x7f é \xe2\x80\xa8 \xff \xed\xa0\x80");
    assert_string_equal(buffer_text(&text),
                        "\"\\u003ca href=\\\"x\\\"\\u003e\\u0026\\\\\\n\\t\\r\\u0001\x7f é "
                        "\\u2028 \\ufffd \\ufffd\\ufffd\\ufffd\"");
    buffer_free(&text);
}

static void test_errors_name_line_and_column(void **state)
{
    (void)state;
    assert_error("{\n \"a\": x}", "web.json", "web.json:2:7: invalid token near 'x'");
    assert_error("{\"a\":1} 2", NULL, "line 1, column 9: end of file expected near '2'");
    assert_error("\"\\u0000\"", NULL, "line 1, column 8: a string may not contain \\u0000");
    struct error error = {0};
    assert_null(json_parse("", 0, NULL, &error));
    assert_null(json_parse("\"\xff\"", 3, NULL, &error));
    assert_null(json_parse("[\0 1]", 5, NULL, &error));
    assert_error("1e999", NULL, "line 1, column 5: real number overflow near '1e999'");
}

static void test_depth_is_limited(void **state)
{
    (void)state;
    char text[2 * JSON_DEPTH_MAX + 3];
    memset(text, '[', JSON_DEPTH_MAX);
    memset(text + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
    text[2 * JSON_DEPTH_MAX] = '\0';
    assert_written(text, text);
    memset(text, '[', JSON_DEPTH_MAX + 1);
    assert_error(text, "x", "x: line 1: nested deeper than 64 levels");
    assert_written(
        "\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[\"",
        "\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[\"");
}

static void test_pretty(void **state)
{
    (void)state;
    struct buffer text = {0};
    const char *json = "{\"a\":[1,{\"b\":\"x,{\\\"\"}],\"c\":{},\"d\":[]}";
    json_write_pretty(&text, json, strlen(json));
    assert_string_equal(buffer_text(&text),
                        "{\n    \"a\": [\n        1,\n        {\n            \"b\": "
                        "\"x,{\\\"\"\n        }\n    ],\n    \"c\": {},\n    \"d\": []\n}");
    buffer_free(&text);
}

/* A text that shall stand in a list: places are those of the text, and it cannot leave the list. */
static void test_lists(void **state)
{
    (void)state;
    static const struct {
        const char *text, *error;
    } bad[] = {
        {"{,}", "x:1:2: "},
        {"{}, 1,\n 2 3", "x:2:4: "},
        {"{}], [{}", "x:1:4: "},
        {"1,", "x:1:3: "},
    };
    struct error error;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_null(json_parse_list(bad[i].text, "x", &error));
        if (strncmp(error.message, bad[i].error, strlen(bad[i].error)) != 0)
            fail_msg("%s: %s", bad[i].text, error.message);
    }
    json_t *list = json_parse_list("{}, {\"A\": null, \"a\": 1}", NULL, NULL);
    assert_int_equal(json_array_size(list), 2);
    assert_int_equal(json_integer_value(json_get_nocase(json_array_get(list, 1), "A")), 1);
    assert_null(json_get_nocase(json_array_get(list, 1), "b"));
    json_decref(list);
    list = json_parse_list("", NULL, NULL);
    assert_int_equal(json_array_size(list), 0);
    json_decref(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_strings_are_escaped_as_in_go),
        cmocka_unit_test(test_errors_name_line_and_column),
        cmocka_unit_test(test_depth_is_limited),
        cmocka_unit_test(test_pretty),
        cmocka_unit_test(test_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
