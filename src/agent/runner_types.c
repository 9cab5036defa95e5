/* How each type of check runs. */
#include <stdlib.h>
#include <string.h>

#include "agent/runner.h"
#include "base/duration.h"
#include "base/memory.h"
#include "base/text.h"
#include "catalog/catalog.h"

#define TIMEOUT_MS 10000

static uint64_t timeout_ms(const struct runner *runner)
{
    int64_t timeout = runner->definition->timeout;
    return timeout > 0 ? (uint64_t)(timeout / DURATION_MS) : TIMEOUT_MS;
}

static void report(struct runner *runner, const char *status, struct buffer *output)
{
    if (output->length > runner_output_max(runner)) {
        output->length = runner_output_max(runner);
        output->data[output->length] = '\0';
    }
    runner_report(runner, status, buffer_text(output));
    buffer_free(output);
}

/* ---- TTL: the outside reports; silence for longer than the TTL is critical ---- */

static void ttl_expired(void *arg)
{
    struct runner *runner = arg;
    struct buffer output = {0};
    char text[DURATION_TEXT_MAX];
    buffer_printf(&output, "TTL expired: nothing was heard for %s",
                  duration_format(runner->definition->ttl, text));
    report(runner, "critical", &output);
}

static void ttl_start(struct runner *runner)
{
    timer_free(runner->next);
    runner->next = timer_new(runner_loop(runner), ttl_expired, runner);
    timer_start(runner->next, (uint64_t)(runner->definition->ttl / DURATION_MS), 0);
}

static void ttl_stop(struct runner *runner)
{
    timer_stop(runner->next);
}

const struct runner_class runner_ttl = {"ttl", ttl_start, ttl_stop};

/* ---- TCP: a connection that opens is passing ---- */

static void tcp_stop(struct runner *runner)
{
    if (runner->stream != NULL)
        stream_abort(runner->stream);
    runner->stream = NULL;
}

static void tcp_open(void *arg)
{
    struct runner *runner = arg;
    struct buffer output = {0};
    tcp_stop(runner);
    buffer_printf(&output, "TCP connect %s: Success", runner->definition->tcp);
    report(runner, "passing", &output);
}

static void tcp_data(void *arg, const uint8_t *data, size_t length)
{
    (void)arg;
    (void)data;
    (void)length;
}

static void tcp_close(void *arg, const struct error *error)
{
    struct runner *runner = arg;
    struct buffer output = {0};
    tcp_stop(runner);
    buffer_add_text(&output, error != NULL ? error->message : "the connection was closed");
    report(runner, "critical", &output);
}

static void tcp_start(struct runner *runner)
{
    static const struct stream_handler handler = {tcp_open, tcp_data, tcp_close, NULL};
    struct address address;
    struct error error;
    if (!address_parse(runner->definition->tcp, &address, &error)) {
        runner_report(runner, "critical", error.message);
        return;
    }
    tcp_stop(runner);
    runner->stream =
        stream_dial(runner_loop(runner), &address, NULL, timeout_ms(runner), &handler, runner);
    address_clear(&address);
}

const struct runner_class runner_tcp = {"tcp", tcp_start, tcp_stop};

/* ---- HTTP: 2xx passing, 429 warning, the rest critical ---- */

static void http_stop(struct runner *runner)
{
    if (runner->fetch != NULL)
        http_fetch_cancel(runner->fetch);
    runner->fetch = NULL;
}

static const char *http_method_of(const struct runner *runner)
{
    return text_empty(runner->definition->method) ? "GET" : runner->definition->method;
}

static void http_done(void *arg, int status, const char *body, size_t length,
                      const struct error *error)
{
    struct runner *runner = arg;
    struct buffer output = {0};
    const char *health = "critical";
    runner->fetch = NULL;
    if (error != NULL) {
        buffer_printf(&output, "%s %s: %s", http_method_of(runner), runner->definition->http,
                      error->message);
    } else {
        health = status >= 200 && status < 300 ? "passing" : status == 429 ? "warning" : health;
        buffer_printf(&output, "HTTP %s %s: %d Output: ", http_method_of(runner),
                      runner->definition->http, status);
        buffer_add(&output, body, length);
    }
    report(runner, health, &output);
}

static void http_start(struct runner *runner)
{
    const Pb__CheckDefinition *definition = runner->definition;
    struct text_list headers = {0};
    for (size_t i = 0; i < definition->n_header; i++) {
        const Pb__HeaderValues *values = definition->header[i]->value;
        for (size_t j = 0; j < values->n_values; j++) {
            char *line = mem_printf("%s: %s", definition->header[i]->key, values->values[j]);
            text_list_add(&headers, line);
            free(line);
        }
    }
    const char **lines = mem_array(headers.count + 1, sizeof *lines);
    for (size_t i = 0; i < headers.count; i++)
        lines[i] = headers.items[i];
    struct http_fetch_request request = {
        .method = http_method_of(runner),
        .url = definition->http,
        .headers = lines,
        .body = text_empty(definition->body) ? NULL : definition->body,
        .timeout_ms = timeout_ms(runner),
        .body_max = runner_output_max(runner),
        .tls_skip_verify = definition->tls_skip_verify,
        .follow_redirects = !definition->disable_redirects,
    };
    http_stop(runner);
    runner->fetch = http_fetch_start(runner_http(runner), &request, http_done, runner);
    free(lines);
    text_list_free(&headers);
}

const struct runner_class runner_http_class = {"http", http_start, http_stop};

/* ---- alias: as healthy as another service, or as a node ---- */

static void alias_start(struct runner *runner);

static void alias_stop(struct runner *runner)
{
    watch_free(runner->watch);
    runner->watch = NULL;
}

static void alias_changed(void *arg)
{
    alias_start(arg);
}

static int severity(const char *status)
{
    return strcmp(status, "passing") == 0 ? 0 : strcmp(status, "warning") == 0 ? 1 : 2;
}

static void alias_start(struct runner *runner)
{
    const Pb__CheckDefinition *definition = runner->definition;
    const char *node =
        text_empty(definition->alias_node) ? runner_node(runner) : definition->alias_node;
    struct view *view = view_new(runner_store(runner));
    struct buffer key = {0};
    size_t count;
    const struct record *const *records =
        view_list(view, TABLE_CHECK, CHECK_BY_INSTANCE,
                  key_service(&key, &runner->tenancy, node, definition->alias_service), &count);
    const char *status = "passing";
    struct buffer output = {0};
    buffer_add_text(&output, count == 0 ? "No checks found." : "All checks passing.");
    for (size_t i = 0; i < count; i++) {
        const Pb__HealthCheck *check = records[i]->message;
        if (severity(check->status) <= severity(status))
            continue;
        status = check->status;
        buffer_reset(&output);
        buffer_printf(&output, "Aliased check \"%s\" failing: %s", check->check_id, check->output);
    }
    bool missing =
        !text_empty(definition->alias_service) && view_get(view, TABLE_SERVICE, &key) == NULL;
    if (missing) {
        status = "critical";
        buffer_reset(&output);
        buffer_printf(&output, "Service \"%s\" is not registered on node \"%s\"",
                      definition->alias_service, node);
    }
    buffer_free(&key);
    report(runner, status, &output);
    watch_free(runner->watch);
    runner->watch = watch_new(view, alias_changed, runner);
}

const struct runner_class runner_alias = {"alias", alias_start, alias_stop};
