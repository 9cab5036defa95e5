#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/duration.h"
#include "base/memory.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/file.h"
#include "cli/table.h"

/* What the peering commands share: a name that must be given, and a format. */
struct peering_flags {
    const char *name, *format;
};

#define NAME_HELP "Name of the peering: what this cluster calls the other."
#define FORMAT_HELP "\"pretty\" or \"json\"."

static bool check_flags(struct cli *cli, const struct peering_flags *flags, bool named)
{
    if (named && text_empty(flags->name))
        return error_set(&cli->error, ERR_INVALID, "Missing the required -name flag");
    if (strcmp(flags->format, "pretty") != 0 && strcmp(flags->format, "json") != 0)
        return error_set(&cli->error, ERR_INVALID,
                         "Invalid format \"%s\": valid formats are pretty and json", flags->format);
    return true;
}

static bool is_json(const struct peering_flags *flags)
{
    return strcmp(flags->format, "json") == 0;
}

static int fail_plainly(struct cli *cli)
{
    fprintf(stderr, "%s\n", cli->error.message);
    return cli_end(cli, 1);
}

static char *path_of(const char *name)
{
    struct buffer path = {0};
    buffer_add_text(&path, "/v1/peering/");
    cli_api_add_segment(&path, name);
    return buffer_take(&path);
}

/* The peering as JSON; NULL with ERR_NOT_FOUND if there is none of that name. */
static json_t *get_peering(struct cli *cli, const char *name)
{
    char *path = path_of(name);
    json_t *peering = cli_api_get(cli->api, path, &cli->error);
    free(path);
    return peering;
}

/* Says that a read failed: the absence of the peering in plain words. */
static int fail_reading(struct cli *cli, const char *name)
{
    if (cli->error.code != ERR_NOT_FOUND)
        return cli_fail(cli, "Error reading peering");
    fprintf(stderr, "No peering with name %s found.\n", name);
    return cli_end(cli, 1);
}

/* --- token and establishment --- */

int cli_peering_generate_token(int argc, char **argv)
{
    struct peering_flags common = {NULL, "pretty"};
    struct text_list meta = {0}, addresses = {0};
    const struct flag flags[] = {
        {"name", FLAG_STRING, &common.name, "What this cluster will call the other. Required."},
        {"meta", FLAG_LIST, &meta, "Metadata as key=value; may be given repeatedly."},
        {"server-external-addresses", FLAG_LIST, &addresses,
         "host:port where the other cluster reaches this one's servers, such as a load balancer; "
         "several are separated by commas."},
        {"format", FLAG_STRING, &common.format, FORMAT_HELP},
        {0},
    };
    static const struct cli_usage usage = {
        .arguments = "[options] -name <peer name>",
        .text =
            "  Makes a token with which another cluster establishes a peering with this one. It\n"
            "  holds a secret that works once: hand it over as you would a password.",
    };
    struct cli cli;
    json_t *pairs = NULL, *reply = NULL, *body = NULL;
    bool started = cli_start(&cli, &usage, flags, argc, argv);
    if (started && check_flags(&cli, &common, true) && (pairs = cli_pairs(&cli, &meta)) != NULL) {
        body = json_pack("{s:s}", "PeerName", common.name);
        if (json_object_size(pairs) > 0)
            json_object_set(body, "Meta", pairs);
        json_t *list = json_array();
        for (size_t i = 0; i < addresses.count; i++) {
            char *rest = addresses.items[i], *one;
            while ((one = strsep(&rest, ",")) != NULL)
                json_array_append_new(list, json_string(one));
        }
        if (json_array_size(list) > 0)
            json_object_set(body, "ServerExternalAddresses", list);
        json_decref(list);
        reply = cli_api_send(cli.api, "POST", "/v1/peering/token", body, &cli.error);
        if (reply == NULL)
            error_prefix(&cli.error, "Error generating peering token for %s: ", common.name);
    }
    text_list_free(&meta);
    text_list_free(&addresses);
    json_decref(pairs);
    json_decref(body);
    if (!started)
        return cli.exit_code;
    if (reply == NULL)
        return fail_plainly(&cli);
    if (is_json(&common))
        cli_print_json(reply, "");
    else
        puts(cli_text(reply, "PeeringToken"));
    json_decref(reply);
    return cli_end(&cli, 0);
}

