/* The certificate authority over a store: a cluster that forgets its root, gives a serial number
 * twice or lets certificates run out takes its whole mesh down. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/duration.h"
#include "base/text.h"
#include "ca/authority.h"
#include "ca/certificate.h"
#include "proto/proto.h"
#include "store_fixture.h"

#define CLUSTER "6f5fc4e2-064b-5e9b-31ac-ab5cb63d6c69"
#define SERVICE_URI "spiffe://" CLUSTER ".consul/ns/default/dc/dc1/svc/web"

static struct authority *start(struct fixture *fixture, const char *cluster_id, int64_t ttl_ns)
{
    struct authority_config config = {"dc1", cluster_id, ttl_ns};
    fixture->done = false;
    struct authority *authority = authority_new(fixture->store, &config, fixture_ready, fixture);
    fixture_wait_for(fixture, fixture_is_done, NULL);
    assert_int_equal(fixture->error.code, ERR_NONE);
    return authority;
}

struct listener {
    struct leaf_watch *watch;
    size_t calls;
    char *serial; /* as of the last call */
};

static void heard(void *arg)
{
    struct listener *listener = arg;
    listener->calls++;
    free(listener->serial);
    listener->serial = mem_strdup(leaf_watch_get(listener->watch)->serial);
}

static void listen(struct listener *listener, struct authority *authority, enum leaf_kind kind,
                   const char *service)
{
    *listener = (struct listener){0};
    listener->watch = leaf_watch_new(authority, kind, &TENANCY_DEFAULT, service, heard, listener);
    listener->serial = mem_strdup(leaf_watch_get(listener->watch)->serial);
}

static void unlisten(struct listener *listener)
{
    leaf_watch_free(listener->watch);
    free(listener->serial);
}

static bool has_been_called(struct fixture *fixture, void *arg)
{
    (void)fixture;
    return ((struct listener *)arg)->calls > 0;
}

static void test_first_start_makes_the_cluster(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_new();
    struct authority *authority = start(fixture, NULL, 0);
    const char *domain = authority_trust_domain(authority);
    assert_int_equal(strlen(domain), 36 + strlen(".consul"));
    assert_true(text_ends(domain, ".consul"));
    assert_string_equal(authority_datacenter(authority), "dc1");

    size_t count;
    struct view *view = fixture_view(fixture);
    authority_roots(view, &count);
    assert_int_equal(count, 1);
    const Pb__CaRoot *root = authority_active_root(view);
    assert_true(root->active);
    assert_string_equal(root->name, "Consul CA Primary Cert");
    assert_string_equal(root->private_key_type, "ec");
    assert_int_equal(root->private_key_bits, 256);
    assert_int_equal(root->serial_number, 1);
    struct certificate_info info;
    assert_true(certificate_read(root->root_cert, &info, NULL));
    assert_string_equal(info.fingerprint, root->id);
    assert_string_equal(info.subject_key_id, root->signing_key_id);
    assert_int_equal(strncmp(domain, root->external_trust_domain, 36), 0);
    assert_string_equal(info.uri + strlen("spiffe://"), domain);
    certificate_info_clear(&info);
    assert_string_equal(authority_roots_pem(view, fixture->arena), root->root_cert);

    size_t length;
    const char *json = record_json(authority_roots(view, &count)[0], &length);
    assert_null(memmem(json, length, "PRIVATE", 7)); /* lists never show the key */
    authority_free(authority);
    fixture_free(fixture);
}

static void test_a_restart_keeps_the_root_and_repeats_no_serial(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_new();
    struct authority *first = start(fixture, CLUSTER, 0);
    char *id = mem_strdup(authority_active_root(fixture_view(fixture))->id);
    struct listener before;
    listen(&before, first, LEAF_SERVICE, "web");
    char *serial = mem_strdup(before.serial);
    unlisten(&before);
    authority_free(first);

    struct authority *second = start(fixture, "another-id-that-comes-too-late", 0);
    assert_string_equal(authority_trust_domain(second), CLUSTER ".consul");
    assert_string_equal(authority_active_root(fixture_view(fixture))->id, id);
    struct listener after;
    listen(&after, second, LEAF_SERVICE, "web");
    assert_string_not_equal(after.serial, serial);
    /* Above all that the first one could have given out. */
    assert_true(strlen(after.serial) > strlen(serial) || strcmp(after.serial, serial) > 0);
    unlisten(&after);
    authority_free(second);
    free(serial);
    free(id);
    fixture_free(fixture);
}

