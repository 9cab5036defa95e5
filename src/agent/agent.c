#include "agent/agent.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/checks.h"
#include "agent/describe.h"
#include "agent/identity.h"
#include "agent/listeners.h"
#include "agent/local.h"
#include "agent/node.h"
#include "agent/proxies.h"
#include "base/log.h"
#include "base/memory.h"
#include "catalog/catalog.h"
#include "chain/chain.h"
#include "http/api.h"
#include "intention/intention.h"
#include "mesh/opaque.h"
#include "peering/peering.h"
#include "store/engine.h"

#define GRPC_MESSAGE_MAX ((size_t)50 << 20)

/* Members stand in the order in which they come to life; they end in the opposite order. */
struct agent {
    const struct agent_sources *sources;
    struct agent_config *config;
    char *node_id;
    FILE *log_file;
    struct loop *loop;
    struct store *store;
    struct authority *authority;
    struct local *local;
    struct checks *checks;
    struct proxies *proxies;
    struct peerings *peerings;
    struct api *api;
    struct identity *identity;
    struct listeners listeners;
    struct xds_server *xds;
    int exit_code;
};

/* `what` "" where the message speaks for itself. */
static void fail(struct agent *agent, const char *what, const struct error *error)
{
    fprintf(stderr, "==> Pons agent cannot start: %s%s%s\n", what, *what != '\0' ? ": " : "",
            error->message);
    agent->exit_code = 1;
    loop_stop(agent->loop);
}

/* ---- what the API asks of the agent ---- */

static void agent_register_service(void *arg, const Pb__ServiceDefinition *definition, bool replace,
                                   api_done_fn *done, void *done_arg)
{
    struct agent *agent = arg;
    local_register_service(agent->local, definition, replace, done, done_arg);
}

static void agent_deregister_service(void *arg, const struct tenancy *tenancy, const char *id,
                                     api_done_fn *done, void *done_arg)
{
    struct agent *agent = arg;
    local_deregister_service(agent->local, tenancy, id, done, done_arg);
}

static void agent_register_check(void *arg, const Pb__CheckDefinition *definition,
                                 api_done_fn *done, void *done_arg)
{
    struct agent *agent = arg;
    local_register_check(agent->local, definition, done, done_arg);
}

static void agent_deregister_check(void *arg, const struct tenancy *tenancy, const char *id,
                                   api_done_fn *done, void *done_arg)
{
    struct agent *agent = arg;
    local_deregister_check(agent->local, tenancy, id, done, done_arg);
}

static void agent_update_check(void *arg, const struct tenancy *tenancy, const char *id,
                               const char *status, const char *output, api_done_fn *done,
                               void *done_arg)
{
    struct agent *agent = arg;
    checks_touch(agent->checks, tenancy, id);
    local_update_check(agent->local, tenancy, id, status, output, true, done, done_arg);
}

static void agent_set_maintenance(void *arg, const struct tenancy *tenancy, const char *service_id,
                                  bool enable, const char *reason, api_done_fn *done,
                                  void *done_arg)
{
    struct agent *agent = arg;
    local_set_maintenance(agent->local, tenancy, service_id, enable, reason, done, done_arg);
}

/* ---- definitions and their reload ---- */

struct reload {
    struct agent *agent;
    struct agent_config *config;
    struct local_files files;
    api_done_fn *done;
    void *arg;
};

static void reload_done(void *arg, const struct error *error)
{
    struct reload *reload = arg;
    struct agent *agent = reload->agent;
    if (error == NULL) {
        enum log_level level;
        if (log_level_parse(reload->config->values->log_level, &level))
            log_configure(level, reload->config->values->log_json, agent->log_file);
        if (reload->config != agent->config)
            log_info("agent", "definitions are in force: services=%zu checks=%zu",
                     reload->files.service_count, reload->files.check_count);
    }
    if (reload->done != NULL)
        reload->done(reload->arg, error);
    if (reload->config != agent->config)
        agent_config_free(reload->config);
    free(reload);
}

