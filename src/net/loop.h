/* The event loop: the one thread that owns all state.
 *
 * A thin seam over libuv, so that no other folder sees uv handles. Everything here belongs to the
 * loop's thread, except loop_post. Callbacks never run from inside of the call that asked for
 * them. Time is milliseconds of a monotonic clock, cached per turn. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;
struct timer;

typedef void loop_fn(void *arg);

struct loop *loop_new(void);
/* After run returned. Closes what is still open, without callbacks; work, posts and deferred calls
 * that were asked for still run, so that they can free what they hold. */
void loop_free(struct loop *loop);
void loop_run(struct loop *loop);  /* until loop_stop, or until nothing is left to wait for */
void loop_stop(struct loop *loop);
uint64_t loop_now(const struct loop *loop); /* ms, monotonic; when the turn began */
uint64_t loop_clock_ns(void);               /* this moment, to measure what work takes */

/* Runs `fn` once at the end of this turn, after all I/O callbacks, in the order asked for. What is
 * deferred while deferred functions run goes to the next turn. */
void loop_defer(struct loop *loop, loop_fn *fn, void *arg);

/* A timer is created stopped. `repeat_ms` 0: once. Starting a running timer restarts it. */
struct timer *timer_new(struct loop *loop, loop_fn *fn, void *arg);
void timer_start(struct timer *timer, uint64_t delay_ms, uint64_t repeat_ms);
void timer_stop(struct timer *timer);
bool timer_active(const struct timer *timer);
void timer_free(struct timer *timer); /* NULL is fine; safe inside of its own callback */

/* Blocking work on a worker thread, `done` back on the loop. Both get `arg`. */
void loop_work(struct loop *loop, loop_fn *work, loop_fn *done, void *arg);
/* From any thread: runs `fn` on the loop. Waiting for a post alone does not keep loop_run going. */
void loop_post(struct loop *loop, loop_fn *fn, void *arg);
/* Calls `fn` whenever the process gets the signal, until the loop is freed. */
void loop_signal(struct loop *loop, int signal, loop_fn *fn, void *arg);

/* For the I/O shells inside of net/ only. */
struct uv_loop_s *loop_uv(struct loop *loop);
