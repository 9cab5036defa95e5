#include "intention/intention.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "config/validate.h"

int32_t intention_precedence(const char *source, const char *destination)
{
    return config_intention_precedence(source, destination);
}

static const Pb__ServiceIntentionsEntry *entry_of(struct view *view, const struct tenancy *tenancy,
                                                  const char *destination)
{
    static const struct config_kind kind = {.table = TABLE_SERVICE_INTENTIONS};
    const struct record *record = config_entry_get(view, &kind, tenancy, destination);
    return record == NULL ? NULL : record->message;
}

/* Precedence first; then sameness group, peer, partition, namespace, name: so local sources come
 * before peered ones. */
static int compare_matches(const void *a, const void *b)
{
    const struct intention_match *left = a, *right = b;
    const Pb__SourceIntention *l = left->source, *r = right->source;
    int32_t high = intention_precedence(l->name, left->destination);
    int32_t other = intention_precedence(r->name, right->destination);
    if (high != other)
        return high > other ? -1 : 1;
    bool any_peer = strcmp(l->peer, "*") == 0;
    if (any_peer != (strcmp(r->peer, "*") == 0)) /* beyond Consul: after the peers by name */
        return any_peer ? 1 : -1;
    const char *pairs[][2] = {{l->sameness_group, r->sameness_group},
                              {l->peer, r->peer},
                              {l->partition, r->partition},
                              {l->namespace_, r->namespace_},
                              {l->name, r->name}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        int order = strcmp(pairs[i][0], pairs[i][1]);
        if (order != 0)
            return order;
    }
    return 0;
}

static size_t add_matches(const Pb__ServiceIntentionsEntry *entry, struct intention_match *matches)
{
    for (size_t i = 0; entry != NULL && i < entry->n_sources; i++)
        matches[i] = (struct intention_match){entry->name, entry->sources[i]};
    return entry == NULL ? 0 : entry->n_sources;
}

size_t intention_match_destination(struct view *view, const struct tenancy *tenancy,
                                   const char *destination, struct arena *arena,
                                   const struct intention_match **ret_matches)
{
    const Pb__ServiceIntentionsEntry *any = entry_of(view, tenancy, "*");
    const Pb__ServiceIntentionsEntry *exact =
        strcmp(destination, "*") == 0 ? NULL : entry_of(view, tenancy, destination);
    size_t count = (exact == NULL ? 0 : exact->n_sources) + (any == NULL ? 0 : any->n_sources);
    struct intention_match *matches = arena_alloc(arena, (count + 1) * sizeof *matches);
    size_t of_exact = add_matches(exact, matches);
    add_matches(any, matches + of_exact);
    qsort(matches, count, sizeof *matches, compare_matches);
    *ret_matches = matches;
    return count;
}

static bool same_scope(const char *given, const char *asked)
{
    if (text_equal(given, "*"))
        return true;
    return text_equal_nocase(text_empty(given) ? "default" : given,
                             text_empty(asked) ? "default" : asked);
}

static bool is_source(const Pb__SourceIntention *intention, const struct tenancy *tenancy,
                      const char *peer, const char *name)
{
    bool any_peer = strcmp(intention->peer, "*") == 0 && !text_empty(peer);
    if (!any_peer && !text_equal_nocase(intention->peer, peer))
        return false;
    if (strcmp(intention->name, "*") != 0 && strcmp(intention->name, name) != 0)
        return false;
    /* The partition that a source has at its peer is not known here. */
    return same_scope(intention->namespace_, tenancy->namespace) &&
           (!text_empty(peer) || same_scope(intention->partition, tenancy->partition));
}

static const char *explain(const struct intention_match *match, struct arena *arena)
{
    const Pb__SourceIntention *source = match->source;
    bool peered = source->peer[0] != '\0';
    const char *verdict = source->n_permissions == 0
                              ? source->action
                              : arena_printf(arena, "%zu HTTP permissions", source->n_permissions);
    return arena_printf(arena, "intention \"%s\"%s%s%s => \"%s\" (%s, precedence %d)", source->name,
                        peered ? " of peer \"" : "", source->peer, peered ? "\"" : "",
                        match->destination, verdict,
                        (int)intention_precedence(source->name, match->destination));
}

bool intention_allows(struct view *view, const struct tenancy *tenancy, const char *peer,
                      const char *source, const char *destination, bool default_allow,
                      struct arena *arena, const char **ret_reason)
{
    const struct intention_match *matches;
    size_t count = intention_match_destination(view, tenancy, destination, arena, &matches);
    for (size_t i = 0; i < count; i++) {
        if (!is_source(matches[i].source, tenancy, peer, source))
            continue;
        if (ret_reason != NULL)
            *ret_reason = explain(&matches[i], arena);
        return strcmp(matches[i].source->action, "allow") == 0;
    }
    if (ret_reason != NULL)
        *ret_reason = default_allow ? "no intention matches; the default is to allow"
                                    : "no intention matches; the default is to deny";
    return default_allow;
}

/* Matches whatever has come so far. */
static bool is_catch_all(const Pb__IntentionPermission *permission)
{
    const Pb__IntentionHTTP *http = permission->http;
    return http != NULL && strcmp(http->path_prefix, "/") == 0 && http->n_header == 0 &&
           http->n_methods == 0;
}

const char *intention_warning(const Pb__SourceIntention *source, struct arena *arena)
{
    bool allows = false;
    for (size_t i = 0; i < source->n_permissions; i++) {
        if (is_catch_all(source->permissions[i]))
            return NULL;
        allows |= strcmp(source->permissions[i]->action, "allow") == 0;
    }
    if (!allows)
        return NULL;
    /* Names come from users; a header takes one line of plain letters. */
    char *name = arena_strdup(arena, source->name);
    for (char *at = name; *at != '\0'; at++) {
        if (*at < ' ' || *at > '~')
            *at = '?';
    }
    return arena_printf(arena,
                        "source \"%s\": requests that none of its Permissions match are allowed, "
                        "because the default is to allow: end them with {Action = \"deny\", HTTP = "
                        "{PathPrefix = \"/\"}} to let in what they allow alone",
                        name);
}

const char *intention_entry_warning(const Pb__ServiceIntentionsEntry *entry, struct arena *arena)
{
    for (size_t i = 0; i < entry->n_sources; i++) {
        const char *warning = intention_warning(entry->sources[i], arena);
        if (warning != NULL)
            return warning;
    }
    return NULL;
}
