/* What commands read from files, in HCL or JSON, or from the standard input as "-". */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/buffer.h"
#include "base/error.h"

#define CLI_FILE_BYTES_MAX (16u << 20)

/* Appends the file's bytes. `open x.hcl: no such file or directory` */
bool cli_file_read(const char *path, struct buffer *output, struct error *error);
/* A new reference; warnings go to stderr. Errors as Consul words them: "Failed to read file: …". */
json_t *cli_file_parse(const char *path, struct error *error);
