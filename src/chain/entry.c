/* Writes of entries that chains are made of. */
#include <string.h>

#include "base/text.h"
#include "chain/chain.h"

bool chain_has_kind(const struct config_kind *kind)
{
    return kind->table == TABLE_SERVICE_ROUTER || kind->table == TABLE_SERVICE_SPLITTER ||
           kind->table == TABLE_SERVICE_RESOLVER || kind->table == TABLE_SERVICE_DEFAULTS ||
           kind->table == TABLE_PROXY_DEFAULTS;
}

static bool check_one(struct view *view, const struct tenancy *tenancy, const char *service,
                      struct error *error)
{
    struct arena *arena = arena_new();
    struct chain_input input = {
        .view = view,
        .tenancy = *tenancy,
        .service = service,
        .trust_domain = "",
        .datacenter = "",
    };
    bool good = chain_compile(&input, arena, error) != NULL;
    arena_free(arena);
    return good;
}

static bool check_table(struct view *view, enum table table, const struct tenancy *tenancy,
                        struct error *error)
{
    struct buffer key = {0};
    bool good = true;
    size_t count;
    const struct record *const *records =
        view_list(view, table, BY_TENANCY, key_all(&key, tenancy), &count);
    buffer_free(&key);
    for (size_t i = 0; i < count && good; i++) {
        good = check_one(view, tenancy, config_entry_head(records[i]->message)->name, error);
    }
    return good;
}

/* Only services with an entry of their own can have a chain that is wrong: others are a resolver
 * without entry. */
bool chain_check_all(struct view *view, const struct tenancy *tenancy, struct error *error)
{
    struct tenancy scope = {.partition = tenancy->partition, .namespace = tenancy->namespace};
    return check_table(view, TABLE_SERVICE_ROUTER, &scope, error) &&
           check_table(view, TABLE_SERVICE_SPLITTER, &scope, error) &&
           check_table(view, TABLE_SERVICE_RESOLVER, &scope, error);
}

/* The entry's own chain first: what is wrong is told as seen from there. */
static bool check_after(struct txn *txn, const struct config_kind *kind,
                        const struct tenancy *tenancy, const char *name, struct error *error)
{
    struct tenancy scope = {.partition = tenancy->partition, .namespace = tenancy->namespace};
    if (!chain_has_kind(kind))
        return true;
    return check_one(txn_view(txn), &scope, name, error) &&
           chain_check_all(txn_view(txn), &scope, error);
}

bool chain_entry_put(struct txn *txn, const struct config_kind *kind, const void *entry,
                     const uint64_t *cas, struct error *error)
{
    struct tenancy tenancy = table_tenancy(kind->table, entry);
    return config_entry_put(txn, kind, entry, cas, error) &&
           check_after(txn, kind, &tenancy, config_entry_head(entry)->name, error);
}

bool chain_entry_delete(struct txn *txn, const struct config_kind *kind,
                        const struct tenancy *tenancy, const char *name, const uint64_t *cas,
                        struct error *error)
{
    return config_entry_delete(txn, kind, tenancy, name, cas, error) &&
           check_after(txn, kind, tenancy, name, error);
}
