/* Snapshots of the seed scenario (two peered clusters: web in dc1 calls backend by TCP and web-api
 * by HTTP in dc2), and Envoy's messages as JSON the way Envoy's own config dump shows them. */
#pragma once

#include <jansson.h>
#include <string.h>

#include "base/text.h"
#include "envoy/cluster.pb-c.h"
#include "envoy/connection_limit.pb-c.h"
#include "envoy/file_access_log.pb-c.h"
#include "envoy/grpc_stats.pb-c.h"
#include "envoy/hcm.pb-c.h"
#include "envoy/http_options.pb-c.h"
#include "envoy/http_rbac.pb-c.h"
#include "envoy/listener.pb-c.h"
#include "envoy/network_rbac.pb-c.h"
#include "envoy/tcp_proxy.pb-c.h"
#include "envoy/tls.pb-c.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/duration.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"
#include "mesh/snapshot.h"
#include "proto/proto.h"
#include "xds/resources.h"

static inline struct proxy_snapshot *fixture_snapshot(enum proxy_kind kind, const char *service,
                                                      const char *trust_domain)
{
    struct arena *arena = arena_new();
    struct proxy_snapshot *snapshot = arena_alloc(arena, sizeof(*snapshot));
    struct trust_bundle *own = arena_alloc(arena, sizeof(*own));
    Pb__NodeService *registration = proto_new(arena, pb__node_service);
    registration->proxy = proto_new(arena, pb__connect_proxy_config);
    own->peer = own->exported_partition = "";
    own->trust_domain = trust_domain;
    own->roots_pem = strcmp(trust_domain, "td1") == 0 ? "ROOT1\n" : "ROOT2\n";
    snapshot->arena = arena;
    snapshot->kind = kind;
    snapshot->service_name = snapshot->proxy_id = arena_printf(arena, "%s-sidecar-proxy", service);
    snapshot->destination_service = service;
    snapshot->datacenter = strcmp(trust_domain, "td1") == 0 ? "dc1" : "dc2";
    snapshot->namespace = snapshot->partition = "default";
    snapshot->registration = registration;
    snapshot->config = "";
    snapshot->trust_domain = trust_domain;
    snapshot->own_bundle = own;
    snapshot->leaf.chain_pem = "LEAF"; /* the builder ends it with a newline */
    snapshot->leaf.private_key_pem = "KEY\n";
    snapshot->protocol = "tcp";
    return snapshot;
}

static inline void fixture_free(struct proxy_snapshot *snapshot)
{
    arena_free(snapshot->arena);
}

static inline struct trust_bundle *fixture_bundle(struct proxy_snapshot *snapshot, const char *peer,
                                                  const char *trust_domain, const char *roots)
{
    struct trust_bundle *bundle = arena_alloc(snapshot->arena, sizeof(*bundle));
    *bundle = (struct trust_bundle){peer, trust_domain, "", roots};
    return bundle;
}

static inline struct endpoint_list fixture_endpoint(struct proxy_snapshot *snapshot,
                                                    const char *address, uint16_t port)
{
    struct endpoint *endpoint = arena_alloc(snapshot->arena, sizeof(*endpoint));
    *endpoint = (struct endpoint){.address = address,
                                  .port = port,
                                  .healthy = true,
                                  .weight = 1,
                                  .hostname = !text_is_ip(address)};
    return (struct endpoint_list){1, endpoint};
}

static inline void fixture_listen(struct proxy_snapshot *snapshot, const char *address, int port,
                                  const char *app, int app_port)
{
    Pb__NodeService *registration = (Pb__NodeService *)(uintptr_t)snapshot->registration;
    registration->address = arena_strdup(snapshot->arena, address);
    registration->port = port;
    registration->proxy->local_service_address = arena_strdup(snapshot->arena, app);
    registration->proxy->local_service_port = app_port;
}

