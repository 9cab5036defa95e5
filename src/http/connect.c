/* The certificate authority as clients see it, and authorisation for applications that speak the
 * mesh's TLS themselves. */
#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "base/duration.h"
#include "base/text.h"
#include "ca/spiffe.h"
#include "http/handlers.h"
#include "http/leaves.h"
#include "intention/intention.h"
#include "proto/codec_tables.h"
#include "proto/proto.h"
#include "text/json.h"

/* ---- roots ---- */

static void write_roots_pem(struct reply *reply, struct view *view)
{
    struct arena *scratch = arena_new();
    buffer_add_text(reply->body, authority_roots_pem(view, scratch));
    reply->content_type = "application/pem-certificate-chain";
    reply->unindexed = true;
    arena_free(scratch);
}

void api_connect_roots(struct api_request *request, struct view *view, struct reply *reply)
{
    const char *pem = http_query(request->http, "pem", 0);
    if (pem != NULL && strcasecmp(pem, "false") != 0 && strcmp(pem, "0") != 0) {
        write_roots_pem(reply, view);
        return;
    }
    size_t count;
    const struct record *const *roots = authority_roots(view, &count);
    const Pb__CaRoot *active = authority_active_root(view);
    buffer_add_text(reply->body, "{\"ActiveRootID\":");
    json_write_string(reply->body, active == NULL ? "" : active->id);
    buffer_add_text(reply->body, ",\"TrustDomain\":");
    json_write_string(reply->body, authority_trust_domain(request->api->config.authority));
    buffer_add_text(reply->body, ",\"Roots\":[");
    for (size_t i = 0; i < count; i++) {
        reply_comma(reply->body);
        reply_record(reply->body, roots[i]);
    }
    buffer_add_text(reply->body, "]}");
}

/* ---- leaves ---- */

static void write_time(struct buffer *body, const char *key, int64_t time_ns)
{
    char text[TIMESTAMP_TEXT_MAX];
    buffer_printf(body, ",\"%s\":\"%s\"", key, timestamp_format(time_ns, text));
}

void api_connect_leaf(struct api_request *request, struct view *view, struct reply *reply)
{
    (void)view; /* a leaf is not in the store */
    const struct leaf *leaf = leaves_get(request->api->leaves, &request->tenancy, request->argument,
                                         &reply->index, &reply->wakers);
    if (leaf == NULL) {
        reply_error(reply, 429, "too many services have leaf certificates from this agent");
        return;
    }
    struct buffer *body = reply->body;
    buffer_add_text(body, "{\"SerialNumber\":");
    json_write_string(body, leaf->serial);
    buffer_add_text(body, ",\"CertPEM\":");
    json_write_string(body, leaf->certificate_pem);
    buffer_add_text(body, ",\"PrivateKeyPEM\":");
    json_write_string(body, leaf->private_key_pem);
    buffer_add_text(body, ",\"Service\":");
    json_write_string(body, request->argument);
    buffer_add_text(body, ",\"ServiceURI\":");
    json_write_string(body, leaf->uri);
    write_time(body, "ValidAfter", leaf->not_before_ns);
    write_time(body, "ValidBefore", leaf->not_after_ns);
    buffer_printf(body, ",\"CreateIndex\":%" PRIu64 ",\"ModifyIndex\":%" PRIu64 "}", reply->index,
                  reply->index);
    /* A leaf is valid from a minute before it was made. */
    int64_t age_s = (clock_realtime_ns() - leaf->not_before_ns - DURATION_MINUTE) / DURATION_SECOND;
    reply->age_s = age_s < 0 ? 0 : age_s;
}

/* ---- configuration ---- */

static const struct record *stored_configuration(struct view *view)
{
    struct buffer key = {0};
    const struct tenancy tenancy = TENANCY_DEFAULT;
    const struct record *record = view_get(view, TABLE_CA_CONFIG, key_all(&key, &tenancy));
    buffer_free(&key);
    return record;
}

void api_connect_ca_configuration(struct api_request *request, struct view *view,
                                  struct reply *reply)
{
    const struct record *record = stored_configuration(view);
    if (record == NULL) {
        reply_error(reply, 500, "the certificate authority has not finished initializing");
        return;
    }
    const Pb__CaConfig *stored = record->message;
    const char *config = text_empty(stored->config) ? "{}" : stored->config;
    struct error error = {0};
    json_t *parsed = json_parse(config, strlen(config), NULL, &error);
    const json_t *state = json_object_get(parsed, "test_state"); /* what a provider would keep */
    buffer_add_text(reply->body, "{\"Provider\":");
    json_write_string(reply->body, stored->provider);
    buffer_printf(reply->body, ",\"Config\":%s,\"State\":", config);
    if (state == NULL)
        buffer_add_text(reply->body, "null");
    else
        json_write(reply->body, state);
    buffer_printf(reply->body,
                  ",\"ForceWithoutCrossSigning\":false,\"CreateIndex\":%" PRIu64
                  ",\"ModifyIndex\":%" PRIu64 "}",
                  record->create_index, record->modify_index);
    json_decref(parsed);
    (void)request;
}

struct new_configuration {
    const char *config;  /* JSON */
    int64_t leaf_ttl_ns; /* 0: as it is */
};

static bool put_configuration(struct txn *txn, void *arg, struct error *error)
{
    const struct api_request *request = arg;
    const struct new_configuration *wanted = request->state;
    const struct record *record = stored_configuration(txn_view(txn));
    if (record == NULL)
        return error_set(error, ERR_UNAVAILABLE,
                         "the certificate authority has not finished initializing; try again");
    Pb__CaConfig *config = proto_copy(record->message, request->arena);
    config->config = (char *)wanted->config;
    if (wanted->leaf_ttl_ns > 0)
        config->leaf_cert_ttl = wanted->leaf_ttl_ns;
    txn_put(txn, TABLE_CA_CONFIG, config);
    return true;
}

