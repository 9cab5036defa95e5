/* What the filter's parser and its evaluation share: the tree. */
#pragma once

#include "text/filter.h"

enum filter_kind { FILTER_AND, FILTER_OR, FILTER_NOT, FILTER_TEST };

enum filter_operator {
    FILTER_EQUAL,
    FILTER_IN, /* also `contains`, with its sides swapped */
    FILTER_EMPTY,
    FILTER_MATCHES,
};

/* What a selector ends at. */
enum filter_type {
    FILTER_TEXT,
    FILTER_NUMBER,
    FILTER_BOOLEAN,
    FILTER_LIST, /* of texts */
    FILTER_MAP,
    FILTER_OBJECTS, /* a list of messages: only its emptiness can be asked for */
};

/* One step of a selector: into a field, or, if `key` is set, to a key of the map at hand. */
struct filter_step {
    const ProtobufCFieldDescriptor *field; /* of the message; of a map's entry: its value */
    const char *key;
};

struct filter {
    enum filter_kind kind;
    struct filter *left, *right; /* and, or; not has `left` alone */

    enum filter_operator operator;
    bool negated;
    size_t part;
    enum filter_type type;
    size_t step_count;
    const struct filter_step *steps;
    const char *text; /* the value as written */
    int64_t number;
    bool boolean;
    struct pattern *pattern;
};

#define FILTER_STEPS_MAX 16

/* Fills part, steps and type from the words of a selector. */
bool filter_resolve(struct filter *test, const struct filter_root *root, const char *const *words,
                    size_t count, struct arena *arena, struct error *error);
/* Checks that the operator applies, and reads the value as the selector's type. */
bool filter_finish_test(struct filter *test, const char *selector, struct arena *arena,
                        struct error *error);
