#include "peering/exchange.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/ident.h"
#include "consul/peerstream.pb-c.h"
#include "proto/proto.h"

#define METHOD "/hashicorp.consul.internal.peerstream.PeerStreamService/ExchangeSecret"
#define PHASE_MS 3000
#define GATEWAY_WAIT_MS 1000 /* for the gateways to learn the new route */
#define ATTEMPT_MS 1000
#define RETRY_MS 150
#define MESSAGE_MAX 65536

struct exchange {
    struct loop *loop;
    struct text_list addresses;
    size_t gateways;
    struct tls_context *tls;
    char *server_name;
    struct buffer request;
    exchange_done_fn *done;
    void *arg;

    struct timer *timer; /* next attempt */
    uint64_t phase_end;  /* 0: not begun */
    bool all;            /* all addresses, not the gateways alone */
    unsigned attempts;
    struct text_list failures; /* by address: the last one's words */
    struct grpc_channel *channel;
    struct grpc_call *call;

    bool over; /* the timer reports */
    struct error error;
    char *stream_secret;
};

static void drop_channel(struct exchange *exchange)
{
    if (exchange->call != NULL)
        grpc_cancel(exchange->call);
    exchange->call = NULL;
    grpc_channel_free(exchange->channel);
    exchange->channel = NULL;
}

void exchange_cancel(struct exchange *exchange)
{
    if (exchange == NULL)
        return;
    drop_channel(exchange);
    timer_free(exchange->timer);
    tls_unref(exchange->tls);
    text_list_free(&exchange->addresses);
    text_list_free(&exchange->failures);
    if (exchange->request.data != NULL)
        mem_clear(exchange->request.data, exchange->request.length);
    buffer_free(&exchange->request);
    if (exchange->stream_secret != NULL)
        mem_clear(exchange->stream_secret, strlen(exchange->stream_secret));
    free(exchange->stream_secret);
    free(exchange->server_name);
    free(exchange);
}

static void report(struct exchange *exchange)
{
    exchange->done(exchange->arg, exchange->error.code == ERR_NONE ? NULL : &exchange->error,
                   exchange->stream_secret);
    exchange_cancel(exchange);
}

/* From a turn of its own: the channel cannot be freed inside of its callbacks. */
static void finish(struct exchange *exchange)
{
    exchange->over = true;
    timer_start(exchange->timer, 0, 0);
}

/* Consul's shape of many errors, one line an address, then what to do. */
static void give_up(struct exchange *exchange)
{
    struct buffer text = {0};
    buffer_printf(&text, "%u error%s occurred:\n", exchange->attempts,
                  exchange->attempts == 1 ? "" : "s");
    for (size_t i = 0; i < exchange->failures.count; i++)
        buffer_printf(&text, "\t* %s\n", exchange->failures.items[i]);
    buffer_add_text(&text,
                    "\nThe token's addresses must be reachable from this server, and the peer's "
                    "gRPC port with TLS must listen there; if the peer is behind a load balancer "
                    "or NAT, make the token with its public address (ServerExternalAddresses)");
    error_set(&exchange->error, ERR_UNAVAILABLE, "%s", buffer_text(&text));
    buffer_free(&text);
    finish(exchange);
}

static void note_failure(struct exchange *exchange, const char *address, enum grpc_code code,
                         const char *message)
{
    char *text =
        mem_printf("failed to exchange peering secret through address \"%s\": rpc error: code = "
                   "%s desc = %s",
                   address, grpc_code_name(code), message);
    char *prefix = mem_printf("failed to exchange peering secret through address \"%s\":", address);
    bool known = false;
    for (size_t i = 0; i < exchange->failures.count && !known; i++) {
        if (strncmp(exchange->failures.items[i], prefix, strlen(prefix)) != 0)
            continue;
        known = true;
        free(exchange->failures.items[i]);
        exchange->failures.items[i] = mem_strdup(text);
    }
    if (!known)
        text_list_add(&exchange->failures, text);
    free(prefix);
    free(text);
}

static size_t ring_size(const struct exchange *exchange)
{
    return exchange->all ? exchange->addresses.count : exchange->gateways;
}

static const char *current_address(const struct exchange *exchange)
{
    return exchange->addresses.items[(exchange->attempts - 1) % ring_size(exchange)];
}

/* ---- one attempt ---- */

