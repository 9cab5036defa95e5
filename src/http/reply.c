/* Small helpers for reads. */
#include <string.h>

#include "base/text.h"
#include "http/request.h"
#include "proto/proto.h"

void reply_error(struct reply *reply, int status, const char *format, ...)
{
    buffer_reset(reply->body);
    va_list args;
    va_start(args, format);
    buffer_vprintf(reply->body, format, args);
    va_end(args);
    reply->status = status;
    reply->content_type = "text/plain; charset=utf-8";
}

void reply_comma(struct buffer *body)
{
    char last = body->length == 0 ? '[' : body->data[body->length - 1];
    if (last != '[' && last != '{')
        buffer_add_byte(body, ',');
}

void reply_record(struct buffer *body, const struct record *record)
{
    size_t length;
    const char *json = record_json(record, &length);
    char *room = buffer_grow(body, length + 2);
    room[0] = '{';
    memcpy(room + 1, json, length);
    room[length + 1] = '}';
    buffer_grow_done(body, length + 2);
}

bool request_wants_node(const struct api_request *request, const Pb__Node *node)
{
    for (size_t i = 0; i < request->node_meta_count; i++) {
        const char *value = proto_map_get(node->n_meta, node->meta, request->node_meta[i].key);
        if (value == NULL || strcmp(value, request->node_meta[i].value) != 0)
            return false;
    }
    return true;
}
