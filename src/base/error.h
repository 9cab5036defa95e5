/* Errors that a person will read.
 *
 * A function that can fail returns a bool or a pointer and takes a `struct error *` as its last
 * parameter. On failure it fills the error and leaves its other outputs untouched; on success it
 * leaves the error untouched. The error may be NULL where the caller needs no words.
 *
 * The message says what failed, on which object, who refused, and what to do next. It is one
 * line without a full stop, so that a caller can put its own context in front (error_prefix). */
#pragma once

#include <stdbool.h>

enum error_code {
    ERR_NONE,
    ERR_INVALID, /* malformed or contradictory input; HTTP 400, gRPC InvalidArgument */
    ERR_UNAUTHENTICATED,
    ERR_DENIED,       /* HTTP 403, gRPC PermissionDenied */
    ERR_NOT_FOUND,    /* HTTP 404 */
    ERR_CONFLICT,     /* a check-and-set that lost; HTTP 409 or `false` */
    ERR_TOO_LARGE,    /* HTTP 413 */
    ERR_EXHAUSTED,    /* a limit was reached; HTTP 429, gRPC ResourceExhausted */
    ERR_PRECONDITION, /* gRPC FailedPrecondition */
    ERR_ABORTED,
    ERR_UNAVAILABLE, /* try again later; HTTP 503 */
    ERR_TIMEOUT,
    ERR_UNSUPPORTED, /* known, but not built yet */
    ERR_CLOSED,      /* the other side ended an exchange in good order */
    ERR_IO,          /* the operating system refused */
    ERR_INTERNAL,    /* a refusal that Consul answers with HTTP 500, or a fault of our own */
};

#define ERROR_MESSAGE_MAX 1024

struct error {
    enum error_code code;
    char message[ERROR_MESSAGE_MAX]; /* cut at a character boundary if longer */
};

/* Fills `error` (may be NULL) and is false, so that `return error_set(...)` reads well; a macro, so
 * that compilers and checkers know the value too. */
#define error_set(...)           \
    ({                           \
        error_fill(__VA_ARGS__); \
        false;                   \
    })
void error_fill(struct error *error, enum error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts context in front of the message that is there. */
void error_prefix(struct error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
