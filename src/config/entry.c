#include "config/entry.h"

#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "config/validate.h"

/* By name. */
static const struct config_kind kinds[] = {
    {"exported-services", TABLE_EXPORTED_SERVICES, config_check_exported_services},
    {"mesh", TABLE_MESH, config_check_mesh},
    {"proxy-defaults", TABLE_PROXY_DEFAULTS, config_check_proxy_defaults},
    {"service-defaults", TABLE_SERVICE_DEFAULTS, config_check_service_defaults},
    {"service-intentions", TABLE_SERVICE_INTENTIONS, config_check_service_intentions},
    {"service-resolver", TABLE_SERVICE_RESOLVER, config_check_service_resolver},
    {"service-router", TABLE_SERVICE_ROUTER, config_check_service_router},
    {"service-splitter", TABLE_SERVICE_SPLITTER, config_check_service_splitter},
};

#define KIND_COUNT (sizeof kinds / sizeof *kinds)

/* What Consul has beyond them. */
static const char *const known_kinds[] = {
    "api-gateway",    "bound-api-gateway", "control-plane-request-limit", "file-system-certificate",
    "http-route",     "ingress-gateway",   "inline-certificate",          "jwt-provider",
    "sameness-group", "tcp-route",         "terminating-gateway",
};

const struct config_kind *config_kinds(size_t *ret_count)
{
    *ret_count = KIND_COUNT;
    return kinds;
}

const struct config_kind *config_kind_find(const char *name, struct error *error)
{
    for (size_t i = 0; i < KIND_COUNT; i++) {
        if (strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
    }
    for (size_t i = 0; i < sizeof known_kinds / sizeof *known_kinds; i++) {
        if (strcmp(known_kinds[i], name) == 0) {
            error_set(error, ERR_UNSUPPORTED,
                      "config entry kind %s is known but not supported by this version of Pons: "
                      "it takes exported-services, mesh, proxy-defaults, service-defaults, "
                      "service-intentions, service-resolver, service-router and "
                      "service-splitter",
                      name);
            return NULL;
        }
    }
    error_set(error, ERR_INTERNAL, "invalid config entry kind: %s", name);
    return NULL;
}

const Pb__ConfigEntryHead *config_entry_head(const void *entry)
{
    return entry;
}

/* ---- reading from text ---- */

static const json_t *find_key(const json_t *object, const char *key)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)object, name, value)
    {
        if (strcasecmp(name, key) == 0)
            return value;
    }
    return NULL;
}

static const struct config_kind *read_kind(const json_t *value, struct error *error)
{
    const json_t *kind = json_is_object(value) ? find_key(value, "kind") : NULL;
    if (kind == NULL) {
        error_set(error, ERR_INVALID, "Payload does not contain a kind/Kind key at the top level");
        return NULL;
    }
    if (!json_is_string(kind)) {
        error_set(error, ERR_INVALID, "Kind value in payload is not a string");
        return NULL;
    }
    struct error refusal = {0};
    const struct config_kind *found = config_kind_find(json_string_value(kind), &refusal);
    if (found == NULL)
        error_set(error, refusal.code == ERR_INTERNAL ? ERR_INVALID : refusal.code, "%s",
                  refusal.message);
    return found;
}

/* What a client that sends back what it has read leaves in: it says nothing. A new reference. */
static json_t *without_indexes(const json_t *value)
{
    static const char *const keys[] = {"createindex", "create_index", "modifyindex", "modify_index",
                                       "hash"};
    json_t *copy = json_copy((json_t *)value);
    const char *name;
    json_t *member;
    void *next;
    json_object_foreach_safe(copy, next, name, member)
    {
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
            if (strcasecmp(name, keys[i]) == 0) {
                json_object_del(copy, name);
                break;
            }
        }
    }
    return copy;
}

/* Members that are shown as {} when they are absent are the same as {}: an entry that is read and
 * written back is then the same entry. */
static void drop_empty(const struct codec_message *type, void *message)
{
    for (size_t i = 0; i < type->field_count; i++) {
        const struct codec_field *field = &type->fields[i];
        const ProtobufCFieldDescriptor *about = &type->descriptor->fields[field->index];
        if (about->type != PROTOBUF_C_TYPE_MESSAGE || field->map)
            continue;
        char *at = (char *)message + about->offset;
        if (about->label == PROTOBUF_C_LABEL_REPEATED) {
            size_t count = *(size_t *)((char *)message + about->quantifier_offset);
            for (size_t j = 0; j < count; j++)
                drop_empty(field->message, (*(void ***)at)[j]);
        } else if (*(void **)at != NULL) {
            drop_empty(field->message, *(void **)at);
            if (field->empty == CODEC_SHOW && protobuf_c_message_get_packed_size(*(void **)at) == 0)
                *(void **)at = NULL;
        }
    }
}

