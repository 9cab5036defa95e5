/* Profiles of the certificates: an Envoy or a real Consul that refuses one of them cuts a service
 * off from the mesh. The certificates under test are read with OpenSSL itself; two from a real
 * cluster are the yardstick. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/duration.h"
#include "base/memory.h"
#include "ca/certificate.h"

#define CLUSTER "6f5fc4e2-064b-5e9b-31ac-ab5cb63d6c69"
#define NOW (INT64_C(1795471781) * DURATION_SECOND)
#define URI "spiffe://" CLUSTER ".consul/ns/default/dc/dc1/svc/web"

static const char reference_root[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIICDDCCAbOgAwIBAgIBBzAKBggqhkjOPQQDAjAwMS4wLAYDVQQDEyVwcmktMTVy\n"
    "eDI2eC5jb25zdWwuY2EuNmY1ZmM0ZTIuY29uc3VsMB4XDTI2MTEyMzIyMDk0MVoX\n"
    "DTM2MTEyMDIyMDk0MVowMDEuMCwGA1UEAxMlcHJpLTE1cngyNnguY29uc3VsLmNh\n"
    "LjZmNWZjNGUyLmNvbnN1bDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABGFct+aA\n"
    "ZE0Ol3/6dFnHhGC55ijDHxXueb8RwtigsinnUQFpOqf7ZUHdxkvB1xq+t8IgIFjq\n"
    "0XYBjmurghdQ2GOjgb0wgbowDgYDVR0PAQH/BAQDAgGGMA8GA1UdEwEB/wQFMAMB\n"
    "Af8wKQYDVR0OBCIEIE6++k6iib0AwKeKPp+h6RfrbzDUGG7WHQbR762RozYdMCsG\n"
    "A1UdIwQkMCKAIE6++k6iib0AwKeKPp+h6RfrbzDUGG7WHQbR762RozYdMD8GA1Ud\n"
    "EQQ4MDaGNHNwaWZmZTovLzZmNWZjNGUyLTA2NGItNWU5Yi0zMWFjLWFiNWNiNjNk\n"
    "NmM2OS5jb25zdWwwCgYIKoZIzj0EAwIDRwAwRAIgS9c9EadZhmyNtAJDcBa9BXjk\n"
    "hDpjg8XhegphPvVNfYECIEmx5LvOw+ek3S7mF9CqylYtf9z/4U/IGrdH3YUuUNPZ\n"
    "-----END CERTIFICATE-----\n";

static const char reference_leaf[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIICGzCCAcGgAwIBAgIBCTAKBggqhkjOPQQDAjAwMS4wLAYDVQQDEyVwcmktMTVy\n"
    "eDI2eC5jb25zdWwuY2EuNmY1ZmM0ZTIuY29uc3VsMB4XDTI2MTEyMzIyMDg0MVoX\n"
    "DTI2MTEyNjIyMDg0MVowADBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABIU+S4tm\n"
    "2Esn2AxNveA0ukWa+QmsCTCnu5ynHZdDhnoiU6mAln88vArl0RcLbo3mUZ+Yp6d+\n"
    "J65KVprW18VAIIajgfswgfgwDgYDVR0PAQH/BAQDAgO4MB0GA1UdJQQWMBQGCCsG\n"
    "AQUFBwMCBggrBgEFBQcDATAMBgNVHRMBAf8EAjAAMCkGA1UdDgQiBCCTBEiuKEd6\n"
    "OFnRX3HixxzDG6lwMwoz6ky9KZCtb2KcYjArBgNVHSMEJDAigCBOvvpOoom9AMCn\n"
    "ij6foekX628w1Bhu1h0G0e+tkaM2HTBhBgNVHREBAf8EVzBVhlNzcGlmZmU6Ly82\n"
    "ZjVmYzRlMi0wNjRiLTVlOWItMzFhYy1hYjVjYjYzZDZjNjkuY29uc3VsL25zL2Rl\n"
    "ZmF1bHQvZGMvZGMxL3N2Yy9mcm9udGVuZDAKBggqhkjOPQQDAgNIADBFAiBWMe6E\n"
    "p1TQvbLQQcOw/saYoNrRpgQ8N8bNpq3v6t+fcwIhAMObtVycV0feECw68m0rNPCC\n"
    "Ku12ksTJ7ob2FQiYylY6\n"
    "-----END CERTIFICATE-----\n";

static X509 *parse(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    X509 *x = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BIO_free(bio);
    assert_non_null(x);
    return x;
}

struct authority_pair {
    char *key, *root;
};

static struct authority_pair make_pair(uint64_t serial)
{
    struct authority_pair pair = {.key = key_generate_pem()};
    pair.root = certificate_make_root(
        &(struct certificate_root_spec){CLUSTER, pair.key, serial, NOW}, NULL);
    assert_non_null(pair.root);
    return pair;
}

static void free_pair(struct authority_pair *pair)
{
    free(pair->key);
    free(pair->root);
}

static char *make_leaf(const struct authority_pair *pair, const char *key, const char *dns_name)
{
    struct error error = {0};
    struct certificate_leaf_spec spec = {
        .ca_certificate_pem = pair->root,
        .ca_private_key_pem = pair->key,
        .public_key_pem = key,
        .uri = URI,
        .dns_name = dns_name,
        .serial = 300,
        .now_ns = NOW,
        .ttl_ns = 72 * DURATION_HOUR,
    };
    char *leaf = certificate_make_leaf(&spec, &error);
    if (leaf == NULL)
        fail_msg("%s", error.message);
    return leaf;
}

/* The extensions of both, one by one: the same kinds in the same order with the same criticality.
 */
