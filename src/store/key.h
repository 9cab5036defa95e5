/* Keys and index values: partition, namespace, peer, then names, each followed by a NUL.
 *
 * Every resource is keyed by its tenancy from the first day. Names of nodes and services match
 * without regard to case in Consul; keys hold them lower-cased. */
#pragma once

#include "base/buffer.h"

struct tenancy {
    const char *partition; /* NULL or "" means "default" */
    const char *namespace; /* likewise */
    const char *peer;      /* NULL or "": local */
};

#define TENANCY_DEFAULT ((struct tenancy){0})

void key_tenancy(struct buffer *key, const struct tenancy *tenancy);
void key_part(struct buffer *key, const char *part);       /* lower-cased */
void key_part_exact(struct buffer *key, const char *part); /* ids: case kept */

/* Whole keys and index values, written over what is in `key`; each returns it. */
struct buffer *key_node(struct buffer *key, const struct tenancy *tenancy, const char *node);
struct buffer *key_service(struct buffer *key, const struct tenancy *tenancy, const char *node,
                           const char *service_id);
struct buffer *key_check(struct buffer *key, const struct tenancy *tenancy, const char *node,
                         const char *check_id);
struct buffer *key_named(struct buffer *key, const struct tenancy *tenancy, const char *name);
struct buffer *key_all(struct buffer *key, const struct tenancy *tenancy); /* BY_TENANCY */
/* Part number `at` behind the tenancy (0 = first name) of a key; borrowed. */
const char *key_name(const char *key, size_t length, size_t at);