/* One upstream on peer cluster-02. */
static inline void fixture_peered_upstream(struct proxy_snapshot *snapshot,
                                           struct upstream *upstream, const char *name,
                                           const char *protocol, int port)
{
    struct arena *arena = snapshot->arena;
    const char **ids = arena_alloc(arena, 2 * sizeof(*ids));
    Pb__Upstream *definition = proto_new(arena, pb__upstream);
    definition->destination_name = arena_strdup(arena, name);
    definition->destination_peer = arena_strdup(arena, "cluster-02");
    definition->local_bind_address = arena_strdup(arena, "127.11.0.11");
    definition->local_bind_port = port;
    ids[0] = arena_printf(arena, "spiffe://td2/ns/default/dc/dc2/svc/%s", name);
    ids[1] = "spiffe://td2/gateway/mesh/dc/dc2";
    *upstream = (struct upstream){
        .definition = definition,
        .id = arena_printf(arena, "%s?peer=cluster-02", name),
        .cluster_name = arena_printf(arena, "%s.default.cluster-02.external.td2", name),
        .protocol = protocol,
        .sni = arena_printf(arena, "%s.default.default.cluster-01.external.td2", name),
        .spiffe_count = 2,
        .spiffe_ids = ids,
        .bundle = fixture_bundle(snapshot, "cluster-02", "td2", "ROOT2\n"),
        .endpoints = fixture_endpoint(snapshot, "127.12.0.3", 8443),
    };
}

static inline struct proxy_snapshot *fixture_web(void)
{
    struct proxy_snapshot *snapshot = fixture_snapshot(PROXY_SIDECAR, "web", "td1");
    struct upstream *upstreams = arena_alloc(snapshot->arena, 2 * sizeof(*upstreams));
    fixture_listen(snapshot, "127.11.0.11", 21000, "127.11.0.10", 9000);
    fixture_peered_upstream(snapshot, &upstreams[0], "backend", "tcp", 5001);
    fixture_peered_upstream(snapshot, &upstreams[1], "web-api", "http", 5002);
    snapshot->upstreams = upstreams;
    snapshot->upstream_count = 2;
    return snapshot;
}

static inline void fixture_intentions(struct proxy_snapshot *snapshot,
                                      const struct intention_source *sources, size_t count)
{
    snapshot->intentions = arena_dup(snapshot->arena, sources, count * sizeof(*sources));
    snapshot->intention_count = count;
}

/* A sidecar of dc2 that web of peer cluster-01 may call. */
static inline struct proxy_snapshot *fixture_serving(const char *service, const char *protocol)
{
    static const struct intention_source web = {"cluster-01", "", "default", "web", true, 9};
    struct proxy_snapshot *snapshot = fixture_snapshot(PROXY_SIDECAR, service, "td2");
    const struct trust_bundle **bundles = arena_alloc(snapshot->arena, sizeof(*bundles));
    fixture_listen(snapshot, "127.12.0.12", 21000, "127.12.0.10", 9002);
    bundles[0] = fixture_bundle(snapshot, "cluster-01", "td1", "ROOT1\n");
    snapshot->protocol = protocol;
    snapshot->inbound_bundles = bundles;
    snapshot->inbound_bundle_count = 1;
    fixture_intentions(snapshot, &web, 1);
    return snapshot;
}

static inline void fixture_gateway_service(struct proxy_snapshot *snapshot,
                                           struct gateway_service *service, const char *name,
                                           const char *protocol, const char *address, bool exported)
{
    struct arena *arena = snapshot->arena;
    const struct trust_bundle **peers = arena_alloc(arena, sizeof(*peers));
    const char **snis = arena_alloc(arena, sizeof(*snis));
    const char *domain = snapshot->trust_domain;
    peers[0] = fixture_bundle(snapshot, "cluster-01", "td1", "ROOT1\n");
    snis[0] = arena_printf(arena, "%s.default.default.cluster-01.external.%s", name, domain);
    *service = (struct gateway_service){
        .name = name,
        .tenancy = {"default", "default"},
        .sni = arena_printf(arena, "%s.default.%s.internal.%s", name, snapshot->datacenter, domain),
        .protocol = protocol,
        .endpoints = fixture_endpoint(snapshot, address, 21000),
        .peer_count = exported ? 1 : 0,
        .peers = peers,
        .peer_snis = snis,
        .spiffe_id = arena_printf(arena, "spiffe://%s/ns/default/dc/%s/svc/%s", domain,
                                  snapshot->datacenter, name),
    };
}

