/* Two clusters on one loop, each with its store, authority, gRPC server with TLS and peerings.
 * Include behind store_fixture.h. */
#pragma once

#include "ca/authority.h"
#include "net/grpc.h"
#include "peering/internal.h"
#include "peering_support.h"

struct cluster {
    struct fixture *fixture; /* shared loop; its store is cluster A's */
    struct store *store;
    struct authority *authority;
    struct leaf_watch *leaf;
    struct tls_context *tls;
    struct grpc_server *server;
    struct peerings *peerings;
    struct error error;
    bool done;
    char *token;
};

struct pair {
    struct fixture *fixture;
    struct cluster a, b; /* a accepts, b dials */
};

/* ---- setting up ---- */

static inline bool is_done(struct fixture *fixture, void *arg)
{
    (void)fixture;
    return ((struct cluster *)arg)->done;
}

static inline void on_done(void *arg, const struct error *error)
{
    struct cluster *cluster = arg;
    cluster->error = error == NULL ? (struct error){0} : *error;
    cluster->done = true;
}

static inline void wait_done(struct cluster *cluster)
{
    fixture_wait_for(cluster->fixture, is_done, cluster);
    cluster->done = false;
}

static inline void on_leaf(void *arg)
{
    (void)arg;
}

static inline void start_server(struct cluster *cluster, uint16_t port)
{
    static const char *const alpn[] = {"h2", NULL};
    const struct leaf *leaf = leaf_watch_get(cluster->leaf);
    struct tls_server_config tls = {.certificate_pem = leaf->certificate_pem,
                                    .private_key_pem = leaf->private_key_pem,
                                    .alpn = alpn};
    cluster->tls = tls_server_new(&tls, NULL);
    assert_non_null(cluster->tls);
    cluster->server = grpc_server_new(cluster->fixture->loop, 50 * 1024 * 1024);
    struct address address = {.host = "127.0.0.1", .port = port};
    struct error error = {0};
    assert_true(grpc_server_listen(cluster->server, &address, cluster->tls, &error));
    peerings_serve(cluster->peerings, cluster->server);
}

static inline void stop_server(struct cluster *cluster)
{
    grpc_server_free(cluster->server);
    cluster->server = NULL;
    tls_unref(cluster->tls);
}

static inline void start_cluster(struct cluster *cluster, struct fixture *fixture,
                                 struct store *store, const char *datacenter)
{
    cluster->fixture = fixture;
    cluster->store = store;
    struct authority_config authority = {.datacenter = datacenter};
    cluster->authority = authority_new(store, &authority, on_done, cluster);
    wait_done(cluster);
    cluster->leaf =
        leaf_watch_new(cluster->authority, LEAF_SERVER, &TENANCY_DEFAULT, NULL, on_leaf, NULL);
    struct peerings_config config = {.store = store,
                                     .authority = cluster->authority,
                                     .datacenter = datacenter,
                                     .node_name = "server"};
    cluster->peerings = peerings_new(&config);
    start_server(cluster, 0);
    char *address = mem_printf("127.0.0.1:%u", grpc_server_port(cluster->server, 0));
    peerings_set_server_address(cluster->peerings, address);
    free(address);
}

static inline void stop_cluster(struct cluster *cluster)
{
    peerings_free(cluster->peerings);
    stop_server(cluster);
    leaf_watch_free(cluster->leaf);
    authority_free(cluster->authority);
    free(cluster->token);
}

static inline struct pair *setup_pair(void)
{
    struct pair *pair = mem_zalloc(sizeof *pair);
    struct fixture *fixture = pair->fixture = fixture_new();
    start_cluster(&pair->a, fixture, fixture->store, "dc1");
    struct store *store =
        store_new(fixture->loop, engine_memory_new(fixture->loop), on_done, &pair->b);
    pair->b.fixture = fixture;
    wait_done(&pair->b);
    start_cluster(&pair->b, fixture, store, "dc2");
    return pair;
}

static inline void teardown_pair(struct pair *pair)
{
    stop_cluster(&pair->b);
    stop_cluster(&pair->a);
    store_free(pair->b.store);
    fixture_free(pair->fixture);
    free(pair);
}

/* ---- asking ---- */

static inline void on_token(void *arg, const struct error *error, const char *token)
{
    struct cluster *cluster = arg;
    free(cluster->token);
    cluster->token = mem_strdup(token);
    on_done(cluster, error);
}

static inline void generate(struct cluster *cluster, const char *name)
{
    Pb__GenerateTokenRequest request = PB__GENERATE_TOKEN_REQUEST__INIT;
    request.peer_name = (char *)(uintptr_t)name;
    peering_generate_token(cluster->peerings, &request, on_token, cluster);
    wait_done(cluster);
}

