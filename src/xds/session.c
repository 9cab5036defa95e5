#include "xds/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "base/text.h"
#include "envoy/discovery.pb-c.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/struct.pb-c.h"
#include "proto/proto.h"

#define VERSION_MAX 65
#define NAMES_MAX 200000u   /* of one type, that a proxy may name */
#define ENVOY_MINOR_MIN 31u /* of 1.x; older ones may eject a peer's only gateway */

static const struct proto_limits request_limits = {16u << 20, 1000000};

/* What the proxy is known to have of a name. */
struct entry {
    char version[VERSION_MAX]; /* acknowledged, or in flight; "": must be sent (again) */
    char
        refused[VERSION_MAX]; /* by the proxy: not sent again while nothing has changed; "": none */
    bool removed;             /* in flight: a removal */
    UT_hash_handle hh;
    char name[];
};

struct type_state {
    bool registered; /* the proxy has asked for this type */
    bool wildcard;   /* it wants all, and is told what is gone; else it wants `subscriptions` */
    bool answered;   /* it has answered a response of this type */
    struct entry *subscriptions;
    struct entry *known;
    bool in_flight; /* one response of a type at a time */
    char nonce[9];
    struct entry *pending; /* what the response in flight carries */
};

struct xds_session {
    const struct xds_session_handler *handler;
    void *arg;
    bool node_known;
    uint32_t nonces;
    struct xds_resources *resources; /* NULL before the first snapshot */
    struct type_state types[XDS_TYPE_COUNT];
};

static struct entry *find(struct entry *entries, const char *name)
{
    struct entry *entry;
    HASH_FIND_STR(entries, name, entry);
    return entry;
}

static struct entry *find_or_add(struct entry **entries, const char *name)
{
    struct entry *entry = find(*entries, name);
    if (entry != NULL)
        return entry;
    size_t length = strlen(name);
    entry = mem_zalloc(sizeof(*entry) + length + 1);
    memcpy(entry->name, name, length + 1);
    HASH_ADD_KEYPTR(hh, *entries, entry->name, length, entry);
    return entry;
}

static void drop(struct entry **entries, const char *name)
{
    struct entry *entry = find(*entries, name);
    if (entry == NULL)
        return;
    HASH_DEL(*entries, entry); /* NOLINT: clang 14 does not see that `entry` is in the table */
    free(entry);
}

static void drop_all(struct entry **entries)
{
    struct entry *entry, *next;
    HASH_ITER (hh, *entries, entry, next) {
        HASH_DEL(*entries, entry);
        free(entry);
    }
}

/* A version that is too long is none of ours: it stays "", so the resource is sent. */
static void set_version(char target[VERSION_MAX], const char *version)
{
    size_t length = strlen(version);
    target[0] = '\0';
    if (length < VERSION_MAX)
        memcpy(target, version, length + 1);
}

struct xds_session *xds_session_new(const struct xds_session_handler *handler, void *arg)
{
    struct xds_session *session = mem_zalloc(sizeof(*session));
    session->handler = handler;
    session->arg = arg;
    return session;
}

void xds_session_free(struct xds_session *session)
{
    if (session == NULL)
        return;
    for (int i = 0; i < XDS_TYPE_COUNT; i++) {
        drop_all(&session->types[i].subscriptions);
        drop_all(&session->types[i].known);
        drop_all(&session->types[i].pending);
    }
    xds_resources_free(session->resources);
    free(session);
}

/* ---- what to send ---- */

static int compare_name(const void *name, const void *resource)
{
    return strcmp(name, ((const struct xds_resource *)resource)->name);
}

static const struct xds_resource *find_resource(const struct xds_resource_list *list,
                                                const char *name)
{
    return list->count == 0
               ? NULL
               : bsearch(name, list->items, list->count, sizeof(*list->items), compare_name);
}

static bool wants(const struct type_state *state, const struct xds_resource *resource)
{
    if (!state->wildcard && find(state->subscriptions, resource->name) == NULL)
        return false;
    const struct entry *entry = find(state->known, resource->name);
    return entry == NULL || (strcmp(entry->version, resource->version) != 0 &&
                             strcmp(entry->refused, resource->version) != 0);
}

