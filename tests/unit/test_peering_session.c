/* The stream's bytes and its rules, as a real Consul on the other end sees them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/ident.h"
#include "base/text.h"
#include "ca/certificate.h"
#include "peering/session.h"
#include "proto/proto.h"

#define SVC "type.googleapis.com/hashicorp.consul.internal.peerstream.ExportedService"
#define LIST "type.googleapis.com/hashicorp.consul.internal.peerstream.ExportedServiceList"
#define ROOTS "type.googleapis.com/hashicorp.consul.internal.peering.PeeringTrustBundle"
#define ADDRS "type.googleapis.com/hashicorp.consul.internal.peering.PeeringServerAddresses"

/* ---- one session and all that it did ---- */

struct fixture {
    struct session *session;
    struct session_time time;
    struct buffer sent[64];
    size_t sent_count;
    char opened[128];
    bool subscribed[RESOURCE_COUNT];
    struct session_response *received[16];
    size_t received_count;
    bool terminated, half_closed, ended;
    enum grpc_code code;
    char message[1024];
};

static void on_send(void *arg, const void *message, size_t length)
{
    struct fixture *f = arg;
    assert_true(f->sent_count < 64);
    buffer_add(&f->sent[f->sent_count++], message, length);
}

static void on_opened(void *arg, const Ps__Open *open)
{
    struct fixture *f = arg;
    snprintf(f->opened, sizeof f->opened, "%s %s %s", open->peer_id, open->stream_secret_id,
             open->remote->datacenter);
}

static void on_subscribed(void *arg, enum resource resource)
{
    struct fixture *f = arg;
    assert_false(f->subscribed[resource]);
    f->subscribed[resource] = true;
}

static void on_received(void *arg, struct session_response *response)
{
    struct fixture *f = arg;
    f->received[f->received_count++] = response;
}

static void on_terminated(void *arg)
{
    ((struct fixture *)arg)->terminated = true;
}

static void on_half_close(void *arg)
{
    ((struct fixture *)arg)->half_closed = true;
}

static void on_ended(void *arg, enum grpc_code code, const char *message)
{
    struct fixture *f = arg;
    assert_false(f->ended);
    f->ended = true;
    f->code = code;
    snprintf(f->message, sizeof f->message, "%s", message);
}

static const struct session_handler handler = {
    on_send, on_opened, on_subscribed, on_received, on_terminated, on_half_close, on_ended};

static struct fixture *new_fixture(enum session_role role)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->time = (struct session_time){1000, 5000000000};
    f->session = session_new(role, &handler, f, f->time);
    return f;
}

static void forget_sent(struct fixture *f)
{
    for (size_t i = 0; i < f->sent_count; i++)
        buffer_free(&f->sent[i]);
    f->sent_count = 0;
}

static void free_fixture(struct fixture *f)
{
    forget_sent(f);
    for (size_t i = 0; i < f->received_count; i++)
        session_response_free(f->received[i]);
    session_free(f->session);
    free(f);
}

/* ---- bytes ---- */

/* Hex digits with texts in quotes: "0a01'p'1a". */
static struct buffer bytes(const char *pattern)
{
    struct buffer result = {0};
    for (const char *at = pattern; *at != '\0';) {
        if (*at == '\'') {
            const char *end = strchr(at + 1, '\'');
            buffer_add(&result, at + 1, (size_t)(end - at - 1));
            at = end + 1;
            continue;
        }
        char digits[3] = {at[0], at[1], '\0'};
        buffer_add_byte(&result, (char)strtoul(digits, NULL, 16));
        at += 2;
    }
    return result;
}

static void receive(struct fixture *f, const char *pattern)
{
    struct buffer message = bytes(pattern);
    session_receive(f->session, (const uint8_t *)buffer_text(&message), message.length, f->time);
    buffer_free(&message);
}

static void expect_sent(struct fixture *f, size_t at, const char *pattern)
{
    struct buffer want = bytes(pattern);
    assert_true(at < f->sent_count);
    assert_int_equal(f->sent[at].length, want.length);
    assert_memory_equal(f->sent[at].data, want.data, want.length);
    buffer_free(&want);
}

static void expect_ended(struct fixture *f, enum grpc_code code, const char *message)
{
    assert_true(f->ended);
    assert_int_equal(f->code, code);
    assert_string_equal(f->message, message);
}

