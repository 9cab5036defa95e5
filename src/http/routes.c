/* The API as a table: one row a route. Router, documentation and tests read it. */
#include <string.h>

#include "base/text.h"
#include "http/handlers.h"
#include "http/shapes.h"

/* What lists of the catalog and its health have in common. */
#define CATALOG (ROUTE_INDEXED | ROUTE_CONSISTENCY | ROUTE_SHARED)
#define LEAF (ROUTE_AGENT | ROUTE_INDEXED | ROUTE_INDEX_ALONE | ROUTE_CONNECT | ROUTE_CACHED)
#define READ(path, flags, handler, missing, permission, filter)        \
    {                                                                  \
        "GET", path, flags, handler, NULL, missing, permission, filter \
    }
#define WRITE(method, path, flags, handler, missing, permission)      \
    {                                                                 \
        method, path, flags, NULL, handler, missing, permission, NULL \
    }

#define INTENTIONS(base)                                                                          \
    READ(base, ROUTE_INDEXED, api_intentions_list, NULL, "intentions:read", NULL),                \
        WRITE("POST", base, 0, api_intentions_create, NULL, "intentions:write"),                  \
        READ(base "/match", ROUTE_INDEXED | ROUTE_CONSISTENCY, api_intentions_match, NULL,        \
             "intentions:read", NULL),                                                            \
        READ(base "/check", 0, api_intentions_check, NULL, "intentions:read", NULL),              \
        READ(base "/exact", ROUTE_CONSISTENCY, api_intentions_exact, NULL, "intentions:read",     \
             NULL),                                                                               \
        WRITE("PUT", base "/exact", 0, api_intentions_put_exact, NULL, "intentions:write"),       \
        WRITE("DELETE", base "/exact", 0, api_intentions_delete_exact, NULL, "intentions:write"), \
        READ(base "/", ROUTE_CONSISTENCY, api_intentions_get, "Missing intention ID",             \
             "intentions:read", NULL),                                                            \
        WRITE("PUT", base "/", 0, api_intentions_update, "Missing intention ID",                  \
              "intentions:write"),                                                                \
        WRITE("DELETE", base "/", 0, api_intentions_delete, "Missing intention ID",               \
              "intentions:write")