static inline void fixture_gateway_listeners(struct proxy_snapshot *snapshot, const char *lan,
                                             const char *wan)
{
    struct gateway_listener *listeners = arena_alloc(snapshot->arena, 2 * sizeof(*listeners));
    listeners[0] = (struct gateway_listener){"lan", lan, 8443};
    listeners[1] = (struct gateway_listener){"wan", wan, 8443};
    snapshot->listeners = listeners;
    snapshot->listener_count = 2;
}

/* The exporting side's gateway. */
static inline struct proxy_snapshot *fixture_gateway_dc2(void)
{
    struct proxy_snapshot *snapshot = fixture_snapshot(PROXY_MESH_GATEWAY, "mesh-gateway", "td2");
    struct gateway_service *services = arena_alloc(snapshot->arena, 2 * sizeof(*services));
    fixture_gateway_listeners(snapshot, "127.12.0.2", "127.12.0.3");
    fixture_gateway_service(snapshot, &services[0], "backend", "tcp", "127.12.0.11", true);
    fixture_gateway_service(snapshot, &services[1], "web-api", "http", "127.12.0.12", true);
    snapshot->services = services;
    snapshot->service_count = 2;
    return snapshot;
}

/* The importing side's. */
static inline struct proxy_snapshot *fixture_gateway_dc1(void)
{
    struct proxy_snapshot *snapshot = fixture_snapshot(PROXY_MESH_GATEWAY, "mesh-gateway", "td1");
    struct gateway_service *services = arena_alloc(snapshot->arena, sizeof(*services));
    struct gateway_import *imports = arena_alloc(snapshot->arena, 2 * sizeof(*imports));
    fixture_gateway_listeners(snapshot, "127.11.0.2", "127.11.0.3");
    fixture_gateway_service(snapshot, &services[0], "web", "tcp", "127.11.0.11", false);
    imports[0].sni = "backend.default.default.cluster-01.external.td2";
    imports[1].sni = "web-api.default.default.cluster-01.external.td2";
    imports[0].endpoints = imports[1].endpoints = fixture_endpoint(snapshot, "127.12.0.3", 8443);
    snapshot->services = services;
    snapshot->service_count = 1;
    snapshot->imports = imports;
    snapshot->import_count = 2;
    return snapshot;
}

/* ---- messages as JSON ---- */

static const ProtobufCMessageDescriptor *const fixture_types[] = {
    &envoy__cluster__descriptor,
    &envoy__cluster_load_assignment__descriptor,
    &envoy__listener__descriptor,
    &envoy__route_configuration__descriptor,
    &envoy__connection_limit__descriptor,
    &envoy__downstream_tls_context__descriptor,
    &envoy__file_access_log__descriptor,
    &envoy__http_connection_manager__descriptor,
    &envoy__http_protocol_options__descriptor,
    &envoy__spiffecert_validator_config__descriptor,
    &envoy__tcp_proxy__descriptor,
    &envoy__upstream_tls_context__descriptor,
    &envoy_grpc_stats__filter_config__descriptor,
    &envoy_http__rbac__descriptor,
    &envoy_http__rbacper_route__descriptor,
    &envoy_network__rbac__descriptor,
};

static json_t *fixture_json(const ProtobufCMessage *message);

static inline json_t *fixture_decoded(const char *type_url, const uint8_t *bytes, size_t length)
{
    json_t *json = NULL;
    struct arena *arena = arena_new();
    for (size_t i = 0; i < sizeof(fixture_types) / sizeof(fixture_types[0]); i++) {
        if (text_ends(type_url, fixture_types[i]->name) &&
            type_url[strlen(type_url) - strlen(fixture_types[i]->name) - 1] == '/')
            json = fixture_json(proto_unpack_trusted(fixture_types[i], bytes, length, arena));
    }
    if (json == NULL) /* one of those without fields */
        json = json_object();
    json_object_set_new(json, "@type", json_string(type_url));
    arena_free(arena);
    return json;
}

