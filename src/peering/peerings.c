/* Which peering needs what: looks at the table whenever it changes, and sees to streams and
 * removals. Also the state that people are shown. */
#include <stdlib.h>
#include <string.h>

#include "base/duration.h"
#include "base/ident.h"
#include "base/log.h"
#include "base/text.h"
#include "peering/internal.h"
#include "peering/records.h"
#include "proto/proto.h"

#define ESTABLISHING_SHOWN_MS 30 /* so that whoever established can see it happen */

/* ---- streams without a peer ---- */

struct stray {
    struct list node;
    struct link *link;
};

static void free_stray(struct stray *stray)
{
    list_remove(&stray->node);
    link_free(stray->link);
    free(stray);
}

static void stray_nothing(void *arg, struct link *link)
{
    (void)arg;
    (void)link;
}

static void stray_ended(void *arg, struct link *link, enum grpc_code code, const char *message)
{
    (void)link;
    (void)code;
    (void)message;
    free_stray(arg);
}

static const struct link_handler stray_handler = {
    .active = stray_nothing,
    .terminated = stray_nothing,
    .ended = stray_ended,
};

void peerings_keep_link(struct peerings *peerings, struct link *link)
{
    struct stray *stray = mem_zalloc(sizeof *stray);
    stray->link = link;
    list_append(&peerings->draining, &stray->node);
    link_set_owner(link, &stray_handler, stray);
}

/* ---- one peer ---- */

struct peer *peer_find(struct peerings *peerings, const char *id)
{
    struct peer *peer;
    HASH_FIND_STR(peerings->peers, id, peer);
    return peer;
}

struct peer *peer_ensure(struct peerings *peerings, const struct record *record)
{
    const Pb__Peering *peering = record->message;
    struct peer *peer = peer_find(peerings, peering->id);
    if (peer == NULL) {
        peer = mem_zalloc(sizeof *peer);
        peer->peerings = peerings;
        peer->id = mem_strdup(peering->id);
        HASH_ADD_KEYPTR(hh, peerings->peers, peer->id, strlen(peer->id), peer);
    }
    record_unref(peer->record);
    peer->record = record_ref(record);
    return peer;
}

static void copy_names(struct text_list *names, const struct text_list *source)
{
    if (source == NULL)
        return;
    text_list_free(names);
    for (size_t i = 0; i < source->count; i++)
        text_list_add(names, source->items[i]);
}

static void save_status(struct peer *peer)
{
    peer->status.stats = *link_stats(peer->link);
    copy_names(&peer->status.imported, link_imported(peer->link));
    copy_names(&peer->status.exported, link_exported(peer->link));
}

void peer_release_link(struct peer *peer)
{
    if (peer->link == NULL)
        return;
    save_status(peer);
    peerings_keep_link(peer->peerings, peer->link);
    peer->link = NULL;
    peer->active_at = 0;
    peer->status.connected = false;
}

static void free_peer(struct peer *peer)
{
    dialer_stop(peer);
    link_free(peer->link);
    removal_abandon(peer->removal);
    HASH_DEL(peer->peerings->peers, peer);
    record_unref(peer->record);
    text_list_free(&peer->status.imported);
    text_list_free(&peer->status.exported);
    free(peer->status.error);
    free(peer->id);
    free(peer);
}

static const Pb__Peering *peer_record(const struct peer *peer)
{
    return peer->record->message;
}

/* ---- what happens on its stream ---- */

static void on_active(void *arg, struct link *link)
{
    (void)link;
    struct peer *peer = arg;
    peer->status.connected = true;
    peer->active_at = loop_now(peer->peerings->loop);
    free(peer->status.error);
    peer->status.error = NULL;
    log_info(PEERING_LOG, "stream to peer is up: peer=%s", peer_record(peer)->name);
}

struct termination {
    char *id;
};

static bool write_terminated(struct txn *txn, void *arg, struct error *error)
{
    struct termination *termination = arg;
    const struct record *record = peering_find_by_id(txn_view(txn), termination->id);
    if (record == NULL)
        return true;
    Pb__Peering peering = *(const Pb__Peering *)record->message;
    peering.state = PB__PEERING_STATE__TERMINATED;
    return peering_put(txn, &peering, error);
}

static void on_terminated_written(void *arg, const struct error *error, uint64_t index)
{
    (void)index;
    struct termination *termination = arg;
    if (error != NULL)
        log_error(PEERING_LOG, "could not mark peering %s as terminated: %s", termination->id,
                  error->message);
    free(termination->id);
    free(termination);
}

