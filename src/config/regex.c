/* A first look at regular expressions that Envoy's RE2 will have to read. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "config/validate.h"

#define DEPTH_MAX 100
#define REPEAT_MAX 1000

struct reader {
    const char *at;
    int depth;
    bool repeatable; /* what stands before can be repeated */
    const char *wrong;
};

static void read_escape(struct reader *reader)
{
    char c = *++reader->at;
    const char *end = c == 'Q' ? strstr(reader->at, "\\E") : NULL;
    if (end != NULL) /* up to there everything stands for itself */
        reader->at = end;
    if (c == '\0')
        reader->wrong = "ends in a backslash";
    else if (c >= '1' && c <= '9')
        reader->wrong = "has a back-reference, which Envoy's regular expressions have not";
    else if (isalpha((unsigned char)c) && strchr("ABCDPQSWabdfnprstvwxz", c) == NULL)
        reader->wrong = "has a letter behind a backslash that means nothing there";
    else
        reader->at++;
    reader->repeatable = true;
}

/* Up to behind the bracket that closes it. */
static void read_class(struct reader *reader)
{
    const char *at = reader->at + 1;
    if (*at == '^')
        at++;
    if (*at == ']')
        at++; /* itself */
    while (*at != '\0' && *at != ']') {
        const char *end = text_starts(at, "[:") ? strstr(at + 2, ":]") : NULL;
        if (end != NULL)
            at = end + 2;
        else
            at += at[0] == '\\' && at[1] != '\0' ? 2 : 1;
    }
    if (*at == '\0')
        reader->wrong = "has a [ that is not closed";
    else
        reader->at = at + 1;
    reader->repeatable = true;
}

static void read_open(struct reader *reader)
{
    const char *at = reader->at + 1;
    reader->repeatable = false;
    if (++reader->depth > DEPTH_MAX)
        reader->wrong = "has too many groups in each other";
    if (*at != '?') {
        reader->at = at;
        return;
    }
    at++;
    bool named =
        text_starts(at, "P<") || (*at == '<' && (isalnum((unsigned char)at[1]) || at[1] == '_'));
    at += strspn(at, named ? "P<" : "imsU-");
    if (named)
        at += strcspn(at, ">");
    if ((named && *at != '>') || (!named && *at != ':' && *at != ')')) {
        reader->wrong = "has a (? that Envoy's regular expressions have not";
        return;
    }
    if (*at == ')') /* flags alone */
        reader->depth--;
    reader->at = at + 1;
}

/* The length of {n}, {n,} or {n,m}; 0: the bracket stands for itself. */
static size_t count_length(const char *text)
{
    size_t length = 1 + strspn(text + 1, "0123456789");
    if (length == 1)
        return 0;
    if (text[length] == ',')
        length += 1 + strspn(text + length + 1, "0123456789");
    return text[length] == '}' ? length + 1 : 0;
}

static bool too_often(const char *count)
{
    for (const char *at = count + 1; *at != '}' && *at != '\0'; at++) {
        size_t digits = strspn(at, "0123456789");
        if (digits > 4 || (digits > 0 && atol(at) > REPEAT_MAX))
            return true;
        at += digits;
        if (*at != ',')
            break;
    }
    return false;
}

static void read_repeat(struct reader *reader, size_t length)
{
    if (!reader->repeatable)
        reader->wrong = "repeats nothing";
    else if (*reader->at == '{' && too_often(reader->at))
        reader->wrong = "repeats more than 1000 times";
    reader->at += length;
    if (*reader->at == '?')
        reader->at++; /* as few as possible */
    reader->repeatable = false;
}

static void read_close(struct reader *reader)
{
    if (--reader->depth < 0)
        reader->wrong = "has a ) too many";
    reader->repeatable = true;
    reader->at++;
}

static void read_next(struct reader *reader)
{
    size_t count = *reader->at == '{' ? count_length(reader->at) : 0;
    switch (*reader->at) {
    case '\\':
        read_escape(reader);
        return;
    case '[':
        read_class(reader);
        return;
    case '(':
        read_open(reader);
        return;
    case ')':
        read_close(reader);
        return;
    case '*':
    case '+':
    case '?':
        read_repeat(reader, 1);
        return;
    case '|':
        reader->repeatable = false;
        break;
    default:
        if (count > 0) {
            read_repeat(reader, count);
            return;
        }
        reader->repeatable = true;
    }
    reader->at++;
}

bool config_check_regex(const char *text, const char *where, struct error *error)
{
    struct reader reader = {.at = text};
    while (*reader.at != '\0' && reader.wrong == NULL)
        read_next(&reader);
    if (reader.wrong == NULL && reader.depth > 0)
        reader.wrong = "has a ( that is not closed";
    return reader.wrong == NULL ||
           error_set(error, ERR_INTERNAL, "%s: the regular expression \"%s\" %s", where, text,
                     reader.wrong);
}
