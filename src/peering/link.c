#include "peering/link.h"

#include <stdlib.h>
#include <string.h>

#include "base/duration.h"
#include "base/log.h"
#include "peering/internal.h"

#define LOG "peering.stream"
#define METHOD "/hashicorp.consul.internal.peerstream.PeerStreamService/StreamResources"
#define CONNECT_TIMEOUT_MS 10000
#define KEEPALIVE_MS 30000
#define KEEPALIVE_TIMEOUT_MS 10000
#define PENDING_BYTES_MAX ((size_t)512 * 1024 * 1024) /* sent by the peer, not yet written */

struct link {
    struct peerings *peerings;
    const struct link_handler *handler;
    void *arg;
    enum session_role role;
    char *name; /* of the peer, for the log */

    struct grpc_channel *channel; /* dialer */
    struct grpc_call *call;       /* NULL once it is over */
    struct session *session;
    struct exporter *exporter; /* both from the start of a stream on */
    struct importer *importer;
    struct timer *timer; /* the session's next tick; once it is over, the report of that */
    bool active;
    bool over;
    enum grpc_code code;
    char *message;
};

static struct session_time now(const struct link *link)
{
    return (struct session_time){loop_now(link->peerings->loop), clock_realtime_ns()};
}

/* After every call into the session. */
static void rearm(struct link *link)
{
    if (link->over)
        return;
    uint64_t next = session_next(link->session), current = loop_now(link->peerings->loop);
    if (next != UINT64_MAX)
        timer_start(link->timer, next > current ? next - current : 0, 0);
}

static void on_timer(void *arg)
{
    struct link *link = arg;
    if (link->over) {
        link->handler->ended(link->arg, link, link->code, link->message);
        return;
    }
    session_tick(link->session, now(link));
    rearm(link);
}

static void set_active(struct link *link)
{
    if (link->active)
        return;
    link->active = true;
    link->handler->active(link->arg, link);
}

/* ---- the session's side ---- */

static void on_send(void *arg, const void *message, size_t length)
{
    struct link *link = arg;
    if (link->call != NULL)
        grpc_send(link->call, message, length);
}

static void on_opened(void *arg, const Ps__Open *open)
{
    struct link *link = arg;
    link->handler->opened(link->arg, link, open);
}

static void on_subscribed(void *arg, enum resource resource)
{
    struct link *link = arg;
    if (resource != RESOURCE_ADDRESSES || link->role == SESSION_ACCEPTOR)
        exporter_start(link->exporter, resource);
}

static void on_received(void *arg, struct session_response *response)
{
    struct link *link = arg;
    if (importer_pending(link->importer) > PENDING_BYTES_MAX) {
        session_response_free(response);
        session_fail(link->session, GRPC_RESOURCE_EXHAUSTED,
                     "the peer sends faster than this server can write");
        return;
    }
    importer_submit(link->importer, response);
}

static void on_terminated(void *arg)
{
    struct link *link = arg;
    link->handler->terminated(link->arg, link);
}

static void on_half_close_wanted(void *arg)
{
    struct link *link = arg;
    if (link->call != NULL)
        grpc_half_close(link->call);
}

static void on_ended(void *arg, enum grpc_code code, const char *message)
{
    struct link *link = arg;
    link->over = true;
    link->code = code;
    link->message = mem_strdup(message);
    if (link->call != NULL) {
        struct grpc_call *call = link->call;
        link->call = NULL;
        if (link->role == SESSION_ACCEPTOR)
            grpc_finish(call, code, message, NULL, 0);
        else
            grpc_cancel(call);
    }
    timer_start(link->timer, 0, 0);
}

static const struct session_handler session_handler = {
    .send = on_send,
    .opened = on_opened,
    .subscribed = on_subscribed,
    .received = on_received,
    .terminated = on_terminated,
    .half_close = on_half_close_wanted,
    .ended = on_ended,
};

/* ---- what is exported and imported ---- */

static void on_publish(void *arg, enum resource resource, const char *id,
                       const ProtobufCMessage *payload)
{
    struct link *link = arg;
    if (!session_publish(link->session, resource, id, payload, now(link)))
        log_error(LOG,
                  "peer %s does not get service %s: its instances do not fit into one message of "
                  "%zu bytes; spread them over several service names",
                  link->name, id, STREAM_MESSAGE_BYTES_MAX);
}

static void on_forget(void *arg, enum resource resource, const char *id)
{
    struct link *link = arg;
    session_forget(link->session, resource, id);
}

static bool has_room(void *arg)
{
    struct link *link = arg;
    return link->call != NULL && grpc_queued(link->call) <= STREAM_HIGH_WATER;
}

static const struct exporter_handler exporter_handler = {on_publish, on_forget, has_room};

static const char *server_address(void *arg)
{
    struct link *link = arg;
    return link->peerings->server_address;
}

static void on_imported(void *arg, struct session_response *response, const struct error *error)
{
    struct link *link = arg;
    if (error != NULL)
        log_warn(LOG, "refused %s \"%s\" from peer %s: %s",
                 strrchr(resource_url(response->resource), '.') + 1, response->id, link->name,
                 error->message);
    session_answer(link->session, response, error, now(link));
}

static void attach(struct link *link, const Pb__Peering *peering)
{
    struct peerings *peerings = link->peerings;
    struct exporter_config config = {
        .store = peerings->store,
        .scope = {.peer_name = peering->name,
                  .partition = peering->partition,
                  .datacenter = peerings->datacenter,
                  .trust_domain = authority_trust_domain(peerings->authority)},
        .server_address = server_address,
    };
    free(link->name);
    link->name = mem_strdup(peering->name);
    link->exporter = exporter_new(&config, &exporter_handler, link);
    link->importer =
        importer_new(peerings->store, peering, config.scope.trust_domain, on_imported, link);
}

