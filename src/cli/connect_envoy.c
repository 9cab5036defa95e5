/* `pons connect envoy`: finds or registers the proxy, makes its bootstrap, and becomes Envoy. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "cli/bootstrap.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/envoy.h"
#include "cli/gateway.h"

struct envoy_flags {
    const char *proxy_id, *sidecar_for, *gateway, *node_name, *admin_bind, *admin_access_log;
    const char *envoy_binary, *envoy_version, *grpc_addr, *grpc_ca_file, *grpc_ca_path;
    const char *ready_address;
    int64_t ready_port, prometheus_backend_port;
    struct bootstrap_prometheus prometheus;
    bool mesh_gateway, registers, ignore_compatibility, bootstrap_only, no_central_config,
        omit_deprecated_tags, config_gen_logging;
    struct gateway_flags gateway_flags;
};

/* What is found out on the way, freed as a whole. */
struct preparation {
    struct envoy_flags *flags;
    char *proxy_id, *admin_host, *grpc_host, *grpc_socket, *grpc_ca;
    uint16_t admin_port, grpc_port;
    json_t *self, *service, *defaults, *bootstrap;
};

static void preparation_clear(struct preparation *preparation)
{
    free(preparation->proxy_id);
    free(preparation->admin_host);
    free(preparation->grpc_host);
    free(preparation->grpc_socket);
    free(preparation->grpc_ca);
    json_decref(preparation->self);
    json_decref(preparation->service);
    json_decref(preparation->defaults);
    json_decref(preparation->bootstrap);
    text_list_free(&preparation->flags->gateway_flags.bind_addresses);
}

/* ---- which proxy ---- */

static bool find_sidecar(struct cli *cli, const char *service_id, char **ret_id)
{
    json_t *services = cli_api_get(cli->api, "/v1/agent/services", &cli->error);
    if (services == NULL)
        return false;
    struct text_list ids = {0};
    const char *id;
    json_t *service;
    json_object_foreach(services, id, service)
    {
        const json_t *proxy = json_object_get(service, "Proxy");
        if (strcmp(cli_text(service, "Kind"), "connect-proxy") == 0 &&
            text_equal_nocase(cli_text(proxy, "DestinationServiceID"), service_id))
            text_list_add(&ids, id);
    }
    json_decref(services);
    text_list_sort(&ids);
    char *joined = text_list_join(&ids, ", ");
    bool ok = ids.count == 1;
    if (ok)
        *ret_id = mem_strdup(joined);
    else if (ids.count == 0)
        error_set(&cli->error, ERR_NOT_FOUND,
                  "No sidecar proxy registered for %s: register the service with connect { "
                  "sidecar_service {} }",
                  service_id);
    else
        error_set(
            &cli->error, ERR_INVALID,
            "More than one sidecar proxy registered for %s. Start proxy with -proxy-id and one "
            "of the following IDs: %s",
            service_id, joined);
    free(joined);
    text_list_free(&ids);
    return ok;
}

static bool find_gateway(struct cli *cli, char **ret_id)
{
    json_t *services = cli_api_get(cli->api, "/v1/agent/services", &cli->error);
    if (services == NULL)
        return false;
    size_t count = 0;
    const char *id;
    json_t *service;
    json_object_foreach(services, id, service)
    {
        if (strcmp(cli_text(service, "Kind"), "mesh-gateway") == 0 && count++ == 0)
            *ret_id = mem_strdup(id);
    }
    json_decref(services);
    if (count == 1)
        return true;
    free(*ret_id);
    *ret_id = NULL;
    return error_set(&cli->error, ERR_NOT_FOUND,
                     count == 0
                         ? "No mesh-gateway services registered with this agent: register one "
                           "with -register"
                         : "More than one mesh-gateway is registered with this agent: choose "
                           "with -proxy-id");
}

static bool find_proxy(struct cli *cli, struct preparation *preparation)
{
    struct envoy_flags *flags = preparation->flags;
    if (flags->registers) {
        const char *id = gateway_register(cli, &flags->gateway_flags, flags->proxy_id);
        preparation->proxy_id = mem_strdup(id);
        return id != NULL;
    }
    if (!text_empty(flags->proxy_id)) {
        preparation->proxy_id = mem_strdup(flags->proxy_id);
        return true;
    }
    if (!text_empty(flags->sidecar_for))
        return find_sidecar(cli, flags->sidecar_for, &preparation->proxy_id);
    return find_gateway(cli, &preparation->proxy_id);
}

