/* One SQLite file. A commit is one SQLite transaction on a worker thread; WAL with full sync, so
 * what was acknowledged survives the loss of power. The connection is used by one thread at a time:
 * the loop's while opening and loading, then the worker of the one commit in flight. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "store/engine.h"

#define APPLICATION_ID 0x506f6e73 /* "Pons", for file(1) and for us */
#define FORMAT_VERSION 1

enum job_state { JOB_RUNNING, JOB_FINISHED, JOB_DELIVERED };

/* A commit on its way; it outlives the engine if that is freed first. */
struct job {
    struct engine_sqlite *engine; /* used by the worker until JOB_FINISHED */
    const struct engine_row *rows;
    size_t count;
    uint64_t index;
    engine_done_fn *done;
    void *arg;
    bool failed;
    struct error error;
    pthread_mutex_t lock; /* guards the state */
    pthread_cond_t finished;
    enum job_state state;
};

struct load {
    struct engine_sqlite *engine; /* NULL: freed */
    engine_row_fn *row;
    engine_done_fn *done;
    void *arg;
    uint64_t *ret_index;
};

struct engine_sqlite {
    struct engine engine;
    struct loop *loop;
    char *path;
    sqlite3 *db;
    sqlite3_stmt *put, *delete, *set_index;
    struct load *load;
    struct job *job;
};

/* ---- words ---- */

static bool explain(const struct engine_sqlite *sqlite, const char *what, struct error *error)
{
    const char *path = sqlite->path;
    switch (sqlite->db == NULL ? SQLITE_CANTOPEN : sqlite3_errcode(sqlite->db)) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return error_set(
            error, ERR_UNAVAILABLE,
            "cannot %s state file %s: another process has it open; stop the agent that "
            "uses this data directory, or give this one a directory of its own",
            what, path);
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
        return error_set(
            error, ERR_INVALID,
            "cannot %s state file %s: it is damaged (%s); it was left as it is: move it "
            "away and put a backup in its place, or start without it to begin anew",
            what, path, sqlite3_errmsg(sqlite->db));
    case SQLITE_FULL:
        return error_set(
            error, ERR_IO,
            "cannot %s state file %s: the disk is full; nothing was changed: free some "
            "space and try again",
            what, path);
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_CANTOPEN:
        return error_set(
            error, ERR_IO,
            "cannot %s state file %s: %s; check that the file and its directory belong "
            "to the user that the agent runs as",
            what, path, sqlite->db == NULL ? "out of memory" : sqlite3_errmsg(sqlite->db));
    default:
        return error_set(error, ERR_IO, "cannot %s state file %s: %s", what, path,
                         sqlite3_errmsg(sqlite->db));
    }
}

/* ---- commit, on the worker ---- */

static bool run_row(struct engine_sqlite *sqlite, const struct engine_row *row)
{
    sqlite3_stmt *statement = row->value == NULL ? sqlite->delete : sqlite->put;
    sqlite3_bind_text(statement, 1, row->table, -1, SQLITE_STATIC);
    sqlite3_bind_blob64(statement, 2, row->key, row->key_length, SQLITE_STATIC);
    if (row->value != NULL) {
        sqlite3_bind_blob64(statement, 3, row->value, row->value_length, SQLITE_STATIC);
        sqlite3_bind_int64(statement, 4, (sqlite3_int64)row->create_index);
        sqlite3_bind_int64(statement, 5, (sqlite3_int64)row->modify_index);
    }
    bool good = sqlite3_step(statement) == SQLITE_DONE;
    sqlite3_reset(statement);
    return good;
}