static struct fixture *new_dialer(void)
{
    struct fixture *f = new_fixture(SESSION_DIALER);
    Pb__RemoteInfo remote = PB__REMOTE_INFO__INIT;
    remote.datacenter = "dc2";
    session_open(f->session, "p", "s", &remote);
    return f;
}

#define OPEN "0a0d0a01'p'1201's'1a051203'dc2'"
#define SUBSCRIBE_SVC "124d0a01'p'1a48'" SVC "'"
#define SUBSCRIBE_LIST "12510a01'p'1a4c'" LIST "'"

static struct fixture *new_acceptor(void)
{
    struct fixture *f = new_fixture(SESSION_ACCEPTOR);
    receive(f, OPEN);
    assert_string_equal(f->opened, "p s dc2");
    session_accept(f->session, f->time);
    forget_sent(f);
    return f;
}

static void publish_list(struct fixture *f, char *name)
{
    Ps__ExportedServiceList list = PS__EXPORTED_SERVICE_LIST__INIT;
    char *names[] = {name};
    list.n_services = 1;
    list.services = names;
    assert_true(
        session_publish(f->session, RESOURCE_LIST, "exported-service-list", &list.base, f->time));
}

/* ---- the vectors of the reference ---- */

static void test_the_dialer_opens_and_subscribes_at_once(void **state)
{
    (void)state;
    struct fixture *f = new_dialer();
    assert_int_equal(f->sent_count, 5);
    expect_sent(f, 0, OPEN);
    expect_sent(f, 1, SUBSCRIBE_SVC);
    expect_sent(f, 2, SUBSCRIBE_LIST);
    expect_sent(f, 3, "124d0a01'p'1a48'" ROOTS "'");
    expect_sent(f, 4, "12510a01'p'1a4c'" ADDRS "'");
    free_fixture(f);
}

static void test_the_acceptor_subscribes_without_id_and_addresses(void **state)
{
    (void)state;
    struct fixture *f = new_fixture(SESSION_ACCEPTOR);
    receive(f, OPEN);
    receive(f, SUBSCRIBE_SVC);
    assert_int_equal(f->sent_count, 0);
    assert_false(f->subscribed[RESOURCE_SERVICE]); /* not before it is known who asks */
    session_accept(f->session, f->time);
    assert_int_equal(f->sent_count, 3);
    expect_sent(f, 0, "124a1a48'" SVC "'");
    expect_sent(f, 1, "124e1a4c'" LIST "'");
    expect_sent(f, 2, "124a1a48'" ROOTS "'");
    assert_true(f->subscribed[RESOURCE_SERVICE]);
    free_fixture(f);
}

#define RESPONSE_LIST                                                             \
    "1ac8010a08'00000001'124c'" LIST "'1a15'exported-service-list'22550a4c'" LIST \
    "'12050a03'web'2801"

static void test_resources_go_out_with_counting_nonces(void **state)
{
    (void)state;
    struct fixture *f = new_acceptor();
    publish_list(f, "web");
    Ps__ExportedService empty = PS__EXPORTED_SERVICE__INIT;
    session_publish(f->session, RESOURCE_SERVICE, "web", &empty.base, f->time);
    assert_int_equal(f->sent_count, 2);
    expect_sent(f, 0, RESPONSE_LIST);
    expect_sent(f, 1, "1aa7010a08'00000002'1248'" SVC "'1a03'web'224a0a48'" SVC "'2801");
    assert_int_equal(session_stats(f->session)->last_send_ns, f->time.realtime_ns);
    free_fixture(f);
}

static void test_a_resource_is_acknowledged_after_it_is_written(void **state)
{
    (void)state;
    struct fixture *f = new_acceptor();
    receive(f, RESPONSE_LIST);
    assert_int_equal(f->sent_count, 0);
    assert_int_equal(f->received_count, 1);
    const Ps__ExportedServiceList *list = f->received[0]->payload;
    assert_string_equal(list->services[0], "web");
    f->received_count = 0;
    session_answer(f->session, f->received[0], NULL, f->time);
    expect_sent(f, 0, "12581208'00000001'1a4c'" LIST "'");
    free_fixture(f);
}

static void test_what_cannot_be_written_is_refused_with_code_13(void **state)
{
    (void)state;
    struct fixture *f = new_acceptor();
    receive(f, RESPONSE_LIST);
    struct error error = {0};
    error_set(&error, ERR_INTERNAL, "x");
    f->received_count = 0;
    session_answer(f->session, f->received[0], &error, f->time);
    expect_sent(f, 0,
                "12f1011208'00000001'1a4c'" LIST "'2a9601080d129101'upsert error, ResourceURL: "
                "\"" LIST "\", ResourceID: \"exported-service-list\": x'");
    free_fixture(f);
}

