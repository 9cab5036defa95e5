/* A peer's services in our catalog: what is lost if this is wrong is either reachability (an
 * instance missing) or safety (a stale one left, one of our own touched). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store_fixture.h"

#include "peering/importer.h"
#include "peering/removal.h"
#include "peering_support.h"

struct answers {
    struct fixture *fixture;
    struct importer *importer;
    size_t expected, count;
    struct error error; /* the last one */
};

static void on_done(void *arg, struct session_response *response, const struct error *error)
{
    struct answers *answers = arg;
    answers->count++;
    answers->error = error == NULL ? (struct error){0} : *error;
    session_response_free(response);
}

static bool all_answered(struct fixture *fixture, void *arg)
{
    (void)fixture;
    struct answers *answers = arg;
    return answers->count == answers->expected;
}

static struct answers *setup_import(void)
{
    struct answers *answers = mem_zalloc(sizeof *answers);
    answers->fixture = fixture_new();
    Pb__Peering peering = PB__PEERING__INIT;
    peering.id = PEERING_ID;
    peering.name = PEER;
    peering.state = PB__PEERING_STATE__PENDING;
    fixture_put(answers->fixture, TABLE_PEERING, &peering);
    answers->importer =
        importer_new(answers->fixture->store, &peering, "own.consul", on_done, answers);
    return answers;
}

static void teardown_import(struct answers *answers)
{
    importer_free(answers->importer);
    fixture_free(answers->fixture);
    free(answers);
}

static void submit(struct answers *answers, enum resource resource, const char *id,
                   const void *payload)
{
    struct arena *arena = arena_new();
    struct session_response *response = arena_alloc(arena, sizeof *response);
    *response = (struct session_response){.arena = arena,
                                          .resource = resource,
                                          .id = arena_strdup(arena, id),
                                          .nonce = "00000001",
                                          .payload = proto_copy(payload, arena),
                                          .bytes = 100};
    answers->expected++;
    importer_submit(answers->importer, response);
}

static void wait(struct answers *answers)
{
    fixture_wait_for(answers->fixture, all_answered, answers);
    assert_int_equal(importer_pending(answers->importer), 0);
}

static Ps__ExportedService *payload_of(struct arena *arena, size_t count,
                                       Pb__CheckServiceNode **instances)
{
    Ps__ExportedService *payload = proto_new(arena, ps__exported_service);
    payload->n_nodes = count;
    payload->nodes = instances;
    return payload;
}

static void submit_list(struct answers *answers, size_t count, char **names)
{
    Ps__ExportedServiceList list = PS__EXPORTED_SERVICE_LIST__INIT;
    list.n_services = count;
    list.services = names;
    submit(answers, RESOURCE_LIST, "exported-service-list", &list);
}

static void expect_instances(struct answers *answers, const char *peer, const char *service,
                             const char *text)
{
    assert_string_equal(
        instances_text(answers->fixture->store, peer, service, answers->fixture->arena), text);
}

static size_t count_nodes(struct answers *answers)
{
    struct tenancy tenancy = {.peer = PEER};
    struct buffer value = {0};
    size_t count;
    view_list(fixture_view(answers->fixture), TABLE_NODE, BY_TENANCY, key_all(&value, &tenancy),
              &count);
    buffer_free(&value);
    return count;
}

static void test_a_service_is_there_under_the_peers_name_only(void **state)
{
    (void)state;
    struct answers *answers = setup_import();
    struct arena *arena = answers->fixture->arena;
    Pb__CheckServiceNode *sent[] = {make_instance(arena, "n1", "web", "web-1"),
                                    make_instance(arena, "n2", "web", "web-2")};
    sent[0]->node->peer_name = "somebody-else"; /* not believed */
    sent[0]->service->registration_token = "not for the peer to say";
    submit(answers, RESOURCE_SERVICE, "web", payload_of(arena, 2, sent));
    wait(answers);
    assert_int_equal(answers->error.code, ERR_NONE);
    expect_instances(answers, PEER, "web", "n1/web-1 n2/web-2");
    expect_instances(answers, "", "web", "");
    expect_instances(answers, "somebody-else", "web", "");
    struct tenancy tenancy = {.peer = PEER};
    struct catalog_instances found =
        catalog_service_instances(fixture_view(answers->fixture), &tenancy, "web", arena);
    assert_string_equal(((Pb__NodeService *)found.items[0].service->message)->registration_token,
                        "");
    assert_int_equal(catalog_instance_health(&found.items[0]), CATALOG_PASSING);
    teardown_import(answers);
}

