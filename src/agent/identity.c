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
    struct tls_context *own;        /* made from the current leaf */
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
    bool peering = strcmp(server_name, port->identity->peering_name) == 0;
    return port->configured != NULL && !peering ? port->configured : port->own;
}

static void renew(struct port_identity *port, const struct leaf *leaf)
{
    struct tls_server_config config = {
        .certificate_pem = leaf->certificate_pem,
        .private_key_pem = leaf->private_key_pem,
        .alpn = port->alpn,
    };
    struct error error;
    struct tls_context *renewed = tls_server_new(&config, &error);
    if (renewed == NULL) {
        log_error("agent.tls", "the server's own certificate cannot be used: %s", error.message);
        return;
    }
    tls_unref(port->own);
    port->own = renewed;
}

static void leaf_changed(void *arg)
{
    struct identity *identity = arg;
    const struct leaf *leaf = leaf_watch_get(identity->leaf);
    renew(&identity->https, leaf);
    renew(&identity->grpc, leaf);
}

static void load_operator(struct port_identity *port, const char *name,
                          const Pb__AgentTLSProtocol *own, const Pb__AgentTLSProtocol *defaults,
                          const char *old_cert, const char *old_key, struct text_list *errors)
{
    const char *cert = own != NULL ? own->cert_file : "", *key = own != NULL ? own->key_file : "";
    if (text_empty(cert) && defaults != NULL)
        cert = defaults->cert_file;
    if (text_empty(key) && defaults != NULL)
        key = defaults->key_file;
    cert = text_empty(cert) ? old_cert : cert;
    key = text_empty(key) ? old_key : key;
    if (text_empty(cert) && text_empty(key))
        return;
    struct error error;
    size_t length;
    char *cert_pem = file_read(cert, 1 << 20, &length, &error);
    char *key_pem = cert_pem != NULL ? file_read(key, 1 << 20, &length, &error) : NULL;
    struct tls_server_config config = {
        .certificate_pem = cert_pem, .private_key_pem = key_pem, .alpn = port->alpn};
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
    load_operator(&identity->https, "https", tls ? tls->https : NULL, tls ? tls->defaults : NULL,
                  values->cert_file, values->key_file, errors);
    load_operator(&identity->grpc, "grpc", tls ? tls->grpc : NULL, tls ? tls->defaults : NULL, "",
                  "", errors);
    struct tenancy tenancy = TENANCY_DEFAULT;
    identity->leaf = leaf_watch_new(authority, LEAF_SERVER, &tenancy, NULL, leaf_changed, identity);
    leaf_changed(identity);
    return identity;
}

static void port_clear(struct port_identity *port)
{
    tls_unref(port->own);
    tls_unref(port->configured);
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
