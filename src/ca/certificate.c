#include "ca/certificate.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buffer.h"
#include "base/duration.h"
#include "base/ident.h"
#include "base/memory.h"

#define ROOT_LIFE (3650 * 24 * DURATION_HOUR)
#define BACK_DATED DURATION_MINUTE

/* Says what failed and what OpenSSL holds against it. */
static bool refuse(struct error *error, const char *what)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    ERR_clear_error();
    return error_set(error, ERR_INVALID, "%s: %s", what, reason != NULL ? reason : "malformed");
}

/* ---- PEM ---- */

static BIO *pem_open(const char *pem)
{
    return BIO_new_mem_buf(pem, -1);
}

/* Without it OpenSSL asks on the terminal for the password of an encrypted key. */
static int no_password(char *text, int size, int writing, void *arg)
{
    (void)text, (void)size, (void)writing, (void)arg;
    return -1;
}

static X509 *pem_certificate(const char *pem, struct error *error)
{
    BIO *bio = pem_open(pem);
    X509 *certificate = PEM_read_bio_X509(bio, NULL, no_password, NULL);
    BIO_free(bio);
    if (certificate == NULL)
        refuse(error, "cannot read the certificate");
    return certificate;
}

static EVP_PKEY *pem_private_key(const char *pem, struct error *error)
{
    BIO *bio = pem_open(pem);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
    BIO_free(bio);
    if (key == NULL)
        refuse(error, "cannot read the private key");
    return key;
}

static EVP_PKEY *pem_any_key(const char *pem, struct error *error)
{
    if (strstr(pem, "PRIVATE KEY") != NULL)
        return pem_private_key(pem, error);
    BIO *bio = pem_open(pem);
    EVP_PKEY *key = PEM_read_bio_PUBKEY(bio, NULL, no_password, NULL);
    BIO_free(bio);
    if (key == NULL)
        refuse(error, "cannot read the public key");
    return key;
}

static char *pem_close(BIO *bio)
{
    char *data = NULL;
    long length = BIO_get_mem_data(bio, &data);
    char *pem = mem_strndup(data, (size_t)length);
    mem_clear(data, (size_t)length);
    BIO_free(bio);
    return pem;
}

static EVP_PKEY *generate_key(void)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    if (key == NULL) {
        fputs("pons: OpenSSL cannot make a P-256 key: its default provider is not usable\n",
              stderr);
        abort();
    }
    return key;
}

static char *key_pem(EVP_PKEY *key)
{
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey_traditional(bio, key, NULL, NULL, 0, NULL, NULL);
    return pem_close(bio);
}

char *key_generate_pem(void)
{
    EVP_PKEY *key = generate_key();
    char *pem = key_pem(key);
    EVP_PKEY_free(key);
    return pem;
}

/* ---- extensions ---- */

static bool add_extension(X509 *x, int nid, void *value, bool critical)
{
    return value != NULL && X509_add1_ext_i2d(x, nid, value, critical, X509V3_ADD_DEFAULT) == 1;
}

enum usage_bit {
    DIGITAL_SIGNATURE = 0,
    KEY_ENCIPHERMENT = 2,
    DATA_ENCIPHERMENT = 3,
    KEY_AGREEMENT = 4,
    CERT_SIGN = 5,
    CRL_SIGN = 6,
};

static bool add_key_usage(X509 *x, const enum usage_bit *bits, size_t count)
{
    ASN1_BIT_STRING *usage = ASN1_BIT_STRING_new();
    for (size_t i = 0; i < count; i++)
        ASN1_BIT_STRING_set_bit(usage, bits[i], 1);
    bool added = add_extension(x, NID_key_usage, usage, true);
    ASN1_BIT_STRING_free(usage);
    return added;
}

static bool add_extended_key_usage(X509 *x)
{
    EXTENDED_KEY_USAGE *usage = sk_ASN1_OBJECT_new_null();
    sk_ASN1_OBJECT_push(usage, OBJ_nid2obj(NID_client_auth));
    sk_ASN1_OBJECT_push(usage, OBJ_nid2obj(NID_server_auth));
    bool added = add_extension(x, NID_ext_key_usage, usage, false);
    sk_ASN1_OBJECT_pop_free(usage, ASN1_OBJECT_free);
    return added;
}

