/* The HTTP/1.1 server's core: whatever a client sends, in whatever pieces.
 *
 * The first byte says how the rest is cut into pieces, the second how the handler behaves. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "net/http_core.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HELD_MAX 64

struct shell {
    struct http_core core;
    struct http_connection *connection; /* NULL once it is over */
    struct http_request *held[HELD_MAX];
    int held_count, handled;
    uint8_t manners;
    bool paused, kicked;
    size_t written;
};

static void shell_write(void *arg, const void *data, size_t length)
{
    struct shell *shell = arg;
    assert(shell->connection && length > 0 && data);
    shell->written += length;
}

static bool shell_full(void *arg)
{
    const struct shell *shell = arg;
    return (shell->manners & 0x80) && shell->written % 7 == 0 && shell->written > 0;
}

static void shell_pause(void *arg, bool paused)
{
    struct shell *shell = arg;
    assert(shell->paused != paused);
    shell->paused = paused;
}

static void shell_kick(void *arg)
{
    struct shell *shell = arg;
    shell->kicked = true;
}

static void shell_finish(void *arg)
{
    struct shell *shell = arg;
    struct http_connection *connection = shell->connection;
    shell->connection = NULL;
    http_connection_free(connection);
}

static const char *shell_peer(void *arg)
{
    (void)arg;
    return "peer";
}

static const struct http_transport transport = {shell_write, shell_full,   shell_pause,
                                                shell_kick,  shell_finish, shell_peer};

static void read_all(struct http_request *request)
{
    size_t length, total = strlen(http_method(request)) + strlen(http_path(request));
    total += strlen(http_body(request, &length)) + length;
    for (size_t i = 0; i < http_query_count(request); i++)
        total += strlen(http_query(request, http_query_name(request, i), 0));
    const char *header = http_header(request, "Accept");
    total += header ? strlen(header) : 0;
    total += strlen(http_peer(request));
    assert(total > 0 && strchr("/*", http_path(request)[0]));
}

static void handle(void *arg, struct http_request *request)
{
    struct shell *shell = arg;
    read_all(request);
    int manner = (shell->manners >> (shell->handled++ % 4)) & 3;
    if (manner == 0 || shell->held_count == HELD_MAX) {
        http_respond(request, 200, NULL, 0, "x", 1);
    } else if (manner == 1) {
        http_respond_start(request, 200, NULL, 0);
        http_respond_chunk(request, "abc", 3);
        http_respond_end(request);
    } else {
        shell->held[shell->held_count++] = request;
    }
}

static void answer_last(struct shell *shell)
{
    if (shell->held_count > 0)
        http_respond(shell->held[--shell->held_count], 404, NULL, 0, "late", 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct http_limits limits = {4096, 8192, 100, 100, 100, 4};
    struct shell shell = {.manners = data[1]};
    http_core_init(&shell.core, &limits, handle, &shell, &transport);
    shell.connection = http_connection_new(&shell.core, &shell);
    size_t piece = data[0] ? data[0] : 4096;
    for (size_t at = 2; at < size && shell.connection; at += piece) {
        size_t length = size - at < piece ? size - at : piece;
        uint8_t *copy = malloc(length); /* so that reading beyond it is seen */
        memcpy(copy, data + at, length);
        shell.core.now++;
        if (!shell.paused || (shell.manners & 0x40))
            http_connection_input(shell.connection, copy, length);
        free(copy);
        if (shell.paused || (at / piece) % 3 == 2)
            answer_last(&shell);
        if (shell.connection && (shell.kicked || shell.paused)) {
            shell.kicked = false;
            http_connection_continue(shell.connection);
        }
        if (shell.connection)
            http_connection_tick(shell.connection);
    }
    if (shell.manners & 0x20)
        while (shell.held_count > 0)
            answer_last(&shell);
    if (shell.connection)
        shell_finish(&shell);
    while (shell.held_count > 0)
        answer_last(&shell);
    http_core_clear(&shell.core);
    return 0;
}
