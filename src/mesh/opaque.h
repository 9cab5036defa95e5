/* Reading of opaque maps (`Proxy.Config`, `Upstream.Config`): JSON objects whose keys match without
 * regard to case, and whose values are decoded weakly, as Consul does: "8080" is a number, "true" a
 * boolean. A value that can't be read that way counts as absent and is reported. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"

struct opaque {
    json_t *object;          /* owned; NULL if there is none */
    struct buffer *problems; /* borrowed, may be NULL: one line for each value that was not usable */
};

struct opaque opaque_parse(const char *json, struct buffer *problems);
void opaque_clear(struct opaque *opaque);
json_t *opaque_get(const struct opaque *opaque, const char *key); /* borrowed; NULL if absent */
/* False, with the output untouched, if absent or unusable. */
bool opaque_int(const struct opaque *opaque, const char *key, int64_t min, int64_t max,
                int64_t *ret_value);
bool opaque_bool(const struct opaque *opaque, const char *key, bool *ret_value);
/* Nanoseconds, from "10s" or a number of nanoseconds. */
bool opaque_duration(const struct opaque *opaque, const char *key, int64_t *ret_ns);
const char *opaque_text(const struct opaque *opaque, const char *key); /* borrowed; NULL if absent */
/* A member object as an opaque map of its own (borrowed by a new reference; clear it). */
struct opaque opaque_object(const struct opaque *opaque, const char *key);
