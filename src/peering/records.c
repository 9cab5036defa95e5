#include "peering/records.h"

#include <string.h>

#include "base/ident.h"
#include "base/text.h"
#include "proto/proto.h"

#define TEXT(text) ((char *)(uintptr_t)(text))

const struct record *peering_find(struct view *view, const struct tenancy *tenancy,
                                  const char *name)
{
    struct tenancy local = {.partition = tenancy->partition};
    struct buffer key = {0};
    const struct record *record = view_get(view, TABLE_PEERING, key_named(&key, &local, name));
    buffer_free(&key);
    return record;
}

const struct record *peering_find_by_id(struct view *view, const char *id)
{
    Pb__Peering probe = PB__PEERING__INIT;
    probe.id = TEXT(id);
    struct buffer value = {0};
    table_class(TABLE_PEERING)->indexes[PEERING_BY_ID].value(&probe, &value);
    size_t count;
    const struct record *const *found =
        view_list(view, TABLE_PEERING, PEERING_BY_ID, &value, &count);
    buffer_free(&value);
    return count == 0 ? NULL : found[0];
}

static void secrets_key(struct buffer *key, const char *id)
{
    Pb__PeeringSecrets probe = PB__PEERING_SECRETS__INIT;
    probe.peer_id = TEXT(id);
    table_class(TABLE_PEERING_SECRETS)->key(&probe, key);
}

const Pb__PeeringSecrets *peering_secrets(struct view *view, const char *id)
{
    struct buffer key = {0};
    secrets_key(&key, id);
    const struct record *record = view_get(view, TABLE_PEERING_SECRETS, &key);
    buffer_free(&key);
    return record == NULL ? NULL : record->message;
}

const struct record *const *peering_all(struct view *view, const struct tenancy *tenancy,
                                        size_t *ret_count)
{
    struct tenancy local = {.partition = tenancy->partition};
    struct buffer value = {0};
    const struct record *const *records =
        view_list(view, TABLE_PEERING, BY_TENANCY, key_all(&value, &local), ret_count);
    buffer_free(&value);
    return records;
}

bool peering_is_dialer(const Pb__Peering *peering)
{
    return peering->n_peer_server_addresses > 0 || peering->n_manual_server_addresses > 0;
}

bool peering_is_inactive(const Pb__Peering *peering)
{
    return peering->state == PB__PEERING_STATE__DELETING ||
           peering->state == PB__PEERING_STATE__TERMINATED || peering->deleted_at != 0;
}

/* ---- what a request may hold ---- */

bool peering_check_name(const char *name, struct error *error)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
    size_t length = strlen(name);
    bool valid = length >= 1 && length <= 63 && strspn(name, letters) == length && name[0] != '-' &&
                 name[length - 1] != '-';
    if (valid)
        return true;
    return error_set(error, ERR_INTERNAL,
                     "%s is not a valid peer name: a valid peering name must consist of lower case "
                     "alphanumeric characters or '-', and must start and end with an alphanumeric "
                     "character",
                     name);
}

bool peering_check_partition(const char *partition, struct error *error)
{
    if (text_empty(partition) || text_equal_nocase(partition, "default"))
        return true;
    return error_set(error, ERR_INTERNAL,
                     "partition \"%s\": peerings are made in the partition \"default\" only",
                     partition);
}

static const char *meta_fault(const char *key, const char *value)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    if (text_empty(key))
        return "Key cannot be blank";
    if (strspn(key, letters) != strlen(key))
        return "Key contains invalid characters";
    if (strlen(key) > 128)
        return "Key is too long (limit: 128 characters)";
    if (text_starts(key, "consul-"))
        return "Key prefix 'consul-' is reserved for internal use";
    return strlen(value) > 512 ? "Value is too long (limit: 512 characters)" : NULL;
}

bool peering_check_meta(size_t count, Pb__GenerateTokenRequest__MetaEntry *const *meta,
                        struct error *error)
{
    if (count > 64)
        return error_set(error, ERR_INTERNAL,
                         "meta tags failed validation: Node metadata cannot contain more than 64 "
                         "key/value pairs");
    for (size_t i = 0; i < count; i++) {
        const char *fault = meta_fault(meta[i]->key, meta[i]->value);
        if (fault != NULL)
            return error_set(error, ERR_INTERNAL,
                             "meta tags failed validation: Couldn't load metadata pair ('%s', "
                             "'%s'): %s",
                             meta[i]->key, meta[i]->value, fault);
    }
    return true;
}

/* ---- the record ---- */

static bool remote_is_empty(const Pb__RemoteInfo *remote)
{
    return remote == NULL || (text_empty(remote->partition) && text_empty(remote->datacenter) &&
                              remote->locality == NULL);
}

static bool check_replacement(const Pb__Peering *old, const Pb__Peering *peering,
                              struct error *error)
{
    if (strcmp(old->id, peering->id) != 0)
        return error_set(error, ERR_INTERNAL,
                         "A peering already exists with the name \"%s\" and a different ID \"%s\"",
                         old->name, old->id);
    if (peering_is_dialer(old) != peering_is_dialer(peering))
        return error_set(error, ERR_INTERNAL, "Cannot switch peering dialing mode from %s to %s",
                         peering_is_dialer(old) ? "true" : "false",
                         peering_is_dialer(peering) ? "true" : "false");
    if (old->state == PB__PEERING_STATE__DELETING)
        return error_set(error, ERR_INTERNAL,
                         "cannot write to peering that is marked for deletion");
    return true;
}

static void remove_secrets(struct txn *txn, const char *id)
{
    struct buffer key = {0};
    secrets_key(&key, id);
    txn_delete(txn, TABLE_PEERING_SECRETS, &key);
    buffer_free(&key);
}

