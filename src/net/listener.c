/* Listening: TCP and Unix sockets, and the hand-over of what is accepted. */
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/text.h"
#include "net/stream_internal.h"

#define HANDSHAKE_MS 10000
#define BACKLOG 1024

struct listener {
    struct loop_resource resource;
    struct loop *loop;
    int refs; /* one for the uv handle, one for each accepted stream */
    bool closed;
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    struct address address;
    struct tls_context *tls;
    unsigned max_connections, connections;
    listener_accept_fn *accept;
    void *arg;
};

static void listener_unref(struct listener *listener)
{
    if (--listener->refs > 0)
        return;
    address_clear(&listener->address);
    free(listener);
}

static void on_listener_closed(uv_handle_t *handle)
{
    listener_unref(handle->data);
}

void listener_free(struct listener *listener)
{
    if (!listener)
        return;
    listener->closed = true;
    loop_detach(&listener->resource);
    tls_unref(listener->tls);
    listener->tls = NULL;
    uv_close(&listener->uv.handle, on_listener_closed);
}

static void on_resource_close(struct loop_resource *resource)
{
    listener_free(list_entry(resource, struct listener, resource));
}

/* Accepting. */

void listener_forget(struct stream *stream)
{
    struct listener *listener = stream->listener;
    stream->listener = NULL;
    listener->connections--;
    listener_unref(listener);
}

void listener_opened(struct stream *stream)
{
    struct listener *listener = stream->listener;
    if (listener->closed)
        stream_kill(stream);
    else
        listener->accept(listener->arg, stream);
}

static void on_handshake_time_out(void *arg)
{
    stream_kill(arg);
}

static void on_connection(uv_stream_t *handle, int status)
{
    struct listener *listener = handle->data;
    if (status < 0)
        return; /* libuv goes on listening */
    struct stream *stream = stream_alloc(listener->loop, NULL, NULL);
    if (listener->address.path)
        uv_pipe_init(loop_uv(listener->loop), &stream->uv.pipe, 0);
    else
        uv_tcp_init(loop_uv(listener->loop), &stream->uv.tcp);
    stream->uv.handle.data = stream;
    stream->listener = listener;
    listener->refs++;
    listener->connections++;
    if (uv_accept(handle, &stream->uv.stream) < 0 ||
        (listener->max_connections && listener->connections > listener->max_connections)) {
        stream_kill(stream);
        return;
    }
    if (!listener->address.path) {
        uv_tcp_nodelay(&stream->uv.tcp, 1);
        uv_tcp_keepalive(&stream->uv.tcp, 1, 60);
    }
    if (listener->tls) {
        stream->tls = tls_session_new(listener->tls, &stream->out);
        stream->timer = timer_new(listener->loop, on_handshake_time_out, stream);
        timer_start(stream->timer, HANDSHAKE_MS, 0);
    }
    stream_connected(stream);
}

