#include "agent/identity.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "ca/spiffe.h"

static const char *const alpn_http[] = {"http/1.1", NULL};
static const char *const alpn_grpc[] = {"h2", NULL};

/* One TLS port: chooses per connection between the operator's certificate and the server's own.
 */
struct port_identity {
    struct identity *identity;
    const char *const *alpn;
    bool serves_peers;
    char *client_ca_pem;            /* what clients' certificates must be of; NULL: not asked for */
    struct tls_context *own;        /* made from the current leaf, for peers */
    struct tls_context *guarded;    /* the same, for others: it may ask for a certificate */
    struct tls_context *configured; /* NULL: none was configured */
    struct tls_context *select;
};

struct identity {
    struct authority *authority;
    struct leaf_watch *leaf;
    char *peering_name;
    struct port_identity https, grpc;
};

static struct tls_context *select_identity(void *arg, const char *server_name)
{
    struct port_identity *port = arg;
    if (port->serves_peers && strcmp(server_name, port->identity->peering_name) == 0)
        return port->own;
    return port->configured != NULL ? port->configured : port->guarded;
}

static void replace(struct tls_context **context, const struct tls_server_config *config)
{
    struct error error;
    struct tls_context *renewed = tls_server_new(config, &error);
    if (renewed == NULL) {
        log_error("agent.tls", "the server's own certificate cannot be used: %s", error.message);
        return;
    }
    tls_unref(*context);
    *context = renewed;
}

static void renew(struct port_identity *port, const struct leaf *leaf)
{
    struct tls_server_config config = {
        .certificate_pem = leaf->certificate_pem,
        .private_key_pem = leaf->private_key_pem,
        .alpn = port->alpn,
    };
    replace(&port->own, &config);
    config.client_ca_pem = port->client_ca_pem;
    replace(&port->guarded, &config);
}

static void leaf_changed(void *arg)
{
    struct identity *identity = arg;
    const struct leaf *leaf = leaf_watch_get(identity->leaf);
    renew(&identity->https, leaf);
    renew(&identity->grpc, leaf);
}

/* What the operator says of one port: its own words, those for all ports, the old ones. */
struct operator_tls {
    const char *cert, *key, *ca;
    bool verify;
};

static const char *first_set(const char *a, const char *b, const char *c)
{
    return !text_empty(a) ? a : !text_empty(b) ? b : c;
}

static struct operator_tls operator_tls(const Pb__AgentTLSProtocol *own,
                                        const Pb__AgentTLSProtocol *defaults,
                                        const struct operator_tls *old)
{
    static const Pb__AgentTLSProtocol nothing = PB__AGENT_TLSPROTOCOL__INIT;
    own = own != NULL ? own : &nothing;
    defaults = defaults != NULL ? defaults : &nothing;
    return (struct operator_tls){
        .cert = first_set(own->cert_file, defaults->cert_file, old->cert),
        .key = first_set(own->key_file, defaults->key_file, old->key),
        .ca = first_set(own->ca_file, defaults->ca_file, old->ca),
        .verify = own->verify_incoming || defaults->verify_incoming || old->verify,
    };
}

/* Who asks for clients to be verified is not served without. */
static void load_client_ca(struct port_identity *port, const char *name,
                           const struct operator_tls *tls, struct text_list *errors)
{
    struct error error;
    size_t length;
    if (!tls->verify)
        return;
    if (text_empty(tls->ca))
        error_set(&error, ERR_INVALID, "verify_incoming needs a ca_file to verify clients by");
    else
        port->client_ca_pem = file_read(tls->ca, 1 << 20, &length, &error);
    if (port->client_ca_pem == NULL) {
        error_prefix(&error, "tls.%s: ", name);
        text_list_add(errors, error.message);
    }
}

static void load_operator(struct port_identity *port, const char *name,
                          const struct operator_tls *tls, struct text_list *errors)
{
    load_client_ca(port, name, tls, errors);
    if (text_empty(tls->cert) && text_empty(tls->key))
        return;
    struct error error;
    size_t length;
    char *cert_pem = file_read(tls->cert, 1 << 20, &length, &error);
    char *key_pem = cert_pem != NULL ? file_read(tls->key, 1 << 20, &length, &error) : NULL;
    struct tls_server_config config = {.certificate_pem = cert_pem,
                                       .private_key_pem = key_pem,
                                       .client_ca_pem = port->client_ca_pem,
                                       .alpn = port->alpn};
    if (key_pem != NULL)
        port->configured = tls_server_new(&config, &error);
    if (port->configured == NULL) {
        error_prefix(&error, "tls.%s: ", name);
        text_list_add(errors, error.message);
    }
    if (key_pem != NULL)
        mem_clear(key_pem, length);
    free(cert_pem);
    free(key_pem);
}

static void port_init(struct port_identity *port, struct identity *identity,
                      const char *const *alpn)
{
    port->identity = identity;
    port->alpn = alpn;
    port->select = tls_server_select_new(select_identity, port, alpn);
}

struct identity *identity_new(struct authority *authority, const struct agent_config *config,
                              struct text_list *errors)
{
    struct identity *identity = mem_zalloc(sizeof *identity);
    const Pb__AgentConfig *values = config->values;
    const Pb__AgentTLS *tls = values->tls;
    identity->authority = authority;
    identity->peering_name =
        name_peering_server(authority_trust_domain(authority), authority_datacenter(authority));
    port_init(&identity->https, identity, alpn_http);
    port_init(&identity->grpc, identity, alpn_grpc);
    const Pb__AgentTLSProtocol *defaults = tls != NULL ? tls->defaults : NULL;
    struct operator_tls old = {values->cert_file, values->key_file, values->ca_file,
                               values->verify_incoming || values->verify_incoming_https};
    struct operator_tls https = operator_tls(tls != NULL ? tls->https : NULL, defaults, &old);
    old = (struct operator_tls){"", "", values->ca_file, values->verify_incoming};
    struct operator_tls grpc = operator_tls(tls != NULL ? tls->grpc : NULL, defaults, &old);
    identity->grpc.serves_peers = true;
    load_operator(&identity->https, "https", &https, errors);
    load_operator(&identity->grpc, "grpc", &grpc, errors);
    struct tenancy tenancy = TENANCY_DEFAULT;
    identity->leaf = leaf_watch_new(authority, LEAF_SERVER, &tenancy, NULL, leaf_changed, identity);
    leaf_changed(identity);
    return identity;
}

static void port_clear(struct port_identity *port)
{
    tls_unref(port->own);
    tls_unref(port->guarded);
    tls_unref(port->configured);
    free(port->client_ca_pem);
    tls_unref(port->select);
}

void identity_free(struct identity *identity)
{
    if (identity == NULL)
        return;
    leaf_watch_free(identity->leaf);
    port_clear(&identity->https);
    port_clear(&identity->grpc);
    free(identity->peering_name);
    free(identity);
}

struct tls_context *identity_https(struct identity *identity)
{
    return identity->https.select;
}

const char *identity_peering_name(const struct identity *identity)
{
    return identity->peering_name;
}

struct tls_context *identity_grpc(struct identity *identity)
{
    return identity->grpc.select;
}