const struct route api_routes[] = {
    READ("/v1/health/service/", CATALOG | ROUTE_STREAMING | ROUTE_PEER, api_health_service,
         "Missing service name", "service:read", &filter_health),
    READ("/v1/health/connect/", CATALOG | ROUTE_STREAMING | ROUTE_PEER, api_health_connect,
         "Missing service name", "service:read", &filter_health),
    READ("/v1/health/ingress/", CATALOG | ROUTE_PEER, api_health_ingress, "Missing service name",
         "service:read", &filter_health),
    READ("/v1/health/checks/", CATALOG, api_health_checks, "Missing service name", "service:read",
         &filter_check),
    READ("/v1/health/node/", CATALOG, api_health_node, "Missing node name", "node:read",
         &filter_check),
    READ("/v1/health/state/", CATALOG, api_health_state, "Missing check state", "node:read",
         &filter_check),

    READ("/v1/catalog/datacenters", 0, api_catalog_datacenters, NULL, "", NULL),
    READ("/v1/catalog/nodes", CATALOG, api_catalog_nodes, NULL, "node:read", &filter_node),
    READ("/v1/catalog/services", CATALOG, api_catalog_services, NULL, "service:read",
         &filter_catalog_service),
    READ("/v1/catalog/service/", CATALOG | ROUTE_PEER, api_catalog_service, "Missing service name",
         "service:read", &filter_catalog_service),
    READ("/v1/catalog/connect/", CATALOG | ROUTE_PEER, api_catalog_connect, "Missing service name",
         "service:read", &filter_catalog_service),
    READ("/v1/catalog/node/", CATALOG, api_catalog_node, "Missing node name", "node:read",
         &filter_node_service),
    READ("/v1/catalog/node-services/", CATALOG, api_catalog_node_services, "Missing node name",
         "node:read", &filter_node_service),
    READ("/v1/catalog/gateway-services/", CATALOG, api_catalog_gateway_services,
         "Missing gateway name", "service:read", NULL),
    WRITE("PUT", "/v1/catalog/register", 0, api_catalog_register, NULL, "node:write"),
    WRITE("PUT", "/v1/catalog/deregister", 0, api_catalog_deregister, NULL, "node:write"),

    READ("/v1/agent/self", ROUTE_AGENT, api_agent_self, NULL, "agent:read", NULL),
    READ("/v1/agent/members", ROUTE_AGENT, api_agent_members, NULL, "node:read", &filter_member),
    READ("/v1/agent/metrics", ROUTE_AGENT, api_agent_metrics, NULL, "agent:read", NULL),
    READ("/v1/agent/host", ROUTE_AGENT, api_agent_host, NULL, "operator:read", NULL),
    WRITE("GET", "/v1/agent/monitor", ROUTE_AGENT, api_agent_monitor, NULL, "agent:read"),
    READ("/v1/agent/version", ROUTE_AGENT, api_agent_version, NULL, "agent:read", NULL),
    READ("/v1/agent/services", ROUTE_AGENT, api_agent_services, NULL, "service:read",
         &filter_agent_service),
    READ("/v1/agent/service/", ROUTE_AGENT, api_agent_service, "Missing service ID", "service:read",
         NULL),
    READ("/v1/agent/checks", ROUTE_AGENT, api_agent_checks, NULL, "node:read", &filter_check),
    READ("/v1/agent/health/service/id/", ROUTE_AGENT, api_agent_health_by_id, "Missing serviceID",
         "service:read", NULL),
    READ("/v1/agent/health/service/name/", ROUTE_AGENT, api_agent_health_by_name,
         "Missing service Name", "service:read", NULL),
    WRITE("PUT", "/v1/agent/service/register", ROUTE_AGENT, api_agent_register_service, NULL,
          "service:write"),
    WRITE("PUT", "/v1/agent/service/deregister/", ROUTE_AGENT, api_agent_deregister_service,
          "Missing service ID", "service:write"),
    WRITE("PUT", "/v1/agent/service/maintenance/", ROUTE_AGENT, api_agent_service_maintenance,
          "Missing service ID", "service:write"),
    WRITE("PUT", "/v1/agent/check/register", ROUTE_AGENT, api_agent_register_check, NULL,
          "service:write"),
    WRITE("PUT", "/v1/agent/check/deregister/", ROUTE_AGENT, api_agent_deregister_check,
          "Missing check ID", "service:write"),
    WRITE("PUT", "/v1/agent/check/pass/", ROUTE_AGENT, api_agent_pass_check, "Missing check ID",
          "service:write"),
    WRITE("PUT", "/v1/agent/check/warn/", ROUTE_AGENT, api_agent_warn_check, "Missing check ID",
          "service:write"),
    WRITE("PUT", "/v1/agent/check/fail/", ROUTE_AGENT, api_agent_fail_check, "Missing check ID",
          "service:write"),
    WRITE("PUT", "/v1/agent/check/update/", ROUTE_AGENT, api_agent_update_check, "Missing check ID",
          "service:write"),
    WRITE("PUT", "/v1/agent/maintenance", ROUTE_AGENT, api_agent_maintenance, NULL, "node:write"),
    WRITE("PUT", "/v1/agent/reload", ROUTE_AGENT, api_agent_reload, NULL, "agent:write"),
    WRITE("PUT", "/v1/agent/leave", ROUTE_AGENT, api_agent_leave, NULL, "agent:write"),
    WRITE("PUT", "/v1/agent/join/", ROUTE_AGENT, api_agent_join, "Missing address to join",
          "agent:write"),
    WRITE("PUT", "/v1/agent/force-leave/", ROUTE_AGENT, api_agent_force_leave, "Missing node name",
          "operator:write"),
    {"PUT", "/v1/agent/token/", ROUTE_AGENT, api_acl_disabled, NULL, NULL, "agent:write", NULL},
    READ("/v1/agent/connect/ca/roots", ROUTE_AGENT | ROUTE_INDEXED | ROUTE_CONNECT | ROUTE_CACHED,
         api_connect_roots, NULL, "", NULL),
    READ("/v1/agent/connect/ca/leaf/", ROUTE_AGENT | ROUTE_INDEXED | ROUTE_CONNECT | ROUTE_CACHED,
         api_connect_leaf, "Missing service name", "service:write", NULL),
    WRITE("POST", "/v1/agent/connect/authorize", ROUTE_AGENT | ROUTE_CONNECT, api_connect_authorize,
          NULL, "service:write"),

    READ("/v1/connect/ca/roots", ROUTE_INDEXED | ROUTE_CONNECT, api_connect_roots, NULL, "", NULL),
    READ("/v1/connect/ca/configuration", ROUTE_CONNECT, api_connect_ca_configuration, NULL,
         "operator:read", NULL),
    WRITE("PUT", "/v1/connect/ca/configuration", ROUTE_CONNECT, api_connect_set_ca_configuration,
          NULL, "operator:write"),
    INTENTIONS("/v1/connect/intentions"),
    INTENTIONS("/v1/intentions"),

    WRITE("PUT", "/v1/config", 0, api_config_put, NULL, "mesh:write"),
    READ("/v1/config/", ROUTE_INDEXED | ROUTE_SHARED, api_config_get,
         "Must provide either a kind or both kind and name", "mesh:read", NULL),
    WRITE("DELETE", "/v1/config/", 0, api_config_delete,
          "Must provide both a kind and name to delete", "mesh:write"),
    READ("/v1/exported-services", ROUTE_INDEXED | ROUTE_SHARED, api_config_exported, NULL,
         "mesh:read", NULL),

    READ("/v1/discovery-chain/", ROUTE_INDEXED | ROUTE_CONSISTENCY | ROUTE_CONNECT,
         api_discovery_chain, "Missing chain name", "service:read", NULL),
    {"POST", "/v1/discovery-chain/", ROUTE_INDEXED | ROUTE_CONSISTENCY | ROUTE_CONNECT,
     api_discovery_chain, NULL, "Missing chain name", "service:read", NULL},

    WRITE("POST", "/v1/peering/token", ROUTE_PEERING, api_peering_token, NULL, "peering:write"),
    WRITE("POST", "/v1/peering/establish", ROUTE_PEERING, api_peering_establish_link, NULL,
          "peering:write"),
    READ("/v1/peering/", ROUTE_INDEXED | ROUTE_PEERING, api_peering_get,
         "Must specify a name to fetch.", "peering:read", NULL),
    WRITE("DELETE", "/v1/peering/", ROUTE_PEERING, api_peering_remove,
          "Must specify a name to delete.", "peering:write"),
    READ("/v1/peerings", ROUTE_INDEXED | ROUTE_PEERING, api_peering_get_all, NULL, "peering:read",
         NULL),

    READ("/v1/status/leader", 0, api_status_leader, NULL, "", NULL),
    READ("/v1/status/peers", 0, api_status_peers, NULL, "", NULL),
    READ("/v1/operator/raft/configuration", 0, api_operator_raft_configuration, NULL,
         "operator:read", NULL),
    READ("/v1/internal/ui/services", ROUTE_INDEXED | ROUTE_PEER | ROUTE_SHARED, api_ui_services,
         NULL, "service:read", NULL),
    READ("/v1/internal/ui/exported-services", ROUTE_INDEXED | ROUTE_SHARED,
         api_ui_exported_services, NULL, "mesh:read", NULL),
    {"", "/v1/acl/", ROUTE_ANY_METHOD, api_acl_disabled, NULL, NULL, "", NULL},
};

