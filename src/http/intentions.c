/* /v1/connect/intentions: reading. */
#include "http/intentions.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/duration.h"
#include "base/ident.h"
#include "base/text.h"
#include "http/handlers.h"
#include "proto/codec_tables.h"
#include "text/json.h"

/* ---- looking for one ---- */

static const struct record *const *all_entries(struct view *view, const struct tenancy *tenancy,
                                               size_t *ret_count)
{
    struct buffer key = {0};
    const struct record *const *records =
        view_list(view, TABLE_SERVICE_INTENTIONS, BY_TENANCY, key_all(&key, tenancy), ret_count);
    buffer_free(&key);
    return records;
}

bool intention_find_id(struct view *view, const struct tenancy *tenancy, const char *id,
                       struct intention_place *ret_place)
{
    size_t count;
    const struct record *const *records = all_entries(view, tenancy, &count);
    for (size_t i = 0; i < count; i++) {
        const Pb__ServiceIntentionsEntry *entry = records[i]->message;
        for (size_t j = 0; j < entry->n_sources; j++) {
            if (!text_equal_nocase(entry->sources[j]->legacy_id, id))
                continue;
            *ret_place = (struct intention_place){records[i], entry, j};
            return true;
        }
    }
    return false;
}

bool intention_find_exact(struct view *view, const struct tenancy *tenancy, const char *peer,
                          const char *source, const char *destination,
                          struct intention_place *ret_place)
{
    const struct config_kind *kind = config_kind_find("service-intentions", NULL);
    const struct record *record = config_entry_get(view, kind, tenancy, destination);
    const Pb__ServiceIntentionsEntry *entry = record == NULL ? NULL : record->message;
    for (size_t i = 0; entry != NULL && i < entry->n_sources; i++) {
        if (!text_equal(entry->sources[i]->name, source) ||
            !text_equal(entry->sources[i]->peer, peer))
            continue;
        *ret_place = (struct intention_place){record, entry, i};
        return true;
    }
    return false;
}

const char *intention_split_name(const char *name, struct arena *arena, struct tenancy *tenancy)
{
    const char *last = strrchr(name, '/');
    if (last == NULL)
        return name;
    const char *namespace = name;
    for (const char *at = name; at < last; at++) {
        if (*at == '/')
        namespace = at + 1;
    }
    tenancy->namespace = arena_strndup(arena, namespace, (size_t)(last - namespace));
    return last + 1;
}

/* ---- as JSON ---- */

static void write_member(struct buffer *body, const char *key, const char *text)
{
    reply_comma(body);
    buffer_printf(body, "\"%s\":", key);
    json_write_string(body, text);
}

static void write_time(struct buffer *body, const char *key, int64_t time_ns)
{
    char text[TIMESTAMP_TEXT_MAX];
    if (time_ns != 0)
        write_member(body, key, timestamp_format(time_ns, text));
}

static const char *or_default(const char *namespace)
{
    return text_empty(namespace) ? "default" : namespace;
}

static void write_meta(struct buffer *body, const Pb__SourceIntention *source)
{
    if (source->n_legacy_meta == 0)
        return;
    buffer_add_text(body, ",\"Meta\":{");
    for (size_t i = 0; i < source->n_legacy_meta; i++)
        write_member(body, source->legacy_meta[i]->key, source->legacy_meta[i]->value);
    buffer_add_byte(body, '}');
}

/* One of the two. */
static void write_verdict(struct buffer *body, const Pb__SourceIntention *source)
{
    if (source->n_permissions == 0) {
        write_member(body, "Action", source->action);
        return;
    }
    buffer_add_text(body, ",\"Permissions\":[");
    for (size_t i = 0; i < source->n_permissions; i++) {
        reply_comma(body);
        codec_write(body, &pb__intention_permission__codec, source->permissions[i]);
    }
    buffer_add_byte(body, ']');
}

