/* One HTTP/1.1 connection: parsing with limits, the queue of requests, deadlines. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "net/http_core.h"

const struct http_limits http_limits_default = {
    .header_bytes = 64 << 10,
    .body_bytes = 8 << 20,
    .header_timeout_ms = 10000,
    .body_timeout_ms = 60000,
    .idle_timeout_ms = 120000,
    .pipeline = 16,
};

static int stop_parsing(struct http_connection *connection, int status, const char *words)
{
    connection->fail_status = status;
    connection->fail_words = words;
    return -1;
}

/* Parser callbacks: they gather, and pause where a decision is due. */

static int on_begin(llhttp_t *parser)
{
    struct http_connection *connection = parser->data;
    connection->phase = HTTP_HEADERS;
    connection->reading = http_request_take(connection);
    connection->deadline = connection->core->now + connection->core->limits.header_timeout_ms;
    return 0;
}

static int add_text(struct http_connection *connection, const char *data, size_t length)
{
    struct http_request *request = connection->reading;
    request->header_bytes += length;
    if (request->header_bytes > connection->core->limits.header_bytes)
        return stop_parsing(connection, 431, "the request line and headers are too large");
    if (connection->phase == HTTP_HEADERS) /* a trailer counts, and is not kept */
        buffer_add(&request->text, data, length);
    return 0;
}

static int on_text(llhttp_t *parser, const char *data, size_t length)
{
    return add_text(parser->data, data, length);
}

static int on_url_complete(llhttp_t *parser)
{
    return add_text(parser->data, "", 1);
}

static int on_field_complete(llhttp_t *parser)
{
    struct http_connection *connection = parser->data;
    struct http_request *request = connection->reading;
    /* Where the value begins is known now; where the name does, is where the last value ended. */
    int status = add_text(connection, "", 1);
    if (status == 0 && connection->phase == HTTP_HEADERS)
        http_pairs_add(&request->headers, 0, request->text.length);
    return status;
}

static int on_value_complete(llhttp_t *parser)
{
    struct http_connection *connection = parser->data;
    struct buffer *text = &connection->reading->text;
    if (connection->phase == HTTP_HEADERS)
        while (text->data[text->length - 1] == ' ' || text->data[text->length - 1] == '\t')
            text->length--;
    return add_text(connection, "", 1);
}

static int on_headers(llhttp_t *parser)
{
    struct http_connection *connection = parser->data;
    parser->upgrade = 0; /* an upgrade that is offered need not be taken */
    connection->event = HTTP_EVENT_HEADERS;
    return HPE_PAUSED;
}

static int on_body(llhttp_t *parser, const char *data, size_t length)
{
    struct http_connection *connection = parser->data;
    struct buffer *body = &connection->reading->body;
    if (length > connection->core->limits.body_bytes - body->length)
        return stop_parsing(connection, 413, "the request body is too large");
    buffer_add(body, data, length);
    return 0;
}

static int on_message(llhttp_t *parser)
{
    struct http_connection *connection = parser->data;
    connection->event = HTTP_EVENT_MESSAGE;
    connection->reading->last |= !llhttp_should_keep_alive(parser);
    return HPE_PAUSED;
}

static const llhttp_settings_t *parser_settings(void)
{
    static llhttp_settings_t settings;
    if (settings.on_url)
        return &settings;
    llhttp_settings_init(&settings);
    settings.on_message_begin = on_begin;
    settings.on_url = on_text;
    settings.on_url_complete = on_url_complete;
    settings.on_header_field = on_text;
    settings.on_header_field_complete = on_field_complete;
    settings.on_header_value = on_text;
    settings.on_header_value_complete = on_value_complete;
    settings.on_headers_complete = on_headers;
    settings.on_body = on_body;
    settings.on_message_complete = on_message;
    return &settings;
}

/* Life. */

void http_core_init(struct http_core *core, const struct http_limits *limits,
                    http_handler_fn *handler, void *arg, const struct http_transport *transport)
{
    *core = (struct http_core){.limits = limits ? *limits : http_limits_default,
                               .handler = handler,
                               .handler_arg = arg,
                               .transport = transport};
    list_init(&core->spares);
}

