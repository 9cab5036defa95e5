#include "base/log.h"

#include <stdarg.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/buffer.h"

static struct {
    enum log_level level;
    bool json;
    FILE *output;
    log_sink_fn *sink;
    void *sink_arg;
    enum log_level sink_level;
} logger = {.level = LOG_INFO};

static const struct {
    const char *name, *word;
} levels[] = {
    [LOG_TRACE] = {"TRACE", "[TRACE]"}, [LOG_DEBUG] = {"DEBUG", "[DEBUG]"},
    [LOG_INFO] = {"INFO", "[INFO] "},   [LOG_WARN] = {"WARN", "[WARN] "},
    [LOG_ERROR] = {"ERROR", "[ERROR]"},
};

void log_configure(enum log_level level, bool json, FILE *output)
{
    logger.level = level;
    logger.json = json;
    logger.output = output;
}

bool log_level_parse(const char *text, enum log_level *ret_level)
{
    if (strcasecmp(text, "err") == 0 || strcasecmp(text, "error") == 0) {
        *ret_level = LOG_ERROR;
        return true;
    }
    if (strcasecmp(text, "warning") == 0) {
        *ret_level = LOG_WARN;
        return true;
    }
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        if (strcasecmp(text, levels[i].name) == 0) {
            *ret_level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

const char *log_level_name(enum log_level level)
{
    return levels[level].name;
}

bool log_enabled(enum log_level level)
{
    return level >= logger.level || (logger.sink != NULL && level >= logger.sink_level);
}

void log_set_sink(enum log_level level, log_sink_fn *sink, void *arg)
{
    logger.sink_level = level;
    logger.sink = sink;
    logger.sink_arg = arg;
}

static void add_json_text(struct buffer *line, const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            buffer_printf(line, "\\%c", c);
        else if (c < 0x20)
            buffer_printf(line, "\\u%04x", c);
        else
            buffer_add_byte(line, (char)c);
    }
}

/* One event is one line, whatever a peer or a user put into the message. */
static void add_plain_text(struct buffer *line, const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '\n')
            buffer_add_text(line, "\\n");
        else if (c < 0x20 || c == 0x7f)
            buffer_printf(line, "\\x%02x", c);
        else
            buffer_add_byte(line, (char)c);
    }
}

void log_format(const struct log_event *event, bool json, struct buffer *line)
{
    struct tm utc;
    gmtime_r(&event->time.tv_sec, &utc);
    char stamp[32];
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
    if (json) {
        buffer_printf(line, "{\"@timestamp\":\"%s.%06ldZ\",\"@level\":\"", stamp,
                      event->time.tv_nsec / 1000);
        for (const char *c = levels[event->level].name; *c != '\0'; c++)
            buffer_add_byte(line, (char)(*c | 0x20));
        buffer_printf(line, "\",\"@module\":\"%s\",\"@message\":\"", event->name);
        add_json_text(line, event->message);
        buffer_add_text(line, "\"}");
    } else {
        buffer_printf(line, "%s.%03ldZ %s %s: ", stamp, event->time.tv_nsec / 1000000,
                      levels[event->level].word, event->name);
        add_plain_text(line, event->message);
    }
}

static void write_line(const struct log_event *event)
{
    struct buffer line = {0};
    FILE *output = logger.output != NULL ? logger.output : stderr;
    log_format(event, logger.json, &line);
    fprintf(output, "%s\n", buffer_text(&line));
    fflush(output);
    buffer_free(&line);
}

static void tell_sink(const struct log_event *event)
{
    log_sink_fn *sink = logger.sink;
    logger.sink = NULL;
    sink(logger.sink_arg, event);
    logger.sink = sink;
}

void log_write(enum log_level level, const char *name, const char *format, ...)
{
    if (!log_enabled(level))
        return;
    struct buffer message = {0};
    va_list args;
    va_start(args, format);
    buffer_vprintf(&message, format, args);
    va_end(args);
    struct log_event event = {.level = level, .name = name, .message = buffer_text(&message)};
    clock_gettime(CLOCK_REALTIME, &event.time);
    if (level >= logger.level)
        write_line(&event);
    if (logger.sink != NULL && level >= logger.sink_level)
        tell_sink(&event);
    buffer_free(&message);
}
