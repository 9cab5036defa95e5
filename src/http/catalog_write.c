/* /v1/catalog/register and /deregister: for what no agent looks after. */
#include "catalog/catalog.h"

#include <string.h>
#include <strings.h>

#include "base/ident.h"
#include "base/text.h"
#include "http/handlers.h"
#include "proto/codec_tables.h"
#include "proto/proto.h"

#define CHECKS_MAX 4096

struct registration {
    Pb__Node *node;
    bool skip_node;
    Pb__NodeService *service;
    size_t check_count;
    Pb__HealthCheck **checks;
};

/* A member of an object by name in any case; JSON null counts as absent. */
static json_t *member(json_t *object, const char *name)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        if (strcasecmp(key, name) == 0 && !json_is_null(value))
            return value;
    }
    return NULL;
}

static const char *text_member(json_t *object, const char *name)
{
    const char *text = json_string_value(member(object, name));
    return text == NULL ? "" : text;
}

static void *read_part(struct api_request *request, const struct codec_message *type, json_t *value,
                       const char *place, struct error *error)
{
    void *message = codec_read(type, value, CODEC_WEAK, request->arena, error);
    if (message == NULL)
        error_prefix(error, "%s", place);
    return message;
}

/* The body's top level is a node whose metadata has another name. */
static Pb__Node *read_node(struct api_request *request, json_t *body, struct error *error)
{
    Pb__Node *node = codec_read(&pb__node__codec, body, CODEC_IGNORE_UNKNOWN | CODEC_WEAK,
                                request->arena, error);
    if (node == NULL)
        error_prefix(error, "Request decode failed: ");
    json_t *meta = member(body, "NodeMeta");
    if (node == NULL || meta == NULL)
        return node;
    json_t *wrapped = json_pack("{s:O}", "Meta", meta);
    Pb__Node *with_meta =
        read_part(request, &pb__node__codec, wrapped, "Request decode failed: NodeMeta: ", error);
    json_decref(wrapped);
    if (with_meta == NULL)
        return NULL;
    node->n_meta = with_meta->n_meta;
    node->meta = with_meta->meta;
    return node;
}

static bool read_check(struct api_request *request, struct registration *registration,
                       json_t *value, struct error *error)
{
    Pb__HealthCheck *check = read_part(request, &pb__health_check__codec, value,
                                       "Request decode failed: Check: ", error);
    if (check != NULL)
        registration->checks[registration->check_count++] = check;
    if (check != NULL && !text_empty(check->status) && !text_equal(check->status, "passing") &&
        !text_equal(check->status, "warning") && !text_equal(check->status, "critical"))
        return error_set(error, ERR_INVALID,
                         "Status for checks must 'passing', 'warning', 'critical': check \"%s\" "
                         "has \"%s\"",
                         text_empty(check->check_id) ? check->name : check->check_id,
                         check->status);
    return check != NULL;
}

static bool read_checks(struct api_request *request, struct registration *registration,
                        json_t *body, struct error *error)
{
    json_t *one = member(body, "Check"), *many = member(body, "Checks"), *value;
    size_t count = json_array_size(many), i;
    if (count > CHECKS_MAX)
        return error_set(error, ERR_INVALID, "Request decode failed: Checks: more than %d",
                         CHECKS_MAX);
    registration->checks = proto_array(request->arena, count + 1);
    if (one != NULL && !read_check(request, registration, one, error))
        return false;
    json_array_foreach(many, i, value)
    {
        if (!read_check(request, registration, value, error))
            return false;
    }
    return true;
}

/* What the parts leave out, the registration says. */
static void fill_in(struct api_request *request, struct registration *registration)
{
    Pb__Node *node = registration->node;
    Pb__NodeService *service = registration->service;
    if (text_empty(node->datacenter))
        node->datacenter = (char *)request->api->config.datacenter;
    if (service != NULL) {
        service->node = node->node;
        if (text_empty(service->peer_name))
            service->peer_name = node->peer_name;
        if (text_empty(service->id))
            service->id = service->service;
    }
    for (size_t i = 0; i < registration->check_count; i++) {
        Pb__HealthCheck *check = registration->checks[i];
        if (text_empty(check->node))
            check->node = node->node;
        if (text_empty(check->peer_name))
            check->peer_name = node->peer_name;
        if (text_empty(check->check_id))
            check->check_id = check->name;
    }
}