static void assert_same_shape(const char *made_pem, const char *reference_pem)
{
    X509 *made = parse(made_pem), *reference = parse(reference_pem);
    assert_int_equal(X509_get_version(made), X509_get_version(reference));
    assert_int_equal(X509_get_signature_nid(made), X509_get_signature_nid(reference));
    assert_int_equal(X509_get_ext_count(made), X509_get_ext_count(reference));
    for (int i = 0; i < X509_get_ext_count(made); i++) {
        X509_EXTENSION *a = X509_get_ext(made, i), *b = X509_get_ext(reference, i);
        int nid = OBJ_obj2nid(X509_EXTENSION_get_object(a));
        assert_int_equal(nid, OBJ_obj2nid(X509_EXTENSION_get_object(b)));
        assert_int_equal(X509_EXTENSION_get_critical(a), X509_EXTENSION_get_critical(b));
        if (nid == NID_key_usage || nid == NID_ext_key_usage || nid == NID_basic_constraints)
            assert_int_equal(
                ASN1_OCTET_STRING_cmp(X509_EXTENSION_get_data(a), X509_EXTENSION_get_data(b)), 0);
    }
    X509_free(made);
    X509_free(reference);
}

static bool verifies(const char *leaf_pem, const char *root_pem, time_t at)
{
    X509 *leaf = parse(leaf_pem), *root = parse(root_pem);
    X509_STORE *trust = X509_STORE_new();
    X509_STORE_add_cert(trust, root);
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    X509_STORE_CTX_init(ctx, trust, leaf, NULL);
    X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_X509_STRICT);
    X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(ctx), at);
    X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_SERVER);
    bool good = X509_verify_cert(ctx) == 1;
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(trust);
    X509_free(leaf);
    X509_free(root);
    return good;
}

static void test_root_has_the_reference_profile(void **state)
{
    (void)state;
    struct authority_pair pair = make_pair(7);
    assert_same_shape(pair.root, reference_root);

    X509 *x = parse(pair.root);
    char name[128];
    X509_NAME_oneline(X509_get_subject_name(x), name, sizeof name);
    assert_int_equal(strncmp(name, "/CN=pri-", 8), 0);
    assert_non_null(strstr(name, ".consul.ca.6f5fc4e2.consul"));
    assert_int_equal(X509_NAME_cmp(X509_get_subject_name(x), X509_get_issuer_name(x)), 0);
    X509_free(x);

    struct certificate_info info;
    assert_true(certificate_read(pair.root, &info, NULL));
    assert_string_equal(info.uri, "spiffe://" CLUSTER ".consul");
    assert_string_equal(info.serial, "07");
    assert_true(info.is_ca);
    assert_int_equal(info.not_before_ns, NOW);
    assert_int_equal(info.not_after_ns, NOW + 3650 * 24 * DURATION_HOUR);
    certificate_info_clear(&info);
    free_pair(&pair);
}

