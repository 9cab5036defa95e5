#include "agent/config.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <ifaddrs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/duration.h"
#include "base/file.h"
#include "base/log.h"
#include "mesh/opaque.h"
#include "proto/codec_tables.h"
#include "proto/proto.h"
#include "text/hcl.h"
#include "text/json.h"

#define FILE_BYTES_MAX ((size_t)16 << 20)

static const char defaults[] =
    "{\"datacenter\":\"dc1\",\"client_addr\":\"127.0.0.1\",\"bind_addr\":\"0.0.0.0\","
    "\"log_level\":\"info\",\"connect\":{\"enabled\":true},\"peering\":{\"enabled\":true},"
    "\"default_query_time\":\"5m\",\"max_query_time\":\"10m\",\"check_output_max_size\":4096,"
    "\"ports\":{\"dns\":8600,\"http\":8500,\"https\":-1,\"grpc\":-1,\"server\":8300,"
    "\"serf_lan\":8301,\"serf_wan\":8302,\"sidecar_min_port\":21000,\"sidecar_max_port\":21255,"
    "\"expose_min_port\":21500,\"expose_max_port\":21755}}";
static const char dev_defaults[] =
    "{\"server\":true,\"bind_addr\":\"127.0.0.1\",\"ports\":{\"grpc\":8502}}";

struct loading {
    const struct agent_sources *sources;
    struct arena *arena;
    struct text_list *warnings, *errors;
    json_t *merged;
    json_t *entries; /* config_entries.bootstrap of all files */
};

static void add_error(struct loading *loading, const char *text)
{
    text_list_add(loading->errors, text);
}

/* ---- merging ---- */

static void merge(json_t *into, json_t *from);

static bool is_list_of_objects(json_t *value)
{
    return json_is_array(value) && json_array_size(value) > 0 &&
           json_is_object(json_array_get(value, 0));
}

/* HCL's blocks are lists; where the schema has a single message the list's objects are one. Where
 * it has a list, a single object is one of its members, so that those of several files are joined.
 */
static void unwrap_blocks(json_t *object, const struct codec_message *type)
{
    for (size_t i = 0; i < type->field_count; i++) {
        const struct codec_field *field = &type->fields[i];
        json_t *value = json_object_get(object, field->name);
        bool repeated = type->descriptor->fields[field->index].label == PROTOBUF_C_LABEL_REPEATED;
        bool single =
            field->format == CODEC_RAW_JSON || field->map || (field->message != NULL && !repeated);
        if (value != NULL && repeated && !single && json_is_object(value)) {
            json_t *list = json_array(); /* `service` in JSON: as its block in HCL */
            json_array_append(list, value);
            json_object_set_new(object, field->name, list);
        }
        if (!single || value == NULL)
            continue;
        if (is_list_of_objects(value)) {
            json_t *joined = json_object();
            size_t index;
            json_t *part;
            json_array_foreach(value, index, part)
            {
                if (json_is_object(part))
                    merge(joined, part);
            }
            json_object_set_new(object, field->name, joined);
            value = joined;
        }
        if (json_is_object(value) && field->message != NULL && !field->map)
            unwrap_blocks(value, field->message);
    }
}

static void merge(json_t *into, json_t *from)
{
    const char *key;
    json_t *value;
    json_object_foreach(from, key, value)
    {
        json_t *old = json_object_get(into, key);
        if (json_is_null(value))
            continue;
        if (json_is_object(old) && json_is_object(value))
            merge(old, value);
        else if (json_is_array(old) && json_is_array(value))
            json_array_extend(old, value);
        else
            json_object_set_new(into, key, json_deep_copy(value));
    }
}

/* Takes config_entries out: its entries are of many kinds, and read by config/. */
static void take_config_entries(struct loading *loading, json_t *object)
{
    json_t *blocks = json_object_get(object, "config_entries");
    json_t *list = json_is_array(blocks) ? json_incref(blocks) : json_array();
    if (json_is_object(blocks))
        json_array_append(list, blocks);
    size_t index;
    json_t *block;
    json_array_foreach(list, index, block)
    {
        json_t *bootstrap = json_object_get(block, "bootstrap");
        if (json_is_object(bootstrap))
            json_array_append(loading->entries, bootstrap);
        else if (json_is_array(bootstrap))
            json_array_extend(loading->entries, bootstrap);
    }
    json_decref(list);
    json_object_del(object, "config_entries");
}

