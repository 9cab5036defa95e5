/* ?filter: what scripts select by, and the words when an expression is wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "text/filter.h"
#include "text/pattern.h"
#include "http/shapes.h"
#include "proto/codec_tables.h"

/* One instance: node n1 with env=production, service web on 8080 with two tags. */
static Pb__Node__MetaEntry node_meta = {
    .base = PROTOBUF_C_MESSAGE_INIT(&pb__node__meta_entry__descriptor),
    .key = "env",
    .value = "production",
};
static Pb__Node__MetaEntry *node_metas[] = {&node_meta};
static Pb__NodeService__MetaEntry service_meta = {
    .base = PROTOBUF_C_MESSAGE_INIT(&pb__node_service__meta_entry__descriptor),
    .key = "version",
    .value = "2",
};
static Pb__NodeService__MetaEntry *service_metas[] = {&service_meta};
static Pb__ServiceAddress lan = {
    .base = PROTOBUF_C_MESSAGE_INIT(&pb__service_address__descriptor),
    .address = "10.0.0.9",
    .port = 80,
};
static Pb__NodeService__TaggedAddressesEntry tagged = {
    .base = PROTOBUF_C_MESSAGE_INIT(&pb__node_service__tagged_addresses_entry__descriptor),
    .key = "lan",
    .value = &lan,
};
static Pb__NodeService__TaggedAddressesEntry *tagged_addresses[] = {&tagged};
static char *tags[] = {"v1", "primary"};
static Pb__Node node = PB__NODE__INIT;
static Pb__NodeService service = PB__NODE_SERVICE__INIT;
static Pb__HealthCheck check = PB__HEALTH_CHECK__INIT;

static int set_up(void **state)
{
    (void)state;
    shapes_prepare();
    node.node = "n1";
    node.address = "10.0.0.1";
    node.n_meta = 1;
    node.meta = node_metas;
    service.service = "web";
    service.id = "web-1";
    service.port = 8080;
    service.n_tags = 2;
    service.tags = tags;
    service.n_meta = 1;
    service.meta = service_metas;
    service.n_tagged_addresses = 1;
    service.tagged_addresses = tagged_addresses;
    return 0;
}

static bool matches(const struct filter_root *root, const char *text)
{
    struct arena *arena = arena_new();
    struct error error = {0};
    struct filter *filter = filter_parse(text, root, arena, &error);
    if (filter == NULL)
        fail_msg("%s: %s", text, error.message);
    const void *parts[] = {&node, &service, &check};
    bool matched = filter_match(filter, parts);
    arena_free(arena);
    return matched;
}

static void assert_matches(const struct filter_root *root, const char *const *texts, bool expected)
{
    for (; *texts != NULL; texts++) {
        if (matches(root, *texts) != expected)
            fail_msg("%s: expected %s", *texts, expected ? "a match" : "no match");
    }
}

static void items_are_selected(void **state)
{
    (void)state;
    static const char *const yes[] = {
        "Node.Node == n1",
        "Node.Node==n1",
        "Node.Address == `10.0.0.1`",
        "Node.Meta.env == production",
        "Node.Meta[\"env\"] == \"production\"",
        "Service.Meta.version == 2",
        "Service.Port == 8080",
        "Service.Port != 80",
        "v1 in Service.Tags",
        "Service.Tags contains primary",
        "v2 not in Service.Tags",
        "Service.Tags not contains v2",
        "env in Node.Meta",
        "nope not in Node.Meta",
        "Service.SocketPath is empty",
        "Service.Tags is not empty",
        "Checks is not empty",
        "Service.Service matches \"^w.b$\"",
        "Service.ID matches `web-\\d+`",
        "Service.Service not matches db",
        "eb in Service.Service",
        "Service.TaggedAddresses.lan.Port == 80",
        "Service.TaggedAddresses.wan.Address != x",
        "Service.Connect.Native != true",
        "Service.EnableTagOverride == false",
        "Node.Meta.nope != production",
        "Node.Meta.nope is empty",
        "Service.Namespace is empty",
        NULL,
    };
    static const char *const no[] = {
        "Node.Node == n2",
        "Node.Meta.nope == production",
        "Service.Port == 80",
        "v2 in Service.Tags",
        "Service.Tags is empty",
        "Checks is empty",
        "Service.Service matches \"^d\"",
        "Service.TaggedAddresses.wan.Port == 80",
        NULL,
    };
    assert_matches(&filter_health, yes, true);
    assert_matches(&filter_health, no, false);
}

static void and_binds_closer_than_or(void **state)
{
    (void)state;
    static const char *const yes[] = {
        "Node.Node == n1 or Node.Node == n2 and Node.Node == n3",
        "(Node.Node == n1)",
        "( Node.Node == n2 or Service.Port == 8080 ) and v1 in Service.Tags",
        "not Node.Node == n2",
        "not (Node.Node == n2 or Node.Node == n3)",
        "not not Node.Node == n1",
        " Node.Node == n1 and\nService.Service == web ",
        NULL,
    };
    static const char *const no[] = {
        "(Node.Node == n1 or Node.Node == n2) and Node.Node == n3",
        "not (Node.Node == n1)",
        NULL,
    };
    assert_matches(&filter_health, yes, true);
    assert_matches(&filter_health, no, false);
}

