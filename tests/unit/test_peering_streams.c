/* Two clusters in one process, peered over loopback TLS: from the token to the end of the peering.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store_fixture.h"

#include "base/ident.h"
#include "base/text.h"
#include "peering/token.h"
#include "peering_pair.h"

/* ---- the life of a peering ---- */

struct sighting {
    struct cluster *cluster;
    Pb__PeeringState state;
    uint64_t at;
};

static void see_established(void *arg, const struct error *error)
{
    struct sighting *sighting = arg;
    sighting->state = state_of(sighting->cluster, "a");
    sighting->at = loop_now(sighting->cluster->fixture->loop);
    on_done(sighting->cluster, error);
}

static void test_establishing_is_seen_and_then_active(void **state)
{
    (void)state;
    struct pair *pair = setup_pair();
    generate(&pair->a, "b");
    assert_int_equal(state_of(&pair->a, "b"), PB__PEERING_STATE__PENDING);
    Pb__EstablishRequest request = PB__ESTABLISH_REQUEST__INIT;
    request.peer_name = "a";
    request.peering_token = pair->a.token;
    struct sighting sighting = {.cluster = &pair->b};
    peering_establish(pair->b.peerings, &request, see_established, &sighting);
    wait_done(&pair->b);
    assert_string_equal(pair->b.error.message, "");
    assert_int_equal(sighting.state, PB__PEERING_STATE__ESTABLISHING);
    wait_state(&pair->b, "a", PB__PEERING_STATE__ACTIVE);
    assert_true(loop_now(pair->fixture->loop) - sighting.at >= 30);
    wait_state(&pair->a, "b", PB__PEERING_STATE__ACTIVE);
    teardown_pair(pair);
}

static void test_an_exported_service_comes_and_goes(void **state)
{
    (void)state;
    struct pair *pair = setup_active();
    export_web(pair);
    struct arena *arena = pair->fixture->arena;
    struct view *view = view_new(pair->b.store);
    Pb__Peering *peering = peering_read(pair->b.peerings, view, &TENANCY_DEFAULT, "a", arena, NULL);
    assert_int_equal(peering->stream_status->n_imported_services, 1);
    assert_string_equal(peering->stream_status->imported_services[0], "web");
    assert_true(peering->stream_status->last_receive != 0);
    assert_string_equal(peering->remote->datacenter, "dc1");
    view_free(view);
    fixture_put(pair->fixture, TABLE_EXPORTED_SERVICES,
                make_exports(arena, "b", (const char *const[]){NULL}));
    wait_instances(&pair->b, "a", "web", "");
    wait_instances(&pair->b, "a", "web-sidecar-proxy", "");
    teardown_pair(pair);
}

/* Neither side closes before the other has read all. */
static bool is_drained(struct fixture *fixture, void *arg)
{
    (void)fixture;
    struct pair *pair = arg;
    return list_empty(&pair->a.peerings->draining) && list_empty(&pair->b.peerings->draining);
}

static void wait_drained(struct pair *pair)
{
    uint64_t since = loop_now(pair->fixture->loop);
    fixture_wait_for(pair->fixture, is_drained, pair);
    assert_true(loop_now(pair->fixture->loop) - since < SESSION_DRAIN_MS);
}

static void test_deleting_at_the_acceptor_terminates_the_dialer(void **state)
{
    (void)state;
    struct pair *pair = setup_active();
    export_web(pair);
    delete (&pair->a, "b");
    wait_state(&pair->b, "a", PB__PEERING_STATE__TERMINATED);
    wait_state(&pair->a, "b", PB__PEERING_STATE__UNDEFINED);
    wait_instances(&pair->b, "a", "web", "");
    wait_drained(pair);
    teardown_pair(pair);
}

static void test_deleting_at_the_dialer_terminates_the_acceptor(void **state)
{
    (void)state;
    struct pair *pair = setup_active();
    export_web(pair);
    delete (&pair->b, "a");
    wait_state(&pair->a, "b", PB__PEERING_STATE__TERMINATED);
    wait_state(&pair->b, "a", PB__PEERING_STATE__UNDEFINED);
    wait_instances(&pair->b, "a", "web", "");
    wait_drained(pair);
    /* Both come back to life with a new token. */
    generate(&pair->a, "b");
    establish(&pair->b, "a", pair->a.token);
    assert_string_equal(pair->b.error.message, "");
    wait_state(&pair->a, "b", PB__PEERING_STATE__ACTIVE);
    wait_instances(&pair->b, "a", "web", "n1/web-1");
    teardown_pair(pair);
}

