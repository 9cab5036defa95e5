/* The HTTP API as clients see it: shapes, words, indexes and blocking, over loopback. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/duration.h"
#include "http_party.h"

#define WEB                                                                                      \
    "{\"ID\":\"11067155-9fee-d3c1-c6b2-36b3a9051ab3\",\"Node\":\"n2\",\"Address\":\"10.0.0.2\"," \
    "\"NodeMeta\":{\"env\":\"prod\"},\"Service\":{\"ID\":\"web-1\",\"Service\":\"web\","         \
    "\"Tags\":[\"v1\"],\"Port\":8080,\"Address\":\"10.0.0.3\",\"Meta\":{\"version\":\"1\"}},"    \
    "\"Check\":{\"CheckID\":\"web-ok\",\"Name\":\"web is up\",\"Status\":\"passing\","           \
    "\"ServiceID\":\"web-1\"}}"
#define DB                                                                                      \
    "{\"Node\":\"n3\",\"Address\":\"10.0.0.4\",\"Service\":{\"Service\":\"db\",\"Port\":5432}," \
    "\"Checks\":[{\"Name\":\"disk\",\"Status\":\"warning\"}]}"

static int set_up(void **state)
{
    *state = party_new(true, 0);
    return 0;
}

static int tear_down(void **state)
{
    party_free(*state);
    return 0;
}

static void register_both(struct party *party)
{
    party_expect(party, "PUT", "/v1/catalog/register", WEB, 200, "true");
    party_expect(party, "PUT", "/v1/catalog/register", DB, 200, "true");
}

static uint64_t index_of(struct party *party, const char *path)
{
    struct answer *answer = party_ask(party, "GET", path, NULL);
    const char *text = answer_header(answer, "X-Consul-Index");
    assert_non_null(text);
    uint64_t index = strtoull(text, NULL, 10);
    assert_true(index >= 1);
    answer_free(answer);
    return index;
}

/* Numbers that depend on how much was written before are made 0. */
static char *without_indexes(const char *body)
{
    struct buffer out = {0};
    while (*body != '\0') {
        buffer_add_byte(&out, *body);
        bool index = text_ends(out.data, "Index\":") || text_ends(out.data, "\"Hash\":");
        body++;
        if (index && *body >= '0' && *body <= '9') {
            body += strspn(body, "0123456789");
            buffer_add_byte(&out, '0');
        }
    }
    return buffer_take(&out);
}

static void assert_body(struct party *party, const char *path, const char *expected)
{
    struct answer *answer = party_ask(party, "GET", path, NULL);
    assert_int_equal(answer->status, 200);
    char *body = without_indexes(answer->body);
    assert_string_equal(body, expected);
    free(body);
    answer_free(answer);
}

/* ---- the frame ---- */

static void unknown_paths_and_methods_are_refused(void **state)
{
    struct party *party = *state;
    party_expect(party, "GET", "/v1/nope", NULL, 404,
                 "Invalid URL path: not a recognized HTTP API endpoint");
    party_expect(party, "GET", "/", NULL, 200, "/v1/");
    party_expect(party, "GET", "/ui/", NULL, 404, "Invalid URL path");
    party_expect(party, "GET", "/v1/health/service/%zz", NULL, 400, "percent-encoding");
    struct answer *answer = party_ask(party, "POST", "/v1/catalog/nodes", NULL);
    assert_int_equal(answer->status, 405);
    assert_string_equal(answer->body, "method POST not allowed");
    assert_string_equal(answer_header(answer, "Allow"), "OPTIONS,GET");
    answer_free(answer);
    answer = party_ask(party, "OPTIONS", "/v1/config/mesh/mesh", NULL);
    assert_int_equal(answer->status, 200);
    assert_string_equal(answer_header(answer, "Allow"), "OPTIONS,GET,DELETE");
    answer_free(answer);
    party_expect(party, "GET", "/v1/acl/token/self", NULL, 401, "ACL support disabled");
    party_expect(party, "PUT", "/v1/acl/bootstrap", NULL, 401, "ACL support disabled");
}

static void query_options_are_checked(void **state)
{
    struct party *party = *state;
    party_expect(party, "GET", "/v1/catalog/nodes?stale&consistent", NULL, 400,
                 "Cannot specify ?stale with ?consistent, conflicting semantics.");
    party_expect(party, "GET", "/v1/catalog/nodes?index=x", NULL, 400, "Invalid index");
    party_expect(party, "GET", "/v1/catalog/nodes?index=1&wait=soon", NULL, 400,
                 "Invalid wait time");
    party_expect(party, "GET", "/v1/catalog/nodes?partition=other", NULL, 400,
                 "Partitions are a Consul Enterprise feature");
    party_expect(party, "GET", "/v1/catalog/nodes?dc=elsewhere", NULL, 500,
                 "No path to datacenter");
    party_expect(party, "GET", "/v1/status/leader?dc=elsewhere", NULL, 500,
                 "No path to datacenter");
    party_expect(party, "GET", "/v1/catalog/nodes?dc=dc1", NULL, 200, "[");
    party_expect(party, "GET", "/v1/health/service/?passing", NULL, 400, "Missing service name");
    party_expect(party, "GET", "/v1/catalog/nodes?filter=Nope+==+x", NULL, 500,
                 "Failed to create boolean expression evaluator");
}

