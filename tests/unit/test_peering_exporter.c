/* What a peer is sent of us: complete, in the shape a real Consul imports, and no more often than
 * it changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store_fixture.h"

#include "ca/authority.h"
#include "peering/exporter.h"
#include "peering_support.h"

#define TD "d2c65ff3-631b-fa14-d970-3bd090918d0d.consul"

struct outbox {
    struct fixture *fixture;
    struct exporter *exporter;
    struct arena *arena;
    struct text_list order; /* "SVC web", … of all that was published */
    const void *last[RESOURCE_COUNT];
    bool congested;
};

static void on_publish(void *arg, enum resource resource, const char *id,
                       const ProtobufCMessage *payload)
{
    static const char *const names[] = {"SVC", "LIST", "ROOTS", "ADDRS"};
    struct outbox *outbox = arg;
    const Ps__ExportedService *service = (const void *)payload;
    char *line = resource == RESOURCE_SERVICE ? mem_printf("SVC %s %zu", id, service->n_nodes)
                                              : mem_strdup(names[resource]);
    text_list_add(&outbox->order, line);
    free(line);
    outbox->last[resource] = proto_copy(payload, outbox->arena);
}

static void on_forget(void *arg, enum resource resource, const char *id)
{
    (void)resource;
    struct outbox *outbox = arg;
    char *line = mem_printf("forget %s", id);
    text_list_add(&outbox->order, line);
    free(line);
}

static bool has_room(void *arg)
{
    return !((struct outbox *)arg)->congested;
}

static const char *server_address(void *arg)
{
    (void)arg;
    return "127.0.0.1:8503";
}

static struct outbox *setup_export(void)
{
    static const struct exporter_handler handler = {on_publish, on_forget, has_room};
    struct outbox *outbox = mem_zalloc(sizeof *outbox);
    outbox->fixture = fixture_new();
    outbox->arena = arena_new();
    struct exporter_config config = {
        .store = outbox->fixture->store,
        .scope = {.peer_name = PEER, .partition = "", .datacenter = "dc1", .trust_domain = TD},
        .server_address = server_address,
    };
    outbox->exporter = exporter_new(&config, &handler, outbox);
    return outbox;
}

static void teardown_export(struct outbox *outbox)
{
    exporter_free(outbox->exporter);
    text_list_free(&outbox->order);
    arena_free(outbox->arena);
    fixture_free(outbox->fixture);
    free(outbox);
}

static bool has_lines(struct fixture *fixture, void *arg)
{
    (void)fixture;
    return ((struct outbox *)arg)->order.count > 0;
}

/* What was published since the last look, once there is something. */
static void expect_published(struct outbox *outbox, const char *text)
{
    fixture_wait_for(outbox->fixture, has_lines, outbox);
    char *joined = text_list_join(&outbox->order, "; ");
    assert_string_equal(joined, text);
    free(joined);
    text_list_free(&outbox->order);
}

static void add(struct outbox *outbox, Pb__CheckServiceNode *instance)
{
    fixture_commit(outbox->fixture, register_instance, instance);
    assert_string_equal(outbox->fixture->error.message, "");
}

static void export(struct outbox *outbox, const char *const *names)
{
    fixture_put(outbox->fixture, TABLE_EXPORTED_SERVICES, make_exports(outbox->arena, PEER, names));
}

static Pb__CheckServiceNode *make_gateway(struct arena *arena, const char *id)
{
    Pb__CheckServiceNode *gateway = make_instance(arena, "gw-node", "mesh-gateway", id);
    gateway->service->kind = "mesh-gateway";
    gateway->service->address = "127.2.0.2";
    gateway->service->port = 8443;
    gateway->service->n_tagged_addresses = 1;
    gateway->service->tagged_addresses = proto_array(arena, 1);
    Pb__NodeService__TaggedAddressesEntry *wan =
        proto_new(arena, pb__node_service__tagged_addresses_entry);
    wan->key = "wan";
    wan->value = proto_new(arena, pb__service_address);
    wan->value->address = "203.0.113.7";
    wan->value->port = 443;
    gateway->service->tagged_addresses[0] = wan;
    return gateway;
}

