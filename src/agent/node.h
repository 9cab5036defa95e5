/* The agent's own node in the catalog: the node itself, its liveness check, and the `consul`
 * service by which servers are found. */
#pragma once

#include "base/version.h"
#include "http/api.h"
#include "store/store.h"

struct node_config {
    struct store *store;
    const char *name, *id, *datacenter;
    const char *address, *wan_address;
    uint16_t server_port, grpc_port, grpc_tls_port; /* 0: off */
    size_t meta_count;
    const char *const *meta; /* key, value, … */
};

/* Borrowed until `done`. */
void node_register(const struct node_config *config, api_done_fn *done, void *arg);

/* The node's id: `data_dir`/node-id, made at first start; fresh memory. Without a folder a random
 * one. */
char *node_id_load(const char *data_dir, struct error *error);
