/* The inside of a stream, shared by the files that make it: stream.c (data, closing), dial.c
 * (connecting) and listener.c (accepting). Nobody else includes this.
 *
 * Life: OPENING (resolving, connecting, handshake) → OPEN → ENDED (the other side or the system
 * ended it; on_close was called), and from any of them, by the owner's close or abort, FLUSHING
 * (what was written goes out, then FIN, then a short wait for the other side) → DEAD (the uv handle
 * is closing). The memory goes with the last reference: one for the handle, one for a
 * deferred call, one for a name look-up. */
#pragma once

#include <uv.h>

#include "base/buffer.h"
#include "net/loop_resource.h"
#include "net/stream.h"
#include "net/tls_session.h"

enum stream_state { STREAM_OPENING, STREAM_OPEN, STREAM_ENDED, STREAM_FLUSHING, STREAM_DEAD };

struct dial;

struct stream {
    struct loop_resource resource;
    struct loop *loop;
    int refs;
    enum stream_state state;
    const struct stream_handler *handler; /* NULL once the owner has closed */
    void *arg;

    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    bool connected; /* the handle is up: bytes can flow */
    bool reading;
    bool paused;
    bool resumed;       /* what is held has to be looked at again */
    bool peer_ended;    /* EOF, or an error, was read */
    bool deferred;      /* a deferred turn of this stream is under way */
    bool above;         /* the queue was above the high mark: on_drain is owed */
    bool close_at_open; /* the owner closed while still opening, with bytes to flush */
    bool shutting;      /* the FIN is asked for */

    struct tls_session *tls; /* NULL: plain */
    bool secure;             /* its handshake is done */
    struct buffer plain;     /* TLS: written, not yet encrypted; at most one turn old once open */
    struct buffer held;      /* TLS: ciphertext that came and waits for stream_resume */
    struct buffer out;       /* for the kernel */
    struct buffer sending;   /* what uv_write has in hand */
    bool writing;
    uint64_t sent;      /* bytes that the kernel took */
    uint64_t sent_seen; /* `sent` at the last look of the flush watch */
    uv_write_t write;
    uv_shutdown_t shutdown;

    struct timer *timer; /* opening: time limit; flushing: watch for progress */
    struct dial *dial;   /* while dialling */
    char *name;          /* "127.0.0.1:8503", made when first asked for */

    /* Accepted streams. */
    struct listener *listener; /* referenced; NULL if dialled */
};

struct stream *stream_alloc(struct loop *loop, const struct stream_handler *handler, void *arg);
/* The handle is up: handshake if TLS, else open. May end in any state. */
void stream_connected(struct stream *stream);
/* Tells the owner, unless it is gone; in OPENING and OPEN alone. */
void stream_fail(struct stream *stream, const struct error *error);
void stream_defer(struct stream *stream);
void stream_unref(struct stream *stream);
void stream_kill(struct stream *stream); /* → DEAD */

/* dial.c */
void dial_start(struct stream *stream); /* the first deferred turn of a dialled stream */
/* The stream is dead. True: its handle is up and the caller closes it; else that is taken care of.
 */
bool dial_cancel(struct stream *stream);
void dial_free(struct dial *dial); /* NULL is fine */

/* listener.c */
void listener_opened(struct stream *stream); /* an accepted stream is open: hand it over */
void listener_forget(struct stream *stream); /* it is gone: count it out */
