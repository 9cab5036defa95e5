/* /v1/agent: what is asked of this agent. */
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "http/handlers.h"
#include "proto/codec_tables.h"
#include "proto/proto.h"

static const struct api_agent *agent_of(const struct api_request *request)
{
    return request->api->config.agent_class;
}

static void *self_of(const struct api_request *request)
{
    return request->api->config.agent;
}

static bool is_status(const char *status)
{
    return text_equal(status, "passing") || text_equal(status, "warning") ||
           text_equal(status, "critical");
}

/* A definition without a namespace is in the request's. */
static void set_namespace(const struct api_request *request, Pb__EnterpriseMeta **meta)
{
    if (text_empty(request->tenancy.namespace) ||
        (*meta != NULL && !text_empty((*meta)->namespace_)))
        return;
    if (*meta == NULL)
        *meta = proto_new(request->arena, pb__enterprise_meta);
    (*meta)->namespace_ = (char *)request->tenancy.namespace;
}

static struct tenancy tenancy_of(const struct api_request *request, const Pb__EnterpriseMeta *meta)
{
    struct tenancy tenancy = request->tenancy;
    if (meta != NULL && !text_empty(meta->namespace_))
        tenancy.namespace = meta->namespace_;
    return tenancy;
}

static bool check_status(struct api_request *request, const Pb__CheckDefinition *check)
{
    if (check == NULL || text_empty(check->status) || is_status(check->status))
        return true;
    api_answer_error(request, 400, "Status for checks must 'passing', 'warning', 'critical'");
    return false;
}

/* ?name=true, or bare; false if absent. */
static bool truth(const struct api_request *request, const char *name)
{
    const char *text = http_query(request->http, name, 0);
    return text != NULL && strcmp(text, "0") != 0 && strcasecmp(text, "false") != 0;
}

/* ---- services ---- */

void api_agent_register_service(struct api_request *request)
{
    Pb__ServiceDefinition *definition = api_read_message(request, &pb__service_definition__codec);
    if (definition == NULL)
        return;
    if (text_empty(definition->name)) {
        api_answer_error(request, 400, "Missing service name");
        return;
    }
    if (!check_status(request, definition->check))
        return;
    for (size_t i = 0; i < definition->n_checks; i++) {
        if (!check_status(request, definition->checks[i]))
            return;
    }
    set_namespace(request, &definition->enterprise_meta);
    agent_of(request)->register_service(self_of(request), definition,
                                        truth(request, "replace-existing-checks"), api_finish,
                                        request);
}

void api_agent_deregister_service(struct api_request *request)
{
    agent_of(request)->deregister_service(self_of(request), &request->tenancy, request->argument,
                                          api_finish, request);
}

/* ---- maintenance ---- */

static void set_maintenance(struct api_request *request, const char *service_id)
{
    const char *enable = http_query(request->http, "enable", 0);
    if (text_empty(enable)) {
        api_answer_error(request, 400, "Missing value for enable");
        return;
    }
    bool on = strcmp(enable, "1") == 0 || strcasecmp(enable, "true") == 0;
    if (!on && strcmp(enable, "0") != 0 && strcasecmp(enable, "false") != 0) {
        api_answer_error(request, 400, "Invalid value for enable: \"%s\"", enable);
        return;
    }
    const char *reason = http_query(request->http, "reason", 0);
    agent_of(request)->set_maintenance(self_of(request), &request->tenancy, service_id, on,
                                       reason == NULL ? "" : reason, api_finish, request);
}

void api_agent_service_maintenance(struct api_request *request)
{
    set_maintenance(request, request->argument);
}

void api_agent_maintenance(struct api_request *request)
{
    set_maintenance(request, NULL);
}

/* ---- checks ---- */

static bool service_is_known(struct api_request *request, const Pb__CheckDefinition *definition)
{
    if (text_empty(definition->service_id))
        return true;
    struct buffer key = {0};
    struct tenancy tenancy = tenancy_of(request, definition->enterprise_meta);
    struct view *view = view_new(request->api->config.store);
    bool known = view_get(view, TABLE_SERVICE,
                          key_service(&key, &tenancy, request->api->config.node_name,
                                      definition->service_id)) != NULL;
    view_free(view);
    buffer_free(&key);
    if (!known)
        api_answer_error(request, 404, "ServiceID \"%s\" does not exist", definition->service_id);
    return known;
}

void api_agent_register_check(struct api_request *request)
{
    Pb__CheckDefinition *definition = api_read_message(request, &pb__check_definition__codec);
    if (definition == NULL)
        return;
    if (text_empty(definition->name)) {
        api_answer_error(request, 400, "Missing check name");
        return;
    }
    set_namespace(request, &definition->enterprise_meta);
    if (check_status(request, definition) && service_is_known(request, definition))
        agent_of(request)->register_check(self_of(request), definition, api_finish, request);
}

void api_agent_deregister_check(struct api_request *request)
{
    agent_of(request)->deregister_check(self_of(request), &request->tenancy, request->argument,
                                        api_finish, request);
}

static void update_check(struct api_request *request, const char *status, const char *output)
{
    agent_of(request)->update_check(self_of(request), &request->tenancy, request->argument, status,
                                    output == NULL ? "" : output, api_finish, request);
}

void api_agent_pass_check(struct api_request *request)
{
    update_check(request, "passing", http_query(request->http, "note", 0));
}

void api_agent_warn_check(struct api_request *request)
{
    update_check(request, "warning", http_query(request->http, "note", 0));
}

void api_agent_fail_check(struct api_request *request)
{
    update_check(request, "critical", http_query(request->http, "note", 0));
}

void api_agent_update_check(struct api_request *request)
{
    /* {Status, Output} are two of a check's fields. */
    Pb__HealthCheck *update = api_read_message(request, &pb__health_check__codec);
    if (update == NULL)
        return;
    if (!is_status(update->status)) {
        api_answer_error(request, 400, "Invalid check status: '%s'", update->status);
        return;
    }
    update_check(request, update->status, update->output);
}

/* ---- the agent itself ---- */

void api_agent_reload(struct api_request *request)
{
    agent_of(request)->reload(self_of(request), api_finish, request);
}

void api_agent_leave(struct api_request *request)
{
    const struct api_agent *class = agent_of(request);
    void *agent = self_of(request);
    api_finish(request, NULL);
    class->leave(agent);
}

/* The host of "host", "host:port" or "[host]:port" is `host`. */
static bool is_host(const char *address, const char *host)
{
    if (*address == '[')
        address++;
    size_t length = strlen(host);
    return strncmp(address, host, length) == 0 && strchr(":]", address[length]) != NULL;
}

/* There is no gossip: an agent is joined with itself and with nobody else. */
void api_agent_join(struct api_request *request)
{
    if (is_host(request->argument, request->api->config.advertise_address))
        api_finish(request, NULL);
    else
        api_answer_error(request, 500,
                         "1 error occurred:\n\t* Failed to join %s: agents of Pons do not join "
                         "each other; clusters are connected by peering\n\n",
                         request->argument);
}

/* A node that is known stays what it is: only its own agent ends it. */
void api_agent_force_leave(struct api_request *request)
{
    struct buffer key = {0};
    struct view *view = view_new(request->api->config.store);
    const struct tenancy tenancy = TENANCY_DEFAULT;
    bool known = view_get(view, TABLE_NODE, key_node(&key, &tenancy, request->argument)) != NULL;
    view_free(view);
    buffer_free(&key);
    if (known)
        api_finish(request, NULL);
    else
        api_answer_error(request, 500, "agent: No node found with name '%s'", request->argument);
}
