#include "cli/flags.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct flag *find_flag(const struct flag_sets *flags, const char *name, size_t length)
{
    for (size_t set = 0; set < FLAG_SETS_MAX; set++) {
        const struct flag *flag = flags->sets[set];
        for (; flag != NULL && flag->name != NULL; flag++) {
            if (strlen(flag->name) == length && memcmp(flag->name, name, length) == 0)
                return flag;
        }
    }
    return NULL;
}

static bool parse_bool(const char *text, bool *ret_value)
{
    static const char *const words[][6] = {
        {"0", "f", "F", "false", "FALSE", "False"},
        {"1", "t", "T", "true", "TRUE", "True"},
    };
    for (int value = 0; value < 2; value++) {
        for (size_t i = 0; i < 6; i++) {
            if (strcmp(words[value][i], text) == 0) {
                *ret_value = value == 1;
                return true;
            }
        }
    }
    return false;
}

static bool set_flag(const struct flag *flag, const char *value, struct error *error)
{
    char *end;
    switch (flag->kind) {
    case FLAG_BOOL:
        if (parse_bool(value, flag->target))
            return true;
        return error_set(error, ERR_INVALID, "invalid boolean value \"%s\" for -%s: parse error",
                         value, flag->name);
    case FLAG_STRING:
        *(const char **)flag->target = value;
        return true;
    case FLAG_NUMBER:
        errno = 0;
        *(int64_t *)flag->target = strtoll(value, &end, 0);
        if (*value != '\0' && *end == '\0' && errno == 0)
            return true;
        return error_set(error, ERR_INVALID, "invalid value \"%s\" for flag -%s: parse error",
                         value, flag->name);
    default: /* FLAG_LIST */
        text_list_add(flag->target, value);
        return true;
    }
}

/* The flag at argv[*at]; moves *at on if its value is an argument of its own. */
static enum flags_result read_flag(const struct flag_sets *flags, int argc, char **argv, int *at,
                                   struct error *error)
{
    const char *name = argv[*at] + 1;
    name += *name == '-';
    size_t length = strcspn(name, "=");
    const char *value = name[length] == '=' ? name + length + 1 : NULL;
    if (length == 0 || *name == '-') {
        error_set(error, ERR_INVALID, "bad flag syntax: %s", argv[*at]);
        return FLAGS_WRONG;
    }
    const struct flag *flag = find_flag(flags, name, length);
    if (flag == NULL) {
        if (strcmp(name, "h") == 0 || strcmp(name, "help") == 0)
            return FLAGS_HELP;
        error_set(error, ERR_INVALID, "flag provided but not defined: -%.*s", (int)length, name);
        return FLAGS_WRONG;
    }
    if (value == NULL && flag->kind == FLAG_BOOL)
        value = "true";
    if (value == NULL && *at + 1 < argc)
        value = argv[++*at];
    if (value == NULL) {
        error_set(error, ERR_INVALID, "flag needs an argument: -%s", flag->name);
        return FLAGS_WRONG;
    }
    return set_flag(flag, value, error) ? FLAGS_READ : FLAGS_WRONG;
}

enum flags_result flags_read(const struct flag_sets *flags, int argc, char **argv, int *ret_count,
                             struct error *error)
{
    int count = 0;
    bool flags_end = false;
    for (int i = 1; i < argc; i++) {
        if (!flags_end && strcmp(argv[i], "--") == 0) {
            flags_end = true;
        } else if (flags_end || argv[i][0] != '-' || argv[i][1] == '\0') {
            argv[1 + count++] = argv[i];
        } else {
            enum flags_result result = read_flag(flags, argc, argv, &i, error);
            if (result != FLAGS_READ)
                return result;
        }
    }
    *ret_count = count;
    return FLAGS_READ;
}

/* Words wrapped at 79 columns behind an indent. */
static void print_wrapped(const char *text, FILE *output)
{
    static const int indent = 6, width = 79;
    int column = width;
    while (*text != '\0') {
        int length = (int)strcspn(text, " ");
        if (column + 1 + length > width) {
            fprintf(output, "%s%*s", column == width && text[0] != '\0' ? "" : "\n", indent, "");
            column = indent;
        } else {
            fputc(' ', output);
            column++;
        }
        fprintf(output, "%.*s", length, text);
        column += length;
        text += length;
        text += *text == ' ';
    }
    fputc('\n', output);
}

void flags_describe(const struct flag *flags, FILE *output)
{
    static const char *const values[] = {"", "=<string>", "=<number>", "=<value>"};
    for (const struct flag *flag = flags; flag != NULL && flag->name != NULL; flag++) {
        fprintf(output, "  -%s%s\n", flag->name, values[flag->kind]);
        print_wrapped(flag->help, output);
        fputc('\n', output);
    }
}