static void test_deleting_works_while_the_peer_is_away(void **state)
{
    (void)state;
    struct pair *pair = setup_active();
    export_web(pair);
    stop_server(&pair->a);
    wait_state(&pair->b, "a", PB__PEERING_STATE__FAILING);
    delete (&pair->b, "a");
    wait_state(&pair->b, "a", PB__PEERING_STATE__UNDEFINED);
    wait_instances(&pair->b, "a", "web", "");
    start_server(&pair->a, 0);
    teardown_pair(pair);
}

/* B reaches A only through its own gateway (here A's port itself, as a TCP pass-through is). */
static void test_peering_through_the_mesh_gateways(void **state)
{
    (void)state;
    struct pair *pair = setup_pair();
    struct arena *arena = pair->fixture->arena;
    Pb__MeshPeering peering = PB__MESH_PEERING__INIT;
    peering.peer_through_mesh_gateways = true;
    Pb__MeshEntry mesh = PB__MESH_ENTRY__INIT;
    mesh.kind = mesh.name = "mesh";
    mesh.peering = &peering;
    put_in(&pair->b, TABLE_MESH, &mesh);
    Pb__CheckServiceNode *gateway = make_instance(arena, "gw", "mesh-gateway", "gw");
    gateway->service->kind = "mesh-gateway";
    gateway->service->address = "127.0.0.1";
    gateway->service->port = grpc_server_port(pair->a.server, 0);
    commit_in(&pair->b, register_instance, gateway);
    peerings_set_server_address(pair->a.peerings, "127.0.0.1:1"); /* not reachable */
    generate(&pair->a, "b");
    establish(&pair->b, "a", pair->a.token);
    assert_string_equal(pair->b.error.message, "");
    wait_state(&pair->b, "a", PB__PEERING_STATE__ACTIVE);
    /* With the mode, the token of B names its gateways. */
    generate(&pair->b, "c");
    struct error error = {0};
    Pb__PeeringToken *token = token_read(pair->b.token, arena, &error);
    assert_string_equal(error.message, "");
    char *address = mem_printf("127.0.0.1:%u", grpc_server_port(pair->a.server, 0));
    assert_string_equal(token->server_addresses[0], address);
    free(address);
    teardown_pair(pair);
}

static bool has_unknown_error(struct fixture *fixture, void *arg)
{
    (void)fixture;
    const struct peer *peer = arg;
    return peer->status.error != NULL && strstr(peer->status.error, "unknown PeerID") != NULL &&
           strstr(peer->status.error, "establish it anew with a new token") != NULL;
}

/* Nobody could tell the dialer: it says what is the matter, and what to do. */
static void test_a_peering_that_was_deleted_meanwhile_is_explained(void **state)
{
    (void)state;
    struct pair *pair = setup_active();
    uint16_t port = grpc_server_port(pair->a.server, 0);
    stop_server(&pair->a);
    wait_state(&pair->b, "a", PB__PEERING_STATE__FAILING);
    delete (&pair->a, "b");
    wait_state(&pair->a, "b", PB__PEERING_STATE__UNDEFINED);
    start_server(&pair->a, port);
    fixture_wait_for(pair->fixture, has_unknown_error, pair->b.peerings->peers);
    assert_int_equal(state_of(&pair->b, "a"), PB__PEERING_STATE__FAILING);
    teardown_pair(pair);
}

static void test_a_broken_stream_comes_back_with_the_full_state(void **state)
{
    (void)state;
    struct pair *pair = setup_active();
    export_web(pair);
    uint16_t port = grpc_server_port(pair->a.server, 0);
    stop_server(&pair->a);
    wait_state(&pair->b, "a", PB__PEERING_STATE__FAILING);
    struct view *view = view_new(pair->b.store);
    Pb__Peering *failing =
        peering_read(pair->b.peerings, view, &TENANCY_DEFAULT, "a", pair->fixture->arena, NULL);
    assert_true(text_starts(failing->stream_status->disconnect_error, "rpc error: code = Unavail"));
    view_free(view);
    wait_instances(&pair->b, "a", "web", "n1/web-1"); /* what was imported stays */
    fixture_put(pair->fixture, TABLE_EXPORTED_SERVICES,
                make_exports(pair->fixture->arena, "b", (const char *const[]){NULL}));
    start_server(&pair->a, port);
    wait_state(&pair->b, "a", PB__PEERING_STATE__ACTIVE);
    wait_instances(&pair->b, "a", "web", "");
    teardown_pair(pair);
}

