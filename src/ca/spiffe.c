#include "ca/spiffe.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"
#include "base/text.h"

#define SCHEME "spiffe://"

static const char *or_default(const char *name)
{
    return text_empty(name) ? "default" : name;
}

static bool is_default(const char *name)
{
    return text_equal_nocase(or_default(name), "default");
}

/* ---- writing ---- */

/* One element of a path. What Go's URLs leave as it is stays, but for the slash, which would end
 * the element and let one service take the id of another. */
static void add_element(struct buffer *uri, const char *text)
{
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++) {
        if (isalnum(*at) || strchr("-_.~$&+,:;=@", *at) != NULL)
            buffer_add_byte(uri, (char)*at);
        else
            buffer_printf(uri, "%%%02X", *at);
    }
}

static void add_lower(struct buffer *text, const char *part)
{
    for (; *part != '\0'; part++)
        buffer_add_byte(text, (char)tolower((unsigned char)*part));
}

static void begin(struct buffer *uri, const char *trust_domain)
{
    buffer_add_text(uri, SCHEME);
    add_lower(uri, trust_domain);
}

static void add_partition(struct buffer *uri, const char *partition)
{
    if (is_default(partition))
        return;
    char *lower = mem_strdup(partition);
    text_lower(lower);
    buffer_add_text(uri, "/ap/");
    add_element(uri, lower);
    free(lower);
}

char *spiffe_service(const char *trust_domain, const struct tenancy *tenancy,
                     const char *datacenter, const char *service)
{
    struct buffer uri = {0};
    begin(&uri, trust_domain);
    add_partition(&uri, tenancy->partition);
    buffer_add_text(&uri, "/ns/");
    add_element(&uri, or_default(tenancy->namespace));
    buffer_add_text(&uri, "/dc/");
    add_element(&uri, datacenter);
    buffer_add_text(&uri, "/svc/");
    add_element(&uri, service);
    return buffer_take(&uri);
}

char *spiffe_mesh_gateway(const char *trust_domain, const char *partition, const char *datacenter)
{
    struct buffer uri = {0};
    begin(&uri, trust_domain);
    add_partition(&uri, partition);
    buffer_add_text(&uri, "/gateway/mesh/dc/");
    add_element(&uri, datacenter);
    return buffer_take(&uri);
}

char *spiffe_server(const char *trust_domain, const char *datacenter)
{
    struct buffer uri = {0};
    begin(&uri, trust_domain);
    buffer_add_text(&uri, "/agent/server/dc/");
    add_element(&uri, datacenter);
    return buffer_take(&uri);
}

char *spiffe_signing(const char *trust_domain)
{
    struct buffer uri = {0};
    begin(&uri, trust_domain);
    return buffer_take(&uri);
}

char *name_peering_server(const char *trust_domain, const char *datacenter)
{
    return mem_printf("server.%s.peering.%s", datacenter, trust_domain);
}

char *sni_peered_service(const char *trust_domain, const struct tenancy *tenancy, const char *peer,
                         const char *service)
{
    return mem_printf("%s.%s.%s.%s.external.%s", service, or_default(tenancy->namespace),
                      or_default(tenancy->partition), peer, trust_domain);
}

char *sni_service(const char *trust_domain, const struct tenancy *tenancy, const char *datacenter,
                  const char *subset, const char *service)
{
    struct buffer sni = {0};
    if (!text_empty(subset))
        buffer_printf(&sni, "%s.", subset);
    buffer_printf(&sni, "%s.%s.", service, or_default(tenancy->namespace));
    if (is_default(tenancy->partition))
        buffer_printf(&sni, "%s.internal.%s", datacenter, trust_domain);
    else
        buffer_printf(&sni, "%s.%s.internal-v1.%s", tenancy->partition, datacenter, trust_domain);
    return buffer_take(&sni);
}

char *cluster_peered_service(const char *exporter_trust_domain, const struct tenancy *tenancy,
                             const char *peer, const char *service)
{
    return mem_printf("%s.%s.%s.external.%s", service, or_default(tenancy->namespace), peer,
                      exporter_trust_domain);
}

/* ---- reading ---- */

static int hex_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    digit = (char)tolower((unsigned char)digit);
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

