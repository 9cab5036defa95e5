#include "config/validate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "config/access_log.h"
#include "config/envoy_json.h"
#include "config/mesh_options.h"
#include "pons/config_entry.pb-c.h"
#include "proto/proto.h"

#define META_PAIRS_MAX 64
#define META_KEY_MAX 128
#define META_VALUE_MAX 512

#define refuse(error, ...) error_set((error), ERR_INTERNAL, __VA_ARGS__)

/* ---- pieces that several kinds share ---- */

/* "default" is the same as nothing, and is not shown. */
static void drop_default(char **name)
{
    if (text_equal_nocase(*name, "default"))
        *name = (char *)protobuf_c_empty_string;
}

static void lower(char **text, struct arena *arena)
{
    *text = arena_strdup(arena, *text);
    text_lower(*text);
}

static bool check_meta(const Pb__ConfigEntryHead *head, struct error *error)
{
    if (head->n_meta > META_PAIRS_MAX)
        return refuse(error, "Meta exceeds maximum element count %d", META_PAIRS_MAX);
    for (size_t i = 0; i < head->n_meta; i++) {
        const char *key = head->meta[i]->key;
        if (strlen(key) > META_KEY_MAX)
            return refuse(error, "Meta key \"%s\" exceeds maximum length %d", key, META_KEY_MAX);
        if (strlen(head->meta[i]->value) > META_VALUE_MAX)
            return refuse(error, "Meta value for key \"%s\" exceeds maximum length %d", key,
                          META_VALUE_MAX);
    }
    return true;
}

/* `kind` in its one spelling, tenancy without "default", meta within its limits. */
static bool check_head(void *entry, const char *kind, struct error *error)
{
    Pb__ConfigEntryHead *head = entry;
    head->kind = (char *)kind;
    drop_default(&head->partition);
    drop_default(&head->namespace_);
    return check_meta(head, error);
}

bool config_check_head(void *entry, const char *kind, struct error *error)
{
    return check_head(entry, kind, error);
}

/* Kinds that describe a whole partition. */
static bool check_no_namespace(const void *entry, struct error *error)
{
    const Pb__ConfigEntryHead *head = entry;
    if (head->namespace_[0] == '\0')
        return true;
    return refuse(error,
                  "%s entries are for all namespaces of their partition: leave out Namespace",
                  head->kind);
}

static bool one_of(const char *text, const char *const *choices)
{
    for (; *choices != NULL; choices++) {
        if (strcmp(text, *choices) == 0)
            return true;
    }
    return false;
}

static bool check_gateway_mode(const Pb__MeshGatewayConfig *gateway, struct error *error)
{
    static const char *const modes[] = {"", "none", "local", "remote", NULL};
    if (gateway == NULL || one_of(gateway->mode, modes))
        return true;
    return refuse(error, "Invalid Mesh Gateway Mode: \"%s\"", gateway->mode);
}

static bool check_proxy_mode(const char *mode, struct error *error)
{
    static const char *const modes[] = {"", "direct", NULL};
    if (strcmp(mode, "transparent") == 0)
        return refuse(error, "Mode \"transparent\" is not supported by this version of Pons: leave "
                             "it out or use direct");
    return one_of(mode, modes) || refuse(error, "invalid proxy mode: \"%s\": use direct", mode);
}

/* Sidecars take connections of the mesh alone, so there is nothing to be permissive with. */
static bool check_mutual_tls(const char *mode, struct error *error)
{
    static const char *const modes[] = {"", "default", "strict", NULL};
    if (strcmp(mode, "permissive") == 0)
        return refuse(error, "MutualTLSMode \"permissive\" is not supported by this version of "
                             "Pons: leave it out or use strict");
    return one_of(mode, modes) || refuse(error, "Invalid MutualTLSMode: \"%s\": use strict", mode);
}

static bool check_protocol(char **protocol, struct arena *arena, struct error *error)
{
    static const char *const protocols[] = {"", "tcp", "http", "http2", "grpc", NULL};
    lower(protocol, arena);
    return one_of(*protocol, protocols) ||
           refuse(error, "invalid protocol: \"%s\": use tcp, http, http2 or grpc", *protocol);
}

