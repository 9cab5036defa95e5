/* X.509 as the mesh needs it: a pure module over OpenSSL, no store and no clock inside.
 * Certificate profiles: reference "Certificates"; SPIFFE ids: peering-protocol section 2. PEM
 * texts end in a newline. Results are fresh memory. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* P-256, "BEGIN EC PRIVATE KEY". Never NULL. */
char *key_generate_pem(void);

struct certificate_root_spec {
    const char *cluster_id;      /* UUID */
    const char *private_key_pem;
    uint64_t serial;
    int64_t now_ns; /* since 1970 */
};
/* Self-signed, ten years. */
char *certificate_make_root(const struct certificate_root_spec *spec, struct error *error);

struct certificate_leaf_spec {
    const char *ca_certificate_pem, *ca_private_key_pem;
    const char *public_key_pem; /* of the leaf: a private or a public key */
    const char *uri;            /* SPIFFE id */
    const char *dns_name;       /* NULL: no DNS SAN */
    uint64_t serial;
    int64_t now_ns, ttl_ns; /* valid from now - 1 min to now - 1 min + ttl */
};
char *certificate_make_leaf(const struct certificate_leaf_spec *spec, struct error *error);

/* A CA read once, to sign many: reading keys from PEM costs OpenSSL far more than signing does. */
struct certificate_signer;
struct certificate_signer *certificate_signer_new(const char *ca_certificate_pem,
                                                  const char *ca_private_key_pem,
                                                  struct error *error);
void certificate_signer_free(struct certificate_signer *signer); /* NULL is fine */

struct certificate_info {
    char *fingerprint;    /* SHA-1, lower-case hex with colons */
    char *subject_key_id; /* lower-case hex with colons */
    char *serial;         /* hex with colons, as Consul prints it: "09", "01:2c" */
    char *uri;            /* first URI SAN, or NULL */
    int64_t not_before_ns, not_after_ns;
    bool is_ca;
};
/* Reads the first certificate of a PEM text. */
bool certificate_read(const char *pem, struct certificate_info *ret_info, struct error *error);
/* A leaf with a new key; of the spec, what names the CA and the key is not used. */
bool certificate_issue(const struct certificate_signer *signer,
                       const struct certificate_leaf_spec *spec, char **ret_certificate_pem,
                       char **ret_private_key_pem, struct certificate_info *ret_info,
                       struct error *error);
void certificate_info_clear(struct certificate_info *info);
