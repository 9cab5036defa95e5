/* What is taken of the entries of discovery chains, each by itself; whether they fit together is
 * the compiler's word (chain/compile.c). Refusals that Consul has too are in its words. */
#include <string.h>

#include "base/duration.h"
#include "base/text.h"
#include "config/entry.h"
#include "config/validate.h"
#include "proto/codec_tables.h"
#include "text/pattern.h"

#define refuse(error, ...) error_set((error), ERR_INTERNAL, __VA_ARGS__)

#define WEIGHT_ALL 10000
#define RETRIES_MAX 1000

const struct filter_root config_subset_root = {{{"Node", &pb__node__codec, false},
                                                {"Service", &pb__node_service__codec, false},
                                                {"Checks", &pb__health_check__codec, true}}};

static void drop_default(char **name)
{
    if (text_equal_nocase(*name, "default"))
        *name = (char *)protobuf_c_empty_string;
}

static bool check_name(const void *entry, struct error *error)
{
    return !text_empty(config_entry_head(entry)->name) || refuse(error, "Name is required");
}

static bool check_partition(const char *partition, const char *where, struct error *error)
{
    return text_empty(partition) || text_equal_nocase(partition, "default") ||
           refuse(error, "%s: there is no partition besides \"default\": leave out Partition",
                  where);
}

/* ---- changes of headers ---- */

#define TOKEN_BYTES                                                  \
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789" \
    "!#$%&'*+-.^_`|~"

static bool is_printable(const char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < ' ' || *text == 127)
            return false;
    }
    return true;
}

/* Envoy reads %WORD% and %WORD(...)% in values; %% is one per cent sign. One bad value would make
 * it refuse all routes of the upstream. */
