/* The store: what would be lost is a reader's trust in an index, a waiter's wake-up, or a write. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "base/duration.h"
#include "base/memory.h"
#include "base/text.h"
#include "consul/service.pb-c.h"
#include "pons/ca.pb-c.h"
#include "store/engine.h"
#include "store/store.h"

static struct loop *loop;
static struct store *store;
static struct buffer key;

/* ---- an engine whose commits fail on demand ---- */

struct broken_engine {
    struct engine engine;
    struct engine *inner;
    unsigned commits;
    bool fail;
    engine_done_fn *done;
    void *arg;
};

static struct broken_engine *broken;

static void broken_load(struct engine *engine, engine_row_fn *row, engine_done_fn *done, void *arg,
                        uint64_t *ret_index)
{
    struct engine *inner = ((struct broken_engine *)engine)->inner;
    inner->class->load(inner, row, done, arg, ret_index);
}

static void broken_done(void *arg, const struct error *error)
{
    struct broken_engine *self = arg;
    struct error refused = {0};
    error_set(&refused, ERR_IO, "the disk is full");
    self->done(self->arg, self->fail ? &refused : error);
}

static void broken_commit(struct engine *engine, const struct engine_row *rows, size_t count,
                          uint64_t index, engine_done_fn *done, void *arg)
{
    struct broken_engine *self = (struct broken_engine *)engine;
    self->commits++;
    self->done = done;
    self->arg = arg;
    self->inner->class->commit(self->inner, rows, count, index, broken_done, self);
}

static void broken_free(struct engine *engine)
{
    struct broken_engine *self = (struct broken_engine *)engine;
    self->inner->class->free(self->inner);
    free(self);
}

static const struct engine_class broken_class = {
    .name = "broken", .load = broken_load, .commit = broken_commit, .free = broken_free};

static void on_ready(void *arg, const struct error *error)
{
    (void)arg;
    assert_null(error);
}

static int setup(void **state)
{
    (void)state;
    loop = loop_new();
    broken = mem_zalloc(sizeof *broken);
    broken->engine.class = &broken_class;
    broken->inner = engine_memory_new(loop);
    store = store_new(loop, &broken->engine, on_ready, NULL);
    loop_run(loop);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    store_free(store);
    loop_free(loop);
    buffer_free(&key);
    return 0;
}

/* ---- writing in one line ---- */

struct step {
    const char *node, *service, *address;
    bool delete;
    uint64_t index;
    bool failed, done;
};

static bool step_fn(struct txn *txn, void *arg, struct error *error)
{
    (void)error;
    struct step *step = arg;
    if (step->service != NULL) {
        Pb__NodeService service = PB__NODE_SERVICE__INIT;
        service.node = (char *)step->node;
        service.id = service.service = (char *)step->service;
        service.address = (char *)step->address;
        if (step->delete)
            txn_delete(txn, TABLE_SERVICE,
                       key_service(&key, &TENANCY_DEFAULT, step->node, step->service));
        else
            txn_put(txn, TABLE_SERVICE, &service);
        return true;
    }
    Pb__Node node = PB__NODE__INIT;
    node.node = (char *)step->node;
    node.address = (char *)step->address;
    if (step->delete)
        txn_delete(txn, TABLE_NODE, key_node(&key, &TENANCY_DEFAULT, step->node));
    else
        txn_put(txn, TABLE_NODE, &node);
    return true;
}

static void step_done(void *arg, const struct error *error, uint64_t index)
{
    struct step *step = arg;
    step->done = true;
    step->failed = error != NULL;
    step->index = index;
}

static uint64_t run_step(struct step step)
{
    store_commit(store, step_fn, step_done, &step);
    assert_false(step.done); /* never from inside */
    loop_run(loop);
    assert_true(step.done);
    assert_false(step.failed);
    return step.index;
}

static uint64_t put_node(const char *node, const char *address)
{
    return run_step((struct step){.node = node, .address = address});
}

static uint64_t put_service(const char *node, const char *service, const char *address)
{
    return run_step((struct step){.node = node, .service = service, .address = address});
}