static bool add_basic_constraints(X509 *x, bool ca)
{
    BASIC_CONSTRAINTS *constraints = BASIC_CONSTRAINTS_new();
    constraints->ca = ca ? 0xff : 0;
    bool added = add_extension(x, NID_basic_constraints, constraints, true);
    BASIC_CONSTRAINTS_free(constraints);
    return added;
}

/* Consul's key id: SHA-256 of the whole SubjectPublicKeyInfo. */
static ASN1_OCTET_STRING *make_key_id(EVP_PKEY *key)
{
    unsigned char *der = NULL;
    int length = i2d_PUBKEY(key, &der);
    if (length <= 0)
        return NULL;
    uint8_t digest[SHA256_SIZE];
    sha256(der, (size_t)length, digest);
    OPENSSL_free(der);
    ASN1_OCTET_STRING *id = ASN1_OCTET_STRING_new();
    ASN1_OCTET_STRING_set(id, digest, sizeof digest);
    return id;
}

static bool add_key_ids(X509 *x, const ASN1_OCTET_STRING *subject,
                        const ASN1_OCTET_STRING *authority)
{
    if (subject == NULL || authority == NULL)
        return false;
    AUTHORITY_KEYID *issuer = AUTHORITY_KEYID_new();
    issuer->keyid = ASN1_OCTET_STRING_dup(authority);
    bool added = add_extension(x, NID_subject_key_identifier, (void *)subject, false) &&
                 add_extension(x, NID_authority_key_identifier, issuer, false);
    AUTHORITY_KEYID_free(issuer);
    return added;
}

static void push_name(GENERAL_NAMES *names, int type, const char *text)
{
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *value = ASN1_IA5STRING_new();
    ASN1_STRING_set(value, text, -1);
    GENERAL_NAME_set0_value(name, type, value);
    sk_GENERAL_NAME_push(names, name);
}

static bool add_names(X509 *x, const char *uri, const char *dns_name, bool critical)
{
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    if (dns_name != NULL)
        push_name(names, GEN_DNS, dns_name);
    push_name(names, GEN_URI, uri);
    bool added = add_extension(x, NID_subject_alt_name, names, critical);
    GENERAL_NAMES_free(names);
    return added;
}

/* ---- making ---- */

static bool set_basics(X509 *x, EVP_PKEY *key, uint64_t serial, int64_t from_ns, int64_t to_ns)
{
    return X509_set_version(x, X509_VERSION_3) &&
           ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), serial) &&
           ASN1_TIME_set(X509_getm_notBefore(x), from_ns / DURATION_SECOND) != NULL &&
           ASN1_TIME_set(X509_getm_notAfter(x), to_ns / DURATION_SECOND) != NULL &&
           X509_set_pubkey(x, key);
}

/* Signs if all that came before went well. NULL, and `x` freed, if not. */
static X509 *sign(X509 *x, bool good, EVP_PKEY *key, struct error *error)
{
    if (good && X509_sign(x, key, EVP_sha256()) > 0)
        return x;
    refuse(error, "cannot make the certificate");
    X509_free(x);
    return NULL;
}

/* Takes `x` over; NULL gives NULL. */
static char *certificate_pem(X509 *x)
{
    if (x == NULL)
        return NULL;
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, x);
    X509_free(x);
    return pem_close(bio);
}

static bool set_root_name(X509 *x, const char *cluster_id)
{
    uint32_t random;
    random_bytes(&random, sizeof random);
    char digits[8] = "";
    size_t at = sizeof digits - 1;
    do {
        digits[--at] = "0123456789abcdefghijklmnopqrstuvwxyz"[random % 36];
        random /= 36;
    } while (random > 0 && at > 0);
    char *name = mem_printf("pri-%s.consul.ca.%.8s.consul", digits + at, cluster_id);
    X509_NAME *subject = X509_get_subject_name(x);
    bool set = X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8,
                                          (const unsigned char *)name, -1, -1, 0) &&
               X509_set_issuer_name(x, subject);
    free(name);
    return set;
}

