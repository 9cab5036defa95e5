/* The delta ADS conversation, as Envoy leads it: nonces, acknowledgements, order, and what is sent
 * when. Responses are noted as text: "CDS 1 +name -removed". */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "envoy/discovery.pb-c.h"
#include "xds/session.h"
#include "xds_fixture.h"

static const char *const short_names[] = {"CDS", "EDS", "LDS", "RDS", "SDS"};

struct client {
    struct xds_session *session;
    struct arena *arena;
    struct buffer log; /* responses since the last look */
    char *id;
    int nodes, nacks;
};

static void on_node(void *arg, const struct xds_node *node)
{
    struct client *client = arg;
    client->nodes++;
    free(client->id);
    client->id = mem_printf("%s@%s", node->id, node->node_name);
}

static void on_nack(void *arg, enum xds_type type, const char *message)
{
    struct client *client = arg;
    (void)type;
    assert_non_null(message);
    client->nacks++;
}

static void on_send(void *arg, const uint8_t *message, size_t length)
{
    static const struct proto_limits limits = {1u << 20, 10000};
    struct client *client = arg;
    struct error error;
    const Envoy__DeltaDiscoveryResponse *response =
        proto_unpack(&envoy__delta_discovery_response__descriptor, message, length, &limits,
                     client->arena, &error);
    assert_non_null(response);
    assert_int_equal(strlen(response->nonce), 8);
    for (int type = 0; type < XDS_TYPE_COUNT; type++) {
        if (strcmp(response->type_url, xds_type_url(type)) == 0)
            buffer_printf(&client->log, "%s%s %lx", client->log.length > 0 ? "; " : "",
                          short_names[type], strtoul(response->nonce, NULL, 16));
    }
    for (size_t i = 0; i < response->n_resources; i++) {
        assert_int_equal(strlen(response->resources[i]->version), 64);
        assert_string_equal(response->resources[i]->resource->type_url, response->type_url);
        buffer_printf(&client->log, " +%.*s", (int)strcspn(response->resources[i]->name, ".:"),
                      response->resources[i]->name);
    }
    for (size_t i = 0; i < response->n_removed_resources; i++)
        buffer_printf(&client->log, " -%.*s", (int)strcspn(response->removed_resources[i], ".:"),
                      response->removed_resources[i]);
}

static const struct xds_session_handler handler = {on_node, on_send, on_nack};

static void client_start(struct client *client)
{
    *client = (struct client){.arena = arena_new()};
    client->session = xds_session_new(&handler, client);
}

static void client_end(struct client *client)
{
    xds_session_free(client->session);
    arena_free(client->arena);
    buffer_free(&client->log);
    free(client->id);
}

static void expect_sent(struct client *client, const char *expected)
{
    assert_string_equal(buffer_text(&client->log), expected);
    buffer_reset(&client->log);
}

struct request {
    enum xds_type type;
    const char *subscribe[4], *unsubscribe[4];
    unsigned nonce;
    const char *error;
    const char *had[4][2]; /* initial versions */
};

static void pack(struct client *client, const struct request *wanted, struct buffer *bytes)
{
    Envoy__DeltaDiscoveryRequest *request =
        proto_new(client->arena, envoy__delta_discovery_request);
    request->type_url = (char *)(uintptr_t)xds_type_url(wanted->type);
    request->resource_names_subscribe = proto_array(client->arena, 4);
    request->resource_names_unsubscribe = proto_array(client->arena, 4);
    request->initial_resource_versions = proto_array(client->arena, 4);
    for (size_t i = 0; i < 4 && wanted->subscribe[i] != NULL; i++)
        request->resource_names_subscribe[request->n_resource_names_subscribe++] =
            (char *)(uintptr_t)wanted->subscribe[i];
    for (size_t i = 0; i < 4 && wanted->unsubscribe[i] != NULL; i++)
        request->resource_names_unsubscribe[request->n_resource_names_unsubscribe++] =
            (char *)(uintptr_t)wanted->unsubscribe[i];
    for (size_t i = 0; i < 4 && wanted->had[i][0] != NULL; i++) {
        Envoy__DeltaDiscoveryRequest__InitialResourceVersionsEntry *entry = proto_new(
            client->arena, envoy__delta_discovery_request__initial_resource_versions_entry);
        entry->key = (char *)(uintptr_t)wanted->had[i][0];
        entry->value = (char *)(uintptr_t)wanted->had[i][1];
        request->initial_resource_versions[request->n_initial_resource_versions++] = entry;
    }
    if (wanted->nonce != 0)
        request->response_nonce = arena_printf(client->arena, "%08x", wanted->nonce);
    if (wanted->error != NULL) {
        request->error_detail = proto_new(client->arena, envoy_rpc__status);
        request->error_detail->message = (char *)(uintptr_t)wanted->error;
    }
    proto_pack(request, bytes);
}

