/* Without these, a service or agent file that works with Consul would be read otherwise here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
/* cmocka.h needs the headers above. */
#include <cmocka.h>

#include "proto/codec_tables.h"
#include "text/codec.h"
#include "text/hcl.h"
#include "text/json.h"

static void assert_json(const char *hcl, const char *json)
{
    struct error error = {0};
    json_t *value = hcl_parse(hcl, strlen(hcl), "web.hcl", NULL, &error);
    if (value == NULL)
        fail_msg("%s", error.message);
    struct buffer output = {0};
    json_write(&output, value);
    assert_string_equal(buffer_text(&output), json);
    buffer_free(&output);
    json_decref(value);
}

static void assert_error(const char *hcl, const char *message)
{
    struct error error = {0};
    json_t *value = hcl_parse(hcl, strlen(hcl), "web.hcl", NULL, &error);
    assert_null(value);
    assert_string_equal(error.message, message);
}

static void test_values(void **state)
{
    (void)state;
    assert_json("", "{}");
    assert_json("# a\n// b\n/* c\n d */\n", "{}");
    assert_json("a = 1\nb=-2\nc = 0x1F\nd = 017\ne = 1.5\nf = 1e3\ng = true\nh = false",
                "{\"a\":1,\"b\":-2,\"c\":31,\"d\":15,\"e\":1.5,\"f\":1000,\"g\":true,\"h\":false}");
    assert_json("a = [1, \"x\", [], {b = 2},\n]", "{\"a\":[1,\"x\",[],{\"b\":2}]}");
    assert_json("a = 9223372036854775807", "{\"a\":9223372036854775807}");
    assert_json("a.b-c_d = 1\n\"x y\" = 2", "{\"a.b-c_d\":1,\"x y\":2}");
    assert_json("{ \"a\": 1 }", "{\"a\":1}");
    assert_json("\xef\xbb\xbf"
                "a = 1\r\nb = 2\r\n",
                "{\"a\":1,\"b\":2}");
}

static void test_strings(void **state)
{
    (void)state;
    assert_json("a = \"\\n\\t\\r\\\"\\\\\"", "{\"a\":\"\\n\\t\\r\\\"\\\\\"}");
    assert_json("a = \"\\u00e9\\U0001F600\\xc3\\xa9\\101\"", "{\"a\":\"é😀éA\"}");
    assert_json("a = \"${f(\"x\")} b\"", "{\"a\":\"${f(\\\"x\\\")} b\"}");
    assert_json("a = \"${ {\n} }\"", "{\"a\":\"${ {\\n} }\"}");
    assert_json("a = \"$5 {}\"", "{\"a\":\"$5 {}\"}");
}

static void test_heredocs(void **state)
{
    (void)state;
    assert_json("a = <<EOF\n  one\n\"two\"\nEOF\nb = 1",
                "{\"a\":\"  one\\n\\\"two\\\"\\n\",\"b\":1}");
    assert_json("a = <<-EOF\n    one\n      two\n    EOF\n", "{\"a\":\"one\\n  two\\n\"}");
    assert_json("a = <<-EOF\n  one\n    two\n    EOF\n", "{\"a\":\"  one\\n    two\\n\"}");
    assert_json("a = <<EOF\nEOF", "{\"a\":\"\"}");
    assert_json("a = <<-EOF\n    x\n\n    y\n    EOF", "{\"a\":\"x\\n\\ny\\n\"}");
}

static void test_blocks_are_lists(void **state)
{
    (void)state;
    assert_json("service { name = \"web\" }", "{\"service\":[{\"name\":\"web\"}]}");
    assert_json("service \"web\" { port = 80 }", "{\"service\":[{\"web\":[{\"port\":80}]}]}");
    assert_json("services { a = 1 }\nservices { a = 2 }", "{\"services\":[{\"a\":1},{\"a\":2}]}");
    assert_json("connect { sidecar_service {} }", "{\"connect\":[{\"sidecar_service\":[{}]}]}");
    assert_json("meta = { a = \"b\", c = \"d\" }", "{\"meta\":[{\"a\":\"b\",\"c\":\"d\"}]}");
    assert_json("a { b = 1, c = 2, }", "{\"a\":[{\"b\":1,\"c\":2}]}");
    assert_json("a { b = 1 c = 2 }", "{\"a\":[{\"b\":1,\"c\":2}]}");
}

static void test_a_key_set_twice_is_told(void **state)
{
    (void)state;
    struct text_list warnings = {0};
    const char *hcl = "name = \"a\"\nport = 1\n\n  name = \"b\"\n";
    json_t *value = hcl_parse(hcl, strlen(hcl), "web.hcl", &warnings, NULL);
    assert_string_equal(json_string_value(json_object_get(value, "name")), "b");
    assert_int_equal(warnings.count, 1);
    assert_string_equal(warnings.items[0],
                        "web.hcl:4:3: \"name\" is set twice; this, the last one, is used");
    text_list_free(&warnings);
    json_decref(value);
}

