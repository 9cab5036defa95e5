#include "cli/api.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/curl.h"
#include "base/memory.h"
#include "cli/file.h"
#include "text/json.h"

#define DEFAULT_ADDRESS "127.0.0.1:8500"
#define REPLY_BYTES_MAX (256u << 20)
#define CONNECT_TIMEOUT_S 30

struct cli_api {
    const struct cli_api_settings *settings;
    char *base;   /* "http://127.0.0.1:8500" */
    char *socket; /* path of a Unix socket, or NULL */
    char *token;
    CURL *curl;
    struct curl_slist *headers, *connect_to;
    char *tls_base; /* base with the certificate's name as host, or NULL */
};

static const char *setting(const char *flag, const char *variable)
{
    const char *value = flag != NULL ? flag : getenv(variable);
    return text_empty(value) ? NULL : value;
}

void cli_api_flags(struct cli_api_settings *settings, struct flag flags[CLI_API_FLAG_COUNT])
{
    const struct flag rows[CLI_API_FLAG_COUNT] = {
        {"http-addr", FLAG_STRING, &settings->address,
         "Where the agent's HTTP API is: host:port, an http:// or https:// URL, or unix:///path. "
         "Also CONSUL_HTTP_ADDR; default http://127.0.0.1:8500."},
        {"token", FLAG_STRING, &settings->token, "ACL token to send. Also CONSUL_HTTP_TOKEN."},
        {"token-file", FLAG_STRING, &settings->token_file,
         "File that holds the ACL token. Also CONSUL_HTTP_TOKEN_FILE."},
        {"ca-file", FLAG_STRING, &settings->ca_file,
         "Certificates of the authorities to trust for https. Also CONSUL_CACERT."},
        {"ca-path", FLAG_STRING, &settings->ca_path,
         "Folder of such certificates. Also CONSUL_CAPATH."},
        {"client-cert", FLAG_STRING, &settings->client_cert,
         "Own certificate, if the agent asks for one. Also CONSUL_CLIENT_CERT."},
        {"client-key", FLAG_STRING, &settings->client_key,
         "Key of -client-cert. Also CONSUL_CLIENT_KEY."},
        {"tls-server-name", FLAG_STRING, &settings->tls_server_name,
         "Name that the agent's certificate must have. Also CONSUL_TLS_SERVER_NAME."},
        {"datacenter", FLAG_STRING, &settings->datacenter,
         "Datacenter to ask; default is the agent's own."},
        {"namespace", FLAG_STRING, &settings->namespace, "Namespace. Also CONSUL_NAMESPACE."},
        {"partition", FLAG_STRING, &settings->partition, "Partition. Also CONSUL_PARTITION."},
        {"stale", FLAG_BOOL, &settings->stale, "Let any server answer, even if it is behind."},
        {0},
    };
    memcpy(flags, rows, sizeof rows);
}

/* Splits the address into base URL and socket. */
static bool set_address(struct cli_api *api, struct error *error)
{
    const char *address = setting(api->settings->address, "CONSUL_HTTP_ADDR");
    if (address == NULL)
        address = DEFAULT_ADDRESS;
    const char *ssl = setting(NULL, "CONSUL_HTTP_SSL");
    bool https = ssl != NULL && (strcmp(ssl, "1") == 0 || text_equal_nocase(ssl, "true"));
    if (text_starts(address, "unix://")) {
        api->socket = mem_strdup(address + strlen("unix://"));
        api->base = mem_strdup("http://127.0.0.1");
        return true;
    }
    const char *scheme = strstr(address, "://");
    if (scheme == NULL)
        api->base = mem_printf("%s://%s", https ? "https" : "http", address);
    else if (text_starts(address, "http://"))
        api->base = mem_printf("%s://%s", https ? "https" : "http", scheme + 3);
    else if (text_starts(address, "https://"))
        api->base = mem_strdup(address);
    else
        return error_set(
            error, ERR_INVALID,
            "Unknown protocol scheme in the address %s; http, https and unix are known", address);
    for (size_t end = strlen(api->base); end > 0 && api->base[end - 1] == '/'; end--)
        api->base[end - 1] = '\0';
    return true;
}

