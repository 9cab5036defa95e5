#include "net/tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "net/tls_context.h"

/* OpenSSL's reason for what failed last; its queue is empty then. */
static const char *openssl_reason(void)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    ERR_clear_error();
    return reason ? reason : "no reason given";
}

static BIO *open_pem(const char *pem)
{
    return BIO_new_mem_buf(pem, (int)strnlen(pem, 16 << 20));
}

/* Ends a run of PEM_read_*: true if it stopped because nothing more was there. */
static bool pem_ended(void)
{
    unsigned long code = ERR_peek_last_error();
    bool ended = ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
    if (ended)
        ERR_clear_error();
    return ended;
}

static bool load_certificate(SSL_CTX *ssl, const char *pem, struct error *error)
{
    BIO *bio = open_pem(pem);
    size_t count = 0;
    bool ok = true;
    for (X509 *certificate; ok && (certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL));) {
        ok = count++ == 0 ? SSL_CTX_use_certificate(ssl, certificate) == 1
                          : SSL_CTX_add1_chain_cert(ssl, certificate) == 1;
        X509_free(certificate);
    }
    BIO_free(bio);
    if (ok && pem_ended() && count > 0)
        return true;
    return error_set(error, ERR_INVALID, "the TLS certificate is not a usable PEM certificate: %s",
                     openssl_reason());
}

static int no_passphrase(char *text, int size, int writing, void *arg)
{
    (void)text, (void)size, (void)writing, (void)arg;
    return -1;
}

static bool load_key(SSL_CTX *ssl, const char *pem, struct error *error)
{
    BIO *bio = open_pem(pem);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    BIO_free(bio);
    if (!key)
        return error_set(error, ERR_INVALID,
                         "the TLS private key is not a PEM key without passphrase: %s",
                         openssl_reason());
    bool matches = SSL_CTX_use_PrivateKey(ssl, key) == 1 && SSL_CTX_check_private_key(ssl) == 1;
    EVP_PKEY_free(key);
    if (!matches)
        return error_set(error, ERR_INVALID,
                         "the TLS private key does not belong to the certificate: %s",
                         openssl_reason());
    return true;
}

static bool load_identity(SSL_CTX *ssl, const char *certificate, const char *key,
                          struct error *error)
{
    if (!key)
        return error_set(error, ERR_INVALID, "a TLS certificate was given without its key");
    return load_certificate(ssl, certificate, error) && load_key(ssl, key, error);
}

/* Roots that a certificate may lead to; `names` makes the server tell clients whom it trusts. */
static bool load_roots(SSL_CTX *ssl, const char *pem, bool names, struct error *error)
{
    X509_STORE *store = SSL_CTX_get_cert_store(ssl);
    BIO *bio = open_pem(pem);
    size_t count = 0;
    for (X509 *root; (root = PEM_read_bio_X509(bio, NULL, NULL, NULL)); count++) {
        X509_STORE_add_cert(store, root);
        if (names)
            SSL_CTX_add_client_CA(ssl, root);
        X509_free(root);
    }
    BIO_free(bio);
    if (!pem_ended() || count == 0)
        return error_set(error, ERR_INVALID, "the CA certificates are not usable PEM: %s",
                         openssl_reason());
    ERR_clear_error();
    /* A CA that is given is trusted as it is, intermediate or not, as in Go. */
    X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
    return true;
}

static void set_alpn(struct tls_context *context, const char *const *names)
{
    if (!names)
        return;
    size_t length = 0;
    for (const char *const *name = names; *name; name++)
        length += 1 + strlen(*name);
    unsigned char *at = context->alpn = mem_alloc(length);
    for (const char *const *name = names; *name; name++) {
        size_t size = strlen(*name);
        *at++ = (unsigned char)size;
        memcpy(at, *name, size);
        at += size;
    }
    context->alpn_length = (unsigned)length;
}

static struct tls_context *context_new(bool client)
{
    struct tls_context *context = mem_zalloc(sizeof *context);
    context->refs = 1;
    context->client = client;
    context->ssl = SSL_CTX_new(client ? TLS_client_method() : TLS_server_method());
    if (!context->ssl)
        abort(); /* OpenSSL is out of memory, or not installed whole */
    SSL_CTX_set_min_proto_version(context->ssl, TLS1_2_VERSION);
    SSL_CTX_set_options(context->ssl,
                        SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET);
    /* Connections are long-lived, and what a name may do can change: nothing is resumed. */
    SSL_CTX_set_session_cache_mode(context->ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(context->ssl, 0);
    SSL_CTX_set_mode(context->ssl, SSL_MODE_RELEASE_BUFFERS);
    return context;
}

/* Which names a certificate carries, for the message about one that it lacks. */
static void name_certificate(X509 *certificate, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(names) && used < size; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != GEN_DNS && name->type != GEN_URI)
            continue;
        used += (size_t)snprintf(text + used, size - used, "%s%.*s", used ? ", " : "",
                                 ASN1_STRING_length(name->d.ia5),
                                 (const char *)ASN1_STRING_get0_data(name->d.ia5));
    }
    GENERAL_NAMES_free(names);
    if (!text[0])
        snprintf(text, size, "no DNS name");
}

