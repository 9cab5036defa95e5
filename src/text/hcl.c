#include "text/hcl.h"

#include <string.h>

#include "text/hcl_scan.h"
#include "text/json.h"

/* A block is a list and an object: what is read here fits JSON_DEPTH_MAX when it is written. */
#define HCL_DEPTH_MAX (JSON_DEPTH_MAX / 2)
#define WARNINGS_MAX 100 /* each costs a walk from the start of the file */

static json_t *read_items(struct hcl *hcl, bool braces);
static json_t *read_value(struct hcl *hcl);

static json_t *read_list(struct hcl *hcl)
{
    const char *start = hcl->at++;
    json_t *list = json_array();
    for (;;) {
        if (!hcl_skip_blank(hcl, true))
            break;
        if (hcl_next_is(hcl, ']')) {
            hcl->at++;
            return list;
        }
        if (hcl->at == hcl->end) {
            hcl_fail(hcl, start, "the list that begins here has no ]");
            break;
        }
        json_t *value = read_value(hcl);
        if (value == NULL)
            break;
        json_array_append_new(list, value);
        if (!hcl_skip_blank(hcl, true))
            break;
        if (hcl_next_is(hcl, ','))
            hcl->at++;
        else if (!hcl_next_is(hcl, ']') && !hcl_expected(hcl, "',' or ']'"))
            break;
    }
    json_decref(list);
    return NULL;
}

static json_t *read_object(struct hcl *hcl)
{
    hcl->at++;
    return read_items(hcl, true);
}

static json_t *read_value(struct hcl *hcl)
{
    if (++hcl->depth > HCL_DEPTH_MAX) {
        hcl_fail(hcl, hcl->at, "nested deeper than %d levels", HCL_DEPTH_MAX);
        return NULL;
    }
    json_t *value = NULL;
    char c = hcl->at < hcl->end ? *hcl->at : '\n';
    if (c == '"')
        value = hcl_scan_string(hcl);
    else if (c == '[')
        value = read_list(hcl);
    else if (c == '{')
        value = read_object(hcl);
    else if (c == '<' && hcl->end - hcl->at > 1 && hcl->at[1] == '<')
        value = hcl_scan_heredoc(hcl);
    else if (hcl_is_digit(c) || c == '-' || c == '+' || c == '.')
        value = hcl_scan_number(hcl);
    else if (hcl_is_key_start(c))
        value = hcl_scan_word(hcl);
    else
        hcl_expected(hcl, "a value");
    hcl->depth--;
    return value;
}

static bool at_key(const struct hcl *hcl)
{
    return hcl->at < hcl->end && (*hcl->at == '"' || hcl_is_key_start(*hcl->at));
}

static json_t *read_key(struct hcl *hcl)
{
    if (hcl_next_is(hcl, '"'))
        return hcl_scan_string(hcl);
    const char *start = hcl->at;
    if (hcl->at < hcl->end && hcl_is_key_start(*hcl->at)) {
        while (hcl->at < hcl->end && hcl_is_key_char(*hcl->at))
            hcl->at++;
        json_t *key = json_stringn(start, (size_t)(hcl->at - start));
        if (key == NULL)
            hcl_fail(hcl, start, "the key is not valid UTF-8");
        return key;
    }
    hcl_expected(hcl, "a key");
    return NULL;
}

/* An object is a block: it joins the blocks of the same key. Takes over `value`. */
static void add_item(struct hcl *hcl, json_t *object, const char *key, json_t *value,
                     const char *at)
{
    json_t *old = json_object_get(object, key);
    if (json_is_object(value)) {
        json_t *last = json_array_get(old, json_array_size(old) - 1);
        if (json_is_object(last)) {
            json_array_append_new(old, value);
            return;
        }
        json_t *block = json_array();
        json_array_append_new(block, value);
        value = block;
    }
    if (old != NULL && hcl->warnings != NULL && hcl->warnings->count < WARNINGS_MAX) {
        struct buffer text = {0};
        hcl_add_position(hcl, at, &text);
        buffer_printf(&text, "\"%s\" is set twice; this, the last one, is used", key);
        text_list_add(hcl->warnings, buffer_text(&text));
        buffer_free(&text);
    }
    json_object_set_new(object, key, value);
}