/* ---- the call's side ---- */

static void on_message(void *arg, struct grpc_call *call, const uint8_t *data, size_t length)
{
    (void)call;
    struct link *link = arg;
    const struct session_stats *stats = session_stats(link->session);
    unsigned nacks = stats->nacks;
    session_receive(link->session, data, length, now(link));
    if (stats->nacks != nacks)
        log_warn(LOG, "peer %s refused a resource: %s", link->name, stats->last_nack);
    if (link->role == SESSION_DIALER && session_is_running(link->session))
        set_active(link);
    rearm(link);
}

static void on_half_close(void *arg, struct grpc_call *call)
{
    (void)call;
    struct link *link = arg;
    session_peer_closed(link->session);
}

static void on_drain(void *arg, struct grpc_call *call)
{
    (void)call;
    struct link *link = arg;
    if (link->exporter != NULL)
        exporter_resume(link->exporter);
}

static void on_end(void *arg, struct grpc_call *call, const struct grpc_status *status)
{
    (void)call;
    struct link *link = arg;
    link->call = NULL;
    if (link->role == SESSION_DIALER && status->code == GRPC_OK)
        session_peer_closed(link->session);
    else
        session_fail(link->session, status->code, status->message);
}

static const struct grpc_call_handler call_handler = {on_message, on_half_close, on_drain, on_end};

/* ---- life ---- */

static struct link *new_link(struct peerings *peerings, enum session_role role,
                             const struct link_handler *handler, void *arg)
{
    struct link *link = mem_zalloc(sizeof *link);
    link->peerings = peerings;
    link->handler = handler;
    link->arg = arg;
    link->role = role;
    link->timer = timer_new(peerings->loop, on_timer, link);
    link->session = session_new(role, &session_handler, link, now(link));
    return link;
}

struct link *link_accept(struct peerings *peerings, struct grpc_call *call,
                         const struct link_handler *handler, void *arg)
{
    struct link *link = new_link(peerings, SESSION_ACCEPTOR, handler, arg);
    link->call = call;
    grpc_call_set_handler(call, &call_handler, link);
    rearm(link);
    return link;
}

struct link *link_dial(struct peerings *peerings, const struct address *address,
                       struct tls_context *tls, const Pb__Peering *peering, const char *secret,
                       const struct link_handler *handler, void *arg)
{
    struct link *link = new_link(peerings, SESSION_DIALER, handler, arg);
    attach(link, peering);
    char *text = address_format(address);
    struct grpc_channel_config config = {
        .address = address,
        .tls = tls,
        .authority = tls != NULL ? peering->peer_server_name : text,
        .connect_timeout_ms = CONNECT_TIMEOUT_MS,
        .keepalive_ms = KEEPALIVE_MS,
        .keepalive_timeout_ms = KEEPALIVE_TIMEOUT_MS,
        .max_message_bytes = STREAM_MESSAGE_BYTES_MAX,
    };
    link->channel = grpc_channel_new(peerings->loop, &config, NULL, NULL);
    free(text);
    link->call = grpc_call_new(link->channel, METHOD, NULL, &call_handler, link);
    Pb__RemoteInfo remote = PB__REMOTE_INFO__INIT;
    remote.partition = peering->partition;
    remote.datacenter = peerings->datacenter;
    session_open(link->session, peering->peer_id, secret, &remote);
    rearm(link);
    return link;
}

void link_free(struct link *link)
{
    if (link == NULL)
        return;
    timer_free(link->timer);
    exporter_free(link->exporter);
    importer_free(link->importer);
    session_free(link->session);
    if (link->call != NULL && link->role == SESSION_ACCEPTOR)
        grpc_finish(link->call, GRPC_UNAVAILABLE, "the server is shutting down", NULL, 0);
    else if (link->call != NULL)
        grpc_cancel(link->call);
    grpc_channel_free(link->channel);
    free(link->name);
    free(link->message);
    free(link);
}

void link_set_owner(struct link *link, const struct link_handler *handler, void *arg)
{
    link->handler = handler;
    link->arg = arg;
}

void link_start(struct link *link, const Pb__Peering *peering)
{
    attach(link, peering);
    set_active(link);
    session_accept(link->session, now(link));
    rearm(link);
}

void link_refuse(struct link *link, bool terminated_first, enum grpc_code code, const char *message)
{
    session_refuse(link->session, terminated_first, code, message, now(link));
    rearm(link);
}

void link_terminate(struct link *link)
{
    if (session_is_running(link->session))
        session_terminate(link->session, now(link));
    else if (!session_is_draining(link->session))
        session_fail(link->session, GRPC_CANCELLED, "the peering is deleted");
    rearm(link);
}

void link_fail(struct link *link, enum grpc_code code, const char *message)
{
    session_fail(link->session, code, message);
}

void link_resend_addresses(struct link *link)
{
    if (link->exporter != NULL)
        exporter_resend_addresses(link->exporter);
}

bool link_is_draining(const struct link *link)
{
    return session_is_draining(link->session);
}

const struct session_stats *link_stats(const struct link *link)
{
    return session_stats(link->session);
}

const struct text_list *link_imported(const struct link *link)
{
    return link->importer == NULL ? NULL : importer_services(link->importer);
}

const struct text_list *link_exported(const struct link *link)
{
    return link->exporter == NULL ? NULL : exporter_services(link->exporter);
}