static void test_leaf_has_the_reference_profile(void **state)
{
    (void)state;
    struct authority_pair pair = make_pair(1);
    char *key = key_generate_pem();
    assert_int_equal(strncmp(key, "-----BEGIN EC PRIVATE KEY-----\n", 31), 0);
    char *leaf = make_leaf(&pair, key, NULL);
    assert_same_shape(leaf, reference_leaf);

    X509 *x = parse(leaf), *root = parse(pair.root);
    assert_int_equal(X509_NAME_entry_count(X509_get_subject_name(x)), 0);
    assert_int_equal(
        ASN1_OCTET_STRING_cmp(X509_get0_authority_key_id(x), X509_get0_subject_key_id(root)), 0);
    X509_free(x);
    X509_free(root);

    struct certificate_info info;
    assert_true(certificate_read(leaf, &info, NULL));
    assert_string_equal(info.uri, URI);
    assert_string_equal(info.serial, "01:2c");
    assert_false(info.is_ca);
    assert_int_equal(info.not_before_ns, NOW - DURATION_MINUTE);
    assert_int_equal(info.not_after_ns, NOW - DURATION_MINUTE + 72 * DURATION_HOUR);
    certificate_info_clear(&info);
    free(leaf);
    free(key);
    free_pair(&pair);
}

static void test_chain_verifies_only_under_its_own_root_and_in_time(void **state)
{
    (void)state;
    struct authority_pair own = make_pair(1), other = make_pair(1);
    char *key = key_generate_pem();
    char *leaf = make_leaf(&own, key, NULL);
    time_t now = NOW / DURATION_SECOND;
    assert_true(verifies(leaf, own.root, now));
    assert_false(verifies(leaf, other.root, now));
    assert_false(verifies(leaf, own.root, now + 73 * 3600));
    assert_false(verifies(leaf, own.root, now - 120));
    free(leaf);
    free(key);
    free_pair(&own);
    free_pair(&other);
}

static void test_a_signer_gives_each_leaf_its_own_key(void **state)
{
    (void)state;
    struct authority_pair pair = make_pair(1);
    struct certificate_signer *signer = certificate_signer_new(pair.root, pair.key, NULL);
    assert_non_null(signer);
    char *made[2], *keys[2];
    for (uint64_t i = 0; i < 2; i++) {
        struct certificate_leaf_spec spec = {
            .uri = URI, .serial = i + 1, .now_ns = NOW, .ttl_ns = DURATION_HOUR};
        struct certificate_info info;
        assert_true(certificate_issue(signer, &spec, &made[i], &keys[i], &info, NULL));
        assert_string_equal(info.uri, URI);
        certificate_info_clear(&info);
        assert_same_shape(made[i], reference_leaf);
        assert_true(verifies(made[i], pair.root, NOW / DURATION_SECOND));
        BIO *bio = BIO_new_mem_buf(keys[i], -1);
        EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
        X509 *x = parse(made[i]);
        assert_int_equal(X509_check_private_key(x, key), 1);
        X509_free(x);
        EVP_PKEY_free(key);
        BIO_free(bio);
    }
    assert_string_not_equal(keys[0], keys[1]);
    for (int i = 0; i < 2; i++) {
        free(made[i]);
        free(keys[i]);
    }
    certificate_signer_free(signer);
    free_pair(&pair);
}

static void test_server_leaf_answers_to_its_dns_name(void **state)
{
    (void)state;
    struct authority_pair pair = make_pair(1);
    char *key = key_generate_pem();
    char *leaf = make_leaf(&pair, key, "server.dc1.peering." CLUSTER ".consul");
    X509 *x = parse(leaf);
    assert_int_equal(X509_check_host(x, "server.dc1.peering." CLUSTER ".consul", 0, 0, NULL), 1);
    assert_int_equal(X509_check_host(x, "server.dc2.peering." CLUSTER ".consul", 0, 0, NULL), 0);
    X509_free(x);
    struct certificate_info info;
    assert_true(certificate_read(leaf, &info, NULL));
    assert_string_equal(info.uri, URI); /* also behind a DNS name */
    certificate_info_clear(&info);
    free(leaf);
    free(key);
    free_pair(&pair);
}

