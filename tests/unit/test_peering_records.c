/* A peering's record and secrets: who may come in, once, and what a write may not undo. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store_fixture.h"

#include "base/text.h"
#include "peering_support.h"

/* ---- secrets ---- */

struct step {
    enum { GENERATE, EXCHANGE, OPEN } kind;
    const char *given, *next;
};

static bool run_step(struct txn *txn, void *arg, struct error *error)
{
    const struct step *step = arg;
    Pb__RemoteInfo remote = PB__REMOTE_INFO__INIT;
    remote.datacenter = "dc2";
    switch (step->kind) {
    case GENERATE:
        secrets_generate(txn, PEERING_ID, step->next);
        return true;
    case EXCHANGE:
        return secrets_exchange(txn, PEERING_ID, step->given, step->next, error);
    case OPEN:
        break;
    }
    return secrets_open(txn, PEERING_ID, step->given, &remote, error);
}

static void expect_step(struct fixture *fixture, struct step step, const char *refusal)
{
    fixture_commit(fixture, run_step, &step);
    assert_string_equal(fixture->error.message, refusal);
}

#define WRONG_EXCHANGE "invalid peering establishment secret"
#define WRONG_OPEN "invalid peering stream secret"

static Pb__Peering acceptor_record(void)
{
    Pb__Peering peering = PB__PEERING__INIT;
    peering.id = PEERING_ID;
    peering.name = PEER;
    peering.state = PB__PEERING_STATE__PENDING;
    return peering;
}

static bool put(struct txn *txn, void *arg, struct error *error)
{
    return peering_put(txn, arg, error);
}

static void expect_put(struct fixture *fixture, Pb__Peering *peering, const char *refusal)
{
    fixture_commit(fixture, put, peering);
    assert_string_equal(fixture->error.message, refusal);
}

static const Pb__Peering *stored(struct fixture *fixture)
{
    const struct record *record =
        peering_find(fixture_view(fixture), &TENANCY_DEFAULT, "CLUSTER-02"); /* any case */
    return record == NULL ? NULL : record->message;
}

static struct fixture *setup_record(void)
{
    struct fixture *fixture = fixture_new();
    Pb__Peering peering = acceptor_record();
    expect_put(fixture, &peering, "");
    return fixture;
}

static void test_a_secret_is_exchanged_once(void **state)
{
    (void)state;
    struct fixture *fixture = setup_record();
    expect_step(fixture, (struct step){EXCHANGE, "", "p1"}, WRONG_EXCHANGE);
    expect_step(fixture, (struct step){GENERATE, NULL, "e1"}, "");
    expect_step(fixture, (struct step){EXCHANGE, "wrong", "p1"}, WRONG_EXCHANGE);
    expect_step(fixture, (struct step){EXCHANGE, "", "p1"}, WRONG_EXCHANGE);
    expect_step(fixture, (struct step){EXCHANGE, "e1", "p1"}, "");
    expect_step(fixture, (struct step){EXCHANGE, "e1", "p2"}, WRONG_EXCHANGE);
    expect_step(fixture, (struct step){EXCHANGE, "", "p2"}, WRONG_EXCHANGE);
    fixture_free(fixture);
}

static void test_a_newer_token_replaces_the_older_one(void **state)
{
    (void)state;
    struct fixture *fixture = setup_record();
    expect_step(fixture, (struct step){GENERATE, NULL, "e1"}, "");
    expect_step(fixture, (struct step){GENERATE, NULL, "e2"}, "");
    expect_step(fixture, (struct step){EXCHANGE, "e1", "p"}, WRONG_EXCHANGE);
    expect_step(fixture, (struct step){EXCHANGE, "e2", "p"}, "");
    fixture_free(fixture);
}

/* Rotation: the old secret works until the new one is used. */
static void test_the_pending_secret_takes_over_when_it_is_used(void **state)
{
    (void)state;
    struct fixture *fixture = setup_record();
    expect_step(fixture, (struct step){OPEN, "p1", NULL},
                "unable to authorize connection, peering must be re-established");
    expect_step(fixture, (struct step){GENERATE, NULL, "e1"}, "");
    expect_step(fixture, (struct step){OPEN, "", NULL}, WRONG_OPEN);
    expect_step(fixture, (struct step){OPEN, "e1", NULL}, WRONG_OPEN);
    expect_step(fixture, (struct step){EXCHANGE, "e1", "p1"}, "");
    assert_string_equal(stored(fixture)->remote->datacenter, "");
    expect_step(fixture, (struct step){OPEN, "p1", NULL}, "");
    assert_string_equal(stored(fixture)->remote->datacenter, "dc2");
    expect_step(fixture, (struct step){OPEN, "p1", NULL}, "");
    expect_step(fixture, (struct step){GENERATE, NULL, "e2"}, "");
    expect_step(fixture, (struct step){EXCHANGE, "e2", "p2"}, "");
    expect_step(fixture, (struct step){OPEN, "p1", NULL}, "");
    expect_step(fixture, (struct step){OPEN, "p2", NULL}, "");
    expect_step(fixture, (struct step){OPEN, "p1", NULL}, WRONG_OPEN);
    fixture_free(fixture);
}

