/* Central configuration laid under a proxy's registration, as Consul lays it. What the proxy's
 * owner wrote always wins; below it stand service-defaults of the service that it serves, and
 * proxy-defaults at the bottom. */
#include <string.h>
#include <strings.h>

#include "base/duration.h"
#include "base/text.h"
#include "config/entry.h"
#include "consul/service.pb-c.h"
#include "proto/proto.h"
#include "text/json.h"

struct merge {
    struct view *view;
    struct arena *arena;
    struct tenancy tenancy;
    const Pb__ProxyDefaultsEntry *global;    /* NULL: none */
    const Pb__ServiceDefaultsEntry *service; /* of what the proxy serves; NULL: none */
    const Pb__NodeService *registration;
};

/* ---- opaque maps ---- */

/* A new reference; an empty object for no text. */
static json_t *parse_map(const char *text)
{
    json_t *map = text_empty(text) ? NULL : json_parse(text, strlen(text), NULL, NULL);
    if (json_is_object(map))
        return map;
    json_decref(map);
    return json_object();
}

static json_t *find_nocase(const json_t *map, const char *key)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)map, name, value)
    {
        if (strcasecmp(name, key) == 0)
            return value;
    }
    return NULL;
}

/* Adds to `map` what it lacks, at every level. */
static void fill_map(json_t *map, const json_t *defaults)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)defaults, key, value)
    {
        json_t *own = find_nocase(map, key);
        if (own == NULL)
            json_object_set(map, key, value);
        else if (json_is_object(own) && json_is_object(value))
            fill_map(own, value);
    }
}

/* Sorted by key, as Go prints maps, so that equal content is equal text. */
static char *write_map(const json_t *map, struct arena *arena)
{
    if (json_object_size(map) == 0)
        return (char *)protobuf_c_empty_string;
    struct text_list keys = {0};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)map, key, value) text_list_add(&keys, key);
    text_list_sort(&keys);
    json_t *sorted = json_object();
    for (size_t i = 0; i < keys.count; i++)
        json_object_set(sorted, keys.items[i], json_object_get(map, keys.items[i]));
    struct buffer text = {0};
    json_write(&text, sorted);
    char *copy = arena_strdup(arena, buffer_text(&text));
    buffer_free(&text);
    json_decref(sorted);
    text_list_free(&keys);
    return copy;
}

static void set_text(json_t *map, const char *key, const char *text)
{
    if (!text_empty(text))
        json_object_set_new(map, key, json_string(text));
}

static void set_number(json_t *map, const char *key, int64_t number)
{
    if (number > 0)
        json_object_set_new(map, key, json_integer(number));
}

static void set_duration(json_t *map, const char *key, int64_t ns)
{
    char text[DURATION_TEXT_MAX];
    if (ns > 0)
        json_object_set_new(map, key, json_string(duration_format(ns, text)));
}

/* ---- the proxy itself ---- */

static void merge_config(const struct merge *merge, Pb__ConnectProxyConfig *proxy)
{
    json_t *central = parse_map(merge->global != NULL ? merge->global->config : NULL);
    const Pb__ServiceDefaultsEntry *service = merge->service;
    if (service != NULL) {
        set_text(central, "protocol", service->protocol);
        set_text(central, "balance_inbound_connections", service->balance_inbound_connections);
        set_number(central, "max_inbound_connections", service->max_inbound_connections);
        set_number(central, "local_connect_timeout_ms", service->local_connect_timeout_ms);
        set_number(central, "local_request_timeout_ms", service->local_request_timeout_ms);
    }
    if (json_object_size(central) > 0) {
        json_t *own = parse_map(proxy->config);
        fill_map(own, central);
        proxy->config = write_map(own, merge->arena);
        json_decref(own);
    }
    json_decref(central);
}

static const char *gateway_mode(const Pb__MeshGatewayConfig *gateway)
{
    return gateway == NULL ? "" : gateway->mode;
}

static const char *first_set(const char *first, const char *second)
{
    return text_empty(first) ? second : first;
}

static const char *central_gateway_mode(const struct merge *merge)
{
    const char *service = merge->service != NULL ? gateway_mode(merge->service->mesh_gateway) : "";
    const char *global = merge->global != NULL ? gateway_mode(merge->global->mesh_gateway) : "";
    return first_set(service, global);
}

static void set_gateway_mode(Pb__MeshGatewayConfig **gateway, const char *mode, struct arena *arena)
{
    if (text_empty(mode) || !text_empty(gateway_mode(*gateway)))
        return;
    if (*gateway == NULL)
        *gateway = proto_new(arena, pb__mesh_gateway_config);
    (*gateway)->mode = arena_strdup(arena, mode);
}

