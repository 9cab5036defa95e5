/* The file: an answered write is there after whatever happens to the process, and a file that
 * cannot be used is named and left alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"
#include "consul/service.pb-c.h"
#include "store/engine.h"
#include "store/store.h"

static char directory[64], path[80];
static struct loop *loop;
static struct store *store;
static struct buffer key;

static int setup(void **state)
{
    (void)state;
    snprintf(directory, sizeof directory, "%s", "/tmp/test_engine_sqlite.XXXXXX");
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/state.db", directory);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    const char *ends[] = {"", "-wal", "-shm", "-journal"};
    for (size_t i = 0; i < 4; i++) {
        char name[96];
        snprintf(name, sizeof name, "%s%s", path, ends[i]);
        unlink(name);
    }
    rmdir(directory);
    buffer_free(&key);
    return 0;
}

static void on_ready(void *arg, const struct error *error)
{
    if (arg != NULL && error != NULL)
        *(struct error *)arg = *error;
    else
        assert_null(error);
}

static void open_store(void)
{
    loop = loop_new();
    struct error error = {0};
    struct engine *engine = engine_sqlite_new(loop, path, &error);
    assert_string_equal(error.message, "");
    assert_non_null(engine);
    store = store_new(loop, engine, on_ready, NULL);
    loop_run(loop);
}

static void close_store(void)
{
    store_free(store);
    loop_free(loop);
}

struct put {
    unsigned number;
    const char *address;
    bool delete;
};

static bool put_fn(struct txn *txn, void *arg, struct error *error)
{
    (void)error;
    const struct put *put = arg;
    char name[32];
    snprintf(name, sizeof name, "n%u", put->number);
    Pb__NodeService service = PB__NODE_SERVICE__INIT;
    service.node = service.id = name;
    service.service = (char *)"web";
    service.address = (char *)put->address;
    if (put->delete)
        txn_delete(txn, TABLE_SERVICE, key_service(&key, &TENANCY_DEFAULT, name, name));
    else
        txn_put(txn, TABLE_SERVICE, &service);
    return true;
}

static void put_one(unsigned number, const char *address, bool delete)
{
    struct put put = {number, address, delete};
    store_commit(store, put_fn, NULL, &put);
    loop_run(loop);
}

/* Everything in the table, with indexes, as text. */
static char *dump(uint64_t *ret_index)
{
    struct buffer text = {0};
    struct view *view = view_new(store);
    size_t count;
    const struct record *const *list =
        view_list(view, TABLE_SERVICE, BY_TENANCY, key_all(&key, &TENANCY_DEFAULT), &count);
    for (size_t i = 0; i < count; i++) {
        size_t length;
        buffer_add_text(&text, record_json(list[i], &length));
        buffer_add_byte(&text, '\n');
    }
    *ret_index = view_index(view);
    view_free(view);
    return buffer_take(&text);
}

static void test_reload_is_equal(void **state)
{
    (void)state;
    open_store();
    for (unsigned i = 0; i < 20; i++)
        put_one(i, "10.0.0.1", false);
    put_one(3, "10.0.0.2", false);
    put_one(19, NULL, true); /* the last change leaves no record behind */
    uint64_t index, again;
    uint64_t store_before = store_index(store);
    char *before = dump(&index);
    close_store();
    open_store();
    char *after = dump(&again);
    assert_string_equal(before, after);
    assert_int_equal(store_index(store), store_before);
    assert_true(again >= index); /* a waiter's index never goes back */
    put_one(0, "10.0.0.9", false);
    assert_int_equal(store_index(store), store_before + 1);
    close_store();
    free(before);
    free(after);
}

