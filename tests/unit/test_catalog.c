/* The catalog: what is filled in, what goes when something goes, and where an instance is reached.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "catalog/catalog.h"
#include "proto/proto.h"
#include "store/engine.h"

#define NODE_ID "11067155-9fee-d3c1-c6b2-36b3a9051ab3"
#define OTHER_ID "c5777903-ef68-55d0-80d8-e7ad358fd613"

static struct loop *loop;
static struct store *store;
static struct arena *arena;
static struct error refused; /* of the last change */

static void on_ready(void *arg, const struct error *error)
{
    (void)arg;
    assert_null(error);
}

static int setup(void **state)
{
    (void)state;
    loop = loop_new();
    arena = arena_new();
    store = store_new(loop, engine_memory_new(loop), on_ready, NULL);
    loop_run(loop);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    store_free(store);
    loop_free(loop);
    arena_free(arena);
    return 0;
}

/* ---- changes, run to their end ---- */

struct change {
    const Pb__Node *node;
    const Pb__NodeService *service;
    const Pb__HealthCheck *check;
    const char *delete_node, *delete_service; /* the service on that node; or all of the node */
    const char *peer;
};

static bool change_fn(struct txn *txn, void *arg, struct error *error)
{
    const struct change *change = arg;
    struct tenancy tenancy = {.peer = change->peer};
    if (change->node != NULL && !catalog_put_node(txn, change->node, error))
        return false;
    if (change->service != NULL && !catalog_put_service(txn, change->service, error))
        return false;
    if (change->check != NULL && !catalog_put_check(txn, change->check, error))
        return false;
    if (change->delete_service != NULL)
        catalog_delete_service(txn, &tenancy, change->delete_node, change->delete_service);
    else if (change->delete_node != NULL)
        catalog_delete_node(txn, &tenancy, change->delete_node);
    return true;
}

static void change_done(void *arg, const struct error *error, uint64_t index)
{
    (void)arg, (void)index;
    refused = error == NULL ? (struct error){0} : *error;
}

static void run(struct change change)
{
    store_commit(store, change_fn, change_done, &change);
    loop_run(loop);
}

static void run_well(struct change change)
{
    run(change);
    assert_string_equal(refused.message, "");
}

static void run_refused(struct change change, const char *words)
{
    run(change);
    if (strstr(refused.message, words) == NULL)
        fail_msg("`%s` is not in `%s`", words, refused.message);
}

static Pb__Node *node(const char *name)
{
    Pb__Node *made = proto_new(arena, pb__node);
    made->node = arena_strdup(arena, name);
    made->address = (char *)"10.0.0.1";
    return made;
}

static Pb__NodeService *service(const char *id, const char *name)
{
    Pb__NodeService *made = proto_new(arena, pb__node_service);
    made->node = (char *)"n1";
    made->id = arena_strdup(arena, id);
    made->service = arena_strdup(arena, name);
    made->port = 8080;
    return made;
}

static Pb__NodeService *proxy(const char *id, const char *destination)
{
    Pb__NodeService *made = service(id, arena_printf(arena, "%s-sidecar-proxy", destination));
    made->kind = (char *)"connect-proxy";
    made->port = 21000;
    made->proxy = proto_new(arena, pb__connect_proxy_config);
    made->proxy->destination_service_name = arena_strdup(arena, destination);
    return made;
}

static Pb__HealthCheck *check(const char *id, const char *service_id, const char *status)
{
    Pb__HealthCheck *made = proto_new(arena, pb__health_check);
    made->node = (char *)"n1";
    made->check_id = arena_strdup(arena, id);
    made->service_id = arena_strdup(arena, service_id);
    made->status = arena_strdup(arena, status);
    return made;
}

/* ---- looking ---- */

static struct catalog_instances instances(const char *name, const char *peer, bool connect)
{
    struct tenancy tenancy = {.peer = peer};
    struct view *view = view_new(store);
    struct catalog_instances found = connect
                                         ? catalog_connect_instances(view, &tenancy, name, arena)
                                         : catalog_service_instances(view, &tenancy, name, arena);
    view_free(view); /* the records stay as long as nothing is written */
    return found;
}

static const Pb__NodeService *only(struct catalog_instances found)
{
    assert_int_equal(found.count, 1);
    return found.items[0].service->message;
}

static const char *tag(const Pb__NodeService *made, const char *name)
{
    for (size_t i = 0; i < made->n_tagged_addresses; i++) {
        const Pb__ServiceAddress *value = made->tagged_addresses[i]->value;
        if (strcmp(made->tagged_addresses[i]->key, name) == 0)
            return arena_printf(arena, "%s:%d", value->address, value->port);
    }
    return "";
}

