/* Streams and listeners over real loopback sockets: what their callers rely on. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/text.h"
#include "net/stream.h"
#include "tls_fixture.h"

/* One side of a conversation, and what happened to it. */
struct side {
    struct world *world;
    struct stream *stream;
    struct buffer got;
    size_t bytes;
    int opened, closed, drained;
    struct error error; /* of on_close; ERR_NONE if in good order */
};

struct world {
    struct loop *loop;
    struct listener *listener;
    struct address address;
    struct side client, server;
    void (*on_accept)(struct world *world); /* NULL: nothing special */
    void (*on_data)(struct side *side);
    void (*on_closed)(struct side *side); /* NULL: the story ends */
    int accepted;
    struct timer *limit;
    int ticks;
};

static void side_open(void *arg)
{
    struct side *side = arg;
    side->opened++;
}

static void side_data(void *arg, const uint8_t *data, size_t length)
{
    struct side *side = arg;
    side->bytes += length;
    if (side->got.length < 1 << 20)
        buffer_add(&side->got, data, length);
    if (side->world->on_data)
        side->world->on_data(side);
}

static void side_close(void *arg, const struct error *error)
{
    struct side *side = arg;
    side->closed++;
    if (error)
        side->error = *error;
    if (side->world->on_closed)
        side->world->on_closed(side);
    else
        loop_stop(side->world->loop);
}

static void side_drain(void *arg)
{
    struct side *side = arg;
    side->drained++;
}

static const struct stream_handler side_handler = {
    .on_open = side_open, .on_data = side_data, .on_close = side_close, .on_drain = side_drain};

static void on_accept(void *arg, struct stream *stream)
{
    struct world *world = arg;
    world->accepted++;
    if (world->server.stream) {
        stream_abort(stream);
        return;
    }
    world->server.stream = stream;
    stream_set_handler(stream, &side_handler, &world->server);
    if (world->on_accept)
        world->on_accept(world);
}

static void too_long(void *arg)
{
    (void)arg;
    fail_msg("nothing happened for 20 s");
}

static void world_new(struct world *world)
{
    *world = (struct world){.loop = loop_new()};
    world->client.world = world->server.world = world;
    world->limit = timer_new(world->loop, too_long, NULL);
    timer_start(world->limit, 20000, 0);
}

static void world_listen(struct world *world, const char *where, struct tls_context *tls)
{
    struct error error = {0};
    struct address address;
    assert_true(address_parse(where, &address, &error));
    world->listener = listener_new(world->loop, &address, tls, 0, on_accept, world, &error);
    if (!world->listener)
        fail_msg("%s", error.message);
    if (!address.path)
        address.port = listener_port(world->listener);
    world->address = address;
}

static void world_dial(struct world *world, struct tls_context *tls)
{
    world->client.stream =
        stream_dial(world->loop, &world->address, tls, 10000, &side_handler, &world->client);
}

static void side_end(struct side *side)
{
    if (side->stream)
        stream_abort(side->stream);
    side->stream = NULL;
    buffer_free(&side->got);
}

static void world_free(struct world *world)
{
    side_end(&world->client);
    side_end(&world->server);
    listener_free(world->listener);
    address_clear(&world->address);
    loop_free(world->loop);
}

static void stop(struct side *side)
{
    loop_stop(side->world->loop);
}

static void echo_once(struct side *side)
{
    if (side == &side->world->server)
        stream_write(side->stream, side->got.data, side->got.length);
    else
        stop(side);
}

static void bytes_go_both_ways(void **state)
{
    (void)state;
    struct world world;
    world_new(&world);
    world_listen(&world, "127.0.0.1:0", NULL);
    world.on_data = echo_once;
    world_dial(&world, NULL);
    assert_int_equal(world.client.opened, 0);                   /* never from inside of the call */
    assert_true(stream_write(world.client.stream, "hello", 5)); /* waits for the connection */
    assert_int_equal(stream_queued(world.client.stream), 5);
    loop_run(world.loop);
    assert_int_equal(world.client.opened, 1);
    assert_string_equal(buffer_text(&world.client.got), "hello");
    assert_int_equal(stream_queued(world.client.stream), 0);
    assert_int_equal(stream_sent(world.client.stream), 5);
    assert_true(text_starts(stream_peer(world.server.stream), "127.0.0.1:"));
    assert_string_equal(stream_alpn(world.server.stream), "");
    assert_string_equal(stream_server_name(world.server.stream), "");
    world_free(&world);
}