static uint64_t delete_service(const char *node, const char *service)
{
    return run_step((struct step){.node = node, .service = service, .delete = true});
}

static uint64_t service_index(const char *service)
{
    struct view *view = view_new(store);
    size_t count;
    view_list(view, TABLE_SERVICE, SERVICE_BY_NAME, key_named(&key, &TENANCY_DEFAULT, service),
              &count);
    uint64_t index = view_index(view);
    view_free(view);
    return index;
}

static void count_up(void *arg)
{
    ++*(unsigned *)arg;
}

static struct watch *watch_service(const char *service, unsigned *fired)
{
    struct view *view = view_new(store);
    size_t count;
    view_list(view, TABLE_SERVICE, SERVICE_BY_NAME, key_named(&key, &TENANCY_DEFAULT, service),
              &count);
    return watch_new(view, count_up, fired);
}

static struct watch *watch_node(const char *node, unsigned *fired)
{
    struct view *view = view_new(store);
    view_get(view, TABLE_NODE, key_node(&key, &TENANCY_DEFAULT, node));
    return watch_new(view, count_up, fired);
}

/* ---- tests ---- */

static void test_records_and_indexes(void **state)
{
    (void)state;
    assert_int_equal(store_index(store), 1);
    uint64_t first = put_service("n1", "web", "10.0.0.1");
    assert_int_equal(first, 2);
    put_service("n0", "web", "10.0.0.2");
    struct view *view = view_new(store);
    size_t count;
    const struct record *const *list = view_list(view, TABLE_SERVICE, SERVICE_BY_NAME,
                                                 key_named(&key, &TENANCY_DEFAULT, "WEB"), &count);
    assert_int_equal(count, 2);
    assert_string_equal(((const Pb__NodeService *)list[0]->message)->node, "n0"); /* by key */
    assert_string_equal(((const Pb__NodeService *)list[1]->message)->address, "10.0.0.1");
    assert_int_equal(list[1]->create_index, first);
    assert_int_equal(view_index(view), 3);
    view_free(view);
}

static void test_same_content_is_no_change(void **state)
{
    (void)state;
    uint64_t index = put_node("n", "1.1.1.1");
    unsigned fired = 0;
    struct watch *watch = watch_node("n", &fired);
    assert_int_equal(put_node("n", "1.1.1.1"), index);
    assert_int_equal(fired, 0);
    put_node("n", "1.1.1.2");
    assert_int_equal(fired, 1);
    watch_free(watch);
}

static void put_meta(Pb__Node *node, bool swapped)
{
    static Pb__Node__MetaEntry a = PB__NODE__META_ENTRY__INIT, b = PB__NODE__META_ENTRY__INIT;
    static Pb__Node__MetaEntry *entries[2];
    a.key = a.value = (char *)"a";
    b.key = b.value = (char *)"b";
    entries[swapped] = &a;
    entries[!swapped] = &b;
    node->node = (char *)"n";
    node->meta = entries;
    node->n_meta = 2;
}

static bool meta_fn(struct txn *txn, void *arg, struct error *error)
{
    (void)error;
    Pb__Node node = PB__NODE__INIT;
    put_meta(&node, arg != NULL);
    txn_put(txn, TABLE_NODE, &node);
    return true;
}

/* Peers send maps in any order; it must not look like a change. */
static void test_order_in_maps_is_no_change(void **state)
{
    (void)state;
    store_commit(store, meta_fn, NULL, NULL);
    loop_run(loop);
    uint64_t index = store_index(store);
    store_commit(store, meta_fn, NULL, loop);
    loop_run(loop);
    assert_int_equal(store_index(store), index);
}

static void test_index_of_a_service_never_goes_back(void **state)
{
    (void)state;
    uint64_t last = service_index("web");
    for (unsigned round = 0; round < 5; round++) {
        put_service("n1", "web", "10.0.0.1");
        put_node("other", round % 2 ? "1" : "2");
        assert_true(service_index("web") > last);
        last = service_index("web");
        put_service("n2", "web", "10.0.0.1");
        delete_service("n1", "web");
        assert_true(service_index("web") > last);
        last = service_index("web");
        delete_service("n2", "web");
        assert_true(service_index("web") > last);
        last = service_index("web");
    }
}

