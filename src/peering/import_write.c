#include "peering/import_write.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "catalog/catalog.h"
#include "peering/records.h"
#include "peering/resource.h"
#include "proto/proto.h"

#define TEXT(text) ((char *)(uintptr_t)(text))

struct service_import {
    struct import_scope scope;
    const char *service;
    size_t count;
    Pb__CheckServiceNode **instances; /* as sent */
    Pb__CheckServiceNode **by_key;    /* the same by (node, service id) */
    size_t next;                      /* first instance not yet written */
    size_t step;                      /* instances in the step under way */
    bool more;                        /* the step under way left something to remove */
    bool removing;                    /* the step under way was one of the second phase */
};

struct tenancy import_tenancy(const struct import_scope *scope)
{
    return (struct tenancy){.partition = scope->partition, .peer = scope->peer_name};
}

bool import_is_open(struct txn *txn, const struct import_scope *scope, struct error *error)
{
    const struct record *record = peering_find_by_id(txn_view(txn), scope->peering_id);
    if (record == NULL || peering_is_inactive(record->message))
        return error_set(error, ERR_PRECONDITION, "peering %s is deleted or terminated here",
                         scope->peer_name);
    return true;
}

/* ---- one service ---- */

static int compare_instances(const void *a, const void *b)
{
    const Pb__CheckServiceNode *left = *(Pb__CheckServiceNode *const *)a;
    const Pb__CheckServiceNode *right = *(Pb__CheckServiceNode *const *)b;
    int order = strcasecmp(left->node->node, right->node->node);
    return order != 0 ? order : strcmp(left->service->id, right->service->id);
}

struct service_import *service_import_new(const struct import_scope *scope, const char *service,
                                          const Ps__ExportedService *payload)
{
    struct service_import *import = mem_zalloc(sizeof *import);
    import->scope = *scope;
    import->service = service;
    if (payload == NULL || payload->n_nodes == 0)
        return import;
    import->count = payload->n_nodes;
    import->instances = payload->nodes;
    import->by_key = mem_dup(payload->nodes, payload->n_nodes * sizeof *payload->nodes);
    qsort(import->by_key, import->count, sizeof *import->by_key, compare_instances);
    return import;
}

void service_import_free(struct service_import *import)
{
    free(import->by_key);
    free(import);
}

static bool is_listed(const struct service_import *import, const Pb__NodeService *stored)
{
    Pb__Node node = PB__NODE__INIT;
    node.node = stored->node;
    Pb__CheckServiceNode probe = PB__CHECK_SERVICE_NODE__INIT, *key = &probe;
    probe.node = &node;
    probe.service = (Pb__NodeService *)(uintptr_t)stored;
    return import->count > 0 && bsearch(&key, import->by_key, import->count, sizeof *import->by_key,
                                        compare_instances) != NULL;
}

/* Copies of what the peer sent, field by field: what is not named here does not get in. The
 * pointers are borrowed; the store copies. */

static bool put_node(struct txn *txn, const struct import_scope *scope, const Pb__Node *sent,
                     struct error *error)
{
    Pb__Node node = PB__NODE__INIT;
    node.id = sent->id;
    node.node = sent->node;
    node.address = sent->address;
    node.datacenter = sent->datacenter;
    node.n_tagged_addresses = sent->n_tagged_addresses;
    node.tagged_addresses = sent->tagged_addresses;
    node.n_meta = sent->n_meta;
    node.meta = sent->meta;
    node.partition = TEXT(scope->partition);
    node.peer_name = TEXT(scope->peer_name);
    return catalog_put_node(txn, &node, error);
}

static void copy_tagged_addresses(const Pb__NodeService *sent, Pb__NodeService *service,
                                  struct arena *arena)
{
    service->tagged_addresses = proto_array(arena, sent->n_tagged_addresses);
    for (size_t i = 0; i < sent->n_tagged_addresses; i++) {
        Pb__NodeService__TaggedAddressesEntry *entry = sent->tagged_addresses[i];
        if (entry->value != NULL && strcmp(entry->key, "consul-virtual") != 0)
            service->tagged_addresses[service->n_tagged_addresses++] = entry;
    }
}

static void copy_connect(const Pb__NodeService *sent, Pb__NodeService *service, struct arena *arena)
{
    if (sent->connect != NULL) {
        service->connect = proto_new(arena, pb__service_connect);
        service->connect->native = sent->connect->native;
        service->connect->peer_meta = sent->connect->peer_meta;
    }
    if (sent->proxy != NULL && !text_empty(sent->proxy->destination_service_name)) {
        service->proxy = proto_new(arena, pb__connect_proxy_config);
        service->proxy->destination_service_name = sent->proxy->destination_service_name;
        service->proxy->destination_service_id = sent->proxy->destination_service_id;
    }
}

