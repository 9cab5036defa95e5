/* Names that both ends of a peering derive on their own: one letter off and a proxy refuses its
 * peer, or takes it for another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "ca/spiffe.h"

#define TD "6f5fc4e2-064b-5e9b-31ac-ab5cb63d6c69.consul"

static void assert_text(char *made, const char *expected)
{
    assert_string_equal(made, expected);
    free(made);
}

static void test_ids_are_spelled_as_consul_spells_them(void **state)
{
    (void)state;
    struct tenancy plain = TENANCY_DEFAULT;
    struct tenancy spelled = {.partition = "default", .namespace = "default"};
    struct tenancy other = {.partition = "Team-A", .namespace = "web"};
    assert_text(spiffe_service(TD, &plain, "dc1", "frontend"),
                "spiffe://" TD "/ns/default/dc/dc1/svc/frontend");
    assert_text(spiffe_service(TD, &spelled, "dc1", "frontend"),
                "spiffe://" TD "/ns/default/dc/dc1/svc/frontend");
    assert_text(spiffe_service(TD, &other, "dc1", "frontend"),
                "spiffe://" TD "/ap/team-a/ns/web/dc/dc1/svc/frontend");
    assert_text(spiffe_mesh_gateway(TD, NULL, "dc2"), "spiffe://" TD "/gateway/mesh/dc/dc2");
    assert_text(spiffe_mesh_gateway(TD, "team", "dc2"),
                "spiffe://" TD "/ap/team/gateway/mesh/dc/dc2");
    assert_text(spiffe_server(TD, "dc2"), "spiffe://" TD "/agent/server/dc/dc2");
    assert_text(spiffe_signing("ABC.consul"), "spiffe://abc.consul");
}

static void test_a_service_name_cannot_reach_into_the_path(void **state)
{
    (void)state;
    struct tenancy plain = TENANCY_DEFAULT;
    assert_text(spiffe_service(TD, &plain, "dc1", "a b%/svc/é"),
                "spiffe://" TD "/ns/default/dc/dc1/svc/a%20b%25%2Fsvc%2F%C3%A9");
    char *uri = spiffe_service(TD, &plain, "dc1", "a b%/svc/é");
    struct spiffe_id id;
    assert_true(spiffe_parse(uri, &id));
    assert_string_equal(id.service, "a b%/svc/é");
    spiffe_clear(&id);
    free(uri);
}

static void test_names_on_the_wire(void **state)
{
    (void)state;
    struct tenancy plain = TENANCY_DEFAULT;
    struct tenancy other = {.partition = "ap1", .namespace = "ns1"};
    assert_text(name_peering_server(TD, "dc1"), "server.dc1.peering." TD);
    assert_text(sni_peered_service(TD, &plain, "peer-b", "web"),
                "web.default.default.peer-b.external." TD);
    assert_text(sni_peered_service(TD, &other, "peer-b", "web"), "web.ns1.ap1.peer-b.external." TD);
    assert_text(sni_service(TD, &plain, "dc1", NULL, "web"), "web.default.dc1.internal." TD);
    assert_text(sni_service(TD, &plain, "dc1", "v2", "web"), "v2.web.default.dc1.internal." TD);
    assert_text(sni_service(TD, &other, "dc1", "", "web"), "web.ns1.ap1.dc1.internal-v1." TD);
    assert_text(cluster_peered_service(TD, &plain, "cluster-02", "backend"),
                "backend.default.cluster-02.external." TD);
}

static void test_parsing(void **state)
{
    (void)state;
    static const struct {
        const char *uri;
        enum spiffe_kind kind;
        const char *partition, *namespace, *datacenter, *service;
    } good[] = {
        {"spiffe://td.consul", SPIFFE_SIGNING, NULL, NULL, NULL, NULL},
        {"SPIFFE://TD.consul/ns/n/dc/d/svc/s", SPIFFE_SERVICE, "default", "n", "d", "s"},
        {"spiffe://td.consul/ap/p/ns/n/dc/d/svc/s", SPIFFE_SERVICE, "p", "n", "d", "s"},
        {"spiffe://td.consul/ns/n/dc/d/svc/a%2fb", SPIFFE_SERVICE, "default", "n", "d", "a/b"},
        {"spiffe://td.consul/gateway/mesh/dc/d", SPIFFE_MESH_GATEWAY, "default", NULL, "d", NULL},
        {"spiffe://td.consul/ap/p/gateway/mesh/dc/d", SPIFFE_MESH_GATEWAY, "p", NULL, "d", NULL},
        {"spiffe://td.consul/agent/server/dc/d", SPIFFE_SERVER, NULL, NULL, "d", NULL},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct spiffe_id id;
        assert_true(spiffe_parse(good[i].uri, &id));
        assert_int_equal(id.kind, good[i].kind);
        assert_string_equal(id.trust_domain, "td.consul");
        const char *pairs[][2] = {{id.partition, good[i].partition},
                                  {id.namespace, good[i].namespace},
                                  {id.datacenter, good[i].datacenter},
                                  {id.service, good[i].service}};
        for (size_t part = 0; part < 4; part++) {
            if (pairs[part][1] == NULL)
                assert_null(pairs[part][0]);
            else
                assert_string_equal(pairs[part][0], pairs[part][1]);
        }
        spiffe_clear(&id);
    }
}

static void test_what_is_no_id_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "spiffe:",
        "spiffe://",
        "spiffe:///ns/n/dc/d/svc/s",
        "https://td/ns/n/dc/d/svc/s",
        "spiffe://td/",
        "spiffe://td/ns/n/dc/d/svc/",
        "spiffe://td/ns/n/dc/d/svc/s/",
        "spiffe://td/ns/n/dc/d/svc/s/x",
        "spiffe://td/ns//dc/d/svc/s",
        "spiffe://td/ap//ns/n/dc/d/svc/s",
        "spiffe://td/ap/p/agent/server/dc/d",
        "spiffe://td/ns/n/dc/d/svc/%",
        "spiffe://td/ns/n/dc/d/svc/%4",
        "spiffe://td/ns/n/dc/d/svc/%zz",
        "spiffe://td/ns/n/dc/d/svc/a%00b",
        "spiffe://td/ns/n/dc/d/svc/s?x",
        "spiffe://td/ns/n/dc/d/svc/s#x",
        "spiffe://user@td/ns/n/dc/d/svc/s",
        "spiffe://td:443/ns/n/dc/d/svc/s",
        "spiffe://td/gateway/mesh/dc/",
        "spiffe://td/gateway/mesh/dc/d/x",
        "spiffe://td/agent/client/dc/d/id/x",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct spiffe_id id = {.kind = SPIFFE_SERVER};
        if (spiffe_parse(bad[i], &id))
            fail_msg("taken: %s", bad[i]);
        assert_int_equal(id.kind, SPIFFE_SERVER);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids_are_spelled_as_consul_spells_them),
        cmocka_unit_test(test_a_service_name_cannot_reach_into_the_path),
        cmocka_unit_test(test_names_on_the_wire),
        cmocka_unit_test(test_parsing),
        cmocka_unit_test(test_what_is_no_id_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
