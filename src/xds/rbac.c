/* Intentions as Envoy's RBAC rules (reference: xds.md 2.3.5).
 *
 * The first intention that matches a caller decides, the default where none does. Envoy has one
 * action for all rules and no order, so: rules that say what the default says vanish, and each
 * remaining one excludes what more specific ones before it cover. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "xds/build.h"

struct rule {
    const struct intention_source *source;
    const struct trust_bundle *bundle; /* of its peer; NULL: a local source */
    const struct rule **except;        /* more specific, and decided already */
    size_t except_count;
};

struct rules {
    struct xds_build *build;
    size_t count;
    struct rule *items;
    bool http; /* peered callers come through the local gateway, and requests can be told apart */
};

static bool is_default(const char *tenancy)
{
    return text_empty(tenancy) || text_equal_nocase(tenancy, "default");
}

static bool same_tenancy(const char *a, const char *b)
{
    return (is_default(a) && is_default(b)) || text_equal(a, b);
}

/* Whether `wide` matches every caller that `narrow` matches. */
static bool covers(const struct intention_source *wide, const struct intention_source *narrow)
{
    if (!text_equal(wide->peer, narrow->peer) || !same_tenancy(wide->partition, narrow->partition))
        return false;
    bool all_namespaces = text_equal(wide->namespace, "*");
    if (!all_namespaces && !same_tenancy(wide->namespace, narrow->namespace))
        return false;
    return text_equal(wide->name, "*") || text_equal(wide->name, narrow->name);
}

static const struct trust_bundle *peer_bundle(const struct proxy_snapshot *snapshot,
                                              const char *peer)
{
    for (size_t i = 0; i < snapshot->inbound_bundle_count; i++) {
        if (text_equal(snapshot->inbound_bundles[i]->peer, peer))
            return snapshot->inbound_bundles[i];
    }
    return NULL;
}

/* Takes over an intention unless one before it covers it: then it never decides anything. */
static void add_rule(struct rules *rules, const struct intention_source *source)
{
    struct rule *rule = &rules->items[rules->count];
    *rule = (struct rule){.source = source};
    if (!text_empty(source->peer)) {
        rule->bundle = peer_bundle(rules->build->snapshot, source->peer);
        if (rule->bundle == NULL) /* callers of an unknown peer can't get through TLS */
            return;
    }
    size_t narrower = 0;
    for (size_t i = 0; i < rules->count; i++) {
        if (covers(rules->items[i].source, source))
            return;
        narrower += covers(source, rules->items[i].source);
    }
    rule->except = proto_array(rules->build->arena, narrower);
    for (size_t i = 0; i < rules->count && narrower > 0; i++) {
        if (covers(source, rules->items[i].source))
            rule->except[rule->except_count++] = &rules->items[i];
    }
    rules->count++;
}

/* `Peer = "*"` (beyond Consul) stands for each peer that can call. */
static void add_source(struct rules *rules, const struct intention_source *source)
{
    const struct proxy_snapshot *snapshot = rules->build->snapshot;
    if (!text_equal(source->peer, "*")) {
        add_rule(rules, source);
        return;
    }
    for (size_t i = 0; i < snapshot->inbound_bundle_count; i++) {
        struct intention_source *one = arena_dup(rules->build->arena, source, sizeof *source);
        one->peer = snapshot->inbound_bundles[i]->peer;
        add_rule(rules, one);
    }
}

/* Names come from users and from peers: in a pattern they stand for themselves. */
static void add_literal(struct buffer *pattern, const char *text)
{
    for (; *text != '\0'; text++) {
        if (strchr("\\.+*?()|[]{}^$", *text) != NULL)
            buffer_add_byte(pattern, '\\');
        buffer_add_byte(pattern, *text);
    }
}

static void add_name(struct buffer *pattern, const char *name)
{
    if (text_equal(name, "*"))
        buffer_add_text(pattern, "[^/]+");
    else
        add_literal(pattern, name);
}

