/* Intentions: who may call whom. Stored as service-intentions config entries; the legacy endpoints
 * map onto them. */
#pragma once

#include "config/entry.h"

struct intention_match {
    const char *destination;            /* the entry's name: the service's, or "*" */
    const Pb__SourceIntention *source;
};

/* The intentions that apply to a destination (exact and wildcard entries), in order of precedence, ties as in
 * xds.md 2.3.5: the first that matches a source decides. Borrowed from the view's turn. */
size_t intention_match_destination(struct view *view, const struct tenancy *tenancy,
                                   const char *destination, struct arena *arena,
                                   const struct intention_match **ret_matches);

/* An intention with permissions, which say of each HTTP request whether it may pass, does not allow.
 *
 * Whether `source` (local if `peer` is empty) may call `destination`. `ret_reason` (may be NULL) gets words: which
 * intention or default decided. */
bool intention_allows(struct view *view, const struct tenancy *tenancy, const char *peer,
                      const char *source, const char *destination, bool default_allow,
                      struct arena *arena, const char **ret_reason);

/* 9 for exact to exact, down to 5 (docs: "Precedence"). */
int32_t intention_precedence(const char *source, const char *destination);

/* Words for who writes an intention that surprises under default allow: permissions that allow, of which people
 * expect that nothing else passes. One line of ASCII, or NULL if there is nothing to say. In `arena`. */
const char *intention_warning(const Pb__SourceIntention *source, struct arena *arena);
const char *intention_entry_warning(const Pb__ServiceIntentionsEntry *entry, struct arena *arena);
