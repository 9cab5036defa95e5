/* What travels on a peering stream: four kinds of resources, each with its type URL and payload
 * message (peering-protocol 8.1, 9). Pure: bytes in, checked messages out, and back. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/memory.h"
#include "consul/peering.pb-c.h"
#include "consul/peerstream.pb-c.h"

enum resource {
    RESOURCE_SERVICE,   /* Ps__ExportedService; id: service name */
    RESOURCE_LIST,      /* Ps__ExportedServiceList */
    RESOURCE_ROOTS,     /* Pb__PeeringTrustBundle */
    RESOURCE_ADDRESSES, /* Pb__PeeringServerAddresses; acceptor to dialer only */
    RESOURCE_COUNT,
};

#define PROXY_SUFFIX "-sidecar-proxy"
/* A peer's oldest versions take no more than 4 MiB in one message; the newest send 8 MiB. */
#define STREAM_MESSAGE_BYTES_MAX ((size_t)8 * 1024 * 1024)

const char *resource_url(enum resource resource);
/* The one id of LIST, ROOTS and ADDRESSES; "" for services, which have many. */
const char *resource_single_id(enum resource resource);
bool resource_find(const char *url, enum resource *ret_resource);

/* Decodes a payload and refuses what would harm the importer: missing or empty names and ids, a
 * connect proxy without PeerMeta, kinds that are never exported. NULL with the cause. */
void *resource_read(enum resource resource, const uint8_t *data, size_t length, struct arena *arena,
                    struct error *error);