static bool put_service(struct txn *txn, const struct import_scope *scope, const char *node,
                        const Pb__NodeService *sent, struct arena *arena, struct error *error)
{
    Pb__NodeService *service = proto_new(arena, pb__node_service);
    service->kind = sent->kind;
    service->id = sent->id;
    service->service = sent->service;
    service->n_tags = sent->n_tags;
    service->tags = sent->tags;
    service->address = sent->address;
    service->port = sent->port;
    service->socket_path = sent->socket_path;
    service->n_meta = sent->n_meta;
    service->meta = sent->meta;
    service->weights = sent->weights;
    service->enable_tag_override = sent->enable_tag_override;
    service->locality = sent->locality;
    copy_tagged_addresses(sent, service, arena);
    copy_connect(sent, service, arena);
    service->node = TEXT(node);
    service->peer_name = TEXT(scope->peer_name);
    service->enterprise_meta = proto_new(arena, pb__enterprise_meta);
    service->enterprise_meta->partition = TEXT(scope->partition);
    return catalog_put_service(txn, service, error);
}

static bool put_check(struct txn *txn, const struct import_scope *scope,
                      const Pb__CheckServiceNode *instance, const Pb__HealthCheck *sent,
                      struct error *error)
{
    Pb__EnterpriseMeta meta = PB__ENTERPRISE_META__INIT;
    meta.partition = TEXT(scope->partition);
    Pb__HealthCheck check = PB__HEALTH_CHECK__INIT;
    check.node = instance->node->node;
    check.check_id = sent->check_id;
    check.name = sent->name;
    check.status = sent->status;
    check.notes = sent->notes;
    check.output = sent->output;
    check.type = sent->type;
    if (!text_empty(sent->service_id)) {
        check.service_id = instance->service->id;
        check.service_name = instance->service->service;
        check.n_service_tags = instance->service->n_tags;
        check.service_tags = instance->service->tags;
    }
    check.peer_name = TEXT(scope->peer_name);
    check.enterprise_meta = &meta;
    return catalog_put_check(txn, &check, error);
}

static bool has_check(const Pb__CheckServiceNode *instance, const Pb__HealthCheck *stored)
{
    for (size_t i = 0; i < instance->n_checks; i++) {
        const Pb__HealthCheck *sent = instance->checks[i];
        if (strcmp(sent->check_id, stored->check_id) == 0 &&
            text_empty(sent->service_id) == text_empty(stored->service_id))
            return true;
    }
    return false;
}

/* Is a stored check of this instance (or, node-level, of its node) among what was sent? */
static bool is_check_listed(const struct service_import *import,
                            const Pb__CheckServiceNode *instance, const Pb__HealthCheck *stored)
{
    if (has_check(instance, stored))
        return true;
    if (!text_empty(stored->service_id))
        return false;
    for (size_t i = 0; i < import->count; i++) {
        const Pb__CheckServiceNode *sent = import->instances[i];
        if (text_equal_nocase(sent->node->node, instance->node->node) && has_check(sent, stored))
            return true;
    }
    return false;
}

static void reconcile_checks(struct txn *txn, const struct service_import *import,
                             const Pb__CheckServiceNode *instance, const char *service_id)
{
    struct tenancy tenancy = import_tenancy(&import->scope);
    struct buffer value = {0};
    size_t count;
    const struct record *const *stored =
        view_list(txn_view(txn), TABLE_CHECK, CHECK_BY_INSTANCE,
                  key_service(&value, &tenancy, instance->node->node, service_id), &count);
    struct text_list gone = {0};
    for (size_t i = 0; i < count; i++) {
        const Pb__HealthCheck *check = stored[i]->message;
        if (!is_check_listed(import, instance, check))
            text_list_add(&gone, check->check_id);
    }
    for (size_t i = 0; i < gone.count; i++)
        catalog_delete_check(txn, &tenancy, instance->node->node, gone.items[i]);
    text_list_free(&gone);
    buffer_free(&value);
}

static bool put_instance(struct txn *txn, const struct service_import *import,
                         const Pb__CheckServiceNode *instance, struct arena *arena,
                         struct error *error)
{
    const struct import_scope *scope = &import->scope;
    const Pb__NodeService *service = instance->service;
    if (!text_equal_nocase(service->service, import->service))
        return error_set(error, ERR_INVALID, "an instance belongs to service \"%s\" instead",
                         service->service);
    if (!put_node(txn, scope, instance->node, error) ||
        !put_service(txn, scope, instance->node->node, service, arena, error))
        return false;
    for (size_t i = 0; i < instance->n_checks; i++) {
        if (!put_check(txn, scope, instance, instance->checks[i], error))
            return false;
    }
    reconcile_checks(txn, import, instance, service->id);
    reconcile_checks(txn, import, instance, "");
    return true;
}

static bool put_chunk(struct service_import *import, struct txn *txn, struct error *error)
{
    size_t left = import->count - import->next;
    import->step = left < IMPORT_CHUNK ? left : IMPORT_CHUNK;
    struct arena *arena = arena_new();
    bool ok = true;
    for (size_t i = 0; ok && i < import->step; i++)
        ok = put_instance(txn, import, import->instances[import->next + i], arena, error);
    arena_free(arena);
    return ok;
}

