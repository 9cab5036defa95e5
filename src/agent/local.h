/* What the agent registers for its own node: services with sidecars and checks, maintenance.
 *
 * The catalog's records of the agent's node that were `registered_by_agent` are the local state:
 * there is no second copy to be brought in line. Each operation is one transaction. */
#pragma once

#include "agent/definition.h"
#include "http/api.h"
#include "store/store.h"

struct local;

struct local_config {
    struct store *store;
    const char *node;
    uint16_t sidecar_min_port, sidecar_max_port; /* 0, 0: none are allotted */
    bool allow_scripts;
};

struct local *local_new(const struct local_config *config);
void local_free(struct local *local); /* operations under way end first: free the store before */

/* As in struct api_agent (http/api.h); `definition` is copied. */
void local_register_service(struct local *local, const Pb__ServiceDefinition *definition,
                            bool replace_existing_checks, api_done_fn *done, void *arg);
void local_deregister_service(struct local *local, const struct tenancy *tenancy,
                              const char *service_id, api_done_fn *done, void *arg);
void local_register_check(struct local *local, const Pb__CheckDefinition *definition,
                          api_done_fn *done, void *arg);
void local_deregister_check(struct local *local, const struct tenancy *tenancy,
                            const char *check_id, api_done_fn *done, void *arg);
/* The outcome of a check: writes only if status or output differ. `ttl_only`: refuse checks of
 * other types. */
void local_update_check(struct local *local, const struct tenancy *tenancy, const char *check_id,
                        const char *status, const char *output, bool ttl_only, api_done_fn *done,
                        void *arg);
void local_set_maintenance(struct local *local, const struct tenancy *tenancy,
                           const char *service_id, bool enable, const char *reason,
                           api_done_fn *done, void *arg);

struct local_files {
    size_t service_count, check_count;
    Pb__ServiceDefinition *const *services;
    Pb__CheckDefinition *const *checks;
};
/* Makes the definitions of the files hold, in one transaction: registers all of them, and removes
 * what came from files before and is no longer in them. One wrong definition refuses all. `files`
 * is borrowed until `done`. */
void local_apply_files(struct local *local, const struct local_files *files, api_done_fn *done,
                       void *arg);