static bool read_registration(struct api_request *request, json_t *body,
                              struct registration *registration, struct error *error)
{
    static const char *const known[] = {
        "Datacenter", "ID",        "Node",      "Address",        "TaggedAddresses", "NodeMeta",
        "Service",    "Check",     "Checks",    "SkipNodeUpdate", "Locality",        "PeerName",
        "Token",      "Namespace", "Partition", "CreateIndex",    "ModifyIndex",     NULL};
    if (!api_check_keys(body, known, error))
        return false;
    registration->node = read_node(request, body, error);
    if (registration->node == NULL)
        return false;
    registration->skip_node = json_is_true(member(body, "SkipNodeUpdate"));
    json_t *service = member(body, "Service");
    if (service != NULL) {
        registration->service = read_part(request, &pb__node_service__codec, service,
                                          "Request decode failed: Service: ", error);
        if (registration->service == NULL)
            return false;
    }
    if (!read_checks(request, registration, body, error))
        return false;
    const char *datacenter = registration->node->datacenter;
    if (!text_empty(datacenter) && !text_equal_nocase(datacenter, request->api->config.datacenter))
        return error_set(error, ERR_INTERNAL, "No path to datacenter");
    if (text_empty(registration->node->node))
        return error_set(error, ERR_INVALID, "Must provide node");
    if (text_empty(registration->node->address) && !registration->skip_node)
        return error_set(error, ERR_INVALID, "Must provide address if SkipNodeUpdate is not set");
    fill_in(request, registration);
    for (size_t i = 0; i < registration->check_count; i++) {
        const Pb__HealthCheck *check = registration->checks[i];
        if (!text_equal_nocase(check->node, registration->node->node))
            return error_set(error, ERR_INVALID,
                             "Node '%s' for check '%s' doesn't match register request node '%s'",
                             check->node, text_empty(check->name) ? check->check_id : check->name,
                             registration->node->node);
    }
    return true;
}

/* A node that is known and not to be changed is left alone. */
static bool node_stays(struct txn *txn, const struct registration *registration)
{
    struct buffer key = {0};
    struct tenancy tenancy = catalog_node_tenancy(registration->node);
    bool known = view_get(txn_view(txn), TABLE_NODE,
                          key_node(&key, &tenancy, registration->node->node)) != NULL;
    buffer_free(&key);
    return known && registration->skip_node;
}

static bool put_registration(struct txn *txn, void *arg, struct error *error)
{
    const struct api_request *request = arg;
    const struct registration *registration = request->state;
    if (!node_stays(txn, registration) && !catalog_put_node(txn, registration->node, error))
        return false;
    if (registration->service != NULL && !catalog_put_service(txn, registration->service, error))
        return false;
    for (size_t i = 0; i < registration->check_count; i++) {
        if (!catalog_put_check(txn, registration->checks[i], error))
            return false;
    }
    return true;
}

void api_catalog_register(struct api_request *request)
{
    json_t *body = api_read_body(request);
    if (body == NULL)
        return;
    struct registration *registration = arena_alloc(request->arena, sizeof *registration);
    struct error error = {0};
    bool fine = read_registration(request, body, registration, &error);
    json_decref(body);
    if (!fine) {
        api_finish(request, &error);
        return;
    }
    request->state = registration;
    request->success = "true";
    api_commit(request, put_registration);
}

/* ---- deregistration ---- */

struct deregistration {
    struct tenancy tenancy;
    const char *node, *service, *check;
};

static bool delete_registration(struct txn *txn, void *arg, struct error *error)
{
    (void)error;
    const struct api_request *request = arg;
    const struct deregistration *gone = request->state;
    if (*gone->service != '\0')
        catalog_delete_service(txn, &gone->tenancy, gone->node, gone->service);
    else if (*gone->check != '\0')
        catalog_delete_check(txn, &gone->tenancy, gone->node, gone->check);
    else
        catalog_delete_node(txn, &gone->tenancy, gone->node);
    return true;
}

void api_catalog_deregister(struct api_request *request)
{
    json_t *body = api_read_body(request);
    if (body == NULL)
        return;
    static const char *const known[] = {"Datacenter", "Node",      "Address",   "ServiceID",
                                        "CheckID",    "Namespace", "Partition", "PeerName",
                                        "Token",      NULL};
    struct error error = {0};
    if (!api_check_keys(body, known, &error)) {
        json_decref(body);
        api_finish(request, &error);
        return;
    }
    struct deregistration *gone = arena_alloc(request->arena, sizeof *gone);
    const char *namespace = text_member(body, "Namespace");
    const char *datacenter = text_member(body, "Datacenter");
    bool here =
        *datacenter == '\0' || text_equal_nocase(datacenter, request->api->config.datacenter);
    gone->tenancy = request->tenancy;
    if (*namespace != '\0')
        gone->tenancy.namespace = arena_strdup(request->arena, namespace);
    gone->tenancy.peer = arena_strdup(request->arena, text_member(body, "PeerName"));
    gone->node = arena_strdup(request->arena, text_member(body, "Node"));
    gone->service = arena_strdup(request->arena, text_member(body, "ServiceID"));
    gone->check = arena_strdup(request->arena, text_member(body, "CheckID"));
    json_decref(body);
    if (*gone->node == '\0') {
        api_answer_error(request, 400, "Must provide node");
        return;
    }
    if (!here) {
        api_answer_error(request, 500, "No path to datacenter");
        return;
    }
    request->state = gone;
    request->success = "true";
    api_commit(request, delete_registration);
}
