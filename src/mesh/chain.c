/* Upstreams of a sidecar whose service has a discovery chain. */
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

static void gather_target(struct gather *gather, struct upstream *upstream,
                          const struct chain_target *target)
{
    struct arena *arena = gather->snapshot->arena;
    upstream->sni = upstream->cluster_name = target->sni;
    upstream->connect_timeout_ms = (uint32_t)(target->connect_timeout_ns / NS_PER_MS);
    if (upstream->connect_timeout_ms == 0)
        upstream->connect_timeout_ms = 1;
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

bool gather_chain(struct gather *gather, struct upstream *upstream, const struct tenancy *tenancy,
                  const char *protocol)
{
    struct proxy_snapshot *snapshot = gather->snapshot;
    struct chain_input input = {
        .view = gather->view,
        .tenancy = *tenancy,
        .service = upstream->definition->destination_name,
        .trust_domain = snapshot->trust_domain,
        .datacenter = snapshot->datacenter,
        .overrides.protocol = protocol,
    };
    const struct chain *chain = chain_compile(&input, snapshot->arena, NULL);
    if (chain == NULL || chain->is_default ||
        (chain->start->kind == CHAIN_RESOLVER && chain->start->no_entry &&
         text_equal_nocase(chain->start->target->service, input.service)))
        return false;
    struct upstream *targets = arena_alloc(snapshot->arena, chain->target_count * sizeof *targets);
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
