/* Inside of the peering folder: the life of all peerings, split over peerings.c (which record
 * needs what), dialer.c, acceptor.c, establish.c and generate.c. */
#pragma once

#include <uthash.h>

#include "base/list.h"
#include "peering/exchange.h"
#include "peering/link.h"
#include "peering/peering.h"
#include "peering/removal.h"

#define PEERING_LOG "peering"

/* What people are shown of a peering's stream; outlives the streams. */
struct peer_status {
    bool connected;
    char *error; /* why it is not; NULL: it never tried, or ended in good order */
    struct session_stats stats;
    struct text_list imported, exported;
};

struct peer {
    UT_hash_handle hh;
    struct peerings *peerings;
    char *id;
    const struct record *record; /* as of the last look */
    bool seen;                   /* mark and sweep */
    uint64_t establishing_since; /* when ESTABLISHING was first seen */
    struct link *link;
    struct peer_status status;
    struct removal *removal;

    /* dialer */
    struct timer *timer;
    char *secret;      /* with which it dials, or dialled */
    char *acceptor_id; /* the id that the link was dialled with */
    unsigned failures; /* in a row */
    bool retried_at_once;
    unsigned attempts;  /* which address is next */
    uint64_t active_at; /* when the stream became active; 0: it is not */
};

struct peerings {
    struct loop *loop;
    struct store *store;
    struct authority *authority;
    char *datacenter, *node_name, *server_address;
    bool allow_plaintext;

    struct peer *peers;
    struct watch *watch;
    struct list draining;     /* struct stray: links that no peer owns any more */
    struct list accepting;    /* struct opening: links that no peer owns yet */
    struct list exchanging;   /* struct exchange_call: ExchangeSecret under way */
    struct list establishing; /* struct establish */
};

/* peerings.c */
struct peer *peer_find(struct peerings *peerings, const char *id);
struct peer *peer_ensure(struct peerings *peerings, const struct record *record);
/* The peer's stream goes on without it, until it has ended. */
void peer_release_link(struct peer *peer);
/* For links that have no peer any more: kept in `draining` until they end. */
void peerings_keep_link(struct peerings *peerings, struct link *link);
extern const struct link_handler peer_link_handler; /* arg: struct peer */

/* dialer.c */
void dialer_update(struct peer *peer, const char *secret);
void dialer_stop(struct peer *peer);
void dialer_on_end(struct peer *peer, enum grpc_code code);
/* How long to wait after `failures` in a row; `at_once`: a stream that was up broke. */
uint64_t dialer_delay_ms(enum grpc_code code, unsigned failures, bool at_once);
/* A peer without CA is refused unless the operator allows plaintext. */
bool dialer_check_ca(size_t ca_count, bool allow_plaintext, struct error *error);
/* The client's TLS for a peering; `*ret_tls` NULL: cleartext. */
bool dialer_tls(const struct peerings *peerings, char *const *ca_pems, size_t ca_count,
                const char *server_name, struct tls_context **ret_tls, struct error *error);
/* Addresses to try, in order: gateways of this cluster (`ret_gateways` many) first, if peering goes
 * through them. */
struct text_list dialer_ring(struct peerings *peerings, const struct tenancy *tenancy,
                             char *const *addresses, size_t count, size_t *ret_gateways);

/* acceptor.c */
void acceptor_serve(struct peerings *peerings, struct grpc_server *server);
void acceptor_stop(struct peerings *peerings);

/* establish.c */
void establish_stop(struct peerings *peerings);
