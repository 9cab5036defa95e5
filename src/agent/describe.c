#include "agent/describe.h"

#include <inttypes.h>
#include <string.h>

#include "agent/node.h"
#include "text/json.h"

/* The newest of each Envoy that Pons was tried with, and what Consul 1.21 names. */
#define SUPPORTED_ENVOYS "\"1.40.0\",\"1.39.3\",\"1.38.3\",\"1.37.0\",\"1.36.2\",\"1.34.1\",\"1.33.2\",\"1.32.5\",\"1.31.8\""

static void add_text(struct buffer *output, const char *key, const char *value)
{
    buffer_printf(output, "\"%s\":", key);
    json_write_string(output, value != NULL ? value : "");
    buffer_add_byte(output, ',');
}

static void add_tcp_address(struct buffer *output, const char *key, const char *host, int32_t port)
{
    buffer_printf(output, "\"%s\":\"tcp://%s:%d\",", key, host, port);
}

static void add_addresses(struct buffer *output, const char *key, const char *host, int32_t port)
{
    if (port > 0)
        buffer_printf(output, "\"%s\":[\"tcp://%s:%d\"],", key, host, port);
    else
        buffer_printf(output, "\"%s\":[],", key);
}

static void add_config(struct buffer *output, const struct agent_config *config,
                       const char *node_id)
{
    buffer_add_text(output, "\"Config\":{");
    add_text(output, "Datacenter", config->values->datacenter);
    add_text(output, "PrimaryDatacenter", config->values->datacenter);
    add_text(output, "NodeName", config->node_name);
    add_text(output, "NodeID", node_id);
    add_text(output, "Version", CONSUL_VERSION);
    add_text(output, "PonsVersion", PONS_VERSION);
    buffer_printf(output,
                  "\"Revision\":\"\",\"Server\":%s,\"BuildDate\":\"1970-01-01T00:00:01Z\"},",
                  config->values->server ? "true" : "false");
}

static void add_debug_config(struct buffer *output, const struct agent_config *config)
{
    const Pb__AgentConfig *values = config->values;
    const Pb__AgentPorts *ports = values->ports;
    const char *client = values->client_addr, *advertise = config->advertise;
    buffer_add_text(output, "\"DebugConfig\":{");
    add_text(output, "AdvertiseAddrLAN", advertise);
    add_text(output, "AdvertiseAddrWAN", config->advertise_wan);
    add_text(output, "BindAddr", values->bind_addr);
    add_text(output, "Datacenter", values->datacenter);
    add_text(output, "NodeName", config->node_name);
    add_text(output, "DataDir", values->data_dir);
    add_text(output, "LogLevel", values->log_level);
    buffer_add_text(output, "\"ClientAddrs\":[");
    json_write_string(output, client);
    buffer_add_text(output, "],");
    add_addresses(output, "HTTPAddrs", client, ports->http);
    add_addresses(output, "HTTPSAddrs", client, ports->https);
    add_addresses(output, "GRPCAddrs", client, ports->grpc);
    add_addresses(output, "GRPCTLSAddrs", client, ports->grpc_tls);
    add_tcp_address(output, "RPCAdvertiseAddr", advertise, ports->server);
    add_tcp_address(output, "RPCBindAddr", values->bind_addr, ports->server);
    add_tcp_address(output, "SerfAdvertiseAddrLAN", advertise, ports->serf_lan);
    add_tcp_address(output, "SerfAdvertiseAddrWAN", config->advertise_wan, ports->serf_wan);
    buffer_printf(output,
                  "\"HTTPPort\":%d,\"HTTPSPort\":%d,\"GRPCPort\":%d,\"GRPCTLSPort\":%d,"
                  "\"DNSPort\":%d,\"ServerPort\":%d,\"SerfPortLAN\":%d,\"SerfPortWAN\":%d,"
                  "\"ConnectSidecarMinPort\":%d,\"ConnectSidecarMaxPort\":%d,\"ServerMode\":%s,"
                  "\"ConnectEnabled\":true,\"PeeringEnabled\":%s,\"DevMode\":%s},",
                  ports->http, ports->https, ports->grpc, ports->grpc_tls, ports->dns,
                  ports->server, ports->serf_lan, ports->serf_wan, ports->sidecar_min_port,
                  ports->sidecar_max_port, values->server ? "true" : "false",
                  values->peering->enabled ? "true" : "false", config->dev ? "true" : "false");
}

static void add_stats(struct buffer *output, const struct agent_config *config, struct store *store)
{
    uint64_t index = store_index(store);
    buffer_printf(
        output,
        "\"Stats\":{\"build\":{\"prerelease\":\"\",\"revision\":\"\",\"version\":\"%s\","
        "\"pons_version\":\"%s\"},\"consul\":{\"acl\":\"disabled\",\"bootstrap\":\"true\","
        "\"known_datacenters\":\"1\",\"leader\":\"true\",\"leader_addr\":\"%s:%d\","
        "\"server\":\"true\"},\"store\":{\"engine\":\"%s\",\"index\":\"%" PRIu64 "\"}},",
        CONSUL_VERSION, PONS_VERSION, config->advertise, config->values->ports->server,
        config->dev ? "memory" : "sqlite", index);
}

void describe_agent(const struct agent_config *config, const char *node_id, struct store *store,
                    struct buffer *output)
{
    const Pb__AgentPorts *ports = config->values->ports;
    int32_t grpc = ports->grpc > 0 ? ports->grpc : 0;
    int32_t grpc_tls = ports->grpc_tls > 0 ? ports->grpc_tls : 0;
    add_config(output, config, node_id);
    add_debug_config(output, config);
    add_stats(output, config, store);
    buffer_printf(output,
                  "\"Meta\":{\"consul-network-segment\":\"\",\"consul-version\":\"%s\"},"
                  "\"xDS\":{\"SupportedProxies\":{\"envoy\":[" SUPPORTED_ENVOYS
                  "]},\"Port\":%d,\"Ports\":{\"Plaintext\":%d,\"TLS\":%d}}",
                  CONSUL_VERSION, grpc_tls > 0 ? grpc_tls : grpc, grpc, grpc_tls);
}
