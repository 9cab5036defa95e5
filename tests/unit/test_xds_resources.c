/* What Envoy is told: the seed scenario's resources as a real Consul's Envoys show them, with the
 * differences that are meant. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "xds_fixture.h"

/* Compares with expected JSON, written with ' for ". */
static void expect(const struct xds_resources *resources, enum xds_type type, const char *name,
                   const char *expected)
{
    char *text = mem_strdup(expected);
    json_error_t error;
    for (char *at = text; *at != '\0'; at++) {
        if (*at == '\'')
            *at = '"';
    }
    json_t *want = json_loads(text, 0, &error);
    json_t *got = fixture_resource(resources, type, name);
    if (want == NULL)
        fail_msg("expected text, column %d: %s", error.column, error.text);
    if (got == NULL)
        fail_msg("there is no resource %s", name);
    json_object_del(got, "@type");
    if (!json_equal(want, got)) {
        char *left = json_dumps(want, JSON_SORT_KEYS), *right = json_dumps(got, JSON_SORT_KEYS);
        fail_msg("%s\nexpected %s\ngot      %s", name, left, right);
    }
    json_decref(want);
    json_decref(got);
    free(text);
}

/* Whether the text of a resource holds `part` (with ' for "), without blanks. */
static bool holds(const struct xds_resources *resources, enum xds_type type, const char *name,
                  const char *part)
{
    json_t *json = fixture_resource(resources, type, name);
    assert_non_null(json);
    char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
    for (char *at = text; *at != '\0'; at++) {
        if (*at == '"')
            *at = '\'';
    }
    bool found = strstr(text, part) != NULL;
    free(text);
    json_decref(json);
    return found;
}

static const char *version(const struct xds_resources *resources, enum xds_type type,
                           const char *name)
{
    const struct xds_resource *resource = fixture_find(resources, type, name);
    assert_non_null(resource);
    return resource->version;
}

#define TYPE "'@type': 'type.googleapis.com/envoy."
#define EDS "{'eds_config': {'ads': {}, 'resource_api_version': 'V3'}}"
#define ROOT1 "{'inline_string': 'ROOT1\\n'}"
#define ROOT2 "{'inline_string': 'ROOT2\\n'}"
#define LEAF                                             \
    "'tls_params': {}, 'tls_certificates': [{"           \
    "'certificate_chain': {'inline_string': 'LEAF\\n'}," \
    "'private_key': {'inline_string': 'KEY\\n'}}]"

static void test_a_peered_upstream_is_dialled_at_the_peers_gateway(void **state)
{
    (void)state;
    struct proxy_snapshot *snapshot = fixture_web();
    struct xds_resources *resources = xds_resources_build(snapshot);
    assert_int_equal(resources->types[XDS_CLUSTER].count, 3);
    assert_int_equal(resources->types[XDS_LISTENER].count, 3);
    assert_int_equal(resources->types[XDS_ROUTE].count, 0);
    assert_null(resources->problems);
    expect(resources, XDS_CLUSTER, "backend.default.cluster-02.external.td2",
           "{'name': 'backend.default.cluster-02.external.td2', 'type': 'EDS',"
           " 'eds_cluster_config': " EDS ", 'connect_timeout': '5s', 'circuit_breakers': {},"
           " 'outlier_detection': {'max_ejection_percent': 99},"
           " 'common_lb_config': {'healthy_panic_threshold': {}},"
           " 'transport_socket': {'name': 'tls', 'typed_config': {" TYPE
           "extensions.transport_sockets.tls.v3.UpstreamTlsContext',"
           "  'common_tls_context': {" LEAF ", 'validation_context': {'trusted_ca': " ROOT2 ","
           "   'match_typed_subject_alt_names': ["
           "    {'san_type': 'URI', 'matcher': {'exact': "
           "'spiffe://td2/ns/default/dc/dc2/svc/backend'}},"
           "    {'san_type': 'URI', 'matcher': {'exact': "
           "'spiffe://td2/gateway/mesh/dc/dc2'}}]}},"
           "  'sni': 'backend.default.default.cluster-01.external.td2'}}}");
    expect(
        resources, XDS_ENDPOINT, "backend.default.cluster-02.external.td2",
        "{'cluster_name': 'backend.default.cluster-02.external.td2', 'endpoints': [{'lb_endpoints':"
        " [{'endpoint': {'address': {'socket_address': {'address': '127.12.0.3',"
        " 'port_value': 8443}}}, 'health_status': 'HEALTHY', 'load_balancing_weight': 1}]}]}");
    expect(resources, XDS_LISTENER, "backend?peer=cluster-02:127.11.0.11:5001",
           "{'name': 'backend?peer=cluster-02:127.11.0.11:5001', 'traffic_direction': 'OUTBOUND',"
           " 'address': {'socket_address': {'address': '127.11.0.11', 'port_value': 5001}},"
           " 'filter_chains': [{'filters': [{'name': 'envoy.filters.network.tcp_proxy',"
           " 'typed_config': {" TYPE "extensions.filters.network.tcp_proxy.v3.TcpProxy',"
           "  'stat_prefix': 'upstream_peered.backend.default.cluster-02',"
           "  'cluster': 'backend.default.cluster-02.external.td2'}}]}]}");
    expect(
        resources, XDS_LISTENER, "web-api?peer=cluster-02:127.11.0.11:5002",
        "{'name': 'web-api?peer=cluster-02:127.11.0.11:5002', 'traffic_direction': 'OUTBOUND',"
        " 'address': {'socket_address': {'address': '127.11.0.11', 'port_value': 5002}},"
        " 'filter_chains': [{'filters': [{'name': 'envoy.filters.network.http_connection_manager',"
        " 'typed_config': {" TYPE "extensions.filters.network.http_connection_manager.v3."
        "HttpConnectionManager', 'stat_prefix': 'upstream_peered.web-api.default.cluster-02',"
        "  'route_config': {'name': 'web-api?peer=cluster-02', 'virtual_hosts': [{"
        "   'name': 'web-api.default.cluster-02', 'domains': ['*'], 'routes': [{"
        "    'match': {'prefix': '/'},"
        "    'route': {'cluster': 'web-api.default.cluster-02.external.td2'}}]}]},"
        "  'http_filters': [{'name': 'envoy.filters.http.router', 'typed_config': {" TYPE
        "extensions.filters.http.router.v3.Router'}}],"
        "  'tracing': {'random_sampling': {}}, 'upgrade_configs': [{'upgrade_type': 'websocket'}]"
        "  }}]}]}");
    expect(
        resources, XDS_CLUSTER, "local_app",
        "{'name': 'local_app', 'type': 'STATIC', 'connect_timeout': '5s', 'load_assignment': {"
        " 'cluster_name': 'local_app', 'endpoints': [{'lb_endpoints': [{'endpoint': {'address': {"
        " 'socket_address': {'address': '127.11.0.10', 'port_value': 9000}}}}]}]}}");
    /* nobody may call it: rules without policies allow no one */
    expect(resources, XDS_LISTENER, "public_listener:127.11.0.11:21000",
           "{'name': 'public_listener:127.11.0.11:21000', 'traffic_direction': 'INBOUND',"
           " 'address': {'socket_address': {'address': '127.11.0.11', 'port_value': 21000}},"
           " 'filter_chains': [{'filters': ["
           "  {'name': 'envoy.filters.network.rbac', 'typed_config': {" TYPE
           "extensions.filters.network.rbac.v3.RBAC', 'rules': {},"
           "   'stat_prefix': 'connect_authz'}},"
           "  {'name': 'envoy.filters.network.tcp_proxy', 'typed_config': {" TYPE
           "extensions.filters.network.tcp_proxy.v3.TcpProxy',"
           "   'stat_prefix': 'public_listener', 'cluster': 'local_app'}}],"
           "  'transport_socket': {'name': 'tls', 'typed_config': {" TYPE
           "extensions.transport_sockets.tls.v3.DownstreamTlsContext',"
           "   'common_tls_context': {" LEAF ", 'validation_context': {'trusted_ca': " ROOT1 "}},"
           "   'require_client_certificate': true}}}]}");
    xds_resources_free(resources);
    fixture_free(snapshot);
}