static void apply_definitions(struct agent *agent, struct agent_config *config, api_done_fn *done,
                              void *arg)
{
    struct reload *reload = mem_zalloc(sizeof *reload);
    *reload = (struct reload){
        .agent = agent,
        .config = config,
        .files = {config->service_count, config->check_count, config->services, config->checks},
        .done = done,
        .arg = arg,
    };
    local_apply_files(agent->local, &reload->files, reload_done, reload);
}

/* A failed reading is told to who asked, after the call that asked has returned. */
struct refused_reload {
    struct error error;
    api_done_fn *done;
    void *arg;
};

static void tell_refused(void *arg)
{
    struct refused_reload *refused = arg;
    refused->done(refused->arg, &refused->error);
    free(refused);
}

static void agent_reload(void *arg, api_done_fn *done, void *done_arg)
{
    struct agent *agent = arg;
    struct text_list warnings = {0}, errors = {0};
    struct agent_config *config = agent_config_load(agent->sources, &warnings, &errors);
    if (config != NULL) {
        apply_definitions(agent, config, done, done_arg);
    } else {
        struct refused_reload *refused = mem_zalloc(sizeof *refused);
        char *joined = text_list_join(&errors, "; ");
        error_set(&refused->error, ERR_INVALID, "%s", joined);
        free(joined);
        refused->done = done;
        refused->arg = done_arg;
        loop_defer(agent->loop, tell_refused, refused);
    }
    text_list_free(&warnings);
    text_list_free(&errors);
}

static void hangup_done(void *arg, const struct error *error)
{
    (void)arg;
    if (error != NULL)
        log_error("agent", "reload refused, everything stays as it was: %s", error->message);
}

static void on_hangup(void *arg)
{
    log_info("agent", "reloading the configuration");
    agent_reload(arg, hangup_done, NULL);
}

static void agent_leave(void *arg)
{
    struct agent *agent = arg;
    log_info("agent", "leaving");
    loop_stop(agent->loop);
}

static void agent_describe(void *arg, struct buffer *output)
{
    struct agent *agent = arg;
    describe_agent(agent->config, agent->node_id, agent->store, output);
}

static const struct api_agent agent_class = {
    .register_service = agent_register_service,
    .deregister_service = agent_deregister_service,
    .register_check = agent_register_check,
    .deregister_check = agent_deregister_check,
    .update_check = agent_update_check,
    .set_maintenance = agent_set_maintenance,
    .reload = agent_reload,
    .leave = agent_leave,
    .describe = agent_describe,
};

/* ---- start ---- */

static uint16_t port_or_zero(int32_t port)
{
    return port > 0 ? (uint16_t)port : 0;
}

static void print_banner(const struct agent *agent)
{
    const Pb__AgentConfig *values = agent->config->values;
    const Pb__AgentPorts *ports = values->ports;
    printf("==> Pons agent running!\n"
           "           Version: '%s' (compatible with Consul %s)\n"
           "           Node ID: '%s'\n"
           "         Node name: '%s'\n"
           "        Datacenter: '%s'\n"
           "      Trust domain: '%s'\n"
           "            Server: %s, state %s%s\n"
           "       Client Addr: [%s] (HTTP: %d, HTTPS: %d, gRPC: %d, gRPC-TLS: %d)\n"
           "      Cluster Addr: %s\n\n"
           "==> Log data will now stream in as it occurs:\n\n",
           PONS_VERSION, CONSUL_VERSION, agent->node_id, agent->config->node_name,
           values->datacenter, authority_trust_domain(agent->authority),
           values->server ? "true" : "false", agent->config->dev ? "in memory only" : "in ",
           agent->config->dev ? "" : values->data_dir, values->client_addr, ports->http,
           ports->https, ports->grpc, ports->grpc_tls, agent->config->advertise);
    fflush(stdout);
}

/* What comes by the name that peers use, and through mesh gateways from outside, is for peers: it
 * reaches the peering stream and nothing else. */
