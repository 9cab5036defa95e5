/* /v1/connect/intentions: editing. Each edit is one of a source in the entry of its destination. */
#include <string.h>
#include <strings.h>

#include "base/duration.h"
#include "base/ident.h"
#include "base/text.h"
#include "http/handlers.h"
#include "http/intentions.h"
#include "proto/codec_tables.h"
#include "proto/proto.h"

enum edit_how { EDIT_CREATE, EDIT_BY_ID, EDIT_EXACT, DELETE_BY_ID, DELETE_EXACT };

struct edit {
    enum edit_how how;
    const char *id;
    struct tenancy tenancy;
    const char *destination;
    Pb__SourceIntention *source; /* for DELETE_EXACT: its name and peer */
};

/* ---- entries ---- */

static const struct config_kind *kind(void)
{
    return config_kind_find("service-intentions", NULL);
}

/* A copy with room for one source more; a new one if there is none. */
static Pb__ServiceIntentionsEntry *copy_entry(struct txn *txn, const struct edit *edit,
                                              struct arena *arena)
{
    const struct record *record =
        config_entry_get(txn_view(txn), kind(), &edit->tenancy, edit->destination);
    Pb__ServiceIntentionsEntry *entry;
    if (record != NULL) {
        entry = proto_copy(record->message, arena);
    } else {
        entry = proto_new(arena, pb__service_intentions_entry);
        entry->kind = "service-intentions";
        entry->name = (char *)edit->destination;
        if (!text_empty(edit->tenancy.namespace))
            entry->namespace_ = (char *)edit->tenancy.namespace;
    }
    Pb__SourceIntention **sources = proto_array(arena, entry->n_sources + 1);
    for (size_t i = 0; i < entry->n_sources; i++)
        sources[i] = entry->sources[i];
    entry->sources = sources;
    return entry;
}

static bool store_entry(struct txn *txn, Pb__ServiceIntentionsEntry *entry,
                        const struct tenancy *tenancy, struct arena *arena, struct error *error)
{
    if (entry->n_sources == 0)
        return config_entry_delete(txn, kind(), tenancy, entry->name, NULL, error);
    return kind()->validate(entry, arena, error) &&
           config_entry_put(txn, kind(), entry, NULL, error);
}

static bool remove_source(struct txn *txn, struct edit *edit, const struct intention_place *place,
                          struct arena *arena, struct error *error)
{
    edit->destination = place->entry->name;
    Pb__ServiceIntentionsEntry *entry = copy_entry(txn, edit, arena);
    entry->n_sources--;
    memmove(&entry->sources[place->source], &entry->sources[place->source + 1],
            (entry->n_sources - place->source) * sizeof entry->sources[0]);
    return store_entry(txn, entry, &edit->tenancy, arena, error);
}

/* The id and the times by which the legacy endpoints show it. */
static void mark_source(const struct edit *edit, const struct intention_place *former)
{
    Pb__SourceIntention *source = edit->source;
    int64_t now = clock_realtime_ns();
    source->legacy_id = (char *)edit->id;
    source->legacy_update_time = source->legacy_create_time = now;
    if (former == NULL)
        return;
    const Pb__SourceIntention *before = former->entry->sources[former->source];
    source->legacy_create_time = before->legacy_create_time;
    source->legacy_id = before->legacy_id;
    if (text_empty(before->legacy_id)) /* the entry was written as such, without times */
        source->legacy_update_time = source->legacy_create_time = 0;
}

/* In the place of the former one, or at the end if there is none or it is of another entry. */
static bool put_source(struct txn *txn, const struct edit *edit,
                       const struct intention_place *former, struct arena *arena,
                       struct error *error)
{
    Pb__ServiceIntentionsEntry *entry = copy_entry(txn, edit, arena);
    mark_source(edit, former);
    if (former != NULL && text_equal(former->entry->name, edit->destination))
        entry->sources[former->source] = edit->source;
    else
        entry->sources[entry->n_sources++] = edit->source;
    return store_entry(txn, entry, &edit->tenancy, arena, error);
}

/* ---- edits ---- */

