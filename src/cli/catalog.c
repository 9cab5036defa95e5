#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/table.h"

#define SHORT_ID_LENGTH 8

int cli_catalog_datacenters(int argc, char **argv)
{
    static const struct cli_usage usage = {
        .arguments = "[options]",
        .text = "  Lists the datacenters that the agent knows, one a line.",
    };
    struct cli cli;
    if (!cli_start(&cli, &usage, NULL, argc, argv))
        return cli.exit_code;
    json_t *list = cli_api_get(cli.api, "/v1/catalog/datacenters", &cli.error);
    if (list == NULL)
        return cli_fail(&cli, "Error listing datacenters");
    for (size_t i = 0; i < json_array_size(list); i++)
        puts(json_string_value(json_array_get(list, i)));
    json_decref(list);
    return cli_end(&cli, 0);
}

/* "a=1, b=2", sorted; fresh memory. */
static char *join_pairs(const json_t *object)
{
    struct text_list pairs = {0};
    struct buffer text = {0};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        char *pair = mem_printf("%s=%s", key, json_string_value(value));
        text_list_add(&pairs, pair);
        free(pair);
    }
    text_list_sort(&pairs);
    for (size_t i = 0; i < pairs.count; i++)
        buffer_printf(&text, "%s%s", i > 0 ? ", " : "", pairs.items[i]);
    text_list_free(&pairs);
    return buffer_take(&text);
}

static void add_node(struct cli_table *table, const json_t *node, bool detailed)
{
    const char *id = cli_text(node, "ID");
    if (!detailed) {
        char *start = mem_strndup(id, SHORT_ID_LENGTH);
        const char *cells[] = {cli_text(node, "Node"), start, cli_text(node, "Address"),
                               cli_text(node, "Datacenter")};
        cli_table_add_row(table, cells);
        free(start);
        return;
    }
    char *tagged = join_pairs(json_object_get(node, "TaggedAddresses"));
    const json_t *meta = json_object_get(node, "Meta");
    char *pairs = join_pairs(meta != NULL ? meta : json_object_get(node, "NodeMeta"));
    const char *cells[] = {cli_text(node, "Node"),       id,     cli_text(node, "Address"),
                           cli_text(node, "Datacenter"), tagged, pairs};
    cli_table_add_row(table, cells);
    free(tagged);
    free(pairs);
}

static int compare_nodes(const void *a, const void *b)
{
    return strcmp(cli_text(*(json_t *const *)a, "Node"), cli_text(*(json_t *const *)b, "Node"));
}

static void print_nodes(const json_t *list, bool detailed)
{
    static const char *const titles[] = {"Node", "ID", "Address", "DC", "TaggedAddresses", "Meta"};
    size_t count = json_array_size(list);
    json_t **nodes = mem_array(count, sizeof *nodes);
    for (size_t i = 0; i < count; i++)
        nodes[i] = json_array_get(list, i);
    qsort(nodes, count, sizeof *nodes, compare_nodes);
    struct cli_table *table = cli_table_new(detailed ? 6 : 4);
    cli_table_add_row(table, titles);
    for (size_t i = 0; i < count; i++)
        add_node(table, nodes[i], detailed);
    cli_table_print(table, stdout);
    cli_table_free(table);
    free(nodes);
}

int cli_catalog_nodes(int argc, char **argv)
{
    bool detailed = false;
    const char *near = NULL, *service = NULL, *filter = NULL;
    struct text_list meta = {0};
    const struct flag flags[] = {
        {"detailed", FLAG_BOOL, &detailed, "Print whole ids, tagged addresses and metadata too."},
        {"near", FLAG_STRING, &near, "Node to sort by distance from."},
        {"node-meta", FLAG_LIST, &meta, "Only nodes with this key=value; may be given repeatedly."},
        {"service", FLAG_STRING, &service, "Only nodes that have this service."},
        {"filter", FLAG_STRING, &filter, "Filter expression that the agent applies."},
        {0},
    };
    static const struct cli_usage usage = {
        .arguments = "[options]",
        .text = "  Lists the nodes of the catalog.",
    };
    struct cli cli;
    if (!cli_start(&cli, &usage, flags, argc, argv)) {
        text_list_free(&meta);
        return cli.exit_code;
    }
    struct buffer path = {0};
    buffer_add_text(&path, service != NULL ? "/v1/catalog/service/" : "/v1/catalog/nodes");
    if (service != NULL)
        cli_api_add_segment(&path, service);
    cli_api_add_query(&path, "near", near);
    cli_api_add_query(&path, "filter", filter);
    for (size_t i = 0; i < meta.count; i++)
        cli_api_add_query(&path, "node-meta", meta.items[i]);
    text_list_free(&meta);
    json_t *list = cli_api_get(cli.api, buffer_text(&path), &cli.error);
    buffer_free(&path);
    if (list == NULL)
        return cli_fail(&cli, "Error listing nodes");
    if (json_array_size(list) == 0)
        puts("No nodes match the given query - try expanding your search.");
    else
        print_nodes(list, detailed);
    json_decref(list);
    return cli_end(&cli, 0);
}

