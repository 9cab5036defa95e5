/* Certificates and SPIFFE ids from peers. An id that is accepted must be the id that its parts
 * spell: else two identities could be taken for one. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "ca/certificate.h"
#include "ca/spiffe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *spell(const struct spiffe_id *id)
{
    struct tenancy tenancy = {.partition = id->partition, .namespace = id->namespace};
    switch (id->kind) {
    case SPIFFE_SERVICE:
        return spiffe_service(id->trust_domain, &tenancy, id->datacenter, id->service);
    case SPIFFE_MESH_GATEWAY:
        return spiffe_mesh_gateway(id->trust_domain, id->partition, id->datacenter);
    case SPIFFE_SERVER:
        return spiffe_server(id->trust_domain, id->datacenter);
    case SPIFFE_SIGNING:
        break;
    }
    return spiffe_signing(id->trust_domain);
}

static void check_id(const char *uri)
{
    struct spiffe_id id, again;
    if (!spiffe_parse(uri, &id))
        return;
    char *spelled = spell(&id);
    if (!spiffe_parse(spelled, &again) || again.kind != id.kind ||
        !text_equal(again.service, id.service) || !text_equal(again.namespace, id.namespace) ||
        !text_equal(again.datacenter, id.datacenter) ||
        !text_equal_nocase(again.partition, id.partition))
        abort();
    spiffe_clear(&again);
    spiffe_clear(&id);
    free(spelled);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = mem_strndup((const char *)data, size);
    check_id(text);
    struct certificate_info info;
    struct error error;
    if (certificate_read(text, &info, &error)) {
        if (info.uri != NULL)
            check_id(info.uri);
        certificate_info_clear(&info);
    }
    free(text);
    return 0;
}
