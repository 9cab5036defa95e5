#include "net/loop.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "base/memory.h"
#include "net/loop_resource.h"

struct call {
    loop_fn *fn;
    void *arg;
};

struct call_queue {
    struct call *calls;
    size_t count, capacity;
};

struct loop {
    uv_loop_t uv;
    uv_check_t check; /* runs what was deferred, after the poll for I/O */
    uv_idle_t idle;   /* active while something is deferred: the poll does not block then */
    uv_async_t wake;  /* something was posted */
    struct call_queue deferred;
    struct call_queue running; /* the memory of the batch before, reused */
    struct list resources;
    bool stopping;
    uint8_t *read_scratch, *plain_scratch;

    pthread_mutex_t lock; /* guards what is below */
    struct call_queue posted;
};

struct timer {
    struct loop_resource resource;
    uv_timer_t uv;
    loop_fn *fn;
    void *arg;
};

struct work {
    uv_work_t uv;
    loop_fn *work, *done;
    void *arg;
};

struct signal_watch {
    struct loop_resource resource;
    uv_signal_t uv;
    loop_fn *fn;
    void *arg;
};

/* The system refused what every process gets: a lack of descriptors or memory at the start. */
static void must(int status, const char *what)
{
    if (status == 0)
        return;
    fprintf(stderr, "fatal: %s: %s\n", what, uv_strerror(status));
    abort();
}

static void queue_add(struct call_queue *queue, loop_fn *fn, void *arg)
{
    if (queue->count == queue->capacity) {
        queue->capacity = queue->capacity ? queue->capacity * 2 : 16;
        queue->calls = mem_realloc(queue->calls, queue->capacity * sizeof *queue->calls);
    }
    queue->calls[queue->count++] = (struct call){fn, arg};
}

static void queue_run(struct call_queue *queue)
{
    for (size_t i = 0; i < queue->count; i++)
        queue->calls[i].fn(queue->calls[i].arg);
    queue->count = 0;
}

static void run_deferred(struct loop *loop)
{
    struct call_queue batch = loop->deferred;
    loop->deferred = loop->running;
    loop->running = (struct call_queue){0};
    queue_run(&batch);
    loop->running = batch;
}

static void on_check(uv_check_t *check)
{
    struct loop *loop = check->data;
    if (loop->deferred.count)
        run_deferred(loop);
    if (!loop->deferred.count)
        uv_idle_stop(&loop->idle);
}

static void on_idle(uv_idle_t *idle)
{
    (void)idle;
}

static bool run_posted(struct loop *loop)
{
    pthread_mutex_lock(&loop->lock);
    struct call_queue batch = loop->posted;
    loop->posted = (struct call_queue){0};
    pthread_mutex_unlock(&loop->lock);
    bool some = batch.count > 0;
    queue_run(&batch);
    free(batch.calls);
    return some;
}

static void on_wake(uv_async_t *wake)
{
    run_posted(wake->data);
}

struct loop *loop_new(void)
{
    struct loop *loop = mem_zalloc(sizeof *loop);
    signal(SIGPIPE, SIG_IGN); /* a write to a closed socket is an error, not the end */
    must(uv_loop_init(&loop->uv), "cannot make an event loop");
    must(uv_check_init(&loop->uv, &loop->check), "event loop");
    must(uv_idle_init(&loop->uv, &loop->idle), "event loop");
    must(uv_async_init(&loop->uv, &loop->wake, on_wake), "event loop");
    loop->check.data = loop->wake.data = loop;
    uv_check_start(&loop->check, on_check);
    uv_unref((uv_handle_t *)&loop->check);
    uv_unref((uv_handle_t *)&loop->wake);
    pthread_mutex_init(&loop->lock, NULL);
    list_init(&loop->resources);
    loop->read_scratch = mem_alloc(LOOP_SCRATCH_SIZE);
    loop->plain_scratch = mem_alloc(LOOP_SCRATCH_SIZE);
    return loop;
}