static char *format_peer(const struct stream *stream)
{
    struct sockaddr_storage address;
    int length = sizeof address;
    char host[NI_MAXHOST], port[NI_MAXSERV];
    if (!stream->listener || stream->listener->address.path)
        return stream->listener ? address_format(&stream->listener->address)
                                : mem_strdup("unknown");
    if (uv_tcp_getpeername(&stream->uv.tcp, (struct sockaddr *)&address, &length) < 0 ||
        getnameinfo((struct sockaddr *)&address, (socklen_t)length, host, sizeof host, port,
                    sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return mem_strdup("a client that has left");
    return text_join_host_port(host, (uint16_t)atoi(port));
}

const char *stream_peer(const struct stream *stream)
{
    if (!stream->name)
        ((struct stream *)stream)->name = format_peer(stream); /* remembers; changes nothing */
    return stream->name;
}

/* Binding. */

static bool refused(const struct listener *listener, int status, struct error *error)
{
    char *name = address_format(&listener->address);
    const char *advice = "";
    if (status == UV_EADDRINUSE)
        advice = "; another process listens there: stop it, or choose another address or port";
    else if (status == UV_EACCES && !listener->address.path)
        advice = "; this user may not use that port: choose one above 1023";
    else if (status == UV_EACCES)
        advice = "; does the folder exist, and may this user write to it?";
    else if (status == UV_EADDRNOTAVAIL)
        advice = "; no interface of this machine has that address";
    error_set(error, status == UV_EADDRINUSE ? ERR_CONFLICT : ERR_IO, "listen on %s: %s%s", name,
              uv_strerror(status), advice);
    free(name);
    return false;
}

static bool resolve_here(const struct listener *listener, struct sockaddr_storage *ret_address,
                         struct error *error)
{
    const struct address *address = &listener->address;
    if (uv_ip4_addr(address->host, address->port, (struct sockaddr_in *)ret_address) == 0 ||
        uv_ip6_addr(address->host, address->port, (struct sockaddr_in6 *)ret_address) == 0)
        return true;
    uv_getaddrinfo_t resolve;
    char port[8];
    snprintf(port, sizeof port, "%u", address->port);
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    int status =
        uv_getaddrinfo(loop_uv(listener->loop), &resolve, NULL, address->host, port, &hints);
    if (status < 0)
        return refused(listener, status, error);
    memcpy(ret_address, resolve.addrinfo->ai_addr, resolve.addrinfo->ai_addrlen);
    uv_freeaddrinfo(resolve.addrinfo);
    return true;
}

static bool listen_tcp(struct listener *listener, struct error *error)
{
    struct sockaddr_storage address;
    if (!resolve_here(listener, &address, error))
        return false;
    int status = uv_tcp_bind(&listener->uv.tcp, (const struct sockaddr *)&address, 0);
    if (status == 0)
        status = uv_listen(&listener->uv.stream, BACKLOG, on_connection);
    return status == 0 || refused(listener, status, error);
}

/* A socket file whose process has died is in the way; one that answers is somebody's. */
static bool clear_stale_socket(const struct listener *listener, struct error *error)
{
    const char *path = listener->address.path;
    struct stat file;
    if (lstat(path, &file) < 0)
        return true;
    if (!S_ISSOCK(file.st_mode))
        return error_set(error, ERR_CONFLICT,
                         "listen on unix://%s: a file that is not a socket is there; move it, or "
                         "choose another path",
                         path);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return refused(listener, UV_ENAMETOOLONG, error);
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return refused(listener, -errno, error);
    bool dead = connect(fd, (struct sockaddr *)&address, sizeof address) < 0 &&
                (errno == ECONNREFUSED || errno == ENOENT);
    close(fd);
    if (!dead)
        return refused(listener, UV_EADDRINUSE, error);
    if (unlink(path) < 0 && errno != ENOENT)
        return refused(listener, -errno, error);
    return true;
}

static bool listen_unix(struct listener *listener, struct error *error)
{
    if (!clear_stale_socket(listener, error))
        return false;
    unsigned mode = listener->address.path_mode;
    mode_t mask = 0;
    if (mode)
        mask = umask(0777 & ~mode); /* so that the file is never there with more rights */
    int status = uv_pipe_bind(&listener->uv.pipe, listener->address.path);
    if (mode)
        umask(mask);
    if (status == 0)
        status = uv_listen(&listener->uv.stream, BACKLOG, on_connection);
    return status == 0 || refused(listener, status, error);
}

struct listener *listener_new(struct loop *loop, const struct address *address,
                              struct tls_context *tls, unsigned max_connections,
                              listener_accept_fn *accept_fn, void *arg, struct error *error)
{
    struct listener *listener = mem_zalloc(sizeof *listener);
    listener->loop = loop;
    listener->refs = 1;
    listener->address = address_copy(address);
    listener->tls = tls ? tls_ref(tls) : NULL;
    listener->max_connections = max_connections;
    listener->accept = accept_fn;
    listener->arg = arg;
    if (address->path)
        uv_pipe_init(loop_uv(loop), &listener->uv.pipe, 0);
    else
        uv_tcp_init(loop_uv(loop), &listener->uv.tcp);
    listener->uv.handle.data = listener;
    loop_attach(loop, &listener->resource, on_resource_close);
    if (address->path ? listen_unix(listener, error) : listen_tcp(listener, error))
        return listener;
    listener_free(listener);
    return NULL;
}

uint16_t listener_port(const struct listener *listener)
{
    struct sockaddr_storage address;
    int length = sizeof address;
    if (listener->address.path ||
        uv_tcp_getsockname(&listener->uv.tcp, (struct sockaddr *)&address, &length) < 0)
        return 0;
    return ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                               : ((struct sockaddr_in *)&address)->sin_port);
}

void listener_set_tls(struct listener *listener, struct tls_context *tls)
{
    struct tls_context *old = listener->tls;
    listener->tls = tls ? tls_ref(tls) : NULL;
    tls_unref(old);
}