/* ---- refusals that do not end the stream ---- */

static void expect_nack(const char *response, unsigned code, const char *text)
{
    struct fixture *f = new_acceptor();
    receive(f, response);
    assert_int_equal(f->sent_count, 1);
    assert_int_equal(f->received_count, 0);
    assert_false(f->ended);
    struct arena *arena = arena_new();
    const Ps__ReplicationMessage *message = proto_unpack_trusted(
        &ps__replication_message__descriptor, (uint8_t *)f->sent[0].data, f->sent[0].length, arena);
    assert_int_equal(message->payload_case, PS__REPLICATION_MESSAGE__PAYLOAD_REQUEST);
    assert_non_null(message->request->error);
    assert_int_equal(message->request->error->code, code);
    if (text != NULL)
        assert_string_equal(message->request->error->message, text);
    arena_free(arena);
    free_fixture(f);
}

static void test_bad_responses_are_refused_in_consuls_words(void **state)
{
    (void)state;
    expect_nack("1a070a01'1'1202'zz'", 3, "received response for unknown resource type \"zz\"");
    expect_nack("1a4f1248'" SVC "'1a03'web'", 3,
                "received response without a nonce for: " SVC ":web");
    expect_nack("1a540a01'1'1248'" SVC "'1a03'web'2802", 3, "unsupported operation: 2");
    expect_nack("1a520a01'1'1248'" SVC "'1a03'web'", 3,
                "unsupported operation: \"OPERATION_UNSPECIFIED\"");
    expect_nack("1a540a01'1'1248'" SVC "'1a03'web'2801", 3,
                "received upsert response with no content");
    expect_nack("1a5a0a01'1'1248'" SVC "'1a03'web'22040a02'zz'2801", 13,
                "upsert error, ResourceURL: \"" SVC "\", ResourceID: \"web\": mismatched "
                "resourceURL \"" SVC "\" and Any typeUrl \"zz\"");
}

/* A real Consul's whole server crashes on these; ours must not. */
static void expect_instance_refused(Pb__CheckServiceNode *instance)
{
    Ps__ExportedService payload = PS__EXPORTED_SERVICE__INIT;
    payload.n_nodes = 1;
    payload.nodes = &instance;
    struct fixture *sender = new_acceptor(), *f = new_acceptor();
    session_publish(sender->session, RESOURCE_SERVICE, "web", &payload.base, sender->time);
    session_receive(f->session, (uint8_t *)sender->sent[0].data, sender->sent[0].length, f->time);
    assert_int_equal(f->received_count, 0);
    assert_int_equal(f->sent_count, 1);
    assert_false(f->ended);
    free_fixture(sender);
    free_fixture(f);
}

static void test_poisonous_instances_are_refused(void **state)
{
    (void)state;
    Pb__CheckServiceNode instance = PB__CHECK_SERVICE_NODE__INIT;
    Pb__Node node = PB__NODE__INIT;
    Pb__NodeService service = PB__NODE_SERVICE__INIT;
    Pb__HealthCheck check = PB__HEALTH_CHECK__INIT, *checks[] = {&check};
    expect_instance_refused(&instance);
    instance.node = &node;
    instance.service = &service;
    service.id = service.service = "web";
    expect_instance_refused(&instance); /* no node name */
    node.node = "n";
    service.id = "";
    expect_instance_refused(&instance);
    service.id = "web";
    service.kind = "connect-proxy";
    expect_instance_refused(&instance); /* no PeerMeta */
    service.kind = "";
    instance.n_checks = 1;
    instance.checks = checks;
    expect_instance_refused(&instance); /* no check ID */
}