static void names_are_resolved(void **state)
{
    (void)state;
    struct world world;
    world_new(&world);
    world_listen(&world, "localhost:0", NULL);
    world.on_data = echo_once;
    world_dial(&world, NULL);
    stream_write(world.client.stream, "x", 1);
    loop_run(world.loop);
    assert_string_equal(buffer_text(&world.client.got), "x");
    world_free(&world);
}

static void write_and_leave(struct world *world)
{
    static char block[100000];
    memset(block, 'z', sizeof block);
    for (int i = 0; i < 30; i++) /* more than the sockets hold */
        stream_write(world->server.stream, block, sizeof block);
    stream_close(world->server.stream);
    world->server.stream = NULL;
}

static void close_flushes_what_was_written(void **state)
{
    (void)state;
    struct world world;
    world_new(&world);
    world_listen(&world, "127.0.0.1:0", NULL);
    world.on_accept = write_and_leave;
    world_dial(&world, NULL);
    loop_run(world.loop);
    assert_int_equal(world.client.bytes, 3000000);
    assert_int_equal(world.client.error.code, ERR_NONE);
    assert_int_equal(world.server.closed, 0); /* it left by itself: nobody told it so */
    assert_false(stream_write(world.client.stream, "late", 4));
    world_free(&world);
}

static void client_that_closes_at_once_still_sends(void **state)
{
    (void)state;
    struct world world;
    world_new(&world);
    world_listen(&world, "127.0.0.1:0", NULL);
    world_dial(&world, NULL);
    stream_write(world.client.stream, "bye", 3);
    stream_close(world.client.stream);
    world.client.stream = NULL;
    loop_run(world.loop);
    assert_string_equal(buffer_text(&world.server.got), "bye");
    assert_int_equal(world.server.error.code, ERR_NONE);
    world_free(&world);
}

static void leave_in_callback(struct side *side)
{
    stream_abort(side->stream);
    side->stream = NULL;
}

static void aborted_stream_calls_nobody(void **state)
{
    (void)state;
    struct world world;
    world_new(&world);
    world_listen(&world, "127.0.0.1:0", NULL);
    world.on_data = leave_in_callback;
    world_dial(&world, NULL);
    stream_write(world.client.stream, "boo", 3);
    loop_run(world.loop); /* ends by the client's on_close */
    assert_int_equal(world.client.closed, 1);
    assert_int_equal(world.server.closed, 0);
    /* Before anything has happened. */
    stream_abort(world.client.stream);
    world_dial(&world, NULL);
    stream_abort(world.client.stream);
    world.client.stream = NULL;
    world_free(&world);
    assert_int_equal(world.client.closed, 1);
}

static void failures_name_the_address(void **state)
{
    (void)state;
    struct world world;
    world_new(&world);
    world_listen(&world, "127.0.0.1:0", NULL);
    listener_free(world.listener);
    world.listener = NULL;
    world_dial(&world, NULL);
    loop_run(world.loop);
    char expected[100];
    snprintf(expected, sizeof expected, "connect 127.0.0.1:%u: connection refused",
             world.address.port);
    assert_string_equal(world.client.error.message, expected);
    assert_int_equal(world.client.opened, 0);
    stream_close(world.client.stream);
    address_clear(&world.address);
    address_parse("no-such-host.invalid:80", &world.address, NULL);
    world_dial(&world, NULL);
    loop_run(world.loop);
    assert_true(
        text_starts(world.client.error.message, "look up the name in no-such-host.invalid:80: "));
    stream_close(world.client.stream);
    address_clear(&world.address);
    address_parse("unix:///nonexistent/socket", &world.address, NULL);
    world_dial(&world, NULL);
    loop_run(world.loop);
    assert_string_equal(world.client.error.message,
                        "connect unix:///nonexistent/socket: no such file or directory");
    world_free(&world);
}

static void pause_then_count(struct side *side)
{
    if (side == &side->world->client)
        stop(side);
}

