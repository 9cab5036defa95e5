/* /v1/discovery-chain: a service's chain as it is compiled now. */
#include <inttypes.h>
#include <string.h>

#include "base/duration.h"
#include "base/text.h"
#include "ca/authority.h"
#include "chain/chain.h"
#include "http/content_hash.h"
#include "http/handlers.h"
#include "proto/codec_tables.h"
#include "text/json.h"

/* ---- what the caller asks for besides the entries ---- */

static bool read_timeout(const json_t *value, int64_t *ret_ns, struct error *error)
{
    if (value == NULL)
        return true;
    if (json_is_integer(value))
        *ret_ns = json_integer_value(value);
    else if (!json_is_string(value) || !duration_parse(json_string_value(value), ret_ns))
        return error_set(error, ERR_INVALID,
                         "OverrideConnectTimeout: expected a duration as \"5s\"");
    return true;
}

static bool read_protocol(const char *given, struct arena *arena, const char **ret_protocol,
                          struct error *error)
{
    char *protocol = arena_strdup(arena, given);
    text_lower(protocol);
    if (*protocol != '\0' && strcmp(protocol, "tcp") != 0 && !config_protocol_is_http(protocol))
        return error_set(error, ERR_INVALID,
                         "OverrideProtocol \"%s\" is none of tcp, http, http2, grpc", given);
    *ret_protocol = protocol;
    return true;
}

static bool read_overrides(struct api_request *request, struct chain_overrides *overrides,
                           struct error *error)
{
    static const char *const known[] = {"OverrideMeshGateway", "OverrideProtocol",
                                        "OverrideConnectTimeout", NULL};
    size_t length;
    const char *body = http_body(request->http, &length);
    if (length == 0)
        return true;
    json_t *value = json_parse(body, length, NULL, error);
    if (value == NULL || !api_check_keys(value, known, error)) {
        json_decref(value);
        return false;
    }
    const json_t *protocol = json_get_nocase(value, "OverrideProtocol");
    const json_t *gateway = json_get_nocase(value, "OverrideMeshGateway");
    const json_t *mode = json_is_object(gateway) ? json_get_nocase(gateway, "Mode") : NULL;
    if (json_is_string(mode))
        overrides->gateway_mode = arena_strdup(request->arena, json_string_value(mode));
    bool good =
        (!json_is_string(protocol) ||
         read_protocol(json_string_value(protocol), request->arena, &overrides->protocol, error)) &&
        read_timeout(json_get_nocase(value, "OverrideConnectTimeout"),
                     &overrides->connect_timeout_ns, error);
    json_decref(value);
    return good;
}

/* ---- the chain as JSON ---- */

static void add_text(struct buffer *body, const char *key, const char *text)
{
    reply_comma(body);
    buffer_printf(body, "\"%s\":", key);
    json_write_string(body, text);
}

static void add_text_if(struct buffer *body, const char *key, const char *text)
{
    if (!text_empty(text))
        add_text(body, key, text);
}

static void add_duration(struct buffer *body, const char *key, int64_t ns)
{
    char text[DURATION_TEXT_MAX];
    if (ns > 0)
        add_text(body, key, duration_format(ns, text));
}

static void add_true(struct buffer *body, const char *key, bool value)
{
    if (!value)
        return;
    reply_comma(body);
    buffer_printf(body, "\"%s\":true", key);
}

static const char *kind_name(const struct chain_node *node)
{
    static const char *const names[] = {
        [CHAIN_RESOLVER] = "resolver", [CHAIN_SPLITTER] = "splitter", [CHAIN_ROUTER] = "router"};
    return names[node->kind];
}

static void add_link(struct buffer *body, const char *key, const struct chain_node *node)
{
    struct buffer name = {0};
    buffer_printf(&name, "%s:%s", kind_name(node), node->name);
    add_text(body, key, buffer_text(&name));
    buffer_free(&name);
}

static void write_splits(struct buffer *body, const struct chain_node *node)
{
    buffer_add_text(body, ",\"Splits\":[");
    for (size_t i = 0; i < node->split_count; i++) {
        const struct chain_split *split = &node->splits[i];
        reply_comma(body);
        buffer_add_text(body, "{\"Definition\":");
        codec_write(body, &pb__service_split__codec, split->definition);
        buffer_printf(body, ",\"Weight\":%" PRId64, split->weight / 100);
        if (split->weight % 100 != 0)
            buffer_printf(body, ".%02" PRId64, split->weight % 100);
        add_link(body, "NextNode", split->next);
        buffer_add_byte(body, '}');
    }
    buffer_add_byte(body, ']');
}

static void write_routes(struct buffer *body, const struct chain_node *node)
{
    buffer_add_text(body, ",\"Routes\":[");
    for (size_t i = 0; i < node->route_count; i++) {
        reply_comma(body);
        buffer_add_text(body, "{\"Definition\":");
        codec_write(body, &pb__service_route__codec, node->routes[i].definition);
        add_link(body, "NextNode", node->routes[i].next);
        buffer_add_byte(body, '}');
    }
    buffer_add_byte(body, ']');
}

