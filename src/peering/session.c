#include "peering/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "base/buffer.h"
#include "base/ident.h"
#include "base/list.h"
#include "base/text.h"
#include "peering/session_messages.h"
#include "proto/proto.h"

#define FIRST_MESSAGES 5 /* Open and four subscriptions */
/* What a dialer may send before it is accepted: anybody can come this far. */
#define WAITING_MAX 32
#define WAITING_BYTES_MAX 65536

enum state {
    WAITING,  /* acceptor: for Open */
    DECIDING, /* acceptor: for the owner's word on Open */
    REFUSING, /* acceptor: reads the dialer's first messages, then ends */
    RUNNING,
    DRAINING, /* Terminated was sent or received */
    DEAD,
};

struct published {
    UT_hash_handle hh;
    uint8_t digest[SHA256_SIZE];
    char key[]; /* resource as one digit, then the id */
};

struct waiting {
    struct list link;
    size_t length;
    uint8_t bytes[];
};

struct session {
    enum session_role role;
    const struct session_handler *handler;
    void *arg;

    enum state state;
    char *peer_id;     /* the acceptor's id of the peering */
    unsigned messages; /* received so far */
    struct list waiting;
    size_t waiting_count, early_bytes;
    enum grpc_code refusal_code;
    char *refusal;

    bool subscribed[RESOURCE_COUNT]; /* by the peer */
    uint32_t nonce;
    struct published *published;

    uint64_t heartbeat_at, deadline_at; /* deadline_at: also the end of REFUSING and DRAINING */
    struct session_stats stats;
};

void session_response_free(struct session_response *response)
{
    arena_free(response->arena); /* the response itself lives in it */
}

struct session *session_new(enum session_role role, const struct session_handler *handler,
                            void *arg, struct session_time time)
{
    struct session *session = mem_zalloc(sizeof *session);
    session->role = role;
    session->handler = handler;
    session->arg = arg;
    list_init(&session->waiting);
    session->heartbeat_at = time.now_ms + SESSION_HEARTBEAT_MS;
    session->deadline_at = time.now_ms + SESSION_DEADLINE_MS;
    return session;
}

static void drop_waiting(struct session *session)
{
    list_for_each (node, &session->waiting) {
        list_remove(node);
        free(list_entry(node, struct waiting, link));
    }
    session->waiting_count = 0;
}

void session_free(struct session *session)
{
    if (session == NULL)
        return;
    drop_waiting(session);
    struct published *entry, *next;
    HASH_ITER (hh, session->published, entry, next) {
        HASH_DEL(session->published, entry);
        free(entry);
    }
    free(session->peer_id);
    free(session->refusal);
    free(session);
}

static void end(struct session *session, enum grpc_code code, const char *message)
{
    if (session->state == DEAD)
        return;
    session->state = DEAD;
    session->handler->ended(session->arg, code, message);
}

static void send(struct session *session, struct buffer *message)
{
    session->handler->send(session->arg, buffer_text(message), message->length);
    buffer_free(message);
}

static void subscribe(struct session *session)
{
    size_t count = session->role == SESSION_DIALER ? RESOURCE_COUNT : RESOURCE_ADDRESSES;
    const char *peer_id = session->role == SESSION_DIALER ? session->peer_id : "";
    for (size_t i = 0; i < count; i++) {
        struct buffer message = {0};
        message_subscribe(&message, peer_id, resource_url((enum resource)i));
        send(session, &message);
    }
}

void session_open(struct session *session, const char *peer_id, const char *secret,
                  const Pb__RemoteInfo *remote)
{
    session->peer_id = mem_strdup(peer_id);
    session->state = RUNNING;
    struct buffer message = {0};
    message_open(&message, peer_id, secret, remote);
    session->handler->send(session->arg, message.data, message.length);
    mem_clear(message.data, message.length);
    buffer_free(&message);
    subscribe(session);
}

/* ---- receiving ---- */

