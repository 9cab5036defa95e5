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
/* The same for values with commas between them, as they would stand in a list: a new array. */
json_t *json_parse_list(const char *text, const char *name, struct error *error);
/* Borrowed: the member whose key differs at most in case, as Consul finds the keys of opaque maps;
 * NULL if there is none, or a null. */
json_t *json_get_nocase(const json_t *object, const char *key);

/* Appends `text` as a JSON string with quotes; `<`, `>` and `&` are written \u003c … as Go does. */
void json_write_string(struct buffer *output, const char *text);
/* Appends compact JSON; keys keep their order. */
void json_write(struct buffer *output, const json_t *value);
/* Re-indents compact JSON with four spaces, as `?pretty` shows it. */
void json_write_pretty(struct buffer *output, const char *json, size_t length);
/* The same with another indent for each level. */
void json_write_indented(struct buffer *output, const char *json, size_t length,
                         const char *indent);
