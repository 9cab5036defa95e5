/* /v1/peering and /v1/peerings. */
#include "peering/peering.h"

#include <inttypes.h>

#include "base/text.h"
#include "http/handlers.h"
#include "proto/codec_tables.h"
#include "text/json.h"

/* ---- reading ---- */

static void write_peering(struct buffer *body, const Pb__Peering *peering,
                          const struct record *record)
{
    reply_comma(body);
    buffer_add_byte(body, '{');
    codec_write_fields(body, &pb__peering__codec, peering);
    buffer_printf(body, ",\"CreateIndex\":%" PRIu64 ",\"ModifyIndex\":%" PRIu64 "}",
                  record->create_index, record->modify_index);
}

void api_peering_get(struct api_request *request, struct view *view, struct reply *reply)
{
    struct arena *scratch = arena_new();
    const struct record *record = NULL;
    const Pb__Peering *peering =
        peering_read(request->api->config.peerings, view, &request->tenancy, request->argument,
                     scratch, &record);
    reply->unindexed = peering == NULL;
    if (peering == NULL)
        reply_error(reply, 404, "Peering not found for \"%s\"", request->argument);
    else
        write_peering(reply->body, peering, record);
    arena_free(scratch);
}

void api_peering_get_all(struct api_request *request, struct view *view, struct reply *reply)
{
    struct arena *scratch = arena_new();
    Pb__Peering **peerings = NULL;
    const struct record *const *records = NULL;
    size_t count = peering_list(request->api->config.peerings, view, &request->tenancy, scratch,
                                &peerings, &records);
    buffer_add_byte(reply->body, '[');
    for (size_t i = 0; i < count; i++)
        write_peering(reply->body, peerings[i], records[i]);
    buffer_add_byte(reply->body, ']');
    arena_free(scratch);
}

/* ---- writing ---- */

/* NULL after having answered. */
static void *read_body(struct api_request *request, const struct codec_message *type)
{
    json_t *value = api_read_body_as(request, "Body decoding failed: ");
    if (value == NULL)
        return NULL;
    struct error error = {0};
    void *message = codec_read(type, value, CODEC_WEAK, request->arena, &error);
    json_decref(value);
    if (message == NULL)
        api_answer_error(request, 400, "Body decoding failed: %s", error.message);
    return message;
}

static void token_done(void *arg, const struct error *error, const char *token)
{
    struct api_request *request = arg;
    if (error != NULL) {
        api_finish(request, error);
        return;
    }
    struct buffer body = {0};
    buffer_add_text(&body, "{\"PeeringToken\":");
    json_write_string(&body, token);
    buffer_add_byte(&body, '}');
    api_answer(request, 200, "application/json", body.data, body.length);
    mem_clear(body.data, body.length); /* it is a secret */
    buffer_free(&body);
}

void api_peering_token(struct api_request *request)
{
    Pb__GenerateTokenRequest *body = read_body(request, &pb__generate_token_request__codec);
    if (body == NULL)
        return;
    if (text_empty(body->peer_name)) {
        api_answer_error(request, 400,
                         "PeerName is required in the payload when generating a new peering "
                         "token.");
        return;
    }
    peering_generate_token(request->api->config.peerings, body, token_done, request);
}

void api_peering_establish_link(struct api_request *request)
{
    Pb__EstablishRequest *body = read_body(request, &pb__establish_request__codec);
    if (body == NULL)
        return;
    if (text_empty(body->peer_name)) {
        api_answer_error(request, 400,
                         "PeerName is required in the payload when establishing a peering.");
        return;
    }
    if (text_empty(body->peering_token)) {
        api_answer_error(request, 400,
                         "PeeringToken is required in the payload when establishing a peering.");
        return;
    }
    request->success = "{}";
    peering_establish(request->api->config.peerings, body, api_finish, request);
}

void api_peering_remove(struct api_request *request)
{
    peering_delete(request->api->config.peerings, &request->tenancy, request->argument, api_finish,
                   request);
}