static void *read_entry(const struct config_kind *kind, const json_t *value, unsigned codec_flags,
                        struct arena *arena, struct error *error)
{
    json_t *fields = without_indexes(value);
    void *entry = codec_read(table_class(kind->table)->message, fields, codec_flags, arena, error);
    json_decref(fields);
    if (entry != NULL)
        drop_empty(table_class(kind->table)->message, entry);
    return entry;
}

void *config_entry_read(const json_t *value, unsigned codec_flags,
                        const struct config_kind **ret_kind, struct arena *arena,
                        struct error *error)
{
    const struct config_kind *kind = read_kind(value, error);
    if (kind == NULL)
        return NULL;
    void *entry = read_entry(kind, value, codec_flags, arena, error);
    if (entry == NULL || !kind->validate(entry, arena, error))
        return NULL;
    *ret_kind = kind;
    return entry;
}

/* ---- the store ---- */

/* These describe a whole partition and are kept in its default namespace. */
static struct tenancy scope_of(const struct config_kind *kind, const struct tenancy *tenancy)
{
    struct tenancy scope = {.partition = tenancy->partition, .namespace = tenancy->namespace};
    if (kind->table == TABLE_EXPORTED_SERVICES || kind->table == TABLE_PROXY_DEFAULTS ||
        kind->table == TABLE_MESH)
        scope.namespace = NULL;
    return scope;
}

static const struct record *get(struct view *view, enum table table, const struct tenancy *scope,
                                const char *name)
{
    struct buffer key = {0};
    const struct record *record = view_get(view, table, key_named(&key, scope, name));
    buffer_free(&key);
    return record;
}

const struct record *config_entry_get(struct view *view, const struct config_kind *kind,
                                      const struct tenancy *tenancy, const char *name)
{
    struct tenancy scope = scope_of(kind, tenancy);
    return get(view, kind->table, &scope, name);
}

static bool still_at(const struct record *record, const uint64_t *cas,
                     const struct config_kind *kind, const char *name, struct error *error)
{
    uint64_t index = record == NULL ? 0 : record->modify_index;
    if (cas == NULL || *cas == index)
        return true;
    if (record == NULL)
        return error_set(error, ERR_CONFLICT,
                         "config entry \"%s\" / \"%s\" does not exist: it was deleted in between",
                         kind->name, name);
    return error_set(error, ERR_CONFLICT,
                     "config entry \"%s\" / \"%s\" is at index %llu, not at %llu: read it again "
                     "and repeat the change",
                     kind->name, name, (unsigned long long)index, (unsigned long long)*cas);
}

bool config_entry_put(struct txn *txn, const struct config_kind *kind, const void *entry,
                      const uint64_t *cas, struct error *error)
{
    const Pb__ConfigEntryHead *head = config_entry_head(entry);
    struct tenancy tenancy = table_tenancy(kind->table, entry);
    const struct record *record = config_entry_get(txn_view(txn), kind, &tenancy, head->name);
    if (!still_at(record, cas, kind, head->name, error))
        return false;
    txn_put(txn, kind->table, entry);
    return config_check_permission_protocols(txn_view(txn), kind, &tenancy, head->name, error);
}

bool config_entry_delete(struct txn *txn, const struct config_kind *kind,
                         const struct tenancy *tenancy, const char *name, const uint64_t *cas,
                         struct error *error)
{
    const struct record *record = config_entry_get(txn_view(txn), kind, tenancy, name);
    if (!still_at(record, cas, kind, name, error))
        return false;
    struct tenancy scope = scope_of(kind, tenancy);
    struct buffer key = {0};
    txn_delete(txn, kind->table, key_named(&key, &scope, name));
    buffer_free(&key);
    return config_check_permission_protocols(txn_view(txn), kind, tenancy, name, error);
}

/* ---- the ones that others ask for ---- */

static const void *message_of(const struct record *record)
{
    return record == NULL ? NULL : record->message;
}

const Pb__ProxyDefaultsEntry *config_proxy_defaults(struct view *view,
                                                    const struct tenancy *tenancy)
{
    struct tenancy scope = {.partition = tenancy->partition};
    return message_of(get(view, TABLE_PROXY_DEFAULTS, &scope, "global"));
}

const Pb__ServiceDefaultsEntry *
config_service_defaults(struct view *view, const struct tenancy *tenancy, const char *service)
{
    struct tenancy scope = {.partition = tenancy->partition, .namespace = tenancy->namespace};
    return message_of(get(view, TABLE_SERVICE_DEFAULTS, &scope, service));
}

const Pb__MeshEntry *config_mesh(struct view *view, const struct tenancy *tenancy)
{
    struct tenancy scope = {.partition = tenancy->partition};
    return message_of(get(view, TABLE_MESH, &scope, "mesh"));
}
