/* Identifiers, digests and text encodings of bytes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define UUID_TEXT_MAX 37
#define SHA256_SIZE 32

void random_bytes(void *bytes, size_t length); /* from the kernel; never fails short */
/* A random id as Consul makes them: 8-4-4-4-12 lower-case hex. `text` has room for UUID_TEXT_MAX. */
char *uuid_generate(char *text);
bool uuid_valid(const char *text); /* the shape alone; any case */

void sha256(const void *data, size_t length, uint8_t digest[SHA256_SIZE]);
/* Lower-case hex; `text` has room for 2 * length + 1. */
char *hex_encode(const uint8_t *bytes, size_t length, char *text);

/* RFC 4648 §4 with padding. Fresh memory. */
char *base64_encode(const void *bytes, size_t length);
/* Skips CR and LF, as Go's decoder does. The message names the offset: "illegal base64 data at
 * input byte 4". Fresh memory, NUL-terminated for convenience. */
bool base64_decode(const char *text, uint8_t **ret_bytes, size_t *ret_length, struct error *error);

/* Compares secrets in a time that depends on the length of `given` alone. An empty secret never equals anything. */
bool secret_equal(const char *secret, const char *given);
