/* Keys of a proxy's opaque configuration that hold JSON for Envoy's bootstrap, as a text each:
 *
 *     envoy_extra_static_clusters_json    objects with commas between them
 *     envoy_extra_static_listeners_json   likewise
 *     envoy_extra_stats_sinks_json        likewise
 *     envoy_stats_config_json             one object
 *     envoy_tracing_json                  one object
 *
 * They are read by `connect envoy`, where a mistake would stop a proxy that is about to start; so
 * they are looked at when they are written, too. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"

/* The value of one of the keys above; an array for the first three. A new reference, or NULL: not
 * given, or (with `error` set, and false) unusable. The message names the key and the place. */
bool config_read_envoy_json(const json_t *config, const char *key, json_t **ret_value,
                            struct error *error);

/* Whether all of them can be read; `config` is the JSON of the opaque map, or "". */
bool config_check_envoy_json(const char *config, struct error *error);
