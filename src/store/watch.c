#include <stdlib.h>

#include "base/memory.h"
#include "store/state.h"

/* One thing that a watch waits for: linked in that thing's list of watchers. */
struct link {
    struct list node;
    struct watch *watch;
    uintptr_t what; /* as in struct dep */
};

struct watch {
    struct list node; /* in the store's list of those told */
    struct store *store;
    loop_fn *fn;
    void *arg;
    bool told;
    struct link *links;
    size_t count;
};

static void fire(void *arg);

static void watch_tell(struct store *store, struct watch *watch)
{
    if (watch->told)
        return;
    watch->told = true;
    list_append(&store->told, &watch->node);
    if (!store->firing) {
        store->firing = true;
        state_defer(store, fire);
    }
}

void watchers_tell(struct store *store, struct list *watchers)
{
    list_for_each (node, watchers) {
        list_remove(node);
        watch_tell(store, list_entry(node, struct link, node)->watch);
    }
}

void watchers_leave(struct list *watchers)
{
    list_for_each (node, watchers) {
        list_remove(node);
    }
}

static void watch_unlink(struct watch *watch)
{
    for (size_t i = 0; i < watch->count; i++) {
        list_remove(&watch->links[i].node);
        dep_drop(watch->links[i].what);
    }
    free(watch->links);
    watch->links = NULL;
    watch->count = 0;
}

/* What is told while these run waits for the next turn. */
static void fire(void *arg)
{
    struct store *store = arg;
    if (!state_defer_enter(store))
        return;
    store->firing = false;
    struct list batch;
    list_init(&batch);
    list_for_each (node, &store->told) {
        list_remove(node);
        list_append(&batch, node);
    }
    while (!list_empty(&batch)) {
        struct watch *watch = list_entry(batch.next, struct watch, node);
        list_remove(&watch->node);
        watch_unlink(watch);
        watch->fn(watch->arg);
    }
}

static void watch_take(struct watch *watch, struct view *view)
{
    watch->links = mem_array(view->count, sizeof *watch->links);
    watch->count = view->count;
    for (size_t i = 0; i < view->count; i++) {
        const struct dep *dep = &view->deps[i];
        struct link *link = &watch->links[i];
        link->watch = watch;
        link->what = dep->what;
        list_init(&link->node);
        if (dep_changed(dep))
            watch_tell(watch->store, watch);
        else if (!watch->told)
            list_append(dep_watchers(dep), &link->node);
    }
    view->count = 0; /* the references went over */
}

struct watch *watch_new(struct view *view, loop_fn *fn, void *arg)
{
    struct watch *watch = mem_zalloc(sizeof *watch);
    list_init(&watch->node);
    watch->store = view->store;
    watch->fn = fn;
    watch->arg = arg;
    watch_take(watch, view);
    view_free(view);
    return watch;
}

bool watch_is_spent(const struct watch *watch)
{
    return watch->told;
}

void watch_free(struct watch *watch)
{
    if (watch == NULL)
        return;
    list_remove(&watch->node);
    watch_unlink(watch);
    free(watch);
}