static void add_spiffe_pattern(struct buffer *pattern, const struct rule *rule,
                               const char *own_domain)
{
    const struct intention_source *source = rule->source;
    const char *partition =
        rule->bundle != NULL ? rule->bundle->exported_partition : source->partition;
    buffer_add_text(pattern, "spiffe://");
    add_literal(pattern, rule->bundle != NULL ? rule->bundle->trust_domain : own_domain);
    if (!is_default(partition)) {
        buffer_add_text(pattern, "/ap/");
        add_literal(pattern, partition);
    }
    buffer_add_text(pattern, "/ns/");
    add_name(pattern, is_default(source->namespace) ? "default" : source->namespace);
    buffer_add_text(pattern, "/dc/[^/]+/svc/");
    add_name(pattern, source->name);
}

static char *take_text(struct arena *arena, struct buffer *text)
{
    char *kept = arena_strdup(arena, buffer_text(text));
    buffer_free(text);
    return kept;
}

static EnvoyRbac__Principal *certificate_principal(struct arena *arena, const char *pattern)
{
    EnvoyRbac__Principal *principal = proto_new(arena, envoy_rbac__principal);
    principal->identifier_case = ENVOY_RBAC__PRINCIPAL__IDENTIFIER_AUTHENTICATED;
    principal->authenticated = proto_new(arena, envoy_rbac__principal__authenticated);
    principal->authenticated->principal_name = xds_match_regex(arena, pattern);
    return principal;
}

static EnvoyRbac__Principal *gateway_principal(struct xds_build *build)
{
    struct buffer pattern = {0};
    buffer_add_text(&pattern, "^spiffe://");
    add_literal(&pattern, build->snapshot->trust_domain);
    buffer_add_text(&pattern, "/gateway/mesh/dc/[^/]+$");
    return certificate_principal(build->arena, take_text(build->arena, &pattern));
}

/* The caller behind the gateway: the first element of the header, which the gateway has set. Envoy
 * writes it as "By=…;Hash=…;URI=spiffe://…". */
static EnvoyRbac__Principal *header_principal(struct arena *arena, const char *spiffe_pattern)
{
    EnvoyRbac__Principal *principal = proto_new(arena, envoy_rbac__principal);
    Envoy__HeaderMatcher *header = proto_new(arena, envoy__header_matcher);
    header->name = xds_text("x-forwarded-client-cert");
    header->header_match_specifier_case =
        ENVOY__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_STRING_MATCH;
    header->string_match =
        xds_match_regex(arena, arena_printf(arena, "^[^,]+;URI=%s(?:,.*)?$", spiffe_pattern));
    principal->identifier_case = ENVOY_RBAC__PRINCIPAL__IDENTIFIER_HEADER;
    principal->header = header;
    return principal;
}

static EnvoyRbac__Principal *source_principal(const struct rules *rules, const struct rule *rule)
{
    struct xds_build *build = rules->build;
    struct buffer spiffe = {0};
    add_spiffe_pattern(&spiffe, rule, build->snapshot->trust_domain);
    char *pattern = take_text(build->arena, &spiffe);
    if (rule->bundle != NULL && rules->http)
        return header_principal(build->arena, pattern);
    return certificate_principal(build->arena, arena_printf(build->arena, "^%s$", pattern));
}

static EnvoyRbac__Principal *negated(struct arena *arena, EnvoyRbac__Principal *inner)
{
    EnvoyRbac__Principal *principal = proto_new(arena, envoy_rbac__principal);
    principal->identifier_case = ENVOY_RBAC__PRINCIPAL__IDENTIFIER_NOT_ID;
    principal->not_id = inner;
    return principal;
}

static EnvoyRbac__Principal *all_of(struct arena *arena, EnvoyRbac__Principal **ids, size_t count)
{
    if (count == 1)
        return ids[0];
    EnvoyRbac__Principal *principal = proto_new(arena, envoy_rbac__principal);
    principal->identifier_case = ENVOY_RBAC__PRINCIPAL__IDENTIFIER_AND_IDS;
    principal->and_ids = proto_new(arena, envoy_rbac__principal__set);
    principal->and_ids->n_ids = count;
    principal->and_ids->ids = ids;
    return principal;
}

static EnvoyRbac__Principal *rule_principal(const struct rules *rules, const struct rule *rule)
{
    struct arena *arena = rules->build->arena;
    EnvoyRbac__Principal **ids = proto_array(arena, rule->except_count + 1);
    ids[0] = source_principal(rules, rule);
    for (size_t i = 0; i < rule->except_count; i++)
        ids[i + 1] = negated(arena, source_principal(rules, rule->except[i]));
    EnvoyRbac__Principal *caller = all_of(arena, ids, rule->except_count + 1);
    if (rule->bundle == NULL || !rules->http)
        return caller;
    EnvoyRbac__Principal **both = proto_array(arena, 2);
    both[0] = gateway_principal(rules->build);
    both[1] = caller;
    return all_of(arena, both, 2);
}