static inline void start_establish(struct cluster *cluster, const char *name, const char *token)
{
    Pb__EstablishRequest request = PB__ESTABLISH_REQUEST__INIT;
    request.peer_name = (char *)(uintptr_t)name;
    request.peering_token = (char *)(uintptr_t)token;
    peering_establish(cluster->peerings, &request, on_done, cluster);
}

static inline void establish(struct cluster *cluster, const char *name, const char *token)
{
    start_establish(cluster, name, token);
    wait_done(cluster);
}

static inline void delete (struct cluster *cluster, const char *name)
{
    peering_delete(cluster->peerings, &TENANCY_DEFAULT, name, on_done, cluster);
    wait_done(cluster);
    assert_int_equal(cluster->error.code, ERR_NONE);
}

/* UNDEFINED: there is no such peering. */
static inline Pb__PeeringState state_of(struct cluster *cluster, const char *name)
{
    struct arena *arena = arena_new();
    struct view *view = view_new(cluster->store);
    Pb__Peering *peering =
        peering_read(cluster->peerings, view, &TENANCY_DEFAULT, name, arena, NULL);
    Pb__PeeringState state = peering == NULL ? PB__PEERING_STATE__UNDEFINED : peering->state;
    view_free(view);
    arena_free(arena);
    return state;
}

struct expected_state {
    struct cluster *cluster;
    const char *name;
    Pb__PeeringState state;
};

static inline bool has_state(struct fixture *fixture, void *arg)
{
    (void)fixture;
    struct expected_state *expected = arg;
    return state_of(expected->cluster, expected->name) == expected->state;
}

static inline void wait_state(struct cluster *cluster, const char *name, Pb__PeeringState state)
{
    struct expected_state expected = {cluster, name, state};
    fixture_wait_for(cluster->fixture, has_state, &expected);
}

struct expected_instances {
    struct cluster *cluster;
    const char *peer, *service, *text;
};

static inline bool has_instances(struct fixture *fixture, void *arg)
{
    struct expected_instances *expected = arg;
    return strcmp(instances_text(expected->cluster->store, expected->peer, expected->service,
                                 fixture->arena),
                  expected->text) == 0;
}

static inline void wait_instances(struct cluster *cluster, const char *peer, const char *service,
                                  const char *text)
{
    struct expected_instances expected = {cluster, peer, service, text};
    fixture_wait_for(cluster->fixture, has_instances, &expected);
}

static inline struct pair *setup_active(void)
{
    struct pair *pair = setup_pair();
    generate(&pair->a, "b");
    assert_string_equal(pair->a.error.message, "");
    establish(&pair->b, "a", pair->a.token);
    assert_string_equal(pair->b.error.message, "");
    wait_state(&pair->b, "a", PB__PEERING_STATE__ACTIVE);
    wait_state(&pair->a, "b", PB__PEERING_STATE__ACTIVE);
    return pair;
}

/* One transaction in either cluster's store. */
static inline void commit_in(struct cluster *cluster, txn_fn *fn, void *arg)
{
    struct fixture of_cluster = {.loop = cluster->fixture->loop, .store = cluster->store};
    fixture_commit(&of_cluster, fn, arg);
    assert_string_equal(of_cluster.error.message, "");
}

static inline void put_in(struct cluster *cluster, enum table table, const void *message)
{
    struct fixture_put put = {table, message};
    commit_in(cluster, fixture_put_message, &put);
}

/* Cluster A has web with a sidecar and a gateway, and exports it to B. */
static inline void export_web(struct pair *pair)
{
    struct arena *arena = pair->fixture->arena;
    Pb__CheckServiceNode *proxy = make_instance(arena, "n1", "web-sidecar-proxy", "web-proxy");
    make_proxy(arena, proxy, "web");
    Pb__CheckServiceNode *gateway = make_instance(arena, "n1", "mesh-gateway", "gw");
    gateway->service->kind = "mesh-gateway";
    fixture_commit(pair->fixture, register_instance, make_instance(arena, "n1", "web", "web-1"));
    fixture_commit(pair->fixture, register_instance, proxy);
    fixture_commit(pair->fixture, register_instance, gateway);
    fixture_put(pair->fixture, TABLE_EXPORTED_SERVICES,
                make_exports(arena, "b", (const char *const[]){"web", NULL}));
    wait_instances(&pair->b, "a", "web", "n1/web-1");
    wait_instances(&pair->b, "a", "web-sidecar-proxy", "n1/web-sidecar-proxy-instance-0");
}
