/* Listens, and finds the method of each call. */
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "base/list.h"
#include "base/memory.h"
#include "net/grpc_link.h"

#define KEEPALIVE_MS 30000
#define KEEPALIVE_TIMEOUT_MS 20000

struct method {
    UT_hash_handle hh;
    const char *path; /* the key, borrowed */
    grpc_method_fn *fn;
    void *arg;
};

struct connection {
    struct list node;
    struct grpc_link *link;
};

struct grpc_server {
    struct loop *loop;
    size_t max_message_bytes;
    struct method *methods;
    struct listener **listeners;
    size_t listener_count;
    struct list connections;
    grpc_guard_fn *guard; /* or NULL */
    void *guard_arg;
};

struct grpc_server *grpc_server_new(struct loop *loop, size_t max_message_bytes)
{
    struct grpc_server *server = mem_zalloc(sizeof *server);
    server->loop = loop;
    server->max_message_bytes = max_message_bytes;
    list_init(&server->connections);
    return server;
}

void grpc_server_method(struct grpc_server *server, const char *path, grpc_method_fn *fn, void *arg)
{
    struct method *method = mem_zalloc(sizeof *method);
    method->path = path;
    method->fn = fn;
    method->arg = arg;
    HASH_ADD_KEYPTR(hh, server->methods, path, strlen(path), method);
}

void grpc_server_guard(struct grpc_server *server, grpc_guard_fn *guard, void *arg)
{
    server->guard = guard;
    server->guard_arg = arg;
}

static bool has_service(const struct grpc_server *server, const char *path, size_t length)
{
    for (const struct method *method = server->methods; method != NULL; method = method->hh.next)
        if (strncmp(method->path, path, length) == 0)
            return true;
    return false;
}

/* Common clients show these words to their users. */
static void refuse_unknown(const struct grpc_server *server, struct grpc_call *call)
{
    const char *path = grpc_path(call), *slash = strrchr(path, '/');
    char *message;
    if (path[0] != '/' || slash == path)
        message = mem_printf("malformed method name: \"%s\"", path);
    else if (has_service(server, path, (size_t)(slash - path) + 1))
        message = mem_printf("unknown method %s for service %.*s", slash + 1,
                             (int)(slash - path - 1), path + 1);
    else
        message = mem_printf("unknown service %.*s", (int)(slash - path - 1), path + 1);
    grpc_finish(call, GRPC_UNIMPLEMENTED, message, NULL, 0);
    free(message);
}

static void on_call(void *arg, struct grpc_call *call)
{
    struct grpc_server *server = arg;
    struct method *method = NULL;
    const char *path = grpc_path(call);
    const char *refusal;
    if (server->guard != NULL && !server->guard(server->guard_arg, call, &refusal)) {
        grpc_finish(call, GRPC_PERMISSION_DENIED, refusal, NULL, 0);
        return;
    }
    HASH_FIND(hh, server->methods, path, strlen(path), method);
    if (method == NULL)
        refuse_unknown(server, call);
    else
        method->fn(method->arg, call);
}

static void drop_connection(struct connection *connection)
{
    list_remove(&connection->node);
    grpc_link_free(connection->link);
    free(connection);
}

static void on_link_end(void *arg, const struct error *error)
{
    (void)error; /* each call has been told */
    drop_connection(arg);
}

static void on_accept(void *arg, struct stream *stream)
{
    struct grpc_server *server = arg;
    struct connection *connection = mem_zalloc(sizeof *connection);
    struct grpc_core_config config = {
        .server = true,
        .peer = stream_peer(stream),
        .server_name = stream_server_name(stream),
        .max_message_bytes = server->max_message_bytes,
        .keepalive_ms = KEEPALIVE_MS,
        .keepalive_timeout_ms = KEEPALIVE_TIMEOUT_MS,
        .on_call = on_call,
        .call_arg = server,
    };
    list_append(&server->connections, &connection->node);
    connection->link = grpc_link_accept(server->loop, stream, config, on_link_end, connection);
}

bool grpc_server_listen(struct grpc_server *server, const struct address *address,
                        struct tls_context *tls, struct error *error)
{
    struct listener *listener =
        listener_new(server->loop, address, tls, 0, on_accept, server, error);
    if (listener == NULL)
        return false;
    server->listeners =
        mem_realloc(server->listeners, (server->listener_count + 1) * sizeof *server->listeners);
    server->listeners[server->listener_count++] = listener;
    return true;
}

uint16_t grpc_server_port(const struct grpc_server *server, size_t listener_index)
{
    return listener_port(server->listeners[listener_index]);
}

void grpc_server_free(struct grpc_server *server)
{
    if (server == NULL)
        return;
    for (size_t i = 0; i < server->listener_count; i++)
        listener_free(server->listeners[i]);
    free(server->listeners);
    while (!list_empty(&server->connections)) {
        struct connection *connection =
            list_entry(server->connections.next, struct connection, node);
        grpc_link_shutdown(connection->link);
        drop_connection(connection);
    }
    struct method *method, *next;
    HASH_ITER (hh, server->methods, method, next) {
        HASH_DEL(server->methods, method);
        free(method);
    }
    free(server);
}
