/* `pons agent`: reads flags into the shape of a configuration file and runs the agent. */
#include "agent/agent.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cli/cli.h"
#include "cli/commands.h"

struct agent_flags {
    bool dev, server, log_json, bootstrap;
    const char *node, *node_id, *datacenter, *data_dir, *bind, *client, *advertise, *advertise_wan;
    const char *log_level, *log_file, *domain, *encrypt, *pid_file, *default_query_time;
    const char *max_query_time;
    struct text_list config_files, config_dirs, retry_join, join, node_meta, hcl;
    struct text_list taken; /* of no effect */
    bool taken_switch;
    int64_t http_port, https_port, grpc_port, grpc_tls_port, dns_port, server_port, serf_lan_port,
        serf_wan_port, bootstrap_expect;
};

static void set_text(json_t *object, const char *key, const char *value)
{
    if (value != NULL)
        json_object_set_new(object, key, json_string(value));
}

static void set_port(json_t *ports, const char *key, int64_t value)
{
    if (value != 0)
        json_object_set_new(ports, key, json_integer(value));
}

static void set_list(json_t *object, const char *key, const struct text_list *list)
{
    json_t *values = json_array();
    for (size_t i = 0; i < list->count; i++)
        json_array_append_new(values, json_string(list->items[i]));
    if (list->count > 0)
        json_object_set(object, key, values);
    json_decref(values);
}

static json_t *flags_to_config(const struct agent_flags *flags)
{
    json_t *config = json_object(), *ports = json_object();
    set_text(config, "node_name", flags->node);
    set_text(config, "node_id", flags->node_id);
    set_text(config, "datacenter", flags->datacenter);
    set_text(config, "data_dir", flags->data_dir);
    set_text(config, "bind_addr", flags->bind);
    set_text(config, "client_addr", flags->client);
    set_text(config, "advertise_addr", flags->advertise);
    set_text(config, "advertise_addr_wan", flags->advertise_wan);
    set_text(config, "log_level", flags->log_level);
    set_text(config, "log_file", flags->log_file);
    set_text(config, "domain", flags->domain);
    set_text(config, "encrypt", flags->encrypt);
    set_text(config, "pid_file", flags->pid_file);
    set_text(config, "default_query_time", flags->default_query_time);
    set_text(config, "max_query_time", flags->max_query_time);
    set_list(config, "retry_join", &flags->retry_join);
    set_list(config, "start_join", &flags->join);
    if (flags->server)
        json_object_set_new(config, "server", json_true());
    if (flags->log_json)
        json_object_set_new(config, "log_json", json_true());
    if (flags->bootstrap)
        json_object_set_new(config, "bootstrap", json_true());
    if (flags->bootstrap_expect != 0)
        json_object_set_new(config, "bootstrap_expect", json_integer(flags->bootstrap_expect));
    for (size_t i = 0; i < flags->node_meta.count; i++) {
        json_t *meta = json_object_get(config, "node_meta");
        if (meta == NULL) {
            meta = json_object();
            json_object_set_new(config, "node_meta", meta);
        }
        char *pair = mem_strdup(flags->node_meta.items[i]), *colon = strchr(pair, ':');
        if (colon != NULL)
            *colon = '\0';
        json_object_set_new(meta, pair, json_string(colon != NULL ? colon + 1 : ""));
        free(pair);
    }
    set_port(ports, "http", flags->http_port);
    set_port(ports, "https", flags->https_port);
    set_port(ports, "grpc", flags->grpc_port);
    set_port(ports, "grpc_tls", flags->grpc_tls_port);
    set_port(ports, "dns", flags->dns_port);
    set_port(ports, "server", flags->server_port);
    set_port(ports, "serf_lan", flags->serf_lan_port);
    set_port(ports, "serf_wan", flags->serf_wan_port);
    json_object_set_new(config, "ports", ports);
    return config;
}

static void clear(struct agent_flags *flags, struct agent_sources *sources)
{
    text_list_free(&flags->config_files);
    text_list_free(&flags->config_dirs);
    text_list_free(&flags->retry_join);
    text_list_free(&flags->join);
    text_list_free(&flags->node_meta);
    text_list_free(&flags->hcl);
    text_list_free(&flags->taken);
    text_list_free(&sources->paths);
    text_list_free(&sources->snippets);
    json_decref(sources->flags);
}