static void on_request(struct session *session, const Ps__Request *request,
                       struct session_time time)
{
    enum resource resource;
    struct error error = {0};
    if (!resource_find(request->resource_url, &resource)) {
        error_set(&error, ERR_INVALID, "subscription request to unknown resource URL: %s",
                  request->resource_url);
        end(session, GRPC_INVALID_ARGUMENT, error.message);
        return;
    }
    if (!session->subscribed[resource]) {
        if (!message_check_subscription(request, session->role == SESSION_DIALER, session->peer_id,
                                        &error)) {
            end(session, GRPC_INVALID_ARGUMENT, error.message);
            return;
        }
        session->subscribed[resource] = true;
        session->stats.last_ack_ns = time.realtime_ns;
        session->handler->subscribed(session->arg, resource);
        return;
    }
    if (request->error == NULL) {
        session->stats.last_ack_ns = time.realtime_ns;
        return;
    }
    session->stats.nacks++;
    session->stats.last_nack_ns = time.realtime_ns;
    snprintf(session->stats.last_nack, sizeof session->stats.last_nack,
             "client peer was unable to apply resource: %s", request->error->message);
}

static void on_response(struct session *session, const Ps__Response *response, size_t bytes,
                        struct arena *arena, struct session_time time)
{
    enum resource resource;
    struct error error = {0};
    void *payload = message_read_response(response, arena, &resource, &error);
    if (payload == NULL) {
        struct buffer message = {0};
        message_answer(&message, response->resource_url, response->nonce,
                       grpc_code_of_error(error.code), error.message);
        send(session, &message);
        session->stats.last_receive_ns = time.realtime_ns;
        arena_free(arena);
        return;
    }
    struct session_response *received = arena_alloc(arena, sizeof *received);
    *received = (struct session_response){.arena = arena,
                                          .resource = resource,
                                          .id = response->resource_id,
                                          .nonce = response->nonce,
                                          .payload = payload,
                                          .bytes = bytes};
    session->handler->received(session->arg, received);
}

static void send_heartbeat(struct session *session)
{
    struct buffer message = {0};
    message_heartbeat(&message);
    send(session, &message);
}

static void start_draining(struct session *session, struct session_time time)
{
    session->state = DRAINING;
    session->deadline_at = time.now_ms + SESSION_DRAIN_MS;
    if (session->role == SESSION_DIALER)
        session->handler->half_close(session->arg);
}

static void on_running(struct session *session, const Ps__ReplicationMessage *message, size_t bytes,
                       struct arena *arena, struct session_time time)
{
    switch (message->payload_case) {
    case PS__REPLICATION_MESSAGE__PAYLOAD_RESPONSE:
        on_response(session, message->response, bytes, arena, time);
        return; /* the arena went along */
    case PS__REPLICATION_MESSAGE__PAYLOAD_REQUEST:
        on_request(session, message->request, time);
        break;
    case PS__REPLICATION_MESSAGE__PAYLOAD_TERMINATED:
        /* A real Consul has two readers at this point, and only the second one ends the call: the
         * first one needs something to read that is not the end. */
        send_heartbeat(session);
        start_draining(session, time);
        session->handler->terminated(session->arg);
        break;
    case PS__REPLICATION_MESSAGE__PAYLOAD_HEARTBEAT:
        session->stats.last_heartbeat_ns = session->stats.last_receive_ns = time.realtime_ns;
        session->deadline_at = time.now_ms + SESSION_DEADLINE_MS;
        break;
    default: /* a second Open, or a kind of message that came later: no harm */
        break;
    }
    arena_free(arena);
}

static void on_open(struct session *session, const Ps__ReplicationMessage *message,
                    struct session_time time)
{
    if (message->payload_case != PS__REPLICATION_MESSAGE__PAYLOAD_OPEN) {
        session_refuse(session, false, GRPC_INVALID_ARGUMENT,
                       "first message when initiating a peering must be: Open", time);
        return;
    }
    session->peer_id = mem_strdup(message->open->peer_id);
    session->state = DECIDING;
    session->handler->opened(session->arg, message->open);
}