#define VALIDATOR                                                                               \
    "'validation_context': {'custom_validator_config': {'name': "                               \
    "'envoy.tls.cert_validator.spiffe',"                                                        \
    " 'typed_config': {" TYPE "extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig'," \
    " 'trust_domains': [{'name': 'td1', 'trust_bundle': " ROOT1 "},"                            \
    " {'name': 'td2', 'trust_bundle': " ROOT2 "}]}}}"

static void test_an_http_service_lets_peers_in_by_its_route(void **state)
{
    (void)state;
    struct proxy_snapshot *snapshot = fixture_serving("web-api", "http");
    struct xds_resources *resources = xds_resources_build(snapshot);
    expect(
        resources, XDS_LISTENER, "public_listener:127.12.0.12:21000",
        "{'name': 'public_listener:127.12.0.12:21000', 'traffic_direction': 'INBOUND',"
        " 'address': {'socket_address': {'address': '127.12.0.12', 'port_value': 21000}},"
        " 'filter_chains': [{'filters': ["
        "  {'name': 'envoy.filters.network.http_connection_manager', 'typed_config': {" TYPE
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',"
        "   'stat_prefix': 'public_listener', 'rds': {'route_config_name': 'public_listener',"
        "    'config_source': {'ads': {}, 'resource_api_version': 'V3'}},"
        "   'http_filters': [{'name': 'envoy.filters.http.rbac', 'typed_config': {" TYPE
        "extensions.filters.http.rbac.v3.RBAC', 'rules': {}}},"
        "    {'name': 'envoy.filters.http.router', 'typed_config': {" TYPE
        "extensions.filters.http.router.v3.Router'}}],"
        "   'forward_client_cert_details': 'APPEND_FORWARD',"
        "   'set_current_client_cert_details': {'uri': true}, 'normalize_path': true,"
        "   'tracing': {'random_sampling': {}}, 'upgrade_configs': [{'upgrade_type': 'websocket'}]"
        "   }}],"
        "  'transport_socket': {'name': 'tls', 'typed_config': {" TYPE
        "extensions.transport_sockets.tls.v3.DownstreamTlsContext',"
        "   'common_tls_context': {" LEAF ", 'alpn_protocols': ['http/1.1'], " VALIDATOR "},"
        "   'require_client_certificate': true}}}]}");
    expect(
        resources, XDS_ROUTE, "public_listener",
        "{'name': 'public_listener', 'virtual_hosts': [{'name': 'public_listener',"
        " 'domains': ['*'], 'routes': [{'match': {'prefix': '/'}, 'route': {'cluster': "
        "'local_app'}}],"
        " 'typed_per_filter_config': {'envoy.filters.http.rbac': {" TYPE
        "extensions.filters.http.rbac.v3.RBACPerRoute', 'rbac': {'rules': {'policies': {"
        "  'consul-intentions-layer4': {'permissions': [{'any': true}], 'principals': [{'and_ids':"
        "   {'ids': [{'authenticated': {'principal_name': {'safe_regex': {"
        "     'regex': '^spiffe://td2/gateway/mesh/dc/[^/]+$'}}}},"
        "    {'header': {'name': 'x-forwarded-client-cert', 'string_match': {'safe_regex': "
        "{'regex':"
        "     '^[^,]+;URI=spiffe://td1/ns/default/dc/[^/]+/svc/web(?:,.*)?$'}}}}]}}]}}}}}}}]}");
    const struct xds_resource *listener =
        fixture_find(resources, XDS_LISTENER, "public_listener:127.12.0.12:21000");
    assert_string_equal(listener->children[0], "public_listener");
    assert_null(listener->children[1]);
    xds_resources_free(resources);
    fixture_free(snapshot);
}

