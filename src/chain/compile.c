/* From entries to a chain. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "ca/spiffe.h"
#include "chain/chain.h"
#include "proto/proto.h"

/* What strangers' entries can make of a chain is bounded. */
#define DEPTH_MAX 32
#define NODES_MAX 1024
#define SPLITS_MAX 512

#define refuse(error, ...) error_set((error), ERR_INTERNAL, __VA_ARGS__)

struct compiler {
    const struct chain_input *input;
    struct arena *arena;
    struct error *error;
    const char *protocol; /* of the services seen; NULL before the first */
    bool flat;            /* the asked-for protocol knows no routing */
    size_t node_count, target_count;
    struct chain_node *nodes[NODES_MAX];
    struct chain_target *targets[NODES_MAX];
};

static const char *or_default(const char *name)
{
    return text_empty(name) ? "default" : name;
}

static const void *find_entry(struct compiler *compiler, const char *kind,
                              const struct tenancy *tenancy, const char *name)
{
    const struct record *record =
        config_entry_get(compiler->input->view, config_kind_find(kind, NULL), tenancy, name);
    return record == NULL ? NULL : record->message;
}

static const char *keep(struct compiler *compiler, char *text)
{
    const char *kept = arena_strdup(compiler->arena, text);
    free(text);
    return kept;
}

static struct tenancy in_namespace(struct compiler *compiler, const char *namespace,
                                   const struct tenancy *otherwise)
{
    return (struct tenancy){
        .partition = or_default(compiler->input->tenancy.partition),
        .namespace = text_empty(namespace) ? or_default(otherwise->namespace) : namespace,
    };
}

static bool record_protocol(struct compiler *compiler, const struct tenancy *tenancy,
                            const char *service)
{
    const char *protocol =
        config_service_protocol(compiler->input->view, tenancy, service, compiler->arena);
    if (compiler->protocol == NULL)
        compiler->protocol = protocol;
    if (text_equal(compiler->protocol, protocol))
        return true;
    return refuse(compiler->error,
                  "discovery chain \"%s\" uses inconsistent protocols; service \"%s\" has \"%s\" "
                  "which is not \"%s\"",
                  compiler->input->service, service, protocol, compiler->protocol);
}

/* ---- nodes and targets ---- */

static struct chain_node *find_node(struct compiler *compiler, enum chain_kind kind,
                                    const char *name)
{
    for (size_t i = 0; i < compiler->node_count; i++) {
        if (compiler->nodes[i]->kind == kind && strcmp(compiler->nodes[i]->name, name) == 0)
            return compiler->nodes[i];
    }
    return NULL;
}

static struct chain_node *add_node(struct compiler *compiler, enum chain_kind kind,
                                   const char *name)
{
    if (compiler->node_count == NODES_MAX) {
        refuse(compiler->error, "discovery chain \"%s\" has more than %d nodes",
               compiler->input->service, NODES_MAX);
        return NULL;
    }
    struct chain_node *node = arena_alloc(compiler->arena, sizeof *node);
    node->kind = kind;
    node->name = name;
    compiler->nodes[compiler->node_count++] = node;
    return node;
}

static const char *entry_node_name(struct compiler *compiler, const struct tenancy *tenancy,
                                   const char *service)
{
    return arena_printf(compiler->arena, "%s.%s.%s", service, tenancy->namespace,
                        tenancy->partition);
}

static const char *target_id(struct compiler *compiler, const struct tenancy *tenancy,
                             const char *service, const char *subset)
{
    return arena_printf(compiler->arena, "%s%s%s.%s.%s.%s", subset, *subset == '\0' ? "" : ".",
                        service, tenancy->namespace, tenancy->partition,
                        compiler->input->datacenter);
}

static const char *mode_of(const Pb__MeshGatewayConfig *gateway)
{
    return gateway == NULL ? "" : gateway->mode;
}

static const char *gateway_mode(struct compiler *compiler, const struct tenancy *tenancy,
                                const char *service)
{
    struct view *view = compiler->input->view;
    if (!text_empty(compiler->input->overrides.gateway_mode))
        return compiler->input->overrides.gateway_mode;
    const Pb__ServiceDefaultsEntry *defaults = config_service_defaults(view, tenancy, service);
    if (defaults != NULL && !text_empty(mode_of(defaults->mesh_gateway)))
        return mode_of(defaults->mesh_gateway);
    const Pb__ProxyDefaultsEntry *global = config_proxy_defaults(view, tenancy);
    return global == NULL ? "" : mode_of(global->mesh_gateway);
}

