/* What the opaque configuration of a proxy and of its upstreams asks for (reference: xds.md 2.5).
 *
 * A value that makes no sense is left out, with words in `problems`, and its default holds: one
 * typing error must not stop a proxy. Escape hatches (`…_json`) are not built yet and are named
 * there too. */
#pragma once

#include "base/buffer.h"
#include "mesh/snapshot.h"

#define OPTION_UNSET INT64_C(-1) /* where zero means something */

struct proxy_options {
    /* sidecar */
    const char *bind_address; /* "" if unset */
    int64_t bind_port;        /* 0 if unset */
    int64_t local_connect_timeout_ms;
    int64_t local_request_timeout_ms, local_idle_timeout_ms;
    int64_t max_inbound_connections; /* 0: no limit */
    const char *balance_inbound_connections;
    /* mesh gateway */
    const char *dns_discovery_type;
    int64_t connect_timeout_ms;
    bool keepalive;
    int64_t keepalive_time, keepalive_interval, keepalive_probes; /* 0: unset */
    const char *protocol;
    /* both */
    int64_t fetch_timeout_ms; /* negative: Envoy's default */
};

struct upstream_options {
    int64_t connect_timeout_ms;
    int64_t max_connections, max_pending_requests, max_concurrent_requests;
    int64_t interval_ns, base_ejection_time_ns, max_failures; /* 0: unset */
    int64_t enforcing_consecutive_5xx, max_ejection_percent;
    const char *balance_outbound_connections;
};

/* Of limits alone; NULL: none. */
struct upstream_options upstream_options_limits(const Pb__UpstreamLimits *limits);
/* Text lives in `arena`. */
void proxy_options_read(const struct proxy_snapshot *snapshot, struct arena *arena,
                        struct proxy_options *ret_options, struct buffer *problems);
/* The upstream's own configuration over what the snapshot found for it. */
void upstream_options_read(const struct upstream *upstream, struct arena *arena,
                           struct upstream_options *ret_options, struct buffer *problems);