static void test_what_is_not_sent_any_more_goes(void **state)
{
    (void)state;
    struct answers *answers = setup_import();
    struct arena *arena = answers->fixture->arena;
    Pb__CheckServiceNode *sent[] = {make_instance(arena, "n1", "web", "web-1"),
                                    make_instance(arena, "n1", "web", "web-2"),
                                    make_instance(arena, "n2", "web", "web-3")};
    submit(answers, RESOURCE_SERVICE, "web", payload_of(arena, 3, sent));
    Pb__CheckServiceNode *other[] = {make_instance(arena, "n1", "db", "db-1")};
    submit(answers, RESOURCE_SERVICE, "db", payload_of(arena, 1, other));
    wait(answers);
    assert_int_equal(count_nodes(answers), 2);
    sent[0]->n_checks = 0;
    submit(answers, RESOURCE_SERVICE, "web", payload_of(arena, 1, sent));
    wait(answers);
    expect_instances(answers, PEER, "web", "n1/web-1");
    assert_int_equal(count_nodes(answers), 1); /* n2 has nothing left */
    struct buffer value = {0};
    struct tenancy tenancy = {.peer = PEER};
    size_t checks;
    view_list(fixture_view(answers->fixture), TABLE_CHECK, BY_TENANCY, key_all(&value, &tenancy),
              &checks);
    buffer_free(&value);
    assert_int_equal(checks, 1); /* db-1's */
    submit(answers, RESOURCE_SERVICE, "web", payload_of(arena, 0, NULL));
    wait(answers);
    expect_instances(answers, PEER, "web", "");
    expect_instances(answers, PEER, "db", "n1/db-1");
    teardown_import(answers);
}

static void test_the_list_removes_what_it_does_not_name(void **state)
{
    (void)state;
    struct answers *answers = setup_import();
    struct arena *arena = answers->fixture->arena;
    Pb__CheckServiceNode *web[] = {make_instance(arena, "n1", "web", "web-1")};
    Pb__CheckServiceNode *proxy[] = {make_instance(arena, "n1", "web-sidecar-proxy", "p-1")};
    make_proxy(arena, proxy[0], "web");
    Pb__CheckServiceNode *db[] = {make_instance(arena, "n1", "db", "db-1")};
    Pb__CheckServiceNode *local = make_instance(arena, "n1", "db", "db-1");
    fixture_commit(answers->fixture, register_instance, local);
    submit(answers, RESOURCE_SERVICE, "web", payload_of(arena, 1, web));
    submit(answers, RESOURCE_SERVICE, "web-sidecar-proxy", payload_of(arena, 1, proxy));
    submit(answers, RESOURCE_SERVICE, "db", payload_of(arena, 1, db));
    assert_null(importer_services(answers->importer));
    char *names[] = {"Web"};
    submit_list(answers, 1, names); /* while the others are still being written */
    wait(answers);
    expect_instances(answers, PEER, "web", "n1/web-1");
    expect_instances(answers, PEER, "web-sidecar-proxy", "n1/p-1");
    expect_instances(answers, PEER, "db", "");
    expect_instances(answers, "", "db", "n1/db-1"); /* ours */
    assert_int_equal(importer_services(answers->importer)->count, 1);
    submit_list(answers, 0, NULL);
    wait(answers);
    expect_instances(answers, PEER, "web", "");
    expect_instances(answers, PEER, "web-sidecar-proxy", "");
    assert_int_equal(count_nodes(answers), 0);
    teardown_import(answers);
}

static void test_changes_of_one_service_keep_their_order(void **state)
{
    (void)state;
    struct answers *answers = setup_import();
    struct arena *arena = answers->fixture->arena;
    Pb__CheckServiceNode *all[20];
    for (size_t i = 0; i < 20; i++) {
        all[i] = make_instance(arena, "n1", "web", arena_printf(arena, "web-%02zu", i));
        submit(answers, RESOURCE_SERVICE, "web", payload_of(arena, 1, &all[i]));
        if (i == 10)
            submit_list(answers, 0, NULL);
    }
    wait(answers);
    assert_int_equal(answers->count, 21); /* each is answered, also those that were overtaken */
    expect_instances(answers, PEER, "web", "n1/web-19");
    teardown_import(answers);
}

