/* The bootstrap configuration that `pons connect envoy` gives to an Envoy (xds.md section 5): a
 * function of what the command found out, and of the environment where a sink's URL names it. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* The listener for Prometheus, which `envoy_prometheus_bind_addr` asks for. */
struct bootstrap_prometheus {
    const char *scrape_path;
    uint16_t backend_port; /* scraped instead of Envoy's own; 0: Envoy's own */
    /* TLS: the certificate, its key, and one of the two; all NULL for plain HTTP. */
    const char *cert_file, *key_file, *ca_file, *ca_path;
};

struct bootstrap_spec {
    const char *admin_address; /* IP literal */
    uint16_t admin_port;
    const char *admin_access_log; /* path, where `access_logs` asks for nothing */
    const json_t *access_logs;    /* proxy-defaults' AccessLogs; NULL: none */
    const char *proxy_id;
    const char *proxy_source; /* destination service of a sidecar, own name of a gateway */
    const char *node_name;    /* NULL: the agent's own node */
    const char *namespace, *partition, *datacenter;
    const char *token;         /* "" if there is none */
    const char *agent_address; /* IP literal of the gRPC port, or NULL for a socket */
    uint16_t agent_port;
    const char *agent_socket; /* path of a Unix socket, or NULL */
    const char *agent_ca_pem; /* NULL: plaintext gRPC */
    bool omit_deprecated_tags;
    const char *ready_address; /* NULL: no /ready listener */
    uint16_t ready_port;
    struct bootstrap_prometheus prometheus;
    const json_t *config; /* the proxy's opaque configuration; NULL if there is none */
};

/* A new reference, or NULL: a key of the configuration cannot be applied, and `error` names it. */
json_t *bootstrap_make(const struct bootstrap_spec *spec, struct error *error);
