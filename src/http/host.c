/* /v1/agent/host: the machine that the agent runs on. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "base/duration.h"
#include "http/handlers.h"
#include "text/json.h"

/* A line of /proc/meminfo in bytes; 0 if there is none. */
static uint64_t memory_of(const char *name)
{
    FILE *file = fopen("/proc/meminfo", "re");
    char line[128];
    unsigned long long kilobytes = 0;
    size_t length = strlen(name);
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, name, length) == 0 && line[length] == ':' &&
            sscanf(line + length + 1, "%llu", &kilobytes) == 1)
            break;
        kilobytes = 0;
    }
    if (file != NULL)
        fclose(file);
    return kilobytes * 1024;
}

static double percent(uint64_t part, uint64_t whole)
{
    return whole == 0 ? 0 : 100.0 * (double)part / (double)whole;
}

static void write_memory(struct buffer *body)
{
    uint64_t total = memory_of("MemTotal"), available = memory_of("MemAvailable");
    uint64_t used = total > available ? total - available : 0;
    buffer_printf(body,
                  "\"Memory\":{\"total\":%" PRIu64 ",\"available\":%" PRIu64 ",\"used\":%" PRIu64
                  ",\"usedPercent\":%.2f,\"free\":%" PRIu64 ",\"buffers\":%" PRIu64
                  ",\"cached\":%" PRIu64 "}",
                  total, available, used, percent(used, total), memory_of("MemFree"),
                  memory_of("Buffers"), memory_of("Cached"));
}

static void write_cpus(struct buffer *body)
{
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    buffer_add_text(body, ",\"CPU\":[");
    for (long i = 0; i < count; i++)
        buffer_printf(body, "%s{\"cpu\":%ld,\"cores\":1}", i > 0 ? "," : "", i);
    buffer_add_byte(body, ']');
}

static void write_text(struct buffer *body, const char *key, const char *text)
{
    buffer_printf(body, ",\"%s\":", key);
    json_write_string(body, text);
}

static void write_host(struct buffer *body)
{
    struct utsname name = {.nodename = "localhost"};
    struct sysinfo info = {0};
    uname(&name);
    sysinfo(&info);
    buffer_printf(body, ",\"Host\":{\"uptime\":%ld,\"bootTime\":%lld,\"procs\":%u", info.uptime,
                  (long long)time(NULL) - info.uptime, (unsigned)info.procs);
    write_text(body, "hostname", name.nodename);
    write_text(body, "os", "linux");
    write_text(body, "kernelVersion", name.release);
    write_text(body, "kernelArch", name.machine);
    buffer_add_byte(body, '}');
}

static void write_disk(struct buffer *body)
{
    struct statvfs disk;
    buffer_add_text(body, ",\"Disk\":{\"path\":\"/\"");
    if (statvfs("/", &disk) == 0) {
        uint64_t total = (uint64_t)disk.f_blocks * disk.f_frsize;
        uint64_t unused = (uint64_t)disk.f_bfree * disk.f_frsize;
        buffer_printf(body,
                      ",\"total\":%" PRIu64 ",\"free\":%" PRIu64 ",\"used\":%" PRIu64
                      ",\"usedPercent\":%.2f",
                      total, (uint64_t)disk.f_bavail * disk.f_frsize, total - unused,
                      percent(total - unused, total));
    }
    buffer_add_byte(body, '}');
}

void api_agent_host(struct api_request *request, struct view *view, struct reply *reply)
{
    (void)request;
    (void)view;
    struct buffer *body = reply->body;
    buffer_add_byte(body, '{');
    write_memory(body);
    write_cpus(body);
    write_host(body);
    write_disk(body);
    buffer_printf(body, ",\"CollectionTime\":%" PRId64 ",\"Errors\":null}", clock_realtime_ns());
}
