#include "config/envoy_json.h"

#include <string.h>

#include "base/text.h"
#include "text/json.h"

struct key {
    const char *name;
    bool list;
    const char *item;     /* what one of it is called */
    const char *required; /* a member that Envoy insists on; NULL: none */
};

static const struct key keys[] = {
    {"envoy_extra_static_clusters_json", true, "a cluster", "name"},
    {"envoy_extra_static_listeners_json", true, "a listener", NULL},
    {"envoy_extra_stats_sinks_json", true, "a sink", "name"},
    {"envoy_stats_config_json", false, "the statistics' configuration", NULL},
    {"envoy_tracing_json", false, "the tracing configuration", "http"},
};

static const struct key *find_key(const char *name)
{
    size_t at = 0;
    while (strcmp(keys[at].name, name) != 0)
        at++;
    return &keys[at];
}

/* `index`: of a list's item. */
static bool check_item(const struct key *key, size_t index, const json_t *item, struct error *error)
{
    const char *missing = !json_is_object(item) ? "" : key->required;
    if (missing == NULL || (*missing != '\0' && json_object_get(item, missing) != NULL))
        return true;
    struct error why;
    if (*missing == '\0')
        error_set(&why, ERR_INVALID, "%s must be an object", key->item);
    else
        error_set(&why, ERR_INVALID, "%s needs \"%s\"", key->item, missing);
    return key->list ? error_set(error, ERR_INVALID, "%s[%zu]: %s", key->name, index, why.message)
                     : error_set(error, ERR_INVALID, "%s: %s", key->name, why.message);
}

static bool check_value(const struct key *key, const json_t *value, struct error *error)
{
    if (!key->list)
        return check_item(key, 0, value, error);
    size_t index;
    json_t *item;
    json_array_foreach((json_t *)value, index, item)
    {
        if (!check_item(key, index, item, error))
            return false;
    }
    return true;
}

bool config_read_envoy_json(const json_t *config, const char *name, json_t **ret_value,
                            struct error *error)
{
    const struct key *key = find_key(name);
    const json_t *given = json_get_nocase(config, name);
    const char *text = json_string_value(given);
    *ret_value = NULL;
    if (given == NULL || (text != NULL && text[strspn(text, " \t\r\n")] == '\0'))
        return true;
    if (text == NULL)
        return error_set(error, ERR_INVALID,
                         "%s must be a text that holds JSON (in HCL: a string or a heredoc)", name);
    json_t *value = key->list ? json_parse_list(text, name, error)
                              : json_parse(text, strlen(text), name, error);
    if (value == NULL)
        return false;
    if (!check_value(key, value, error)) {
        json_decref(value);
        return false;
    }
    *ret_value = value;
    return true;
}

bool config_check_envoy_json(const char *config, struct error *error)
{
    json_t *map = text_empty(config) ? NULL : json_parse(config, strlen(config), NULL, NULL);
    bool ok = true;
    for (size_t i = 0; map != NULL && ok && i < sizeof keys / sizeof keys[0]; i++) {
        json_t *value;
        ok = config_read_envoy_json(map, keys[i].name, &value, error);
        if (ok)
            json_decref(value);
    }
    json_decref(map);
    return ok;
}
