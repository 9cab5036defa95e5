#include "peering/resource.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "ca/certificate.h"
#include "proto/proto.h"

#define TYPE_PREFIX "type.googleapis.com/hashicorp.consul.internal."

static const struct resource_class {
    const char *url, *single_id;
    const ProtobufCMessageDescriptor *payload;
} classes[RESOURCE_COUNT] = {
    [RESOURCE_SERVICE] = {TYPE_PREFIX "peerstream.ExportedService", "",
                          &ps__exported_service__descriptor},
    [RESOURCE_LIST] = {TYPE_PREFIX "peerstream.ExportedServiceList", "exported-service-list",
                       &ps__exported_service_list__descriptor},
    [RESOURCE_ROOTS] = {TYPE_PREFIX "peering.PeeringTrustBundle", "roots",
                        &pb__peering_trust_bundle__descriptor},
    [RESOURCE_ADDRESSES] = {TYPE_PREFIX "peering.PeeringServerAddresses", "server-addrs",
                            &pb__peering_server_addresses__descriptor},
};

const char *resource_url(enum resource resource)
{
    return classes[resource].url;
}

const char *resource_single_id(enum resource resource)
{
    return classes[resource].single_id;
}

bool resource_find(const char *url, enum resource *ret_resource)
{
    for (size_t i = 0; i < RESOURCE_COUNT; i++) {
        if (strcmp(url, classes[i].url) == 0) {
            *ret_resource = (enum resource)i;
            return true;
        }
    }
    return false;
}

static bool check_connect(const Pb__NodeService *service, struct error *error)
{
    if (text_empty(service->kind))
        return true;
    if (strcmp(service->kind, "connect-proxy") != 0)
        return error_set(error, ERR_INVALID,
                         "service %s has kind \"%s\", which is never exported to a peer",
                         service->id, service->kind);
    const Pb__ServiceConnect *connect = service->connect;
    if (connect == NULL || connect->peer_meta == NULL || connect->peer_meta->n_sni == 0 ||
        connect->peer_meta->n_spiffe_id == 0)
        return error_set(error, ERR_INVALID,
                         "connect-proxy %s has no PeerMeta with SNI and SpiffeID", service->id);
    if (service->proxy == NULL || text_empty(service->proxy->destination_service_name))
        return error_set(error, ERR_INVALID, "connect-proxy %s has no DestinationServiceName",
                         service->id);
    return true;
}

static bool is_16_bit(int32_t number)
{
    return number >= 0 && number <= 65535;
}

static bool check_numbers(const Pb__NodeService *service, struct error *error)
{
    bool good = is_16_bit(service->port);
    if (service->weights != NULL)
        good = good && is_16_bit(service->weights->passing) && is_16_bit(service->weights->warning);
    for (size_t i = 0; i < service->n_tagged_addresses; i++) {
        const Pb__ServiceAddress *address = service->tagged_addresses[i]->value;
        good = good && (address == NULL || is_16_bit(address->port));
    }
    return good || error_set(error, ERR_INVALID,
                             "service %s has a port or weight that is not between 0 and 65535",
                             service->id);
}

static bool check_instance(const Pb__CheckServiceNode *instance, struct error *error)
{
    if (instance->node == NULL || instance->service == NULL)
        return error_set(error, ERR_INVALID, "an instance has no Node or no Service");
    if (text_empty(instance->node->node))
        return error_set(error, ERR_INVALID, "an instance has an empty node name");
    const Pb__NodeService *service = instance->service;
    if (text_empty(service->id) || text_empty(service->service))
        return error_set(error, ERR_INVALID,
                         "an instance on node %s has an empty service ID or name",
                         instance->node->node);
    if (!check_numbers(service, error))
        return false;
    for (size_t i = 0; i < instance->n_checks; i++) {
        if (text_empty(instance->checks[i]->check_id))
            return error_set(error, ERR_INVALID, "service %s has a check with an empty ID",
                             service->id);
    }
    return check_connect(service, error);
}

