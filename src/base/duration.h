/* Durations and points in time as Consul's users write and read them.
 * A duration is nanoseconds in an int64_t, written in Go's notation: "1h2m3.5s", "250ms", "0s". */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define DURATION_MS INT64_C(1000000)
#define DURATION_SECOND INT64_C(1000000000)
#define DURATION_MINUTE (60 * DURATION_SECOND)
#define DURATION_HOUR (60 * DURATION_MINUTE)

#define DURATION_TEXT_MAX 40
#define TIMESTAMP_TEXT_MAX 40

/* Takes "10s", "1.5h", "-3ms", "0"; false for anything else, or on overflow. */
bool duration_parse(const char *text, int64_t *ret_ns);
/* `text` has room for DURATION_TEXT_MAX; returns it. Go's spelling: 90 s is "1m30s". */
char *duration_format(int64_t ns, char *text);

int64_t clock_realtime_ns(void);  /* since 1970 */
int64_t clock_monotonic_ns(void); /* for measuring and deadlines */

/* RFC 3339 in UTC, with up to nine fractional digits and no trailing zeros. `text` has room for
 * TIMESTAMP_TEXT_MAX; returns it. */
char *timestamp_format(int64_t realtime_ns, char *text);
/* The reverse: any offset from UTC, at most nine fractional digits are kept. */
bool timestamp_parse(const char *text, int64_t *ret_realtime_ns);
