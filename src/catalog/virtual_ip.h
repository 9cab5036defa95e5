/* The virtual address of a mesh service: the lowest of 240.0.0.0/4 that is free, for as long as
 * something makes the service reachable in the mesh. Private to the catalog. */
#pragma once

#include "catalog/catalog.h"

/* The address, given now if there is none yet; in `arena`. NULL with `error` if all are taken. */
const char *virtual_ip_need(struct txn *txn, const struct tenancy *tenancy, const char *service,
                            struct arena *arena, struct error *error);
/* Takes it back if nothing makes the service reachable any more. */
void virtual_ip_release(struct txn *txn, const struct tenancy *tenancy, const char *service);
