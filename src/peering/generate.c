/* POST /v1/peering/token and DELETE /v1/peering/<name>: one transaction each. What a transaction
 * needs is copied into it, so that it does not depend on how long `peerings` lives. */
#include <stdlib.h>
#include <string.h>

#include "base/duration.h"
#include "base/ident.h"
#include "base/text.h"
#include "ca/spiffe.h"
#include "peering/internal.h"
#include "peering/payload.h"
#include "peering/records.h"
#include "peering/token.h"
#include "proto/proto.h"

struct generation {
    struct arena *arena;
    const Pb__GenerateTokenRequest *request;
    char *server_address, *datacenter, *trust_domain; /* in the arena */
    char id[UUID_TEXT_MAX], secret[UUID_TEXT_MAX];
    char *token;
    peering_token_fn *done;
    void *arg;
};

static bool check_request(const Pb__GenerateTokenRequest *request, struct error *error)
{
    if (!peering_check_name(request->peer_name, error) ||
        !peering_check_partition(request->partition, error) ||
        !peering_check_meta(request->n_meta, request->meta, error))
        return false;
    for (size_t i = 0; i < request->n_server_external_addresses; i++) {
        if (!token_check_address(request->server_external_addresses[i], error))
            return false;
    }
    return true;
}

static bool add_addresses(struct generation *generation, struct view *view,
                          const struct tenancy *tenancy, Pb__PeeringToken *token,
                          struct error *error)
{
    Pb__PeeringServerAddresses *addresses =
        payload_addresses(view, tenancy, generation->server_address, generation->arena);
    if (addresses == NULL)
        return error_set(error, ERR_INTERNAL, "%s",
                         peering_through_gateways(view, tenancy)
                             ? "servers are configured to PeerThroughMeshGateways, but no mesh "
                               "gateway instances are registered"
                             : "a grpc bind port must be specified in the configuration for all "
                               "servers");
    token->n_server_addresses = addresses->n_addresses;
    token->server_addresses = addresses->addresses;
    token->n_manual_server_addresses = generation->request->n_server_external_addresses;
    token->manual_server_addresses = generation->request->server_external_addresses;
    return true;
}

static bool add_roots(struct generation *generation, struct view *view,
                      const struct tenancy *tenancy, Pb__PeeringToken *token, struct error *error)
{
    struct export_scope scope = {.partition = tenancy->partition,
                                 .datacenter = generation->datacenter,
                                 .trust_domain = generation->trust_domain};
    Pb__PeeringTrustBundle *roots = payload_roots(view, &scope, generation->arena);
    if (roots == NULL || text_empty(generation->trust_domain))
        return error_set(error, ERR_INTERNAL, "CA has not finished initializing");
    token->n_ca = roots->n_root_pems;
    token->ca = proto_array(generation->arena, roots->n_root_pems);
    for (size_t i = 0; i < token->n_ca; i++)
        token->ca[i] = arena_printf(generation->arena, "%s%s", roots->root_pems[i],
                                    text_ends(roots->root_pems[i], "\n") ? "" : "\n");
    return true;
}

/* The record that the token is for: an acceptor's that is there, or a new one. */
static bool put_acceptor(struct generation *generation, struct txn *txn,
                         const struct tenancy *tenancy, char **ret_id, struct error *error)
{
    const Pb__GenerateTokenRequest *request = generation->request;
    const struct record *record = peering_find(txn_view(txn), tenancy, request->peer_name);
    Pb__Peering peering = PB__PEERING__INIT;
    if (record != NULL) {
        peering = *(const Pb__Peering *)record->message;
        if (peering_is_dialer(&peering))
            return error_set(error, ERR_INTERNAL,
                             "cannot create peering with name: \"%s\"; there is already an "
                             "established peering",
                             request->peer_name);
        /* A peering that the other side ended comes back to life: unlike Consul's, this token
         * works. */
        if (peering.state == PB__PEERING_STATE__TERMINATED)
            peering.state = PB__PEERING_STATE__PENDING;
    } else {
        peering.id = generation->id;
        peering.name = request->peer_name;
        peering.partition = request->partition;
        peering.n_meta = request->n_meta;
        peering.meta =
            (Pb__Peering__MetaEntry **)request->meta; /* all string maps share a layout */
    }
    if (!peering_put(txn, &peering, error)) {
        error_prefix(error, "failed to write peering: ");
        return false;
    }
    *ret_id = peering.id;
    return true;
}

