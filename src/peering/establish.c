/* POST /v1/peering/establish: checks the token, writes the record (so that this cluster's gateways
 * learn the way), exchanges the secret over the network, and writes what came of it. From there on
 * the dialer takes over. */
#include <stdlib.h>
#include <string.h>

#include "base/ident.h"
#include "base/log.h"
#include "base/text.h"
#include "ca/spiffe.h"
#include "peering/internal.h"
#include "peering/payload.h"
#include "peering/records.h"
#include "peering/token.h"
#include "proto/proto.h"

struct establish {
    struct list node;
    struct peerings *peerings; /* NULL: they are gone; ends with its transaction */
    struct store *store;
    struct arena *arena;
    const Pb__EstablishRequest *request;
    const char *own_server_name;
    bool allow_plaintext, connected; /* as of the start */
    char new_id[UUID_TEXT_MAX];
    Pb__PeeringToken *token; /* NULL until it is read */
    char *id;                /* of the record */
    char *stream_secret;
    struct exchange *exchange;
    peering_done_fn *done;
    void *arg;
};

static void wipe(char *secret)
{
    if (secret != NULL)
        mem_clear(secret, strlen(secret));
}

static void finish(struct establish *establish, const struct error *error)
{
    list_remove(&establish->node);
    exchange_cancel(establish->exchange);
    establish->done(establish->arg, error);
    wipe(establish->stream_secret);
    wipe(establish->request->peering_token);
    if (establish->token != NULL && !text_empty(establish->token->establishment_secret))
        wipe(establish->token->establishment_secret);
    free(establish->id);
    free(establish->stream_secret);
    arena_free(establish->arena);
    free(establish);
}

/* False if the peerings were freed meanwhile; the establish is over then. */
static bool is_alive(struct establish *establish)
{
    if (establish->peerings != NULL)
        return true;
    struct error error = {0};
    error_set(&error, ERR_UNAVAILABLE, "the server is shutting down");
    finish(establish, &error);
    return false;
}

/* ---- first the record ---- */

static bool check_request(struct establish *establish, struct error *error)
{
    const Pb__EstablishRequest *request = establish->request;
    if (!peering_check_name(request->peer_name, error) ||
        !peering_check_partition(request->partition, error) ||
        !peering_check_meta(request->n_meta, (Pb__GenerateTokenRequest__MetaEntry **)request->meta,
                            error))
        return false;
    if (establish->token == NULL)
        establish->token = token_read(request->peering_token, establish->arena, error);
    if (establish->token == NULL)
        return false;
    if (strcmp(establish->token->server_name, establish->own_server_name) == 0)
        return error_set(error, ERR_INTERNAL,
                         "cannot create a peering within the same cluster \"%s\". Refer to the "
                         "`exported-services` documentation if you want to export between "
                         "partitions without peering",
                         establish->own_server_name);
    return dialer_check_ca(establish->token->n_ca, establish->allow_plaintext, error);
}

static bool check_existing(const Pb__Peering *existing, const char *name, struct error *error)
{
    if (existing->state == PB__PEERING_STATE__DELETING)
        return error_set(error, ERR_INTERNAL,
                         "failed to write peering: cannot write to peering that is marked for "
                         "deletion");
    if (!peering_is_dialer(existing))
        return error_set(error, ERR_INTERNAL,
                         "cannot create peering with name: \"%s\"; there is an existing peering "
                         "expecting to be dialed",
                         name);
    return true;
}

static void fill_from_token(Pb__Peering *peering, const struct establish *establish)
{
    const Pb__PeeringToken *token = establish->token;
    peering->peer_id = token->peer_id;
    peering->n_peer_ca_pems = token->n_ca;
    peering->peer_ca_pems = token->ca;
    peering->peer_server_name = token->server_name;
    peering->n_manual_server_addresses = token->n_manual_server_addresses;
    peering->manual_server_addresses = token->manual_server_addresses;
    if (!establish->connected || !peering_is_dialer(peering)) {
        peering->n_peer_server_addresses = token->n_server_addresses;
        peering->peer_server_addresses = token->server_addresses;
    }
    peering->remote = token->remote;
}

/* Is the record better left alone until the exchange has shown that the token is good? A peering
 * that works must not suffer from a bad token. But gateways that lead to a new server need to know
 * of it first. */
static bool is_left_alone(struct establish *establish, struct view *view,
                          const struct tenancy *tenancy, const Pb__Peering *existing)
{
    return existing->state == PB__PEERING_STATE__ESTABLISHING &&
           (text_equal(existing->peer_server_name, establish->token->server_name) ||
            !peering_through_gateways(view, tenancy));
}

static void set_id(struct establish *establish, const char *id)
{
    free(establish->id);
    establish->id = mem_strdup(id);
}