static void merge_transparent(Pb__ConnectProxyConfig *proxy, const char *mode,
                              const Pb__TransparentProxyConfig *central, struct arena *arena)
{
    if (proxy->mode[0] == '\0' && !text_empty(mode))
        proxy->mode = arena_strdup(arena, mode);
    if (central == NULL || (central->outbound_listener_port == 0 && !central->dialed_directly))
        return;
    if (proxy->transparent_proxy == NULL)
        proxy->transparent_proxy = proto_new(arena, pb__transparent_proxy_config);
    if (proxy->transparent_proxy->outbound_listener_port == 0)
        proxy->transparent_proxy->outbound_listener_port = central->outbound_listener_port;
    proxy->transparent_proxy->dialed_directly |= central->dialed_directly;
}

static void merge_expose(Pb__ConnectProxyConfig *proxy, const Pb__ExposeConfig *central,
                         struct arena *arena)
{
    if (central == NULL || (!central->checks && central->n_paths == 0))
        return;
    if (proxy->expose == NULL)
        proxy->expose = proto_new(arena, pb__expose_config);
    proxy->expose->checks |= central->checks;
    if (proxy->expose->n_paths > 0 || central->n_paths == 0)
        return;
    const Pb__ExposeConfig *copy = proto_copy(central, arena);
    proxy->expose->n_paths = copy->n_paths;
    proxy->expose->paths = copy->paths;
}

static void merge_fields(const struct merge *merge, Pb__ConnectProxyConfig *proxy)
{
    set_gateway_mode(&proxy->mesh_gateway, central_gateway_mode(merge), merge->arena);
    if (merge->service != NULL) {
        merge_transparent(proxy, merge->service->mode, merge->service->transparent_proxy,
                          merge->arena);
        merge_expose(proxy, merge->service->expose, merge->arena);
    }
    if (merge->global != NULL) {
        merge_transparent(proxy, merge->global->mode, merge->global->transparent_proxy,
                          merge->arena);
        merge_expose(proxy, merge->global->expose, merge->arena);
    }
}

/* ---- its upstreams ---- */

static void set_limits(json_t *map, const Pb__UpstreamLimits *limits)
{
    if (limits == NULL)
        return;
    json_t *fields = json_object();
    set_number(fields, "max_connections", limits->max_connections);
    set_number(fields, "max_pending_requests", limits->max_pending_requests);
    set_number(fields, "max_concurrent_requests", limits->max_concurrent_requests);
    json_object_set_new(map, "limits", fields);
}

static void set_health_check(json_t *map, const Pb__PassiveHealthCheck *check)
{
    if (check == NULL)
        return;
    json_t *fields = json_object();
    set_duration(fields, "interval", check->interval);
    set_number(fields, "max_failures", check->max_failures);
    set_number(fields, "enforcing_consecutive_5xx", check->enforcing_consecutive_5xx);
    set_number(fields, "max_ejection_percent", check->max_ejection_percent);
    set_duration(fields, "base_ejection_time", check->base_ejection_time);
    json_object_set_new(map, "passive_health_check", fields);
}

/* Lays one central upstream configuration over what is in `map`. */
static void overlay_upstream(json_t *map, const Pb__UpstreamConfig *config)
{
    if (config == NULL)
        return;
    set_text(map, "protocol", config->protocol);
    set_number(map, "connect_timeout_ms", config->connect_timeout_ms);
    set_limits(map, config->limits);
    set_health_check(map, config->passive_health_check);
}

static bool same_namespace(const char *a, const char *b)
{
    return text_equal_nocase(text_empty(a) ? "default" : a, text_empty(b) ? "default" : b);
}

static bool overrides_name(const struct merge *merge, const Pb__UpstreamConfig *override,
                           const Pb__Upstream *upstream)
{
    const char *own = merge->tenancy.namespace;
    return text_equal_nocase(override->name, upstream->destination_name) &&
           same_namespace(first_set(override->namespace_, own),
                          first_set(upstream->destination_namespace, own));
}

/* The override of this name and peer. While no override names a peer, those of the bare name hold
 * for the service at every peer, as in Consul. */
static const Pb__UpstreamConfig *find_override(const struct merge *merge,
                                               const Pb__UpstreamConfiguration *upstreams,
                                               const Pb__Upstream *upstream)
{
    const Pb__UpstreamConfig *exact = NULL, *bare = NULL;
    bool names_peers = false;
    for (size_t i = 0; i < upstreams->n_overrides; i++) {
        const Pb__UpstreamConfig *override = upstreams->overrides[i];
        names_peers |= override->peer[0] != '\0';
        if (!overrides_name(merge, override, upstream))
            continue;
        if (text_equal_nocase(override->peer, upstream->destination_peer))
            exact = override;
        else if (override->peer[0] == '\0')
            bare = override;
    }
    return exact != NULL ? exact : names_peers ? NULL : bare;
}

