/* JSON by jansson, with limits and errors that name line and column. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "base/error.h"

#define JSON_DEPTH_MAX 64

/* Parses one value; anything but blanks behind it is an error. Integers stay 64-bit; a few larger
 * ones become reals. `name` is the file, or what else the text is, for messages: "web.json:3:14:
 * unexpected token near 'x'"; NULL leaves it out ("line 3, column 14: …"). A new reference, or
 * NULL. */
json_t *json_parse(const char *text, size_t length, const char *name, struct error *error);

/* Appends `text` as a JSON string with quotes; `<`, `>` and `&` are written \u003c … as Go does. */
void json_write_string(struct buffer *output, const char *text);
/* Appends compact JSON; keys keep their order. */
void json_write(struct buffer *output, const json_t *value);
/* Re-indents compact JSON with four spaces, as `?pretty` shows it. */
void json_write_pretty(struct buffer *output, const char *json, size_t length);
/* The same with another indent for each level. */
void json_write_indented(struct buffer *output, const char *json, size_t length,
                         const char *indent);
