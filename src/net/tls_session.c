#include "net/tls_session.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "net/tls_context.h"

/* The transport that OpenSSL sees: reads from the slice that was fed, writes to the output. */

static int transport_write(BIO *bio, const char *data, int length)
{
    struct tls_session *session = BIO_get_data(bio);
    buffer_add(session->output, data, (size_t)length);
    return length;
}

static int transport_read(BIO *bio, char *data, int length)
{
    struct tls_session *session = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (session->input_length == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    size_t taken = (size_t)length < session->input_length ? (size_t)length : session->input_length;
    memcpy(data, session->input, taken);
    session->input += taken;
    session->input_length -= taken;
    return (int)taken;
}

static long transport_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static BIO *transport_new(struct tls_session *session)
{
    static BIO_METHOD *method;
    if (!method) {
        method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");
        BIO_meth_set_write(method, transport_write);
        BIO_meth_set_read(method, transport_read);
        BIO_meth_set_ctrl(method, transport_control);
    }
    BIO *bio = BIO_new(method);
    if (!bio)
        abort(); /* out of memory */
    BIO_set_data(bio, session);
    BIO_set_init(bio, 1);
    return bio;
}

static void expect_server(SSL *ssl, const char *name)
{
    X509_VERIFY_PARAM *verify = SSL_get0_param(ssl);
    if (text_is_ip(name)) {
        X509_VERIFY_PARAM_set1_ip_asc(verify, name);
        return;
    }
    X509_VERIFY_PARAM_set_hostflags(verify, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                                                X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    X509_VERIFY_PARAM_set1_host(verify, name, 0);
    SSL_set_tlsext_host_name(ssl, name);
}

struct tls_session *tls_session_new(struct tls_context *context, struct buffer *output)
{
    struct tls_session *session = mem_zalloc(sizeof *session);
    session->context = tls_ref(context);
    session->output = output;
    session->ssl = SSL_new(context->ssl);
    if (!session->ssl)
        abort(); /* out of memory */
    SSL_set_app_data(session->ssl, session);
    BIO *bio = transport_new(session);
    SSL_set_bio(session->ssl, bio, bio);
    if (context->client) {
        expect_server(session->ssl, context->server_name);
        SSL_set_connect_state(session->ssl);
    } else {
        SSL_set_accept_state(session->ssl);
    }
    return session;
}

void tls_session_free(struct tls_session *session)
{
    if (!session)
        return;
    SSL_free(session->ssl);
    tls_unref(session->context);
    free(session->alpn);
    free(session);
}

void tls_session_feed(struct tls_session *session, const uint8_t *data, size_t length)
{
    session->input = data;
    session->input_length = length;
}

const uint8_t *tls_session_rest(struct tls_session *session, size_t *ret_length)
{
    const uint8_t *rest = session->input;
    *ret_length = session->input_length;
    session->input = NULL;
    session->input_length = 0;
    return rest;
}

static enum tls_result fail(struct tls_session *session, struct error *error)
{
    unsigned long code = ERR_peek_last_error();
    int reason = ERR_GET_REASON(code);
    const char *words = ERR_reason_error_string(code);
    if (session->words[0]) {
        error_set(error, ERR_UNAUTHENTICATED, "%s", session->words);
    } else if (reason > SSL_AD_REASON_OFFSET && ERR_GET_LIB(code) == ERR_LIB_SSL) {
        int alert = reason - SSL_AD_REASON_OFFSET;
        error_set(error, ERR_UNAUTHENTICATED, "the other side refused with the TLS alert \"%s\"",
                  alert == TLS13_AD_CERTIFICATE_REQUIRED ? "certificate required"
                                                         : SSL_alert_desc_string_long(alert));
    } else {
        error_set(error, ERR_IO, "TLS error: %s", words ? words : "protocol violated");
    }
    ERR_clear_error();
    return TLS_FAILED;
}

static enum tls_result result_of(struct tls_session *session, int status, struct error *error)
{
    switch (SSL_get_error(session->ssl, status)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return TLS_WANT;
    case SSL_ERROR_ZERO_RETURN:
        return TLS_ENDED;
    default:
        return fail(session, error);
    }
}

enum tls_result tls_session_handshake(struct tls_session *session, struct error *error)
{
    ERR_clear_error();
    int status = SSL_do_handshake(session->ssl);
    if (status != 1)
        return result_of(session, status, error);
    const unsigned char *alpn;
    unsigned length;
    SSL_get0_alpn_selected(session->ssl, &alpn, &length);
    if (length > 0)
        session->alpn = mem_strndup((const char *)alpn, length);
    return TLS_DONE;
}

enum tls_result tls_session_read(struct tls_session *session, uint8_t *data, size_t *ret_length,
                                 struct error *error)
{
    ERR_clear_error();
    int status = SSL_read(session->ssl, data, (int)TLS_RECORD_MAX);
    if (status <= 0)
        return result_of(session, status, error);
    *ret_length = (size_t)status;
    return TLS_DONE;
}

bool tls_session_write(struct tls_session *session, const void *data, size_t length,
                       struct error *error)
{
    const uint8_t *at = data;
    ERR_clear_error();
    while (length > 0) {
        int size = length < TLS_RECORD_MAX ? (int)length : (int)TLS_RECORD_MAX;
        int written = SSL_write(session->ssl, at, size);
        if (written <= 0) {
            fail(session, error);
            return false;
        }
        at += written;
        length -= (size_t)written;
    }
    return true;
}

void tls_session_close(struct tls_session *session)
{
    ERR_clear_error();
    SSL_shutdown(session->ssl);
    ERR_clear_error();
}

const char *tls_session_alpn(const struct tls_session *session)
{
    return session->alpn ? session->alpn : "";
}

const char *tls_session_server_name(const struct tls_session *session)
{
    const char *name = SSL_get_servername(session->ssl, TLSEXT_NAMETYPE_host_name);
    return name ? name : "";
}