static void print_services(const json_t *services, bool tags)
{
    struct text_list names = {0};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)services, key, value)
    {
        text_list_add(&names, key);
    }
    text_list_sort(&names);
    struct cli_table *table = cli_table_new(2);
    for (size_t i = 0; i < names.count; i++) {
        struct text_list sorted = {0};
        struct buffer joined = {0};
        json_t *list = json_object_get(services, names.items[i]);
        for (size_t j = 0; j < json_array_size(list); j++)
            text_list_add(&sorted, json_string_value(json_array_get(list, j)));
        text_list_sort(&sorted);
        for (size_t j = 0; j < sorted.count; j++)
            buffer_printf(&joined, "%s%s", j > 0 ? "," : "", sorted.items[j]);
        if (!tags)
            puts(names.items[i]);
        const char *cells[] = {names.items[i], buffer_text(&joined)};
        cli_table_add_row(table, cells);
        buffer_free(&joined);
        text_list_free(&sorted);
    }
    if (tags)
        cli_table_print_spaced(table, 6, stdout);
    cli_table_free(table);
    text_list_free(&names);
}

/* The services of one node in the shape that the list of all has: name to tags. */
static json_t *services_of_node(const json_t *answer)
{
    json_t *services = json_object(), *service;
    const char *id;
    json_object_foreach(json_object_get(answer, "Services"), id, service)
    {
        const char *name = cli_text(service, "Service");
        json_t *tags = json_object_get(services, name);
        if (tags == NULL) {
            tags = json_array();
            json_object_set_new(services, name, tags);
        }
        if (json_is_array(json_object_get(service, "Tags")))
            json_array_extend(tags, json_object_get(service, "Tags"));
    }
    return services;
}

int cli_catalog_services(int argc, char **argv)
{
    bool tags = false;
    const char *node = NULL, *filter = NULL;
    struct text_list meta = {0};
    const struct flag flags[] = {
        {"node", FLAG_STRING, &node, "Only services of this node."},
        {"node-meta", FLAG_LIST, &meta, "Only services on nodes with this key=value."},
        {"tags", FLAG_BOOL, &tags, "Print each service's tags too."},
        {"filter", FLAG_STRING, &filter, "Filter expression that the agent applies."},
        {0},
    };
    static const struct cli_usage usage = {
        .arguments = "[options]",
        .text = "  Lists the services of the catalog by name.",
    };
    struct cli cli;
    if (!cli_start(&cli, &usage, flags, argc, argv)) {
        text_list_free(&meta);
        return cli.exit_code;
    }
    struct buffer path = {0};
    buffer_add_text(&path, node != NULL ? "/v1/catalog/node/" : "/v1/catalog/services");
    if (node != NULL)
        cli_api_add_segment(&path, node);
    cli_api_add_query(&path, "filter", filter);
    for (size_t i = 0; i < meta.count; i++)
        cli_api_add_query(&path, "node-meta", meta.items[i]);
    text_list_free(&meta);
    json_t *answer = cli_api_get(cli.api, buffer_text(&path), &cli.error);
    buffer_free(&path);
    if (answer == NULL)
        return cli_fail(&cli, "Error listing services");
    json_t *services = node != NULL ? services_of_node(answer) : json_incref(answer);
    if (json_object_size(services) == 0)
        puts("No services match the given query - try expanding your search.");
    else
        print_services(services, tags);
    json_decref(services);
    json_decref(answer);
    return cli_end(&cli, 0);
}
