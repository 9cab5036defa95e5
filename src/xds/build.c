#include "xds/build.h"

#include <string.h>

#include "base/ident.h"
#include "base/text.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/duration.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"

void xds_add(struct xds_build *build, enum xds_type type, const char *name, const void *message,
             char **children)
{
    struct xds_resource_list *list = &build->lists[type];
    struct buffer bytes = {0};
    uint8_t digest[SHA256_SIZE];
    if (list->count == build->capacities[type]) {
        build->capacities[type] = build->capacities[type] == 0 ? 16 : 2 * build->capacities[type];
        list->items = mem_realloc(list->items, build->capacities[type] * sizeof(*list->items));
    }
    struct xds_resource *resource = &list->items[list->count++];
    proto_pack(message, &bytes);
    resource->name = arena_strdup(build->kept, name);
    resource->length = bytes.length;
    resource->bytes = arena_dup(build->kept, buffer_text(&bytes), bytes.length);
    resource->children = children;
    sha256(resource->bytes, resource->length, digest);
    hex_encode(digest, SHA256_SIZE, resource->version);
    buffer_free(&bytes);
}

char **xds_child(struct xds_build *build, const char *name)
{
    char **children = arena_alloc(build->kept, 2 * sizeof(*children));
    children[0] = arena_strdup(build->kept, name);
    return children;
}

void xds_problem(struct xds_build *build, const char *format, ...)
{
    va_list args;
    if (build->problems.length > 0)
        buffer_add_byte(&build->problems, '\n');
    va_start(args, format);
    buffer_vprintf(&build->problems, format, args);
    va_end(args);
}

Google__Protobuf__Any *xds_any(struct arena *arena, const void *message)
{
    const ProtobufCMessage *base = message;
    Google__Protobuf__Any *any = xds_any_empty(arena, base->descriptor->name);
    any->value.len = protobuf_c_message_get_packed_size(base);
    any->value.data = arena_alloc(arena, any->value.len);
    protobuf_c_message_pack(base, any->value.data);
    return any;
}

Google__Protobuf__Any *xds_any_empty(struct arena *arena, const char *type)
{
    Google__Protobuf__Any *any = proto_new(arena, google__protobuf__any);
    any->type_url = arena_printf(arena, "type.googleapis.com/%s", type);
    return any;
}

Google__Protobuf__Duration *xds_duration_ms(struct arena *arena, int64_t ms)
{
    return xds_duration_ns(arena, ms * 1000000);
}

Google__Protobuf__Duration *xds_duration_ns(struct arena *arena, int64_t ns)
{
    Google__Protobuf__Duration *duration = proto_new(arena, google__protobuf__duration);
    duration->seconds = ns / 1000000000;
    duration->nanos = (int32_t)(ns % 1000000000);
    return duration;
}

Google__Protobuf__UInt32Value *xds_uint32(struct arena *arena, uint32_t value)
{
    Google__Protobuf__UInt32Value *wrapper = proto_new(arena, google__protobuf__uint32_value);
    wrapper->value = value;
    return wrapper;
}

Google__Protobuf__BoolValue *xds_true(struct arena *arena)
{
    Google__Protobuf__BoolValue *wrapper = proto_new(arena, google__protobuf__bool_value);
    wrapper->value = true;
    return wrapper;
}

Envoy__Address *xds_address(struct arena *arena, const char *host, uint16_t port)
{
    Envoy__Address *address = proto_new(arena, envoy__address);
    Envoy__SocketAddress *socket = proto_new(arena, envoy__socket_address);
    socket->address = xds_text(host);
    socket->port_specifier_case = ENVOY__SOCKET_ADDRESS__PORT_SPECIFIER_PORT_VALUE;
    socket->port_value = port;
    address->address_case = ENVOY__ADDRESS__ADDRESS_SOCKET_ADDRESS;
    address->socket_address = socket;
    return address;
}

Envoy__Address *xds_pipe(struct arena *arena, const char *path, uint32_t mode)
{
    Envoy__Address *address = proto_new(arena, envoy__address);
    Envoy__Pipe *pipe = proto_new(arena, envoy__pipe);
    pipe->path = xds_text(path);
    pipe->mode = mode;
    address->address_case = ENVOY__ADDRESS__ADDRESS_PIPE;
    address->pipe = pipe;
    return address;
}

Envoy__ConfigSource *xds_ads_source(struct xds_build *build)
{
    Envoy__ConfigSource *source = proto_new(build->arena, envoy__config_source);
    source->config_source_specifier_case = ENVOY__CONFIG_SOURCE__CONFIG_SOURCE_SPECIFIER_ADS;
    source->ads = proto_new(build->arena, envoy__aggregated_config_source);
    source->resource_api_version = ENVOY__API_VERSION__V3;
    if (build->options.fetch_timeout_ms >= 0)
        source->initial_fetch_timeout =
            xds_duration_ms(build->arena, build->options.fetch_timeout_ms);
    return source;
}

Envoy__StringMatcher *xds_match_exact(struct arena *arena, const char *text)
{
    Envoy__StringMatcher *matcher = proto_new(arena, envoy__string_matcher);
    matcher->match_pattern_case = ENVOY__STRING_MATCHER__MATCH_PATTERN_EXACT;
    matcher->exact = xds_text(text);
    return matcher;
}

Envoy__StringMatcher *xds_match_regex(struct arena *arena, const char *regex)
{
    Envoy__StringMatcher *matcher = proto_new(arena, envoy__string_matcher);
    matcher->match_pattern_case = ENVOY__STRING_MATCHER__MATCH_PATTERN_SAFE_REGEX;
    matcher->safe_regex = proto_new(arena, envoy__regex_matcher);
    matcher->safe_regex->regex = xds_text(regex);
    return matcher;
}

Envoy__DataSource *xds_inline(struct arena *arena, const char *text)
{
    Envoy__DataSource *source = proto_new(arena, envoy__data_source);
    source->specifier_case = ENVOY__DATA_SOURCE__SPECIFIER_INLINE_STRING;
    source->inline_string = xds_text(text);
    return source;
}

char *xds_text(const char *text)
{
    return (char *)(uintptr_t)(text != NULL ? text : "");
}

bool xds_is_http2(const char *protocol)
{
    return text_equal(protocol, "http2") || text_equal(protocol, "grpc");
}

bool xds_is_http(const char *protocol)
{
    return text_equal(protocol, "http") || xds_is_http2(protocol);
}