static void on_terminated(void *arg, struct link *link)
{
    (void)link;
    struct peer *peer = arg;
    log_info(PEERING_LOG,
             "the other side deleted the peering: peer=%s; delete it here too, or establish it "
             "anew with a new token",
             peer_record(peer)->name);
    struct termination *termination = mem_zalloc(sizeof *termination);
    termination->id = mem_strdup(peer->id);
    store_commit(peer->peerings->store, write_terminated, on_terminated_written, termination);
    peer_release_link(peer);
}

/* What a person does about a stream that the dialer cannot keep up; "" where waiting is all there
 * is. */
static const char *advice(const struct peer *peer, enum grpc_code code, const char *message)
{
    if (!peering_is_dialer(peer_record(peer)))
        return "";
    if (strstr(message, "unknown PeerID") != NULL)
        return "; the other side deleted this peering: delete it here too, or establish it anew "
               "with a new token";
    if (code == GRPC_PERMISSION_DENIED || strstr(message, "must be re-established") != NULL)
        return "; establish it anew with a new token";
    if (code == GRPC_UNAVAILABLE && !peer->status.connected)
        return "; is the peer running, and are its addresses reachable from here?";
    return "";
}

static void on_ended(void *arg, struct link *link, enum grpc_code code, const char *message)
{
    struct peer *peer = arg;
    save_status(peer);
    peer->link = NULL;
    free(peer->status.error);
    peer->status.error = NULL;
    if (code != GRPC_OK) {
        peer->status.error = mem_printf("rpc error: code = %s desc = %s%s", grpc_code_name(code),
                                        message, advice(peer, code, message));
        log_warn(PEERING_LOG, "stream to peer ended: peer=%s: %s", peer_record(peer)->name,
                 peer->status.error);
    }
    dialer_on_end(peer, code);
    peer->status.connected = false;
    peer->active_at = 0;
    link_free(link);
}

const struct link_handler peer_link_handler = {
    .active = on_active,
    .terminated = on_terminated,
    .ended = on_ended,
};

/* ---- the table ---- */

static void look(void *arg);

static void on_removed(void *arg)
{
    struct peer *peer = arg;
    peer->removal = NULL;
    look(peer->peerings); /* it may have been established anew meanwhile */
}

static void end_peering(struct peer *peer)
{
    dialer_stop(peer);
    if (peer->link != NULL && !link_is_draining(peer->link))
        link_terminate(peer->link);
    peer_release_link(peer);
    free(peer->status.error);
    peer->status.error = NULL;
    if (peer->removal == NULL)
        peer->removal = removal_start(peer->peerings->store, peer_record(peer), on_removed, peer);
}

/* When it became inactive (or was so when this server started), and when what was only terminated
 * is deleted. */
static bool is_removal_due(const struct peer *peer, const Pb__Peering *before)
{
    return before == NULL || !peering_is_inactive(before) ||
           (peer_record(peer)->state == PB__PEERING_STATE__DELETING && peer->removal == NULL);
}

static void update_peer(struct peerings *peerings, struct view *view, const struct record *record)
{
    const Pb__Peering *peering = record->message;
    struct peer *peer = peer_find(peerings, peering->id);
    const struct record *old = peer == NULL ? NULL : record_ref(peer->record);
    const Pb__Peering *before = old == NULL ? NULL : old->message;
    peer = peer_ensure(peerings, record);
    peer->seen = true;
    if (peering->state == PB__PEERING_STATE__ESTABLISHING &&
        (before == NULL || before->state != PB__PEERING_STATE__ESTABLISHING))
        peer->establishing_since = loop_now(peerings->loop);
    const Pb__PeeringSecrets *secrets = peering_secrets(view, peering->id);
    if (peering_is_inactive(peering)) {
        if (is_removal_due(peer, before))
            end_peering(peer);
    } else if (peering_is_dialer(peering) && secrets != NULL && secrets->stream != NULL &&
               !text_empty(secrets->stream->active_secret_id) && peer->removal == NULL) {
        dialer_update(peer, secrets->stream->active_secret_id);
    }
    record_unref(old);
}

static void look(void *arg)
{
    struct peerings *peerings = arg;
    watch_free(peerings->watch);
    struct view *view = view_new(peerings->store);
    size_t count;
    struct peer *peer, *next;
    HASH_ITER (hh, peerings->peers, peer, next)
        peer->seen = false;
    const struct record *const *records = peering_all(view, &TENANCY_DEFAULT, &count);
    for (size_t i = 0; i < count; i++)
        update_peer(peerings, view, records[i]);
    HASH_ITER (hh, peerings->peers, peer, next) {
        if (peer->seen)
            continue;
        if (peer->link != NULL)
            link_terminate(peer->link);
        peer_release_link(peer);
        free_peer(peer);
    }
    peerings->watch = watch_new(view, look, peerings);
}

