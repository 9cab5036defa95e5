#include "agent/local.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "catalog/catalog.h"
#include "proto/proto.h"

struct local {
    struct local_config config;
    char *node;
};

/* One operation on its way through the store. */
struct operation {
    struct local *local;
    struct arena *arena;
    struct tenancy tenancy;
    const char *id; /* service or check */
    const Pb__ServiceDefinition *service;
    const Pb__CheckDefinition *check;
    const struct local_files *files;
    bool from_file;
    bool flag;                 /* replace checks, ttl only, or enable maintenance */
    const char *status, *text; /* of a check; reason of a maintenance */
    api_done_fn *done;
    void *arg;
};

struct local *local_new(const struct local_config *config)
{
    struct local *local = mem_zalloc(sizeof *local);
    local->config = *config;
    local->node = mem_strdup(config->node);
    return local;
}

void local_free(struct local *local)
{
    if (local == NULL)
        return;
    free(local->node);
    free(local);
}

static struct operation *operation_new(struct local *local, const struct tenancy *tenancy,
                                       const char *id, api_done_fn *done, void *arg)
{
    struct arena *arena = arena_new();
    struct operation *operation = arena_alloc(arena, sizeof *operation);
    *operation = (struct operation){
        .local = local,
        .arena = arena,
        .id = arena_strdup(arena, id),
        .done = done,
        .arg = arg,
    };
    if (tenancy != NULL) {
        operation->tenancy.partition = arena_strdup(arena, tenancy->partition);
        operation->tenancy.namespace = arena_strdup(arena, tenancy->namespace);
    }
    return operation;
}

static void operation_done(void *arg, const struct error *error, uint64_t index)
{
    (void)index;
    struct operation *operation = arg;
    if (operation->done != NULL)
        operation->done(operation->arg, error);
    arena_free(operation->arena);
}

static void operation_run(struct operation *operation, txn_fn *fn)
{
    store_commit(operation->local->config.store, fn, operation_done, operation);
}

static struct definition_target target_of(const struct local *local)
{
    return (struct definition_target){local->node, local->config.allow_scripts};
}

/* ---- reading inside of a transaction ---- */

static const Pb__HealthCheck *find_check(struct txn *txn, const struct operation *operation,
                                         const char *check_id)
{
    struct buffer key = {0};
    const struct record *record =
        view_get(txn_view(txn), TABLE_CHECK,
                 key_check(&key, &operation->tenancy, operation->local->node, check_id));
    buffer_free(&key);
    return record != NULL ? record->message : NULL;
}

static const Pb__NodeService *find_service(struct txn *txn, const struct operation *operation,
                                           const char *service_id)
{
    struct buffer key = {0};
    const struct record *record =
        view_get(txn_view(txn), TABLE_SERVICE,
                 key_service(&key, &operation->tenancy, operation->local->node, service_id));
    buffer_free(&key);
    return record != NULL ? record->message : NULL;
}

/* ---- services ---- */

/* A check that was there before keeps what it has found out. */
static bool put_check(struct txn *txn, const struct operation *operation, Pb__HealthCheck *check,
                      struct error *error)
{
    const Pb__HealthCheck *before = find_check(txn, operation, check->check_id);
    if (before != NULL && strcmp(before->type, check->type) == 0) {
        check->status = before->status;
        check->output = before->output;
    }
    check->from_file = operation->from_file;
    return catalog_put_check(txn, check, error);
}

static void drop_other_checks(struct txn *txn, const struct operation *operation,
                              const struct expanded_service *expanded)
{
    struct buffer value = {0};
    size_t count;
    struct tenancy tenancy = operation->tenancy;
    key_service(&value, &tenancy, operation->local->node, expanded->service->id);
    const struct record *const *records =
        view_list(txn_view(txn), TABLE_CHECK, CHECK_BY_INSTANCE, &value, &count);
    buffer_free(&value);
    for (size_t i = 0; i < count; i++) {
        const Pb__HealthCheck *check = records[i]->message;
        bool kept = text_starts(check->check_id, "_service_maintenance:");
        for (size_t j = 0; j < expanded->check_count && !kept; j++)
            kept = strcmp(expanded->checks[j]->check_id, check->check_id) == 0;
        if (!kept)
            catalog_delete_check(txn, &tenancy, operation->local->node, check->check_id);
    }
}

