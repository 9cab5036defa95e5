/* gRPC over real loopback sockets, plain and with TLS. */
#include "grpc_party.h"
#include "tls_fixture.h"

struct world {
    struct loop *loop;
    struct grpc_server *server;
    struct grpc_channel *channel;
    struct address address;
    struct tls_context *server_tls, *client_tls;
    struct party s, c;
    unsigned closes;
    struct error close_error;
    struct timer *limit;
    bool free_channel_at_message, free_channel_at_end, free_channel_at_close;
    bool free_server_at_message;
};

static void on_limit(void *arg)
{
    (void)arg;
    fail_msg("the test takes too long");
}

static void on_channel_close(void *arg, struct grpc_channel *channel, const struct error *error)
{
    struct world *world = arg;
    assert_ptr_equal(channel, world->channel);
    world->closes++;
    world->close_error = *error;
    if (world->free_channel_at_close) {
        grpc_channel_free(channel);
        world->channel = NULL;
    }
    loop_stop(world->loop);
}

/* The client's side: the loop stops when something happened. */

static void client_message(void *arg, struct grpc_call *call, const uint8_t *data, size_t length)
{
    struct world *world = arg;
    on_message(&world->c, call, data, length);
    if (world->free_channel_at_message) {
        grpc_channel_free(world->channel);
        world->channel = NULL;
    }
    loop_stop(world->loop);
}

static void client_end(void *arg, struct grpc_call *call, const struct grpc_status *status)
{
    struct world *world = arg;
    on_end(&world->c, call, status);
    if (world->free_channel_at_end) {
        grpc_channel_free(world->channel);
        world->channel = NULL;
    }
    loop_stop(world->loop);
}

static const struct grpc_call_handler client_events = {
    .on_message = client_message,
    .on_end = client_end,
};

static void server_message(void *arg, struct grpc_call *call, const uint8_t *data, size_t length)
{
    struct world *world = arg;
    if (world->free_server_at_message) {
        grpc_server_free(world->server);
        world->server = NULL;
    } else {
        on_message(&world->s, call, data, length);
    }
}

static void server_half_close(void *arg, struct grpc_call *call)
{
    on_half_close(&((struct world *)arg)->s, call);
}

static void server_end(void *arg, struct grpc_call *call, const struct grpc_status *status)
{
    on_end(&((struct world *)arg)->s, call, status);
}

static const struct grpc_call_handler server_events = {
    .on_message = server_message,
    .on_half_close = server_half_close,
    .on_end = server_end,
};

static void on_echo(void *arg, struct grpc_call *call)
{
    struct world *world = arg;
    on_call(&world->s, call);
    assert_string_equal(grpc_server_name(call), world->server_tls == NULL ? "" : "pons.test");
    assert_non_null(strstr(grpc_peer(call), "127.0.0.1:"));
    if (world->s.call != NULL)
        grpc_call_set_handler(call, &server_events, world);
}

static void dial(struct world *world)
{
    struct grpc_channel_config config = {.address = &world->address,
                                         .tls = world->client_tls,
                                         .authority = "pons.test",
                                         .connect_timeout_ms = 5000,
                                         .keepalive_ms = 30000,
                                         .keepalive_timeout_ms = 10000,
                                         .max_message_bytes = 8 * MIB};
    world->channel = grpc_channel_new(world->loop, &config, on_channel_close, world);
}

static struct grpc_call *call_path(struct world *world, const char *path)
{
    world->c.call = grpc_call_new(world->channel, path, NULL, &client_events, world);
    return world->c.call;
}

static struct grpc_call *call(struct world *world)
{
    return call_path(world, "/pkg.Echo/Say");
}

static struct world *world_new(struct tls_context *server_tls, struct tls_context *client_tls)
{
    struct world *world = mem_zalloc(sizeof *world);
    struct error error;
    world->loop = loop_new();
    world->limit = timer_new(world->loop, on_limit, NULL);
    timer_start(world->limit, 60000, 0);
    world->server_tls = server_tls;
    world->client_tls = client_tls;
    world->server = grpc_server_new(world->loop, 8 * MIB);
    world->s.echo = world->s.finish_at_half_close = true;
    grpc_server_method(world->server, "/pkg.Echo/Say", on_echo, world);
    assert_true(address_parse("127.0.0.1:0", &world->address, &error));
    if (!grpc_server_listen(world->server, &world->address, server_tls, &error))
        fail_msg("%s", error.message);
    world->address.port = grpc_server_port(world->server, 0);
    dial(world);
    return world;
}