static void write_too_much(struct world *world)
{
    static char block[65536];
    stream_pause(world->client.stream);
    for (int i = 0; i < 200; i++)
        stream_write(world->server.stream, block, sizeof block);
}

static void on_tick(void *arg)
{
    struct world *world = arg;
    if (++world->ticks == 5)
        loop_stop(world->loop);
}

static void check_back_pressure(struct tls_context *server, struct tls_context *client)
{
    struct world world;
    world_new(&world);
    world_listen(&world, "127.0.0.1:0", server);
    world.on_accept = write_too_much;
    world_dial(&world, client);
    struct timer *timer = timer_new(world.loop, on_tick, &world);
    timer_start(timer, 10, 10);
    loop_run(world.loop);
    size_t paused_at = world.client.bytes;
    assert_true(stream_queued(world.server.stream) > STREAM_HIGH_WATER);
    assert_int_equal(world.server.drained, 0);
    world.on_data = pause_then_count;
    stream_resume(world.client.stream);
    while (world.client.bytes < 200 * 65536)
        loop_run(world.loop);
    assert_true(paused_at < world.client.bytes);
    assert_int_equal(world.server.drained, 1);
    assert_int_equal(stream_queued(world.server.stream), 0);
    world_free(&world);
}

static void slow_reader_is_waited_for(void **state)
{
    (void)state;
    check_back_pressure(NULL, NULL);
}

static void dial_gives_up_in_time(void **state)
{
    (void)state;
    struct world world;
    world_new(&world);
    /* A listener whose backlog is full does not answer. */
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 0), 0);
    socklen_t length = sizeof address;
    getsockname(listener, (struct sockaddr *)&address, &length);
    int fillers[4];
    for (int i = 0; i < 4; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        connect(fillers[i], (struct sockaddr *)&address, sizeof address);
    }
    world.address =
        (struct address){.host = mem_strdup("127.0.0.1"), .port = ntohs(address.sin_port)};
    world.client.stream =
        stream_dial(world.loop, &world.address, NULL, 50, &side_handler, &world.client);
    loop_run(world.loop);
    assert_int_equal(world.client.error.code, ERR_TIMEOUT);
    for (int i = 0; i < 4; i++)
        close(fillers[i]);
    close(listener);
    world_free(&world);
}

/* Listeners. */

static void port_in_use_says_what_to_do(void **state)
{
    (void)state;
    struct world world;
    world_new(&world);
    world_listen(&world, "127.0.0.1:0", NULL);
    struct error error = {0};
    assert_null(listener_new(world.loop, &world.address, NULL, 0, on_accept, &world, &error));
    char expected[300];
    snprintf(expected, sizeof expected,
             "listen on 127.0.0.1:%u: address already in use; another process listens there: "
             "stop it, or choose another address or port",
             world.address.port);
    assert_string_equal(error.message, expected);
    struct address other = {.host = (char *)"192.0.2.1", .port = 0};
    assert_null(listener_new(world.loop, &other, NULL, 0, on_accept, &world, &error));
    assert_non_null(strstr(error.message, "no interface of this machine has that address"));
    world_free(&world);
}

static void address_of_a_stopped_listener_is_free_at_once(void **state)
{
    (void)state;
    struct world world;
    world_new(&world);
    world_listen(&world, "127.0.0.1:0", NULL);
    world.on_data = leave_in_callback; /* leaves the port in TIME_WAIT */
    world_dial(&world, NULL);
    stream_write(world.client.stream, "x", 1);
    loop_run(world.loop);
    char *where = address_format(&world.address);
    listener_free(world.listener);
    address_clear(&world.address);
    world_listen(&world, where, NULL);
    free(where);
    world_free(&world);
}