static void test_unrelated_writes_wake_nobody(void **state)
{
    (void)state;
    put_service("n1", "web", "10.0.0.1");
    unsigned fired = 0;
    struct watch *present = watch_service("web", &fired);
    struct watch *absent = watch_service("db", &fired);
    struct watch *node = watch_node("missing", &fired);
    uint64_t web = service_index("web"), db = service_index("db");
    put_service("n1", "api", "10.0.0.1");
    put_node("n1", "10.0.0.1");
    delete_service("n1", "api");
    assert_int_equal(fired, 0);
    assert_int_equal(service_index("web"), web);
    assert_int_equal(service_index("db"), db); /* also if there is no such service */
    watch_free(present);
    watch_free(absent);
    watch_free(node);
}

static void test_what_is_missing_can_be_waited_for(void **state)
{
    (void)state;
    unsigned service = 0, node = 0;
    struct watch *first = watch_service("web", &service);
    struct watch *second = watch_service("web", &service);
    struct watch *third = watch_node("n1", &node);
    put_service("n1", "web", "10.0.0.1");
    assert_int_equal(service, 2);
    assert_int_equal(node, 0);
    put_node("n1", "10.0.0.1");
    assert_int_equal(node, 1);
    watch_free(first);
    watch_free(second);
    watch_free(third);
}

static void test_a_burst_is_one_wake(void **state)
{
    (void)state;
    put_service("n1", "web", "10.0.0.1");
    unsigned fired = 0;
    struct watch *watch = watch_service("web", &fired);
    static struct step steps[300];
    static char names[300][8];
    for (size_t i = 0; i < 300; i++) {
        snprintf(names[i], sizeof names[i], "n%zu", i);
        steps[i] = (struct step){.node = names[i], .service = "web", .address = "10.9.9.9"};
        store_commit(store, step_fn, step_done, &steps[i]);
    }
    broken->commits = 0;
    loop_run(loop);
    assert_int_equal(fired, 1);
    assert_int_equal(broken->commits, 1); /* and one commit of the engine */
    for (size_t i = 1; i < 300; i++)
        assert_int_equal(steps[i].index, steps[i - 1].index + 1);
    watch_free(watch);
}

static void test_a_late_watch_is_not_lost(void **state)
{
    (void)state;
    put_node("n1", "1");
    struct view *record = view_new(store), *bucket = view_new(store), *absent = view_new(store);
    size_t count;
    view_get(record, TABLE_NODE, key_node(&key, &TENANCY_DEFAULT, "n1"));
    view_list(bucket, TABLE_NODE, BY_TENANCY, key_all(&key, &TENANCY_DEFAULT), &count);
    view_get(absent, TABLE_NODE, key_node(&key, &TENANCY_DEFAULT, "n2"));
    put_node("n1", "2");
    put_node("n2", "2");
    unsigned fired = 0;
    struct watch *watches[] = {watch_new(record, count_up, &fired),
                               watch_new(bucket, count_up, &fired),
                               watch_new(absent, count_up, &fired)};
    assert_int_equal(fired, 0);
    loop_run(loop);
    assert_int_equal(fired, 3);
    for (size_t i = 0; i < 3; i++)
        watch_free(watches[i]);
}

static void test_a_freed_watch_is_silent(void **state)
{
    (void)state;
    unsigned fired = 0;
    struct view *view = view_new(store);
    view_get(view, TABLE_NODE, key_node(&key, &TENANCY_DEFAULT, "n1"));
    put_node("n1", "1");
    struct watch *watch = watch_new(view, count_up, &fired); /* is told already */
    watch_free(watch);
    loop_run(loop);
    assert_int_equal(fired, 0);
}

