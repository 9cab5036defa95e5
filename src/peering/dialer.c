/* The dialer's side: keeps one stream open to the acceptor of each peering that this cluster
 * established. */
#include <stdlib.h>
#include <string.h>

#include "base/ident.h"
#include "base/log.h"
#include "base/text.h"
#include "peering/internal.h"
#include "peering/payload.h"
#include "peering/records.h"

#define HEALTHY_MS 10000 /* a stream that lasted this long ends a row of failures */
#define FIRST_RETRY_MS 50
#define RETRY_MAX_MS 30000
#define FOLLOWER_RETRY_MAX_MS 8192

/* After an established stream broke, at once; else 0.5, 1, 2, … 30 s. A server that is not the
 * leader (a real Consul behind a gateway often is not) is a reason to try the next one right away.
 */
uint64_t dialer_delay_ms(enum grpc_code code, unsigned failures, bool at_once)
{
    if (at_once)
        return FIRST_RETRY_MS;
    if (code == GRPC_RESOURCE_EXHAUSTED)
        return FOLLOWER_RETRY_MAX_MS;
    bool follower = code == GRPC_FAILED_PRECONDITION;
    uint64_t delay = follower ? 8 : 500;
    uint64_t most = follower ? FOLLOWER_RETRY_MAX_MS : RETRY_MAX_MS;
    for (unsigned i = follower ? 5 : 1; i < failures && delay < most; i++)
        delay *= 2;
    return delay < most ? delay : most;
}

/* Up to a tenth more, so that many dialers do not come in step. */
static uint64_t with_jitter(uint64_t delay_ms)
{
    uint16_t random;
    random_bytes(&random, sizeof random);
    return delay_ms + delay_ms * random / 10 / UINT16_MAX;
}

bool dialer_check_ca(size_t ca_count, bool allow_plaintext, struct error *error)
{
    if (ca_count > 0 || allow_plaintext)
        return true;
    return error_set(error, ERR_INTERNAL,
                     "the peering token has no CA: the connection would be neither encrypted nor "
                     "authenticated; have the other side enable TLS for gRPC and make a new token, "
                     "or allow plaintext peering here");
}

bool dialer_tls(const struct peerings *peerings, char *const *ca_pems, size_t ca_count,
                const char *server_name, struct tls_context **ret_tls, struct error *error)
{
    static const char *const alpn[] = {"h2", NULL};
    if (!dialer_check_ca(ca_count, peerings->allow_plaintext, error))
        return false;
    if (ca_count == 0) {
        *ret_tls = NULL;
        return true;
    }
    struct buffer ca = {0};
    for (size_t i = 0; i < ca_count; i++) {
        buffer_add_text(&ca, ca_pems[i]);
        if (!text_ends(ca_pems[i], "\n"))
            buffer_add_byte(&ca, '\n');
    }
    struct tls_client_config config = {
        .ca_pem = buffer_text(&ca), .server_name = server_name, .alpn = alpn};
    struct tls_context *tls = tls_client_new(&config, error);
    buffer_free(&ca);
    if (tls == NULL)
        return false;
    *ret_tls = tls;
    return true;
}

struct text_list dialer_ring(struct peerings *peerings, const struct tenancy *tenancy,
                             char *const *addresses, size_t count, size_t *ret_gateways)
{
    struct text_list ring = {0};
    struct view *view = view_new(peerings->store);
    if (peering_through_gateways(view, tenancy))
        ring = payload_gateway_addresses(view, tenancy, false);
    view_free(view);
    if (ret_gateways != NULL)
        *ret_gateways = ring.count;
    for (size_t i = 0; i < count; i++)
        text_list_add(&ring, addresses[i]);
    return ring;
}

/* ---- dialling ---- */

static void fail_attempt(struct peer *peer, const char *message)
{
    free(peer->status.error);
    peer->status.error = mem_strdup(message);
    log_warn(PEERING_LOG, "could not dial peer: peer=%s: %s",
             ((const Pb__Peering *)peer->record->message)->name, message);
    dialer_on_end(peer, GRPC_UNAVAILABLE);
}

static char *next_address(struct peer *peer)
{
    const Pb__Peering *peering = peer->record->message;
    bool manual = peering->n_manual_server_addresses > 0;
    struct tenancy tenancy = {.partition = peering->partition};
    struct text_list ring = dialer_ring(
        peer->peerings, &tenancy,
        manual ? peering->manual_server_addresses : peering->peer_server_addresses,
        manual ? peering->n_manual_server_addresses : peering->n_peer_server_addresses, NULL);
    char *address =
        ring.count == 0 ? mem_strdup("") : mem_strdup(ring.items[peer->attempts++ % ring.count]);
    text_list_free(&ring);
    return address;
}

static void dial(void *arg)
{
    struct peer *peer = arg;
    const Pb__Peering *peering = peer->record->message;
    struct error error = {0};
    struct tls_context *tls = NULL;
    struct address address;
    char *text = next_address(peer);
    bool ok = dialer_tls(peer->peerings, peering->peer_ca_pems, peering->n_peer_ca_pems,
                         peering->peer_server_name, &tls, &error) &&
              address_parse(text, &address, &error);
    if (ok) {
        free(peer->acceptor_id);
        peer->acceptor_id = mem_strdup(peering->peer_id);
        peer->link = link_dial(peer->peerings, &address, tls, peering, peer->secret,
                               &peer_link_handler, peer);
        address_clear(&address);
    }
    tls_unref(tls);
    free(text);
    if (!ok)
        fail_attempt(peer, error.message);
}

static void forget_secret(struct peer *peer)
{
    if (peer->secret != NULL)
        mem_clear(peer->secret, strlen(peer->secret));
    free(peer->secret);
    peer->secret = NULL;
}

static void drop_link(struct peer *peer)
{
    link_free(peer->link);
    peer->link = NULL;
    peer->active_at = 0;
    peer->status.connected = false;
}

void dialer_update(struct peer *peer, const char *secret)
{
    bool is_new = peer->secret == NULL || strcmp(peer->secret, secret) != 0;
    if (is_new) {
        forget_secret(peer);
        peer->secret = mem_strdup(secret);
        peer->failures = 0;
        peer->retried_at_once = false;
    }
    if (peer->timer == NULL)
        peer->timer = timer_new(peer->peerings->loop, dial, peer);
    /* A stream that is up stays up: the new secret is for the next one. One that is not yet up, or
     * leads to another peering, dials with what is not valid any more. */
    const Pb__Peering *peering = peer->record->message;
    if (is_new && peer->link != NULL &&
        (!peer->status.connected || !text_equal(peer->acceptor_id, peering->peer_id)))
        drop_link(peer);
    if (peer->link == NULL && (is_new || !timer_active(peer->timer)))
        timer_start(peer->timer, 0, 0);
}

void dialer_stop(struct peer *peer)
{
    timer_free(peer->timer);
    peer->timer = NULL;
    forget_secret(peer);
    free(peer->acceptor_id);
    peer->acceptor_id = NULL;
}

void dialer_on_end(struct peer *peer, enum grpc_code code)
{
    if (peer->timer == NULL)
        return;
    bool was_active = peer->active_at != 0;
    if (was_active && loop_now(peer->peerings->loop) - peer->active_at >= HEALTHY_MS) {
        peer->failures = 0;
        peer->retried_at_once = false;
    }
    bool at_once = was_active && !peer->retried_at_once;
    if (at_once)
        peer->retried_at_once = true;
    else
        peer->failures++;
    timer_start(peer->timer, with_jitter(dialer_delay_ms(code, peer->failures, at_once)), 0);
}