/* Checks one source by itself, so that an error names its file, and lays it over the rest. */
static void merge_source(struct loading *loading, json_t *object, const char *name)
{
    struct text_list wrong = {0};
    take_config_entries(loading, object);
    unwrap_blocks(object, &pb__agent_config__codec);
    codec_read_all(&pb__agent_config__codec, object, CODEC_HCL | CODEC_WEAK, loading->arena,
                   &wrong);
    merge(loading->merged,
          object); /* also what is right of a wrong file: its values may be wrong too */
    for (size_t i = 0; i < wrong.count; i++)
        add_error(loading, arena_printf(loading->arena, "%s: %s", name, wrong.items[i]));
    text_list_free(&wrong);
}

/* ---- files ---- */

static void load_text(struct loading *loading, const char *text, size_t length, const char *name)
{
    struct error error;
    if (strspn(text, " \t\r\n") == length) /* an empty file sets nothing */
        return;
    json_t *object = hcl_parse(text, length, name, loading->warnings, &error);
    if (object == NULL)
        add_error(loading, error.message);
    else if (!json_is_object(object))
        add_error(loading, arena_printf(loading->arena, "%s: expected an object", name));
    else
        merge_source(loading, object, name);
    json_decref(object);
}

static void load_file(struct loading *loading, const char *path)
{
    struct error error;
    size_t length;
    char *text = file_read(path, FILE_BYTES_MAX, &length, &error);
    if (text == NULL)
        add_error(loading, error.message);
    else
        load_text(loading, text, length, path);
    free(text);
}

static int is_config_file(const struct dirent *entry)
{
    return text_ends(entry->d_name, ".hcl") || text_ends(entry->d_name, ".json");
}

static void load_path(struct loading *loading, const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode)) {
        load_file(loading, path);
        return;
    }
    struct dirent **entries;
    int count = scandir(path, &entries, is_config_file, alphasort);
    if (count < 0) {
        add_error(loading, arena_printf(loading->arena, "%s: %s", path, strerror(errno)));
        return;
    }
    for (int i = 0; i < count; i++) {
        load_file(loading, arena_printf(loading->arena, "%s/%s", path, entries[i]->d_name));
        free(entries[i]);
    }
    free(entries);
}

/* ---- what follows from the values ---- */

static bool valid_datacenter(const char *name)
{
    if (text_empty(name))
        return false;
    for (; *name != '\0'; name++) {
        if (!(*name >= 'a' && *name <= 'z') && !(*name >= '0' && *name <= '9') && *name != '-' &&
            *name != '_')
            return false;
    }
    return true;
}

static void check_ports(struct loading *loading, const Pb__AgentPorts *ports)
{
    const ProtobufCMessageDescriptor *type = ports->base.descriptor;
    for (unsigned i = 0; i < type->n_fields; i++) {
        int32_t port = *(const int32_t *)((const char *)ports + type->fields[i].offset);
        if (port < -1 || port > 65535)
            add_error(loading, arena_printf(loading->arena,
                                            "ports.%s: %d is no port (1 to 65535, or -1 for off)",
                                            type->fields[i].name, port));
    }
}