static void test_a_tcp_service_sees_the_peers_own_certificate(void **state)
{
    (void)state;
    struct proxy_snapshot *snapshot = fixture_serving("backend", "tcp");
    struct xds_resources *resources = xds_resources_build(snapshot);
    expect(resources, XDS_LISTENER, "public_listener:127.12.0.12:21000",
           "{'name': 'public_listener:127.12.0.12:21000', 'traffic_direction': 'INBOUND',"
           " 'address': {'socket_address': {'address': '127.12.0.12', 'port_value': 21000}},"
           " 'filter_chains': [{'filters': ["
           "  {'name': 'envoy.filters.network.rbac', 'typed_config': {" TYPE
           "extensions.filters.network.rbac.v3.RBAC', 'rules': {'policies': {"
           "   'consul-intentions-layer4': {'permissions': [{'any': true}], 'principals': ["
           "    {'authenticated': {'principal_name': {'safe_regex': {"
           "     'regex': '^spiffe://td1/ns/default/dc/[^/]+/svc/web$'}}}}]}}},"
           "   'stat_prefix': 'connect_authz'}},"
           "  {'name': 'envoy.filters.network.tcp_proxy', 'typed_config': {" TYPE
           "extensions.filters.network.tcp_proxy.v3.TcpProxy',"
           "   'stat_prefix': 'public_listener', 'cluster': 'local_app'}}],"
           "  'transport_socket': {'name': 'tls', 'typed_config': {" TYPE
           "extensions.transport_sockets.tls.v3.DownstreamTlsContext',"
           "   'common_tls_context': {" LEAF ", " VALIDATOR
           "}, 'require_client_certificate': true}}}]}");
    xds_resources_free(resources);
    fixture_free(snapshot);
}

static void test_the_exporting_gateway_terminates_http_and_passes_tcp(void **state)
{
    (void)state;
    struct proxy_snapshot *snapshot = fixture_gateway_dc2();
    struct xds_resources *resources = xds_resources_build(snapshot);
    expect(resources, XDS_LISTENER, "wan:127.12.0.3:8443",
           "{'name': 'wan:127.12.0.3:8443',"
           " 'address': {'socket_address': {'address': '127.12.0.3', 'port_value': 8443}},"
           " 'listener_filters': [{'name': 'envoy.filters.listener.tls_inspector', 'typed_config': "
           "{" TYPE "extensions.filters.listener.tls_inspector.v3.TlsInspector'}}],"
           " 'filter_chains': ["
           "  {'filter_chain_match': {'server_names': ["
           "     'backend.default.default.cluster-01.external.td2']},"
           "   'filters': [{'name': 'envoy.filters.network.tcp_proxy', 'typed_config': {" TYPE
           "extensions.filters.network.tcp_proxy.v3.TcpProxy',"
           "    'stat_prefix': 'mesh_gateway_local_peered.backend.default.default.dc2',"
           "    'cluster': 'exported~backend.default.dc2.internal.td2'}}]},"
           "  {'filter_chain_match': {'server_names': ["
           "     'web-api.default.default.cluster-01.external.td2']},"
           "   'filters': [{'name': 'envoy.filters.network.http_connection_manager', "
           "'typed_config': {" TYPE
           "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',"
           "    'stat_prefix': 'mesh_gateway_local_peered.web-api.default.default.dc2',"
           "    'rds': {'route_config_name': 'web-api',"
           "     'config_source': {'ads': {}, 'resource_api_version': 'V3'}},"
           "    'http_filters': [{'name': 'envoy.filters.http.router', 'typed_config': {" TYPE
           "extensions.filters.http.router.v3.Router'}}],"
           "    'forward_client_cert_details': 'SANITIZE_SET',"
           "    'set_current_client_cert_details': {'uri': true},"
           "    'tracing': {'random_sampling': {}},"
           "    'upgrade_configs': [{'upgrade_type': 'websocket'}]}}],"
           "   'transport_socket': {'name': 'tls', 'typed_config': {" TYPE
           "extensions.transport_sockets.tls.v3.DownstreamTlsContext',"
           "    'common_tls_context': {" LEAF ", " VALIDATOR
           "}, 'require_client_certificate': true}}},"
           "  {'filters': [{'name': 'envoy.filters.network.sni_cluster', 'typed_config': {" TYPE
           "extensions.filters.network.sni_cluster.v3.SniCluster'}},"
           "   {'name': 'envoy.filters.network.tcp_proxy', 'typed_config': {" TYPE
           "extensions.filters.network.tcp_proxy.v3.TcpProxy',"
           "    'stat_prefix': 'mesh_gateway_local.wan', 'cluster': ''}}]}]}");
    expect(resources, XDS_CLUSTER, "exported~web-api.default.dc2.internal.td2",
           "{'name': 'exported~web-api.default.dc2.internal.td2',"
           " 'alt_stat_name': 'exported~web-api.default.dc2.internal.td2', 'type': 'EDS',"
           " 'eds_cluster_config': " EDS ", 'connect_timeout': '5s', 'circuit_breakers': {},"
           " 'outlier_detection': {}, 'common_lb_config': {'healthy_panic_threshold': {}},"
           " 'transport_socket': {'name': 'tls', 'typed_config': {" TYPE
           "extensions.transport_sockets.tls.v3.UpstreamTlsContext',"
           "  'common_tls_context': {" LEAF ", 'validation_context': {'trusted_ca': " ROOT2 ","
           "   'match_typed_subject_alt_names': [{'san_type': 'URI', 'matcher': {"
           "    'exact': 'spiffe://td2/ns/default/dc/dc2/svc/web-api'}}]}},"
           "  'sni': 'web-api.default.dc2.internal.td2'}}}");
    assert_false(holds(resources, XDS_CLUSTER, "exported~backend.default.dc2.internal.td2",
                       "transport_socket"));
    expect(
        resources, XDS_ROUTE, "web-api",
        "{'name': 'web-api', 'virtual_hosts': [{'name': 'web-api', 'domains': ['*'], 'routes': [{"
        " 'match': {'prefix': '/'},"
        " 'route': {'cluster': 'exported~web-api.default.dc2.internal.td2'}}]}]}");
    assert_int_equal(resources->types[XDS_ENDPOINT].count, 4);
    xds_resources_free(resources);
    fixture_free(snapshot);
}