struct peerings *peerings_new(const struct peerings_config *config)
{
    struct peerings *peerings = mem_zalloc(sizeof *peerings);
    peerings->store = config->store;
    peerings->loop = store_loop(config->store);
    peerings->authority = config->authority;
    peerings->datacenter = mem_strdup(config->datacenter);
    peerings->node_name = mem_strdup(config->node_name);
    peerings->server_address = mem_strdup("");
    peerings->allow_plaintext = config->allow_plaintext;
    list_init(&peerings->draining);
    list_init(&peerings->accepting);
    list_init(&peerings->exchanging);
    list_init(&peerings->establishing);
    look(peerings);
    return peerings;
}

void peerings_serve(struct peerings *peerings, struct grpc_server *server)
{
    acceptor_serve(peerings, server);
}

void peerings_set_server_address(struct peerings *peerings, const char *address)
{
    free(peerings->server_address);
    peerings->server_address = mem_strdup(address);
    struct peer *peer, *next;
    HASH_ITER (hh, peerings->peers, peer, next) {
        if (peer->link != NULL)
            link_resend_addresses(peer->link);
    }
}

void peerings_free(struct peerings *peerings)
{
    if (peerings == NULL)
        return;
    establish_stop(peerings);
    acceptor_stop(peerings);
    watch_free(peerings->watch);
    struct peer *peer, *next;
    HASH_ITER (hh, peerings->peers, peer, next)
        free_peer(peer);
    list_for_each (node, &peerings->draining)
        free_stray(list_entry(node, struct stray, node));
    free(peerings->datacenter);
    free(peerings->node_name);
    free(peerings->server_address);
    free(peerings);
}

/* ---- reading ---- */

static char **copy_strings(const struct text_list *names, struct arena *arena)
{
    char **copy = proto_array(arena, names->count);
    for (size_t i = 0; i < names->count; i++)
        copy[i] = arena_strdup(arena, names->items[i]);
    return copy;
}

static Pb__StreamStatus *show_status(const struct peer *peer, struct arena *arena)
{
    Pb__StreamStatus *status = proto_new(arena, pb__stream_status);
    if (peer == NULL)
        return status;
    const struct text_list *imported = peer->link == NULL ? NULL : link_imported(peer->link);
    const struct text_list *exported = peer->link == NULL ? NULL : link_exported(peer->link);
    const struct session_stats *stats =
        peer->link == NULL ? &peer->status.stats : link_stats(peer->link);
    imported = imported == NULL ? &peer->status.imported : imported;
    exported = exported == NULL ? &peer->status.exported : exported;
    status->n_imported_services = imported->count;
    status->imported_services = copy_strings(imported, arena);
    status->n_exported_services = exported->count;
    status->exported_services = copy_strings(exported, arena);
    status->last_heartbeat = stats->last_heartbeat_ns;
    status->last_receive = stats->last_receive_ns;
    status->last_send = stats->last_send_ns;
    if (!peer->status.connected && peer->status.error != NULL)
        status->disconnect_error = arena_strdup(arena, peer->status.error);
    return status;
}

static Pb__PeeringState show_state(const struct peer *peer, const Pb__Peering *stored)
{
    if (peer == NULL || peering_is_inactive(stored))
        return stored->state;
    if (!peer->status.connected)
        return peer->status.error != NULL ? PB__PEERING_STATE__FAILING : stored->state;
    if (stored->state == PB__PEERING_STATE__ESTABLISHING &&
        loop_now(peer->peerings->loop) < peer->establishing_since + ESTABLISHING_SHOWN_MS)
        return stored->state;
    return PB__PEERING_STATE__ACTIVE;
}

static Pb__Peering *show(struct peerings *peerings, const struct record *record,
                         struct arena *arena)
{
    const Pb__Peering *stored = record->message;
    const struct peer *peer = peer_find(peerings, stored->id);
    Pb__Peering *shown = proto_copy(stored, arena);
    shown->state = show_state(peer, stored);
    shown->stream_status = show_status(peer, arena);
    return shown;
}

Pb__Peering *peering_read(struct peerings *peerings, struct view *view,
                          const struct tenancy *tenancy, const char *name, struct arena *arena,
                          const struct record **ret_record)
{
    const struct record *record = peering_find(view, tenancy, name);
    if (record == NULL)
        return NULL;
    if (ret_record != NULL)
        *ret_record = record;
    return show(peerings, record, arena);
}

size_t peering_list(struct peerings *peerings, struct view *view, const struct tenancy *tenancy,
                    struct arena *arena, Pb__Peering ***ret_peerings,
                    const struct record *const **ret_records)
{
    size_t count;
    const struct record *const *records = peering_all(view, tenancy, &count);
    Pb__Peering **shown = proto_array(arena, count);
    for (size_t i = 0; i < count; i++)
        shown[i] = show(peerings, records[i], arena);
    *ret_peerings = shown;
    if (ret_records != NULL)
        *ret_records = records;
    return count;
}