static bool check_listener_flags(const struct envoy_flags *flags, struct error *error)
{
    const struct bootstrap_prometheus *prometheus = &flags->prometheus;
    bool ca = prometheus->ca_file != NULL || prometheus->ca_path != NULL;
    bool cert = prometheus->cert_file != NULL, key = prometheus->key_file != NULL;
    if ((ca || cert || key) && !(ca && cert && key))
        return error_set(error, ERR_INVALID,
                         "Must provide a CA (-prometheus-ca-file or -prometheus-ca-path) as well "
                         "as -prometheus-cert-file and -prometheus-key-file to enable TLS for "
                         "prometheus metrics");
    if (prometheus->scrape_path[0] != '/')
        return error_set(error, ERR_INVALID, "-prometheus-scrape-path must start with /");
    if (flags->prometheus_backend_port < 0 || flags->prometheus_backend_port > 65535)
        return error_set(error, ERR_INVALID,
                         "-prometheus-backend-port must be between 1 and 65535");
    if (flags->ready_address != NULL && (flags->ready_port < 1 || flags->ready_port > 65535))
        return error_set(error, ERR_INVALID,
                         "-envoy-ready-bind-address needs -envoy-ready-bind-port");
    return true;
}

static bool check_flags(struct cli *cli, struct envoy_flags *flags)
{
    struct error *error = &cli->error;
    if (flags->mesh_gateway && !text_empty(flags->gateway))
        return error_set(error, ERR_INVALID,
                         "The mesh-gateway flag is deprecated and cannot be used alongside the "
                         "gateway flag");
    if (flags->mesh_gateway)
        flags->gateway = "mesh";
    if (!text_empty(flags->gateway) && strcmp(flags->gateway, "mesh") != 0) {
        static const char *const known[] = {"api", "terminating", "ingress"};
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
            if (strcmp(flags->gateway, known[i]) == 0)
                return error_set(error, ERR_UNSUPPORTED,
                                 "-gateway=%s is not supported by this version of Pons; mesh is",
                                 flags->gateway);
        }
        return error_set(error, ERR_INVALID,
                         "Gateway must be one of: api, terminating, mesh, or ingress");
    }
    if (!check_listener_flags(flags, error))
        return false;
    if (flags->registers && text_empty(flags->gateway))
        return error_set(error, ERR_INVALID, "Auto-Registration can only be used for gateways");
    if (flags->gateway_flags.expose_servers && !flags->registers)
        return error_set(error, ERR_INVALID, "'-expose-servers' requires '-register'");
    if (!text_empty(flags->node_name) && text_empty(flags->proxy_id))
        return error_set(error, ERR_INVALID, "'-node-name' requires '-proxy-id'");
    if (text_empty(flags->proxy_id) && text_empty(flags->sidecar_for) && text_empty(flags->gateway))
        return error_set(error, ERR_INVALID,
                         "No proxy ID specified. One of -proxy-id, -sidecar-for, or -gateway is "
                         "required");
    return true;
}

/* ---- addresses ---- */

/* Envoy's static clusters and admin listener want an IP. Fresh memory. */
static char *resolve(const char *host, struct error *error)
{
    if (text_is_ip(host))
        return mem_strdup(host);
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *found = NULL;
    int failure = getaddrinfo(host, NULL, &hints, &found);
    if (failure != 0 || found == NULL) {
        error_set(error, ERR_INVALID, "%s cannot be resolved: %s", host, gai_strerror(failure));
        return NULL;
    }
    struct addrinfo *best = found;
    for (struct addrinfo *at = found; at != NULL; at = at->ai_next) {
        if (at->ai_family == AF_INET && best->ai_family != AF_INET)
            best = at;
    }
    char text[INET6_ADDRSTRLEN];
    getnameinfo(best->ai_addr, best->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST);
    freeaddrinfo(found);
    return mem_strdup(text);
}

static bool resolve_host_port(const char *text, const char *flag, char **ret_host,
                              uint16_t *ret_port, struct error *error)
{
    char *host;
    if (!text_split_host_port(text, false, &host, ret_port))
        return error_set(error, ERR_INVALID, "%s: \"%s\" is not of the form host:port", flag, text);
    *ret_host = resolve(text_empty(host) ? "localhost" : host, error);
    free(host);
    return *ret_host != NULL;
}

