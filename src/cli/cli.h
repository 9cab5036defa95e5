/* What every command stands on: start with flags and help, an API client, one way to fail.
 *
 * A command is a function `int cli_<name>(int argc, char **argv)`: argv[0] is its name ("catalog
 * nodes"), the rest what the user wrote behind it; the result is the exit code. It declares its
 * flags, calls cli_start, works, and returns by cli_end or cli_fail. Its row is in commands.c. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/version.h"
#include "cli/api.h"
#include "cli/flags.h"

struct cli_command {
    const char *name;                  /* "catalog nodes" */
    int (*run)(int argc, char **argv); /* NULL: a group, which prints its subcommands */
    const char *summary;
};

const struct cli_command *cli_commands(size_t *ret_count);

/* Name of the program as it was started, and whether that is "consul". */
const char *cli_program(void);
bool cli_is_consul(void);

struct cli_usage {
    const char *arguments; /* "[options] SRC DST" */
    const char *text;      /* a paragraph or two, lines indented by two blanks */
    int arguments_least, arguments_most;
    bool offline; /* talks to no agent: no API flags */
};

struct cli {
    struct error error;
    char **arguments; /* what is no flag */
    int argument_count;
    struct cli_api *api; /* NULL if offline */
    struct cli_api_settings settings;
    int exit_code; /* if cli_start returns false */
};

/* Reads flags; prints help or complaint. If it returns false, the command ends with exit_code. */
bool cli_start(struct cli *cli, const struct cli_usage *usage, const struct flag *flags, int argc,
               char **argv);
int cli_end(struct cli *cli, int exit_code); /* frees; returns exit_code */
/* Prints the words, then ": " and cli->error if it is set, to stderr; ends with code 1. */
int cli_fail(struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A member of a JSON object, "" or 0 where it is missing or of another type. */
const char *cli_text(const json_t *object, const char *key);
int64_t cli_integer(const json_t *object, const char *key);
/* Prints JSON with an indent ("" for compact) and a new line. */
void cli_print_json(const json_t *value, const char *indent);
/* "k=v" pairs into a JSON object of strings; a new reference. NULL: cli->error says which is wrong.
 */
json_t *cli_pairs(struct cli *cli, const struct text_list *pairs);
