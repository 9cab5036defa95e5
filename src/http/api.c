/* The frame around all routes: from the request to its row, and from its result to the answer. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "http/leaves.h"
#include "http/request.h"
#include "http/shapes.h"
#include "http/wait.h"
#include "text/json.h"

#define SCRATCH_BYTES_KEPT (1024 * 1024)
#define HEADERS_MAX 12

struct api *api_new(const struct api_config *config)
{
    shapes_prepare();
    struct api *api = mem_zalloc(sizeof *api);
    api->config = *config;
    api->config.datacenter = mem_strdup(config->datacenter);
    api->config.node_name = mem_strdup(config->node_name);
    api->config.node_id = mem_strdup(config->node_id);
    api->config.advertise_address = mem_strdup(config->advertise_address);
    api->references = 1;
    api->answers = answers_new();
    api->monitors = monitors_new(config->loop);
    if (config->authority != NULL)
        api->leaves = leaves_new(config->loop, config->authority);
    return api;
}

static void api_unref(struct api *api)
{
    if (--api->references > 0)
        return;
    free((char *)api->config.datacenter);
    free((char *)api->config.node_name);
    free((char *)api->config.node_id);
    free((char *)api->config.advertise_address);
    buffer_free(&api->body);
    buffer_free(&api->key);
    answers_free(api->answers);
    free(api);
}

void api_free(struct api *api)
{
    if (api == NULL)
        return;
    leaves_free(api->leaves);
    api->leaves = NULL;
    monitors_free(api->monitors);
    api->monitors = NULL;
    api_unref(api);
}

/* ---- answers ---- */

struct headers {
    struct http_header items[HEADERS_MAX];
    size_t count;
    char index[24], age[24];
};

static void add_header(struct headers *headers, const char *name, const char *value)
{
    headers->items[headers->count++] = (struct http_header){name, value};
}

static void add_common_headers(struct headers *headers, const struct api_request *request,
                               const char *content_type)
{
    if (content_type != NULL)
        add_header(headers, "Content-Type", content_type);
    if (request->route == NULL)
        return; /* as in Consul: only what is routed speaks for the API */
    add_header(headers, "Vary", "Accept-Encoding");
    add_header(headers, "X-Consul-Default-ACL-Policy",
               request->api->config.default_allow ? "allow" : "deny");
}

static void add_read_headers(struct headers *headers, const struct api_request *request,
                             const struct reply *reply, uint64_t index)
{
    unsigned flags = request->route->flags;
    if (request->cached || (flags & ROUTE_CACHED)) {
        snprintf(headers->age, sizeof headers->age, "%" PRId64, reply->age_s);
        add_header(headers, "X-Cache", "HIT");
        add_header(headers, "Age", headers->age);
    }
    if (reply->hash != NULL)
        add_header(headers, "X-Consul-ContentHash", reply->hash);
    if (reply->reason != NULL)
        add_header(headers, "X-Consul-Reason", reply->reason);
    if (!(flags & ROUTE_INDEXED) || reply->unindexed)
        return;
    snprintf(headers->index, sizeof headers->index, "%" PRIu64, index);
    add_header(headers, "X-Consul-Index", headers->index);
    if (flags & ROUTE_INDEX_ALONE)
        return;
    add_header(headers, "X-Consul-KnownLeader", "true");
    add_header(headers, "X-Consul-LastContact", "0");
    bool streaming = (flags & ROUTE_STREAMING) && (request->index > 0 || request->cached);
    add_header(headers, "X-Consul-Query-Backend", streaming ? "streaming" : "blocking-query");
    if ((flags & ROUTE_CONSISTENCY) || request->stale || request->consistent)
        add_header(headers, "X-Consul-Effective-Consistency",
                   request->stale        ? "stale"
                   : request->consistent ? "consistent"
                                         : "leader");
}

/* The one place where requests end. */
static void send(struct api_request *request, int status, struct headers *headers, const char *body,
                 size_t length)
{
    struct api *api = request->api;
    request_end(request);
    if (log_enabled(LOG_DEBUG))
        log_debug("agent.http", "Request finished: method=%s path=%s from=%s status=%d",
                  http_method(request->http), http_path(request->http), http_peer(request->http),
                  status);
    struct buffer pretty = {0};
    if (request->pretty && length > 0 && (body[0] == '{' || body[0] == '[')) {
        json_write_pretty(&pretty, body, length);
        buffer_add_byte(&pretty, '\n');
        body = pretty.data;
        length = pretty.length;
    }
    http_respond(request->http, status, headers->items, headers->count, body, length);
    buffer_free(&pretty);
    if (api->body.capacity > SCRATCH_BYTES_KEPT)
        buffer_free(&api->body);
    api_unref(api);
}

