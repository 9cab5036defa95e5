/* Tokens must be understood by a real Consul, and what is wrong with one must be said in words that
 * its users know. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/ident.h"
#include "ca/certificate.h"
#include "peering/token.h"

static char *root_pem;

static int make_root(void **state)
{
    (void)state;
    char *key = key_generate_pem();
    struct certificate_root_spec spec = {.cluster_id = "d2c65ff3-631b-fa14-d970-3bd090918d0d",
                                         .private_key_pem = key,
                                         .serial = 7,
                                         .now_ns = INT64_C(1795500000000000000)};
    root_pem = certificate_make_root(&spec, NULL);
    free(key);
    return root_pem == NULL;
}

static int drop_root(void **state)
{
    (void)state;
    free(root_pem);
    return 0;
}

static void expect_json(const char *token, const char *json)
{
    uint8_t *bytes;
    size_t length;
    assert_true(base64_decode(token, &bytes, &length, NULL));
    assert_string_equal((char *)bytes, json);
    free(bytes);
}

/* The exact names, their order, and null for what is absent. */
static void test_is_written_as_consul_writes_it(void **state)
{
    (void)state;
    char *ca[] = {"-----BEGIN CERTIFICATE-----\nMIIC==\n-----END CERTIFICATE-----\n"};
    char *addresses[] = {"127.2.0.1:28503"};
    Pb__RemoteInfo remote = PB__REMOTE_INFO__INIT;
    remote.datacenter = "dc2";
    Pb__PeeringToken token = PB__PEERING_TOKEN__INIT;
    token.n_ca = 1;
    token.ca = ca;
    token.n_server_addresses = 1;
    token.server_addresses = addresses;
    token.server_name = "server.dc2.peering.d2c65ff3-631b-fa14-d970-3bd090918d0d.consul";
    token.peer_id = "8fe06db8-970c-6e19-185f-57e642de009e";
    token.establishment_secret = "5ceae810-0f02-209f-d521-339f586f48ae";
    token.remote = &remote;
    char *text = token_write(&token);
    expect_json(text,
                "{\"CA\":[\"-----BEGIN CERTIFICATE-----\\nMIIC==\\n-----END CERTIFICATE-----\\n\"],"
                "\"ManualServerAddresses\":null,\"ServerAddresses\":[\"127.2.0.1:28503\"],"
                "\"ServerName\":\"server.dc2.peering.d2c65ff3-631b-fa14-d970-3bd090918d0d.consul\","
                "\"PeerID\":\"8fe06db8-970c-6e19-185f-57e642de009e\","
                "\"EstablishmentSecret\":\"5ceae810-0f02-209f-d521-339f586f48ae\","
                "\"Remote\":{\"Partition\":\"\",\"Datacenter\":\"dc2\",\"Locality\":null}}");
    free(text);
}

static Pb__PeeringToken *read_json(const char *json, struct arena *arena, struct error *error)
{
    char *text = base64_encode(json, strlen(json));
    Pb__PeeringToken *token = token_read(text, arena, error);
    free(text);
    return token;
}

static void test_is_read_back(void **state)
{
    (void)state;
    struct arena *arena = arena_new();
    char *ca[] = {root_pem};
    char *addresses[] = {"a.example:8503", "[::1]:8503"};
    Pb__PeeringToken token = PB__PEERING_TOKEN__INIT;
    token.n_ca = 1;
    token.ca = ca;
    token.n_manual_server_addresses = 2;
    token.manual_server_addresses = addresses;
    token.server_name = "server.dc1.peering.x.consul";
    token.peer_id = "p";
    token.establishment_secret = "s";
    char *text = token_write(&token);
    struct error error = {0};
    Pb__PeeringToken *read = token_read(text, arena, &error);
    free(text);
    assert_string_equal(error.message, "");
    assert_non_null(read);
    assert_string_equal(read->ca[0], root_pem);
    assert_int_equal(read->n_manual_server_addresses, 2);
    assert_int_equal(read->n_server_addresses, 0);
    assert_string_equal(read->establishment_secret, "s");
    assert_string_equal(read->remote->datacenter, "");
    arena_free(arena);
}

