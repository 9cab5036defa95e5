/* Consul's boolean expressions, as `?filter=` takes them.
 *
 *     Service.Meta.version == v2 and not (Node.Node in Tags or Checks is empty)
 *
 * Operators: ==, !=, in, not in, contains, not contains, is empty, is not empty, matches, not
 * matches; and, or, not, parentheses. A selector is a path of field names; a map is entered by
 * `.key` or `["key"]`. A value is a bare word, a number, or quoted by "" or ``.
 *
 * An expression is checked against the type of the items when it is parsed, and evaluated over the
 * messages themselves. Fields that the API never shows cannot be selected. */
#pragma once

#include "base/memory.h"
#include "text/codec.h"

#define FILTER_LENGTH_MAX 8192
#define FILTER_DEPTH_MAX 64
#define FILTER_PARTS_MAX 3

/* An item may be made of several messages. */
struct filter_part {
    const char *name; /* "Node" in front of the fields; NULL: the fields stand on top */
    const struct codec_message *type;
    bool list; /* only `is empty` applies; the part of an item is then NULL for an empty list */
};

struct filter_root {
    struct filter_part parts[FILTER_PARTS_MAX]; /* type NULL: no more */
};

struct filter;

/* Lives in `arena`. The message is Consul's: "Failed to create boolean expression evaluator: …". */
struct filter *filter_parse(const char *text, const struct filter_root *root, struct arena *arena,
                            struct error *error);
/* `parts`: the item's messages, in the order of the root's parts; NULL is an empty message. A NULL
 * filter matches everything. */
bool filter_match(const struct filter *filter, const void *const *parts);
