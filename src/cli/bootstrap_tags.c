/* Which parts of statistics' names become tags. */
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "base/text.h"
#include "cli/bootstrap_parts.h"
#include "text/json.h"

/* A cluster is named <hash>~<subset>.<service>.<namespace>.<partition>.<dc>.<routing>.<trust
 * domain>.consul, where hash, subset and partition may be missing. Each tag captures one part of
 * it, or a run of parts from the start; the outer group is what Envoy cuts out of the statistic's
 * name.
 *
 * Envoy runs every expression over every statistic, backtracking: with hundreds of services that is
 * nearly all of what it does at its start. So a wrong guess must fail early: routing is one of two
 * words, a partition is the last guess, and all begin with a plain word, by which Envoy leaves out
 * those for other kinds of statistics. The tags are those of Consul's expressions. */

enum part { HASH, SUBSET, SERVICE, NAMESPACE, PARTITION, DATACENTER, ROUTING, TRUST_DOMAIN, PARTS };

static const struct {
    const char *before, *after;
} part_frames[PARTS] = {
    [HASH] = {"(?:", "~)?"},   [SUBSET] = {"(?:", "\\.)?"},           [SERVICE] = {"", "\\."},
    [NAMESPACE] = {"", "\\."}, [PARTITION] = {"(?:", "\\.)??"},       [DATACENTER] = {"", "\\."},
    [ROUTING] = {"", "\\."},   [TRUST_DOMAIN] = {"", "\\.consul\\."},
};

struct cluster_tag {
    const char *name;
    enum part first, last; /* captured */
    bool internal;         /* only clusters of this kind of cluster: routing is "internal…" */
    bool deprecated;       /* has a twin without "destination" */
};

static const struct cluster_tag cluster_tags[] = {
    {"custom_hash", HASH, HASH, false, true},
    {"service_subset", SUBSET, SUBSET, false, true},
    {"service", SERVICE, SERVICE, false, true},
    {"namespace", NAMESPACE, NAMESPACE, false, true},
    {"partition", PARTITION, PARTITION, true, false},
    {"datacenter", DATACENTER, DATACENTER, true, true},
    {"routing_type", ROUTING, ROUTING, false, true},
    {"trust_domain", TRUST_DOMAIN, TRUST_DOMAIN, false, true},
    {"target", HASH, DATACENTER, false, true},
    {"full_target", HASH, TRUST_DOMAIN, false, true},
};

static char *cluster_regex(const struct cluster_tag *tag, const char *prefix)
{
    bool run = tag->first != tag->last;
    struct buffer regex = {0};
    buffer_printf(&regex, "^cluster\\.%s(", prefix);
    for (int part = 0; part < PARTS; part++) {
        if (run && part == (int)tag->first)
            buffer_add_byte(&regex, '(');
        buffer_add_text(&regex, part_frames[part].before);
        const char *word = part != ROUTING ? "[^.]+"
                           : tag->internal ? "internal[^.]*"
                                           : "(?:in|ex)ternal[^.]*";
        buffer_printf(&regex, !run && part == (int)tag->first ? "(%s)" : "%s", word);
        /* A run ends before the dot behind its last part. */
        if (run && part == (int)tag->last)
            buffer_add_byte(&regex, ')');
        buffer_add_text(&regex, part_frames[part].after);
    }
    buffer_add_byte(&regex, ')');
    return buffer_take(&regex);
}

static void add_regex_tag(json_t *tags, const char *name, const char *regex)
{
    json_array_append_new(tags, json_pack("{s:s, s:s}", "regex", regex, "tag_name", name));
}

