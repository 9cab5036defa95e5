/* /v1/agent: what the agent says about itself and its cluster's members. */
#include <inttypes.h>
#include <malloc.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "http/handlers.h"
#include "http/shapes.h"
#include "proto/proto.h"
#include "text/json.h"

#define MEMBER_ALIVE 1
#define MEMBER_FAILED 4
#define SERF_PORT 8301 /* Consul's defaults: nothing listens there */
#define SERF_WAN_PORT 8302

/* ---- members ---- */

static void add_tag(Pb__Node *member, struct arena *arena, const char *key, const char *value)
{
    Pb__Node__MetaEntry *entry = proto_new(arena, pb__node__meta_entry);
    entry->key = arena_strdup(arena, key);
    entry->value = arena_strdup(arena, value == NULL ? "" : value);
    member->meta[member->n_meta++] = entry;
}

/* The `consul` service, which every server registers, or NULL. */
static const Pb__NodeService *server_of(struct view *view, const char *node)
{
    struct buffer key = {0};
    const struct tenancy tenancy = TENANCY_DEFAULT;
    const struct record *record =
        view_get(view, TABLE_SERVICE, key_service(&key, &tenancy, node, "consul"));
    buffer_free(&key);
    return record == NULL ? NULL : record->message;
}

static void add_server_tags(const Pb__NodeService *server, Pb__Node *member, struct arena *arena)
{
    static const char *const ports[] = {"grpc_port", "grpc_tls_port"};
    add_tag(member, arena, "bootstrap", "1");
    for (size_t i = 0; i < 2; i++) {
        const char *port = proto_map_get(server->n_meta, server->meta, ports[i]);
        if (port != NULL)
            add_tag(member, arena, ports[i], port);
    }
    add_tag(member, arena, "port", arena_printf(arena, "%d", server->port));
}

/* The tags that Consul's clients look at; what is about gossip has Consul's usual values. */
static void add_tags(struct api_request *request, struct view *view, const Pb__Node *node,
                     Pb__Node *member, struct arena *arena)
{
    const struct api_config *config = &request->api->config;
    const char *version = proto_map_get(node->n_meta, node->meta, "consul-version");
    const Pb__NodeService *server = server_of(view, node->node);
    member->meta = proto_array(arena, 16);
    add_tag(member, arena, "acls", "0");
    add_tag(member, arena, "build", arena_printf(arena, "%s:", version == NULL ? "" : version));
    add_tag(member, arena, "dc", config->datacenter);
    add_tag(member, arena, "id", node->id);
    if (server != NULL)
        add_server_tags(server, member, arena);
    add_tag(member, arena, "raft_vsn", "3");
    add_tag(member, arena, "role", server != NULL ? "consul" : "node");
    add_tag(member, arena, "segment", "");
    add_tag(member, arena, "vsn", "2");
    add_tag(member, arena, "vsn_max", "3");
    add_tag(member, arena, "vsn_min", "2");
}

/* Skips what the filter refuses; the agent's own entry is asked for without one. Among datacenters
 * (`wan`) a name says which is its own. */
static bool write_member(struct api_request *request, struct view *view, struct buffer *body,
                         const Pb__Node *node, int status, bool wan)
{
    struct arena *scratch = arena_new();
    Pb__Node *member = proto_new(scratch, pb__node);
    member->node = wan ? arena_printf(scratch, "%s.%s", node->node, request->api->config.datacenter)
                       : node->node;
    member->address = node->address;
    add_tags(request, view, node, member, scratch);
    const void *parts[] = {member};
    bool wanted = filter_match(request->filter, parts);
    if (wanted) {
        reply_comma(body);
        buffer_add_byte(body, '{');
        codec_write_fields(body, &shape_member, member);
        buffer_printf(body,
                      ",\"Port\":%d,\"Status\":%d,\"ProtocolMin\":1,\"ProtocolMax\":5,"
                      "\"ProtocolCur\":2,\"DelegateMin\":2,\"DelegateMax\":5,\"DelegateCur\":4}",
                      wan ? SERF_WAN_PORT : SERF_PORT, status);
    }
    arena_free(scratch);
    return wanted;
}

/* 0: an outside node, which is no member. */
static int member_status(struct view *view, const char *node)
{
    struct buffer key = {0};
    const struct tenancy tenancy = TENANCY_DEFAULT;
    const struct record *record =
        view_get(view, TABLE_CHECK, key_check(&key, &tenancy, node, "serfHealth"));
    buffer_free(&key);
    if (record == NULL)
        return 0;
    const Pb__HealthCheck *check = record->message;
    return text_equal(check->status, "passing") ? MEMBER_ALIVE : MEMBER_FAILED;
}