static void reads_carry_consuls_headers(void **state)
{
    struct party *party = *state;
    register_both(party);
    struct answer *answer = party_ask(party, "GET", "/v1/health/service/web?stale", NULL);
    assert_string_equal(answer_header(answer, "Content-Type"), "application/json");
    assert_string_equal(answer_header(answer, "X-Consul-Default-ACL-Policy"), "allow");
    assert_string_equal(answer_header(answer, "Vary"), "Accept-Encoding");
    assert_string_equal(answer_header(answer, "X-Consul-KnownLeader"), "true");
    assert_string_equal(answer_header(answer, "X-Consul-LastContact"), "0");
    assert_string_equal(answer_header(answer, "X-Consul-Query-Backend"), "blocking-query");
    assert_string_equal(answer_header(answer, "X-Consul-Effective-Consistency"), "stale");
    assert_null(answer_header(answer, "X-Cache"));
    answer_free(answer);
    answer = party_ask(party, "GET", "/v1/catalog/service/web?cached", NULL);
    assert_string_equal(answer_header(answer, "X-Cache"), "HIT");
    assert_string_equal(answer_header(answer, "Age"), "0");
    answer_free(answer);
    answer = party_ask(party, "GET", "/v1/status/leader", NULL);
    assert_string_equal(answer->body, "\"127.0.0.1:8300\"");
    assert_null(answer_header(answer, "X-Consul-Index"));
    answer_free(answer);
}

static void bodies_are_limited_and_their_faults_named(void **state)
{
    struct party *party = *state;
    party_expect(party, "PUT", "/v1/catalog/register", "", 400, "Request decode failed: EOF");
    party_expect(party, "PUT", "/v1/catalog/register", "{", 400, "Request decode failed: ");
    party_expect(party, "PUT", "/v1/catalog/register", "[]", 400, "Request decode failed: ");
    party_expect(party, "PUT", "/v1/catalog/register", "{\"Node\":7.5,\"Address\":{}}", 400,
                 "Request decode failed: ");
    char *large = mem_zalloc(600 * 1024 + 1);
    memset(large, ' ', 600 * 1024);
    party_expect(party, "PUT", "/v1/catalog/register", large, 413, "too large, max size: 524288");
    free(large);
}

static void pretty_is_for_people(void **state)
{
    struct party *party = *state;
    party_expect(party, "GET", "/v1/catalog/datacenters", NULL, 200, "[\"dc1\"]");
    party_expect(party, "GET", "/v1/catalog/datacenters?pretty", NULL, 200, "[\n    \"dc1\"\n]\n");
}

/* ---- catalog and health ---- */

#define NODE_FIELDS                                                                             \
    "\"ID\":\"11067155-9fee-d3c1-c6b2-36b3a9051ab3\",\"Node\":\"n2\",\"Address\":\"10.0.0.2\"," \
    "\"Datacenter\":\"dc1\",\"TaggedAddresses\":null,"
#define NODE "{" NODE_FIELDS "\"Meta\":{\"env\":\"prod\"},\"CreateIndex\":0,\"ModifyIndex\":0}"
#define SERVICE                                                                            \
    "{\"ID\":\"web-1\",\"Service\":\"web\",\"Tags\":[\"v1\"],\"Address\":\"10.0.0.3\","    \
    "\"Meta\":{\"version\":\"1\"},"                                                        \
    "\"Port\":8080,\"Weights\":{\"Passing\":1,\"Warning\":1},\"EnableTagOverride\":false," \
    "\"Proxy\":{\"Mode\":\"\",\"MeshGateway\":{},\"Expose\":{}},\"Connect\":{},"           \
    "\"PeerName\":\"\",\"CreateIndex\":0,\"ModifyIndex\":0}"
#define CHECK                                                                                \
    "{\"Node\":\"n2\",\"CheckID\":\"web-ok\",\"Name\":\"web is up\",\"Status\":\"passing\"," \
    "\"Notes\":\"\",\"Output\":\"\",\"ServiceID\":\"web-1\",\"ServiceName\":\"web\","        \
    "\"ServiceTags\":[\"v1\"],\"Type\":\"\",\"Interval\":\"\",\"Timeout\":\"\","             \
    "\"ExposedPort\":0,\"Definition\":{},\"CreateIndex\":0,\"ModifyIndex\":0}"

static void lists_have_consuls_shapes(void **state)
{
    struct party *party = *state;
    register_both(party);
    assert_body(party, "/v1/health/service/web",
                "[{\"Node\":" NODE ",\"Service\":" SERVICE ",\"Checks\":[" CHECK "]}]");
    assert_body(party, "/v1/health/checks/web", "[" CHECK "]");
    assert_body(party, "/v1/health/node/N2", "[" CHECK "]");
    assert_body(party, "/v1/health/state/passing", "[" CHECK "]");
    assert_body(party, "/v1/health/service/nope", "[]");
    assert_body(party, "/v1/health/service/web?peer=stranger", "[]");
    assert_body(party, "/v1/health/ingress/web", "[]");
    assert_body(party, "/v1/catalog/services", "{\"db\":[],\"web\":[\"v1\"]}");
    assert_body(party, "/v1/catalog/nodes?filter=Node==n2", "[" NODE "]");
    assert_body(party, "/v1/catalog/node/n2",
                "{\"Node\":" NODE ",\"Services\":{\"web-1\":" SERVICE "}}");
    assert_body(party, "/v1/catalog/node-services/n2",
                "{\"Node\":" NODE ",\"Services\":[" SERVICE "]}");
    assert_body(party, "/v1/catalog/node/nope", "null");
    assert_body(party, "/v1/catalog/service/web",
                "[{" NODE_FIELDS "\"NodeMeta\":{\"env\":\"prod\"},\"ServiceKind\":\"\","
                "\"ServiceID\":\"web-1\",\"ServiceName\":\"web\",\"ServiceTags\":[\"v1\"],"
                "\"ServiceAddress\":\"10.0.0.3\",\"ServiceWeights\":{\"Passing\":1,\"Warning\":1},"
                "\"ServiceMeta\":{\"version\":\"1\"},\"ServicePort\":8080,"
                "\"ServiceSocketPath\":\"\",\"ServiceEnableTagOverride\":false,"
                "\"ServiceProxy\":{\"Mode\":\"\",\"MeshGateway\":{},\"Expose\":{}},"
                "\"ServiceConnect\":{},\"ServiceLocality\":null,\"CreateIndex\":0,"
                "\"ModifyIndex\":0}]");
}

