/* Nothing is kept: for -dev and tests. */
#include <stdlib.h>

#include "base/memory.h"
#include "store/engine.h"

/* A completion under way; it outlives the engine if that is freed first. */
struct completion {
    struct engine_memory *engine;
    engine_done_fn *done;
    void *arg;
};

struct engine_memory {
    struct engine engine;
    struct loop *loop;
    struct completion *load, *commit;
};

static void complete(void *arg)
{
    struct completion *completion = arg;
    struct engine_memory *memory = completion->engine;
    if (memory != NULL) {
        if (memory->load == completion)
            memory->load = NULL;
        else
            memory->commit = NULL;
        completion->done(completion->arg, NULL);
    }
    free(completion);
}

static struct completion *complete_later(struct engine_memory *memory, engine_done_fn *done,
                                         void *arg)
{
    struct completion *completion = mem_zalloc(sizeof *completion);
    *completion = (struct completion){memory, done, arg};
    loop_defer(memory->loop, complete, completion);
    return completion;
}

static void memory_load(struct engine *engine, engine_row_fn *row, engine_done_fn *done, void *arg,
                        uint64_t *ret_index)
{
    (void)row;
    struct engine_memory *memory = (struct engine_memory *)engine;
    *ret_index = 1;
    memory->load = complete_later(memory, done, arg);
}

static void memory_commit(struct engine *engine, const struct engine_row *rows, size_t count,
                          uint64_t index, engine_done_fn *done, void *arg)
{
    (void)rows, (void)count, (void)index;
    struct engine_memory *memory = (struct engine_memory *)engine;
    memory->commit = complete_later(memory, done, arg);
}

static void memory_free(struct engine *engine)
{
    struct engine_memory *memory = (struct engine_memory *)engine;
    if (memory->load != NULL)
        memory->load->engine = NULL;
    if (memory->commit != NULL) {
        memory->commit->engine = NULL;
        memory->commit->done(memory->commit->arg, NULL);
    }
    free(memory);
}

static const struct engine_class memory_class = {
    .name = "memory",
    .load = memory_load,
    .commit = memory_commit,
    .free = memory_free,
};

struct engine *engine_memory_new(struct loop *loop)
{
    struct engine_memory *memory = mem_zalloc(sizeof *memory);
    memory->engine.class = &memory_class;
    memory->loop = loop;
    return &memory->engine;
}
