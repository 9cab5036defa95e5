/* The number by which /v1/agent/service/:id tells that a service is what it was.
 *
 * Clients keep it and compare it with numbers from elsewhere, so it is Consul's own: 64-bit FNV-1
 * over the fields of its Go struct (mitchellh/hashstructure, version 1). Of a proxy's configuration
 * only that it differs is told: that part is a hash of its text. */
#pragma once

#include "consul/service.pb-c.h"

/* `proxy_text`: what the service's proxy configuration is told by; NULL without a proxy. */
uint64_t content_hash_service(const Pb__NodeService *service, const char *proxy_text);

#define CUSTOMIZATION_HASH_SIZE 9
/* What names the chain that comes of these overrides: the first digits of the same hash over them.
 * NULL for what is not overridden. Into `text`, which is returned. */
const char *content_hash_customization(const char *gateway_mode, const char *protocol,
                                       int64_t connect_timeout_ns,
                                       char text[CUSTOMIZATION_HASH_SIZE]);
