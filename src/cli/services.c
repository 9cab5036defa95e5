#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/file.h"
#include "cli/table.h"
#include "proto/codec_tables.h"
#include "proto/proto.h"

/* --- service definitions --- */

typedef bool service_fn(struct cli *cli, const Pb__ServiceDefinition *service);

static const char *id_of(const Pb__ServiceDefinition *service)
{
    return *service->id != '\0' ? service->id : service->name;
}

/* Reads one definition and hands it on. */
static bool with_definition(struct cli *cli, const json_t *value, const char *file, service_fn *use)
{
    struct arena *arena = arena_new();
    const Pb__ServiceDefinition *service = codec_read(&pb__service_definition__codec, value,
                                                      CODEC_HCL | CODEC_WEAK, arena, &cli->error);
    if (service == NULL)
        error_prefix(&cli->error, "%s: service: ", file);
    bool ok = service != NULL && use(cli, service);
    arena_free(arena);
    return ok;
}

/* `service { }` and `services { }`, once or repeatedly, and lists of them. */
static bool with_file(struct cli *cli, const char *path, service_fn *use)
{
    static const char *const keys[] = {"service", "services", "Service", "Services"};
    json_t *file = cli_file_parse(path, &cli->error);
    if (file == NULL)
        return false;
    bool ok = true;
    size_t found = 0;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        json_t *value = json_object_get(file, keys[i]);
        size_t count = json_is_array(value) ? json_array_size(value) : value != NULL;
        for (size_t j = 0; ok && j < count; j++, found++)
            ok = with_definition(cli, json_is_array(value) ? json_array_get(value, j) : value, path,
                                 use);
    }
    json_decref(file);
    if (ok && found == 0)
        return error_set(&cli->error, ERR_INVALID,
                         "%s defines no service; it needs service { … } or services { … }", path);
    return ok;
}

/* Says which upstreams of a proxy that was just registered have no way yet; it is no failure. */
static void warn_of_waiting(struct cli *cli, const char *proxy_id)
{
    struct buffer path = {0};
    buffer_add_text(&path, "/v1/agent/service/");
    cli_api_add_segment(&path, proxy_id);
    json_t *proxy = cli_api_get(cli->api, buffer_text(&path), NULL);
    buffer_free(&path);
    const char *upstream;
    json_t *why;
    json_object_foreach(json_object_get(proxy, "UpstreamsWaiting"), upstream, why)
    {
        fflush(stdout);
        fprintf(stderr, "warning: upstream %s cannot be called yet: %s\n", upstream,
                json_string_value(why));
    }
    json_decref(proxy);
}

static bool register_one(struct cli *cli, const Pb__ServiceDefinition *service)
{
    struct buffer body = {0};
    codec_write(&body, &pb__service_definition__codec, service);
    bool ok = cli_api_call(cli->api, "PUT", "/v1/agent/service/register", buffer_text(&body), NULL,
                           &cli->error);
    if (ok) {
        printf("Registered service: %s\n", service->name);
        char *sidecar = mem_printf("%s-sidecar-proxy", id_of(service));
        bool nested = service->connect != NULL && service->connect->sidecar_service != NULL;
        if (nested || service->proxy != NULL)
            warn_of_waiting(cli, nested ? sidecar : id_of(service));
        free(sidecar);
    } else {
        error_prefix(&cli->error, "Error registering service \"%s\": ", service->name);
    }
    buffer_free(&body);
    return ok;
}

static bool deregister_id(struct cli *cli, const char *id)
{
    struct buffer path = {0};
    buffer_add_text(&path, "/v1/agent/service/deregister/");
    cli_api_add_segment(&path, id);
    bool ok = cli_api_call(cli->api, "PUT", buffer_text(&path), NULL, NULL, &cli->error);
    if (ok)
        printf("Deregistered service: %s\n", id);
    else
        error_prefix(&cli->error, "Error deregistering service \"%s\": ", id);
    buffer_free(&path);
    return ok;
}

static bool deregister_one(struct cli *cli, const Pb__ServiceDefinition *service)
{
    return deregister_id(cli, id_of(service));
}

static int finish(struct cli *cli, bool ok)
{
    if (ok)
        return cli_end(cli, 0);
    fflush(stdout);
    fprintf(stderr, "%s\n", cli->error.message);
    return cli_end(cli, 1);
}

/* What `services register` takes as flags instead of a file. */
struct service_flags {
    const char *kind, *id, *name, *address, *socket_path;
    int64_t port;
    struct text_list tags, meta;
};