/* "@file" and "-" (standard input) keep the token out of the list of processes. */
static char *token_argument(struct cli *cli, const char *argument)
{
    const char *file = argument[0] == '@' ? argument + 1 : strcmp(argument, "-") == 0 ? "-" : NULL;
    if (file == NULL)
        return mem_strdup(argument);
    struct buffer text = {0};
    if (!cli_file_read(file, &text, &cli->error)) {
        error_prefix(&cli->error, "Error reading the token: ");
        buffer_free(&text);
        return NULL;
    }
    while (text.length > 0 && strchr(" \t\r\n", text.data[text.length - 1]) != NULL)
        text.data[--text.length] = '\0';
    return buffer_take(&text);
}

int cli_peering_establish(int argc, char **argv)
{
    const char *name = NULL, *token = NULL;
    struct text_list meta = {0};
    const struct flag flags[] = {
        {"name", FLAG_STRING, &name, "What this cluster will call the other. Required."},
        {"peering-token", FLAG_STRING, &token,
         "The other cluster's token, or @file, or - for the standard input. Required."},
        {"meta", FLAG_LIST, &meta, "Metadata as key=value; may be given repeatedly."},
        {0},
    };
    static const struct cli_usage usage = {
        .arguments = "[options] -name <peer name> -peering-token <token>",
        .text = "  Establishes a peering with the cluster that made the token.",
    };
    struct cli cli;
    bool started = cli_start(&cli, &usage, flags, argc, argv);
    json_t *pairs = started ? cli_pairs(&cli, &meta) : NULL;
    text_list_free(&meta);
    if (!started)
        return cli.exit_code;
    char *text = NULL;
    bool ok = pairs != NULL;
    if (ok && text_empty(name))
        ok = error_set(&cli.error, ERR_INVALID, "Missing the required -name flag");
    else if (ok && text_empty(token))
        ok = error_set(&cli.error, ERR_INVALID, "Missing the required -peering-token flag");
    else if (ok)
        ok = (text = token_argument(&cli, token)) != NULL;
    if (ok) {
        json_t *body = json_pack("{s:s, s:s}", "PeerName", name, "PeeringToken", text);
        if (json_object_size(pairs) > 0)
            json_object_set(body, "Meta", pairs);
        json_t *reply = cli_api_send(cli.api, "POST", "/v1/peering/establish", body, &cli.error);
        if (reply == NULL)
            error_prefix(&cli.error, "Error establishing peering for %s: ", name);
        ok = reply != NULL;
        json_decref(reply);
        json_decref(body);
    }
    free(text);
    json_decref(pairs);
    if (!ok)
        return fail_plainly(&cli);
    printf("Successfully established peering connection with %s\n", name);
    return cli_end(&cli, 0);
}

/* --- look and delete --- */

static size_t service_count(const json_t *peering, const char *key)
{
    return json_array_size(json_object_get(json_object_get(peering, "StreamStatus"), key));
}

static int compare_peerings(const void *a, const void *b)
{
    return strcmp(cli_text(*(json_t *const *)a, "Name"), cli_text(*(json_t *const *)b, "Name"));
}

static void add_peering(struct cli_table *table, const json_t *peering)
{
    char imported[24], exported[24];
    struct buffer meta = {0};
    const char *key;
    json_t *value;
    snprintf(imported, sizeof imported, "%zu", service_count(peering, "ImportedServices"));
    snprintf(exported, sizeof exported, "%zu", service_count(peering, "ExportedServices"));
    json_object_foreach(json_object_get(peering, "Meta"), key, value)
    {
        buffer_printf(&meta, "%s%s=%s", meta.length > 0 ? "," : "", key, json_string_value(value));
    }
    const char *cells[] = {cli_text(peering, "Name"), cli_text(peering, "State"), imported,
                           exported, buffer_text(&meta)};
    cli_table_add_row(table, cells);
    buffer_free(&meta);
}

