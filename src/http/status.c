/* /v1/status, /v1/operator, /v1/internal/ui, and the answer of /v1/acl where ACLs are off. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/text.h"
#include "catalog/catalog.h"
#include "http/handlers.h"
#include "text/json.h"

static void write_server_address(struct api_request *request, struct buffer *body)
{
    const struct api_config *config = &request->api->config;
    char *address = text_join_host_port(config->advertise_address, config->server_port);
    json_write_string(body, address);
    free(address);
}

void api_status_leader(struct api_request *request, struct view *view, struct reply *reply)
{
    (void)view;
    write_server_address(request, reply->body);
}

void api_status_peers(struct api_request *request, struct view *view, struct reply *reply)
{
    (void)view;
    buffer_add_byte(reply->body, '[');
    write_server_address(request, reply->body);
    buffer_add_byte(reply->body, ']');
}

void api_operator_raft_configuration(struct api_request *request, struct view *view,
                                     struct reply *reply)
{
    (void)view;
    const struct api_config *config = &request->api->config;
    buffer_add_text(reply->body, "{\"Servers\":[{\"ID\":");
    json_write_string(reply->body, config->node_id);
    buffer_add_text(reply->body, ",\"Node\":");
    json_write_string(reply->body, config->node_name);
    buffer_add_text(reply->body, ",\"Address\":");
    write_server_address(request, reply->body);
    buffer_printf(reply->body,
                  ",\"Leader\":true,\"ProtocolVersion\":\"3\",\"Voter\":true,"
                  "\"LastIndex\":%" PRIu64 "}],\"Index\":0}",
                  store_index(config->store));
}

void api_acl_disabled(struct api_request *request, struct view *view, struct reply *reply)
{
    (void)request;
    (void)view;
    reply_error(reply, 401, "ACL support disabled");
}