/* The host that the HTTP API was reached at; gRPC is served there too. */
static char *api_host(const struct cli *cli)
{
    const char *address = cli_api_address(cli->api);
    const char *start = strstr(address, "://");
    start = start != NULL ? start + 3 : address;
    char *host;
    uint16_t port;
    if (text_starts(address, "unix://") || !text_split_host_port(start, false, &host, &port))
        return mem_strdup("localhost");
    return host;
}

static bool choose_grpc_by_agent(struct cli *cli, struct preparation *preparation, bool has_ca,
                                 bool *ret_tls)
{
    const json_t *ports = json_object_get(json_object_get(preparation->self, "xDS"), "Ports");
    int64_t tls = cli_integer(ports, "TLS"), plain = cli_integer(ports, "Plaintext");
    if (tls <= 0 && plain <= 0)
        return error_set(&cli->error, ERR_INVALID,
                         "the agent serves no gRPC: set ports.grpc or ports.grpc_tls in its "
                         "configuration");
    *ret_tls = tls > 0 && (has_ca || plain <= 0);
    preparation->grpc_port = (uint16_t)(*ret_tls ? tls : plain);
    char *host = api_host(cli);
    preparation->grpc_host = resolve(host, &cli->error);
    free(host);
    return preparation->grpc_host != NULL;
}

static bool choose_grpc(struct cli *cli, struct preparation *preparation)
{
    const struct envoy_flags *flags = preparation->flags;
    const char *given =
        !text_empty(flags->grpc_addr) ? flags->grpc_addr : getenv("CONSUL_GRPC_ADDR");
    const char *ca_file =
        !text_empty(flags->grpc_ca_file) ? flags->grpc_ca_file : getenv("CONSUL_GRPC_CACERT");
    if (text_empty(ca_file))
        ca_file = cli->settings.ca_file;
    if (text_empty(ca_file))
        ca_file = getenv("CONSUL_CACERT");
    bool tls = false;
    if (text_empty(given)) {
        if (!choose_grpc_by_agent(cli, preparation, !text_empty(ca_file), &tls))
            return false;
    } else if (text_starts(given, "unix://")) {
        preparation->grpc_socket = mem_strdup(given + strlen("unix://"));
        tls = !text_empty(ca_file);
    } else {
        tls = text_starts(given, "https://");
        const char *rest = strstr(given, "://");
        if (!resolve_host_port(rest != NULL ? rest + 3 : given, "-grpc-addr",
                               &preparation->grpc_host, &preparation->grpc_port, &cli->error))
            return false;
    }
    if (!tls)
        return true;
    if (text_empty(ca_file))
        return error_set(
            &cli->error, ERR_INVALID,
            "the agent's gRPC port %u speaks TLS, and no CA to verify it with is known: "
            "give -grpc-ca-file (or CONSUL_GRPC_CACERT), or use a plaintext port with "
            "-grpc-addr=http://host:port (ports.grpc in the agent's configuration)",
            preparation->grpc_port);
    size_t length;
    preparation->grpc_ca = file_read(ca_file, 1 << 20, &length, &cli->error);
    return preparation->grpc_ca != NULL;
}

/* ---- the bootstrap ---- */

static bool make_bootstrap(struct cli *cli, struct preparation *preparation)
{
    const struct envoy_flags *flags = preparation->flags;
    const json_t *service = preparation->service, *proxy = json_object_get(service, "Proxy");
    const char *kind = cli_text(service, "Kind");
    bool sidecar = strcmp(kind, "connect-proxy") == 0;
    if (!sidecar && strcmp(kind, "mesh-gateway") != 0)
        return error_set(&cli->error, ERR_INVALID,
                         "service is not a Connect proxy or gateway: \"%s\" is %s",
                         preparation->proxy_id, text_empty(kind) ? "a plain service" : kind);
    const char *namespace = cli_text(service, "Namespace");
    struct bootstrap_spec spec = {
        .admin_address = preparation->admin_host,
        .admin_port = preparation->admin_port,
        .admin_access_log = flags->admin_access_log,
        .access_logs = json_object_get(preparation->defaults, "AccessLogs"),
        .proxy_id = preparation->proxy_id,
        .proxy_source =
            sidecar ? cli_text(proxy, "DestinationServiceName") : cli_text(service, "Service"),
        .node_name = flags->node_name,
        .namespace = text_empty(namespace) ? "default" : namespace,
        .partition = "default",
        .datacenter = cli_text(service, "Datacenter"),
        .token = cli_api_token(cli->api) != NULL ? cli_api_token(cli->api) : "",
        .agent_address = preparation->grpc_host,
        .agent_port = preparation->grpc_port,
        .agent_socket = preparation->grpc_socket,
        .agent_ca_pem = preparation->grpc_ca,
        .omit_deprecated_tags = flags->omit_deprecated_tags,
        .ready_address = flags->ready_address,
        .ready_port = (uint16_t)flags->ready_port,
        .prometheus = flags->prometheus,
        .config = flags->no_central_config ? NULL : json_object_get(proxy, "Config"),
    };
    spec.prometheus.backend_port = (uint16_t)flags->prometheus_backend_port;
    preparation->bootstrap = bootstrap_make(&spec, &cli->error);
    return preparation->bootstrap != NULL;
}

