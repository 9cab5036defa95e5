/* The HTTP server over real sockets, as clients of all kinds of manners meet it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "base/text.h"
#include "net/http_server.h"
#include "tls_fixture.h"

#define HELD_MAX 64

struct client {
    struct world *world;
    struct stream *stream;
    struct buffer got;
    bool closed;
};

struct world {
    struct loop *loop;
    struct http_server *server;
    struct address address;
    struct client client;
    struct http_request *held[HELD_MAX]; /* by /hold: not answered yet */
    int held_count, aborted, handled;
    const char *wanted; /* the loop stops when the client has got this */
    int wanted_count;
    struct timer *limit;
};

static void on_abort(void *arg)
{
    struct world *world = arg;
    world->aborted++;
    loop_stop(world->loop);
}

static void describe(struct http_request *request)
{
    struct buffer text = {0};
    size_t length;
    const char *body = http_body(request, &length);
    buffer_printf(&text, "%s %s", http_method(request), http_path(request));
    for (size_t i = 0; i < http_query_count(request); i++)
        buffer_printf(&text, " %s=%s", http_query_name(request, i),
                      http_query(request, http_query_name(request, i), 0));
    if (http_header(request, "x-test"))
        buffer_printf(&text, " x-test:%s", http_header(request, "X-TEST"));
    buffer_printf(&text, " [%zu:%.40s]", length, body);
    static const struct http_header headers[] = {{"Content-Type", "text/plain"},
                                                 {"X-Split", "a\r\nb"}};
    http_respond(request, 200, headers, 2, text.data, text.length);
    buffer_free(&text);
}

static void handle(void *arg, struct http_request *request)
{
    struct world *world = arg;
    const char *path = http_path(request);
    world->handled++;
    if (text_starts(path, "/hold") && world->held_count < HELD_MAX) {
        world->held[world->held_count++] = request;
        http_on_abort(request, on_abort, world);
        loop_stop(world->loop);
    } else if (text_equal(path, "/stream")) {
        http_respond_start(request, 200, NULL, 0);
        http_respond_chunk(request, "hello ", 6);
        http_respond_chunk(request, "", 0);
        http_respond_chunk(request, "world", 5);
        http_respond_end(request);
    } else if (text_equal(path, "/none")) {
        http_respond(request, 204, NULL, 0, NULL, 0);
    } else if (text_equal(path, "/large")) {
        char *body = mem_alloc(1000000);
        memset(body, 'L', 1000000);
        http_respond(request, 200, NULL, 0, body, 1000000);
        free(body);
    } else if (text_equal(path, "/free")) {
        http_server_free(world->server);
        world->server = NULL;
        http_respond(request, 200, NULL, 0, "x", 1);
    } else {
        describe(request);
    }
}

static void check_wanted(struct client *client)
{
    const char *at = buffer_text(&client->got);
    int count = 0;
    while (client->world->wanted && (at = strstr(at, client->world->wanted))) {
        count++;
        at++;
    }
    if (client->closed || (client->world->wanted && count >= client->world->wanted_count))
        loop_stop(client->world->loop);
}

static void on_data(void *arg, const uint8_t *data, size_t length)
{
    struct client *client = arg;
    buffer_add(&client->got, data, length);
    check_wanted(client);
}

static void on_close(void *arg, const struct error *error)
{
    (void)error;
    struct client *client = arg;
    client->closed = true;
    loop_stop(client->world->loop);
}

static const struct stream_handler client_handler = {.on_data = on_data, .on_close = on_close};

static void too_long(void *arg)
{
    struct world *world = arg;
    fail_msg("nothing happened for 20 s; the client has: %s", buffer_text(&world->client.got));
}

static void dial(struct world *world)
{
    world->client.world = world;
    world->client.closed = false;
    buffer_reset(&world->client.got);
    world->client.stream =
        stream_dial(world->loop, &world->address, NULL, 5000, &client_handler, &world->client);
}

static void world_new(struct world *world, const struct http_limits *limits)
{
    struct error error = {0};
    *world = (struct world){.loop = loop_new()};
    world->limit = timer_new(world->loop, too_long, world);
    timer_start(world->limit, 20000, 0);
    world->server = http_server_new(world->loop, limits, handle, world);
    address_parse("127.0.0.1:0", &world->address, NULL);
    if (!http_server_listen(world->server, &world->address, NULL, &error))
        fail_msg("%s", error.message);
    world->address.port = http_server_port(world->server, 0);
    dial(world);
}

