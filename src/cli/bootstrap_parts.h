/* What bootstrap.c puts together; each from the spec alone. */
#pragma once

#include "base/error.h"
#include "cli/bootstrap.h"

#define TYPE_PREFIX "type.googleapis.com/envoy."

/* A new reference in each. */

json_t *bootstrap_socket_address(const char *address, uint16_t port);
json_t *bootstrap_static_cluster(const char *name, const char *timeout, json_t *address);
/* Adds the typed options that make a cluster speak "http_protocol_options" or
 * "http2_protocol_options". */
void bootstrap_set_protocol(json_t *cluster, const char *protocol);

json_t *bootstrap_stats_config(const struct bootstrap_spec *spec);

/* Where statistics are sent; an array, empty if nowhere. NULL: `error` says why. */
json_t *bootstrap_stats_sinks(const struct bootstrap_spec *spec, struct error *error);

/* Listeners that show a part of the admin port, with their clusters and secrets: added to
 * static_resources. */
bool bootstrap_add_admin_listeners(const struct bootstrap_spec *spec, json_t *resources,
                                   struct error *error);

/* A key of the opaque configuration, "" if it is not there. False, if it is no text. */
bool bootstrap_text(const struct bootstrap_spec *spec, const char *key, const char **ret_text,
                    struct error *error);