static void connections_beyond_the_limit_are_closed(void **state)
{
    (void)state;
    struct world world;
    world_new(&world);
    struct error error;
    address_parse("127.0.0.1:0", &world.address, NULL);
    world.listener = listener_new(world.loop, &world.address, NULL, 1, on_accept, &world, &error);
    world.address.port = listener_port(world.listener);
    world.on_data = echo_once;
    world_dial(&world, NULL);
    stream_write(world.client.stream, "x", 1);
    loop_run(world.loop);
    struct side second = {.world = &world};
    second.stream = stream_dial(world.loop, &world.address, NULL, 5000, &side_handler, &second);
    loop_run(world.loop);
    assert_int_equal(second.closed, 1);
    assert_int_equal(world.accepted, 1);
    stream_close(second.stream);
    /* When the first leaves, there is room again. */
    stream_close(world.client.stream);
    world.client.stream = NULL;
    loop_run(world.loop);
    assert_int_equal(world.server.closed, 1);
    side_end(&world.server);
    world.on_closed = NULL;
    while (world.accepted == 1) {
        world_dial(&world, NULL);
        stream_write(world.client.stream, "y", 1);
        loop_run(world.loop);
        side_end(&world.client);
    }
    world_free(&world);
}

static void unix_sockets_work_and_stale_ones_are_replaced(void **state)
{
    (void)state;
    char folder[] = "/tmp/pons-stream-XXXXXX";
    assert_non_null(mkdtemp(folder));
    char where[100], *path = where + strlen("unix://");
    snprintf(where, sizeof where, "unix://%s/socket", folder);
    /* What a crashed process leaves behind. */
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int stale = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(stale, (struct sockaddr *)&address, sizeof address), 0);
    close(stale);

    struct world world;
    world_new(&world);
    struct error error = {0};
    address_parse(where, &world.address, NULL);
    world.address.path_mode = 0600;
    world.listener = listener_new(world.loop, &world.address, NULL, 0, on_accept, &world, &error);
    assert_non_null(world.listener);
    struct stat file;
    assert_int_equal(stat(path, &file), 0);
    assert_int_equal(file.st_mode & 0777, 0600);
    world.on_data = echo_once;
    world_dial(&world, NULL);
    stream_write(world.client.stream, "u", 1);
    loop_run(world.loop);
    assert_string_equal(buffer_text(&world.client.got), "u");
    assert_string_equal(stream_peer(world.server.stream), where);
    /* One that answers is not taken away from its owner. */
    assert_null(listener_new(world.loop, &world.address, NULL, 0, on_accept, &world, &error));
    assert_non_null(strstr(error.message, "another process listens there"));
    assert_int_equal(stat(path, &file), 0);
    world_free(&world);
    assert_int_equal(stat(path, &file), -1); /* and nothing is left behind */

    close(open(path, O_CREAT | O_WRONLY, 0600));
    world_new(&world);
    address_parse(where, &world.address, NULL);
    assert_null(listener_new(world.loop, &world.address, NULL, 0, on_accept, &world, &error));
    assert_non_null(strstr(error.message, "a file that is not a socket is there"));
    world_free(&world);
    unlink(path);
    rmdir(folder);
}

static void addresses_are_read_and_written(void **state)
{
    (void)state;
    static const char *const good[] = {"127.0.0.1:8500", "[::1]:8500", "web.test:80",
                                       "unix:///run/pons.sock"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct address address;
        assert_true(address_parse(good[i], &address, NULL));
        struct address copy = address_copy(&address);
        char *text = address_format(&copy);
        assert_string_equal(text, good[i]);
        free(text);
        address_clear(&address);
        address_clear(&copy);
    }
    char long_path[300] = "unix:///";
    memset(long_path + 8, 'x', 200);
    const char *const bad[] = {
        "", "8500", "host", "host:", "host:99999", "::1:80", "unix://", long_path};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct address address = {.port = 7};
        struct error error = {0};
        assert_false(address_parse(bad[i], &address, &error));
        assert_int_equal(error.code, ERR_INVALID);
        assert_int_equal(address.port, 7);
    }
}

/* TLS. */

static struct fixture_identity ca, other_ca, web, expired;

static struct tls_context *server_tls(const struct fixture_identity *identity,
                                      const char *client_ca, const char *const *alpn)
{
    struct error error;
    struct tls_context *tls =
        tls_server_new(&(struct tls_server_config){.certificate_pem = identity->certificate_pem,
                                                   .private_key_pem = identity->key_pem,
                                                   .client_ca_pem = client_ca,
                                                   .alpn = alpn},
                       &error);
    assert_non_null(tls);
    return tls;
}