static int on_verify(int ok, X509_STORE_CTX *store)
{
    if (ok)
        return 1;
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls_session *session = SSL_get_app_data(ssl);
    int code = X509_STORE_CTX_get_error(store);
    X509 *certificate = X509_STORE_CTX_get_current_cert(store);
    if (code == X509_V_ERR_HOSTNAME_MISMATCH && certificate) {
        char names[256];
        name_certificate(certificate, names, sizeof names);
        snprintf(session->words, sizeof session->words,
                 "its certificate is for %s, not for %s as expected", names,
                 session->context->server_name);
        return 0;
    }
    char subject[256] = "";
    if (certificate)
        X509_NAME_oneline(X509_get_subject_name(certificate), subject, sizeof subject);
    snprintf(session->words, sizeof session->words, "certificate %s is not trusted: %s", subject,
             X509_verify_cert_error_string(code));
    return 0;
}

static int on_alpn(SSL *ssl, const unsigned char **ret_name, unsigned char *ret_length,
                   const unsigned char *offered, unsigned offered_length, void *arg)
{
    (void)arg;
    /* The listener's context decides, not the one that was selected by name. */
    const struct tls_session *session = SSL_get_app_data(ssl);
    const struct tls_context *context = session->context;
    if (!context->alpn)
        return SSL_TLSEXT_ERR_NOACK;
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, ret_length, context->alpn, context->alpn_length, offered,
                              offered_length) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *ret_name = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static int on_server_name(SSL *ssl, int *ret_alert, void *arg)
{
    struct tls_context *context = arg;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    struct tls_context *chosen = context->select(context->select_arg, name ? name : "");
    *ret_alert = SSL_AD_UNRECOGNIZED_NAME;
    if (!chosen || chosen->client || chosen->select)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    /* OpenSSL takes its own reference, and takes over all but the verify mode. */
    if (!SSL_set_SSL_CTX(ssl, chosen->ssl))
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    SSL_set_verify(ssl, SSL_CTX_get_verify_mode(chosen->ssl), on_verify);
    return SSL_TLSEXT_ERR_OK;
}

static struct tls_context *or_none(struct tls_context *context, bool ok)
{
    if (ok)
        return context;
    tls_unref(context);
    return NULL;
}

struct tls_context *tls_server_new(const struct tls_server_config *config, struct error *error)
{
    struct tls_context *context = context_new(false);
    set_alpn(context, config->alpn);
    SSL_CTX_set_alpn_select_cb(context->ssl, on_alpn, NULL);
    if (config->client_ca_pem)
        SSL_CTX_set_verify(context->ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                           on_verify);
    bool ok =
        load_identity(context->ssl, config->certificate_pem, config->private_key_pem, error) &&
        (!config->client_ca_pem || load_roots(context->ssl, config->client_ca_pem, true, error));
    return or_none(context, ok);
}

struct tls_context *tls_server_select_new(tls_select_fn *select, void *arg, const char *const *alpn)
{
    struct tls_context *context = context_new(false);
    set_alpn(context, alpn);
    context->select = select;
    context->select_arg = arg;
    SSL_CTX_set_alpn_select_cb(context->ssl, on_alpn, NULL);
    SSL_CTX_set_tlsext_servername_callback(context->ssl, on_server_name);
    SSL_CTX_set_tlsext_servername_arg(context->ssl, context);
    return context;
}

struct tls_context *tls_client_new(const struct tls_client_config *config, struct error *error)
{
    if (text_empty(config->server_name) || text_empty(config->ca_pem)) {
        error_set(error, ERR_INVALID, "TLS needs %s to verify the other side",
                  text_empty(config->ca_pem) ? "CA certificates" : "the server's name");
        return NULL;
    }
    struct tls_context *context = context_new(true);
    context->server_name = mem_strdup(config->server_name);
    set_alpn(context, config->alpn);
    if (context->alpn)
        SSL_CTX_set_alpn_protos(context->ssl, context->alpn, context->alpn_length);
    SSL_CTX_set_verify(context->ssl, SSL_VERIFY_PEER, on_verify);
    bool ok = load_roots(context->ssl, config->ca_pem, false, error) &&
              (!config->certificate_pem || load_identity(context->ssl, config->certificate_pem,
                                                         config->private_key_pem, error));
    return or_none(context, ok);
}

struct tls_context *tls_ref(struct tls_context *context)
{
    context->refs++;
    return context;
}

void tls_unref(struct tls_context *context)
{
    if (!context || --context->refs > 0)
        return;
    SSL_CTX_free(context->ssl);
    free(context->alpn);
    free(context->server_name);
    free(context);
}
