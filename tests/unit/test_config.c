/* Config entries: what is taken and refused, and what follows from them for a proxy. Expected texts
 * are a real cluster's where one has them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "config/entry.h"
#include "config/validate.h"
#include "consul/service.pb-c.h"
#include "proto/codec_tables.h"
#include "proto/proto.h"
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

static void *read_entry(struct fixture *fixture, const char *text, const struct config_kind **kind,
                        struct error *error)
{
    json_t *value = json_parse(text, strlen(text), NULL, NULL);
    assert_non_null(value);
    void *entry = config_entry_read(value, 0, kind, fixture->arena, error);
    json_decref(value);
    return entry;
}

static void *must_read(struct fixture *fixture, const char *text)
{
    struct error error = {0};
    const struct config_kind *kind;
    void *entry = read_entry(fixture, text, &kind, &error);
    if (entry == NULL)
        fail_msg("%s", error.message);
    return entry;
}

static void assert_refused(struct fixture *fixture, const char *text, enum error_code code,
                           const char *words)
{
    struct error error = {0};
    const struct config_kind *kind = NULL;
    assert_null(read_entry(fixture, text, &kind, &error));
    assert_null(kind);
    assert_string_equal(error.message, words);
    assert_int_equal(error.code, code);
}

static void assert_written(const struct config_kind *kind, const void *entry, const char *expected)
{
    struct buffer text = {0};
    codec_write(&text, table_class(kind->table)->message, entry);
    assert_string_equal(buffer_text(&text), expected);
    buffer_free(&text);
}

struct put {
    const struct config_kind *kind;
    const void *entry;
    const uint64_t *cas;
};

static bool put_entry(struct txn *txn, void *arg, struct error *error)
{
    const struct put *put = arg;
    return config_entry_put(txn, put->kind, put->entry, put->cas, error);
}

static bool delete_entry(struct txn *txn, void *arg, struct error *error)
{
    const struct put *put = arg;
    return config_entry_delete(txn, put->kind, &TENANCY_DEFAULT,
                               config_entry_head(put->entry)->name, put->cas, error);
}

static struct put store(struct fixture *fixture, const char *text)
{
    struct error error = {0};
    struct put put = {0};
    put.entry = read_entry(fixture, text, &put.kind, &error);
    if (put.entry == NULL)
        fail_msg("%s", error.message);
    fixture_commit(fixture, put_entry, &put);
    assert_int_equal(fixture->error.code, ERR_NONE);
    return put;
}

/* ---- kinds ---- */

static void test_kinds(void **state)
{
    struct fixture *fixture = *state;
    struct error error = {0};
    assert_int_equal(config_kind_find("mesh", NULL)->table, TABLE_MESH);
    assert_null(config_kind_find("bogus", &error));
    assert_string_equal(error.message, "invalid config entry kind: bogus");
    assert_int_equal(error.code, ERR_INTERNAL); /* GET /v1/config/bogus is a 500 */
    assert_null(config_kind_find("http-route", &error));
    assert_int_equal(error.code, ERR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "http-route is known but not supported"));

    assert_refused(fixture, "{\"Name\":\"x\"}", ERR_INVALID,
                   "Payload does not contain a kind/Kind key at the top level");
    assert_refused(fixture, "[]", ERR_INVALID,
                   "Payload does not contain a kind/Kind key at the top level");
    assert_refused(fixture, "{\"kind\":7}", ERR_INVALID, "Kind value in payload is not a string");
    assert_refused(fixture, "{\"kind\":\"bogus\"}", ERR_INVALID,
                   "invalid config entry kind: bogus");
}

#define NORMALIZATION(members) \
    "{\"Kind\":\"mesh\",\"HTTP\":{\"Incoming\":{\"RequestNormalization\":{" members "}}}}"
#define LOGS(members) \
    "{\"Kind\":\"proxy-defaults\",\"Name\":\"global\",\"AccessLogs\":{" members "}}"