static void hang_up(struct world *world)
{
    if (world->client.stream)
        stream_abort(world->client.stream);
    world->client.stream = NULL;
}

static void world_free(struct world *world)
{
    hang_up(world);
    buffer_free(&world->client.got);
    http_server_free(world->server);
    address_clear(&world->address);
    loop_free(world->loop);
}

static void say(struct world *world, const char *text)
{
    assert_true(stream_write(world->client.stream, text, strlen(text)));
}

/* Until the client has got `text` so many times. */
static __attribute__((noinline)) const char *await(struct world *world, const char *text, int count)
{
    world->wanted = text;
    world->wanted_count = count;
    loop_run(world->loop);
    world->wanted = NULL;
    const char *got = buffer_text(&world->client.got), *at = got;
    for (int i = 0; i < count; i++, at++)
        if (!(at = strstr(at, text)))
            fail_msg("\"%s\" did not come %d times; the client has: %s", text, count, got);
    return got;
}

static const char *await_close(struct world *world)
{
    while (!world->client.closed)
        loop_run(world->loop);
    return buffer_text(&world->client.got);
}

static __attribute__((noinline)) void expect(const char *got, const char *part)
{
    if (!strstr(got, part))
        fail_msg("\"%s\" is not in: %s", part, got);
}

static void answer_held(struct world *world, int index, const char *text)
{
    http_respond(world->held[index], 200, NULL, 0, text, strlen(text));
}

/* Well-mannered clients. */

static void requests_are_answered_on_one_connection(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, NULL);
    say(&world, "GET /v1/a%20b?stale&q=a%2Fb+c&q=2 HTTP/1.1\r\nHost: x\r\nX-Test: one \r\n"
                "X-Empty:\r\nx-test:two\r\n\r\n");
    const char *got = await(&world, "[0:]", 1);
    assert_true(text_starts(got, "HTTP/1.1 200 OK\r\n"));
    expect(got, "GET /v1/a%20b stale= q=a/b c q=a/b c x-test:one, two [0:]");
    expect(got, "\r\nContent-Length: ");
    expect(got, "\r\nDate: ");
    expect(got, "\r\nX-Split: a  b\r\n");
    assert_null(strstr(got, "Connection:"));
    buffer_reset(&world.client.got);
    say(&world, "PUT /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
    expect(await(&world, "[5:hello]", 1), "PUT /b [5:hello]");
    buffer_reset(&world.client.got);
    say(&world, "POST http://other.test?x=1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n"
                "Connection: close\r\n\r\n3\r\nabc\r\n4;ext=1\r\ndefg\r\n0\r\nTrailer: t\r\n\r\n");
    expect(await_close(&world), "Connection: close\r\n\r\nPOST / x=1 [7:abcdefg]");
    world_free(&world);
}

static void bytes_may_come_one_by_one(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, NULL);
    const char *text = "PUT /slow?a=b HTTP/1.1\r\nHost: x\r\nX-Test: v\r\nTransfer-Encoding: "
                       "chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    for (; *text; text++) {
        stream_write(world.client.stream, text, 1);
        world.wanted = NULL;
        loop_defer(world.loop, on_abort, &world); /* one turn */
        loop_run(world.loop);
    }
    expect(await(&world, "]", 1), "PUT /slow a=b x-test:v [2:hi]");
    world_free(&world);
}

static void head_and_204_have_no_body(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, NULL);
    say(&world, "HEAD /h HTTP/1.1\r\nHost: x\r\n\r\nHEAD /stream HTTP/1.1\r\nHost: x\r\n\r\n"
                "GET /none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    const char *got = await_close(&world);
    expect(got, "Content-Length: 12\r\n\r\nHTTP/1.1 200 OK\r\n");
    expect(got, "Transfer-Encoding: chunked\r\n\r\nHTTP/1.1 204 No Content\r\nDate: ");
    assert_null(strstr(got, "[0:]"));
    world_free(&world);
}