void http_core_clear(struct http_core *core)
{
    list_for_each (node, &core->spares)
        http_request_drop(NULL, list_entry(node, struct http_request, node));
    buffer_free(&core->head);
}

struct http_connection *http_connection_new(struct http_core *core, void *transport_arg)
{
    struct http_connection *connection = mem_zalloc(sizeof *connection);
    connection->core = core;
    connection->transport_arg = transport_arg;
    connection->refs = 1;
    list_init(&connection->queue);
    llhttp_init(&connection->parser, HTTP_REQUEST, parser_settings());
    connection->parser.data = connection;
    connection->deadline = core->now + core->limits.idle_timeout_ms;
    return connection;
}

static void unref(struct http_connection *connection)
{
    if (--connection->refs > 0)
        return;
    buffer_free(&connection->held);
    free(connection);
}

void http_connection_free(struct http_connection *connection)
{
    connection->closed = connection->stopped = true;
    if (connection->reading)
        http_request_drop(connection->core, connection->reading);
    connection->reading = NULL;
    list_for_each (node, &connection->queue) {
        struct http_request *request = list_entry(node, struct http_request, node);
        request->connection = NULL;
        if (request->state == HTTP_ANSWERED)
            http_request_drop(connection->core, request);
    }
    while (!list_empty(&connection->queue)) {
        struct http_request *request =
            list_entry(connection->queue.next, struct http_request, node);
        list_remove(&request->node);
        if (request->on_abort) /* may answer, which ends this request or another one */
            request->on_abort(request->abort_arg);
    }
    unref(connection);
}

/* The queue. */

static bool is_first(const struct http_request *request)
{
    return request->connection->queue.next == &request->node;
}

void http_request_emit(struct http_request *request, const void *data, size_t length)
{
    struct http_connection *connection = request->connection;
    if (is_first(request))
        connection->core->transport->write(connection->transport_arg, data, length);
    else
        buffer_add(&request->out, data, length);
}

static void send_continue(struct http_connection *connection)
{
    static const char line[] = "HTTP/1.1 100 Continue\r\n\r\n";
    if (!connection->owes_continue || !list_empty(&connection->queue))
        return;
    connection->owes_continue = false;
    connection->core->transport->write(connection->transport_arg, line, sizeof line - 1);
}

/* The first is answered and gone: what the next ones have ready follows. False: that was the last.
 */
static bool advance(struct http_connection *connection)
{
    while (!list_empty(&connection->queue)) {
        struct http_request *first = list_entry(connection->queue.next, struct http_request, node);
        if (first->out.length > 0) {
            connection->core->transport->write(connection->transport_arg, first->out.data,
                                               first->out.length);
            buffer_reset(&first->out);
        }
        if (first->state != HTTP_ANSWERED)
            return true;
        bool last = first->last;
        connection->queued--;
        http_request_drop(connection->core, first);
        if (last)
            return false;
    }
    return true;
}

void http_request_done(struct http_request *request)
{
    struct http_connection *connection = request->connection;
    request->state = HTTP_ANSWERED;
    if (!is_first(request))
        return;
    const struct http_core *core = connection->core;
    if (!advance(connection)) {
        connection->stopped = true;
        core->transport->finish(connection->transport_arg);
        return;
    }
    send_continue(connection);
    if (list_empty(&connection->queue) && connection->phase == HTTP_IDLE)
        connection->deadline = core->now + core->limits.idle_timeout_ms;
    if (connection->paused && !connection->running)
        core->transport->kick(connection->transport_arg);
}

static void enqueue(struct http_connection *connection, struct http_request *request)
{
    list_append(&connection->queue, &request->node);
    connection->queued++;
    request->state = HTTP_WORKING;
    connection->reading = NULL;
    connection->phase = HTTP_IDLE;
    connection->deadline = 0;
    connection->owes_continue = false;
    if (request->last)
        connection->stopped = true;
}

