/* What discovery chains make of a sidecar's upstreams, and of what a gateway exports. */
#include "chain/chain.h"

#include "base/text.h"
#include "ca/spiffe.h"
#include "mesh/gather.h"

#define NS_PER_MS 1000000

static bool is_member(const struct catalog_instance *instance, const struct filter *filter,
                      bool only_passing)
{
    const void *parts[] = {instance->node->message, instance->service->message,
                           instance->check_count > 0 ? instance->checks[0]->message : NULL};
    if (only_passing && catalog_instance_health(instance) != CATALOG_PASSING)
        return false;
    return filter_match(filter, parts);
}

static struct catalog_instances members(const struct catalog_instances *all,
                                        const Pb__ServiceResolverSubset *subset,
                                        struct arena *arena)
{
    if (subset == NULL)
        return *all;
    const struct filter *filter =
        text_empty(subset->filter) ? NULL : config_subset_filter(subset->filter, arena, NULL);
    struct catalog_instance *items = arena_alloc(arena, all->count * sizeof *items);
    size_t count = 0;
    for (size_t i = 0; i < all->count; i++) {
        if (is_member(&all->items[i], filter, subset->only_passing))
            items[count++] = all->items[i];
    }
    return (struct catalog_instances){count, items};
}

/* 0 only for 0. */
static uint32_t connect_ms(int64_t ns)
{
    int64_t ms = ns / NS_PER_MS;
    if (ms > INT32_MAX)
        return INT32_MAX;
    return ms == 0 && ns > 0 ? 1 : (uint32_t)ms;
}

static void gather_target(struct gather *gather, struct upstream *upstream,
                          const struct chain_target *target)
{
    struct arena *arena = gather->snapshot->arena;
    upstream->sni = upstream->cluster_name = target->sni;
    upstream->connect_timeout_ms = connect_ms(target->connect_timeout_ns);
    const char **spiffe = arena_alloc(arena, sizeof *spiffe);
    spiffe[0] = gather_keep(gather, spiffe_service(gather->snapshot->trust_domain, &target->tenancy,
                                                   gather->snapshot->datacenter, target->service));
    upstream->spiffe_ids = spiffe;
    upstream->spiffe_count = 1;
    struct catalog_instances all =
        catalog_connect_instances(gather->view, &target->tenancy, target->service, arena);
    struct catalog_instances chosen = members(&all, target->definition, arena);
    upstream->endpoints = gather_endpoints(gather, &chosen, false);
}

/* NULL where calls go to the service itself. */
static const struct chain *compile(struct gather *gather, const struct tenancy *tenancy,
                                   const char *service, const char *protocol)
{
    struct proxy_snapshot *snapshot = gather->snapshot;
    struct chain_input input = {
        .view = gather->view,
        .tenancy = *tenancy,
        .service = service,
        .trust_domain = snapshot->trust_domain,
        .datacenter = snapshot->datacenter,
        .overrides.protocol = protocol,
    };
    const struct chain *chain = chain_compile(&input, snapshot->arena, NULL);
    if (chain == NULL || chain->is_default ||
        (chain->start->kind == CHAIN_RESOLVER && chain->start->no_entry &&
         text_equal_nocase(chain->start->target->service, service)))
        return NULL;
    return chain;
}

bool gather_chain(struct gather *gather, struct upstream *upstream, const struct tenancy *tenancy,
                  const char *protocol)
{
    struct arena *arena = gather->snapshot->arena;
    const struct chain *chain =
        compile(gather, tenancy, upstream->definition->destination_name, protocol);
    if (chain == NULL)
        return false;
    struct upstream *targets = arena_alloc(arena, chain->target_count * sizeof *targets);
    upstream->protocol = chain->protocol;
    for (size_t i = 0; i < chain->target_count; i++) {
        targets[i] = *upstream;
        gather_target(gather, &targets[i], chain->targets[i]);
        if (i == 0 || chain->targets[i] == chain->start->target)
            *upstream = targets[i];
    }
    upstream->chain = chain;
    upstream->targets = targets;
    return true;
}

/* ---- at a gateway ---- */

static struct endpoint_list subset_endpoints(struct gather *gather, const struct tenancy *tenancy,
                                             const char *service,
                                             const Pb__ServiceResolverSubset *subset)
{
    struct arena *scratch = arena_new();
    struct catalog_instances all =
        catalog_connect_instances(gather->view, tenancy, service, scratch);
    struct catalog_instances chosen = members(&all, subset, scratch);
    struct endpoint_list endpoints = gather_endpoints(gather, &chosen, false);
    arena_free(scratch);
    return endpoints;
}

