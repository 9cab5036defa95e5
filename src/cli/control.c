/* Orders to the agent: leave, reload. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/commands.h"

int cli_leave(int argc, char **argv)
{
    static const struct cli_usage usage = {
        .arguments = "[options]",
        .text = "  Makes the agent take its services out of the catalog, leave, and stop.",
    };
    struct cli cli;
    if (!cli_start(&cli, &usage, NULL, argc, argv))
        return cli.exit_code;
    if (!cli_api_call(cli.api, "PUT", "/v1/agent/leave", NULL, NULL, &cli.error))
        return cli_fail(&cli, "Error leaving");
    puts("Graceful leave complete");
    return cli_end(&cli, 0);
}

int cli_reload(int argc, char **argv)
{
    static const struct cli_usage usage = {
        .arguments = "[options]",
        .text =
            "  Makes the agent read its configuration files again. What cannot change while it\n"
            "  runs stays as it is; the agent's log says so.",
    };
    struct cli cli;
    if (!cli_start(&cli, &usage, NULL, argc, argv))
        return cli.exit_code;
    if (!cli_api_call(cli.api, "PUT", "/v1/agent/reload", NULL, NULL, &cli.error))
        return cli_fail(&cli, "Error reloading");
    puts("Configuration reload triggered");
    return cli_end(&cli, 0);
}