/* ---- tokens ---- */

static void test_a_token_works_once(void **state)
{
    (void)state;
    struct pair *pair = setup_active();
    establish(&pair->b, "a", pair->a.token);
    assert_int_equal(pair->b.error.code, ERR_DENIED);
    assert_string_equal(pair->b.error.message,
                        "a new peering token must be generated: invalid peering establishment "
                        "secret");
    assert_int_equal(state_of(&pair->b, "a"), PB__PEERING_STATE__ACTIVE); /* unharmed */
    generate(&pair->a, "b");
    establish(&pair->b, "a", pair->a.token);
    assert_string_equal(pair->b.error.message, "");
    wait_state(&pair->b, "a", PB__PEERING_STATE__ACTIVE);
    teardown_pair(pair);
}

/* A token of another cluster, whose exchange fails, must not send the next dial astray. */
static void test_a_bad_token_does_not_harm_what_works(void **state)
{
    (void)state;
    struct pair *pair = setup_active();
    const char *json = "{\"CA\":[\"\"],\"ServerAddresses\":[\"127.0.0.1:1\"],\"ServerName\":\"n\","
                       "\"PeerID\":\"" PEERING_ID "\",\"EstablishmentSecret\":\"s\"}";
    uint8_t *good;
    size_t length;
    assert_true(base64_decode(pair->a.token, &good, &length, NULL));
    char *ca_end = strstr((char *)good, "],") + 1;
    struct buffer other = {0};
    buffer_add(&other, good, (size_t)(ca_end - (char *)good));
    buffer_add_text(&other, strstr(json, ",\"ServerAddresses\""));
    char *token = base64_encode(other.data, other.length);
    establish(&pair->b, "a", token);
    assert_int_equal(pair->b.error.code, ERR_UNAVAILABLE);
    free(token);
    buffer_free(&other);
    free(good);
    uint16_t port = grpc_server_port(pair->a.server, 0);
    stop_server(&pair->a);
    wait_state(&pair->b, "a", PB__PEERING_STATE__FAILING);
    start_server(&pair->a, port);
    wait_state(&pair->b, "a", PB__PEERING_STATE__ACTIVE);
    teardown_pair(pair);
}

struct expected_link {
    struct peer *peer;
    struct link *link;
};

static bool has_other_link(struct fixture *fixture, void *arg)
{
    (void)fixture;
    struct expected_link *expected = arg;
    return expected->peer->link != NULL && expected->peer->link != expected->link;
}

/* A dialer that comes again knows better than we whether its older stream still lives. */
static void test_a_newer_stream_takes_the_place_of_the_older_one(void **state)
{
    (void)state;
    struct pair *pair = setup_active();
    struct peer *dialing = pair->b.peerings->peers, *accepting = pair->a.peerings->peers;
    struct link *first = accepting->link;
    peer_release_link(dialing); /* forgotten, as a half-open connection is */
    timer_start(dialing->timer, 0, 0);
    struct expected_link expected = {accepting, first};
    fixture_wait_for(pair->fixture, has_other_link, &expected);
    export_web(pair);
    teardown_pair(pair);
}

static void test_a_cluster_does_not_peer_with_itself(void **state)
{
    (void)state;
    struct pair *pair = setup_pair();
    generate(&pair->a, "b");
    establish(&pair->a, "me", pair->a.token);
    assert_int_equal(pair->a.error.code, ERR_INTERNAL);
    assert_non_null(strstr(pair->a.error.message, "cannot create a peering within the same "
                                                  "cluster \"server.dc1.peering."));
    assert_int_equal(state_of(&pair->a, "me"), PB__PEERING_STATE__UNDEFINED);
    teardown_pair(pair);
}

static void test_names_are_taken_by_one_role(void **state)
{
    (void)state;
    struct pair *pair = setup_active();
    generate(&pair->b, "a");
    assert_string_equal(pair->b.error.message, "cannot create peering with name: \"a\"; there is "
                                               "already an established peering");
    generate(&pair->b, "x");
    establish(&pair->a, "b", pair->b.token);
    assert_string_equal(pair->a.error.message, "cannot create peering with name: \"b\"; there is "
                                               "an existing peering expecting to be dialed");
    generate(&pair->a, "Not-Lower");
    assert_non_null(strstr(pair->a.error.message, "Not-Lower is not a valid peer name"));
    teardown_pair(pair);
}

