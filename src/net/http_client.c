#include "net/http_client.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/buffer.h"
#include "base/curl.h"
#include "base/list.h"
#include "base/memory.h"

struct http_client {
    struct loop *loop;
    CURLM *multi;        /* NULL until the first request */
    struct timer *timer; /* curl's own time-outs, and the report that there is no curl */
    struct list fetches; /* struct http_fetch.link */
};

struct http_fetch {
    struct list link;
    struct http_client *client;
    CURL *easy; /* NULL: curl could not be loaded */
    struct curl_slist *headers;
    struct buffer body;
    size_t body_max;
    http_fetch_fn *done;
    void *arg;
    char error[CURL_ERROR_SIZE];
};

/* One socket of curl's, watched for it. */
struct watched_socket {
    uv_poll_t poll;
    struct http_client *client;
    curl_socket_t socket;
};

static void fetch_free(struct http_fetch *fetch)
{
    if (fetch->easy != NULL) {
        curl.multi_remove_handle(fetch->client->multi, fetch->easy);
        curl.easy_cleanup(fetch->easy);
        curl.slist_free_all(fetch->headers);
    }
    buffer_free(&fetch->body);
    list_remove(&fetch->link);
    free(fetch);
}

static void finish(struct http_fetch *fetch, CURLcode result)
{
    long status = 0;
    struct error error = {0};
    curl.easy_getinfo(fetch->easy, CURLINFO_RESPONSE_CODE, &status);
    if (result != CURLE_OK)
        error_set(&error, result == CURLE_OPERATION_TIMEDOUT ? ERR_TIMEOUT : ERR_UNAVAILABLE, "%s",
                  *fetch->error != '\0' ? fetch->error : curl.easy_strerror(result));
    fetch->done(fetch->arg, (int)status, buffer_text(&fetch->body), fetch->body.length,
                result != CURLE_OK ? &error : NULL);
    fetch_free(fetch);
}

static void collect_finished(struct http_client *client)
{
    int left;
    for (CURLMsg *message; (message = curl.multi_info_read(client->multi, &left)) != NULL;) {
        struct http_fetch *fetch = NULL;
        CURLcode result = message->data.result;
        if (message->msg != CURLMSG_DONE)
            continue;
        curl.easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&fetch);
        finish(fetch, result);
    }
}

static void on_socket(uv_poll_t *poll, int status, int events)
{
    struct watched_socket *watched = poll->data;
    struct http_client *client = watched->client;
    int running, flags = status < 0 ? CURL_CSELECT_ERR : 0;
    if (events & UV_READABLE)
        flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        flags |= CURL_CSELECT_OUT;
    curl.multi_socket_action(client->multi, watched->socket, flags, &running);
    collect_finished(client);
}

static void report_no_curl(struct http_client *client)
{
    while (!list_empty(&client->fetches)) {
        struct http_fetch *fetch = list_entry(client->fetches.next, struct http_fetch, link);
        struct error error = {0};
        curl_load(&error);
        fetch->done(fetch->arg, 0, "", 0, &error);
        fetch_free(fetch);
    }
}