static bool write_pending(struct txn *txn, void *arg, struct error *error)
{
    struct establish *establish = arg;
    const Pb__EstablishRequest *request = establish->request;
    if (!check_request(establish, error))
        return false;
    struct tenancy tenancy = {.partition = request->partition};
    const struct record *record = peering_find(txn_view(txn), &tenancy, request->peer_name);
    Pb__Peering peering = PB__PEERING__INIT;
    if (record != NULL) {
        peering = *(const Pb__Peering *)record->message;
        if (!check_existing(&peering, request->peer_name, error))
            return false;
        set_id(establish, peering.id);
        if (is_left_alone(establish, txn_view(txn), &tenancy, &peering))
            return true;
        if (peering.state == PB__PEERING_STATE__TERMINATED)
            peering.state = PB__PEERING_STATE__PENDING;
    } else {
        set_id(establish, establish->new_id);
        peering.id = establish->new_id;
        peering.name = request->peer_name;
        peering.partition = request->partition;
        peering.n_meta = request->n_meta;
        peering.meta = (Pb__Peering__MetaEntry **)request->meta;
    }
    fill_from_token(&peering, establish);
    return peering_put(txn, &peering, error);
}

/* ---- then the secret ---- */

static bool write_established(struct txn *txn, void *arg, struct error *error)
{
    struct establish *establish = arg;
    const struct record *record = peering_find_by_id(txn_view(txn), establish->id);
    if (record == NULL || peering_is_inactive(record->message))
        return error_set(error, ERR_INTERNAL, "peering was deleted while it was being established");
    Pb__Peering peering = *(const Pb__Peering *)record->message;
    peering.state = PB__PEERING_STATE__ESTABLISHING;
    fill_from_token(&peering, establish);
    secrets_establish(txn, establish->id, establish->stream_secret);
    return peering_put(txn, &peering, error);
}

static void on_established(void *arg, const struct error *error, uint64_t index)
{
    (void)index;
    finish(arg, error);
}

static void on_exchanged(void *arg, const struct error *error, const char *stream_secret)
{
    struct establish *establish = arg;
    establish->exchange = NULL; /* it frees itself */
    if (error != NULL) {
        log_warn(PEERING_LOG, "could not establish peering: peer=%s: %s",
                 establish->request->peer_name, error->message);
        finish(establish, error);
        return;
    }
    establish->stream_secret = mem_strdup(stream_secret);
    store_commit(establish->store, write_established, on_established, establish);
}

static void on_pending(void *arg, const struct error *error, uint64_t index)
{
    (void)index;
    struct establish *establish = arg;
    if (!is_alive(establish))
        return;
    if (error != NULL) {
        finish(establish, error);
        return;
    }
    const Pb__PeeringToken *token = establish->token;
    struct error cause = {0};
    struct tls_context *tls;
    if (!dialer_tls(establish->peerings, token->ca, token->n_ca, token->server_name, &tls,
                    &cause)) {
        finish(establish, &cause);
        return;
    }
    bool manual = token->n_manual_server_addresses > 0;
    struct tenancy tenancy = {.partition = establish->request->partition};
    size_t gateways;
    struct text_list ring = dialer_ring(
        establish->peerings, &tenancy,
        manual ? token->manual_server_addresses : token->server_addresses,
        manual ? token->n_manual_server_addresses : token->n_server_addresses, &gateways);
    struct exchange_config config = {
        .loop = establish->peerings->loop,
        .addresses = &ring,
        .gateways = gateways,
        .tls = tls,
        .server_name = token->server_name,
        .peer_id = token->peer_id,
        .secret = token->establishment_secret,
    };
    establish->exchange = exchange_start(&config, on_exchanged, establish);
    text_list_free(&ring);
    tls_unref(tls);
}

static bool is_connected(struct peerings *peerings, const Pb__EstablishRequest *request)
{
    struct tenancy tenancy = {.partition = request->partition};
    struct view *view = view_new(peerings->store);
    const struct record *record = peering_find(view, &tenancy, request->peer_name);
    view_free(view);
    if (record == NULL)
        return false;
    const struct peer *peer = peer_find(peerings, ((const Pb__Peering *)record->message)->id);
    return peer != NULL && peer->status.connected;
}

void peering_establish(struct peerings *peerings, const Pb__EstablishRequest *request,
                       peering_done_fn *done, void *arg)
{
    struct establish *establish = mem_zalloc(sizeof *establish);
    establish->peerings = peerings;
    establish->store = peerings->store;
    establish->arena = arena_new();
    establish->request = proto_copy(request, establish->arena);
    char *name =
        name_peering_server(authority_trust_domain(peerings->authority), peerings->datacenter);
    establish->own_server_name = arena_strdup(establish->arena, name);
    free(name);
    establish->allow_plaintext = peerings->allow_plaintext;
    establish->connected = is_connected(peerings, request);
    uuid_generate(establish->new_id);
    establish->done = done;
    establish->arg = arg;
    list_append(&peerings->establishing, &establish->node);
    store_commit(peerings->store, write_pending, on_pending, establish);
}

void establish_stop(struct peerings *peerings)
{
    list_for_each (node, &peerings->establishing) {
        struct establish *establish = list_entry(node, struct establish, node);
        establish->peerings = NULL;
        list_remove(node);
        if (establish->exchange != NULL)
            is_alive(establish); /* waits for the network: over now */
    }
}
