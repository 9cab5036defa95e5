#include "http/content_hash.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

/* ---- values ---- */

static uint64_t hash_bytes(const void *data, size_t length)
{
    const unsigned char *bytes = data;
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < length; i++)
        hash = (hash * 1099511628211u) ^ bytes[i];
    return hash;
}

static uint64_t hash_text(const char *text)
{
    return text == NULL ? hash_bytes("", 0) : hash_bytes(text, strlen(text));
}

static void put_little_endian(unsigned char *bytes, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(value >> (8 * i));
}

static uint64_t hash_number(uint64_t value)
{
    unsigned char bytes[8];
    put_little_endian(bytes, value);
    return hash_bytes(bytes, sizeof bytes);
}

static uint64_t hash_truth(bool value)
{
    unsigned char byte = value;
    return hash_bytes(&byte, 1);
}

/* A pointer to nothing counts as the number 0. */
static uint64_t hash_nothing(void)
{
    return hash_number(0);
}

static uint64_t hash_pair(uint64_t first, uint64_t second)
{
    unsigned char bytes[16];
    put_little_endian(bytes, first);
    put_little_endian(bytes + 8, second);
    return hash_bytes(bytes, sizeof bytes);
}

/* ---- structs: the hash of the name, and of each field, in any order ---- */

static uint64_t field(const char *name, uint64_t value)
{
    return hash_pair(hash_text(name), value);
}

static uint64_t hash_tags(const Pb__NodeService *service)
{
    uint64_t hash = 0;
    for (size_t i = 0; i < service->n_tags; i++)
        hash = hash_pair(hash, hash_text(service->tags[i]));
    return hash;
}

static uint64_t hash_meta(const Pb__NodeService *service)
{
    uint64_t hash = 0;
    for (size_t i = 0; i < service->n_meta; i++)
        hash ^= hash_pair(hash_text(service->meta[i]->key), hash_text(service->meta[i]->value));
    return hash;
}

static uint64_t hash_address(const Pb__ServiceAddress *address)
{
    return hash_text("ServiceAddress") ^ field("Address", hash_text(address->address)) ^
           field("Port", hash_number((uint64_t)(int64_t)address->port));
}

static uint64_t hash_addresses(const Pb__NodeService *service)
{
    uint64_t hash = 0;
    for (size_t i = 0; i < service->n_tagged_addresses; i++) {
        const Pb__NodeService__TaggedAddressesEntry *entry = service->tagged_addresses[i];
        if (entry->value != NULL)
            hash ^= hash_pair(hash_text(entry->key), hash_address(entry->value));
    }
    return hash;
}

static uint64_t hash_weights(const Pb__Weights *weights)
{
    int64_t passing = weights == NULL ? 0 : weights->passing;
    int64_t warning = weights == NULL ? 0 : weights->warning;
    return hash_text("AgentWeights") ^ field("Passing", hash_number((uint64_t)passing)) ^
           field("Warning", hash_number((uint64_t)warning));
}

static uint64_t hash_connect(const Pb__ServiceConnect *connect)
{
    if (connect == NULL || !connect->native)
        return hash_nothing();
    return hash_text("AgentServiceConnect") ^ field("Native", hash_truth(true)) ^
           field("SidecarService", hash_nothing());
}

uint64_t content_hash_service(const Pb__NodeService *service, const char *proxy_text)
{
    return hash_text("AgentService") ^ field("Kind", hash_text(service->kind)) ^
           field("ID", hash_text(service->id)) ^ field("Service", hash_text(service->service)) ^
           field("Tags", hash_tags(service)) ^ field("Meta", hash_meta(service)) ^
           field("Port", hash_number((uint64_t)(int64_t)service->port)) ^
           field("Address", hash_text(service->address)) ^
           field("SocketPath", hash_text(service->socket_path)) ^
           field("TaggedAddresses", hash_addresses(service)) ^
           field("Weights", hash_weights(service->weights)) ^
           field("EnableTagOverride", hash_truth(service->enable_tag_override)) ^
           field("CreateIndex", hash_number(0)) ^ field("ModifyIndex", hash_number(0)) ^
           field("ContentHash", hash_text("")) ^
           field("Proxy", proxy_text == NULL ? hash_nothing() : hash_text(proxy_text)) ^
           field("Connect", hash_connect(service->connect)) ^
           field("PeerName", hash_text(service->peer_name));
}

const char *content_hash_customization(const char *gateway_mode, const char *protocol,
                                       int64_t connect_timeout_ns,
                                       char text[CUSTOMIZATION_HASH_SIZE])
{
    char digits[17];
    uint64_t gateway = hash_text("MeshGatewayConfig") ^ field("Mode", hash_text(gateway_mode));
    uint64_t hash = hash_text("") ^ field("OverrideMeshGateway", gateway) ^
                    field("OverrideProtocol", hash_text(protocol)) ^
                    field("OverrideConnectTimeout", hash_number((uint64_t)connect_timeout_ns));
    snprintf(digits, sizeof digits, "%" PRIx64, hash);
    snprintf(text, CUSTOMIZATION_HASH_SIZE, "%.8s", digits);
    return text;
}
