/* /v1/agent/monitor: the log as it comes.
 *
 * An event may come at any moment, also from inside of the server that carries the answer. So it is
 * only noted, and goes out in a turn of its own. Who reads too slowly loses lines, and is told. */
#include <stdio.h>
#include <stdlib.h>

#include "base/list.h"
#include "base/log.h"
#include "http/handlers.h"

#define PENDING_BYTES_MAX (256 * 1024)

struct monitors {
    struct list all;
    struct timer *flush;
};

struct monitor {
    struct list node;
    struct api_request *request;
    enum log_level level;
    bool json;
    struct buffer pending;
    unsigned lost;
};

static void add_event(struct monitor *monitor, const struct log_event *event)
{
    if (monitor->pending.length > PENDING_BYTES_MAX) {
        monitor->lost++;
        return;
    }
    log_format(event, monitor->json, &monitor->pending);
    buffer_add_byte(&monitor->pending, '\n');
}

static void on_event(void *arg, const struct log_event *event)
{
    struct monitors *monitors = arg;
    list_for_each (node, &monitors->all) {
        struct monitor *monitor = list_entry(node, struct monitor, node);
        if (event->level >= monitor->level)
            add_event(monitor, event);
    }
    if (!timer_active(monitors->flush))
        timer_start(monitors->flush, 0, 0);
}

static void add_loss(struct monitor *monitor)
{
    char words[64];
    snprintf(words, sizeof words, "%u lines left out: they are read too slowly", monitor->lost);
    struct log_event event = {.level = LOG_WARN, .name = "agent.monitor", .message = words};
    clock_gettime(CLOCK_REALTIME, &event.time);
    monitor->lost = 0;
    add_event(monitor, &event);
}

/* What a slow reader does not take now goes with the next event. */
static void flush(void *arg)
{
    struct monitors *monitors = arg;
    list_for_each (node, &monitors->all) {
        struct monitor *monitor = list_entry(node, struct monitor, node);
        if (monitor->pending.length == 0 || http_respond_full(monitor->request->http))
            continue;
        http_respond_chunk(monitor->request->http, monitor->pending.data, monitor->pending.length);
        buffer_reset(&monitor->pending);
        if (monitor->lost > 0)
            add_loss(monitor);
    }
}

/* The log need make no more than the most curious wants. */
static void set_sink(struct monitors *monitors)
{
    enum log_level lowest = LOG_ERROR;
    list_for_each (node, &monitors->all) {
        const struct monitor *monitor = list_entry(node, struct monitor, node);
        if (monitor->level < lowest)
            lowest = monitor->level;
    }
    log_set_sink(lowest, list_empty(&monitors->all) ? NULL : on_event, monitors);
}

static void on_abort(void *arg)
{
    struct monitor *monitor = arg;
    struct api_request *request = monitor->request;
    list_remove(&monitor->node);
    set_sink(request->api->monitors);
    buffer_free(&monitor->pending);
    api_answer(request, 200, NULL, NULL, 0);
}

void api_agent_monitor(struct api_request *request)
{
    const char *level = http_query(request->http, "loglevel", 0);
    struct monitor *monitor = arena_alloc(request->arena, sizeof *monitor);
    monitor->level = LOG_INFO;
    if (level != NULL && *level != '\0' && !log_level_parse(level, &monitor->level)) {
        api_answer_error(request, 400, "Unknown log level: %s", level);
        return;
    }
    monitor->request = request;
    monitor->json = http_query(request->http, "logjson", 0) != NULL;
    list_append(&request->api->monitors->all, &monitor->node);
    http_on_abort(request->http, on_abort, monitor);
    api_answer_start(request, monitor->json ? "application/json" : "text/plain; charset=utf-8");
    set_sink(request->api->monitors);
}

struct monitors *monitors_new(struct loop *loop)
{
    struct monitors *monitors = mem_zalloc(sizeof *monitors);
    list_init(&monitors->all);
    monitors->flush = timer_new(loop, flush, monitors);
    return monitors;
}

void monitors_free(struct monitors *monitors)
{
    if (monitors == NULL)
        return;
    timer_free(monitors->flush);
    free(monitors);
}
