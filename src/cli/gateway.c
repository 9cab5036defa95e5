#include "cli/gateway.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/memory.h"

#define DEFAULT_PORT 8443

/* "ip:port", "ip", ":port" or "host:port"; fresh memory. */
static bool parse_address(const char *text, char **ret_host, uint16_t *ret_port,
                          struct error *error)
{
    if (text_is_ip(text)) {
        *ret_host = mem_strdup(text);
        *ret_port = DEFAULT_PORT;
        return true;
    }
    if (text_split_host_port(text, false, ret_host, ret_port))
        return true;
    return error_set(error, ERR_INVALID,
                     "Error parsing address \"%s\": expected ip:port, or an IP address", text);
}

/* Whether this machine can listen there: tried, not guessed from its interfaces. */
static bool is_bindable(const char *host)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM}, *found;
    if (getaddrinfo(host, NULL, &hints, &found) != 0)
        return false;
    int probe = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = probe >= 0 && bind(probe, found->ai_addr, found->ai_addrlen) == 0;
    if (probe >= 0)
        close(probe);
    freeaddrinfo(found);
    return ok;
}

static json_t *make_address(const char *host, uint16_t port)
{
    return json_pack("{s:s, s:i}", "Address", host, "Port", (int)port);
}

/* `-bind-address name=ip:port` replaces every other rule of where to listen. */
static bool add_bind_addresses(json_t *config, const struct gateway_flags *flags,
                               struct error *error)
{
    json_t *addresses = json_object();
    json_object_set_new(config, "envoy_gateway_no_default_bind", json_true());
    json_object_set_new(config, "envoy_gateway_bind_addresses", addresses);
    for (size_t i = 0; i < flags->bind_addresses.count; i++) {
        const char *text = flags->bind_addresses.items[i], *equals = strchr(text, '=');
        if (equals == NULL)
            return error_set(error, ERR_INVALID, "Missing \"=\" in argument: %s", text);
        char *host;
        uint16_t port;
        if (!parse_address(equals + 1, &host, &port, error))
            return false;
        char *name = mem_strndup(text, (size_t)(equals - text));
        json_object_set_new(addresses, name, make_address(host, port));
        free(name);
        free(host);
    }
    return true;
}

struct gateway_addresses {
    char *lan, *wan; /* NULL: not given */
    uint16_t lan_port, wan_port;
};

static bool add_binding(json_t *config, const struct gateway_flags *flags,
                        const struct gateway_addresses *addresses, struct error *error)
{
    if (flags->bind_addresses.count > 0)
        return add_bind_addresses(config, flags, error);
    const char *lan = text_empty(addresses->lan) ? NULL : addresses->lan;
    if (lan != NULL && addresses->wan != NULL && is_bindable(lan) && is_bindable(addresses->wan)) {
        json_object_set_new(config, "envoy_gateway_no_default_bind", json_true());
        json_object_set_new(config, "envoy_gateway_bind_tagged_addresses", json_true());
    } else if (lan != NULL && !is_bindable(lan)) {
        return error_set(
            error, ERR_INVALID,
            "The LAN address \"%s\" will not be bindable. Either set a bindable address "
            "or override the bind addresses with -bind-address",
            lan);
    }
    return true;
}

static json_t *make_registration(const struct gateway_flags *flags, const char *id,
                                 const struct gateway_addresses *addresses, struct error *error)
{
    json_t *config = json_object();
    if (!add_binding(config, flags, addresses, error)) {
        json_decref(config);
        return NULL;
    }
    const char *lan = addresses->lan != NULL ? addresses->lan : "";
    char *check = text_join_host_port(text_empty(lan) ? "127.0.0.1" : lan, addresses->lan_port);
    json_t *body = json_pack("{s:s, s:s, s:s, s:s, s:i, s:{s:o}, s:{s:s, s:s, s:s, s:s}}", "Kind",
                             "mesh-gateway", "Name", flags->service, "ID", id, "Address", lan,
                             "Port", (int)addresses->lan_port, "Proxy", "Config", config, "Check",
                             "Name", "mesh-gateway listening", "TCP", check, "Interval", "10s",
                             "DeregisterCriticalServiceAfter", flags->deregister_after_critical);
    free(check);
    json_t *tagged = json_object();
    if (!text_empty(lan))
        json_object_set_new(tagged, "lan", make_address(lan, addresses->lan_port));
    if (addresses->wan != NULL)
        json_object_set_new(tagged, "wan", make_address(addresses->wan, addresses->wan_port));
    json_object_set_new(body, "TaggedAddresses", tagged);
    if (flags->expose_servers)
        json_object_set_new(body, "Meta", json_pack("{s:s}", "consul-wan-federation", "1"));
    return body;
}

const char *gateway_register(struct cli *cli, const struct gateway_flags *flags,
                             const char *proxy_id)
{
    const char *id = text_empty(proxy_id) ? flags->service : proxy_id;
    struct gateway_addresses addresses = {.lan_port = DEFAULT_PORT};
    json_t *body = NULL, *answer = NULL;
    if ((text_empty(flags->address) ||
         parse_address(flags->address, &addresses.lan, &addresses.lan_port, &cli->error)) &&
        (text_empty(flags->wan_address) ||
         parse_address(flags->wan_address, &addresses.wan, &addresses.wan_port, &cli->error)))
        body = make_registration(flags, id, &addresses, &cli->error);
    if (body != NULL)
        answer = cli_api_send(cli->api, "PUT", "/v1/agent/service/register", body, &cli->error);
    if (body != NULL && answer == NULL)
        error_prefix(&cli->error, "Error registering service \"%s\": ", flags->service);
    bool ok = answer != NULL;
    if (ok)
        fprintf(stderr, "Registered service: %s\n", flags->service);
    json_decref(body);
    json_decref(answer);
    free(addresses.lan);
    free(addresses.wan);
    return ok ? id : NULL;
}