static void on_timer(void *arg)
{
    struct http_client *client = arg;
    int running;
    if (client->multi == NULL) {
        report_no_curl(client);
        return;
    }
    curl.multi_socket_action(client->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    collect_finished(client);
}

static int set_timer(CURLM *multi, long timeout_ms, void *arg)
{
    (void)multi;
    struct http_client *client = arg;
    if (timeout_ms < 0)
        timer_stop(client->timer);
    else
        timer_start(client->timer, (uint64_t)timeout_ms, 0);
    return 0;
}

static void free_watched(uv_handle_t *handle)
{
    free(handle->data);
}

static int set_socket(CURL *easy, curl_socket_t socket, int what, void *arg, void *socket_arg)
{
    (void)easy;
    struct http_client *client = arg;
    struct watched_socket *watched = socket_arg;
    if (what == CURL_POLL_REMOVE) {
        if (watched != NULL) {
            curl.multi_assign(client->multi, socket, NULL);
            uv_close((uv_handle_t *)&watched->poll, free_watched);
        }
        return 0;
    }
    if (watched == NULL) {
        watched = mem_zalloc(sizeof *watched);
        watched->client = client;
        watched->socket = socket;
        watched->poll.data = watched;
        uv_poll_init_socket(loop_uv(client->loop), &watched->poll, socket);
        curl.multi_assign(client->multi, socket, watched);
    }
    int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    uv_poll_start(&watched->poll, events, on_socket);
    return 0;
}

struct http_client *http_client_new(struct loop *loop)
{
    struct http_client *client = mem_zalloc(sizeof *client);
    client->loop = loop;
    client->timer = timer_new(loop, on_timer, client);
    list_init(&client->fetches);
    return client;
}

static bool need_multi(struct http_client *client)
{
    struct error error;
    if (client->multi != NULL)
        return true;
    if (!curl_load(&error))
        return false;
    client->multi = curl.multi_init();
    curl.multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, set_socket);
    curl.multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
    curl.multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, set_timer);
    curl.multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
    return true;
}

void http_client_free(struct http_client *client)
{
    if (client == NULL)
        return;
    list_for_each (node, &client->fetches)
        fetch_free(list_entry(node, struct http_fetch, link));
    if (client->multi != NULL)
        curl.multi_cleanup(client->multi);
    timer_free(client->timer);
    free(client);
}

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
    struct http_fetch *fetch = arg;
    size_t length = size * count;
    size_t room = fetch->body_max - fetch->body.length;
    buffer_add(&fetch->body, data, length < room ? length : room);
    return length;
}

struct http_fetch *http_fetch_start(struct http_client *client,
                                    const struct http_fetch_request *request, http_fetch_fn *done,
                                    void *arg)
{
    struct http_fetch *fetch = mem_zalloc(sizeof *fetch);
    fetch->client = client;
    fetch->done = done;
    fetch->arg = arg;
    fetch->body_max = request->body_max;
    list_append(&client->fetches, &fetch->link);
    if (!need_multi(client)) {
        timer_start(client->timer, 0, 0);
        return fetch;
    }
    fetch->easy = curl.easy_init();
    for (const char *const *header = request->headers; header != NULL && *header != NULL; header++)
        fetch->headers = curl.slist_append(fetch->headers, *header);
    CURL *easy = fetch->easy;
    curl.easy_setopt(easy, CURLOPT_URL, request->url);
    curl.easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl.easy_setopt(easy, CURLOPT_NOPROXY, "*");
    curl.easy_setopt(easy, CURLOPT_HTTPHEADER, fetch->headers);
    curl.easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
    curl.easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl.easy_setopt(easy, CURLOPT_FOLLOWLOCATION, request->follow_redirects ? 1L : 0L);
    curl.easy_setopt(easy, CURLOPT_MAXREDIRS, 10L);
    curl.easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, request->tls_skip_verify ? 0L : 1L);
    curl.easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, request->tls_skip_verify ? 0L : 2L);
    curl.easy_setopt(easy, CURLOPT_ERRORBUFFER, fetch->error);
    curl.easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl.easy_setopt(easy, CURLOPT_WRITEDATA, fetch);
    curl.easy_setopt(easy, CURLOPT_PRIVATE, fetch);
    if (request->body != NULL)
        curl.easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, request->body);
    if (request->method != NULL)
        curl.easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
    if (request->method != NULL && strcmp(request->method, "HEAD") == 0)
        curl.easy_setopt(easy, CURLOPT_NOBODY, 1L); /* else it waits for a body that never comes */
    curl.easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
    curl.multi_add_handle(client->multi, easy);
    return fetch;
}

void http_fetch_cancel(struct http_fetch *fetch)
{
    fetch_free(fetch);
}