static void add_upserts(struct type_state *state, const struct xds_resource_list *list,
                        struct arena *arena, Envoy__DeltaDiscoveryResponse *response)
{
    response->resources = proto_array(arena, list->count);
    for (size_t i = 0; i < list->count; i++) {
        const struct xds_resource *resource = &list->items[i];
        if (!wants(state, resource))
            continue;
        Envoy__Resource *wrapped = proto_new(arena, envoy__resource);
        wrapped->name = resource->name;
        wrapped->version = (char *)(uintptr_t)resource->version;
        wrapped->resource = proto_new(arena, google__protobuf__any);
        wrapped->resource->type_url = response->type_url;
        wrapped->resource->value.data = resource->bytes;
        wrapped->resource->value.len = resource->length;
        response->resources[response->n_resources++] = wrapped;
        set_version(find_or_add(&state->pending, resource->name)->version, resource->version);
    }
}

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* By-name types get none: the proxy unsubscribes by itself when the parent goes. */
static void add_removals(struct type_state *state, const struct xds_resource_list *list,
                         struct arena *arena, Envoy__DeltaDiscoveryResponse *response)
{
    struct entry *entry, *next;
    if (!state->wildcard)
        return;
    response->removed_resources = proto_array(arena, HASH_COUNT(state->known));
    HASH_ITER (hh, state->known, entry, next) {
        if (find_resource(list, entry->name) != NULL)
            continue;
        response->removed_resources[response->n_removed_resources++] = entry->name;
        find_or_add(&state->pending, entry->name)->removed = true;
    }
    if (response->n_removed_resources > 0)
        qsort(response->removed_resources, response->n_removed_resources, sizeof(char *),
              compare_text);
}

/* The proxy drops what it has of `name` when its parent changes, and waits for it again. */
static void resend(struct type_state *state, const char *name)
{
    struct entry *entry = find(state->known, name);
    if (entry != NULL)
        entry->version[0] = entry->refused[0] = '\0';
    drop(&state->pending, name); /* a late acknowledgement must not make it current */
}

static void resend_children(struct xds_session *session, enum xds_type type)
{
    struct type_state *children;
    struct entry *entry, *next;
    if (type == XDS_CLUSTER)
        children = &session->types[XDS_ENDPOINT];
    else if (type == XDS_LISTENER)
        children = &session->types[XDS_ROUTE];
    else
        return;
    HASH_ITER (hh, session->types[type].pending, entry, next) {
        const struct xds_resource *resource =
            find_resource(&session->resources->types[type], entry->name);
        if (resource == NULL || resource->children == NULL)
            continue;
        for (char **child = resource->children; *child != NULL; child++)
            resend(children, *child);
    }
}

/* An empty answer lets a proxy that has nothing to wait for go on: one that has everything
 * already, or a gateway without any clusters. */
static bool needs_empty(const struct type_state *state, enum xds_type type,
                        const struct xds_resource_list *list)
{
    return state->wildcard && !state->answered && (list->count > 0 || type == XDS_CLUSTER);
}

static void send_type(struct xds_session *session, enum xds_type type, bool upsert, bool removal)
{
    struct type_state *state = &session->types[type];
    const struct xds_resource_list *list = &session->resources->types[type];
    if (!state->registered || state->in_flight)
        return;
    struct arena *arena = arena_new();
    Envoy__DeltaDiscoveryResponse *response = proto_new(arena, envoy__delta_discovery_response);
    response->type_url = (char *)(uintptr_t)xds_type_url(type);
    if (upsert)
        add_upserts(state, list, arena, response);
    if (removal)
        add_removals(state, list, arena, response);
    if (response->n_resources > 0 || response->n_removed_resources > 0 ||
        (upsert && needs_empty(state, type, list))) {
        struct buffer bytes = {0};
        snprintf(state->nonce, sizeof(state->nonce), "%08x", ++session->nonces);
        response->nonce = state->nonce;
        state->in_flight = true;
        resend_children(session, type);
        proto_pack(response, &bytes);
        session->handler->send(session->arg, (const uint8_t *)buffer_text(&bytes), bytes.length);
        buffer_free(&bytes);
    }
    arena_free(arena);
}