static void add_cluster_tags(json_t *tags, const char *scope, const char *prefix, bool deprecated)
{
    for (size_t i = 0; i < sizeof cluster_tags / sizeof cluster_tags[0]; i++) {
        const struct cluster_tag *tag = &cluster_tags[i];
        if (deprecated && !tag->deprecated)
            continue;
        char *name = mem_printf("%s.%s", scope, tag->name);
        char *regex = cluster_regex(tag, prefix);
        add_regex_tag(tags, name, regex);
        free(name);
        free(regex);
        if (!deprecated && strcmp(tag->name, "datacenter") == 0)
            add_regex_tag(
                tags, "consul.destination.peer",
                "^cluster\\.([^.]+\\.(?:[^.]+\\.)?([^.]+)\\.external\\.[^.]+\\.consul\\.)");
    }
}

/* Listeners of upstreams: (tcp|http).upstream[_peered].<service>.<namespace>.<partition>.<dc or
 * peer>. */
static void add_upstream_tags(json_t *tags)
{
    static const struct {
        const char *name, *regex;
    } rows[] = {
        {"service", "(?:_peered)?\\.(([^.]+)(?:\\.[^.]+)?(?:\\.[^.]+)?\\.[^.]+\\.)"},
        {"datacenter", "\\.([^.]+(?:\\.[^.]+)?(?:\\.[^.]+)?\\.([^.]+)\\.)"},
        {"peer", "_peered\\.([^.]+(?:\\.[^.]+)?\\.([^.]+)\\.)"},
        {"namespace", "(?:_peered)?\\.([^.]+(?:\\.([^.]+))?(?:\\.[^.]+)?\\.[^.]+\\.)"},
        {"partition", "\\.([^.]+(?:\\.[^.]+)?(?:\\.([^.]+))?\\.[^.]+\\.)"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *name = mem_printf("consul.upstream.%s", rows[i].name);
        char *tcp = mem_printf("^tcp\\.upstream%s", rows[i].regex);
        char *http = mem_printf("^http\\.upstream%s", rows[i].regex);
        add_regex_tag(tags, name, tcp);
        add_regex_tag(tags, name, http);
        free(name);
        free(tcp);
        free(http);
    }
}

static bool has_tag(const json_t *tags, const char *name)
{
    size_t index;
    json_t *tag;
    json_array_foreach((json_t *)tags, index, tag)
    {
        if (strcmp(json_string_value(json_object_get(tag, "tag_name")), name) == 0)
            return true;
    }
    return false;
}

/* The user's own come first and stay. */
static void add_fixed_tag(json_t *tags, const char *name, const char *value)
{
    if (*value == '\0' || has_tag(tags, name))
        return;
    json_array_append_new(tags, json_pack("{s:s, s:s}", "tag_name", name, "fixed_value", value));
}

/* `envoy_stats_tags`: "name=value", or a name alone, which gets the value 1. */
static void add_user_tags(json_t *tags, const json_t *config)
{
    size_t index;
    json_t *entry;
    json_array_foreach(json_get_nocase(config, "envoy_stats_tags"), index, entry)
    {
        const char *text = json_string_value(entry);
        if (text == NULL)
            continue;
        const char *equals = strchr(text, '=');
        char *name = mem_strndup(text, equals != NULL ? (size_t)(equals - text) : strlen(text));
        text_lower(name);
        add_fixed_tag(tags, name, equals != NULL ? equals + 1 : "1");
        free(name);
    }
}

json_t *bootstrap_stats_config(const struct bootstrap_spec *spec)
{
    json_t *tags = json_array();
    add_user_tags(tags, spec->config);
    add_cluster_tags(tags, "consul.destination", "(?:passthrough~)?", false);
    add_upstream_tags(tags);
    if (!spec->omit_deprecated_tags)
        add_cluster_tags(tags, "consul", "", true);
    add_fixed_tag(tags, "local_cluster", spec->proxy_source);
    add_fixed_tag(tags, "consul.source.service", spec->proxy_source);
    add_fixed_tag(tags, "consul.source.namespace", spec->namespace);
    add_fixed_tag(tags, "consul.source.partition", spec->partition);
    add_fixed_tag(tags, "consul.source.datacenter", spec->datacenter);
    return json_pack("{s:o, s:b}", "stats_tags", tags, "use_all_default_tags", 1);
}
