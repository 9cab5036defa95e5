/* Whole small files. */
#pragma once

#include <stddef.h>

#include "base/error.h"

/* Fresh memory, NUL-terminated. The message names the file: "web.hcl: No such file or directory".
 */
char *file_read(const char *path, size_t max, size_t *ret_length, struct error *error);
