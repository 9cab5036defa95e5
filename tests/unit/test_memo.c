/* Parts that a gateway keeps: what would be lost is a change that its Envoy never hears of, or the
 * milliseconds in which thousands of unrelated instances are gathered again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "mesh/memo.h"
#include "proto/proto.h"
#include "store_fixture.h"

static struct fixture *fixture;
static struct memo *memo;
static int gathered, told;

static void on_changed(void *arg)
{
    (void)arg;
    told++;
}

static int setup(void **state)
{
    (void)state;
    fixture = fixture_new();
    memo = memo_new(fixture->store, on_changed, NULL);
    gathered = told = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    memo_free(memo);
    fixture_free(fixture);
    return 0;
}

static void put_node(const char *name, const char *address)
{
    Pb__Node node = PB__NODE__INIT;
    node.node = (char *)(uintptr_t)name;
    node.address = (char *)(uintptr_t)address;
    fixture_put(fixture, TABLE_NODE, &node);
}

static const void *address_of(struct gather *gather, const char *name)
{
    struct buffer key = {0};
    const struct record *record =
        view_get(gather->view, TABLE_NODE, key_node(&key, &gather->tenancy, name));
    buffer_free(&key);
    gathered++;
    return record == NULL ? NULL : ((const Pb__Node *)record->message)->address;
}

static const char *get(const char *name)
{
    struct proxy_snapshot snapshot = {.arena = fixture->arena};
    struct gather gather = {.snapshot = &snapshot, .memo = memo};
    return memo_get(&gather, address_of, name);
}

static void test_only_what_changed_is_gathered_again(void **state)
{
    (void)state;
    put_node("a", "10.0.0.1");
    put_node("b", "10.0.0.2");
    assert_string_equal(get("a"), "10.0.0.1");
    assert_string_equal(get("b"), "10.0.0.2");
    assert_string_equal(get("a"), "10.0.0.1");
    assert_int_equal(gathered, 2);
    memo_sweep(memo);

    put_node("a", "10.0.0.9");
    assert_int_equal(told, 1);
    assert_string_equal(get("a"), "10.0.0.9");
    assert_string_equal(get("b"), "10.0.0.2");
    assert_int_equal(gathered, 3);
}

static void test_what_appears_is_seen(void **state)
{
    (void)state;
    assert_null(get("a"));
    assert_null(get("a"));
    assert_int_equal(gathered, 1);
    put_node("a", "10.0.0.1");
    assert_int_equal(told, 1);
    assert_string_equal(get("a"), "10.0.0.1");
}

static void test_what_is_not_asked_for_is_forgotten(void **state)
{
    (void)state;
    put_node("a", "10.0.0.1");
    get("a");
    memo_sweep(memo);
    memo_sweep(memo);
    put_node("a", "10.0.0.9");
    assert_int_equal(told, 0);
    assert_string_equal(get("a"), "10.0.0.9");
    assert_int_equal(gathered, 2);
}

struct late {
    const char *seen;
};

/* Reads in the turn of the commit, before any watch has fired. */
static void read_at_once(void *arg, const struct error *error, uint64_t index)
{
    (void)error, (void)index;
    ((struct late *)arg)->seen = arena_strdup(fixture->arena, get("a"));
    fixture->done = true;
}

static bool move(struct txn *txn, void *arg, struct error *error)
{
    (void)arg, (void)error;
    Pb__Node node = PB__NODE__INIT;
    node.node = (char *)(uintptr_t) "a";
    node.address = (char *)(uintptr_t) "10.0.0.9";
    txn_put(txn, TABLE_NODE, &node);
    return true;
}

static void test_nothing_old_is_given_out_before_watches_fire(void **state)
{
    (void)state;
    put_node("a", "10.0.0.1");
    get("a");
    struct late late = {NULL};
    fixture->done = false;
    store_commit(fixture->store, move, read_at_once, &late);
    fixture_wait_for(fixture, fixture_is_done, NULL);
    assert_string_equal(late.seen, "10.0.0.9");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_only_what_changed_is_gathered_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_appears_is_seen, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_not_asked_for_is_forgotten, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nothing_old_is_given_out_before_watches_fire, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
