/* The ADS service over real gRPC on loopback: who gets what, and how streams end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "envoy/discovery.pb-c.h"
#include "net/loop.h"
#include "xds/server.h"
#include "xds_fixture.h"

#define DELTA "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
#define SOTW "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"

struct lab {
    struct loop *loop;
    struct timer *guard;
    struct grpc_server *grpc;
    struct xds_server *server;
    struct grpc_channel *channel;
    struct grpc_call *call;
    /* the source */
    bool registered, denied;
    proxy_changed_fn *changed;
    void *changed_arg;
    int watches, up, down;
    /* the client */
    size_t received;
    enum grpc_code code;
    char *message;
    bool ended;
};

static void tell(void *arg)
{
    struct lab *lab = arg;
    struct error error;
    struct proxy_snapshot *snapshot = lab->registered ? fixture_web() : NULL;
    error_set(&error, ERR_NOT_FOUND, "there is no proxy with this id");
    if (lab->changed != NULL)
        lab->changed(lab->changed_arg, snapshot, snapshot == NULL ? &error : NULL);
    if (snapshot != NULL)
        fixture_free(snapshot);
    else
        loop_stop(lab->loop); /* nothing more will come */
}

static void *watch(void *arg, const struct xds_node *node, proxy_changed_fn *changed,
                   void *changed_arg, struct error *error)
{
    struct lab *lab = arg;
    assert_string_equal(node->id, "web-sidecar-proxy");
    if (lab->denied) {
        error_set(error, ERR_DENIED, "Permission denied: no service:write on web");
        return NULL;
    }
    lab->changed = changed;
    lab->changed_arg = changed_arg;
    lab->watches++;
    loop_defer(lab->loop, tell, lab);
    return lab;
}

static void unwatch(void *arg, void *handle)
{
    struct lab *lab = arg;
    assert_ptr_equal(handle, lab);
    lab->watches--;
    lab->changed = NULL;
}

static void connected(void *arg, const struct xds_node *node, bool up)
{
    struct lab *lab = arg;
    assert_string_equal(node->id, "web-sidecar-proxy");
    *(up ? &lab->up : &lab->down) += 1;
    if (!up)
        loop_stop(lab->loop);
}

static const struct xds_source source = {watch, unwatch, connected};

static void on_message(void *arg, struct grpc_call *call, const uint8_t *data, size_t length)
{
    struct lab *lab = arg;
    struct arena *arena = arena_new();
    (void)call;
    const Envoy__DeltaDiscoveryResponse *response =
        proto_unpack_trusted(&envoy__delta_discovery_response__descriptor, data, length, arena);
    assert_non_null(response);
    lab->received += response->n_resources;
    arena_free(arena);
    loop_stop(lab->loop);
}

static void on_end(void *arg, struct grpc_call *call, const struct grpc_status *status)
{
    struct lab *lab = arg;
    (void)call;
    lab->ended = true;
    lab->code = status->code;
    lab->message = mem_strdup(status->message);
    loop_stop(lab->loop);
}

static const struct grpc_call_handler client_handler = {.on_message = on_message, .on_end = on_end};

static void on_close(void *arg, struct grpc_channel *channel, const struct error *error)
{
    (void)arg;
    (void)channel;
    (void)error;
}

static void too_late(void *arg)
{
    (void)arg;
    fail_msg("nothing happened for 20 s");
}

static void lab_start(struct lab *lab, const char *path)
{
    struct error error;
    struct address address = {.host = (char *)(uintptr_t) "127.0.0.1"};
    *lab = (struct lab){.loop = loop_new()};
    lab->guard = timer_new(lab->loop, too_late, NULL);
    timer_start(lab->guard, 20000, 0);
    lab->grpc = grpc_server_new(lab->loop, 1u << 20);
    lab->server = xds_server_new(lab->grpc, &source, lab);
    if (!grpc_server_listen(lab->grpc, &address, NULL, &error))
        fail_msg("%s", error.message);
    address.port = grpc_server_port(lab->grpc, 0);
    struct grpc_channel_config config = {.address = &address,
                                         .authority = "xds",
                                         .connect_timeout_ms = 5000,
                                         .max_message_bytes = 1u << 20};
    lab->channel = grpc_channel_new(lab->loop, &config, on_close, NULL);
    lab->call = grpc_call_new(lab->channel, path, NULL, &client_handler, lab);
}

