#include "xds/server.h"

#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/log.h"
#include "base/text.h"

#define LOG_NAME "agent.envoy.xds"

struct xds_server {
    const struct xds_source *source;
    void *source_arg;
    struct list streams;
    size_t stream_count;
};

struct xds_stream {
    struct list node;
    struct xds_server *server;
    struct grpc_call *call;
    struct xds_session *session;
    void *watch;           /* NULL until the proxy has said who it is */
    struct error refusal;  /* of the source; NONE if it watches */
    struct xds_node proxy; /* owned copies; `id` NULL until known */
    char *problems;        /* last ones told */
    bool waits;            /* it was said that the proxy is not there */
};

static char *owned(const char *text)
{
    return mem_strdup(text == NULL ? "" : text);
}

static void stream_free(struct xds_stream *stream)
{
    struct xds_server *server = stream->server;
    if (stream->watch != NULL) {
        server->source->unwatch(server->source_arg, stream->watch);
        if (server->source->connected != NULL)
            server->source->connected(server->source_arg, &stream->proxy, false);
    }
    list_remove(&stream->node);
    server->stream_count--;
    xds_session_free(stream->session);
    free(stream->proxy.id);
    free(stream->proxy.node_name);
    free(stream->proxy.cluster);
    free(stream->proxy.user_agent_name);
    free(stream->problems);
    free(stream);
}

/* ---- from the source ---- */

static void tell_problems(struct xds_stream *stream, const char *problems)
{
    if (text_equal(problems, stream->problems))
        return;
    free(stream->problems);
    stream->problems = mem_strdup(problems);
    if (problems == NULL)
        return;
    for (const char *line = problems; *line != '\0';) {
        size_t length = strcspn(line, "\n");
        log_warn(LOG_NAME, "proxy configuration: proxy=%s problem=%.*s", stream->proxy.id,
                 (int)length, line);
        line += length + (line[length] == '\n');
    }
}

static void on_snapshot(void *arg, const struct proxy_snapshot *snapshot, const struct error *error)
{
    struct xds_stream *stream = arg;
    if (snapshot == NULL) {
        if (!stream->waits)
            log_info(LOG_NAME, "waiting for the proxy: proxy=%s reason=%s", stream->proxy.id,
                     error != NULL ? error->message : "not registered");
        stream->waits = true;
        return;
    }
    stream->waits = false;
    struct xds_resources *resources = xds_resources_build(snapshot);
    tell_problems(stream, resources->problems);
    xds_session_update(stream->session, resources);
}

/* ---- from the session ---- */

static void on_node(void *arg, const struct xds_node *node)
{
    struct xds_stream *stream = arg;
    struct xds_server *server = stream->server;
    stream->proxy = *node;
    stream->proxy.id = owned(node->id);
    stream->proxy.node_name = owned(node->node_name);
    stream->proxy.cluster = owned(node->cluster);
    stream->proxy.user_agent_name = owned(node->user_agent_name);
    stream->watch = server->source->watch(server->source_arg, &stream->proxy, on_snapshot, stream,
                                          &stream->refusal);
    if (stream->watch == NULL)
        return;
    log_debug(LOG_NAME, "proxy connected: proxy=%s from=%s", stream->proxy.id,
              grpc_peer(stream->call));
    if (server->source->connected != NULL)
        server->source->connected(server->source_arg, &stream->proxy, true);
}

static void on_send(void *arg, const uint8_t *message, size_t length)
{
    struct xds_stream *stream = arg;
    grpc_send(stream->call, message, length); /* a call that is over tells so by itself */
}

static void on_nack(void *arg, enum xds_type type, const char *message)
{
    struct xds_stream *stream = arg;
    size_t length = strlen(message);
    while (length > 0 && message[length - 1] == '\n')
        length--;
    log_warn(LOG_NAME, "proxy refused its configuration: proxy=%s type=%s error=%.*s",
             stream->proxy.id != NULL ? stream->proxy.id : "unknown", xds_type_url(type),
             (int)length, message);
}

static const struct xds_session_handler session_handler = {on_node, on_send, on_nack};

/* ---- from gRPC ---- */

static void end_stream(struct xds_stream *stream, const struct error *error)
{
    log_warn(LOG_NAME, "stream refused: proxy=%s error=%s",
             stream->proxy.id != NULL ? stream->proxy.id : "unknown", error->message);
    grpc_finish(stream->call, grpc_code_of_error(error->code), error->message, NULL, 0);
    stream_free(stream);
}

static void on_message(void *arg, struct grpc_call *call, const uint8_t *data, size_t length)
{
    struct xds_stream *stream = arg;
    struct error error;
    (void)call;
    if (!xds_session_receive(stream->session, data, length, &error))
        end_stream(stream, &error);
    else if (stream->refusal.code != ERR_NONE)
        end_stream(stream, &stream->refusal);
}

static void on_half_close(void *arg, struct grpc_call *call)
{
    struct xds_stream *stream = arg;
    grpc_finish(call, GRPC_OK, "", NULL, 0);
    stream_free(stream);
}

static void on_end(void *arg, struct grpc_call *call, const struct grpc_status *status)
{
    struct xds_stream *stream = arg;
    (void)call;
    log_debug(LOG_NAME, "proxy disconnected: proxy=%s code=%s",
              stream->proxy.id != NULL ? stream->proxy.id : "unknown",
              grpc_code_name(status->code));
    stream_free(stream);
}

static const struct grpc_call_handler call_handler = {
    .on_message = on_message,
    .on_half_close = on_half_close,
    .on_end = on_end,
};

static void delta_method(void *arg, struct grpc_call *call)
{
    struct xds_server *server = arg;
    struct xds_stream *stream = mem_zalloc(sizeof(*stream));
    stream->server = server;
    stream->call = call;
    stream->session = xds_session_new(&session_handler, stream);
    list_append(&server->streams, &stream->node);
    server->stream_count++;
    grpc_call_set_handler(call, &call_handler, stream);
}

static void state_of_the_world_method(void *arg, struct grpc_call *call)
{
    (void)arg;
    grpc_finish(call, GRPC_UNKNOWN, "not implemented", NULL, 0);
}

struct xds_server *xds_server_new(struct grpc_server *grpc, const struct xds_source *source,
                                  void *source_arg)
{
    struct xds_server *server = mem_zalloc(sizeof(*server));
    server->source = source;
    server->source_arg = source_arg;
    list_init(&server->streams);
    grpc_server_method(
        grpc, "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
        delta_method, server);
    grpc_server_method(
        grpc, "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources",
        state_of_the_world_method, server);
    return server;
}

void xds_server_free(struct xds_server *server)
{
    if (server == NULL)
        return;
    list_for_each (node, &server->streams) {
        struct xds_stream *stream = list_entry(node, struct xds_stream, node);
        grpc_finish(stream->call, GRPC_UNAVAILABLE, "the agent is shutting down", NULL, 0);
        stream_free(stream);
    }
    free(server);
}

size_t xds_server_streams(const struct xds_server *server)
{
    return server->stream_count;
}