static bool guard_peering_name(void *arg, const struct grpc_call *call, const char **ret_refusal)
{
    const struct agent *agent = arg;
    *ret_refusal = "invalid permissions to the specified endpoint";
    return strcmp(grpc_server_name(call), identity_peering_name(agent->identity)) != 0 ||
           text_starts(grpc_path(call), "/hashicorp.consul.internal.peerstream.PeerStreamService/");
}

static bool open_ports(struct agent *agent)
{
    struct text_list errors = {0};
    struct loop *loop = agent->loop;
    agent->identity = identity_new(agent->authority, agent->config, &errors);
    agent->listeners.http = http_server_new(loop, &http_limits_default, api_handle, agent->api);
    agent->listeners.grpc = grpc_server_new(loop, GRPC_MESSAGE_MAX);
    grpc_server_guard(agent->listeners.grpc, guard_peering_name, agent);
    agent->xds = xds_server_new(agent->listeners.grpc, &proxies_source, agent->proxies);
    if (agent->peerings != NULL)
        peerings_serve(agent->peerings, agent->listeners.grpc);
    listeners_open(&agent->listeners, agent->config, identity_https(agent->identity),
                   identity_grpc(agent->identity), &errors);
    for (size_t i = 0; i < errors.count; i++)
        fprintf(stderr, "==> Pons agent cannot start: %s\n", errors.items[i]);
    bool ok = errors.count == 0;
    text_list_free(&errors);
    return ok;
}

static void on_definitions(void *arg, const struct error *error)
{
    struct agent *agent = arg;
    if (error != NULL) {
        fail(agent, "service definitions", error);
        return;
    }
    print_banner(agent);
    log_info("agent", "started: datacenter=%s node=%s http=%d grpc=%d grpc_tls=%d",
             agent->config->values->datacenter, agent->config->node_name,
             agent->config->values->ports->http, agent->config->values->ports->grpc,
             agent->config->values->ports->grpc_tls);
}

static bool put_entries_of(const struct agent *agent, struct txn *txn, bool intentions,
                           struct error *error)
{
    for (size_t i = 0; i < agent->config->entry_count; i++) {
        const struct bootstrap_entry *entry = &agent->config->entries[i];
        if ((entry->kind->table == TABLE_SERVICE_INTENTIONS) != intentions)
            continue;
        const Pb__ConfigEntryHead *head = config_entry_head(entry->entry);
        struct tenancy tenancy = {.partition = head->partition, .namespace = head->namespace_};
        if (config_entry_get(txn_view(txn), entry->kind, &tenancy, head->name) == NULL &&
            !config_entry_put(txn, entry->kind, entry->entry, NULL, error))
            return false;
    }
    return true;
}

/* All of them at once, for they need not come in an order in which each makes sense; intentions
 * last: whether they may have permissions depends on the others. */
static bool put_bootstrap_entries(struct txn *txn, void *arg, struct error *error)
{
    const struct agent *agent = arg;
    if (!put_entries_of(agent, txn, false, error) || !put_entries_of(agent, txn, true, error))
        return false;
    for (size_t i = 0; i < agent->config->entry_count; i++) {
        const Pb__ConfigEntryHead *head = config_entry_head(agent->config->entries[i].entry);
        struct tenancy tenancy = {.partition = head->partition, .namespace = head->namespace_};
        if (!chain_check_all(txn_view(txn), &tenancy, error))
            return false;
    }
    return true;
}

/* As the API does for those that are written through it. */
static void warn_of_entries(const struct agent *agent)
{
    struct arena *arena = arena_new();
    for (size_t i = 0; agent->config->default_allow && i < agent->config->entry_count; i++) {
        const struct bootstrap_entry *entry = &agent->config->entries[i];
        const char *warning = entry->kind->table == TABLE_SERVICE_INTENTIONS
                                  ? intention_entry_warning(entry->entry, arena)
                                  : NULL;
        if (warning != NULL)
            log_warn("agent", "config_entries.bootstrap: service-intentions %s: %s",
                     config_entry_head(entry->entry)->name, warning);
    }
    arena_free(arena);
}

