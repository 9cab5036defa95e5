#include "ca/authority_private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/duration.h"
#include "base/ident.h"
#include "base/log.h"
#include "base/text.h"
#include "ca/certificate.h"
#include "net/loop.h"
#include "proto/proto.h"

#define LEAF_TTL_DEFAULT (72 * DURATION_HOUR)
/* Serial numbers that a running process may give out before it asks the store for more. */
#define SERIAL_BLOCK 65536

/* A commit in flight; `authority` is NULL if that went in the meantime. */
struct reservation {
    struct authority *authority;
    bool first; /* the one that authority_new asked for */
    int64_t now_ns;
    char *cluster_id, *root_key_pem; /* for a cluster that has none yet */
    int64_t leaf_ttl_ns;
    uint64_t serial; /* where the block begins */
};

/* ---- what the store holds ---- */

static const Pb__CaConfig *read_config(struct view *view)
{
    struct buffer key = {0};
    const struct record *record = view_get(view, TABLE_CA_CONFIG, key_all(&key, &TENANCY_DEFAULT));
    buffer_free(&key);
    return record == NULL ? NULL : record->message;
}

static const struct record *const *list_roots(struct view *view, size_t *ret_count)
{
    struct buffer value = {0};
    const struct record *const *roots =
        view_list(view, TABLE_CA_ROOT, BY_TENANCY, key_all(&value, &TENANCY_DEFAULT), ret_count);
    buffer_free(&value);
    return roots;
}

static size_t find_active(const struct record *const *roots, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (((const Pb__CaRoot *)roots[i]->message)->active)
            return i;
    }
    return 0;
}

const struct record *const *authority_roots(struct view *view, size_t *ret_count)
{
    size_t count;
    const struct record *const *roots = list_roots(view, &count);
    *ret_count = count;
    size_t active = find_active(roots, count);
    if (active == 0)
        return roots;
    static const struct record **sorted; /* during a rotation only; kept for the next call */
    sorted = mem_realloc(sorted, count * sizeof *sorted);
    sorted[0] = roots[active];
    for (size_t i = 0, at = 1; i < count; i++) {
        if (i != active)
            sorted[at++] = roots[i];
    }
    return sorted;
}

static const struct record *active_root(struct view *view)
{
    size_t count;
    const struct record *const *roots = list_roots(view, &count);
    return count == 0 ? NULL : roots[find_active(roots, count)];
}

const Pb__CaRoot *authority_active_root(struct view *view)
{
    const struct record *record = active_root(view);
    return record == NULL ? NULL : record->message;
}

const char *authority_roots_pem(struct view *view, struct arena *arena)
{
    size_t count;
    const struct record *const *roots = authority_roots(view, &count);
    struct buffer pem = {0};
    for (size_t i = 0; i < count; i++)
        buffer_add_text(&pem, ((const Pb__CaRoot *)roots[i]->message)->root_cert);
    const char *copy = arena_strdup(arena, buffer_text(&pem));
    buffer_free(&pem);
    return copy;
}

/* ---- the first root, and blocks of serial numbers ---- */

static bool put_root(struct txn *txn, const struct reservation *reservation, uint64_t serial,
                     struct error *error)
{
    struct certificate_root_spec spec = {reservation->cluster_id, reservation->root_key_pem, serial,
                                         reservation->now_ns};
    char *pem = certificate_make_root(&spec, error);
    struct certificate_info info;
    if (pem == NULL || !certificate_read(pem, &info, error)) {
        free(pem);
        return false;
    }
    Pb__CaRoot root = PB__CA_ROOT__INIT;
    root.id = info.fingerprint;
    root.name = (char *)"Consul CA Primary Cert";
    root.serial_number = serial;
    root.signing_key_id = info.subject_key_id;
    root.external_trust_domain = reservation->cluster_id;
    root.not_before = info.not_before_ns;
    root.not_after = info.not_after_ns;
    root.root_cert = pem;
    root.active = true;
    root.private_key_type = (char *)"ec";
    root.private_key_bits = 256;
    root.private_key_pem = reservation->root_key_pem;
    txn_put(txn, TABLE_CA_ROOT, &root);
    certificate_info_clear(&info);
    free(pem);
    return true;
}

