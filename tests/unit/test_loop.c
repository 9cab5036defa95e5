/* The promises of the loop that everything else is built on. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "net/loop.h"

struct story {
    struct loop *loop;
    struct buffer text;
    struct timer *timer;
    int count;
};

static struct story story_new(void)
{
    return (struct story){.loop = loop_new()};
}

static void story_end(struct story *story)
{
    loop_free(story->loop);
    buffer_free(&story->text);
}

static void say_a(void *arg)
{
    struct story *story = arg;
    buffer_add_text(&story->text, "a");
}

static void say_b(void *arg)
{
    struct story *story = arg;
    buffer_add_text(&story->text, "b");
    loop_defer(story->loop, say_a, story);
}

static void deferred_calls_run_in_order_and_not_at_once(void **state)
{
    (void)state;
    struct story story = story_new();
    loop_defer(story.loop, say_b, &story);
    loop_defer(story.loop, say_a, &story);
    assert_string_equal(buffer_text(&story.text), "");
    loop_run(story.loop); /* ends by itself: the deferred calls alone kept it alive */
    assert_string_equal(buffer_text(&story.text), "baa");
    story_end(&story);
}

static void stop(void *arg)
{
    struct story *story = arg;
    loop_stop(story->loop);
}

static void late(void *arg)
{
    struct story *story = arg;
    buffer_add_text(&story->text, "!");
}

static void defer_many(void *arg)
{
    struct story *story = arg;
    if (++story->count < 100)
        loop_defer(story->loop, defer_many, story);
}

static void deferring_does_not_wait_for_a_timer(void **state)
{
    (void)state;
    struct story story = story_new();
    struct timer *timer = timer_new(story.loop, late, &story);
    timer_start(timer, 3600 * 1000, 0);
    loop_defer(story.loop, defer_many, &story);
    loop_defer(story.loop, stop, &story);
    loop_run(story.loop);
    assert_true(story.count >= 1);
    loop_defer(story.loop, stop, &story);
    loop_run(story.loop);
    assert_true(timer_active(timer));
    story_end(&story); /* frees the timer and runs what is left of the deferred calls */
    assert_int_equal(story.count, 100);
}

static void free_own_timer(void *arg)
{
    struct story *story = arg;
    story->count++;
    timer_free(story->timer);
}

static void restart_own_timer(void *arg)
{
    struct story *story = arg;
    if (++story->count < 3)
        timer_start(story->timer, 0, 0);
    else
        free_own_timer(story);
}

static void timers_may_end_themselves(void **state)
{
    (void)state;
    struct story story = story_new();
    story.timer = timer_new(story.loop, free_own_timer, &story);
    timer_start(story.timer, 1, 1);
    loop_run(story.loop);
    assert_int_equal(story.count, 1);
    story.timer = timer_new(story.loop, restart_own_timer, &story);
    timer_start(story.timer, 0, 0);
    loop_run(story.loop);
    assert_int_equal(story.count, 1 + 3);
    struct timer *unused = timer_new(story.loop, late, &story);
    assert_false(timer_active(unused));
    timer_free(unused);
    timer_free(NULL);
    story_end(&story);
}

static void stopped_timer_stays_silent(void **state)
{
    (void)state;
    struct story story = story_new();
    struct timer *silent = timer_new(story.loop, late, &story);
    struct timer *other = timer_new(story.loop, say_a, &story);
    timer_start(silent, 1, 1);
    timer_stop(silent);
    timer_start(other, 3, 0);
    loop_run(story.loop);
    assert_string_equal(buffer_text(&story.text), "a");
    story_end(&story);
}

static void work_elsewhere(void *arg)
{
    struct story *story = arg;
    story->count = 7;
}

static void work_done(void *arg)
{
    struct story *story = arg;
    assert_int_equal(story->count, 7);
    buffer_add_text(&story->text, "done");
}

static void work_comes_back_to_the_loop(void **state)
{
    (void)state;
    struct story story = story_new();
    loop_work(story.loop, work_elsewhere, work_done, &story);
    loop_run(story.loop);
    assert_string_equal(buffer_text(&story.text), "done");
    buffer_reset(&story.text);
    loop_work(story.loop, work_elsewhere, work_done, &story);
    loop_free(story.loop); /* waits for the work, and its end is told */
    assert_string_equal(buffer_text(&story.text), "done");
    buffer_free(&story.text);
}

static void stop_after_post(void *arg)
{
    struct story *story = arg;
    if (++story->count == 100)
        loop_stop(story->loop);
}

static void *post_from_thread(void *arg)
{
    struct story *story = arg;
    for (int i = 0; i < 100; i++)
        loop_post(story->loop, stop_after_post, story);
    return NULL;
}

static void posts_of_other_threads_arrive(void **state)
{
    (void)state;
    struct story story = story_new();
    struct timer *keep = timer_new(story.loop, late, &story);
    timer_start(keep, 3600 * 1000, 0);
    pthread_t thread;
    pthread_create(&thread, NULL, post_from_thread, &story);
    loop_run(story.loop);
    pthread_join(thread, NULL);
    assert_int_equal(story.count, 100);
    timer_free(keep);
    loop_post(story.loop, say_a, &story); /* nothing else is left, and yet it is not lost */
    loop_run(story.loop);
    assert_string_equal(buffer_text(&story.text), "a");
    story_end(&story);
}

static void on_hangup(void *arg)
{
    struct story *story = arg;
    story->count++;
    loop_stop(story->loop);
}

static void signals_are_told(void **state)
{
    (void)state;
    struct story story = story_new();
    loop_signal(story.loop, SIGHUP, on_hangup, &story);
    struct timer *keep = timer_new(story.loop, late, &story);
    timer_start(keep, 3600 * 1000, 0);
    raise(SIGHUP);
    loop_run(story.loop);
    raise(SIGHUP);
    loop_run(story.loop);
    assert_int_equal(story.count, 2);
    story_end(&story);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(deferred_calls_run_in_order_and_not_at_once),
        cmocka_unit_test(deferring_does_not_wait_for_a_timer),
        cmocka_unit_test(timers_may_end_themselves),
        cmocka_unit_test(stopped_timer_stays_silent),
        cmocka_unit_test(work_comes_back_to_the_loop),
        cmocka_unit_test(posts_of_other_threads_arrive),
        cmocka_unit_test(signals_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