static void lists_are_narrowed_by_parameters(void **state)
{
    struct party *party = *state;
    register_both(party);
    assert_body(party, "/v1/health/service/db?passing", "[]");
    assert_body(party, "/v1/health/service/web?tag=v2", "[]");
    assert_body(party, "/v1/health/service/web?tag=v1&tag=v2", "[]");
    assert_body(party, "/v1/health/service/web?node-meta=env:test", "[]");
    assert_body(party, "/v1/health/service/web?filter=Service.Meta.version+==+2", "[]");
    assert_body(party, "/v1/catalog/services?node-meta=env:prod", "{\"web\":[\"v1\"]}");
    assert_body(party, "/v1/catalog/services?filter=NodeMeta.env==prod", "{\"web\":[\"v1\"]}");
    assert_body(party, "/v1/health/state/any?node-meta=env:prod", "[" CHECK "]");
    party_expect(party, "GET", "/v1/health/service/web?tag=V1&passing=1&node-meta=env:prod", NULL,
                 200, "web-1");
    party_expect(party, "GET", "/v1/health/service/db?passing=0", NULL, 200, "\"db\"");
    party_expect(party, "GET", "/v1/health/service/db?passing=maybe", NULL, 400,
                 "Invalid value for ?passing");
}

static void registrations_can_be_taken_back(void **state)
{
    struct party *party = *state;
    register_both(party);
    party_expect(party, "PUT", "/v1/catalog/deregister", "{}", 400, "Must provide node");
    party_expect(party, "PUT", "/v1/catalog/register", "{\"Node\":\"x\"}", 400,
                 "Must provide address if SkipNodeUpdate is not set");
    party_expect(party, "PUT", "/v1/catalog/deregister",
                 "{\"Node\":\"n2\",\"ServiceID\":\"web-1\"}", 200, "true");
    assert_body(party, "/v1/catalog/services", "{\"db\":[]}");
    party_expect(party, "PUT", "/v1/catalog/deregister", "{\"Node\":\"n3\"}", 200, "true");
    assert_body(party, "/v1/catalog/services", "{}");
}

/* ---- blocking ---- */

static void blocking_waits_for_its_own_service_alone(void **state)
{
    struct party *party = *state;
    register_both(party);
    uint64_t index = index_of(party, "/v1/health/service/web");
    char path[96];
    snprintf(path, sizeof path, "/v1/health/service/web?index=%llu", (unsigned long long)index);
    struct answer *blocked = party_send(party, "GET", path, "", NULL);

    for (int i = 0; i < 5; i++) {
        char other[256];
        snprintf(other, sizeof other,
                 "{\"Node\":\"n3\",\"Address\":\"10.0.0.4\",\"Service\":{\"Service\":\"db\","
                 "\"Port\":%d}}",
                 6000 + i);
        party_expect(party, "PUT", "/v1/catalog/register", other, 200, "true");
    }
    assert_false(answer_came(party->fixture, blocked));
    assert_int_equal(index_of(party, "/v1/health/service/web"), index);

    party_expect(party, "PUT", "/v1/catalog/deregister",
                 "{\"Node\":\"n2\",\"ServiceID\":\"web-1\"}", 200, "true");
    party_receive(party, blocked);
    assert_int_equal(blocked->status, 200);
    assert_string_equal(blocked->body, "[]");
    assert_true(strtoull(answer_header(blocked, "X-Consul-Index"), NULL, 10) > index);
    answer_free(blocked);
}

static void a_wait_ends_with_the_same_index(void **state)
{
    struct party *party = *state;
    register_both(party);
    uint64_t index = index_of(party, "/v1/health/service/web");
    char path[96];
    snprintf(path, sizeof path, "/v1/health/service/web?wait=20ms&index=%llu",
             (unsigned long long)index);
    struct answer *answer = party_ask(party, "GET", path, NULL);
    assert_int_equal(answer->status, 200);
    assert_int_equal(strtoull(answer_header(answer, "X-Consul-Index"), NULL, 10), index);
    assert_string_equal(answer_header(answer, "X-Consul-Query-Backend"), "streaming");
    assert_non_null(strstr(answer->body, "web-1"));
    answer_free(answer);
}

static void an_index_that_has_passed_is_answered_at_once(void **state)
{
    struct party *party = *state;
    register_both(party);
    uint64_t index = index_of(party, "/v1/catalog/service/web");
    char path[96];
    snprintf(path, sizeof path, "/v1/catalog/service/web?index=%llu",
             (unsigned long long)index - 1);
    party_expect(party, "GET", path, NULL, 200, "web-1");
}

#define WAITERS 100