static void on_bootstrap_entries(void *arg, const struct error *error, uint64_t index)
{
    (void)index;
    struct agent *agent = arg;
    if (error != NULL)
        fail(agent, "config_entries.bootstrap", error);
    else
        apply_definitions(agent, agent->config, on_definitions, agent);
    warn_of_entries(agent);
}

static void on_node(void *arg, const struct error *error)
{
    struct agent *agent = arg;
    if (error != NULL) {
        fail(agent, "registering the own node", error);
        return;
    }
    const Pb__AgentConfig *values = agent->config->values;
    struct checks_config checks = {agent->store, agent->local, agent->config->node_name,
                                   (size_t)values->check_output_max_size};
    agent->checks = checks_new(&checks);
    struct proxy_config proxy = {agent->store, agent->authority, agent->config->default_allow};
    agent->proxies = proxies_new(&proxy, agent->checks, agent->config->node_name);
    bool connect = values->connect == NULL || values->connect->enabled;
    if (connect && values->peering != NULL && values->peering->enabled) {
        struct peerings_config peerings = {
            .store = agent->store,
            .authority = agent->authority,
            .datacenter = values->datacenter,
            .node_name = agent->config->node_name,
        };
        agent->peerings = peerings_new(&peerings);
        if (values->ports->grpc_tls > 0) {
            char *address = text_join_host_port(agent->config->advertise_wan,
                                                (uint16_t)values->ports->grpc_tls);
            peerings_set_server_address(agent->peerings, address);
            free(address);
        }
    }
    struct api_config api = {
        .loop = agent->loop,
        .store = agent->store,
        .authority = connect ? agent->authority : NULL,
        .peerings = agent->peerings,
        .datacenter = values->datacenter,
        .node_name = agent->config->node_name,
        .node_id = agent->node_id,
        .advertise_address = agent->config->advertise,
        .server_port = port_or_zero(values->ports->server),
        .default_allow = agent->config->default_allow,
        .server = values->server,
        .agent_class = &agent_class,
        .agent = agent,
    };
    agent->api = api_new(&api);
    if (!open_ports(agent)) {
        agent->exit_code = 1;
        loop_stop(agent->loop);
        return;
    }
    store_commit(agent->store, put_bootstrap_entries, on_bootstrap_entries, agent);
}

static void on_authority(void *arg, const struct error *error)
{
    struct agent *agent = arg;
    if (error != NULL) {
        fail(agent, "certificate authority", error);
        return;
    }
    const Pb__AgentConfig *values = agent->config->values;
    const char **meta = arena_alloc(agent->config->arena, 2 * values->n_node_meta * sizeof *meta);
    for (size_t i = 0; i < values->n_node_meta; i++) {
        meta[2 * i] = values->node_meta[i]->key;
        meta[2 * i + 1] = values->node_meta[i]->value;
    }
    struct node_config *node = arena_alloc(agent->config->arena, sizeof *node);
    *node = (struct node_config){
        .store = agent->store,
        .name = agent->config->node_name,
        .id = agent->node_id,
        .datacenter = values->datacenter,
        .address = agent->config->advertise,
        .wan_address = agent->config->advertise_wan,
        .server_port = port_or_zero(values->ports->server),
        .grpc_port = port_or_zero(values->ports->grpc),
        .grpc_tls_port = port_or_zero(values->ports->grpc_tls),
        .meta_count = values->n_node_meta,
        .meta = meta,
    };
    node_register(node, on_node, agent);
}

/* `cluster_id` and `leaf_cert_ttl` of connect.ca_config. */
static void read_ca_config(const struct agent_config *config, struct authority_config *ca)
{
    const Pb__AgentConnect *connect = config->values->connect;
    struct opaque given = opaque_parse(connect != NULL ? connect->ca_config : "", NULL);
    const char *cluster_id = opaque_text(&given, "cluster_id");
    if (!text_empty(cluster_id))
        ca->cluster_id = arena_strdup(config->arena, cluster_id);
    opaque_duration(&given, "leaf_cert_ttl", &ca->leaf_ttl_ns);
    opaque_clear(&given);
}

