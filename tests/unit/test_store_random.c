/* Random changes, with the promises of the store checked after each: what a reader would see
 * differently has a higher index and has woken the reader; what it would see the same has not; and
 * every index agrees with the table. A transaction's own reads agree with what it leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "consul/service.pb-c.h"
#include "store/engine.h"
#include "store/store.h"

#define NODES 3
#define IDS 4
#define NAMES 3
#define ROUNDS 3000
#define READERS (NODES * IDS + NAMES + NODES + 2)

static struct loop *loop;
static struct store *store;
static struct buffer key;
static unsigned seed = 1;

static unsigned draw(unsigned below)
{
    seed = seed * 1103515245u + 12345u;
    return (seed >> 16) % below;
}

static const char *word(const char *prefix, unsigned number)
{
    static char words[4][16];
    static unsigned next;
    char *text = words[next++ % 4];
    snprintf(text, sizeof words[0], "%s%u", prefix, number);
    return text;
}

/* ---- what a reader sees, as text ---- */

static void show(struct buffer *text, const struct record *record)
{
    const Pb__NodeService *service = record->message;
    buffer_printf(text, "%s/%s=%s:%d@%llu ", service->node, service->id, service->service,
                  service->port, (unsigned long long)record->modify_index);
}

static void show_list(struct buffer *text, struct view *view, unsigned index)
{
    size_t count;
    const struct record *const *list = view_list(view, TABLE_SERVICE, index, &key, &count);
    for (size_t i = 0; i < count; i++)
        show(text, list[i]);
}

static void read_as(unsigned reader, struct view *view, struct buffer *text)
{
    if (reader < NODES * IDS) {
        const struct record *record = view_get(
            view, TABLE_SERVICE,
            key_service(&key, &TENANCY_DEFAULT, word("n", reader / IDS), word("i", reader % IDS)));
        if (record != NULL)
            show(text, record);
        return;
    }
    reader -= NODES * IDS;
    if (reader < NAMES) {
        key_named(&key, &TENANCY_DEFAULT, word("s", reader));
        show_list(text, view, SERVICE_BY_NAME);
    } else if (reader < NAMES + NODES) {
        key_node(&key, &TENANCY_DEFAULT, word("n", reader - NAMES));
        show_list(text, view, SERVICE_BY_NODE);
    } else if (reader == NAMES + NODES) {
        key_all(&key, &TENANCY_DEFAULT);
        show_list(text, view, BY_TENANCY);
    } else {
        size_t count;
        const struct view_value *values = view_values(view, TABLE_SERVICE, SERVICE_BY_NAME,
                                                      key_all(&key, &TENANCY_DEFAULT), &count);
        for (size_t i = 0; i < count; i++)
            buffer_printf(text, "%s ", key_name(values[i].bytes, values[i].length, 0));
    }
}

static char *read_all(struct view *view)
{
    struct buffer text = {0};
    for (unsigned reader = 0; reader < READERS; reader++) {
        read_as(reader, view, &text);
        buffer_add_byte(&text, '\n');
    }
    return buffer_take(&text);
}

/* Indexes and table tell the same: each list is what a walk over the whole table gives. */
static void check_lists(struct view *view)
{
    size_t total, count, sum = 0;
    key_all(&key, &TENANCY_DEFAULT);
    const struct record *const *all = view_list(view, TABLE_SERVICE, BY_TENANCY, &key, &total);
    for (unsigned name = 0; name < NAMES; name++) {
        key_named(&key, &TENANCY_DEFAULT, word("s", name));
        const struct record *const *list =
            view_list(view, TABLE_SERVICE, SERVICE_BY_NAME, &key, &count);
        size_t at = 0;
        for (size_t i = 0; i < total; i++) {
            const Pb__NodeService *service = all[i]->message;
            if (strcmp(service->service, word("s", name)) != 0)
                continue;
            assert_true(at < count);
            assert_ptr_equal(list[at++], all[i]);
        }
        assert_int_equal(at, count);
        sum += count;
    }
    assert_int_equal(sum, total);
}

/* ---- changes ---- */

struct change {
    unsigned writes;
    bool give_up, done;
    char *seen; /* what it sees after its writes */
};

static void write_something(struct txn *txn)
{
    const char *node = word("n", draw(NODES)), *id = word("i", draw(IDS));
    if (draw(3) == 0) {
        txn_delete(txn, TABLE_SERVICE, key_service(&key, &TENANCY_DEFAULT, node, id));
        return;
    }
    Pb__NodeService service = PB__NODE_SERVICE__INIT;
    service.node = (char *)node;
    service.id = (char *)id;
    service.service = (char *)word("s", draw(NAMES));
    service.port = (int32_t)draw(2);
    txn_put(txn, TABLE_SERVICE, &service);
}