static void one_change_wakes_all_and_leavers_are_forgotten(void **state)
{
    struct party *party = *state;
    register_both(party);
    char path[96];
    snprintf(path, sizeof path, "/v1/health/service/web?index=%llu",
             (unsigned long long)index_of(party, "/v1/health/service/web"));
    struct answer *waiters[WAITERS];
    for (size_t i = 0; i < WAITERS; i++)
        waiters[i] = party_send(party, "GET", path, "", NULL);
    index_of(party, "/v1/health/service/web"); /* they have all been read */
    for (size_t i = 0; i < WAITERS; i += 2)
        answer_free(waiters[i]);
    party_expect(party, "PUT", "/v1/catalog/register",
                 "{\"Node\":\"n3\",\"Address\":\"10.0.0.4\",\"Service\":{\"Service\":\"web\","
                 "\"ID\":\"web-2\"}}",
                 200, "true");
    for (size_t i = 1; i < WAITERS; i += 2) {
        party_receive(party, waiters[i]);
        assert_non_null(strstr(waiters[i]->body, "web-2"));
        answer_free(waiters[i]);
    }
}

static void a_server_may_stop_while_clients_block(void **state)
{
    struct party *party = *state;
    register_both(party);
    struct answer *blocked =
        party_send(party, "GET", "/v1/catalog/services?index=1000000", "", NULL);
    index_of(party, "/v1/catalog/services");
    assert_false(answer_came(party->fixture, blocked));
    answer_free(blocked); /* the server is freed by the tear-down, with the request open */
}

/* ---- agent ---- */

static void assert_asked(struct party *party, const char *expected)
{
    assert_non_null(party->agent.asked);
    assert_string_equal(party->agent.asked, expected);
}

static void the_agent_is_asked(void **state)
{
    struct party *party = *state;
    party_expect(party, "PUT", "/v1/agent/service/register?replace-existing-checks=true",
                 "{\"Name\":\"web\",\"Port\":8080,\"Checks\":[{\"TTL\":\"10s\"}]}",
                 200, NULL);
    assert_asked(party, "register web port 8080 checks 1 replacing");
    party_expect(party, "PUT", "/v1/agent/service/deregister/web%201", NULL, 200, NULL);
    assert_asked(party, "deregister web 1");
    party_expect(party, "PUT", "/v1/agent/check/register", "{\"Name\":\"up\",\"TTL\":\"15s\"}", 200,
                 NULL);
    assert_asked(party, "check up ttl 15000000000");
    party_expect(party, "PUT", "/v1/agent/check/warn/up?note=slow", NULL, 200, NULL);
    assert_asked(party, "up is warning: slow");
    party_expect(party, "PUT", "/v1/agent/check/update/up",
                 "{\"Status\":\"critical\",\"Output\":\"down\"}", 200, NULL);
    assert_asked(party, "up is critical: down");
    party_expect(party, "PUT", "/v1/agent/check/deregister/up", NULL, 200, NULL);
    assert_asked(party, "uncheck up");
    party_expect(party, "PUT", "/v1/agent/maintenance?enable=true&reason=why", NULL, 200, NULL);
    assert_asked(party, "maintenance of node on: why");
    party_expect(party, "PUT", "/v1/agent/service/maintenance/web?enable=false", NULL, 200, NULL);
    assert_asked(party, "maintenance of web off: ");
    party_expect(party, "PUT", "/v1/agent/reload", NULL, 200, NULL);
    party_expect(party, "PUT", "/v1/agent/join/127.0.0.1:8301", NULL, 200, NULL);
    party_expect(party, "PUT", "/v1/agent/join/127.0.0.10", NULL, 500, "Failed to join 127.0.0.10");
    party_expect(party, "PUT", "/v1/agent/force-leave/n9?prune=1", NULL, 500,
                 "agent: No node found with name 'n9'");
    party_expect(party, "PUT", "/v1/agent/token/default", "{\"Token\":\"x\"}", 401,
                 "ACL support disabled");
    party_expect(party, "PUT", "/v1/agent/leave", NULL, 200, NULL);
    assert_asked(party, "leave");
}

static void wrong_definitions_are_refused(void **state)
{
    struct party *party = *state;
    party_expect(party, "PUT", "/v1/agent/service/register", "{\"Port\":1}", 400,
                 "Missing service name");
    party_expect(party, "PUT", "/v1/agent/service/register",
                 "{\"Name\":\"x\",\"Proxy\":{\"Upstream\":[]}}", 400,
                 "Request decode failed: Proxy: unknown key \"Upstream\"");
    party_expect(party, "PUT", "/v1/catalog/register",
                 "{\"Node\":\"x\",\"Address\":\"10.0.0.1\",\"Nodemeta\":{},\"Meta\":{}}", 400,
                 "Request decode failed: unknown key \"Meta\"");
    party_expect(party, "PUT", "/v1/agent/service/register",
                 "{\"Name\":\"x\",\"Check\":{\"TTL\":\"1s\",\"Status\":\"fine\"}}", 400,
                 "Status for checks must 'passing', 'warning', 'critical'");
    party_expect(party, "PUT", "/v1/agent/check/register", "{\"Name\":\"x\",\"TTL\":\"nope\"}", 400,
                 "time: invalid duration \"nope\"");
    party_expect(party, "PUT", "/v1/agent/check/register",
                 "{\"Name\":\"x\",\"TTL\":\"1s\",\"ServiceID\":\"gone\"}", 404,
                 "ServiceID \"gone\" does not exist");
    party_expect(party, "PUT", "/v1/agent/check/update/x", "{\"Status\":\"fine\"}", 400,
                 "Invalid check status: 'fine'");
    party_expect(party, "PUT", "/v1/agent/maintenance", NULL, 400, "Missing value for enable");
    assert_null(party->agent.asked);
    error_set(&party->agent.answer, ERR_NOT_FOUND, "Unknown service ID \"x\".");
    party_expect(party, "PUT", "/v1/agent/service/deregister/x", NULL, 404,
                 "Unknown service ID \"x\".");
}

