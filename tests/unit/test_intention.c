/* Intentions: the wrong order of two rules opens what someone closed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "intention/intention.h"
#include "store_fixture.h"
#include "text/json.h"

static int set_up(void **state)
{
    *state = fixture_new();
    return 0;
}

static int tear_down(void **state)
{
    fixture_free(*state);
    return 0;
}

struct put {
    const struct config_kind *kind;
    const void *entry;
};

static bool put_entry(struct txn *txn, void *arg, struct error *error)
{
    const struct put *put = arg;
    return config_entry_put(txn, put->kind, put->entry, NULL, error);
}

/* Sources: "name[@peer]=action …". */
static void store(struct fixture *fixture, const char *destination, const char *sources)
{
    json_t *list = json_array();
    char *copy = arena_strdup(fixture->arena, sources), *rest = copy;
    for (char *word = strtok_r(rest, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        char *action = strchr(word, '=');
        *action++ = '\0';
        char *peer = strchr(word, '@');
        if (peer != NULL)
            *peer++ = '\0';
        json_array_append_new(list, json_pack("{s:s,s:s,s:s}", "Name", word, "Action", action,
                                              "Peer", peer != NULL ? peer : ""));
    }
    json_t *value = json_pack("{s:s,s:s,s:o}", "Kind", "service-intentions", "Name", destination,
                              "Sources", list);
    struct put put;
    struct error error = {0};
    put.entry = config_entry_read(value, 0, &put.kind, fixture->arena, &error);
    json_decref(value);
    if (put.entry == NULL)
        fail_msg("%s", error.message);
    fixture_commit(fixture, put_entry, &put);
    assert_int_equal(fixture->error.code, ERR_NONE);
}

static void assert_matches(struct fixture *fixture, const char *destination, const char *expected)
{
    const struct intention_match *matches;
    size_t count = intention_match_destination(fixture_view(fixture), &TENANCY_DEFAULT, destination,
                                               fixture->arena, &matches);
    struct buffer text = {0};
    for (size_t i = 0; i < count; i++) {
        const Pb__SourceIntention *source = matches[i].source;
        buffer_printf(&text, "%s%s%s%s>%s=%d", i > 0 ? " " : "", source->name,
                      source->peer[0] != '\0' ? "@" : "", source->peer, matches[i].destination,
                      (int)source->precedence);
    }
    assert_string_equal(buffer_text(&text), expected);
    buffer_free(&text);
}

static void test_precedence(void **state)
{
    (void)state;
    assert_int_equal(intention_precedence("web", "db"), 9);
    assert_int_equal(intention_precedence("*", "db"), 8);
    assert_int_equal(intention_precedence("web", "*"), 6);
    assert_int_equal(intention_precedence("*", "*"), 5);
}

static void test_order_of_matches(void **state)
{
    struct fixture *fixture = *state;
    assert_matches(fixture, "db", "");
    store(fixture, "*", "*=deny web=allow");
    assert_matches(fixture, "db", "web>*=6 *>*=5");
    /* The wildcard comes last though it was written first; local before peered, then by name. */
    store(fixture, "db", "*=deny web@p2=allow web@p1=allow web=allow api=allow *@p1=deny");
    assert_matches(fixture, "db",
                   "api>db=9 web>db=9 web@p1>db=9 web@p2>db=9 *>db=8 *@p1>db=8 web>*=6 *>*=5");
    assert_matches(fixture, "DB",
                   "api>db=9 web>db=9 web@p1>db=9 web@p2>db=9 *>db=8 *@p1>db=8 web>*=6 *>*=5");
    assert_matches(fixture, "*", "web>*=6 *>*=5");
}

static void assert_verdict(struct fixture *fixture, const char *peer, const char *source,
                           const char *destination, bool default_allow, bool expected,
                           const char *expected_reason)
{
    const char *reason = NULL;
    bool allowed = intention_allows(fixture_view(fixture), &TENANCY_DEFAULT, peer, source,
                                    destination, default_allow, fixture->arena, &reason);
    assert_string_equal(reason, expected_reason);
    assert_int_equal(allowed, expected);
}

static void test_verdicts(void **state)
{
    struct fixture *fixture = *state;
    assert_verdict(fixture, NULL, "web", "db", true, true,
                   "no intention matches; the default is to allow");
    assert_verdict(fixture, "", "web", "db", false, false,
                   "no intention matches; the default is to deny");
    store(fixture, "*", "*=deny");
    store(fixture, "db", "web=allow api@p1=allow *@p2=allow bad@p2=deny");
    assert_verdict(fixture, NULL, "web", "db", false, true,
                   "intention \"web\" => \"db\" (allow, precedence 9)");
    assert_verdict(fixture, NULL, "other", "db", true, false,
                   "intention \"*\" => \"*\" (deny, precedence 5)");
    assert_verdict(fixture, "p1", "api", "db", false, true,
                   "intention \"api\" of peer \"p1\" => \"db\" (allow, precedence 9)");
    assert_verdict(fixture, "p2", "any", "db", false, true,
                   "intention \"*\" of peer \"p2\" => \"db\" (allow, precedence 8)");
    assert_verdict(fixture, "p2", "bad", "db", true, false,
                   "intention \"bad\" of peer \"p2\" => \"db\" (deny, precedence 9)");
}

/* Any peer (beyond Consul) comes after the peers by name, and is none of this cluster's services. */
static void test_any_peer(void **state)
{
    struct fixture *fixture = *state;
    store(fixture, "db", "web@*=allow web@p1=deny api=deny");
    assert_matches(fixture, "db", "api>db=9 web@p1>db=9 web@*>db=9");
    assert_verdict(fixture, "p2", "web", "db", false, true,
                   "intention \"web\" of peer \"*\" => \"db\" (allow, precedence 9)");
    assert_verdict(fixture, "p1", "web", "db", false, false,
                   "intention \"web\" of peer \"p1\" => \"db\" (deny, precedence 9)");
    assert_verdict(fixture, NULL, "web", "db", false, false,
                   "no intention matches; the default is to deny");
}

/* A rule for local callers says nothing of a peer's, and the other way round. */
static void test_a_peer_is_not_local(void **state)
{
    struct fixture *fixture = *state;
    store(fixture, "db", "web=allow api@p1=allow *=allow");
    assert_verdict(fixture, "p1", "web", "db", false, false,
                   "no intention matches; the default is to deny");
    assert_verdict(fixture, "p9", "api", "db", false, false,
                   "no intention matches; the default is to deny");
    assert_true(intention_allows(fixture_view(fixture), &TENANCY_DEFAULT, NULL, "api", "db", false,
                                 fixture->arena, NULL));
}

static void test_names_of_sources_are_exact(void **state)
{
    struct fixture *fixture = *state;
    store(fixture, "db", "web=allow");
    assert_verdict(fixture, NULL, "WEB", "db", false, false,
                   "no intention matches; the default is to deny");
    assert_verdict(fixture, NULL, "web2", "db", false, false,
                   "no intention matches; the default is to deny");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_precedence),
        TEST(test_order_of_matches),
        TEST(test_verdicts),
        TEST(test_any_peer),
        TEST(test_a_peer_is_not_local),
        TEST(test_names_of_sources_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
