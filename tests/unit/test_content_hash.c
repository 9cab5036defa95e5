/* Who loses: clients that compare the content hash of a service with one that Consul gave them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/content_hash.h"

/* As Consul 1.21 gave them. */
static void services_have_consuls_numbers(void **state)
{
    (void)state;
    Pb__NodeService service = PB__NODE_SERVICE__INIT;
    Pb__Weights weights = PB__WEIGHTS__INIT;
    char *tags[] = {"bar", "baz"};
    weights.passing = weights.warning = 1;
    service.id = service.service = "foo";
    service.port = 8000;
    service.tags = tags;
    service.n_tags = 2;
    service.weights = &weights;
    assert_true(content_hash_service(&service, NULL) == 0x3e352f348d44f7eb);
}

static void maps_are_hashed_in_any_order(void **state)
{
    (void)state;
    Pb__NodeService service = PB__NODE_SERVICE__INIT;
    Pb__Weights weights = PB__WEIGHTS__INIT;
    weights.passing = 3;
    weights.warning = 2;
    char *tags[] = {"a"};
    Pb__NodeService__MetaEntry k = PB__NODE_SERVICE__META_ENTRY__INIT, x = k;
    k.key = "k", k.value = "v", x.key = "x", x.value = "y";
    Pb__NodeService__MetaEntry *meta[] = {&x, &k};
    static const struct {
        const char *name, *address;
        int32_t port;
    } given[] = {{"wan", "1.2.3.4", 5},
                 {"lan", "10.0.0.9", 6},
                 {"wan_ipv4", "10.0.0.1", 99},
                 {"lan_ipv4", "10.0.0.1", 99}};
    Pb__ServiceAddress addresses[4];
    Pb__NodeService__TaggedAddressesEntry entries[4], *tagged[4];
    for (size_t i = 0; i < 4; i++) {
        addresses[i] = (Pb__ServiceAddress)PB__SERVICE_ADDRESS__INIT;
        entries[i] =
            (Pb__NodeService__TaggedAddressesEntry)PB__NODE_SERVICE__TAGGED_ADDRESSES_ENTRY__INIT;
        addresses[i].address = (char *)given[i].address;
        addresses[i].port = given[i].port;
        entries[i].key = (char *)given[i].name;
        entries[i].value = &addresses[i];
        tagged[i] = &entries[i];
    }
    service.id = "c2", service.service = "cache2", service.address = "10.0.0.1";
    service.port = 99;
    service.tags = tags, service.n_tags = 1;
    service.meta = meta, service.n_meta = 2;
    service.tagged_addresses = tagged, service.n_tagged_addresses = 4;
    service.weights = &weights;
    service.enable_tag_override = true;
    assert_true(content_hash_service(&service, NULL) == 0xdcbf5adee01186d6);
}

static void a_proxys_configuration_counts(void **state)
{
    (void)state;
    Pb__NodeService service = PB__NODE_SERVICE__INIT;
    uint64_t one = content_hash_service(&service, "{\"a\":1}");
    assert_true(one == content_hash_service(&service, "{\"a\":1}"));
    assert_true(one != content_hash_service(&service, "{\"a\":2}"));
    assert_true(one != content_hash_service(&service, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(services_have_consuls_numbers),
        cmocka_unit_test(maps_are_hashed_in_any_order),
        cmocka_unit_test(a_proxys_configuration_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
