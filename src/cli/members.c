#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/table.h"

static const char *status_name(int64_t status)
{
    static const char *const names[] = {"none", "alive", "leaving", "left", "failed"};
    return status >= 0 && status < 5 ? names[status] : "unknown";
}

static const char *or_else(const char *text, const char *otherwise)
{
    return *text != '\0' ? text : otherwise;
}

static int compare_members(const void *a, const void *b)
{
    const json_t *left = *(json_t *const *)a, *right = *(json_t *const *)b;
    int order = strcmp(cli_text(left, "Name"), cli_text(right, "Name"));
    if (order != 0)
        return order;
    return strcmp(cli_text(json_object_get(left, "Tags"), "segment"),
                  cli_text(json_object_get(right, "Tags"), "segment"));
}

static char *address_of(const json_t *member)
{
    return text_join_host_port(cli_text(member, "Addr"), (uint16_t)cli_integer(member, "Port"));
}

static const char *segment_of(const json_t *tags)
{
    bool server = strcmp(cli_text(tags, "role"), "consul") == 0;
    return or_else(cli_text(tags, "segment"), server ? "<all>" : "<default>");
}

static const char *partition_of(const json_t *tags)
{
    return or_else(cli_text(tags, "ap"), "default");
}

static void add_standard(struct cli_table *table, const json_t *member)
{
    const json_t *tags = json_object_get(member, "Tags");
    const char *role = cli_text(tags, "role");
    bool server = strcmp(role, "consul") == 0;
    char *address = address_of(member);
    char *build = mem_strdup(or_else(cli_text(tags, "build"), "?"));
    build[strcspn(build, ":")] = '\0';
    const char *cells[] = {
        cli_text(member, "Name"),
        address,
        status_name(cli_integer(member, "Status")),
        server                      ? "server"
        : strcmp(role, "node") == 0 ? "client"
                                    : "unknown",
        build,
        or_else(cli_text(tags, "vsn"), "?"),
        cli_text(tags, "dc"),
        partition_of(tags),
        segment_of(tags),
    };
    cli_table_add_row(table, cells);
    free(address);
    free(build);
}

static void add_detailed(struct cli_table *table, const json_t *member)
{
    struct text_list pairs = {0};
    const char *key;
    json_t *value, *tags_shown = json_copy(json_object_get(member, "Tags"));
    if (tags_shown == NULL)
        tags_shown = json_object();
    json_object_set_new(tags_shown, "ap", json_string(partition_of(tags_shown)));
    json_object_set_new(tags_shown, "segment", json_string(segment_of(tags_shown)));
    json_object_foreach(tags_shown, key, value)
    {
        char *pair = mem_printf("%s=%s", key, json_string_value(value));
        text_list_add(&pairs, pair);
        free(pair);
    }
    json_decref(tags_shown);
    text_list_sort(&pairs);
    struct buffer tags = {0};
    for (size_t i = 0; i < pairs.count; i++)
        buffer_printf(&tags, "%s%s", i > 0 ? "," : "", pairs.items[i]);
    char *address = address_of(member);
    const char *cells[] = {cli_text(member, "Name"), address,
                           status_name(cli_integer(member, "Status")), buffer_text(&tags)};
    cli_table_add_row(table, cells);
    free(address);
    buffer_free(&tags);
    text_list_free(&pairs);
}

/* The members whose status fits, sorted by name; `ret_count` of them, fresh memory. */
static json_t **select_members(const json_t *list, const regex_t *status, size_t *ret_count)
{
    size_t count = 0;
    json_t **members = mem_array(json_array_size(list) + 1, sizeof *members), *member;
    size_t i;
    json_array_foreach(list, i, member)
    {
        const char *name = status_name(cli_integer(member, "Status"));
        if (regexec(status, name, 0, NULL, 0) == 0)
            members[count++] = member;
    }
    qsort(members, count, sizeof *members, compare_members);
    *ret_count = count;
    return members;
}

static void print_members(json_t **members, size_t count, bool detailed)
{
    static const char *const standard[] = {"Node",     "Address", "Status",    "Type",   "Build",
                                           "Protocol", "DC",      "Partition", "Segment"};
    static const char *const details[] = {"Node", "Address", "Status", "Tags"};
    struct cli_table *table = cli_table_new(detailed ? 4 : 9);
    cli_table_add_row(table, detailed ? details : standard);
    for (size_t i = 0; i < count; i++) {
        if (detailed)
            add_detailed(table, members[i]);
        else
            add_standard(table, members[i]);
    }
    cli_table_print(table, stdout);
    cli_table_free(table);
}

int cli_members(int argc, char **argv)
{
    bool detailed = false, wan = false;
    const char *status = ".*", *segment = "_all", *filter = NULL;
    const struct flag flags[] = {
        {"detailed", FLAG_BOOL, &detailed, "Also print the tags."},
        {"wan", FLAG_BOOL, &wan, "List the servers of other datacenters too."},
        {"status", FLAG_STRING, &status, "Only those whose status fits this regular expression."},
        {"segment", FLAG_STRING, &segment, "Only this network segment."},
        {"filter", FLAG_STRING, &filter, "Filter expression that the agent applies."},
        {0},
    };
    static const struct cli_usage usage = {
        .arguments = "[options]",
        .text = "  Lists the agents of the cluster with their addresses and states. The exit code\n"
                "  is 2 if there are none that fit.",
    };
    struct cli cli;
    if (!cli_start(&cli, &usage, flags, argc, argv))
        return cli.exit_code;
    regex_t pattern;
    if (regcomp(&pattern, status, REG_EXTENDED | REG_NOSUB) != 0)
        return cli_fail(&cli, "Failed to compile status regexp: %s", status);
    struct buffer path = {0};
    buffer_add_text(&path, "/v1/agent/members");
    cli_api_add_query(&path, "segment", segment);
    cli_api_add_query(&path, "wan", wan ? "1" : NULL);
    cli_api_add_query(&path, "filter", filter);
    json_t *list = cli_api_get(cli.api, buffer_text(&path), &cli.error);
    buffer_free(&path);
    size_t count = 0;
    if (list != NULL) {
        json_t **members = select_members(list, &pattern, &count);
        if (count > 0)
            print_members(members, count, detailed);
        free(members);
        json_decref(list);
    }
    regfree(&pattern);
    if (list == NULL)
        return cli_fail(&cli, "Error retrieving members");
    return cli_end(&cli, count > 0 ? 0 : 2);
}
