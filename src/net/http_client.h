/* HTTP requests from the loop, by libcurl: for health checks. Each makes a connection of its own,
 * since whether that can be made is part of the question. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "net/loop.h"

struct http_client;
struct http_fetch;

struct http_fetch_request {
    const char *method; /* NULL: GET */
    const char *url;
    const char *const *headers; /* "Name: value", NULL-terminated, or NULL */
    const char *body;           /* NULL: none */
    uint64_t timeout_ms;
    size_t body_max; /* what of the answer is kept; the rest is read and dropped */
    bool tls_skip_verify;
    bool follow_redirects;
};

/* `error` NULL: an answer with `status` came. Not called from inside of http_fetch_start; the fetch
 * is gone then. */
typedef void http_fetch_fn(void *arg, int status, const char *body, size_t length,
                           const struct error *error);

struct http_client *http_client_new(struct loop *loop);
void http_client_free(struct http_client *client); /* drops what is under way, without callbacks */
struct http_fetch *http_fetch_start(struct http_client *client,
                                    const struct http_fetch_request *request, http_fetch_fn *done,
                                    void *arg);
void http_fetch_cancel(struct http_fetch *fetch);
