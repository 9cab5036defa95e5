#include "text/hcl_scan.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void hcl_add_position(const struct hcl *hcl, const char *at, struct buffer *output)
{
    size_t line = 1, column = 1;
    for (const char *c = hcl->text; c < at; c++) {
        if (*c == '\n') {
            line++;
            column = 1;
        } else if (((unsigned char)*c & 0xc0) != 0x80) {
            column++;
        }
    }
    if (hcl->name != NULL)
        buffer_printf(output, "%s:%zu:%zu: ", hcl->name, line, column);
    else
        buffer_printf(output, "line %zu, column %zu: ", line, column);
}

bool hcl_fail(struct hcl *hcl, const char *at, const char *format, ...)
{
    struct buffer text = {0};
    hcl_add_position(hcl, at, &text);
    va_list args;
    va_start(args, format);
    buffer_vprintf(&text, format, args);
    va_end(args);
    error_set(hcl->error, ERR_INVALID, "%s", buffer_text(&text));
    buffer_free(&text);
    hcl->failed = true;
    return false;
}

bool hcl_expected(struct hcl *hcl, const char *wanted)
{
    const char *at = hcl->at;
    if (at == hcl->end)
        return hcl_fail(hcl, at, "expected %s, found the end of the file", wanted);
    if (*at == '\n' || *at == '\r')
        return hcl_fail(hcl, at, "expected %s, found the end of the line", wanted);
    unsigned char c = (unsigned char)*at;
    if (c > 0x20 && c < 0x7f)
        return hcl_fail(hcl, at, "expected %s, found '%c'", wanted, c);
    return hcl_fail(hcl, at, "expected %s, found byte 0x%02x", wanted, c);
}

/* --- blanks and comments --- */

static bool skip_comment(struct hcl *hcl)
{
    size_t left = (size_t)(hcl->end - hcl->at);
    if (*hcl->at == '#' || (left > 1 && hcl->at[0] == '/' && hcl->at[1] == '/')) {
        while (hcl->at < hcl->end && *hcl->at != '\n')
            hcl->at++;
        return true;
    }
    if (left > 1 && hcl->at[0] == '/' && hcl->at[1] == '*') {
        const char *close = memmem(hcl->at + 2, left - 2, "*/", 2);
        if (close == NULL)
            return hcl_fail(hcl, hcl->at, "the comment that begins here has no end: add */");
        hcl->at = close + 2;
        return true;
    }
    return false;
}

bool hcl_skip_blank(struct hcl *hcl, bool lines)
{
    while (hcl->at < hcl->end) {
        char c = *hcl->at;
        if (c == ' ' || c == '\t' || c == '\r' || (lines && c == '\n'))
            hcl->at++;
        else if (!skip_comment(hcl))
            break;
    }
    return !hcl->failed;
}

/* --- strings --- */

