/* Answers: the head, the body, and the chunks of a streamed one. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "net/http_core.h"

static const char *reason_phrase(int status)
{
    static const struct {
        int status;
        const char *phrase;
    } phrases[] = {
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < sizeof phrases / sizeof *phrases; i++)
        if (phrases[i].status == status)
            return phrases[i].phrase;
    return "Status";
}

/* "Date: …\r\n", made once a second. */
static const char *date_line(size_t *ret_length)
{
    static time_t made;
    static char line[64];
    static size_t length;
    time_t now = time(NULL);
    if (now != made || length == 0) {
        static const char days[] = "SunMonTueWedThuFriSat";
        static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
        struct tm tm;
        gmtime_r(&now, &tm);
        /* Not strftime, which follows the locale. */
        length =
            (size_t)snprintf(line, sizeof line, "Date: %.3s, %02d %.3s %04d %02d:%02d:%02d GMT\r\n",
                             days + 3 * tm.tm_wday, tm.tm_mday, months + 3 * tm.tm_mon,
                             (tm.tm_year + 1900) % 10000, tm.tm_hour, tm.tm_min, tm.tm_sec);
        made = now;
    }
    *ret_length = length;
    return line;
}

/* A line break inside of a value would begin a header of somebody else's choosing. */
static void add_value(struct buffer *head, const char *value)
{
    size_t start = head->length;
    buffer_add_text(head, value);
    for (char *at = head->data + start; *at; at++)
        if (*at == '\r' || *at == '\n')
            *at = ' ';
}

static void add_number(struct buffer *head, size_t number)
{
    char digits[24], *at = digits + sizeof digits;
    do
        *--at = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    buffer_add(head, at, (size_t)(digits + sizeof digits - at));
}

#define ADD(head, literal) buffer_add(head, literal, sizeof literal - 1)

/* The head up to where the framing goes. */
static struct buffer *start_head(struct http_request *request, int status,
                                 const struct http_header *headers, size_t count)
{
    struct buffer *head = &request->connection->core->head;
    buffer_reset(head);
    if (request->http10)
        ADD(head, "HTTP/1.0 ");
    else
        ADD(head, "HTTP/1.1 ");
    add_number(head, (size_t)status);
    ADD(head, " ");
    buffer_add_text(head, reason_phrase(status));
    ADD(head, "\r\n");
    for (size_t i = 0; i < count; i++) {
        add_value(head, headers[i].name);
        ADD(head, ": ");
        add_value(head, headers[i].value);
        ADD(head, "\r\n");
    }
    size_t length;
    const char *date = date_line(&length);
    buffer_add(head, date, length);
    return head;
}

static void end_head(struct http_request *request, struct buffer *head)
{
    if (request->last)
        ADD(head, "Connection: close\r\n");
    else if (request->http10)
        ADD(head, "Connection: keep-alive\r\n");
    ADD(head, "\r\n");
    http_request_emit(request, head->data, head->length);
}

static bool status_has_body(int status)
{
    return status >= 200 && status != 204 && status != 304;
}

void http_respond(struct http_request *request, int status, const struct http_header *headers,
                  size_t header_count, const void *body, size_t length)
{
    if (!request->connection) {
        http_request_drop(NULL, request);
        return;
    }
    if (request->state != HTTP_WORKING)
        return;
    struct buffer *head = start_head(request, status, headers, header_count);
    bool with_body = status_has_body(status);
    if (with_body) {
        ADD(head, "Content-Length: ");
        add_number(head, length);
        ADD(head, "\r\n");
    }
    end_head(request, head);
    if (with_body && !request->head && length > 0)
        http_request_emit(request, body, length);
    http_request_done(request);
}

void http_respond_start(struct http_request *request, int status, const struct http_header *headers,
                        size_t header_count)
{
    if (!request->connection || request->state != HTTP_WORKING)
        return;
    request->state = HTTP_STREAMING;
    request->bodiless = request->head || !status_has_body(status);
    /* HTTP/1.0 knows no chunks: the end of the connection is the end of the body. */
    if (request->http10 && !request->bodiless)
        request->last = true;
    struct buffer *head = start_head(request, status, headers, header_count);
    if (!request->http10 && status_has_body(status))
        ADD(head, "Transfer-Encoding: chunked\r\n");
    end_head(request, head);
}

void http_respond_chunk(struct http_request *request, const void *data, size_t length)
{
    if (!request->connection || request->state != HTTP_STREAMING || request->bodiless ||
        length == 0)
        return;
    char size[24];
    int digits = snprintf(size, sizeof size, "%zx\r\n", length);
    if (!request->http10)
        http_request_emit(request, size, (size_t)digits);
    http_request_emit(request, data, length);
    if (!request->http10)
        http_request_emit(request, "\r\n", 2);
}

bool http_respond_full(const struct http_request *request)
{
    const struct http_connection *connection = request->connection;
    if (connection == NULL)
        return true;
    return request->out.length > 0 || connection->core->transport->full(connection->transport_arg);
}

void http_respond_end(struct http_request *request)
{
    if (!request->connection) {
        http_request_drop(NULL, request);
        return;
    }
    if (request->state != HTTP_STREAMING)
        return;
    if (!request->http10 && !request->bodiless)
        http_request_emit(request, "0\r\n\r\n", 5);
    http_request_done(request);
}

void http_answer_error(struct http_request *request, int status, const char *words)
{
    static const struct http_header plain = {"Content-Type", "text/plain; charset=utf-8"};
    struct buffer line = {0};
    buffer_printf(&line, "%s\n", words);
    http_respond(request, status, &plain, 1, line.data, line.length);
    buffer_free(&line);
}