/* Make before break: what is referred to goes first and is removed last. */
static void send_changes(struct xds_session *session)
{
    static const struct {
        enum xds_type type;
        bool upsert, removal;
        bool gated; /* waits, with all behind it, until clusters and endpoints are acknowledged */
    } steps[] = {
        {XDS_SECRET, true, false, false},   {XDS_CLUSTER, true, false, false},
        {XDS_ENDPOINT, true, false, false}, {XDS_LISTENER, true, true, true},
        {XDS_ROUTE, true, true, true},      {XDS_CLUSTER, false, true, false},
        {XDS_ENDPOINT, false, true, false}, {XDS_SECRET, false, true, false},
    };
    if (session->resources == NULL)
        return;
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        if (steps[i].gated &&
            (session->types[XDS_CLUSTER].in_flight || session->types[XDS_ENDPOINT].in_flight))
            return;
        send_type(session, steps[i].type, steps[i].upsert, steps[i].removal);
    }
}

void xds_session_update(struct xds_session *session, struct xds_resources *resources)
{
    struct entry *entry, *next;
    xds_resources_free(session->resources);
    session->resources = resources;
    /* What was refused is tried again with every change: the cause may have been elsewhere. */
    for (int i = 0; i < XDS_TYPE_COUNT; i++) {
        HASH_ITER (hh, session->types[i].known, entry, next)
            entry->refused[0] = '\0';
    }
    send_changes(session);
}

/* ---- what is received ---- */

static const char *metadata_text(const Envoy__Node *node, const char *key)
{
    for (size_t i = 0; node->metadata != NULL && i < node->metadata->n_fields; i++) {
        const Google__Protobuf__Struct__FieldsEntry *field = node->metadata->fields[i];
        if (strcmp(field->key, key) == 0 && field->value != NULL &&
            field->value->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE)
            return field->value->string_value;
    }
    return "";
}

static bool check_version(const struct xds_node *node, struct error *error)
{
    if (strcmp(node->user_agent_name, "envoy") != 0 || node->version_major == 0 ||
        node->version_major > 1 || node->version_minor >= ENVOY_MINOR_MIN)
        return true;
    return error_set(error, ERR_INVALID,
                     "Envoy %u.%u.%u is too old and is not supported by Consul; use 1.%u or newer",
                     node->version_major, node->version_minor, node->version_patch,
                     ENVOY_MINOR_MIN);
}

/* Reads the node from the first request that has one. */
static bool receive_node(struct xds_session *session, const uint8_t *message, size_t length,
                         struct arena *arena, struct error *error)
{
    const Envoy__DeltaDiscoveryRequestNode *request =
        proto_unpack(&envoy__delta_discovery_request_node__descriptor, message, length,
                     &request_limits, arena, error);
    if (request == NULL)
        return false;
    const Envoy__Node *sent = request->node;
    if (sent == NULL)
        return true;
    if (sent->id[0] == '\0')
        return error_set(error, ERR_INVALID,
                         "the proxy's node has no id; it must be the service "
                         "ID of the proxy's registration");
    struct xds_node node = {
        .id = sent->id,
        .node_name = (char *)(uintptr_t)metadata_text(sent, "node_name"),
        .cluster = sent->cluster,
        .user_agent_name = sent->user_agent_name,
    };
    if (sent->user_agent_build_version != NULL && sent->user_agent_build_version->version != NULL) {
        node.version_major = sent->user_agent_build_version->version->major_number;
        node.version_minor = sent->user_agent_build_version->version->minor_number;
        node.version_patch = sent->user_agent_build_version->version->patch;
    }
    if (!check_version(&node, error))
        return false;
    session->node_known = true;
    session->handler->on_node(session->arg, &node);
    return true;
}

static void acknowledge(struct type_state *state)
{
    struct entry *entry, *next;
    HASH_ITER (hh, state->pending, entry, next) {
        if (entry->removed) {
            drop(&state->known, entry->name);
            continue;
        }
        struct entry *known = find_or_add(&state->known, entry->name);
        set_version(known->version, entry->version);
        known->refused[0] = '\0';
    }
}

