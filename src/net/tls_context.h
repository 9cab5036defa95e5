/* The inside of a TLS context, for net/tls.c and net/tls_session.c alone. */
#pragma once

#include <openssl/ssl.h>

#include "net/tls.h"

struct tls_context {
    int refs;
    SSL_CTX *ssl;
    bool client;
    unsigned char *alpn; /* in wire form: length, bytes, … */
    unsigned alpn_length;
    char *server_name; /* client: whom the certificate must name */
    tls_select_fn *select;
    void *select_arg;
};

/* Per connection, found from SSL_get_app_data. */
#define TLS_WORDS_MAX 512
struct tls_session {
    struct tls_context *context; /* referenced */
    SSL *ssl;
    struct buffer *output;
    const uint8_t *input; /* fed and not yet consumed */
    size_t input_length;
    char *alpn;                /* NUL-terminated; NULL if none */
    char words[TLS_WORDS_MAX]; /* why a certificate was refused, in words; "" if it was not */
};
