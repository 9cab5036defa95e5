#include "cli/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "text/json.h"

const char *cli_program(void)
{
    return cli_is_consul() ? "consul" : "pons";
}

bool cli_is_consul(void)
{
    return strcmp(program_invocation_short_name, "consul") == 0;
}

static void print_usage(const struct cli_usage *usage, const char *name, const struct flag *flags,
                        const struct flag *api_flags, FILE *output)
{
    fprintf(output, "Usage: %s %s %s\n\n%s\n", cli_program(), name, usage->arguments, usage->text);
    if (flags != NULL && flags->name != NULL) {
        fputs("\nCommand Options\n\n", output);
        flags_describe(flags, output);
    }
    if (!usage->offline) {
        fputs("\nHTTP API Options\n\n", output);
        flags_describe(api_flags, output);
    }
}

static bool count_fits(struct cli *cli, const struct cli_usage *usage)
{
    int least = usage->arguments_least, most = usage->arguments_most;
    if (cli->argument_count >= least && cli->argument_count <= most)
        return true;
    if (cli->argument_count > most)
        return error_set(&cli->error, ERR_INVALID, "Too many arguments (expected %d, got %d)", most,
                         cli->argument_count);
    return error_set(&cli->error, ERR_INVALID, "Not enough arguments (expected %d, got %d)", least,
                     cli->argument_count);
}

bool cli_start(struct cli *cli, const struct cli_usage *usage, const struct flag *flags, int argc,
               char **argv)
{
    struct flag api_flags[CLI_API_FLAG_COUNT];
    memset(cli, 0, sizeof *cli);
    cli_api_flags(&cli->settings, api_flags);
    struct flag_sets sets = {{flags, usage->offline ? NULL : api_flags}};
    enum flags_result result = flags_read(&sets, argc, argv, &cli->argument_count, &cli->error);
    if (result == FLAGS_HELP) {
        print_usage(usage, argv[0], flags, api_flags, stdout);
        cli->exit_code = 0;
        return false;
    }
    if (result == FLAGS_WRONG) {
        fprintf(stderr, "%s\n", cli->error.message);
        print_usage(usage, argv[0], flags, api_flags, stderr);
        cli->exit_code = 1;
        return false;
    }
    cli->arguments = argv + 1;
    if (count_fits(cli, usage) && !usage->offline)
        cli->api = cli_api_new(&cli->settings, &cli->error);
    if (cli->error.code == ERR_NONE)
        return true;
    fprintf(stderr, "%s\n", cli->error.message);
    cli->exit_code = 1;
    return false;
}

int cli_end(struct cli *cli, int exit_code)
{
    cli_api_free(cli->api);
    cli->api = NULL;
    if (fflush(stdout) != 0 && exit_code == 0) {
        fprintf(stderr, "Error writing the output: %s\n", strerror(errno));
        return 1;
    }
    return exit_code;
}

int cli_fail(struct cli *cli, const char *format, ...)
{
    va_list args;
    fflush(stdout);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    if (cli->error.code != ERR_NONE)
        fprintf(stderr, ": %s", cli->error.message);
    fputc('\n', stderr);
    return cli_end(cli, 1);
}

const char *cli_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

int64_t cli_integer(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

void cli_print_json(const json_t *value, const char *indent)
{
    struct buffer compact = {0}, output = {0};
    json_write(&compact, value);
    if (*indent != '\0')
        json_write_indented(&output, buffer_text(&compact), compact.length, indent);
    puts(buffer_text(*indent != '\0' ? &output : &compact));
    buffer_free(&compact);
    buffer_free(&output);
}

json_t *cli_pairs(struct cli *cli, const struct text_list *pairs)
{
    json_t *object = json_object();
    for (size_t i = 0; i < pairs->count; i++) {
        const char *equals = strchr(pairs->items[i], '=');
        if (equals == NULL || equals == pairs->items[i]) {
            error_set(&cli->error, ERR_INVALID, "\"%s\" is not of the form key=value",
                      pairs->items[i]);
            json_decref(object);
            return NULL;
        }
        char *key = mem_strndup(pairs->items[i], (size_t)(equals - pairs->items[i]));
        if (json_object_set_new(object, key, json_string(equals + 1)) != 0)
            error_set(&cli->error, ERR_INVALID, "\"%s\" is not valid UTF-8", key);
        free(key);
    }
    if (cli->error.code == ERR_NONE)
        return object;
    json_decref(object);
    return NULL;
}
