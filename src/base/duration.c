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
    {"ns", 1},           {"us", 1000},           {"\xc2\xb5s", 1000},    {"\xce\xbcs", 1000},
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

/* "Z", "+01:00" or "-01:00", and nothing behind it. */
static bool parse_offset(const char *text, int64_t *ret_seconds)
{
    int hours, minutes, end = 0;
    if (strcmp(text, "Z") == 0 || strcmp(text, "z") == 0) {
        *ret_seconds = 0;
        return true;
    }
    if ((*text != '+' && *text != '-') ||
        sscanf(text + 1, "%2d:%2d%n", &hours, &minutes, &end) != 2)
        return false;
    if (end != 5 || text[6] != '\0' || hours < 0 || hours > 23 || minutes < 0 || minutes > 59)
        return false;
    *ret_seconds = (*text == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
    return true;
}

bool timestamp_parse(const char *text, int64_t *ret_realtime_ns)
{
    static const char shape[] = "dddd-dd-ddTdd:dd:dd";
    for (size_t i = 0; shape[i] != '\0'; i++) {
        bool digit = text[i] >= '0' && text[i] <= '9';
        if (shape[i] == 'd' ? !digit : text[i] != shape[i])
            return false;
    }
    struct tm utc = {0};
    sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d", &utc.tm_year, &utc.tm_mon, &utc.tm_mday, &utc.tm_hour,
           &utc.tm_min, &utc.tm_sec);
    utc.tm_year -= 1900;
    utc.tm_mon -= 1;
    struct tm asked = utc;
    int64_t seconds = timegm(&utc), nanos = 0, offset;
    if (utc.tm_mon != asked.tm_mon || utc.tm_mday != asked.tm_mday ||
        utc.tm_hour != asked.tm_hour || utc.tm_min != asked.tm_min || asked.tm_sec > 59)
        return false; /* no such day or hour: timegm moved it */
    text += sizeof shape - 1;
    if (*text == '.') {
        int64_t unit = DURATION_SECOND / 10;
        if (text[1] < '0' || text[1] > '9')
            return false;
        for (text++; *text >= '0' && *text <= '9'; text++, unit /= 10)
            nanos += (*text - '0') * unit;
    }
    if (!parse_offset(text, &offset) ||
        __builtin_mul_overflow(seconds - offset, DURATION_SECOND, &seconds) ||
        __builtin_add_overflow(seconds, nanos, &seconds))
        return false;
    *ret_realtime_ns = seconds;
    return true;
}
