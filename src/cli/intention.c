#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/duration.h"
#include "base/memory.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/file.h"
#include "cli/table.h"

#define INTENTIONS "/v1/connect/intentions"

/* A service of an intention: [peer:<peer>/][<partition>/][<namespace>/]<name>. */
struct target {
    const char *name, *namespace, *partition, *peer; /* "" where not said */
    char *text;                                      /* what they point into */
};

static void target_free(struct target *target)
{
    free(target->text);
}

static bool target_parse(struct target *ret_target, const char *argument, struct error *error)
{
    struct target target = {"", "", "", "", mem_strdup(argument)};
    char *parts[4] = {NULL}, *rest = target.text;
    size_t count = 0;
    bool peered = text_starts(argument, "peer:");
    if (peered)
        rest += strlen("peer:");
    for (char *part; (part = strsep(&rest, "/")) != NULL; count++) {
        if (count < 4)
            parts[count] = part;
    }
    size_t first = 0;
    if (peered && count > 1)
        target.peer = parts[first++];
    else if (count == 3)
        target.partition = parts[first++];
    if (count - first == 2)
        target.namespace = parts[first++];
    if (count > 3 || count - first != 1 || (peered && first == 0)) {
        target_free(&target);
        return error_set(error, ERR_INVALID,
                         "\"%s\" names no service; write name, namespace/name, "
                         "partition/namespace/name or peer:peer/name",
                         argument);
    }
    target.name = parts[first];
    *ret_target = target;
    return true;
}

/* As the API takes it in a query: namespace and name. */
static void add_target_query(struct buffer *path, const char *key, const struct target *target)
{
    struct buffer text = {0};
    if (*target->peer != '\0')
        buffer_printf(&text, "peer:%s/", target->peer);
    if (*target->partition != '\0')
        buffer_printf(&text, "%s/", target->partition);
    if (*target->namespace != '\0')
        buffer_printf(&text, "%s/", target->namespace);
    buffer_add_text(&text, target->name);
    cli_api_add_query(path, key, buffer_text(&text));
    buffer_free(&text);
}

static void add_pair_query(struct buffer *path, const struct target *source,
                           const struct target *destination)
{
    add_target_query(path, "source", source);
    add_target_query(path, "destination", destination);
}

static void set_if(json_t *object, const char *key, const char *value)
{
    if (*value != '\0')
        json_object_set_new(object, key, json_string(value));
}

/* What an intention says: one of the first two. */
struct verdict {
    const char *action;
    const json_t *permissions; /* NULL: none */
    const json_t *meta;
};

static json_t *intention_json(const struct target *source, const struct target *destination,
                              const struct verdict *verdict)
{
    json_t *intention = json_object();
    set_if(intention, "SourceNS", source->namespace);
    set_if(intention, "SourcePartition", source->partition);
    set_if(intention, "SourcePeer", source->peer);
    set_if(intention, "SourceName", source->name);
    set_if(intention, "DestinationNS", destination->namespace);
    set_if(intention, "DestinationPartition", destination->partition);
    set_if(intention, "DestinationName", destination->name);
    set_if(intention, "SourceType", "consul");
    set_if(intention, "Action", verdict->action);
    if (json_array_size(verdict->permissions) > 0)
        json_object_set(intention, "Permissions", (json_t *)verdict->permissions);
    if (json_object_size(verdict->meta) > 0)
        json_object_set(intention, "Meta", (json_t *)verdict->meta);
    return intention;
}

/* "frontend", "team/frontend"; where the peer would be left out, Consul leaves its users guessing.
 */
static void add_side(struct buffer *output, const json_t *intention, const char *side)
{
    char key[32];
    snprintf(key, sizeof key, "%sPeer", side);
    const char *peer = cli_text(intention, key);
    if (*peer != '\0' && !cli_is_consul())
        buffer_printf(output, "peer:%s/", peer);
    snprintf(key, sizeof key, "%sNS", side);
    const char *namespace = cli_text(intention, key);
    if (*namespace != '\0' && strcmp(namespace, "default") != 0)
        buffer_printf(output, "%s/", namespace);
    snprintf(key, sizeof key, "%sName", side);
    buffer_add_text(output, cli_text(intention, key));
}