static bool check_expose(const Pb__ExposeConfig *expose, struct error *error)
{
    static const char *const protocols[] = {"", "http", "http2", NULL};
    for (size_t i = 0; expose != NULL && i < expose->n_paths; i++) {
        const Pb__ExposePath *path = expose->paths[i];
        if (path->path[0] != '/')
            return refuse(error, "Expose.Paths[%zu]: Path must begin with '/', and is \"%s\"", i,
                          path->path);
        if (!one_of(path->protocol, protocols))
            return refuse(error, "Expose.Paths[%zu]: protocol \"%s\" is not one of http, http2", i,
                          path->protocol);
    }
    return true;
}

static bool check_wildcard(const char *name, const char *where, struct error *error)
{
    if (strcmp(name, "*") == 0 || strchr(name, '*') == NULL)
        return true;
    return refuse(error,
                  "%sName: the wildcard character '*' must be used by itself, not in partial "
                  "values (\"%s\")",
                  where, name);
}

/* ---- exported-services ---- */

static bool check_consumer(const Pb__ServiceConsumer *consumer, size_t i, size_t j,
                           struct error *error)
{
    int named = (consumer->peer[0] != '\0') + (consumer->partition[0] != '\0') +
                (consumer->sameness_group[0] != '\0');
    if (named > 1)
        return refuse(error,
                      "Services[%zu].Consumers[%zu]: must define at most one of Peer, Partition, "
                      "or SamenessGroup",
                      i, j);
    if (strcmp(consumer->peer, "*") == 0)
        return refuse(error,
                      "Services[%zu].Consumers[%zu]: exporting to all peers (wildcard) is not "
                      "supported",
                      i, j);
    if (named == 0)
        return refuse(error, "Services[%zu].Consumers[%zu]: must define Peer", i, j);
    if (consumer->peer[0] == '\0')
        return refuse(error,
                      "Services[%zu].Consumers[%zu]: this version of Pons exports to peers only: "
                      "name a Peer",
                      i, j);
    return true;
}

static bool check_exported(Pb__ExportedService *service, size_t i, struct error *error)
{
    drop_default(&service->namespace_);
    if (service->name[0] == '\0')
        return refuse(error, "Services[%zu]: service name cannot be empty", i);
    if (strcmp(service->namespace_, "*") == 0 && strcmp(service->name, "*") != 0)
        return refuse(error,
                      "Services[%zu]: service name must be wildcard if namespace is wildcard", i);
    if (text_equal_nocase(service->name, "consul"))
        return refuse(error, "Services[%zu]: the service \"consul\" cannot be exported", i);
    if (service->n_consumers == 0)
        return refuse(error, "Services[%zu]: must have at least one consumer", i);
    for (size_t j = 0; j < service->n_consumers; j++) {
        if (!check_consumer(service->consumers[j], i, j, error))
            return false;
    }
    return true;
}

bool config_check_exported_services(void *message, struct arena *arena, struct error *error)
{
    (void)arena;
    Pb__ExportedServicesEntry *entry = message;
    if (!check_head(entry, "exported-services", error) || !check_no_namespace(entry, error))
        return false;
    const char *partition = entry->partition[0] == '\0' ? "default" : entry->partition;
    if (!text_equal_nocase(entry->name, partition))
        return refuse(error, "exported-services Name must be \"%s\"", partition);
    for (size_t i = 0; i < entry->n_services; i++) {
        if (!check_exported(entry->services[i], i, error))
            return false;
    }
    return true;
}

/* ---- service-intentions ---- */

static bool check_source(Pb__SourceIntention *source, size_t i, bool any_destination,
                         struct arena *arena, struct error *error)
{
    static const char *const actions[] = {"allow", "deny", NULL};
    char where[40];
    snprintf(where, sizeof where, "Sources[%zu].", i);
    drop_default(&source->partition);
    drop_default(&source->namespace_);
    if (source->type[0] == '\0')
        source->type = arena_strdup(arena, "consul");

    if (source->name[0] == '\0')
        return refuse(error, "%sName is required", where);
    if (!check_wildcard(source->name, where, error))
        return false;
    if (source->sameness_group[0] != '\0')
        return refuse(error, "%sSamenessGroup is not supported by this version of Pons", where);
    if (source->peer[0] != '\0' && source->partition[0] != '\0')
        return refuse(error, "%sPeer: cannot set Peer and Partition at the same time.", where);
    if (strchr(source->peer, '*') != NULL && strcmp(source->peer, "*") != 0)
        return refuse(error, "%sPeer: the wildcard character '*' must be used by itself", where);
    if (source->n_permissions > 0) {
        if (any_destination)
            return refuse(error,
                          "%sPermissions cannot be specified on intentions with wildcarded "
                          "destinations",
                          where);
        if (!config_check_permissions(source, where, error))
            return false;
    } else if (!one_of(source->action, actions))
        return refuse(error, "%sAction must be set to 'allow' or 'deny'", where);
    if (strcmp(source->type, "consul") != 0)
        return refuse(error, "%sType must be set to 'consul'", where);
    return true;
}