static void world_free(struct world *world)
{
    grpc_channel_free(world->channel);
    grpc_server_free(world->server);
    timer_free(world->limit);
    loop_free(world->loop);
    address_clear(&world->address);
    buffer_free(&world->s.last);
    buffer_free(&world->c.last);
    tls_unref(world->server_tls);
    tls_unref(world->client_tls);
    free(world);
}

static void run_until(struct world *world, const unsigned *counter, unsigned count)
{
    while (*counter < count)
        loop_run(world->loop);
}

static void converse(struct world *world)
{
    static const size_t sizes[] = {1, 61150, 70000, 2 * MIB};
    struct grpc_call *open = call(world);
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint8_t *bytes = mem_alloc(sizes[i]);
        memset(bytes, (int)('a' + i), sizes[i]);
        assert_true(grpc_send(open, bytes, sizes[i]));
        run_until(world, &world->c.messages, i + 1);
        assert_int_equal(world->c.last.length, sizes[i]);
        assert_memory_equal(world->c.last.data, bytes, sizes[i]);
        free(bytes);
    }
    grpc_half_close(open);
    run_until(world, &world->c.ends, 1);
    assert_int_equal(world->c.code, GRPC_OK);
}

static void test_plain(void **state)
{
    (void)state;
    struct world *world = world_new(NULL, NULL);
    converse(world);
    assert_int_equal(world->closes, 0);
    world_free(world);
}

static void converse_over_tls(const char *const *server_alpn)
{
    static const char *const h2[] = {"h2", NULL};
    struct fixture_identity ca = fixture_issue(NULL, "root", NULL, 1);
    struct fixture_identity leaf = fixture_issue(&ca, "pons", "DNS:pons.test", 1);
    struct tls_server_config server = {.certificate_pem = leaf.certificate_pem,
                                       .private_key_pem = leaf.key_pem,
                                       .alpn = server_alpn};
    struct tls_client_config client = {
        .ca_pem = ca.certificate_pem, .server_name = "pons.test", .alpn = h2};
    struct world *world = world_new(tls_server_new(&server, NULL), tls_client_new(&client, NULL));
    converse(world);
    world_free(world);
    fixture_free(&ca);
    fixture_free(&leaf);
}

static void test_tls(void **state)
{
    (void)state;
    static const char *const h2[] = {"h2", NULL};
    converse_over_tls(h2);
}

/* A real Consul server selects no protocol. */
static void test_tls_without_alpn_answer(void **state)
{
    (void)state;
    converse_over_tls(NULL);
}

static void test_unknown_methods(void **state)
{
    (void)state;
    static const struct {
        const char *path, *message;
    } cases[] = {
        {"/pkg.Echo/Shout", "unknown method Shout for service pkg.Echo"},
        {"/pkg.Other/Say", "unknown service pkg.Other"},
        {"/say", "malformed method name: \"/say\""},
    };
    struct world *world = world_new(NULL, NULL);
    for (unsigned i = 0; i < 3; i++) {
        call_path(world, cases[i].path);
        run_until(world, &world->c.ends, i + 1);
        assert_int_equal(world->c.code, GRPC_UNIMPLEMENTED);
        assert_string_equal(world->c.message, cases[i].message);
    }
    world_free(world);
}

static bool refuse_whispers(void *arg, const struct grpc_call *call, const char **ret_refusal)
{
    (void)arg;
    *ret_refusal = "no whispering";
    return strcmp(grpc_path(call), "/pkg.Echo/Whisper") != 0;
}

/* Peers reach the peering stream alone. */
static void test_a_guard_is_asked_before_methods(void **state)
{
    (void)state;
    struct world *world = world_new(NULL, NULL);
    grpc_server_method(world->server, "/pkg.Echo/Whisper", on_echo, world);
    grpc_server_guard(world->server, refuse_whispers, NULL);
    converse(world);
    call_path(world, "/pkg.Echo/Whisper");
    run_until(world, &world->c.ends, world->c.ends + 1);
    assert_int_equal(world->c.code, GRPC_PERMISSION_DENIED);
    assert_string_equal(world->c.message, "no whispering");
    world_free(world);
}