static void keep_waiting(struct session *session, const uint8_t *bytes, size_t length)
{
    if (session->waiting_count == WAITING_MAX) {
        end(session, GRPC_RESOURCE_EXHAUSTED, "too many messages before the stream was accepted");
        return;
    }
    struct waiting *waiting = mem_alloc(sizeof *waiting + length);
    waiting->length = length;
    memcpy(waiting->bytes, bytes, length);
    list_append(&session->waiting, &waiting->link);
    session->waiting_count++;
}

static void read_message(struct session *session, const uint8_t *bytes, size_t length,
                         struct session_time time)
{
    struct arena *arena = arena_new();
    struct error error = {0};
    const Ps__ReplicationMessage *message = message_read(bytes, length, arena, &error);
    if (message == NULL) {
        arena_free(arena);
        end(session, GRPC_INTERNAL, error.message);
    } else if (session->state == RUNNING) {
        on_running(session, message, length, arena, time);
    } else {
        on_open(session, message, time);
        arena_free(arena);
    }
}

static void finish_refusal(struct session *session)
{
    end(session, session->refusal_code, session->refusal);
}

void session_receive(struct session *session, const uint8_t *message, size_t length,
                     struct session_time time)
{
    session->messages++;
    if (session->state == WAITING || session->state == DECIDING) {
        session->early_bytes += length;
        if (session->early_bytes > WAITING_BYTES_MAX) {
            end(session, GRPC_RESOURCE_EXHAUSTED,
                "too much was sent before the stream was accepted");
            return;
        }
    }
    switch (session->state) {
    case WAITING:
    case RUNNING:
        read_message(session, message, length, time);
        return;
    case DECIDING:
        keep_waiting(session, message, length);
        return;
    case REFUSING:
        if (session->messages >= FIRST_MESSAGES)
            finish_refusal(session);
        return;
    case DRAINING:
    case DEAD:
        return;
    }
}

void session_accept(struct session *session, struct session_time time)
{
    if (session->state != DECIDING)
        return;
    session->state = RUNNING;
    session->heartbeat_at = time.now_ms + SESSION_HEARTBEAT_MS;
    session->deadline_at = time.now_ms + SESSION_DEADLINE_MS;
    subscribe(session);
    list_for_each (node, &session->waiting) {
        struct waiting *waiting = list_entry(node, struct waiting, link);
        list_remove(node);
        if (session->state == RUNNING)
            read_message(session, waiting->bytes, waiting->length, time);
        free(waiting);
    }
    session->waiting_count = 0;
}

void session_refuse(struct session *session, bool terminated_first, enum grpc_code code,
                    const char *message, struct session_time time)
{
    if (session->state != DECIDING && session->state != WAITING)
        return;
    if (terminated_first) {
        struct buffer terminated = {0};
        message_terminated(&terminated);
        send(session, &terminated);
    }
    session->state = REFUSING;
    session->deadline_at = time.now_ms + SESSION_REFUSE_MS;
    session->refusal_code = code;
    session->refusal = mem_strdup(message);
    drop_waiting(session);
    if (session->messages >= FIRST_MESSAGES)
        finish_refusal(session);
}

void session_peer_closed(struct session *session)
{
    if (session->state == DRAINING)
        end(session, GRPC_OK, "");
    else if (session->state == REFUSING)
        finish_refusal(session);
    else
        end(session, GRPC_UNKNOWN, "stream ended unexpectedly");
}

void session_fail(struct session *session, enum grpc_code code, const char *message)
{
    if (session->state == DRAINING)
        end(session, GRPC_OK, "");
    else
        end(session, code, message);
}

