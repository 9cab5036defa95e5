/* ExchangeSecret as the dialer calls it: tries the addresses in turn for some seconds, a fresh
 * connection each (peering-protocol 6.5, 7). */
#pragma once

#include "base/text.h"
#include "net/grpc.h"

struct exchange;

struct exchange_config {
    struct loop *loop;
    const struct text_list *addresses; /* copied */
    size_t gateways; /* so many of them are this cluster's own gateways: tried alone first */
    struct tls_context *tls; /* referenced; NULL: cleartext */
    const char *server_name, *peer_id, *secret;
};

/* `error` NULL: `stream_secret` is there. The exchange is over then, and frees itself. Not called
 * from inside of exchange_start. */
typedef void exchange_done_fn(void *arg, const struct error *error, const char *stream_secret);

struct exchange *exchange_start(const struct exchange_config *config, exchange_done_fn *done,
                                void *arg);
void exchange_cancel(struct exchange *exchange); /* no callback; NULL is fine */