/* The keys of one item, outermost first; nested labels become objects around the value. */
static json_t *read_keys(struct hcl *hcl)
{
    json_t *keys = json_array();
    do {
        json_t *key = read_key(hcl);
        if (key == NULL || !hcl_skip_blank(hcl, false)) {
            json_decref(key);
            json_decref(keys);
            return NULL;
        }
        json_array_append_new(keys, key);
        if (!hcl_next_is(hcl, '=') && !hcl_next_is(hcl, '{') && !at_key(hcl)) {
            hcl_expected(hcl, "'=' or '{' behind the key");
            json_decref(keys);
            return NULL;
        }
        if (hcl->depth + (int)json_array_size(keys) > HCL_DEPTH_MAX) {
            hcl_fail(hcl, hcl->at, "nested deeper than %d levels", HCL_DEPTH_MAX);
            json_decref(keys);
            return NULL;
        }
    } while (!hcl_next_is(hcl, '=') && !hcl_next_is(hcl, '{'));
    return keys;
}

static bool read_item(struct hcl *hcl, json_t *object)
{
    const char *start = hcl->at;
    json_t *keys = read_keys(hcl), *value = NULL;
    if (keys == NULL)
        return false;
    size_t labels = json_array_size(keys);
    if (!hcl_next_is(hcl, '{')) {
        if (labels > 1) {
            hcl_expected(hcl, "'{' behind several keys");
        } else {
            hcl->at++;
            hcl_skip_blank(hcl, true);
        }
    }
    hcl->depth += (int)labels - 1;
    if (!hcl->failed)
        value = read_value(hcl);
    hcl->depth -= (int)labels - 1;
    for (size_t i = labels - 1; i > 0 && value != NULL; i--) {
        json_t *outer = json_object();
        add_item(hcl, outer, json_string_value(json_array_get(keys, i)), value, start);
        value = outer;
    }
    if (value != NULL)
        add_item(hcl, object, json_string_value(json_array_get(keys, 0)), value, start);
    json_decref(keys);
    return value != NULL;
}

/* Behind an item: a new line, a comma, the end of the object, or at once the next key. */
static bool end_item(struct hcl *hcl, bool braces)
{
    if (!hcl_skip_blank(hcl, false))
        return false;
    if (hcl->at == hcl->end || hcl_next_is(hcl, '\n') || at_key(hcl) ||
        (braces && hcl_next_is(hcl, '}')))
        return true;
    if (hcl_next_is(hcl, ',')) {
        hcl->at++;
        return true;
    }
    return hcl_expected(hcl, "a new line or ','");
}

/* The items of an object, up to its '}', or of the file. */
static json_t *read_items(struct hcl *hcl, bool braces)
{
    const char *start = hcl->at - braces;
    json_t *object = json_object();
    for (;;) {
        if (!hcl_skip_blank(hcl, true))
            break;
        if (hcl->at == hcl->end) {
            if (!braces)
                return object;
            hcl_fail(hcl, start, "the '{' here has no '}'");
            break;
        }
        if (braces && hcl_next_is(hcl, '}')) {
            hcl->at++;
            return object;
        }
        if (!read_item(hcl, object) || !end_item(hcl, braces))
            break;
    }
    json_decref(object);
    return NULL;
}

json_t *hcl_parse(const char *text, size_t length, const char *name, struct text_list *warnings,
                  struct error *error)
{
    size_t blank = length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    text += blank;
    length -= blank;
    size_t first = 0;
    while (first < length && memchr(" \t\r\n", text[first], 4) != NULL)
        first++;
    if (first < length && text[first] == '{')
        return json_parse(text, length, name, error);
    struct hcl hcl = {.text = text,
                      .at = text,
                      .end = text + length,
                      .name = name,
                      .warnings = warnings,
                      .error = error};
    return read_items(&hcl, false);
}