/* The answer takes its place in the queue, and the connection ends with it. */
static void refuse(struct http_connection *connection, int status, const char *words)
{
    struct http_request *request = connection->reading;
    if (!request)
        request = http_request_take(connection);
    if (!request->method)
        request->method = "";
    request->last = true;
    enqueue(connection, request);
    http_answer_error(request, status, words);
}

/* Parsing. */

/* Lines end with CRLF alone and are not continued: where parsers differ about that, requests are
 * smuggled. */
static const char *check_lines(struct http_connection *connection, const char *data, size_t length)
{
    bool after_cr = connection->after_cr, after_lf = connection->after_lf;
    for (size_t i = 0; i < length; i++) {
        char c = data[i];
        if (after_cr != (c == '\n'))
            return "a line of the headers does not end with CR and LF";
        if (after_lf && (c == ' ' || c == '\t'))
            return "a header is continued on a second line";
        after_cr = c == '\r';
        after_lf = c == '\n';
    }
    connection->after_cr = after_cr;
    connection->after_lf = after_lf;
    return NULL;
}

/* Names and values follow each other in the text: now that the target is there, find the names. */
static void place_names(struct http_request *request)
{
    size_t at = strlen(request->text.data) + 1;
    for (size_t i = 0; i < request->headers.count; i++) {
        struct http_pair *header = &request->headers.items[i];
        header->name = (uint32_t)at;
        at = header->value + strlen(request->text.data + header->value) + 1;
    }
}

static int check_framing(struct http_connection *connection, const char **ret_words)
{
    const struct http_request *request = connection->reading;
    const llhttp_t *parser = &connection->parser;
    const char *coding = http_header(request, "Transfer-Encoding");
    size_t hosts = http_request_header_count(request, "Host");
    if (parser->http_major != 1 || parser->http_minor > 1) {
        *ret_words = "only HTTP/1.0 and HTTP/1.1 are spoken here";
        return 505;
    }
    *ret_words = "CONNECT is not served here";
    if (parser->method == HTTP_CONNECT)
        return 501;
    *ret_words = "the request lacks a Host header";
    if (parser->http_minor == 1 && hosts == 0)
        return 400;
    *ret_words = "the request has more than one Host header";
    if (hosts > 1)
        return 400;
    *ret_words = "a request may not have both Content-Length and Transfer-Encoding";
    if (coding && http_header(request, "Content-Length"))
        return 400;
    *ret_words = "Transfer-Encoding is not part of HTTP/1.0";
    if (coding && parser->http_minor == 0)
        return 400;
    *ret_words = "the only Transfer-Encoding that is understood is chunked";
    return coding && !text_equal_nocase(coding, "chunked") ? 501 : 0;
}

static bool has_body(const struct http_connection *connection)
{
    return connection->parser.content_length > 0 ||
           http_header(connection->reading, "Transfer-Encoding");
}

static int check_headers(struct http_connection *connection, const char **ret_words)
{
    struct http_request *request = connection->reading;
    int status = check_framing(connection, ret_words);
    if (status != 0)
        return status;
    *ret_words = http_request_parse_target(request);
    if (*ret_words)
        return 400;
    *ret_words = "the request body is too large";
    if (!http_header(request, "Transfer-Encoding") &&
        connection->parser.content_length > connection->core->limits.body_bytes)
        return 413;
    const char *expect = http_header(request, "Expect");
    *ret_words = "the only expectation that is understood is 100-continue";
    if (expect && !text_equal_nocase(expect, "100-continue"))
        return 417;
    connection->owes_continue = expect && !request->http10 && has_body(connection);
    return 0;
}

/* False: the request was refused. */
static bool headers_done(struct http_connection *connection)
{
    struct http_request *request = connection->reading;
    const char *words;
    request->method = llhttp_method_name((llhttp_method_t)connection->parser.method);
    request->head = connection->parser.method == HTTP_HEAD;
    request->http10 = connection->parser.http_minor == 0;
    place_names(request);
    int status = check_headers(connection, &words);
    if (status != 0) {
        refuse(connection, status, words);
        return false;
    }
    connection->phase = HTTP_BODY;
    connection->deadline = connection->core->now + connection->core->limits.body_timeout_ms;
    send_continue(connection);
    return true;
}

