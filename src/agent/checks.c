#include "agent/checks.h"

#include <stdlib.h>
#include <string.h>

#include "agent/runner.h"
#include "base/duration.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "catalog/catalog.h"
#include "proto/proto.h"

#define RETRY_MS 1000

struct checks {
    struct checks_config config;
    char *node;
    struct runner *runners; /* uthash */
    struct watch *watch;    /* on the node's checks */
    struct http_client *http;
};

struct store *runner_store(const struct runner *runner)
{
    return runner->checks->config.store;
}

struct loop *runner_loop(const struct runner *runner)
{
    return store_loop(runner->checks->config.store);
}

struct http_client *runner_http(struct runner *runner)
{
    struct checks *checks = runner->checks;
    if (checks->http == NULL)
        checks->http = http_client_new(runner_loop(runner));
    return checks->http;
}

size_t runner_output_max(const struct runner *runner)
{
    int32_t own = runner->definition->output_max_size;
    return own > 0 ? (size_t)own : runner->checks->config.output_max;
}

const char *runner_node(const struct runner *runner)
{
    return runner->checks->node;
}

/* ---- outcomes ---- */

/* Passing and failing count only after as many outcomes in a row as the definition asks for. */
static bool past_threshold(struct runner *runner, const char *status)
{
    const Pb__CheckDefinition *definition = runner->definition;
    if (strcmp(status, "critical") != 0) {
        runner->failures = 0;
        runner->successes++;
        return (int32_t)runner->successes > definition->success_before_passing;
    }
    runner->successes = 0;
    runner->failures++;
    return (int32_t)runner->failures > definition->failures_before_critical;
}

void runner_report(struct runner *runner, const char *status, const char *output)
{
    bool failing = strcmp(status, "critical") == 0;
    const Pb__CheckDefinition *definition = runner->definition;
    if (past_threshold(runner, status))
        local_update_check(runner->checks->config.local, &runner->tenancy, runner->check_id, status,
                           output, false, NULL, NULL);
    else if (failing && definition->failures_before_warning > 0 &&
             (int32_t)runner->failures > definition->failures_before_warning)
        local_update_check(runner->checks->config.local, &runner->tenancy, runner->check_id,
                           "warning", output, false, NULL, NULL);
    if (definition->interval > 0) {
        uint64_t interval = (uint64_t)(definition->interval / DURATION_MS);
        timer_start(runner->next, failing && interval > RETRY_MS ? RETRY_MS : interval, 0);
    }
}

static void deregister_service(void *arg)
{
    struct runner *runner = arg;
    log_info("agent",
             "deregistering a service whose check was critical for too long: service=%s "
             "check=%s",
             runner->service_id, runner->check_id);
    local_deregister_service(runner->checks->config.local, &runner->tenancy, runner->service_id,
                             NULL, NULL);
}

static void follow_status(struct runner *runner, const char *status)
{
    bool critical = strcmp(status, "critical") == 0;
    int64_t after = runner->definition->deregister_critical_service_after;
    if (critical && !runner->critical && after > 0 && !text_empty(runner->service_id))
        timer_start(runner->deregister, (uint64_t)(after / DURATION_MS), 0);
    if (!critical)
        timer_stop(runner->deregister);
    if (runner->followed && critical != runner->critical)
        log_info("agent", "check is now %s: check=%s", status, runner->check_id);
    runner->critical = critical;
    runner->followed = true;
}

/* ---- life of runners ---- */

static const struct runner_class *find_class(const char *type)
{
    static const struct runner_class *const classes[] = {&runner_ttl, &runner_tcp,
                                                         &runner_http_class, &runner_alias};
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++) {
        if (strcmp(classes[i]->type, type) == 0)
            return classes[i];
    }
    return NULL;
}

static void run(void *arg)
{
    struct runner *runner = arg;
    runner->class->start(runner);
}

static void runner_free(struct runner *runner)
{
    HASH_DEL(runner->checks->runners, runner);
    runner->class->stop(runner);
    timer_free(runner->next);
    timer_free(runner->deregister);
    buffer_free(&runner->key);
    arena_free(runner->arena);
}

