/* Permissions of an intention as Envoy's RBAC permissions (reference: xds.md 2.3.5).
 *
 * The first permission that matches a request decides, the default where none does. As with
 * sources (rbac.c), those that say what the default says vanish, and each of the others excludes
 * what those before it match. */
#include <string.h>

#include "base/text.h"
#include "xds/build.h"

static EnvoyRbac__Permission *all_of(struct arena *arena, EnvoyRbac__Permission **rules,
                                     size_t count)
{
    if (count == 1)
        return rules[0];
    EnvoyRbac__Permission *permission = proto_new(arena, envoy_rbac__permission);
    permission->rule_case = ENVOY_RBAC__PERMISSION__RULE_AND_RULES;
    permission->and_rules = proto_new(arena, envoy_rbac__permission__set);
    permission->and_rules->n_rules = count;
    permission->and_rules->rules = rules;
    return permission;
}

static EnvoyRbac__Permission *negated(struct arena *arena, EnvoyRbac__Permission *rule)
{
    EnvoyRbac__Permission *permission = proto_new(arena, envoy_rbac__permission);
    permission->rule_case = ENVOY_RBAC__PERMISSION__RULE_NOT_RULE;
    permission->not_rule = rule;
    return permission;
}

static Envoy__StringMatcher *match(struct arena *arena,
                                   Envoy__StringMatcher__MatchPatternCase pattern, const char *text)
{
    Envoy__StringMatcher *matcher = proto_new(arena, envoy__string_matcher);
    matcher->match_pattern_case = pattern;
    matcher->exact = xds_text(text); /* all of them are texts in one union */
    return matcher;
}

static Envoy__StringMatcher *path_matcher(struct arena *arena, const Pb__IntentionHTTP *http)
{
    if (!text_empty(http->path_exact))
        return xds_match_exact(arena, http->path_exact);
    if (!text_empty(http->path_prefix))
        return match(arena, ENVOY__STRING_MATCHER__MATCH_PATTERN_PREFIX, http->path_prefix);
    return text_empty(http->path_regex) ? NULL : xds_match_regex(arena, http->path_regex);
}

static EnvoyRbac__Permission *of_path(struct arena *arena, Envoy__StringMatcher *path)
{
    EnvoyRbac__Permission *permission = proto_new(arena, envoy_rbac__permission);
    permission->rule_case = ENVOY_RBAC__PERMISSION__RULE_URL_PATH;
    permission->url_path = proto_new(arena, envoy__path_matcher);
    permission->url_path->rule_case = ENVOY__PATH_MATCHER__RULE_PATH;
    permission->url_path->path = path;
    return permission;
}

static EnvoyRbac__Permission *of_header(struct arena *arena, Envoy__HeaderMatcher *header)
{
    EnvoyRbac__Permission *permission = proto_new(arena, envoy_rbac__permission);
    permission->rule_case = ENVOY_RBAC__PERMISSION__RULE_HEADER;
    permission->header = header;
    return permission;
}

static Envoy__HeaderMatcher *header_text(struct arena *arena, const char *name,
                                         Envoy__StringMatcher *text)
{
    Envoy__HeaderMatcher *matcher = proto_new(arena, envoy__header_matcher);
    matcher->name = xds_text(name);
    matcher->header_match_specifier_case =
        ENVOY__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_STRING_MATCH;
    matcher->string_match = text;
    return matcher;
}

static Envoy__HeaderMatcher *header_matcher(struct arena *arena,
                                            const Pb__IntentionHTTPHeader *header)
{
    Envoy__StringMatcher *text = NULL;
    if (!text_empty(header->exact))
        text = xds_match_exact(arena, header->exact);
    else if (!text_empty(header->prefix))
        text = match(arena, ENVOY__STRING_MATCHER__MATCH_PATTERN_PREFIX, header->prefix);
    else if (!text_empty(header->suffix))
        text = match(arena, ENVOY__STRING_MATCHER__MATCH_PATTERN_SUFFIX, header->suffix);
    else if (!text_empty(header->contains))
        text = match(arena, ENVOY__STRING_MATCHER__MATCH_PATTERN_CONTAINS, header->contains);
    else if (!text_empty(header->regex))
        text = xds_match_regex(arena, header->regex);
    if (text != NULL)
        text->ignore_case = header->ignore_case;
    Envoy__HeaderMatcher *matcher = header_text(arena, header->name, text);
    if (text == NULL) {
        matcher->header_match_specifier_case =
            ENVOY__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_PRESENT_MATCH;
        matcher->present_match = true;
    }
    matcher->invert_match = header->invert;
    return matcher;
}

static EnvoyRbac__Permission *of_methods(struct arena *arena, const Pb__IntentionHTTP *http)
{
    const char *pattern = http->methods[0];
    for (size_t i = 1; i < http->n_methods; i++)
        pattern = arena_printf(arena, "%s|%s", pattern, http->methods[i]);
    return of_header(arena, header_text(arena, ":method", xds_match_regex(arena, pattern)));
}

static EnvoyRbac__Permission *permission_of(struct arena *arena, const Pb__IntentionHTTP *http)
{
    EnvoyRbac__Permission **rules = proto_array(arena, http->n_header + 2);
    size_t count = 0;
    Envoy__StringMatcher *path = path_matcher(arena, http);
    if (path != NULL)
        rules[count++] = of_path(arena, path);
    for (size_t i = 0; i < http->n_header; i++)
        rules[count++] = of_header(arena, header_matcher(arena, http->header[i]));
    if (http->n_methods > 0)
        rules[count++] = of_methods(arena, http);
    return all_of(arena, rules, count);
}

EnvoyRbac__Permission **xds_permissions(struct xds_build *build,
                                        const struct intention_source *source, size_t *ret_count)
{
    struct arena *arena = build->arena;
    size_t total = source->permission_count, count = 0;
    EnvoyRbac__Permission **alone = proto_array(arena, total), **kept = proto_array(arena, total);
    for (size_t i = 0; i < total; i++) {
        const Pb__IntentionPermission *permission = source->permissions[i];
        alone[i] = permission_of(arena, permission->http);
        if (text_equal(permission->action, "allow") == build->snapshot->default_allow)
            continue;
        EnvoyRbac__Permission **rules = proto_array(arena, i + 1);
        rules[0] = alone[i];
        for (size_t j = 0; j < i; j++)
            rules[j + 1] = negated(arena, alone[i - 1 - j]); /* the nearest first, as in Consul */
        kept[count++] = all_of(arena, rules, i + 1);
    }
    *ret_count = count;
    return kept;
}
