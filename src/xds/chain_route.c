/* A discovery chain as Envoy's routes: a route for each of the router's, splits as weighted
 * clusters. */
#include <string.h>

#include "base/text.h"
#include "envoy/matcher.pb-c.h"
#include "envoy/route.pb-c.h"
#include "google/protobuf/duration.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"
#include "xds/build.h"

/* ---- changes of headers ---- */

static Envoy__HeaderValueOption *header_option(struct arena *arena, const char *key,
                                               const char *value, bool replace)
{
    Envoy__HeaderValueOption *option = proto_new(arena, envoy__header_value_option);
    option->header = proto_new(arena, envoy__header_value);
    option->header->key = xds_text(key);
    option->header->value = xds_text(value);
    option->append_action =
        replace ? ENVOY__HEADER_VALUE_OPTION__HEADER_APPEND_ACTION__OVERWRITE_IF_EXISTS_OR_ADD
                : ENVOY__HEADER_VALUE_OPTION__HEADER_APPEND_ACTION__APPEND_IF_EXISTS_OR_ADD;
    return option;
}

struct header_changes {
    size_t add_count;
    Envoy__HeaderValueOption **add;
    size_t remove_count;
    char **remove;
};

static struct header_changes header_changes(struct arena *arena,
                                            const Pb__HeaderModifiers *modifiers)
{
    struct header_changes changes = {0};
    if (modifiers == NULL)
        return changes;
    changes.add = proto_array(arena, modifiers->n_add + modifiers->n_set);
    for (size_t i = 0; i < modifiers->n_add; i++)
        changes.add[changes.add_count++] =
            header_option(arena, modifiers->add[i]->key, modifiers->add[i]->value, false);
    for (size_t i = 0; i < modifiers->n_set; i++)
        changes.add[changes.add_count++] =
            header_option(arena, modifiers->set[i]->key, modifiers->set[i]->value, true);
    changes.remove_count = modifiers->n_remove;
    changes.remove = modifiers->remove;
    return changes;
}

/* A route and a weighted cluster have the same fields for them. */
#define SET_HEADERS(arena, place, request, response)                      \
    do {                                                                  \
        struct header_changes asked = header_changes((arena), (request)); \
        struct header_changes told = header_changes((arena), (response)); \
        (place)->n_request_headers_to_add = asked.add_count;              \
        (place)->request_headers_to_add = asked.add;                      \
        (place)->n_request_headers_to_remove = asked.remove_count;        \
        (place)->request_headers_to_remove = asked.remove;                \
        (place)->n_response_headers_to_add = told.add_count;              \
        (place)->response_headers_to_add = told.add;                      \
        (place)->n_response_headers_to_remove = told.remove_count;        \
        (place)->response_headers_to_remove = told.remove;                \
    } while (0)

/* ---- where to ---- */

static Envoy__WeightedCluster *weighted_clusters(struct arena *arena, const char *prefix,
                                                 const struct chain_node *node)
{
    Envoy__WeightedCluster *clusters = proto_new(arena, envoy__weighted_cluster);
    clusters->clusters = proto_array(arena, node->split_count);
    for (size_t i = 0; i < node->split_count; i++) {
        const struct chain_split *split = &node->splits[i];
        Envoy__WeightedCluster__ClusterWeight *cluster =
            proto_new(arena, envoy__weighted_cluster__cluster_weight);
        cluster->name = arena_printf(arena, "%s%s", prefix, split->next->target->sni);
        cluster->weight = xds_uint32(arena, (uint32_t)split->weight);
        SET_HEADERS(arena, cluster, split->definition->request_headers,
                    split->definition->response_headers);
        clusters->clusters[clusters->n_clusters++] = cluster;
    }
    return clusters;
}

static Envoy__RouteAction *action_to(struct arena *arena, const char *prefix,
                                     const struct chain_node *node)
{
    Envoy__RouteAction *action = proto_new(arena, envoy__route_action);
    if (node->kind == CHAIN_SPLITTER) {
        action->cluster_specifier_case = ENVOY__ROUTE_ACTION__CLUSTER_SPECIFIER_WEIGHTED_CLUSTERS;
        action->weighted_clusters = weighted_clusters(arena, prefix, node);
        return action;
    }
    action->cluster_specifier_case = ENVOY__ROUTE_ACTION__CLUSTER_SPECIFIER_CLUSTER;
    action->cluster = arena_printf(arena, "%s%s", prefix, node->target->sni);
    if (node->request_timeout_ns > 0)
        action->timeout = xds_duration_ns(arena, node->request_timeout_ns);
    return action;
}