static void add_policy(struct arena *arena, EnvoyRbac__RBAC *rbac, const char *name,
                       EnvoyRbac__Policy *policy)
{
    EnvoyRbac__RBAC__PoliciesEntry *entry = proto_new(arena, envoy_rbac__rbac__policies_entry);
    entry->key = xds_text(name);
    entry->value = policy;
    rbac->policies[rbac->n_policies++] = entry;
}

/* For who is allowed or denied as a whole. */
static void add_layer4(struct arena *arena, EnvoyRbac__RBAC *rbac,
                       EnvoyRbac__Principal **principals, size_t count)
{
    EnvoyRbac__Policy *policy = proto_new(arena, envoy_rbac__policy);
    EnvoyRbac__Permission *any = proto_new(arena, envoy_rbac__permission);
    any->rule_case = ENVOY_RBAC__PERMISSION__RULE_ANY;
    any->any = true;
    policy->n_permissions = 1;
    policy->permissions = proto_array(arena, 1);
    policy->permissions[0] = any;
    policy->n_principals = count;
    policy->principals = principals;
    add_policy(arena, rbac, "consul-intentions-layer4", policy);
}

/* For one whose single requests are allowed or denied. `index` is the rule's among all that count.
 */
static void add_layer7(const struct rules *rules, EnvoyRbac__RBAC *rbac, const struct rule *rule,
                       EnvoyRbac__Permission **permissions, size_t count, size_t index)
{
    struct arena *arena = rules->build->arena;
    EnvoyRbac__Policy *policy = proto_new(arena, envoy_rbac__policy);
    policy->n_permissions = count;
    policy->permissions = permissions;
    policy->n_principals = 1;
    policy->principals = proto_array(arena, 1);
    policy->principals[0] = rule_principal(rules, rule);
    add_policy(arena, rbac, arena_printf(arena, "consul-intentions-layer7-%zu", index), policy);
}

/* Rules that say what the default says have done their part as exceptions of others. */
static void add_policies(const struct rules *rules, EnvoyRbac__RBAC *rbac)
{
    const struct proxy_snapshot *snapshot = rules->build->snapshot;
    struct arena *arena = rules->build->arena;
    size_t index = 0, count = 0;
    EnvoyRbac__Principal **principals = proto_array(arena, rules->count);
    rbac->policies = proto_array(arena, rules->count + 1);
    for (size_t i = 0; i < rules->count; i++) {
        const struct rule *rule = &rules->items[i];
        size_t permissions = 0;
        /* Where single requests can't be seen, permissions give none. */
        if (rules->http && rule->source->permission_count > 0) {
            EnvoyRbac__Permission **list =
                xds_permissions(rules->build, rule->source, &permissions);
            if (permissions > 0)
                add_layer7(rules, rbac, rule, list, permissions, index++);
        } else if (rule->source->allow != snapshot->default_allow) {
            principals[count++] = rule_principal(rules, rule);
            index++;
        }
    }
    if (count > 0)
        add_layer4(arena, rbac, principals, count);
}

EnvoyRbac__RBAC *xds_rbac(struct xds_build *build, bool http)
{
    const struct proxy_snapshot *snapshot = build->snapshot;
    struct arena *arena = build->arena;
    size_t most = snapshot->intention_count * (snapshot->inbound_bundle_count + 1) + 1;
    struct rules rules = {
        .build = build,
        .items = arena_alloc(arena, most * sizeof(struct rule)),
        .http = http,
    };
    for (size_t i = 0; i < snapshot->intention_count; i++)
        add_source(&rules, &snapshot->intentions[i]);

    /* No policies: allow rules let nobody in, deny rules keep nobody out. */
    EnvoyRbac__RBAC *rbac = proto_new(arena, envoy_rbac__rbac);
    rbac->action =
        snapshot->default_allow ? ENVOY_RBAC__RBAC__ACTION__DENY : ENVOY_RBAC__RBAC__ACTION__ALLOW;
    add_policies(&rules, rbac);
    return rbac;
}