/* A service of this cluster says itself how it wants to be spoken to; a peer's protocol comes with
 * the import. */
static void set_base_protocol(const struct merge *merge, json_t *map, const Pb__Upstream *upstream)
{
    if (merge->global != NULL) {
        json_t *config = parse_map(merge->global->config);
        set_text(map, "protocol", json_string_value(find_nocase(config, "protocol")));
        json_decref(config);
    }
    struct tenancy tenancy = merge->tenancy;
    tenancy.namespace = first_set(upstream->destination_namespace, tenancy.namespace);
    const Pb__ServiceDefaultsEntry *defaults =
        config_service_defaults(merge->view, &tenancy, upstream->destination_name);
    if (defaults != NULL)
        set_text(map, "protocol", defaults->protocol);
}

static void merge_upstream(const struct merge *merge, Pb__Upstream *upstream)
{
    const Pb__UpstreamConfiguration *central =
        merge->service != NULL ? merge->service->upstream_config : NULL;
    const Pb__UpstreamConfig *defaults = central != NULL ? central->defaults : NULL;
    const Pb__UpstreamConfig *override =
        central != NULL ? find_override(merge, central, upstream) : NULL;

    json_t *map = json_object();
    bool local = upstream->destination_peer[0] == '\0';
    if (local)
        set_base_protocol(merge, map, upstream);
    overlay_upstream(map, defaults);
    overlay_upstream(map, override);
    if (!local)
        json_object_del(map, "protocol");
    if (json_object_size(map) > 0) {
        json_t *own = parse_map(upstream->config);
        fill_map(own, map);
        upstream->config = write_map(own, merge->arena);
        json_decref(own);
    }
    json_decref(map);

    const char *mode = override != NULL ? gateway_mode(override->mesh_gateway) : "";
    mode = first_set(mode, gateway_mode(merge->registration->proxy->mesh_gateway));
    mode = first_set(mode, defaults != NULL ? gateway_mode(defaults->mesh_gateway) : "");
    mode = first_set(mode, central_gateway_mode(merge));
    set_gateway_mode(&upstream->mesh_gateway, mode, merge->arena);
}

/* ---- all of it ---- */

static bool is_merged(const Pb__NodeService *registration)
{
    bool sidecar = strcmp(registration->kind, "connect-proxy") == 0 && registration->proxy != NULL;
    return registration->peer_name[0] == '\0' &&
           (sidecar || text_ends(registration->kind, "-gateway"));
}

Pb__NodeService *config_merge_proxy(struct view *view, const Pb__NodeService *registration,
                                    struct arena *arena)
{
    Pb__NodeService *merged = proto_copy(registration, arena);
    if (!is_merged(registration))
        return merged;
    if (merged->proxy == NULL)
        merged->proxy = proto_new(arena, pb__connect_proxy_config);
    const char *name = strcmp(registration->kind, "connect-proxy") == 0
                           ? registration->proxy->destination_service_name
                           : registration->service;
    struct merge merge = {
        .view = view,
        .arena = arena,
        .tenancy = table_tenancy(TABLE_SERVICE, registration),
        .registration = registration,
    };
    merge.global = config_proxy_defaults(view, &merge.tenancy);
    merge.service = config_service_defaults(view, &merge.tenancy, name);
    merge_config(&merge, merged->proxy);
    merge_fields(&merge, merged->proxy);
    for (size_t i = 0; i < merged->proxy->n_upstreams; i++) {
        Pb__Upstream *upstream = merged->proxy->upstreams[i];
        if (upstream->destination_type[0] == '\0' ||
            strcmp(upstream->destination_type, "service") == 0)
            merge_upstream(&merge, upstream);
    }
    return merged;
}

bool config_protocol_is_http(const char *protocol)
{
    return text_equal_nocase(protocol, "http") || text_equal_nocase(protocol, "http2") ||
           text_equal_nocase(protocol, "grpc");
}

const char *config_service_protocol(struct view *view, const struct tenancy *tenancy,
                                    const char *service, struct arena *arena)
{
    const Pb__ServiceDefaultsEntry *defaults = config_service_defaults(view, tenancy, service);
    if (defaults != NULL && defaults->protocol[0] != '\0')
        return arena_strdup(arena, defaults->protocol); /* lower-cased when it was stored */
    const Pb__ProxyDefaultsEntry *global = config_proxy_defaults(view, tenancy);
    char *protocol = NULL;
    if (global != NULL) {
        json_t *config = parse_map(global->config);
        protocol = arena_strdup(arena, json_string_value(find_nocase(config, "protocol")));
        json_decref(config);
    }
    if (text_empty(protocol))
        return "tcp";
    text_lower(protocol);
    return protocol;
}