/* Which of the resources was refused is said in words only; the others are in use. So all of them
 * count as had, to be removed when they go, but as not current. Unlike Consul, nothing is sent
 * again until something changes, and the other types go on: one bad resource does not stop the
 * rest. */
static void refuse(struct type_state *state)
{
    struct entry *entry, *next;
    HASH_ITER (hh, state->pending, entry, next) {
        struct entry *known = find_or_add(&state->known, entry->name);
        known->version[0] = '\0';
        set_version(known->refused, entry->version);
    }
}

static void receive_answer(struct xds_session *session, enum xds_type type,
                           const Envoy__DeltaDiscoveryRequest *request)
{
    struct type_state *state = &session->types[type];
    if (request->response_nonce[0] == '\0' || !state->in_flight ||
        strcmp(request->response_nonce, state->nonce) != 0)
        return;
    if (request->error_detail != NULL) {
        refuse(state);
        session->handler->on_nack(session->arg, type, request->error_detail->message);
    } else {
        acknowledge(state);
    }
    drop_all(&state->pending);
    state->in_flight = false;
    state->answered = true;
}

static bool subscribe(struct type_state *state, const char *name, struct error *error)
{
    if (strcmp(name, "*") == 0) {
        state->wildcard = true;
        return true;
    }
    if (HASH_COUNT(state->subscriptions) >= NAMES_MAX)
        return error_set(error, ERR_EXHAUSTED,
                         "the proxy asks for more than %u resources of one "
                         "type",
                         NAMES_MAX);
    find_or_add(&state->subscriptions, name);
    resend(state, name); /* who asks again must get an answer */
    return true;
}

static bool receive_first(struct type_state *state, enum xds_type type,
                          const Envoy__DeltaDiscoveryRequest *request, struct error *error)
{
    state->registered = true;
    state->wildcard =
        request->n_resource_names_subscribe == 0 && (type == XDS_CLUSTER || type == XDS_LISTENER);
    if (request->n_initial_resource_versions > NAMES_MAX)
        return error_set(error, ERR_EXHAUSTED,
                         "the proxy says it has more than %u resources of "
                         "one type",
                         NAMES_MAX);
    for (size_t i = 0; i < request->n_initial_resource_versions; i++) {
        const Envoy__DeltaDiscoveryRequest__InitialResourceVersionsEntry *had =
            request->initial_resource_versions[i];
        set_version(find_or_add(&state->known, had->key)->version, had->value);
        if (!state->wildcard)
            find_or_add(&state->subscriptions, had->key);
    }
    return true;
}

static bool receive_request(struct xds_session *session, enum xds_type type,
                            const Envoy__DeltaDiscoveryRequest *request, struct error *error)
{
    struct type_state *state = &session->types[type];
    receive_answer(session, type, request);
    if (!state->registered && !receive_first(state, type, request, error))
        return false;
    for (size_t i = 0; !state->wildcard && i < request->n_resource_names_subscribe; i++) {
        if (!subscribe(state, request->resource_names_subscribe[i], error))
            return false;
    }
    for (size_t i = 0; i < request->n_resource_names_unsubscribe; i++)
        drop(&state->subscriptions, request->resource_names_unsubscribe[i]);
    send_changes(session);
    return true;
}

bool xds_session_receive(struct xds_session *session, const uint8_t *message, size_t length,
                         struct error *error)
{
    struct arena *arena = arena_new();
    const Envoy__DeltaDiscoveryRequest *request =
        proto_unpack(&envoy__delta_discovery_request__descriptor, message, length, &request_limits,
                     arena, error);
    bool ok = request != NULL;
    if (ok && request->type_url[0] == '\0')
        ok = error_set(error, ERR_INVALID, "type URL is required for ADS");
    if (ok && !session->node_known)
        ok = receive_node(session, message, length, arena, error);
    for (enum xds_type type = 0; ok && type < XDS_TYPE_COUNT; type++) {
        if (strcmp(request->type_url, xds_type_url(type)) == 0)
            ok = receive_request(session, type, request, error);
    } /* other types are ignored */
    arena_free(arena);
    return ok;
}