void request_answer_read(struct api_request *request, const struct reply *reply, uint64_t index)
{
    const char *content_type = reply->content_type;
    if (content_type == NULL && reply->body->length > 0)
        content_type = "application/json";
    struct headers headers = {.count = 0};
    add_common_headers(&headers, request, content_type);
    if (reply->status < 500 && reply->status != 400)
        add_read_headers(&headers, request, reply, index);
    send(request, reply->status, &headers, buffer_text(reply->body), reply->body->length);
}

void api_answer(struct api_request *request, int status, const char *content_type, const char *body,
                size_t length)
{
    struct headers headers = {.count = 0};
    add_common_headers(&headers, request, content_type);
    if (request->warning != NULL && status == 200) {
        log_warn("agent.http", "%s %s: %s", http_method(request->http), http_path(request->http),
                 request->warning);
        add_header(&headers, "X-Pons-Warning", request->warning);
    }
    send(request, status, &headers, body, length);
}

void api_answer_start(struct api_request *request, const char *content_type)
{
    struct headers headers = {.count = 0};
    add_common_headers(&headers, request, content_type);
    http_respond_start(request->http, 200, headers.items, headers.count);
}

static void answer_text(struct api_request *request, int status, const char *text)
{
    request->pretty = false;
    api_answer(request, status, "text/plain; charset=utf-8", text, strlen(text));
}

void api_answer_error(struct api_request *request, int status, const char *format, ...)
{
    struct buffer text = {0};
    va_list args;
    va_start(args, format);
    buffer_vprintf(&text, format, args);
    va_end(args);
    answer_text(request, status, buffer_text(&text));
    buffer_free(&text);
}

int api_status_of(const struct error *error)
{
    switch (error->code) {
    case ERR_INVALID:
        return 400;
    case ERR_UNAUTHENTICATED:
        return 401;
    case ERR_DENIED:
        return 403;
    case ERR_NOT_FOUND:
        return 404;
    case ERR_CONFLICT:
        return 409;
    case ERR_TOO_LARGE:
        return 413;
    case ERR_EXHAUSTED:
        return 429;
    case ERR_UNAVAILABLE:
        return 503;
    default:
        return 500;
    }
}

void api_finish(void *arg, const struct error *error)
{
    struct api_request *request = arg;
    const char *body = request->success;
    if (error != NULL && error->code == ERR_CONFLICT && request->false_on_conflict) {
        body = "false";
        error = NULL;
        request->warning = NULL;
    }
    if (error != NULL)
        answer_text(request, api_status_of(error), error->message);
    else
        api_answer(request, 200, "application/json", body, body == NULL ? 0 : strlen(body));
}

static void commit_done(void *arg, const struct error *error, uint64_t index)
{
    (void)index;
    api_finish(arg, error);
}

void api_commit(struct api_request *request, txn_fn *fn)
{
    store_commit(request->api->config.store, fn, commit_done, request);
}

/* ---- requests ---- */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* NULL if it is malformed, or hides a NUL. */
static const char *decode_path(const char *path, struct arena *arena)
{
    if (strchr(path, '%') == NULL)
        return path;
    char *decoded = arena_alloc(arena, strlen(path) + 1), *to = decoded;
    for (; *path != '\0'; path++, to++) {
        *to = *path;
        if (*path != '%')
            continue;
        int high = hex_digit(path[1]), low = high < 0 ? -1 : hex_digit(path[2]);
        if (low < 0 || high * 16 + low == 0)
            return NULL;
        *to = (char)(high * 16 + low);
        path += 2;
    }
    return decoded;
}

static void answer_unrouted(struct api_request *request, const char *method, const char *path)
{
    if (strcmp(path, "/") == 0) { /* where a browser, or a plain check of life, looks first */
        answer_text(request, 200,
                    "Pons agent: the HTTP API is at /v1/, a web interface there is not.\n");
        return;
    }
    struct buffer allow = {0};
    route_allow(path, &allow);
    if (allow.length == 0) {
        answer_text(request, 404, "Invalid URL path: not a recognized HTTP API endpoint\n");
        return;
    }
    struct headers headers = {.count = 0};
    add_header(&headers, "Allow", allow.data);
    bool asks = strcmp(method, "OPTIONS") == 0;
    char text[64];
    snprintf(text, sizeof text, "method %.20s not allowed", method);
    if (!asks)
        add_header(&headers, "Content-Type", "text/plain; charset=utf-8");
    send(request, asks ? 200 : 405, &headers, asks ? "" : text, asks ? 0 : strlen(text));
    buffer_free(&allow);
}

