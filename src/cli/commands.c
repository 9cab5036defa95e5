#include "cli/commands.h"

#include "cli/cli.h"

/* Sorted by name; a group stands before its subcommands. */
static const struct cli_command commands[] = {
    {"agent", cli_agent, "Runs an agent"},
    {"catalog", NULL, "Asks the catalog what there is"},
    {"catalog datacenters", cli_catalog_datacenters, "Lists datacenters"},
    {"catalog nodes", cli_catalog_nodes, "Lists nodes"},
    {"catalog services", cli_catalog_services, "Lists services"},
    {"config", NULL, "Reads and writes config entries"},
    {"config delete", cli_config_delete, "Deletes a config entry"},
    {"config list", cli_config_list, "Lists the config entries of a kind"},
    {"config read", cli_config_read, "Prints a config entry"},
    {"config write", cli_config_write, "Writes a config entry"},
    {"connect", NULL, "Runs proxies and the certificate authority of the mesh"},
    {"connect ca", NULL, "Looks at and changes the certificate authority"},
    {"connect ca get-config", cli_connect_ca_get_config, "Prints the authority's configuration"},
    {"connect ca set-config", cli_connect_ca_set_config, "Changes the authority's configuration"},
    {"connect envoy", cli_connect_envoy, "Registers and starts an Envoy, or prints its bootstrap"},
    {"info", cli_info, "Prints what the agent says about itself"},
    {"intention", NULL, "Says which service may call which"},
    {"intention check", cli_intention_check, "Tells whether one service may call another"},
    {"intention create", cli_intention_create, "Allows or denies calls between two services"},
    {"intention delete", cli_intention_delete, "Deletes an intention"},
    {"intention get", cli_intention_get, "Prints an intention"},
    {"intention list", cli_intention_list, "Lists all intentions"},
    {"intention match", cli_intention_match, "Lists the intentions that concern a service"},
    {"leave", cli_leave, "Makes the agent leave and stop"},
    {"members", cli_members, "Lists the agents of the cluster"},
    {"peering", NULL, "Connects this cluster with others"},
    {"peering delete", cli_peering_delete, "Ends and deletes a peering"},
    {"peering establish", cli_peering_establish, "Begins a peering with another cluster's token"},
    {"peering exported-services", cli_peering_exported_services, "Lists what a peer may use"},
    {"peering generate-token", cli_peering_generate_token, "Makes a token for another cluster"},
    {"peering list", cli_peering_list, "Lists peerings"},
    {"peering read", cli_peering_read, "Prints a peering"},
    {"reload", cli_reload, "Makes the agent read its configuration again"},
    {"services", NULL, "Registers services with the local agent"},
    {"services deregister", cli_services_deregister, "Takes services out"},
    {"services export", cli_services_export, "Lets peers use a service"},
    {"services exported-services", cli_services_exported_services, "Lists exported services"},
    {"services register", cli_services_register, "Registers services"},
    {"validate", cli_validate, "Checks configuration files"},
    {"version", cli_version, "Prints the version"},
};

const struct cli_command *cli_commands(size_t *ret_count)
{
    *ret_count = sizeof commands / sizeof commands[0];
    return commands;
}