/* The built-in provider makes its own keys: others are refused rather than quietly dropped. */
static bool check_configuration(const json_t *config, struct new_configuration *wanted,
                                struct error *error)
{
    static const char *const own[] = {"PrivateKey", "RootCert"};
    for (size_t i = 0; i < 2; i++) {
        const char *text = json_string_value(json_object_get(config, own[i]));
        if (!text_empty(text))
            return error_set(error, ERR_UNSUPPORTED,
                             "CA configuration: %s cannot be set: the built-in provider makes its "
                             "own root; leave the key out",
                             own[i]);
    }
    const json_t *ttl = json_object_get(config, "LeafCertTTL");
    if (json_is_integer(ttl))
        wanted->leaf_ttl_ns = json_integer_value(ttl);
    else if (json_is_string(ttl) && !duration_parse(json_string_value(ttl), &wanted->leaf_ttl_ns))
        return error_set(error, ERR_INVALID,
                         "error decoding config: LeafCertTTL: time: invalid duration \"%s\"",
                         json_string_value(ttl));
    if (ttl != NULL && !json_is_null(ttl) && wanted->leaf_ttl_ns < DURATION_HOUR)
        return error_set(error, ERR_INVALID, "leaf cert TTL must be greater or equal than 1h0m0s");
    return true;
}

void api_connect_set_ca_configuration(struct api_request *request)
{
    json_t *body = api_read_body(request);
    if (body == NULL)
        return;
    struct new_configuration *wanted = arena_alloc(request->arena, sizeof *wanted);
    const char *provider = json_string_value(json_object_get(body, "Provider"));
    const json_t *config = json_object_get(body, "Config");
    static const char *const known[] = {
        "Provider",    "Config",      "State", "ForceWithoutCrossSigning",
        "CreateIndex", "ModifyIndex", NULL};
    struct error error = {0};
    bool fine = api_check_keys(body, known, &error);
    if (fine && !text_empty(provider) && strcmp(provider, "consul") != 0)
        fine = error_set(&error, ERR_UNSUPPORTED,
                         "CA provider \"%s\" is not supported: the built-in one is called "
                         "\"consul\"",
                         provider);
    else if (fine && !json_is_object(config))
        fine = error_set(&error, ERR_INVALID, "Request decode failed: Config: expected an object");
    fine = fine && check_configuration(config, wanted, &error);
    if (fine) {
        struct buffer text = {0};
        json_write(&text, config);
        wanted->config = arena_strdup(request->arena, buffer_text(&text));
        buffer_free(&text);
    }
    json_decref(body);
    if (!fine) {
        api_finish(request, &error);
        return;
    }
    request->state = wanted;
    api_commit(request, put_configuration);
}

/* ---- authorisation ---- */

/* The local name of the peer whose trust domain it is; "" for our own, and for strangers. */
static const char *peer_of(struct api_request *request, struct view *view, const char *trust_domain)
{
    if (text_equal(trust_domain, authority_trust_domain(request->api->config.authority)))
        return "";
    struct buffer key = {0};
    size_t count;
    const struct tenancy tenancy = TENANCY_DEFAULT;
    const struct record *const *bundles =
        view_list(view, TABLE_TRUST_BUNDLE, BY_TENANCY, key_all(&key, &tenancy), &count);
    buffer_free(&key);
    for (size_t i = 0; i < count; i++) {
        const Pb__PeeringTrustBundle *bundle = bundles[i]->message;
        if (text_equal(bundle->trust_domain, trust_domain))
            return bundle->peer_name;
    }
    return "";
}

static void answer_authorization(struct api_request *request, const char *target,
                                 const struct spiffe_id *id)
{
    struct view *view = view_new(request->api->config.store);
    const struct api_config *config = &request->api->config;
    const char *peer = peer_of(request, view, id->trust_domain), *reason = "";
    const struct tenancy tenancy = {.namespace = request->tenancy.namespace};
    bool allowed = intention_allows(view, &tenancy, peer, id->service, target,
                                    config->default_allow, request->arena, &reason);
    bool otherwise = intention_allows(view, &tenancy, peer, id->service, target,
                                      !config->default_allow, request->arena, NULL);
    if (allowed != otherwise)
        reason = "Default behavior configured by ACLs";
    view_free(view);
    struct buffer body = {0};
    buffer_printf(&body, "{\"Authorized\":%s,\"Reason\":", allowed ? "true" : "false");
    json_write_string(&body, reason);
    buffer_add_byte(&body, '}');
    api_answer(request, 200, "application/json", body.data, body.length);
    buffer_free(&body);
}

void api_connect_authorize(struct api_request *request)
{
    json_t *body = api_read_body(request);
    if (body == NULL)
        return;
    const char *target = json_string_value(json_object_get(body, "Target"));
    const char *uri = json_string_value(json_object_get(body, "ClientCertURI"));
    struct spiffe_id id = {0};
    if (text_empty(target))
        api_answer_error(request, 400, "Target service must be specified");
    else if (text_empty(uri))
        api_answer_error(request, 400, "ClientCertURI must be specified");
    else if (!spiffe_parse(uri, &id))
        api_answer_error(request, 400, "ClientCertURI not a valid Connect identifier: %s", uri);
    else if (id.kind != SPIFFE_SERVICE)
        api_answer_error(request, 400, "ClientCertURI not a valid Service identifier");
    else
        answer_authorization(request, target, &id);
    spiffe_clear(&id);
    json_decref(body);
}
