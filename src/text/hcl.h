/* Reader of HCL v1, the configuration language of Consul's files (reference: more-facts, "HCL v1").
 *
 * The result is JSON: an object for the file; a block is always a list of objects, whether it
 * stands once or often, which the codec accepts where its schema has a single message (codec.h,
 * CODEC_HCL). A file whose first non-blank byte is `{` is JSON and is read as such. */
#pragma once

#include <jansson.h>

#include "base/error.h"
#include "base/text.h"

/* Errors read "web.hcl:3:14: expected a value, found '}'". `warnings` (may be NULL) gets a line
 * for each scalar key that was set twice (the last one wins, as in Consul). A new reference. */
json_t *hcl_parse(const char *text, size_t length, const char *name, struct text_list *warnings,
                  struct error *error);