static void test_the_importing_gateway_forwards_by_sni(void **state)
{
    (void)state;
    struct proxy_snapshot *snapshot = fixture_gateway_dc1();
    struct xds_resources *resources;
    snapshot->config = "{\"envoy_gateway_remote_tcp_enable_keepalive\": \"true\","
                       " \"envoy_gateway_remote_tcp_keepalive_time\": 30}";
    resources = xds_resources_build(snapshot);
    assert_int_equal(resources->types[XDS_CLUSTER].count, 3);
    expect(resources, XDS_CLUSTER, "web.default.dc1.internal.td1",
           "{'name': 'web.default.dc1.internal.td1', 'type': 'EDS', 'connect_timeout': '5s',"
           " 'eds_cluster_config': " EDS ", 'outlier_detection': {}}");
    expect(resources, XDS_CLUSTER, "backend.default.default.cluster-01.external.td2",
           "{'name': 'backend.default.default.cluster-01.external.td2', 'type': 'EDS',"
           " 'connect_timeout': '5s', 'eds_cluster_config': " EDS ", 'outlier_detection': {},"
           " 'upstream_connection_options': {'tcp_keepalive': {'keepalive_time': 30}}}");
    xds_resources_free(resources);
    fixture_free(snapshot);
}

static void test_an_upstream_that_can_not_be_verified_is_not_there(void **state)
{
    (void)state;
    struct proxy_snapshot *snapshot = fixture_web();
    struct upstream *upstreams = (struct upstream *)(uintptr_t)snapshot->upstreams;
    upstreams[0].cluster_name = NULL;
    upstreams[1].spiffe_count = 0;
    struct xds_resources *resources = xds_resources_build(snapshot);
    assert_int_equal(resources->types[XDS_CLUSTER].count, 1);
    assert_int_equal(resources->types[XDS_ENDPOINT].count, 0);
    assert_int_equal(resources->types[XDS_LISTENER].count, 1);
    xds_resources_free(resources);
    fixture_free(snapshot);
}

static void test_a_changed_intention_changes_the_route_alone(void **state)
{
    (void)state;
    static const struct intention_source denied = {"cluster-01", "", "", "web", false, 9};
    struct proxy_snapshot *snapshot = fixture_serving("web-api", "http");
    struct xds_resources *before = xds_resources_build(snapshot);
    fixture_intentions(snapshot, &denied, 1);
    struct xds_resources *after = xds_resources_build(snapshot);
    assert_string_not_equal(version(before, XDS_ROUTE, "public_listener"),
                            version(after, XDS_ROUTE, "public_listener"));
    assert_string_equal(version(before, XDS_LISTENER, "public_listener:127.12.0.12:21000"),
                        version(after, XDS_LISTENER, "public_listener:127.12.0.12:21000"));
    assert_true(holds(after, XDS_ROUTE, "public_listener", "'rules':{}"));
    xds_resources_free(before);
    xds_resources_free(after);
    fixture_free(snapshot);
}

static void test_without_intentions_the_default_holds(void **state)
{
    (void)state;
    struct proxy_snapshot *snapshot = fixture_serving("backend", "tcp");
    snapshot->intention_count = 0;
    struct xds_resources *resources = xds_resources_build(snapshot);
    const char *name = "public_listener:127.12.0.12:21000";
    assert_true(holds(resources, XDS_LISTENER, name, "'rules':{}"));
    xds_resources_free(resources);
    snapshot->default_allow = true;
    resources = xds_resources_build(snapshot);
    assert_true(holds(resources, XDS_LISTENER, name, "'rules':{'action':'DENY'}"));
    xds_resources_free(resources);
    fixture_free(snapshot);
}

#define CERT_OF(name)                                    \
    "{'authenticated':{'principal_name':{'safe_regex':{" \
    "'regex':'^spiffe://td2/ns/default/dc/[^/]+/svc/" name "$'}}}}"
#define NOT_CERT_OF(name) "{'not_id':" CERT_OF(name) "}"