/* "foo => bar (allow)" */
static char *describe(const json_t *intention)
{
    struct buffer text = {0};
    const json_t *permissions = json_object_get(intention, "Permissions");
    add_side(&text, intention, "Source");
    buffer_add_text(&text, " => ");
    add_side(&text, intention, "Destination");
    if (json_array_size(permissions) > 0)
        buffer_printf(&text, " (%zu permission%s)", json_array_size(permissions),
                      json_array_size(permissions) == 1 ? "" : "s");
    else
        buffer_printf(&text, " (%s)", cli_text(intention, "Action"));
    return buffer_take(&text);
}

/* --- create --- */

static bool exists(struct cli *cli, const struct target *source, const struct target *destination)
{
    struct buffer path = {0};
    buffer_add_text(&path, INTENTIONS "/exact");
    add_pair_query(&path, source, destination);
    bool found = cli_api_call(cli->api, "GET", buffer_text(&path), NULL, NULL, &cli->error);
    if (!found && cli->error.code == ERR_NOT_FOUND)
        cli->error.code = ERR_NONE;
    buffer_free(&path);
    return found;
}

/* One pair. A peer as source and permissions have no place in the older route, so they take the
 * newer one. */
static bool create_one(struct cli *cli, const struct target *source,
                       const struct target *destination, const struct verdict *verdict,
                       bool replace)
{
    json_t *intention = intention_json(source, destination, verdict);
    char *words = describe(intention);
    struct buffer path = {0};
    bool old = replace && exists(cli, source, destination);
    bool exact = old || *source->peer != '\0' || json_array_size(verdict->permissions) > 0;
    json_t *reply = NULL;
    buffer_add_text(&path, exact ? INTENTIONS "/exact" : INTENTIONS);
    if (exact)
        add_pair_query(&path, source, destination);
    if (cli->error.code == ERR_NONE)
        reply = cli_api_send(cli->api, exact ? "PUT" : "POST", buffer_text(&path), intention,
                             &cli->error);
    if (reply == NULL)
        error_prefix(&cli->error, "Error %s intention \"%s\": ", old ? "replacing" : "creating",
                     words);
    else if (!old)
        printf("Created: %s\n", words);
    bool ok = reply != NULL;
    json_decref(reply);
    json_decref(intention);
    buffer_free(&path);
    free(words);
    return ok;
}

/* Files of config entries' shape are for `config write`; here a file lists {"SourceName": …}. */
static bool create_from_file(struct cli *cli, const char *file, bool replace)
{
    json_t *intention = cli_file_parse(file, &cli->error);
    if (intention == NULL)
        return false;
    char *source_text = mem_strdup(cli_text(intention, "SourceName"));
    char *destination_text = mem_strdup(cli_text(intention, "DestinationName"));
    struct target source = {source_text, cli_text(intention, "SourceNS"), "",
                            cli_text(intention, "SourcePeer"), source_text};
    struct target destination = {destination_text, cli_text(intention, "DestinationNS"), "", "",
                                 destination_text};
    struct verdict verdict = {cli_text(intention, "Action"),
                              json_object_get(intention, "Permissions"),
                              json_object_get(intention, "Meta")};
    bool ok;
    if (*source.name == '\0' || *destination.name == '\0')
        ok = error_set(&cli->error, ERR_INVALID,
                       "%s must have SourceName, DestinationName and Action or Permissions", file);
    else
        ok = create_one(cli, &source, &destination, &verdict, replace);
    target_free(&source);
    target_free(&destination);
    json_decref(intention);
    return ok;
}