static void delete_instance(struct txn *txn, const struct tenancy *tenancy, const char *node,
                            const char *id)
{
    catalog_delete_service(txn, tenancy, node, id);
    struct buffer value = {0};
    size_t count;
    view_list(txn_view(txn), TABLE_SERVICE, SERVICE_BY_NODE, key_node(&value, tenancy, node),
              &count);
    buffer_free(&value);
    if (count == 0)
        catalog_delete_node(txn, tenancy, node);
}

static void remove_chunk(struct service_import *import, struct txn *txn)
{
    struct tenancy tenancy = import_tenancy(&import->scope);
    struct buffer value = {0};
    size_t count;
    const struct record *const *stored =
        view_list(txn_view(txn), TABLE_SERVICE, SERVICE_BY_NAME,
                  key_named(&value, &tenancy, import->service), &count);
    struct text_list gone = {0}; /* node, id, node, id, … */
    import->more = false;
    for (size_t i = 0; i < count; i++) {
        const Pb__NodeService *service = stored[i]->message;
        if (is_listed(import, service))
            continue;
        if (gone.count == 2 * IMPORT_CHUNK) {
            import->more = true;
            break;
        }
        text_list_add(&gone, service->node);
        text_list_add(&gone, service->id);
    }
    for (size_t i = 0; i < gone.count; i += 2)
        delete_instance(txn, &tenancy, gone.items[i], gone.items[i + 1]);
    text_list_free(&gone);
    buffer_free(&value);
}

bool service_import_step(struct service_import *import, struct txn *txn, struct error *error)
{
    if (!import_is_open(txn, &import->scope, error))
        return false;
    import->removing = import->next + IMPORT_CHUNK >= import->count;
    import->step = 0;
    if (import->next < import->count && !put_chunk(import, txn, error))
        return false;
    if (import->removing)
        remove_chunk(import, txn);
    return true;
}

bool service_import_advance(struct service_import *import)
{
    import->next += import->step;
    return !import->removing || import->more;
}

/* ---- roots and addresses ---- */

static char *with_newline(const char *pem, struct arena *arena)
{
    return text_ends(pem, "\n") ? arena_strdup(arena, pem) : arena_printf(arena, "%s\n", pem);
}

/* A trust domain is a name to which proxies attach roots. Who could claim this cluster's, or that
 * of another peer, could make certificates that pass for theirs. */
static bool check_trust_domain(struct txn *txn, const struct import_scope *scope,
                               const char *trust_domain, struct error *error)
{
    if (text_equal_nocase(trust_domain, scope->own_trust_domain))
        return error_set(error, ERR_INVALID, "trust domain %s is this cluster's own", trust_domain);
    struct tenancy local = {.partition = scope->partition};
    struct buffer value = {0};
    size_t count;
    const struct record *const *bundles =
        view_list(txn_view(txn), TABLE_TRUST_BUNDLE, BY_TENANCY, key_all(&value, &local), &count);
    buffer_free(&value);
    for (size_t i = 0; i < count; i++) {
        const Pb__PeeringTrustBundle *other = bundles[i]->message;
        if (!text_equal_nocase(other->peer_name, scope->peer_name) &&
            text_equal_nocase(other->trust_domain, trust_domain))
            return error_set(error, ERR_INVALID,
                             "trust domain %s is that of peering %s; one cluster can be peered "
                             "under one name only: delete one of the two peerings",
                             trust_domain, other->peer_name);
    }
    return true;
}

bool import_roots(struct txn *txn, const struct import_scope *scope,
                  const Pb__PeeringTrustBundle *sent, struct error *error)
{
    if (!import_is_open(txn, scope, error) ||
        !check_trust_domain(txn, scope, sent->trust_domain, error))
        return false;
    const struct record *record = peering_find_by_id(txn_view(txn), scope->peering_id);
    Pb__Peering peering = *(const Pb__Peering *)record->message;
    struct arena *arena = arena_new();
    Pb__PeeringTrustBundle bundle = PB__PEERING_TRUST_BUNDLE__INIT;
    bundle.trust_domain = sent->trust_domain;
    bundle.exported_partition = sent->exported_partition;
    bundle.peer_name = peering.name;
    bundle.partition = peering.partition;
    bundle.n_root_pems = sent->n_root_pems;
    bundle.root_pems = proto_array(arena, sent->n_root_pems);
    for (size_t i = 0; i < sent->n_root_pems; i++)
        bundle.root_pems[i] = with_newline(sent->root_pems[i], arena);
    txn_put(txn, TABLE_TRUST_BUNDLE, &bundle);
    peering.n_peer_ca_pems = bundle.n_root_pems;
    peering.peer_ca_pems = bundle.root_pems;
    bool ok = peering_put(txn, &peering, error);
    arena_free(arena);
    return ok;
}

bool import_addresses(struct txn *txn, const struct import_scope *scope,
                      const Pb__PeeringServerAddresses *addresses, struct error *error)
{
    if (!import_is_open(txn, scope, error))
        return false;
    const struct record *record = peering_find_by_id(txn_view(txn), scope->peering_id);
    Pb__Peering peering = *(const Pb__Peering *)record->message;
    peering.n_peer_server_addresses = addresses->n_addresses;
    peering.peer_server_addresses = addresses->addresses;
    return peering_put(txn, &peering, error);
}
