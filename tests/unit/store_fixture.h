/* A loop with a store in memory, for tests of what stands on the store. Static functions, so that
 * each test program has its own. Include behind cmocka.h. */
#pragma once

#include <stdlib.h>

#include "base/memory.h"
#include "net/loop.h"
#include "store/engine.h"
#include "store/store.h"

#define FIXTURE_LIMIT_MS 20000

struct fixture {
    struct loop *loop;
    struct store *store;
    struct arena *arena;
    struct view *view; /* for one turn's reading; fixture_view makes it anew */

    bool done;
    struct error error; /* of the last commit; ERR_NONE if it went well */
};

typedef bool fixture_condition(struct fixture *fixture, void *arg);

struct fixture_wait {
    struct fixture *fixture;
    fixture_condition *condition;
    void *arg;
    uint64_t give_up_at;
};

static void fixture_look(void *arg)
{
    struct fixture_wait *wait = arg;
    if (wait->condition(wait->fixture, wait->arg) ||
        loop_now(wait->fixture->loop) >= wait->give_up_at)
        loop_stop(wait->fixture->loop);
}

/* Runs the loop until the condition holds; fails the test if that takes too long. */
static inline void fixture_wait_for(struct fixture *fixture, fixture_condition *condition,
                                    void *arg)
{
    struct fixture_wait wait = {fixture, condition, arg,
                                loop_now(fixture->loop) + FIXTURE_LIMIT_MS};
    struct timer *timer = timer_new(fixture->loop, fixture_look, &wait);
    timer_start(timer, 0, 2);
    loop_run(fixture->loop);
    timer_free(timer);
    assert_true(condition(fixture, arg));
}

static inline bool fixture_is_done(struct fixture *fixture, void *arg)
{
    (void)arg;
    return fixture->done;
}

static inline void fixture_finish(struct fixture *fixture, const struct error *error)
{
    fixture->error = error == NULL ? (struct error){0} : *error;
    fixture->done = true;
}

static void fixture_ready(void *arg, const struct error *error)
{
    fixture_finish(arg, error);
}

static inline struct fixture *fixture_new(void)
{
    struct fixture *fixture = mem_zalloc(sizeof *fixture);
    fixture->loop = loop_new();
    fixture->arena = arena_new();
    fixture->store =
        store_new(fixture->loop, engine_memory_new(fixture->loop), fixture_ready, fixture);
    fixture_wait_for(fixture, fixture_is_done, NULL);
    return fixture;
}

static inline void fixture_free(struct fixture *fixture)
{
    view_free(fixture->view);
    store_free(fixture->store);
    loop_free(fixture->loop);
    arena_free(fixture->arena);
    free(fixture);
}

static inline struct view *fixture_view(struct fixture *fixture)
{
    view_free(fixture->view);
    fixture->view = view_new(fixture->store);
    return fixture->view;
}

struct fixture_commit {
    struct fixture *fixture;
    txn_fn *fn;
    void *arg;
};

static bool fixture_run(struct txn *txn, void *arg, struct error *error)
{
    struct fixture_commit *commit = arg;
    return commit->fn(txn, commit->arg, error);
}

static void fixture_committed(void *arg, const struct error *error, uint64_t index)
{
    (void)index;
    fixture_finish(((struct fixture_commit *)arg)->fixture, error);
}

/* One transaction, and the wait for its end; its error is in `error`. */
static inline void fixture_commit(struct fixture *fixture, txn_fn *fn, void *arg)
{
    struct fixture_commit commit = {fixture, fn, arg};
    view_free(fixture->view);
    fixture->view = NULL;
    fixture->done = false;
    store_commit(fixture->store, fixture_run, fixture_committed, &commit);
    fixture_wait_for(fixture, fixture_is_done, NULL);
}

struct fixture_put {
    enum table table;
    const void *message;
};

static bool fixture_put_message(struct txn *txn, void *arg, struct error *error)
{
    (void)error;
    const struct fixture_put *put = arg;
    txn_put(txn, put->table, put->message);
    return true;
}

static inline void fixture_put(struct fixture *fixture, enum table table, const void *message)
{
    struct fixture_put put = {table, message};
    fixture_commit(fixture, fixture_put_message, &put);
    assert_int_equal(fixture->error.code, ERR_NONE);
}
