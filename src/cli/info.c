#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "cli/cli.h"
#include "cli/commands.h"

static struct text_list sorted_keys(const json_t *object)
{
    struct text_list keys = {0};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        text_list_add(&keys, key);
    }
    text_list_sort(&keys);
    return keys;
}

static void print_section(const char *name, const json_t *section)
{
    struct text_list keys = sorted_keys(section);
    printf("%s:\n", name);
    for (size_t i = 0; i < keys.count; i++)
        printf("\t%s = %s\n", keys.items[i], cli_text(section, keys.items[i]));
    text_list_free(&keys);
}

int cli_info(int argc, char **argv)
{
    static const struct cli_usage usage = {
        .arguments = "[options]",
        .text = "  Prints the agent's numbers and states, for operators.",
    };
    struct cli cli;
    if (!cli_start(&cli, &usage, NULL, argc, argv))
        return cli.exit_code;
    json_t *self = cli_api_get(cli.api, "/v1/agent/self", &cli.error);
    if (self == NULL)
        return cli_fail(&cli, "Error querying agent");
    const json_t *stats = json_object_get(self, "Stats");
    struct text_list sections = sorted_keys(stats);
    for (size_t i = 0; i < sections.count; i++)
        print_section(sections.items[i], json_object_get(stats, sections.items[i]));
    text_list_free(&sections);
    json_decref(self);
    return cli_end(&cli, 0);
}