static bool put_expanded(struct txn *txn, const struct operation *operation,
                         const struct expanded_service *expanded, struct error *error)
{
    expanded->service->from_file = operation->from_file;
    if (!catalog_put_service(txn, expanded->service, error))
        return false;
    if (operation->flag)
        drop_other_checks(txn, operation, expanded);
    for (size_t i = 0; i < expanded->check_count; i++) {
        if (!put_check(txn, operation, expanded->checks[i], error))
            return false;
    }
    return true;
}

static bool port_taken(const struct record *const *services, size_t count, int32_t port)
{
    for (size_t i = 0; i < count; i++) {
        if (((const Pb__NodeService *)services[i]->message)->port == port)
            return true;
    }
    return false;
}

/* A sidecar that is registered again keeps its port; a new one gets the lowest free. */
static bool allot_sidecar_port(struct txn *txn, const struct operation *operation,
                               Pb__ServiceDefinition *sidecar, struct error *error)
{
    const Pb__NodeService *before = find_service(txn, operation, sidecar->id);
    if (before != NULL && before->port != 0) {
        sidecar->port = before->port;
        return true;
    }
    const struct local_config *config = &operation->local->config;
    if (config->sidecar_min_port == 0 || config->sidecar_max_port < config->sidecar_min_port)
        return error_set(
            error, ERR_INVALID,
            "no port provided for sidecar_service \"%s\", and none are to be allotted: "
            "ports.sidecar_min_port is 0",
            sidecar->id);
    struct buffer value = {0};
    size_t count;
    struct tenancy tenancy = operation->tenancy;
    key_node(&value, &tenancy, operation->local->node);
    const struct record *const *services =
        view_list(txn_view(txn), TABLE_SERVICE, SERVICE_BY_NODE, &value, &count);
    buffer_free(&value);
    for (int32_t port = config->sidecar_min_port; port <= config->sidecar_max_port; port++) {
        if (!port_taken(services, count, port)) {
            sidecar->port = port;
            return true;
        }
    }
    return error_set(error, ERR_EXHAUSTED,
                     "none left in the configured sidecar_service port range %u-%u for sidecar "
                     "\"%s\": deregister services, or widen ports.sidecar_min_port and "
                     "ports.sidecar_max_port",
                     config->sidecar_min_port, config->sidecar_max_port, sidecar->id);
}

static bool register_sidecar(struct txn *txn, const struct operation *operation,
                             const char *parent_id, struct error *error)
{
    struct error refused = {0};
    Pb__ServiceDefinition *sidecar =
        definition_sidecar(operation->service, operation->arena, &refused);
    if (sidecar == NULL)
        return refused.code == ERR_NONE || error_set(error, refused.code, "%s", refused.message);
    if (sidecar->port == 0 && !allot_sidecar_port(txn, operation, sidecar, error))
        return false;
    definition_sidecar_checks(sidecar, parent_id, operation->arena);
    struct definition_target target = target_of(operation->local);
    struct expanded_service expanded;
    if (!definition_expand_service(&target, sidecar, operation->arena, &expanded, error))
        return false;
    expanded.service->locally_registered_as_sidecar = true;
    return put_expanded(txn, operation, &expanded, error);
}

static bool register_service(struct txn *txn, void *arg, struct error *error)
{
    struct operation *operation = arg;
    struct definition_target target = target_of(operation->local);
    struct expanded_service expanded;
    return definition_expand_service(&target, operation->service, operation->arena, &expanded,
                                     error) &&
           put_expanded(txn, operation, &expanded, error) &&
           register_sidecar(txn, operation, expanded.service->id, error);
}

static struct tenancy tenancy_of(const Pb__EnterpriseMeta *meta)
{
    if (meta == NULL)
        return TENANCY_DEFAULT;
    return (struct tenancy){.partition = meta->partition, .namespace = meta->namespace_};
}

void local_register_service(struct local *local, const Pb__ServiceDefinition *definition,
                            bool replace_existing_checks, api_done_fn *done, void *arg)
{
    struct tenancy tenancy = tenancy_of(definition->enterprise_meta);
    struct operation *operation = operation_new(local, &tenancy, NULL, done, arg);
    operation->service = proto_copy(definition, operation->arena);
    operation->flag = replace_existing_checks;
    operation_run(operation, register_service);
}