static bool register_flags(struct cli *cli, const struct service_flags *given)
{
    json_t *meta = cli_pairs(cli, &given->meta), *tags = json_array();
    if (meta == NULL) {
        json_decref(tags);
        return false;
    }
    for (size_t i = 0; i < given->tags.count; i++)
        json_array_append_new(tags, json_string(given->tags.items[i]));
    json_t *service =
        json_pack("{s:s*, s:s*, s:s*, s:s*, s:s*, s:I, s:o, s:o}", "Kind", given->kind, "ID",
                  given->id, "Name", given->name, "Address", given->address, "SocketPath",
                  given->socket_path, "Port", (json_int_t)given->port, "Tags", tags, "Meta", meta);
    bool ok = service != NULL && with_definition(cli, service, "flags", register_one);
    json_decref(service);
    return ok;
}

int cli_services_register(int argc, char **argv)
{
    struct service_flags given = {0};
    const struct flag flags[] = {
        {"name", FLAG_STRING, &given.name, "Name of the service."},
        {"id", FLAG_STRING, &given.id, "Id of the instance; default is the name."},
        {"kind", FLAG_STRING, &given.kind, "Kind, for proxies and gateways."},
        {"address", FLAG_STRING, &given.address, "Address of the instance; default is the node's."},
        {"port", FLAG_NUMBER, &given.port, "Port of the instance."},
        {"socket", FLAG_STRING, &given.socket_path, "Path of a Unix socket instead of a port."},
        {"tag", FLAG_LIST, &given.tags, "A tag; may be given repeatedly."},
        {"meta", FLAG_LIST, &given.meta, "Metadata as key=value; may be given repeatedly."},
        {0},
    };
    static const struct cli_usage usage = {
        .arguments = "[options] [FILE...]",
        .text =
            "  Registers services with the local agent: those that the files define, or one by\n"
            "  flags.",
        .arguments_most = 1000,
    };
    struct cli cli;
    bool started = cli_start(&cli, &usage, flags, argc, argv), ok = true;
    if (started && cli.argument_count == 0 && text_empty(given.name))
        ok = error_set(&cli.error, ERR_INVALID,
                       "Service registration requires at least one argument or flags");
    else if (started && cli.argument_count > 0 && !text_empty(given.name))
        ok = error_set(&cli.error, ERR_INVALID, "Flags and files cannot be used together");
    else if (started && cli.argument_count == 0)
        ok = register_flags(&cli, &given);
    for (int i = 0; started && ok && i < cli.argument_count; i++)
        ok = with_file(&cli, cli.arguments[i], register_one);
    text_list_free(&given.tags);
    text_list_free(&given.meta);
    return started ? finish(&cli, ok) : cli.exit_code;
}

int cli_services_deregister(int argc, char **argv)
{
    const char *id = NULL;
    const struct flag flags[] = {{"id", FLAG_STRING, &id, "Id of the instance."}, {0}};
    static const struct cli_usage usage = {
        .arguments = "[options] [FILE...]",
        .text = "  Takes services out of the local agent: those that the files define, or one by\n"
                "  its id. Their sidecars go with them.",
        .arguments_most = 1000,
    };
    struct cli cli;
    if (!cli_start(&cli, &usage, flags, argc, argv))
        return cli.exit_code;
    bool ok = true;
    if (cli.argument_count == 0 && text_empty(id))
        ok = error_set(&cli.error, ERR_INVALID,
                       "Service deregistration requires at least one argument or -id");
    else if (!text_empty(id))
        ok = deregister_id(&cli, id);
    for (int i = 0; ok && i < cli.argument_count; i++)
        ok = with_file(&cli, cli.arguments[i], deregister_one);
    return finish(&cli, ok);
}

/* --- export --- */

static json_t *find_service(const json_t *services, const char *name)
{
    for (size_t i = 0; i < json_array_size(services); i++) {
        json_t *service = json_array_get(services, i);
        if (strcmp(cli_text(service, "Name"), name) == 0)
            return service;
    }
    return NULL;
}

static void add_consumer(json_t *consumers, const char *key, const char *name)
{
    for (size_t i = 0; i < json_array_size(consumers); i++) {
        if (strcmp(cli_text(json_array_get(consumers, i), key), name) == 0)
            return;
    }
    json_array_append_new(consumers, json_pack("{s:s}", key, name));
}

/* Adds each of the comma-separated names as a consumer. */
static void add_consumers(json_t *consumers, const char *key, const char *names)
{
    char *copy = mem_strdup(names != NULL ? names : ""), *rest = copy, *name;
    while ((name = strsep(&rest, ",")) != NULL) {
        if (*name != '\0')
            add_consumer(consumers, key, name);
    }
    free(copy);
}

/* The member of an object, made if it is missing. */
static json_t *list_member(json_t *object, const char *key)
{
    json_t *list = json_object_get(object, key);
    if (!json_is_array(list)) {
        list = json_array();
        json_object_set_new(object, key, list);
    }
    return list;
}

