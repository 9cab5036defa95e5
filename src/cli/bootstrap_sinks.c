/* Where an Envoy sends its statistics. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "cli/bootstrap_parts.h"
#include "config/envoy_json.h"

/* The value of an environment variable; fresh memory. */
static char *from_environment(const char *key, const char *name, struct error *error)
{
    const char *value = getenv(name);
    if (!text_empty(value))
        return mem_strdup(value);
    error_set(error, ERR_INVALID, "%s: the environment variable %s is not set", key, name);
    return NULL;
}

/* `$NAME` is a variable as a whole; within a URL there is one, HOST_IP. Fresh memory, or NULL. */
static char *expand(const char *key, const char *url, struct error *error)
{
    static const char *const host[] = {"${HOST_IP}", "$HOST_IP"};
    if (url[0] == '$' && url[1] != '{' && url[1] != '\0')
        return from_environment(key, url + 1, error);
    for (size_t i = 0; i < 2; i++) {
        const char *at = strstr(url, host[i]);
        if (at == NULL)
            continue;
        char *ip = from_environment(key, "HOST_IP", error);
        if (ip == NULL)
            return NULL;
        const char *form = strchr(ip, ':') != NULL ? "%.*s[%s]%s" : "%.*s%s%s";
        char *expanded = mem_printf(form, (int)(at - url), url, ip, at + strlen(host[i]));
        free(ip);
        return expanded;
    }
    return mem_strdup(url);
}

static json_t *udp_address(const char *key, const char *url, struct error *error)
{
    char *place = mem_strdup(url + strlen("udp://"));
    size_t length = strlen(place);
    if (length > 0 && place[length - 1] == '/')
        place[length - 1] = '\0';
    char *host = NULL;
    uint16_t port;
    json_t *address = NULL;
    if (!text_split_host_port(place, false, &host, &port))
        error_set(error, ERR_INVALID, "%s: \"%s\" is not of the form udp://ip:port", key, url);
    else if (!text_is_ip(host))
        error_set(error, ERR_INVALID,
                  "%s: Envoy resolves no names here: \"%s\" must be an IP address (${HOST_IP} is "
                  "taken from the environment)",
                  key, host);
    else
        address = bootstrap_socket_address(host, port);
    free(host);
    free(place);
    return address;
}

/* The address of a sink, or NULL. */
static json_t *sink_address(const char *key, const char *given, struct error *error)
{
    char *url = expand(key, given, error);
    if (url == NULL)
        return NULL;
    json_t *address = NULL;
    if (text_starts(url, "udp://"))
        address = udp_address(key, url, error);
    else if (text_starts(url, "unix:///"))
        address = json_pack("{s:{s:s}}", "pipe", "path", url + strlen("unix://"));
    else
        error_set(error, ERR_INVALID,
                  "%s: \"%s\" is neither udp://ip:port, unix:///path, nor $NAME of an environment "
                  "variable that holds one",
                  key, url);
    free(url);
    return address;
}

static bool add_sink(const struct bootstrap_spec *spec, const char *key, const char *name,
                     const char *type, json_t *sinks, struct error *error)
{
    const char *url;
    if (!bootstrap_text(spec, key, &url, error))
        return false;
    if (*url == '\0')
        return true;
    json_t *address = sink_address(key, url, error);
    if (address == NULL)
        return false;
    json_array_append_new(sinks, json_pack("{s:s, s:{s:s, s:o}}", "name", name, "typedConfig",
                                           "@type", type, "address", address));
    return true;
}

json_t *bootstrap_stats_sinks(const struct bootstrap_spec *spec, struct error *error)
{
    json_t *sinks = json_array(), *more = NULL;
    bool ok = add_sink(spec, "envoy_statsd_url", "envoy.stat_sinks.statsd",
                       TYPE_PREFIX "config.metrics.v3.StatsdSink", sinks, error) &&
              add_sink(spec, "envoy_dogstatsd_url", "envoy.stat_sinks.dog_statsd",
                       TYPE_PREFIX "config.metrics.v3.DogStatsdSink", sinks, error) &&
              config_read_envoy_json(spec->config, "envoy_extra_stats_sinks_json", &more, error);
    if (more != NULL)
        json_array_extend(sinks, more);
    json_decref(more);
    if (ok)
        return sinks;
    json_decref(sinks);
    return NULL;
}