static bool find_target(struct txn *txn, const struct edit *edit, struct intention_place *place)
{
    struct view *view = txn_view(txn);
    if (edit->how == EDIT_BY_ID || edit->how == DELETE_BY_ID)
        return intention_find_id(view, &edit->tenancy, edit->id, place);
    return intention_find_exact(view, &edit->tenancy, edit->source->peer, edit->source->name,
                                edit->destination, place);
}

/* By id: the destination may have changed, and then it moves. */
static bool replace_by_id(struct txn *txn, struct edit *edit, const struct intention_place *place,
                          struct arena *arena, struct error *error)
{
    if (text_equal(place->entry->name, edit->destination))
        return put_source(txn, edit, place, arena, error);
    struct edit removal = *edit;
    return remove_source(txn, &removal, place, arena, error) &&
           put_source(txn, edit, place, arena, error);
}

static bool apply_edit(struct txn *txn, void *arg, struct error *error)
{
    struct api_request *request = arg;
    struct edit *edit = request->state;
    struct intention_place place;
    bool found = find_target(txn, edit, &place);
    switch (edit->how) {
    case EDIT_CREATE:
        if (found)
            return error_set(error, ERR_INTERNAL,
                             "duplicate intention found: source \"%s\", destination \"%s\"",
                             edit->source->name, edit->destination);
        return put_source(txn, edit, NULL, request->arena, error);
    case EDIT_EXACT:
        if (request->api->config.default_allow)
            request->warning = intention_warning(edit->source, request->arena);
        return put_source(txn, edit, found ? &place : NULL, request->arena, error);
    case EDIT_BY_ID:
        if (!found)
            return error_set(error, ERR_NOT_FOUND, "Cannot modify non-existent intention: '%s'",
                             edit->id);
        return replace_by_id(txn, edit, &place, request->arena, error);
    case DELETE_BY_ID:
    case DELETE_EXACT:
        break;
    }
    if (found)
        return remove_source(txn, edit, &place, request->arena, error);
    return edit->how == DELETE_EXACT ||
           error_set(error, ERR_NOT_FOUND, "Cannot delete non-existent intention: '%s'", edit->id);
}

/* ---- bodies ---- */

static const char *text_of(json_t *body, const char *name, struct arena *arena)
{
    const char *key;
    json_t *value;
    json_object_foreach(body, key, value)
    {
        if (strcasecmp(key, name) == 0 && json_is_string(value))
            return arena_strdup(arena, json_string_value(value));
    }
    return "";
}

/* False after having refused. */
static bool read_permissions(struct api_request *request, struct edit *edit, json_t *body)
{
    const char *key;
    json_t *value, *given = NULL;
    json_object_foreach(body, key, value)
    {
        if (strcasecmp(key, "Permissions") == 0)
            given = value;
    }
    if (given == NULL || json_is_null(given))
        return true;
    struct error error = {0};
    json_t *alone = json_pack("{s:O}", "Permissions", given);
    const Pb__SourceIntention *read =
        codec_read(&pb__source_intention__codec, alone, CODEC_WEAK, request->arena, &error);
    json_decref(alone);
    if (read == NULL) {
        error_prefix(&error, "Request decode failed: ");
        api_finish(request, &error);
        return false;
    }
    if (read->n_permissions > 0 && edit->how != EDIT_EXACT) {
        api_answer_error(request, 500,
                         "Permissions must not be set when using the legacy APIs: use PUT "
                         "/v1/connect/intentions/exact, or a service-intentions config entry");
        return false;
    }
    edit->source->n_permissions = read->n_permissions;
    edit->source->permissions = read->permissions;
    return true;
}

