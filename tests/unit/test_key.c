/* Keys: what is one thing for a user must be one key, and no two things may share one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "store/tables.h"

static void test_empty_tenancy_is_default(void **state)
{
    (void)state;
    struct buffer a = {0}, b = {0};
    struct tenancy named = {"default", "Default", ""};
    key_named(&a, &TENANCY_DEFAULT, "Web");
    key_named(&b, &named, "web");
    assert_int_equal(a.length, b.length);
    assert_memory_equal(a.data, b.data, a.length);
    assert_memory_equal(a.data, "default\0default\0\0web", a.length);
    buffer_free(&a);
    buffer_free(&b);
}

static void test_parts_do_not_run_together(void **state)
{
    (void)state;
    struct buffer a = {0}, b = {0};
    key_service(&a, &TENANCY_DEFAULT, "ab", "c");
    key_service(&b, &TENANCY_DEFAULT, "a", "bc");
    assert_int_not_equal(bcmp(a.data, b.data, a.length), 0);
    struct tenancy peer = {.peer = "ab"};
    key_named(&a, &peer, "c");
    key_named(&b, &TENANCY_DEFAULT, "abc");
    assert_int_not_equal(a.length == b.length && bcmp(a.data, b.data, a.length) == 0, 1);
    buffer_free(&a);
    buffer_free(&b);
}

static void test_ids_keep_their_case(void **state)
{
    (void)state;
    struct buffer key = {0};
    key_check(&key, &TENANCY_DEFAULT, "Node1", "Check:One");
    assert_string_equal(key_name(key.data, key.length, 0), "node1");
    assert_string_equal(key_name(key.data, key.length, 1), "Check:One");
    assert_string_equal(key_name(key.data, key.length, 2), "");
    buffer_free(&key);
}

static void test_node_keys_have_no_namespace(void **state)
{
    (void)state;
    struct buffer a = {0}, b = {0};
    struct tenancy tenancy = {.partition = "p", .namespace = "team", .peer = "eu"};
    key_node(&a, &tenancy, "n");
    tenancy.namespace = NULL;
    key_named(&b, &tenancy, "n");
    assert_int_equal(a.length, b.length);
    assert_memory_equal(a.data, b.data, a.length);
    buffer_free(&a);
    buffer_free(&b);
}

static void test_every_table_is_complete(void **state)
{
    (void)state;
    for (enum table table = 0; table < TABLE_COUNT; table++) {
        const struct table_class *class = table_class(table);
        assert_non_null(class->name);
        assert_non_null(class->key);
        assert_non_null(class->message->descriptor);
        assert_string_equal(class->indexes[BY_TENANCY].name, "tenancy");
        for (enum table other = 0; other < table; other++)
            assert_string_not_equal(class->name, table_class(other)->name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty_tenancy_is_default),
        cmocka_unit_test(test_parts_do_not_run_together),
        cmocka_unit_test(test_ids_keep_their_case),
        cmocka_unit_test(test_node_keys_have_no_namespace),
        cmocka_unit_test(test_every_table_is_complete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
