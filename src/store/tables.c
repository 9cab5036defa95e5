#include "store/tables.h"

#include <string.h>

#include "base/text.h"
#include "consul/peering.pb-c.h"
#include "consul/service.pb-c.h"
#include "pons/ca.pb-c.h"
#include "pons/config_entry.pb-c.h"
#include "proto/codec_tables.h"

static struct tenancy tenancy_of(const Pb__EnterpriseMeta *meta, const char *peer)
{
    return (struct tenancy){
        .partition = meta == NULL ? NULL : meta->partition,
        .namespace = meta == NULL ? NULL : meta->namespace_,
        .peer = peer,
    };
}

static struct tenancy node_tenancy(const Pb__Node *node)
{
    return (struct tenancy){.partition = node->partition, .peer = node->peer_name};
}

static struct tenancy service_tenancy(const Pb__NodeService *service)
{
    return tenancy_of(service->enterprise_meta, service->peer_name);
}

static struct tenancy check_tenancy(const Pb__HealthCheck *check)
{
    return tenancy_of(check->enterprise_meta, check->peer_name);
}

static struct tenancy entry_tenancy(const Pb__ConfigEntryHead *entry)
{
    return (struct tenancy){entry->partition, entry->namespace_, NULL};
}

static struct tenancy virtual_ip_tenancy(const Pb__VirtualIp *ip)
{
    return (struct tenancy){ip->partition, ip->namespace_, ip->peer_name};
}

struct tenancy table_tenancy(enum table table, const void *message)
{
    switch (table) {
    case TABLE_NODE:
        return node_tenancy(message);
    case TABLE_SERVICE:
        return service_tenancy(message);
    case TABLE_CHECK:
        return check_tenancy(message);
    case TABLE_EXPORTED_SERVICES:
    case TABLE_SERVICE_INTENTIONS:
    case TABLE_SERVICE_DEFAULTS:
    case TABLE_PROXY_DEFAULTS:
    case TABLE_MESH:
    case TABLE_SERVICE_ROUTER:
    case TABLE_SERVICE_SPLITTER:
    case TABLE_SERVICE_RESOLVER:
        return entry_tenancy(message);
    case TABLE_PEERING:
        return (struct tenancy){.partition = ((const Pb__Peering *)message)->partition};
    case TABLE_TRUST_BUNDLE:
        return (struct tenancy){.partition = ((const Pb__PeeringTrustBundle *)message)->partition};
    case TABLE_VIRTUAL_IP:
        return virtual_ip_tenancy(message);
    case TABLE_PEERING_SECRETS:
    case TABLE_CA_CONFIG:
    case TABLE_CA_ROOT:
    case TABLE_COUNT:
        break;
    }
    return TENANCY_DEFAULT;
}

/* ---- keys and index values: one function each, as table_value_fn ---- */

#define ALL_VALUE(name, table)                                  \
    static void name(const void *message, struct buffer *value) \
    {                                                           \
        struct tenancy tenancy = table_tenancy(table, message); \
        key_all(value, &tenancy);                               \
    }
#define NAMED_VALUE(function, table, type, member)                   \
    static void function(const void *message, struct buffer *value)  \
    {                                                                \
        struct tenancy tenancy = table_tenancy(table, message);      \
        key_named(value, &tenancy, ((const type *)message)->member); \
    }

ALL_VALUE(node_all, TABLE_NODE)
ALL_VALUE(service_all, TABLE_SERVICE)
ALL_VALUE(check_all, TABLE_CHECK)
ALL_VALUE(entry_all, TABLE_SERVICE_DEFAULTS)
ALL_VALUE(peering_all, TABLE_PEERING)
ALL_VALUE(bundle_all, TABLE_TRUST_BUNDLE)
ALL_VALUE(virtual_ip_all, TABLE_VIRTUAL_IP)
ALL_VALUE(default_all, TABLE_CA_ROOT)
NAMED_VALUE(node_key, TABLE_NODE, Pb__Node, node)
NAMED_VALUE(entry_key, TABLE_SERVICE_DEFAULTS, Pb__ConfigEntryHead, name)
NAMED_VALUE(peering_key, TABLE_PEERING, Pb__Peering, name)
NAMED_VALUE(bundle_key, TABLE_TRUST_BUNDLE, Pb__PeeringTrustBundle, peer_name)
NAMED_VALUE(virtual_ip_key, TABLE_VIRTUAL_IP, Pb__VirtualIp, service)
NAMED_VALUE(peering_by_id, TABLE_PEERING_SECRETS, Pb__Peering, id)
NAMED_VALUE(secrets_key, TABLE_PEERING_SECRETS, Pb__PeeringSecrets, peer_id)
NAMED_VALUE(root_key, TABLE_CA_ROOT, Pb__CaRoot, id)
NAMED_VALUE(service_by_name, TABLE_SERVICE, Pb__NodeService, service)

static void node_by_id(const void *message, struct buffer *value)
{
    const Pb__Node *node = message;
    struct tenancy tenancy = node_tenancy(node);
    if (!text_empty(node->id))
        key_named(value, &tenancy, node->id);
}

static void service_key(const void *message, struct buffer *value)
{
    const Pb__NodeService *service = message;
    struct tenancy tenancy = service_tenancy(service);
    key_service(value, &tenancy, service->node, service->id);
}

static void service_by_node(const void *message, struct buffer *value)
{
    const Pb__NodeService *service = message;
    struct tenancy tenancy = service_tenancy(service);
    key_node(value, &tenancy, service->node);
}