/* ---- resolvers ---- */

struct place {
    struct tenancy tenancy;
    const char *service, *subset;
};

/* Where the redirect points, from `place`. */
static struct place redirected(struct compiler *compiler, const struct place *place,
                               const Pb__ServiceResolverRedirect *redirect)
{
    struct place next = {
        .tenancy = in_namespace(compiler, redirect->namespace_, &place->tenancy),
        .service = text_empty(redirect->service) ? place->service : redirect->service,
        .subset = redirect->service_subset,
    };
    return next;
}

static bool refuse_loop(struct compiler *compiler, const struct text_list *seen, const char *id)
{
    struct text_list order = {0};
    for (size_t i = 0; i < seen->count; i++)
        text_list_add(&order, seen->items[i]);
    text_list_add(&order, id);
    char *way = text_list_join(&order, " -> ");
    refuse(compiler->error, "detected circular resolver redirect: [%s]", way);
    free(way);
    text_list_free(&order);
    return false;
}

/* Follows redirects and default subsets to the place that is meant, and its entry. */
static bool settle(struct compiler *compiler, struct place *place,
                   const Pb__ServiceResolverEntry **ret_entry)
{
    struct text_list seen = {0};
    bool good = true;
    for (;;) {
        const char *id = arena_printf(compiler->arena, "%s%s%s", place->subset,
                                      text_empty(place->subset) ? "" : ".",
                                      entry_node_name(compiler, &place->tenancy, place->service));
        if (text_list_has(&seen, id) || seen.count > DEPTH_MAX) {
            good = refuse_loop(compiler, &seen, id);
            break;
        }
        text_list_add(&seen, id);
        if (!(good = record_protocol(compiler, &place->tenancy, place->service)))
            break;
        const Pb__ServiceResolverEntry *entry =
            find_entry(compiler, "service-resolver", &place->tenancy, place->service);
        *ret_entry = entry;
        if (entry != NULL && entry->redirect != NULL) {
            struct place next = redirected(compiler, place, entry->redirect);
            if (!text_equal(next.service, place->service) ||
                !text_equal(next.subset, place->subset) ||
                !text_equal(next.tenancy.namespace, place->tenancy.namespace)) {
                *place = next;
                continue;
            }
        }
        if (text_empty(place->subset) && entry != NULL && !text_empty(entry->default_subset)) {
            place->subset = entry->default_subset;
            continue;
        }
        break;
    }
    text_list_free(&seen);
    if (good && !text_empty(place->subset) && config_find_subset(*ret_entry, place->subset) == NULL)
        good = refuse(compiler->error, "service \"%s\" does not have a subset named \"%s\"",
                      place->service, place->subset);
    return good;
}

static struct chain_node *resolve(struct compiler *compiler, struct place place)
{
    const Pb__ServiceResolverEntry *entry = NULL;
    if (!settle(compiler, &place, &entry))
        return NULL;
    const char *id = target_id(compiler, &place.tenancy, place.service, place.subset);
    struct chain_node *node = find_node(compiler, CHAIN_RESOLVER, id);
    if (node != NULL || (node = add_node(compiler, CHAIN_RESOLVER, id)) == NULL)
        return node;
    const struct chain_input *input = compiler->input;
    node->no_entry = entry == NULL;
    node->connect_timeout_ns = CHAIN_CONNECT_TIMEOUT_NS;
    if (entry != NULL && entry->connect_timeout > 0)
        node->connect_timeout_ns = entry->connect_timeout;
    if (input->overrides.connect_timeout_ns > 0)
        node->connect_timeout_ns = input->overrides.connect_timeout_ns;
    node->request_timeout_ns = entry == NULL ? 0 : entry->request_timeout;
    struct chain_target *target = arena_alloc(compiler->arena, sizeof *target);
    *target = (struct chain_target){
        .id = id,
        .service = place.service,
        .subset = place.subset,
        .tenancy = place.tenancy,
        .sni = keep(compiler, sni_service(input->trust_domain, &place.tenancy, input->datacenter,
                                          place.subset, place.service)),
        .gateway_mode = gateway_mode(compiler, &place.tenancy, place.service),
        .connect_timeout_ns = node->connect_timeout_ns,
        .definition = text_empty(place.subset) ? NULL : config_find_subset(entry, place.subset),
    };
    node->target = target;
    compiler->targets[compiler->target_count++] = target;
    return node;
}

/* ---- splitters ---- */

