/* The client's side of one connection. */
#include <stdlib.h>

#include "base/memory.h"
#include "net/grpc_link.h"

struct grpc_channel {
    struct grpc_link *link;
    grpc_channel_close_fn *on_close;
    void *arg;
};

static void on_link_end(void *arg, const struct error *error)
{
    struct grpc_channel *channel = arg;
    if (channel->on_close != NULL)
        channel->on_close(channel->arg, channel, error);
}

struct grpc_channel *grpc_channel_new(struct loop *loop, const struct grpc_channel_config *config,
                                      grpc_channel_close_fn *on_close, void *arg)
{
    struct grpc_channel *channel = mem_zalloc(sizeof *channel);
    channel->on_close = on_close;
    channel->arg = arg;
    char *peer = address_format(config->address);
    struct grpc_core_config core = {
        .peer = peer,
        .authority = config->authority,
        .secure = config->tls != NULL,
        .max_message_bytes = config->max_message_bytes,
        .keepalive_ms = config->keepalive_ms,
        .keepalive_timeout_ms = config->keepalive_timeout_ms,
    };
    channel->link = grpc_link_dial(loop, config, core, on_link_end, channel);
    free(peer);
    return channel;
}

struct grpc_call *grpc_call_new(struct grpc_channel *channel, const char *path,
                                const char *const *metadata,
                                const struct grpc_call_handler *handler, void *arg)
{
    return grpc_core_call(grpc_link_core(channel->link), path, metadata, handler, arg);
}

void grpc_channel_free(struct grpc_channel *channel)
{
    if (channel == NULL)
        return;
    grpc_link_free(channel->link);
    free(channel);
}