static void write_node(struct buffer *body, const struct chain_node *node)
{
    reply_comma(body);
    buffer_printf(body, "\"%s:%s\":{", kind_name(node), node->name);
    add_text(body, "Type", kind_name(node));
    add_text(body, "Name", node->name);
    if (node->kind == CHAIN_SPLITTER)
        write_splits(body, node);
    if (node->kind == CHAIN_ROUTER)
        write_routes(body, node);
    if (node->kind == CHAIN_RESOLVER) {
        buffer_add_text(body, ",\"Resolver\":{");
        add_duration(body, "ConnectTimeout", node->connect_timeout_ns);
        if (node->request_timeout_ns > 0) /* a number, as clients in Go expect it */
            buffer_printf(body, ",\"RequestTimeout\":%" PRId64, node->request_timeout_ns);
        add_true(body, "Default", node->no_entry);
        add_text(body, "Target", node->target->id);
        buffer_add_byte(body, '}');
    }
    buffer_add_byte(body, '}');
}

static void write_target(struct buffer *body, const struct chain_target *target,
                         const char *datacenter)
{
    reply_comma(body);
    json_write_string(body, target->id);
    buffer_add_text(body, ":{");
    add_duration(body, "ConnectTimeout", target->connect_timeout_ns);
    add_text(body, "ID", target->id);
    add_text(body, "Service", target->service);
    add_text_if(body, "ServiceSubset", target->subset);
    add_text(body, "Namespace", target->tenancy.namespace);
    add_text(body, "Partition", target->tenancy.partition);
    add_text(body, "Datacenter", datacenter);
    buffer_add_text(body, ",\"MeshGateway\":{");
    add_text_if(body, "Mode", target->gateway_mode);
    buffer_add_text(body, "},\"Subset\":{");
    if (target->definition != NULL) {
        add_text_if(body, "Filter", target->definition->filter);
        add_true(body, "OnlyPassing", target->definition->only_passing);
    }
    buffer_add_text(body, "},\"TransparentProxy\":{}");
    add_text(body, "SNI", target->sni);
    add_text(body, "Name", target->sni);
    buffer_add_byte(body, '}');
}

static void write_addresses(struct buffer *body, struct view *view, const struct chain *chain)
{
    struct buffer key = {0};
    const struct record *record =
        view_get(view, TABLE_VIRTUAL_IP, key_named(&key, &chain->tenancy, chain->service));
    buffer_free(&key);
    if (record == NULL) {
        buffer_add_text(body, ",\"AutoVirtualIPs\":null,\"ManualVirtualIPs\":null");
        return;
    }
    const Pb__VirtualIp *address = record->message;
    buffer_add_text(body, ",\"AutoVirtualIPs\":[");
    json_write_string(body, address->address);
    buffer_add_text(body, "],\"ManualVirtualIPs\":[]");
}

static void write_chain(struct buffer *body, struct view *view, const struct chain *chain,
                        const struct chain_overrides *overrides)
{
    buffer_add_text(body, "{\"Chain\":{");
    add_text(body, "ServiceName", chain->service);
    add_text(body, "Namespace", chain->tenancy.namespace);
    add_text(body, "Partition", chain->tenancy.partition);
    add_text(body, "Datacenter", chain->datacenter);
    if (chain->customized) {
        char hash[CUSTOMIZATION_HASH_SIZE];
        add_text(body, "CustomizationHash",
                 content_hash_customization(overrides->gateway_mode, overrides->protocol,
                                            overrides->connect_timeout_ns, hash));
    }
    add_true(body, "Default", chain->is_default);
    add_text(body, "Protocol", chain->protocol);
    add_link(body, "StartNode", chain->start);
    buffer_add_text(body, ",\"Nodes\":{");
    for (size_t i = 0; i < chain->node_count; i++)
        write_node(body, chain->nodes[i]);
    buffer_add_text(body, "},\"Targets\":{");
    for (size_t i = 0; i < chain->target_count; i++)
        write_target(body, chain->targets[i], chain->datacenter);
    buffer_add_byte(body, '}');
    write_addresses(body, view, chain);
    buffer_add_text(body, "}}");
}

void api_discovery_chain(struct api_request *request, struct view *view, struct reply *reply)
{
    const struct api_config *config = &request->api->config;
    const char *compile_in = http_query(request->http, "compile-dc", 0);
    struct error error = {0};
    struct chain_input input = {
        .view = view,
        .tenancy = request->tenancy,
        .service = request->argument,
        .trust_domain = authority_trust_domain(config->authority),
        .datacenter = text_empty(compile_in) ? config->datacenter : compile_in,
    };
    if (!read_overrides(request, &input.overrides, &error)) {
        reply_error(reply, 400, "Request decoding failed: %s", error.message);
        return;
    }
    const struct chain *chain = chain_compile(&input, request->arena, &error);
    if (chain == NULL)
        reply_error(reply, api_status_of(&error), "%s", error.message);
    else
        write_chain(reply->body, view, chain, &input.overrides);
}
