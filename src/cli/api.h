/* The command line's client of the HTTP API.
 *
 * Settings come from flags, then from Consul's environment variables (CONSUL_HTTP_ADDR, _TOKEN,
 * _TOKEN_FILE, _SSL, _SSL_VERIFY, _AUTH, CONSUL_CACERT, _CAPATH, _CLIENT_CERT, _CLIENT_KEY,
 * _TLS_SERVER_NAME, _NAMESPACE, _PARTITION), then from defaults. Calls block. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/buffer.h"
#include "base/error.h"
#include "cli/flags.h"

struct cli_api_settings {
    const char *address; /* host:port, http://…, https://… or unix:///path */
    const char *token, *token_file;
    const char *ca_file, *ca_path, *client_cert, *client_key, *tls_server_name;
    const char *datacenter, *namespace, *partition;
    bool stale;
};

struct cli_api;

#define CLI_API_FLAG_COUNT 13
/* Fills in the flags that every command has which talks to an agent, and the ending row. */
void cli_api_flags(struct cli_api_settings *settings, struct flag flags[CLI_API_FLAG_COUNT]);

/* `settings` is borrowed for as long as the result lives. NULL if a file cannot be read. */
struct cli_api *cli_api_new(const struct cli_api_settings *settings, struct error *error);
void cli_api_free(struct cli_api *api); /* NULL is fine */
/* "http://127.0.0.1:8500", as messages name it. */
const char *cli_api_address(const struct cli_api *api);
/* The token that will be sent, or NULL. A secret. */
const char *cli_api_token(const struct cli_api *api);

/* Paths: /v1/config/service-defaults/web?cas=3. Both append, percent-encoded. */
void cli_api_add_segment(struct buffer *path, const char *text);
void cli_api_add_query(struct buffer *path, const char *key,
                       const char *value); /* NULL or "": nothing */

/* Sends a request; datacenter, namespace, partition and stale are added to `path`. `body` may be
 * NULL. True if the answer is 2xx; its body is appended to `ret_body` (may be NULL). Otherwise
 * `error` says `Unexpected response code: 404 (…)` or why there was no answer; its code is
 * ERR_NOT_FOUND for 404, ERR_DENIED for 403, ERR_UNAVAILABLE where nobody answers. */
bool cli_api_call(struct cli_api *api, const char *method, const char *path, const char *body,
                  struct buffer *ret_body, struct error *error);
/* GET of JSON: a new reference, or NULL. */
json_t *cli_api_get(struct cli_api *api, const char *path, struct error *error);
/* The same with a body that is JSON; `body` may be NULL. An empty answer is given as null. */
json_t *cli_api_send(struct cli_api *api, const char *method, const char *path, const json_t *body,
                     struct error *error);
