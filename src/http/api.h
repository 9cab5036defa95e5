/* The HTTP API: Consul's routes over the store.
 *
 * The API is a table (routes.c): one row a route, with method, path, handler and what it takes.
 * One file a family of endpoints: agent.c, catalog.c, health.c, config.c, connect.c, peering.c,
 * status.c. What an agent does for its own node (register, run checks, leave) it offers as
 * `struct api_agent`, since agent/ stands below http/. */
#pragma once

#include "ca/authority.h"
#include "consul/service.pb-c.h"
#include "net/http_server.h"
#include "peering/peering.h"
#include "store/store.h"

/* `error` NULL: done and durable. Never called from inside of the call that asked. */
typedef void api_done_fn(void *arg, const struct error *error);

struct api_agent {
    /* Registers with sidecar and checks; ERR_INVALID is answered 400, the rest 500. */
    void (*register_service)(void *agent, const Pb__ServiceDefinition *definition,
                             bool replace_existing_checks, api_done_fn *done, void *arg);
    /* ERR_NOT_FOUND: `Unknown service ID "x". Ensure that the service ID is passed, not the service
     * name.` */
    void (*deregister_service)(void *agent, const struct tenancy *tenancy, const char *service_id,
                               api_done_fn *done, void *arg);
    void (*register_check)(void *agent, const Pb__CheckDefinition *definition, api_done_fn *done,
                           void *arg);
    void (*deregister_check)(void *agent, const struct tenancy *tenancy, const char *check_id,
                             api_done_fn *done, void *arg);
    /* The outside reports a TTL check; `status` is passing, warning or critical. */
    void (*update_check)(void *agent, const struct tenancy *tenancy, const char *check_id,
                         const char *status, const char *output, api_done_fn *done, void *arg);
    /* service_id NULL: the whole node. */
    void (*set_maintenance)(void *agent, const struct tenancy *tenancy, const char *service_id,
                            bool enable, const char *reason, api_done_fn *done, void *arg);
    void (*reload)(void *agent, api_done_fn *done, void *arg);
    void (*leave)(void *agent);
    /* Appends the values of /v1/agent/self's keys Config, DebugConfig, Stats, Meta, xDS as JSON
     * members:
     * `"Config":{…},"DebugConfig":{…},…` */
    void (*describe)(void *agent, struct buffer *output);
};

struct api_config {
    struct loop *loop;
    struct store *store;
    struct authority *authority; /* NULL: connect is disabled */
    struct peerings *peerings;   /* NULL: peering is disabled */
    const char *datacenter, *node_name, *node_id;
    const char *advertise_address; /* what /v1/status/leader shows, with the server port */
    uint16_t server_port;
    bool default_allow; /* default intention and ACL policy */
    bool server;
    const struct api_agent *agent_class;
    void *agent;
};

struct api;

struct api *api_new(const struct api_config *config);
/* The handler for http_server_new; arg is the api. */
void api_handle(void *api, struct http_request *request);
void api_free(struct api *api); /* after the servers that use it */