/* "72h", as people write it, where Go's notation is "72h0m0s". */
static char *format_ttl(int64_t ttl_ns)
{
    char text[DURATION_TEXT_MAX];
    if (ttl_ns % DURATION_HOUR == 0)
        return mem_printf("%" PRId64 "h", ttl_ns / DURATION_HOUR);
    return mem_strdup(duration_format(ttl_ns, text));
}

static void put_first_config(struct txn *txn, const struct reservation *reservation,
                             uint64_t next_serial)
{
    char *ttl = format_ttl(reservation->leaf_ttl_ns);
    char *shown = mem_printf(
        "{\"IntermediateCertTTL\":\"8760h\",\"LeafCertTTL\":\"%s\",\"RootCertTTL\":\"87600h\"}",
        ttl);
    Pb__CaConfig config = PB__CA_CONFIG__INIT;
    config.provider = (char *)"consul";
    config.cluster_id = reservation->cluster_id;
    config.config = shown;
    config.leaf_cert_ttl = reservation->leaf_ttl_ns;
    config.next_serial = next_serial;
    txn_put(txn, TABLE_CA_CONFIG, &config);
    free(shown);
    free(ttl);
}

static bool reserve(struct txn *txn, void *arg, struct error *error)
{
    struct reservation *reservation = arg;
    struct view *view = txn_view(txn);
    const Pb__CaConfig *stored = read_config(view);
    uint64_t next = stored == NULL || stored->next_serial == 0 ? 1 : stored->next_serial;
    if (stored != NULL && reservation->first) {
        free(reservation->cluster_id);
        reservation->cluster_id = mem_strdup(stored->cluster_id);
    }
    if (reservation->first && active_root(view) == NULL &&
        !put_root(txn, reservation, next++, error))
        return false;
    reservation->serial = next;
    if (stored == NULL) {
        put_first_config(txn, reservation, next + SERIAL_BLOCK);
    } else {
        Pb__CaConfig config = *stored;
        config.next_serial = next + SERIAL_BLOCK;
        txn_put(txn, TABLE_CA_CONFIG, &config);
    }
    return true;
}

static void reservation_free(struct reservation *reservation)
{
    free(reservation->cluster_id);
    if (reservation->root_key_pem != NULL)
        mem_clear(reservation->root_key_pem, strlen(reservation->root_key_pem));
    free(reservation->root_key_pem);
    free(reservation);
}

static bool load(struct authority *authority, struct error *error);

static void reserved(void *arg, const struct error *error, uint64_t index)
{
    (void)index;
    struct reservation *reservation = arg;
    struct authority *authority = reservation->authority;
    bool first = reservation->first;
    if (authority != NULL) {
        authority->reservation = NULL;
        if (error == NULL) {
            authority->serial = reservation->serial;
            authority->serial_end = reservation->serial + SERIAL_BLOCK;
        }
    }
    reservation_free(reservation);
    if (authority == NULL || !first)
        return; /* a failed one is asked for again with the next leaf */
    struct error refusal;
    if (error == NULL && !load(authority, &refusal))
        error = &refusal;
    authority->ready(authority->arg, error);
}

static struct reservation *start_reservation(struct authority *authority)
{
    struct reservation *reservation = mem_zalloc(sizeof *reservation);
    reservation->authority = authority;
    authority->reservation = reservation;
    return reservation;
}

uint64_t authority_take_serial(struct authority *authority)
{
    if (authority->serial_end - authority->serial < SERIAL_BLOCK / 2 &&
        authority->reservation == NULL)
        store_commit(authority->store, reserve, reserved, start_reservation(authority));
    if (authority->serial < authority->serial_end)
        return authority->serial++;
    /* Half a block was used up while the store did not answer. A certificate is worth more than a
     * tidy number: one from the far end of the range, where no block comes to in our time. */
    uint64_t random;
    random_bytes(&random, sizeof random);
    return random >> 2 | UINT64_C(1) << 62;
}