static bool add_root_extensions(X509 *x, EVP_PKEY *key, const char *cluster_id)
{
    static const enum usage_bit usage[] = {DIGITAL_SIGNATURE, CERT_SIGN, CRL_SIGN};
    ASN1_OCTET_STRING *key_id = make_key_id(key);
    char *uri = mem_printf("spiffe://%s.consul", cluster_id);
    bool added = add_key_usage(x, usage, sizeof usage / sizeof *usage) &&
                 add_basic_constraints(x, true) && add_key_ids(x, key_id, key_id) &&
                 add_names(x, uri, NULL, false);
    free(uri);
    ASN1_OCTET_STRING_free(key_id);
    return added;
}

char *certificate_make_root(const struct certificate_root_spec *spec, struct error *error)
{
    EVP_PKEY *key = pem_private_key(spec->private_key_pem, error);
    if (key == NULL)
        return NULL;
    X509 *x = X509_new();
    bool good = set_basics(x, key, spec->serial, spec->now_ns, spec->now_ns + ROOT_LIFE) &&
                set_root_name(x, spec->cluster_id) && add_root_extensions(x, key, spec->cluster_id);
    char *pem = certificate_pem(sign(x, good, key, error));
    EVP_PKEY_free(key);
    return pem;
}

static bool add_leaf_extensions(X509 *x, EVP_PKEY *key, X509 *ca,
                                const struct certificate_leaf_spec *spec)
{
    static const enum usage_bit usage[] = {DIGITAL_SIGNATURE, KEY_ENCIPHERMENT, DATA_ENCIPHERMENT,
                                           KEY_AGREEMENT};
    ASN1_OCTET_STRING *key_id = make_key_id(key);
    bool added = add_key_usage(x, usage, sizeof usage / sizeof *usage) &&
                 add_extended_key_usage(x) && add_basic_constraints(x, false) &&
                 add_key_ids(x, key_id, X509_get0_subject_key_id(ca)) &&
                 add_names(x, spec->uri, spec->dns_name, true);
    ASN1_OCTET_STRING_free(key_id);
    return added;
}

struct certificate_signer {
    X509 *certificate;
    EVP_PKEY *key;
};

static bool can_sign(X509 *certificate, EVP_PKEY *key, struct error *error)
{
    if (X509_check_private_key(certificate, key) != 1)
        return error_set(error, ERR_INVALID, "the private key is not that of the CA certificate");
    if ((X509_get_extension_flags(certificate) & EXFLAG_CA) == 0)
        return error_set(error, ERR_INVALID, "the certificate is not that of a CA");
    if (X509_get0_subject_key_id(certificate) == NULL)
        return error_set(error, ERR_INVALID, "the CA certificate has no subject key identifier");
    return true;
}

struct certificate_signer *certificate_signer_new(const char *ca_certificate_pem,
                                                  const char *ca_private_key_pem,
                                                  struct error *error)
{
    X509 *certificate = pem_certificate(ca_certificate_pem, error);
    EVP_PKEY *key = certificate == NULL ? NULL : pem_private_key(ca_private_key_pem, error);
    if (key != NULL && can_sign(certificate, key, error)) {
        struct certificate_signer *signer = mem_alloc(sizeof *signer);
        *signer = (struct certificate_signer){certificate, key};
        return signer;
    }
    ERR_clear_error();
    EVP_PKEY_free(key);
    X509_free(certificate);
    return NULL;
}

void certificate_signer_free(struct certificate_signer *signer)
{
    if (signer == NULL)
        return;
    X509_free(signer->certificate);
    EVP_PKEY_free(signer->key);
    free(signer);
}

static X509 *make_leaf(const struct certificate_signer *signer,
                       const struct certificate_leaf_spec *spec, EVP_PKEY *key, struct error *error)
{
    X509 *x = X509_new(), *ca = signer->certificate;
    int64_t from_ns = spec->now_ns - BACK_DATED;
    bool good = set_basics(x, key, spec->serial, from_ns, from_ns + spec->ttl_ns) &&
                X509_set_issuer_name(x, X509_get_subject_name(ca)) &&
                add_leaf_extensions(x, key, ca, spec);
    return sign(x, good, signer->key, error);
}

char *certificate_make_leaf(const struct certificate_leaf_spec *spec, struct error *error)
{
    struct certificate_signer *signer =
        certificate_signer_new(spec->ca_certificate_pem, spec->ca_private_key_pem, error);
    EVP_PKEY *key = signer == NULL ? NULL : pem_any_key(spec->public_key_pem, error);
    char *pem = key == NULL ? NULL : certificate_pem(make_leaf(signer, spec, key, error));
    EVP_PKEY_free(key);
    certificate_signer_free(signer);
    return pem;
}

