#include "config/access_log.h"

#include <string.h>

#include "base/text.h"
#include "text/json.h"

#define refuse(error, ...) error_set((error), ERR_INTERNAL, __VA_ARGS__)

static const struct {
    const char *key, *value;
} default_format[] = {
    {"start_time", "%START_TIME%"},
    {"route_name", "%ROUTE_NAME%"},
    {"method", "%REQ(:METHOD)%"},
    {"path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"},
    {"protocol", "%PROTOCOL%"},
    {"response_code", "%RESPONSE_CODE%"},
    {"response_flags", "%RESPONSE_FLAGS%"},
    {"response_code_details", "%RESPONSE_CODE_DETAILS%"},
    {"connection_termination_details", "%CONNECTION_TERMINATION_DETAILS%"},
    {"bytes_received", "%BYTES_RECEIVED%"},
    {"bytes_sent", "%BYTES_SENT%"},
    {"duration", "%DURATION%"},
    {"upstream_service_time", "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%"},
    {"x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"},
    {"user_agent", "%REQ(USER-AGENT)%"},
    {"request_id", "%REQ(X-REQUEST-ID)%"},
    {"authority", "%REQ(:AUTHORITY)%"},
    {"upstream_host", "%UPSTREAM_HOST%"},
    {"upstream_cluster", "%UPSTREAM_CLUSTER%"},
    {"upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%"},
    {"downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"},
    {"downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"},
    {"requested_server_name", "%REQUESTED_SERVER_NAME%"},
    {"upstream_transport_failure_reason", "%UPSTREAM_TRANSPORT_FAILURE_REASON%"},
};

static bool check_json(const char *text, struct error *error)
{
    struct error reason = {0};
    json_t *format = json_parse(text, strlen(text), NULL, &reason);
    bool object = json_is_object(format);
    if (format == NULL)
        refuse(error, "invalid access log json for JSON format: %s", reason.message);
    else if (!object)
        refuse(error, "invalid access log json for JSON format: it must be an object");
    json_decref(format);
    return object;
}

bool access_log_check(const Pb__AccessLogsConfig *logs, struct error *error)
{
    if (logs == NULL)
        return true;
    bool to_file = strcmp(logs->type, "file") == 0, has_path = logs->path[0] != '\0';
    if (logs->type[0] != '\0' && !to_file && strcmp(logs->type, "stderr") != 0 &&
        strcmp(logs->type, "stdout") != 0)
        return refuse(error, "invalid access log type: %s: use file, stderr or stdout", logs->type);
    if (to_file && !has_path)
        return refuse(error, "path must be specified when using file type access logs");
    if (!to_file && has_path)
        return refuse(error, "path is only valid for file type access logs");
    if (logs->json_format[0] != '\0' && logs->text_format[0] != '\0')
        return refuse(error, "cannot specify both access log JSONFormat and TextFormat");
    return logs->json_format[0] == '\0' || check_json(logs->json_format, error);
}

json_t *access_log_json_format(const char *json_format, const char *text_format)
{
    if (!text_empty(text_format))
        return NULL;
    if (!text_empty(json_format)) {
        json_t *format = json_parse(json_format, strlen(json_format), NULL, NULL);
        if (json_is_object(format))
            return format;
        json_decref(format);
    }
    json_t *format = json_object();
    for (size_t i = 0; i < sizeof default_format / sizeof *default_format; i++)
        json_object_set_new(format, default_format[i].key, json_string(default_format[i].value));
    return format;
}
