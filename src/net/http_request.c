/* A request: its memory, and what a handler reads from it. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"
#include "base/text.h"
#include "net/http_core.h"

#define SPARES_MAX 64
#define SPARE_BUFFER ((size_t)16384) /* larger buffers are not kept */

struct http_request *http_request_take(struct http_connection *connection)
{
    struct http_core *core = connection->core;
    struct http_request *request;
    if (list_empty(&core->spares)) {
        request = mem_zalloc(sizeof *request);
        list_init(&request->node);
    } else {
        request = list_entry(core->spares.next, struct http_request, node);
        list_remove(&request->node);
        core->spare_count--;
    }
    request->connection = connection;
    return request;
}

static void keep(struct buffer *buffer)
{
    if (buffer->capacity > SPARE_BUFFER)
        buffer_free(buffer);
    else
        buffer_reset(buffer);
}

void http_request_drop(struct http_core *core, struct http_request *request)
{
    list_remove(&request->node);
    arena_free(request->arena);
    if (!core || core->spare_count >= SPARES_MAX) {
        buffer_free(&request->text);
        buffer_free(&request->body);
        buffer_free(&request->out);
        free(request->headers.items);
        free(request->query.items);
        free(request);
        return;
    }
    keep(&request->text);
    keep(&request->body);
    keep(&request->out);
    request->headers.count = request->query.count = 0;
    *request = (struct http_request){.text = request->text,
                                     .body = request->body,
                                     .out = request->out,
                                     .headers = request->headers,
                                     .query = request->query};
    list_append(&core->spares, &request->node);
    core->spare_count++;
}

void http_pairs_add(struct http_pairs *pairs, size_t name, size_t value)
{
    if (pairs->count == pairs->capacity) {
        pairs->capacity = pairs->capacity ? pairs->capacity * 2 : 16;
        pairs->items = mem_realloc(pairs->items, pairs->capacity * sizeof *pairs->items);
    }
    pairs->items[pairs->count++] = (struct http_pair){(uint32_t)name, (uint32_t)value};
}

/* The target. */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes in place up to one of `ends`; returns where that is, or NULL for a bad escape. The text
 * only shrinks, so its NUL fits before the end. */
static char *decode(char *text, const char *ends)
{
    char *out = text, *at = text;
    for (; *at && !strchr(ends, *at); at++) {
        if (*at == '+') {
            *out++ = ' ';
        } else if (*at == '%') {
            int high = hex_digit(at[1]), low = high < 0 ? -1 : hex_digit(at[2]);
            if (low < 0 || (high == 0 && low == 0))
                return NULL;
            *out++ = (char)(high << 4 | low);
            at += 2;
        } else {
            *out++ = *at;
        }
    }
    if (out < at)
        *out = '\0';
    return at;
}

static const char *parse_query(struct http_request *request, char *at)
{
    const char *base = request->text.data;
    while (*at) {
        char *name = at, *value;
        if (!(at = decode(name, "=&")))
            return "a percent escape in the query is malformed";
        char end = *at;
        *at = '\0';
        value = at;
        if (end == '=') {
            value = at + 1;
            if (!(at = decode(value, "&")))
                return "a percent escape in the query is malformed";
            end = *at;
            *at = '\0';
        }
        if (*name || *value)
            http_pairs_add(&request->query, (size_t)(name - base), (size_t)(value - base));
        if (!end)
            break;
        at++;
    }
    return NULL;
}

const char *http_request_parse_target(struct http_request *request)
{
    char *target = request->text.data, *path = target;
    if (strncasecmp(target, "http://", 7) == 0 || strncasecmp(target, "https://", 8) == 0) {
        /* Absolute form: whatever host it names, it is for us. The path lacks its slash if empty.
         */
        path = strchr(target, ':') + 3;
        path += strcspn(path, "/?#");
        if (*path != '/')
            *--path = '/'; /* overwrites the end of the host, which nobody reads */
    }
    if (*path != '/' && !(strcmp(path, "*") == 0 && strcmp(request->method, "OPTIONS") == 0))
        return "the request target must be a path that begins with /";
    path[strcspn(path, "#")] = '\0';
    request->path = (size_t)(path - target);
    char *query = strchr(path, '?');
    if (!query)
        return NULL;
    *query = '\0';
    return parse_query(request, query + 1);
}

/* What a handler sees. */

static const char *text_at(const struct http_request *request, size_t offset)
{
    return request->text.data + offset;
}

const char *http_method(const struct http_request *request)
{
    return request->method;
}

const char *http_path(const struct http_request *request)
{
    return text_at(request, request->path);
}

static bool same_name(const char *a, const char *b)
{
    return (*a | 0x20) == (*b | 0x20) && strcasecmp(a, b) == 0;
}

size_t http_request_header_count(const struct http_request *request, const char *name)
{
    size_t count = 0;
    for (size_t i = 0; i < request->headers.count; i++)
        count += same_name(text_at(request, request->headers.items[i].name), name);
    return count;
}

const char *http_header(const struct http_request *request, const char *name)
{
    const char *joined = NULL;
    for (size_t i = 0; i < request->headers.count; i++) {
        if (!same_name(text_at(request, request->headers.items[i].name), name))
            continue;
        const char *value = text_at(request, request->headers.items[i].value);
        joined = joined ? arena_printf(http_arena((struct http_request *)request), "%s, %s", joined,
                                       value)
                        : value;
    }
    return joined;
}

const char *http_query(const struct http_request *request, const char *name, size_t at)
{
    for (size_t i = 0; i < request->query.count; i++)
        if (strcmp(text_at(request, request->query.items[i].name), name) == 0 && at-- == 0)
            return text_at(request, request->query.items[i].value);
    return NULL;
}

size_t http_query_count(const struct http_request *request)
{
    return request->query.count;
}

const char *http_query_name(const struct http_request *request, size_t index)
{
    return index < request->query.count ? text_at(request, request->query.items[index].name) : NULL;
}

const char *http_body(const struct http_request *request, size_t *ret_length)
{
    if (ret_length)
        *ret_length = request->body.length;
    return buffer_text(&request->body);
}

const char *http_peer(const struct http_request *request)
{
    if (!request->connection)
        return "a client that has left";
    return request->connection->core->transport->peer(request->connection->transport_arg);
}

struct arena *http_arena(struct http_request *request)
{
    if (!request->arena)
        request->arena = arena_new();
    return request->arena;
}

void http_on_abort(struct http_request *request, loop_fn *on_abort, void *arg)
{
    request->on_abort = on_abort;
    request->abort_arg = arg;
}
