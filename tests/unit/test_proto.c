/* Without these, a hostile or broken peer could crash the server with one message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
/* cmocka.h needs the headers above. */
#include <cmocka.h>

#include "consul/peering.pb-c.h"
#include "consul/peerstream.pb-c.h"
#include "consul/service.pb-c.h"
#include "google/protobuf/struct.pb-c.h"
#include "proto/proto.h"

static const struct proto_limits limits = {.bytes = 1 << 20, .elements = 1000};

static void assert_refused(const ProtobufCMessageDescriptor *type, const void *data, size_t length,
                           enum error_code code, const char *reason)
{
    struct error error = {0};
    struct arena *arena = arena_new();
    assert_null(proto_unpack(type, data, length, &limits, arena, &error));
    assert_int_equal(error.code, code);
    if (strstr(error.message, reason) == NULL)
        fail_msg("%s lacks: %s", error.message, reason);
    arena_free(arena);
}

#define assert_service_refused(bytes, reason) \
    assert_refused(&pb__node_service__descriptor, bytes, sizeof bytes - 1, ERR_INVALID, reason)

static void test_round_trip(void **state)
{
    (void)state;
    struct error error = {0};
    struct arena *arena = arena_new();
    Pb__NodeService *service = proto_new(arena, pb__node_service);
    service->id = (char *)"web-1";
    service->port = -1;
    service->n_tags = 2;
    service->tags = proto_array(arena, 2);
    service->tags[0] = (char *)"a";
    service->tags[1] = (char *)"";
    service->weights = proto_new(arena, pb__weights);
    struct buffer bytes = {0};
    proto_pack(service, &bytes);
    Pb__NodeService *read = proto_unpack(&pb__node_service__descriptor, (const uint8_t *)bytes.data,
                                         bytes.length, &limits, arena, &error);
    assert_non_null(read);
    assert_string_equal(read->id, "web-1");
    assert_int_equal(read->port, -1);
    assert_int_equal(read->n_tags, 2);
    assert_non_null(read->weights);
    assert_true(proto_equal(service, read));
    read->port = 80;
    assert_false(proto_equal(service, read));
    buffer_free(&bytes);
    arena_free(arena);
}

static void test_text_is_utf8_without_nul(void **state)
{
    (void)state;
    assert_service_refused("\x12\x03"
                           "a\0b",
                           "is not UTF-8");
    assert_service_refused("\x12\x02\xc3\x28", "is not UTF-8");
    assert_service_refused("\x12\x02\xc0\x80", "is not UTF-8");     /* NUL, overlong */
    assert_service_refused("\x12\x03\xed\xa0\x80", "is not UTF-8"); /* a surrogate */
    assert_service_refused("\x12\x04\xf4\x90\x80\x80", "is not UTF-8");
    assert_service_refused("\x12\x01\xc3", "is not UTF-8");
    assert_service_refused("\x22\x01\xff", "tags"); /* in a list: the message names the field */
}