static bool set_token(struct cli_api *api, struct error *error)
{
    const struct cli_api_settings *settings = api->settings;
    const char *token = settings->token;
    const char *file = token == NULL ? settings->token_file : NULL;
    if (token == NULL && file == NULL)
        file = setting(NULL, "CONSUL_HTTP_TOKEN_FILE");
    if (file != NULL) {
        struct buffer text = {0};
        if (!cli_file_read(file, &text, error)) {
            error_prefix(error, "Error reading the token: ");
            return false;
        }
        const char *start = buffer_text(&text) + strspn(buffer_text(&text), " \t\r\n");
        api->token = mem_strndup(start, strcspn(start, " \t\r\n"));
        mem_clear(text.data, text.length);
        buffer_free(&text);
    } else {
        token = setting(token, "CONSUL_HTTP_TOKEN");
        api->token = token != NULL ? mem_strdup(token) : NULL;
    }
    return true;
}

/* A certificate name other than the host's: the URL gets the name, the connection the address. */
static void set_server_name(struct cli_api *api)
{
    const char *name = setting(api->settings->tls_server_name, "CONSUL_TLS_SERVER_NAME");
    if (name == NULL || !text_starts(api->base, "https://"))
        return;
    const char *host = api->base + strlen("https://");
    size_t length = strcspn(host, "/");
    const char *port = memrchr(host, ':', length);
    bool has_port = port != NULL && memchr(port, ']', (size_t)(host + length - port)) == NULL;
    char *target = has_port ? mem_printf("::%.*s", (int)length, host)
                            : mem_printf("::%.*s:443", (int)length, host);
    api->connect_to = curl.slist_append(NULL, target);
    api->tls_base = mem_printf("https://%s%s", name, has_port ? port : host + length);
    free(target);
}

static void add_header(struct cli_api *api, const char *name, const char *value)
{
    char *line = mem_printf("%s: %s", name, value);
    api->headers = curl.slist_append(api->headers, line);
    free(line);
}

static void set_option(struct cli_api *api, CURLoption option, const char *value)
{
    if (value != NULL)
        curl.easy_setopt(api->curl, option, value);
}

static bool is_loopback(const char *base)
{
    const char *host = strstr(base, "://") + 3;
    return text_starts(host, "127.") || text_starts(host, "localhost") ||
           text_starts(host, "[::1]");
}

