/* The peering token: what the acceptor's operator hands to the dialer's.
 *
 * Standard base64 of a JSON object (peering-protocol section 3). It holds a secret that works once:
 * it is never logged, and its text is wiped when it is no longer needed. */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/memory.h"
#include "consul/peering.pb-c.h"

#define TOKEN_BYTES_MAX 1048576 /* longer texts are refused unread */

/* Fresh memory. Of `remote` the locality is always written, as null if there is none. */
char *token_write(const Pb__PeeringToken *token);

/* Decodes and checks in the order and with the words of section 3 (ERR_INTERNAL: Consul answers
 * 500). A token without CA is well-formed; whether it is welcome is the caller's decision. NULL on
 * failure. */
Pb__PeeringToken *token_read(const char *text, struct arena *arena, struct error *error);

/* "<address> is not a valid peering server address" unless it is host:port with a port of 1…65535.
 */
bool token_check_address(const char *address, struct error *error);