static void test_a_leaf_is_there_at_once_and_shared(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_new();
    struct authority *authority = start(fixture, CLUSTER, 0);
    struct listener one, two, other;
    listen(&one, authority, LEAF_SERVICE, "web");
    listen(&two, authority, LEAF_SERVICE, "web");
    listen(&other, authority, LEAF_SERVICE, "db");
    const struct leaf *leaf = leaf_watch_get(one.watch);
    assert_ptr_equal(leaf, leaf_watch_get(two.watch));
    assert_string_equal(leaf->uri, SERVICE_URI);
    assert_string_not_equal(one.serial, other.serial);
    assert_int_equal(leaf->not_after_ns - leaf->not_before_ns, 72 * DURATION_HOUR);
    assert_true(leaf->not_before_ns <= clock_realtime_ns() - 59 * DURATION_SECOND);
    assert_true(leaf->index >= 1);
    assert_non_null(strstr(leaf->private_key_pem, "BEGIN EC PRIVATE KEY"));

    struct certificate_info info;
    assert_true(certificate_read(leaf->certificate_pem, &info, NULL));
    assert_string_equal(info.uri, SERVICE_URI);
    assert_string_equal(info.serial, leaf->serial);
    certificate_info_clear(&info);

    /* The last watch takes the certificate with it: the next one gets a new one. */
    char *serial = mem_strdup(one.serial);
    unlisten(&one);
    assert_string_equal(leaf_watch_get(two.watch)->serial, serial);
    unlisten(&two);
    listen(&one, authority, LEAF_SERVICE, "web");
    assert_string_not_equal(one.serial, serial);
    free(serial);
    unlisten(&one);
    unlisten(&other);
    authority_free(authority);
    fixture_free(fixture);
}

static void test_gateway_and_server_have_their_own_identities(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_new();
    struct authority *authority = start(fixture, CLUSTER, 0);
    struct listener gateway, server;
    listen(&gateway, authority, LEAF_MESH_GATEWAY, NULL);
    listen(&server, authority, LEAF_SERVER, NULL);
    assert_string_equal(leaf_watch_get(gateway.watch)->uri,
                        "spiffe://" CLUSTER ".consul/gateway/mesh/dc/dc1");
    assert_string_equal(leaf_watch_get(server.watch)->uri,
                        "spiffe://" CLUSTER ".consul/agent/server/dc/dc1");
    unlisten(&gateway);
    unlisten(&server);
    authority_free(authority);
    fixture_free(fixture);
}

/* The certificate begins a minute in the past: this one has a second to live. */
static void test_a_leaf_is_renewed_before_it_ends(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_new();
    struct authority *authority = start(fixture, CLUSTER, 62 * DURATION_SECOND);
    struct listener one, two;
    listen(&one, authority, LEAF_SERVICE, "web");
    listen(&two, authority, LEAF_SERVICE, "web");
    char *serial = mem_strdup(one.serial);
    int64_t end = leaf_watch_get(one.watch)->not_after_ns;
    uint64_t index = leaf_watch_get(one.watch)->index;
    fixture_wait_for(fixture, has_been_called, &one);
    fixture_wait_for(fixture, has_been_called, &two);
    assert_true(clock_realtime_ns() < end);
    assert_string_not_equal(one.serial, serial);
    assert_true(leaf_watch_get(one.watch)->index > index); /* who blocks on it wakes up */
    free(serial);
    unlisten(&one);
    unlisten(&two);
    authority_free(authority);
    fixture_free(fixture);
}

static bool change_ttl(struct txn *txn, void *arg, struct error *error)
{
    (void)error;
    struct buffer key = {0};
    const struct record *record =
        view_get(txn_view(txn), TABLE_CA_CONFIG, key_all(&key, &TENANCY_DEFAULT));
    buffer_free(&key);
    Pb__CaConfig config = *(const Pb__CaConfig *)record->message;
    config.leaf_cert_ttl = *(int64_t *)arg;
    txn_put(txn, TABLE_CA_CONFIG, &config);
    return true;
}