static void test_values_are_what_exists(void **state)
{
    (void)state;
    unsigned fired = 0;
    size_t count;
    struct view *view = view_new(store);
    view_values(view, TABLE_SERVICE, SERVICE_BY_NAME, key_all(&key, &TENANCY_DEFAULT), &count);
    assert_int_equal(count, 0);
    struct watch *watch = watch_new(view, count_up, &fired);
    put_service("n1", "web", "1");
    assert_int_equal(fired, 1);
    watch_free(watch);

    put_service("n1", "db", "1");
    view = view_new(store);
    const struct view_value *values =
        view_values(view, TABLE_SERVICE, SERVICE_BY_NAME, key_all(&key, &TENANCY_DEFAULT), &count);
    assert_int_equal(count, 2);
    assert_string_equal(key_name(values[0].bytes, values[0].length, 0), "db");
    assert_string_equal(key_name(values[1].bytes, values[1].length, 0), "web");
    watch = watch_new(view, count_up, &fired);
    put_service("n2", "web", "1"); /* another instance is no new name */
    delete_service("n2", "web");
    assert_int_equal(fired, 1);
    delete_service("n1", "db");
    assert_int_equal(fired, 2);
    watch_free(watch);
}

/* ---- transactions on each other ---- */

static bool increment(struct txn *txn, void *arg, struct error *error)
{
    (void)arg, (void)error;
    const struct record *record =
        view_get(txn_view(txn), TABLE_CA_CONFIG, key_all(&key, &TENANCY_DEFAULT));
    Pb__CaConfig config = PB__CA_CONFIG__INIT;
    if (record != NULL)
        config = *(const Pb__CaConfig *)record->message;
    config.next_serial++;
    txn_put(txn, TABLE_CA_CONFIG, &config);
    return true;
}

static uint64_t counter(void)
{
    struct view *view = view_new(store);
    const struct record *record = view_get(view, TABLE_CA_CONFIG, key_all(&key, &TENANCY_DEFAULT));
    uint64_t value = record == NULL ? 0 : ((const Pb__CaConfig *)record->message)->next_serial;
    view_free(view);
    return value;
}

static void test_no_increment_is_lost(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3000; i++)
        store_commit(store, increment, NULL, NULL);
    loop_run(loop);
    assert_int_equal(counter(), 3000);
    assert_true(broken->commits <= 7);
    assert_int_equal(store_index(store), 3001);
}

static bool give_up(struct txn *txn, void *arg, struct error *error)
{
    increment(txn, NULL, NULL);
    increment(txn, NULL, NULL);
    step_fn(txn, arg, NULL);
    return error_set(error, ERR_CONFLICT, "no");
}

static void test_a_failed_transaction_writes_nothing(void **state)
{
    (void)state;
    struct step step = {.node = "n1", .address = "1"};
    store_commit(store, increment, NULL, NULL);
    store_commit(store, give_up, step_done, &step);
    store_commit(store, increment, NULL, NULL);
    loop_run(loop);
    assert_true(step.done && step.failed);
    assert_int_equal(counter(), 2);
    struct view *view = view_new(store);
    assert_null(view_get(view, TABLE_NODE, key_node(&key, &TENANCY_DEFAULT, "n1")));
    view_free(view);
    assert_int_equal(store_index(store), 3);
}

static bool read_own(struct txn *txn, void *arg, struct error *error)
{
    (void)error;
    struct view *view = txn_view(txn);
    size_t count;
    struct step web = {.node = "n1", .service = "web", .address = "1"};
    struct step more = {.node = "n0", .service = "web", .address = "1"};
    step_fn(txn, &web, NULL);
    step_fn(txn, &more, NULL);
    assert_non_null(
        view_get(view, TABLE_SERVICE, key_service(&key, &TENANCY_DEFAULT, "n1", "web")));
    const struct record *const *list = view_list(view, TABLE_SERVICE, SERVICE_BY_NAME,
                                                 key_named(&key, &TENANCY_DEFAULT, "web"), &count);
    assert_int_equal(count, 3); /* one was there before, on n2 */
    assert_string_equal(((const Pb__NodeService *)list[0]->message)->node, "n0");
    assert_string_equal(((const Pb__NodeService *)list[2]->message)->node, "n2");
    for (size_t i = 0; i < count; i++) { /* deleting what is being walked */
        const Pb__NodeService *service = list[i]->message;
        txn_delete(txn, TABLE_SERVICE,
                   key_service(&key, &TENANCY_DEFAULT, service->node, service->id));
    }
    view_list(view, TABLE_SERVICE, SERVICE_BY_NAME, key_named(&key, &TENANCY_DEFAULT, "web"),
              &count);
    assert_int_equal(count, 0);
    struct step db = {.node = "n1", .service = "db", .address = "1"};
    step_fn(txn, &db, NULL);
    const struct view_value *values =
        view_values(view, TABLE_SERVICE, SERVICE_BY_NAME, key_all(&key, &TENANCY_DEFAULT), &count);
    assert_int_equal(count, 1);
    assert_string_equal(key_name(values[0].bytes, values[0].length, 0), "db");
    *(bool *)arg = true;
    return true;
}