static inline json_t *fixture_value(const ProtobufCFieldDescriptor *field, const void *at)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
        return json_string(*(const char *const *)at);
    case PROTOBUF_C_TYPE_BOOL:
        return json_boolean(*(const protobuf_c_boolean *)at);
    case PROTOBUF_C_TYPE_DOUBLE:
        return json_real(*(const double *)at);
    case PROTOBUF_C_TYPE_UINT64:
        return json_integer((json_int_t) * (const uint64_t *)at);
    case PROTOBUF_C_TYPE_ENUM:
        return json_string(
            protobuf_c_enum_descriptor_get_value(field->descriptor, *(const int *)at)->name);
    case PROTOBUF_C_TYPE_MESSAGE:
        return fixture_json(*(const ProtobufCMessage *const *)at);
    default:
        return json_integer(*(const uint32_t *)at);
    }
}

/* proto3's rule: what is empty is not there, unless it is the chosen one of a oneof. */
static inline bool fixture_present(const ProtobufCMessage *message,
                                   const ProtobufCFieldDescriptor *field, const void *at)
{
    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        return *(const uint32_t *)(const void *)((const char *)message +
                                                 field->quantifier_offset) == field->id;
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
        return **(const char *const *)at != '\0';
    case PROTOBUF_C_TYPE_MESSAGE:
        return *(const void *const *)at != NULL;
    case PROTOBUF_C_TYPE_DOUBLE:
        return *(const double *)at != 0;
    case PROTOBUF_C_TYPE_UINT64:
        return *(const uint64_t *)at != 0;
    default:
        return *(const int *)at != 0;
    }
}

static inline json_t *fixture_repeated(const ProtobufCMessage *message,
                                       const ProtobufCFieldDescriptor *field)
{
    size_t count =
        *(const size_t *)(const void *)((const char *)message + field->quantifier_offset);
    void *const *items =
        *(void *const *const *)(const void *)((const char *)message + field->offset);
    const ProtobufCMessageDescriptor *type =
        field->type == PROTOBUF_C_TYPE_MESSAGE ? field->descriptor : NULL;
    bool is_map = type != NULL && text_ends(type->short_name, "Entry");
    json_t *json = is_map ? json_object() : json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *item = fixture_value(field, &items[i]);
        if (is_map) {
            json_object_set(json, json_string_value(json_object_get(item, "key")),
                            json_object_get(item, "value"));
            json_decref(item);
        } else {
            json_array_append_new(json, item);
        }
    }
    if (count == 0) {
        json_decref(json);
        return NULL;
    }
    return json;
}

static json_t *fixture_json(const ProtobufCMessage *message)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    if (type == &google__protobuf__any__descriptor) {
        const Google__Protobuf__Any *any = (const void *)message;
        return fixture_decoded(any->type_url, any->value.data, any->value.len);
    }
    if (type == &google__protobuf__duration__descriptor) {
        const Google__Protobuf__Duration *duration = (const void *)message;
        return json_sprintf("%g%s", (double)duration->seconds + duration->nanos / 1e9, "s");
    }
    if (text_ends(type->name, "Value"))
        return fixture_value(&type->fields[0], (const char *)message + type->fields[0].offset);
    json_t *json = json_object();
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        const void *at = (const char *)message + field->offset;
        json_t *value = NULL;
        if (field->label == PROTOBUF_C_LABEL_REPEATED)
            value = fixture_repeated(message, field);
        else if (fixture_present(message, field, at))
            value = fixture_value(field, at);
        if (value != NULL)
            json_object_set_new(json, field->name, value);
    }
    return json;
}

static inline const struct xds_resource *fixture_find(const struct xds_resources *resources,
                                                      enum xds_type type, const char *name)
{
    const struct xds_resource_list *list = &resources->types[type];
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->items[i].name, name) == 0)
            return &list->items[i];
    }
    return NULL;
}

/* A new reference; NULL if there is no such resource. */
static inline json_t *fixture_resource(const struct xds_resources *resources, enum xds_type type,
                                       const char *name)
{
    const struct xds_resource *resource = fixture_find(resources, type, name);
    return resource == NULL
               ? NULL
               : fixture_decoded(xds_type_url(type), resource->bytes, resource->length);
}
