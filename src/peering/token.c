#include "peering/token.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/ident.h"
#include "base/text.h"
#include "ca/certificate.h"
#include "proto/codec_tables.h"
#include "text/codec.h"
#include "text/json.h"

static void write_list(struct buffer *json, const char *name, char *const *items, size_t count)
{
    json_write_string(json, name);
    buffer_add_byte(json, ':');
    if (count == 0) {
        buffer_add_text(json, "null,");
        return;
    }
    for (size_t i = 0; i < count; i++) {
        buffer_add_byte(json, i == 0 ? '[' : ',');
        json_write_string(json, items[i]);
    }
    buffer_add_text(json, "],");
}

static void write_text(struct buffer *json, const char *name, const char *value, const char *end)
{
    json_write_string(json, name);
    buffer_add_byte(json, ':');
    json_write_string(json, value);
    buffer_add_text(json, end);
}

static void write_remote(struct buffer *json, const Pb__RemoteInfo *remote)
{
    buffer_add_text(json, "\"Remote\":{");
    write_text(json, "Partition", remote != NULL ? remote->partition : "", ",");
    write_text(json, "Datacenter", remote != NULL ? remote->datacenter : "", ",\"Locality\":");
    if (remote == NULL || remote->locality == NULL) {
        buffer_add_text(json, "null}");
        return;
    }
    buffer_add_byte(json, '{');
    write_text(json, "Region", remote->locality->region, ",");
    write_text(json, "Zone", remote->locality->zone, "}}");
}

char *token_write(const Pb__PeeringToken *token)
{
    /* Written by hand: of RemoteInfo the token shows Locality as null, the HTTP API leaves it out.
     */
    struct buffer json = {0};
    buffer_add_byte(&json, '{');
    write_list(&json, "CA", token->ca, token->n_ca);
    write_list(&json, "ManualServerAddresses", token->manual_server_addresses,
               token->n_manual_server_addresses);
    write_list(&json, "ServerAddresses", token->server_addresses, token->n_server_addresses);
    write_text(&json, "ServerName", token->server_name, ",");
    write_text(&json, "PeerID", token->peer_id, ",");
    write_text(&json, "EstablishmentSecret", token->establishment_secret, ",");
    write_remote(&json, token->remote);
    buffer_add_byte(&json, '}');
    char *text = base64_encode(json.data, json.length);
    mem_clear(json.data, json.length);
    buffer_free(&json);
    return text;
}

/* The words of Go's decoder where they are easily known: tools look for them. */
static bool check_json_start(const char *text, size_t length, struct error *error)
{
    size_t at = 0;
    while (at < length && strchr(" \t\r\n", text[at]) != NULL && text[at] != '\0')
        at++;
    if (at == length)
        return error_set(error, ERR_INTERNAL, "unexpected end of JSON input");
    unsigned char first = (unsigned char)text[at];
    if (first != '\0' && strchr("{[\"-0123456789tfn", first) != NULL)
        return true;
    if (isprint(first))
        return error_set(error, ERR_INTERNAL,
                         first == '\'' ? "invalid character '\\%c' looking for beginning of value"
                                       : "invalid character '%c' looking for beginning of value",
                         first);
    return error_set(error, ERR_INTERNAL,
                     "invalid character '\\x%02x' looking for beginning of value", first);
}

/* The parser's own words may quote a part of the secret. */
static void set_json_fault(const char *words, struct error *error)
{
    bool is_cut = strstr(words, "near end of file") != NULL ||
                  strstr(words, "premature end of input") != NULL;
    error_set(error, ERR_INTERNAL, "%s",
              is_cut ? "unexpected end of JSON input"
                     : "the peering token is damaged: what it holds is not JSON; copy the whole "
                       "token again, or have a new one made");
}

static Pb__PeeringToken *parse(const char *text, size_t length, struct arena *arena,
                               struct error *error)
{
    if (!check_json_start(text, length, error))
        return NULL;
    struct error cause = {0};
    json_t *value = json_parse(text, length, NULL, &cause);
    if (value == NULL) {
        set_json_fault(cause.message, error);
        return NULL;
    }
    Pb__PeeringToken *token =
        codec_read(&pb__peering_token__codec, value, CODEC_IGNORE_UNKNOWN, arena, &cause);
    json_decref(value);
    if (token == NULL)
        error_set(error, ERR_INTERNAL, "the peering token is damaged: %s", cause.message);
    return token;
}

bool token_check_address(const char *address, struct error *error)
{
    char *host = NULL;
    uint16_t port;
    bool valid = text_split_host_port(address, false, &host, &port);
    free(host);
    if (!valid)
        return error_set(error, ERR_INTERNAL, "%s is not a valid peering server address", address);
    return true;
}

static bool check_certificates(const Pb__PeeringToken *token, struct error *error)
{
    for (size_t i = 0; i < token->n_ca; i++) {
        struct certificate_info info;
        struct error cause = {0};
        if (!certificate_read(token->ca[i], &info, &cause))
            return error_set(error, ERR_INTERNAL, "peering token invalid CA: %s", cause.message);
        certificate_info_clear(&info);
    }
    return true;
}

static bool check_addresses(char *const *addresses, size_t count, struct error *error)
{
    for (size_t i = 0; i < count; i++) {
        if (!token_check_address(addresses[i], error))
            return false;
    }
    return true;
}

static bool check(const Pb__PeeringToken *token, struct error *error)
{
    if (!check_certificates(token, error))
        return false;
    if (token->n_server_addresses == 0 && token->n_manual_server_addresses == 0)
        return error_set(error, ERR_INTERNAL, "peering token server addresses value is empty");
    if (!check_addresses(token->manual_server_addresses, token->n_manual_server_addresses, error) ||
        !check_addresses(token->server_addresses, token->n_server_addresses, error))
        return false;
    if (token->n_ca > 0 && text_empty(token->server_name))
        return error_set(error, ERR_INTERNAL, "peering token server name value is empty");
    if (text_empty(token->peer_id))
        return error_set(error, ERR_INTERNAL, "peering token peer ID value is empty");
    return true;
}

Pb__PeeringToken *token_read(const char *text, struct arena *arena, struct error *error)
{
    if (strlen(text) > TOKEN_BYTES_MAX) {
        error_set(error, ERR_INTERNAL, "failed to decode token: longer than %d bytes",
                  TOKEN_BYTES_MAX);
        return NULL;
    }
    uint8_t *json;
    size_t length;
    struct error cause = {0};
    if (!base64_decode(text, &json, &length, &cause)) {
        error_set(error, ERR_INTERNAL, "failed to decode token: %s", cause.message);
        return NULL;
    }
    Pb__PeeringToken *token = parse((const char *)json, length, arena, error);
    mem_clear(json, length);
    free(json);
    return token != NULL && check(token, error) ? token : NULL;
}