static void print_peerings(const json_t *list)
{
    static const char *const titles[] = {"Name", "State", "Imported Svcs", "Exported Svcs", "Meta"};
    size_t count = json_array_size(list);
    json_t **peerings = mem_array(count, sizeof *peerings);
    for (size_t i = 0; i < count; i++)
        peerings[i] = json_array_get(list, i);
    qsort(peerings, count, sizeof *peerings, compare_peerings);
    struct cli_table *table = cli_table_new(5);
    cli_table_add_row(table, titles);
    for (size_t i = 0; i < count; i++)
        add_peering(table, peerings[i]);
    cli_table_print(table, stdout);
    cli_table_free(table);
    free(peerings);
}

int cli_peering_list(int argc, char **argv)
{
    struct peering_flags common = {NULL, "pretty"};
    const struct flag flags[] = {{"format", FLAG_STRING, &common.format, FORMAT_HELP}, {0}};
    static const struct cli_usage usage = {
        .arguments = "[options]",
        .text = "  Lists the peerings of this cluster.",
    };
    struct cli cli;
    if (!cli_start(&cli, &usage, flags, argc, argv))
        return cli.exit_code;
    if (!check_flags(&cli, &common, false))
        return fail_plainly(&cli);
    json_t *list = cli_api_get(cli.api, "/v1/peerings", &cli.error);
    if (list == NULL)
        return cli_fail(&cli, "Error listing peerings");
    if (is_json(&common))
        cli_print_json(list, "");
    else if (json_array_size(list) == 0)
        puts("There are no peering connections.");
    else
        print_peerings(list);
    json_decref(list);
    return cli_end(&cli, 0);
}

/* As Go prints a time: 2026-11-23 22:15:35.5 +0000 UTC */
static void print_time(const char *title, const json_t *status, const char *key)
{
    int64_t ns;
    char text[TIMESTAMP_TEXT_MAX];
    if (!timestamp_parse(cli_text(status, key), &ns)) {
        printf("%-19s\n", title);
        return;
    }
    timestamp_format(ns, text);
    text[strcspn(text, "T")] = ' ';
    text[strcspn(text, "Z")] = '\0';
    printf("%-19s%s +0000 UTC\n", title, text);
}

static void print_peering(const char *name, const json_t *peering)
{
    const json_t *addresses = json_object_get(peering, "PeerServerAddresses");
    const json_t *status = json_object_get(peering, "StreamStatus");
    const char *key;
    json_t *value;
    (void)name; /* the record has it as it was made */
    printf("Name:         %s\nID:           %s\n", cli_text(peering, "Name"),
           cli_text(peering, "ID"));
    if (*cli_text(peering, "Partition") != '\0')
        printf("Partition:    %s\n", cli_text(peering, "Partition"));
    if (*cli_text(peering, "DeletedAt") != '\0')
        printf("DeletedAt:    %s\n", cli_text(peering, "DeletedAt"));
    printf("State:        %s\n", cli_text(peering, "State"));
    if (json_object_size(json_object_get(peering, "Meta")) > 0)
        puts("Meta:");
    json_object_foreach(json_object_get(peering, "Meta"), key, value)
    {
        printf("    %s=%s\n", key, json_string_value(value));
    }
    printf("\nPeer ID:               %s\nPeer Server Name:      %s\nPeer CA Pems:          %zu\n",
           cli_text(peering, "PeerID"), cli_text(peering, "PeerServerName"),
           json_array_size(json_object_get(peering, "PeerCAPems")));
    if (json_array_size(addresses) > 0)
        puts("Peer Server Addresses:");
    else
        puts("");
    for (size_t i = 0; i < json_array_size(addresses); i++)
        printf("    %s\n", json_string_value(json_array_get(addresses, i)));
    printf("Imported Services: %zu\nExported Services: %zu\n\n",
           service_count(peering, "ImportedServices"), service_count(peering, "ExportedServices"));
    print_time("Last Heartbeat:", status, "LastHeartbeat");
    print_time("Last Send:", status, "LastSend");
    print_time("Last Receive:", status, "LastReceive");
    printf("\nCreate Index: %lld\nModify Index: %lld\n\n",
           (long long)cli_integer(peering, "CreateIndex"),
           (long long)cli_integer(peering, "ModifyIndex"));
}