static void lab_end(struct lab *lab)
{
    grpc_channel_free(lab->channel);
    xds_server_free(lab->server);
    grpc_server_free(lab->grpc);
    timer_free(lab->guard);
    loop_free(lab->loop);
    free(lab->message);
    assert_int_equal(lab->watches, 0);
    assert_int_equal(lab->up, lab->down);
}

static void ask_for_clusters(struct lab *lab)
{
    Envoy__Node node = ENVOY__NODE__INIT;
    Envoy__DeltaDiscoveryRequestNode first = ENVOY__DELTA_DISCOVERY_REQUEST_NODE__INIT;
    Envoy__DeltaDiscoveryRequest request = ENVOY__DELTA_DISCOVERY_REQUEST__INIT;
    struct buffer bytes = {0};
    node.id = (char *)(uintptr_t) "web-sidecar-proxy";
    first.node = &node;
    request.type_url = (char *)(uintptr_t)xds_type_url(XDS_CLUSTER);
    proto_pack(&first, &bytes);
    proto_pack(&request, &bytes);
    grpc_send(lab->call, bytes.data, bytes.length);
    buffer_free(&bytes);
}

static void test_a_registered_proxy_is_served_until_it_goes(void **state)
{
    struct lab lab;
    (void)state;
    lab_start(&lab, DELTA);
    lab.registered = true;
    ask_for_clusters(&lab);
    loop_run(lab.loop);
    assert_int_equal(lab.received, 3);
    assert_int_equal(lab.up, 1);
    assert_int_equal(xds_server_streams(lab.server), 1);
    grpc_cancel(lab.call);
    loop_run(lab.loop);
    assert_int_equal(lab.down, 1);
    assert_int_equal(xds_server_streams(lab.server), 0);
    lab_end(&lab);
}

static void test_an_unknown_proxy_waits_until_it_is_registered(void **state)
{
    struct lab lab;
    (void)state;
    lab_start(&lab, DELTA);
    ask_for_clusters(&lab);
    loop_run(lab.loop);
    assert_false(lab.ended);
    assert_int_equal(lab.received, 0);
    lab.registered = true;
    loop_defer(lab.loop, tell, &lab);
    loop_run(lab.loop);
    assert_int_equal(lab.received, 3);
    lab_end(&lab);
}

static void test_a_refused_proxy_is_told_why(void **state)
{
    struct lab lab;
    (void)state;
    lab_start(&lab, DELTA);
    lab.denied = true;
    ask_for_clusters(&lab);
    loop_run(lab.loop);
    assert_true(lab.ended);
    assert_int_equal(lab.code, GRPC_PERMISSION_DENIED);
    assert_string_equal(lab.message, "Permission denied: no service:write on web");
    lab_end(&lab);
}

static void test_a_request_without_type_ends_the_stream(void **state)
{
    struct lab lab;
    (void)state;
    lab_start(&lab, DELTA);
    grpc_send(lab.call, "", 0);
    loop_run(lab.loop);
    assert_int_equal(lab.code, GRPC_INVALID_ARGUMENT);
    assert_string_equal(lab.message, "type URL is required for ADS");
    lab_end(&lab);
}

static void test_state_of_the_world_is_not_spoken(void **state)
{
    struct lab lab;
    (void)state;
    lab_start(&lab, SOTW);
    loop_run(lab.loop);
    assert_int_equal(lab.code, GRPC_UNKNOWN);
    assert_string_equal(lab.message, "not implemented");
    lab_end(&lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_registered_proxy_is_served_until_it_goes),
        cmocka_unit_test(test_an_unknown_proxy_waits_until_it_is_registered),
        cmocka_unit_test(test_a_refused_proxy_is_told_why),
        cmocka_unit_test(test_a_request_without_type_ends_the_stream),
        cmocka_unit_test(test_state_of_the_world_is_not_spoken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