/* What the names in the body do not say stays as it is in `edit`. */
static bool read_body(struct api_request *request, struct edit *edit)
{
    static const char *const known[] = {"ID",
                                        "Description",
                                        "SourceNS",
                                        "SourceName",
                                        "SourcePartition",
                                        "SourcePeer",
                                        "SourceSamenessGroup",
                                        "SourceType",
                                        "DestinationNS",
                                        "DestinationName",
                                        "DestinationPartition",
                                        "Action",
                                        "Permissions",
                                        "DefaultAddr",
                                        "DefaultPort",
                                        "Meta",
                                        "Precedence",
                                        "CreatedAt",
                                        "UpdatedAt",
                                        "Hash",
                                        "CreateIndex",
                                        "ModifyIndex",
                                        NULL};
    json_t *body = api_read_body(request);
    if (body == NULL)
        return false;
    struct error error = {0};
    if (!api_check_keys(body, known, &error)) {
        json_decref(body);
        api_finish(request, &error);
        return false;
    }
    struct arena *arena = request->arena;
    Pb__SourceIntention *source = proto_new(arena, pb__source_intention);
    const char *name = text_of(body, "SourceName", arena);
    const char *destination = text_of(body, "DestinationName", arena);
    const char *namespace = text_of(body, "DestinationNS", arena);
    source->name = (char *)(*name == '\0' && edit->source != NULL ? edit->source->name : name);
    const char *peer = text_of(body, "SourcePeer", arena);
    source->peer = (char *)(*peer == '\0' && edit->source != NULL ? edit->source->peer : peer);
    source->action = (char *)text_of(body, "Action", arena);
    source->type = (char *)text_of(body, "SourceType", arena);
    source->description = (char *)text_of(body, "Description", arena);
    const char *source_namespace = text_of(body, "SourceNS", arena);
    if (!text_equal(source_namespace, "default"))
        source->namespace_ = (char *)source_namespace;
    if (*destination != '\0')
        edit->destination = destination;
    if (*namespace != '\0' && !text_equal(namespace, "default"))
        edit->tenancy.namespace = namespace;
    edit->source = source;
    bool fine = read_permissions(request, edit, body);
    json_decref(body);
    if (!fine)
        return false;
    if (*source->name == '\0' || text_empty(edit->destination)) {
        api_answer_error(request, 400, "SourceName and DestinationName must be set");
        return false;
    }
    return true;
}

static struct edit *new_edit(struct api_request *request, enum edit_how how)
{
    struct edit *edit = arena_alloc(request->arena, sizeof *edit);
    edit->how = how;
    edit->id = "";
    edit->tenancy = request->tenancy;
    request->state = edit;
    return edit;
}

void api_intentions_create(struct api_request *request)
{
    struct edit *edit = new_edit(request, EDIT_CREATE);
    if (!read_body(request, edit))
        return;
    char id[UUID_TEXT_MAX];
    edit->id = arena_strdup(request->arena, uuid_generate(id));
    request->success = arena_printf(request->arena, "{\"ID\":\"%s\"}", edit->id);
    api_commit(request, apply_edit);
}

static bool take_id(struct api_request *request, struct edit *edit)
{
    edit->id = request->argument;
    if (uuid_valid(edit->id))
        return true;
    api_answer_error(request, 400,
                     "failed config entry lookup: index error: UUID must be 36 characters");
    return false;
}

void api_intentions_update(struct api_request *request)
{
    struct edit *edit = new_edit(request, EDIT_BY_ID);
    if (!take_id(request, edit) || !read_body(request, edit))
        return;
    request->success = arena_printf(request->arena, "{\"ID\":\"%s\"}", edit->id);
    api_commit(request, apply_edit);
}

void api_intentions_delete(struct api_request *request)
{
    struct edit *edit = new_edit(request, DELETE_BY_ID);
    if (!take_id(request, edit))
        return;
    request->success = "true";
    api_commit(request, apply_edit);
}

static bool take_pair(struct api_request *request, struct edit *edit)
{
    struct intention_pair pair;
    struct error error = {0};
    if (!intention_read_pair(request, &pair, &error)) {
        api_finish(request, &error);
        return false;
    }
    edit->source = proto_new(request->arena, pb__source_intention);
    edit->source->name = (char *)pair.source;
    edit->source->peer = (char *)pair.peer;
    edit->destination = pair.destination;
    edit->tenancy = pair.tenancy;
    return true;
}

void api_intentions_put_exact(struct api_request *request)
{
    struct edit *edit = new_edit(request, EDIT_EXACT);
    if (!take_pair(request, edit) || !read_body(request, edit))
        return;
    request->success = "true";
    api_commit(request, apply_edit);
}

void api_intentions_delete_exact(struct api_request *request)
{
    struct edit *edit = new_edit(request, DELETE_EXACT);
    if (!take_pair(request, edit))
        return;
    request->success = "true";
    api_commit(request, apply_edit);
}