static bool add_code_point(struct hcl *hcl, const char *at, uint32_t code, struct buffer *output)
{
    if (code == 0 || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
        return hcl_fail(hcl, at, "the escape stands for no character");
    if (code < 0x80) {
        buffer_add_byte(output, (char)code);
    } else if (code < 0x800) {
        buffer_add_byte(output, (char)(0xc0 | code >> 6));
        buffer_add_byte(output, (char)(0x80 | (code & 0x3f)));
    } else if (code < 0x10000) {
        buffer_add_byte(output, (char)(0xe0 | code >> 12));
        buffer_add_byte(output, (char)(0x80 | (code >> 6 & 0x3f)));
        buffer_add_byte(output, (char)(0x80 | (code & 0x3f)));
    } else {
        buffer_add_byte(output, (char)(0xf0 | code >> 18));
        buffer_add_byte(output, (char)(0x80 | (code >> 12 & 0x3f)));
        buffer_add_byte(output, (char)(0x80 | (code >> 6 & 0x3f)));
        buffer_add_byte(output, (char)(0x80 | (code & 0x3f)));
    }
    return true;
}

static int digit_value(char c)
{
    if (hcl_is_digit(c))
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
}

/* Exactly `count` digits of `base`. */
static bool read_code(struct hcl *hcl, int base, int count, const char *start, uint32_t *ret_code)
{
    uint32_t code = 0;
    for (int i = 0; i < count; i++) {
        int digit = hcl->at < hcl->end ? digit_value(*hcl->at) : 99;
        if (digit >= base)
            return hcl_fail(hcl, start, "the escape needs %d digits", count);
        code = code * (uint32_t)base + (uint32_t)digit;
        hcl->at++;
    }
    *ret_code = code;
    return true;
}

/* Behind a backslash. \x and octal give one byte, as in Go; the whole must be UTF-8 in the end. */
static bool read_escape(struct hcl *hcl, struct buffer *output)
{
    static const char plain[] = "n\nt\tr\ra\ab\bf\fv\v\"\"\\\\";
    const char *start = hcl->at - 1;
    if (hcl->at == hcl->end)
        return hcl_fail(hcl, start, "the string has no end");
    char c = *hcl->at;
    for (size_t i = 0; i + 1 < sizeof plain; i += 2) {
        if (plain[i] == c) {
            buffer_add_byte(output, plain[i + 1]);
            hcl->at++;
            return true;
        }
    }
    uint32_t code;
    if (c >= '0' && c <= '7') {
        if (!read_code(hcl, 8, 3, start, &code))
            return false;
    } else if (c == 'x' || c == 'u' || c == 'U') {
        hcl->at++;
        if (!read_code(hcl, 16, c == 'x' ? 2 : c == 'u' ? 4 : 8, start, &code))
            return false;
        if (c != 'x')
            return add_code_point(hcl, start, code, output);
    } else {
        return hcl_fail(hcl, start,
                        "unknown escape in a string; a backslash itself is written \\\\");
    }
    if (code == 0 || code > 0xff)
        return hcl_fail(hcl, start, "the escape stands for no character");
    buffer_add_byte(output, (char)code);
    return true;
}

/* `${ … }` is kept as it stands: quotes and newlines inside of it do not end the string. */
static bool read_interpolation(struct hcl *hcl, struct buffer *output)
{
    const char *start = hcl->at;
    int braces = 0;
    do {
        if (hcl->at == hcl->end || *hcl->at == '\0')
            return hcl_fail(hcl, start, "the ${ that begins here has no }");
        braces += (*hcl->at == '{') - (*hcl->at == '}');
        buffer_add_byte(output, *hcl->at++);
    } while (braces > 0 || hcl->at == start + 1);
    return true;
}

static json_t *finish_string(struct hcl *hcl, const char *start, struct buffer *text)
{
    json_t *value = hcl->failed ? NULL : json_stringn(buffer_text(text), text->length);
    if (value == NULL && !hcl->failed)
        hcl_fail(hcl, start, "the string is not valid UTF-8");
    buffer_free(text);
    return value;
}

json_t *hcl_scan_string(struct hcl *hcl)
{
    struct buffer text = {0};
    const char *start = hcl->at++;
    while (!hcl->failed && !hcl_next_is(hcl, '"')) {
        if (hcl->at == hcl->end || *hcl->at == '\n') {
            hcl_fail(hcl, start, "the string that begins here has no end on its line");
        } else if (*hcl->at == '\0') {
            hcl_fail(hcl, hcl->at, "a string may not contain a NUL byte");
        } else if (*hcl->at == '\\') {
            hcl->at++;
            read_escape(hcl, &text);
        } else if (*hcl->at == '$' && hcl->end - hcl->at > 1 && hcl->at[1] == '{') {
            read_interpolation(hcl, &text);
        } else {
            buffer_add_byte(&text, *hcl->at++);
        }
    }
    if (!hcl->failed)
        hcl->at++;
    return finish_string(hcl, start, &text);
}

/* --- heredocs --- */

struct line {
    const char *start, *end; /* without the newline */
};

static struct line take_line(struct hcl *hcl)
{
    size_t left = hcl->at < hcl->end ? (size_t)(hcl->end - hcl->at) : 0;
    const char *newline = memchr(hcl->at, '\n', left);
    struct line line = {hcl->at, newline != NULL ? newline : hcl->end};
    hcl->at = newline != NULL ? newline + 1 : hcl->end;
    return line;
}

/* True if nothing but blanks and the marker are on the line; tells the marker's indent. */
static bool is_marker(struct line line, struct line marker, size_t *ret_indent)
{
    const char *at = line.start;
    while (at < line.end && (*at == ' ' || *at == '\t'))
        at++;
    size_t length = (size_t)(marker.end - marker.start), left = (size_t)(line.end - at);
    if (left > 0 && at[left - 1] == '\r')
        left--;
    if (left != length || memcmp(at, marker.start, length) != 0)
        return false;
    *ret_indent = (size_t)(at - line.start);
    return true;
}

/* Adds the lines up to `end`. `indent` blanks go from each line, if every line has them. */
static void add_lines(const char *start, const char *end, size_t indent, struct buffer *output)
{
    for (const char *line = start; line < end && indent > 0;) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        size_t blanks = 0;
        while (blanks < indent && (line[blanks] == ' ' || line[blanks] == '\t'))
            blanks++;
        if (blanks < indent && line[blanks] != '\n')
            indent = 0;
        line = newline != NULL ? newline + 1 : end;
    }
    for (const char *line = start; line < end;) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        const char *next = newline != NULL ? newline + 1 : end;
        size_t skip = (size_t)(next - line) > indent ? indent : (size_t)(next - line) - 1;
        buffer_add(output, line + skip, (size_t)(next - line) - skip);
        line = next;
    }
}