/* What the agent has registered, as its own part writes it. */
static void put_own_service(struct party *party, const char *status)
{
    Pb__Node node = PB__NODE__INIT;
    node.node = "n1";
    node.address = "127.0.0.1";
    fixture_put(party->fixture, TABLE_NODE, &node);
    Pb__Weights weights = PB__WEIGHTS__INIT;
    weights.passing = weights.warning = 1;
    Pb__NodeService service = PB__NODE_SERVICE__INIT;
    service.node = "n1";
    service.id = "foo";
    service.service = "bar";
    service.port = 8000;
    service.weights = &weights;
    service.registered_by_agent = true;
    fixture_put(party->fixture, TABLE_SERVICE, &service);
    Pb__CheckDefinition definition = PB__CHECK_DEFINITION__INIT;
    Pb__HealthCheck check = PB__HEALTH_CHECK__INIT;
    check.node = "n1";
    check.check_id = "service:foo";
    check.status = (char *)status;
    check.service_id = "foo";
    check.service_name = "bar";
    check.agent_definition = &definition;
    fixture_put(party->fixture, TABLE_CHECK, &check);
    Pb__HealthCheck serf = PB__HEALTH_CHECK__INIT;
    serf.node = "n1";
    serf.check_id = "serfHealth";
    serf.status = "critical"; /* no business of the agent's */
    fixture_put(party->fixture, TABLE_CHECK, &serf);
}

#define OWN_FIELDS                                                                               \
    "\"ID\":\"foo\",\"Service\":\"bar\",\"Tags\":[],\"Meta\":{},\"Port\":8000,\"Address\":\"\"," \
    "\"Weights\":{\"Passing\":1,\"Warning\":1},\"EnableTagOverride\":false,"                     \
    "\"Datacenter\":\"dc1\""

static void the_agents_own_services_are_shown(void **state)
{
    struct party *party = *state;
    register_both(party);
    put_own_service(party, "passing");
    assert_body(party, "/v1/agent/services", "{\"foo\":{" OWN_FIELDS "}}");
    assert_body(party, "/v1/agent/services?filter=Service==nope", "{}");
    party_expect(party, "GET", "/v1/agent/checks", NULL, 200, "{\"service:foo\":{");
    party_expect(party, "GET", "/v1/agent/service/nope", NULL, 404, "unknown service ID: nope");
    party_expect(party, "GET", "/v1/agent/members", NULL, 200, "\"Name\":\"n1\"");
    party_expect(party, "GET", "/v1/agent/self", NULL, 200, "\"Member\":{\"Name\":\"n1\"");
    party_expect(party, "GET", "/v1/agent/metrics", NULL, 200, ".runtime.alloc_bytes\"");
    party_expect(party, "GET", "/v1/agent/members?filter=Tags[%22dc%22]+==+invalid-value", NULL,
                 500, "Failed to create boolean expression evaluator: 1:22 (21)");
}

static void health_is_an_http_status(void **state)
{
    struct party *party = *state;
    static const struct {
        const char *status;
        int http;
    } cases[] = {{"passing", 200}, {"warning", 429}, {"critical", 503}};
    for (size_t i = 0; i < 3; i++) {
        put_own_service(party, cases[i].status);
        char words[64];
        snprintf(words, sizeof words, "{\"AggregatedStatus\":\"%s\",\"Service\":{\"ID\":\"foo\"",
                 cases[i].status);
        party_expect(party, "GET", "/v1/agent/health/service/id/foo", NULL, cases[i].http, words);
        party_expect(party, "GET", "/v1/agent/health/service/name/bar", NULL, cases[i].http, words);
        party_expect(party, "GET", "/v1/agent/health/service/id/foo?format=text", NULL,
                     cases[i].http, cases[i].status);
    }
    party_expect(party, "GET", "/v1/agent/health/service/id/nope", NULL, 404,
                 "{\"AggregatedStatus\":\"critical\",\"Service\":null,\"Checks\":null}");
    struct answer *answer = party_ask(party, "GET", "/v1/agent/health/service/name/nope", NULL);
    assert_string_equal(answer->body, "[]");
    assert_string_equal(answer_header(answer, "X-Consul-Reason"), "ServiceName nope Not Found");
    answer_free(answer);
}

static void a_service_is_watched_by_its_hash(void **state)
{
    struct party *party = *state;
    put_own_service(party, "passing");
    struct answer *answer = party_ask(party, "GET", "/v1/agent/service/foo?hash=x", NULL);
    char path[160], hash[64];
    snprintf(hash, sizeof hash, "%.60s", answer_header(answer, "X-Consul-ContentHash"));
    assert_non_null(strstr(answer->body, hash));
    answer_free(answer);
    snprintf(path, sizeof path, "/v1/agent/service/foo?wait=10ms&hash=%s", hash);
    answer = party_ask(party, "GET", path, NULL);
    assert_string_equal(answer_header(answer, "X-Consul-ContentHash"), hash);
    answer_free(answer);

    snprintf(path, sizeof path, "/v1/agent/service/foo?hash=%s", hash);
    struct answer *blocked = party_send(party, "GET", path, "", NULL);
    put_own_service(party, "critical"); /* its health is no part of it */
    index_of(party, "/v1/catalog/services");
    assert_false(answer_came(party->fixture, blocked));
    Pb__NodeService service = PB__NODE_SERVICE__INIT;
    service.node = "n1";
    service.id = "foo";
    service.service = "bar";
    service.port = 9000;
    service.registered_by_agent = true;
    fixture_put(party->fixture, TABLE_SERVICE, &service);
    party_receive(party, blocked);
    assert_non_null(strstr(blocked->body, "\"Port\":9000"));
    answer_free(blocked);
}