static void test_nothing_is_exported_but_an_empty_list(void **state)
{
    (void)state;
    struct outbox *outbox = setup_export();
    exporter_start(outbox->exporter, RESOURCE_SERVICE);
    expect_published(outbox, "LIST");
    add(outbox, make_instance(outbox->arena, "n1", "web", "web-1"));
    export(outbox, (const char *const[]){"web", NULL});
    expect_published(outbox, "LIST; SVC web 1");
    teardown_export(outbox);
}

static void test_the_full_state_of_a_mixed_catalog(void **state)
{
    (void)state;
    struct outbox *outbox = setup_export();
    struct arena *arena = outbox->arena;
    Pb__CheckServiceNode *proxy = make_instance(arena, "n1", "web-sidecar-proxy", "web-proxy");
    make_proxy(arena, proxy, "web");
    add(outbox, make_instance(arena, "n1", "web", "web-1"));
    add(outbox, make_instance(arena, "n2", "web", "web-2"));
    add(outbox, proxy);
    add(outbox, make_instance(arena, "n1", "plain", "plain-1"));
    add(outbox, make_gateway(arena, "gw-1"));
    export(outbox, (const char *const[]){"web", "plain", "ghost", NULL});
    exporter_start(outbox->exporter, RESOURCE_SERVICE);
    expect_published(outbox, "LIST; SVC ghost 0; SVC plain 1; SVC web-sidecar-proxy 1; SVC web 2");
    const Ps__ExportedServiceList *list = outbox->last[RESOURCE_LIST];
    assert_int_equal(list->n_services, 3);
    assert_string_equal(list->services[0], "ghost");
    assert_string_equal(exporter_services(outbox->exporter)->items[2], "web");
    teardown_export(outbox);
}

static void test_a_proxy_stands_for_each_gateway(void **state)
{
    (void)state;
    struct outbox *outbox = setup_export();
    struct arena *arena = outbox->arena;
    Pb__CheckServiceNode *proxy = make_instance(arena, "n1", "web-sidecar-proxy", "web-proxy");
    make_proxy(arena, proxy, "web");
    add(outbox, proxy);
    add(outbox, make_gateway(arena, "gw-1"));
    export(outbox, (const char *const[]){"web", NULL});
    exporter_start(outbox->exporter, RESOURCE_SERVICE);
    expect_published(outbox, "LIST; SVC web-sidecar-proxy 1; SVC web 0");
    add(outbox, make_gateway(arena, "gw-2"));
    expect_published(outbox, "SVC web-sidecar-proxy 2");
    const Ps__ExportedService *sent = outbox->last[RESOURCE_SERVICE];
    const Pb__NodeService *service = sent->nodes[1]->service;
    assert_string_equal(sent->nodes[1]->node->node, "gw-node");
    assert_string_equal(service->kind, "connect-proxy");
    assert_string_equal(service->service, "web-sidecar-proxy");
    assert_string_equal(service->id, "web-sidecar-proxy-instance-1");
    assert_string_equal(service->proxy->destination_service_name, "web");
    assert_string_equal(service->proxy->destination_service_id, "web-instance-1");
    assert_string_equal(service->address, "127.2.0.2");
    assert_string_equal(service->tagged_addresses[0]->value->address, "203.0.113.7");
    const Pb__PeeringServiceMeta *meta = service->connect->peer_meta;
    assert_int_equal(meta->n_sni, 1);
    assert_string_equal(meta->sni[0], "web.default.default." PEER ".external." TD);
    assert_int_equal(meta->n_spiffe_id, 2);
    assert_string_equal(meta->spiffe_id[0], "spiffe://" TD "/ns/default/dc/dc1/svc/web");
    assert_string_equal(meta->spiffe_id[1], "spiffe://" TD "/gateway/mesh/dc/dc1");
    assert_string_equal(meta->protocol, "tcp");
    assert_int_equal(meta->instances->total, 1);
    assert_int_equal(meta->instances->healthy, 1);
    assert_int_equal(sent->nodes[1]->n_checks, 1);
    const Pb__HealthCheck *check = sent->nodes[1]->checks[0];
    assert_string_equal(check->check_id, "web-sidecar-proxy-instance-1:overall-check");
    assert_string_equal(check->service_name, "web-sidecar-proxy");
    assert_string_equal(check->status, "passing");
    teardown_export(outbox);
}