static void test_cut_off_and_wrong_types(void **state)
{
    (void)state;
    assert_service_refused("\x12\x05"
                           "web",
                           "is cut off");
    assert_service_refused("\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "is cut off");
    assert_service_refused("\x38", "is cut off");
    assert_service_refused("\x10\x01", "wrong wire type");     /* id as a number */
    assert_service_refused("\x3a\x01\x01", "wrong wire type"); /* port as text */
    assert_service_refused("\x40\x01", "wrong wire type");     /* weights as a number */
    assert_service_refused("\x9b\x06\x9c\x06", "unsupported wire type");
    assert_service_refused("\x02\x01\x01", "is malformed"); /* field number 0 */
    assert_service_refused("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "is malformed");
}

static void test_unknown_fields_are_skipped(void **state)
{
    (void)state;
    struct error error = {0};
    struct arena *arena = arena_new();
    static const char bytes[] = "\x98\x06\x01\x9a\x06\x02\xff\xff\x12\x03web";
    Pb__NodeService *read = proto_unpack(&pb__node_service__descriptor, (const uint8_t *)bytes,
                                         sizeof bytes - 1, &limits, arena, &error);
    assert_non_null(read);
    assert_string_equal(read->id, "web");
    arena_free(arena);
}

/* A google.protobuf.Value of `depth` lists within each other, built from the inside out. */
static void nest_lists(int depth, struct buffer *output)
{
    for (int i = 0; i < depth; i++) {
        struct buffer list = {0}, value = {0};
        size_t length = output->length;
        for (int level = 0; level < 2; level++) { /* ListValue.values = 1, then Value.list = 6 */
            struct buffer *to = level == 0 ? &list : &value;
            const struct buffer *from = level == 0 ? output : &list;
            length = from->length;
            buffer_add_byte(to, level == 0 ? 0x0a : 0x32);
            for (; length > 0x7f; length >>= 7)
                buffer_add_byte(to, (char)(0x80 | (length & 0x7f)));
            buffer_add_byte(to, (char)length);
            buffer_add(to, buffer_text(from), from->length);
        }
        buffer_reset(output);
        buffer_add(output, buffer_text(&value), value.length);
        buffer_free(&list);
        buffer_free(&value);
    }
}

static void test_depth_is_limited(void **state)
{
    (void)state;
    const ProtobufCMessageDescriptor *type = &google__protobuf__value__descriptor;
    struct error error = {0};
    struct arena *arena = arena_new();
    struct buffer bytes = {0};
    nest_lists(15, &bytes);
    assert_non_null(
        proto_unpack(type, (const uint8_t *)bytes.data, bytes.length, &limits, arena, &error));
    buffer_reset(&bytes);
    nest_lists(16, &bytes);
    assert_refused(type, bytes.data, bytes.length, ERR_INVALID, "is nested too deeply");
    buffer_reset(&bytes);
    nest_lists(1000, &bytes);
    assert_refused(type, bytes.data, bytes.length, ERR_INVALID, "is nested too deeply");
    buffer_free(&bytes);
    arena_free(arena);
}

static void test_counts_and_sizes_are_limited(void **state)
{
    (void)state;
    static char many[2002];
    for (size_t i = 0; i < sizeof many; i += 2)
        many[i] = 0x22; /* an empty tag */
    assert_refused(&pb__node_service__descriptor, many, sizeof many, ERR_INVALID,
                   "is over the limit");
    struct proto_limits small = {.bytes = 10, .elements = 10};
    struct error error = {0};
    assert_false(
        proto_validate(&pb__node_service__descriptor, (const uint8_t *)many, 12, &small, &error));
    assert_int_equal(error.code, ERR_TOO_LARGE);
    assert_non_null(strstr(error.message, "12 bytes is larger than the limit of 10 bytes"));
}

static void test_envelope_of_the_stream(void **state)
{
    (void)state;
    struct error error = {0};
    struct arena *arena = arena_new();
    Ps__ReplicationMessage *message = proto_new(arena, ps__replication_message);
    message->payload_case = PS__REPLICATION_MESSAGE__PAYLOAD_HEARTBEAT;
    message->heartbeat = proto_new(arena, ps__heartbeat);
    struct buffer bytes = {0};
    proto_pack(message, &bytes);
    assert_int_equal(bytes.length, 2);
    assert_memory_equal(bytes.data, "\x2a\x00", 2);
    Ps__ReplicationMessage *read =
        proto_unpack(&ps__replication_message__descriptor, (const uint8_t *)bytes.data,
                     bytes.length, &limits, arena, &error);
    assert_int_equal(read->payload_case, PS__REPLICATION_MESSAGE__PAYLOAD_HEARTBEAT);
    buffer_free(&bytes);
    arena_free(arena);
}

static void test_map_lookup(void **state)
{
    (void)state;
    struct arena *arena = arena_new();
    Pb__Node__MetaEntry *entry = proto_new(arena, pb__node__meta_entry);
    entry->key = (char *)"a";
    entry->value = (char *)"1";
    assert_string_equal(proto_map_get(1, &entry, "a"), "1");
    assert_null(proto_map_get(1, &entry, "b"));
    assert_null(proto_map_get(0, NULL, "a"));
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_text_is_utf8_without_nul),
        cmocka_unit_test(test_cut_off_and_wrong_types),
        cmocka_unit_test(test_unknown_fields_are_skipped),
        cmocka_unit_test(test_depth_is_limited),
        cmocka_unit_test(test_counts_and_sizes_are_limited),
        cmocka_unit_test(test_envelope_of_the_stream),
        cmocka_unit_test(test_map_lookup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