json_t *hcl_scan_heredoc(struct hcl *hcl)
{
    const char *start = hcl->at;
    hcl->at += 2;
    bool strip = hcl_next_is(hcl, '-');
    hcl->at += strip;
    struct line marker = take_line(hcl);
    while (marker.end > marker.start && (marker.end[-1] == '\r' || marker.end[-1] == ' '))
        marker.end--;
    for (const char *c = marker.start; c < marker.end; c++) {
        if (!hcl_is_key_char(*c))
            marker.end = marker.start;
    }
    if (marker.end == marker.start) {
        hcl_fail(hcl, start,
                 "a heredoc begins with << and its marker, such as <<EOF, and a new line");
        return NULL;
    }
    const char *body = hcl->at;
    while (hcl->at < hcl->end) {
        struct line line = take_line(hcl);
        size_t indent;
        if (!is_marker(line, marker, &indent))
            continue;
        hcl->at = line.end; /* the newline ends the item */
        struct buffer text = {0};
        add_lines(body, line.start, strip ? indent : 0, &text);
        if (memchr(buffer_text(&text), '\0', text.length) != NULL)
            hcl_fail(hcl, start, "a string may not contain a NUL byte");
        return finish_string(hcl, start, &text);
    }
    hcl_fail(hcl, start, "the heredoc that begins here has no closing %.*s",
             (int)(marker.end - marker.start > 100 ? 100 : marker.end - marker.start),
             marker.start);
    return NULL;
}

/* --- numbers and words --- */

json_t *hcl_scan_number(struct hcl *hcl)
{
    char text[64];
    size_t length = 0;
    const char *start = hcl->at;
    bool hex = false, real = false;
    while (hcl->at < hcl->end && length + 1 < sizeof text) {
        char c = *hcl->at;
        bool sign =
            (c == '-' || c == '+') && (length == 0 || (!hex && (text[length - 1] | 0x20) == 'e'));
        if (!hcl_is_key_char(c) && !sign)
            break;
        hex = hex || ((c | 0x20) == 'x' && length > 0 && text[length - 1] == '0');
        real = real || (!hex && (c == '.' || (c | 0x20) == 'e'));
        text[length++] = c;
        hcl->at++;
    }
    text[length] = '\0';
    char *rest;
    errno = 0;
    json_t *value;
    if (real) {
        value = json_real(strtod(text, &rest)); /* NULL for an infinite one */
    } else {
        value = json_integer(strtoll(text, &rest, 0));
        if (errno == ERANGE) {
            json_decref(value);
            value = NULL;
        }
    }
    if (value == NULL) {
        hcl_fail(hcl, start, "the number %s is too large", text);
    } else if (*rest != '\0' || length == 0) {
        json_decref(value);
        value = NULL;
        hcl_fail(hcl, start, "\"%s\" is not a number; put text in double quotes", text);
    }
    return value;
}

json_t *hcl_scan_word(struct hcl *hcl)
{
    const char *start = hcl->at;
    while (hcl->at < hcl->end && hcl_is_key_char(*hcl->at))
        hcl->at++;
    size_t length = (size_t)(hcl->at - start);
    if (length == 4 && memcmp(start, "true", 4) == 0)
        return json_true();
    if (length == 5 && memcmp(start, "false", 5) == 0)
        return json_false();
    hcl_fail(hcl, start, "expected a value, found the word %.*s; put text in double quotes",
             (int)(length > 60 ? 60 : length), start);
    return NULL;
}
