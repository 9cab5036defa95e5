#include "net/grpc_link.h"

#include <stdlib.h>

#include "base/memory.h"

/* Handed to the stream at once; about what one TLS batch takes. */
#define OUTPUT_PART ((size_t)65536)
/* What a link that goes away still sends, at most. */
#define OUTPUT_LAST ((size_t)1 << 20)

struct grpc_link {
    struct loop *loop;
    struct grpc_core *core;
    struct stream *stream;
    struct timer *timer;
    uint64_t timer_due; /* when the timer runs out; UINT64_MAX: it is not set */
    grpc_link_end_fn *on_end;
    void *arg;
    unsigned busy;  /* callbacks of the core or of the owner are on the stack */
    bool open;      /* the stream can be written to */
    bool over;      /* on_end has been called or is about to be */
    bool freed;     /* the owner is gone */
    bool flush_due; /* a deferred flush holds the link */
};

static void on_timer(void *arg);

static void set_timer(struct grpc_link *link)
{
    uint64_t deadline = link->open ? grpc_core_deadline(link->core) : UINT64_MAX;
    if (deadline >= link->timer_due) /* too early a tick is harmless */
        return;
    uint64_t now = loop_now(link->loop);
    link->timer_due = deadline;
    timer_start(link->timer, deadline > now ? deadline - now : 0, 0);
}

/* Up to just above the stream's high mark, so that on_drain follows; `last`: there is no later. */
static void write_out(struct grpc_link *link, bool last)
{
    size_t limit = last ? OUTPUT_LAST : SIZE_MAX;
    struct buffer output = {0};
    size_t sent = 0;
    while (sent < limit && (last || stream_queued(link->stream) <= STREAM_HIGH_WATER) &&
           grpc_core_output(link->core, &output, OUTPUT_PART)) {
        stream_write(link->stream, output.data, output.length);
        sent += output.length;
        buffer_reset(&output);
    }
    buffer_free(&output);
}

/* The owner left: says goodbye and goes. The memory waits for a flush that is still to come. */
static void dismantle(struct grpc_link *link)
{
    if (link->core != NULL) {
        if (link->open)
            write_out(link, true);
        grpc_core_free(link->core);
        link->core = NULL;
        timer_free(link->timer);
        stream_close(link->stream);
    }
    if (!link->flush_due)
        free(link);
}

static void enter(struct grpc_link *link)
{
    link->busy++;
}

/* False when the link is gone. */
static bool leave(struct grpc_link *link)
{
    link->busy--;
    if (!link->freed)
        return true;
    if (link->busy == 0)
        dismantle(link);
    return false;
}

static void end(struct grpc_link *link, const struct error *error)
{
    if (link->over || link->freed)
        return;
    link->over = true;
    link->open = false;
    enter(link);
    grpc_core_fail(link->core, error);
    if (!link->freed)
        grpc_core_dispatch(link->core);
    struct error reason;
    grpc_core_done(link->core, &reason);
    if (error != NULL)
        reason.code = error->code;
    if (!link->freed)
        link->on_end(link->arg, &reason);
    leave(link);
}

static void flush(struct grpc_link *link)
{
    enter(link);
    grpc_core_dispatch(link->core);
    if (!link->freed && link->open)
        write_out(link, false);
    struct error error;
    bool room = link->open && stream_queued(link->stream) <= STREAM_HIGH_WATER;
    if (!link->freed && room && grpc_core_done(link->core, &error))
        end(link, &error);
    if (!link->freed)
        set_timer(link);
    leave(link);
}

static void on_deferred(void *arg)
{
    struct grpc_link *link = arg;
    link->flush_due = false;
    if (link->freed)
        dismantle(link);
    else
        flush(link);
}

static void on_wake(void *arg)
{
    struct grpc_link *link = arg;
    if (link->flush_due)
        return;
    link->flush_due = true;
    loop_defer(link->loop, on_deferred, link);
}

static void on_timer(void *arg)
{
    struct grpc_link *link = arg;
    link->timer_due = UINT64_MAX;
    enter(link);
    grpc_core_tick(link->core, loop_now(link->loop));
    if (!link->freed)
        set_timer(link);
    leave(link);
}

static void on_open(void *arg)
{
    struct grpc_link *link = arg;
    link->open = true;
    flush(link);
}

static void on_data(void *arg, const uint8_t *data, size_t length)
{
    struct grpc_link *link = arg;
    enter(link);
    grpc_core_receive(link->core, data, length, loop_now(link->loop));
    on_wake(link); /* window updates and answers to pings */
    leave(link);
}

static void on_close(void *arg, const struct error *error)
{
    end(arg, error);
}

static void on_drain(void *arg)
{
    flush(arg);
}

static const struct stream_handler stream_events = {
    .on_open = on_open,
    .on_data = on_data,
    .on_close = on_close,
    .on_drain = on_drain,
};

static struct grpc_link *make(struct loop *loop, struct grpc_core_config config,
                              grpc_link_end_fn *on_end, void *arg)
{
    struct grpc_link *link = mem_zalloc(sizeof *link);
    link->loop = loop;
    link->on_end = on_end;
    link->arg = arg;
    link->timer_due = UINT64_MAX;
    link->timer = timer_new(loop, on_timer, link);
    config.on_wake = on_wake;
    config.wake_arg = link;
    link->core = grpc_core_new(&config, loop_now(loop));
    return link;
}

struct grpc_link *grpc_link_dial(struct loop *loop, const struct grpc_channel_config *channel,
                                 struct grpc_core_config config, grpc_link_end_fn *on_end,
                                 void *arg)
{
    struct grpc_link *link = make(loop, config, on_end, arg);
    link->stream = stream_dial(loop, channel->address, channel->tls, channel->connect_timeout_ms,
                               &stream_events, link);
    return link;
}

struct grpc_link *grpc_link_accept(struct loop *loop, struct stream *stream,
                                   struct grpc_core_config config, grpc_link_end_fn *on_end,
                                   void *arg)
{
    struct grpc_link *link = make(loop, config, on_end, arg);
    link->stream = stream;
    link->open = true;
    stream_set_handler(stream, &stream_events, link);
    on_wake(link);
    return link;
}

struct grpc_core *grpc_link_core(struct grpc_link *link)
{
    return link->core;
}

void grpc_link_shutdown(struct grpc_link *link)
{
    enter(link);
    grpc_core_shutdown(link->core);
    leave(link);
}

void grpc_link_free(struct grpc_link *link)
{
    if (link == NULL)
        return;
    link->freed = true;
    grpc_core_silence(link->core);
    if (link->busy == 0)
        dismantle(link);
}