static void message_done(struct http_connection *connection)
{
    struct http_request *request = connection->reading;
    connection->after_cr = connection->after_lf = false;
    enqueue(connection, request);
    connection->core->handler(connection->core->handler_arg, request);
}

static void parser_failed(struct http_connection *connection, llhttp_errno_t code)
{
    if (connection->fail_status) {
        refuse(connection, connection->fail_status, connection->fail_words);
        return;
    }
    char words[200];
    const char *reason = llhttp_get_error_reason(&connection->parser);
    snprintf(words, sizeof words, "this is not a well-formed HTTP/1.1 request: %s",
             text_empty(reason) ? llhttp_errno_name(code) : reason);
    refuse(connection, 400, words);
}

/* Feeds the parser until it wants a decision; returns how much it took. */
static size_t parse_some(struct http_connection *connection, const char *data, size_t length)
{
    bool headers = connection->phase != HTTP_BODY;
    connection->event = HTTP_EVENT_NONE;
    llhttp_errno_t code = llhttp_execute(&connection->parser, data, length);
    size_t taken = length;
    if (code != HPE_OK)
        taken = (size_t)(llhttp_get_error_pos(&connection->parser) - data);
    const char *words = headers && taken > 0 ? check_lines(connection, data, taken) : NULL;
    if (code == HPE_PAUSED)
        llhttp_resume(&connection->parser);
    if (code != HPE_OK && code != HPE_PAUSED)
        parser_failed(connection, code);
    else if (words)
        refuse(connection, 400, words);
    else if (connection->event == HTTP_EVENT_HEADERS)
        headers_done(connection);
    else if (connection->event == HTTP_EVENT_MESSAGE)
        message_done(connection);
    return taken;
}

static bool may_begin(const struct http_connection *connection)
{
    const struct http_core *core = connection->core;
    return connection->queued < core->limits.pipeline &&
           !core->transport->full(connection->transport_arg);
}

static void set_paused(struct http_connection *connection, bool paused)
{
    if (connection->closed || connection->paused == paused)
        return;
    connection->paused = paused;
    connection->core->transport->pause(connection->transport_arg, paused);
}

static void run(struct http_connection *connection, const char *data, size_t length)
{
    connection->refs++;
    connection->running = true;
    /* A request without body is complete when its headers are, without a further byte. */
    while (!connection->stopped && (length > 0 || connection->event == HTTP_EVENT_HEADERS)) {
        if (!connection->reading && !may_begin(connection))
            break;
        size_t taken = parse_some(connection, data, length);
        data += taken;
        length -= taken;
    }
    connection->event = HTTP_EVENT_NONE;
    connection->running = false;
    if (!connection->stopped && length > 0)
        buffer_add(&connection->held, data, length);
    set_paused(connection, !connection->stopped && !connection->reading && !may_begin(connection));
    unref(connection);
}

void http_connection_input(struct http_connection *connection, const void *data, size_t length)
{
    if (connection->stopped)
        return;
    if (connection->paused)
        buffer_add(&connection->held, data, length);
    else
        run(connection, data, length);
}

void http_connection_continue(struct http_connection *connection)
{
    if (connection->stopped || connection->running || !connection->paused || !may_begin(connection))
        return;
    struct buffer held = connection->held;
    connection->held = (struct buffer){0};
    set_paused(connection, false);
    run(connection, held.data, held.length);
    buffer_free(&held);
}

void http_connection_tick(struct http_connection *connection)
{
    const struct http_core *core = connection->core;
    if (connection->stopped || !connection->deadline || core->now < connection->deadline)
        return;
    if (connection->phase == HTTP_HEADERS) {
        refuse(connection, 408, "the request's headers did not arrive in time");
    } else if (connection->phase == HTTP_BODY) {
        refuse(connection, 408, "the request's body did not arrive in time");
    } else if (list_empty(&connection->queue)) {
        connection->stopped = true;
        core->transport->finish(connection->transport_arg);
    }
}