bool peering_put(struct txn *txn, const Pb__Peering *peering, struct error *error)
{
    struct tenancy tenancy = {.partition = peering->partition};
    const struct record *record = peering_find(txn_view(txn), &tenancy, peering->name);
    Pb__Peering written = *peering;
    written.stream_status = NULL;
    if (record != NULL) {
        const Pb__Peering *old = record->message;
        if (old->state == PB__PEERING_STATE__DELETING && peering_is_inactive(peering))
            return true;
        if (!check_replacement(old, peering, error))
            return false;
        if (written.state == PB__PEERING_STATE__UNDEFINED)
            written.state = old->state;
        if (remote_is_empty(written.remote))
            written.remote = old->remote;
    } else {
        if (peering_is_inactive(peering))
            return error_set(error, ERR_INTERNAL,
                             "cannot create a new peering marked for deletion");
        if (written.state == PB__PEERING_STATE__UNDEFINED)
            written.state = PB__PEERING_STATE__PENDING;
    }
    Pb__RemoteInfo none = PB__REMOTE_INFO__INIT;
    if (written.remote == NULL)
        written.remote = &none;
    txn_put(txn, TABLE_PEERING, &written);
    if (peering_is_inactive(&written))
        remove_secrets(txn, written.id);
    return true;
}

void peering_remove_bundle(struct txn *txn, const Pb__Peering *peering)
{
    Pb__PeeringTrustBundle probe = PB__PEERING_TRUST_BUNDLE__INIT;
    probe.peer_name = peering->name;
    probe.partition = peering->partition;
    struct buffer key = {0};
    table_class(TABLE_TRUST_BUNDLE)->key(&probe, &key);
    txn_delete(txn, TABLE_TRUST_BUNDLE, &key);
    buffer_free(&key);
}

void peering_remove(struct txn *txn, const Pb__Peering *peering)
{
    peering_remove_bundle(txn, peering);
    remove_secrets(txn, peering->id);
    struct buffer key = {0};
    table_class(TABLE_PEERING)->key(peering, &key);
    txn_delete(txn, TABLE_PEERING, &key);
    buffer_free(&key);
}

/* ---- secrets ---- */

/* The three secrets of one peering, unfolded; borrowed from the stored message. */
struct secrets {
    const char *establishment, *active, *pending;
};

static struct secrets read_secrets(struct txn *txn, const char *id)
{
    const Pb__PeeringSecrets *stored = peering_secrets(txn_view(txn), id);
    struct secrets secrets = {"", "", ""};
    if (stored != NULL && stored->establishment != NULL)
        secrets.establishment = stored->establishment->secret_id;
    if (stored != NULL && stored->stream != NULL) {
        secrets.active = stored->stream->active_secret_id;
        secrets.pending = stored->stream->pending_secret_id;
    }
    return secrets;
}

static void write_secrets(struct txn *txn, const char *id, const struct secrets *secrets)
{
    Pb__PeeringSecretEstablishment establishment = PB__PEERING_SECRET_ESTABLISHMENT__INIT;
    establishment.secret_id = TEXT(secrets->establishment);
    Pb__PeeringSecretStream stream = PB__PEERING_SECRET_STREAM__INIT;
    stream.active_secret_id = TEXT(secrets->active);
    stream.pending_secret_id = TEXT(secrets->pending);
    Pb__PeeringSecrets message = PB__PEERING_SECRETS__INIT;
    message.peer_id = TEXT(id);
    message.establishment = text_empty(secrets->establishment) ? NULL : &establishment;
    message.stream = &stream;
    txn_put(txn, TABLE_PEERING_SECRETS, &message);
}

void secrets_generate(struct txn *txn, const char *id, const char *establishment)
{
    struct secrets secrets = read_secrets(txn, id);
    secrets.establishment = establishment;
    write_secrets(txn, id, &secrets);
}

bool secrets_exchange(struct txn *txn, const char *id, const char *given, const char *pending,
                      struct error *error)
{
    struct secrets secrets = read_secrets(txn, id);
    if (!secret_equal(secrets.establishment, given))
        return error_set(error, ERR_DENIED, "invalid peering establishment secret");
    secrets.establishment = "";
    secrets.pending = pending;
    write_secrets(txn, id, &secrets);
    return true;
}

static bool promote(struct txn *txn, const char *id, struct secrets secrets,
                    const Pb__RemoteInfo *remote, struct error *error)
{
    const struct record *record = peering_find_by_id(txn_view(txn), id);
    if (record == NULL)
        return error_set(error, ERR_INTERNAL, "failed to find PeerID: %s", id);
    secrets.active = secrets.pending;
    secrets.pending = "";
    write_secrets(txn, id, &secrets);
    Pb__Peering peering = *(const Pb__Peering *)record->message;
    peering.remote = (Pb__RemoteInfo *)(uintptr_t)remote;
    return peering_put(txn, &peering, error);
}

bool secrets_open(struct txn *txn, const char *id, const char *given, const Pb__RemoteInfo *remote,
                  struct error *error)
{
    if (peering_secrets(txn_view(txn), id) == NULL)
        return error_set(error, ERR_INTERNAL,
                         "unable to authorize connection, peering must be re-established");
    struct secrets secrets = read_secrets(txn, id);
    if (secret_equal(secrets.active, given))
        return true;
    if (secret_equal(secrets.pending, given))
        return promote(txn, id, secrets, remote, error);
    return error_set(error, ERR_DENIED, "invalid peering stream secret");
}

void secrets_establish(struct txn *txn, const char *id, const char *active)
{
    struct secrets secrets = read_secrets(txn, id);
    secrets.active = active;
    secrets.pending = "";
    write_secrets(txn, id, &secrets);
}