static void test_a_transaction_sees_its_writes(void **state)
{
    (void)state;
    put_service("n2", "web", "1");
    bool ran = false;
    store_commit(store, read_own, NULL, &ran);
    loop_run(loop);
    assert_true(ran);
    struct view *view = view_new(store);
    size_t count;
    view_list(view, TABLE_SERVICE, BY_TENANCY, key_all(&key, &TENANCY_DEFAULT), &count);
    assert_int_equal(count, 1);
    view_free(view);
}

static void test_a_failed_commit_changes_nothing(void **state)
{
    (void)state;
    put_service("n1", "web", "1");
    uint64_t index = store_index(store);
    unsigned fired = 0;
    struct watch *watch = watch_service("web", &fired);
    broken->fail = true;
    struct step steps[] = {{.node = "n1", .service = "web", .address = "2"},
                           {.node = "n2", .service = "web", .address = "2"}};
    for (size_t i = 0; i < 2; i++)
        store_commit(store, step_fn, step_done, &steps[i]);
    loop_run(loop);
    assert_true(steps[0].failed && steps[1].failed);
    assert_int_equal(store_index(store), index);
    assert_int_equal(fired, 0);
    broken->fail = false;
    assert_int_equal(put_service("n2", "web", "1"), index + 1);
    assert_int_equal(fired, 1);
    struct view *view = view_new(store);
    const struct record *record =
        view_get(view, TABLE_SERVICE, key_service(&key, &TENANCY_DEFAULT, "n1", "web"));
    assert_string_equal(((const Pb__NodeService *)record->message)->address, "1");
    view_free(view);
    watch_free(watch);
}

static void test_what_is_queued_at_the_end_gets_an_answer(void **state)
{
    (void)state;
    struct step step = {.node = "n1", .address = "1"};
    store_commit(store, step_fn, step_done, &step);
    store_free(store);
    assert_true(step.done && step.failed);
    store = NULL;
}

static void test_a_reference_keeps_what_was_seen(void **state)
{
    (void)state;
    put_node("n1", "old");
    struct view *view = view_new(store);
    const struct record *held =
        record_ref(view_get(view, TABLE_NODE, key_node(&key, &TENANCY_DEFAULT, "n1")));
    view_free(view);
    put_node("n1", "new");
    assert_string_equal(((const Pb__Node *)held->message)->address, "old");
    size_t length;
    const char *json = record_json(held, &length);
    assert_non_null(strstr(json, "\"Address\":\"old\""));
    assert_non_null(strstr(json, ",\"CreateIndex\":2,\"ModifyIndex\":2"));
    assert_int_equal(strlen(json), length);
    assert_ptr_equal(record_json(held, &length), json); /* made once */
    record_unref(held);
}

/* ---- size and speed ---- */

#define INSTANCES 5000