static void test_a_proxy_follows_the_protocol_and_the_sidecar(void **state)
{
    (void)state;
    struct outbox *outbox = setup_export();
    struct arena *arena = outbox->arena;
    Pb__CheckServiceNode *proxy = make_instance(arena, "n1", "web-sidecar-proxy", "web-proxy");
    make_proxy(arena, proxy, "web");
    add(outbox, make_gateway(arena, "gw-1"));
    export(outbox, (const char *const[]){"web", NULL});
    exporter_start(outbox->exporter, RESOURCE_SERVICE);
    expect_published(outbox, "LIST; SVC web 0");
    add(outbox, proxy);
    expect_published(outbox, "SVC web-sidecar-proxy 1");
    Pb__ServiceDefaultsEntry defaults = PB__SERVICE_DEFAULTS_ENTRY__INIT;
    defaults.kind = "service-defaults";
    defaults.name = "web";
    defaults.protocol = "http";
    fixture_put(outbox->fixture, TABLE_SERVICE_DEFAULTS, &defaults);
    expect_published(outbox, "SVC web-sidecar-proxy 1");
    const Ps__ExportedService *sent = outbox->last[RESOURCE_SERVICE];
    assert_string_equal(sent->nodes[0]->service->connect->peer_meta->protocol, "http");
    fixture_commit(outbox->fixture, deregister_instance, proxy);
    expect_published(outbox, "SVC web-sidecar-proxy 0");
    teardown_export(outbox);
}

static void test_unexport_empties_the_proxy_and_shortens_the_list(void **state)
{
    (void)state;
    struct outbox *outbox = setup_export();
    struct arena *arena = outbox->arena;
    Pb__CheckServiceNode *proxy = make_instance(arena, "n1", "web-sidecar-proxy", "web-proxy");
    make_proxy(arena, proxy, "web");
    add(outbox, make_instance(arena, "n1", "web", "web-1"));
    add(outbox, proxy);
    add(outbox, make_gateway(arena, "gw-1"));
    export(outbox, (const char *const[]){"web", NULL});
    exporter_start(outbox->exporter, RESOURCE_SERVICE);
    expect_published(outbox, "LIST; SVC web-sidecar-proxy 1; SVC web 1");
    export(outbox, (const char *const[]){NULL});
    expect_published(outbox, "SVC web-sidecar-proxy 0; forget web; forget web-sidecar-proxy; LIST");
    export(outbox, (const char *const[]){"web", NULL});
    expect_published(outbox, "LIST; SVC web-sidecar-proxy 1; SVC web 1");
    teardown_export(outbox);
}

static void test_one_change_among_many_costs_one_service(void **state)
{
    (void)state;
    struct outbox *outbox = setup_export();
    struct arena *arena = outbox->arena;
    const char *names[41] = {NULL};
    for (size_t i = 0; i < 40; i++) {
        names[i] = arena_printf(arena, "svc-%02zu", i);
        add(outbox, make_instance(arena, "n1", names[i], names[i]));
    }
    export(outbox, names);
    exporter_start(outbox->exporter, RESOURCE_SERVICE);
    text_list_free(&outbox->order);
    Pb__CheckServiceNode *changed = make_instance(arena, "n1", "svc-07", "svc-07");
    changed->checks[0]->status = "warning";
    add(outbox, changed);
    expect_published(outbox, "SVC svc-07 1");
    teardown_export(outbox);
}