static void test_a_large_service_takes_many_transactions(void **state)
{
    (void)state;
    struct answers *answers = setup_import();
    struct arena *arena = answers->fixture->arena;
    Pb__CheckServiceNode *all[300];
    for (size_t i = 0; i < 300; i++)
        all[i] = make_instance(arena, arena_printf(arena, "n%zu", i / 3), "web",
                               arena_printf(arena, "web-%zu", i));
    uint64_t before = store_index(answers->fixture->store);
    submit(answers, RESOURCE_SERVICE, "web", payload_of(arena, 300, all));
    wait(answers);
    assert_int_equal(store_index(answers->fixture->store) - before, 5);
    assert_int_equal(count_nodes(answers), 100);
    before = store_index(answers->fixture->store);
    all[7]->checks[0]->status = "critical"; /* one change costs one write */
    submit(answers, RESOURCE_SERVICE, "web", payload_of(arena, 300, all));
    wait(answers);
    assert_int_equal(store_index(answers->fixture->store) - before, 1);
    submit(answers, RESOURCE_SERVICE, "web", payload_of(arena, 1, all));
    wait(answers);
    expect_instances(answers, PEER, "web", "n0/web-0");
    assert_int_equal(count_nodes(answers), 1);
    teardown_import(answers);
}

static void test_roots_go_to_the_bundle_and_to_the_record(void **state)
{
    (void)state;
    struct answers *answers = setup_import();
    char *pems[] = {"one\n", "two"};
    Pb__PeeringTrustBundle bundle = PB__PEERING_TRUST_BUNDLE__INIT;
    bundle.trust_domain = "td.consul";
    bundle.peer_name = "not-believed";
    bundle.n_root_pems = 2;
    bundle.root_pems = pems;
    submit(answers, RESOURCE_ROOTS, "roots", &bundle);
    wait(answers);
    struct view *view = fixture_view(answers->fixture);
    const Pb__Peering *peering = peering_find(view, &TENANCY_DEFAULT, PEER)->message;
    assert_int_equal(peering->n_peer_ca_pems, 2);
    assert_string_equal(peering->peer_ca_pems[1], "two\n");
    struct buffer key = {0};
    const struct record *stored =
        view_get(view, TABLE_TRUST_BUNDLE, key_named(&key, &TENANCY_DEFAULT, PEER));
    buffer_free(&key);
    assert_string_equal(((Pb__PeeringTrustBundle *)stored->message)->trust_domain, "td.consul");
    teardown_import(answers);
}

/* Its roots would vouch for certificates in our name, or in another peer's. */
static void test_a_peer_cannot_claim_anothers_trust_domain(void **state)
{
    (void)state;
    struct answers *answers = setup_import();
    char *pems[] = {"one\n"};
    Pb__PeeringTrustBundle bundle = PB__PEERING_TRUST_BUNDLE__INIT;
    bundle.trust_domain = "OTHER.consul";
    bundle.peer_name = "cluster-03";
    bundle.n_root_pems = 1;
    bundle.root_pems = pems;
    fixture_put(answers->fixture, TABLE_TRUST_BUNDLE, &bundle);
    bundle.trust_domain = "other.consul";
    submit(answers, RESOURCE_ROOTS, "roots", &bundle);
    wait(answers);
    assert_non_null(strstr(answers->error.message, "is that of peering cluster-03"));
    bundle.trust_domain = "Own.consul";
    submit(answers, RESOURCE_ROOTS, "roots", &bundle);
    wait(answers);
    assert_string_equal(answers->error.message, "trust domain Own.consul is this cluster's own");
    teardown_import(answers);
}

static void test_addresses_cannot_turn_a_dialer_around(void **state)
{
    (void)state;
    struct answers *answers = setup_import();
    char *addresses[] = {"h:1"};
    Pb__Peering peering = PB__PEERING__INIT;
    peering.id = PEERING_ID;
    peering.name = PEER;
    peering.n_peer_server_addresses = 1;
    peering.peer_server_addresses = addresses;
    fixture_put(answers->fixture, TABLE_PEERING, &peering);
    Pb__PeeringServerAddresses sent = PB__PEERING_SERVER_ADDRESSES__INIT;
    submit(answers, RESOURCE_ADDRESSES, "server-addrs", &sent);
    wait(answers);
    assert_string_equal(answers->error.message,
                        "Cannot switch peering dialing mode from true to false");
    char *moved[] = {"h:2", "h:3"};
    sent.n_addresses = 2;
    sent.addresses = moved;
    submit(answers, RESOURCE_ADDRESSES, "server-addrs", &sent);
    wait(answers);
    assert_int_equal(answers->error.code, ERR_NONE);
    const Pb__Peering *stored =
        peering_find(fixture_view(answers->fixture), &TENANCY_DEFAULT, PEER)->message;
    assert_string_equal(stored->peer_server_addresses[1], "h:3");
    teardown_import(answers);
}

