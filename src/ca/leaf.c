/* The certificates that the authority gives out: one an identity, held for all who watch it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "base/duration.h"
#include "base/ident.h"
#include "base/log.h"
#include "ca/authority_private.h"
#include "ca/certificate.h"
#include "ca/spiffe.h"
#include "net/loop.h"

/* The clock is looked at this often at least, since it can be set, and a machine can sleep. */
#define TICK_MAX DURATION_MINUTE
#define RENEWAL_RETRY DURATION_MINUTE
/* This many are made in one turn of the loop, some milliseconds of work; the rest wait. */
#define BATCH 64

struct issued {
    struct leaf leaf;
    size_t references;
};

struct identity {
    char *uri, *dns_name;
    struct issued *issued;
    int64_t renew_at_ns;
    struct list watches; /* never empty but while it is made */
    UT_hash_handle hh;
};

struct leaf_watch {
    struct authority *authority;
    struct identity *identity;
    struct issued *issued;
    struct list sibling, due;
    loop_fn *changed;
    void *arg;
};

/* ---- issuing ---- */

static void unref(struct issued *issued)
{
    if (issued == NULL || --issued->references > 0)
        return;
    mem_clear(issued->leaf.private_key_pem, strlen(issued->leaf.private_key_pem));
    free(issued->leaf.private_key_pem);
    free(issued->leaf.certificate_pem);
    free(issued->leaf.serial);
    free(issued->leaf.uri);
    free(issued);
}

static char *add_intermediates(char *leaf_pem, const Pb__CaRoot *root)
{
    if (root->n_intermediate_certs == 0)
        return leaf_pem;
    struct buffer chain = {0};
    buffer_add_text(&chain, leaf_pem);
    for (size_t i = 0; i < root->n_intermediate_certs; i++)
        buffer_add_text(&chain, root->intermediate_certs[i]);
    free(leaf_pem);
    return buffer_take(&chain);
}

static struct issued *issue(struct authority *authority, const struct identity *identity,
                            struct error *error)
{
    struct certificate_leaf_spec spec = {
        .uri = identity->uri,
        .dns_name = identity->dns_name,
        .serial = authority_take_serial(authority),
        .now_ns = clock_realtime_ns(),
        .ttl_ns = authority->leaf_ttl_ns,
    };
    struct certificate_info info;
    char *pem, *key;
    if (!certificate_issue(authority->signer, &spec, &pem, &key, &info, error))
        return NULL;
    struct issued *issued = mem_zalloc(sizeof *issued);
    issued->references = 1;
    issued->leaf = (struct leaf){
        .certificate_pem = add_intermediates(pem, authority->root->message),
        .private_key_pem = key,
        .serial = mem_strdup(info.serial),
        .uri = mem_strdup(identity->uri),
        .not_before_ns = info.not_before_ns,
        .not_after_ns = info.not_after_ns,
        .index = store_index(authority->store),
    };
    certificate_info_clear(&info);
    return issued;
}

/* A random point between half and two thirds of what is left of its life, so that certificates
 * made together are not renewed together. */
static int64_t renewal_time(int64_t now_ns, int64_t not_after_ns)
{
    int64_t left = not_after_ns - now_ns;
    uint32_t random;
    random_bytes(&random, sizeof random);
    int64_t spread = (int64_t)((double)left / 6 * ((double)random / UINT32_MAX));
    int64_t wait = left / 2 + spread;
    return now_ns + (wait < DURATION_SECOND / 4 ? DURATION_SECOND / 4 : wait);
}

static void wake_by(struct authority *authority, int64_t when_ns)
{
    int64_t now = clock_realtime_ns();
    int64_t wait = when_ns - now;
    wait = wait < 0 ? 0 : wait > TICK_MAX ? TICK_MAX : wait;
    if (timer_active(authority->timer) && authority->next_tick_ns <= now + wait)
        return;
    authority->next_tick_ns = now + wait;
    timer_start(authority->timer, (uint64_t)((wait + DURATION_MS - 1) / DURATION_MS), 0);
}

/* False if there is no new one; the old one then stays. */
static bool renew(struct authority *authority, struct identity *identity, struct error *error)
{
    int64_t now = clock_realtime_ns();
    struct issued *issued = issue(authority, identity, error);
    if (issued == NULL) {
        identity->renew_at_ns = now + RENEWAL_RETRY;
        return false;
    }
    if (identity->issued != NULL && issued->leaf.index <= identity->issued->leaf.index)
        issued->leaf.index = identity->issued->leaf.index + 1;
    unref(identity->issued);
    identity->issued = issued;
    identity->renew_at_ns = renewal_time(now, issued->leaf.not_after_ns);
    list_for_each (node, &identity->watches) {
        struct leaf_watch *watch = list_entry(node, struct leaf_watch, sibling);
        list_remove(&watch->due);
        list_append(&authority->due, &watch->due);
    }
    return true;
}