static struct tls_context *client_tls(const char *ca_pem, const char *name,
                                      const struct fixture_identity *identity,
                                      const char *const *alpn)
{
    struct error error = {0};
    struct tls_context *tls = tls_client_new(
        &(struct tls_client_config){.ca_pem = ca_pem,
                                    .server_name = name,
                                    .certificate_pem = identity ? identity->certificate_pem : NULL,
                                    .private_key_pem = identity ? identity->key_pem : NULL,
                                    .alpn = alpn},
        &error);
    if (!tls)
        fail_msg("%s", error.message);
    return tls;
}

static const char *const h2[] = {"h2", NULL};
static const char *const h1[] = {"http/1.1", NULL};
static const char *const both[] = {"http/1.1", "h2", NULL};

/* Runs until the echo is back or the client is refused; both contexts are given away. */
static void converse(struct world *world, struct tls_context *server, struct tls_context *client)
{
    world_new(world);
    world_listen(world, "127.0.0.1:0", server);
    world->on_data = echo_once;
    world_dial(world, client);
    tls_unref(server);
    tls_unref(client);
    stream_write(world->client.stream, "secret", 6);
    loop_run(world->loop);
}

static void assert_talked(struct world *world, const char *alpn)
{
    assert_string_equal(world->client.error.message, "");
    assert_string_equal(buffer_text(&world->client.got), "secret");
    assert_string_equal(stream_alpn(world->client.stream), alpn);
    assert_string_equal(stream_alpn(world->server.stream), alpn);
    assert_string_equal(stream_server_name(world->server.stream), "web.test");
    world_free(world);
}

static void tls_carries_bytes_and_alpn(void **state)
{
    (void)state;
    struct world world;
    converse(&world, server_tls(&web, NULL, h2),
             client_tls(ca.certificate_pem, "web.test", NULL, both));
    assert_talked(&world, "h2");
    converse(&world, server_tls(&web, NULL, h2),
             client_tls(ca.certificate_pem, "web.test", NULL, NULL));
    assert_talked(&world, "");
    converse(&world, server_tls(&web, NULL, NULL),
             client_tls(ca.certificate_pem, "web.test", NULL, h2));
    assert_talked(&world, "");
}

static void assert_refused(struct world *world, const char *words)
{
    assert_int_equal(world->client.bytes, 0);
    assert_int_equal(world->client.closed, 1);
    if (!strstr(world->client.error.message, words))
        fail_msg("\"%s\" lacks \"%s\"", world->client.error.message, words);
    world_free(world);
}

static void tls_client_refuses_a_stranger(void **state)
{
    (void)state;
    struct world world;
    converse(&world, server_tls(&web, NULL, NULL),
             client_tls(ca.certificate_pem, "db.test", NULL, NULL));
    assert_int_equal(world.accepted, 0);
    assert_refused(&world,
                   "its certificate is for web.test, *.apps.test, not for db.test as expected");
    converse(&world, server_tls(&web, NULL, NULL),
             client_tls(other_ca.certificate_pem, "web.test", NULL, NULL));
    assert_int_equal(world.client.error.code, ERR_UNAUTHENTICATED);
    assert_refused(&world, "certificate /CN=web is not trusted: unable to get local issuer");
    converse(&world, server_tls(&expired, NULL, NULL),
             client_tls(ca.certificate_pem, "web.test", NULL, NULL));
    assert_refused(&world, "certificate has expired");
    converse(&world, server_tls(&web, NULL, h1),
             client_tls(ca.certificate_pem, "web.test", NULL, h2));
    assert_refused(&world, "no application protocol");
}

static void tls_client_takes_wildcards_and_pinned_certificates(void **state)
{
    (void)state;
    struct world world;
    converse(&world, server_tls(&web, NULL, NULL),
             client_tls(ca.certificate_pem, "shop.apps.test", NULL, NULL));
    assert_string_equal(buffer_text(&world.client.got), "secret");
    world_free(&world);
    converse(&world, server_tls(&web, NULL, NULL),
             client_tls(web.certificate_pem, "web.test", NULL, NULL));
    assert_talked(&world, "");
}