/* ---- configuration entries ---- */

static void entries_are_written_read_and_deleted(void **state)
{
    struct party *party = *state;
    party_expect(party, "GET", "/v1/config/bogus", NULL, 500, "invalid config entry kind: bogus");
    party_expect(party, "GET", "/v1/config/service-resolver", NULL, 200, "[]");
    party_expect(party, "GET", "/v1/config/service-defaults/web", NULL, 404,
                 "Config entry not found for \"service-defaults\" / \"web\"");
    party_expect(party, "PUT", "/v1/config", "{\"Name\":\"web\"}", 400,
                 "Request decoding failed: ");
    party_expect(party, "PUT", "/v1/config",
                 "{\"Kind\":\"service-defaults\",\"Name\":\"web\",\"Protcol\":\"http\"}", 400,
                 "Protcol");
    party_expect(party, "PUT", "/v1/config",
                 "{\"Kind\":\"service-defaults\",\"Name\":\"web\",\"Protocol\":\"http\"}", 200,
                 "true");
    assert_body(party, "/v1/config/service-defaults/web",
                "{\"Kind\":\"service-defaults\",\"Name\":\"web\",\"Protocol\":\"http\","
                "\"TransparentProxy\":{},\"MeshGateway\":{},\"Expose\":{},\"Hash\":0,"
                "\"CreateIndex\":0,\"ModifyIndex\":0}");
    party_expect(party, "PUT", "/v1/config?cas=0",
                 "{\"Kind\":\"service-defaults\",\"Name\":\"web\",\"Protocol\":\"tcp\"}", 200,
                 "false");
    party_expect(party, "DELETE", "/v1/config/service-defaults/web?cas=1", NULL, 200, "false");
    party_expect(party, "GET", "/v1/config/service-defaults", NULL, 200, "\"Protocol\":\"http\"");
    party_expect(party, "DELETE", "/v1/config/service-defaults/web", NULL, 200, "{}");
    party_expect(party, "GET", "/v1/config/service-defaults", NULL, 200, "[]");
    party_expect(party, "DELETE", "/v1/config/service-intentions/absent", NULL, 200, "{}");
}

static void exports_are_listed_by_service(void **state)
{
    struct party *party = *state;
    register_both(party);
    assert_body(party, "/v1/exported-services", "[]");
    party_expect(party, "PUT", "/v1/config",
                 "{\"Kind\":\"exported-services\",\"Name\":\"default\",\"Services\":[{\"Name\":"
                 "\"web\",\"Consumers\":[{\"Peer\":\"eu\"},{\"Peer\":\"us\"}]},{\"Name\":\"db\","
                 "\"Consumers\":[{\"Peer\":\"eu\"}]}]}",
                 200, "true");
    assert_body(party, "/v1/exported-services",
                "[{\"Service\":\"db\",\"Consumers\":{\"Peers\":[\"eu\"]}},"
                "{\"Service\":\"web\",\"Consumers\":{\"Peers\":[\"eu\",\"us\"]}}]");
}

static void intentions_are_edited_one_by_one(void **state)
{
    struct party *party = *state;
    struct answer *answer =
        party_ask(party, "POST", "/v1/connect/intentions",
                  "{\"SourceName\":\"web\",\"DestinationName\":\"db\",\"Action\":\"deny\"}");
    assert_int_equal(answer->status, 200);
    char id[40] = "", path[96];
    assert_int_equal(sscanf(answer->body, "{\"ID\":\"%36[0-9a-f-]\"}", id), 1);
    answer_free(answer);
    snprintf(path, sizeof path, "/v1/connect/intentions/%s", id);
    party_expect(party, "GET", path, NULL, 200,
                 "\"SourceNS\":\"default\",\"SourceName\":\"web\",\"DestinationNS\":\"default\","
                 "\"DestinationName\":\"db\",\"SourceType\":\"consul\",\"Action\":\"deny\","
                 "\"Precedence\":9");
    party_expect(party, "GET", "/v1/connect/intentions/check?source=web&destination=db", NULL, 200,
                 "{\"Allowed\":false}");
    party_expect(party, "GET", "/v1/intentions/check?source=web&destination=default/other", NULL,
                 200, "{\"Allowed\":true}");
    party_expect(party, "PUT", path,
                 "{\"SourceName\":\"web\",\"DestinationName\":\"db\",\"Action\":\"allow\"}", 200,
                 id);
    party_expect(party, "GET", "/v1/connect/intentions/match?by=destination&name=db", NULL, 200,
                 "{\"db\":[{\"ID\":");
    party_expect(party, "GET", "/v1/connect/intentions/match?by=source&name=x", NULL, 200,
                 "{\"x\":[]}");
    party_expect(party, "GET", "/v1/connect/intentions/match?by=x&name=db", NULL, 400,
                 "'by' parameter must be one of 'source' or 'destination'");
    party_expect(party, "GET", "/v1/connect/intentions/exact?source=web&destination=db", NULL, 200,
                 "\"Action\":\"allow\"");
    party_expect(party, "DELETE", path, NULL, 200, "true");
    party_expect(party, "GET", path, NULL, 404, "Intention not found");
    party_expect(party, "GET", "/v1/connect/intentions/hello", NULL, 400,
                 "UUID must be 36 characters");
    assert_body(party, "/v1/config/service-intentions", "[]");
    party_expect(party, "PUT", "/v1/connect/intentions/exact?source=a&destination=b",
                 "{\"Action\":\"deny\"}", 200, "true");
    party_expect(party, "GET", "/v1/connect/intentions", NULL, 200, "\"DestinationName\":\"b\"");
    party_expect(party, "DELETE", "/v1/connect/intentions/exact?source=a&destination=b", NULL, 200,
                 "true");
    assert_body(party, "/v1/connect/intentions", "[]");
}