static bool change_fn(struct txn *txn, void *arg, struct error *error)
{
    struct change *change = arg;
    for (unsigned i = 0; i < change->writes; i++) {
        write_something(txn);
        if (draw(4) == 0)
            check_lists(txn_view(txn));
    }
    free(change->seen);
    change->seen = read_all(txn_view(txn));
    return !change->give_up || error_set(error, ERR_ABORTED, "given up");
}

static void change_done(void *arg, const struct error *error, uint64_t index)
{
    (void)index;
    struct change *change = arg;
    assert_int_equal(error != NULL, change->give_up);
    change->done = true;
}

static void set_flag(void *arg)
{
    *(bool *)arg = true;
}

struct reader {
    char *text;
    uint64_t index;
    bool woken;
    struct watch *watch;
};

static void reader_start(struct reader *reader, unsigned number)
{
    struct buffer text = {0};
    struct view *view = view_new(store);
    read_as(number, view, &text);
    reader->text = buffer_take(&text);
    reader->index = view_index(view);
    reader->woken = false;
    reader->watch = watch_new(view, set_flag, &reader->woken);
}

static void reader_check(struct reader *reader, unsigned number)
{
    struct buffer text = {0};
    struct view *view = view_new(store);
    read_as(number, view, &text);
    bool same = strcmp(reader->text, buffer_text(&text)) == 0;
    bool missing = number < NODES * IDS && same && reader->text[0] == '\0';
    if (!same) {
        assert_true(reader->woken);
        assert_true(view_index(view) > reader->index);
    }
    assert_true(view_index(view) >= reader->index);
    /* The index of a missing record moves with deletions in its table. */
    if (!reader->woken && !missing)
        assert_int_equal(view_index(view), reader->index);
    view_free(view);
    buffer_free(&text);
    free(reader->text);
    watch_free(reader->watch);
}

static void run_batch(void)
{
    struct change changes[4] = {0};
    size_t count = 1 + draw(4);
    for (size_t i = 0; i < count; i++) {
        changes[i].writes = draw(5);
        changes[i].give_up = draw(4) == 0;
        store_commit(store, change_fn, change_done, &changes[i]);
    }
    loop_run(loop);
    struct view *view = view_new(store);
    char *now = read_all(view);
    view_free(view);
    if (!changes[count - 1].give_up)
        assert_string_equal(changes[count - 1].seen, now);
    for (size_t i = 0; i < count; i++) {
        assert_true(changes[i].done);
        free(changes[i].seen);
    }
    free(now);
}

static void on_ready(void *arg, const struct error *error)
{
    (void)arg;
    assert_null(error);
}

static void open_store(struct engine *engine)
{
    assert_non_null(engine);
    store = store_new(loop, engine, on_ready, NULL);
    loop_run(loop);
}

static void run_rounds(unsigned rounds)
{
    struct reader readers[READERS];
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned i = 0; i < READERS; i++)
            reader_start(&readers[i], i);
        run_batch();
        for (unsigned i = 0; i < READERS; i++)
            reader_check(&readers[i], i);
        struct view *view = view_new(store);
        check_lists(view);
        view_free(view);
    }
}

static void test_promises_hold(void **state)
{
    (void)state;
    loop = loop_new();
    open_store(engine_memory_new(loop));
    run_rounds(ROUNDS);
    store_free(store);
    loop_free(loop);
}

static void test_promises_hold_over_restarts(void **state)
{
    (void)state;
    char directory[] = "/tmp/test_store_random.XXXXXX", path[64];
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/state.db", directory);
    char *before = NULL;
    uint64_t indexes[READERS] = {0};
    for (unsigned start = 0; start < 8; start++) {
        loop = loop_new();
        open_store(engine_sqlite_new(loop, path, NULL));
        struct view *view = view_new(store);
        char *now = read_all(view);
        view_free(view);
        if (before != NULL)
            assert_string_equal(now, before);
        free(now);
        free(before);
        for (unsigned i = 0; i < READERS; i++) {
            struct buffer text = {0};
            view = view_new(store);
            read_as(i, view, &text);
            assert_true(view_index(view) >= indexes[i]);
            view_free(view);
            buffer_free(&text);
        }
        run_rounds(20);
        view = view_new(store);
        before = read_all(view);
        view_free(view);
        for (unsigned i = 0; i < READERS; i++) {
            struct buffer text = {0};
            view = view_new(store);
            read_as(i, view, &text);
            indexes[i] = view_index(view);
            view_free(view);
            buffer_free(&text);
        }
        store_free(store);
        loop_free(loop);
    }
    free(before);
    remove(path);
    rmdir(directory);
}

static int teardown(void **state)
{
    (void)state;
    buffer_free(&key);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_promises_hold),
        cmocka_unit_test(test_promises_hold_over_restarts),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