static void tls_server_asks_for_client_certificates(void **state)
{
    (void)state;
    struct world world;
    converse(&world, server_tls(&web, ca.certificate_pem, NULL),
             client_tls(ca.certificate_pem, "web.test", &web, NULL));
    assert_talked(&world, "");
    converse(&world, server_tls(&web, ca.certificate_pem, NULL),
             client_tls(ca.certificate_pem, "web.test", NULL, NULL));
    assert_int_equal(world.accepted, 0);
    assert_refused(&world, "certificate required");
    converse(&world, server_tls(&web, other_ca.certificate_pem, NULL),
             client_tls(ca.certificate_pem, "web.test", &web, NULL));
    assert_refused(&world, "unknown CA");
}

static struct tls_context *selected;
static char selected_by[100];

static struct tls_context *select_by_name(void *arg, const char *name)
{
    (void)arg;
    snprintf(selected_by, sizeof selected_by, "%s", name);
    return text_equal(name, "web.test") ? selected : NULL;
}

static void tls_server_chooses_by_name(void **state)
{
    (void)state;
    struct world world;
    selected = server_tls(&web, ca.certificate_pem, NULL);
    converse(&world, tls_server_select_new(select_by_name, NULL, h2),
             client_tls(ca.certificate_pem, "web.test", &web, h2));
    assert_string_equal(selected_by, "web.test");
    assert_talked(&world, "h2");
    converse(&world, tls_server_select_new(select_by_name, NULL, h2),
             client_tls(ca.certificate_pem, "web.test", NULL, h2));
    assert_refused(&world, "certificate required"); /* the chosen identity's rule counts */
    converse(&world, tls_server_select_new(select_by_name, NULL, NULL),
             client_tls(ca.certificate_pem, "shop.apps.test", &web, NULL));
    assert_int_equal(world.accepted, 0);
    assert_refused(&world, "unrecognized name");
    tls_unref(selected);
}

static void tls_moves_much_and_waits_for_slow_readers(void **state)
{
    (void)state;
    struct tls_context *server = server_tls(&web, NULL, NULL);
    struct tls_context *client = client_tls(ca.certificate_pem, "web.test", NULL, NULL);
    check_back_pressure(server, client);
    struct world world;
    world_new(&world);
    world_listen(&world, "127.0.0.1:0", server);
    world.on_accept = write_and_leave;
    world_dial(&world, client);
    loop_run(world.loop);
    assert_int_equal(world.client.bytes, 3000000);
    assert_string_equal(world.client.error.message, ""); /* close_notify came */
    world_free(&world);
    tls_unref(server);
    tls_unref(client);
}

static void paused_client_still_shakes_hands(void **state)
{
    (void)state;
    struct tls_context *server = server_tls(&web, NULL, NULL);
    struct tls_context *client = client_tls(ca.certificate_pem, "web.test", NULL, NULL);
    struct world world;
    world_new(&world);
    world_listen(&world, "127.0.0.1:0", server);
    world_dial(&world, client);
    stream_pause(world.client.stream);
    stream_write(world.client.stream, "x", 1);
    world.on_data = stop;
    loop_run(world.loop); /* the server has it: the handshake is done */
    assert_int_equal(world.server.bytes, 1);
    stream_write(world.server.stream, "y", 1);
    stream_resume(world.client.stream);
    loop_run(world.loop);
    assert_string_equal(buffer_text(&world.client.got), "y");
    world_free(&world);
    tls_unref(server);
    tls_unref(client);
}

static void cut_off(struct side *side)
{
    if (side == &side->world->server)
        leave_in_callback(side);
}

static void tls_connection_that_is_cut_off_is_an_error(void **state)
{
    (void)state;
    struct tls_context *server = server_tls(&web, NULL, NULL);
    struct tls_context *client = client_tls(ca.certificate_pem, "web.test", NULL, NULL);
    struct world world;
    world_new(&world);
    world_listen(&world, "127.0.0.1:0", server);
    world.on_data = cut_off;
    world_dial(&world, client);
    stream_write(world.client.stream, "x", 1);
    loop_run(world.loop);
    assert_non_null(strstr(world.client.error.message, "cut off without a TLS goodbye"));
    world_free(&world);
    tls_unref(server);
    tls_unref(client);
}

static void answer_in_plain(struct side *side)
{
    if (side == &side->world->server)
        stream_write(side->stream, "HTTP/1.1 400 Bad Request\r\n\r\n", 28);
}

