/* Binds a grpc_core to a stream: moves the bytes, keeps the clock. What is sent from callbacks and
 * from outside goes out at the end of the loop's turn, so that small messages share a packet.
 *
 * The owner frees the link exactly once, at any time, also inside of callbacks; after that none
 * comes any more. `on_end` tells that the connection is over and that all calls have ended; `error`
 * says why and is never NULL. */
#pragma once

#include "net/grpc_core.h"

struct grpc_link;

typedef void grpc_link_end_fn(void *arg, const struct error *error);

/* `on_wake` of the configuration is the link's own. */
struct grpc_link *grpc_link_dial(struct loop *loop, const struct grpc_channel_config *channel,
                                 struct grpc_core_config config, grpc_link_end_fn *on_end,
                                 void *arg);
struct grpc_link *grpc_link_accept(struct loop *loop, struct stream *stream,
                                   struct grpc_core_config config, grpc_link_end_fn *on_end,
                                   void *arg);
struct grpc_core *grpc_link_core(struct grpc_link *link);
/* Ends all calls with UNAVAILABLE on both sides; follow with grpc_link_free. */
void grpc_link_shutdown(struct grpc_link *link);
void grpc_link_free(struct grpc_link *link); /* sends what is due, drops calls without callbacks */