static void set_up_curl(struct cli_api *api)
{
    const struct cli_api_settings *settings = api->settings;
    api->curl = curl.easy_init();
    curl.easy_setopt(api->curl, CURLOPT_NOSIGNAL, 1L);
    curl.easy_setopt(api->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl.easy_setopt(api->curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S);
    curl.easy_setopt(api->curl, CURLOPT_ACCEPT_ENCODING, "gzip");
    set_option(api, CURLOPT_UNIX_SOCKET_PATH, api->socket);
    set_option(api, CURLOPT_CAINFO, setting(settings->ca_file, "CONSUL_CACERT"));
    set_option(api, CURLOPT_CAPATH, setting(settings->ca_path, "CONSUL_CAPATH"));
    set_option(api, CURLOPT_SSLCERT, setting(settings->client_cert, "CONSUL_CLIENT_CERT"));
    set_option(api, CURLOPT_SSLKEY, setting(settings->client_key, "CONSUL_CLIENT_KEY"));
    set_option(api, CURLOPT_USERPWD, setting(NULL, "CONSUL_HTTP_AUTH"));
    if (is_loopback(api->base))
        curl.easy_setopt(api->curl, CURLOPT_PROXY, "");
    if (api->connect_to != NULL)
        curl.easy_setopt(api->curl, CURLOPT_CONNECT_TO, api->connect_to);
    const char *verify = setting(NULL, "CONSUL_HTTP_SSL_VERIFY");
    if (verify != NULL && (strcmp(verify, "0") == 0 || text_equal_nocase(verify, "false"))) {
        curl.easy_setopt(api->curl, CURLOPT_SSL_VERIFYPEER, 0L);
        curl.easy_setopt(api->curl, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    if (api->token != NULL)
        add_header(api, "X-Consul-Token", api->token);
    add_header(api, "Content-Type", "application/json");
    add_header(api, "Expect", "");
    curl.easy_setopt(api->curl, CURLOPT_HTTPHEADER, api->headers);
}

struct cli_api *cli_api_new(const struct cli_api_settings *settings, struct error *error)
{
    struct cli_api *api = mem_zalloc(sizeof *api);
    api->settings = settings;
    if (!set_address(api, error) || !set_token(api, error) || !curl_load(error)) {
        cli_api_free(api);
        return NULL;
    }
    curl.global_init(CURL_GLOBAL_DEFAULT);
    set_server_name(api);
    set_up_curl(api);
    return api;
}

void cli_api_free(struct cli_api *api)
{
    if (api == NULL)
        return;
    if (api->curl != NULL) {
        curl.easy_cleanup(api->curl);
        curl.slist_free_all(api->headers);
        curl.slist_free_all(api->connect_to);
    }
    if (api->token != NULL)
        mem_clear(api->token, strlen(api->token));
    free(api->token);
    free(api->tls_base);
    free(api->socket);
    free(api->base);
    free(api);
}

const char *cli_api_address(const struct cli_api *api)
{
    return api->base;
}

const char *cli_api_token(const struct cli_api *api)
{
    return api->token;
}

void cli_api_add_segment(struct buffer *path, const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
        bool plain = (*c >= '0' && *c <= '9') || (*c >= 'a' && *c <= 'z') ||
                     (*c >= 'A' && *c <= 'Z') || strchr("-._~", *c) != NULL;
        if (plain)
            buffer_add_byte(path, (char)*c);
        else
            buffer_printf(path, "%%%02X", *c);
    }
}

void cli_api_add_query(struct buffer *path, const char *key, const char *value)
{
    if (text_empty(value))
        return;
    buffer_add_byte(path, strchr(buffer_text(path), '?') == NULL ? '?' : '&');
    buffer_add_text(path, key);
    buffer_add_byte(path, '=');
    cli_api_add_segment(path, value);
}

/* What the agent took and yet has something to say of. */
static size_t take_header(char *data, size_t size, size_t count, void *arg)
{
    static const char name[] = "x-pons-warning:";
    (void)arg;
    size_t length = size * count, at = sizeof name - 1;
    if (length <= at || strncasecmp(data, name, at) != 0)
        return length;
    while (length > at && (data[length - 1] == '\r' || data[length - 1] == '\n'))
        length--;
    while (at < length && data[at] == ' ')
        at++;
    fputs("Warning: ", stderr);
    for (; at < length; at++)
        fputc(data[at] >= ' ' && data[at] <= '~' ? data[at] : '?', stderr);
    fputc('\n', stderr);
    return size * count;
}

static size_t take_body(char *data, size_t size, size_t count, void *arg)
{
    struct buffer *body = arg;
    if (body->length + size * count > REPLY_BYTES_MAX)
        return 0; /* curl gives up */
    buffer_add(body, data, size * count);
    return size * count;
}

/* strerror's words as Go writes them: without a capital. */
static void system_words(long number, char *text, size_t size)
{
    snprintf(text, size, "%s", strerror((int)number));
    text[0] = (char)(text[0] | 0x20);
}

/* Why there was no answer, in the shape that Go's client gives it, and what to do. */
static bool no_answer(struct cli_api *api, const char *method, const char *url, CURLcode code,
                      const char *detail, struct error *error)
{
    char verb[16], words[128];
    snprintf(verb, sizeof verb, "%s", method);
    text_lower(verb + 1);
    long number = 0;
    curl.easy_getinfo(api->curl, CURLINFO_OS_ERRNO, &number);
    system_words(number != 0 ? number : ECONNREFUSED, words, sizeof words);
    const char *where = strstr(api->base, "://") + 3;
    if (code == CURLE_COULDNT_CONNECT)
        return error_set(error, ERR_UNAVAILABLE,
                         "%s \"%s\": dial %s %s: connect: %s; is an agent running there? "
                         "-http-addr and CONSUL_HTTP_ADDR say where to look",
                         verb, url, api->socket != NULL ? "unix" : "tcp",
                         api->socket != NULL ? api->socket : where, words);
    const char *reason = text_empty(detail) ? curl.easy_strerror(code) : detail;
    if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE)
        return error_set(error, ERR_UNAVAILABLE,
                         "%s \"%s\": %s; -ca-file or CONSUL_CACERT names the authority to trust",
                         verb, url, reason);
    return error_set(error, ERR_UNAVAILABLE, "%s \"%s\": %s", verb, url, reason);
}

static enum error_code code_of_status(long status)
{
    switch (status) {
    case 400:
        return ERR_INVALID;
    case 403:
        return ERR_DENIED;
    case 404:
        return ERR_NOT_FOUND;
    case 429:
        return ERR_EXHAUSTED;
    default:
        return ERR_INTERNAL;
    }
}

static void add_settings(const struct cli_api *api, struct buffer *url)
{
    const struct cli_api_settings *settings = api->settings;
    cli_api_add_query(url, "dc", settings->datacenter);
    cli_api_add_query(url, "ns", setting(settings->namespace, "CONSUL_NAMESPACE"));
    cli_api_add_query(url, "partition", setting(settings->partition, "CONSUL_PARTITION"));
    if (settings->stale)
        buffer_add_text(url, strchr(buffer_text(url), '?') == NULL ? "?stale" : "&stale");
}

bool cli_api_call(struct cli_api *api, const char *method, const char *path, const char *body,
                  struct buffer *ret_body, struct error *error)
{
    struct buffer url = {0}, shown = {0}, reply = {0};
    char detail[CURL_ERROR_SIZE] = "";
    buffer_add_text(&url, path);
    add_settings(api, &url);
    buffer_printf(&shown, "%s%s", api->base, buffer_text(&url));
    char *target =
        mem_printf("%s%s", api->tls_base != NULL ? api->tls_base : api->base, buffer_text(&url));
    curl.easy_setopt(api->curl, CURLOPT_URL, target);
    curl.easy_setopt(api->curl, CURLOPT_CUSTOMREQUEST, method);
    curl.easy_setopt(api->curl, CURLOPT_ERRORBUFFER, detail);
    curl.easy_setopt(api->curl, CURLOPT_WRITEFUNCTION, take_body);
    curl.easy_setopt(api->curl, CURLOPT_WRITEDATA, &reply);
    curl.easy_setopt(api->curl, CURLOPT_HEADERFUNCTION, take_header);
    if (body != NULL) {
        curl.easy_setopt(api->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(body));
        curl.easy_setopt(api->curl, CURLOPT_POSTFIELDS, body);
    } else {
        curl.easy_setopt(api->curl, CURLOPT_HTTPGET, 1L);
    }
    CURLcode code = curl.easy_perform(api->curl);
    curl.easy_setopt(api->curl, CURLOPT_ERRORBUFFER, NULL);
    long status = 0;
    curl.easy_getinfo(api->curl, CURLINFO_RESPONSE_CODE, &status);
    bool ok = code == CURLE_OK && status >= 200 && status < 300;
    if (code != CURLE_OK) {
        no_answer(api, method, buffer_text(&shown), code, detail, error);
    } else if (!ok) {
        while (reply.length > 0 && reply.data[reply.length - 1] == '\n')
            reply.data[--reply.length] = '\0';
        error_set(error, code_of_status(status), "Unexpected response code: %ld (%s)", status,
                  buffer_text(&reply));
    } else if (ret_body != NULL) {
        buffer_add(ret_body, buffer_text(&reply), reply.length);
    }
    free(target);
    buffer_free(&url);
    buffer_free(&shown);
    buffer_free(&reply);
    return ok;
}

static json_t *parse_reply(struct buffer *reply, struct error *error)
{
    json_t *value = reply->length == 0 ? json_null()
                                       : json_parse(buffer_text(reply), reply->length, NULL, error);
    if (value == NULL)
        error_prefix(error, "The agent's answer is not JSON: ");
    buffer_free(reply);
    return value;
}

json_t *cli_api_get(struct cli_api *api, const char *path, struct error *error)
{
    struct buffer reply = {0};
    if (!cli_api_call(api, "GET", path, NULL, &reply, error))
        return NULL;
    return parse_reply(&reply, error);
}

json_t *cli_api_send(struct cli_api *api, const char *method, const char *path, const json_t *body,
                     struct error *error)
{
    struct buffer text = {0}, reply = {0};
    if (body != NULL)
        json_write(&text, body);
    bool ok =
        cli_api_call(api, method, path, body != NULL ? buffer_text(&text) : NULL, &reply, error);
    buffer_free(&text);
    return ok ? parse_reply(&reply, error) : NULL;
}
