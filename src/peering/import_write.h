/* What a peer's resources become in the store: steps of bounded size, each inside of one
 * transaction (peering-protocol section 10). Everything is written under the local name of the
 * peering; what the peer says of names, partitions and private fields is not believed. */
#pragma once

#include "consul/peerstream.pb-c.h"
#include "store/key.h"
#include "store/store.h"

#define IMPORT_CHUNK 64 /* service instances a transaction */

/* Whose import it is. Borrowed strings. */
struct import_scope {
    const char *peering_id, *peer_name, *partition;
    const char *own_trust_domain; /* this cluster's */
};
struct tenancy import_tenancy(const struct import_scope *scope);
/* False once the peering is gone, or on its way out. */
bool import_is_open(struct txn *txn, const struct import_scope *scope, struct error *error);

/* One service's import: writes the instances of the payload chunk by chunk, then removes what the
 * payload does not have. */
struct service_import;
/* `payload` NULL: remove the service. Both are borrowed. */
struct service_import *service_import_new(const struct import_scope *scope, const char *service,
                                          const Ps__ExportedService *payload);
void service_import_free(struct service_import *import);
/* The next chunk; may be run again until service_import_advance says that it is committed. */
bool service_import_step(struct service_import *import, struct txn *txn, struct error *error);
/* False when that was the last. */
bool service_import_advance(struct service_import *import);

bool import_roots(struct txn *txn, const struct import_scope *scope,
                  const Pb__PeeringTrustBundle *bundle, struct error *error);
bool import_addresses(struct txn *txn, const struct import_scope *scope,
                      const Pb__PeeringServerAddresses *addresses, struct error *error);