/* Envoy puts its node into every request. */
static void pack_node(struct client *client, const char *id, unsigned minor, struct buffer *bytes)
{
    Envoy__DeltaDiscoveryRequestNode *request =
        proto_new(client->arena, envoy__delta_discovery_request_node);
    Envoy__Node *node = proto_new(client->arena, envoy__node);
    Google__Protobuf__Struct__FieldsEntry *field =
        proto_new(client->arena, google__protobuf__struct__fields_entry);
    node->id = (char *)(uintptr_t)id;
    node->user_agent_name = (char *)(uintptr_t) "envoy";
    node->user_agent_build_version = proto_new(client->arena, envoy__build_version);
    node->user_agent_build_version->version = proto_new(client->arena, envoy__semantic_version);
    node->user_agent_build_version->version->major_number = 1;
    node->user_agent_build_version->version->minor_number = minor;
    field->key = (char *)(uintptr_t) "node_name";
    field->value = proto_new(client->arena, google__protobuf__value);
    field->value->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE;
    field->value->string_value = (char *)(uintptr_t) "node-1";
    node->metadata = proto_new(client->arena, google__protobuf__struct);
    node->metadata->n_fields = 1;
    node->metadata->fields = proto_array(client->arena, 1);
    node->metadata->fields[0] = field;
    request->node = node;
    proto_pack(request, bytes);
}

static bool receive(struct client *client, const struct request *request, struct error *error)
{
    struct buffer bytes = {0};
    pack_node(client, "web-sidecar-proxy", 40, &bytes);
    pack(client, request, &bytes);
    bool ok = xds_session_receive(client->session, (const uint8_t *)buffer_text(&bytes),
                                  bytes.length, error);
    buffer_free(&bytes);
    return ok;
}

#define ask(client, ...)                                                    \
    do {                                                                    \
        struct error ask_error;                                             \
        if (!receive((client), &(struct request){__VA_ARGS__}, &ask_error)) \
            fail_msg("%s", ask_error.message);                              \
    } while (0)

#define ack(client, which, number) ask(client, .type = (which), .nonce = (number))

static void update(struct client *client, struct proxy_snapshot *snapshot)
{
    xds_session_update(client->session, xds_resources_build(snapshot));
    fixture_free(snapshot);
}

/* web with its upstreams cut to `count`. */
static struct proxy_snapshot *web(size_t count)
{
    struct proxy_snapshot *snapshot = fixture_web();
    snapshot->upstream_count = count;
    return snapshot;
}

#define BACKEND "backend.default.cluster-02.external.td2"

/* Until listeners are up: CDS 1, EDS 2, LDS 3. */
static void start_web(struct client *client)
{
    client_start(client);
    update(client, web(1));
    ask(client, .type = XDS_CLUSTER);
    ask(client, .type = XDS_ENDPOINT, .subscribe = {BACKEND});
    ack(client, XDS_CLUSTER, 1);
    ack(client, XDS_ENDPOINT, 2);
    ask(client, .type = XDS_LISTENER);
    ack(client, XDS_LISTENER, 3);
    expect_sent(client, "CDS 1 +backend +local_app; EDS 2 +backend; LDS 3 +backend?peer=cluster-02 "
                        "+public_listener");
}

