/* Where the xDS server gets the snapshots of this agent's proxies, and what it tells back: a mesh
 * gateway whose stream is up is known to be alive, without waiting for its check's next turn. */
#pragma once

#include "agent/checks.h"
#include "mesh/proxy.h"
#include "xds/server.h"

struct proxies;

struct proxies *proxies_new(const struct proxy_config *config, struct checks *checks,
                            const char *node);
void proxies_free(struct proxies *proxies); /* after the xDS server */
/* For xds_server_new. */
extern const struct xds_source proxies_source;