/* Decodes in place; false for a broken escape, or one that hides a NUL. */
static bool decode_element(char *text)
{
    char *to = text;
    for (const char *at = text; *at != '\0'; at++) {
        if (*at != '%') {
            *to++ = *at;
            continue;
        }
        int high = hex_value(at[1]);
        int low = high < 0 ? -1 : hex_value(at[2]);
        if (low < 0 || high + low == 0)
            return false;
        *to++ = (char)(high * 16 + low);
        at += 2;
    }
    *to = '\0';
    return true;
}

/* Takes "/<name>/<value>" off the front of `path`; `ret_value` points into it, not yet terminated.
 */
static bool take_pair(char **path, const char *name, char **ret_value)
{
    size_t length = strlen(name);
    char *at = *path;
    if (at[0] != '/' || strncmp(at + 1, name, length) != 0 || at[1 + length] != '/')
        return false;
    char *value = at + length + 2;
    size_t value_length = strcspn(value, "/");
    if (value_length == 0)
        return false;
    *ret_value = value;
    *path = value + value_length;
    return true;
}

/* Ends and decodes the parts that take_pair found. */
static bool finish_parts(char **parts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (parts[i] == NULL)
            continue;
        parts[i][strcspn(parts[i], "/")] = '\0';
        if (!decode_element(parts[i]))
            return false;
    }
    return true;
}

enum { PART_PARTITION, PART_NAMESPACE, PART_DATACENTER, PART_SERVICE, PART_COUNT };

static bool read_path(char *path, enum spiffe_kind *ret_kind, char *parts[PART_COUNT])
{
    char *at = path;
    if (*at == '\0') {
        *ret_kind = SPIFFE_SIGNING;
        return true;
    }
    bool partition = take_pair(&at, "ap", &parts[PART_PARTITION]);
    if (text_starts(at, "/gateway/mesh/")) {
        at += strlen("/gateway/mesh");
        *ret_kind = SPIFFE_MESH_GATEWAY;
        return take_pair(&at, "dc", &parts[PART_DATACENTER]) && *at == '\0';
    }
    if (!partition && text_starts(at, "/agent/server/")) {
        at += strlen("/agent/server");
        *ret_kind = SPIFFE_SERVER;
        return take_pair(&at, "dc", &parts[PART_DATACENTER]) && *at == '\0';
    }
    *ret_kind = SPIFFE_SERVICE;
    return take_pair(&at, "ns", &parts[PART_NAMESPACE]) &&
           take_pair(&at, "dc", &parts[PART_DATACENTER]) &&
           take_pair(&at, "svc", &parts[PART_SERVICE]) && *at == '\0';
}

bool spiffe_parse(const char *uri, struct spiffe_id *ret_id)
{
    if (strncasecmp(uri, SCHEME, strlen(SCHEME)) != 0)
        return false;
    const char *host = uri + strlen(SCHEME);
    size_t host_length = strcspn(host, "/");
    if (host_length == 0 || memchr(host, '@', host_length) != NULL ||
        memchr(host, ':', host_length) != NULL || strpbrk(host, "?#") != NULL)
        return false;

    char *path = mem_strdup(host + host_length);
    char *parts[PART_COUNT] = {0};
    enum spiffe_kind kind = SPIFFE_SIGNING;
    bool good = read_path(path, &kind, parts) && finish_parts(parts, PART_COUNT);
    if (good) {
        bool has_partition = kind == SPIFFE_SERVICE || kind == SPIFFE_MESH_GATEWAY;
        *ret_id = (struct spiffe_id){
            .kind = kind,
            .trust_domain = mem_strndup(host, host_length),
            .partition = has_partition ? mem_strdup(or_default(parts[PART_PARTITION])) : NULL,
            .namespace = mem_strdup(parts[PART_NAMESPACE]),
            .datacenter = mem_strdup(parts[PART_DATACENTER]),
            .service = mem_strdup(parts[PART_SERVICE]),
        };
        text_lower(ret_id->trust_domain);
    }
    free(path);
    return good;
}

void spiffe_clear(struct spiffe_id *id)
{
    free(id->trust_domain);
    free(id->partition);
    free(id->namespace);
    free(id->datacenter);
    free(id->service);
    *id = (struct spiffe_id){0};
}
