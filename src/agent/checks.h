/* The checks that this agent runs: TTL, TCP, HTTP and alias.
 *
 * Which ones run follows from the catalog: every check of the agent's node that carries its
 * definition has a runner; it starts, changes and ends with its record. Outcomes go back through
 * local_update_check. A check runs at once when it appears, then at its interval; while it is
 * critical it is tried once a second, so that recovery shows without waiting for a long interval.
 */
#pragma once

#include "agent/local.h"
#include "net/http_client.h"

struct checks;

struct checks_config {
    struct store *store;
    struct local *local;
    const char *node;
    size_t output_max;
};

struct checks *checks_new(const struct checks_config *config);
void checks_free(struct checks *checks); /* NULL is fine */
/* The outside has reported on a TTL check: its time starts anew. */
void checks_touch(struct checks *checks, const struct tenancy *tenancy, const char *check_id);
/* Runs a check now (something tells that its outcome has changed). */
void checks_run_now(struct checks *checks, const struct tenancy *tenancy, const char *check_id);