static bool run_commit(struct engine_sqlite *sqlite, const struct job *job)
{
    if (sqlite3_exec(sqlite->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
        return false;
    for (size_t i = 0; i < job->count; i++) {
        if (!run_row(sqlite, &job->rows[i]))
            return false;
    }
    sqlite3_bind_int64(sqlite->set_index, 1, (sqlite3_int64)job->index);
    bool good = sqlite3_step(sqlite->set_index) == SQLITE_DONE;
    sqlite3_reset(sqlite->set_index);
    return good && sqlite3_exec(sqlite->db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK;
}

static void job_work(void *arg)
{
    struct job *job = arg;
    struct engine_sqlite *sqlite = job->engine;
    if (!run_commit(sqlite, job)) {
        job->failed = true;
        explain(sqlite, "write", &job->error);
        if (!sqlite3_get_autocommit(sqlite->db))
            sqlite3_exec(sqlite->db, "ROLLBACK", NULL, NULL, NULL);
    }
    pthread_mutex_lock(&job->lock);
    job->state = JOB_FINISHED;
    pthread_cond_signal(&job->finished);
    pthread_mutex_unlock(&job->lock);
}

/* On the loop. */
static void job_deliver(struct job *job)
{
    job->state = JOB_DELIVERED;
    job->engine->job = NULL;
    job->done(job->arg, job->failed ? &job->error : NULL);
}

static void job_done(void *arg)
{
    struct job *job = arg;
    if (job->state != JOB_DELIVERED)
        job_deliver(job);
    pthread_cond_destroy(&job->finished);
    pthread_mutex_destroy(&job->lock);
    free(job);
}

static void sqlite_commit(struct engine *engine, const struct engine_row *rows, size_t count,
                          uint64_t index, engine_done_fn *done, void *arg)
{
    struct engine_sqlite *sqlite = (struct engine_sqlite *)engine;
    struct job *job = mem_zalloc(sizeof *job);
    job->engine = sqlite;
    job->rows = rows;
    job->count = count;
    job->index = index;
    job->done = done;
    job->arg = arg;
    pthread_mutex_init(&job->lock, NULL);
    pthread_cond_init(&job->finished, NULL);
    sqlite->job = job;
    loop_work(sqlite->loop, job_work, job_done, job);
}

/* ---- load ---- */

static bool load_index(struct engine_sqlite *sqlite, uint64_t *ret_index)
{
    sqlite3_stmt *query;
    if (sqlite3_prepare_v2(sqlite->db, "SELECT value FROM meta WHERE name = 'index'", -1, &query,
                           NULL) != SQLITE_OK)
        return false;
    int status = sqlite3_step(query);
    if (status == SQLITE_ROW)
        *ret_index = (uint64_t)sqlite3_column_int64(query, 0);
    sqlite3_finalize(query);
    return status == SQLITE_ROW || status == SQLITE_DONE;
}

static bool load_rows(struct engine_sqlite *sqlite, const struct load *load)
{
    sqlite3_stmt *query;
    if (sqlite3_prepare_v2(sqlite->db,
                           "SELECT tbl, key, value, create_index, modify_index FROM state "
                           "ORDER BY tbl, key",
                           -1, &query, NULL) != SQLITE_OK)
        return false;
    int status;
    while ((status = sqlite3_step(query)) == SQLITE_ROW) {
        const uint8_t *value = sqlite3_column_blob(query, 2);
        struct engine_row row = {
            .table = (const char *)sqlite3_column_text(query, 0),
            .key = sqlite3_column_blob(query, 1),
            .key_length = (size_t)sqlite3_column_bytes(query, 1),
            .value = value == NULL ? (const uint8_t *)"" : value, /* an empty blob is NULL here */
            .value_length = (size_t)sqlite3_column_bytes(query, 2),
            .create_index = (uint64_t)sqlite3_column_int64(query, 3),
            .modify_index = (uint64_t)sqlite3_column_int64(query, 4),
        };
        load->row(load->arg, &row);
    }
    sqlite3_finalize(query);
    return status == SQLITE_DONE;
}

static void load_run(void *arg)
{
    struct load *load = arg;
    struct engine_sqlite *sqlite = load->engine;
    if (sqlite != NULL) {
        sqlite->load = NULL;
        struct error error = {0};
        uint64_t index = 1;
        bool good = load_index(sqlite, &index) && load_rows(sqlite, load);
        if (good)
            *load->ret_index = index;
        else
            explain(sqlite, "read", &error);
        load->done(load->arg, good ? NULL : &error);
    }
    free(load);
}

static void sqlite_load(struct engine *engine, engine_row_fn *row, engine_done_fn *done, void *arg,
                        uint64_t *ret_index)
{
    struct engine_sqlite *sqlite = (struct engine_sqlite *)engine;
    struct load *load = mem_zalloc(sizeof *load);
    *load = (struct load){sqlite, row, done, arg, ret_index};
    sqlite->load = load;
    loop_defer(sqlite->loop, load_run, load);
}

/* ---- open and close ---- */

static void sqlite_close(struct engine_sqlite *sqlite)
{
    sqlite3_finalize(sqlite->put);
    sqlite3_finalize(sqlite->delete);
    sqlite3_finalize(sqlite->set_index);
    sqlite3_close(sqlite->db);
    free(sqlite->path);
    free(sqlite);
}

static void sqlite_free(struct engine *engine)
{
    struct engine_sqlite *sqlite = (struct engine_sqlite *)engine;
    if (sqlite->load != NULL)
        sqlite->load->engine = NULL;
    struct job *job = sqlite->job;
    if (job != NULL) {
        pthread_mutex_lock(&job->lock);
        while (job->state == JOB_RUNNING)
            pthread_cond_wait(&job->finished, &job->lock);
        pthread_mutex_unlock(&job->lock);
        job_deliver(job); /* the loop still has it, and frees it */
    }
    sqlite_close(sqlite);
}

static const struct engine_class sqlite_class = {
    .name = "sqlite",
    .load = sqlite_load,
    .commit = sqlite_commit,
    .free = sqlite_free,
};

/* The state holds private keys: only the owner may read it. SQLite gives its -wal file the mode of
 * the main file. */
static bool make_private(const char *path, struct error *error)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set(
            error, ERR_IO,
            "cannot open state file %s: %s; check that its directory exists and belongs "
            "to the user that the agent runs as",
            path, strerror(errno));
    bool good = fchmod(fd, 0600) == 0;
    if (!good)
        error_set(error, ERR_IO, "cannot make state file %s private: %s", path, strerror(errno));
    close(fd);
    return good;
}

static bool read_number(struct engine_sqlite *sqlite, const char *sql, sqlite3_int64 *ret_number)
{
    sqlite3_stmt *query;
    if (sqlite3_prepare_v2(sqlite->db, sql, -1, &query, NULL) != SQLITE_OK)
        return false;
    bool good = sqlite3_step(query) == SQLITE_ROW;
    if (good)
        *ret_number = sqlite3_column_int64(query, 0);
    sqlite3_finalize(query);
    return good;
}

static bool run(struct engine_sqlite *sqlite, const char *sql)
{
    return sqlite3_exec(sqlite->db, sql, NULL, NULL, NULL) == SQLITE_OK;
}

/* Makes the tables of a new file, and refuses a file of something else before it is written to. */
static bool settle_format(struct engine_sqlite *sqlite, struct error *error)
{
    sqlite3_int64 application, version, objects;
    if (!run(sqlite, "PRAGMA locking_mode = EXCLUSIVE") ||
        !read_number(sqlite, "PRAGMA application_id", &application) ||
        !read_number(sqlite, "PRAGMA user_version", &version) ||
        !read_number(sqlite, "SELECT count(*) FROM sqlite_schema", &objects))
        return explain(sqlite, "open", error);
    if (objects > 0 && application != APPLICATION_ID)
        return error_set(
            error, ERR_INVALID,
            "%s is a database of another program, not a state file; it was left as it is: "
            "give another data directory",
            sqlite->path);
    if (objects > 0 && version != FORMAT_VERSION)
        return error_set(error, ERR_UNSUPPORTED,
                         "state file %s has format %lld and this version reads format %d; run the "
                         "version that wrote it",
                         sqlite->path, (long long)version, FORMAT_VERSION);
    if (!run(sqlite, "PRAGMA journal_mode = WAL") || !run(sqlite, "PRAGMA synchronous = FULL") ||
        !run(sqlite, "BEGIN EXCLUSIVE"))
        return explain(sqlite, "open", error);
    if (objects == 0 &&
        !run(sqlite,
             "CREATE TABLE state (tbl TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,"
             " create_index INTEGER NOT NULL, modify_index INTEGER NOT NULL,"
             " PRIMARY KEY (tbl, key)) WITHOUT ROWID;"
             "CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;"
             "PRAGMA application_id = 0x506f6e73; PRAGMA user_version = 1"))
        return explain(sqlite, "set up", error);
    return run(sqlite, "COMMIT") || explain(sqlite, "set up", error);
}

static bool sqlite_open(struct engine_sqlite *sqlite, struct error *error)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
    if (!make_private(sqlite->path, error))
        return false;
    if (sqlite3_open_v2(sqlite->path, &sqlite->db, flags, NULL) != SQLITE_OK)
        return explain(sqlite, "open", error);
    if (!settle_format(sqlite, error))
        return false;
    const char *put = "INSERT OR REPLACE INTO state VALUES (?, ?, ?, ?, ?)";
    const char *delete = "DELETE FROM state WHERE tbl = ? AND key = ?";
    const char *set_index = "INSERT OR REPLACE INTO meta VALUES ('index', ?)";
    if (sqlite3_prepare_v2(sqlite->db, put, -1, &sqlite->put, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(sqlite->db, delete, -1, &sqlite->delete, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(sqlite->db, set_index, -1, &sqlite->set_index, NULL) != SQLITE_OK)
        return explain(sqlite, "open", error);
    return true;
}

struct engine *engine_sqlite_new(struct loop *loop, const char *path, struct error *error)
{
    struct engine_sqlite *sqlite = mem_zalloc(sizeof *sqlite);
    sqlite->engine.class = &sqlite_class;
    sqlite->loop = loop;
    sqlite->path = mem_strdup(path);
    if (!sqlite_open(sqlite, error)) {
        sqlite_close(sqlite);
        return NULL;
    }
    return &sqlite->engine;
}