static void test_the_first_matching_intention_decides(void **state)
{
    (void)state;
    /* by precedence: web.v2 and everybody but api may, and the last never comes into play */
    static const struct intention_source sources[] = {
        {"", "", "", "api", false, 9},       {"", "", "", "web.v2", true, 9},
        {"unknown", "", "", "web", true, 9}, {"", "", "", "*", true, 8},
        {"", "", "", "late", false, 6},
    };
    static const char all_but_api[] =
        "'principals':[" CERT_OF("web\\\\.v2") ",{'and_ids':{'ids':[" CERT_OF(
            "[^/]+") "," NOT_CERT_OF("api") "," NOT_CERT_OF("web\\\\.v2") "]}}]";
    static const char api_alone[] = "'principals':[" CERT_OF("api") "]";
    const char *name = "public_listener:127.12.0.12:21000";
    struct proxy_snapshot *snapshot = fixture_serving("backend", "tcp");
    fixture_intentions(snapshot, sources, 5);
    struct xds_resources *resources = xds_resources_build(snapshot);
    assert_true(holds(resources, XDS_LISTENER, name, all_but_api));
    xds_resources_free(resources);
    snapshot->default_allow = true; /* then only api is kept out */
    resources = xds_resources_build(snapshot);
    assert_true(holds(resources, XDS_LISTENER, name, api_alone));
    xds_resources_free(resources);
    fixture_free(snapshot);
}

static void test_the_callers_header_reaches_the_rules_but_not_a_grpc_service(void **state)
{
    (void)state;
    struct proxy_snapshot *snapshot = fixture_serving("web-api", "grpc");
    const char *name = "public_listener:127.12.0.12:21000";
    struct xds_resources *resources = xds_resources_build(snapshot);
    assert_true(holds(resources, XDS_LISTENER, name, "APPEND_FORWARD"));
    assert_true(holds(resources, XDS_LISTENER, name, "grpc_stats"));
    assert_true(holds(resources, XDS_LISTENER, name, "'alpn_protocols':['h2','http/1.1']"));
    assert_true(holds(resources, XDS_ROUTE, "public_listener",
                      "'request_headers_to_remove':['x-forwarded-client-cert']"));
    assert_true(holds(resources, XDS_CLUSTER, "local_app", "use_downstream_protocol_config"));
    xds_resources_free(resources);
    snapshot->inbound_bundle_count = 0; /* no peers: the header is not needed at all */
    resources = xds_resources_build(snapshot);
    assert_false(holds(resources, XDS_LISTENER, name, "APPEND_FORWARD"));
    assert_false(holds(resources, XDS_ROUTE, "public_listener", "request_headers_to_remove"));
    xds_resources_free(resources);
    fixture_free(snapshot);
}

static void test_a_peer_can_not_add_roots_to_our_trust_domain(void **state)
{
    (void)state;
    struct proxy_snapshot *snapshot = fixture_serving("backend", "tcp");
    const struct trust_bundle *impostor = fixture_bundle(snapshot, "evil", "td2", "EVIL\n");
    snapshot->inbound_bundles = &impostor;
    struct xds_resources *resources = xds_resources_build(snapshot);
    assert_false(holds(resources, XDS_LISTENER, "public_listener:127.12.0.12:21000", "EVIL"));
    assert_non_null(strstr(resources->problems, "evil"));
    xds_resources_free(resources);
    fixture_free(snapshot);
}

static void test_equal_input_gives_equal_bytes(void **state)
{
    (void)state;
    static const struct endpoint one = {"127.12.0.3", 8443, false, true, 1};
    static const struct endpoint two = {"127.12.0.4", 8443, false, false, 7};
    const struct endpoint there[] = {one, two}, back[] = {two, one, one};
    struct proxy_snapshot *snapshot = fixture_web();
    struct upstream *upstreams = (struct upstream *)(uintptr_t)snapshot->upstreams;
    upstreams[0].endpoints = (struct endpoint_list){2, there};
    struct xds_resources *first = xds_resources_build(snapshot);
    struct upstream swapped[] = {upstreams[1], upstreams[0]};
    swapped[1].endpoints = (struct endpoint_list){3, back};
    snapshot->upstreams = swapped;
    struct xds_resources *second = xds_resources_build(snapshot);
    for (int type = 0; type < XDS_TYPE_COUNT; type++) {
        assert_int_equal(first->types[type].count, second->types[type].count);
        for (size_t i = 0; i < first->types[type].count; i++) {
            assert_string_equal(first->types[type].items[i].name,
                                second->types[type].items[i].name);
            assert_string_equal(first->types[type].items[i].version,
                                second->types[type].items[i].version);
        }
    }
    xds_resources_free(first);
    xds_resources_free(second);
    fixture_free(snapshot);
}

static void test_names_are_resolved_by_envoy(void **state)
{
    (void)state;
    static const struct endpoint mixed[] = {{"10.0.0.1", 8443, false, true, 1},
                                            {"b.example", 8443, true, false, 1},
                                            {"c.example", 8443, true, true, 1}};
    const char *name = "backend.default.default.cluster-01.external.td2";
    struct proxy_snapshot *snapshot = fixture_gateway_dc1();
    struct gateway_import *imports = (struct gateway_import *)(uintptr_t)snapshot->imports;
    imports[0].endpoints = (struct endpoint_list){1, &mixed[2]};
    struct xds_resources *resources = xds_resources_build(snapshot);
    expect(resources, XDS_CLUSTER, name,
           "{'name': 'backend.default.default.cluster-01.external.td2', 'type': 'LOGICAL_DNS',"
           " 'connect_timeout': '5s', 'dns_refresh_rate': '10s', 'dns_lookup_family': 'V4_ONLY',"
           " 'outlier_detection': {}, 'load_assignment': {"
           "  'cluster_name': 'backend.default.default.cluster-01.external.td2',"
           "  'endpoints': [{'lb_endpoints': [{'endpoint': {'address': {'socket_address': {"
           "   'address': 'c.example', 'port_value': 8443}}}, 'health_status': 'HEALTHY',"
           "   'load_balancing_weight': 1}]}]}}");
    assert_null(fixture_find(resources, XDS_ENDPOINT, name));
    xds_resources_free(resources);
    /* Several: all of them, whether names or addresses. */
    imports[0].endpoints = (struct endpoint_list){3, mixed};
    static const char *const all[] = {"'type':'STRICT_DNS'", "b.example", "c.example", "10.0.0.1"};
    resources = xds_resources_build(snapshot);
    for (size_t i = 0; i < 4; i++)
        assert_true(holds(resources, XDS_CLUSTER, name, all[i]));
    xds_resources_free(resources);
    /* A word of the user's: that of LOGICAL_DNS leaves one, and a healthy one. */
    snapshot->config = "{\"Envoy_DNS_Discovery_Type\": \"LOGICAL_DNS\"}";
    resources = xds_resources_build(snapshot);
    assert_true(holds(resources, XDS_CLUSTER, name, "'type':'LOGICAL_DNS'"));
    assert_true(holds(resources, XDS_CLUSTER, name, "c.example"));
    assert_false(holds(resources, XDS_CLUSTER, name, "b.example"));
    xds_resources_free(resources);
    fixture_free(snapshot);
}