static struct chain_node *split_or_resolve(struct compiler *compiler, struct place place,
                                           unsigned depth);

static bool add_splits(struct compiler *compiler, struct chain_node *node,
                       const Pb__ServiceSplitterEntry *entry, const struct place *self,
                       unsigned depth)
{
    node->split_count = entry->n_splits;
    node->splits = arena_alloc(compiler->arena, (entry->n_splits) * sizeof *node->splits);
    for (size_t i = 0; i < entry->n_splits; i++) {
        const Pb__ServiceSplit *split = entry->splits[i];
        struct place place = {
            .tenancy = in_namespace(compiler, split->namespace_, &self->tenancy),
            .service = text_empty(split->service) ? self->service : split->service,
            .subset = split->service_subset,
        };
        bool own = text_equal_nocase(place.service, self->service) &&
                   text_equal(place.tenancy.namespace, self->tenancy.namespace);
        node->splits[i] = (struct chain_split){
            .definition = split,
            .weight = split->weight,
            .next = own || !text_empty(place.subset) ? resolve(compiler, place)
                                                     : split_or_resolve(compiler, place, depth + 1),
        };
        if (node->splits[i].next == NULL)
            return false;
    }
    return true;
}

/* The service's splitter if it has one, else its resolver. */
static struct chain_node *split_or_resolve(struct compiler *compiler, struct place place,
                                           unsigned depth)
{
    const Pb__ServiceSplitterEntry *entry =
        compiler->flat ? NULL
                       : find_entry(compiler, "service-splitter", &place.tenancy, place.service);
    if (entry == NULL)
        return resolve(compiler, place);
    const char *name = entry_node_name(compiler, &place.tenancy, place.service);
    struct chain_node *node = find_node(compiler, CHAIN_SPLITTER, name);
    if (node != NULL)
        return node;
    if (depth > DEPTH_MAX) {
        refuse(compiler->error, "discovery chain \"%s\" has more than %d splitters in a row",
               compiler->input->service, DEPTH_MAX);
        return NULL;
    }
    if (!record_protocol(compiler, &place.tenancy, place.service))
        return NULL;
    node = add_node(compiler, CHAIN_SPLITTER, name);
    return node != NULL && add_splits(compiler, node, entry, &place, depth) ? node : NULL;
}

/* A splitter behind a splitter is one: shares are multiplied, header changes of both apply. */

