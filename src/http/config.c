/* /v1/config and /v1/exported-services. */
#include "chain/chain.h"
#include "config/entry.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "http/handlers.h"
#include "intention/intention.h"
#include "text/json.h"

/* ---- reading ---- */

/* The record's JSON with a Hash before its indexes, as Consul shows entries. The hash is of the
 * text, not of Go's struct: it changes when the entry does. */
static void write_entry(struct buffer *body, const struct record *record)
{
    size_t length;
    const char *json = record_json(record, &length);
    char tail[96];
    int tail_length =
        snprintf(tail, sizeof tail, "\"CreateIndex\":%" PRIu64 ",\"ModifyIndex\":%" PRIu64,
                 record->create_index, record->modify_index);
    size_t fields = length - (size_t)tail_length;
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < fields; i++)
        hash = (hash ^ (unsigned char)json[i]) * 1099511628211u;
    buffer_add_byte(body, '{');
    buffer_add(body, json, fields);
    buffer_printf(body, "\"Hash\":%" PRIu64 ",%s}", hash, tail);
}

/* Splits "kind/name"; the name is "" if there is none. */
static const char *split_kind(struct api_request *request, const char **ret_name)
{
    const char *slash = strchr(request->argument, '/');
    *ret_name = slash == NULL ? "" : slash + 1;
    return slash == NULL ? request->argument
                         : arena_strndup(request->arena, request->argument,
                                         (size_t)(slash - request->argument));
}

static void list_entries(struct api_request *request, struct view *view, struct reply *reply,
                         const struct config_kind *kind)
{
    struct buffer key = {0};
    size_t count;
    const struct record *const *records =
        view_list(view, kind->table, BY_TENANCY, key_all(&key, &request->tenancy), &count);
    buffer_free(&key);
    buffer_add_byte(reply->body, '[');
    for (size_t i = 0; i < count; i++) {
        reply_comma(reply->body);
        write_entry(reply->body, records[i]);
    }
    buffer_add_byte(reply->body, ']');
}

void api_config_get(struct api_request *request, struct view *view, struct reply *reply)
{
    const char *name, *kind_name = split_kind(request, &name);
    struct error error = {0};
    const struct config_kind *kind = config_kind_find(kind_name, &error);
    if (kind == NULL && error.code != ERR_UNSUPPORTED) {
        reply_error(reply, api_status_of(&error), "%s", error.message);
        return;
    }
    /* Of a kind that cannot be written yet there is nothing. */
    if (*name == '\0' && kind != NULL) {
        list_entries(request, view, reply, kind);
        return;
    }
    if (*name == '\0') {
        buffer_add_text(reply->body, "[]");
        return;
    }
    const struct record *record =
        kind == NULL ? NULL : config_entry_get(view, kind, &request->tenancy, name);
    if (record == NULL)
        reply_error(reply, 404, "Config entry not found for \"%s\" / \"%s\"", kind_name, name);
    else
        write_entry(reply->body, record);
}

/* ---- writing ---- */

struct change {
    const struct config_kind *kind;
    const void *entry;
    const char *name;
    const uint64_t *cas;
};

static bool put_entry(struct txn *txn, void *arg, struct error *error)
{
    const struct api_request *request = arg;
    const struct change *change = request->state;
    return chain_entry_put(txn, change->kind, change->entry, change->cas, error);
}

void api_config_put(struct api_request *request)
{
    struct change *change = arena_alloc(request->arena, sizeof *change);
    if (!api_read_cas(request, &change->cas))
        return;
    json_t *body = api_read_body_as(request, "Request decoding failed: ");
    if (body == NULL)
        return;
    struct error error = {0};
    change->entry = config_entry_read(body, CODEC_WEAK, &change->kind, request->arena, &error);
    json_decref(body);
    if (change->entry == NULL) {
        if (error.code == ERR_INVALID)
            error_prefix(&error, "Request decoding failed: ");
        api_finish(request, &error);
        return;
    }
    if (change->kind->table == TABLE_SERVICE_INTENTIONS && request->api->config.default_allow)
        request->warning = intention_entry_warning(change->entry, request->arena);
    request->state = change;
    request->success = "true";
    api_commit(request, put_entry);
}

static bool delete_entry(struct txn *txn, void *arg, struct error *error)
{
    const struct api_request *request = arg;
    const struct change *change = request->state;
    return chain_entry_delete(txn, change->kind, &request->tenancy, change->name, change->cas,
                              error);
}

void api_config_delete(struct api_request *request)
{
    struct change *change = arena_alloc(request->arena, sizeof *change);
    if (!api_read_cas(request, &change->cas))
        return;
    const char *kind_name = split_kind(request, &change->name);
    if (*change->name == '\0') {
        api_answer_error(request, 404, "Must provide both a kind and name to delete");
        return;
    }
    request->success = change->cas == NULL ? "{}" : "true";
    struct error error = {0};
    change->kind = config_kind_find(kind_name, &error);
    if (change->kind == NULL) {
        if (error.code == ERR_UNSUPPORTED)
            api_finish(request, NULL);
        else
            api_answer_error(request, 400, "%s", error.message);
        return;
    }
    request->state = change;
    api_commit(request, delete_entry);
}

/* ---- who may see what ---- */

/* Every peer that an entry names. */
static struct text_list consumers(struct view *view, const struct tenancy *tenancy)
{
    struct text_list peers = {0};
    struct buffer key = {0};
    size_t count;
    const struct record *const *records =
        view_list(view, TABLE_EXPORTED_SERVICES, BY_TENANCY, key_all(&key, tenancy), &count);
    buffer_free(&key);
    for (size_t i = 0; i < count; i++) {
        const Pb__ExportedServicesEntry *entry = records[i]->message;
        for (size_t j = 0; j < entry->n_services; j++) {
            for (size_t k = 0; k < entry->services[j]->n_consumers; k++) {
                const char *peer = entry->services[j]->consumers[k]->peer;
                if (!text_empty(peer))
                    text_list_add(&peers, peer);
            }
        }
    }
    text_list_sort(&peers);
    return peers;
}

static void write_peers(struct buffer *body, const struct text_list *peers)
{
    for (size_t i = 0; i < peers->count; i++) {
        reply_comma(body);
        json_write_string(body, peers->items[i]);
    }
}

void api_config_exported(struct api_request *request, struct view *view, struct reply *reply)
{
    const struct tenancy tenancy = TENANCY_DEFAULT; /* one entry for a partition */
    struct text_list peers = consumers(view, &tenancy), names = {0};
    for (size_t i = 0; i < peers.count; i++) {
        struct text_list exported = config_exported_services(view, &tenancy, peers.items[i]);
        for (size_t j = 0; j < exported.count; j++)
            text_list_add(&names, exported.items[j]);
        text_list_free(&exported);
    }
    text_list_sort(&names);
    (void)request;
    buffer_add_byte(reply->body, '[');
    for (size_t i = 0; i < names.count; i++) {
        struct text_list to = config_exported_to(view, &tenancy, names.items[i]);
        reply_comma(reply->body);
        buffer_add_text(reply->body, "{\"Service\":");
        json_write_string(reply->body, names.items[i]);
        buffer_add_text(reply->body, ",\"Consumers\":{\"Peers\":[");
        write_peers(reply->body, &to);
        buffer_add_text(reply->body, "]}}");
        text_list_free(&to);
    }
    buffer_add_byte(reply->body, ']');
    text_list_free(&names);
    text_list_free(&peers);
}