static bool generate(struct txn *txn, void *arg, struct error *error)
{
    struct generation *generation = arg;
    const Pb__GenerateTokenRequest *request = generation->request;
    struct tenancy tenancy = {.partition = request->partition};
    struct view *view = txn_view(txn);
    Pb__PeeringToken *token = proto_new(generation->arena, pb__peering_token);
    if (!check_request(request, error) ||
        !add_addresses(generation, view, &tenancy, token, error) ||
        !add_roots(generation, view, &tenancy, token, error) ||
        !put_acceptor(generation, txn, &tenancy, &token->peer_id, error))
        return false;
    secrets_generate(txn, token->peer_id, generation->secret);
    token->establishment_secret = generation->secret;
    token->remote = proto_new(generation->arena, pb__remote_info);
    token->remote->partition = request->partition;
    token->remote->datacenter = generation->datacenter;
    char *server_name = name_peering_server(generation->trust_domain, generation->datacenter);
    token->server_name = server_name;
    free(generation->token); /* of an earlier run */
    generation->token = token_write(token);
    free(server_name);
    return true;
}

static void on_generated(void *arg, const struct error *error, uint64_t index)
{
    (void)index;
    struct generation *generation = arg;
    generation->done(generation->arg, error, error == NULL ? generation->token : NULL);
    mem_clear(generation->secret, sizeof generation->secret);
    if (generation->token != NULL)
        mem_clear(generation->token, strlen(generation->token));
    free(generation->token);
    arena_free(generation->arena);
    free(generation);
}

void peering_generate_token(struct peerings *peerings, const Pb__GenerateTokenRequest *request,
                            peering_token_fn *done, void *arg)
{
    struct generation *generation = mem_zalloc(sizeof *generation);
    generation->arena = arena_new();
    generation->request = proto_copy(request, generation->arena);
    generation->server_address = arena_strdup(generation->arena, peerings->server_address);
    generation->datacenter = arena_strdup(generation->arena, peerings->datacenter);
    generation->trust_domain =
        arena_strdup(generation->arena, authority_trust_domain(peerings->authority));
    generation->done = done;
    generation->arg = arg;
    uuid_generate(generation->id);
    uuid_generate(generation->secret);
    store_commit(peerings->store, generate, on_generated, generation);
}

/* ---- delete ---- */

struct deletion {
    char *partition, *name;
    peering_done_fn *done;
    void *arg;
};

static bool mark_deleting(struct txn *txn, void *arg, struct error *error)
{
    struct deletion *deletion = arg;
    struct tenancy tenancy = {.partition = deletion->partition};
    const struct record *record = peering_find(txn_view(txn), &tenancy, deletion->name);
    if (record == NULL)
        return true; /* gone is what was asked for */
    Pb__Peering peering = *(const Pb__Peering *)record->message;
    if (peering.state == PB__PEERING_STATE__DELETING)
        return true;
    peering.state = PB__PEERING_STATE__DELETING;
    peering.deleted_at = clock_realtime_ns();
    return peering_put(txn, &peering, error);
}

static void on_deleting(void *arg, const struct error *error, uint64_t index)
{
    (void)index;
    struct deletion *deletion = arg;
    deletion->done(deletion->arg, error);
    free(deletion->partition);
    free(deletion->name);
    free(deletion);
}

void peering_delete(struct peerings *peerings, const struct tenancy *tenancy, const char *name,
                    peering_done_fn *done, void *arg)
{
    struct deletion *deletion = mem_zalloc(sizeof *deletion);
    deletion->partition = mem_strdup(tenancy->partition);
    deletion->name = mem_strdup(name);
    deletion->done = done;
    deletion->arg = arg;
    store_commit(peerings->store, mark_deleting, on_deleting, deletion);
}