static void old_http_is_spoken(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, NULL);
    say(&world, "GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    expect(await(&world, "[0:]", 1), "Connection: keep-alive\r\n");
    buffer_reset(&world.client.got);
    say(&world, "GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    const char *got = await_close(&world);
    assert_true(text_starts(got, "HTTP/1.0 200 OK\r\n"));
    assert_true(text_ends(got, "Connection: close\r\n\r\nhello world"));
    hang_up(&world);
    dial(&world);
    say(&world, "GET /old HTTP/1.0\r\n\r\n");
    expect(await_close(&world), "GET /old [0:]");
    world_free(&world);
}

static void streamed_answer_is_chunked(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, NULL);
    say(&world, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    expect(await(&world, "0\r\n\r\n", 1),
           "Transfer-Encoding: chunked\r\n\r\n6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n");
    world_free(&world);
}

static void client_that_asks_first_is_told_to_go_on(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, NULL);
    say(&world, "PUT /b HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    assert_string_equal(await(&world, "\r\n\r\n", 1), "HTTP/1.1 100 Continue\r\n\r\n");
    say(&world, "ok");
    await(&world, "PUT /b [2:ok]", 1);
    /* Not before the answers that are due, though. */
    buffer_reset(&world.client.got);
    say(&world, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n"
                "PUT /c HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    while (world.held_count < 1)
        loop_run(world.loop);
    answer_held(&world, 0, "first");
    const char *got = await(&world, "100 Continue\r\n\r\n", 1);
    assert_true(strstr(got, "first") < strstr(got, "100 Continue"));
    say(&world, "ok");
    await(&world, "PUT /c [2:ok]", 1);
    world_free(&world);
}

static void upgrade_that_is_offered_is_ignored(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, NULL);
    say(&world, "GET /u HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n"
                "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n");
    await(&world, "GET /u [0:]", 1);
    say(&world, "GET /again HTTP/1.1\r\nHost: x\r\n\r\n");
    await(&world, "GET /again [0:]", 1);
    world_free(&world);
}

static void https_is_served(void **state)
{
    (void)state;
    struct fixture_identity ca = fixture_issue(NULL, "ca", NULL, 30);
    struct fixture_identity web = fixture_issue(&ca, "web", "IP:127.0.0.1", 30);
    struct error error = {0};
    struct tls_context *server =
        tls_server_new(&(struct tls_server_config){.certificate_pem = web.certificate_pem,
                                                   .private_key_pem = web.key_pem},
                       &error);
    struct tls_context *client = tls_client_new(
        &(struct tls_client_config){.ca_pem = ca.certificate_pem, .server_name = "127.0.0.1"},
        &error);
    struct world world;
    world_new(&world, NULL);
    hang_up(&world);
    struct address any = {.host = (char *)"127.0.0.1"};
    assert_true(http_server_listen(world.server, &any, server, &error));
    any.port = http_server_port(world.server, 1);
    world.client.stream =
        stream_dial(world.loop, &any, client, 5000, &client_handler, &world.client);
    say(&world, "GET /tls HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    expect(await_close(&world), "GET /tls [0:]");
    world_free(&world);
    tls_unref(server);
    tls_unref(client);
    fixture_free(&ca);
    fixture_free(&web);
}

/* Pipelining. */

static void pipelined_answers_come_in_order(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, NULL);
    say(&world, "GET /hold/0 HTTP/1.1\r\nHost: x\r\n\r\nGET /now HTTP/1.1\r\nHost: x\r\n\r\n"
                "GET /stream HTTP/1.1\r\nHost: x\r\n\r\nGET /hold/1 HTTP/1.1\r\nHost: x\r\n\r\n");
    while (world.held_count < 2)
        loop_run(world.loop);
    assert_int_equal(world.handled, 4); /* a blocked one does not stop the later ones */
    answer_held(&world, 1, "last");
    assert_string_equal(buffer_text(&world.client.got), "");
    answer_held(&world, 0, "first");
    const char *got = await(&world, "last", 1);
    assert_true(strstr(got, "first") < strstr(got, "GET /now"));
    assert_true(strstr(got, "GET /now") < strstr(got, "world\r\n0\r\n\r\n"));
    assert_true(strstr(got, "world\r\n0\r\n\r\n") < strstr(got, "last"));
    world_free(&world);
}

static void too_many_in_work_wait(void **state)
{
    (void)state;
    struct world world;
    struct http_limits limits = http_limits_default;
    limits.pipeline = 3;
    world_new(&world, &limits);
    for (int i = 0; i < 10; i++)
        say(&world, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    while (world.held_count < 3)
        loop_run(world.loop);
    for (int i = 0; i < 10; i++) {
        while (world.held_count <= i)
            loop_run(world.loop);
        assert_true(world.held_count - i <= 3);
        answer_held(&world, i, "answer");
    }
    await(&world, "answer", 10);
    world_free(&world);
}

static void much_pipelining_to_a_slow_reader_arrives_whole(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, NULL);
    stream_pause(world.client.stream);
    for (int i = 0; i < 30; i++)
        say(&world, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
    say(&world, "GET /end HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    while (world.handled < 2)
        loop_defer(world.loop, on_abort, &world), loop_run(world.loop);
    assert_true(world.handled < 30); /* it does not pile up answers without end */
    stream_resume(world.client.stream);
    const char *got = await_close(&world);
    expect(got, "GET /end [0:]");
    assert_true(world.client.got.length > 30000000);
    world_free(&world);
}

/* Clients that leave. */

static void leaving_client_aborts_its_requests(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, NULL);
    say(&world, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\nGET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    while (world.held_count < 2)
        loop_run(world.loop);
    hang_up(&world);
    while (world.aborted < 2)
        loop_run(world.loop);
    assert_string_equal(http_path(world.held[0]), "/hold"); /* still ours to read */
    assert_string_equal(http_peer(world.held[0]), "a client that has left");
    answer_held(&world, 0, "into the void");
    http_respond_start(world.held[1], 200, NULL, 0);
    http_respond_chunk(world.held[1], "x", 1);
    http_respond_end(world.held[1]);
    world_free(&world);
    assert_int_equal(world.aborted, 2);
}

static void freeing_the_server_aborts_its_requests(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, NULL);
    say(&world, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\nGET /n HTTP/1.1\r\nHost: x\r\n\r\nGET /pa");
    while (world.held_count < 1)
        loop_run(world.loop);
    http_server_free(world.server);
    world.server = NULL;
    assert_int_equal(world.aborted, 1);
    answer_held(&world, 0, "too late");
    assert_string_equal(await_close(&world), "");
    world_free(&world);
}

static void handler_may_free_the_server(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, NULL);
    say(&world, "GET /free HTTP/1.1\r\nHost: x\r\n\r\nGET /n HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_string_equal(await_close(&world), "");
    world_free(&world);
}

/* Clients that go too far. */

static void check_refusal(const struct http_limits *limits, const char *request, const char *status,
                          const char *words)
{
    struct world world;
    world_new(&world, limits);
    say(&world, request);
    const char *got = await_close(&world);
    char line[100];
    snprintf(line, sizeof line, "HTTP/1.%c %s", got[7] == '0' ? '0' : '1', status);
    if (!text_starts(got, line))
        fail_msg("not %s: %s", status, got);
    expect(got, "Content-Type: text/plain; charset=utf-8\r\n");
    expect(got, "Connection: close\r\n");
    expect(got, words);
    assert_true(text_ends(got, "\n"));
    assert_int_equal(world.handled, 0);
    world_free(&world);
}

static void malformed_requests_are_refused_in_words(void **state)
{
    (void)state;
    static const struct {
        const char *request, *status, *words;
    } cases[] = {
        {"hello\r\n\r\n", "400 Bad Request", "not a well-formed HTTP/1.1 request: "},
        {"GET / HTTP/1.1\r\n\r\n", "400", "lacks a Host header"},
        {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400", "more than one Host"},
        {"GET /?a=%zz HTTP/1.1\r\nHost: x\r\n\r\n", "400", "percent escape"},
        {"GET /?a=%0 HTTP/1.1\r\nHost: x\r\n\r\n", "400", "percent escape"},
        {"GET /?%00=1 HTTP/1.1\r\nHost: x\r\n\r\n", "400", "percent escape"},
        {"GET * HTTP/1.1\r\nHost: x\r\n\r\n", "400", "must be a path"},
        {"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", "501", "CONNECT"},
        {"GET / HTTP/1.1\r\nHost: x\r\nExpect: gold\r\n\r\n", "417", "100-continue"},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400", "HTTP/1.1"},
        /* Where requests could be smuggled past something in front. */
        {"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
         "0\r\n\r\n",
         "400", ""},
        {"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"
         "0\r\n\r\n",
         "400", ""},
        {"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", "400",
         ""},
        {"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\nabc", "400", ""},
        {"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\nabc", "400", ""},
        {"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "501",
         "chunked"},
        {"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", "", ""},
        {"PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400", "HTTP/1.0"},
        {"GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n", "400", ""},
        {"GET / HTTP/1.1\nHost: x\n\n", "400", ""},
        {"GET / HTTP/1.1\r\nHost: x\rX: y\r\n\r\n", "400", ""},
        {"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", "400", ""},
        {"GET / HTTP/1.1\r\nHost : x\r\n\r\n", "400", ""},
        {"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "400", ""},
        {"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
         "fffffffffffffffff\r\n",
         "400", ""},
        {"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\nhi\r\n0\r\n\r\n", "400",
         ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_refusal(NULL, cases[i].request, cases[i].status, cases[i].words);
}

static void limits_are_kept(void **state)
{
    (void)state;
    struct http_limits limits = http_limits_default;
    limits.header_bytes = 200;
    limits.body_bytes = 10;
    check_refusal(&limits, "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n",
                  "413 Content Too Large", "the request body is too large");
    check_refusal(&limits,
                  "PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: "
                  "11\r\n\r\n",
                  "413", "the request body is too large");
    check_refusal(&limits,
                  "PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "6\r\nabcdef\r\n6\r\nabcdef\r\n0\r\n\r\n",
                  "413", "the request body is too large");
    char request[1000], filler[301];
    memset(filler, 'f', 300);
    filler[300] = '\0';
    snprintf(request, sizeof request, "GET /%s HTTP/1.1\r\nHost: x\r\n\r\n", filler);
    check_refusal(&limits, request, "431 Request Header Fields Too Large", "headers are too large");
    snprintf(request, sizeof request, "GET / HTTP/1.1\r\nHost: x\r\nA: %s", filler);
    check_refusal(&limits, request, "431", "headers are too large");
    snprintf(request, sizeof request,
             "PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nT: %s\r\n\r\n",
             filler);
    check_refusal(&limits, request, "431", "headers are too large");
}

static void slow_clients_are_shown_out(void **state)
{
    (void)state;
    struct http_limits limits = http_limits_default;
    limits.header_timeout_ms = limits.body_timeout_ms = 40;
    check_refusal(&limits, "GET / HTTP/1.1\r\nHo", "408 Request Timeout",
                  "headers did not arrive in time");
    check_refusal(&limits, "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabc", "408",
                  "body did not arrive in time");
    limits = http_limits_default;
    limits.idle_timeout_ms = 40;
    struct world world;
    world_new(&world, &limits);
    assert_string_equal(await_close(&world), ""); /* said nothing at all */
    hang_up(&world);
    dial(&world);
    say(&world, "GET /once HTTP/1.1\r\nHost: x\r\n\r\n");
    expect(await_close(&world), "GET /once [0:]");
    assert_int_equal(world.handled, 1);
    world_free(&world);
}

static void on_late(void *arg)
{
    struct world *world = arg;
    answer_held(world, 0, "patience");
}

static void blocking_query_outlasts_the_time_limits(void **state)
{
    (void)state;
    struct http_limits limits = http_limits_default;
    limits.header_timeout_ms = limits.body_timeout_ms = limits.idle_timeout_ms = 20;
    struct world world;
    world_new(&world, &limits);
    say(&world, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    while (world.held_count < 1)
        loop_run(world.loop);
    struct timer *timer = timer_new(world.loop, on_late, &world);
    timer_start(timer, 150, 0);
    await(&world, "patience", 1);
    assert_int_equal(world.aborted, 0);
    world_free(&world);
}

static void error_comes_after_the_answers_that_are_due(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, NULL);
    say(&world, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\nnonsense\r\n\r\n");
    while (world.held_count < 1)
        loop_run(world.loop);
    answer_held(&world, 0, "first");
    const char *got = await_close(&world);
    assert_true(strstr(got, "first") && strstr(got, "first") < strstr(got, "400 Bad Request"));
    world_free(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_answered_on_one_connection),
        cmocka_unit_test(bytes_may_come_one_by_one),
        cmocka_unit_test(head_and_204_have_no_body),
        cmocka_unit_test(old_http_is_spoken),
        cmocka_unit_test(streamed_answer_is_chunked),
        cmocka_unit_test(client_that_asks_first_is_told_to_go_on),
        cmocka_unit_test(upgrade_that_is_offered_is_ignored),
        cmocka_unit_test(https_is_served),
        cmocka_unit_test(pipelined_answers_come_in_order),
        cmocka_unit_test(too_many_in_work_wait),
        cmocka_unit_test(much_pipelining_to_a_slow_reader_arrives_whole),
        cmocka_unit_test(leaving_client_aborts_its_requests),
        cmocka_unit_test(freeing_the_server_aborts_its_requests),
        cmocka_unit_test(handler_may_free_the_server),
        cmocka_unit_test(malformed_requests_are_refused_in_words),
        cmocka_unit_test(limits_are_kept),
        cmocka_unit_test(slow_clients_are_shown_out),
        cmocka_unit_test(blocking_query_outlasts_the_time_limits),
        cmocka_unit_test(error_comes_after_the_answers_that_are_due),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
