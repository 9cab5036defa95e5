/* Regular expressions for `matches`, in the syntax of Go's regexp package as far as Consul's
 * users write it: literals, `.`, classes, `\d \w \s \b` and their opposites, `^ $`, groups,
 * alternatives, `* + ? {m,n}`, and `(?i)` in front.
 *
 * Expressions come from strangers, and the C library's take exponential time and memory for some.
 * Here a pattern is a bounded program whose states are followed side by side, so matching takes
 * time in proportion to the text. There are no back-references. */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/memory.h"

#define PATTERN_LENGTH_MAX 512

struct pattern;

/* Lives in `arena`. */
struct pattern *pattern_compile(const char *text, struct arena *arena, struct error *error);
/* True if it matches somewhere in the text. */
bool pattern_match(const struct pattern *pattern, const char *text);
