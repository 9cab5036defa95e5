/* What a listener and its filters write of connections and requests (reference: xds.md 2.2). */
#include "config/access_log.h"
#include "base/text.h"
#include "envoy/access_log.pb-c.h"
#include "envoy/file_access_log.pb-c.h"
#include "envoy/stream_access_log.pb-c.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/struct.pb-c.h"
#include "xds/build.h"

static Google__Protobuf__Value *value_of(struct arena *arena, const json_t *json);

static Google__Protobuf__Struct *struct_of(struct arena *arena, const json_t *json)
{
    Google__Protobuf__Struct *result = proto_new(arena, google__protobuf__struct);
    const char *key;
    json_t *member;
    result->fields = proto_array(arena, json_object_size(json));
    json_object_foreach((json_t *)(uintptr_t)json, key, member)
    {
        Google__Protobuf__Struct__FieldsEntry *entry =
            proto_new(arena, google__protobuf__struct__fields_entry);
        entry->key = arena_strdup(arena, key);
        entry->value = value_of(arena, member);
        result->fields[result->n_fields++] = entry;
    }
    return result;
}

static Google__Protobuf__ListValue *list_of(struct arena *arena, const json_t *json)
{
    Google__Protobuf__ListValue *list = proto_new(arena, google__protobuf__list_value);
    size_t count = json_array_size(json);
    list->values = proto_array(arena, count);
    for (; list->n_values < count; list->n_values++)
        list->values[list->n_values] = value_of(arena, json_array_get(json, list->n_values));
    return list;
}

/* The JSON was parsed with a limit on its depth. */
static Google__Protobuf__Value *value_of(struct arena *arena, const json_t *json)
{
    Google__Protobuf__Value *value = proto_new(arena, google__protobuf__value);
    if (json_is_object(json)) {
        value->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE;
        value->struct_value = struct_of(arena, json);
    } else if (json_is_array(json)) {
        value->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE;
        value->list_value = list_of(arena, json);
    } else if (json_is_string(json)) {
        value->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE;
        value->string_value = arena_strdup(arena, json_string_value(json));
    } else if (json_is_number(json)) {
        value->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE;
        value->number_value = json_number_value(json);
    } else if (json_is_boolean(json)) {
        value->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE;
        value->bool_value = json_is_true(json);
    } else {
        value->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_NULL_VALUE;
    }
    return value;
}

static Envoy__SubstitutionFormatString *format_of(struct arena *arena,
                                                  const Pb__AccessLogsConfig *logs)
{
    Envoy__SubstitutionFormatString *format = proto_new(arena, envoy__substitution_format_string);
    json_t *json = access_log_json_format(logs->json_format, logs->text_format);
    if (json == NULL) {
        const char *end = text_ends(logs->text_format, "\n") ? "" : "\n";
        format->format_case = ENVOY__SUBSTITUTION_FORMAT_STRING__FORMAT_TEXT_FORMAT_SOURCE;
        format->text_format_source =
            xds_inline(arena, arena_printf(arena, "%s%s", logs->text_format, end));
    } else {
        format->format_case = ENVOY__SUBSTITUTION_FORMAT_STRING__FORMAT_JSON_FORMAT;
        format->json_format = struct_of(arena, json);
        json_decref(json);
    }
    return format;
}

static Google__Protobuf__Any *sink_of(struct arena *arena, const Pb__AccessLogsConfig *logs)
{
    if (text_equal(logs->type, "file")) {
        Envoy__FileAccessLog *file = proto_new(arena, envoy__file_access_log);
        file->path = logs->path;
        file->access_log_format_case = ENVOY__FILE_ACCESS_LOG__ACCESS_LOG_FORMAT_LOG_FORMAT;
        file->log_format = format_of(arena, logs);
        return xds_any(arena, file);
    }
    if (text_equal(logs->type, "stderr")) {
        Envoy__StderrAccessLog *sink = proto_new(arena, envoy__stderr_access_log);
        sink->access_log_format_case = ENVOY__STDERR_ACCESS_LOG__ACCESS_LOG_FORMAT_LOG_FORMAT;
        sink->log_format = format_of(arena, logs);
        return xds_any(arena, sink);
    }
    Envoy__StdoutAccessLog *sink = proto_new(arena, envoy__stdout_access_log);
    sink->access_log_format_case = ENVOY__STDOUT_ACCESS_LOG__ACCESS_LOG_FORMAT_LOG_FORMAT;
    sink->log_format = format_of(arena, logs);
    return xds_any(arena, sink);
}

Envoy__AccessLog **xds_access_logs(struct xds_build *build, enum xds_log_place place,
                                   size_t *ret_count)
{
    const Pb__AccessLogsConfig *logs = build->snapshot->access_logs;
    struct arena *arena = build->arena;
    bool listener = place == XDS_LOG_LISTENER;
    *ret_count = 0;
    if (logs == NULL || !logs->enabled || (listener && logs->disable_listener_logs))
        return NULL;
    if (build->log_sink == NULL) /* the same for all */
        build->log_sink = sink_of(arena, logs);
    Envoy__AccessLog *log = proto_new(arena, envoy__access_log);
    log->config_type_case = ENVOY__ACCESS_LOG__CONFIG_TYPE_TYPED_CONFIG;
    log->typed_config = build->log_sink;
    log->name = xds_text(listener ? "Consul Listener Log" : "Consul Listener Filter Log");
    if (listener) { /* connections that no filter chain took; the filters tell of the others */
        log->filter = proto_new(arena, envoy__access_log_filter);
        log->filter->filter_specifier_case =
            ENVOY__ACCESS_LOG_FILTER__FILTER_SPECIFIER_RESPONSE_FLAG_FILTER;
        log->filter->response_flag_filter = proto_new(arena, envoy__response_flag_filter);
        log->filter->response_flag_filter->n_flags = 1;
        log->filter->response_flag_filter->flags = proto_array(arena, 1);
        log->filter->response_flag_filter->flags[0] = xds_text("NR");
    }
    Envoy__AccessLog **list = proto_array(arena, 1);
    list[0] = log;
    *ret_count = 1;
    return list;
}