const size_t api_route_count = sizeof api_routes / sizeof api_routes[0];

/* The length of the row's path if it covers `path`, or 0. */
static size_t covers(const struct route *route, const char *path)
{
    size_t length = strlen(route->path);
    if (strncmp(route->path, path, length) != 0)
        return 0;
    return path[length] == '\0' || route->path[length - 1] == '/' ? length : 0;
}

/* The rows of the longest path that covers it, which stand together by their paths alone. */
static size_t longest_cover(const char *path)
{
    size_t longest = 0;
    for (size_t i = 0; i < api_route_count; i++) {
        size_t length = covers(&api_routes[i], path);
        if (length > longest)
            longest = length;
    }
    return longest;
}

const struct route *route_find(const char *method, const char *path)
{
    const struct route *found = NULL;
    size_t longest = 0;
    for (size_t i = 0; i < api_route_count; i++) {
        const struct route *route = &api_routes[i];
        size_t length = covers(route, path);
        if (length == 0 || length < longest)
            continue;
        if (length > longest)
            found = NULL;
        longest = length;
        if ((route->flags & ROUTE_ANY_METHOD) || strcmp(route->method, method) == 0)
            found = route;
    }
    return found;
}

void route_allow(const char *path, struct buffer *allow)
{
    size_t longest = longest_cover(path);
    for (size_t i = 0; i < api_route_count && longest > 0; i++) {
        if (covers(&api_routes[i], path) == longest)
            buffer_printf(allow, "%s%s", allow->length == 0 ? "OPTIONS," : ",",
                          api_routes[i].method);
    }
}
