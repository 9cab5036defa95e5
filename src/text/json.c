#include "text/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define BIG_INTEGERS_MAX 8

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* jansson's own limit is 2048 levels, and it recurses: this looks at the brackets beforehand. */
static bool depth_fits(const char *text, size_t length, size_t *ret_line)
{
    size_t depth = 0, line = 1;
    bool quoted = false;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (c == '\n')
            line++;
        if (quoted) {
            if (c == '\\')
                i++;
            else if (c == '"')
                quoted = false;
            continue;
        }
        if (c == '"') {
            quoted = true;
        } else if (c == '{' || c == '[') {
            if (++depth > JSON_DEPTH_MAX) {
                *ret_line = line;
                return false;
            }
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return true;
}

/* Control characters in a quoted piece of the input would break the message's one line. */
static void flatten_line(char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = ' ';
    }
}

/* Where a whole number ends that jansson refused as too big; 0 if it was something else. */
static size_t big_integer_end(const char *text, size_t length, const json_error_t *where)
{
    if (json_error_code(where) != json_error_numeric_overflow || where->position <= 0)
        return 0;
    size_t end = (size_t)where->position < length ? (size_t)where->position : length;
    while (end > 0 && !is_digit(text[end - 1]))
        end--;
    while (end < length && is_digit(text[end]))
        end++;
    size_t start = end;
    while (start > 0 && is_digit(text[start - 1]))
        start--;
    if (start > 0 && text[start - 1] == '-')
        start--;
    return start > 0 && strchr(".eE+", text[start - 1]) != NULL ? 0 : end;
}

/* Consul shows unsigned 64-bit hashes, which jansson has no integer for: an exponent makes each a
 * real number. */
static json_t *load_with_big_integers(const char *text, size_t length, json_error_t *where)
{
    json_t *value = json_loadb(text, length, JSON_DECODE_ANY, where);
    struct buffer copy = {0};
    for (int tries = 0; value == NULL && tries < BIG_INTEGERS_MAX; tries++) {
        size_t end = big_integer_end(text, length, where);
        if (end == 0)
            break;
        struct buffer next = {0};
        buffer_add(&next, text, end);
        buffer_add_text(&next, "e0");
        buffer_add(&next, text + end, length - end);
        buffer_free(&copy);
        copy = next;
        text = copy.data;
        length = copy.length;
        value = json_loadb(text, length, JSON_DECODE_ANY, where);
    }
    buffer_free(&copy);
    return value;
}

/* `before`: how many columns of the first line are not the user's. */
static json_t *parse(const char *text, size_t length, int before, const char *name,
                     struct error *error)
{
    size_t deep_line = 0;
    if (!depth_fits(text, length, &deep_line)) {
        error_set(error, ERR_INVALID, "%s%sline %zu: nested deeper than %d levels",
                  name != NULL ? name : "", name != NULL ? ": " : "", deep_line, JSON_DEPTH_MAX);
        return NULL;
    }
    json_error_t where;
    json_t *value = load_with_big_integers(text, length, &where);
    if (value != NULL)
        return value;
    if (json_error_code(&where) == json_error_null_character)
        strcpy(where.text, "a string may not contain \\u0000");
    flatten_line(where.text);
    if (where.line == 1 && where.column > before)
        where.column -= before;
    if (name != NULL)
        error_set(error, ERR_INVALID, "%s:%d:%d: %s", name, where.line, where.column, where.text);
    else
        error_set(error, ERR_INVALID, "line %d, column %d: %s", where.line, where.column,
                  where.text);
    return NULL;
}

json_t *json_parse(const char *text, size_t length, const char *name, struct error *error)
{
    return parse(text, length, 0, name, error);
}

json_t *json_parse_list(const char *text, const char *name, struct error *error)
{
    struct buffer list = {0};
    buffer_printf(&list, "[%s]", text);
    json_t *values = parse(list.data, list.length, 1, name, error);
    buffer_free(&list);
    return values;
}

json_t *json_get_nocase(const json_t *object, const char *key)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)object, name, value)
    {
        if (strcasecmp(name, key) == 0 && !json_is_null(value))
            return value;
    }
    return NULL;
}

/* Length of the valid UTF-8 sequence at `text` (NUL-terminated), or 0. */
static size_t utf8_length(const unsigned char *text)
{
    static const unsigned least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char c = text[0];
    size_t length = c < 0x80             ? 1
                    : (c & 0xe0) == 0xc0 ? 2
                    : (c & 0xf0) == 0xe0 ? 3
                    : (c & 0xf8) == 0xf0 ? 4
                                         : 0;
    if (length <= 1)
        return length;
    unsigned code = c & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (text[i] & 0x3f);
    }
    bool surrogate = code >= 0xd800 && code <= 0xdfff;
    return code < least[length] || code > 0x10ffff || surrogate ? 0 : length;
}

static void write_escape(struct buffer *output, unsigned char c)
{
    switch (c) {
    case '"':
        buffer_add_text(output, "\\\"");
        break;
    case '\\':
        buffer_add_text(output, "\\\\");
        break;
    case '\n':
        buffer_add_text(output, "\\n");
        break;
    case '\r':
        buffer_add_text(output, "\\r");
        break;
    case '\t':
        buffer_add_text(output, "\\t");
        break;
    case '\b':
        buffer_add_text(output, "\\b");
        break;
    case '\f':
        buffer_add_text(output, "\\f");
        break;
    default:
        buffer_printf(output, "\\u%04x", c);
    }
}