static void write_intention(struct buffer *body, const struct intention_place *place)
{
    const Pb__SourceIntention *source = place->entry->sources[place->source];
    reply_comma(body);
    buffer_add_byte(body, '{');
    if (!text_empty(source->legacy_id))
        write_member(body, "ID", source->legacy_id);
    if (!text_empty(source->description))
        write_member(body, "Description", source->description);
    write_member(body, "SourceNS", or_default(source->namespace_));
    write_member(body, "SourceName", source->name);
    write_member(body, "DestinationNS", or_default(place->entry->namespace_));
    write_member(body, "DestinationName", place->entry->name);
    if (!text_empty(source->peer))
        write_member(body, "SourcePeer", source->peer);
    write_member(body, "SourceType", text_empty(source->type) ? "consul" : source->type);
    write_verdict(body, source);
    write_meta(body, source);
    buffer_printf(body, ",\"Precedence\":%d",
                  (int)intention_precedence(source->name, place->entry->name));
    write_time(body, "CreatedAt", source->legacy_create_time);
    write_time(body, "UpdatedAt", source->legacy_update_time);
    buffer_printf(body, ",\"CreateIndex\":%" PRIu64 ",\"ModifyIndex\":%" PRIu64 "}",
                  place->record->create_index, place->record->modify_index);
}

/* By precedence, then by names. */
static int compare_places(const void *a, const void *b)
{
    const struct intention_place *left = a, *right = b;
    const Pb__SourceIntention *l = left->entry->sources[left->source];
    const Pb__SourceIntention *r = right->entry->sources[right->source];
    int32_t high = intention_precedence(l->name, left->entry->name);
    int32_t other = intention_precedence(r->name, right->entry->name);
    if (high != other)
        return high > other ? -1 : 1;
    int order = strcmp(l->peer, r->peer);
    if (order == 0)
        order = strcmp(l->name, r->name);
    return order != 0 ? order : strcmp(left->entry->name, right->entry->name);
}

typedef bool wanted_fn(const struct intention_place *place, const char *name);

/* All that are wanted, sorted, as a list. */
static void write_intentions(struct view *view, const struct tenancy *tenancy, struct buffer *body,
                             wanted_fn *wanted, const char *name)
{
    size_t count, total = 0, filled = 0;
    const struct record *const *records = all_entries(view, tenancy, &count);
    for (size_t i = 0; i < count; i++)
        total += ((const Pb__ServiceIntentionsEntry *)records[i]->message)->n_sources;
    struct intention_place *places = mem_array(total + 1, sizeof *places);
    for (size_t i = 0; i < count; i++) {
        struct intention_place place = {records[i], records[i]->message, 0};
        for (; place.source < place.entry->n_sources; place.source++) {
            if (wanted == NULL || wanted(&place, name))
                places[filled++] = place;
        }
    }
    qsort(places, filled, sizeof *places, compare_places);
    buffer_add_byte(body, '[');
    for (size_t i = 0; i < filled; i++)
        write_intention(body, &places[i]);
    buffer_add_byte(body, ']');
    free(places);
}

/* ---- the routes ---- */

void api_intentions_list(struct api_request *request, struct view *view, struct reply *reply)
{
    write_intentions(view, &request->tenancy, reply->body, NULL, NULL);
}

static bool goes_to(const struct intention_place *place, const char *name)
{
    return text_equal(place->entry->name, name) || text_equal(place->entry->name, "*");
}

static bool comes_from(const struct intention_place *place, const char *name)
{
    const Pb__SourceIntention *source = place->entry->sources[place->source];
    return text_empty(source->peer) &&
           (text_equal(source->name, name) || text_equal(source->name, "*"));
}

