/* What tests of peering share: instances to register, and a peering's record. Include behind
 * store_fixture.h. */
#pragma once

#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "catalog/catalog.h"
#include "consul/peerstream.pb-c.h"
#include "peering/records.h"
#include "pons/config_entry.pb-c.h"
#include "proto/proto.h"

#define PEER "cluster-02"
#define PEERING_ID "8fe06db8-970c-6e19-185f-57e642de009e"

/* A plain instance in `arena`, with one passing check. */
static inline Pb__CheckServiceNode *make_instance(struct arena *arena, const char *node,
                                                  const char *service, const char *id)
{
    Pb__CheckServiceNode *instance = proto_new(arena, pb__check_service_node);
    instance->node = proto_new(arena, pb__node);
    instance->node->node = arena_strdup(arena, node);
    instance->node->address = arena_strdup(arena, "10.0.0.1");
    instance->node->datacenter = arena_strdup(arena, "dc2");
    instance->service = proto_new(arena, pb__node_service);
    instance->service->id = arena_strdup(arena, id);
    instance->service->service = arena_strdup(arena, service);
    instance->service->port = 8080;
    instance->n_checks = 1;
    instance->checks = proto_array(arena, 1);
    Pb__HealthCheck *check = instance->checks[0] = proto_new(arena, pb__health_check);
    check->check_id = arena_printf(arena, "%s:overall-check", id);
    check->name = arena_strdup(arena, "overall-check");
    check->status = arena_strdup(arena, "passing");
    check->service_id = instance->service->id;
    check->service_name = instance->service->service;
    return instance;
}

static inline void make_proxy(struct arena *arena, Pb__CheckServiceNode *instance,
                              const char *destination)
{
    Pb__NodeService *service = instance->service;
    service->kind = arena_strdup(arena, "connect-proxy");
    service->proxy = proto_new(arena, pb__connect_proxy_config);
    service->proxy->destination_service_name = arena_strdup(arena, destination);
}

static inline bool register_instance(struct txn *txn, void *arg, struct error *error)
{
    Pb__CheckServiceNode *instance = arg;
    instance->service->node = instance->node->node;
    if (!catalog_put_node(txn, instance->node, error) ||
        !catalog_put_service(txn, instance->service, error))
        return false;
    for (size_t i = 0; i < instance->n_checks; i++) {
        instance->checks[i]->node = instance->node->node;
        if (!catalog_put_check(txn, instance->checks[i], error))
            return false;
    }
    return true;
}

static inline bool deregister_instance(struct txn *txn, void *arg, struct error *error)
{
    (void)error;
    Pb__CheckServiceNode *instance = arg;
    catalog_delete_service(txn, &TENANCY_DEFAULT, instance->node->node, instance->service->id);
    return true;
}

/* "node/id node/id …" of a peer's instances of a service, in order. */
static inline const char *instances_text(struct store *store, const char *peer, const char *service,
                                         struct arena *arena)
{
    struct tenancy tenancy = {.peer = peer};
    struct view *view = view_new(store);
    struct catalog_instances found = catalog_service_instances(view, &tenancy, service, arena);
    const char *text = "";
    for (size_t i = 0; i < found.count; i++) {
        const Pb__NodeService *instance = found.items[i].service->message;
        text =
            arena_printf(arena, "%s%s%s/%s", text, i == 0 ? "" : " ", instance->node, instance->id);
    }
    view_free(view);
    return text;
}

/* exported-services of `names` (NULL-terminated) to `peer`. */
static inline Pb__ExportedServicesEntry *make_exports(struct arena *arena, const char *peer,
                                                      const char *const *names)
{
    Pb__ExportedServicesEntry *entry = proto_new(arena, pb__exported_services_entry);
    entry->kind = arena_strdup(arena, "exported-services");
    entry->name = arena_strdup(arena, "default");
    entry->services = proto_array(arena, 64);
    for (; *names != NULL; names++) {
        Pb__ExportedService *service = proto_new(arena, pb__exported_service);
        service->name = arena_strdup(arena, *names);
        service->n_consumers = 1;
        service->consumers = proto_array(arena, 1);
        service->consumers[0] = proto_new(arena, pb__service_consumer);
        service->consumers[0]->peer = arena_strdup(arena, peer);
        entry->services[entry->n_services++] = service;
    }
    return entry;
}
