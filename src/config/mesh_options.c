#include "config/mesh_options.h"

#include <string.h>

#include "base/text.h"

#define refuse(error, ...) error_set((error), ERR_INTERNAL, __VA_ARGS__)

/* In the order of their numbers. */
static const char *const versions[] = {"TLS_AUTO", "TLSv1_0", "TLSv1_1",
                                       "TLSv1_2",  "TLSv1_3", NULL};
static const char *const escaped_slashes[] = {
    "IMPLEMENTATION_SPECIFIC_DEFAULT", "KEEP_UNCHANGED",       "REJECT_REQUEST",
    "UNESCAPE_AND_REDIRECT",           "UNESCAPE_AND_FORWARD", NULL};
static const char *const underscores[] = {"ALLOW", "REJECT_REQUEST", "DROP_HEADER", NULL};

static const struct {
    const char *name, *envoy;
} ciphers[] = {
    {"TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", "ECDHE-ECDSA-AES128-SHA"},
    {"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"},
    {"TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", "ECDHE-ECDSA-AES256-SHA"},
    {"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"},
    {"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"},
    {"TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "ECDHE-RSA-AES128-SHA"},
    {"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"},
    {"TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", "ECDHE-RSA-AES256-SHA"},
    {"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384"},
    {"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305"},
    {"TLS_RSA_WITH_AES_128_CBC_SHA", "AES128-SHA"},
    {"TLS_RSA_WITH_AES_128_GCM_SHA256", "AES128-GCM-SHA256"},
    {"TLS_RSA_WITH_AES_256_CBC_SHA", "AES256-SHA"},
    {"TLS_RSA_WITH_AES_256_GCM_SHA384", "AES256-GCM-SHA384"},
};

static int number_of(const char *word, const char *const *words)
{
    for (int i = 0; words[i] != NULL; i++) {
        if (strcmp(word, words[i]) == 0)
            return i;
    }
    return -1;
}

const char *mesh_envoy_cipher(const char *suite)
{
    for (size_t i = 0; i < sizeof ciphers / sizeof *ciphers; i++) {
        if (strcmp(suite, ciphers[i].name) == 0)
            return ciphers[i].envoy;
    }
    return NULL;
}

static bool check_version(const char *version, const char *side, struct error *error)
{
    if (version[0] == '\0' || number_of(version, versions) >= 0)
        return true;
    return refuse(error,
                  "error in %s TLS configuration: no matching TLS version found for %s, please "
                  "specify one of [TLS_AUTO, TLSv1_0, TLSv1_1, TLSv1_2, TLSv1_3]",
                  side, version);
}

bool mesh_check_tls(const Pb__MeshDirectionalTLS *tls, const char *side, struct error *error)
{
    if (tls == NULL)
        return true;
    const char *low = tls->tls_min_version, *high = tls->tls_max_version;
    if (!check_version(low, side, error) || !check_version(high, side, error))
        return false;
    if (text_starts(low, "TLSv") && text_starts(high, "TLSv") && strcmp(low, high) > 0)
        return refuse(error,
                      "error in %s TLS configuration: configuring max version %s less than the "
                      "configured min version %s is invalid",
                      side, high, low);
    if (tls->n_cipher_suites > 0 && strcmp(low, "TLSv1_3") == 0)
        return refuse(error,
                      "error in %s TLS configuration: configuring CipherSuites is only applicable "
                      "to connections negotiated with TLS 1.2 or earlier, TLSMinVersion is set to "
                      "%s",
                      side, low);
    for (size_t i = 0; i < tls->n_cipher_suites; i++) {
        if (mesh_envoy_cipher(tls->cipher_suites[i]) == NULL)
            return refuse(error,
                          "error in %s TLS configuration: no matching Envoy TLS cipher suite found "
                          "for %s",
                          side, tls->cipher_suites[i]);
    }
    return true;
}

static bool check_word(const char *word, const char *const *words, const char *field,
                       const char *choices, struct error *error)
{
    if (word[0] == '\0' || number_of(word, words) >= 0)
        return true;
    return refuse(error,
                  "error in HTTP incoming request normalization configuration: no matching %s "
                  "value found for %s, please specify one of [%s]",
                  field, word, choices);
}

bool mesh_check_http(const Pb__MeshHTTP *http, struct error *error)
{
    const Pb__MeshRequestNormalization *wanted =
        http != NULL && http->incoming != NULL ? http->incoming->request_normalization : NULL;
    return wanted == NULL ||
           (check_word(wanted->path_with_escaped_slashes_action, escaped_slashes,
                       "PathWithEscapedSlashesAction",
                       "IMPLEMENTATION_SPECIFIC_DEFAULT, KEEP_UNCHANGED, REJECT_REQUEST, "
                       "UNESCAPE_AND_REDIRECT, UNESCAPE_AND_FORWARD",
                       error) &&
            check_word(wanted->headers_with_underscores_action, underscores,
                       "HeadersWithUnderscoresAction", "ALLOW, REJECT_REQUEST, DROP_HEADER",
                       error));
}

int mesh_escaped_slashes_action(const char *word)
{
    int number = number_of(word, escaped_slashes);
    return number < 0 ? 0 : number;
}

int mesh_underscores_action(const char *word)
{
    int number = number_of(word, underscores);
    return number < 0 ? 0 : number;
}

const Pb__MeshRequestNormalization *mesh_normalization(const Pb__MeshEntry *mesh)
{
    return mesh != NULL && mesh->http != NULL && mesh->http->incoming != NULL
               ? mesh->http->incoming->request_normalization
               : NULL;
}