/* A negative time is none at all. */
static void set_time(struct arena *arena, Google__Protobuf__Duration **place, int64_t ns)
{
    if (ns != 0)
        *place = xds_duration_ns(arena, ns < 0 ? 0 : ns);
}

static Envoy__RetryPolicy *retry_policy(struct arena *arena,
                                        const Pb__ServiceRouteDestination *destination)
{
    struct text_list when = {0};
    for (size_t i = 0; i < destination->n_retry_on; i++)
        text_list_add(&when, destination->retry_on[i]);
    if (destination->retry_on_connect_failure && !text_list_has(&when, "connect-failure"))
        text_list_add(&when, "connect-failure");
    if (destination->n_retry_on_status_codes > 0)
        text_list_add(&when, "retriable-status-codes");
    if (when.count == 0 && destination->num_retries == 0)
        return NULL;
    Envoy__RetryPolicy *policy = proto_new(arena, envoy__retry_policy);
    for (size_t i = 0; i < when.count; i++)
        policy->retry_on = i == 0 ? arena_strdup(arena, when.items[i])
                                  : arena_printf(arena, "%s,%s", policy->retry_on, when.items[i]);
    text_list_free(&when);
    if (destination->num_retries > 0)
        policy->num_retries = xds_uint32(arena, destination->num_retries);
    policy->n_retriable_status_codes = destination->n_retry_on_status_codes;
    policy->retriable_status_codes = destination->retry_on_status_codes;
    return policy;
}

static void apply_destination(struct arena *arena, Envoy__Route *route,
                              const Pb__ServiceRouteDestination *destination)
{
    if (destination == NULL)
        return;
    route->route->prefix_rewrite = xds_text(destination->prefix_rewrite);
    set_time(arena, &route->route->timeout, destination->request_timeout);
    set_time(arena, &route->route->idle_timeout, destination->idle_timeout);
    route->route->retry_policy = retry_policy(arena, destination);
    SET_HEADERS(arena, route, destination->request_headers, destination->response_headers);
}

/* ---- which requests ---- */

static Envoy__RegexMatcher *regex(struct arena *arena, const char *text)
{
    Envoy__RegexMatcher *matcher = proto_new(arena, envoy__regex_matcher);
    matcher->regex = xds_text(text);
    return matcher;
}

static Envoy__StringMatcher *match_text(struct arena *arena,
                                        const Pb__ServiceRouteHeaderMatch *header)
{
    Envoy__StringMatcher *matcher = proto_new(arena, envoy__string_matcher);
    if (!text_empty(header->regex))
        return xds_match_regex(arena, header->regex);
    if (!text_empty(header->prefix)) {
        matcher->match_pattern_case = ENVOY__STRING_MATCHER__MATCH_PATTERN_PREFIX;
        matcher->prefix = header->prefix;
    } else if (!text_empty(header->suffix)) {
        matcher->match_pattern_case = ENVOY__STRING_MATCHER__MATCH_PATTERN_SUFFIX;
        matcher->suffix = header->suffix;
    } else if (!text_empty(header->contains)) {
        matcher->match_pattern_case = ENVOY__STRING_MATCHER__MATCH_PATTERN_CONTAINS;
        matcher->contains = header->contains;
    } else {
        return xds_match_exact(arena, header->exact);
    }
    return matcher;
}

static Envoy__HeaderMatcher *match_header(struct arena *arena,
                                          const Pb__ServiceRouteHeaderMatch *header)
{
    Envoy__HeaderMatcher *matcher = proto_new(arena, envoy__header_matcher);
    matcher->name = header->name;
    matcher->invert_match = header->invert;
    if (header->present) {
        matcher->header_match_specifier_case =
            ENVOY__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_PRESENT_MATCH;
        matcher->present_match = true;
    } else {
        matcher->header_match_specifier_case =
            ENVOY__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_STRING_MATCH;
        matcher->string_match = match_text(arena, header);
    }
    return matcher;
}

static Envoy__HeaderMatcher *match_methods(struct arena *arena,
                                           const Pb__ServiceRouteHTTPMatch *match)
{
    const char *any = match->methods[0];
    for (size_t i = 1; i < match->n_methods; i++)
        any = arena_printf(arena, "%s|%s", any, match->methods[i]);
    Pb__ServiceRouteHeaderMatch *header = proto_new(arena, pb__service_route_header_match);
    header->name = xds_text(":method");
    header->regex = xds_text(any);
    return match_header(arena, header);
}

