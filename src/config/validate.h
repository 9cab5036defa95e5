/* Validators of the config entries, one a kind (config/entry.h). Each normalises in place and
 * refuses in Consul's words where it has words for it. Consul answers these refusals with HTTP
 * 500, so their code is ERR_INTERNAL. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/memory.h"
#include "config/entry.h"

bool config_check_exported_services(void *entry, struct arena *arena, struct error *error);
bool config_check_service_intentions(void *entry, struct arena *arena, struct error *error);
bool config_check_service_defaults(void *entry, struct arena *arena, struct error *error);
bool config_check_proxy_defaults(void *entry, struct arena *arena, struct error *error);
bool config_check_mesh(void *entry, struct arena *arena, struct error *error);

/* The permissions of an intention's source (permissions.c). `where` is "Sources[0]." */
bool config_check_permissions(const Pb__SourceIntention *source, const char *where,
                              struct error *error);
/* Refuses what would leave permissions, which are about HTTP requests, to a service that does not
 * speak HTTP. To be called with the entry already written, or deleted. */
bool config_check_permission_protocols(struct view *view, const struct config_kind *kind,
                                       const struct tenancy *tenancy, const char *name,
                                       struct error *error);

/* Refuses what no RE2 reads: brackets that do not match, repetitions of nothing, what RE2 has not. An expression that
 * Envoy can't read would cost the proxy the whole resource. What passes may still be wrong in other ways. */
bool config_check_regex(const char *text, const char *where, struct error *error);

/* What intention_precedence (intention/intention.h) says, for entries that are about to be stored.
 */
int32_t config_intention_precedence(const char *source, const char *destination);
bool config_check_service_resolver(void *entry, struct arena *arena, struct error *error);
bool config_check_service_router(void *entry, struct arena *arena, struct error *error);
bool config_check_service_splitter(void *entry, struct arena *arena, struct error *error);

/* What all kinds share: `kind` in its one spelling, tenancy, meta. */
bool config_check_head(void *entry, const char *kind, struct error *error);
