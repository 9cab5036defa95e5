/* The certificates that an agent's TLS ports present.
 *
 * The server's own identity is a leaf of the cluster's CA, renewed by itself; it is what peers
 * expect under the peering server name. An operator's certificate (tls.https, tls.grpc) is used for
 * every other name.
 *
 * With verify_incoming, clients must have a certificate of the operator's ca_file. Peers have none:
 * the peering server name asks for none, and reaches the peering stream alone. */
#pragma once

#include "agent/config.h"
#include "ca/authority.h"
#include "net/tls.h"

struct identity;

/* Reads the operator's files; what is wrong with them goes to `errors`. */
struct identity *identity_new(struct authority *authority, const struct agent_config *config,
                              struct text_list *errors);
void identity_free(struct identity *identity);                 /* after the listeners */
struct tls_context *identity_https(struct identity *identity); /* borrowed */
struct tls_context *identity_grpc(struct identity *identity);
/* The SNI by which peers ask for the server's own identity. */
const char *identity_peering_name(const struct identity *identity);