static size_t count(enum table table, const char *peer)
{
    struct tenancy tenancy = {.peer = peer};
    struct buffer key = {0};
    size_t found;
    struct view *view = view_new(store);
    view_list(view, table, BY_TENANCY, key_all(&key, &tenancy), &found);
    view_free(view);
    buffer_free(&key);
    return found;
}

/* ---- tests ---- */

static void test_what_is_filled_in(void **state)
{
    (void)state;
    Pb__NodeService *web = service("web-1", "web");
    char *tags[] = {(char *)"v1"};
    web->tags = tags;
    web->n_tags = 1;
    web->address = (char *)"127.2.0.4";
    web->registered_by_agent = true;
    run_well((struct change){node("n1"), web, check("c", "web-1", "")});
    const Pb__NodeService *stored = only(instances("WEB", NULL, false));
    assert_int_equal(stored->weights->passing, 1);
    assert_int_equal(stored->weights->warning, 1);
    assert_string_equal(tag(stored, "lan_ipv4"), "127.2.0.4:8080");
    assert_string_equal(tag(stored, "wan_ipv4"), "127.2.0.4:8080");
    assert_string_equal(tag(stored, "consul-virtual"), ""); /* nothing of the mesh */
    const Pb__HealthCheck *its = instances("web", NULL, false).items[0].checks[0]->message;
    assert_string_equal(its->service_name, "web");
    assert_string_equal(its->service_tags[0], "v1");
    assert_string_equal(its->status, "critical");
}

static void test_families_of_addresses(void **state)
{
    (void)state;
    Pb__NodeService *v6 = service("a", "a"), *name = service("b", "b"), *bare = service("c", "c");
    v6->address = (char *)"::1";
    name->address = (char *)"db.internal";
    v6->registered_by_agent = name->registered_by_agent = true;
    bare->address = (char *)"10.0.0.9";
    run_well((struct change){node("n1"), v6});
    run_well((struct change){.service = name});
    run_well((struct change){.service = bare});
    assert_string_equal(tag(only(instances("a", NULL, false)), "lan_ipv6"), "::1:8080");
    assert_int_equal(only(instances("b", NULL, false))->n_tagged_addresses, 0);
    assert_int_equal(only(instances("c", NULL, false))->n_tagged_addresses, 0); /* no agent's */
}

static void test_a_service_that_moves_takes_its_checks(void **state)
{
    (void)state;
    run_well((struct change){node("n1"), service("x", "web"), check("c", "x", "passing")});
    run_well((struct change){.service = service("x", "api")});
    assert_int_equal(instances("web", NULL, false).count, 0);
    struct catalog_instances api = instances("api", NULL, false);
    only(api);
    assert_int_equal(api.items[0].check_count, 1);
    assert_string_equal(((const Pb__HealthCheck *)api.items[0].checks[0]->message)->service_name,
                        "api");
}

static void test_what_is_refused(void **state)
{
    (void)state;
    run_refused((struct change){.service = service("x", "web")}, "Missing node registration");
    run_well((struct change){node("n1")});
    run_refused((struct change){.check = check("c", "x", "passing")},
                "Unknown service ID 'x' for check ID 'c'");
    run_refused((struct change){.service = service("x", "")}, "Must provide service name");
    Pb__NodeService *lost = proxy("p", "web");
    lost->proxy->destination_service_name = (char *)"";
    run_refused((struct change){.service = lost}, "Proxy.DestinationServiceName must be non-empty");
    Pb__NodeService *meta = service("x", "web");
    Pb__NodeService__MetaEntry entry = PB__NODE_SERVICE__META_ENTRY__INIT;
    Pb__NodeService__MetaEntry *entries[] = {&entry};
    entry.key = (char *)"consul-x";
    entry.value = (char *)"";
    meta->meta = entries;
    meta->n_meta = 1;
    run_refused((struct change){.service = meta}, "reserved for internal use");
    Pb__Node *bad = node("n2");
    bad->id = (char *)"x";
    run_refused((struct change){bad}, "Bad node ID");
}

static void test_deleting_a_node_takes_everything_on_it(void **state)
{
    (void)state;
    run_well((struct change){node("n1"), service("x", "web"), check("c", "x", "passing")});
    run_well((struct change){.service = proxy("p", "web"), .check = check("serf", "", "passing")});
    assert_int_equal(count(TABLE_VIRTUAL_IP, NULL), 1);
    run_well((struct change){.delete_node = "N1"});
    for (enum table table = TABLE_NODE; table <= TABLE_CHECK; table++)
        assert_int_equal(count(table, NULL), 0);
    assert_int_equal(count(TABLE_VIRTUAL_IP, NULL), 0);
    run_well((struct change){.delete_node = "n1"}); /* absent is fine */
}

