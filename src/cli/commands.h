/* Every command's function; commands.c has the table. */
#pragma once

int cli_agent(int argc, char **argv);
int cli_catalog_datacenters(int argc, char **argv);
int cli_catalog_nodes(int argc, char **argv);
int cli_catalog_services(int argc, char **argv);
int cli_config_delete(int argc, char **argv);
int cli_config_list(int argc, char **argv);
int cli_config_read(int argc, char **argv);
int cli_config_write(int argc, char **argv);
int cli_connect_ca_get_config(int argc, char **argv);
int cli_connect_ca_set_config(int argc, char **argv);
int cli_connect_envoy(int argc, char **argv);
int cli_info(int argc, char **argv);
int cli_intention_check(int argc, char **argv);
int cli_intention_create(int argc, char **argv);
int cli_intention_delete(int argc, char **argv);
int cli_intention_get(int argc, char **argv);
int cli_intention_list(int argc, char **argv);
int cli_intention_match(int argc, char **argv);
int cli_leave(int argc, char **argv);
int cli_members(int argc, char **argv);
int cli_peering_delete(int argc, char **argv);
int cli_peering_establish(int argc, char **argv);
int cli_peering_exported_services(int argc, char **argv);
int cli_peering_generate_token(int argc, char **argv);
int cli_peering_list(int argc, char **argv);
int cli_peering_read(int argc, char **argv);
int cli_reload(int argc, char **argv);
int cli_services_deregister(int argc, char **argv);
int cli_services_export(int argc, char **argv);
int cli_services_exported_services(int argc, char **argv);
int cli_services_register(int argc, char **argv);
int cli_validate(int argc, char **argv);
int cli_version(int argc, char **argv);
