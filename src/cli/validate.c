#include <stdio.h>

#include "agent/config.h"
#include "cli/cli.h"
#include "cli/commands.h"

int cli_validate(int argc, char **argv)
{
    bool quiet = false;
    const struct flag flags[] = {
        {"quiet", FLAG_BOOL, &quiet, "Say nothing where all is well."},
        {0},
    };
    static const struct cli_usage usage = {
        .arguments = "[options] FILE_OR_FOLDER...",
        .text =
            "  Reads agent configuration files as an agent would, and tells every mistake with\n"
            "  its place. The exit code is 1 if there is one.",
        .arguments_least = 1,
        .arguments_most = 1000,
        .offline = true,
    };
    struct cli cli;
    if (!cli_start(&cli, &usage, flags, argc, argv))
        return cli.exit_code;
    struct agent_sources sources = {.files_only = true};
    struct text_list warnings = {0}, errors = {0};
    for (int i = 0; i < cli.argument_count; i++)
        text_list_add(&sources.paths, cli.arguments[i]);
    struct agent_config *config = agent_config_load(&sources, &warnings, &errors);
    for (size_t i = 0; i < warnings.count; i++)
        fprintf(stderr, "%s\n", warnings.items[i]);
    for (size_t i = 0; i < errors.count; i++)
        fprintf(stderr, "Config validation failed: %s\n", errors.items[i]);
    bool valid = config != NULL;
    agent_config_free(config);
    text_list_free(&sources.paths);
    text_list_free(&warnings);
    text_list_free(&errors);
    if (valid && !quiet)
        puts("Configuration is valid!");
    return cli_end(&cli, valid ? 0 : 1);
}
