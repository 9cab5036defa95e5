#include <string.h>

#include "text/codec_field.h"

static int fold(char c)
{
    return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : (unsigned char)c;
}

/* Equal but for case and underscores, so that one comparison covers every spelling of a name. */
bool codec_same_key(const char *a, const char *b)
{
    for (;; a++, b++) {
        while (*a == '_')
            a++;
        while (*b == '_')
            b++;
        if (fold(*a) != fold(*b))
            return false;
        if (*a == '\0')
            return true;
    }
}

static bool key_names(const struct codec_field *field, const char *key)
{
    if (field->inlined)
        return false;
    if (codec_same_key(key, field->name) || codec_same_key(key, field->snake))
        return true;
    for (const char *const *alias = field->aliases; alias != NULL && *alias != NULL; alias++) {
        if (codec_same_key(key, *alias))
            return true;
    }
    return false;
}

const struct codec_field *codec_find_field(const struct codec_message *type, const char *key)
{
    for (size_t i = 0; i < type->field_count; i++) {
        if (key_names(&type->fields[i], key))
            return &type->fields[i];
    }
    return NULL;
}

#define SUGGEST_LENGTH_MAX 63

/* Edits (insert, drop, replace, swap neighbours) that turn `a` into `b`, without regard to case. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t la = strlen(a), lb = strlen(b);
    if (la > SUGGEST_LENGTH_MAX || lb > SUGGEST_LENGTH_MAX)
        return SIZE_MAX;
    size_t rows[3][SUGGEST_LENGTH_MAX + 1];
    size_t *before = rows[0], *last = rows[1], *row = rows[2];
    for (size_t j = 0; j <= lb; j++)
        last[j] = j;
    for (size_t i = 1; i <= la; i++) {
        row[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            size_t best = last[j - 1] + (fold(a[i - 1]) != fold(b[j - 1]));
            best = last[j] + 1 < best ? last[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            bool swapped = i > 1 && j > 1 && fold(a[i - 1]) == fold(b[j - 2]) &&
                           fold(a[i - 2]) == fold(b[j - 1]);
            if (swapped && before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            row[j] = best;
        }
        size_t *spare = before;
        before = last;
        last = row;
        row = spare;
    }
    return last[lb];
}

static void suggest(const struct codec_message *type, const char *key, bool snake,
                    const char **best, size_t *best_distance)
{
    for (size_t i = 0; i < type->field_count; i++) {
        const struct codec_field *field = &type->fields[i];
        if (field->inlined) {
            suggest(field->message, key, snake, best, best_distance);
            continue;
        }
        const char *name = snake ? field->snake : field->name;
        size_t distance = edit_distance(key, name);
        if (distance < *best_distance && distance < strlen(name)) {
            *best = name;
            *best_distance = distance;
        }
    }
}

const char *codec_suggest_key(const struct codec_message *type, const char *key)
{
    bool snake = true; /* answer in the spelling that was used */
    for (const char *at = key; *at != '\0'; at++)
        snake = snake && !(*at >= 'A' && *at <= 'Z');
    const char *best = NULL;
    size_t distance = strlen(key) <= 3 ? 2 : 3; /* less than this */
    suggest(type, key, snake, &best, &distance);
    return best;
}
