/* Discovery chains: what entries come to, and what is refused because it does not fit together.
 * Expected texts are a real cluster's where one has them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "chain/chain.h"
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

struct write {
    const struct config_kind *kind;
    const void *entry;
    const char *name; /* to delete; NULL: put */
};

static bool write_entry(struct txn *txn, void *arg, struct error *error)
{
    const struct write *write = arg;
    if (write->name != NULL)
        return chain_entry_delete(txn, write->kind, &TENANCY_DEFAULT, write->name, NULL, error);
    return chain_entry_put(txn, write->kind, write->entry, NULL, error);
}

/* "" if it was stored, else the refusal. */
static const char *put(struct fixture *fixture, const char *text)
{
    struct error error = {0};
    struct write write = {0};
    json_t *value = json_parse(text, strlen(text), NULL, NULL);
    assert_non_null(value);
    write.entry = config_entry_read(value, 0, &write.kind, fixture->arena, &error);
    json_decref(value);
    if (write.entry == NULL)
        return arena_strdup(fixture->arena, error.message);
    fixture_commit(fixture, write_entry, &write);
    return arena_strdup(fixture->arena, fixture->error.message);
}

static void must_put(struct fixture *fixture, const char *text)
{
    assert_string_equal(put(fixture, text), "");
}

static const char *drop(struct fixture *fixture, const char *kind, const char *name)
{
    struct write write = {config_kind_find(kind, NULL), NULL, name};
    fixture_commit(fixture, write_entry, &write);
    return arena_strdup(fixture->arena, fixture->error.message);
}

static const struct chain *compile(struct fixture *fixture, const char *service,
                                   const struct chain_overrides *overrides)
{
    struct error error = {0};
    struct chain_input input = {
        .view = fixture_view(fixture),
        .service = service,
        .trust_domain = "td.consul",
        .datacenter = "dc1",
    };
    if (overrides != NULL)
        input.overrides = *overrides;
    const struct chain *chain = chain_compile(&input, fixture->arena, &error);
    if (chain == NULL)
        fail_msg("%s", error.message);
    return chain;
}

#define HTTP(name) "{\"Kind\":\"service-defaults\",\"Name\":\"" name "\",\"Protocol\":\"http\"}"
#define VERSIONS                                                                \
    "{\"Kind\":\"service-resolver\",\"Name\":\"web\",\"DefaultSubset\":\"v1\"," \
    "\"Subsets\":{\"v1\":{\"Filter\":\"Service.Meta.version == v1\"},"          \
    "\"v2\":{\"Filter\":\"Service.Meta.version == v2\",\"OnlyPassing\":true}}}"

static void test_a_service_without_entries_is_its_own_target(void **state)
{
    const struct chain *chain = compile(*state, "web", NULL);
    assert_true(chain->is_default);
    assert_string_equal(chain->protocol, "tcp");
    assert_int_equal(chain->node_count, 1);
    assert_int_equal(chain->target_count, 1);
    assert_string_equal(chain->start->name, "web.default.default.dc1");
    assert_string_equal(chain->targets[0]->sni, "web.default.dc1.internal.td.consul");
    assert_true(chain->start->connect_timeout_ns == CHAIN_CONNECT_TIMEOUT_NS);
}

static void test_the_default_subset_is_the_target(void **state)
{
    struct fixture *fixture = *state;
    must_put(fixture, VERSIONS);
    const struct chain *chain = compile(fixture, "web", NULL);
    assert_false(chain->is_default);
    assert_int_equal(chain->target_count, 1);
    assert_string_equal(chain->targets[0]->id, "v1.web.default.default.dc1");
    assert_string_equal(chain->targets[0]->sni, "v1.web.default.dc1.internal.td.consul");
    assert_string_equal(chain->targets[0]->definition->filter, "Service.Meta.version == v1");
}

static void test_redirects_are_followed(void **state)
{
    struct fixture *fixture = *state;
    must_put(fixture, VERSIONS);
    must_put(fixture, "{\"Kind\":\"service-resolver\",\"Name\":\"old\","
                      "\"Redirect\":{\"Service\":\"web\",\"ServiceSubset\":\"v2\"}}");
    must_put(fixture, "{\"Kind\":\"service-resolver\",\"Name\":\"older\","
                      "\"Redirect\":{\"Service\":\"old\"}}");
    const struct chain *chain = compile(fixture, "older", NULL);
    assert_false(chain->is_default);
    assert_string_equal(chain->start->name, "v2.web.default.default.dc1");
    assert_string_equal(put(fixture, "{\"Kind\":\"service-resolver\",\"Name\":\"web\","
                                     "\"Redirect\":{\"Service\":\"older\"}}"),
                        "detected circular resolver redirect: [web.default.default -> "
                        "older.default.default -> old.default.default -> "
                        "v2.web.default.default -> older.default.default]");
}