static void test_requests_before_the_first_snapshot_are_answered_after_it(void **state)
{
    struct client client;
    (void)state;
    client_start(&client);
    ask(&client, .type = XDS_CLUSTER);
    ask(&client, .type = XDS_LISTENER);
    expect_sent(&client, "");
    assert_string_equal(client.id, "web-sidecar-proxy@node-1");
    update(&client, web(0));
    expect_sent(&client, "CDS 1 +local_app"); /* listeners wait for it */
    ack(&client, XDS_CLUSTER, 1);
    expect_sent(&client, "LDS 2 +public_listener");
    ack(&client, XDS_LISTENER, 2);
    expect_sent(&client, "");
    assert_int_equal(client.nodes, 1);
    client_end(&client);
}

static void test_endpoints_are_given_while_their_cluster_is_unacknowledged(void **state)
{
    struct client client;
    (void)state;
    start_web(&client);
    client_end(&client);
}

static void test_what_is_new_comes_before_what_uses_it_and_goes_after(void **state)
{
    struct client client;
    (void)state;
    start_web(&client);
    update(&client, web(2));
    expect_sent(&client, "CDS 4 +web-api");
    ask(&client, .type = XDS_ENDPOINT, .subscribe = {"web-api.default.cluster-02.external.td2"});
    expect_sent(&client, "EDS 5 +web-api");
    ack(&client, XDS_CLUSTER, 4);
    expect_sent(&client, "");
    ack(&client, XDS_ENDPOINT, 5);
    expect_sent(&client, "LDS 6 +web-api?peer=cluster-02");
    ack(&client, XDS_LISTENER, 6);
    update(&client, web(1));
    expect_sent(&client, "LDS 7 -web-api?peer=cluster-02; CDS 8 -web-api");
    ask(&client, .type = XDS_ENDPOINT, .unsubscribe = {"web-api.default.cluster-02.external.td2"});
    ack(&client, XDS_LISTENER, 7);
    ack(&client, XDS_CLUSTER, 8);
    expect_sent(&client, "");
    client_end(&client);
}

static void test_a_changed_cluster_brings_its_endpoints_again(void **state)
{
    struct client client;
    (void)state;
    start_web(&client);
    struct proxy_snapshot *snapshot = web(1);
    ((struct upstream *)(uintptr_t)snapshot->upstreams)[0].protocol = "http";
    update(&client, snapshot);
    /* the cluster is the same for tcp and http; only the listener changes */
    expect_sent(&client, "LDS 4 +backend?peer=cluster-02");
    ack(&client, XDS_LISTENER, 4);
    snapshot = web(1);
    ((struct upstream *)(uintptr_t)snapshot->upstreams)[0].protocol = "http";
    ((struct upstream *)(uintptr_t)snapshot->upstreams)[0].connect_timeout_ms = 100;
    update(&client, snapshot);
    expect_sent(&client, "CDS 5 +backend; EDS 6 +backend");
    client_end(&client);
}

static void test_a_late_acknowledgement_does_not_hide_a_changed_cluster(void **state)
{
    struct client client;
    (void)state;
    client_start(&client);
    update(&client, web(1));
    ask(&client, .type = XDS_CLUSTER);
    ack(&client, XDS_CLUSTER, 1);
    ask(&client, .type = XDS_ENDPOINT, .subscribe = {BACKEND});
    expect_sent(&client, "CDS 1 +backend +local_app; EDS 2 +backend");
    struct proxy_snapshot *snapshot = web(1);
    ((struct upstream *)(uintptr_t)snapshot->upstreams)[0].connect_timeout_ms = 100;
    update(&client, snapshot);
    expect_sent(&client, "CDS 3 +backend");
    ack(&client, XDS_ENDPOINT, 2);
    expect_sent(&client, "EDS 4 +backend");
    client_end(&client);
}