static void test_secrets_go_when_the_peering_ends(void **state)
{
    (void)state;
    struct fixture *fixture = setup_record();
    expect_step(fixture, (struct step){GENERATE, NULL, "e1"}, "");
    expect_step(fixture, (struct step){EXCHANGE, "e1", "p1"}, "");
    Pb__Peering peering = acceptor_record();
    peering.state = PB__PEERING_STATE__TERMINATED;
    expect_put(fixture, &peering, "");
    assert_null(peering_secrets(fixture_view(fixture), PEERING_ID));
    expect_step(fixture, (struct step){OPEN, "p1", NULL},
                "unable to authorize connection, peering must be re-established");
    fixture_free(fixture);
}

/* ---- the record ---- */

static void test_a_write_keeps_what_it_does_not_say(void **state)
{
    (void)state;
    struct fixture *fixture = setup_record();
    Pb__RemoteInfo remote = PB__REMOTE_INFO__INIT, nothing = PB__REMOTE_INFO__INIT;
    remote.datacenter = "dc2";
    Pb__Peering peering = acceptor_record();
    peering.remote = &remote;
    expect_put(fixture, &peering, "");
    peering.remote = &nothing;
    peering.state = PB__PEERING_STATE__UNDEFINED;
    expect_put(fixture, &peering, "");
    assert_string_equal(stored(fixture)->remote->datacenter, "dc2");
    assert_int_equal(stored(fixture)->state, PB__PEERING_STATE__PENDING);
    fixture_free(fixture);
}

static void test_a_write_cannot_change_what_a_peering_is(void **state)
{
    (void)state;
    struct fixture *fixture = setup_record();
    char *addresses[] = {"h:1"};
    Pb__Peering peering = acceptor_record();
    peering.n_peer_server_addresses = 1;
    peering.peer_server_addresses = addresses;
    expect_put(fixture, &peering, "Cannot switch peering dialing mode from false to true");
    peering = acceptor_record();
    peering.id = "11111111-2222-3333-4444-555555555555";
    expect_put(fixture, &peering,
               "A peering already exists with the name \"" PEER
               "\" and a different ID \"" PEERING_ID "\"");
    fixture_free(fixture);
}

static void test_deletion_cannot_be_undone(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_new();
    Pb__Peering peering = acceptor_record();
    peering.state = PB__PEERING_STATE__DELETING;
    peering.deleted_at = 5;
    expect_put(fixture, &peering, "cannot create a new peering marked for deletion");
    Pb__Peering active = acceptor_record();
    expect_put(fixture, &active, "");
    expect_put(fixture, &peering, "");
    expect_put(fixture, &active, "cannot write to peering that is marked for deletion");
    peering.deleted_at = 6;
    expect_put(fixture, &peering, ""); /* asked twice: the first time stands */
    assert_int_equal(stored(fixture)->deleted_at, 5);
    fixture_free(fixture);
}

static void expect_name(const char *name, bool good)
{
    struct error error = {0};
    assert_int_equal(peering_check_name(name, &error), good);
    if (!good)
        assert_true(text_starts(error.message, name));
}

static void test_names(void **state)
{
    (void)state;
    expect_name("a", true);
    expect_name("cluster-02", true);
    expect_name("", false);
    expect_name("-a", false);
    expect_name("a-", false);
    expect_name("A", false);
    expect_name("a.b", false);
    expect_name("a23456789012345678901234567890123456789012345678901234567890123", true);
    expect_name("a234567890123456789012345678901234567890123456789012345678901234", false);
}

static void test_meta_that_consul_refuses_is_refused(void **state)
{
    (void)state;
    Pb__GenerateTokenRequest__MetaEntry entry = PB__GENERATE_TOKEN_REQUEST__META_ENTRY__INIT;
    Pb__GenerateTokenRequest__MetaEntry *meta[] = {&entry};
    struct error error = {0};
    entry.key = "consul-x";
    entry.value = "v";
    assert_false(peering_check_meta(1, meta, &error));
    assert_string_equal(error.message,
                        "meta tags failed validation: Couldn't load metadata pair ('consul-x', "
                        "'v'): Key prefix 'consul-' is reserved for internal use");
    entry.key = "team";
    assert_true(peering_check_meta(1, meta, &error));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_secret_is_exchanged_once),
        cmocka_unit_test(test_a_newer_token_replaces_the_older_one),
        cmocka_unit_test(test_the_pending_secret_takes_over_when_it_is_used),
        cmocka_unit_test(test_secrets_go_when_the_peering_ends),
        cmocka_unit_test(test_a_write_keeps_what_it_does_not_say),
        cmocka_unit_test(test_a_write_cannot_change_what_a_peering_is),
        cmocka_unit_test(test_deletion_cannot_be_undone),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_meta_that_consul_refuses_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
