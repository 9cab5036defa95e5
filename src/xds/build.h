/* What the builders of resources share: one run from a snapshot to its resources.
 *
 * Messages are made in `arena`, which goes when the run ends; what is added to the result is
 * copied as serialised bytes. Builders never fail: what can't be built is left out, with words
 * in `problems`. */
#pragma once

#include "envoy/core.pb-c.h"
#include "envoy/endpoint.pb-c.h"
#include "envoy/hcm.pb-c.h"
#include "envoy/listener.pb-c.h"
#include "envoy/rbac.pb-c.h"
#include "mesh/snapshot.h"
#include "proto/proto.h"
#include "xds/options.h"
#include "xds/resources.h"

struct xds_build {
    const struct proxy_snapshot *snapshot;
    struct proxy_options options;
    struct arena *arena; /* of the run */
    struct arena *kept;  /* of the result */
    struct buffer problems;
    Google__Protobuf__Any *log_sink; /* access_log.c's, once it is made */
    struct xds_resource_list lists[XDS_TYPE_COUNT]; /* growing, on the heap */
    size_t capacities[XDS_TYPE_COUNT];
};

/* Adds a message as a resource. `children` is NULL-terminated and lives in `kept`; NULL: none.
 * Of resources with the same name one is kept. */
void xds_add(struct xds_build *build, enum xds_type type, const char *name, const void *message,
             char **children);
char **xds_child(struct xds_build *build, const char *name); /* a list of one */

void xds_problem(struct xds_build *build, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* pieces of messages; all in the run's arena */
Google__Protobuf__Any *xds_any(struct arena *arena, const void *message);
/* An Any of a message without fields. `type` is its full name. */
Google__Protobuf__Any *xds_any_empty(struct arena *arena, const char *type);
Google__Protobuf__Duration *xds_duration_ms(struct arena *arena, int64_t ms);
Google__Protobuf__Duration *xds_duration_ns(struct arena *arena, int64_t ns);
Google__Protobuf__UInt32Value *xds_uint32(struct arena *arena, uint32_t value);
Google__Protobuf__BoolValue *xds_true(struct arena *arena);
Envoy__Address *xds_address(struct arena *arena, const char *host, uint16_t port);
Envoy__Address *xds_pipe(struct arena *arena, const char *path, uint32_t mode);
Envoy__ConfigSource *xds_ads_source(struct xds_build *build);
Envoy__StringMatcher *xds_match_exact(struct arena *arena, const char *text);
Envoy__StringMatcher *xds_match_regex(struct arena *arena, const char *regex);
Envoy__DataSource *xds_inline(struct arena *arena, const char *text);
/* For protobuf-c's fields, which are not const. NULL gives "". */
char *xds_text(const char *text);

bool xds_is_http(const char *protocol);  /* http, http2 or grpc */
bool xds_is_http2(const char *protocol); /* http2 or grpc */

/* endpoint.c */
bool xds_has_hostnames(const struct endpoint_list *endpoints);
Envoy__ClusterLoadAssignment *xds_load_assignment(struct xds_build *build, const char *cluster,
                                                  const struct endpoint_list *endpoints);
/* For a DNS cluster: all of them, or `one` name alone, as LOGICAL_DNS wants it. */
Envoy__ClusterLoadAssignment *xds_dns_assignment(struct xds_build *build, const char *cluster,
                                                 const struct endpoint_list *endpoints, bool one);

/* tls.c */
Envoy__TransportSocket *xds_tls_upstream(struct xds_build *build, const char *roots_pem,
                                         const char *const *spiffe_ids, size_t count,
                                         const char *sni);
/* `peers` are let in besides the own trust domain. */
Envoy__TransportSocket *xds_tls_downstream(struct xds_build *build,
                                           const struct trust_bundle *const *peers, size_t count,
                                           const char *protocol);

/* rbac.c */
EnvoyRbac__RBAC *xds_rbac(struct xds_build *build, bool http);

/* access_log.c */
enum xds_log_place { XDS_LOG_LISTENER, XDS_LOG_FILTER };
Envoy__AccessLog **xds_access_logs(struct xds_build *build, enum xds_log_place place,
                                   size_t *ret_count);

/* permission.c: those of an intention's permissions that do not say what the default says. */
EnvoyRbac__Permission **xds_permissions(struct xds_build *build,
                                        const struct intention_source *source, size_t *ret_count);

/* filter.c */
struct xds_hcm {
    const char *stat_prefix;
    const char *protocol;
    Envoy__RouteConfiguration *route; /* inline, or */
    const char *rds_name;
    Envoy__HttpConnectionManager__ForwardClientCertDetails xfcc;
    bool inbound; /* the path and headers are normalised as the mesh entry says */
    bool deny_all; /* RBAC filter that denies unless the route says otherwise */
};
Envoy__Filter *xds_filter(struct arena *arena, const char *name, Google__Protobuf__Any *config);
Envoy__Filter *xds_tcp_proxy(struct xds_build *build, const char *stat_prefix, const char *cluster);
Envoy__Filter *xds_hcm_filter(struct xds_build *build, const struct xds_hcm *hcm);
Envoy__FilterChain *xds_filter_chain(struct arena *arena, Envoy__Filter **filters, size_t count);

/* route.c */
#define XDS_HTTP_RBAC "envoy.filters.http.rbac"
/* One virtual host for all domains whose only route sends everything to `cluster`. */
Envoy__RouteConfiguration *xds_route_all(struct arena *arena, const char *name,
                                         const char *virtual_host, const char *cluster);
/* Adds a route configuration that listeners ask for by RDS. */
void xds_add_route(struct xds_build *build, Envoy__RouteConfiguration *config);
/* chain_route.c: adds the routes of a chain under this name. A cluster is `prefix` and its target. */
void xds_chain_route(struct xds_build *build, const char *name, const char *prefix,
                     const struct chain *chain);
void xds_public_route(struct xds_build *build);

/* cluster.c, listener.c, gateway.c */
bool xds_can_dial(const struct upstream *upstream);
/* The header with the caller's certificate is for the filters only: the route takes it away. */
bool xds_xfcc_only_for_rbac(const struct proxy_snapshot *snapshot);
/* The sidecar's own application, or one of its ports, as a cluster. */
void xds_app_cluster(struct xds_build *build, const char *name, const char *protocol,
                     uint16_t port);
Envoy__Listener *xds_listener(struct xds_build *build, const char *name, const char *host,
                              uint16_t port);
/* Where the sidecar listens unless an upstream says otherwise: an IP literal. */
const char *xds_inbound_host(const struct xds_build *build);
uint16_t xds_inbound_port(const struct xds_build *build);
/* expose.c: paths of the application that are open without mTLS */
void xds_exposed_paths(struct xds_build *build);
void xds_sidecar_clusters(struct xds_build *build);
void xds_sidecar_listeners(struct xds_build *build);
void xds_gateway_clusters(struct xds_build *build);
void xds_gateway_listeners(struct xds_build *build);
char *xds_exported_name(struct xds_build *build, const struct gateway_service *service);
bool xds_is_exported(const struct xds_build *build, const struct gateway_service *service);