static void close_resources(struct loop *loop)
{
    while (!list_empty(&loop->resources)) {
        struct loop_resource *resource =
            list_entry(loop->resources.next, struct loop_resource, node);
        resource->close(resource);
    }
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    /* What was asked for still runs, so that it can free what it holds. */
    do {
        close_resources(loop);
        while (uv_run(&loop->uv, UV_RUN_DEFAULT) != 0)
            ;
    } while (run_posted(loop) || loop->deferred.count || !list_empty(&loop->resources));
    uv_close((uv_handle_t *)&loop->check, NULL);
    uv_close((uv_handle_t *)&loop->idle, NULL);
    uv_close((uv_handle_t *)&loop->wake, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    must(uv_loop_close(&loop->uv), "event loop still in use");
    pthread_mutex_destroy(&loop->lock);
    free(loop->deferred.calls);
    free(loop->running.calls);
    free(loop->posted.calls);
    free(loop->read_scratch);
    free(loop->plain_scratch);
    free(loop);
}

void loop_run(struct loop *loop)
{
    /* A post alone does not keep the loop alive, but one that is already there is not lost. */
    do
        uv_run(&loop->uv, UV_RUN_DEFAULT);
    while (!loop->stopping && run_posted(loop));
    loop->stopping = false;
}

void loop_stop(struct loop *loop)
{
    loop->stopping = true;
    uv_stop(&loop->uv);
}

uint64_t loop_clock_ns(void)
{
    return uv_hrtime();
}

uint64_t loop_now(const struct loop *loop)
{
    return uv_now(&loop->uv);
}

void loop_defer(struct loop *loop, loop_fn *fn, void *arg)
{
    if (!loop->deferred.count)
        uv_idle_start(&loop->idle, on_idle);
    queue_add(&loop->deferred, fn, arg);
}

struct uv_loop_s *loop_uv(struct loop *loop)
{
    return &loop->uv;
}

void loop_attach(struct loop *loop, struct loop_resource *resource,
                 void (*close)(struct loop_resource *resource))
{
    resource->close = close;
    list_append(&loop->resources, &resource->node);
}

void loop_detach(struct loop_resource *resource)
{
    list_remove(&resource->node);
}

uint8_t *loop_read_scratch(struct loop *loop)
{
    return loop->read_scratch;
}

uint8_t *loop_plain_scratch(struct loop *loop)
{
    return loop->plain_scratch;
}

/* Timers. */

static void timer_close(struct loop_resource *resource)
{
    timer_free(list_entry(resource, struct timer, resource));
}

struct timer *timer_new(struct loop *loop, loop_fn *fn, void *arg)
{
    struct timer *timer = mem_zalloc(sizeof *timer);
    uv_timer_init(&loop->uv, &timer->uv);
    timer->uv.data = timer;
    timer->fn = fn;
    timer->arg = arg;
    loop_attach(loop, &timer->resource, timer_close);
    return timer;
}

static void on_timer(uv_timer_t *uv)
{
    struct timer *timer = uv->data;
    timer->fn(timer->arg);
}

void timer_start(struct timer *timer, uint64_t delay_ms, uint64_t repeat_ms)
{
    /* A timer of 0 ms that restarts itself would never let libuv's timer phase end. */
    uv_timer_start(&timer->uv, on_timer, delay_ms ? delay_ms : 1, repeat_ms);
}

void timer_stop(struct timer *timer)
{
    uv_timer_stop(&timer->uv);
}

bool timer_active(const struct timer *timer)
{
    return uv_is_active((const uv_handle_t *)&timer->uv);
}

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void timer_free(struct timer *timer)
{
    if (!timer)
        return;
    loop_detach(&timer->resource);
    uv_close((uv_handle_t *)&timer->uv, on_timer_closed);
}

/* Work, posts and signals. */

static void on_work(uv_work_t *uv)
{
    struct work *work = uv->data;
    work->work(work->arg);
}

static void on_work_done(uv_work_t *uv, int status)
{
    (void)status; /* never cancelled */
    struct work *work = uv->data;
    if (work->done)
        work->done(work->arg);
    free(work);
}

void loop_work(struct loop *loop, loop_fn *work_fn, loop_fn *done, void *arg)
{
    struct work *work = mem_zalloc(sizeof *work);
    work->uv.data = work;
    work->work = work_fn;
    work->done = done;
    work->arg = arg;
    must(uv_queue_work(&loop->uv, &work->uv, on_work, on_work_done), "worker pool");
}

void loop_post(struct loop *loop, loop_fn *fn, void *arg)
{
    pthread_mutex_lock(&loop->lock);
    queue_add(&loop->posted, fn, arg);
    pthread_mutex_unlock(&loop->lock);
    uv_async_send(&loop->wake);
}

static void on_signal(uv_signal_t *uv, int number)
{
    (void)number;
    struct signal_watch *watch = uv->data;
    watch->fn(watch->arg);
}

static void on_signal_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void signal_close(struct loop_resource *resource)
{
    struct signal_watch *watch = list_entry(resource, struct signal_watch, resource);
    loop_detach(resource);
    uv_close((uv_handle_t *)&watch->uv, on_signal_closed);
}

void loop_signal(struct loop *loop, int number, loop_fn *fn, void *arg)
{
    struct signal_watch *watch = mem_zalloc(sizeof *watch);
    watch->fn = fn;
    watch->arg = arg;
    must(uv_signal_init(&loop->uv, &watch->uv), "signals");
    watch->uv.data = watch;
    must(uv_signal_start(&watch->uv, on_signal, number), "signals");
    uv_unref((uv_handle_t *)&watch->uv); /* waiting for a signal alone keeps nothing running */
    loop_attach(loop, &watch->resource, signal_close);
}