static Envoy__QueryParameterMatcher *match_query(struct arena *arena,
                                                 const Pb__ServiceRouteQueryMatch *query)
{
    Envoy__QueryParameterMatcher *matcher = proto_new(arena, envoy__query_parameter_matcher);
    matcher->name = query->name;
    if (query->present) {
        matcher->query_parameter_match_specifier_case =
            ENVOY__QUERY_PARAMETER_MATCHER__QUERY_PARAMETER_MATCH_SPECIFIER_PRESENT_MATCH;
        matcher->present_match = true;
        return matcher;
    }
    matcher->query_parameter_match_specifier_case =
        ENVOY__QUERY_PARAMETER_MATCHER__QUERY_PARAMETER_MATCH_SPECIFIER_STRING_MATCH;
    matcher->string_match = text_empty(query->regex) ? xds_match_exact(arena, query->exact)
                                                     : xds_match_regex(arena, query->regex);
    return matcher;
}

static void set_path(struct arena *arena, Envoy__RouteMatch *matcher,
                     const Pb__ServiceRouteHTTPMatch *match)
{
    if (match != NULL && !text_empty(match->path_exact)) {
        matcher->path_specifier_case = ENVOY__ROUTE_MATCH__PATH_SPECIFIER_PATH;
        matcher->path = match->path_exact;
    } else if (match != NULL && !text_empty(match->path_regex)) {
        matcher->path_specifier_case = ENVOY__ROUTE_MATCH__PATH_SPECIFIER_SAFE_REGEX;
        matcher->safe_regex = regex(arena, match->path_regex);
    } else {
        matcher->path_specifier_case = ENVOY__ROUTE_MATCH__PATH_SPECIFIER_PREFIX;
        matcher->prefix =
            xds_text(match != NULL && !text_empty(match->path_prefix) ? match->path_prefix : "/");
    }
}

static Envoy__RouteMatch *route_match(struct arena *arena, const Pb__ServiceRouteHTTPMatch *match)
{
    Envoy__RouteMatch *matcher = proto_new(arena, envoy__route_match);
    set_path(arena, matcher, match);
    if (match == NULL)
        return matcher;
    if (match->case_insensitive) /* a wrapper that holds false */
        matcher->case_sensitive = proto_new(arena, google__protobuf__bool_value);
    matcher->headers = proto_array(arena, match->n_header + 1);
    for (size_t i = 0; i < match->n_header; i++)
        matcher->headers[matcher->n_headers++] = match_header(arena, match->header[i]);
    if (match->n_methods > 0)
        matcher->headers[matcher->n_headers++] = match_methods(arena, match);
    matcher->query_parameters = proto_array(arena, match->n_query_param);
    for (size_t i = 0; i < match->n_query_param; i++)
        matcher->query_parameters[matcher->n_query_parameters++] =
            match_query(arena, match->query_param[i]);
    return matcher;
}

/* ---- all of it ---- */

static Envoy__Route *make_route(struct arena *arena, const char *prefix,
                                const Pb__ServiceRoute *definition, const struct chain_node *next)
{
    Envoy__Route *route = proto_new(arena, envoy__route);
    route->match = route_match(
        arena, definition == NULL || definition->match == NULL ? NULL : definition->match->http);
    route->action_case = ENVOY__ROUTE__ACTION_ROUTE;
    route->route = action_to(arena, prefix, next);
    if (definition != NULL)
        apply_destination(arena, route, definition->destination);
    return route;
}

void xds_chain_route(struct xds_build *build, const char *name, const char *prefix,
                     const struct chain *chain)
{
    struct arena *arena = build->arena;
    const struct chain_node *start = chain->start;
    Envoy__RouteConfiguration *config = proto_new(arena, envoy__route_configuration);
    Envoy__VirtualHost *host = proto_new(arena, envoy__virtual_host);
    host->name = config->name = xds_text(name);
    host->n_domains = 1;
    host->domains = proto_array(arena, 1);
    host->domains[0] = xds_text("*");
    host->routes = proto_array(arena, start->route_count + 1);
    for (size_t i = 0; i < start->route_count; i++)
        host->routes[host->n_routes++] =
            make_route(arena, prefix, start->routes[i].definition, start->routes[i].next);
    if (start->kind != CHAIN_ROUTER)
        host->routes[host->n_routes++] = make_route(arena, prefix, NULL, start);
    config->n_virtual_hosts = 1;
    config->virtual_hosts = proto_array(arena, 1);
    config->virtual_hosts[0] = host;
    xds_add_route(build, config);
}
