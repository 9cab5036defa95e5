/* Finding, judging and becoming an Envoy. Private to `connect envoy`. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"

/* Full path of the binary: `given`, or `envoy` on PATH. Fresh memory; NULL with words. */
char *envoy_find(const char *given, struct error *error);

struct envoy_version {
    unsigned major, minor, patch;
};
bool envoy_read_version(const char *binary, struct envoy_version *ret_version, struct error *error);
/* False for versions that can't work. `ret_untested` tells of those that may. */
bool envoy_version_works(const struct envoy_version *version, bool *ret_untested);

/* Replaces this process by Envoy, which reads the bootstrap from a FIFO that is gone once it is
 * read: the token in it is in no file and no argument list. Returns only on failure. `arguments`
 * ends with NULL. */
void envoy_exec(const char *binary, const json_t *bootstrap, char *const *arguments,
                struct error *error);
