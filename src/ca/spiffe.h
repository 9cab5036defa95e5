/* Names that both ends of a peering derive in the same way (peering-protocol section 2, xds 2.1).
 * Everything returned is fresh memory. Namespaces and partitions: NULL or "" means "default". */
#pragma once

#include <stdbool.h>

#include "store/key.h"

char *spiffe_service(const char *trust_domain, const struct tenancy *tenancy,
                     const char *datacenter, const char *service);
char *spiffe_mesh_gateway(const char *trust_domain, const char *partition, const char *datacenter);
char *spiffe_server(const char *trust_domain, const char *datacenter);
char *spiffe_signing(const char *trust_domain);

char *name_peering_server(const char *trust_domain, const char *datacenter); /* server.<dc>.peering.<TD> */
/* `peer`: the exporter's name for the importer. */
char *sni_peered_service(const char *trust_domain, const struct tenancy *tenancy, const char *peer,
                         const char *service);
char *sni_service(const char *trust_domain, const struct tenancy *tenancy, const char *datacenter,
                  const char *subset, const char *service);
/* Envoy's cluster name at the importer. `peer`: the importer's name for the exporter. */
char *cluster_peered_service(const char *exporter_trust_domain, const struct tenancy *tenancy,
                             const char *peer, const char *service);

enum spiffe_kind { SPIFFE_SERVICE, SPIFFE_MESH_GATEWAY, SPIFFE_SERVER, SPIFFE_SIGNING };
struct spiffe_id {
    enum spiffe_kind kind;
    char *trust_domain, *partition, *namespace, *datacenter, *service; /* NULL where the kind has none */
};
bool spiffe_parse(const char *uri, struct spiffe_id *ret_id);
void spiffe_clear(struct spiffe_id *id);