static bool put_export(struct cli *cli, json_t *entry, const char *name, const char *peers,
                       const char *partitions)
{
    json_t *services = list_member(entry, "Services"), *service = find_service(services, name);
    if (service == NULL) {
        service = json_pack("{s:s}", "Name", name);
        json_array_append_new(services, service);
    }
    json_t *consumers = list_member(service, "Consumers");
    add_consumers(consumers, "Peer", peers);
    add_consumers(consumers, "Partition", partitions);
    struct buffer path = {0};
    buffer_printf(&path, "/v1/config?cas=%lld", (long long)cli_integer(entry, "ModifyIndex"));
    json_object_del(entry, "Hash");
    json_object_del(entry, "CreateIndex");
    json_object_del(entry, "ModifyIndex");
    json_t *reply = cli_api_send(cli->api, "PUT", buffer_text(&path), entry, &cli->error);
    buffer_free(&path);
    bool ok = json_is_true(reply);
    if (reply != NULL && !ok)
        error_set(&cli->error, ERR_CONFLICT,
                  "the exported-services entry was changed at the same time; run this again");
    json_decref(reply);
    return ok;
}

/* The stored entry, or a new one. */
static json_t *export_entry(struct cli *cli, const char *partition)
{
    char *path = mem_printf("/v1/config/exported-services/%s", partition);
    json_t *entry = cli_api_get(cli->api, path, &cli->error);
    free(path);
    if (entry == NULL && cli->error.code == ERR_NOT_FOUND) {
        cli->error.code = ERR_NONE;
        entry = json_pack("{s:s, s:s}", "Kind", "exported-services", "Name", partition);
    }
    return entry;
}

int cli_services_export(int argc, char **argv)
{
    const char *name = NULL, *peers = NULL, *partitions = NULL;
    const struct flag flags[] = {
        {"name", FLAG_STRING, &name, "Name of the service. Required."},
        {"consumer-peers", FLAG_STRING, &peers, "Peers that may use it, separated by commas."},
        {"consumer-partitions", FLAG_STRING, &partitions,
         "Partitions that may use it, separated by commas."},
        {0},
    };
    static const struct cli_usage usage = {
        .arguments = "[options] -name <service> -consumer-peers <peers>",
        .text = "  Lets peers use a service, by the partition's exported-services entry. What it\n"
                "  exports already stays.",
    };
    struct cli cli;
    if (!cli_start(&cli, &usage, flags, argc, argv))
        return cli.exit_code;
    if (text_empty(name))
        return cli_fail(&cli, "Missing the required -name flag");
    if (text_empty(peers) && text_empty(partitions))
        return cli_fail(&cli, "Missing the required -consumer-peers or -consumer-partitions flag");
    const char *own = cli.settings.partition;
    json_t *entry = export_entry(&cli, text_empty(own) ? "default" : own);
    if (entry == NULL)
        return cli_fail(&cli, "Error reading config entry exported-services/default");
    bool ok = put_export(&cli, entry, name, peers, partitions);
    json_decref(entry);
    if (!ok)
        return cli_fail(&cli, "Error exporting service \"%s\"", name);
    printf("Successfully exported service \"%s\" to cluster %s \"%s\"", name,
           text_empty(peers) ? "partitions" : "peers", text_empty(peers) ? partitions : peers);
    if (!text_empty(peers) && !text_empty(partitions))
        printf(" and to partitions \"%s\"", partitions);
    putchar('\n');
    return cli_end(&cli, 0);
}

/* "cluster-01, cluster-02" */
static char *join_names(const json_t *names)
{
    struct buffer text = {0};
    for (size_t i = 0; i < json_array_size(names); i++)
        buffer_printf(&text, "%s%s", i > 0 ? ", " : "",
                      json_string_value(json_array_get(names, i)));
    return buffer_take(&text);
}

int cli_services_exported_services(int argc, char **argv)
{
    static const char *const titles[] = {"Service", "Consumer Peers"};
    const char *format = "pretty";
    const struct flag flags[] = {
        {"format", FLAG_STRING, &format, "\"pretty\" or \"json\"."},
        {0},
    };
    static const struct cli_usage usage = {
        .arguments = "[options]",
        .text = "  Lists the services that are exported, and to whom.",
    };
    struct cli cli;
    if (!cli_start(&cli, &usage, flags, argc, argv))
        return cli.exit_code;
    json_t *list = cli_api_get(cli.api, "/v1/exported-services", &cli.error), *service;
    if (list == NULL)
        return cli_fail(&cli, "Error reading exported services");
    struct cli_table *table = cli_table_new(2);
    cli_table_add_row(table, titles);
    size_t i;
    json_array_foreach(list, i, service)
    {
        char *peers = join_names(json_object_get(json_object_get(service, "Consumers"), "Peers"));
        const char *cells[] = {cli_text(service, "Service"), peers};
        cli_table_add_row(table, cells);
        free(peers);
    }
    if (strcmp(format, "json") == 0)
        cli_print_json(list, "    ");
    else if (json_array_size(list) == 0)
        puts("No exported services found");
    else
        cli_table_print(table, stdout);
    cli_table_free(table);
    json_decref(list);
    return cli_end(&cli, 0);
}