static void test_an_http_service_gets_its_route_while_the_listener_is_unacknowledged(void **state)
{
    struct client client;
    static const struct intention_source denied = {"cluster-01", "", "", "web", false, 9};
    (void)state;
    client_start(&client);
    update(&client, fixture_serving("web-api", "http"));
    ask(&client, .type = XDS_CLUSTER);
    ack(&client, XDS_CLUSTER, 1);
    ask(&client, .type = XDS_LISTENER);
    ask(&client, .type = XDS_ROUTE, .subscribe = {"public_listener"});
    expect_sent(&client, "CDS 1 +local_app; LDS 2 +public_listener; RDS 3 +public_listener");
    ack(&client, XDS_LISTENER, 2);
    ack(&client, XDS_ROUTE, 3);
    /* a changed intention is in the route alone: open connections see it at once */
    struct proxy_snapshot *snapshot = fixture_serving("web-api", "http");
    fixture_intentions(snapshot, &denied, 1);
    update(&client, snapshot);
    expect_sent(&client, "RDS 4 +public_listener");
    client_end(&client);
}

static void test_what_is_refused_waits_for_a_change_and_stops_nothing_else(void **state)
{
    struct client client;
    (void)state;
    client_start(&client);
    update(&client, web(0));
    ask(&client, .type = XDS_CLUSTER);
    expect_sent(&client, "CDS 1 +local_app");
    ask(&client, .type = XDS_LISTENER);
    expect_sent(&client, "");
    ask(&client, .type = XDS_CLUSTER, .nonce = 1, .error = "no");
    assert_int_equal(client.nacks, 1);
    expect_sent(&client, "LDS 2 +public_listener");
    ack(&client, XDS_LISTENER, 2);
    expect_sent(&client, "");
    update(&client, web(0));
    expect_sent(&client, "CDS 3 +local_app"); /* any change is a new try */
    client_end(&client);
}

static void test_a_refused_resource_is_removed_when_it_goes(void **state)
{
    struct client client;
    (void)state;
    start_web(&client);
    update(&client, web(2));
    ask(&client, .type = XDS_CLUSTER, .nonce = 4, .error = "one of two is bad");
    update(&client, web(1));
    assert_non_null(strstr(buffer_text(&client.log), "-web-api"));
    client_end(&client);
}

static void test_a_gateway_without_clusters_gets_an_empty_answer(void **state)
{
    struct client client;
    (void)state;
    client_start(&client);
    struct proxy_snapshot *snapshot = fixture_gateway_dc1();
    snapshot->service_count = snapshot->import_count = 0;
    update(&client, snapshot);
    ask(&client, .type = XDS_CLUSTER);
    expect_sent(&client, "CDS 1");
    ack(&client, XDS_CLUSTER, 1);
    ask(&client, .type = XDS_LISTENER);
    expect_sent(&client, "LDS 2 +lan +wan");
    client_end(&client);
}

static void test_a_reconnecting_proxy_gets_the_difference_alone(void **state)
{
    struct client client;
    (void)state;
    client_start(&client);
    struct proxy_snapshot *snapshot = web(1);
    struct xds_resources *resources = xds_resources_build(snapshot);
    const char *local = fixture_find(resources, XDS_CLUSTER, "local_app")->version;
    const char *endpoints = fixture_find(resources, XDS_ENDPOINT, BACKEND)->version;
    update(&client, snapshot);
    ask(&client, .type = XDS_CLUSTER,
        .had = {{"local_app", local}, {BACKEND, "old"}, {"gone.example", "1"}});
    expect_sent(&client, "CDS 1 +backend");
    ack(&client, XDS_CLUSTER, 1);
    expect_sent(&client, "CDS 2 -gone");
    ack(&client, XDS_CLUSTER, 2);
    ask(&client, .type = XDS_ENDPOINT, .had = {{BACKEND, endpoints}});
    expect_sent(&client, "");
    xds_resources_free(resources);
    client_end(&client);
}

static void test_a_star_asks_for_everything(void **state)
{
    struct client client;
    (void)state;
    client_start(&client);
    update(&client, web(1));
    ask(&client, .type = XDS_CLUSTER, .subscribe = {"*"});
    expect_sent(&client, "CDS 1 +backend +local_app");
    client_end(&client);
}

