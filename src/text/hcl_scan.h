/* What hcl.c's grammar stands on: position, blanks and comments, strings, heredocs, numbers.
 *
 * The reader works straight from the bytes; there is no separate list of tokens. The scan
 * functions start at the first byte of what they read and leave `at` behind it; on failure they
 * return NULL (or false), with the error filled and `failed` set. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/text.h"

struct hcl {
    const char *text, *at, *end;
    const char *name; /* of the file, for messages; may be NULL */
    struct text_list *warnings;
    struct error *error;
    int depth;
    bool failed;
};

static inline bool hcl_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static inline bool hcl_is_key_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c & 0x80) != 0;
}

static inline bool hcl_is_key_char(char c)
{
    return hcl_is_key_start(c) || hcl_is_digit(c) || c == '-' || c == '.';
}

static inline bool hcl_next_is(const struct hcl *hcl, char c)
{
    return hcl->at < hcl->end && *hcl->at == c;
}

/* "web.hcl:3:14: " */
void hcl_add_position(const struct hcl *hcl, const char *at, struct buffer *output);
bool hcl_fail(struct hcl *hcl, const char *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Fails with "expected <wanted>, found …", whatever comes next. */
bool hcl_expected(struct hcl *hcl, const char *wanted);

/* Blanks and comments, over lines too if `lines`. */
bool hcl_skip_blank(struct hcl *hcl, bool lines);
json_t *hcl_scan_string(struct hcl *hcl);
json_t *hcl_scan_heredoc(struct hcl *hcl);
json_t *hcl_scan_number(struct hcl *hcl);
json_t *hcl_scan_word(struct hcl *hcl); /* true or false */