static bool register_fn(struct txn *txn, void *arg, struct error *error)
{
    (void)error;
    size_t number = (size_t)(uintptr_t)arg;
    char node_name[32], id[32], service_name[32], check_id[48], node_id[37];
    snprintf(node_name, sizeof node_name, "node-%zu.example", number);
    snprintf(service_name, sizeof service_name, "service-%zu", number / 10);
    snprintf(id, sizeof id, "service-%zu-%zu", number / 10, number);
    snprintf(check_id, sizeof check_id, "service:%s", id);
    snprintf(node_id, sizeof node_id, "%08zx-1111-2222-3333-444444444444", number);
    Pb__Node node = PB__NODE__INIT;
    node.id = node_id;
    node.node = node_name;
    node.address = (char *)"10.20.30.40";
    node.datacenter = (char *)"dc1";
    Pb__NodeService service = PB__NODE_SERVICE__INIT;
    Pb__Weights weights = PB__WEIGHTS__INIT;
    char *tags[] = {(char *)"primary", (char *)"v1"};
    service.node = node_name;
    service.id = id;
    service.service = service_name;
    service.address = (char *)"10.20.30.40";
    service.port = 8080;
    service.tags = tags;
    service.n_tags = 2;
    service.weights = &weights;
    Pb__HealthCheck check = PB__HEALTH_CHECK__INIT;
    check.node = node_name;
    check.check_id = check_id;
    check.name = (char *)"Service check";
    check.status = (char *)"passing";
    check.output = (char *)"HTTP GET http://10.20.30.40:8080/health: 200 OK Output: ok";
    check.service_id = id;
    check.service_name = service_name;
    txn_put(txn, TABLE_NODE, &node);
    txn_put(txn, TABLE_SERVICE, &service);
    txn_put(txn, TABLE_CHECK, &check);
    return true;
}

static void test_memory_of_an_instance(void **state)
{
    (void)state;
    loop_run(loop);
    size_t before = mallinfo2().uordblks;
    int64_t start = clock_monotonic_ns();
    for (size_t i = 0; i < INSTANCES; i++)
        store_commit(store, register_fn, NULL, (void *)(uintptr_t)i);
    loop_run(loop);
    int64_t took = clock_monotonic_ns() - start;
    size_t each = (mallinfo2().uordblks - before) / INSTANCES;
    print_message("# %zu bytes an instance with node and check; %d registrations in %.0f ms\n",
                  each, INSTANCES, (double)took / 1e6);
    assert_true(each < 3000); /* 0 where a sanitizer's allocator does not count */
}

static void test_large_watches_are_cheap(void **state)
{
    (void)state;
    for (size_t i = 0; i < INSTANCES; i++)
        store_commit(store, register_fn, NULL, (void *)(uintptr_t)i);
    loop_run(loop);
    int64_t start = clock_monotonic_ns();
    unsigned fired = 0;
    for (unsigned round = 0; round < 20; round++) {
        struct view *view = view_new(store);
        size_t count;
        const struct record *const *list =
            view_list(view, TABLE_CHECK, BY_TENANCY, key_all(&key, &TENANCY_DEFAULT), &count);
        assert_int_equal(count, INSTANCES);
        for (size_t i = 0; i < count; i++) {
            const Pb__HealthCheck *check = list[i]->message;
            view_get(view, TABLE_NODE, key_node(&key, &TENANCY_DEFAULT, check->node));
        }
        watch_free(watch_new(view, count_up, &fired));
    }
    print_message("# reading and watching %d records: %.2f ms\n", INSTANCES,
                  (double)(clock_monotonic_ns() - start) / 20e6);
    assert_int_equal(fired, 0);
}

#define STORE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_records_and_indexes),
        STORE_TEST(test_same_content_is_no_change),
        STORE_TEST(test_order_in_maps_is_no_change),
        STORE_TEST(test_index_of_a_service_never_goes_back),
        STORE_TEST(test_unrelated_writes_wake_nobody),
        STORE_TEST(test_what_is_missing_can_be_waited_for),
        STORE_TEST(test_a_burst_is_one_wake),
        STORE_TEST(test_a_late_watch_is_not_lost),
        STORE_TEST(test_a_freed_watch_is_silent),
        STORE_TEST(test_values_are_what_exists),
        STORE_TEST(test_no_increment_is_lost),
        STORE_TEST(test_a_failed_transaction_writes_nothing),
        STORE_TEST(test_a_transaction_sees_its_writes),
        STORE_TEST(test_a_failed_commit_changes_nothing),
        STORE_TEST(test_what_is_queued_at_the_end_gets_an_answer),
        STORE_TEST(test_a_reference_keeps_what_was_seen),
        STORE_TEST(test_memory_of_an_instance),
        STORE_TEST(test_large_watches_are_cheap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