static void test_routes_splits_and_resolvers_are_one_graph(void **state)
{
    struct fixture *fixture = *state;
    must_put(fixture, HTTP("web"));
    must_put(fixture, VERSIONS);
    must_put(fixture, "{\"Kind\":\"service-splitter\",\"Name\":\"web\",\"Splits\":["
                      "{\"Weight\":99.5,\"ServiceSubset\":\"v1\"},"
                      "{\"Weight\":0.5,\"ServiceSubset\":\"v2\"}]}");
    must_put(fixture, "{\"Kind\":\"service-router\",\"Name\":\"web\",\"Routes\":[{"
                      "\"Match\":{\"HTTP\":{\"PathPrefix\":\"/canary\",\"Methods\":[\"get\"]}},"
                      "\"Destination\":{\"ServiceSubset\":\"v2\"}}]}");
    const struct chain *chain = compile(fixture, "web", NULL);
    assert_int_equal(chain->start->kind, CHAIN_ROUTER);
    assert_string_equal(chain->start->name, "web.default.default");
    assert_int_equal(chain->start->route_count, 2); /* and the one that takes all */
    assert_string_equal(chain->start->routes[0].definition->match->http->methods[0], "GET");
    assert_string_equal(chain->start->routes[0].next->name, "v2.web.default.default.dc1");
    const struct chain_node *splitter = chain->start->routes[1].next;
    assert_int_equal(splitter->kind, CHAIN_SPLITTER);
    assert_int_equal(splitter->splits[0].weight, 9950);
    assert_int_equal(splitter->splits[1].weight, 50);
    assert_ptr_equal(splitter->splits[1].next, chain->start->routes[0].next);
    assert_int_equal(chain->node_count, 4);
    assert_int_equal(chain->target_count, 2);
}

static void test_splitters_in_a_row_are_one(void **state)
{
    struct fixture *fixture = *state;
    must_put(fixture, HTTP("web"));
    must_put(fixture, HTTP("api"));
    must_put(fixture, HTTP("front"));
    must_put(fixture, VERSIONS);
    must_put(fixture, "{\"Kind\":\"service-splitter\",\"Name\":\"web\",\"Splits\":["
                      "{\"Weight\":50,\"ServiceSubset\":\"v1\"},"
                      "{\"Weight\":50,\"ServiceSubset\":\"v2\","
                      "\"RequestHeaders\":{\"Set\":{\"x\":\"inner\"}}}]}");
    must_put(fixture, "{\"Kind\":\"service-splitter\",\"Name\":\"front\",\"Splits\":["
                      "{\"Weight\":20,\"Service\":\"web\","
                      "\"RequestHeaders\":{\"Set\":{\"x\":\"outer\",\"y\":\"outer\"}}},"
                      "{\"Weight\":80,\"Service\":\"api\"}]}");
    const struct chain *chain = compile(fixture, "front", NULL);
    assert_int_equal(chain->node_count, 4);
    assert_int_equal(chain->start->split_count, 3);
    assert_int_equal(chain->start->splits[0].weight, 1000);
    assert_int_equal(chain->start->splits[2].weight, 8000);
    const Pb__HeaderModifiers *headers = chain->start->splits[1].definition->request_headers;
    assert_int_equal(headers->n_set, 2);
    assert_string_equal(headers->set[0]->value, "inner");
    assert_string_equal(headers->set[1]->value, "outer");
    assert_string_equal(put(fixture, "{\"Kind\":\"service-splitter\",\"Name\":\"api\",\"Splits\":["
                                     "{\"Weight\":100,\"Service\":\"front\"}]}"),
                        "detected circular reference: [splitter:api.default.default -> "
                        "splitter:front.default.default -> splitter:api.default.default]");
}

static void test_what_does_not_fit_together_is_refused(void **state)
{
    struct fixture *fixture = *state;
    assert_string_equal(put(fixture, "{\"Kind\":\"service-splitter\",\"Name\":\"tcp\","
                                     "\"Splits\":[{\"Weight\":100}]}"),
                        "discovery chain \"tcp\" uses a protocol \"tcp\" that does not permit "
                        "advanced routing or splitting behavior");
    must_put(fixture, HTTP("web"));
    must_put(fixture, VERSIONS);
    assert_string_equal(put(fixture, "{\"Kind\":\"service-splitter\",\"Name\":\"web\","
                                     "\"Splits\":[{\"Weight\":100,\"ServiceSubset\":\"v3\"}]}"),
                        "service \"web\" does not have a subset named \"v3\"");
    must_put(fixture, "{\"Kind\":\"service-splitter\",\"Name\":\"web\","
                      "\"Splits\":[{\"Weight\":100,\"ServiceSubset\":\"v2\"}]}");
    assert_string_equal(drop(fixture, "service-resolver", "web"),
                        "service \"web\" does not have a subset named \"v2\"");
    assert_non_null(strstr(drop(fixture, "service-defaults", "web"), "\"tcp\""));
    assert_string_equal(put(fixture, "{\"Kind\":\"service-resolver\",\"Name\":\"a\","
                                     "\"Redirect\":{\"Service\":\"web\"}}"),
                        "discovery chain \"a\" uses inconsistent protocols; service \"web\" has "
                        "\"http\" which is not \"tcp\"");
    assert_string_equal(drop(fixture, "service-splitter", "web"), "");
    assert_string_equal(drop(fixture, "service-resolver", "web"), "");
}

