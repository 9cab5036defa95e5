/* One replication stream as a pure state machine, for both roles (peering-protocol section 8).
 *
 * Messages (bare protobuf bytes of ReplicationMessage) come in by session_receive and go out by
 * handler->send; time comes in with every call, and session_tick is due when session_next says.
 * No sockets, no clock, no store.
 *
 *   dialer     session_open sends Open and the subscriptions: the stream is running.
 *   acceptor   the first message is Open: handler->opened. The owner looks it up and answers with
 *              session_accept or session_refuse; what arrives meanwhile waits.
 *
 * While the stream runs, the peer's subscriptions start the owner's exports (handler->subscribed),
 * which it sends with session_publish, and the peer's resources come by handler->received, each
 * answered once with session_answer. Either side ends the peering with Terminated; the stream then
 * drains: what still arrives is discarded until the other side has ended too.
 *
 * Nothing that the peer sends is an assertion: it leads to a NACK or to handler->ended. After
 * `ended` the session is dead: every call is a no-op but session_free. Handlers may call back into
 * the session, but not free it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/grpc.h"
#include "peering/resource.h"

#define SESSION_HEARTBEAT_MS 15000
#define SESSION_DEADLINE_MS 120000 /* without a heartbeat from the peer */
#define SESSION_REFUSE_MS 100      /* a refusal waits so long for the dialer's first messages */
#define SESSION_DRAIN_MS 5000

enum session_role { SESSION_DIALER, SESSION_ACCEPTOR };

struct session;

struct session_time {
    uint64_t now_ms;     /* monotonic: deadlines */
    int64_t realtime_ns; /* what people are shown */
};

/* A resource that the peer sent; belongs to the owner until it is answered or freed. */
struct session_response {
    struct arena *arena;
    enum resource resource;
    const char *id, *nonce;
    const void *payload; /* resource_read's result; in the arena */
    size_t bytes;        /* of the message it came in */
};
void session_response_free(struct session_response *response);

struct session_handler {
    void (*send)(void *arg, const void *message, size_t length);
    void (*opened)(void *arg, const Ps__Open *open);       /* acceptor; borrowed for the call */
    void (*subscribed)(void *arg, enum resource resource); /* once a resource type */
    void (*received)(void *arg, struct session_response *response);
    void (*terminated)(void *arg); /* the peer ended the peering; the stream drains */
    /* A dialer sends no more (half-close); an acceptor ignores it. */
    void (*half_close)(void *arg);
    /* The stream is over. An acceptor finishes its call with this status, a dialer drops it.
     * GRPC_OK: ended in good order. */
    void (*ended)(void *arg, enum grpc_code code, const char *message);
};

struct session *session_new(enum session_role role, const struct session_handler *handler,
                            void *arg, struct session_time time);
void session_free(struct session *session);

/* `peer_id`: the acceptor's id of the peering. */
void session_open(struct session *session, const char *peer_id, const char *secret,
                  const Pb__RemoteInfo *remote);
void session_accept(struct session *session, struct session_time time);
/* Ends an acceptor's stream, once the dialer has had time to send its first five messages: a
 * refusal that overtakes them is lost on a real dialer, which then backs off for a minute (6.6). */
void session_refuse(struct session *session, bool terminated_first, enum grpc_code code,
                    const char *message, struct session_time time);

void session_receive(struct session *session, const uint8_t *message, size_t length,
                     struct session_time time);
/* The other side sends no more (acceptor), or the call is over in good order (dialer). */
void session_peer_closed(struct session *session);
/* The call is over with this status. While the stream drains, that is good order too. */
void session_fail(struct session *session, enum grpc_code code, const char *message);
void session_tick(struct session *session, struct session_time time);
uint64_t session_next(const struct session *session); /* when tick is due; UINT64_MAX: never */

bool session_is_running(const struct session *session);
bool session_is_draining(const struct session *session);

/* Sends the resource unless the peer has exactly this already. False: it is too large for one
 * message, nothing was sent. */
bool session_publish(struct session *session, enum resource resource, const char *id,
                     const ProtobufCMessage *payload, struct session_time time);
/* The peer drops it by itself (unexport): the next publish is sent in any case. */
void session_forget(struct session *session, enum resource resource, const char *id);
/* ACK, or NACK with code 13 if there is an error. Frees the response. */
void session_answer(struct session *session, struct session_response *response,
                    const struct error *error, struct session_time time);
/* This side ends the peering: sends Terminated and drains. */
void session_terminate(struct session *session, struct session_time time);

/* realtime_ns of the last event of each kind; 0: never. */
struct session_stats {
    int64_t last_heartbeat_ns, last_receive_ns, last_send_ns, last_ack_ns, last_nack_ns;
    unsigned nacks;
    char last_nack[256]; /* what the peer said */
};
const struct session_stats *session_stats(const struct session *session);
