/* One TLS connection as a pure engine: ciphertext in, plaintext out, and the reverse; no sockets.
 *
 * Ciphertext that came in is fed as a slice and read in place; what goes out is appended to a
 * buffer of the caller. For the streams of net/ only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "net/tls.h"

#define TLS_RECORD_MAX ((size_t)16384)

enum tls_result {
    TLS_DONE,   /* what was asked for is there */
    TLS_WANT,   /* more ciphertext is needed */
    TLS_ENDED,  /* the other side said close_notify */
    TLS_FAILED, /* `error` says why; an alert for the other side may be in the output */
};

struct tls_session;

/* `output` is borrowed for the session's life. */
struct tls_session *tls_session_new(struct tls_context *context, struct buffer *output);
void tls_session_free(struct tls_session *session); /* NULL is fine */

/* Borrowed until all of it is consumed or tls_session_rest has taken what is left. */
void tls_session_feed(struct tls_session *session, const uint8_t *data, size_t length);
const uint8_t *tls_session_rest(struct tls_session *session, size_t *ret_length);

enum tls_result tls_session_handshake(struct tls_session *session, struct error *error);
/* At most one record a call; `data` has room for TLS_RECORD_MAX. */
enum tls_result tls_session_read(struct tls_session *session, uint8_t *data, size_t *ret_length,
                                 struct error *error);
bool tls_session_write(struct tls_session *session, const void *data, size_t length,
                       struct error *error);
void tls_session_close(struct tls_session *session); /* appends close_notify */

const char *tls_session_alpn(const struct tls_session *session);        /* "" if none */
const char *tls_session_server_name(const struct tls_session *session); /* SNI; "" if none */