static void on_store(void *arg, const struct error *error)
{
    struct agent *agent = arg;
    if (error != NULL) {
        fail(agent, "loading the state", error);
        return;
    }
    const Pb__AgentPorts *ports = agent->config->values->ports;
    struct local_config local = {
        .store = agent->store,
        .node = agent->config->node_name,
        .sidecar_min_port = port_or_zero(ports->sidecar_min_port),
        .sidecar_max_port = port_or_zero(ports->sidecar_max_port),
    };
    agent->local = local_new(&local);
    struct authority_config ca = {.datacenter = agent->config->values->datacenter};
    read_ca_config(agent->config, &ca);
    agent->authority = authority_new(agent->store, &ca, on_authority, agent);
}

static bool prepare_data_dir(const char *path, struct error *error)
{
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return error_set(error, ERR_IO, "data_dir %s: %s", path, strerror(errno));
    return true;
}

static struct engine *open_engine(struct agent *agent, struct error *error)
{
    const char *data_dir = agent->config->values->data_dir;
    if (agent->config->dev)
        return engine_memory_new(agent->loop);
    char *path = mem_printf("%s/state.db", data_dir);
    struct engine *engine = engine_sqlite_new(agent->loop, path, error);
    free(path);
    return engine;
}

static bool open_log(struct agent *agent, struct error *error)
{
    const Pb__AgentConfig *values = agent->config->values;
    enum log_level level = LOG_INFO;
    log_level_parse(values->log_level, &level);
    if (!text_empty(values->log_file)) {
        agent->log_file = fopen(values->log_file, "ae");
        if (agent->log_file == NULL)
            return error_set(error, ERR_IO, "log_file %s: %s", values->log_file, strerror(errno));
    }
    log_configure(level, values->log_json, agent->log_file);
    return true;
}

static bool start(struct agent *agent, struct error *error)
{
    const Pb__AgentConfig *values = agent->config->values;
    const char *data_dir = agent->config->dev ? "" : values->data_dir;
    if (!open_log(agent, error) || (!agent->config->dev && !prepare_data_dir(data_dir, error)))
        return false;
    agent->node_id =
        text_empty(values->node_id) ? node_id_load(data_dir, error) : mem_strdup(values->node_id);
    struct engine *engine = agent->node_id != NULL ? open_engine(agent, error) : NULL;
    if (engine == NULL)
        return false;
    loop_signal(agent->loop, SIGINT, agent_leave, agent);
    loop_signal(agent->loop, SIGTERM, agent_leave, agent);
    loop_signal(agent->loop, SIGHUP, on_hangup, agent);
    agent->store = store_new(agent->loop, engine, on_store, agent);
    return true;
}

/* ---- end ---- */

static void stop(struct agent *agent)
{
    http_server_free(agent->listeners.http);
    xds_server_free(agent->xds);
    grpc_server_free(agent->listeners.grpc);
    identity_free(agent->identity);
    api_free(agent->api);
    peerings_free(agent->peerings);
    proxies_free(agent->proxies);
    checks_free(agent->checks);
    authority_free(agent->authority);
    store_free(agent->store);
    local_free(agent->local);
    loop_free(agent->loop);
    log_configure(LOG_INFO, false, NULL);
    if (agent->log_file != NULL)
        fclose(agent->log_file);
    free(agent->node_id);
    agent_config_free(agent->config);
}

static void print_all(const char *intro, struct text_list *lines)
{
    for (size_t i = 0; i < lines->count; i++)
        fprintf(stderr, "%s%s\n", intro, lines->items[i]);
    text_list_free(lines);
}

int agent_run(const struct agent_sources *sources)
{
    struct agent agent = {.sources = sources};
    struct text_list warnings = {0}, errors = {0};
    agent.config = agent_config_load(sources, &warnings, &errors);
    print_all("==> Warning: ", &warnings);
    if (agent.config == NULL) {
        print_all("==> Configuration error: ", &errors);
        return 1;
    }
    agent.loop = loop_new();
    struct error error;
    if (start(&agent, &error)) {
        loop_run(agent.loop);
    } else {
        fail(&agent, "", &error);
    }
    stop(&agent);
    return agent.exit_code;
}
