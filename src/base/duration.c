#include "base/duration.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const struct {
    const char *name;
    int64_t ns;
} units[] = {
    {"ns", 1},           {"us", 1000},           {"\xc2\xb5s", 1000}, {"\xce\xbcs", 1000},
    {"ms", DURATION_MS}, {"s", DURATION_SECOND}, {"m", DURATION_MINUTE}, {"h", DURATION_HOUR},
};

static int64_t unit_at(const char *text, size_t *ret_length)
{
    size_t length = 0;
    while (text[length] != '\0' && text[length] != '.' &&
           (text[length] < '0' || text[length] > '9'))
        length++;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strlen(units[i].name) == length && memcmp(units[i].name, text, length) == 0) {
            *ret_length = length;
            return units[i].ns;
        }
    }
    return 0;
}

bool duration_parse(const char *text, int64_t *ret_ns)
{
    bool negative = *text == '-';
    if (*text == '-' || *text == '+')
        text++;
    if (strcmp(text, "0") == 0) {
        *ret_ns = 0;
        return true;
    }
    if (*text == '\0')
        return false;
    int64_t total = 0;
    while (*text != '\0') {
        int64_t whole = 0;
        double fraction = 0, scale = 0.1;
        bool digits = false;
        for (; *text >= '0' && *text <= '9'; text++, digits = true) {
            if (__builtin_mul_overflow(whole, 10, &whole) ||
                __builtin_add_overflow(whole, *text - '0', &whole))
                return false;
        }
        if (*text == '.') {
            for (text++; *text >= '0' && *text <= '9'; text++, digits = true, scale /= 10)
                fraction += (*text - '0') * scale;
        }
        size_t length;
        int64_t unit = unit_at(text, &length);
        if (!digits || unit == 0)
            return false;
        text += length;
        int64_t part;
        if (__builtin_mul_overflow(whole, unit, &part) ||
            __builtin_add_overflow(total, part, &total) ||
            __builtin_add_overflow(total, (int64_t)llround(fraction * (double)unit), &total))
            return false;
    }
    *ret_ns = negative ? -total : total;
    return true;
}

/* Writes `value` / `unit` with up to nine fractional digits, trailing zeros dropped. */
static int format_fraction(char *text, size_t size, uint64_t value, uint64_t unit, const char *name)
{
    int digits = unit == 1 ? 0 : unit == 1000 ? 3 : unit == 1000000 ? 6 : 9;
    uint64_t rest = value % unit;
    while (digits > 0 && rest % 10 == 0) {
        rest /= 10;
        digits--;
    }
    if (digits == 0)
        return snprintf(text, size, "%" PRIu64 "%s", value / unit, name);
    return snprintf(text, size, "%" PRIu64 ".%0*" PRIu64 "%s", value / unit, digits, rest, name);
}

char *duration_format(int64_t ns, char *text)
{
    if (ns == 0)
        return memcpy(text, "0s", 3);
    char *at = text;
    uint64_t left = ns < 0 ? -(uint64_t)ns : (uint64_t)ns;
    if (ns < 0)
        *at++ = '-';
    size_t room = DURATION_TEXT_MAX - 1;
    if (left < 1000)
        format_fraction(at, room, left, 1, "ns");
    else if (left < (uint64_t)DURATION_MS)
        format_fraction(at, room, left, 1000, "\xc2\xb5s");
    else if (left < (uint64_t)DURATION_SECOND)
        format_fraction(at, room, left, (uint64_t)DURATION_MS, "ms");
    else {
        uint64_t hours = left / (uint64_t)DURATION_HOUR;
        uint64_t minutes = left / (uint64_t)DURATION_MINUTE % 60;
        left %= (uint64_t)DURATION_MINUTE;
        if (hours > 0)
            at += sprintf(at, "%" PRIu64 "h", hours);
        if (hours > 0 || minutes > 0)
            at += sprintf(at, "%" PRIu64 "m", minutes);
        format_fraction(at, room - (size_t)(at - text), left, (uint64_t)DURATION_SECOND, "s");
    }
    return text;
}

static int64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * DURATION_SECOND + now.tv_nsec;
}

int64_t clock_realtime_ns(void)
{
    return clock_ns(CLOCK_REALTIME);
}

int64_t clock_monotonic_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

char *timestamp_format(int64_t realtime_ns, char *text)
{
    time_t seconds = (time_t)(realtime_ns / DURATION_SECOND);
    int64_t nanos = realtime_ns % DURATION_SECOND;
    if (nanos < 0) {
        nanos += DURATION_SECOND;
        seconds--;
    }
    struct tm utc;
    gmtime_r(&seconds, &utc);
    size_t length = strftime(text, TIMESTAMP_TEXT_MAX, "%Y-%m-%dT%H:%M:%S", &utc);
    if (nanos > 0) {
        int digits = 9;
        while (nanos % 10 == 0) {
            nanos /= 10;
            digits--;
        }
        length += (size_t)snprintf(text + length, TIMESTAMP_TEXT_MAX - length, ".%0*" PRId64,
                                   digits, nanos);
    }
    text[length] = 'Z';
    text[length + 1] = '\0';
    return text;
}
