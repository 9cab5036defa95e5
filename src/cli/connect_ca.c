#include <stdio.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/file.h"

#define CONFIGURATION "/v1/connect/ca/configuration"

int cli_connect_ca_get_config(int argc, char **argv)
{
    static const struct cli_usage usage = {
        .arguments = "[options]",
        .text = "  Prints the configuration of the mesh's certificate authority.",
    };
    struct cli cli;
    if (!cli_start(&cli, &usage, NULL, argc, argv))
        return cli.exit_code;
    json_t *configuration = cli_api_get(cli.api, CONFIGURATION, &cli.error);
    if (configuration == NULL)
        return cli_fail(&cli, "Error querying CA configuration");
    cli_print_json(configuration, "\t");
    json_decref(configuration);
    return cli_end(&cli, 0);
}

int cli_connect_ca_set_config(int argc, char **argv)
{
    const char *file = NULL;
    bool force = false;
    const struct flag flags[] = {
        {"config-file", FLAG_STRING, &file,
         "JSON file with Provider and Config, or - for the standard input. Required."},
        {"force-without-cross-signing", FLAG_BOOL, &force,
         "Change the root even if the old one cannot vouch for the new one: connections may fail "
         "until every proxy has a new certificate."},
        {0},
    };
    static const struct cli_usage usage = {
        .arguments = "[options] -config-file <file>",
        .text = "  Changes the configuration of the mesh's certificate authority.",
    };
    struct cli cli;
    if (!cli_start(&cli, &usage, flags, argc, argv))
        return cli.exit_code;
    if (file == NULL)
        return cli_fail(&cli, "The -config-file flag is required");
    json_t *configuration = cli_file_parse(file, &cli.error);
    if (configuration == NULL)
        return cli_fail(&cli, "Error reading the CA configuration");
    if (force)
        json_object_set_new(configuration, "ForceWithoutCrossSigning", json_true());
    json_t *reply = cli_api_send(cli.api, "PUT", CONFIGURATION, configuration, &cli.error);
    json_decref(configuration);
    if (reply == NULL)
        return cli_fail(&cli, "Error setting CA configuration");
    json_decref(reply);
    puts("Configuration updated!");
    return cli_end(&cli, 0);
}