static bool same_source(const Pb__SourceIntention *a, const Pb__SourceIntention *b)
{
    return strcmp(a->name, b->name) == 0 && strcmp(a->peer, b->peer) == 0 &&
           strcmp(a->partition, b->partition) == 0 && strcmp(a->namespace_, b->namespace_) == 0;
}

static int compare_sources(const void *a, const void *b)
{
    const Pb__SourceIntention *const *left = a, *const *right = b;
    const char *pairs[][2] = {{(*left)->peer, (*right)->peer},
                              {(*left)->partition, (*right)->partition},
                              {(*left)->namespace_, (*right)->namespace_},
                              {(*left)->name, (*right)->name}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        int order = strcmp(pairs[i][0], pairs[i][1]);
        if (order != 0)
            return order;
    }
    return 0;
}

static bool check_no_twin(const Pb__ServiceIntentionsEntry *entry, struct arena *arena,
                          struct error *error)
{
    size_t count = entry->n_sources;
    Pb__SourceIntention **sorted = arena_dup(arena, entry->sources, count * sizeof *entry->sources);
    qsort(sorted, count, sizeof *sorted, compare_sources);
    for (size_t i = 1; i < count; i++) {
        if (!same_source(sorted[i - 1], sorted[i]))
            continue;
        size_t at = count - 1;
        while (at > 0 && !same_source(entry->sources[at], sorted[i]))
            at--;
        const char *peer = sorted[i]->peer;
        return refuse(error, "Sources[%zu] defines \"%s\" more than once%s%s", at, sorted[i]->name,
                      peer[0] != '\0' ? " for peer " : "", peer);
    }
    return true;
}

int32_t config_intention_precedence(const char *source, const char *destination)
{
    bool any_source = strcmp(source, "*") == 0, any_destination = strcmp(destination, "*") == 0;
    return any_destination ? (any_source ? 5 : 6) : (any_source ? 8 : 9);
}

/* Within one entry there are two precedences only: the exact sources, then the wildcards. */
static void sort_sources(Pb__ServiceIntentionsEntry *entry, struct arena *arena)
{
    Pb__SourceIntention **sorted = proto_array(arena, entry->n_sources);
    size_t at = 0;
    for (int wildcards = 0; wildcards < 2; wildcards++) {
        for (size_t i = 0; i < entry->n_sources; i++) {
            Pb__SourceIntention *source = entry->sources[i];
            source->precedence = config_intention_precedence(source->name, entry->name);
            if ((strcmp(source->name, "*") == 0) == wildcards)
                sorted[at++] = source;
        }
    }
    entry->sources = sorted;
}

bool config_check_service_intentions(void *message, struct arena *arena, struct error *error)
{
    Pb__ServiceIntentionsEntry *entry = message;
    if (!check_head(entry, "service-intentions", error))
        return false;
    if (entry->name[0] == '\0')
        return refuse(error, "Name is required");
    if (!check_wildcard(entry->name, "", error))
        return false;
    if (entry->jwt[0] != '\0')
        return refuse(error, "JWT is not supported by this version of Pons: leave it out");
    if (entry->n_sources == 0)
        return refuse(error, "At least one source is required");
    for (size_t i = 0; i < entry->n_sources; i++) {
        if (!check_source(entry->sources[i], i, strcmp(entry->name, "*") == 0, arena, error))
            return false;
    }
    if (!check_no_twin(entry, arena, error))
        return false;
    sort_sources(entry, arena);
    return true;
}

/* ---- service-defaults ---- */

static bool check_upstream_config(Pb__UpstreamConfig *config, bool named, struct arena *arena,
                                  struct error *error)
{
    drop_default(&config->partition);
    drop_default(&config->namespace_);
    if (named && config->name[0] == '\0')
        return refuse(error, "Name is required");
    if (named && strcmp(config->name, "*") == 0)
        return refuse(error, "Wildcard name is not supported");
    if (!named && (config->name[0] != '\0' || config->peer[0] != '\0'))
        return refuse(error, "Name and Peer must be empty");
    if (config->connect_timeout_ms < 0)
        return refuse(error, "invalid ConnectTimeoutMs: must not be negative");
    const Pb__UpstreamLimits *limits = config->limits;
    if (limits != NULL && (limits->max_connections < 0 || limits->max_pending_requests < 0 ||
                           limits->max_concurrent_requests < 0))
        return refuse(error, "invalid Limits: must not be negative");
    const Pb__PassiveHealthCheck *check = config->passive_health_check;
    if (check != NULL && (check->interval < 0 || check->base_ejection_time < 0))
        return refuse(error, "passive health check durations must not be negative");
    if (check != NULL && check->max_ejection_percent > 100)
        return refuse(error, "passive health check MaxEjectionPercent must be 0 to 100");
    return check_protocol(&config->protocol, arena, error) &&
           check_gateway_mode(config->mesh_gateway, error);
}

