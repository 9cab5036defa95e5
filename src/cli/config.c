#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/file.h"
#include "config/entry.h"
#include "store/tables.h"

/* Files may begin with either spelling. */
static const char *kind_of(const json_t *entry)
{
    const char *kind = cli_text(entry, "Kind");
    return *kind != '\0' ? kind : cli_text(entry, "kind");
}

/* From a file's JSON or HCL to the JSON that the API takes; fresh memory, or NULL. */
static char *decode_entry(const json_t *file, const char **ret_kind, char **ret_name,
                          struct error *error)
{
    if (*kind_of(file) == '\0') {
        error_set(error, ERR_INVALID, "Payload does not contain a kind/Kind key at the top level");
        return NULL;
    }
    const struct config_kind *kind = config_kind_find(kind_of(file), error);
    if (kind == NULL)
        return NULL;
    const struct codec_message *type = table_class(kind->table)->message;
    struct arena *arena = arena_new();
    void *entry = codec_read(type, file, CODEC_HCL | CODEC_WEAK, arena, error);
    char *body = NULL;
    if (entry != NULL) {
        struct buffer output = {0};
        const char *name = config_entry_head(entry)->name;
        codec_write(&output, type, entry);
        body = buffer_take(&output);
        *ret_kind = kind->name;
        *ret_name = mem_strdup(*name != '\0' ? name : kind->name);
    }
    arena_free(arena);
    return body;
}

static char *entry_body(const json_t *file, const char *path, const char **ret_kind,
                        char **ret_name, struct error *error)
{
    char *body = decode_entry(file, ret_kind, ret_name, error);
    if (body == NULL)
        error_prefix(error, "%s: ", strcmp(path, "-") == 0 ? "stdin" : path);
    return body;
}

static int write_entry(struct cli *cli, const char *body, const char *kind, const char *name,
                       const char *cas)
{
    struct buffer path = {0}, reply = {0};
    buffer_add_text(&path, "/v1/config");
    cli_api_add_query(&path, "cas", cas);
    bool ok = cli_api_call(cli->api, "PUT", buffer_text(&path), body, &reply, &cli->error);
    bool written = text_starts(buffer_text(&reply), "true");
    buffer_free(&path);
    buffer_free(&reply);
    if (!ok)
        return cli_fail(cli, "Error writing config entry %s/%s", kind, name);
    if (!written)
        return cli_fail(cli,
                        "Error writing config entry %s/%s: it was changed since index %s; read it "
                        "again",
                        kind, name, cas);
    printf("Config entry written: %s/%s\n", kind, name);
    return cli_end(cli, 0);
}

int cli_config_write(int argc, char **argv)
{
    bool cas = false;
    int64_t index = 0;
    const struct flag flags[] = {
        {"cas", FLAG_BOOL, &cas, "Only write if the stored entry still has -modify-index."},
        {"modify-index", FLAG_NUMBER, &index, "For -cas; 0 means that no entry may be there."},
        {0},
    };
    static const struct cli_usage usage = {
        .arguments = "[options] FILE",
        .text = "  Writes the config entry in FILE, which is HCL or JSON; - is the standard input.",
        .arguments_least = 1,
        .arguments_most = 1,
    };
    struct cli cli;
    if (!cli_start(&cli, &usage, flags, argc, argv))
        return cli.exit_code;
    json_t *file = cli_file_parse(cli.arguments[0], &cli.error);
    if (file == NULL)
        return cli_fail(&cli, "Failed to load data");
    const char *kind = NULL;
    char *name = NULL, *body = entry_body(file, cli.arguments[0], &kind, &name, &cli.error);
    json_decref(file);
    if (body == NULL)
        return cli_fail(&cli, "Failed to decode config entry input");
    char number[24] = "";
    if (cas)
        snprintf(number, sizeof number, "%lld", (long long)index);
    int code = write_entry(&cli, body, kind, name, number);
    free(body);
    free(name);
    return code;
}

static char *entry_path(const char *kind, const char *name)
{
    struct buffer path = {0};
    buffer_add_text(&path, "/v1/config/");
    cli_api_add_segment(&path, kind);
    if (name != NULL) {
        buffer_add_byte(&path, '/');
        cli_api_add_segment(&path, name);
    }
    return buffer_take(&path);
}

static bool check_kind_and_name(struct cli *cli, const char *kind, const char *name)
{
    if (text_empty(kind))
        return error_set(&cli->error, ERR_INVALID, "Must specify the -kind parameter");
    if (text_empty(name))
        return error_set(&cli->error, ERR_INVALID, "Must specify the -name parameter");
    return true;
}