static void tls_to_a_plain_port_is_explained(void **state)
{
    (void)state;
    struct tls_context *client = client_tls(ca.certificate_pem, "web.test", NULL, NULL);
    struct world world;
    world_new(&world);
    world_listen(&world, "127.0.0.1:0", NULL);
    world.on_data = answer_in_plain;
    world_dial(&world, client);
    loop_run(world.loop);
    assert_true(text_starts(world.client.error.message, "TLS handshake with 127.0.0.1:"));
    world_free(&world);
    tls_unref(client);
}

static void plain_client_of_a_tls_port_never_appears(void **state)
{
    (void)state;
    struct tls_context *server = server_tls(&web, NULL, NULL);
    struct world world;
    world_new(&world);
    world_listen(&world, "127.0.0.1:0", server);
    world_dial(&world, NULL);
    stream_write(world.client.stream, "GET / HTTP/1.1\r\n\r\n", 18);
    loop_run(world.loop);
    assert_int_equal(world.accepted, 0);
    assert_int_equal(world.client.closed, 1);
    world_free(&world);
    tls_unref(server);
}

static void bad_settings_are_refused_in_words(void **state)
{
    (void)state;
    struct error error;
    struct tls_server_config config = {.certificate_pem = web.certificate_pem,
                                       .private_key_pem = ca.key_pem};
    assert_null(tls_server_new(&config, &error));
    assert_non_null(strstr(error.message, "does not belong to the certificate"));
    config.private_key_pem = "junk";
    assert_null(tls_server_new(&config, &error));
    config.certificate_pem = "junk";
    assert_null(tls_server_new(&config, &error));
    struct tls_client_config client = {.ca_pem = "junk", .server_name = "x"};
    assert_null(tls_client_new(&client, &error));
    client.server_name = NULL;
    assert_null(tls_client_new(&client, &error));
    assert_non_null(strstr(error.message, "the server's name"));
}

static int make_certificates(void **state)
{
    (void)state;
    ca = fixture_issue(NULL, "ca", NULL, 30);
    other_ca = fixture_issue(NULL, "other", NULL, 30);
    web = fixture_issue(&ca, "web", "DNS:web.test,DNS:*.apps.test", 30);
    expired = fixture_issue(&ca, "web", "DNS:web.test", -1);
    return 0;
}

static int free_certificates(void **state)
{
    (void)state;
    fixture_free(&ca);
    fixture_free(&other_ca);
    fixture_free(&web);
    fixture_free(&expired);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_read_and_written),
        cmocka_unit_test(bytes_go_both_ways),
        cmocka_unit_test(names_are_resolved),
        cmocka_unit_test(close_flushes_what_was_written),
        cmocka_unit_test(client_that_closes_at_once_still_sends),
        cmocka_unit_test(aborted_stream_calls_nobody),
        cmocka_unit_test(failures_name_the_address),
        cmocka_unit_test(slow_reader_is_waited_for),
        cmocka_unit_test(dial_gives_up_in_time),
        cmocka_unit_test(port_in_use_says_what_to_do),
        cmocka_unit_test(address_of_a_stopped_listener_is_free_at_once),
        cmocka_unit_test(connections_beyond_the_limit_are_closed),
        cmocka_unit_test(unix_sockets_work_and_stale_ones_are_replaced),
        cmocka_unit_test(tls_carries_bytes_and_alpn),
        cmocka_unit_test(tls_client_refuses_a_stranger),
        cmocka_unit_test(tls_client_takes_wildcards_and_pinned_certificates),
        cmocka_unit_test(tls_server_asks_for_client_certificates),
        cmocka_unit_test(tls_server_chooses_by_name),
        cmocka_unit_test(tls_moves_much_and_waits_for_slow_readers),
        cmocka_unit_test(paused_client_still_shakes_hands),
        cmocka_unit_test(tls_connection_that_is_cut_off_is_an_error),
        cmocka_unit_test(tls_to_a_plain_port_is_explained),
        cmocka_unit_test(plain_client_of_a_tls_port_never_appears),
        cmocka_unit_test(bad_settings_are_refused_in_words),
    };
    return cmocka_run_group_tests(tests, make_certificates, free_certificates);
}
