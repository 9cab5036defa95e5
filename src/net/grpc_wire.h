/* The small text rules of gRPC over HTTP/2: status codes and their mappings, percent-encoding of
 * `grpc-message`, base64 of binary trailers, `grpc-timeout`. Pure functions.
 *
 * Source of the rules: "gRPC over HTTP/2" and "HTTP to gRPC status code mapping" of the gRPC
 * project. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/grpc.h"

#define GRPC_PREFIX_SIZE 5 /* one byte of flags, four of length, before each message */

/* Longest grpc-message and grpc-status-details-bin that are sent, encoded. Clients commonly refuse
 * more than 8 to 16 KiB of trailers and then show nothing at all. */
#define GRPC_MESSAGE_MAX ((size_t)4096)
#define GRPC_DETAILS_MAX ((size_t)8192)

/* Percent-encodes what is not printable ASCII, cut at a character boundary; fresh memory. */
char *grpc_message_encode(const char *message);
/* Broken escapes stay as they are; fresh memory. */
char *grpc_message_decode(const char *text);

/* Base64 without padding, as senders should; fresh memory. */
char *grpc_binary_encode(const void *bytes, size_t length);
/* With or without padding; the result is fresh memory. */
bool grpc_binary_decode(const char *text, uint8_t **ret_bytes, size_t *ret_length);

/* "200m" and the like; anything longer than a year is a year. */
bool grpc_timeout_parse(const char *text, uint64_t *ret_ms);

enum grpc_code grpc_code_parse(const char *text); /* of grpc-status; UNKNOWN if it is no code */
enum grpc_code grpc_code_of_http(const char *status);
enum grpc_code grpc_code_of_reset(uint32_t http2_code); /* RST_STREAM, as the client sees it */

bool grpc_content_type_ok(const char *value); /* "application/grpc", "application/grpc+proto", … */