static struct runner *runner_new(struct checks *checks, const struct record *record,
                                 const struct runner_class *class)
{
    const Pb__HealthCheck *check = record->message;
    struct arena *arena = arena_new();
    struct runner *runner = arena_alloc(arena, sizeof *runner);
    runner->arena = arena;
    runner->checks = checks;
    runner->class = class;
    runner->definition = proto_copy(check->agent_definition, arena);
    runner->check_id = arena_strdup(arena, check->check_id);
    runner->service_id = arena_strdup(arena, check->service_id);
    struct tenancy tenancy = catalog_check_tenancy(check);
    runner->tenancy.partition = arena_strdup(arena, tenancy.partition);
    runner->tenancy.namespace = arena_strdup(arena, tenancy.namespace);
    buffer_add(&runner->key, record->key, record->key_length);
    struct loop *loop = store_loop(checks->config.store);
    runner->next = timer_new(loop, run, runner);
    runner->deregister = timer_new(loop, deregister_service, runner);
    HASH_ADD_KEYPTR(hh, checks->runners, runner->key.data, runner->key.length, runner);
    timer_start(runner->next, 0, 0);
    return runner;
}

static void follow_record(struct checks *checks, const struct record *record)
{
    const Pb__HealthCheck *check = record->message;
    const struct runner_class *class = find_class(check->type);
    if (check->agent_definition == NULL || class == NULL)
        return;
    struct runner *runner;
    HASH_FIND(hh, checks->runners, record->key, record->key_length, runner);
    if (runner != NULL &&
        (runner->class != class || !proto_equal(runner->definition, check->agent_definition))) {
        runner_free(runner);
        runner = NULL;
    }
    if (runner == NULL)
        runner = runner_new(checks, record, class);
    runner->seen = true;
    follow_status(runner, check->status);
}

static void follow_catalog(void *arg)
{
    struct checks *checks = arg;
    watch_free(checks->watch);
    struct view *view = view_new(checks->config.store);
    struct buffer value = {0};
    struct tenancy tenancy = TENANCY_DEFAULT;
    size_t count;
    const struct record *const *records = view_list(
        view, TABLE_CHECK, CHECK_BY_NODE, key_node(&value, &tenancy, checks->node), &count);
    buffer_free(&value);
    for (size_t i = 0; i < count; i++)
        follow_record(checks, records[i]);
    struct runner *runner, *next;
    HASH_ITER (hh, checks->runners, runner, next) {
        if (!runner->seen)
            runner_free(runner);
        else
            runner->seen = false;
    }
    checks->watch = watch_new(view, follow_catalog, checks);
}

struct checks *checks_new(const struct checks_config *config)
{
    struct checks *checks = mem_zalloc(sizeof *checks);
    checks->config = *config;
    checks->node = mem_strdup(config->node);
    follow_catalog(checks);
    return checks;
}

void checks_free(struct checks *checks)
{
    if (checks == NULL)
        return;
    struct runner *runner, *next;
    HASH_ITER (hh, checks->runners, runner, next)
        runner_free(runner);
    watch_free(checks->watch);
    http_client_free(checks->http);
    free(checks->node);
    free(checks);
}

static struct runner *find_runner(struct checks *checks, const struct tenancy *tenancy,
                                  const char *check_id)
{
    struct buffer key = {0};
    struct runner *runner;
    key_check(&key, tenancy, checks->node, check_id);
    HASH_FIND(hh, checks->runners, key.data, key.length, runner);
    buffer_free(&key);
    return runner;
}

void checks_touch(struct checks *checks, const struct tenancy *tenancy, const char *check_id)
{
    struct runner *runner = find_runner(checks, tenancy, check_id);
    if (runner != NULL && runner->class == &runner_ttl)
        runner->class->start(runner);
}

void checks_run_now(struct checks *checks, const struct tenancy *tenancy, const char *check_id)
{
    struct runner *runner = find_runner(checks, tenancy, check_id);
    if (runner != NULL && runner->class != &runner_ttl) {
        runner->class->stop(runner);
        timer_start(runner->next, 0, 0);
    }
}