static void gather_gateway_target(struct gather *gather, struct gateway_service *place,
                                  const struct chain_target *target)
{
    struct proxy_snapshot *snapshot = gather->snapshot;
    place->name = target->service;
    place->tenancy = target->tenancy;
    place->sni = target->sni;
    place->connect_timeout_ms = connect_ms(target->connect_timeout_ns);
    place->spiffe_id = gather_keep(gather, spiffe_service(snapshot->trust_domain, &target->tenancy,
                                                          snapshot->datacenter, target->service));
    place->endpoints =
        subset_endpoints(gather, &target->tenancy, target->service, target->definition);
}

static void gather_subsets(struct gather *gather, struct gateway_service *service)
{
    struct proxy_snapshot *snapshot = gather->snapshot;
    const struct record *record = config_entry_get(
        gather->view, config_kind_find("service-resolver", NULL), &service->tenancy, service->name);
    if (record == NULL)
        return;
    const Pb__ServiceResolverEntry *entry = record->message;
    struct gateway_service *subsets =
        arena_alloc(snapshot->arena, entry->n_subsets * sizeof *subsets);
    for (size_t i = 0; i < entry->n_subsets; i++) {
        const char *name = entry->subsets[i]->key;
        subsets[i].name = service->name;
        subsets[i].sni =
            gather_keep(gather, sni_service(snapshot->trust_domain, &service->tenancy,
                                            snapshot->datacenter, name, service->name));
        subsets[i].connect_timeout_ms = connect_ms(entry->connect_timeout);
        subsets[i].endpoints =
            subset_endpoints(gather, &service->tenancy, service->name, entry->subsets[i]->value);
    }
    service->subset_count = entry->n_subsets;
    service->subsets = subsets;
}

void gather_gateway_chain(struct gather *gather, struct gateway_service *service)
{
    struct arena *arena = gather->snapshot->arena;
    gather_subsets(gather, service);
    const struct chain *chain = compile(gather, &service->tenancy, service->name, NULL);
    if (chain == NULL)
        return;
    struct gateway_service *targets = arena_alloc(arena, chain->target_count * sizeof *targets);
    for (size_t i = 0; i < chain->target_count; i++) {
        targets[i].protocol = chain->protocol;
        gather_gateway_target(gather, &targets[i], chain->targets[i]);
    }
    service->chain = chain;
    service->targets = targets;
}

/* ---- at a service behind exported chains ---- */

static bool is_target(const struct chain *chain, const struct tenancy *tenancy, const char *service)
{
    const char *namespace = text_empty(tenancy->namespace) ? "default" : tenancy->namespace;
    for (size_t i = 0; i < chain->target_count; i++) {
        if (text_equal_nocase(chain->targets[i]->service, service) &&
            text_equal_nocase(chain->targets[i]->tenancy.namespace, namespace))
            return true;
    }
    return false;
}

static void add_peers_through(struct gather *gather, enum table table, const char *service,
                              struct text_list *peers)
{
    struct buffer key = {0};
    struct tenancy tenancy = {gather->tenancy.partition, gather->tenancy.namespace, NULL};
    size_t count;
    const struct record *const *records =
        view_list(gather->view, table, BY_TENANCY, key_all(&key, &tenancy), &count);
    buffer_free(&key);
    for (size_t i = 0; i < count; i++) {
        const char *name = config_entry_head(records[i]->message)->name;
        struct text_list to = config_exported_to(gather->view, &tenancy, name);
        const struct chain *chain = to.count == 0 ? NULL : compile(gather, &tenancy, name, NULL);
        for (size_t j = 0; chain != NULL && is_target(chain, &tenancy, service) && j < to.count;
             j++)
            text_list_add(peers, to.items[j]);
        text_list_free(&to);
    }
}

void gather_exported_through(struct gather *gather, const char *service, struct text_list *peers)
{
    add_peers_through(gather, TABLE_SERVICE_RESOLVER, service, peers);
    add_peers_through(gather, TABLE_SERVICE_SPLITTER, service, peers);
    add_peers_through(gather, TABLE_SERVICE_ROUTER, service, peers);
    text_list_sort(peers);
}