static void test_an_unreachable_peer_is_said_in_words(void **state)
{
    (void)state;
    struct pair *pair = setup_pair();
    generate(&pair->a, "b");
    stop_server(&pair->a);
    establish(&pair->b, "a", pair->a.token);
    assert_int_equal(pair->b.error.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(pair->b.error.message, " errors occurred:\n\t* failed to exchange "
                                                  "peering secret through address \"127.0.0.1:"));
    assert_non_null(strstr(pair->b.error.message, "ServerExternalAddresses"));
    assert_int_equal(state_of(&pair->b, "a"), PB__PEERING_STATE__PENDING);
    start_server(&pair->a, 0);
    teardown_pair(pair);
}

static void test_a_token_without_ca_is_refused(void **state)
{
    (void)state;
    struct pair *pair = setup_pair();
    const char *json = "{\"CA\":null,\"ServerAddresses\":[\"127.0.0.1:1\"],\"ServerName\":\"n\","
                       "\"PeerID\":\"" PEERING_ID "\",\"EstablishmentSecret\":\"s\"}";
    char *token = base64_encode(json, strlen(json));
    establish(&pair->b, "a", token);
    assert_non_null(strstr(pair->b.error.message, "the peering token has no CA"));
    assert_int_equal(state_of(&pair->b, "a"), PB__PEERING_STATE__UNDEFINED);
    free(token);
    teardown_pair(pair);
}

static void test_stopping_in_the_middle_is_harmless(void **state)
{
    (void)state;
    struct pair *pair = setup_pair();
    generate(&pair->a, "b");
    start_establish(&pair->b, "a", pair->a.token);
    teardown_pair(pair);
    pair = setup_active();
    export_web(pair);
    peering_delete(pair->a.peerings, &TENANCY_DEFAULT, "b", on_done, &pair->a);
    teardown_pair(pair);
}

static void test_retries_are_quick_and_then_rarer(void **state)
{
    (void)state;
    assert_true(dialer_delay_ms(GRPC_UNAVAILABLE, 0, true) <= 100);
    assert_int_equal(dialer_delay_ms(GRPC_UNAVAILABLE, 1, false), 500);
    assert_int_equal(dialer_delay_ms(GRPC_UNAVAILABLE, 2, false), 1000);
    assert_int_equal(dialer_delay_ms(GRPC_UNAVAILABLE, 50, false), 30000);
    assert_int_equal(dialer_delay_ms(GRPC_FAILED_PRECONDITION, 5, false), 8);
    assert_int_equal(dialer_delay_ms(GRPC_FAILED_PRECONDITION, 6, false), 16);
    assert_int_equal(dialer_delay_ms(GRPC_FAILED_PRECONDITION, 50, false), 8192);
    assert_int_equal(dialer_delay_ms(GRPC_RESOURCE_EXHAUSTED, 1, false), 8192);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_establishing_is_seen_and_then_active),
        cmocka_unit_test(test_an_exported_service_comes_and_goes),
        cmocka_unit_test(test_deleting_at_the_acceptor_terminates_the_dialer),
        cmocka_unit_test(test_deleting_at_the_dialer_terminates_the_acceptor),
        cmocka_unit_test(test_deleting_works_while_the_peer_is_away),
        cmocka_unit_test(test_peering_through_the_mesh_gateways),
        cmocka_unit_test(test_a_peering_that_was_deleted_meanwhile_is_explained),
        cmocka_unit_test(test_a_broken_stream_comes_back_with_the_full_state),
        cmocka_unit_test(test_a_token_works_once),
        cmocka_unit_test(test_a_bad_token_does_not_harm_what_works),
        cmocka_unit_test(test_a_newer_stream_takes_the_place_of_the_older_one),
        cmocka_unit_test(test_a_cluster_does_not_peer_with_itself),
        cmocka_unit_test(test_names_are_taken_by_one_role),
        cmocka_unit_test(test_an_unreachable_peer_is_said_in_words),
        cmocka_unit_test(test_a_token_without_ca_is_refused),
        cmocka_unit_test(test_stopping_in_the_middle_is_harmless),
        cmocka_unit_test(test_retries_are_quick_and_then_rarer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