static bool check_services(const Ps__ExportedService *payload, struct error *error)
{
    for (size_t i = 0; i < payload->n_nodes; i++) {
        if (!check_instance(payload->nodes[i], error))
            return false;
    }
    return true;
}

static bool is_made_of(const char *text, const char *more)
{
    for (; *text != '\0'; text++) {
        if (!isalnum((unsigned char)*text) && strchr(more, *text) == NULL)
            return false;
    }
    return true;
}

/* One certificate of an authority: what a proxy cannot load would take down the service for all
 * peers. */
static bool check_root(const char *pem, struct error *error)
{
    static const char begin[] = "-----BEGIN";
    struct certificate_info info;
    struct error cause = {0};
    const char *first = strstr(pem, begin);
    if (first != NULL && strstr(first + 1, begin) != NULL)
        return error_set(error, ERR_INVALID, "a root of the trust bundle holds more than one PEM");
    if (!certificate_read(pem, &info, &cause))
        return error_set(error, ERR_INVALID, "a root of the trust bundle is no certificate: %s",
                         cause.message);
    bool is_ca = info.is_ca;
    certificate_info_clear(&info);
    return is_ca ||
           error_set(error, ERR_INVALID, "a root of the trust bundle is not an authority's");
}

/* The names end up in patterns that proxies match certificates with. */
static bool check_roots(const Pb__PeeringTrustBundle *bundle, struct error *error)
{
    if (text_empty(bundle->trust_domain))
        return error_set(error, ERR_INVALID, "the trust bundle has no trust domain");
    if (!is_made_of(bundle->trust_domain, ".-") || !is_made_of(bundle->exported_partition, "-_"))
        return error_set(error, ERR_INVALID,
                         "the trust domain or partition of the trust bundle has characters that "
                         "no such name has");
    for (size_t i = 0; i < bundle->n_root_pems; i++) {
        if (!check_root(bundle->root_pems[i], error))
            return false;
    }
    if (bundle->n_root_pems == 0)
        return error_set(error, ERR_INVALID, "the trust bundle has no root certificates");
    return true;
}

static bool check_addresses(const Pb__PeeringServerAddresses *payload, struct error *error)
{
    for (size_t i = 0; i < payload->n_addresses; i++) {
        char *host = NULL;
        uint16_t port;
        bool valid = text_split_host_port(payload->addresses[i], false, &host, &port);
        free(host);
        if (!valid)
            return error_set(error, ERR_INVALID, "%s is not a valid peering server address",
                             payload->addresses[i]);
    }
    return true;
}

static bool check_list(const Ps__ExportedServiceList *payload, struct error *error)
{
    for (size_t i = 0; i < payload->n_services; i++) {
        if (text_empty(payload->services[i]))
            return error_set(error, ERR_INVALID, "the list has an empty service name");
    }
    return true;
}

static bool check_payload(enum resource resource, const void *payload, struct error *error)
{
    switch (resource) {
    case RESOURCE_SERVICE:
        return check_services(payload, error);
    case RESOURCE_LIST:
        return check_list(payload, error);
    case RESOURCE_ROOTS:
        return check_roots(payload, error);
    case RESOURCE_ADDRESSES:
    case RESOURCE_COUNT:
        break;
    }
    return check_addresses(payload, error);
}

void *resource_read(enum resource resource, const uint8_t *data, size_t length, struct arena *arena,
                    struct error *error)
{
    static const struct proto_limits limits = {STREAM_MESSAGE_BYTES_MAX, 2000000};
    if (length == 0)
        data = (const uint8_t *)""; /* an empty Any has no bytes to point to */
    void *payload = proto_unpack(classes[resource].payload, data, length, &limits, arena, error);
    if (payload == NULL || !check_payload(resource, payload, error))
        return NULL;
    return payload;
}