/* There may be no proxy-defaults; an agent that does not give them is no reason not to start. */
static void fetch_defaults(struct cli *cli, struct preparation *preparation)
{
    struct error ignored = {0};
    preparation->defaults = cli_api_get(cli->api, "/v1/config/proxy-defaults/global", &ignored);
}

static bool prepare(struct cli *cli, struct preparation *preparation)
{
    if (!check_flags(cli, preparation->flags) || !find_proxy(cli, preparation))
        return false;
    preparation->self = cli_api_get(cli->api, "/v1/agent/self", &cli->error);
    if (preparation->self == NULL)
        return false;
    struct buffer path = {0};
    buffer_add_text(&path, "/v1/agent/service/");
    cli_api_add_segment(&path, preparation->proxy_id);
    preparation->service = cli_api_get(cli->api, buffer_text(&path), &cli->error);
    buffer_free(&path);
    if (preparation->service == NULL) {
        error_prefix(&cli->error, "failed fetch proxy config from local agent: ");
        return false;
    }
    fetch_defaults(cli, preparation);
    return resolve_host_port(preparation->flags->admin_bind, "-admin-bind",
                             &preparation->admin_host, &preparation->admin_port, &cli->error) &&
           choose_grpc(cli, preparation) && make_bootstrap(cli, preparation);
}

static bool check_version(struct cli *cli, const struct envoy_flags *flags, const char *binary)
{
    if (flags->ignore_compatibility)
        return true;
    struct envoy_version version;
    if (!envoy_read_version(binary, &version, &cli->error))
        return false;
    bool untested;
    if (!envoy_version_works(&version, &untested))
        return error_set(
            &cli->error, ERR_INVALID,
            "Envoy version %u.%u.%u is not supported: it lacks what the mesh needs; use "
            "1.22 or later, or -ignore-envoy-compatibility to try all the same",
            version.major, version.minor, version.patch);
    if (untested)
        fprintf(stderr, "warning: Pons has not been tested with Envoy %u.%u.%u\n", version.major,
                version.minor, version.patch);
    return true;
}