/* What the row asks for before its handler may run. */
static bool check_row(struct api_request *request)
{
    const struct route *route = request->route;
    const struct api_config *config = &request->api->config;
    if ((route->flags & ROUTE_CONNECT) && config->authority == NULL) {
        api_answer_error(request, 500, "Connect must be enabled in order to use this endpoint");
        return false;
    }
    if ((route->flags & ROUTE_PEERING) && config->peerings == NULL) {
        api_answer_error(request, 500, "peering must be enabled to use this endpoint");
        return false;
    }
    if (route->missing != NULL && *request->argument == '\0') {
        api_answer_error(request, 400, "%s", route->missing);
        return false;
    }
    return true;
}

void api_handle(void *arg, struct http_request *http)
{
    struct api *api = arg;
    api->requests++;
    api->references++;
    struct arena *arena = http_arena(http);
    struct api_request *request = arena_alloc(arena, sizeof *request);
    request->api = api;
    request->http = http;
    request->arena = arena;
    request->argument = "";
    const char *method = http_method(http), *path = decode_path(http_path(http), arena);
    if (path == NULL) {
        answer_text(request, 400, "Invalid URL path: malformed percent-encoding\n");
        return;
    }
    const struct route *route = route_find(method, path);
    if (route == NULL) {
        answer_unrouted(request, method, path);
        return;
    }
    request->route = route;
    if (text_ends(route->path, "/"))
        request->argument = path + strlen(route->path);
    struct error error = {0};
    if (!request_parse_options(request, &error)) {
        answer_text(request, api_status_of(&error), error.message);
        return;
    }
    if (!check_row(request))
        return;
    if (route->read != NULL)
        request_run(request);
    else
        route->write(request);
}

/* ---- bodies ---- */

json_t *api_read_body(struct api_request *request)
{
    return api_read_body_as(request, "Request decode failed: ");
}

json_t *api_read_body_as(struct api_request *request, const char *prefix)
{
    size_t length;
    const char *body = http_body(request->http, &length);
    if (length > BODY_BYTES_MAX) {
        api_answer_error(request, 413, "Request body(%zu bytes) too large, max size: %d bytes",
                         length, BODY_BYTES_MAX);
        return NULL;
    }
    if (length == 0) {
        api_answer_error(request, 400, "%sEOF", prefix);
        return NULL;
    }
    struct error error = {0};
    json_t *value = json_parse(body, length, NULL, &error);
    if (value == NULL)
        api_answer_error(request, 400, "%s%s", prefix, error.message);
    return value;
}

void *api_read_message(struct api_request *request, const struct codec_message *type)
{
    json_t *value = api_read_body(request);
    if (value == NULL)
        return NULL;
    struct error error = {0};
    void *message = codec_read(type, value, CODEC_WEAK, request->arena, &error);
    json_decref(value);
    if (message == NULL)
        api_answer_error(request, 400, "Request decode failed: %s", error.message);
    return message;
}

static bool is_known(const char *key, const char *const *known)
{
    for (size_t i = 0; known[i] != NULL; i++) {
        if (strcasecmp(key, known[i]) == 0)
            return true;
    }
    return false;
}

bool api_check_keys(json_t *body, const char *const *known, struct error *error)
{
    if (!json_is_object(body))
        return error_set(error, ERR_INVALID, "Request decode failed: expected an object");
    const char *key;
    json_t *value;
    json_object_foreach(body, key, value)
    {
        if (!is_known(key, known))
            return error_set(error, ERR_INVALID, "Request decode failed: unknown key \"%s\"", key);
    }
    return true;
}

bool api_read_cas(struct api_request *request, const uint64_t **ret_cas)
{
    const char *text = http_query(request->http, "cas", 0);
    *ret_cas = NULL;
    if (text == NULL)
        return true;
    uint64_t *cas = arena_alloc(request->arena, sizeof *cas);
    if (!text_to_u64(text, UINT64_MAX, cas)) {
        api_answer_error(request, 400, "strconv.ParseUint: parsing \"%s\": invalid syntax", text);
        return false;
    }
    request->false_on_conflict = true;
    *ret_cas = cas;
    return true;
}
