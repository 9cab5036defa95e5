#include "agent/listeners.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* "127.0.0.1 ::1" with one port is two addresses; "unix:///path" needs no port. */
static void addresses_of(const char *text, int32_t port, struct text_list *ret_addresses)
{
    char *copy = mem_strdup(text), *rest = copy;
    for (char *word; (word = strtok_r(rest, " ", &rest)) != NULL;) {
        bool socket = text_starts(word, "unix://");
        char *address = socket ? mem_strdup(word) : text_join_host_port(word, (uint16_t)port);
        if (socket || port > 0)
            text_list_add(ret_addresses, address);
        free(address);
    }
    free(copy);
}

struct protocol {
    const char *name;
    const char *address; /* of `addresses`, "" if not set */
    int32_t port;
};

static void open_protocol(const struct listeners *listeners, const struct agent_config *config,
                          const struct protocol *protocol, struct tls_context *tls, bool http,
                          struct text_list *errors)
{
    struct text_list addresses = {0};
    addresses_of(text_empty(protocol->address) ? config->values->client_addr : protocol->address,
                 protocol->port, &addresses);
    for (size_t i = 0; i < addresses.count; i++) {
        struct error error;
        struct address address;
        bool ok = address_parse(addresses.items[i], &address, &error);
        if (ok) {
            ok = http ? http_server_listen(listeners->http, &address, tls, &error)
                      : grpc_server_listen(listeners->grpc, &address, tls, &error);
            address_clear(&address);
        }
        if (!ok) {
            char *line = mem_printf("%s: %s", protocol->name, error.message);
            text_list_add(errors, line);
            free(line);
        }
    }
    text_list_free(&addresses);
}

void listeners_open(const struct listeners *listeners, const struct agent_config *config,
                    struct tls_context *https_tls, struct tls_context *grpc_tls,
                    struct text_list *errors)
{
    const Pb__AgentPorts *ports = config->values->ports;
    Pb__AgentAddresses none = PB__AGENT_ADDRESSES__INIT;
    const Pb__AgentAddresses *own =
        config->values->addresses != NULL ? config->values->addresses : &none;
    struct protocol http = {"HTTP", own->http, ports->http};
    struct protocol https = {"HTTPS", own->https, ports->https};
    struct protocol grpc = {"gRPC", own->grpc, ports->grpc};
    struct protocol grpc_with_tls = {"gRPC with TLS", own->grpc_tls, ports->grpc_tls};
    open_protocol(listeners, config, &http, NULL, true, errors);
    if (ports->https > 0)
        open_protocol(listeners, config, &https, https_tls, true, errors);
    if (ports->grpc > 0)
        open_protocol(listeners, config, &grpc, NULL, false, errors);
    if (ports->grpc_tls > 0)
        open_protocol(listeners, config, &grpc_with_tls, grpc_tls, false, errors);
}