static void test_errors_name_place_and_wish(void **state)
{
    (void)state;
    assert_error("a = 1\nb {\n  c = }\n", "web.hcl:3:7: expected a value, found '}'");
    assert_error("a", "web.hcl:1:2: expected '=' or '{' behind the key, found the end of the file");
    assert_error("a: 1", "web.hcl:1:2: expected '=' or '{' behind the key, found ':'");
    assert_error("a \"b\" = 1", "web.hcl:1:7: expected '{' behind several keys, found '='");
    assert_error("a = web",
                 "web.hcl:1:5: expected a value, found the word web; put text in double quotes");
    assert_error("a = \"x\n\"", "web.hcl:1:5: the string that begins here has no end on its line");
    assert_error("a = \"\\q\"", "web.hcl:1:6: unknown escape in a string; a backslash itself is "
                                "written \\\\");
    assert_error("a = \"\\xff\"", "web.hcl:1:5: the string is not valid UTF-8");
    assert_error("a = \"\\u0000\"", "web.hcl:1:6: the escape stands for no character");
    assert_error("a = \"\\u12\"", "web.hcl:1:6: the escape needs 4 digits");
    assert_error("a {\n b = 1\n", "web.hcl:1:3: the '{' here has no '}'");
    assert_error("a = [1, 2\n", "web.hcl:2:1: expected ',' or ']', found the end of the file");
    assert_error("a = [1 2]", "web.hcl:1:8: expected ',' or ']', found '2'");
    assert_error("a = 1 }", "web.hcl:1:7: expected a new line or ',', found '}'");
    assert_error("a = 08", "web.hcl:1:5: \"08\" is not a number; put text in double quotes");
    assert_error("a = 10s", "web.hcl:1:5: \"10s\" is not a number; put text in double quotes");
    assert_error("a = 99999999999999999999",
                 "web.hcl:1:5: the number 99999999999999999999 is too large");
    assert_error("a = 1e999", "web.hcl:1:5: the number 1e999 is too large");
    assert_error("a = <<EOF\nx\n", "web.hcl:1:5: the heredoc that begins here has no closing EOF");
    assert_error("a = << EOF\nx\n", "web.hcl:1:5: a heredoc begins with << and its marker, such as "
                                    "<<EOF, and a new line");
    assert_error("/* x", "web.hcl:1:1: the comment that begins here has no end: add */");
    assert_error("a = \"${x\"", "web.hcl:1:6: the ${ that begins here has no }");
    assert_error("é = @", "web.hcl:1:5: expected a value, found '@'");
    assert_error("{\"a\": }", "web.hcl:1:7: unexpected token near '}'");
}

static void test_depth_is_limited(void **state)
{
    (void)state;
    struct buffer text = {0};
    buffer_add_text(&text, "a = ");
    for (int i = 0; i < 100000; i++)
        buffer_add_byte(&text, '[');
    assert_error(buffer_text(&text), "web.hcl:1:37: nested deeper than 32 levels");
    buffer_reset(&text);
    for (int i = 0; i < 100000; i++)
        buffer_add_text(&text, "a ");
    assert_error(buffer_text(&text), "web.hcl:1:67: nested deeper than 32 levels");
    buffer_free(&text);
}

static void assert_service(const char *hcl, const char *json)
{
    struct error error = {0};
    struct arena *arena = arena_new();
    json_t *value = hcl_parse(hcl, strlen(hcl), "web.hcl", NULL, &error);
    assert_non_null(value);
    json_t *block = json_object_get(value, "service");
    void *service = codec_read(&pb__service_definition__codec, block, CODEC_HCL, arena, &error);
    struct buffer output = {0};
    if (service != NULL)
        codec_write(&output, &pb__service_definition__codec, service);
    else
        buffer_add_text(&output, error.message);
    assert_string_equal(buffer_text(&output), json);
    buffer_free(&output);
    json_decref(value);
    arena_free(arena);
}

static void test_blocks_fit_the_schema(void **state)
{
    (void)state;
    assert_service(
        "service {\n name = \"web\"\n port = 80\n meta { a = \"1\" }\n meta { b = \"2\" }\n"
        " tagged_addresses { lan { address = \"10.0.0.1\" port = 8 } }\n"
        " checks { http = \"x\" header { Accept = [\"*/*\"] } }\n"
        " checks { ttl = \"5s\" }\n"
        " connect { sidecar_service { proxy { upstreams { destination_name = \"db\" }\n"
        "  config { a { b = 1 } l = [1, 2] m { x = 1 } m { x = 2 } } } } }\n}",
        "{\"Name\":\"web\",\"TaggedAddresses\":{\"lan\":{\"Address\":\"10.0.0.1\","
        "\"Port\":8}},\"Meta\":{\"a\":\"1\",\"b\":\"2\"},\"Port\":80,"
        "\"Checks\":[{\"HTTP\":\"x\",\"Header\":{\"Accept\":[\"*/*\"]}},"
        "{\"TTL\":\"5s\"}],\"Connect\":{\"SidecarService\":{\"Proxy\":{\"Mode\":\"\","
        "\"Config\":{\"a\":{\"b\":1},\"l\":[1,2],\"m\":[{\"x\":1},{\"x\":2}]},"
        "\"Upstreams\":[{\"DestinationName\":\"db\",\"MeshGateway\":{}}],"
        "\"MeshGateway\":{},\"Expose\":{}}}}}");
    assert_service("service { check {} check {} }",
                   "Check: is there 2 times, and may be there once");
    assert_service("service { connect { sidecar_service { prot = 1 } } }",
                   "Connect.SidecarService: unknown key \"prot\"; did you mean \"port\"?");
    assert_service("service { check = [] }", "Check: expected an object, got a list");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_heredocs),
        cmocka_unit_test(test_blocks_are_lists),
        cmocka_unit_test(test_a_key_set_twice_is_told),
        cmocka_unit_test(test_errors_name_place_and_wish),
        cmocka_unit_test(test_depth_is_limited),
        cmocka_unit_test(test_blocks_fit_the_schema),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
