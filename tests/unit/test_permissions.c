/* Permissions of intentions as Envoy gets them: one shape that is not Consul's is a request that
 * passes and must not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "intention/intention.h"
#include "proto/codec_tables.h"
#include "text/codec.h"
#include "xds_fixture.h"

/* JSON with ' for ". A new reference. */
static json_t *parse(const char *text)
{
    json_error_t error;
    char *copy = strdup(text);
    for (char *at = copy; *at != '\0'; at++) {
        if (*at == '\'')
            *at = '"';
    }
    json_t *value = json_loads(copy, 0, &error);
    if (value == NULL)
        fail_msg("column %d: %s: %s", error.column, error.text, copy);
    free(copy);
    return value;
}

static const Pb__SourceIntention *read_source(struct arena *arena, const char *text)
{
    struct error error = {0};
    json_t *value = parse(text);
    const Pb__SourceIntention *source =
        codec_read(&pb__source_intention__codec, value, 0, arena, &error);
    json_decref(value);
    if (source == NULL)
        fail_msg("%s", error.message);
    return source;
}

/* A sidecar of `web-api` with these sources, which are in order of precedence. */
static struct proxy_snapshot *serve(const char *protocol, const char *const *sources, size_t count)
{
    struct proxy_snapshot *snapshot = fixture_serving("web-api", protocol);
    struct intention_source *list = arena_alloc(snapshot->arena, count * sizeof *list);
    for (size_t i = 0; i < count; i++) {
        const Pb__SourceIntention *source = read_source(snapshot->arena, sources[i]);
        list[i] = (struct intention_source){.peer = source->peer,
                                            .partition = source->partition,
                                            .namespace = source->namespace_,
                                            .name = source->name,
                                            .allow = strcmp(source->action, "allow") == 0,
                                            .permission_count = source->n_permissions,
                                            .permissions = source->permissions};
    }
    snapshot->intentions = list;
    snapshot->intention_count = count;
    return snapshot;
}

/* The rules: in the route of an HTTP service, in the listener of another. */
static void expect_rules(struct proxy_snapshot *snapshot, const char *expected)
{
    struct xds_resources *resources = xds_resources_build(snapshot);
    json_t *resource, *rules;
    if (strcmp(snapshot->protocol, "tcp") == 0) {
        resource = fixture_resource(resources, XDS_LISTENER, "public_listener:127.12.0.12:21000");
        json_t *filters = json_object_get(
            json_array_get(json_object_get(resource, "filter_chains"), 0), "filters");
        rules =
            json_object_get(json_object_get(json_array_get(filters, 0), "typed_config"), "rules");
    } else {
        resource = fixture_resource(resources, XDS_ROUTE, "public_listener");
        json_t *host = json_array_get(json_object_get(resource, "virtual_hosts"), 0);
        json_t *rbac = json_object_get(json_object_get(host, "typed_per_filter_config"),
                                       "envoy.filters.http.rbac");
        rules = json_object_get(json_object_get(rbac, "rbac"), "rules");
    }
    json_t *want = parse(expected);
    if (!json_equal(want, rules)) {
        char *left = json_dumps(want, JSON_SORT_KEYS), *right = json_dumps(rules, JSON_SORT_KEYS);
        fail_msg("expected %s\ngot      %s", left, right);
    }
    json_decref(want);
    json_decref(resource);
    xds_resources_free(resources);
}

#define LOCAL(name)                                      \
    "{'authenticated':{'principal_name':{'safe_regex':{" \
    "'regex':'^spiffe://td2/ns/default/dc/[^/]+/svc/" name "$'}}}}"
#define PEERED(name)                                                             \
    "{'and_ids':{'ids':[{'authenticated':{'principal_name':{'safe_regex':{"      \
    "'regex':'^spiffe://td2/gateway/mesh/dc/[^/]+$'}}}},"                        \
    "{'header':{'name':'x-forwarded-client-cert','string_match':{'safe_regex':{" \
    "'regex':'^[^,]+;URI=spiffe://td1/ns/default/dc/[^/]+/svc/" name "(?:,.*)?$'}}}}]}}"
#define ANY "'permissions':[{'any':true}]"
#define PATH(how) "{'url_path':{'path':{" how "}}}"

static const char web_permissions[] =
    "{'Name':'web','Peer':'cluster-01','Permissions':["
    "{'Action':'deny','HTTP':{'PathPrefix':'/private'}},"
    "{'Action':'allow','HTTP':{'PathPrefix':'/','Methods':['GET'],"
    "'Header':[{'Name':'x-ok','Present':true,'Invert':true}]}}]}";

/* What a Consul sent for the same two intentions. */
static void test_shapes_are_consuls(void **state)
{
    (void)state;
    const char *const sources[] = {"{'Name':'internal','Action':'allow'}", web_permissions};
    struct proxy_snapshot *snapshot = serve("http", sources, 2);
    expect_rules(
        snapshot,
        "{'policies':{"
        "'consul-intentions-layer4':{" ANY ",'principals':[" LOCAL(
            "internal") "]},"
                        "'consul-intentions-layer7-1':{'permissions':[{'and_rules':{'rules':["
                        "{'and_rules':{'rules':[" PATH(
                            "'prefix':'/'") ","
                                            "{'header':{'name':'x-ok','present_match':true,'invert_"
                                            "match':true}},"
                                            "{'header':{'name':':method','string_match':{'safe_"
                                            "regex':{'regex':'GET'}}}}]}},"
                                            "{'not_rule':" PATH(
                                                "'prefix':'/private'") "}]}}],"
                                                                       "'principals':[" PEERED(
                                                                           "web") "]}}}");
    fixture_free(snapshot);
}