static void test_what_the_catalog_refuses_is_answered(void **state)
{
    (void)state;
    struct answers *answers = setup_import();
    struct arena *arena = answers->fixture->arena;
    Pb__CheckServiceNode *sent[] = {make_instance(arena, "n1", "web", "web-1")};
    submit(answers, RESOURCE_SERVICE, "db", payload_of(arena, 1, sent));
    wait(answers);
    assert_string_equal(answers->error.message, "an instance belongs to service \"web\" instead");
    Pb__Peering peering = PB__PEERING__INIT;
    peering.id = PEERING_ID;
    peering.name = PEER;
    peering.state = PB__PEERING_STATE__TERMINATED;
    fixture_put(answers->fixture, TABLE_PEERING, &peering);
    submit(answers, RESOURCE_SERVICE, "web", payload_of(arena, 1, sent));
    wait(answers);
    assert_int_equal(answers->error.code, ERR_PRECONDITION);
    expect_instances(answers, PEER, "web", "");
    teardown_import(answers);
}

static void test_the_stream_may_end_in_the_middle(void **state)
{
    (void)state;
    struct answers *answers = setup_import();
    struct arena *arena = answers->fixture->arena;
    Pb__CheckServiceNode *all[200];
    for (size_t i = 0; i < 200; i++)
        all[i] = make_instance(arena, "n1", "web", arena_printf(arena, "web-%zu", i));
    for (size_t i = 0; i < 3; i++)
        submit(answers, RESOURCE_SERVICE, "web", payload_of(arena, 200, all));
    submit_list(answers, 0, NULL);
    teardown_import(answers);
}

static void on_removed(void *arg)
{
    ((struct fixture *)arg)->done = true;
}

static void test_a_deleted_peering_leaves_nothing(void **state)
{
    (void)state;
    struct answers *answers = setup_import();
    struct arena *arena = answers->fixture->arena;
    Pb__CheckServiceNode *all[150];
    for (size_t i = 0; i < 150; i++)
        all[i] = make_instance(arena, arena_printf(arena, "n%zu", i % 80), "web",
                               arena_printf(arena, "web-%zu", i));
    submit(answers, RESOURCE_SERVICE, "web", payload_of(arena, 150, all));
    wait(answers);
    Pb__Peering peering = PB__PEERING__INIT;
    peering.id = PEERING_ID;
    peering.name = PEER;
    peering.state = PB__PEERING_STATE__DELETING;
    peering.deleted_at = 1;
    fixture_put(answers->fixture, TABLE_PEERING, &peering);
    answers->fixture->done = false;
    removal_start(answers->fixture->store, &peering, on_removed, answers->fixture);
    fixture_wait_for(answers->fixture, fixture_is_done, NULL);
    expect_instances(answers, PEER, "web", "");
    assert_int_equal(count_nodes(answers), 0);
    assert_null(peering_find(fixture_view(answers->fixture), &TENANCY_DEFAULT, PEER));
    teardown_import(answers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_service_is_there_under_the_peers_name_only),
        cmocka_unit_test(test_what_is_not_sent_any_more_goes),
        cmocka_unit_test(test_the_list_removes_what_it_does_not_name),
        cmocka_unit_test(test_changes_of_one_service_keep_their_order),
        cmocka_unit_test(test_a_large_service_takes_many_transactions),
        cmocka_unit_test(test_roots_go_to_the_bundle_and_to_the_record),
        cmocka_unit_test(test_a_peer_cannot_claim_anothers_trust_domain),
        cmocka_unit_test(test_addresses_cannot_turn_a_dialer_around),
        cmocka_unit_test(test_what_the_catalog_refuses_is_answered),
        cmocka_unit_test(test_the_stream_may_end_in_the_middle),
        cmocka_unit_test(test_a_deleted_peering_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