static void test_opaque_configuration_is_taken_weakly_and_errors_are_told(void **state)
{
    (void)state;
    struct proxy_snapshot *snapshot = fixture_serving("web-api", "http");
    snapshot->config =
        "{\"BIND_PORT\": \"22000\", \"bind_address\": \"::1\","
        " \"local_request_timeout_ms\": 1500, \"local_connect_timeout_ms\": \"soon\","
        " \"max_inbound_connections\": 7.0, \"xds_fetch_timeout_ms\": 0,"
        " \"balance_inbound_connections\": \"exact_balance\","
        " \"envoy_local_cluster_json\": \"{}\", \"envoy_stats_tags\": [1]}";
    const char *name = "public_listener:::1:22000";
    struct xds_resources *resources = xds_resources_build(snapshot);
    assert_true(holds(resources, XDS_LISTENER, name, "'address':'::1','port_value':22000"));
    assert_true(holds(resources, XDS_LISTENER, name, "'initial_fetch_timeout':'0s'"));
    assert_true(holds(resources, XDS_LISTENER, name, "'exact_balance':{}"));
    assert_true(holds(resources, XDS_LISTENER, name, "'max_connections':7"));
    assert_true(holds(resources, XDS_ROUTE, "public_listener", "'timeout':'1.5s'"));
    assert_true(holds(resources, XDS_CLUSTER, "local_app", "'connect_timeout':'5s'"));
    assert_true(holds(resources, XDS_CLUSTER, "local_app",
                      "'circuit_breakers':{'thresholds':[{'max_connections':7}]}"));
    assert_non_null(strstr(resources->problems, "local_connect_timeout_ms"));
    assert_non_null(strstr(resources->problems, "envoy_local_cluster_json"));
    assert_null(strstr(resources->problems, "envoy_stats_tags"));
    xds_resources_free(resources);
    snapshot->config = "[not json";
    resources = xds_resources_build(snapshot);
    assert_non_null(resources->problems);
    assert_non_null(fixture_find(resources, XDS_LISTENER, "public_listener:127.12.0.12:21000"));
    xds_resources_free(resources);
    fixture_free(snapshot);
}

static void test_an_upstreams_own_configuration_counts(void **state)
{
    (void)state;
    struct proxy_snapshot *snapshot = fixture_web();
    Pb__Upstream *definition = (Pb__Upstream *)(uintptr_t)snapshot->upstreams[0].definition;
    char config[] = "{\"connect_timeout_ms\": 250, \"limits\": {\"max_connections\": \"3\"},"
                    " \"passive_health_check\": {\"interval\": \"2s\", \"max_failures\": 4,"
                    " \"enforcing_consecutive_5xx\": 0, \"max_ejection_percent\": 100}}";
    const char *name = "backend.default.cluster-02.external.td2";
    definition->config = config;
    struct xds_resources *resources = xds_resources_build(snapshot);
    assert_null(resources->problems);
    assert_true(holds(resources, XDS_CLUSTER, name, "'connect_timeout':'0.25s'"));
    assert_true(holds(resources, XDS_CLUSTER, name, "'thresholds':[{'max_connections':3}]"));
    assert_true(holds(resources, XDS_CLUSTER, name,
                      "'outlier_detection':{'consecutive_5xx':4,'enforcing_consecutive_5xx':0,"
                      "'interval':'2s','max_ejection_percent':99}"));
    xds_resources_free(resources);
    fixture_free(snapshot);
}

static void test_an_upstream_in_the_own_cluster_is_dialled_directly(void **state)
{
    (void)state;
    struct proxy_snapshot *snapshot = fixture_web();
    struct upstream *local = (struct upstream *)(uintptr_t)snapshot->upstreams;
    Pb__Upstream *definition = (Pb__Upstream *)(uintptr_t)local->definition;
    definition->destination_peer = (char *)(uintptr_t) "";
    definition->local_bind_address = (char *)(uintptr_t) "::1";
    definition->local_bind_port = 5001;
    local->id = "backend";
    local->cluster_name = local->sni = "backend.default.dc1.internal.td1";
    local->protocol = "http2";
    snapshot->upstream_count = 1;
    struct xds_resources *resources = xds_resources_build(snapshot);
    const char *cluster = "backend.default.dc1.internal.td1", *listener = "backend:::1:5001";
    assert_true(holds(resources, XDS_CLUSTER, cluster, "'alt_stat_name':'backend.default.dc1"));
    assert_true(holds(resources, XDS_CLUSTER, cluster, "'outlier_detection':{}"));
    assert_true(holds(resources, XDS_CLUSTER, cluster, "'http2_protocol_options':{}"));
    assert_true(holds(resources, XDS_LISTENER, listener,
                      "'stat_prefix':'upstream.backend.default.default.dc1'"));
    assert_true(holds(resources, XDS_LISTENER, listener, "'http2_protocol_options':{}"));
    xds_resources_free(resources);
    definition->local_bind_socket_path = (char *)(uintptr_t) "/run/backend.sock";
    definition->local_bind_socket_mode = (char *)(uintptr_t) "0640";
    resources = xds_resources_build(snapshot);
    assert_true(holds(resources, XDS_LISTENER, "backend:/run/backend.sock",
                      "'pipe':{'mode':416,'path':'/run/backend.sock'}"));
    xds_resources_free(resources);
    fixture_free(snapshot);
}

