#include <string.h>

#include "base/text.h"
#include "config/mesh_options.h"
#include "envoy/tls.pb-c.h"
#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"
#include "xds/build.h"

static Envoy__DataSource *pem(struct arena *arena, const char *text)
{
    if (!text_empty(text) && !text_ends(text, "\n"))
        text = arena_printf(arena, "%s\n", text);
    return xds_inline(arena, text);
}

static Envoy__TlsParameters__TlsProtocol tls_version(struct xds_build *build, const char *name)
{
    static const char *const names[] = {"TLS_AUTO", "TLSv1_0", "TLSv1_1", "TLSv1_2", "TLSv1_3"};
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (text_equal_nocase(name, names[i]))
            return (Envoy__TlsParameters__TlsProtocol)i;
    }
    if (!text_empty(name))
        xds_problem(build, "mesh entry: %s is no TLS version; Envoy's default is used", name);
    return ENVOY__TLS_PARAMETERS__TLS_PROTOCOL__TLS_AUTO;
}

static Envoy__TlsParameters *tls_parameters(struct xds_build *build,
                                            const Pb__MeshDirectionalTLS *wanted)
{
    Envoy__TlsParameters *parameters = proto_new(build->arena, envoy__tls_parameters);
    if (wanted == NULL)
        return parameters;
    parameters->tls_minimum_protocol_version = tls_version(build, wanted->tls_min_version);
    parameters->tls_maximum_protocol_version = tls_version(build, wanted->tls_max_version);
    parameters->cipher_suites = proto_array(build->arena, wanted->n_cipher_suites);
    for (size_t i = 0; i < wanted->n_cipher_suites; i++) {
        const char *cipher = mesh_envoy_cipher(wanted->cipher_suites[i]);
        if (cipher != NULL)
            parameters->cipher_suites[parameters->n_cipher_suites++] = xds_text(cipher);
        else
            xds_problem(build, "mesh entry: %s is no cipher suite; it is left out",
                        wanted->cipher_suites[i]);
    }
    return parameters;
}

static Envoy__CommonTlsContext *tls_common(struct xds_build *build,
                                           const Pb__MeshDirectionalTLS *wanted)
{
    struct arena *arena = build->arena;
    const struct leaf_certificate *leaf = &build->snapshot->leaf;
    Envoy__CommonTlsContext *common = proto_new(arena, envoy__common_tls_context);
    Envoy__TlsCertificate *certificate = proto_new(arena, envoy__tls_certificate);
    certificate->certificate_chain = pem(arena, leaf->chain_pem);
    certificate->private_key = pem(arena, leaf->private_key_pem);
    common->tls_params = tls_parameters(build, wanted);
    common->n_tls_certificates = 1;
    common->tls_certificates = proto_array(arena, 1);
    common->tls_certificates[0] = certificate;
    common->validation_context_type_case =
        ENVOY__COMMON_TLS_CONTEXT__VALIDATION_CONTEXT_TYPE_VALIDATION_CONTEXT;
    common->validation_context = proto_new(arena, envoy__certificate_validation_context);
    return common;
}

static Envoy__TransportSocket *tls_socket(struct arena *arena, const void *context)
{
    Envoy__TransportSocket *socket = proto_new(arena, envoy__transport_socket);
    socket->name = xds_text("tls");
    socket->typed_config = xds_any(arena, context);
    return socket;
}