static void test_deleting_a_service_leaves_the_node_s_checks(void **state)
{
    (void)state;
    run_well((struct change){node("n1"), service("x", "web"), check("c", "x", "passing")});
    run_well((struct change){.service = service("y", "db"), .check = check("n", "", "passing")});
    run_well((struct change){.delete_node = "n1", .delete_service = "x"});
    assert_int_equal(count(TABLE_CHECK, NULL), 1);
    assert_int_equal(count(TABLE_SERVICE, NULL), 1);
    assert_int_equal(count(TABLE_NODE, NULL), 1);
}

static void test_virtual_addresses(void **state)
{
    (void)state;
    run_well((struct change){node("n1"), proxy("p1", "web")});
    run_well((struct change){.service = proxy("p2", "web")});
    Pb__NodeService *native = service("db", "db");
    native->connect = proto_new(arena, pb__service_connect);
    native->connect->native = true;
    run_well((struct change){.service = native});
    struct catalog_instances web = instances("web", NULL, true);
    assert_int_equal(web.count, 2);
    assert_string_equal(tag(web.items[0].service->message, "consul-virtual"), "240.0.0.1:21000");
    assert_string_equal(tag(web.items[1].service->message, "consul-virtual"), "240.0.0.1:21000");
    assert_string_equal(tag(only(instances("db", NULL, true)), "consul-virtual"), "240.0.0.2:8080");

    run_well((struct change){.delete_node = "n1", .delete_service = "p1"});
    run_well((struct change){.service = proxy("q", "api")}); /* web is still reachable */
    assert_string_equal(tag(only(instances("api", NULL, true)), "consul-virtual"),
                        "240.0.0.3:21000");
    run_well((struct change){.service = proxy("p2", "other")}); /* now it is not */
    run_well((struct change){.service = proxy("r", "last")});
    assert_string_equal(tag(only(instances("last", NULL, true)), "consul-virtual"),
                        "240.0.0.1:21000");
}

static void test_peers_are_worlds_of_their_own(void **state)
{
    (void)state;
    run_well((struct change){node("n1"), proxy("p", "web"), check("c", "p", "critical")});
    Pb__Node *far_node = node("n1");
    far_node->peer_name = (char *)"eu";
    far_node->address = (char *)"";
    Pb__NodeService *far = proxy("p", "web");
    far->peer_name = (char *)"eu";
    Pb__HealthCheck *far_check = check("c", "p", "passing");
    far_check->peer_name = (char *)"eu";
    run_well((struct change){far_node, far, far_check});
    struct catalog_instances found = instances("web", "eu", true);
    assert_string_equal(tag(only(found), "consul-virtual"), "240.0.0.2:21000");
    assert_int_equal(catalog_instance_health(&found.items[0]), CATALOG_PASSING);
    struct catalog_instances here = instances("web", NULL, true);
    assert_int_equal(catalog_instance_health(&here.items[0]), CATALOG_CRITICAL);
    run_well((struct change){.delete_node = "n1", .peer = "eu"});
    assert_int_equal(instances("web", "eu", true).count, 0);
    assert_int_equal(instances("web", NULL, true).count, 1);
    assert_int_equal(count(TABLE_VIRTUAL_IP, "eu"), 0);
}

static void test_many_new_services_in_one_batch_share_no_address(void **state)
{
    (void)state;
    run_well((struct change){node("n1")});
    static struct change changes[600];
    for (size_t i = 0; i < 600; i++) {
        char name[16];
        snprintf(name, sizeof name, "s%zu", i);
        changes[i] = (struct change){.service = proxy(name, name)};
        store_commit(store, change_fn, change_done, &changes[i]);
    }
    loop_run(loop);
    bool seen[601] = {0};
    for (size_t i = 0; i < 600; i++) {
        char name[16];
        unsigned high, low;
        snprintf(name, sizeof name, "s%zu", i);
        const char *address = tag(only(instances(name, NULL, true)), "consul-virtual");
        assert_int_equal(sscanf(address, "240.0.%u.%u:", &high, &low), 2);
        unsigned number = high * 256 + low;
        assert_in_range(number, 1, 600);
        assert_false(seen[number]);
        seen[number] = true;
    }
}

static void test_health_is_the_worst_check(void **state)
{
    (void)state;
    run_well((struct change){node("n1"), service("x", "web"), check("a", "x", "passing")});
    run_well((struct change){.check = check("other", "", "warning")});
    struct catalog_instances found = instances("web", NULL, false);
    assert_int_equal(catalog_instance_health(&found.items[0]), CATALOG_WARNING);
    assert_string_equal(((const Pb__HealthCheck *)found.items[0].checks[0]->message)->check_id,
                        "other"); /* the node's come first */
    run_well((struct change){.check = check("a", "x", "critical")});
    found = instances("web", NULL, false);
    assert_int_equal(catalog_instance_health(&found.items[0]), CATALOG_CRITICAL);
    run_well((struct change){.check = check("_service_maintenance:x", "x", "critical")});
    found = instances("web", NULL, false);
    assert_string_equal(catalog_health_name(catalog_instance_health(&found.items[0])),
                        "maintenance");
}