struct ttl_probe {
    struct authority *authority;
    int64_t ttl_ns;
};

static bool has_ttl(struct fixture *fixture, void *arg)
{
    (void)fixture;
    const struct ttl_probe *probe = arg;
    struct listener listener;
    listen(&listener, probe->authority, LEAF_SERVICE, "probe");
    const struct leaf *leaf = leaf_watch_get(listener.watch);
    bool has = leaf->not_after_ns - leaf->not_before_ns == probe->ttl_ns;
    unlisten(&listener);
    return has;
}

static void test_a_changed_ttl_holds_for_new_leaves(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_new();
    struct ttl_probe probe = {start(fixture, CLUSTER, 24 * DURATION_HOUR), 24 * DURATION_HOUR};
    assert_true(has_ttl(fixture, &probe));
    probe.ttl_ns = DURATION_HOUR;
    fixture_commit(fixture, change_ttl, &probe.ttl_ns);
    fixture_wait_for(fixture, has_ttl, &probe);
    authority_free(probe.authority);
    fixture_free(fixture);
}

static bool change_root(struct txn *txn, void *arg, struct error *error)
{
    (void)error;
    Pb__CaRoot old = *authority_active_root(txn_view(txn));
    old.active = false;
    txn_put(txn, TABLE_CA_ROOT, &old);
    txn_put(txn, TABLE_CA_ROOT, arg);
    return true;
}

static Pb__CaRoot *make_root(struct fixture *fixture, const char *intermediate)
{
    char *key = key_generate_pem();
    char *pem = certificate_make_root(
        &(struct certificate_root_spec){CLUSTER, key, 77, clock_realtime_ns()}, NULL);
    struct certificate_info info;
    assert_true(certificate_read(pem, &info, NULL));
    Pb__CaRoot *root = proto_new(fixture->arena, pb__ca_root);
    root->id = arena_strdup(fixture->arena, info.fingerprint);
    root->signing_key_id = arena_strdup(fixture->arena, info.subject_key_id);
    root->root_cert = arena_strdup(fixture->arena, pem);
    root->private_key_pem = arena_strdup(fixture->arena, key);
    root->active = true;
    if (intermediate != NULL) {
        root->intermediate_certs = proto_array(fixture->arena, 1);
        root->intermediate_certs[0] = arena_strdup(fixture->arena, intermediate);
        root->n_intermediate_certs = 1;
    }
    certificate_info_clear(&info);
    free(pem);
    free(key);
    return root;
}

static void test_a_new_root_reissues_at_once(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_new();
    struct authority *authority = start(fixture, CLUSTER, 0);
    struct listener listener;
    listen(&listener, authority, LEAF_SERVICE, "web");
    char *old_root = mem_strdup(authority_active_root(fixture_view(fixture))->root_cert);
    /* Any certificate serves as the cross-signed one here. */
    Pb__CaRoot *root = make_root(fixture, old_root);
    fixture_commit(fixture, change_root, root);
    fixture_wait_for(fixture, has_been_called, &listener);
    assert_int_equal(listener.calls, 1);

    const struct leaf *leaf = leaf_watch_get(listener.watch);
    assert_true(text_ends(leaf->certificate_pem, old_root)); /* the chain goes on behind the leaf */
    size_t count;
    struct view *view = fixture_view(fixture);
    const struct record *const *roots = authority_roots(view, &count);
    assert_int_equal(count, 2);
    assert_string_equal(((const Pb__CaRoot *)roots[0]->message)->id, root->id);
    assert_string_not_equal(((const Pb__CaRoot *)roots[1]->message)->id, root->id);
    assert_true(text_starts(authority_roots_pem(view, fixture->arena), root->root_cert));
    free(old_root);
    unlisten(&listener);
    authority_free(authority);
    fixture_free(fixture);
}