static void test_who_subscribes_again_is_answered_again(void **state)
{
    struct client client;
    (void)state;
    start_web(&client);
    ask(&client, .type = XDS_ENDPOINT, .subscribe = {BACKEND});
    expect_sent(&client, "EDS 4 +backend");
    ack(&client, XDS_ENDPOINT, 3); /* an old or unknown nonce means nothing */
    expect_sent(&client, "");
    ask(&client, .type = XDS_ENDPOINT, .nonce = 4, .subscribe = {"no.such.cluster"});
    expect_sent(&client, "");
    client_end(&client);
}

static void expect_refusal(const struct buffer *bytes, enum error_code code, const char *words)
{
    struct client client;
    struct error error;
    client_start(&client);
    assert_false(xds_session_receive(client.session, (const uint8_t *)buffer_text(bytes),
                                     bytes->length, &error));
    assert_int_equal(error.code, code);
    assert_non_null(strstr(error.message, words));
    client_end(&client);
}

static void test_bad_requests_end_the_stream_with_words(void **state)
{
    struct client client;
    struct buffer bytes = {0};
    (void)state;
    client_start(&client);
    pack_node(&client, "web", 40, &bytes);
    expect_refusal(&bytes, ERR_INVALID, "type URL is required for ADS");
    buffer_reset(&bytes);
    pack_node(&client, "web", 20, &bytes);
    pack(&client, &(struct request){.type = XDS_CLUSTER}, &bytes);
    expect_refusal(&bytes, ERR_INVALID, "Envoy 1.20.0 is too old and is not supported by Consul");
    buffer_reset(&bytes);
    pack_node(&client, "", 40, &bytes);
    pack(&client, &(struct request){.type = XDS_CLUSTER}, &bytes);
    expect_refusal(&bytes, ERR_INVALID, "no id");
    buffer_reset(&bytes);
    buffer_add_text(&bytes, "\x12\x7f");
    expect_refusal(&bytes, ERR_INVALID, "malformed");
    buffer_free(&bytes);
    client_end(&client);
}

static void test_unknown_types_are_ignored(void **state)
{
    struct client client;
    struct buffer bytes = {0};
    struct error error;
    (void)state;
    client_start(&client);
    Envoy__DeltaDiscoveryRequest *request = proto_new(client.arena, envoy__delta_discovery_request);
    request->type_url = (char *)(uintptr_t) "type.googleapis.com/envoy.service.runtime.v3.Runtime";
    proto_pack(request, &bytes);
    update(&client, web(1));
    assert_true(xds_session_receive(client.session, (const uint8_t *)buffer_text(&bytes),
                                    bytes.length, &error));
    expect_sent(&client, "");
    buffer_free(&bytes);
    client_end(&client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_before_the_first_snapshot_are_answered_after_it),
        cmocka_unit_test(test_endpoints_are_given_while_their_cluster_is_unacknowledged),
        cmocka_unit_test(test_what_is_new_comes_before_what_uses_it_and_goes_after),
        cmocka_unit_test(test_a_changed_cluster_brings_its_endpoints_again),
        cmocka_unit_test(test_a_late_acknowledgement_does_not_hide_a_changed_cluster),
        cmocka_unit_test(test_an_http_service_gets_its_route_while_the_listener_is_unacknowledged),
        cmocka_unit_test(test_what_is_refused_waits_for_a_change_and_stops_nothing_else),
        cmocka_unit_test(test_a_refused_resource_is_removed_when_it_goes),
        cmocka_unit_test(test_a_gateway_without_clusters_gets_an_empty_answer),
        cmocka_unit_test(test_a_reconnecting_proxy_gets_the_difference_alone),
        cmocka_unit_test(test_a_star_asks_for_everything),
        cmocka_unit_test(test_who_subscribes_again_is_answered_again),
        cmocka_unit_test(test_bad_requests_end_the_stream_with_words),
        cmocka_unit_test(test_unknown_types_are_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