void json_write_string(struct buffer *output, const char *text)
{
    const unsigned char *at = (const unsigned char *)text, *plain = at;
    buffer_add_byte(output, '"');
    while (*at != '\0') {
        bool special =
            *at < 0x20 || *at == '"' || *at == '\\' || *at == '<' || *at == '>' || *at == '&';
        size_t length = special ? 1 : utf8_length(at);
        /* U+2028 and U+2029 end lines in JavaScript, so Go escapes them. */
        bool separator = length == 3 && at[0] == 0xe2 && at[1] == 0x80 && (at[2] & 0xfe) == 0xa8;
        if (!special && !separator && length != 0) {
            at += length;
            continue;
        }
        buffer_add(output, plain, (size_t)(at - plain));
        if (special)
            write_escape(output, *at);
        else if (separator)
            buffer_add_text(output, at[2] == 0xa8 ? "\\u2028" : "\\u2029");
        else
            buffer_add_text(output, "\\ufffd");
        at += length != 0 ? length : 1;
        plain = at;
    }
    buffer_add(output, plain, (size_t)(at - plain));
    buffer_add_byte(output, '"');
}

/* The shortest decimal that reads back as the same number, without exponent for usual sizes. */
static void write_real(struct buffer *output, double value)
{
    char text[40];
    int digits = 1;
    do {
        snprintf(text, sizeof text, "%.*e", digits - 1, value);
    } while (strtod(text, NULL) != value && ++digits <= 17);
    double size = fabs(value);
    if (size != 0 && (size < 1e-6 || size >= 1e21)) {
        char *sign = strchr(text, 'e') + 1;
        if (sign[1] == '0') /* 1e-07 is 1e-7 in Go */
            memmove(sign + 1, sign + 2, strlen(sign + 1));
        buffer_add_text(output, text);
        return;
    }
    int exponent = size == 0 ? 0 : atoi(strchr(text, 'e') + 1);
    int decimals = digits - 1 - exponent;
    buffer_printf(output, "%.*f", decimals > 0 ? decimals : 0, value);
}

static void write_object(struct buffer *output, const json_t *value)
{
    const char *key;
    json_t *member;
    bool first = true;
    buffer_add_byte(output, '{');
    json_object_foreach((json_t *)value, key, member)
    {
        if (!first)
            buffer_add_byte(output, ',');
        first = false;
        json_write_string(output, key);
        buffer_add_byte(output, ':');
        json_write(output, member);
    }
    buffer_add_byte(output, '}');
}

static void write_array(struct buffer *output, const json_t *value)
{
    buffer_add_byte(output, '[');
    for (size_t i = 0; i < json_array_size(value); i++) {
        if (i > 0)
            buffer_add_byte(output, ',');
        json_write(output, json_array_get(value, i));
    }
    buffer_add_byte(output, ']');
}

void json_write(struct buffer *output, const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        write_object(output, value);
        break;
    case JSON_ARRAY:
        write_array(output, value);
        break;
    case JSON_STRING:
        json_write_string(output, json_string_value(value));
        break;
    case JSON_INTEGER:
        buffer_printf(output, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        break;
    case JSON_REAL:
        write_real(output, json_real_value(value));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        buffer_add_text(output, json_is_true(value) ? "true" : "false");
        break;
    case JSON_NULL:
        buffer_add_text(output, "null");
        break;
    }
}

static void new_line(struct buffer *output, const char *indent, size_t depth)
{
    buffer_add_byte(output, '\n');
    for (size_t i = 0; i < depth; i++)
        buffer_add_text(output, indent);
}

/* Copies the string that starts at json[at]; returns the place behind it. */
static size_t copy_string(struct buffer *output, const char *json, size_t at, size_t length)
{
    size_t end = at + 1;
    while (end < length && json[end] != '"')
        end += json[end] == '\\' ? 2 : 1;
    end = end < length ? end + 1 : length;
    buffer_add(output, json + at, end - at);
    return end;
}

void json_write_indented(struct buffer *output, const char *json, size_t length, const char *indent)
{
    size_t depth = 0, at = 0;
    while (at < length) {
        char c = json[at];
        if (c == '"') {
            at = copy_string(output, json, at, length);
            continue;
        }
        at++;
        if ((c == '{' || c == '[') && at < length && (json[at] == '}' || json[at] == ']')) {
            buffer_add_byte(output, c);
            buffer_add_byte(output, json[at++]);
        } else if (c == '{' || c == '[') {
            buffer_add_byte(output, c);
            new_line(output, indent, ++depth);
        } else if (c == '}' || c == ']') {
            new_line(output, indent, depth > 0 ? --depth : 0);
            buffer_add_byte(output, c);
        } else if (c == ',') {
            buffer_add_byte(output, c);
            new_line(output, indent, depth);
        } else {
            buffer_add_byte(output, c);
            if (c == ':')
                buffer_add_byte(output, ' ');
        }
    }
}

void json_write_pretty(struct buffer *output, const char *json, size_t length)
{
    json_write_indented(output, json, length, "    ");
}
