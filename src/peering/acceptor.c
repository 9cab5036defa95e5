/* The acceptor's side: answers ExchangeSecret, and decides which streams are taken
 * (peering-protocol sections 7 and 8.2). */
#include <stdlib.h>
#include <string.h>

#include "base/ident.h"
#include "base/log.h"
#include "base/text.h"
#include "peering/internal.h"
#include "peering/records.h"
#include "proto/proto.h"

#define SERVICE "/hashicorp.consul.internal.peerstream.PeerStreamService/"

/* ---- ExchangeSecret ---- */

struct exchange_call {
    struct list node;
    struct grpc_call *call; /* NULL: the client left */
    struct store *store;
    struct arena *arena;
    const Ps__ExchangeSecretRequest *request; /* NULL: not here yet */
    char secret[UUID_TEXT_MAX];
};

static void free_exchange(struct exchange_call *exchange)
{
    list_remove(&exchange->node);
    mem_clear(exchange->secret, sizeof exchange->secret);
    arena_free(exchange->arena);
    free(exchange);
}

static void answer_exchange(struct exchange_call *exchange, enum grpc_code code,
                            const char *message)
{
    struct grpc_call *call = exchange->call;
    exchange->call = NULL;
    if (call != NULL)
        grpc_finish(call, code, message, NULL, 0);
}

static bool exchange_secret(struct txn *txn, void *arg, struct error *error)
{
    struct exchange_call *exchange = arg;
    const Ps__ExchangeSecretRequest *request = exchange->request;
    const struct record *record = peering_find_by_id(txn_view(txn), request->peer_id);
    if (record == NULL || peering_is_inactive(record->message))
        return error_set(error, ERR_DENIED, "invalid peering establishment secret");
    return secrets_exchange(txn, request->peer_id, request->establishment_secret, exchange->secret,
                            error);
}

static void on_exchanged(void *arg, const struct error *error, uint64_t index)
{
    (void)index;
    struct exchange_call *exchange = arg;
    if (error != NULL && error->code == ERR_DENIED) {
        answer_exchange(exchange, GRPC_PERMISSION_DENIED, error->message);
    } else if (error != NULL) {
        struct error wrapped = *error;
        error_prefix(&wrapped, "failed to persist peering secret: ");
        answer_exchange(exchange, GRPC_INTERNAL, wrapped.message);
    } else {
        Ps__ExchangeSecretResponse response = PS__EXCHANGE_SECRET_RESPONSE__INIT;
        response.stream_secret = exchange->secret;
        struct buffer bytes = {0};
        proto_pack(&response, &bytes);
        if (exchange->call != NULL)
            grpc_send(exchange->call, bytes.data, bytes.length);
        mem_clear(bytes.data, bytes.length);
        buffer_free(&bytes);
        answer_exchange(exchange, GRPC_OK, "");
    }
    free_exchange(exchange);
}

static void on_exchange_message(void *arg, struct grpc_call *call, const uint8_t *data,
                                size_t length)
{
    (void)call;
    static const struct proto_limits limits = {4096, 16};
    struct exchange_call *exchange = arg;
    if (exchange->request != NULL)
        return;
    struct error error = {0};
    const Ps__ExchangeSecretRequest *request = proto_unpack(
        &ps__exchange_secret_request__descriptor, data, length, &limits, exchange->arena, &error);
    if (request == NULL) {
        answer_exchange(exchange, GRPC_INTERNAL, error.message);
    } else if (!uuid_valid(request->peer_id)) {
        answer_exchange(exchange, GRPC_INTERNAL,
                        "failed to read peering secret: the peer ID is not a UUID");
    } else {
        exchange->request = request;
        uuid_generate(exchange->secret);
        store_commit(exchange->store, exchange_secret, on_exchanged, exchange);
        return;
    }
    free_exchange(exchange);
}

static void on_exchange_half_close(void *arg, struct grpc_call *call)
{
    (void)call;
    struct exchange_call *exchange = arg;
    if (exchange->request != NULL)
        return;
    answer_exchange(exchange, GRPC_INTERNAL, "the request has no message");
    free_exchange(exchange);
}

static void on_exchange_end(void *arg, struct grpc_call *call, const struct grpc_status *status)
{
    (void)call;
    (void)status;
    struct exchange_call *exchange = arg;
    exchange->call = NULL;
    if (exchange->request == NULL)
        free_exchange(exchange);
}

static void on_exchange_call(void *arg, struct grpc_call *call)
{
    static const struct grpc_call_handler handler = {
        .on_message = on_exchange_message,
        .on_half_close = on_exchange_half_close,
        .on_end = on_exchange_end,
    };
    struct peerings *peerings = arg;
    struct exchange_call *exchange = mem_zalloc(sizeof *exchange);
    exchange->call = call;
    exchange->store = peerings->store;
    exchange->arena = arena_new();
    list_append(&peerings->exchanging, &exchange->node);
    grpc_call_set_handler(call, &handler, exchange);
}

/* ---- StreamResources ---- */

/* A stream from its first byte until a peer owns it, or until it is refused and over. */
struct opening {
    struct list node;
    struct peerings *peerings; /* NULL: being stopped */
    struct link *link;         /* NULL: over */
    bool committing;
    char *id, *secret;
    struct arena *arena;
    Pb__RemoteInfo *remote;
};

static void free_opening(struct opening *opening)
{
    list_remove(&opening->node);
    if (opening->secret != NULL)
        mem_clear(opening->secret, strlen(opening->secret));
    free(opening->secret);
    free(opening->id);
    arena_free(opening->arena);
    free(opening);
}