static void test_leaf_from_a_public_key_alone(void **state)
{
    (void)state;
    struct authority_pair pair = make_pair(1);
    X509 *x = parse(reference_leaf);
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PUBKEY(bio, X509_get0_pubkey(x));
    BIO_write(bio, "", 1);
    char *public_key = NULL;
    BIO_get_mem_data(bio, &public_key);
    char *leaf = make_leaf(&pair, public_key, NULL);
    struct certificate_info info;
    assert_true(certificate_read(leaf, &info, NULL));
    /* The reference's own key id: SHA-256 of the same public key. */
    assert_string_equal(info.subject_key_id,
                        "93:04:48:ae:28:47:7a:38:59:d1:5f:71:e2:c7:1c:c3:1b:a9:70:33:0a:33:ea:4c:"
                        "bd:29:90:ad:6f:62:9c:62");
    certificate_info_clear(&info);
    free(leaf);
    BIO_free(bio);
    X509_free(x);
    free_pair(&pair);
}

static void test_reading_a_real_root(void **state)
{
    (void)state;
    struct certificate_info info;
    assert_true(certificate_read(reference_root, &info, NULL));
    assert_string_equal(info.fingerprint,
                        "b8:6a:81:35:16:2a:59:96:ba:96:24:b7:7e:02:61:01:e9:6f:5b:2c");
    assert_string_equal(info.subject_key_id,
                        "4e:be:fa:4e:a2:89:bd:00:c0:a7:8a:3e:9f:a1:e9:17:eb:6f:30:d4:18:6e:d6:1d:"
                        "06:d1:ef:ad:91:a3:36:1d");
    assert_string_equal(info.serial, "07");
    assert_int_equal(info.not_before_ns, INT64_C(1795471781) * DURATION_SECOND);
    certificate_info_clear(&info);
}

static void test_refusals_say_why(void **state)
{
    (void)state;
    struct error error = {0};
    struct certificate_info info = {.serial = (char *)"untouched"};
    assert_false(certificate_read("no pem", &info, &error));
    assert_string_equal(info.serial, "untouched");
    assert_non_null(strstr(error.message, "cannot read the certificate: "));

    struct authority_pair own = make_pair(1), other = make_pair(1);
    char *key = key_generate_pem();
    struct certificate_leaf_spec spec = {
        .ca_certificate_pem = own.root,
        .ca_private_key_pem = other.key,
        .public_key_pem = key,
        .uri = URI,
        .serial = 1,
        .now_ns = NOW,
        .ttl_ns = DURATION_HOUR,
    };
    assert_null(certificate_make_leaf(&spec, &error));
    assert_string_equal(error.message, "the private key is not that of the CA certificate");
    spec.ca_private_key_pem =
        "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n";
    assert_null(certificate_make_leaf(&spec, &error));
    assert_non_null(strstr(error.message, "cannot read the private key: "));
    spec.ca_private_key_pem = own.key;
    spec.public_key_pem = "x";
    assert_null(certificate_make_leaf(&spec, &error));
    assert_non_null(strstr(error.message, "cannot read the public key: "));
    assert_null(certificate_make_root(&(struct certificate_root_spec){CLUSTER, "x", 1, NOW}, NULL));
    free(key);
    free_pair(&own);
    free_pair(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_root_has_the_reference_profile),
        cmocka_unit_test(test_leaf_has_the_reference_profile),
        cmocka_unit_test(test_chain_verifies_only_under_its_own_root_and_in_time),
        cmocka_unit_test(test_a_signer_gives_each_leaf_its_own_key),
        cmocka_unit_test(test_server_leaf_answers_to_its_dns_name),
        cmocka_unit_test(test_leaf_from_a_public_key_alone),
        cmocka_unit_test(test_reading_a_real_root),
        cmocka_unit_test(test_refusals_say_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
