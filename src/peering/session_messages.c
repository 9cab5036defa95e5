#include "peering/session_messages.h"

#include <string.h>

#include "base/text.h"
#include "proto/proto.h"

/* protobuf-c has no const strings; packing only reads them. */
#define TEXT(text) ((char *)(uintptr_t)(text))

static void write_request(struct buffer *output, Ps__Request *request)
{
    Ps__ReplicationMessage message = PS__REPLICATION_MESSAGE__INIT;
    message.payload_case = PS__REPLICATION_MESSAGE__PAYLOAD_REQUEST;
    message.request = request;
    proto_pack(&message, output);
}

void message_open(struct buffer *output, const char *peer_id, const char *secret,
                  const Pb__RemoteInfo *remote)
{
    Ps__Open open = PS__OPEN__INIT;
    open.peer_id = TEXT(peer_id);
    open.stream_secret_id = TEXT(secret);
    open.remote = (Pb__RemoteInfo *)(uintptr_t)remote;
    Ps__ReplicationMessage message = PS__REPLICATION_MESSAGE__INIT;
    message.payload_case = PS__REPLICATION_MESSAGE__PAYLOAD_OPEN;
    message.open = &open;
    proto_pack(&message, output);
}

void message_subscribe(struct buffer *output, const char *peer_id, const char *url)
{
    Ps__Request request = PS__REQUEST__INIT;
    request.peer_id = TEXT(peer_id);
    request.resource_url = TEXT(url);
    write_request(output, &request);
}

void message_answer(struct buffer *output, const char *url, const char *nonce, enum grpc_code code,
                    const char *text)
{
    Ps__Request request = PS__REQUEST__INIT;
    request.response_nonce = TEXT(nonce);
    request.resource_url = TEXT(url);
    Ps__Status status = PS__STATUS__INIT;
    if (code != GRPC_OK) {
        status.code = (int32_t)code;
        status.message = TEXT(text);
        request.error = &status;
    }
    write_request(output, &request);
}

void message_response(struct buffer *output, const char *nonce, const char *url, const char *id,
                      const struct buffer *encoded)
{
    Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
    any.type_url = TEXT(url);
    any.value.data = (uint8_t *)encoded->data;
    any.value.len = encoded->length;
    Ps__Response response = PS__RESPONSE__INIT;
    response.nonce = TEXT(nonce);
    response.resource_url = TEXT(url);
    response.resource_id = TEXT(id);
    response.resource = &any;
    response.operation = PS__OPERATION__OPERATION_UPSERT;
    Ps__ReplicationMessage message = PS__REPLICATION_MESSAGE__INIT;
    message.payload_case = PS__REPLICATION_MESSAGE__PAYLOAD_RESPONSE;
    message.response = &response;
    proto_pack(&message, output);
}

void message_heartbeat(struct buffer *output)
{
    Ps__Heartbeat heartbeat = PS__HEARTBEAT__INIT;
    Ps__ReplicationMessage message = PS__REPLICATION_MESSAGE__INIT;
    message.payload_case = PS__REPLICATION_MESSAGE__PAYLOAD_HEARTBEAT;
    message.heartbeat = &heartbeat;
    proto_pack(&message, output);
}

void message_terminated(struct buffer *output)
{
    Ps__Terminated terminated = PS__TERMINATED__INIT;
    Ps__ReplicationMessage message = PS__REPLICATION_MESSAGE__INIT;
    message.payload_case = PS__REPLICATION_MESSAGE__PAYLOAD_TERMINATED;
    message.terminated = &terminated;
    proto_pack(&message, output);
}

char *message_upsert_error(const char *url, const char *id, const char *cause)
{
    return mem_printf("upsert error, ResourceURL: \"%s\", ResourceID: \"%s\": %s", url, id, cause);
}

const Ps__ReplicationMessage *message_read(const uint8_t *data, size_t length, struct arena *arena,
                                           struct error *error)
{
    static const struct proto_limits limits = {STREAM_MESSAGE_BYTES_MAX, 100000};
    return proto_unpack(&ps__replication_message__descriptor, data, length, &limits, arena, error);
}

bool message_check_subscription(const Ps__Request *request, bool dialer, const char *peer_id,
                                struct error *error)
{
    if (dialer && !text_empty(request->peer_id) && strcmp(request->peer_id, peer_id) != 0)
        return error_set(error, ERR_INVALID,
                         "initial subscription requests for a resource type must have consistent "
                         "PeerID values: got=\"%s\" expected=\"%s\"",
                         request->peer_id, peer_id);
    const char *extra = !text_empty(request->response_nonce) ? "a nonce"
                        : request->error != NULL             ? "an error"
                                                             : NULL;
    if (extra == NULL)
        return true;
    return error_set(error, ERR_INVALID,
                     "initial subscription requests for a resource type must not contain %s",
                     extra);
}

static bool check_response(const Ps__Response *response, enum resource *ret_resource,
                           struct error *error)
{
    const char *url = response->resource_url;
    if (!resource_find(url, ret_resource))
        return error_set(error, ERR_INVALID, "received response for unknown resource type \"%s\"",
                         url);
    if (text_empty(response->nonce))
        return error_set(error, ERR_INVALID, "received response without a nonce for: %s:%s", url,
                         response->resource_id);
    if (response->operation == PS__OPERATION__OPERATION_UNSPECIFIED)
        return error_set(error, ERR_INVALID, "unsupported operation: \"OPERATION_UNSPECIFIED\"");
    if (response->operation != PS__OPERATION__OPERATION_UPSERT)
        return error_set(error, ERR_INVALID, "unsupported operation: %d", (int)response->operation);
    if (response->resource == NULL)
        return error_set(error, ERR_INVALID, "received upsert response with no content");
    return true;
}

void *message_read_response(const Ps__Response *response, struct arena *arena,
                            enum resource *ret_resource, struct error *error)
{
    enum resource resource;
    if (!check_response(response, &resource, error))
        return NULL;
    const Google__Protobuf__Any *any = response->resource;
    struct error cause = {0};
    void *payload = NULL;
    if (strcmp(any->type_url, response->resource_url) != 0)
        error_set(&cause, ERR_INVALID, "mismatched resourceURL \"%s\" and Any typeUrl \"%s\"",
                  response->resource_url, any->type_url);
    else if (resource == RESOURCE_SERVICE && text_empty(response->resource_id))
        error_set(&cause, ERR_INVALID, "the service has an empty name");
    else
        payload = resource_read(resource, any->value.data, any->value.len, arena, &cause);
    if (payload == NULL) {
        error_set(error, ERR_INTERNAL, "upsert error, ResourceURL: \"%s\", ResourceID: \"%s\": %s",
                  response->resource_url, response->resource_id, cause.message);
        return NULL;
    }
    *ret_resource = resource;
    return payload;
}