static void on_message(void *arg, struct grpc_call *call, const uint8_t *data, size_t length)
{
    (void)call;
    static const struct proto_limits limits = {MESSAGE_MAX, 16};
    struct exchange *exchange = arg;
    struct arena *arena = arena_new();
    const Ps__ExchangeSecretResponse *response =
        proto_unpack(&ps__exchange_secret_response__descriptor, data, length, &limits, arena, NULL);
    if (response != NULL && exchange->stream_secret == NULL)
        exchange->stream_secret = mem_strdup(response->stream_secret);
    arena_free(arena);
}

static void retry_later(struct exchange *exchange)
{
    uint16_t random;
    random_bytes(&random, sizeof random);
    timer_start(exchange->timer, RETRY_MS + RETRY_MS * random / 4 / UINT16_MAX, 0);
}

static void on_end(void *arg, struct grpc_call *call, const struct grpc_status *status)
{
    (void)call;
    struct exchange *exchange = arg;
    exchange->call = NULL;
    if (status->code == GRPC_OK && exchange->stream_secret != NULL) {
        finish(exchange);
    } else if (status->code == GRPC_PERMISSION_DENIED) {
        error_set(&exchange->error, ERR_DENIED, "a new peering token must be generated: %s",
                  status->message);
        finish(exchange);
    } else {
        note_failure(exchange, current_address(exchange), status->code, status->message);
        retry_later(exchange);
    }
}

static void attempt(struct exchange *exchange)
{
    static const struct grpc_call_handler handler = {.on_message = on_message, .on_end = on_end};
    struct address address;
    struct error error = {0};
    exchange->attempts++;
    const char *text = current_address(exchange);
    if (!address_parse(text, &address, &error)) {
        note_failure(exchange, text, GRPC_UNAVAILABLE, error.message);
        retry_later(exchange);
        return;
    }
    struct grpc_channel_config config = {
        .address = &address,
        .tls = exchange->tls,
        .authority = exchange->tls != NULL ? exchange->server_name : text,
        .connect_timeout_ms = PHASE_MS,
        .max_message_bytes = MESSAGE_MAX,
    };
    exchange->channel = grpc_channel_new(exchange->loop, &config, NULL, NULL);
    exchange->call = grpc_call_new(exchange->channel, METHOD, NULL, &handler, exchange);
    grpc_send(exchange->call, exchange->request.data, exchange->request.length);
    grpc_half_close(exchange->call);
    /* One dead address must not take the time of the others. */
    timer_start(exchange->timer, ring_size(exchange) > 1 ? ATTEMPT_MS : PHASE_MS, 0);
    address_clear(&address);
}

static void on_timer(void *arg)
{
    struct exchange *exchange = arg;
    if (exchange->over) {
        report(exchange);
        return;
    }
    uint64_t now = loop_now(exchange->loop);
    if (exchange->phase_end == 0)
        exchange->phase_end = now + PHASE_MS;
    if (exchange->call != NULL)
        note_failure(exchange, current_address(exchange), GRPC_DEADLINE_EXCEEDED,
                     "no answer in time");
    drop_channel(exchange);
    if (now < exchange->phase_end || exchange->attempts < ring_size(exchange)) {
        attempt(exchange);
    } else if (!exchange->all) {
        exchange->all = true;
        exchange->phase_end = now + PHASE_MS;
        attempt(exchange);
    } else {
        give_up(exchange);
    }
}

struct exchange *exchange_start(const struct exchange_config *config, exchange_done_fn *done,
                                void *arg)
{
    struct exchange *exchange = mem_zalloc(sizeof *exchange);
    exchange->loop = config->loop;
    for (size_t i = 0; i < config->addresses->count; i++)
        text_list_add(&exchange->addresses, config->addresses->items[i]);
    exchange->gateways = config->gateways;
    exchange->all = config->gateways == 0;
    exchange->tls = config->tls == NULL ? NULL : tls_ref(config->tls);
    exchange->server_name = mem_strdup(config->server_name);
    exchange->done = done;
    exchange->arg = arg;
    Ps__ExchangeSecretRequest request = PS__EXCHANGE_SECRET_REQUEST__INIT;
    request.peer_id = (char *)(uintptr_t)config->peer_id;
    request.establishment_secret = (char *)(uintptr_t)config->secret;
    proto_pack(&request, &exchange->request);
    exchange->timer = timer_new(config->loop, on_timer, exchange);
    timer_start(exchange->timer, config->gateways > 0 ? GATEWAY_WAIT_MS : 0, 0);
    return exchange;
}