void api_intentions_match(struct api_request *request, struct view *view, struct reply *reply)
{
    const char *by = http_query(request->http, "by", 0), *name;
    if (by == NULL) {
        reply_error(reply, 400, "required query parameter 'by' not set");
        return;
    }
    bool source = strcmp(by, "source") == 0;
    if (!source && strcmp(by, "destination") != 0) {
        reply_error(reply, 400, "'by' parameter must be one of 'source' or 'destination'");
        return;
    }
    if (text_empty(http_query(request->http, "name", 0))) {
        reply_error(reply, 400, "required query parameter 'name' not set");
        return;
    }
    struct arena *scratch = arena_new();
    buffer_add_byte(reply->body, '{');
    for (size_t i = 0; (name = http_query(request->http, "name", i)) != NULL; i++) {
        struct tenancy tenancy = request->tenancy;
        const char *service = intention_split_name(name, scratch, &tenancy);
        reply_comma(reply->body);
        json_write_string(reply->body, name);
        buffer_add_byte(reply->body, ':');
        write_intentions(view, &tenancy, reply->body, source ? comes_from : goes_to, service);
    }
    buffer_add_byte(reply->body, '}');
    arena_free(scratch);
}

bool intention_read_pair(struct api_request *request, struct intention_pair *ret_pair,
                         struct error *error)
{
    const char *source = http_query(request->http, "source", 0);
    const char *destination = http_query(request->http, "destination", 0);
    if (text_empty(source) || text_empty(destination))
        return error_set(error, ERR_INVALID, "required query parameter '%s' not set",
                         text_empty(source) ? "source" : "destination");
    if (text_starts(destination, "peer:"))
        return error_set(error, ERR_INVALID,
                         "destination \"%s\" is invalid: intentions of a peer's service are "
                         "written at that peer",
                         destination);
    const char *peer = http_query(request->http, "source-peer", 0);
    const char *slash = strchr(source, '/');
    if (text_starts(source, "peer:")) {
        const char *begin = source + strlen("peer:");
        if (slash == NULL || slash == begin || slash[1] == '\0')
            return error_set(error, ERR_INVALID,
                             "source \"%s\" is invalid: write peer:<peer>/<service>", source);
        peer = arena_strndup(request->arena, begin, (size_t)(slash - begin));
        source = slash + 1;
    }
    struct tenancy of_source = request->tenancy;
    struct intention_pair pair = {.peer = peer == NULL ? "" : peer, .tenancy = request->tenancy};
    pair.source = intention_split_name(source, request->arena, &of_source);
    pair.destination = intention_split_name(destination, request->arena, &pair.tenancy);
    *ret_pair = pair;
    return true;
}

/* False after having refused. */
static bool read_pair(struct api_request *request, struct reply *reply, struct intention_pair *pair)
{
    struct error error = {0};
    bool fine = intention_read_pair(request, pair, &error);
    if (!fine)
        reply_error(reply, api_status_of(&error), "%s", error.message);
    return fine;
}

void api_intentions_check(struct api_request *request, struct view *view, struct reply *reply)
{
    struct intention_pair pair = {0};
    if (!read_pair(request, reply, &pair))
        return;
    bool allowed = intention_allows(view, &pair.tenancy, pair.peer, pair.source, pair.destination,
                                    request->api->config.default_allow, request->arena, NULL);
    buffer_printf(reply->body, "{\"Allowed\":%s}", allowed ? "true" : "false");
}

void api_intentions_exact(struct api_request *request, struct view *view, struct reply *reply)
{
    struct intention_pair pair = {0};
    if (!read_pair(request, reply, &pair))
        return;
    struct intention_place place;
    if (intention_find_exact(view, &pair.tenancy, pair.peer, pair.source, pair.destination, &place))
        write_intention(reply->body, &place);
    else
        reply_error(reply, 404, "Intention not found");
}

void api_intentions_get(struct api_request *request, struct view *view, struct reply *reply)
{
    struct intention_place place;
    if (!uuid_valid(request->argument))
        reply_error(reply, 400,
                    "failed config entry lookup: index error: UUID must be 36 characters");
    else if (intention_find_id(view, &request->tenancy, request->argument, &place))
        write_intention(reply->body, &place);
    else
        reply_error(reply, 404, "Intention not found");
}