static bool create_pair(struct cli *cli, const char *action, const json_t *meta, bool replace)
{
    struct target source = {0}, destination = {0};
    struct verdict verdict = {action, NULL, meta};
    if (!target_parse(&source, cli->arguments[0], &cli->error))
        return false;
    bool ok = target_parse(&destination, cli->arguments[1], &cli->error);
    if (ok) {
        ok = create_one(cli, &source, &destination, &verdict, replace);
        target_free(&destination);
    }
    target_free(&source);
    return ok;
}

int cli_intention_create(int argc, char **argv)
{
    bool allow = false, deny = false, file = false, replace = false;
    struct text_list pairs = {0};
    const struct flag flags[] = {
        {"allow", FLAG_BOOL, &allow, "Allow the source to call the destination (the default)."},
        {"deny", FLAG_BOOL, &deny, "Deny it."},
        {"file", FLAG_BOOL, &file, "The arguments are files, each with one intention."},
        {"meta", FLAG_LIST, &pairs, "Metadata as key=value; may be given repeatedly."},
        {"replace", FLAG_BOOL, &replace, "Replace an intention that is there already."},
        {0},
    };
    static const struct cli_usage usage = {
        .arguments = "[options] SRC DST",
        .text =
            "  Allows or denies that the service SRC calls the service DST. A service of a peer\n"
            "  is written peer:<peer>/<name>; * stands for every service.",
        .arguments_least = 1,
        .arguments_most = 1000,
    };
    struct cli cli;
    bool started = cli_start(&cli, &usage, flags, argc, argv);
    json_t *meta = started ? cli_pairs(&cli, &pairs) : NULL;
    text_list_free(&pairs);
    if (!started)
        return cli.exit_code;
    bool ok = meta != NULL;
    if (ok && allow && deny)
        ok = error_set(&cli.error, ERR_INVALID, "Only one of -allow or -deny may be specified");
    else if (ok && !file && cli.argument_count != 2)
        ok = error_set(&cli.error, ERR_INVALID,
                       "Must specify two arguments: source and destination");
    if (ok && !file)
        ok = create_pair(&cli, deny ? "deny" : "allow", meta, replace);
    for (int i = 0; file && ok && i < cli.argument_count; i++)
        ok = create_from_file(&cli, cli.arguments[i], replace);
    json_decref(meta);
    if (ok)
        return cli_end(&cli, 0);
    fprintf(stderr, "%s\n", cli.error.message);
    return cli_end(&cli, 1);
}

/* --- the others --- */

/* Runs a request on the intention that the arguments name: an id, or a source and a destination.
 * The answer, or NULL. */
static json_t *call_on_one(struct cli *cli, const char *method, const char *pair_path)
{
    struct buffer path = {0};
    if (cli->argument_count == 1) {
        buffer_add_text(&path, INTENTIONS "/");
        cli_api_add_segment(&path, cli->arguments[0]);
    } else {
        struct target source = {0}, destination = {0};
        if (!target_parse(&source, cli->arguments[0], &cli->error))
            return NULL;
        if (!target_parse(&destination, cli->arguments[1], &cli->error)) {
            target_free(&source);
            return NULL;
        }
        buffer_add_text(&path, pair_path);
        add_pair_query(&path, &source, &destination);
        target_free(&source);
        target_free(&destination);
    }
    json_t *answer = cli_api_send(cli->api, method, buffer_text(&path), NULL, &cli->error);
    buffer_free(&path);
    return answer;
}

/* The end of a command whose intention is not there: says which one. */
static int end_absent(struct cli *cli, const char *then, int exit_code)
{
    FILE *output = exit_code == 0 ? stdout : stderr;
    if (cli->argument_count == 2)
        fprintf(output, "Intention not found with source \"%s\" and destination \"%s\"%s\n",
                cli->arguments[0], cli->arguments[1], then);
    else
        fprintf(output, "Intention not found with id \"%s\"%s\n", cli->arguments[0], then);
    return cli_end(cli, exit_code);
}

