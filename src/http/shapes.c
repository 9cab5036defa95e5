#include "http/shapes.h"

#include <string.h>

#include "proto/codec_tables.h"

#define FIELDS_MAX 24

struct shape_row {
    const char *name;  /* as it is written */
    const char *field; /* the .proto file's */
    enum codec_empty empty;
    const struct codec_message *message; /* NULL: as in the message's own table */
};

struct codec_message shape_agent_service, shape_catalog_node, shape_catalog_service, shape_member;
static struct codec_message agent_proxy;

static const struct shape_row agent_proxy_rows[] = {
    {"DestinationServiceName", "destination_service_name", CODEC_OMIT, NULL},
    {"DestinationServiceID", "destination_service_id", CODEC_OMIT, NULL},
    {"LocalServiceAddress", "local_service_address", CODEC_OMIT, NULL},
    {"LocalServicePort", "local_service_port", CODEC_OMIT, NULL},
    {"LocalServiceSocketPath", "local_service_socket_path", CODEC_OMIT, NULL},
    {"Mode", "mode", CODEC_OMIT, NULL},
    {"TransparentProxy", "transparent_proxy", CODEC_OMIT, NULL},
    {"Config", "config", CODEC_OMIT, NULL},
    {"Upstreams", "upstreams", CODEC_OMIT, NULL},
    {"MeshGateway", "mesh_gateway", CODEC_SHOW, NULL},
    {"Expose", "expose", CODEC_SHOW, NULL},
};

static const struct shape_row agent_service_rows[] = {
    {"Kind", "kind", CODEC_OMIT, NULL},
    {"ID", "id", CODEC_SHOW, NULL},
    {"Service", "service", CODEC_SHOW, NULL},
    {"Tags", "tags", CODEC_SHOW, NULL},
    {"Meta", "meta", CODEC_SHOW, NULL},
    {"Port", "port", CODEC_SHOW, NULL},
    {"Address", "address", CODEC_SHOW, NULL},
    {"SocketPath", "socket_path", CODEC_OMIT, NULL},
    {"TaggedAddresses", "tagged_addresses", CODEC_OMIT, NULL},
    {"Weights", "weights", CODEC_SHOW, NULL},
    {"EnableTagOverride", "enable_tag_override", CODEC_SHOW, NULL},
    {"Proxy", "proxy", CODEC_OMIT, &agent_proxy},
    {"Connect", "connect", CODEC_OMIT, NULL},
    {"PeerName", "peer_name", CODEC_OMIT, NULL},
    {"Locality", "locality", CODEC_OMIT, NULL},
    {"", "enterprise_meta", CODEC_OMIT, NULL},
};

static const struct shape_row catalog_node_rows[] = {
    {"ID", "id", CODEC_SHOW, NULL},
    {"Node", "node", CODEC_SHOW, NULL},
    {"Address", "address", CODEC_SHOW, NULL},
    {"Datacenter", "datacenter", CODEC_SHOW, NULL},
    {"TaggedAddresses", "tagged_addresses", CODEC_NIL, NULL},
    {"NodeMeta", "meta", CODEC_NIL, NULL},
};

static const struct shape_row catalog_service_rows[] = {
    {"ServiceKind", "kind", CODEC_SHOW, NULL},
    {"ServiceID", "id", CODEC_SHOW, NULL},
    {"ServiceName", "service", CODEC_SHOW, NULL},
    {"ServiceTags", "tags", CODEC_SHOW, NULL},
    {"ServiceAddress", "address", CODEC_SHOW, NULL},
    {"ServiceTaggedAddresses", "tagged_addresses", CODEC_OMIT, NULL},
    {"ServiceWeights", "weights", CODEC_SHOW, NULL},
    {"ServiceMeta", "meta", CODEC_SHOW, NULL},
    {"ServicePort", "port", CODEC_SHOW, NULL},
    {"ServiceSocketPath", "socket_path", CODEC_SHOW, NULL},
    {"ServiceEnableTagOverride", "enable_tag_override", CODEC_SHOW, NULL},
    {"ServiceProxy", "proxy", CODEC_SHOW, NULL},
    {"ServiceConnect", "connect", CODEC_SHOW, NULL},
    {"ServiceLocality", "locality", CODEC_NIL, NULL},
    {"", "enterprise_meta", CODEC_OMIT, NULL},
    {"PeerName", "peer_name", CODEC_OMIT, NULL},
};

static const struct shape_row member_rows[] = {
    {"Name", "node", CODEC_SHOW, NULL},
    {"Addr", "address", CODEC_SHOW, NULL},
    {"Tags", "meta", CODEC_SHOW, NULL},
};

const struct filter_root filter_node = {{{NULL, &pb__node__codec, false}}};
const struct filter_root filter_check = {{{NULL, &pb__health_check__codec, false}}};
const struct filter_root filter_health = {{{"Node", &pb__node__codec, false},
                                           {"Service", &pb__node_service__codec, false},
                                           {"Checks", &pb__health_check__codec, true}}};
const struct filter_root filter_catalog_service = {
    {{NULL, &shape_catalog_node, false}, {NULL, &shape_catalog_service, false}}};
const struct filter_root filter_agent_service = {{{NULL, &shape_agent_service, false}}};
const struct filter_root filter_member = {{{NULL, &shape_member, false}}};
const struct filter_root filter_node_service = {{{NULL, &pb__node_service__codec, false}}};

static const struct codec_field *find(const struct codec_message *type, const char *name)
{
    for (size_t i = 0; i < type->field_count; i++) {
        if (strcmp(type->descriptor->fields[type->fields[i].index].name, name) == 0)
            return &type->fields[i];
    }
    return NULL;
}

static void derive(struct codec_message *shape, struct codec_field *fields,
                   const struct codec_message *base, const struct shape_row *rows, size_t count)
{
    size_t filled = 0;
    for (size_t i = 0; i < count; i++) {
        const struct codec_field *field = find(base, rows[i].field);
        if (field == NULL)
            continue;
        fields[filled] = *field;
        fields[filled].name = rows[i].name;
        fields[filled].empty = rows[i].empty;
        if (rows[i].message != NULL)
            fields[filled].message = rows[i].message;
        filled++;
    }
    *shape = (struct codec_message){
        .descriptor = base->descriptor, .field_count = filled, .fields = fields};
}

#define DERIVE(shape, base, rows)                                                           \
    do {                                                                                    \
        static struct codec_field fields[FIELDS_MAX];                                       \
        _Static_assert(sizeof(rows) / sizeof((rows)[0]) <= FIELDS_MAX, "raise FIELDS_MAX"); \
        derive(&(shape), fields, &(base), rows, sizeof(rows) / sizeof((rows)[0]));          \
    } while (0)

void shapes_prepare(void)
{
    DERIVE(agent_proxy, pb__connect_proxy_config__codec, agent_proxy_rows);
    DERIVE(shape_agent_service, pb__node_service__codec, agent_service_rows);
    DERIVE(shape_catalog_node, pb__node__codec, catalog_node_rows);
    DERIVE(shape_catalog_service, pb__node_service__codec, catalog_service_rows);
    DERIVE(shape_member, pb__node__codec, member_rows);
}