static bool deregister_service(struct txn *txn, void *arg, struct error *error)
{
    struct operation *operation = arg;
    const Pb__NodeService *service = find_service(txn, operation, operation->id);
    if (service == NULL || !service->registered_by_agent)
        return error_set(error, ERR_NOT_FOUND,
                         "Unknown service ID \"%s\". Ensure that the service ID is passed, not the "
                         "service name.",
                         operation->id);
    const char *sidecar_id = arena_printf(operation->arena, "%s-sidecar-proxy", operation->id);
    const Pb__NodeService *sidecar = find_service(txn, operation, sidecar_id);
    if (sidecar != NULL && sidecar->locally_registered_as_sidecar)
        catalog_delete_service(txn, &operation->tenancy, operation->local->node, sidecar_id);
    catalog_delete_service(txn, &operation->tenancy, operation->local->node, operation->id);
    return true;
}

void local_deregister_service(struct local *local, const struct tenancy *tenancy,
                              const char *service_id, api_done_fn *done, void *arg)
{
    operation_run(operation_new(local, tenancy, service_id, done, arg), deregister_service);
}

/* ---- checks ---- */

static bool register_check(struct txn *txn, void *arg, struct error *error)
{
    struct operation *operation = arg;
    const Pb__CheckDefinition *definition = operation->check;
    const Pb__NodeService *service = NULL;
    if (!text_empty(definition->service_id)) {
        service = find_service(txn, operation, definition->service_id);
        if (service == NULL)
            return error_set(
                error, ERR_NOT_FOUND,
                "ServiceID \"%s\" does not exist: register the service before its check",
                definition->service_id);
    }
    struct definition_target target = target_of(operation->local);
    Pb__HealthCheck *check =
        definition_expand_check(&target, definition, service, operation->arena, error);
    return check != NULL && put_check(txn, operation, check, error);
}

void local_register_check(struct local *local, const Pb__CheckDefinition *definition,
                          api_done_fn *done, void *arg)
{
    struct tenancy tenancy = tenancy_of(definition->enterprise_meta);
    struct operation *operation = operation_new(local, &tenancy, NULL, done, arg);
    operation->check = proto_copy(definition, operation->arena);
    operation_run(operation, register_check);
}

static bool unknown_check(const struct operation *operation, struct error *error)
{
    return error_set(error, ERR_NOT_FOUND,
                     "Unknown check ID \"%s\". Ensure that the check ID is passed, not the check "
                     "name.",
                     operation->id);
}

static bool deregister_check(struct txn *txn, void *arg, struct error *error)
{
    struct operation *operation = arg;
    if (find_check(txn, operation, operation->id) == NULL)
        return unknown_check(operation, error);
    catalog_delete_check(txn, &operation->tenancy, operation->local->node, operation->id);
    return true;
}

void local_deregister_check(struct local *local, const struct tenancy *tenancy,
                            const char *check_id, api_done_fn *done, void *arg)
{
    operation_run(operation_new(local, tenancy, check_id, done, arg), deregister_check);
}

static bool update_check(struct txn *txn, void *arg, struct error *error)
{
    struct operation *operation = arg;
    const Pb__HealthCheck *before = find_check(txn, operation, operation->id);
    if (before == NULL)
        return unknown_check(operation, error);
    if (operation->flag && strcmp(before->type, "ttl") != 0)
        return error_set(error, ERR_NOT_FOUND, "CheckID \"%s\" does not have associated TTL",
                         operation->id);
    Pb__HealthCheck *check = proto_copy(before, operation->arena);
    check->status = (char *)operation->status;
    check->output = (char *)operation->text;
    return catalog_put_check(txn, check, error);
}

void local_update_check(struct local *local, const struct tenancy *tenancy, const char *check_id,
                        const char *status, const char *output, bool ttl_only, api_done_fn *done,
                        void *arg)
{
    struct operation *operation = operation_new(local, tenancy, check_id, done, arg);
    operation->status = arena_strdup(operation->arena, status);
    operation->text = arena_strdup(operation->arena, output != NULL ? output : "");
    operation->flag = ttl_only;
    operation_run(operation, update_check);
}

/* ---- definitions of files ---- */

static bool in_services(const struct local_files *files, const char *id)
{
    for (size_t i = 0; i < files->service_count; i++) {
        const Pb__ServiceDefinition *service = files->services[i];
        if (text_equal_nocase(text_empty(service->id) ? service->name : service->id, id))
            return true;
    }
    return false;
}

