/* Without these, clients would see other spellings than Consul's, or lose what they wrote. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
/* cmocka.h needs the headers above. */
#include <cmocka.h>

#include "proto/codec_tables.h"
#include "proto/proto.h"
#include "text/codec.h"
#include "text/hcl.h"
#include "text/json.h"

static struct arena *arena;

static int set_up(void **state)
{
    (void)state;
    arena = arena_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static void *read_json(const struct codec_message *type, const char *text, unsigned flags,
                       struct error *error)
{
    json_t *value = json_parse(text, strlen(text), NULL, error);
    assert_non_null(value);
    void *message = codec_read(type, value, flags, arena, error);
    json_decref(value);
    return message;
}

static void assert_written(const struct codec_message *type, const void *message, const char *text)
{
    struct buffer output = {0};
    codec_write(&output, type, message);
    assert_string_equal(buffer_text(&output), text);
    buffer_free(&output);
}

/* Reads `input` and expects it to be written as `output`. */
static void assert_becomes(const struct codec_message *type, const char *input, unsigned flags,
                           const char *output)
{
    struct error error = {0};
    void *message = read_json(type, input, flags, &error);
    if (message == NULL)
        fail_msg("%s: %s", input, error.message);
    assert_written(type, message, output);
}

static void assert_refused(const struct codec_message *type, const char *input, unsigned flags,
                           const char *reason)
{
    struct error error = {0};
    assert_null(read_json(type, input, flags, &error));
    assert_string_equal(error.message, reason);
    assert_int_equal(error.code, ERR_INVALID);
}

/* "…": what a catalog client parses of an instance that has nothing set. */
static void test_empties_follow_consul(void **state)
{
    (void)state;
    assert_becomes(&pb__node_service__codec, "{}", 0,
                   "{\"ID\":\"\",\"Service\":\"\",\"Tags\":[],\"Address\":\"\",\"Meta\":null,"
                   "\"Port\":0,\"Weights\":{\"Passing\":0,\"Warning\":0},"
                   "\"EnableTagOverride\":false,\"Proxy\":{\"Mode\":\"\",\"MeshGateway\":{},"
                   "\"Expose\":{}},\"Connect\":{},\"PeerName\":\"\"}");
    assert_becomes(&pb__peering__codec, "{\"Name\":\"eu\",\"State\":\"active\"}", 0,
                   "{\"ID\":\"\",\"Name\":\"eu\",\"State\":\"ACTIVE\",\"StreamStatus\":{"
                   "\"ImportedServices\":null,\"ExportedServices\":null,\"LastHeartbeat\":null,"
                   "\"LastReceive\":null,\"LastSend\":null},"
                   "\"Remote\":{\"Partition\":\"\",\"Datacenter\":\"\"}}");
    assert_written(&pb__node__codec, NULL, "null");
}

static void test_every_spelling_of_a_key_is_taken(void **state)
{
    (void)state;
    const char *out = "{\"Name\":\"web\",\"TaggedAddresses\":{\"lan\":{\"Address\":\"10.0.0.1\","
                      "\"Port\":80}},\"Checks\":[{\"ID\":\"c\",\"ScriptArgs\":[\"true\"],"
                      "\"TLSSkipVerify\":true,\"Interval\":\"10s\"}]}";
    assert_becomes(&pb__service_definition__codec,
                   "{\"Name\":\"web\",\"TaggedAddresses\":{\"lan\":{\"Address\":\"10.0.0.1\","
                   "\"Port\":80}},\"Checks\":[{\"CheckID\":\"c\",\"ScriptArgs\":[\"true\"],"
                   "\"TLSSkipVerify\":true,\"Interval\":\"10s\"}]}",
                   0, out);
    assert_becomes(&pb__service_definition__codec,
                   "{\"name\":\"web\",\"tagged_addresses\":{\"lan\":{\"address\":\"10.0.0.1\","
                   "\"port\":80}},\"checks\":[{\"check_id\":\"c\",\"args\":[\"true\"],"
                   "\"tls_skip_verify\":true,\"interval\":10000000000}]}",
                   0, out);
    assert_becomes(&pb__node__codec, "{\"Name\":\"a\",\"node\":\"b\"}", 0,
                   "{\"ID\":\"\",\"Node\":\"b\",\"Address\":\"\",\"Datacenter\":\"\","
                   "\"TaggedAddresses\":null,\"Meta\":null}");
}

static void test_unknown_keys_are_named_with_their_place(void **state)
{
    (void)state;
    const struct codec_message *type = &pb__service_definition__codec;
    assert_refused(type, "{\"Connect\":{\"SidecarService\":{\"Prot\":1}}}", 0,
                   "Connect.SidecarService: unknown key \"Prot\"; did you mean \"Port\"?");
    assert_refused(type, "{\"checks\":[{},{\"intreval\":\"1s\"}]}", 0,
                   "Checks[1]: unknown key \"intreval\"; did you mean \"interval\"?");
    assert_refused(type, "{\"zebra\":1}", 0, "unknown key \"zebra\"");
    assert_refused(type, "{\"Namespaces\":\"x\"}", 0,
                   "unknown key \"Namespaces\"; did you mean \"Namespace\"?");
    assert_becomes(type, "{\"zebra\":1,\"Port\":2}", CODEC_IGNORE_UNKNOWN, "{\"Port\":2}");
    assert_becomes(type, "{\"CreateIndex\":7,\"ModifyIndex\":9,\"Hash\":1}", 0, "{}");
    assert_refused(type, "{\"Check\":{\"CreateIndex\":7}}", 0,
                   "Check: unknown key \"CreateIndex\"");
}

static void test_wrong_types_are_refused_unless_weak(void **state)
{
    (void)state;
    const struct codec_message *type = &pb__service_definition__codec;
    assert_refused(type, "{\"Port\":\"80\"}", 0, "Port: expected a number, got a string");
    assert_refused(type, "{\"Port\":1.5}", 0, "Port: expected a whole number");
    assert_refused(type, "{\"Port\":4294967376}", 0,
                   "Port: 4294967376 is out of range, which is -2147483648 to 2147483647");
    assert_refused(type, "{\"Name\":1}", 0, "Name: expected a string, got a number");
    assert_refused(type, "{\"Tags\":\"a\"}", 0, "Tags: expected a list, got a string");
    assert_refused(type, "{\"Meta\":{\"a\":1}}", 0, "Meta.a: expected a string, got a number");
    assert_refused(type, "{\"Meta\":[]}", 0, "Meta: expected an object, got a list");
    assert_refused(type, "{\"Check\":[]}", 0, "Check: expected an object, got a list");
    assert_refused(type, "{\"EnableTagOverride\":\"true\"}", 0,
                   "EnableTagOverride: expected true or false, got a string");
    assert_refused(type, "{\"Check\":{\"Interval\":\"10\"}}", 0,
                   "Check.Interval: time: invalid duration \"10\"; write it like \"10s\" or "
                   "\"1m30s\"");
    assert_refused(type, "[]", 0, "expected an object, got a list");
    assert_refused(&pb__peering__codec, "{\"State\":\"ASLEEP\"}", 0,
                   "State: \"ASLEEP\" is not one of the known names");
    assert_becomes(type,
                   "{\"Port\":\"-1\",\"EnableTagOverride\":\"true\",\"Tags\":\"a\",\"Name\":5,"
                   "\"Meta\":{\"x\":true}}",
                   CODEC_WEAK,
                   "{\"Name\":\"5\",\"Tags\":[\"a\"],\"Meta\":{\"x\":\"1\"},\"Port\":-1,"
                   "\"EnableTagOverride\":true}");
    assert_refused(type, "{\"Port\":\"http\"}", CODEC_WEAK,
                   "Port: expected a number, got \"http\"");
    assert_refused(&pb__passive_health_check__codec, "{\"MaxFailures\":-1}", 0,
                   "MaxFailures: -1 is out of range, which is 0 to 4294967295");
}

static void test_null_is_unset(void **state)
{
    (void)state;
    assert_becomes(&pb__service_definition__codec,
                   "{\"Port\":null,\"Tags\":null,\"Meta\":null,\"Check\":null,\"Checks\":[null]}",
                   0, "{}");
}

static void test_opaque_config_keeps_its_json(void **state)
{
    (void)state;
    const struct codec_message *type = &pb__connect_proxy_config__codec;
    assert_becomes(type, "{\"Config\":{\"z\":1,\"a\":[{\"b\":null}],\"f\":1.5,\"s\":\"<\"}}", 0,
                   "{\"Mode\":\"\",\"Config\":{\"z\":1,\"a\":[{\"b\":null}],\"f\":1.5,"
                   "\"s\":\"\\u003c\"},\"MeshGateway\":{},\"Expose\":{}}");
    assert_becomes(type, "{\"Config\":{}}", 0, "{\"Mode\":\"\",\"MeshGateway\":{},\"Expose\":{}}");
    assert_refused(type, "{\"Config\":7}", 0, "Config: expected an object, got a number");
    assert_refused(type, "{\"Upstreams\":[{\"Config\":\"x\"}]}", 0,
                   "Upstreams[0].Config: expected an object, got a string");
}

static void test_header_values_are_plain_lists(void **state)
{
    (void)state;
    assert_becomes(&pb__check_definition__codec,
                   "{\"Header\":{\"X\":[],\"Accept\":[\"*/*\",\"a\"]}}", 0,
                   "{\"Header\":{\"Accept\":[\"*/*\",\"a\"],\"X\":[]}}");
    assert_refused(&pb__check_definition__codec, "{\"Header\":{\"Accept\":\"*/*\"}}", 0,
                   "Header.Accept: expected a list, got a string");
}

static void test_inlined_keys_stand_in_the_parent(void **state)
{
    (void)state;
    struct error error = {0};
    Pb__ServiceDefinition *service = read_json(
        &pb__service_definition__codec, "{\"Namespace\":\"team\",\"partition\":\"p\"}", 0, &error);
    assert_non_null(service);
    assert_string_equal(service->enterprise_meta->namespace_, "team");
    assert_written(&pb__service_definition__codec, service,
                   "{\"Namespace\":\"team\",\"Partition\":\"p\"}");
}

static void test_times(void **state)
{
    (void)state;
    struct error error = {0};
    Pb__CaRoot *read = read_json(&pb__ca_root__codec,
                                 "{\"NotBefore\":\"2026-01-31T13:00:00.25+01:00\"}", 0, &error);
    assert_non_null(read);
    assert_int_equal(read->not_before, INT64_C(1769860800250000000));
    struct buffer output = {0};
    codec_write(&output, &pb__ca_root__codec, read);
    assert_non_null(strstr(buffer_text(&output), "\"NotBefore\":\"2026-01-31T12:00:00.25Z\""));
    buffer_free(&output);
    assert_refused(&pb__ca_root__codec, "{\"NotAfter\":\"2026-02-30T00:00:00Z\"}", 0,
                   "NotAfter: \"2026-02-30T00:00:00Z\" is not a time; write it like "
                   "\"2026-01-31T12:00:00Z\"");
}

static void test_secrets_are_never_written(void **state)
{
    (void)state;
    struct error error = {0};
    Pb__ServiceDefinition *service =
        read_json(&pb__service_definition__codec, "{\"Token\":\"s3cret\"}", 0, &error);
    assert_string_equal(service->token, "s3cret");
    assert_written(&pb__service_definition__codec, service, "{}");
}

static void test_fields_without_braces(void **state)
{
    (void)state;
    struct error error = {0};
    void *entry = read_json(&pb__mesh_entry__codec, "{\"Kind\":\"mesh\"}", 0, &error);
    struct buffer output = {0};
    codec_write_fields(&output, &pb__mesh_entry__codec, entry);
    assert_string_equal(buffer_text(&output),
                        "\"Kind\":\"mesh\",\"TransparentProxy\":{\"MeshDestinationsOnly\":false}");
    buffer_free(&output);
}

static void test_round_trip_through_wire(void **state)
{
    (void)state;
    struct error error = {0};
    void *service =
        read_json(&pb__service_definition__codec,
                  "{\"Name\":\"web\",\"Checks\":[{\"Header\":{\"A\":[\"b\"]}}]}", 0, &error);
    void *copy = proto_copy(service, arena);
    assert_non_null(copy);
    assert_written(&pb__service_definition__codec, copy,
                   "{\"Name\":\"web\",\"Checks\":[{\"Header\":{\"A\":[\"b\"]}}]}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empties_follow_consul),
        cmocka_unit_test(test_every_spelling_of_a_key_is_taken),
        cmocka_unit_test(test_unknown_keys_are_named_with_their_place),
        cmocka_unit_test(test_wrong_types_are_refused_unless_weak),
        cmocka_unit_test(test_null_is_unset),
        cmocka_unit_test(test_opaque_config_keeps_its_json),
        cmocka_unit_test(test_header_values_are_plain_lists),
        cmocka_unit_test(test_inlined_keys_stand_in_the_parent),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_secrets_are_never_written),
        cmocka_unit_test(test_fields_without_braces),
        cmocka_unit_test(test_round_trip_through_wire),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
