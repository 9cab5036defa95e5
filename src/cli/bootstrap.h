/* The bootstrap configuration that `pons connect envoy` gives to an Envoy (xds.md section 5): a
 * pure function of what the command found out. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

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
    const json_t *config; /* the proxy's opaque configuration; NULL if there is none */
};

/* A new reference. `unapplied` (a new list) gets the names of configuration keys that this version
 * does not apply. */
json_t *bootstrap_make(const struct bootstrap_spec *spec, json_t **ret_unapplied);