static void test_entries_are_shown_as_they_were_written(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *given, *shown;
    } cases[] = {
        {"{\"Kind\":\"proxy-defaults\",\"Name\":\"global\",\"Config\":{\"envoy_stats_flush_"
         "interval\":"
         "\"5s\",\"protocol\":\"tcp\"},\"MeshGateway\":{\"Mode\":\"local\"}}",
         "{\"Kind\":\"proxy-defaults\",\"Name\":\"global\",\"Config\":{\"envoy_stats_flush_"
         "interval\":"
         "\"5s\",\"protocol\":\"tcp\"},\"TransparentProxy\":{},\"MeshGateway\":{\"Mode\":\"local\"}"
         ","
         "\"Expose\":{},\"AccessLogs\":{}}"},
        {NORMALIZATION("\"merge_slashes\":true"),
         "{\"Kind\":\"mesh\",\"TransparentProxy\":{\"MeshDestinationsOnly\":false},\"HTTP\":{"
         "\"SanitizeXForwardedClientCert\":false,\"Incoming\":{\"RequestNormalization\":{"
         "\"InsecureDisablePathNormalization\":false,\"MergeSlashes\":true,"
         "\"PathWithEscapedSlashesAction\":\"\",\"HeadersWithUnderscoresAction\":\"\"}}}}"},
        {"{\"Kind\":\"mesh\",\"ValidateClusters\":true}",
         "{\"Kind\":\"mesh\",\"TransparentProxy\":{\"MeshDestinationsOnly\":false},"
         "\"ValidateClusters\":true}"},
        {"{\"kind\":\"mesh\",\"peering\":{\"peer_through_mesh_gateways\":true},\"CreateIndex\":3,"
         "\"ModifyIndex\":4,\"Hash\":16556651269047824993}",
         "{\"Kind\":\"mesh\",\"TransparentProxy\":{\"MeshDestinationsOnly\":false},\"Peering\":{"
         "\"PeerThroughMeshGateways\":true}}"},
        {"{\"Kind\":\"service-defaults\",\"Name\":\"backend\",\"Protocol\":\"HTTP\",\"Namespace\":"
         "\"default\"}",
         "{\"Kind\":\"service-defaults\",\"Name\":\"backend\",\"Protocol\":\"http\","
         "\"TransparentProxy\":{},\"MeshGateway\":{},\"Expose\":{}}"},
        {"{\"Kind\":\"service-intentions\",\"Name\":\"backend\",\"Sources\":[{\"Name\":"
         "\"frontend\","
         "\"Peer\":\"cluster-01\",\"Action\":\"allow\"}]}",
         "{\"Kind\":\"service-intentions\",\"Name\":\"backend\",\"Sources\":[{\"Name\":"
         "\"frontend\","
         "\"Action\":\"allow\",\"Precedence\":9,\"Type\":\"consul\",\"Peer\":\"cluster-01\"}]}"},
        {"{\"Kind\":\"exported-services\",\"Name\":\"default\",\"Services\":[{\"Name\":\"backend\","
         "\"Consumers\":[{\"PeerName\":\"cluster-01\"}]}]}",
         "{\"Kind\":\"exported-services\",\"Name\":\"default\",\"Services\":[{\"Name\":\"backend\","
         "\"Consumers\":[{\"Peer\":\"cluster-01\"}]}]}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct config_kind *kind;
        struct error error = {0};
        void *entry = read_entry(fixture, cases[i].given, &kind, &error);
        if (entry == NULL)
            fail_msg("%s", error.message);
        assert_string_equal(config_entry_head(entry)->kind, kind->name);
        assert_written(kind, entry, cases[i].shown);
    }
}

/* ---- refusals ---- */

