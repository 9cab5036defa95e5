/* The binary's main: finds the command that the first arguments name, and runs it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/commands.h"

#define WORDS_MAX 3
#define EXIT_UNKNOWN_COMMAND 127

/* Prints the commands one level below `group` ("" for the top). */
static void print_commands(const char *group, FILE *output)
{
    size_t count, length = strlen(group), width = 0;
    const struct cli_command *commands = cli_commands(&count);
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < count; i++) {
            const char *name = commands[i].name;
            if (length > 0 && (!text_starts(name, group) || name[length] != ' '))
                continue;
            name += length > 0 ? length + 1 : 0;
            if (strchr(name, ' ') != NULL)
                continue;
            if (pass == 0)
                width = strlen(name) > width ? strlen(name) : width;
            else
                fprintf(output, "    %-*s    %s\n", (int)width, name, commands[i].summary);
        }
    }
}

static void print_top(FILE *output)
{
    fprintf(output,
            "Usage: %s [--version] [--help] <command> [<args>]\n\nAvailable commands are:\n",
            cli_program());
    print_commands("", output);
    fputc('\n', output);
}

static void print_group(const struct cli_command *group, FILE *output)
{
    fprintf(output, "Usage: %s %s <subcommand> [options] [args]\n\n  %s.\n\nSubcommands:\n",
            cli_program(), group->name, group->summary);
    print_commands(group->name, output);
}

/* The command with the most words that stand at argv[1]…; NULL if there is none. */
static const struct cli_command *find_command(int argc, char **argv, int *ret_words)
{
    size_t count;
    const struct cli_command *commands = cli_commands(&count), *found = NULL;
    char *name = mem_strdup("");
    for (int words = 1; words <= WORDS_MAX && words < argc; words++) {
        char *longer = mem_printf("%s%s%s", name, words > 1 ? " " : "", argv[words]);
        free(name);
        name = longer;
        for (size_t i = 0; i < count; i++) {
            if (strcmp(commands[i].name, name) == 0) {
                found = &commands[i];
                *ret_words = words;
            }
        }
    }
    free(name);
    return found;
}

static bool is_one_of(const char *word, const char *const *words)
{
    for (; *words != NULL; words++) {
        if (strcmp(word, *words) == 0)
            return true;
    }
    return false;
}

/* Says which word is no command, or that it is one of Consul's that is not here. */
static void complain(const char *group, const char *word)
{
    static const char *const not_yet[] = {
        "acl",    "debug",        "event",    "exec",     "force-leave", "join",
        "keygen", "keyring",      "kv",       "lock",     "login",       "logout",
        "maint",  "monitor",      "operator", "resource", "rtt",         "snapshot",
        "tls",    "troubleshoot", "watch",    NULL};
    if (*group == '\0' && is_one_of(word, not_yet))
        fprintf(stderr, "Consul's command \"%s\" is not in this version of Pons.\n\n", word);
    else
        fprintf(stderr, "There is no command \"%s%s%s\".\n\n", group, *group == '\0' ? "" : " ",
                word);
}

int main(int argc, char **argv)
{
    static const char *const version[] = {"-v", "-version", "--version", NULL};
    static const char *const help[] = {"-h", "-help", "--help", NULL};
    if (argc > 1 && is_one_of(argv[1], version))
        return cli_version(1, argv);
    if (argc > 1 && is_one_of(argv[1], help)) {
        print_top(stdout);
        return 0;
    }
    int words = 0;
    const struct cli_command *command = find_command(argc, argv, &words);
    if (command == NULL) {
        if (argc > 1)
            complain("", argv[1]);
        print_top(stderr);
        return EXIT_UNKNOWN_COMMAND;
    }
    argc -= words;
    argv += words;
    if (command->run == NULL) {
        bool asked = argc > 1 && is_one_of(argv[1], help);
        if (argc > 1 && !asked)
            complain(command->name, argv[1]);
        print_group(command, asked ? stdout : stderr);
        return asked ? 0 : 1;
    }
    argv[0] = (char *)command->name;
    return command->run(argc, argv);
}