/* Callbacks may free watches and make new ones, also of the same identity. */
static void notify(struct authority *authority)
{
    while (!list_empty(&authority->due)) {
        struct leaf_watch *watch = list_entry(authority->due.next, struct leaf_watch, due);
        list_remove(&watch->due);
        unref(watch->issued);
        watch->issued = watch->identity->issued;
        watch->issued->references++;
        watch->changed(watch->arg);
    }
}

static bool is_due(const struct identity *identity, int64_t now)
{
    /* The clock may have been set back. */
    return now >= identity->renew_at_ns || now < identity->issued->leaf.not_before_ns;
}

void leaf_tick(void *arg)
{
    struct authority *authority = arg;
    int64_t now = clock_realtime_ns();
    int renewed = 0;
    struct identity *identity, *next;
    HASH_ITER (hh, authority->identities, identity, next) {
        struct error error;
        if (is_due(identity, now) && renewed < BATCH) {
            renewed++;
            if (!renew(authority, identity, &error))
                log_error("agent.ca",
                          "cannot renew a certificate, trying again in a minute: uri=%s: %s",
                          identity->uri, error.message);
        }
        wake_by(authority, identity->renew_at_ns);
    }
    notify(authority);
}

void leaf_renew_all(struct authority *authority)
{
    struct identity *identity, *next;
    HASH_ITER (hh, authority->identities, identity, next)
        identity->renew_at_ns = 0;
    leaf_tick(authority);
}

/* ---- watches ---- */

static char *uri_of(const struct authority *authority, enum leaf_kind kind,
                    const struct tenancy *tenancy, const char *service)
{
    const char *trust_domain = authority->trust_domain, *datacenter = authority->datacenter;
    switch (kind) {
    case LEAF_MESH_GATEWAY:
        return spiffe_mesh_gateway(trust_domain, tenancy->partition, datacenter);
    case LEAF_SERVER:
        return spiffe_server(trust_domain, datacenter);
    case LEAF_SERVICE:
        break;
    }
    return spiffe_service(trust_domain, tenancy, datacenter, service);
}

/* Takes over both texts. */
static struct identity *identity_new(struct authority *authority, char *uri, char *dns_name)
{
    struct identity *identity = mem_zalloc(sizeof *identity);
    identity->uri = uri;
    identity->dns_name = dns_name;
    list_init(&identity->watches);
    struct error error;
    if (!renew(authority, identity, &error)) {
        /* The root was tried when it was taken; what is left is a broken OpenSSL. */
        fprintf(stderr, "pons: cannot make the certificate of %s: %s\n", uri, error.message);
        abort();
    }
    HASH_ADD_KEYPTR(hh, authority->identities, identity->uri, strlen(identity->uri), identity);
    wake_by(authority, identity->renew_at_ns);
    return identity;
}

static void identity_free(struct authority *authority, struct identity *identity)
{
    HASH_DEL(authority->identities, identity);
    unref(identity->issued);
    free(identity->uri);
    free(identity->dns_name);
    free(identity);
}

static struct identity *identity_get(struct authority *authority, enum leaf_kind kind,
                                     const struct tenancy *tenancy, const char *service)
{
    char *uri = uri_of(authority, kind, tenancy, service);
    struct identity *identity;
    HASH_FIND(hh, authority->identities, uri, strlen(uri), identity);
    if (identity != NULL) {
        free(uri);
        return identity;
    }
    char *dns_name = kind == LEAF_SERVER
                         ? name_peering_server(authority->trust_domain, authority->datacenter)
                         : NULL;
    return identity_new(authority, uri, dns_name);
}

struct leaf_watch *leaf_watch_new(struct authority *authority, enum leaf_kind kind,
                                  const struct tenancy *tenancy, const char *service,
                                  loop_fn *changed, void *arg)
{
    struct leaf_watch *watch = mem_zalloc(sizeof *watch);
    watch->authority = authority;
    watch->identity = identity_get(authority, kind, tenancy, service);
    watch->issued = watch->identity->issued;
    watch->issued->references++;
    watch->changed = changed;
    watch->arg = arg;
    list_init(&watch->due);
    list_append(&watch->identity->watches, &watch->sibling);
    return watch;
}

const struct leaf *leaf_watch_get(const struct leaf_watch *watch)
{
    return &watch->issued->leaf;
}

void leaf_watch_free(struct leaf_watch *watch)
{
    if (watch == NULL)
        return;
    list_remove(&watch->sibling);
    list_remove(&watch->due);
    if (list_empty(&watch->identity->watches))
        identity_free(watch->authority, watch->identity);
    unref(watch->issued);
    free(watch);
}