/* With default allow it is the other way round: only what is denied is written. */
static void test_under_default_allow_only_denials_are_written(void **state)
{
    (void)state;
    const char *const sources[] = {
        web_permissions,
        "{'Name':'a','Permissions':[{'Action':'allow','HTTP':{'PathExact':'/x'}}]}"};
    struct proxy_snapshot *snapshot = serve("http", sources, 2);
    snapshot->default_allow = true;
    expect_rules(snapshot, "{'action':'DENY','policies':{'consul-intentions-layer7-0':{"
                           "'permissions':[" PATH("'prefix':'/private'") "],"
                                                                         "'principals':[" PEERED(
                                                                             "web") "]}}}");
    fixture_free(snapshot);
}

static void test_every_matcher_of_headers(void **state)
{
    (void)state;
    const char *const sources[] = {
        "{'Name':'a','Permissions':[{'Action':'allow','HTTP':{'PathRegex':'/a+',"
        "'Methods':['GET','PUT'],'Header':["
        "{'Name':'h1','Exact':'v','IgnoreCase':true},{'Name':'h2','Prefix':'v'},"
        "{'Name':'h3','Suffix':'v'},{'Name':'h4','Contains':'v'},{'Name':'h5','Regex':'v.'}]}}]}"};
#define HEADER(name, how) "{'header':{'name':'" name "','string_match':{" how "}}}"
    struct proxy_snapshot *snapshot = serve("http", sources, 1);
    expect_rules(snapshot,
                 "{'policies':{'consul-intentions-layer7-0':{'permissions':[{'and_rules':{'rules':"
                 "[" PATH("'safe_regex':{'regex':'/a+'}") "," HEADER("h1", "'exact':'v','ignore_"
                                                                           "case':true") "," HEADER("h2", "'prefix':'v'") "," HEADER(
                     "h3",
                     "'suffix':'v'") "," HEADER("h4",
                                                "'contains':'v'") "," HEADER("h5",
                                                                             "'safe_regex':{'regex'"
                                                                             ":'v.'}") "," HEADER(":method",
                                                                                                  "'safe_regex':{'regex':'GET|PUT'}") "]}}],'principals':[" LOCAL("a") "]}}}");
    fixture_free(snapshot);
}

/* What has permissions decides for its source alone, even if they permit nothing. */
static void test_a_wider_source_does_not_help(void **state)
{
    (void)state;
    const char *const sources[] = {
        "{'Name':'a','Permissions':[{'Action':'deny','HTTP':{'PathExact':'/x'}}]}",
        "{'Name':'*','Action':'allow'}"};
    struct proxy_snapshot *snapshot = serve("http", sources, 2);
    expect_rules(snapshot, "{'policies':{'consul-intentions-layer4':{" ANY
                           ",'principals':[{'and_ids':{'ids':[" LOCAL("[^/]+") ",{'not_id':" LOCAL(
                               "a") "}]}}]}}}");
    fixture_free(snapshot);
}

static void test_permissions_let_nobody_through_where_there_is_no_http(void **state)
{
    (void)state;
    const char *const sources[] = {
        "{'Name':'a','Permissions':[{'Action':'allow','HTTP':{'PathPrefix':'/'}}]}"};
    struct proxy_snapshot *snapshot = serve("tcp", sources, 1);
    expect_rules(snapshot, "{}");
    snapshot->default_allow = true;
    expect_rules(snapshot, "{'action':'DENY','policies':{'consul-intentions-layer4':{" ANY
                           ",'principals':[" LOCAL("a") "]}}}");
    fixture_free(snapshot);
}

static void test_any_peer_is_each_peer_that_can_call(void **state)
{
    (void)state;
    const char *const sources[] = {"{'Name':'web','Peer':'*','Action':'allow'}"};
    struct proxy_snapshot *snapshot = serve("http", sources, 1);
    expect_rules(snapshot, "{'policies':{'consul-intentions-layer4':{" ANY
                           ",'principals':[" PEERED("web") "]}}}");
    snapshot->inbound_bundle_count = 0;
    expect_rules(snapshot, "{}");
    fixture_free(snapshot);
    const char *const less[] = {"{'Name':'web','Peer':'cluster-01','Action':'deny'}", sources[0]};
    snapshot = serve("http", less, 2);
    expect_rules(snapshot, "{}");
    fixture_free(snapshot);
}

static void assert_warned(const char *text, bool expected)
{
    struct arena *arena = arena_new();
    assert_int_equal(intention_warning(read_source(arena, text), arena) != NULL, expected);
    arena_free(arena);
}

static void test_what_surprises_is_warned_about(void **state)
{
    (void)state;
#define X "'HTTP':{'PathExact':'/x'}"
    assert_warned("{'Name':'a','Action':'allow'}", false);
    assert_warned("{'Name':'a','Permissions':[{'Action':'allow'," X "}]}", true);
    assert_warned("{'Name':'a','Permissions':[{'Action':'deny'," X "}]}", false);
    assert_warned("{'Name':'a','Permissions':[{'Action':'allow'," X
                  "},{'Action':'deny','HTTP':{'PathPrefix':'/'}}]}",
                  false);
    assert_warned("{'Name':'a','Permissions':[{'Action':'allow'," X
                  "},{'Action':'deny','HTTP':{'PathPrefix':'/','Methods':['PUT']}}]}",
                  true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes_are_consuls),
        cmocka_unit_test(test_under_default_allow_only_denials_are_written),
        cmocka_unit_test(test_every_matcher_of_headers),
        cmocka_unit_test(test_a_wider_source_does_not_help),
        cmocka_unit_test(test_permissions_let_nobody_through_where_there_is_no_http),
        cmocka_unit_test(test_any_peer_is_each_peer_that_can_call),
        cmocka_unit_test(test_what_surprises_is_warned_about),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
