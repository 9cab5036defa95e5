/* One running check. Private to agent/checks*.c. */
#pragma once

#include <uthash.h>

#include "agent/checks.h"
#include "net/stream.h"

struct runner;

/* How checks of one type run. */
struct runner_class {
    const char *type;
    void (*start)(struct runner *runner); /* first run, or arm what waits */
    void (*stop)(struct runner *runner);  /* drop what is under way */
};

struct runner {
    UT_hash_handle hh; /* by key, in checks->runners */
    struct checks *checks;
    const struct runner_class *class;
    struct buffer key;
    struct tenancy tenancy; /* in arena */
    struct arena *arena;
    const Pb__CheckDefinition *definition;
    char *check_id, *service_id;
    bool seen; /* by the pass that is under way */

    bool followed;             /* its record's status was read before */
    bool critical;             /* as its record says */
    struct timer *next;           /* next run, or the end of a TTL */
    struct timer *deregister;     /* of its service, while critical */
    unsigned successes, failures; /* in a row */

    /* of what is under way, by type */
    struct stream *stream;
    struct http_fetch *fetch;
    struct watch *watch;
};

struct store *runner_store(const struct runner *runner);
struct loop *runner_loop(const struct runner *runner);
struct http_client *runner_http(struct runner *runner);
size_t runner_output_max(const struct runner *runner);
const char *runner_node(const struct runner *runner);
/* An outcome: applies the thresholds, writes it, and arms the next run of checks with an interval.
 */
void runner_report(struct runner *runner, const char *status, const char *output);

extern const struct runner_class runner_ttl, runner_tcp, runner_http_class, runner_alias;