static void test_the_mesh_entry_sets_tls_and_hides_the_callers_header(void **state)
{
    (void)state;
    struct proxy_snapshot *snapshot = fixture_serving("web-api", "http");
    Pb__MeshEntry *mesh = proto_new(snapshot->arena, pb__mesh_entry);
    mesh->http = proto_new(snapshot->arena, pb__mesh_http);
    mesh->http->sanitize_x_forwarded_client_cert = true;
    mesh->tls = proto_new(snapshot->arena, pb__mesh_tls);
    mesh->tls->incoming = proto_new(snapshot->arena, pb__mesh_directional_tls);
    mesh->tls->incoming->tls_min_version = (char *)(uintptr_t) "TLSv1_3";
    mesh->tls->incoming->tls_max_version = (char *)(uintptr_t) "TLSv9";
    snapshot->mesh = mesh;
    struct xds_resources *resources = xds_resources_build(snapshot);
    assert_true(holds(resources, XDS_LISTENER, "public_listener:127.12.0.12:21000",
                      "'tls_params':{'tls_minimum_protocol_version':'TLSv1_3'}"));
    assert_true(holds(resources, XDS_ROUTE, "public_listener",
                      "'request_headers_to_remove':['x-forwarded-client-cert']"));
    assert_non_null(strstr(resources->problems, "TLSv9"));
    xds_resources_free(resources);
    fixture_free(snapshot);
}

#define WORD(text) ((char *)(uintptr_t)(text))

static Pb__MeshEntry *mesh_with_normalization(struct proxy_snapshot *snapshot)
{
    Pb__MeshEntry *mesh = proto_new(snapshot->arena, pb__mesh_entry);
    mesh->http = proto_new(snapshot->arena, pb__mesh_http);
    mesh->http->incoming = proto_new(snapshot->arena, pb__mesh_directional_http);
    mesh->http->incoming->request_normalization =
        proto_new(snapshot->arena, pb__mesh_request_normalization);
    snapshot->mesh = mesh;
    return mesh;
}

static void test_the_mesh_entry_normalises_requests_and_names_ciphers(void **state)
{
    (void)state;
    static char *suites[] = {WORD("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256")};
    struct proxy_snapshot *snapshot = fixture_serving("web-api", "http");
    Pb__MeshEntry *mesh = mesh_with_normalization(snapshot);
    Pb__MeshRequestNormalization *wanted = mesh->http->incoming->request_normalization;
    wanted->insecure_disable_path_normalization = wanted->merge_slashes = true;
    wanted->path_with_escaped_slashes_action = WORD("UNESCAPE_AND_FORWARD");
    wanted->headers_with_underscores_action = WORD("DROP_HEADER");
    mesh->validate_clusters = true;
    mesh->tls = proto_new(snapshot->arena, pb__mesh_tls);
    mesh->tls->incoming = proto_new(snapshot->arena, pb__mesh_directional_tls);
    mesh->tls->incoming->n_cipher_suites = 1;
    mesh->tls->incoming->cipher_suites = suites;
    struct xds_resources *resources = xds_resources_build(snapshot);
    static const char name[] = "public_listener:127.12.0.12:21000";
    assert_false(holds(resources, XDS_LISTENER, name, "'normalize_path'"));
    assert_true(holds(resources, XDS_LISTENER, name, "'merge_slashes':true"));
    assert_true(holds(resources, XDS_LISTENER, name,
                      "'path_with_escaped_slashes_action':'UNESCAPE_AND_FORWARD'"));
    assert_true(holds(resources, XDS_LISTENER, name,
                      "'common_http_protocol_options':{'headers_with_underscores_action':"
                      "'DROP_HEADER'}"));
    assert_true(
        holds(resources, XDS_LISTENER, name, "'cipher_suites':['ECDHE-RSA-AES128-GCM-SHA256']"));
    assert_true(holds(resources, XDS_ROUTE, "public_listener", "'validate_clusters':true"));
    xds_resources_free(resources);
    fixture_free(snapshot);
}