int cli_intention_check(int argc, char **argv)
{
    static const struct cli_usage usage = {
        .arguments = "[options] SRC DST",
        .text =
            "  Tells whether SRC may open a connection to DST by the intentions that are there\n"
            "  now: prints Allowed (exit code 0) or Denied (exit code 1). Rules on single HTTP\n"
            "  requests count as denied.",
        .arguments_least = 2,
        .arguments_most = 2,
    };
    struct cli cli;
    if (!cli_start(&cli, &usage, NULL, argc, argv))
        return cli.exit_code;
    json_t *answer = call_on_one(&cli, "GET", INTENTIONS "/check");
    if (answer == NULL)
        return cli_fail(&cli, "Error checking the connection");
    bool allowed = json_is_true(json_object_get(answer, "Allowed"));
    json_decref(answer);
    puts(allowed ? "Allowed" : "Denied");
    return cli_end(&cli, allowed ? 0 : 1);
}

int cli_intention_delete(int argc, char **argv)
{
    static const struct cli_usage usage = {
        .arguments = "[options] SRC DST",
        .text = "  Deletes the intention from SRC to DST, or the one with the given id.",
        .arguments_least = 1,
        .arguments_most = 2,
    };
    struct cli cli;
    if (!cli_start(&cli, &usage, NULL, argc, argv))
        return cli.exit_code;
    /* The API deletes a pair that is not there without a word, as scripts rely on. */
    bool by_pair = cli.argument_count == 2;
    json_t *before = by_pair ? call_on_one(&cli, "GET", INTENTIONS "/exact") : NULL;
    if (before == NULL && cli.error.code == ERR_NOT_FOUND)
        return end_absent(&cli, ": nothing was deleted.", 0);
    json_decref(before);
    bool may_delete = before != NULL || !by_pair;
    json_t *answer = may_delete ? call_on_one(&cli, "DELETE", INTENTIONS "/exact") : NULL;
    if (answer == NULL && cli.error.code == ERR_NOT_FOUND)
        return end_absent(&cli, ": nothing was deleted.", 1);
    if (answer == NULL)
        return cli_fail(&cli, "Error deleting the intention");
    json_decref(answer);
    puts("Intention deleted.");
    return cli_end(&cli, 0);
}

static void add_line(struct cli_table *table, const char *title, const char *value)
{
    const char *cells[] = {title, value};
    cli_table_add_row(table, cells);
}

static void print_intention(const json_t *intention)
{
    struct cli_table *table = cli_table_new(2);
    struct buffer source = {0}, destination = {0};
    add_side(&source, intention, "Source");
    add_side(&destination, intention, "Destination");
    add_line(table, "Source:", buffer_text(&source));
    add_line(table, "Destination:", buffer_text(&destination));
    if (*cli_text(intention, "Action") != '\0')
        add_line(table, "Action:", cli_text(intention, "Action"));
    if (*cli_text(intention, "ID") != '\0')
        add_line(table, "ID:", cli_text(intention, "ID"));
    if (*cli_text(intention, "Description") != '\0')
        add_line(table, "Description:", cli_text(intention, "Description"));
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(intention, "Meta"), key, value)
    {
        char *title = mem_printf("Meta[%s]:", key);
        add_line(table, title, json_string_value(value));
        free(title);
    }
    int64_t created;
    if (timestamp_parse(cli_text(intention, "CreatedAt"), &created) && created > 0) {
        time_t seconds = (time_t)(created / DURATION_SECOND);
        struct tm local;
        char text[64];
        strftime(text, sizeof text, "%A, %d-%b-%y %H:%M:%S %Z", localtime_r(&seconds, &local));
        add_line(table, "Created At:", text);
    }
    cli_table_print(table, stdout);
    cli_table_free(table);
    const json_t *permissions = json_object_get(intention, "Permissions");
    if (json_array_size(permissions) > 0) {
        puts("Permissions:");
        cli_print_json(permissions, "  ");
    }
    buffer_free(&source);
    buffer_free(&destination);
}

