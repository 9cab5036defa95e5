/* The mesh entry's words for TLS and HTTP: which there are, and what Envoy calls them. */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "pons/config_entry.pb-c.h"

/* Refuse in Consul's words. `tls` and `http` may be NULL; `side` is "incoming" or "outgoing". */
bool mesh_check_tls(const Pb__MeshDirectionalTLS *tls, const char *side, struct error *error);
bool mesh_check_http(const Pb__MeshHTTP *http, struct error *error);

/* Envoy's name of a cipher suite, which the entry names as the IANA does; NULL if it has none. */
const char *mesh_envoy_cipher(const char *suite);
/* The numbers of Envoy's enums; 0, Envoy's default, for "". */
int mesh_escaped_slashes_action(const char *word);
int mesh_underscores_action(const char *word);
/* NULL if the mesh says nothing of it. `mesh` may be NULL. */
const Pb__MeshRequestNormalization *mesh_normalization(const Pb__MeshEntry *mesh);