int cli_agent(int argc, char **argv)
{
    struct agent_flags flags = {0};
    const struct flag rows[] = {
        {"dev", FLAG_BOOL, &flags.dev, "Server and agent in one process, in memory, on loopback."},
        {"server", FLAG_BOOL, &flags.server, "Hold the cluster's state (needs -data-dir)."},
        {"config-file", FLAG_LIST, &flags.config_files, "HCL or JSON file; may be repeated."},
        {"config-dir", FLAG_LIST, &flags.config_dirs, "Folder of .hcl and .json files."},
        {"hcl", FLAG_LIST, &flags.hcl, "A piece of configuration itself; may be repeated."},
        {"data-dir", FLAG_STRING, &flags.data_dir, "Folder in which the state is kept."},
        {"node", FLAG_STRING, &flags.node, "Name of this node; the host's name by default."},
        {"node-id", FLAG_STRING, &flags.node_id, "UUID of this node; made once by default."},
        {"node-meta", FLAG_LIST, &flags.node_meta, "key:value of this node; may be repeated."},
        {"datacenter", FLAG_STRING, &flags.datacenter, "Name of the datacenter (dc1)."},
        {"bind", FLAG_STRING, &flags.bind, "Address of this node inside of the cluster."},
        {"client", FLAG_STRING, &flags.client, "Addresses that HTTP and gRPC are served on."},
        {"advertise", FLAG_STRING, &flags.advertise, "Address that others reach this node at."},
        {"advertise-wan", FLAG_STRING, &flags.advertise_wan, "Address that peers reach it at."},
        {"http-port", FLAG_NUMBER, &flags.http_port, "Port of the HTTP API (8500)."},
        {"https-port", FLAG_NUMBER, &flags.https_port, "Port of the HTTP API with TLS (off)."},
        {"grpc-port", FLAG_NUMBER, &flags.grpc_port, "Port of plaintext gRPC (off; -dev: 8502)."},
        {"grpc-tls-port", FLAG_NUMBER, &flags.grpc_tls_port, "Port of gRPC with TLS (8503)."},
        {"dns-port", FLAG_NUMBER, &flags.dns_port, "Port of DNS; not served yet."},
        {"server-port", FLAG_NUMBER, &flags.server_port, "Port that names this server (8300)."},
        {"serf-lan-port", FLAG_NUMBER, &flags.serf_lan_port, "Taken; there is no gossip."},
        {"serf-wan-port", FLAG_NUMBER, &flags.serf_wan_port, "Taken; there is no gossip."},
        {"bootstrap", FLAG_BOOL, &flags.bootstrap, "Taken; one server is a cluster."},
        {"bootstrap-expect", FLAG_NUMBER, &flags.bootstrap_expect, "Taken; must be 1."},
        {"retry-join", FLAG_LIST, &flags.retry_join, "Taken; there is nobody to join."},
        {"join", FLAG_LIST, &flags.join, "Taken; there is nobody to join."},
        {"domain", FLAG_STRING, &flags.domain, "DNS domain (consul)."},
        {"encrypt", FLAG_STRING, &flags.encrypt, "Taken; there is no gossip to encrypt."},
        {"pid-file", FLAG_STRING, &flags.pid_file, "Taken."},
        {"default-query-time", FLAG_STRING, &flags.default_query_time, "Of blocking queries (5m)."},
        {"max-query-time", FLAG_STRING, &flags.max_query_time, "Of blocking queries (10m)."},
        {"enable-script-checks", FLAG_BOOL, &flags.taken_switch, "Taken; scripts are not run."},
        {"enable-local-script-checks", FLAG_BOOL, &flags.taken_switch, "Taken, likewise."},
        {"ui", FLAG_BOOL, &flags.taken_switch, "Taken; there is no web interface."},
        {"rejoin", FLAG_BOOL, &flags.taken_switch, "Taken; there is nobody to join."},
        {"disable-host-node-id", FLAG_BOOL, &flags.taken_switch, "Taken; ids are random."},
        {"disable-keyring-file", FLAG_BOOL, &flags.taken_switch, "Taken; there is no gossip."},
        {"recursor", FLAG_LIST, &flags.taken, "Taken; there is no DNS yet."},
        {"retry-interval", FLAG_LIST, &flags.taken, "Taken; there is nobody to join."},
        {"retry-max", FLAG_LIST, &flags.taken, "Taken, likewise."},
        {"retry-join-wan", FLAG_LIST, &flags.taken, "Taken; clusters are connected by peering."},
        {"join-wan", FLAG_LIST, &flags.taken, "Taken, likewise."},
        {"raft-protocol", FLAG_LIST, &flags.taken, "Taken; there is no Raft."},
        {"protocol", FLAG_LIST, &flags.taken, "Taken; there is no gossip."},
        {"serf-lan-bind", FLAG_LIST, &flags.taken, "Taken, likewise."},
        {"serf-wan-bind", FLAG_LIST, &flags.taken, "Taken, likewise."},
        {"log-level", FLAG_STRING, &flags.log_level, "trace, debug, info, warn or error."},
        {"log-file", FLAG_STRING, &flags.log_file, "Log into this file."},
        {"log-json", FLAG_BOOL, &flags.log_json, "One JSON object a line."},
        {NULL, FLAG_BOOL, NULL, NULL},
    };
    static const struct cli_usage usage = {
        .arguments = "[options]",
        .text = "  Runs an agent until it is told to stop. Start with `pons agent -dev`.",
        .offline = true,
    };
    struct cli cli;
    struct agent_sources sources = {0};
    if (!cli_start(&cli, &usage, rows, argc, argv)) {
        clear(&flags, &sources);
        return cli.exit_code;
    }
    sources.dev = flags.dev;
    sources.flags = flags_to_config(&flags);
    for (size_t i = 0; i < flags.config_files.count; i++)
        text_list_add(&sources.paths, flags.config_files.items[i]);
    for (size_t i = 0; i < flags.config_dirs.count; i++)
        text_list_add(&sources.paths, flags.config_dirs.items[i]);
    for (size_t i = 0; i < flags.hcl.count; i++)
        text_list_add(&sources.snippets, flags.hcl.items[i]);
    int exit_code = agent_run(&sources);
    clear(&flags, &sources);
    return cli_end(&cli, exit_code);
}