static const json_t *whole(const json_t *peering)
{
    return peering;
}

static const json_t *exported(const json_t *peering)
{
    return json_object_get(json_object_get(peering, "StreamStatus"), "ExportedServices");
}

static void print_exported(const char *name, const json_t *services)
{
    if (json_array_size(services) == 0)
        printf("No services are exported to the peer %s.\n", name);
    for (size_t i = 0; i < json_array_size(services); i++)
        puts(json_string_value(json_array_get(services, i)));
}

/* A command that prints a part of one peering, as JSON or in words. */
static int show_peering(int argc, char **argv, const struct cli_usage *usage,
                        const json_t *(*part)(const json_t *peering),
                        void (*print)(const char *name, const json_t *part))
{
    struct peering_flags common = {NULL, "pretty"};
    const struct flag flags[] = {
        {"name", FLAG_STRING, &common.name, NAME_HELP},
        {"format", FLAG_STRING, &common.format, FORMAT_HELP},
        {0},
    };
    struct cli cli;
    if (!cli_start(&cli, usage, flags, argc, argv))
        return cli.exit_code;
    if (!check_flags(&cli, &common, true))
        return fail_plainly(&cli);
    json_t *peering = get_peering(&cli, common.name);
    if (peering == NULL)
        return fail_reading(&cli, common.name);
    const json_t *shown = part(peering);
    if (is_json(&common))
        cli_print_json(shown != NULL ? shown : json_null(), "");
    else
        print(common.name, shown);
    json_decref(peering);
    return cli_end(&cli, 0);
}

int cli_peering_read(int argc, char **argv)
{
    static const struct cli_usage usage = {
        .arguments = "[options] -name <peer name>",
        .text = "  Prints a peering: its state, the other side, and when it was last heard from.",
    };
    return show_peering(argc, argv, &usage, whole, print_peering);
}

int cli_peering_exported_services(int argc, char **argv)
{
    static const struct cli_usage usage = {
        .arguments = "[options] -name <peer name>",
        .text = "  Lists the services that this cluster lets the peer use.",
    };
    return show_peering(argc, argv, &usage, exported, print_exported);
}

int cli_peering_delete(int argc, char **argv)
{
    struct peering_flags common = {NULL, "pretty"};
    const struct flag flags[] = {{"name", FLAG_STRING, &common.name, NAME_HELP}, {0}};
    static const struct cli_usage usage = {
        .arguments = "[options] -name <peer name>",
        .text = "  Ends a peering and deletes what was imported from it.",
    };
    struct cli cli;
    if (!cli_start(&cli, &usage, flags, argc, argv))
        return cli.exit_code;
    if (!check_flags(&cli, &common, true))
        return fail_plainly(&cli);
    char *path = path_of(common.name);
    /* The API deletes what is not there without a word, as scripts rely on. */
    bool ok = cli_api_call(cli.api, "GET", path, NULL, NULL, &cli.error);
    bool absent = !ok && cli.error.code == ERR_NOT_FOUND;
    ok = ok && cli_api_call(cli.api, "DELETE", path, NULL, NULL, &cli.error);
    free(path);
    if (absent) {
        printf("No peering with name %s found: nothing was deleted.\n", common.name);
        return cli_end(&cli, 0);
    }
    if (!ok)
        return cli_fail(&cli, "Error deleting peering for %s", common.name);
    printf("Successfully submitted peering connection, %s, for deletion\n", common.name);
    return cli_end(&cli, 0);
}