/* The address of the one interface that leads outside; several need a word from the user. */
static const char *find_advertise(struct loading *loading)
{
    struct ifaddrs *interfaces;
    const char *found = NULL;
    if (getifaddrs(&interfaces) != 0)
        return NULL;
    for (struct ifaddrs *at = interfaces; at != NULL; at = at->ifa_next) {
        if (at->ifa_addr == NULL || at->ifa_addr->sa_family != AF_INET)
            continue;
        const struct sockaddr_in *address = (const struct sockaddr_in *)(const void *)at->ifa_addr;
        uint32_t host = ntohl(address->sin_addr.s_addr);
        bool private = host >> 24 == 10 || host >> 20 == 0xAC1 || host >> 16 == 0xC0A8;
        if (!private)
            continue;
        char text[INET_ADDRSTRLEN];
        inet_ntop(AF_INET, &address->sin_addr, text, sizeof text);
        if (found != NULL && strcmp(found, text) != 0) {
            add_error(loading, "multiple private IPv4 addresses found; choose one with bind_addr "
                               "or advertise_addr");
            break;
        }
        found = arena_strdup(loading->arena, text);
    }
    freeifaddrs(interfaces);
    return found;
}

static const char *choose_advertise(struct loading *loading, const Pb__AgentConfig *values)
{
    const char *address = values->advertise_addr;
    if (text_empty(address))
        address = values->bind_addr;
    if (!text_is_ip(address)) {
        add_error(loading,
                  arena_printf(loading->arena, "%s: \"%s\" is not an IP address",
                               text_empty(values->advertise_addr) ? "bind_addr" : "advertise_addr",
                               address));
        return "127.0.0.1";
    }
    if ((strcmp(address, "0.0.0.0") != 0 && strcmp(address, "::") != 0) ||
        loading->sources->files_only)
        return address;
    const char *found = find_advertise(loading);
    if (found == NULL)
        add_error(loading,
                  "no private IPv4 address found to advertise; set bind_addr or advertise_addr");
    return found != NULL ? found : "127.0.0.1";
}

/* A certificate is dated back a minute: one that lives no longer is over when it is made. */
static void check_leaf_ttl(struct loading *loading, const Pb__AgentConnect *connect)
{
    struct opaque given = opaque_parse(connect->ca_config, NULL);
    int64_t ttl;
    if (opaque_get(&given, "leaf_cert_ttl") != NULL &&
        (!opaque_duration(&given, "leaf_cert_ttl", &ttl) || ttl <= DURATION_MINUTE))
        add_error(loading, "connect.ca_config.leaf_cert_ttl: must be a duration longer than 1m");
    opaque_clear(&given);
}

static void check_values(struct loading *loading, const struct agent_config *config)
{
    const Pb__AgentConfig *values = config->values;
    if (!valid_datacenter(values->datacenter))
        add_error(loading, arena_printf(loading->arena,
                                        "datacenter: \"%s\" must consist of lower case letters, "
                                        "digits, '-' and '_'",
                                        values->datacenter));
    if (values->ports != NULL)
        check_ports(loading, values->ports);
    bool mode_known = !loading->sources->files_only && !config->dev;
    if (mode_known && values->server && text_empty(values->data_dir))
        add_error(loading, "data_dir cannot be empty: a server keeps its state there (-data-dir)");
    if (mode_known && !values->server)
        add_error(loading, "client agents are not supported by this version of Pons: start with "
                           "-dev or -server");
    if (values->acl != NULL && values->acl->enabled)
        add_error(loading, "acl.enabled: access control is not supported by this version of Pons, "
                           "and running without what was asked for would not be safe");
    if (values->connect != NULL && !text_empty(values->connect->ca_provider) &&
        strcmp(values->connect->ca_provider, "consul") != 0)
        add_error(loading, arena_printf(loading->arena,
                                        "connect.ca_provider: \"%s\" is not supported; only the "
                                        "built-in \"consul\" is",
                                        values->connect->ca_provider));
    if (values->connect != NULL)
        check_leaf_ttl(loading, values->connect);
    enum log_level level;
    if (!log_level_parse(values->log_level, &level))
        add_error(loading, arena_printf(loading->arena,
                                        "log_level: \"%s\" is none of trace, debug, info, warn and "
                                        "error",
                                        values->log_level));
    const char *policy = values->default_intention_policy;
    if (!text_empty(policy) && strcmp(policy, "allow") != 0 && strcmp(policy, "deny") != 0)
        add_error(loading, arena_printf(loading->arena,
                                        "default_intention_policy: \"%s\" is neither \"allow\" "
                                        "nor \"deny\"",
                                        policy));
}

