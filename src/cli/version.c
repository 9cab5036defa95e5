#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"

/* Test harnesses start `consul version -format=json` and parse "Version". */
static void print_json(void)
{
    bool consul = cli_is_consul();
    json_t *version =
        json_pack("{s:s, s:s, s:s, s:s, s:{s:i, s:i, s:i}, s:s}", "Version",
                  consul ? CONSUL_VERSION : PONS_VERSION, "Revision", "", "Prerelease", "",
                  "BuildDate", "1970-01-01T00:00:01Z", "RPC", "Default", 2, "Min", 2, "Max", 3,
                  consul ? "Pons" : "Consul", consul ? PONS_VERSION : CONSUL_VERSION);
    cli_print_json(version, "   ");
    json_decref(version);
}

int cli_version(int argc, char **argv)
{
    const char *format = "pretty";
    const struct flag flags[] = {
        {"format", FLAG_STRING, &format, "\"pretty\" or \"json\"."},
        {0},
    };
    static const struct cli_usage usage = {
        .arguments = "[options]",
        .text = "  Prints the version of this program and of the Consul whose behaviour it has.",
        .offline = true,
    };
    struct cli cli;
    if (!cli_start(&cli, &usage, flags, argc, argv))
        return cli.exit_code;
    if (strcmp(format, "json") == 0)
        print_json();
    else if (strcmp(format, "pretty") != 0)
        return cli_fail(&cli, "Invalid format \"%s\": use pretty or json", format);
    else if (cli_is_consul())
        printf("Consul v%s\nPons v%s\nProtocol 2 spoken by default, understands 2 to 3\n",
               CONSUL_VERSION, PONS_VERSION);
    else
        printf("Pons v%s\nSpeaks as Consul v%s does\n", PONS_VERSION, CONSUL_VERSION);
    return cli_end(&cli, 0);
}