static bool is_format(const char *value)
{
    while ((value = strchr(value, '%')) != NULL) {
        const char *end = strchr(value + 1, '%');
        size_t word = strspn(value + 1, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789");
        if (end == NULL || (end > value + 1 && word == 0))
            return false;
        if (end > value + 1 && value[1 + word] != '%' && value[1 + word] != '(')
            return false;
        value = end + 1;
    }
    return true;
}

static bool check_header_name(const char *name, const char *where, struct error *error)
{
    if (!text_empty(name) && strspn(name, TOKEN_BYTES) == strlen(name) &&
        !text_equal_nocase(name, "host"))
        return true;
    return refuse(error, "%s: \"%s\" is no name of a header that can be changed", where, name);
}

static bool check_header_value(const char *name, const char *value, const char *where,
                               struct error *error)
{
    if (!is_printable(value))
        return refuse(error, "%s: the value of \"%s\" has control characters", where, name);
    return is_format(value) ||
           refuse(error, "%s: in the value of \"%s\", write %%%% for a per cent sign", where, name);
}

static bool check_modifiers(const Pb__HeaderModifiers *modifiers, const char *where,
                            struct error *error)
{
    for (size_t i = 0; modifiers != NULL && i < modifiers->n_add; i++) {
        if (!check_header_name(modifiers->add[i]->key, where, error) ||
            !check_header_value(modifiers->add[i]->key, modifiers->add[i]->value, where, error))
            return false;
    }
    for (size_t i = 0; modifiers != NULL && i < modifiers->n_set; i++) {
        if (!check_header_name(modifiers->set[i]->key, where, error) ||
            !check_header_value(modifiers->set[i]->key, modifiers->set[i]->value, where, error))
            return false;
    }
    for (size_t i = 0; modifiers != NULL && i < modifiers->n_remove; i++) {
        if (!check_header_name(modifiers->remove[i], where, error))
            return false;
    }
    return true;
}

/* ---- service-router ---- */

/* How many ways to match a header or a parameter name. */
static size_t count_ways(bool present, const char *const *texts, size_t count)
{
    size_t ways = present ? 1 : 0;
    for (size_t i = 0; i < count; i++)
        ways += text_empty(texts[i]) ? 0 : 1;
    return ways;
}

/* Envoy's and Go's syntax differ in corners only; what neither reads is refused here. */
static bool check_regex(const char *regex, const char *where, struct arena *arena,
                        struct error *error)
{
    struct error bad = {0};
    if (text_empty(regex) || pattern_compile(regex, arena, &bad) != NULL)
        return true;
    return refuse(error, "%s: %s", where, bad.message);
}

static bool check_headers_match(const Pb__ServiceRouteHTTPMatch *match, size_t i,
                                struct arena *arena, struct error *error)
{
    for (size_t j = 0; j < match->n_header; j++) {
        const Pb__ServiceRouteHeaderMatch *header = match->header[j];
        const char *const texts[] = {header->exact, header->prefix, header->suffix,
                                     header->contains, header->regex};
        if (text_empty(header->name))
            return refuse(error, "Route[%zu] Header[%zu] missing required Name field", i, j);
        if (strspn(header->name, ":" TOKEN_BYTES) != strlen(header->name))
            return refuse(error, "Route[%zu] Header[%zu]: \"%s\" is no name of a header", i, j,
                          header->name);
        if (count_ways(header->present, texts, 5) != 1)
            return refuse(error,
                          "Route[%zu] Header[%zu] should only contain one of Present, Exact, "
                          "Prefix, Suffix, Contains, or Regex",
                          i, j);
        if (!check_regex(header->regex, arena_printf(arena, "Route[%zu] Header[%zu] Regex", i, j),
                         arena, error))
            return false;
    }
    for (size_t j = 0; j < match->n_query_param; j++) {
        const Pb__ServiceRouteQueryMatch *query = match->query_param[j];
        const char *const texts[] = {query->exact, query->regex};
        if (text_empty(query->name))
            return refuse(error, "Route[%zu] QueryParam[%zu] missing required Name field", i, j);
        if (count_ways(query->present, texts, 2) != 1)
            return refuse(error,
                          "Route[%zu] QueryParam[%zu] should only contain one of Present, Exact, "
                          "or Regex",
                          i, j);
        if (!check_regex(query->regex,
                         arena_printf(arena, "Route[%zu] QueryParam[%zu] Regex", i, j), arena,
                         error))
            return false;
    }
    return true;
}

static bool check_methods(Pb__ServiceRouteHTTPMatch *match, size_t i, struct arena *arena,
                          struct error *error)
{
    static const char *const known[] = {"GET",    "HEAD",    "POST",    "PUT",   "PATCH",
                                        "DELETE", "CONNECT", "OPTIONS", "TRACE", NULL};
    for (size_t j = 0; j < match->n_methods; j++) {
        char *method = arena_strdup(arena, match->methods[j]);
        bool found = false;
        for (size_t k = 0; known[k] != NULL && !found; k++) {
            if ((found = text_equal_nocase(known[k], method)))
                match->methods[j] = (char *)(uintptr_t)known[k];
        }
        if (!found)
            return refuse(error, "Route[%zu] Methods contains an invalid method \"%s\"", i, method);
        for (size_t k = 0; k < j; k++) {
            if (text_equal(match->methods[k], match->methods[j]))
                return refuse(error, "Route[%zu] Methods contains \"%s\" more than once", i,
                              match->methods[j]);
        }
    }
    return true;
}

static bool check_http_match(Pb__ServiceRouteHTTPMatch *match, size_t i, struct arena *arena,
                             struct error *error)
{
    const char *const paths[] = {match->path_exact, match->path_prefix, match->path_regex};
    if (count_ways(false, paths, 3) > 1)
        return refuse(error,
                      "Route[%zu] should only contain at most one of PathExact, PathPrefix, or "
                      "PathRegex",
                      i);
    if (!text_empty(match->path_exact) && match->path_exact[0] != '/')
        return refuse(error, "Route[%zu] PathExact doesn't start with '/': \"%s\"", i,
                      match->path_exact);
    if (!text_empty(match->path_prefix) && match->path_prefix[0] != '/')
        return refuse(error, "Route[%zu] PathPrefix doesn't start with '/': \"%s\"", i,
                      match->path_prefix);
    for (size_t j = 0; j < 3; j++) {
        if (!is_printable(paths[j]))
            return refuse(error, "Route[%zu]: the path has control characters", i);
    }
    return check_regex(match->path_regex, arena_printf(arena, "Route[%zu] PathRegex", i), arena,
                       error) &&
           check_headers_match(match, i, arena, error) && check_methods(match, i, arena, error);
}

static bool check_duration(int64_t ns, const char *name, struct error *error)
{
    char text[DURATION_TEXT_MAX];
    return ns >= 0 || refuse(error, "Bad %s '%s', must be >= 0", name, duration_format(ns, text));
}

static bool is_retry_condition(const char *name)
{
    static const char *const known[] = {"5xx",
                                        "gateway-error",
                                        "reset",
                                        "connect-failure",
                                        "envoy-ratelimited",
                                        "retriable-4xx",
                                        "refused-stream",
                                        "cancelled",
                                        "deadline-exceeded",
                                        "internal",
                                        "resource-exhausted",
                                        "unavailable"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (text_equal(known[i], name))
            return true;
    }
    return false;
}

static bool check_destination(Pb__ServiceRouteDestination *destination,
                              const Pb__ServiceRouteHTTPMatch *match, size_t i, struct arena *arena,
                              struct error *error)
{
    drop_default(&destination->namespace_);
    drop_default(&destination->partition);
    bool path =
        match != NULL && (!text_empty(match->path_exact) || !text_empty(match->path_prefix));
    if (!text_empty(destination->prefix_rewrite) && !path)
        return refuse(error,
                      "Route[%zu] cannot make use of PrefixRewrite without configuring either "
                      "PathExact or PathPrefix",
                      i);
    if (!is_printable(destination->prefix_rewrite))
        return refuse(error, "Route[%zu] PrefixRewrite has control characters", i);
    for (size_t j = 0; j < destination->n_retry_on; j++) {
        if (!is_retry_condition(destination->retry_on[j]))
            return refuse(error, "Route[%zu] contains an invalid retry condition: \"%s\"", i,
                          destination->retry_on[j]);
    }
    if (destination->num_retries > RETRIES_MAX)
        return refuse(error, "Route[%zu] NumRetries is %u: at most %d are tried", i,
                      destination->num_retries, RETRIES_MAX);
    for (size_t j = 0; j < destination->n_retry_on_status_codes; j++) {
        uint32_t code = destination->retry_on_status_codes[j];
        if (code < 100 || code > 599)
            return refuse(error, "Route[%zu] RetryOnStatusCodes: %u is no HTTP status", i, code);
    }
    return check_modifiers(destination->request_headers,
                           arena_printf(arena, "Route[%zu] RequestHeaders", i), error) &&
           check_modifiers(destination->response_headers,
                           arena_printf(arena, "Route[%zu] ResponseHeaders", i), error) &&
           check_partition(destination->partition, arena_printf(arena, "Route[%zu] Destination", i),
                           error);
}

bool config_check_service_router(void *message, struct arena *arena, struct error *error)
{
    Pb__ServiceRouterEntry *entry = message;
    if (!config_check_head(entry, "service-router", error) || !check_name(entry, error))
        return false;
    for (size_t i = 0; i < entry->n_routes; i++) {
        Pb__ServiceRoute *route = entry->routes[i];
        Pb__ServiceRouteHTTPMatch *match = route->match == NULL ? NULL : route->match->http;
        if (match != NULL && !check_http_match(match, i, arena, error))
            return false;
        if (route->destination != NULL &&
            !check_destination(route->destination, match, i, arena, error))
            return false;
    }
    return true;
}

/* ---- service-splitter ---- */

static bool same_split(const Pb__ServiceSplit *a, const Pb__ServiceSplit *b, const char *self)
{
    const char *left = text_empty(a->service) ? self : a->service;
    const char *right = text_empty(b->service) ? self : b->service;
    return text_equal(left, right) && text_equal(a->service_subset, b->service_subset) &&
           text_equal(a->namespace_, b->namespace_);
}

static bool check_split(const Pb__ServiceSplitterEntry *entry, size_t i, struct arena *arena,
                        struct error *error)
{
    Pb__ServiceSplit *split = entry->splits[i];
    drop_default(&split->namespace_);
    drop_default(&split->partition);
    if (split->weight < 0 || split->weight > WEIGHT_ALL)
        return refuse(error, "splits[%zu]: Weight must be from 0 to 100, and is %g", i,
                      split->weight / 100.0);
    for (size_t j = 0; j < i; j++) {
        if (same_split(split, entry->splits[j], entry->name))
            return refuse(error,
                          "split destination occurs more than once: service=\"%s\", "
                          "subset=\"%s\", namespace=\"%s\", partition=\"\"",
                          text_empty(split->service) ? entry->name : split->service,
                          split->service_subset, split->namespace_);
    }
    return check_modifiers(split->request_headers,
                           arena_printf(arena, "splits[%zu] RequestHeaders", i), error) &&
           check_modifiers(split->response_headers,
                           arena_printf(arena, "splits[%zu] ResponseHeaders", i), error) &&
           check_partition(split->partition, arena_printf(arena, "splits[%zu]", i), error);
}

bool config_check_service_splitter(void *message, struct arena *arena, struct error *error)
{
    Pb__ServiceSplitterEntry *entry = message;
    int64_t sum = 0;
    if (!config_check_head(entry, "service-splitter", error) || !check_name(entry, error))
        return false;
    if (entry->n_splits == 0)
        return refuse(error, "no splits configured");
    for (size_t i = 0; i < entry->n_splits; i++) {
        if (!check_split(entry, i, arena, error))
            return false;
        sum += entry->splits[i]->weight;
    }
    return sum == WEIGHT_ALL ||
           refuse(error, "the sum of all split weights must be 100, not %f", (double)sum / 100.0);
}

/* ---- service-resolver ---- */

struct filter *config_subset_filter(const char *text, struct arena *arena, struct error *error)
{
    return filter_parse(text, &config_subset_root, arena, error);
}

const Pb__ServiceResolverSubset *config_find_subset(const Pb__ServiceResolverEntry *entry,
                                                    const char *name)
{
    for (size_t i = 0; entry != NULL && i < entry->n_subsets; i++) {
        if (text_equal(entry->subsets[i]->key, name))
            return entry->subsets[i]->value;
    }
    return NULL;
}

/* It becomes a label of a host name. */
static bool is_subset_name(const char *name)
{
    size_t length = strlen(name);
    if (length == 0 || length > 63 || name[0] == '-' || name[length - 1] == '-')
        return false;
    return strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == length;
}

static bool check_subsets(const Pb__ServiceResolverEntry *entry, struct arena *arena,
                          struct error *error)
{
    for (size_t i = 0; i < entry->n_subsets; i++) {
        const char *name = entry->subsets[i]->key;
        const Pb__ServiceResolverSubset *subset = entry->subsets[i]->value;
        struct error bad = {0};
        if (text_empty(name))
            return refuse(error, "Subset defined with empty name");
        if (!is_subset_name(name))
            return refuse(error,
                          "Subset \"%s\" is invalid: must be 63 characters or fewer, begin or "
                          "end with lower case alphanumeric characters, and contain lower case "
                          "alphanumeric characters or '-' in between",
                          name);
        if (!text_empty(subset->filter) &&
            config_subset_filter(subset->filter, arena, &bad) == NULL)
            return refuse(error, "Filter for subset \"%s\" is not a valid expression: %s", name,
                          bad.message);
    }
    return text_empty(entry->default_subset) ||
           config_find_subset(entry, entry->default_subset) != NULL ||
           refuse(error, "DefaultSubset \"%s\" is not a valid subset", entry->default_subset);
}

static bool check_redirect(const Pb__ServiceResolverEntry *entry, struct error *error)
{
    Pb__ServiceResolverRedirect *redirect = entry->redirect;
    if (redirect == NULL)
        return true;
    drop_default(&redirect->namespace_);
    drop_default(&redirect->partition);
    if (!text_empty(redirect->peer) || !text_empty(redirect->datacenter) ||
        !text_empty(redirect->sameness_group))
        return refuse(error, "Redirect.Peer, .Datacenter and .SamenessGroup are not supported by "
                             "this version of Pons: redirect to a service of this cluster");
    if (!check_partition(redirect->partition, "Redirect", error))
        return false;
    if (text_empty(redirect->service)) {
        if (!text_empty(redirect->service_subset))
            return refuse(error, "Redirect.ServiceSubset defined without Redirect.Service");
        if (!text_empty(redirect->namespace_))
            return refuse(error, "Redirect.Namespace defined without Redirect.Service");
        return refuse(error, "Redirect is empty");
    }
    if (text_equal(redirect->service, entry->name) && text_empty(redirect->namespace_) &&
        !text_empty(redirect->service_subset) &&
        config_find_subset(entry, redirect->service_subset) == NULL)
        return refuse(error, "Redirect.ServiceSubset \"%s\" is not a valid subset of \"%s\"",
                      redirect->service_subset, entry->name);
    return true;
}

bool config_check_service_resolver(void *message, struct arena *arena, struct error *error)
{
    Pb__ServiceResolverEntry *entry = message;
    if (!config_check_head(entry, "service-resolver", error) || !check_name(entry, error))
        return false;
    if (!text_empty(entry->failover) && !text_equal(entry->failover, "{}"))
        return refuse(error, "Failover in service-resolver is not supported by this version of "
                             "Pons: leave it out");
    if (!text_empty(entry->load_balancer) && !text_equal(entry->load_balancer, "{}"))
        return refuse(error, "LoadBalancer in service-resolver is not supported by this version "
                             "of Pons: leave it out");
    entry->failover = entry->load_balancer = (char *)protobuf_c_empty_string;
    return check_subsets(entry, arena, error) && check_redirect(entry, error) &&
           check_duration(entry->connect_timeout, "ConnectTimeout", error) &&
           check_duration(entry->request_timeout, "RequestTimeout", error);
}
