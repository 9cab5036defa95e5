/* The log of a running agent or command. Consul's levels and line shape:
 *
 *     2026-11-24T06:34:59.123Z [INFO]  agent.http: listening: address=127.0.0.1:8500
 *
 * or one JSON object per line. Pure cores and libraries return errors; only the shells that own
 * a process (agent, cli, and the I/O shells of each surface) log. Never hand a secret to it. */
#pragma once

#include <stdbool.h>
#include <stdio.h>
#include <time.h>

struct buffer;

enum log_level { LOG_TRACE, LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* `output` is borrowed. Until it is called, the log writes INFO and above to stderr. */
void log_configure(enum log_level level, bool json, FILE *output);
bool log_level_parse(const char *text, enum log_level *ret_level); /* "trace" … "err"; any case */
const char *log_level_name(enum log_level level);
bool log_enabled(enum log_level level);

/* `name` is the part that speaks, like "agent.http" or "peering.stream". */
void log_write(enum log_level level, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define log_trace(name, ...) log_write(LOG_TRACE, name, __VA_ARGS__)
#define log_debug(name, ...) log_write(LOG_DEBUG, name, __VA_ARGS__)
#define log_info(name, ...) log_write(LOG_INFO, name, __VA_ARGS__)
#define log_warn(name, ...) log_write(LOG_WARN, name, __VA_ARGS__)
#define log_error(name, ...) log_write(LOG_ERROR, name, __VA_ARGS__)

struct log_event {
    enum log_level level;
    struct timespec time;
    const char *name, *message;
};
/* Appends the event as a line, without its end. */
void log_format(const struct log_event *event, bool json, struct buffer *line);

/* Sees every event of `level` and above, also what is not written (for /v1/agent/monitor). NULL:
 * none. What it logs itself, it does not see. */
typedef void log_sink_fn(void *arg, const struct log_event *event);
void log_set_sink(enum log_level level, log_sink_fn *sink, void *arg);