/* Rules on requests are shown as they were written, and what surprises is said. */
static void intentions_have_permissions(void **state)
{
    struct party *party = *state;
    const char *exact = "/v1/connect/intentions/exact?source=web&destination=db";
    static const char permitted[] =
        "\"Permissions\":[{\"Action\":\"allow\",\"HTTP\":{\"PathExact\":\"/x\",\"Header\":[{"
        "\"Name\":\"h\",\"Present\":true,\"Invert\":true}],\"Methods\":[\"GET\"]}}]";
    char *body = mem_printf("{%s}", permitted);
    party_expect(party, "PUT", exact, body, 500, "incompatible with L7 intentions permissions");
    party_expect(party, "PUT", "/v1/config",
                 "{\"Kind\":\"service-defaults\",\"Name\":\"db\",\"Protocol\":\"http\"}", 200,
                 "true");
    party_expect(party, "PUT", exact, body, 200, "true");
    party_expect(party, "GET", exact, NULL, 200, permitted);
    party_expect(party, "GET", "/v1/config/service-intentions/db", NULL, 200, permitted);
    party_expect(party, "GET", "/v1/connect/intentions/check?source=web&destination=db", NULL, 200,
                 "{\"Allowed\":false}");
    party_expect(party, "PUT", exact, "{\"Permissions\":[{\"Bogus\":1}]}", 400, "Bogus");
    party_expect(party, "PUT", "/v1/config",
                 "{\"Kind\":\"service-defaults\",\"Name\":\"db\",\"Protocol\":\"tcp\"}", 500,
                 "incompatible with L7 intentions permissions");
    party_expect(party, "POST", "/v1/connect/intentions",
                 "{\"SourceName\":\"a\",\"DestinationName\":\"db\",\"Permissions\":[{\"Action\":"
                 "\"allow\",\"HTTP\":{\"PathExact\":\"/x\"}}]}",
                 500, "Permissions must not be set when using the legacy APIs");
    party_expect(party, "DELETE", exact, NULL, 200, "true");
    party_expect(party, "DELETE", "/v1/config/service-defaults/db", NULL, 200, "{}");
    free(body);
}

/* `intention get peer:eu/fe bar` and its like ask this way. */
static void intentions_of_peers_are_named_in_queries(void **state)
{
    struct party *party = *state;
    const char *exact = "/v1/connect/intentions/exact?source=peer:eu/fe&destination=bar";
    party_expect(party, "GET", exact, NULL, 404, "Intention not found");
    party_expect(party, "PUT", exact, "{\"Action\":\"allow\"}", 200, "true");
    party_expect(party, "GET", exact, NULL, 200, "\"SourcePeer\":\"eu\"");
    party_expect(party, "GET",
                 "/v1/connect/intentions/exact?source=peer:eu/default/fe&destination=bar", NULL,
                 200, "\"SourceName\":\"fe\"");
    party_expect(party, "GET", "/v1/connect/intentions/exact?source=fe&destination=bar", NULL, 404,
                 "Intention not found");
    party_expect(party, "PUT", exact, "{\"Action\":\"deny\"}", 200, "true");
    party_expect(party, "GET", "/v1/connect/intentions/check?source=peer:eu/fe&destination=bar",
                 NULL, 200, "{\"Allowed\":false}");
    party_expect(party, "GET", "/v1/connect/intentions/check?source=peer:us/fe&destination=bar",
                 NULL, 200, "{\"Allowed\":true}");
    party_expect(party, "GET", "/v1/connect/intentions/exact?source=peer:eu&destination=bar", NULL,
                 400, "write peer:<peer>/<service>");
    party_expect(party, "GET", "/v1/connect/intentions/exact?source=a&destination=peer:eu/b", NULL,
                 400, "written at that peer");
    party_expect(party, "DELETE", exact, NULL, 200, "true");
    assert_body(party, "/v1/connect/intentions", "[]");
}

/* ---- certificates ---- */

