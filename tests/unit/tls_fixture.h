/* Certificates for tests: a CA and what it issues, made anew in each run. */
#pragma once

#include <assert.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

struct fixture_identity {
    EVP_PKEY *key;
    X509 *certificate;
    char *certificate_pem, *key_pem;
};

static char *fixture_bio_text(BIO *bio)
{
    char *data;
    long length = BIO_get_mem_data(bio, &data);
    char *text = mem_strndup(data, (size_t)length);
    BIO_free(bio);
    return text;
}

static void fixture_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    assert(extension);
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
}

/* `issuer` NULL: a root. `names` like "DNS:web.test"; valid until `days` from now. */
static struct fixture_identity fixture_issue(const struct fixture_identity *issuer,
                                             const char *common_name, const char *names, int days)
{
    static long serial;
    struct fixture_identity identity = {.key = EVP_EC_gen("P-256"), .certificate = X509_new()};
    X509 *certificate = identity.certificate;
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -10L * 86400);
    X509_gmtime_adj(X509_getm_notAfter(certificate), days * 86400L);
    X509_set_pubkey(certificate, identity.key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                               (const unsigned char *)common_name, -1, -1, 0);
    X509 *parent = issuer ? issuer->certificate : certificate;
    X509_set_issuer_name(certificate, X509_get_subject_name(parent));
    fixture_extension(certificate, parent, NID_basic_constraints,
                      issuer ? "critical,CA:FALSE" : "critical,CA:TRUE");
    if (names)
        fixture_extension(certificate, parent, NID_subject_alt_name, names);
    X509_sign(certificate, issuer ? issuer->key : identity.key, EVP_sha256());
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, certificate);
    identity.certificate_pem = fixture_bio_text(bio);
    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(bio, identity.key, NULL, NULL, 0, NULL, NULL);
    identity.key_pem = fixture_bio_text(bio);
    return identity;
}

static void fixture_free(struct fixture_identity *identity)
{
    EVP_PKEY_free(identity->key);
    X509_free(identity->certificate);
    free(identity->certificate_pem);
    free(identity->key_pem);
}