/* ---- following the store ---- */

static void store_changed(void *arg)
{
    struct authority *authority = arg;
    struct error error;
    if (!load(authority, &error))
        log_error("agent.ca", "the new root is not used: %s", error.message);
}

/* A root whose key is not there or not its own is found out here, and not when a proxy waits. */
static bool take_root(struct authority *authority, const struct record *record, struct error *error)
{
    const Pb__CaRoot *root = record->message;
    struct certificate_signer *signer =
        certificate_signer_new(root->root_cert, root->private_key_pem, error);
    if (signer == NULL) {
        error_prefix(error, "the active root %s in the store cannot sign: ", root->id);
        return false;
    }
    certificate_signer_free(authority->signer);
    authority->signer = signer;
    record_unref(authority->root);
    authority->root = record_ref(record);
    return true;
}

static bool is_same_root(const struct record *old, const struct record *new)
{
    const Pb__CaRoot *a = old->message, *b = new->message;
    return old == new || (strcmp(a->id, b->id) == 0 && proto_equal(a, b));
}

static bool load(struct authority *authority, struct error *error)
{
    struct view *view = view_new(authority->store);
    const Pb__CaConfig *config = read_config(view);
    const struct record *root = active_root(view);
    watch_free(authority->watch);
    authority->watch = watch_new(view, store_changed, authority);
    if (config == NULL || root == NULL)
        return error_set(error, ERR_UNAVAILABLE, "the store holds no certificate authority");

    if (authority->trust_domain[0] == '\0') {
        free(authority->trust_domain);
        authority->trust_domain = mem_printf("%s.consul", config->cluster_id);
        text_lower(authority->trust_domain);
    }
    authority->leaf_ttl_ns = config->leaf_cert_ttl > 0 ? config->leaf_cert_ttl : LEAF_TTL_DEFAULT;
    if (authority->root != NULL && is_same_root(authority->root, root))
        return true;
    if (!take_root(authority, root, error))
        return false;
    leaf_renew_all(authority);
    return true;
}

/* ---- life ---- */

struct authority *authority_new(struct store *store, const struct authority_config *config,
                                store_ready_fn *ready, void *arg)
{
    struct authority *authority = mem_zalloc(sizeof *authority);
    authority->store = store;
    authority->datacenter = mem_strdup(config->datacenter);
    authority->trust_domain = mem_strdup("");
    authority->ready = ready;
    authority->arg = arg;
    authority->timer = timer_new(store_loop(store), leaf_tick, authority);
    list_init(&authority->due);

    struct reservation *first = start_reservation(authority);
    char id[UUID_TEXT_MAX];
    first->first = true;
    first->now_ns = clock_realtime_ns();
    first->cluster_id =
        mem_strdup(text_empty(config->cluster_id) ? uuid_generate(id) : config->cluster_id);
    first->root_key_pem = key_generate_pem();
    first->leaf_ttl_ns = config->leaf_ttl_ns > 0 ? config->leaf_ttl_ns : LEAF_TTL_DEFAULT;
    store_commit(store, reserve, reserved, first);
    return authority;
}

void authority_free(struct authority *authority)
{
    if (authority == NULL)
        return;
    if (authority->reservation != NULL)
        authority->reservation->authority = NULL;
    watch_free(authority->watch);
    record_unref(authority->root);
    certificate_signer_free(authority->signer);
    timer_free(authority->timer);
    free(authority->trust_domain);
    free(authority->datacenter);
    free(authority);
}

const char *authority_trust_domain(const struct authority *authority)
{
    return authority->trust_domain;
}

const char *authority_datacenter(const struct authority *authority)
{
    return authority->datacenter;
}
