/* The handlers of all routes, by file. Only routes.c needs them all. */
#pragma once

#include "http/request.h"

/* catalog.c */
api_read_fn api_catalog_datacenters, api_catalog_nodes, api_catalog_services, api_catalog_service,
    api_catalog_connect, api_catalog_node, api_catalog_node_services, api_catalog_gateway_services;
/* catalog_write.c */
api_write_fn api_catalog_register, api_catalog_deregister;

/* health.c */
api_read_fn api_health_service, api_health_connect, api_health_ingress, api_health_checks,
    api_health_node, api_health_state;
/* True if the instance has every ?tag, in any case. */
bool request_wants_tags(const struct api_request *request, const Pb__NodeService *service);

/* agent.c */
api_read_fn api_agent_services, api_agent_service, api_agent_checks, api_agent_health_by_id,
    api_agent_health_by_name;
/* agent_about.c */
api_read_fn api_agent_self, api_agent_members, api_agent_metrics, api_agent_version;
/* agent_write.c */
api_write_fn api_agent_register_service, api_agent_deregister_service,
    api_agent_service_maintenance, api_agent_register_check, api_agent_deregister_check,
    api_agent_pass_check, api_agent_warn_check, api_agent_fail_check, api_agent_update_check,
    api_agent_maintenance, api_agent_reload, api_agent_leave, api_agent_join, api_agent_force_leave;

/* host.c */
api_read_fn api_agent_host;

/* monitor.c */
api_write_fn api_agent_monitor;

/* config.c */
api_read_fn api_config_get, api_config_exported;
api_write_fn api_config_put, api_config_delete;

/* discovery_chain.c */
api_read_fn api_discovery_chain;

/* connect.c */
api_read_fn api_connect_roots, api_connect_leaf, api_connect_ca_configuration;
api_write_fn api_connect_authorize, api_connect_set_ca_configuration;

/* intentions.c */
api_read_fn api_intentions_list, api_intentions_match, api_intentions_check, api_intentions_exact,
    api_intentions_get;
/* intentions_write.c */
api_write_fn api_intentions_create, api_intentions_update, api_intentions_delete,
    api_intentions_put_exact, api_intentions_delete_exact;

/* peering.c */
api_read_fn api_peering_get, api_peering_get_all;
api_write_fn api_peering_token, api_peering_establish_link, api_peering_remove;

/* ui.c */
api_read_fn api_ui_services, api_ui_exported_services;

/* status.c */
api_read_fn api_status_leader, api_status_peers, api_operator_raft_configuration, api_acl_disabled;