static void test_refusals_of_services(void **state)
{
    struct fixture *fixture = *state;
#define EXPORTS(services) \
    "{\"Kind\":\"exported-services\",\"Name\":\"default\",\"Services\":[" services "]}"
    static const char *const cases[][2] = {
        {"{\"Kind\":\"exported-services\",\"Name\":\"web\"}",
         "exported-services Name must be \"default\""},
        {EXPORTS("{\"Consumers\":[{\"Peer\":\"a\"}]}"),
         "Services[0]: service name cannot be empty"},
        {EXPORTS("{\"Name\":\"web\"}"), "Services[0]: must have at least one consumer"},
        {EXPORTS("{\"Name\":\"web\",\"Consumers\":[{\"Peer\":\"a\"},{}]}"),
         "Services[0].Consumers[1]: must define Peer"},
        {EXPORTS("{\"Name\":\"web\",\"Consumers\":[{\"Peer\":\"*\"}]}"),
         "Services[0].Consumers[0]: exporting to all peers (wildcard) is not supported"},
        {EXPORTS("{\"Name\":\"web\",\"Consumers\":[{\"Peer\":\"a\",\"Partition\":\"b\"}]}"),
         "Services[0].Consumers[0]: must define at most one of Peer, Partition, or SamenessGroup"},
        {EXPORTS("{\"Name\":\"web\",\"Consumers\":[{\"Partition\":\"b\"}]}"),
         "Services[0].Consumers[0]: this version of Pons exports to peers only: name a Peer"},
        {EXPORTS("{\"Name\":\"web\",\"Namespace\":\"*\",\"Consumers\":[{\"Peer\":\"a\"}]}"),
         "Services[0]: service name must be wildcard if namespace is wildcard"},
        {EXPORTS("{\"Name\":\"consul\",\"Consumers\":[{\"Peer\":\"a\"}]}"),
         "Services[0]: the service \"consul\" cannot be exported"},
        {"{\"Kind\":\"exported-services\",\"Name\":\"default\",\"Namespace\":\"team\"}",
         "exported-services entries are for all namespaces of their partition: leave out "
         "Namespace"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_refused(fixture, cases[i][0], ERR_INTERNAL, cases[i][1]);
}

/* JSON is easier to read with the other kind of quotes. */
static const char *in_quotes(struct fixture *fixture, const char *text)
{
    char *copy = arena_strdup(fixture->arena, text);
    for (char *at = copy; *at != '\0'; at++) {
        if (*at == '\'')
            *at = '"';
    }
    return copy;
}

static void test_refusals_of_intentions(void **state)
{
    struct fixture *fixture = *state;
#define INTENTIONS(sources) \
    "{\"Kind\":\"service-intentions\",\"Name\":\"db\",\"Sources\":[" sources "]}"
    static const char *const cases[][2] = {
        {"{\"Kind\":\"service-intentions\"}", "Name is required"},
        {INTENTIONS(""), "At least one source is required"},
        {"{\"Kind\":\"service-intentions\",\"Name\":\"d*\"}",
         "Name: the wildcard character '*' must be used by itself, not in partial values (\"d*\")"},
        {INTENTIONS("{\"Action\":\"allow\"}"), "Sources[0].Name is required"},
        {INTENTIONS("{\"Name\":\"w*\",\"Action\":\"allow\"}"),
         "Sources[0].Name: the wildcard character '*' must be used by itself, not in partial "
         "values (\"w*\")"},
        {INTENTIONS("{\"Name\":\"web\"}"), "Sources[0].Action must be set to 'allow' or 'deny'"},
        {INTENTIONS("{\"Name\":\"web\",\"Action\":\"Allow\"}"),
         "Sources[0].Action must be set to 'allow' or 'deny'"},
        {INTENTIONS("{\"Name\":\"web\",\"Action\":\"allow\",\"Type\":\"x\"}"),
         "Sources[0].Type must be set to 'consul'"},
        {INTENTIONS("{\"Name\":\"web\",\"Action\":\"allow\",\"Peer\":\"p\",\"Partition\":\"q\"}"),
         "Sources[0].Peer: cannot set Peer and Partition at the same time."},
        {INTENTIONS("{\"Name\":\"web\",\"Action\":\"allow\",\"Peer\":\"p*\"}"),
         "Sources[0].Peer: the wildcard character '*' must be used by itself"},
        {INTENTIONS("{\"Name\":\"foo\",\"Action\":\"deny\"},{\"Name\":\"foo\",\"Action\":"
                    "\"allow\",\"Namespace\":\"default\"}"),
         "Sources[1] defines \"foo\" more than once"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_refused(fixture, cases[i][0], ERR_INTERNAL, cases[i][1]);
    /* The same name at a peer is another source. */
    must_read(fixture, INTENTIONS("{\"Name\":\"foo\",\"Action\":\"deny\"},{\"Name\":\"foo\","
                                  "\"Peer\":\"p\",\"Action\":\"allow\"}"));

    /* Beyond Consul: any peer. */
    must_read(fixture, INTENTIONS("{\"Name\":\"web\",\"Action\":\"allow\",\"Peer\":\"*\"}"));
}

/* A permission that is taken and does not mean what it says opens what its author closed. */
static void test_refusals_of_permissions(void **state)
{
    struct fixture *fixture = *state;
#define PERMISSIONS(list) INTENTIONS("{'Name':'web','Permissions':[" list "]}")
#define HTTP(members) PERMISSIONS("{'Action':'allow','HTTP':{" members "}}")
#define PLACE "Sources[0].Permissions[0]"
#define ONE_MATCHER " should only contain one of Present, Exact, Prefix, Suffix, Contains, or Regex"
#define WITH_CASE " should set one of Exact, Prefix, Suffix, or Contains when using IgnoreCase"
    static const char *const cases[][2] = {
        {INTENTIONS("{'Name':'web','Action':'deny','Permissions':[{'Action':'allow'}]}"),
         "Sources[0].Action must be omitted if Permissions are specified"},
        {INTENTIONS("{'Name':'web','Permissions':[]}"),
         "Sources[0].Action must be set to 'allow' or 'deny'"},
        {"{'Kind':'service-intentions','Name':'*','Sources':[{'Name':'web','Permissions':[{"
         "'Action':'allow','HTTP':{'PathExact':'/'}}]}]}",
         "Sources[0].Permissions cannot be specified on intentions with wildcarded destinations"},
        {PERMISSIONS("{'HTTP':{'PathExact':'/'}}"),
         PLACE ".Action must be set to 'allow' or 'deny'"},
        {PERMISSIONS("{'Action':'allow'}"), PLACE ".HTTP is required"},
        {PERMISSIONS("{'Action':'allow','JWT':{'Providers':[{'Name':'okta'}]}}"),
         PLACE ".JWT is not supported by this version of Pons: leave it out"},
        {"{'Kind':'service-intentions','Name':'db','JWT':{'Providers':[]},'Sources':[]}",
         "JWT is not supported by this version of Pons: leave it out"},
        {HTTP(""), PLACE ".HTTP should not be empty"},
        {HTTP("'PathExact':'/a','PathRegex':'/b'"),
         PLACE ".HTTP should only contain at most one of PathExact, PathPrefix, or PathRegex"},
        {HTTP("'PathExact':'a'"), PLACE ".HTTP.PathExact doesn't start with '/': \"a\""},
        {HTTP("'PathPrefix':'a'"), PLACE ".HTTP.PathPrefix doesn't start with '/': \"a\""},
        {HTTP("'Methods':['FETCH']"), PLACE ".HTTP.Methods contains an invalid method \"FETCH\""},
        {HTTP("'Methods':['NOSUCHMETHOD']"),
         PLACE ".HTTP.Methods contains an invalid method \"NOSUCHMETHOD\""},
        {HTTP("'Methods':['GET','PUT','get']"),
         PLACE ".HTTP.Methods contains \"GET\" more than once"},
        {HTTP("'Header':[{'Exact':'x'}]"), PLACE ".HTTP.Header[0] missing required Name field"},
        {HTTP("'Header':[{'Name':'x'}]"), PLACE ".HTTP.Header[0]" ONE_MATCHER},
        {HTTP("'Header':[{'Name':'x','Present':true},{'Name':'x','Exact':'a','Suffix':'b'}]"),
         PLACE ".HTTP.Header[1]" ONE_MATCHER},
        {HTTP("'Header':[{'Name':'x','Present':true,'IgnoreCase':true}]"),
         PLACE ".HTTP.Header[0]" WITH_CASE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_refused(fixture, in_quotes(fixture, cases[i][0]), ERR_INTERNAL, cases[i][1]);
    static const char *const bad[][2] = {
        {"/a(b", "has a ( that is not closed"},
        {"/a)b", "has a ) too many"},
        {"/[a", "has a [ that is not closed"},
        {"*", "repeats nothing"},
        {"/a|+", "repeats nothing"},
        {"/a**", "repeats nothing"},
        {"/a{1001}", "repeats more than 1000 times"},
        {"/a{2,9999}", "repeats more than 1000 times"},
        {"/(?!a)", "has a (? that Envoy's regular expressions have not"},
        {"/(?<=a)", "has a (? that Envoy's regular expressions have not"},
        {"/(a)\\1", "has a back-reference, which Envoy's regular expressions have not"},
        {"/a\\", "ends in a backslash"},
        {"/\\y", "has a letter behind a backslash that means nothing there"},
    };
    static const char *const good[] = {"/(?i)a",        "(?P<x>a)(?:b)", "[]a]",       "[^]]+",
                                       "[[:alpha:]]*?", "a{2,3}",        "a{",         "a|",
                                       "\\(\\)",        "(?-s:.)",       "\\Q(\\E\\d", "()"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct error error = {0};
        assert_false(config_check_regex(bad[i][0], "X", &error));
        assert_non_null(strstr(error.message, bad[i][1]));
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(config_check_regex(good[i], "X", NULL));
    assert_refused(fixture, in_quotes(fixture, HTTP("'PathRegex':'/('")), ERR_INTERNAL,
                   PLACE
                   ".HTTP.PathRegex: the regular expression \"/(\" has a ( that is not closed");
    const Pb__ServiceIntentionsEntry *entry =
        must_read(fixture, in_quotes(fixture, HTTP("'PathRegex':'x','Methods':['get','Post']")));
    assert_string_equal(entry->sources[0]->permissions[0]->http->methods[0], "GET");
    assert_string_equal(entry->sources[0]->permissions[0]->http->methods[1], "POST");
}

static void test_refusals_of_defaults(void **state)
{
    struct fixture *fixture = *state;
#define DEFAULTS(fields) "{\"Kind\":\"service-defaults\",\"Name\":\"web\"," fields "}"
    static const char *const cases[][2] = {
        {"{\"Kind\":\"proxy-defaults\",\"Name\":\"x\"}",
         "invalid name (\"x\"), only \"global\" is supported"},
        {"{\"Kind\":\"proxy-defaults\",\"Name\":\"global\",\"MeshGateway\":{\"Mode\":\"far\"}}",
         "Invalid Mesh Gateway Mode: \"far\""},
        {"{\"Kind\":\"proxy-defaults\",\"Name\":\"global\",\"AccessLogs\":{\"Type\":\"file\"}}",
         "path must be specified when using file type access logs"},
        {"{\"Kind\":\"service-defaults\"}", "Name is required"},
        {"{\"Kind\":\"service-defaults\",\"Name\":\"*\"}",
         "service-defaults name must be the name of a service, and not a wildcard"},
        {DEFAULTS("\"Protocol\":\"udp\""),
         "invalid protocol: \"udp\": use tcp, http, http2 or grpc"},
        {DEFAULTS("\"BalanceInboundConnections\":\"x\""),
         "invalid value for balance_inbound_connections: x"},
        {DEFAULTS("\"Mode\":\"x\""), "invalid proxy mode: \"x\": use direct"},
        {DEFAULTS("\"Mode\":\"transparent\""),
         "Mode \"transparent\" is not supported by this version of "
         "Pons: leave it out or use direct"},
        {"{\"Kind\":\"mesh\",\"TransparentProxy\":{\"MeshDestinationsOnly\":true}}",
         "TransparentProxy.MeshDestinationsOnly is not supported by this version of Pons: it has "
         "no "
         "transparent proxies"},
        {"{\"Kind\":\"mesh\",\"AllowEnablingPermissiveMutualTLS\":true}",
         "AllowEnablingPermissiveMutualTLS is not supported by this version of Pons: leave it out"},
        {DEFAULTS("\"UpstreamConfig\":{\"Overrides\":[{\"Protocol\":\"tcp\"}]}"),
         "error in upstream override for : Name is required"},
        {DEFAULTS("\"UpstreamConfig\":{\"Defaults\":{\"MeshGateway\":{\"Mode\":\"x\"}}}"),
         "error in upstream defaults: Invalid Mesh Gateway Mode: \"x\""},
        {"{\"Kind\":\"mesh\",\"TLS\":{\"Incoming\":{\"TLSMinVersion\":\"1.2\"}}}",
         "error in incoming TLS configuration: no matching TLS version found for 1.2, please "
         "specify "
         "one of [TLS_AUTO, TLSv1_0, TLSv1_1, TLSv1_2, TLSv1_3]"},
        {"{\"Kind\":\"mesh\",\"TLS\":{\"Outgoing\":{\"TLSMinVersion\":\"TLSv1_3\","
         "\"TLSMaxVersion\":\"TLSv1_2\"}}}",
         "error in outgoing TLS configuration: configuring max version TLSv1_2 less than the "
         "configured min version TLSv1_3 is invalid"},
        {"{\"Kind\":\"mesh\",\"TLS\":{\"Incoming\":{\"CipherSuites\":[\"X\"]}}}",
         "error in incoming TLS configuration: no matching Envoy TLS cipher suite found for X"},
        {"{\"Kind\":\"mesh\",\"TLS\":{\"Incoming\":{\"TLSMinVersion\":\"TLSv1_3\",\"CipherSuites\":"
         "["
         "\"TLS_RSA_WITH_AES_128_CBC_SHA\"]}}}",
         "error in incoming TLS configuration: configuring CipherSuites is only applicable to "
         "connections negotiated with TLS 1.2 or earlier, TLSMinVersion is set to TLSv1_3"},
        {NORMALIZATION("\"PathWithEscapedSlashesAction\":\"X\""),
         "error in HTTP incoming request normalization configuration: no matching "
         "PathWithEscapedSlashesAction value found for X, please specify one of "
         "[IMPLEMENTATION_SPECIFIC_DEFAULT, KEEP_UNCHANGED, REJECT_REQUEST, UNESCAPE_AND_REDIRECT, "
         "UNESCAPE_AND_FORWARD]"},
        {NORMALIZATION("\"HeadersWithUnderscoresAction\":\"allow\""),
         "error in HTTP incoming request normalization configuration: no matching "
         "HeadersWithUnderscoresAction value found for allow, please specify one of [ALLOW, "
         "REJECT_REQUEST, DROP_HEADER]"},
        {LOGS("\"JSONFormat\":\"[1]\""),
         "invalid access log json for JSON format: it must be an object"},
        {LOGS("\"Type\":\"file\""), "path must be specified when using file type access logs"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_refused(fixture, cases[i][0], ERR_INTERNAL, cases[i][1]);
}

static void test_meta_has_limits(void **state)
{
    struct fixture *fixture = *state;
    struct buffer text = {0};
    buffer_add_text(&text, "{\"Kind\":\"mesh\",\"Meta\":{");
    for (int i = 0; i < 65; i++)
        buffer_printf(&text, "%s\"k%d\":\"v\"", i > 0 ? "," : "", i);
    buffer_add_text(&text, "}}");
    assert_refused(fixture, buffer_text(&text), ERR_INTERNAL,
                   "Meta exceeds maximum element count 64");
    buffer_reset(&text);
    buffer_printf(&text, "{\"Kind\":\"mesh\",\"Meta\":{\"k\":\"%0513d\"}}", 0);
    assert_refused(fixture, buffer_text(&text), ERR_INTERNAL,
                   "Meta value for key \"k\" exceeds maximum length 512");
    buffer_free(&text);
    must_read(fixture, "{\"Kind\":\"mesh\",\"Meta\":{\"consul.hashicorp.com/source\":\"x\"}}");
}

/* ---- the store ---- */

static void test_check_and_set(void **state)
{
    struct fixture *fixture = *state;
    struct put put = {0};
    uint64_t cas = 7;
    put.entry = read_entry(fixture, DEFAULTS("\"Protocol\":\"http\""), &put.kind, NULL);
    put.cas = &cas;
    fixture_commit(fixture, put_entry, &put);
    assert_int_equal(fixture->error.code, ERR_CONFLICT);
    cas = 0;
    fixture_commit(fixture, put_entry, &put);
    assert_int_equal(fixture->error.code, ERR_NONE);
    fixture_commit(fixture, put_entry, &put);
    assert_int_equal(fixture->error.code, ERR_CONFLICT); /* it exists now */

    const struct record *record =
        config_entry_get(fixture_view(fixture), put.kind, &TENANCY_DEFAULT, "WEB");
    assert_non_null(record);
    cas = record->modify_index + 1;
    fixture_commit(fixture, delete_entry, &put);
    assert_int_equal(fixture->error.code, ERR_CONFLICT);
    put.cas = NULL;
    fixture_commit(fixture, delete_entry, &put);
    assert_int_equal(fixture->error.code, ERR_NONE);
    assert_null(config_entry_get(fixture_view(fixture), put.kind, &TENANCY_DEFAULT, "web"));
    fixture_commit(fixture, delete_entry, &put); /* absent is fine */
    assert_int_equal(fixture->error.code, ERR_NONE);
}

static void test_partition_wide_entries_are_found_from_every_namespace(void **state)
{
    struct fixture *fixture = *state;
    store(fixture, "{\"Kind\":\"mesh\",\"Peering\":{\"PeerThroughMeshGateways\":true}}");
    store(fixture, "{\"Kind\":\"proxy-defaults\",\"Name\":\"global\",\"Mode\":\"direct\"}");
    struct tenancy team = {.namespace = "team"};
    struct view *view = fixture_view(fixture);
    assert_true(config_mesh(view, &team)->peering->peer_through_mesh_gateways);
    assert_string_equal(config_proxy_defaults(view, &team)->mode, "direct");
    struct tenancy elsewhere = {.partition = "other"};
    assert_null(config_mesh(view, &elsewhere));
    assert_null(config_proxy_defaults(view, &elsewhere));
}

static void test_protocol_of_a_service(void **state)
{
    struct fixture *fixture = *state;
    struct arena *arena = fixture->arena;
    assert_string_equal(
        config_service_protocol(fixture_view(fixture), &TENANCY_DEFAULT, "web", arena), "tcp");
    store(fixture, "{\"Kind\":\"proxy-defaults\",\"Name\":\"global\",\"Config\":{\"Protocol\":"
                   "\"HTTP2\"}}");
    store(fixture, "{\"Kind\":\"service-defaults\",\"Name\":\"db\",\"Protocol\":\"tcp\"}");
    struct view *view = fixture_view(fixture);
    assert_string_equal(config_service_protocol(view, &TENANCY_DEFAULT, "web", arena), "http2");
    assert_string_equal(config_service_protocol(view, &TENANCY_DEFAULT, "db", arena), "tcp");
    assert_true(config_protocol_is_http("grpc"));
    assert_false(config_protocol_is_http("tcp"));
}

/* ---- merging ---- */

static Pb__NodeService *registration(struct fixture *fixture, const char *proxy)
{
    char *text = arena_printf(
        fixture->arena,
        "{\"Kind\":\"connect-proxy\",\"ID\":\"frontend-1-sidecar-proxy\",\"Service\":"
        "\"frontend-sidecar-proxy\",\"Port\":21000,\"Proxy\":{\"DestinationServiceName\":"
        "\"frontend\",\"DestinationServiceID\":\"frontend-1\",\"LocalServiceAddress\":"
        "\"127.0.0.1\",\"LocalServicePort\":8080%s}}",
        proxy);
    json_t *value = json_parse(text, strlen(text), NULL, NULL);
    struct error error = {0};
    Pb__NodeService *service =
        codec_read(&pb__node_service__codec, value, 0, fixture->arena, &error);
    json_decref(value);
    if (service == NULL)
        fail_msg("%s", error.message);
    return service;
}

static Pb__ConnectProxyConfig *merge(struct fixture *fixture, const char *proxy)
{
    return config_merge_proxy(fixture_view(fixture), registration(fixture, proxy), fixture->arena)
        ->proxy;
}

#define PEER_UPSTREAM                                                                      \
    ",\"Upstreams\":[{\"DestinationType\":\"service\",\"DestinationPeer\":\"cluster-02\"," \
    "\"DestinationName\":\"backend\",\"LocalBindAddress\":\"127.1.0.3\",\"LocalBindPort\":9191}]"

/* GET /v1/agent/service/frontend-1-sidecar-proxy of a real agent under the same entries. */
static void test_merging_is_the_real_agents(void **state)
{
    struct fixture *fixture = *state;
    store(fixture, "{\"Kind\":\"proxy-defaults\",\"Name\":\"global\",\"Config\":{\"protocol\":"
                   "\"tcp\",\"envoy_stats_flush_interval\":\"5s\"},\"MeshGateway\":{\"Mode\":"
                   "\"local\"}}");
    Pb__ConnectProxyConfig *proxy = merge(fixture, PEER_UPSTREAM);
    struct buffer text = {0};
    codec_write(&text, &pb__connect_proxy_config__codec, proxy);
    assert_string_equal(
        buffer_text(&text),
        "{\"DestinationServiceName\":\"frontend\",\"DestinationServiceID\":\"frontend-1\","
        "\"LocalServiceAddress\":\"127.0.0.1\",\"LocalServicePort\":8080,\"Mode\":\"\","
        "\"Config\":{\"envoy_stats_flush_interval\":\"5s\",\"protocol\":\"tcp\"},"
        "\"Upstreams\":[{\"DestinationType\":\"service\",\"DestinationPeer\":\"cluster-02\","
        "\"DestinationName\":\"backend\",\"LocalBindAddress\":\"127.1.0.3\",\"LocalBindPort\":"
        "9191,\"MeshGateway\":{\"Mode\":\"local\"}}],\"MeshGateway\":{\"Mode\":\"local\"},"
        "\"Expose\":{}}");
    buffer_free(&text);
}

static void test_the_registration_wins_then_service_then_global(void **state)
{
    struct fixture *fixture = *state;
    store(fixture, "{\"Kind\":\"proxy-defaults\",\"Name\":\"global\",\"Config\":{\"protocol\":"
                   "\"tcp\",\"a\":1,\"deep\":{\"x\":1,\"y\":1}},\"MeshGateway\":{\"Mode\":"
                   "\"local\"},\"Mode\":\"direct\"}");
    store(fixture,
          "{\"Kind\":\"service-defaults\",\"Name\":\"frontend\",\"Protocol\":\"http\","
          "\"MaxInboundConnections\":5,\"LocalConnectTimeoutMs\":6,\"LocalRequestTimeoutMs\":7,"
          "\"BalanceInboundConnections\":\"exact_balance\",\"MeshGateway\":{\"Mode\":\"remote\"},"
          "\"Expose\":{\"Checks\":true}}");
    Pb__ConnectProxyConfig *proxy =
        merge(fixture, ",\"Config\":{\"Protocol\":\"grpc\",\"deep\":{\"x\":2}}");
    assert_string_equal(proxy->config,
                        "{\"Protocol\":\"grpc\",\"a\":1,\"balance_inbound_connections\":"
                        "\"exact_balance\",\"deep\":{\"x\":2,\"y\":1},\"local_connect_timeout_ms\":"
                        "6,\"local_request_timeout_ms\":7,\"max_inbound_connections\":5}");
    assert_string_equal(proxy->mesh_gateway->mode, "remote");
    assert_string_equal(proxy->mode, "direct");
    assert_true(proxy->expose->checks);
    proxy = merge(fixture, ",\"MeshGateway\":{\"Mode\":\"none\"},\"Mode\":\"transparent\"");
    assert_string_equal(proxy->mesh_gateway->mode, "none");
    assert_string_equal(proxy->mode, "transparent");
}

static const char *upstream_mode(struct fixture *fixture, const char *proxy)
{
    return merge(fixture, proxy)->upstreams[0]->mesh_gateway->mode;
}

static void test_gateway_mode_of_an_upstream(void **state)
{
    struct fixture *fixture = *state;
    static const char own[] =
        ",\"MeshGateway\":{\"Mode\":\"none\"},\"Upstreams\":[{\"DestinationName\":\"backend\","
        "\"DestinationPeer\":\"p\",\"MeshGateway\":{\"Mode\":\"local\"}}]";
    static const char proxys[] = ",\"MeshGateway\":{\"Mode\":\"none\"},\"Upstreams\":[{"
                                 "\"DestinationName\":\"backend\",\"DestinationPeer\":\"p\"}]";
    store(fixture, "{\"Kind\":\"proxy-defaults\",\"Name\":\"global\",\"MeshGateway\":{\"Mode\":"
                   "\"local\"}}");
    assert_string_equal(upstream_mode(fixture, PEER_UPSTREAM), "local");
    assert_string_equal(upstream_mode(fixture, proxys), "none");
    store(fixture, "{\"Kind\":\"service-defaults\",\"Name\":\"frontend\",\"UpstreamConfig\":{"
                   "\"Defaults\":{\"MeshGateway\":{\"Mode\":\"remote\"}}}}");
    assert_string_equal(upstream_mode(fixture, PEER_UPSTREAM), "remote");
    assert_string_equal(upstream_mode(fixture, proxys), "none");
    store(fixture, "{\"Kind\":\"service-defaults\",\"Name\":\"frontend\",\"UpstreamConfig\":{"
                   "\"Overrides\":[{\"Name\":\"backend\",\"Peer\":\"p\",\"MeshGateway\":{"
                   "\"Mode\":\"remote\"}}]}}");
    assert_string_equal(upstream_mode(fixture, PEER_UPSTREAM), "local"); /* another peer */
    assert_string_equal(upstream_mode(fixture, proxys), "remote");
    assert_string_equal(upstream_mode(fixture, own), "local");
}

static void test_configuration_of_an_upstream(void **state)
{
    struct fixture *fixture = *state;
    store(fixture, "{\"Kind\":\"proxy-defaults\",\"Name\":\"global\",\"Config\":{\"protocol\":"
                   "\"http\"}}");
    store(fixture, "{\"Kind\":\"service-defaults\",\"Name\":\"backend\",\"Protocol\":\"grpc\"}");
    static const char local[] = ",\"Upstreams\":[{\"DestinationName\":\"backend\"},{"
                                "\"DestinationName\":\"other\"}]";
    Pb__ConnectProxyConfig *proxy = merge(fixture, local);
    assert_string_equal(proxy->upstreams[0]->config, "{\"protocol\":\"grpc\"}");
    assert_string_equal(proxy->upstreams[1]->config, "{\"protocol\":\"http\"}");

    store(fixture,
          "{\"Kind\":\"service-defaults\",\"Name\":\"frontend\",\"UpstreamConfig\":{"
          "\"Defaults\":{\"ConnectTimeoutMs\":100,\"Protocol\":\"http2\",\"Limits\":{"
          "\"MaxConnections\":3}},\"Overrides\":[{\"Name\":\"backend\",\"ConnectTimeoutMs\":200,"
          "\"PassiveHealthCheck\":{\"Interval\":\"10s\",\"MaxFailures\":2}}]}}");
    proxy = merge(fixture, local);
    assert_string_equal(proxy->upstreams[0]->config,
                        "{\"connect_timeout_ms\":200,\"limits\":{\"max_connections\":3},"
                        "\"passive_health_check\":{\"interval\":\"10s\",\"max_failures\":2},"
                        "\"protocol\":\"http2\"}");
    assert_string_equal(proxy->upstreams[1]->config,
                        "{\"connect_timeout_ms\":100,\"limits\":{\"max_connections\":3},"
                        "\"protocol\":\"http2\"}");
    /* What the upstream's owner wrote wins. A peer's protocol comes with its import. */
    proxy = merge(fixture, ",\"Upstreams\":[{\"DestinationName\":\"backend\",\"DestinationPeer\":"
                           "\"p\",\"Config\":{\"connect_timeout_ms\":1}}]");
    assert_string_equal(proxy->upstreams[0]->config,
                        "{\"connect_timeout_ms\":1,\"limits\":{\"max_connections\":3},"
                        "\"passive_health_check\":{\"interval\":\"10s\",\"max_failures\":2}}");
}

static void test_what_is_not_merged(void **state)
{
    struct fixture *fixture = *state;
    store(fixture, "{\"Kind\":\"proxy-defaults\",\"Name\":\"global\",\"Config\":{\"a\":1}}");
    Pb__NodeService *plain = proto_new(fixture->arena, pb__node_service);
    plain->service = plain->id = arena_strdup(fixture->arena, "web");
    struct view *view = fixture_view(fixture);
    assert_null(config_merge_proxy(view, plain, fixture->arena)->proxy);
    Pb__NodeService *imported = registration(fixture, "");
    imported->peer_name = arena_strdup(fixture->arena, "cluster-02");
    assert_string_equal(config_merge_proxy(view, imported, fixture->arena)->proxy->config, "");
    Pb__NodeService *gateway = proto_new(fixture->arena, pb__node_service);
    gateway->service = arena_strdup(fixture->arena, "gw");
    gateway->kind = arena_strdup(fixture->arena, "mesh-gateway");
    assert_string_equal(config_merge_proxy(view, gateway, fixture->arena)->proxy->config,
                        "{\"a\":1}");
}

/* ---- exports ---- */

static void add_instance(struct fixture *fixture, const char *name, const char *kind,
                         const char *peer)
{
    Pb__NodeService *service = proto_new(fixture->arena, pb__node_service);
    service->node = arena_strdup(fixture->arena, "n1");
    service->id = service->service = arena_strdup(fixture->arena, name);
    service->kind = arena_strdup(fixture->arena, kind);
    service->peer_name = arena_strdup(fixture->arena, peer);
    fixture_put(fixture, TABLE_SERVICE, service);
}

static void assert_list(struct text_list list, const char *expected)
{
    char *joined = text_list_join(&list, " ");
    assert_string_equal(joined, expected);
    free(joined);
    text_list_free(&list);
}

static void test_exports(void **state)
{
    struct fixture *fixture = *state;
    const struct tenancy *tenancy = &TENANCY_DEFAULT;
    add_instance(fixture, "consul", "", "");
    add_instance(fixture, "web", "", "");
    add_instance(fixture, "DB", "", "");
    add_instance(fixture, "web-sidecar-proxy", "connect-proxy", "");
    add_instance(fixture, "imported", "", "peer-a");
    assert_list(config_exported_services(fixture_view(fixture), tenancy, "peer-a"), "");
    store(fixture, "{\"Kind\":\"exported-services\",\"Name\":\"default\",\"Services\":["
                   "{\"Name\":\"*\",\"Consumers\":[{\"Peer\":\"peer-a\"}]},"
                   "{\"Name\":\"web\",\"Consumers\":[{\"Peer\":\"peer-b\"},{\"Peer\":\"peer-a\"}]},"
                   "{\"Name\":\"later\",\"Consumers\":[{\"Peer\":\"peer-b\"}]}]}");
    struct view *view = fixture_view(fixture);
    assert_list(config_exported_services(view, tenancy, "peer-a"), "DB web");
    /* Named outright, a service is exported before it has instances. */
    assert_list(config_exported_services(view, tenancy, "peer-b"), "later web");
    assert_list(config_exported_services(view, tenancy, "peer-c"), "");

    assert_list(config_exported_to(view, tenancy, "web"), "peer-a peer-b");
    assert_list(config_exported_to(view, tenancy, "db"), "peer-a");
    assert_list(config_exported_to(view, tenancy, "later"), "peer-b");
    assert_list(config_exported_to(view, tenancy, "consul"), "");
    assert_list(config_exported_to(view, tenancy, "web-sidecar-proxy"), "");
    assert_list(config_exported_to(view, tenancy, "imported"), "");
    struct tenancy team = {.namespace = "team"};
    assert_list(config_exported_services(view, &team, "peer-a"), "");
}

static void woken(void *arg)
{
    *(bool *)arg = true;
}

static bool is_woken(struct fixture *fixture, void *arg)
{
    (void)fixture;
    return *(bool *)arg;
}

/* A stream to a peer waits on what the list was made from. */
static void test_a_new_service_wakes_a_wildcard_export(void **state)
{
    struct fixture *fixture = *state;
    store(fixture, "{\"Kind\":\"exported-services\",\"Name\":\"default\",\"Services\":[{\"Name\":"
                   "\"*\",\"Consumers\":[{\"Peer\":\"p\"}]}]}");
    struct view *view = view_new(fixture->store);
    assert_list(config_exported_services(view, &TENANCY_DEFAULT, "p"), "");
    bool called = false;
    struct watch *watch = watch_new(view, woken, &called);
    add_instance(fixture, "web", "", "");
    fixture_wait_for(fixture, is_woken, &called);
    watch_free(watch);
    assert_list(config_exported_services(fixture_view(fixture), &TENANCY_DEFAULT, "p"), "web");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_kinds),
        TEST(test_entries_are_shown_as_they_were_written),
        TEST(test_refusals_of_services),
        TEST(test_refusals_of_intentions),
        TEST(test_refusals_of_permissions),
        TEST(test_refusals_of_defaults),
        TEST(test_meta_has_limits),
        TEST(test_check_and_set),
        TEST(test_partition_wide_entries_are_found_from_every_namespace),
        TEST(test_protocol_of_a_service),
        TEST(test_merging_is_the_real_agents),
        TEST(test_the_registration_wins_then_service_then_global),
        TEST(test_gateway_mode_of_an_upstream),
        TEST(test_configuration_of_an_upstream),
        TEST(test_what_is_not_merged),
        TEST(test_exports),
        TEST(test_a_new_service_wakes_a_wildcard_export),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
