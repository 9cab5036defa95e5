/* An agent's configuration: defaults, then what -dev changes, then files in order, then flags; the
 * later wins, lists are joined (Consul's rules). The schema is proto/pons/agent.proto. */
#pragma once

#include <jansson.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "config/entry.h"
#include "pons/agent.pb-c.h"

struct agent_sources {
    bool dev;
    bool files_only; /* what depends on the machine and on other flags (-dev, -server) is not asked */
    struct text_list paths; /* -config-file and -config-dir, in the order given */
    struct text_list snippets; /* -hcl */
    json_t *flags;          /* an object in the schema's shape, or NULL; owned */
};

struct bootstrap_entry {
    const struct config_kind *kind;
    const void *entry;
};

struct agent_config {
    struct arena *arena; /* everything below lives in it */
    bool dev;
    const Pb__AgentConfig *values; /* complete: what nobody set has its default */
    const char *node_name;         /* the host's name unless set */
    const char *advertise;         /* an IP literal */
    const char *advertise_wan;
    bool default_allow; /* where no intention matches */
    size_t entry_count; /* config_entries.bootstrap */
    const struct bootstrap_entry *entries;
    size_t service_count, check_count; /* `service` and `services` together, likewise checks */
    Pb__ServiceDefinition *const *services;
    Pb__CheckDefinition *const *checks;
};

/* NULL if anything is wrong: `errors` then holds every error found, each with file and place.
 * `warnings` gets what is accepted but deserves a word. */
struct agent_config *agent_config_load(const struct agent_sources *sources,
                                       struct text_list *warnings, struct text_list *errors);
void agent_config_free(struct agent_config *config); /* NULL is fine */
