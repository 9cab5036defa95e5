/* Permissions of intentions: rules on single HTTP requests. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "config/entry.h"
#include "config/validate.h"

#define refuse(error, ...) error_set((error), ERR_INTERNAL, __VA_ARGS__)

#define WHERE_MAX 120

/* ---- one permission ---- */

static bool check_paths(const Pb__IntentionHTTP *http, const char *where, struct error *error)
{
    int given = (http->path_exact[0] != '\0') + (http->path_prefix[0] != '\0') +
                (http->path_regex[0] != '\0');
    if (given > 1)
        return refuse(error,
                      "%s should only contain at most one of PathExact, PathPrefix, or PathRegex",
                      where);
    if (http->path_exact[0] != '\0' && http->path_exact[0] != '/')
        return refuse(error, "%s.PathExact doesn't start with '/': \"%s\"", where,
                      http->path_exact);
    if (http->path_prefix[0] != '\0' && http->path_prefix[0] != '/')
        return refuse(error, "%s.PathPrefix doesn't start with '/': \"%s\"", where,
                      http->path_prefix);
    char place[WHERE_MAX];
    snprintf(place, sizeof place, "%s.PathRegex", where);
    return config_check_regex(http->path_regex, place, error);
}

static bool check_header(const Pb__IntentionHTTPHeader *header, const char *where, size_t i,
                         struct error *error)
{
    bool text = header->exact[0] != '\0' || header->prefix[0] != '\0' ||
                header->suffix[0] != '\0' || header->contains[0] != '\0';
    int matchers = header->present + (header->exact[0] != '\0') + (header->prefix[0] != '\0') +
                   (header->suffix[0] != '\0') + (header->contains[0] != '\0') +
                   (header->regex[0] != '\0');
    if (header->name[0] == '\0')
        return refuse(error, "%s.Header[%zu] missing required Name field", where, i);
    if (matchers != 1)
        return refuse(error,
                      "%s.Header[%zu] should only contain one of Present, Exact, Prefix, Suffix, "
                      "Contains, or Regex",
                      where, i);
    if (header->ignore_case && !text)
        return refuse(error,
                      "%s.Header[%zu] should set one of Exact, Prefix, Suffix, or Contains when "
                      "using IgnoreCase",
                      where, i);
    char place[WHERE_MAX];
    snprintf(place, sizeof place, "%s.Header[%zu].Regex", where, i);
    return config_check_regex(header->regex, place, error);
}

static bool is_method(const char *text)
{
    static const char *const methods[] = {"GET",    "HEAD",    "POST",    "PUT",  "PATCH",
                                          "DELETE", "CONNECT", "OPTIONS", "TRACE"};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        if (strcmp(text, methods[i]) == 0)
            return true;
    }
    return false;
}

/* In capitals from here on. There are nine, so that more of them repeat one. */
static bool check_methods(const Pb__IntentionHTTP *http, const char *where, struct error *error)
{
    for (size_t i = 0; i < http->n_methods; i++) {
        char capitals[8];
        size_t length = strlen(http->methods[i]);
        for (size_t at = 0; at <= length && length < sizeof capitals; at++) {
            char c = http->methods[i][at];
            capitals[at] = (char)(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
        }
        if (length >= sizeof capitals || !is_method(capitals))
            return refuse(error, "%s.Methods contains an invalid method \"%s\"", where,
                          http->methods[i]);
        memcpy(http->methods[i], capitals, length);
        for (size_t j = 0; j < i; j++) {
            if (strcmp(http->methods[j], http->methods[i]) == 0)
                return refuse(error, "%s.Methods contains \"%s\" more than once", where,
                              http->methods[i]);
        }
    }
    return true;
}

static bool check_permission(const Pb__IntentionPermission *permission, const char *where,
                             struct error *error)
{
    const Pb__IntentionHTTP *http = permission->http;
    if (strcmp(permission->action, "allow") != 0 && strcmp(permission->action, "deny") != 0)
        return refuse(error, "%s.Action must be set to 'allow' or 'deny'", where);
    if (permission->jwt[0] != '\0')
        return refuse(error, "%s.JWT is not supported by this version of Pons: leave it out",
                      where);
    if (http == NULL)
        return refuse(error, "%s.HTTP is required", where);
    char place[WHERE_MAX];
    snprintf(place, sizeof place, "%s.HTTP", where);
    if (!check_paths(http, place, error))
        return false;
    for (size_t i = 0; i < http->n_header; i++) {
        if (!check_header(http->header[i], place, i, error))
            return false;
    }
    if (!check_methods(http, place, error))
        return false;
    bool empty = http->path_exact[0] == '\0' && http->path_prefix[0] == '\0' &&
                 http->path_regex[0] == '\0' && http->n_header == 0 && http->n_methods == 0;
    return !empty || refuse(error, "%s should not be empty", place);
}

bool config_check_permissions(const Pb__SourceIntention *source, const char *where,
                              struct error *error)
{
    if (source->action[0] != '\0')
        return refuse(error, "%sAction must be omitted if Permissions are specified", where);
    for (size_t i = 0; i < source->n_permissions; i++) {
        char place[WHERE_MAX];
        snprintf(place, sizeof place, "%sPermissions[%zu]", where, i);
        if (!check_permission(source->permissions[i], place, error))
            return false;
    }
    return true;
}

/* ---- and the protocol that they need ---- */

static bool has_permissions(const Pb__ServiceIntentionsEntry *entry)
{
    for (size_t i = 0; i < entry->n_sources; i++) {
        if (entry->sources[i]->n_permissions > 0)
            return true;
    }
    return false;
}

static bool check_protocol(struct view *view, const Pb__ServiceIntentionsEntry *entry,
                           struct error *error)
{
    if (!has_permissions(entry))
        return true;
    struct arena *arena = arena_new();
    struct tenancy tenancy = table_tenancy(TABLE_SERVICE_INTENTIONS, entry);
    const char *protocol = config_service_protocol(view, &tenancy, entry->name, arena);
    bool fine = config_protocol_is_http(protocol) ||
                refuse(error,
                       "service \"%s\" has protocol \"%s\", which is incompatible with L7 "
                       "intentions permissions",
                       entry->name, protocol);
    arena_free(arena);
    return fine;
}

/* The defaults of all services have changed. (In other namespaces than the default one nothing is
 * refused; permissions then let nobody through, as on every service without HTTP.) */
static bool check_all(struct view *view, const struct tenancy *tenancy, struct error *error)
{
    struct tenancy all = {.partition = tenancy->partition};
    struct buffer key = {0};
    size_t count;
    const struct record *const *records =
        view_list(view, TABLE_SERVICE_INTENTIONS, BY_TENANCY, key_all(&key, &all), &count);
    buffer_free(&key);
    for (size_t i = 0; i < count; i++) {
        if (!check_protocol(view, records[i]->message, error))
            return false;
    }
    return true;
}

bool config_check_permission_protocols(struct view *view, const struct config_kind *kind,
                                       const struct tenancy *tenancy, const char *name,
                                       struct error *error)
{
    static const struct config_kind intentions = {.table = TABLE_SERVICE_INTENTIONS};
    if (kind->table == TABLE_PROXY_DEFAULTS)
        return check_all(view, tenancy, error);
    if (kind->table != TABLE_SERVICE_DEFAULTS && kind->table != TABLE_SERVICE_INTENTIONS)
        return true;
    const struct record *record = config_entry_get(view, &intentions, tenancy, name);
    return record == NULL || check_protocol(view, record->message, error);
}