static void test_access_logs_are_on_listeners_and_filters(void **state)
{
    (void)state;
    static const char name[] = "backend?peer=cluster-02:127.11.0.11:5001";
    struct proxy_snapshot *snapshot = fixture_web();
    Pb__AccessLogsConfig *logs = proto_new(snapshot->arena, pb__access_logs_config);
    snapshot->access_logs = logs;
    struct xds_resources *resources = xds_resources_build(snapshot);
    assert_false(holds(resources, XDS_LISTENER, name, "access_log"));
    xds_resources_free(resources);

    logs->enabled = true;
    logs->type = WORD("file");
    logs->path = WORD("/log");
    logs->text_format = WORD("%PROTOCOL%");
    resources = xds_resources_build(snapshot);
    assert_true(holds(resources, XDS_LISTENER, name,
                      "'access_log':[{'filter':{'response_flag_filter':{'flags':['NR']}},"
                      "'name':'Consul Listener Log','typed_config':{'@type':'type.googleapis.com/"
                      "envoy.extensions.access_loggers.file.v3.FileAccessLog','log_format':{"
                      "'text_format_source':{'inline_string':'%PROTOCOL%\\n'}},'path':'/log'}}]"));
    assert_true(holds(resources, XDS_LISTENER, name,
                      "'access_log':[{'name':'Consul Listener Filter Log','typed_config'"));
    assert_true(holds(resources, XDS_LISTENER, "web-api?peer=cluster-02:127.11.0.11:5002",
                      "'access_log':[{'name':'Consul Listener Filter Log','typed_config'"));
    xds_resources_free(resources);

    logs->disable_listener_logs = true;
    logs->type = logs->path = logs->text_format = WORD("");
    logs->json_format = WORD("{\"a\":{\"b\":[\"%PROTOCOL%\"]}}");
    resources = xds_resources_build(snapshot);
    assert_false(holds(resources, XDS_LISTENER, name, "Consul Listener Log"));
    assert_true(holds(resources, XDS_LISTENER, name, "stream.v3.StdoutAccessLog"));
    xds_resources_free(resources);
    fixture_free(snapshot);
}

static void test_exposed_paths_are_open_and_nothing_else(void **state)
{
    (void)state;
    struct proxy_snapshot *snapshot = fixture_serving("web-api", "http");
    Pb__ConnectProxyConfig *proxy = ((Pb__NodeService *)(uintptr_t)snapshot->registration)->proxy;
    Pb__ExposePath health = PB__EXPOSE_PATH__INIT, broken = PB__EXPOSE_PATH__INIT;
    Pb__ExposePath again = PB__EXPOSE_PATH__INIT;
    Pb__ExposePath *paths[] = {&health, &broken, &again};
    health.path = WORD("/healthz-1");
    health.listener_port = 8081;
    health.local_path_port = 9100;
    health.protocol = WORD("http2");
    broken.path = WORD("/broken");
    broken.listener_port = 70000;
    again = health;
    again.path = WORD("/again");
    proxy->expose = proto_new(snapshot->arena, pb__expose_config);
    proxy->expose->checks = true;
    proxy->expose->n_paths = 3;
    proxy->expose->paths = paths;
    struct xds_resources *resources = xds_resources_build(snapshot);
    static const char name[] = "exposed_path_healthz1:127.12.0.12:8081";
    assert_int_equal(resources->types[XDS_LISTENER].count, 2);
    assert_true(holds(resources, XDS_LISTENER, name, "'match':{'path':'/healthz-1'}"));
    assert_true(holds(resources, XDS_LISTENER, name, "'cluster':'exposed_cluster_9100'"));
    assert_false(holds(resources, XDS_LISTENER, name, "transport_socket"));
    assert_true(holds(resources, XDS_CLUSTER, "exposed_cluster_9100", "'port_value':9100"));
    assert_true(holds(resources, XDS_CLUSTER, "exposed_cluster_9100", "http2_protocol_options"));
    assert_non_null(strstr(resources->problems, "/broken"));
    assert_non_null(strstr(resources->problems, "/again gets no listener"));
    assert_non_null(strstr(resources->problems, "Expose.Checks"));
    xds_resources_free(resources);
    fixture_free(snapshot);
}

static void test_a_gateways_limits_hold_for_local_services(void **state)
{
    (void)state;
    struct proxy_snapshot *snapshot = fixture_gateway_dc2();
    Pb__UpstreamLimits *limits = proto_new(snapshot->arena, pb__upstream_limits);
    limits->max_connections = 7;
    snapshot->gateway_limits = limits;
    struct xds_resources *resources = xds_resources_build(snapshot);
    assert_true(holds(resources, XDS_CLUSTER, "backend.default.dc2.internal.td2",
                      "'circuit_breakers':{'thresholds':[{'max_connections':7}]}"));
    xds_resources_free(resources);
    fixture_free(snapshot);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_peered_upstream_is_dialled_at_the_peers_gateway),
        cmocka_unit_test(test_an_http_service_lets_peers_in_by_its_route),
        cmocka_unit_test(test_a_tcp_service_sees_the_peers_own_certificate),
        cmocka_unit_test(test_the_exporting_gateway_terminates_http_and_passes_tcp),
        cmocka_unit_test(test_the_importing_gateway_forwards_by_sni),
        cmocka_unit_test(test_an_upstream_that_can_not_be_verified_is_not_there),
        cmocka_unit_test(test_a_changed_intention_changes_the_route_alone),
        cmocka_unit_test(test_without_intentions_the_default_holds),
        cmocka_unit_test(test_the_first_matching_intention_decides),
        cmocka_unit_test(test_the_callers_header_reaches_the_rules_but_not_a_grpc_service),
        cmocka_unit_test(test_a_peer_can_not_add_roots_to_our_trust_domain),
        cmocka_unit_test(test_equal_input_gives_equal_bytes),
        cmocka_unit_test(test_names_are_resolved_by_envoy),
        cmocka_unit_test(test_opaque_configuration_is_taken_weakly_and_errors_are_told),
        cmocka_unit_test(test_an_upstreams_own_configuration_counts),
        cmocka_unit_test(test_an_upstream_in_the_own_cluster_is_dialled_directly),
        cmocka_unit_test(test_the_mesh_entry_sets_tls_and_hides_the_callers_header),
        cmocka_unit_test(test_the_mesh_entry_normalises_requests_and_names_ciphers),
        cmocka_unit_test(test_access_logs_are_on_listeners_and_filters),
        cmocka_unit_test(test_exposed_paths_are_open_and_nothing_else),
        cmocka_unit_test(test_a_gateways_limits_hold_for_local_services),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