static void read_entries(struct loading *loading, struct agent_config *config)
{
    size_t count = json_array_size(loading->entries);
    struct bootstrap_entry *entries = arena_alloc(loading->arena, count * sizeof *entries);
    for (size_t i = 0; i < count; i++) {
        struct error error;
        entries[i].entry = config_entry_read(json_array_get(loading->entries, i), CODEC_HCL,
                                             &entries[i].kind, loading->arena, &error);
        if (entries[i].entry == NULL) {
            error_prefix(&error, "config_entries.bootstrap[%zu]: ", i);
            add_error(loading, error.message);
        }
    }
    config->entry_count = count;
    config->entries = entries;
}

static void *join_lists(struct arena *arena, size_t n_a, void *a, size_t n_b, void *b)
{
    void **joined = arena_alloc(arena, (n_a + n_b) * sizeof *joined);
    if (n_a > 0)
        memcpy(joined, a, n_a * sizeof *joined);
    if (n_b > 0)
        memcpy(joined + n_a, b, n_b * sizeof *joined);
    return joined;
}

static void complete(struct loading *loading, struct agent_config *config, Pb__AgentConfig *values)
{
    char host[256] = "localhost";
    gethostname(host, sizeof host - 1);
    config->values = values;
    config->node_name =
        text_empty(values->node_name) ? arena_strdup(loading->arena, host) : values->node_name;
    config->advertise = choose_advertise(loading, values);
    config->advertise_wan =
        text_empty(values->advertise_addr_wan) ? config->advertise : values->advertise_addr_wan;
    config->default_allow = strcmp(values->default_intention_policy, "deny") != 0;
    if (values->ports->grpc_tls == 0)
        values->ports->grpc_tls = values->server ? 8503 : -1;
    config->service_count = values->n_service + values->n_services;
    config->services = join_lists(loading->arena, values->n_service, values->service,
                                  values->n_services, values->services);
    config->check_count = values->n_check + values->n_checks;
    config->checks = join_lists(loading->arena, values->n_check, values->check, values->n_checks,
                                values->checks);
    check_values(loading, config);
    read_entries(loading, config);
}

static void merge_text(struct loading *loading, const char *json)
{
    json_t *object = json_parse(json, strlen(json), NULL, NULL);
    merge(loading->merged, object);
    json_decref(object);
}

struct agent_config *agent_config_load(const struct agent_sources *sources,
                                       struct text_list *warnings, struct text_list *errors)
{
    struct loading loading = {sources, arena_new(), warnings, errors, json_object(), json_array()};
    struct agent_config *config = arena_alloc(loading.arena, sizeof *config);
    config->arena = loading.arena;
    config->dev = sources->dev;
    size_t errors_before = errors->count;
    merge_text(&loading, defaults);
    if (sources->dev)
        merge_text(&loading, dev_defaults);
    for (size_t i = 0; i < sources->paths.count; i++)
        load_path(&loading, sources->paths.items[i]);
    for (size_t i = 0; i < sources->snippets.count; i++)
        load_text(&loading, sources->snippets.items[i], strlen(sources->snippets.items[i]), "-hcl");
    if (sources->flags != NULL)
        merge_source(&loading, sources->flags, "command line");

    struct text_list told = {0}; /* of each source above */
    Pb__AgentConfig *values = codec_read_all(&pb__agent_config__codec, loading.merged,
                                             CODEC_HCL | CODEC_WEAK, loading.arena, &told);
    if (values->ports == NULL)
        values->ports = proto_new(loading.arena, pb__agent_ports);
    complete(&loading, config, values);
    for (size_t i = 0; i < told.count && errors->count == errors_before; i++)
        add_error(&loading, told.items[i]);
    text_list_free(&told);
    json_decref(loading.merged);
    json_decref(loading.entries);
    if (errors->count == errors_before)
        return config;
    arena_free(loading.arena);
    return NULL;
}

void agent_config_free(struct agent_config *config)
{
    if (config != NULL)
        arena_free(config->arena);
}