static void test_congestion_sends_the_newest_state_only(void **state)
{
    (void)state;
    struct outbox *outbox = setup_export();
    struct arena *arena = outbox->arena;
    export(outbox, (const char *const[]){"web", NULL});
    exporter_start(outbox->exporter, RESOURCE_SERVICE);
    expect_published(outbox, "LIST; SVC web 0");
    outbox->congested = true;
    for (size_t i = 0; i < 5; i++)
        add(outbox, make_instance(arena, "n1", "web", arena_printf(arena, "web-%zu", i)));
    assert_int_equal(outbox->order.count, 0);
    outbox->congested = false;
    exporter_resume(outbox->exporter);
    expect_published(outbox, "SVC web 5");
    teardown_export(outbox);
}

static void test_checks_are_flattened_to_the_worst(void **state)
{
    (void)state;
    struct outbox *outbox = setup_export();
    struct arena *arena = outbox->arena;
    Pb__CheckServiceNode *web = make_instance(arena, "n1", "web", "web-1");
    add(outbox, web);
    export(outbox, (const char *const[]){"web", NULL});
    exporter_start(outbox->exporter, RESOURCE_SERVICE);
    Pb__HealthCheck more = PB__HEALTH_CHECK__INIT, *checks[] = {&more};
    more.check_id = "disk";
    more.status = "warning";
    web->checks = checks; /* node level, on top of the passing one */
    add(outbox, web);
    const Ps__ExportedService *sent = outbox->last[RESOURCE_SERVICE];
    assert_int_equal(sent->nodes[0]->n_checks, 1);
    assert_string_equal(sent->nodes[0]->checks[0]->check_id, "web-1:overall-check");
    assert_string_equal(sent->nodes[0]->checks[0]->status, "warning");
    more.check_id = "_node_maintenance";
    more.status = "critical";
    add(outbox, web);
    sent = outbox->last[RESOURCE_SERVICE];
    assert_string_equal(sent->nodes[0]->checks[0]->status, "maintenance");
    teardown_export(outbox);
}

static void test_addresses_follow_the_mode(void **state)
{
    (void)state;
    struct outbox *outbox = setup_export();
    exporter_start(outbox->exporter, RESOURCE_ADDRESSES);
    expect_published(outbox, "ADDRS");
    const Pb__PeeringServerAddresses *sent = outbox->last[RESOURCE_ADDRESSES];
    assert_string_equal(sent->addresses[0], "127.0.0.1:8503");
    add(outbox, make_gateway(outbox->arena, "gw-1"));
    Pb__MeshPeering peering = PB__MESH_PEERING__INIT;
    peering.peer_through_mesh_gateways = true;
    Pb__MeshEntry mesh = PB__MESH_ENTRY__INIT;
    mesh.kind = "mesh";
    mesh.name = "mesh";
    mesh.peering = &peering;
    fixture_put(outbox->fixture, TABLE_MESH, &mesh);
    expect_published(outbox, "ADDRS");
    sent = outbox->last[RESOURCE_ADDRESSES];
    assert_int_equal(sent->n_addresses, 1);
    assert_string_equal(sent->addresses[0], "203.0.113.7:443");
    teardown_export(outbox);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_exported_but_an_empty_list),
        cmocka_unit_test(test_the_full_state_of_a_mixed_catalog),
        cmocka_unit_test(test_a_proxy_stands_for_each_gateway),
        cmocka_unit_test(test_a_proxy_follows_the_protocol_and_the_sidecar),
        cmocka_unit_test(test_unexport_empties_the_proxy_and_shortens_the_list),
        cmocka_unit_test(test_one_change_among_many_costs_one_service),
        cmocka_unit_test(test_congestion_sends_the_newest_state_only),
        cmocka_unit_test(test_checks_are_flattened_to_the_worst),
        cmocka_unit_test(test_addresses_follow_the_mode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