static bool check_upstreams(Pb__UpstreamConfiguration *upstreams, struct arena *arena,
                            struct error *error)
{
    if (upstreams == NULL)
        return true;
    for (size_t i = 0; i < upstreams->n_overrides; i++) {
        Pb__UpstreamConfig *override = upstreams->overrides[i];
        if (!check_upstream_config(override, true, arena, error)) {
            error_prefix(error, "error in upstream override for %s: ", override->name);
            return false;
        }
    }
    if (upstreams->defaults != NULL &&
        !check_upstream_config(upstreams->defaults, false, arena, error)) {
        error_prefix(error, "error in upstream defaults: ");
        return false;
    }
    return true;
}

bool config_check_service_defaults(void *message, struct arena *arena, struct error *error)
{
    static const char *const balances[] = {"", "exact_balance", NULL};
    Pb__ServiceDefaultsEntry *entry = message;
    if (!check_head(entry, "service-defaults", error))
        return false;
    if (entry->name[0] == '\0')
        return refuse(error, "Name is required");
    if (strcmp(entry->name, "*") == 0)
        return refuse(error,
                      "service-defaults name must be the name of a service, and not a wildcard");
    if (!one_of(entry->balance_inbound_connections, balances))
        return refuse(error, "invalid value for balance_inbound_connections: %s",
                      entry->balance_inbound_connections);
    if (entry->max_inbound_connections < 0 || entry->local_connect_timeout_ms < 0 ||
        entry->local_request_timeout_ms < 0)
        return refuse(error, "MaxInboundConnections, LocalConnectTimeoutMs and "
                             "LocalRequestTimeoutMs must not be negative");
    return check_protocol(&entry->protocol, arena, error) && check_proxy_mode(entry->mode, error) &&
           check_mutual_tls(entry->mutual_tls_mode, error) &&
           check_gateway_mode(entry->mesh_gateway, error) && check_expose(entry->expose, error) &&
           check_upstreams(entry->upstream_config, arena, error);
}

/* ---- proxy-defaults ---- */

bool config_check_proxy_defaults(void *message, struct arena *arena, struct error *error)
{
    (void)arena;
    Pb__ProxyDefaultsEntry *entry = message;
    if (!check_head(entry, "proxy-defaults", error) || !check_no_namespace(entry, error))
        return false;
    if (strcmp(entry->name, "global") != 0)
        return refuse(error, "invalid name (\"%s\"), only \"global\" is supported", entry->name);
    return check_proxy_mode(entry->mode, error) &&
           check_mutual_tls(entry->mutual_tls_mode, error) &&
           check_gateway_mode(entry->mesh_gateway, error) && check_expose(entry->expose, error) &&
           access_log_check(entry->access_logs, error) &&
           config_check_envoy_json(entry->config, error);
}

/* ---- mesh ---- */

bool config_check_mesh(void *message, struct arena *arena, struct error *error)
{
    Pb__MeshEntry *entry = message;
    if (!check_head(entry, "mesh", error) || !check_no_namespace(entry, error))
        return false;
    entry->name = arena_strdup(arena, "mesh"); /* the key it is stored under; never shown */
    if (entry->transparent_proxy != NULL && entry->transparent_proxy->mesh_destinations_only)
        return refuse(error,
                      "TransparentProxy.MeshDestinationsOnly is not supported by this version "
                      "of Pons: it has no transparent proxies");
    if (entry->allow_enabling_permissive_mutual_tls)
        return refuse(error, "AllowEnablingPermissiveMutualTLS is not supported by this version of "
                             "Pons: leave it out");
    return mesh_check_http(entry->http, error) &&
           (entry->tls == NULL || (mesh_check_tls(entry->tls->incoming, "incoming", error) &&
                                   mesh_check_tls(entry->tls->outgoing, "outgoing", error)));
}