/* ---- reading ---- */

static char *hex_with_colons(const uint8_t *bytes, size_t length)
{
    struct buffer text = {0};
    for (size_t i = 0; i < length; i++)
        buffer_printf(&text, i == 0 ? "%02x" : ":%02x", bytes[i]);
    return buffer_take(&text);
}

static char *read_fingerprint(X509 *x)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    X509_digest(x, EVP_sha1(), digest, &length);
    return hex_with_colons(digest, length);
}

static char *read_key_id(X509 *x)
{
    const ASN1_OCTET_STRING *id = X509_get0_subject_key_id(x);
    if (id == NULL)
        return mem_strdup("");
    return hex_with_colons(ASN1_STRING_get0_data(id), (size_t)ASN1_STRING_length(id));
}

/* The DER form holds the bytes that Consul prints; a sign is not among them. */
static char *read_serial(X509 *x)
{
    const ASN1_INTEGER *serial = X509_get0_serialNumber(x);
    return hex_with_colons(ASN1_STRING_get0_data(serial), (size_t)ASN1_STRING_length(serial));
}

static char *read_uri(X509 *x)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    char *uri = NULL;
    for (int i = 0; uri == NULL && i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != GEN_URI)
            continue;
        const ASN1_IA5STRING *value = name->d.uniformResourceIdentifier;
        const char *data = (const char *)ASN1_STRING_get0_data(value);
        size_t length = (size_t)ASN1_STRING_length(value);
        if (memchr(data, '\0', length) == NULL)
            uri = mem_strndup(data, length);
    }
    GENERAL_NAMES_free(names);
    return uri;
}

/* What lies beyond the reach of 64-bit nanoseconds (the year 9999 of "never") becomes the end of
 * it. */
static bool read_time(const ASN1_TIME *time, int64_t *ret_ns)
{
    struct tm parts;
    if (ASN1_TIME_to_tm(time, &parts) != 1)
        return false;
    int64_t seconds = timegm(&parts);
    if (__builtin_mul_overflow(seconds, DURATION_SECOND, ret_ns))
        *ret_ns = seconds < 0 ? INT64_MIN : INT64_MAX;
    return true;
}

static bool read_info(X509 *x, struct certificate_info *ret_info, struct error *error)
{
    int64_t not_before_ns, not_after_ns;
    if (!read_time(X509_get0_notBefore(x), &not_before_ns) ||
        !read_time(X509_get0_notAfter(x), &not_after_ns))
        return error_set(error, ERR_INVALID,
                         "cannot read the certificate: its validity is malformed");
    *ret_info = (struct certificate_info){
        .fingerprint = read_fingerprint(x),
        .subject_key_id = read_key_id(x),
        .serial = read_serial(x),
        .uri = read_uri(x),
        .not_before_ns = not_before_ns,
        .not_after_ns = not_after_ns,
        .is_ca = (X509_get_extension_flags(x) & EXFLAG_CA) != 0,
    };
    ERR_clear_error();
    return true;
}

bool certificate_read(const char *pem, struct certificate_info *ret_info, struct error *error)
{
    X509 *x = pem_certificate(pem, error);
    bool good = x != NULL && read_info(x, ret_info, error);
    X509_free(x);
    return good;
}

bool certificate_issue(const struct certificate_signer *signer,
                       const struct certificate_leaf_spec *spec, char **ret_certificate_pem,
                       char **ret_private_key_pem, struct certificate_info *ret_info,
                       struct error *error)
{
    EVP_PKEY *key = generate_key();
    X509 *x = make_leaf(signer, spec, key, error);
    bool good = x != NULL && read_info(x, ret_info, error);
    if (good) {
        *ret_private_key_pem = key_pem(key);
        *ret_certificate_pem = certificate_pem(x);
    } else {
        X509_free(x);
    }
    EVP_PKEY_free(key);
    return good;
}

void certificate_info_clear(struct certificate_info *info)
{
    free(info->fingerprint);
    free(info->subject_key_id);
    free(info->serial);
    free(info->uri);
    *info = (struct certificate_info){0};
}