static void test_trust_bundles_that_would_break_proxies_are_refused(void **state)
{
    (void)state;
    Pb__PeeringTrustBundle bundle = PB__PEERING_TRUST_BUNDLE__INIT;
    char *key = key_generate_pem();
    struct certificate_root_spec spec = {.cluster_id = "d2c65ff3-631b-fa14-d970-3bd090918d0d",
                                         .private_key_pem = key,
                                         .serial = 7,
                                         .now_ns = INT64_C(1795500000000000000)};
    char *root = certificate_make_root(&spec, NULL);
    char *twice = mem_printf("%s%s", root, root), *bad = "no certificate";
    struct {
        char *trust_domain, *pem;
        bool good;
    } cases[] = {{"td.consul", root, true},
                 {".*", root, false}, /* it becomes part of a pattern */
                 {"td.consul", twice, false},
                 {"td.consul", bad, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fixture *sender = new_acceptor(), *f = new_acceptor();
        bundle.trust_domain = cases[i].trust_domain;
        bundle.n_root_pems = 1;
        bundle.root_pems = &cases[i].pem;
        session_publish(sender->session, RESOURCE_ROOTS, "roots", &bundle.base, sender->time);
        session_receive(f->session, (uint8_t *)sender->sent[0].data, sender->sent[0].length,
                        f->time);
        assert_int_equal(f->received_count, cases[i].good);
        assert_int_equal(f->sent_count, !cases[i].good);
        free_fixture(sender);
        free_fixture(f);
    }
    free(twice);
    free(root);
    free(key);
}

/* ---- what ends the stream ---- */

static void test_the_first_message_must_be_open(void **state)
{
    (void)state;
    struct fixture *f = new_fixture(SESSION_ACCEPTOR);
    receive(f, SUBSCRIBE_SVC);
    assert_false(f->ended); /* the rest of the dialer's first messages may still come */
    f->time.now_ms += SESSION_REFUSE_MS;
    assert_int_equal(session_next(f->session), f->time.now_ms);
    session_tick(f->session, f->time);
    expect_ended(f, GRPC_INVALID_ARGUMENT, "first message when initiating a peering must be: Open");
    free_fixture(f);
}

static void test_a_refusal_waits_for_five_messages(void **state)
{
    (void)state;
    struct fixture *f = new_fixture(SESSION_ACCEPTOR);
    receive(f, OPEN);
    session_refuse(f->session, true, GRPC_ABORTED, "peering is marked as deleted: p", f->time);
    expect_sent(f, 0, "2200");
    for (int i = 0; i < 4; i++) {
        assert_false(f->ended);
        receive(f, SUBSCRIBE_SVC);
    }
    expect_ended(f, GRPC_ABORTED, "peering is marked as deleted: p");
    free_fixture(f);
}

/* Anybody can come this far, so nobody may store much here. */
static void test_little_is_kept_of_what_comes_before_acceptance(void **state)
{
    (void)state;
    struct fixture *f = new_fixture(SESSION_ACCEPTOR);
    receive(f, OPEN);
    uint8_t *large = calloc(1, 70000);
    session_receive(f->session, large, 70000, f->time);
    assert_int_equal(f->code, GRPC_RESOURCE_EXHAUSTED);
    free_fixture(f);
    f = new_fixture(SESSION_ACCEPTOR);
    session_receive(f->session, large, 70000, f->time);
    assert_int_equal(f->code, GRPC_RESOURCE_EXHAUSTED);
    free_fixture(f);
    f = new_fixture(SESSION_ACCEPTOR);
    receive(f, OPEN);
    for (size_t i = 0; !f->ended; i++) {
        assert_true(i < 100);
        receive(f, SUBSCRIBE_SVC);
    }
    assert_int_equal(f->code, GRPC_RESOURCE_EXHAUSTED);
    free(large);
    free_fixture(f);
}

static void test_bad_requests_end_the_stream(void **state)
{
    (void)state;
    struct fixture *f = new_acceptor();
    receive(f, "12041a02'zz'");
    expect_ended(f, GRPC_INVALID_ARGUMENT, "subscription request to unknown resource URL: zz");
    free_fixture(f);
    f = new_acceptor();
    receive(f, "12581208'00000001'1a4c'" LIST "'"); /* acknowledged without having subscribed */
    expect_ended(f, GRPC_INVALID_ARGUMENT,
                 "initial subscription requests for a resource type must not contain a nonce");
    free_fixture(f);
    f = new_dialer();
    receive(f, "124d0a01'q'1a48'" SVC "'");
    expect_ended(f, GRPC_INVALID_ARGUMENT,
                 "initial subscription requests for a resource type must have consistent PeerID "
                 "values: got=\"q\" expected=\"p\"");
    free_fixture(f);
}

static void test_the_other_side_leaves(void **state)
{
    (void)state;
    struct fixture *f = new_acceptor();
    session_peer_closed(f->session);
    expect_ended(f, GRPC_UNKNOWN, "stream ended unexpectedly");
    free_fixture(f);
}

/* ---- time ---- */

static void test_a_heartbeat_goes_out_every_15_seconds(void **state)
{
    (void)state;
    struct fixture *f = new_acceptor();
    for (int i = 0; i < 3; i++) {
        assert_int_equal(session_next(f->session), f->time.now_ms + 15000);
        f->time.now_ms += 14999;
        session_tick(f->session, f->time);
        assert_int_equal(f->sent_count, (size_t)i);
        f->time.now_ms += 1;
        session_tick(f->session, f->time);
        expect_sent(f, (size_t)i, "2a00");
    }
    free_fixture(f);
}

static void test_silence_of_120_seconds_ends_the_stream(void **state)
{
    (void)state;
    struct fixture *f = new_acceptor();
    f->time.now_ms += 100000;
    receive(f, "2a00");
    assert_int_equal(session_stats(f->session)->last_heartbeat_ns, f->time.realtime_ns);
    f->time.now_ms += 119999;
    receive(f, SUBSCRIBE_SVC); /* other traffic does not count */
    session_tick(f->session, f->time);
    assert_false(f->ended);
    f->time.now_ms += 1;
    session_tick(f->session, f->time);
    expect_ended(f, GRPC_UNKNOWN, "heartbeat timeout");
    free_fixture(f);
}

/* ---- suppression of what the peer has ---- */

static void test_equal_resources_are_sent_once(void **state)
{
    (void)state;
    struct fixture *f = new_acceptor();
    publish_list(f, "web");
    publish_list(f, "web");
    assert_int_equal(f->sent_count, 1);
    publish_list(f, "db");
    publish_list(f, "web");
    assert_int_equal(f->sent_count, 3);
    session_forget(f->session, RESOURCE_LIST, "exported-service-list");
    publish_list(f, "web");
    assert_int_equal(f->sent_count, 4);
    free_fixture(f);
}

/* ---- the end of a peering ---- */

static void test_terminated_drains_before_it_ends(void **state)
{
    (void)state;
    struct fixture *f = new_dialer();
    forget_sent(f);
    receive(f, "2200");
    assert_true(f->terminated);
    assert_true(f->half_closed);
    expect_sent(f, 0, "2a00"); /* something to read that is not the end */
    assert_false(f->ended);
    receive(f, RESPONSE_LIST); /* discarded */
    assert_int_equal(f->received_count, 0);
    session_peer_closed(f->session);
    expect_ended(f, GRPC_OK, "");
    free_fixture(f);
}

static void test_terminating_waits_for_the_other_side_but_not_for_ever(void **state)
{
    (void)state;
    struct fixture *f = new_acceptor();
    session_terminate(f->session, f->time);
    expect_sent(f, 0, "2200");
    assert_true(session_is_draining(f->session));
    publish_list(f, "web");
    assert_int_equal(f->sent_count, 1);
    f->time.now_ms += SESSION_DRAIN_MS;
    session_tick(f->session, f->time);
    expect_ended(f, GRPC_OK, "");
    free_fixture(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_dialer_opens_and_subscribes_at_once),
        cmocka_unit_test(test_the_acceptor_subscribes_without_id_and_addresses),
        cmocka_unit_test(test_resources_go_out_with_counting_nonces),
        cmocka_unit_test(test_a_resource_is_acknowledged_after_it_is_written),
        cmocka_unit_test(test_what_cannot_be_written_is_refused_with_code_13),
        cmocka_unit_test(test_bad_responses_are_refused_in_consuls_words),
        cmocka_unit_test(test_poisonous_instances_are_refused),
        cmocka_unit_test(test_trust_bundles_that_would_break_proxies_are_refused),
        cmocka_unit_test(test_the_first_message_must_be_open),
        cmocka_unit_test(test_a_refusal_waits_for_five_messages),
        cmocka_unit_test(test_little_is_kept_of_what_comes_before_acceptance),
        cmocka_unit_test(test_bad_requests_end_the_stream),
        cmocka_unit_test(test_the_other_side_leaves),
        cmocka_unit_test(test_a_heartbeat_goes_out_every_15_seconds),
        cmocka_unit_test(test_silence_of_120_seconds_ends_the_stream),
        cmocka_unit_test(test_equal_resources_are_sent_once),
        cmocka_unit_test(test_terminated_drains_before_it_ends),
        cmocka_unit_test(test_terminating_waits_for_the_other_side_but_not_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