static bool in_checks(const struct local_files *files, const char *id)
{
    for (size_t i = 0; i < files->check_count; i++) {
        const Pb__CheckDefinition *check = files->checks[i];
        if (text_equal(text_empty(check->id) ? check->name : check->id, id))
            return true;
    }
    return false;
}

/* What came from a file that no longer has it goes; a sidecar goes with its parent. */
static void drop_left_files(struct txn *txn, const struct operation *operation)
{
    struct buffer value = {0};
    size_t count;
    struct view *view = txn_view(txn);
    key_node(&value, &operation->tenancy, operation->local->node);
    const struct record *const *services =
        view_list(view, TABLE_SERVICE, SERVICE_BY_NODE, &value, &count);
    for (size_t i = 0; i < count; i++) {
        const Pb__NodeService *service = services[i]->message;
        const char *id = service->id;
        if (service->locally_registered_as_sidecar && service->proxy != NULL)
            id = service->proxy->destination_service_id;
        if (service->from_file && !in_services(operation->files, id))
            catalog_delete_service(txn, &operation->tenancy, operation->local->node, service->id);
    }
    const struct record *const *checks =
        view_list(view, TABLE_CHECK, CHECK_BY_NODE, &value, &count);
    for (size_t i = 0; i < count; i++) {
        const Pb__HealthCheck *check = checks[i]->message;
        if (check->from_file && text_empty(check->service_id) &&
            !in_checks(operation->files, check->check_id))
            catalog_delete_check(txn, &operation->tenancy, operation->local->node, check->check_id);
    }
    buffer_free(&value);
}

static bool apply_files(struct txn *txn, void *arg, struct error *error)
{
    struct operation *operation = arg;
    const struct local_files *files = operation->files;
    drop_left_files(txn, operation);
    for (size_t i = 0; i < files->service_count; i++) {
        operation->service = files->services[i];
        if (!register_service(txn, operation, error))
            return false;
    }
    for (size_t i = 0; i < files->check_count; i++) {
        operation->check = files->checks[i];
        if (!register_check(txn, operation, error))
            return false;
    }
    return true;
}

void local_apply_files(struct local *local, const struct local_files *files, api_done_fn *done,
                       void *arg)
{
    struct operation *operation = operation_new(local, NULL, NULL, done, arg);
    operation->files = files;
    operation->from_file = true;
    operation->flag = true;
    operation_run(operation, apply_files);
}

/* ---- maintenance ---- */

static bool set_maintenance(struct txn *txn, void *arg, struct error *error)
{
    struct operation *operation = arg;
    const Pb__NodeService *service = NULL;
    const char *check_id = "_node_maintenance";
    if (operation->id != NULL) {
        service = find_service(txn, operation, operation->id);
        if (service == NULL)
            return error_set(error, ERR_NOT_FOUND,
                             "Unknown service ID \"%s\". Ensure that the service ID is passed, not "
                             "the service name.",
                             operation->id);
        check_id = arena_printf(operation->arena, "_service_maintenance:%s", operation->id);
    }
    if (!operation->flag) {
        catalog_delete_check(txn, &operation->tenancy, operation->local->node, check_id);
        return true;
    }
    Pb__HealthCheck *check = proto_new(operation->arena, pb__health_check);
    check->node = operation->local->node;
    check->check_id = (char *)check_id;
    check->name = (char *)(service != NULL ? "Service Maintenance Mode" : "Node Maintenance Mode");
    check->status = (char *)"critical";
    check->type = (char *)"maintenance";
    check->notes = (char *)operation->text;
    if (service != NULL) {
        check->service_id = service->id;
        check->service_name = service->service;
        check->enterprise_meta = service->enterprise_meta;
    }
    return catalog_put_check(txn, check, error);
}

void local_set_maintenance(struct local *local, const struct tenancy *tenancy,
                           const char *service_id, bool enable, const char *reason,
                           api_done_fn *done, void *arg)
{
    struct operation *operation = operation_new(local, tenancy, service_id, done, arg);
    operation->flag = enable;
    if (text_empty(reason))
        reason =
            service_id != NULL
                ? "Maintenance mode is enabled for this service, but no reason was provided. "
                  "This is a default message."
                : "Maintenance mode is enabled for this node, but no reason was provided. This "
                  "is a default message.";
    operation->text = arena_strdup(operation->arena, reason);
    operation_run(operation, set_maintenance);
}