static void test_only_the_owner_reads_it(void **state)
{
    (void)state;
    close(open(path, O_CREAT | O_RDWR, 0644));
    open_store();
    put_one(1, "10.0.0.1", false);
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    char wal[96];
    snprintf(wal, sizeof wal, "%s-wal", path);
    assert_int_equal(stat(wal, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    close_store();
}

static void test_free_waits_for_a_commit_in_flight(void **state)
{
    (void)state;
    open_store();
    static struct put put = {7, "10.0.0.7", false};
    store_commit(store, put_fn, NULL, &put);
    loop_defer(loop, (loop_fn *)loop_stop, loop); /* after the batch was started */
    loop_run(loop);
    close_store();
    open_store();
    uint64_t index;
    char *text = dump(&index);
    assert_non_null(strstr(text, "10.0.0.7"));
    free(text);
    close_store();
}

static void expect_refusal(const char *words)
{
    loop = loop_new();
    struct error error = {0};
    assert_null(engine_sqlite_new(loop, path, &error));
    if (strstr(error.message, words) == NULL)
        fail_msg("`%s` is not in: %s", words, error.message);
    assert_non_null(strstr(error.message, path));
    loop_free(loop);
}

static void test_a_damaged_file_is_left_alone(void **state)
{
    (void)state;
    char text[4096], again[sizeof text];
    memset(text, 'x', sizeof text);
    int fd = open(path, O_CREAT | O_RDWR, 0600);
    assert_int_equal(write(fd, text, sizeof text), sizeof text);
    expect_refusal("damaged");
    assert_int_equal(pread(fd, again, sizeof again, 0), sizeof again);
    assert_memory_equal(text, again, sizeof text);
    close(fd);
}

static void test_damage_inside_is_told_when_loading(void **state)
{
    (void)state;
    open_store();
    for (unsigned i = 0; i < 40; i++)
        put_one(i, "10.0.0.1", false);
    close_store();
    int fd = open(path, O_RDWR);
    char noise[64];
    memset(noise, 0xff, sizeof noise);
    off_t end = lseek(fd, 0, SEEK_END);
    for (off_t page = 4096; page < end; page += 4096)
        assert_int_equal(pwrite(fd, noise, sizeof noise, page), sizeof noise);
    close(fd);
    loop = loop_new();
    struct error error = {0};
    struct engine *engine = engine_sqlite_new(loop, path, &error);
    if (engine != NULL) {
        store = store_new(loop, engine, on_ready, &error);
        loop_run(loop);
        store_free(store);
    }
    loop_free(loop);
    assert_non_null(strstr(error.message, "damaged"));
}

static void test_another_program_s_file_is_refused(void **state)
{
    (void)state;
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "CREATE TABLE t (x)", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    expect_refusal("another program");
}

/* ---- a second process, and kill -9 ---- */

struct writer {
    int pipe;
    struct put put;
};

static bool writer_fn(struct txn *txn, void *arg, struct error *error)
{
    return put_fn(txn, &((struct writer *)arg)->put, error);
}

static void writer_start(struct writer *writer);

static void writer_done(void *arg, const struct error *error, uint64_t index)
{
    (void)index;
    struct writer *writer = arg;
    if (error != NULL || write(writer->pipe, &writer->put.number, sizeof(unsigned)) < 0)
        _exit(1);
    writer_start(writer);
}

static void writer_start(struct writer *writer)
{
    writer->put.number++;
    store_commit(store, writer_fn, writer_done, writer);
}

static pid_t start_writer(int *ret_pipe)
{
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(pipes[0]);
        open_store();
        struct writer writer = {.pipe = pipes[1], .put = {.address = "10.0.0.1"}};
        writer_start(&writer);
        loop_run(loop);
        _exit(1);
    }
    close(pipes[1]);
    *ret_pipe = pipes[0];
    return pid;
}

static void test_kill_loses_no_acknowledged_write(void **state)
{
    (void)state;
    int fd;
    pid_t pid = start_writer(&fd);
    unsigned acknowledged = 0, next;
    while (acknowledged < 50 && read(fd, &next, sizeof next) == sizeof next)
        acknowledged = next;
    assert_int_equal(acknowledged, 50);
    expect_refusal("another process has it open");
    kill(pid, SIGKILL);
    while (read(fd, &next, sizeof next) == sizeof next)
        acknowledged = next;
    close(fd);
    waitpid(pid, NULL, 0);
    open_store();
    struct view *view = view_new(store);
    for (unsigned i = 1; i <= acknowledged; i++) {
        char name[32];
        snprintf(name, sizeof name, "n%u", i);
        assert_non_null(
            view_get(view, TABLE_SERVICE, key_service(&key, &TENANCY_DEFAULT, name, name)));
    }
    view_free(view);
    assert_true(store_index(store) >= 1 + acknowledged);
    close_store();
}

#define ENGINE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENGINE_TEST(test_reload_is_equal),
        ENGINE_TEST(test_only_the_owner_reads_it),
        ENGINE_TEST(test_free_waits_for_a_commit_in_flight),
        ENGINE_TEST(test_a_damaged_file_is_left_alone),
        ENGINE_TEST(test_damage_inside_is_told_when_loading),
        ENGINE_TEST(test_another_program_s_file_is_refused),
        ENGINE_TEST(test_kill_loses_no_acknowledged_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
