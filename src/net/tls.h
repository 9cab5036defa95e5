/* TLS settings for streams, over OpenSSL 3. A context is reference-counted and immutable; a change
 * of certificates makes a new one. TLS 1.2 and up. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct tls_context;

/* Chooses the identity for one incoming connection by its SNI ("" if none was sent). Returns a
 * borrowed context made by tls_server_new (referenced by the callee before it returns), or NULL to refuse with
 * unrecognized_name. */
typedef struct tls_context *tls_select_fn(void *arg, const char *server_name);

struct tls_server_config {
    const char *certificate_pem; /* leaf first, then intermediates */
    const char *private_key_pem;
    const char *client_ca_pem;   /* NULL: clients are not asked for a certificate; else they must have one */
    const char *const *alpn;     /* accepted, in order of preference, NULL-terminated; NULL: none.
                                    A client without ALPN is served too. */
};

struct tls_client_config {
    const char *ca_pem;           /* trusted roots; required */
    const char *server_name;      /* SNI, and the DNS name that the certificate must carry */
    const char *certificate_pem;  /* NULL: none */
    const char *private_key_pem;
    const char *const *alpn;      /* offered; the server may choose none */
};

struct tls_context *tls_server_new(const struct tls_server_config *config, struct error *error);
/* A server whose identity is chosen per connection. `alpn` as above, kept by reference. */
struct tls_context *tls_server_select_new(tls_select_fn *select, void *arg,
                                          const char *const *alpn);
struct tls_context *tls_client_new(const struct tls_client_config *config, struct error *error);
struct tls_context *tls_ref(struct tls_context *context);
void tls_unref(struct tls_context *context); /* NULL is fine */