Envoy__TransportSocket *xds_tls_upstream(struct xds_build *build, const char *roots_pem,
                                         const char *const *spiffe_ids, size_t count,
                                         const char *sni)
{
    struct arena *arena = build->arena;
    const Pb__MeshEntry *mesh = build->snapshot->mesh;
    Envoy__UpstreamTlsContext *context = proto_new(arena, envoy__upstream_tls_context);
    context->common_tls_context =
        tls_common(build, mesh != NULL && mesh->tls != NULL ? mesh->tls->outgoing : NULL);
    context->sni = xds_text(sni);
    Envoy__CertificateValidationContext *validation =
        context->common_tls_context->validation_context;
    validation->trusted_ca = pem(arena, roots_pem);
    validation->n_match_typed_subject_alt_names = count;
    validation->match_typed_subject_alt_names = proto_array(arena, count);
    for (size_t i = 0; i < count; i++) {
        Envoy__SubjectAltNameMatcher *name = proto_new(arena, envoy__subject_alt_name_matcher);
        name->san_type = ENVOY__SUBJECT_ALT_NAME_MATCHER__SAN_TYPE__URI;
        name->matcher = xds_match_exact(arena, spiffe_ids[i]);
        validation->match_typed_subject_alt_names[i] = name;
    }
    return tls_socket(arena, context);
}

/* Puts a bundle into a list that is sorted by trust domain. A domain that is there already keeps
 * its roots: a peer must not add roots to ours, or to another peer's. */
static void add_domain(struct xds_build *build, Envoy__SPIFFECertValidatorConfig *config,
                       const struct trust_bundle *bundle)
{
    size_t at = 0;
    while (at < config->n_trust_domains) {
        int order = strcmp(config->trust_domains[at]->name, bundle->trust_domain);
        if (order == 0) {
            xds_problem(build,
                        "peer %s: its trust domain %s is taken already; its callers are "
                        "refused",
                        bundle->peer, bundle->trust_domain);
            return;
        }
        if (order > 0)
            break;
        at++;
    }
    Envoy__SPIFFECertValidatorConfig__TrustDomain *domain =
        proto_new(build->arena, envoy__spiffecert_validator_config__trust_domain);
    domain->name = xds_text(bundle->trust_domain);
    domain->trust_bundle = pem(build->arena, bundle->roots_pem);
    memmove(&config->trust_domains[at + 1], &config->trust_domains[at],
            (config->n_trust_domains - at) * sizeof(domain));
    config->trust_domains[at] = domain;
    config->n_trust_domains++;
}

/* With peers, Envoy picks the roots by the trust domain in the caller's URI SAN. */
static Envoy__TypedExtensionConfig *
spiffe_validator(struct xds_build *build, const struct trust_bundle *const *peers, size_t count)
{
    struct arena *arena = build->arena;
    Envoy__TypedExtensionConfig *extension = proto_new(arena, envoy__typed_extension_config);
    Envoy__SPIFFECertValidatorConfig *config = proto_new(arena, envoy__spiffecert_validator_config);
    config->trust_domains = proto_array(arena, count + 1);
    add_domain(build, config, build->snapshot->own_bundle);
    for (size_t i = 0; i < count; i++)
        add_domain(build, config, peers[i]);
    extension->name = xds_text("envoy.tls.cert_validator.spiffe");
    extension->typed_config = xds_any(arena, config);
    return extension;
}

Envoy__TransportSocket *xds_tls_downstream(struct xds_build *build,
                                           const struct trust_bundle *const *peers, size_t count,
                                           const char *protocol)
{
    struct arena *arena = build->arena;
    const Pb__MeshEntry *mesh = build->snapshot->mesh;
    Envoy__DownstreamTlsContext *context = proto_new(arena, envoy__downstream_tls_context);
    Envoy__CommonTlsContext *common =
        tls_common(build, mesh != NULL && mesh->tls != NULL ? mesh->tls->incoming : NULL);
    context->common_tls_context = common;
    context->require_client_certificate = xds_true(arena);
    common->alpn_protocols = proto_array(arena, 2);
    if (xds_is_http2(protocol))
        common->alpn_protocols[common->n_alpn_protocols++] = xds_text("h2");
    if (xds_is_http(protocol))
        common->alpn_protocols[common->n_alpn_protocols++] = xds_text("http/1.1");
    if (count > 0)
        common->validation_context->custom_validator_config = spiffe_validator(build, peers, count);
    else
        common->validation_context->trusted_ca = pem(arena, build->snapshot->own_bundle->roots_pem);
    return tls_socket(arena, context);
}
