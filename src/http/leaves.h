/* Leaf certificates that HTTP clients have asked for.
 *
 * A client comes again and again for the same identity, each time with a new request. Between
 * them the interest is held here, so that all see one certificate until it is renewed; after half
 * an hour without a request it is given up. */
#pragma once

#include "base/list.h"
#include "ca/authority.h"

struct leaves;

struct leaves *leaves_new(struct loop *loop, struct authority *authority);
void leaves_free(struct leaves *leaves); /* NULL is fine */
/* Never fails but by count: NULL if too many are held. `ret_index` grows with each renewal, which
 * the store's index need not. `ret_wakers`: who waits for another one links itself there
 * (reply.wakers). Borrowed until the turn ends. */
const struct leaf *leaves_get(struct leaves *leaves, const struct tenancy *tenancy,
                              const char *service, uint64_t *ret_index, struct list **ret_wakers);
