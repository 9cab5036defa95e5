#include "mesh/opaque.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/duration.h"
#include "base/text.h"
#include "text/json.h"

struct opaque opaque_parse(const char *json, struct buffer *problems)
{
    struct opaque opaque = {NULL, problems};
    if (text_empty(json))
        return opaque;
    struct error error;
    opaque.object = json_parse(json, strlen(json), NULL, &error);
    if (opaque.object == NULL && problems != NULL)
        buffer_printf(problems, "config: %s\n", error.message);
    return opaque;
}

void opaque_clear(struct opaque *opaque)
{
    json_decref(opaque->object);
    opaque->object = NULL;
}

json_t *opaque_get(const struct opaque *opaque, const char *key)
{
    return opaque->object == NULL ? NULL : json_get_nocase(opaque->object, key);
}

static bool unusable(const struct opaque *opaque, const char *key, const char *want)
{
    if (opaque->problems != NULL)
        buffer_printf(opaque->problems, "config key \"%s\": expected %s; the default is used\n",
                      key, want);
    return false;
}

bool opaque_int(const struct opaque *opaque, const char *key, int64_t min, int64_t max,
                int64_t *ret_value)
{
    json_t *value = opaque_get(opaque, key);
    if (value == NULL)
        return false;
    int64_t number;
    if (json_is_integer(value)) {
        number = json_integer_value(value);
    } else if (json_is_real(value) && json_real_value(value) >= (double)min &&
               json_real_value(value) <= (double)max) {
        number = (int64_t)json_real_value(value);
    } else if (json_is_string(value)) {
        char *end;
        const char *text = json_string_value(value);
        number = strtoll(text, &end, 10);
        if (*text == '\0' || *end != '\0')
            return unusable(opaque, key, "a number");
    } else {
        return unusable(opaque, key, "a number");
    }
    if (number < min || number > max)
        return unusable(opaque, key, "a number in range");
    *ret_value = number;
    return true;
}

bool opaque_bool(const struct opaque *opaque, const char *key, bool *ret_value)
{
    json_t *value = opaque_get(opaque, key);
    if (value == NULL)
        return false;
    if (json_is_boolean(value)) {
        *ret_value = json_is_true(value);
    } else if (json_is_integer(value)) {
        *ret_value = json_integer_value(value) != 0;
    } else if (json_is_string(value)) {
        const char *text = json_string_value(value);
        bool yes =
            strcasecmp(text, "true") == 0 || strcmp(text, "1") == 0 || strcasecmp(text, "t") == 0;
        bool no = strcasecmp(text, "false") == 0 || strcmp(text, "0") == 0 ||
                  strcasecmp(text, "f") == 0 || *text == '\0';
        if (!yes && !no)
            return unusable(opaque, key, "true or false");
        *ret_value = yes;
    } else {
        return unusable(opaque, key, "true or false");
    }
    return true;
}

bool opaque_duration(const struct opaque *opaque, const char *key, int64_t *ret_ns)
{
    json_t *value = opaque_get(opaque, key);
    if (value == NULL)
        return false;
    if (json_is_integer(value)) {
        *ret_ns = json_integer_value(value);
        return true;
    }
    int64_t ns;
    if (!json_is_string(value) || !duration_parse(json_string_value(value), &ns))
        return unusable(opaque, key, "a duration like \"10s\"");
    *ret_ns = ns;
    return true;
}

const char *opaque_text(const struct opaque *opaque, const char *key)
{
    json_t *value = opaque_get(opaque, key);
    if (value == NULL)
        return NULL;
    if (!json_is_string(value)) {
        unusable(opaque, key, "a string");
        return NULL;
    }
    return json_string_value(value);
}

struct opaque opaque_object(const struct opaque *opaque, const char *key)
{
    struct opaque member = {NULL, opaque->problems};
    json_t *value = opaque_get(opaque, key);
    if (json_is_object(value))
        member.object = json_incref(value);
    else if (value != NULL)
        unusable(opaque, key, "an object");
    return member;
}
