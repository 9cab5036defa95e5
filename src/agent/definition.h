/* From what a user registers to what the catalog holds: pure expansion of service and check
 * definitions (reference: more-facts, "Sidecar registration"). */
#pragma once

#include "base/error.h"
#include "base/memory.h"
#include "consul/service.pb-c.h"

struct definition_target {
    const char *node;
    bool allow_scripts;
};

struct expanded_service {
    Pb__NodeService *service;
    size_t check_count;
    Pb__HealthCheck **checks; /* status as initially wanted */
};

/* Everything is made in `arena`; definitions are borrowed by what is made. */
bool definition_expand_service(const struct definition_target *target,
                               const Pb__ServiceDefinition *definition, struct arena *arena,
                               struct expanded_service *ret_expanded, struct error *error);

/* The definition that `connect { sidecar_service {} }` of an expanded service stands for; its port
 * is 0 where it has to be allotted. NULL with `error` untouched if there is none; NULL with it
 * filled if it is wrong (error->code is ERR_NONE before). */
Pb__ServiceDefinition *definition_sidecar(const Pb__ServiceDefinition *definition,
                                          struct arena *arena, struct error *error);
/* Gives a sidecar that has none its default checks, once its port is known. */
void definition_sidecar_checks(Pb__ServiceDefinition *sidecar, const char *parent_id,
                               struct arena *arena);

/* A check by itself; `service` is what it belongs to, or NULL for the node. */
Pb__HealthCheck *definition_expand_check(const struct definition_target *target,
                                         const Pb__CheckDefinition *definition,
                                         const Pb__NodeService *service, struct arena *arena,
                                         struct error *error);