int cli_connect_envoy(int argc, char **argv)
{
    struct envoy_flags flags = {
        .proxy_id = getenv("CONNECT_PROXY_ID"),
        .sidecar_for = getenv("CONNECT_SIDECAR_FOR"),
        .admin_bind = "localhost:19000",
        .admin_access_log = "/dev/null",
        .prometheus = {.scrape_path = "/metrics"},
    };
    struct gateway_flags *gateway = &flags.gateway_flags;
    gateway->deregister_after_critical = "6h";
    gateway->service = "mesh-gateway";
    const struct flag rows[] = {
        {"proxy-id", FLAG_STRING, &flags.proxy_id, "ID of the proxy's registration."},
        {"sidecar-for", FLAG_STRING, &flags.sidecar_for,
         "ID of the service whose sidecar this is."},
        {"gateway", FLAG_STRING, &flags.gateway, "Kind of gateway: mesh."},
        {"mesh-gateway", FLAG_BOOL, &flags.mesh_gateway, "Old form of -gateway=mesh."},
        {"register", FLAG_BOOL, &flags.registers, "Register the gateway first."},
        {"service", FLAG_STRING, &gateway->service, "Name to register the gateway under."},
        {"address", FLAG_STRING, &gateway->address, "LAN address of the gateway, ip:port."},
        {"wan-address", FLAG_STRING, &gateway->wan_address, "Address that peers reach it at."},
        {"bind-address", FLAG_LIST, &gateway->bind_addresses,
         "name=ip:port to listen on instead; may be repeated."},
        {"expose-servers", FLAG_BOOL, &gateway->expose_servers,
         "Lead to this cluster's servers (WAN federation)."},
        {"deregister-after-critical", FLAG_STRING, &gateway->deregister_after_critical,
         "Deregister a gateway that is critical for so long (6h)."},
        {"node-name", FLAG_STRING, &flags.node_name, "Node of the registration, with -proxy-id."},
        {"envoy-binary", FLAG_STRING, &flags.envoy_binary, "Path of Envoy; else found on PATH."},
        {"ignore-envoy-compatibility", FLAG_BOOL, &flags.ignore_compatibility,
         "Do not look at Envoy's version."},
        {"envoy-version", FLAG_STRING, &flags.envoy_version, "Taken, without effect."},
        {"bootstrap", FLAG_BOOL, &flags.bootstrap_only, "Print the bootstrap and end."},
        {"admin-bind", FLAG_STRING, &flags.admin_bind, "Envoy's admin address (localhost:19000)."},
        {"admin-access-log-path", FLAG_STRING, &flags.admin_access_log,
         "Log of the admin port (/dev/null)."},
        {"grpc-addr", FLAG_STRING, &flags.grpc_addr,
         "The agent's gRPC: host:port, http://, https:// or unix://."},
        {"grpc-ca-file", FLAG_STRING, &flags.grpc_ca_file, "CA of the agent's gRPC port."},
        {"grpc-ca-path", FLAG_STRING, &flags.grpc_ca_path, "Taken, without effect."},
        {"no-central-config", FLAG_BOOL, &flags.no_central_config,
         "Leave proxy.config out of the bootstrap."},
        {"omit-deprecated-tags", FLAG_BOOL, &flags.omit_deprecated_tags,
         "Leave out statistics tags of old names."},
        {"envoy-ready-bind-address", FLAG_STRING, &flags.ready_address, "Address of /ready."},
        {"envoy-ready-bind-port", FLAG_NUMBER, &flags.ready_port, "Port of /ready."},
        {"prometheus-backend-port", FLAG_NUMBER, &flags.prometheus_backend_port,
         "Port that the Prometheus listener leads to, instead of Envoy's own statistics."},
        {"prometheus-scrape-path", FLAG_STRING, &flags.prometheus.scrape_path,
         "Path of the Prometheus listener (/metrics)."},
        {"prometheus-ca-file", FLAG_STRING, &flags.prometheus.ca_file,
         "TLS for the Prometheus listener: its CA,"},
        {"prometheus-ca-path", FLAG_STRING, &flags.prometheus.ca_path, "or a folder of CAs,"},
        {"prometheus-cert-file", FLAG_STRING, &flags.prometheus.cert_file, "its certificate,"},
        {"prometheus-key-file", FLAG_STRING, &flags.prometheus.key_file, "and the key of that."},
        {"enable-config-gen-logging", FLAG_BOOL, &flags.config_gen_logging, "Taken."},
        {NULL, FLAG_BOOL, NULL, NULL},
    };
    static const struct cli_usage usage = {
        .arguments = "[options] [-- Envoy's own options]",
        .text = "  Starts an Envoy as a sidecar proxy or a mesh gateway:\n\n"
                "      pons connect envoy -sidecar-for web\n"
                "      pons connect envoy -gateway=mesh -register -address 10.0.0.1:8443 \\\n"
                "          -wan-address 198.51.100.7:8443",
        .arguments_most = 1000,
    };
    struct cli cli;
    if (!cli_start(&cli, &usage, rows, argc, argv)) {
        text_list_free(&gateway->bind_addresses);
        return cli.exit_code;
    }
    struct preparation preparation = {.flags = &flags};
    char *binary = NULL;
    bool ok = prepare(&cli, &preparation);
    if (ok && flags.bootstrap_only) {
        cli_print_json(preparation.bootstrap, "  ");
    } else if (ok) {
        binary = envoy_find(flags.envoy_binary, &cli.error);
        ok = binary != NULL && check_version(&cli, &flags, binary);
        if (ok) {
            char **arguments = mem_array((size_t)cli.argument_count + 1, sizeof *arguments);
            memcpy(arguments, cli.arguments, (size_t)cli.argument_count * sizeof *arguments);
            envoy_exec(binary, preparation.bootstrap, arguments, &cli.error);
            free(arguments);
            ok = false; /* it came back */
        }
    }
    free(binary);
    preparation_clear(&preparation);
    if (ok)
        return cli_end(&cli, 0);
    fprintf(stderr, "%s\n", cli.error.message);
    return cli_end(&cli, 1);
}