void api_agent_members(struct api_request *request, struct view *view, struct reply *reply)
{
    struct buffer key = {0};
    size_t count;
    const struct tenancy tenancy = TENANCY_DEFAULT;
    const struct record *const *nodes =
        view_list(view, TABLE_NODE, BY_TENANCY, key_all(&key, &tenancy), &count);
    buffer_free(&key);
    const char *asked = http_query(request->http, "wan", 0);
    bool wan = asked != NULL && strcmp(asked, "0") != 0 && strcmp(asked, "false") != 0;
    buffer_add_byte(reply->body, '[');
    for (size_t i = 0; i < count; i++) {
        const Pb__Node *node = nodes[i]->message;
        int status = member_status(view, node->node);
        if (status != 0 && (!wan || server_of(view, node->node) != NULL))
            write_member(request, view, reply->body, node, status, wan);
    }
    buffer_add_byte(reply->body, ']');
}

/* ---- self ---- */

static const Pb__Node *own_node(struct api_request *request, struct view *view)
{
    struct buffer key = {0};
    const struct tenancy tenancy = TENANCY_DEFAULT;
    const struct record *record =
        view_get(view, TABLE_NODE, key_node(&key, &tenancy, request->api->config.node_name));
    buffer_free(&key);
    return record == NULL ? NULL : record->message;
}

void api_agent_self(struct api_request *request, struct view *view, struct reply *reply)
{
    const struct api_config *config = &request->api->config;
    const Pb__Node *node = own_node(request, view);
    buffer_add_byte(reply->body, '{');
    config->agent_class->describe(config->agent, reply->body);
    buffer_add_text(reply->body, ",\"Coord\":{\"Vec\":[0,0,0,0,0,0,0,0],\"Error\":1.5,"
                                 "\"Adjustment\":0,\"Height\":1e-05},\"Member\":");
    struct buffer member = {0};
    if (node != NULL)
        write_member(request, view, &member, node, MEMBER_ALIVE, false);
    buffer_add_text(reply->body, node == NULL ? "null" : buffer_text(&member));
    buffer_free(&member);
    buffer_add_byte(reply->body, '}');
}

void api_agent_version(struct api_request *request, struct view *view, struct reply *reply)
{
    const Pb__Node *node = own_node(request, view);
    const char *version =
        node == NULL ? NULL : proto_map_get(node->n_meta, node->meta, "consul-version");
    buffer_add_text(reply->body, "{\"SHA\":\"\",\"BuildDate\":\"\",\"HumanVersion\":");
    json_write_string(reply->body, version == NULL ? PONS_VERSION : version);
    buffer_add_text(reply->body, ",\"FIPS\":\"\"}");
}

/* ---- metrics ---- */

static void write_gauge(struct buffer *body, const char *host, const char *name, uint64_t value)
{
    struct buffer full = {0};
    buffer_printf(&full, "consul.%s.%s", host, name);
    reply_comma(body);
    buffer_add_text(body, "{\"Name\":");
    json_write_string(body, buffer_text(&full));
    buffer_printf(body, ",\"Value\":%" PRIu64 ",\"Labels\":{}}", value);
    buffer_free(&full);
}

void api_agent_metrics(struct api_request *request, struct view *view, struct reply *reply)
{
    (void)view;
    const struct api *api = request->api;
    char host[256] = "localhost", when[64];
    gethostname(host, sizeof host - 1);
    time_t now = time(NULL);
    struct tm utc;
    strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S +0000 UTC", gmtime_r(&now, &utc));
    struct mallinfo2 memory = mallinfo2();
    buffer_printf(reply->body, "{\"Timestamp\":\"%s\",\"Gauges\":[", when);
    write_gauge(reply->body, host, "http.requests", api->requests);
    write_gauge(reply->body, host, "raft.applied_index", store_index(api->config.store));
    write_gauge(reply->body, host, "runtime.alloc_bytes", memory.uordblks + memory.hblkhd);
    write_gauge(reply->body, host, "runtime.sys_bytes", memory.arena + memory.hblkhd);
    buffer_add_text(reply->body, "],\"Points\":[],\"Counters\":[],\"Samples\":[]}");
}
