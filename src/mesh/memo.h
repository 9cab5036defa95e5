/* Parts of a snapshot that are kept from build to build. Private to mesh/.
 *
 * A gateway's snapshot has a part for each service of the cluster. Each part is gathered through a
 * view of its own, and is gathered again only when something that it read has changed: so one
 * change among thousands of instances costs what it touches. A part may hold what its reads lent
 * it: it is given out only as long as none of that has changed. */
#pragma once

#include "mesh/gather.h"

struct memo;

/* `changed` is called when a part must be gathered again. */
struct memo *memo_new(struct store *store, loop_fn *changed, void *arg);
void memo_free(struct memo *memo); /* NULL is fine */

/* Gathers one part, through gather->view and into gather->snapshot->arena, which are the part's
 * own. Of the rest only what never changes for a proxy may be used: trust domain, datacenter. */
typedef const void *memo_fn(struct gather *gather, const char *name);
/* The part with this name under gather->tenancy. Borrowed until the build ends. */
const void *memo_get(struct gather *gather, memo_fn *fn, const char *name);
/* The build is over: forgets the parts that it did not ask for. */
void memo_sweep(struct memo *memo);