/* More than one turn's batch: the loop is not held up, and none is forgotten. */
static void test_a_new_root_reaches_many(void **state)
{
    (void)state;
    enum { MANY = 200 };
    struct fixture *fixture = fixture_new();
    struct authority *authority = start(fixture, CLUSTER, 0);
    struct listener *listeners = mem_array(MANY, sizeof *listeners);
    for (int i = 0; i < MANY; i++)
        listen(&listeners[i], authority, LEAF_SERVICE, arena_printf(fixture->arena, "web-%d", i));
    Pb__CaRoot *root = make_root(fixture, NULL);
    fixture_commit(fixture, change_root, root);
    for (int i = 0; i < MANY; i++) {
        fixture_wait_for(fixture, has_been_called, &listeners[i]);
        assert_int_equal(listeners[i].calls, 1);
        unlisten(&listeners[i]);
    }
    free(listeners);
    authority_free(authority);
    fixture_free(fixture);
}

static void test_a_root_that_cannot_sign_is_not_taken(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_new();
    struct authority *authority = start(fixture, CLUSTER, 0);
    struct listener listener;
    listen(&listener, authority, LEAF_SERVICE, "web");
    Pb__CaRoot *broken = make_root(fixture, NULL);
    char *other_key = key_generate_pem();
    broken->private_key_pem = other_key;
    fixture_commit(fixture, change_root, broken);
    /* The next good one is taken, and is the first that is heard of. */
    Pb__CaRoot *good = make_root(fixture, NULL);
    fixture_commit(fixture, change_root, good);
    fixture_wait_for(fixture, has_been_called, &listener);
    assert_int_equal(listener.calls, 1);
    free(other_key);
    unlisten(&listener);
    authority_free(authority);
    fixture_free(fixture);
}

struct chain {
    struct authority *authority;
    struct listener first, second, replaced;
    bool done;
};

/* What a proxy's shell may do inside of the callback: drop watches, also others', and take new
 * ones. */
static void reshuffle(void *arg)
{
    struct chain *chain = arg;
    unlisten(&chain->second);
    chain->second = (struct listener){0};
    listen(&chain->replaced, chain->authority, LEAF_SERVICE, "web");
    leaf_watch_free(chain->first.watch);
    chain->first.watch = NULL;
    chain->done = true;
}

static bool is_reshuffled(struct fixture *fixture, void *arg)
{
    (void)fixture;
    return ((struct chain *)arg)->done;
}

static void test_watches_may_go_and_come_inside_of_the_callback(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_new();
    struct chain chain = {.authority = start(fixture, CLUSTER, 0)};
    chain.first.watch =
        leaf_watch_new(chain.authority, LEAF_SERVICE, &TENANCY_DEFAULT, "web", reshuffle, &chain);
    listen(&chain.second, chain.authority, LEAF_SERVICE, "web");
    fixture_commit(fixture, change_root, make_root(fixture, NULL));
    fixture_wait_for(fixture, is_reshuffled, &chain);
    unlisten(&chain.replaced);
    authority_free(chain.authority);
    fixture_free(fixture);
}

static void never(void *arg, const struct error *error)
{
    (void)error;
    *(bool *)arg = true;
}

static void test_it_may_go_before_it_is_ready(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_new();
    bool called = false;
    struct authority_config config = {"dc1", CLUSTER, 0};
    authority_free(authority_new(fixture->store, &config, never, &called));
    fixture_free(fixture);
    assert_false(called);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_start_makes_the_cluster),
        cmocka_unit_test(test_a_restart_keeps_the_root_and_repeats_no_serial),
        cmocka_unit_test(test_a_leaf_is_there_at_once_and_shared),
        cmocka_unit_test(test_gateway_and_server_have_their_own_identities),
        cmocka_unit_test(test_a_leaf_is_renewed_before_it_ends),
        cmocka_unit_test(test_a_changed_ttl_holds_for_new_leaves),
        cmocka_unit_test(test_a_new_root_reissues_at_once),
        cmocka_unit_test(test_a_new_root_reaches_many),
        cmocka_unit_test(test_a_root_that_cannot_sign_is_not_taken),
        cmocka_unit_test(test_watches_may_go_and_come_inside_of_the_callback),
        cmocka_unit_test(test_it_may_go_before_it_is_ready),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