static void each_list_has_its_own_names(void **state)
{
    (void)state;
    assert_true(
        matches(&filter_catalog_service, "ServicePort == 8080 and NodeMeta.env == production"));
    assert_true(matches(&filter_catalog_service, "v1 in ServiceTags and Address == `10.0.0.1`"));
    assert_true(matches(&filter_node, "Meta.env == production"));
    assert_true(matches(&filter_member, "Name == n1 and Tags[\"env\"] == production"));
}

static void assert_refused(const struct filter_root *root, const char *text, const char *words)
{
    struct arena *arena = arena_new();
    struct error error = {0};
    assert_null(filter_parse(text, root, arena, &error));
    static const char prefix[] = "Failed to create boolean expression evaluator: ";
    assert_true(strncmp(error.message, prefix, strlen(prefix)) == 0);
    if (strstr(error.message, words) == NULL)
        fail_msg("%s: %s", text, error.message);
    arena_free(arena);
}

static void patterns_are_gos(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *text;
        bool matches;
    } cases[] = {
        {"", "", true},
        {"b", "abc", true},
        {"^b", "abc", false},
        {"c$", "abc", true},
        {"^a.c$", "abc", true},
        {"^a.c$", "a\u00e9c", true}, /* a dot is a character, not a byte */
        {"^[^x]$", "\u00e9", true},
        {"^(web|db)-[0-9]{2,3}$", "db-12", true},
        {"^(web|db)-[0-9]{2,3}$", "db-1", false},
        {"^(?:ab)*$", "abab", true},
        {"^(a*)*$", "aaab", false},
        {"^a{0,2}$", "aaa", false},
        {"^a{2,}$", "aaaa", true},
        {"colou?r", "color", true},
        {"\\bfoo\\b", "a foo b", true},
        {"\\bfoo\\b", "afoo", false},
        {"^[[:alpha:]_-]+$", "a_b-C", true},
        {"^[]a]+$", "]a", true},
        {"^[\\w.]+@\\S+$", "a.b@c", true},
        {"(?i)^WEB$", "wEb", true},
        {"^\\.$", "x", false},
        {"a|b|", "zzz", true},
        {"^{x}$", "{x}", true},
        {"^.*?c$", "abc", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct arena *arena = arena_new();
        struct error error = {0};
        struct pattern *pattern = pattern_compile(cases[i].pattern, arena, &error);
        if (pattern == NULL)
            fail_msg("%s: %s", cases[i].pattern, error.message);
        if (pattern_match(pattern, cases[i].text) != cases[i].matches)
            fail_msg("%s on %s", cases[i].pattern, cases[i].text);
        arena_free(arena);
    }
    static const char *const wrong[] = {"(",      ")",       "[",  "[z-a]", "*a",      "a**",
                                        "a{2,1}", "a{1001}", "\\", "\\q",   "(?P<n>a)"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct arena *arena = arena_new();
        struct error error = {0};
        if (pattern_compile(wrong[i], arena, &error) != NULL)
            fail_msg("%s was taken", wrong[i]);
        assert_non_null(strstr(error.message, "error parsing regexp: "));
        arena_free(arena);
    }
}

static void mistakes_are_named_with_their_place(void **state)
{
    (void)state;
    assert_refused(
        &filter_member, "Tags[\"dc\"] == invalid-bexpr-value",
        "1:22 (21): no match found, expected: \".\", \"[\", [ \\t\\r\\n], [a-zA-Z0-9_] or EOF");
    assert_refused(&filter_health, "Node.Nope == x", "Selector \"Node.Nope\" is not valid");
    assert_refused(&filter_health, "Service.Proxy.Config.x == 1", "is not valid");
    assert_refused(&filter_health, "Service.Port == many", "Failed to coerce value \"many\"");
    assert_refused(&filter_health, "Service.Port is empty", "Invalid match operator");
    assert_refused(&filter_health, "Node.Node ==", "1:13 (12)");
    assert_refused(&filter_health, "(Node.Node == n1", "Unmatched parentheses");
    assert_refused(&filter_health, "Node.Node == n1)", "1:16 (15)");
    assert_refused(&filter_health, "\"x\" == \"y\"", "Invalid selector");
    assert_refused(&filter_health, "Service.Service matches \"[\"",
                   "error parsing regexp: missing closing ]");
    assert_refused(&filter_health, "Service.Service matches `(a)\\1`", "invalid escape");
}

static void hostile_expressions_are_bounded(void **state)
{
    (void)state;
    char deep[600] = "";
    memset(deep, '(', 500);
    assert_refused(&filter_health, deep, "nested deeper");
    static char lengthy[FILTER_LENGTH_MAX + 2];
    memset(lengthy, 'a', sizeof lengthy - 1);
    assert_refused(&filter_health, lengthy, "longer than");
    assert_refused(&filter_health, "Service.Service matches `((a{100}){100}){100}`", "too large");
    assert_refused(&filter_health, "Service.Service matches `(((){1000}){1000}){1000}`",
                   "too large");
    assert_refused(&filter_health, "Service.Service matches `a++++++++++++++++++++++`", "nested");
    /* What takes others exponential time. */
    assert_false(matches(&filter_health, "Node.Address matches `^(([0-9.]+)+)+x$`"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_are_selected),
        cmocka_unit_test(and_binds_closer_than_or),
        cmocka_unit_test(each_list_has_its_own_names),
        cmocka_unit_test(patterns_are_gos),
        cmocka_unit_test(mistakes_are_named_with_their_place),
        cmocka_unit_test(hostile_expressions_are_bounded),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
