/* Cluster peering (reference: peering-protocol.md): tokens, establishment, and the replication
 * stream, on the wire the same as Consul's.
 *
 * token.h      the token's text
 * records.h    the state machine of a peering's record and secrets, inside of transactions
 * session.h    the stream as a pure state machine: messages in, messages out, time as an argument
 * exporter.h   what this cluster sends to one peer, from views of the store
 * importer.h   what a peer sends, written to the catalog under the peer's name
 * peering.h    the life of all peerings: dials, accepts, retries with back-off, deletes (this file)
 */
#pragma once

#include "ca/authority.h"
#include "consul/peering.pb-c.h"
#include "net/grpc.h"
#include "store/store.h"

struct peerings;

struct peerings_config {
    struct store *store;
    struct authority *authority;
    const char *datacenter;
    const char *node_name;
    bool allow_plaintext; /* dial peers whose token has no CA, without TLS */
};

struct peerings *peerings_new(const struct peerings_config *config);
/* Offers PeerStreamService; may be called for several servers. */
void peerings_serve(struct peerings *peerings, struct grpc_server *server);
/* host:port at which peers reach this server's gRPC port with TLS; tokens and ADDRS carry it. "" if
 * there is none yet. */
void peerings_set_server_address(struct peerings *peerings, const char *address);
/* The servers' methods lead here: free those servers in the same turn. */
void peerings_free(struct peerings *peerings);

/* Each ends in `done`, never inside of the call. Errors carry Consul's words; the HTTP status
 * follows from the code. */
typedef void peering_token_fn(void *arg, const struct error *error, const char *token);
void peering_generate_token(struct peerings *peerings, const Pb__GenerateTokenRequest *request,
                            peering_token_fn *done, void *arg);
typedef void peering_done_fn(void *arg, const struct error *error);
void peering_establish(struct peerings *peerings, const Pb__EstablishRequest *request,
                       peering_done_fn *done, void *arg);
void peering_delete(struct peerings *peerings, const struct tenancy *tenancy, const char *name,
                    peering_done_fn *done, void *arg);

/* The stored record with the shown state and stream status laid over it; in `arena`. NULL if there
 * is none. */
Pb__Peering *peering_read(struct peerings *peerings, struct view *view,
                          const struct tenancy *tenancy, const char *name, struct arena *arena,
                          const struct record **ret_record);
/* All of them, by name. */
size_t peering_list(struct peerings *peerings, struct view *view, const struct tenancy *tenancy,
                    struct arena *arena, Pb__Peering ***ret_peerings,
                    const struct record *const **ret_records);