void session_terminate(struct session *session, struct session_time time)
{
    if (session->state != RUNNING)
        return;
    struct buffer message = {0};
    message_terminated(&message);
    send(session, &message);
    start_draining(session, time);
}

/* ---- time ---- */

void session_tick(struct session *session, struct session_time time)
{
    if (session->state == DEAD)
        return;
    if (time.now_ms >= session->deadline_at) {
        if (session->state == REFUSING)
            finish_refusal(session);
        else if (session->state == DRAINING)
            end(session, GRPC_OK, "");
        else
            end(session, GRPC_UNKNOWN, "heartbeat timeout");
        return;
    }
    if (session->state == RUNNING && time.now_ms >= session->heartbeat_at) {
        send_heartbeat(session);
        session->heartbeat_at = time.now_ms + SESSION_HEARTBEAT_MS;
    }
}

uint64_t session_next(const struct session *session)
{
    if (session->state == DEAD)
        return UINT64_MAX;
    if (session->state == RUNNING && session->heartbeat_at < session->deadline_at)
        return session->heartbeat_at;
    return session->deadline_at;
}

bool session_is_running(const struct session *session)
{
    return session->state == RUNNING;
}

bool session_is_draining(const struct session *session)
{
    return session->state == DRAINING;
}

const struct session_stats *session_stats(const struct session *session)
{
    return &session->stats;
}

/* ---- sending resources ---- */

static struct published *find_published(struct session *session, enum resource resource,
                                        const char *id, bool make)
{
    struct buffer key = {0};
    buffer_add_byte(&key, (char)('0' + resource));
    buffer_add_text(&key, id);
    struct published *entry;
    HASH_FIND(hh, session->published, key.data, key.length, entry);
    if (entry == NULL && make) {
        entry = mem_zalloc(sizeof *entry + key.length + 1);
        memcpy(entry->key, key.data, key.length);
        HASH_ADD_KEYPTR(hh, session->published, entry->key, key.length, entry);
    }
    buffer_free(&key);
    return entry;
}

bool session_publish(struct session *session, enum resource resource, const char *id,
                     const ProtobufCMessage *payload, struct session_time time)
{
    if (session->state != RUNNING)
        return true;
    struct buffer encoded = {0}, message = {0};
    proto_pack(payload, &encoded);
    uint8_t digest[SHA256_SIZE];
    sha256(buffer_text(&encoded), encoded.length, digest);
    struct published *entry = find_published(session, resource, id, true);
    bool sent = true;
    if (memcmp(entry->digest, digest, SHA256_SIZE) != 0) {
        char nonce[16];
        snprintf(nonce, sizeof nonce, "%08x", session->nonce + 1);
        message_response(&message, nonce, resource_url(resource), id, &encoded);
        sent = message.length <= STREAM_MESSAGE_BYTES_MAX;
        if (sent) {
            session->nonce++;
            memcpy(entry->digest, digest, SHA256_SIZE);
            session->stats.last_send_ns = time.realtime_ns;
            session->handler->send(session->arg, message.data, message.length);
        }
    }
    buffer_free(&encoded);
    buffer_free(&message);
    return sent;
}

void session_forget(struct session *session, enum resource resource, const char *id)
{
    struct published *entry = find_published(session, resource, id, false);
    if (entry == NULL)
        return;
    HASH_DEL(session->published, entry);
    free(entry);
}

void session_answer(struct session *session, struct session_response *response,
                    const struct error *error, struct session_time time)
{
    if (session->state == RUNNING) {
        struct buffer message = {0};
        const char *url = resource_url(response->resource);
        if (error == NULL) {
            message_answer(&message, url, response->nonce, GRPC_OK, NULL);
        } else {
            char *text = message_upsert_error(url, response->id, error->message);
            message_answer(&message, url, response->nonce, GRPC_INTERNAL, text);
            free(text);
        }
        send(session, &message);
        session->stats.last_receive_ns = time.realtime_ns;
    }
    session_response_free(response);
}