#define MERGE_MAP(field)                                                                     \
    do {                                                                                     \
        merged->field = arena_alloc(compiler->arena, (inner->n_##field + outer->n_##field) * \
                                                         sizeof *merged->field);             \
        merged->n_##field = inner->n_##field;                                                \
        for (size_t i = 0; i < inner->n_##field; i++)                                        \
            merged->field[i] = inner->field[i];                                              \
        for (size_t i = 0; i < outer->n_##field; i++) {                                      \
            bool known = false;                                                              \
            for (size_t j = 0; j < inner->n_##field; j++)                                    \
                known |= text_equal_nocase(outer->field[i]->key, inner->field[j]->key);      \
            if (!known)                                                                      \
                merged->field[merged->n_##field++] = outer->field[i];                        \
        }                                                                                    \
    } while (0)

static Pb__HeaderModifiers *merge_headers(struct compiler *compiler, Pb__HeaderModifiers *outer,
                                          Pb__HeaderModifiers *inner)
{
    if (outer == NULL || inner == NULL)
        return outer == NULL ? inner : outer;
    Pb__HeaderModifiers *merged = proto_new(compiler->arena, pb__header_modifiers);
    MERGE_MAP(add);
    MERGE_MAP(set);
    merged->remove =
        arena_alloc(compiler->arena, (outer->n_remove + inner->n_remove) * sizeof *merged->remove);
    for (size_t i = 0; i < outer->n_remove; i++)
        merged->remove[merged->n_remove++] = outer->remove[i];
    for (size_t i = 0; i < inner->n_remove; i++)
        merged->remove[merged->n_remove++] = inner->remove[i];
    return merged;
}

static bool refuse_circle(struct compiler *compiler, const struct chain_node *node,
                          const struct chain_node *const *way, size_t depth)
{
    const char *words = "";
    for (size_t i = 0; i < depth; i++)
        words = arena_printf(compiler->arena, "%ssplitter:%s -> ", words, way[i]->name);
    return refuse(compiler->error, "detected circular reference: [%ssplitter:%s]", words,
                  node->name);
}

static bool flatten(struct compiler *compiler, struct chain_node *node,
                    const struct chain_node *const *way, size_t depth)
{
    const struct chain_node *here[DEPTH_MAX + 2];
    for (size_t i = 0; i < depth; i++) {
        if (way[i] == node)
            return refuse_circle(compiler, node, way, depth);
        here[i] = way[i];
    }
    if (depth > DEPTH_MAX)
        return refuse_circle(compiler, node, way, depth);
    here[depth] = node;
    size_t count = 0;
    for (size_t i = 0; i < node->split_count; i++) {
        struct chain_node *next = (struct chain_node *)(uintptr_t)node->splits[i].next;
        if (next->kind == CHAIN_SPLITTER && !flatten(compiler, next, here, depth + 1))
            return false;
        count += next->kind == CHAIN_SPLITTER ? next->split_count : 1;
    }
    if (count > SPLITS_MAX)
        return refuse(compiler->error, "discovery chain \"%s\" splits into more than %d ways",
                      compiler->input->service, SPLITS_MAX);
    struct chain_split *splits = arena_alloc(compiler->arena, (count) * sizeof *splits);
    size_t at = 0;
    for (size_t i = 0; i < node->split_count; i++) {
        const struct chain_split *outer = &node->splits[i];
        if (outer->next->kind != CHAIN_SPLITTER) {
            splits[at++] = *outer;
            continue;
        }
        for (size_t j = 0; j < outer->next->split_count; j++) {
            const struct chain_split *inner = &outer->next->splits[j];
            Pb__ServiceSplit *both = proto_copy(inner->definition, compiler->arena);
            both->request_headers =
                merge_headers(compiler, outer->definition->request_headers, both->request_headers);
            both->response_headers = merge_headers(compiler, outer->definition->response_headers,
                                                   both->response_headers);
            int64_t weight = (outer->weight * inner->weight + 5000) / 10000;
            splits[at++] = (struct chain_split){both, weight, inner->next};
        }
    }
    node->splits = splits;
    node->split_count = count;
    return true;
}

static bool flatten_all(struct compiler *compiler)
{
    for (size_t i = 0; i < compiler->node_count; i++) {
        if (compiler->nodes[i]->kind == CHAIN_SPLITTER &&
            !flatten(compiler, compiler->nodes[i], NULL, 0))
            return false;
    }
    return true;
}

/* ---- routers ---- */

static Pb__ServiceRoute *last_route(struct compiler *compiler, const struct place *self)
{
    Pb__ServiceRoute *route = proto_new(compiler->arena, pb__service_route);
    route->match = proto_new(compiler->arena, pb__service_route_match);
    route->match->http = proto_new(compiler->arena, pb__service_route_httpmatch);
    route->match->http->path_prefix = (char *)(uintptr_t) "/";
    route->destination = proto_new(compiler->arena, pb__service_route_destination);
    route->destination->service = arena_strdup(compiler->arena, self->service);
    route->destination->namespace_ = arena_strdup(compiler->arena, self->tenancy.namespace);
    route->destination->partition = arena_strdup(compiler->arena, self->tenancy.partition);
    return route;
}

static bool add_route(struct compiler *compiler, struct chain_node *node,
                      const Pb__ServiceRoute *route, const struct place *self)
{
    const Pb__ServiceRouteDestination *destination = route->destination;
    struct place place = *self;
    if (destination != NULL) {
        place.tenancy = in_namespace(compiler, destination->namespace_, &self->tenancy);
        if (!text_empty(destination->service))
            place.service = destination->service;
        place.subset = destination->service_subset;
    }
    const struct chain_node *next =
        text_empty(place.subset) ? split_or_resolve(compiler, place, 0) : resolve(compiler, place);
    node->routes[node->route_count++] = (struct chain_route){route, next};
    return next != NULL;
}

static struct chain_node *route(struct compiler *compiler, const struct place *self)
{
    const Pb__ServiceRouterEntry *entry =
        compiler->flat ? NULL
                       : find_entry(compiler, "service-router", &self->tenancy, self->service);
    if (entry == NULL)
        return split_or_resolve(compiler, *self, 0);
    if (!record_protocol(compiler, &self->tenancy, self->service))
        return NULL;
    struct chain_node *node =
        add_node(compiler, CHAIN_ROUTER, entry_node_name(compiler, &self->tenancy, self->service));
    if (node == NULL)
        return NULL;
    node->routes = arena_alloc(compiler->arena, (entry->n_routes + 1) * sizeof *node->routes);
    for (size_t i = 0; i < entry->n_routes; i++) {
        if (!add_route(compiler, node, entry->routes[i], self))
            return NULL;
    }
    return add_route(compiler, node, last_route(compiler, self), self) ? node : NULL;
}

/* ---- the whole ---- */

static int compare_nodes(const void *a, const void *b)
{
    const struct chain_node *left = *(const struct chain_node *const *)a;
    const struct chain_node *right = *(const struct chain_node *const *)b;
    /* "resolver" < "router" < "splitter" */
    static const int rank[] = {[CHAIN_RESOLVER] = 0, [CHAIN_ROUTER] = 1, [CHAIN_SPLITTER] = 2};
    int order = rank[left->kind] - rank[right->kind];
    return order != 0 ? order : strcmp(left->name, right->name);
}

static int compare_targets(const void *a, const void *b)
{
    const struct chain_target *left = *(const struct chain_target *const *)a;
    const struct chain_target *right = *(const struct chain_target *const *)b;
    return strcmp(left->id, right->id);
}

static void mark(const struct chain_node *node, const struct chain_node **used, size_t *count)
{
    for (size_t i = 0; i < *count; i++) {
        if (used[i] == node)
            return;
    }
    used[(*count)++] = node;
    for (size_t i = 0; i < node->split_count; i++)
        mark(node->splits[i].next, used, count);
    for (size_t i = 0; i < node->route_count; i++)
        mark(node->routes[i].next, used, count);
}

/* Splitters that were merged into others are gone. */
static void finish_lists(struct compiler *compiler, struct chain *chain)
{
    const struct chain_node **nodes =
        arena_alloc(compiler->arena, compiler->node_count * sizeof *nodes);
    const struct chain_target **targets =
        arena_alloc(compiler->arena, compiler->target_count * sizeof *targets);
    mark(chain->start, nodes, &chain->node_count);
    for (size_t i = 0; i < chain->node_count; i++) {
        if (nodes[i]->kind == CHAIN_RESOLVER)
            targets[chain->target_count++] = nodes[i]->target;
    }
    qsort(nodes, chain->node_count, sizeof *nodes, compare_nodes);
    qsort(targets, chain->target_count, sizeof *targets, compare_targets);
    chain->nodes = nodes;
    chain->targets = targets;
}

static bool has_advanced(const struct compiler *compiler)
{
    for (size_t i = 0; i < compiler->node_count; i++) {
        if (compiler->nodes[i]->kind != CHAIN_RESOLVER)
            return true;
    }
    return false;
}

static bool check_protocol(struct compiler *compiler, struct chain *chain)
{
    const char *asked = compiler->input->overrides.protocol;
    if (!compiler->flat && has_advanced(compiler) && !config_protocol_is_http(compiler->protocol))
        return refuse(compiler->error,
                      "discovery chain \"%s\" uses a protocol \"%s\" that does not permit advanced "
                      "routing or splitting behavior",
                      compiler->input->service, compiler->protocol);
    chain->protocol = text_empty(asked) ? compiler->protocol : asked;
    chain->customized = !text_equal(chain->protocol, compiler->protocol);
    return true;
}

static bool customizes(const struct compiler *compiler)
{
    return compiler->input->overrides.connect_timeout_ns > 0 ||
           !text_empty(compiler->input->overrides.gateway_mode);
}

const struct chain *chain_compile(const struct chain_input *input, struct arena *arena,
                                  struct error *error)
{
    struct compiler *compiler = arena_alloc(arena, sizeof *compiler);
    compiler->input = input;
    compiler->arena = arena;
    compiler->error = error;
    compiler->flat = !text_empty(input->overrides.protocol) &&
                     !config_protocol_is_http(input->overrides.protocol);
    struct place self = {
        .tenancy = {.partition = or_default(input->tenancy.partition),
                    .namespace = or_default(input->tenancy.namespace)},
        .service = arena_strdup(arena, input->service),
        .subset = "",
    };
    struct chain *chain = arena_alloc(arena, sizeof *chain);
    chain->service = self.service;
    chain->tenancy = self.tenancy;
    chain->datacenter = input->datacenter;
    chain->start = route(compiler, &self);
    if (chain->start == NULL || !flatten_all(compiler) || !check_protocol(compiler, chain))
        return NULL;
    chain->customized |= customizes(compiler);
    chain->is_default = chain->start->kind == CHAIN_RESOLVER && chain->start->no_entry &&
                        text_equal(chain->start->target->service, self.service);
    finish_lists(compiler, chain);
    return chain;
}