static void test_nobody_listens(void **state)
{
    (void)state;
    struct world *world = world_new(NULL, NULL);
    grpc_channel_free(world->channel);
    grpc_server_free(world->server);
    world->server = NULL;
    dial(world);
    call(world);
    run_until(world, &world->closes, 1);
    assert_int_equal(world->c.ends, 1);
    assert_int_equal(world->c.code, GRPC_UNAVAILABLE);
    char *address = address_format(&world->address);
    assert_non_null(strstr(world->c.message, address));
    assert_non_null(strstr(world->c.message, "refused"));
    assert_string_equal(world->close_error.message, world->c.message);
    call(world); /* too late, but the owner is told */
    run_until(world, &world->c.ends, 2);
    assert_int_equal(world->c.code, GRPC_UNAVAILABLE);
    free(address);
    world_free(world);
}

static void test_server_goes_away(void **state)
{
    (void)state;
    struct world *world = world_new(NULL, NULL);
    grpc_send(call(world), "x", 1);
    run_until(world, &world->c.messages, 1);
    grpc_server_free(world->server);
    world->server = NULL;
    assert_int_equal(world->s.code, GRPC_UNAVAILABLE);
    run_until(world, &world->closes, 1);
    assert_int_equal(world->c.code, GRPC_UNAVAILABLE);
    assert_string_equal(world->c.message, "the server is shutting down");
    world_free(world);
}

static void test_server_freed_from_inside_of_a_message(void **state)
{
    (void)state;
    struct world *world = world_new(NULL, NULL);
    world->free_server_at_message = true;
    grpc_send(call(world), "x", 1);
    run_until(world, &world->closes, 1);
    assert_int_equal(world->c.code, GRPC_UNAVAILABLE);
    assert_int_equal(world->s.ends, 1);
    world_free(world);
}

static void test_channel_freed_from_inside_of_a_message(void **state)
{
    (void)state;
    struct world *world = world_new(NULL, NULL);
    world->free_channel_at_message = true;
    grpc_send(call(world), "x", 1);
    run_until(world, &world->c.messages, 1);
    assert_int_equal(world->c.ends, 0);
    dial(world); /* the server lives on, and has seen the client leave */
    world->free_channel_at_message = false;
    world->c.messages = 0;
    grpc_send(call(world), "y", 1);
    run_until(world, &world->c.messages, 1);
    assert_int_equal(world->s.ends, 1);
    world_free(world);
}

static void test_channel_freed_when_it_ends(void **state)
{
    (void)state;
    struct world *world = world_new(NULL, NULL);
    world->free_channel_at_close = true;
    grpc_send(call(world), "x", 1);
    run_until(world, &world->c.messages, 1);
    grpc_server_free(world->server);
    world->server = NULL;
    run_until(world, &world->closes, 1);
    assert_null(world->channel);
    dial(world);
    world->free_channel_at_end = true;
    call(world); /* refused: the call's end frees the channel, so that on_close never comes */
    run_until(world, &world->c.ends, 2);
    assert_int_equal(world->closes, 1);
    world_free(world);
}

static void test_cancel_reaches_the_server(void **state)
{
    (void)state;
    struct world *world = world_new(NULL, NULL);
    struct grpc_call *first = call(world);
    grpc_send(first, "x", 1);
    run_until(world, &world->c.messages, 1);
    grpc_cancel(first);
    grpc_send(call(world), "y", 1);
    run_until(world, &world->c.messages, 2);
    assert_int_equal(world->s.ends, 1);
    assert_int_equal(world->s.code, GRPC_CANCELLED);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_tls),
        cmocka_unit_test(test_tls_without_alpn_answer),
        cmocka_unit_test(test_unknown_methods),
        cmocka_unit_test(test_a_guard_is_asked_before_methods),
        cmocka_unit_test(test_nobody_listens),
        cmocka_unit_test(test_server_goes_away),
        cmocka_unit_test(test_server_freed_from_inside_of_a_message),
        cmocka_unit_test(test_channel_freed_from_inside_of_a_message),
        cmocka_unit_test(test_channel_freed_when_it_ends),
        cmocka_unit_test(test_cancel_reaches_the_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
