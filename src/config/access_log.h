/* What proxies write of connections and requests (proxy-defaults' AccessLogs): shared by the
 * listeners that xDS gives to an Envoy and the bootstrap that the command line gives it. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"
#include "pons/config_entry.pb-c.h"

/* Refuses in Consul's words. NULL is fine. */
bool access_log_check(const Pb__AccessLogsConfig *logs, struct error *error);

/* The form of a line as JSON: the configured one, or the default one, which is Consul's. A new
 * reference; NULL if it is TextFormat's. */
json_t *access_log_json_format(const char *json_format, const char *text_format);