static Pb__NodeService__TaggedAddressesEntry *wan(const char *address, int port)
{
    Pb__NodeService__TaggedAddressesEntry *entry =
        proto_new(arena, pb__node_service__tagged_addresses_entry);
    entry->key = (char *)"wan";
    entry->value = proto_new(arena, pb__service_address);
    entry->value->address = (char *)address;
    entry->value->port = port;
    return entry;
}

static void expect_address(bool of_wan, const char *address, uint16_t port)
{
    struct catalog_instances found = instances("gw", NULL, false);
    uint16_t got;
    assert_string_equal(catalog_instance_address(&found.items[0], of_wan, &got), address);
    assert_int_equal(got, port);
}

static void test_where_an_instance_is_reached(void **state)
{
    (void)state;
    Pb__Node *with_wan = node("n1");
    Pb__Node__TaggedAddressesEntry node_wan = PB__NODE__TAGGED_ADDRESSES_ENTRY__INIT;
    Pb__Node__TaggedAddressesEntry *node_entries[] = {&node_wan};
    node_wan.key = (char *)"wan";
    node_wan.value = (char *)"198.51.100.1";
    with_wan->tagged_addresses = node_entries;
    with_wan->n_tagged_addresses = 1;
    Pb__NodeService *gateway = service("gw", "gw");
    gateway->kind = (char *)"mesh-gateway";
    run_well((struct change){with_wan, gateway});
    expect_address(false, "10.0.0.1", 8080);
    expect_address(true, "198.51.100.1", 8080);

    gateway->address = (char *)"10.0.0.2";
    run_well((struct change){.service = gateway});
    expect_address(true, "10.0.0.2", 8080);
    Pb__NodeService__TaggedAddressesEntry *entries[] = {wan("203.0.113.9", 443)};
    gateway->tagged_addresses = entries;
    gateway->n_tagged_addresses = 1;
    run_well((struct change){.service = gateway});
    expect_address(true, "203.0.113.9", 443);
    expect_address(false, "10.0.0.2", 8080);

    struct view *view = view_new(store);
    struct tenancy any = {.namespace = "team", .peer = "eu"};
    assert_int_equal(catalog_mesh_gateways(view, &any, arena).count, 1);
    view_free(view);
}

static void test_names_in_the_mesh_keep_their_spelling(void **state)
{
    (void)state;
    run_well((struct change){node("n1"), proxy("p", "Web")});
    run_well((struct change){.service = service("x", "plain")});
    struct view *view = view_new(store);
    struct text_list names = catalog_connect_names(view, &TENANCY_DEFAULT);
    assert_int_equal(names.count, 1);
    assert_string_equal(names.items[0], "Web");
    text_list_free(&names);
    view_free(view);
}

static void test_a_node_id_goes_with_its_new_name(void **state)
{
    (void)state;
    Pb__Node *first = node("n1");
    first->id = (char *)NODE_ID;
    run_well((struct change){first, service("x", "web"), check("serfHealth", "", "passing")});
    Pb__Node *thief = node("n1");
    thief->id = (char *)OTHER_ID;
    run_refused((struct change){thief}, "Node name n1 is reserved by node " NODE_ID);
    Pb__Node *renamed = node("n9");
    renamed->id = (char *)NODE_ID;
    run_well((struct change){renamed});
    assert_int_equal(count(TABLE_NODE, NULL), 1);
    assert_int_equal(count(TABLE_SERVICE, NULL), 0);
}

#define CATALOG_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CATALOG_TEST(test_what_is_filled_in),
        CATALOG_TEST(test_families_of_addresses),
        CATALOG_TEST(test_a_service_that_moves_takes_its_checks),
        CATALOG_TEST(test_what_is_refused),
        CATALOG_TEST(test_deleting_a_node_takes_everything_on_it),
        CATALOG_TEST(test_deleting_a_service_leaves_the_node_s_checks),
        CATALOG_TEST(test_virtual_addresses),
        CATALOG_TEST(test_peers_are_worlds_of_their_own),
        CATALOG_TEST(test_many_new_services_in_one_batch_share_no_address),
        CATALOG_TEST(test_health_is_the_worst_check),
        CATALOG_TEST(test_where_an_instance_is_reached),
        CATALOG_TEST(test_names_in_the_mesh_keep_their_spelling),
        CATALOG_TEST(test_a_node_id_goes_with_its_new_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