static bool promote(struct txn *txn, void *arg, struct error *error)
{
    struct opening *opening = arg;
    const struct record *record = peering_find_by_id(txn_view(txn), opening->id);
    if (record == NULL || peering_is_inactive(record->message))
        return error_set(error, ERR_ABORTED, "peering is marked as deleted: %s", opening->id);
    return secrets_open(txn, opening->id, opening->secret, opening->remote, error);
}

static void take_over(struct opening *opening, const struct record *record)
{
    const Pb__Peering *peering = record->message;
    struct peer *peer = peer_ensure(opening->peerings, record);
    if (peer->link != NULL) {
        /* The dialer knows better than we whether its older stream still lives. */
        link_fail(peer->link, GRPC_ABORTED, "replaced by a newer stream of the same peering");
        peer_release_link(peer);
    }
    peer->link = opening->link;
    opening->link = NULL;
    link_set_owner(peer->link, &peer_link_handler, peer);
    link_start(peer->link, peering);
}

static const char *decide(struct opening *opening, const struct record **ret_record)
{
    struct view *view = view_new(opening->peerings->store);
    *ret_record = peering_find_by_id(view, opening->id);
    view_free(view);
    if (*ret_record == NULL)
        return "initial subscription for unknown PeerID: ";
    const Pb__Peering *peering = (*ret_record)->message;
    return peering_is_inactive(peering) ? "peering is marked as deleted: " : NULL;
}

static void on_promoted(void *arg, const struct error *error, uint64_t index)
{
    (void)index;
    struct opening *opening = arg;
    opening->committing = false;
    if (opening->link == NULL || opening->peerings == NULL) {
        free_opening(opening);
        return;
    }
    const struct record *record;
    if (error != NULL) {
        log_warn(PEERING_LOG, "refused a peer's stream: %s", error->message);
        link_refuse(opening->link, false, grpc_code_of_error(error->code), error->message);
    } else if (decide(opening, &record) != NULL) {
        link_refuse(opening->link, true, GRPC_ABORTED, "peering is marked as deleted");
    } else {
        take_over(opening, record);
        free_opening(opening);
    }
}

static void refuse(struct opening *opening, bool terminated_first, enum grpc_code code,
                   const char *words)
{
    char *message = mem_printf("%s%s", words, opening->id);
    link_refuse(opening->link, terminated_first, code, message);
    free(message);
}

/* False if the stream was refused. */
static bool check_open(struct opening *opening, struct link *link)
{
    if (text_empty(opening->id)) {
        link_refuse(link, false, GRPC_INVALID_ARGUMENT,
                    "initial subscription request must specify a PeerID");
        return false;
    }
    if (!uuid_valid(opening->id)) {
        refuse(opening, false, GRPC_INTERNAL, "failed to find PeerID: ");
        return false;
    }
    const struct record *record;
    const char *words = decide(opening, &record);
    const Pb__Peering *peering = record == NULL ? NULL : record->message;
    if (peering == NULL) {
        refuse(opening, false, GRPC_INVALID_ARGUMENT, words);
    } else if (words != NULL) {
        refuse(opening, peering->state != PB__PEERING_STATE__TERMINATED, GRPC_ABORTED, words);
    } else if (!text_empty(peering->peer_id)) {
        link_refuse(link, false, GRPC_INVALID_ARGUMENT,
                    "expected PeerID to be empty; the wrong end of peering is being dialed");
    } else if (text_empty(authority_trust_domain(opening->peerings->authority))) {
        link_refuse(link, false, GRPC_UNAVAILABLE, "Connect CA is not yet initialized");
    } else {
        return true;
    }
    return false;
}

static void on_opened(void *arg, struct link *link, const Ps__Open *open)
{
    struct opening *opening = arg;
    opening->id = mem_strdup(open->peer_id);
    if (!check_open(opening, link))
        return;
    opening->secret = mem_strdup(open->stream_secret_id);
    if (open->remote != NULL)
        opening->remote = proto_copy(open->remote, opening->arena);
    opening->committing = true;
    store_commit(opening->peerings->store, promote, on_promoted, opening);
}

static void on_link_event(void *arg, struct link *link)
{
    (void)arg;
    (void)link;
}

static void on_link_ended(void *arg, struct link *link, enum grpc_code code, const char *message)
{
    (void)code;
    (void)message;
    struct opening *opening = arg;
    opening->link = NULL;
    link_free(link);
    if (!opening->committing)
        free_opening(opening);
}

static void on_stream_call(void *arg, struct grpc_call *call)
{
    static const struct link_handler handler = {
        .opened = on_opened,
        .active = on_link_event,
        .terminated = on_link_event,
        .ended = on_link_ended,
    };
    struct peerings *peerings = arg;
    struct opening *opening = mem_zalloc(sizeof *opening);
    opening->peerings = peerings;
    opening->arena = arena_new();
    opening->link = link_accept(peerings, call, &handler, opening);
    list_append(&peerings->accepting, &opening->node);
}

void acceptor_serve(struct peerings *peerings, struct grpc_server *server)
{
    grpc_server_method(server, SERVICE "ExchangeSecret", on_exchange_call, peerings);
    grpc_server_method(server, SERVICE "StreamResources", on_stream_call, peerings);
}

void acceptor_stop(struct peerings *peerings)
{
    list_for_each (node, &peerings->accepting) {
        struct opening *opening = list_entry(node, struct opening, node);
        list_remove(node);
        link_free(opening->link);
        opening->link = NULL;
        opening->peerings = NULL;
        if (!opening->committing)
            free_opening(opening);
    }
    list_for_each (node, &peerings->exchanging) {
        struct exchange_call *exchange = list_entry(node, struct exchange_call, node);
        list_remove(node);
        answer_exchange(exchange, GRPC_UNAVAILABLE, "the server is shutting down");
        if (exchange->request == NULL)
            free_exchange(exchange);
    }
}
