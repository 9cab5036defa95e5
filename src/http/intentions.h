/* Intentions one by one, as the endpoints show and edit them; stored as sources of
 * service-intentions entries. */
#pragma once

#include "http/request.h"
#include "intention/intention.h"

/* Where an intention stands. */
struct intention_place {
    const struct record *record; /* of the entry */
    const Pb__ServiceIntentionsEntry *entry;
    size_t source; /* into entry->sources */
};

/* By id, as the legacy endpoints give it to what they create. */
bool intention_find_id(struct view *view, const struct tenancy *tenancy, const char *id,
                       struct intention_place *ret_place);
/* By both names; the source's may be of a peer. */
bool intention_find_exact(struct view *view, const struct tenancy *tenancy, const char *peer,
                          const char *source, const char *destination,
                          struct intention_place *ret_place);
/* The name behind "namespace/" and "partition/namespace/", which put themselves in `tenancy`. */
const char *intention_split_name(const char *name, struct arena *arena, struct tenancy *tenancy);

/* What ?source and ?destination name. */
struct intention_pair {
    const char *peer, *source, *destination; /* peer "" for a source of this cluster */
    struct tenancy tenancy;                  /* the destination's */
};
/* A peer's source is written peer:<peer>/<name>, as Consul's clients do. */
bool intention_read_pair(struct api_request *request, struct intention_pair *ret_pair,
                         struct error *error);
