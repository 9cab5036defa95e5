#include "agent/node.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/ident.h"
#include "base/memory.h"
#include "base/text.h"
#include "catalog/catalog.h"
#include "proto/proto.h"

struct registration {
    const struct node_config *config;
    struct arena *arena;
    api_done_fn *done;
    void *arg;
};

static Pb__Node *make_node(const struct node_config *config, struct arena *arena)
{
    Pb__Node *node = proto_new(arena, pb__node);
    node->id = (char *)config->id;
    node->node = (char *)config->name;
    node->address = (char *)config->address;
    node->datacenter = (char *)config->datacenter;
    const char *family = strchr(config->address, ':') != NULL ? "ipv6" : "ipv4";
    const char *tagged[][2] = {
        {"lan", config->address},
        {arena_printf(arena, "lan_%s", family), config->address},
        {"wan", config->wan_address},
        {arena_printf(arena, "wan_%s", family), config->wan_address},
    };
    node->n_tagged_addresses = 4;
    node->tagged_addresses = proto_array(arena, 4);
    for (size_t i = 0; i < 4; i++) {
        node->tagged_addresses[i] = proto_new(arena, pb__node__tagged_addresses_entry);
        node->tagged_addresses[i]->key = (char *)tagged[i][0];
        node->tagged_addresses[i]->value = (char *)tagged[i][1];
    }
    const char *own_meta[] = {"consul-network-segment", "", "consul-version", CONSUL_VERSION};
    node->n_meta = 2 + config->meta_count;
    node->meta = proto_array(arena, node->n_meta);
    for (size_t i = 0; i < node->n_meta; i++) {
        const char *const *pair = i < 2 ? own_meta + 2 * i : config->meta + 2 * (i - 2);
        node->meta[i] = proto_new(arena, pb__node__meta_entry);
        node->meta[i]->key = (char *)pair[0];
        node->meta[i]->value = (char *)pair[1];
    }
    return node;
}

static Pb__NodeService *make_server(const struct node_config *config, struct arena *arena)
{
    Pb__NodeService *service = proto_new(arena, pb__node_service);
    service->node = (char *)config->name;
    service->id = service->service = (char *)"consul";
    service->port = config->server_port;
    const char *meta[][2] = {
        {"grpc_port", config->grpc_port ? arena_printf(arena, "%u", config->grpc_port) : NULL},
        {"grpc_tls_port",
         config->grpc_tls_port ? arena_printf(arena, "%u", config->grpc_tls_port) : NULL},
        {"non_voter", "false"},
        {"pons_version", PONS_VERSION},
        {"raft_version", "3"},
        {"read_replica", "false"},
        {"serf_protocol_current", "2"},
        {"serf_protocol_max", "5"},
        {"serf_protocol_min", "1"},
        {"version", CONSUL_VERSION},
    };
    service->meta = proto_array(arena, sizeof meta / sizeof meta[0]);
    for (size_t i = 0; i < sizeof meta / sizeof meta[0]; i++) {
        if (meta[i][1] == NULL)
            continue;
        Pb__NodeService__MetaEntry *entry = proto_new(arena, pb__node_service__meta_entry);
        entry->key = (char *)meta[i][0];
        entry->value = (char *)meta[i][1];
        service->meta[service->n_meta++] = entry;
    }
    return service;
}

static bool register_node(struct txn *txn, void *arg, struct error *error)
{
    struct registration *registration = arg;
    const struct node_config *config = registration->config;
    Pb__HealthCheck *alive = proto_new(registration->arena, pb__health_check);
    alive->node = (char *)config->name;
    alive->check_id = (char *)"serfHealth";
    alive->name = (char *)"Serf Health Status";
    alive->status = (char *)"passing";
    alive->output = (char *)"Agent alive and reachable";
    return catalog_put_node(txn, make_node(config, registration->arena), error) &&
           catalog_put_service(txn, make_server(config, registration->arena), error) &&
           catalog_put_check(txn, alive, error);
}

static void registered(void *arg, const struct error *error, uint64_t index)
{
    (void)index;
    struct registration *registration = arg;
    registration->done(registration->arg, error);
    arena_free(registration->arena);
}

void node_register(const struct node_config *config, api_done_fn *done, void *arg)
{
    struct arena *arena = arena_new();
    struct registration *registration = arena_alloc(arena, sizeof *registration);
    *registration = (struct registration){config, arena, done, arg};
    store_commit(config->store, register_node, registered, registration);
}

static bool write_id(const char *path, const char *id, struct error *error)
{
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0)
        return error_set(error, ERR_IO, "%s: %s", path, strerror(errno));
    bool ok = write(file, id, strlen(id)) == (ssize_t)strlen(id) && fsync(file) == 0;
    close(file);
    return ok || error_set(error, ERR_IO, "%s: cannot be written: %s", path, strerror(errno));
}

char *node_id_load(const char *data_dir, struct error *error)
{
    char id[UUID_TEXT_MAX + 2];
    if (text_empty(data_dir))
        return mem_strdup(uuid_generate(id));
    char *path = mem_printf("%s/node-id", data_dir);
    char *result = NULL;
    FILE *file = fopen(path, "re");
    if (file != NULL) {
        if (fgets(id, sizeof id, file) != NULL)
            id[strcspn(id, "\r\n")] = '\0';
        else
            id[0] = '\0';
        fclose(file);
        if (uuid_valid(id))
            result = mem_strdup(id);
        else
            error_set(error, ERR_INVALID,
                      "%s: holds no UUID; remove the file to get a new id, or set node_id", path);
    } else if (errno != ENOENT) {
        error_set(error, ERR_IO, "%s: %s", path, strerror(errno));
    } else if (write_id(path, uuid_generate(id), error)) {
        result = mem_strdup(id);
    }
    free(path);
    return result;
}