static void test_overrides_make_a_chain_of_their_own(void **state)
{
    struct fixture *fixture = *state;
    must_put(fixture, HTTP("web"));
    must_put(fixture, "{\"Kind\":\"service-splitter\",\"Name\":\"web\","
                      "\"Splits\":[{\"Weight\":100}]}");
    struct chain_overrides overrides = {.connect_timeout_ns = 7, .protocol = "tcp"};
    const struct chain *chain = compile(fixture, "web", &overrides);
    assert_true(chain->customized);
    assert_int_equal(chain->start->kind, CHAIN_RESOLVER); /* nothing splits on TCP */
    assert_int_equal(chain->start->connect_timeout_ns, 7);
    assert_string_equal(chain->protocol, "tcp");
}

static void test_entries_that_are_wrong_by_themselves(void **state)
{
    static const struct {
        const char *entry, *words;
    } rows[] = {
        {"'service-splitter','Splits':[]", "no splits configured"},
        {"'service-splitter','Splits':[{'Weight':99.9}]",
         "the sum of all split weights must be 100, not 99.900000"},
        {"'service-splitter','Splits':[{'Weight':50},{'Weight':50}]", "occurs more than once"},
        {"'service-splitter','Splits':[{'Weight':100,'RequestHeaders':{'Set':{'x':'5%'}}}]",
         "write %% for a per cent sign"},
        {"'service-splitter','Splits':[{'Weight':100,'RequestHeaders':{'Remove':[':path']}}]",
         "no name of a header"},
        {"'service-router','Routes':[{'Match':{'HTTP':{'PathExact':'/a','PathPrefix':'/b'}}}]",
         "Route[0] should only contain at most one of PathExact, PathPrefix, or PathRegex"},
        {"'service-router','Routes':[{'Match':{'HTTP':{'PathExact':'a'}}}]",
         "Route[0] PathExact doesn't start with '/': \"a\""},
        {"'service-router','Routes':[{'Match':{'HTTP':{'PathRegex':'('}}}]", "Route[0] PathRegex"},
        {"'service-router','Routes':[{'Match':{'HTTP':{'Header':[{'Name':'x'}]}}}]",
         "Route[0] Header[0] should only contain one of"},
        {"'service-router','Routes':[{'Match':{'HTTP':{'Methods':['FLY']}}}]",
         "Route[0] Methods contains an invalid method \"FLY\""},
        {"'service-router','Routes':[{'Destination':{'PrefixRewrite':'/x'}}]",
         "Route[0] cannot make use of PrefixRewrite"},
        {"'service-router','Routes':[{'Destination':{'RetryOn':['bad luck']}}]",
         "Route[0] contains an invalid retry condition: \"bad luck\""},
        {"'service-resolver','DefaultSubset':'v9'", "DefaultSubset \"v9\" is not a valid subset"},
        {"'service-resolver','Subsets':{'v1':{'Filter':'Service.Bogus =='}}",
         "Filter for subset \"v1\" is not a valid expression"},
        {"'service-resolver','Subsets':{'A b':{}}", "Subset \"A b\" is invalid"},
        {"'service-resolver','Redirect':{}", "Redirect is empty"},
        {"'service-resolver','Redirect':{'Service':'x','Peer':'p'}", "not supported"},
        {"'service-resolver','Failover':{'*':{'Service':'x'}}", "Failover"},
        {"'service-resolver','LoadBalancer':{'Policy':'maglev'}", "LoadBalancer"},
        {"'service-resolver','ConnectTimeout':'-1s'", "Bad ConnectTimeout '-1s', must be >= 0"},
    };
    struct fixture *fixture = *state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *text = arena_printf(fixture->arena, "{'Name':'web','Kind':%s}", rows[i].entry);
        for (char *at = text; *at != '\0'; at++)
            *at = *at == '\'' ? '"' : *at;
        const char *said = put(fixture, text);
        if (strstr(said, rows[i].words) == NULL)
            fail_msg("%s: %s", text, said);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_service_without_entries_is_its_own_target, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_the_default_subset_is_the_target, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_redirects_are_followed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_routes_splits_and_resolvers_are_one_graph, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_splitters_in_a_row_are_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_does_not_fit_together_is_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_overrides_make_a_chain_of_their_own, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_entries_that_are_wrong_by_themselves, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