static void service_by_connect(const void *message, struct buffer *value)
{
    const Pb__NodeService *service = message;
    struct tenancy tenancy = service_tenancy(service);
    if (text_equal(service->kind, "connect-proxy") && service->proxy != NULL)
        key_named(value, &tenancy, service->proxy->destination_service_name);
    else if (service->connect != NULL && service->connect->native)
        key_named(value, &tenancy, service->service);
}

static void service_by_kind(const void *message, struct buffer *value)
{
    const Pb__NodeService *service = message;
    struct tenancy tenancy = service_tenancy(service);
    if (text_ends(service->kind, "-gateway"))
        key_named(value, &tenancy, service->kind);
}

static void check_key(const void *message, struct buffer *value)
{
    const Pb__HealthCheck *check = message;
    struct tenancy tenancy = check_tenancy(check);
    key_check(value, &tenancy, check->node, check->check_id);
}

static void check_by_service(const void *message, struct buffer *value)
{
    const Pb__HealthCheck *check = message;
    struct tenancy tenancy = check_tenancy(check);
    if (!text_empty(check->service_id))
        key_named(value, &tenancy, check->service_name);
}

static void check_by_node(const void *message, struct buffer *value)
{
    const Pb__HealthCheck *check = message;
    struct tenancy tenancy = check_tenancy(check);
    key_node(value, &tenancy, check->node);
}

static void check_by_instance(const void *message, struct buffer *value)
{
    const Pb__HealthCheck *check = message;
    struct tenancy tenancy = check_tenancy(check);
    key_service(value, &tenancy, check->node, check->service_id);
}

#define CONFIG_TABLE(id, text, codec) \
    [id] = {.name = text,             \
            .message = &codec,        \
            .key = entry_key,         \
            .indexes = {[BY_TENANCY] = {"tenancy", entry_all, false}}}

static const struct table_class classes[TABLE_COUNT] = {
    [TABLE_NODE] = {.name = "node",
                    .message = &pb__node__codec,
                    .key = node_key,
                    .indexes = {[BY_TENANCY] = {"tenancy", node_all, false},
                                [NODE_BY_ID] = {"id", node_by_id, false}}},
    [TABLE_SERVICE] = {.name = "service",
                       .message = &pb__node_service__codec,
                       .key = service_key,
                       .indexes = {[BY_TENANCY] = {"tenancy", service_all, false},
                                   [SERVICE_BY_NAME] = {"name", service_by_name, true},
                                   [SERVICE_BY_NODE] = {"node", service_by_node, false},
                                   [SERVICE_BY_CONNECT] = {"connect", service_by_connect, true},
                                   [SERVICE_BY_KIND] = {"kind", service_by_kind, false}}},
    [TABLE_CHECK] = {.name = "check",
                     .message = &pb__health_check__codec,
                     .key = check_key,
                     .indexes = {[BY_TENANCY] = {"tenancy", check_all, false},
                                 [CHECK_BY_SERVICE] = {"service", check_by_service, false},
                                 [CHECK_BY_NODE] = {"node", check_by_node, false},
                                 [CHECK_BY_INSTANCE] = {"instance", check_by_instance, false}}},
    CONFIG_TABLE(TABLE_EXPORTED_SERVICES, "exported-services", pb__exported_services_entry__codec),
    CONFIG_TABLE(TABLE_SERVICE_INTENTIONS, "service-intentions",
                 pb__service_intentions_entry__codec),
    CONFIG_TABLE(TABLE_SERVICE_DEFAULTS, "service-defaults", pb__service_defaults_entry__codec),
    CONFIG_TABLE(TABLE_PROXY_DEFAULTS, "proxy-defaults", pb__proxy_defaults_entry__codec),
    CONFIG_TABLE(TABLE_MESH, "mesh", pb__mesh_entry__codec),
    CONFIG_TABLE(TABLE_SERVICE_ROUTER, "service-router", pb__service_router_entry__codec),
    CONFIG_TABLE(TABLE_SERVICE_SPLITTER, "service-splitter", pb__service_splitter_entry__codec),
    CONFIG_TABLE(TABLE_SERVICE_RESOLVER, "service-resolver", pb__service_resolver_entry__codec),
    [TABLE_PEERING] = {.name = "peering",
                       .message = &pb__peering__codec,
                       .key = peering_key,
                       .indexes = {[BY_TENANCY] = {"tenancy", peering_all, false},
                                   [PEERING_BY_ID] = {"id", peering_by_id, false}}},
    [TABLE_PEERING_SECRETS] = {.name = "peering-secrets",
                               .message = &pb__peering_secrets__codec,
                               .key = secrets_key,
                               .indexes = {[BY_TENANCY] = {"tenancy", default_all, false}}},
    [TABLE_TRUST_BUNDLE] = {.name = "trust-bundle",
                            .message = &pb__peering_trust_bundle__codec,
                            .key = bundle_key,
                            .indexes = {[BY_TENANCY] = {"tenancy", bundle_all, false}}},
    [TABLE_CA_CONFIG] = {.name = "ca-config",
                         .message = &pb__ca_config__codec,
                         .key = default_all,
                         .indexes = {[BY_TENANCY] = {"tenancy", default_all, false}}},
    [TABLE_CA_ROOT] = {.name = "ca-root",
                       .message = &pb__ca_root__codec,
                       .key = root_key,
                       .indexes = {[BY_TENANCY] = {"tenancy", default_all, false}}},
    [TABLE_VIRTUAL_IP] = {.name = "virtual-ip",
                          .message = &pb__virtual_ip__codec,
                          .key = virtual_ip_key,
                          .indexes = {[BY_TENANCY] = {"tenancy", virtual_ip_all, false},
                                      [VIRTUAL_IP_ALL] = {"all", default_all, false}}},
};

const struct table_class *table_class(enum table table)
{
    return &classes[table];
}