/* A Consul 1.13 writes only five keys; a newer one may write more. */
static void test_other_versions_are_read(void **state)
{
    (void)state;
    struct arena *arena = arena_new();
    struct error error = {0};
    Pb__PeeringToken *old =
        read_json("{\"CA\":null,\"ServerAddresses\":[\"h:1\"],\"ServerName\":\"n\","
                  "\"PeerID\":\"p\",\"EstablishmentSecret\":\"s\"}",
                  arena, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(old->n_ca, 0);
    assert_non_null(read_json(
        "{\"serveraddresses\":[\"h:1\"],\"PeerID\":\"p\",\"Later\":{\"a\":[1]}}", arena, &error));
    arena_free(arena);
}

static void expect_refusal(const char *json, const char *message)
{
    struct arena *arena = arena_new();
    struct error error = {0};
    assert_null(read_json(json, arena, &error));
    assert_string_equal(error.message, message);
    assert_int_equal(error.code, ERR_INTERNAL);
    arena_free(arena);
}

static void test_refusals_have_consuls_words(void **state)
{
    (void)state;
    struct arena *arena = arena_new();
    struct error error = {0};
    assert_null(token_read("abc*defg", arena, &error));
    assert_string_equal(error.message,
                        "failed to decode token: illegal base64 data at input byte 3");
    arena_free(arena);
    expect_refusal("hello", "invalid character 'h' looking for beginning of value");
    expect_refusal("", "unexpected end of JSON input");
    expect_refusal("{\"PeerID\":\"p\",\"EstablishmentSecret\":\"5ceae810",
                   "unexpected end of JSON input"); /* and nothing of the secret */
    expect_refusal("{\"PeerID\":\"p\",", "unexpected end of JSON input");
    expect_refusal("{\"EstablishmentSecret\":5ceae810}",
                   "the peering token is damaged: what it holds is not JSON; copy the whole token "
                   "again, or have a new one made");
    expect_refusal("{\"CA\":null,\"PeerID\":\"p\"}",
                   "peering token server addresses value is empty");
    expect_refusal("{\"ServerAddresses\":[\"h\"],\"PeerID\":\"p\"}",
                   "h is not a valid peering server address");
    expect_refusal("{\"ServerAddresses\":[\"h:0\"],\"PeerID\":\"p\"}",
                   "h:0 is not a valid peering server address");
    expect_refusal("{\"ServerAddresses\":[\"h:1\"],\"ManualServerAddresses\":[\"h:65536\"]}",
                   "h:65536 is not a valid peering server address");
    expect_refusal("{\"ServerAddresses\":[\"h:1\"]}", "peering token peer ID value is empty");
}

static void test_a_certificate_must_come_with_its_name(void **state)
{
    (void)state;
    struct arena *arena = arena_new();
    char *ca[] = {root_pem};
    char *addresses[] = {"h:1"};
    Pb__PeeringToken token = PB__PEERING_TOKEN__INIT;
    token.n_ca = 1;
    token.ca = ca;
    token.n_server_addresses = 1;
    token.server_addresses = addresses;
    token.peer_id = "p";
    char *text = token_write(&token);
    struct error error = {0};
    assert_null(token_read(text, arena, &error));
    assert_string_equal(error.message, "peering token server name value is empty");
    free(text);
    ca[0] = "no certificate";
    text = token_write(&token);
    assert_null(token_read(text, arena, &error));
    assert_int_equal(strncmp(error.message, "peering token invalid CA: ", 26), 0);
    free(text);
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_is_written_as_consul_writes_it),
        cmocka_unit_test(test_is_read_back),
        cmocka_unit_test(test_other_versions_are_read),
        cmocka_unit_test(test_refusals_have_consuls_words),
        cmocka_unit_test(test_a_certificate_must_come_with_its_name),
    };
    return cmocka_run_group_tests(tests, make_root, drop_root);
}