int cli_intention_get(int argc, char **argv)
{
    static const struct cli_usage usage = {
        .arguments = "[options] SRC DST",
        .text = "  Prints the intention from SRC to DST, or the one with the given id.",
        .arguments_least = 1,
        .arguments_most = 2,
    };
    struct cli cli;
    if (!cli_start(&cli, &usage, NULL, argc, argv))
        return cli.exit_code;
    json_t *intention = call_on_one(&cli, "GET", INTENTIONS "/exact");
    if (intention == NULL && cli.error.code == ERR_NOT_FOUND)
        return end_absent(&cli, "", 1);
    if (intention == NULL)
        return cli_fail(&cli, "Error reading the intention");
    print_intention(intention);
    json_decref(intention);
    return cli_end(&cli, 0);
}

int cli_intention_list(int argc, char **argv)
{
    static const char *const titles[] = {"ID", "Source", "Action", "Destination", "Precedence"};
    static const struct cli_usage usage = {
        .arguments = "[options]",
        .text = "  Lists all intentions. The exit code is 2 if there are none.",
    };
    struct cli cli;
    if (!cli_start(&cli, &usage, NULL, argc, argv))
        return cli.exit_code;
    json_t *list = cli_api_get(cli.api, INTENTIONS, &cli.error), *intention;
    if (list == NULL)
        return cli_fail(&cli, "Failed to retrieve the intentions list");
    size_t count = json_array_size(list), i;
    struct cli_table *table = cli_table_new(5);
    cli_table_add_row(table, titles);
    json_array_foreach(list, i, intention)
    {
        struct buffer source = {0}, destination = {0};
        char precedence[24];
        add_side(&source, intention, "Source");
        add_side(&destination, intention, "Destination");
        snprintf(precedence, sizeof precedence, "%lld",
                 (long long)cli_integer(intention, "Precedence"));
        const char *cells[] = {cli_text(intention, "ID"), buffer_text(&source),
                               cli_text(intention, "Action"), buffer_text(&destination),
                               precedence};
        cli_table_add_row(table, cells);
        buffer_free(&source);
        buffer_free(&destination);
    }
    if (count > 0)
        cli_table_print(table, stdout);
    else
        fputs("There are no intentions.\n", stderr);
    cli_table_free(table);
    json_decref(list);
    return cli_end(&cli, count > 0 ? 0 : 2);
}

int cli_intention_match(int argc, char **argv)
{
    bool source = false, destination = false;
    const struct flag flags[] = {
        {"source", FLAG_BOOL, &source, "Match intentions whose source is the service."},
        {"destination", FLAG_BOOL, &destination,
         "Match intentions whose destination is the service (the default)."},
        {0},
    };
    static const struct cli_usage usage = {
        .arguments = "[options] SERVICE",
        .text = "  Lists the intentions that apply to a service, the most exact first.",
        .arguments_least = 1,
        .arguments_most = 1,
    };
    struct cli cli;
    if (!cli_start(&cli, &usage, flags, argc, argv))
        return cli.exit_code;
    if (source && destination)
        return cli_fail(&cli, "Only one of -source or -destination may be specified");
    struct buffer path = {0};
    buffer_add_text(&path, INTENTIONS "/match");
    cli_api_add_query(&path, "by", source ? "source" : "destination");
    cli_api_add_query(&path, "name", cli.arguments[0]);
    json_t *answer = cli_api_get(cli.api, buffer_text(&path), &cli.error);
    buffer_free(&path);
    if (answer == NULL)
        return cli_fail(&cli, "Error matching the connection");
    const char *name;
    json_t *list;
    json_object_foreach(answer, name, list)
    {
        for (size_t i = 0; i < json_array_size(list); i++) {
            char *words = describe(json_array_get(list, i));
            puts(words);
            free(words);
        }
    }
    json_decref(answer);
    return cli_end(&cli, 0);
}