int cli_config_read(int argc, char **argv)
{
    const char *kind = NULL, *name = NULL;
    const struct flag flags[] = {
        {"kind", FLAG_STRING, &kind, "Kind of the entry. Required."},
        {"name", FLAG_STRING, &name, "Name of the entry. Required."},
        {0},
    };
    static const struct cli_usage usage = {
        .arguments = "[options] -kind <kind> -name <name>",
        .text = "  Prints a config entry as JSON.",
    };
    struct cli cli;
    if (!cli_start(&cli, &usage, flags, argc, argv))
        return cli.exit_code;
    if (!check_kind_and_name(&cli, kind, name)) {
        fprintf(stderr, "%s\n", cli.error.message);
        return cli_end(&cli, 1);
    }
    char *path = entry_path(kind, name);
    json_t *entry = cli_api_get(cli.api, path, &cli.error);
    free(path);
    if (entry == NULL)
        return cli_fail(&cli, "Error reading config entry %s/%s", kind, name);
    json_object_del(entry, "Hash");
    cli_print_json(entry, "    ");
    json_decref(entry);
    return cli_end(&cli, 0);
}

int cli_config_list(int argc, char **argv)
{
    const char *kind = NULL, *filter = NULL;
    const struct flag flags[] = {
        {"kind", FLAG_STRING, &kind, "Kind of the entries. Required."},
        {"filter", FLAG_STRING, &filter, "Filter expression that the agent applies."},
        {0},
    };
    static const struct cli_usage usage = {
        .arguments = "[options] -kind <kind>",
        .text = "  Lists the names of all config entries of a kind.",
    };
    struct cli cli;
    if (!cli_start(&cli, &usage, flags, argc, argv))
        return cli.exit_code;
    if (text_empty(kind))
        return cli_fail(&cli, "Must specify the -kind parameter");
    struct buffer path = {0};
    char *base = entry_path(kind, NULL);
    buffer_add_text(&path, base);
    cli_api_add_query(&path, "filter", filter);
    json_t *list = cli_api_get(cli.api, buffer_text(&path), &cli.error);
    buffer_free(&path);
    free(base);
    if (list == NULL)
        return cli_fail(&cli, "Error listing config entries for kind \"%s\"", kind);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = cli_text(json_array_get(list, i), "Name");
        puts(*name != '\0' ? name : kind);
    }
    json_decref(list);
    return cli_end(&cli, 0);
}

/* Takes kind and name from a file; both are fresh memory. */
static bool name_from_file(struct cli *cli, const char *path, char **ret_kind, char **ret_name)
{
    const char *kind = NULL;
    json_t *file = cli_file_parse(path, &cli->error);
    char *body = file != NULL ? entry_body(file, path, &kind, ret_name, &cli->error) : NULL;
    json_decref(file);
    if (body == NULL) {
        error_prefix(&cli->error, "Failed to load data: ");
        return false;
    }
    free(body);
    *ret_kind = mem_strdup(kind);
    return true;
}

static int delete_entry(struct cli *cli, const char *kind, const char *name, const char *cas)
{
    struct buffer path = {0}, reply = {0};
    char *base = entry_path(kind, name);
    buffer_add_text(&path, base);
    cli_api_add_query(&path, "cas", cas);
    bool ok = cli_api_call(cli->api, "DELETE", buffer_text(&path), NULL, &reply, &cli->error);
    bool lost = text_starts(buffer_text(&reply), "false");
    free(base);
    buffer_free(&path);
    buffer_free(&reply);
    if (!ok)
        return cli_fail(cli, "Error deleting config entry %s/%s", kind, name);
    if (lost)
        return cli_fail(cli, "Config entry not deleted: %s/%s has not the modify index %s", kind,
                        name, cas);
    printf("Config entry deleted: %s/%s\n", kind, name);
    return cli_end(cli, 0);
}

int cli_config_delete(int argc, char **argv)
{
    const char *kind = NULL, *name = NULL, *file = NULL;
    bool cas = false;
    int64_t index = 0;
    const struct flag flags[] = {
        {"kind", FLAG_STRING, &kind, "Kind of the entry."},
        {"name", FLAG_STRING, &name, "Name of the entry."},
        {"filename", FLAG_STRING, &file, "Take kind and name from this file instead."},
        {"cas", FLAG_BOOL, &cas, "Only delete if the stored entry still has -modify-index."},
        {"modify-index", FLAG_NUMBER, &index, "For -cas."},
        {0},
    };
    static const struct cli_usage usage = {
        .arguments = "[options] -kind <kind> -name <name>",
        .text = "  Deletes a config entry. It is no error if there is none.",
    };
    struct cli cli;
    if (!cli_start(&cli, &usage, flags, argc, argv))
        return cli.exit_code;
    char *file_kind = NULL, *file_name = NULL, number[24] = "";
    bool ok = file == NULL || name_from_file(&cli, file, &file_kind, &file_name);
    kind = file_kind != NULL ? file_kind : kind;
    name = file_name != NULL ? file_name : name;
    if (cas)
        snprintf(number, sizeof number, "%lld", (long long)index);
    int code;
    if (ok && check_kind_and_name(&cli, kind, name)) {
        code = delete_entry(&cli, kind, name, number);
    } else {
        fprintf(stderr, "%s\n", cli.error.message);
        code = cli_end(&cli, 1);
    }
    free(file_kind);
    free(file_name);
    return code;
}
