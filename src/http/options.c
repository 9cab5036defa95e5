/* Query options: what every route understands alike. */
#include <stdlib.h>
#include <string.h>

#include "base/duration.h"
#include "base/ident.h"
#include "base/text.h"
#include "http/request.h"

#define QUERY_PARAMETERS_MAX 64
#define WAIT_DEFAULT_MS (UINT64_C(5) * 60 * 1000)
#define WAIT_MAX_MS (UINT64_C(10) * 60 * 1000)
#define WAIT_JITTER 16

static bool parse_blocking(struct api_request *request, struct error *error)
{
    const char *index = http_query(request->http, "index", 0);
    const char *wait = http_query(request->http, "wait", 0);
    const char *hash = http_query(request->http, "hash", 0);
    request->hash = hash == NULL ? "" : hash;
    if (!text_empty(index) && !text_to_u64(index, UINT64_MAX, &request->index))
        return error_set(error, ERR_INVALID, "Invalid index");
    int64_t wait_ns = 0;
    if (!text_empty(wait) && !duration_parse(wait, &wait_ns))
        return error_set(error, ERR_INVALID, "Invalid wait time");
    uint64_t wait_ms = wait_ns <= 0 ? WAIT_DEFAULT_MS : (uint64_t)(wait_ns / DURATION_MS);
    if (wait_ms > WAIT_MAX_MS)
        wait_ms = WAIT_MAX_MS;
    request->wait_ms = wait_ms;
    if (request->index == 0 && *request->hash == '\0')
        return true;
    uint32_t random;
    random_bytes(&random, sizeof random);
    request->wait_ms += random % (wait_ms / WAIT_JITTER + 1);
    return true;
}

static bool parse_consistency(struct api_request *request, struct error *error)
{
    request->stale = http_query(request->http, "stale", 0) != NULL;
    request->consistent = http_query(request->http, "consistent", 0) != NULL;
    request->cached = http_query(request->http, "cached", 0) != NULL;
    request->pretty = http_query(request->http, "pretty", 0) != NULL;
    if (request->consistent && (request->stale || request->cached))
        return error_set(error, ERR_INVALID,
                         "Cannot specify ?%s with ?consistent, conflicting semantics.",
                         request->stale ? "stale" : "cached");
    return true;
}

static bool parse_tenancy(struct api_request *request, struct error *error)
{
    struct http_request *http = request->http;
    const char *partition = http_query(http, "partition", 0);
    if (!text_empty(partition) && !text_equal_nocase(partition, "default"))
        return error_set(error, ERR_INVALID,
                         "Invalid query parameter: \"partition\" - Partitions are a Consul "
                         "Enterprise feature");
    const char *namespace = http_query(http, "ns", 0);
    if (text_empty(namespace))
    namespace = http_header(http, "X-Consul-Namespace");
    request->tenancy.namespace = text_empty(namespace) ? NULL : namespace;
    if (request->route->flags & ROUTE_PEER)
        request->tenancy.peer = http_query(http, "peer", 0);
    return true;
}

static bool parse_datacenter(struct api_request *request, struct error *error)
{
    const char *datacenter = http_query(request->http, "dc", 0);
    if (text_empty(datacenter) || (request->route->flags & ROUTE_AGENT) ||
        text_equal_nocase(datacenter, request->api->config.datacenter))
        return true;
    return error_set(error, ERR_INTERNAL, "No path to datacenter");
}

static void parse_node_meta(struct api_request *request)
{
    struct http_request *http = request->http;
    size_t count = 0;
    while (http_query(http, "node-meta", count) != NULL)
        count++;
    if (count == 0)
        return;
    request->node_meta = arena_alloc(request->arena, count * sizeof request->node_meta[0]);
    request->node_meta_count = count;
    for (size_t i = 0; i < count; i++) {
        const char *pair = http_query(http, "node-meta", i);
        const char *colon = strchr(pair, ':');
        size_t length = colon == NULL ? strlen(pair) : (size_t)(colon - pair);
        request->node_meta[i].key = arena_strndup(request->arena, pair, length);
        request->node_meta[i].value = colon == NULL ? "" : colon + 1;
    }
}

static bool parse_filter(struct api_request *request, struct error *error)
{
    const char *filter = http_query(request->http, "filter", 0);
    if (request->route->filter == NULL || text_empty(filter))
        return true;
    request->filter = filter_parse(filter, request->route->filter, request->arena, error);
    return request->filter != NULL;
}

bool request_parse_options(struct api_request *request, struct error *error)
{
    request->hash = "";
    if (http_query_count(request->http) > QUERY_PARAMETERS_MAX)
        return error_set(error, ERR_INVALID, "More than %d query parameters", QUERY_PARAMETERS_MAX);
    if (http_query_count(request->http) > 0) {
        if (!parse_blocking(request, error) || !parse_consistency(request, error) ||
            !parse_datacenter(request, error))
            return false;
        parse_node_meta(request);
    }
    return parse_tenancy(request, error) && parse_filter(request, error);
}
