#include "http/wait.h"

#include <string.h>

static void wake(void *arg)
{
    struct api_request *request = arg;
    watch_free(request->waiter->watch);
    request->waiter->watch = NULL;
    list_remove(&request->waiter->link);
    request_run(request);
}

static void expire(void *arg)
{
    struct api_request *request = arg;
    request->waiter->expired = true;
    wake(request);
}

/* The client has gone: answering frees the request, and all that it holds. */
static void abandon(void *arg)
{
    api_answer(arg, 200, NULL, NULL, 0);
}

static void wait_for_change(struct api_request *request, struct view *view, struct list *wakers)
{
    struct waiter *waiter = request->waiter;
    if (waiter == NULL) {
        waiter = request->waiter = arena_alloc(request->arena, sizeof *waiter);
        waiter->request = request;
        list_init(&waiter->link);
        waiter->timer = timer_new(request->api->config.loop, expire, request);
        timer_start(waiter->timer, request->wait_ms, 0);
        http_on_abort(request->http, abandon, request);
    }
    waiter->watch = watch_new(view, wake, request);
    if (wakers != NULL)
        list_append(wakers, &waiter->link);
}

void request_wake_all(struct list *wakers)
{
    struct list woken;
    list_init(&woken);
    list_for_each (link, wakers) {
        list_remove(link);
        list_append(&woken, link);
    }
    /* Whoever is woken may wait again, in the list that was given; a woken one is never freed here
     * but by its own answer. */
    while (!list_empty(&woken)) {
        struct waiter *waiter = list_entry(woken.next, struct waiter, link);
        wake(waiter->request);
    }
}

void request_end(struct api_request *request)
{
    struct waiter *waiter = request->waiter;
    if (waiter == NULL)
        return;
    list_remove(&waiter->link);
    watch_free(waiter->watch);
    timer_free(waiter->timer);
    request->waiter = NULL;
    http_on_abort(request->http, NULL, NULL);
}

static bool must_wait(const struct api_request *request, const struct reply *reply, uint64_t index)
{
    if (request->waiter != NULL && request->waiter->expired)
        return false;
    if (reply->status >= 400 && reply->status != 404)
        return false;
    if (reply->hash != NULL && *request->hash != '\0')
        return strcmp(reply->hash, request->hash) == 0;
    return (request->route->flags & ROUTE_INDEXED) && request->index > 0 && index <= request->index;
}

/* True if somebody has asked the same since the store last changed, and the answer will do. */
static bool answer_again(struct api_request *request, const struct buffer *key)
{
    const struct api *api = request->api;
    const struct answer *answer = answers_get(api->answers, key, store_index(api->config.store));
    if (answer == NULL)
        return false;
    struct reply reply = {.status = answer->status,
                          .content_type = answer->content_type,
                          .body = (struct buffer *)&answer->body};
    if (must_wait(request, &reply, answer->index))
        return false;
    request_answer_read(request, &reply, answer->index);
    return true;
}

void request_run(struct api_request *request)
{
    struct api *api = request->api;
    bool shared = (request->route->flags & ROUTE_SHARED) != 0;
    if (shared) {
        answers_key(request, &api->key);
        if (answer_again(request, &api->key))
            return;
    }
    struct view *view = view_new(api->config.store);
    buffer_reset(&api->body);
    struct reply reply = {.status = 200, .body = &api->body};
    request->route->read(request, view, &reply);
    uint64_t index = reply.index > 0 ? reply.index : view_index(view);
    if (shared)
        answers_put(api->answers, &api->key, store_index(api->config.store), index, &reply);
    if (must_wait(request, &reply, index)) {
        wait_for_change(request, view, reply.wakers);
        return;
    }
    view_free(view);
    request_answer_read(request, &reply, index);
}
