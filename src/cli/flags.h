/* Flags of commands, as Go programs take them.
 *
 * A flag is `-name value`, `-name=value`, or the same with two dashes. A boolean takes its value
 * only behind `=`. Flags may stand before, between and behind the arguments; `--` ends them. A
 * command declares its flags as an array that ends with a row whose name is NULL; each row points
 * at the variable that it fills. Values are borrowed from argv. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "base/text.h"

enum flag_kind {
    FLAG_BOOL,   /* bool */
    FLAG_STRING, /* const char * */
    FLAG_NUMBER, /* int64_t */
    FLAG_LIST,   /* struct text_list: one entry for each time that the flag is given */
};

struct flag {
    const char *name;
    enum flag_kind kind;
    void *target;
    const char *help;
};

/* Sets of flags that a command takes; each may be NULL. */
#define FLAG_SETS_MAX 4
struct flag_sets {
    const struct flag *sets[FLAG_SETS_MAX];
};

enum flags_result { FLAGS_READ, FLAGS_HELP, FLAGS_WRONG };

/* Reads argv[1] and on. Arguments that are no flags are moved together to argv[1]…, and counted.
 * FLAGS_WRONG fills `error` with Go's words, such as `flag provided but not defined: -x`. */
enum flags_result flags_read(const struct flag_sets *flags, int argc, char **argv, int *ret_count,
                             struct error *error);
/* One paragraph a flag, sorted as declared. */
void flags_describe(const struct flag *flags, FILE *output);