static void roots_and_leaves_are_given(void **state)
{
    struct party *party = *state;
    struct answer *answer = party_ask(party, "GET", "/v1/agent/connect/ca/roots", NULL);
    assert_int_equal(answer->status, 200);
    assert_true(strncmp(answer->body, "{\"ActiveRootID\":\"", 17) == 0);
    assert_non_null(strstr(answer->body, "\"IntermediateCerts\":null,\"Active\":true"));
    assert_null(strstr(answer->body, "PRIVATE KEY"));
    assert_string_equal(answer_header(answer, "X-Cache"), "HIT");
    answer_free(answer);
    answer = party_ask(party, "GET", "/v1/connect/ca/roots?pem=true", NULL);
    assert_string_equal(answer_header(answer, "Content-Type"), "application/pem-certificate-chain");
    answer_free(answer);

    answer = party_ask(party, "GET", "/v1/agent/connect/ca/leaf/web", NULL);
    assert_int_equal(answer->status, 200);
    assert_non_null(strstr(answer->body, "/svc/web\""));
    assert_non_null(strstr(answer->body, "PRIVATE KEY"));
    struct answer *again = party_ask(party, "GET", "/v1/agent/connect/ca/leaf/web", NULL);
    assert_string_equal(answer->body, again->body); /* one for all who ask, until it is renewed */
    char path[320];
    snprintf(path, sizeof path, "/v1/agent/connect/ca/leaf/web?wait=10ms&index=%s",
             answer_header(answer, "X-Consul-Index"));
    answer_free(again);
    again = party_ask(party, "GET", path, NULL);
    assert_string_equal(answer->body, again->body);
    answer_free(again);
    answer_free(answer);
    party_expect(party, "GET", "/v1/connect/ca/configuration", NULL, 200,
                 "{\"Provider\":\"consul\",\"Config\":{");
    party_expect(party, "PUT", "/v1/connect/ca/configuration",
                 "{\"Provider\":\"vault\",\"Config\":{}}", 500, "\"vault\" is not supported");
    party_expect(party, "PUT", "/v1/connect/ca/configuration",
                 "{\"Provider\":\"consul\",\"Config\":{\"LeafCertTTL\":\"24h\",\"test_state\":"
                 "{\"foo\":\"bar\"}}}",
                 200, NULL);
    party_expect(party, "GET", "/v1/connect/ca/configuration", NULL, 200,
                 "\"State\":{\"foo\":\"bar\"}");
}

static void a_leaf_is_renewed_for_those_who_wait(void **state)
{
    (void)state;
    /* Two seconds are left of it, since it is valid from a minute ago. */
    struct party *party = party_new(true, 62 * DURATION_SECOND);
    struct answer *first = party_ask(party, "GET", "/v1/agent/connect/ca/leaf/web", NULL);
    uint64_t index = strtoull(answer_header(first, "X-Consul-Index"), NULL, 10);
    char path[96];
    snprintf(path, sizeof path, "/v1/agent/connect/ca/leaf/web?index=%llu",
             (unsigned long long)index);
    struct answer *second = party_ask(party, "GET", path, NULL);
    assert_int_equal(second->status, 200);
    assert_true(strtoull(answer_header(second, "X-Consul-Index"), NULL, 10) > index);
    assert_string_not_equal(first->body, second->body);
    answer_free(first);
    answer_free(second);
    party_free(party);
}

static void applications_ask_whether_a_caller_may(void **state)
{
    struct party *party = *state;
    static const char body[] = "{\"Target\":\"db\",\"ClientCertURI\":"
                               "\"spiffe://x.consul/ns/default/dc/dc1/svc/web\"}";
    party_expect(party, "POST", "/v1/agent/connect/authorize", body, 200,
                 "{\"Authorized\":true,\"Reason\":\"Default behavior configured by ACLs\"}");
    party_expect(party, "PUT", "/v1/config",
                 "{\"Kind\":\"service-intentions\",\"Name\":\"db\",\"Sources\":[{\"Name\":\"web\","
                 "\"Action\":\"deny\"}]}",
                 200, "true");
    party_expect(party, "POST", "/v1/agent/connect/authorize", body, 200, "{\"Authorized\":false");
    party_expect(party, "POST", "/v1/agent/connect/authorize", "{\"ClientCertURI\":\"x\"}", 400,
                 "Target service must be specified");
    party_expect(party, "POST", "/v1/agent/connect/authorize",
                 "{\"Target\":\"db\",\"ClientCertURI\":\"http://x\"}", 400,
                 "ClientCertURI not a valid Connect identifier");
}

static void what_is_off_says_so(void **state)
{
    (void)state;
    struct party *party = party_new(false, 0);
    party_expect(party, "GET", "/v1/agent/connect/ca/roots", NULL, 500,
                 "Connect must be enabled in order to use this endpoint");
    party_expect(party, "GET", "/v1/peerings", NULL, 500,
                 "peering must be enabled to use this endpoint");
    party_free(party);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(unknown_paths_and_methods_are_refused),
        TEST(query_options_are_checked),
        TEST(reads_carry_consuls_headers),
        TEST(bodies_are_limited_and_their_faults_named),
        TEST(pretty_is_for_people),
        TEST(lists_have_consuls_shapes),
        TEST(lists_are_narrowed_by_parameters),
        TEST(registrations_can_be_taken_back),
        TEST(blocking_waits_for_its_own_service_alone),
        TEST(a_wait_ends_with_the_same_index),
        TEST(an_index_that_has_passed_is_answered_at_once),
        TEST(one_change_wakes_all_and_leavers_are_forgotten),
        TEST(a_server_may_stop_while_clients_block),
        TEST(the_agent_is_asked),
        TEST(wrong_definitions_are_refused),
        TEST(the_agents_own_services_are_shown),
        TEST(health_is_an_http_status),
        TEST(a_service_is_watched_by_its_hash),
        TEST(entries_are_written_read_and_deleted),
        TEST(exports_are_listed_by_service),
        TEST(intentions_are_edited_one_by_one),
        TEST(intentions_have_permissions),
        TEST(intentions_of_peers_are_named_in_queries),
        TEST(roots_and_leaves_are_given),
        cmocka_unit_test(a_leaf_is_renewed_for_those_who_wait),
        TEST(applications_ask_whether_a_caller_may),
        cmocka_unit_test(what_is_off_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
