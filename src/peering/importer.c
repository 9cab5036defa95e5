#include "peering/importer.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "base/list.h"
#include "catalog/catalog.h"
#include "peering/import_write.h"

#define RUNNING_MAX 32 /* transactions in flight */

/* A LIST under way: answered when the removals that follow from it are done. */
struct listing {
    struct session_response *response;
    uint64_t sequence;
    size_t removals;
    struct error error;
};

/* One change of one resource. */
struct task {
    struct list link;    /* in its queue */
    struct queue *queue; /* NULL: the importer is gone, the task ends with its transaction */
    struct session_response **responses; /* all that this change answers; the last one is written */
    size_t response_count;
    struct listing *listing; /* instead: a removal that follows from a LIST */
    struct service_import *service;
};

/* The changes of one resource, in order. The first one is running, or the queue is in `ready`. */
struct queue {
    UT_hash_handle hh;
    struct importer *importer;
    struct list tasks, ready;
    bool running;
    enum resource resource;
    size_t name_length;
    char name[]; /* a service's, lower-case; hashed behind the resource's digit in name[0] */
};

struct importer {
    struct store *store;
    importer_done_fn *done;
    void *arg;
    char *peering_id, *peer_name, *partition, *own_trust_domain;
    struct queue *queues;
    struct list ready; /* queues that wait for their turn */
    size_t running, pending;
    uint64_t sequence, listed; /* of LISTs: last received, last written */
    struct text_list services;
    bool has_services;
};

static struct import_scope scope_of(const struct importer *importer)
{
    return (struct import_scope){importer->peering_id, importer->peer_name, importer->partition,
                                 importer->own_trust_domain};
}

struct importer *importer_new(struct store *store, const Pb__Peering *peering,
                              const char *own_trust_domain, importer_done_fn *done, void *arg)
{
    struct importer *importer = mem_zalloc(sizeof *importer);
    importer->store = store;
    importer->done = done;
    importer->arg = arg;
    importer->peering_id = mem_strdup(peering->id);
    importer->peer_name = mem_strdup(peering->name);
    importer->partition = mem_strdup(peering->partition);
    importer->own_trust_domain = mem_strdup(own_trust_domain);
    list_init(&importer->ready);
    return importer;
}

size_t importer_pending(const struct importer *importer)
{
    return importer->pending;
}

const struct text_list *importer_services(const struct importer *importer)
{
    return importer->has_services ? &importer->services : NULL;
}

/* ---- answers ---- */

static void answer(struct importer *importer, struct session_response *response,
                   const struct error *error)
{
    importer->pending -= response->bytes;
    importer->done(importer->arg, response, error);
}

static void finish_listing(struct importer *importer, struct listing *listing)
{
    const Ps__ExportedServiceList *list = listing->response->payload;
    if (listing->error.code == ERR_NONE && listing->sequence > importer->listed) {
        importer->listed = listing->sequence;
        importer->has_services = true;
        text_list_free(&importer->services);
        for (size_t i = 0; i < list->n_services; i++)
            text_list_add(&importer->services, list->services[i]);
    }
    answer(importer, listing->response, listing->error.code == ERR_NONE ? NULL : &listing->error);
    free(listing);
}

/* ---- running ---- */

static void run_ready(struct importer *importer);

static void free_task(struct task *task)
{
    if (task->service != NULL)
        service_import_free(task->service);
    free(task->responses);
    free(task);
}

static void drop_task(struct task *task) /* of an importer that is gone */
{
    for (size_t i = 0; i < task->response_count; i++)
        session_response_free(task->responses[i]);
    if (task->listing != NULL && --task->listing->removals == 0) {
        session_response_free(task->listing->response);
        free(task->listing);
    }
    free_task(task);
}

static void finish_task(struct task *task, const struct error *error)
{
    struct queue *queue = task->queue;
    struct importer *importer = queue->importer;
    list_remove(&task->link);
    queue->running = false;
    importer->running--;
    if (list_empty(&queue->tasks)) {
        HASH_DEL(importer->queues, queue);
        free(queue);
    } else {
        list_append(&importer->ready, &queue->ready);
    }
    for (size_t i = 0; i < task->response_count; i++)
        answer(importer, task->responses[i], error);
    struct listing *listing = task->listing;
    if (listing != NULL) {
        if (error != NULL)
            listing->error = *error;
        if (--listing->removals == 0)
            finish_listing(importer, listing);
    }
    free_task(task);
    run_ready(importer);
}

static bool task_step(struct txn *txn, void *arg, struct error *error)
{
    struct task *task = arg;
    if (task->queue == NULL)
        return error_set(error, ERR_CLOSED, "the stream is gone");
    struct import_scope scope = scope_of(task->queue->importer);
    if (task->service != NULL)
        return service_import_step(task->service, txn, error);
    const struct session_response *response = task->responses[task->response_count - 1];
    if (response->resource == RESOURCE_ROOTS)
        return import_roots(txn, &scope, response->payload, error);
    return import_addresses(txn, &scope, response->payload, error);
}

static void task_done(void *arg, const struct error *error, uint64_t index)
{
    (void)index;
    struct task *task = arg;
    if (task->queue == NULL)
        drop_task(task);
    else if (error == NULL && task->service != NULL && service_import_advance(task->service))
        store_commit(task->queue->importer->store, task_step, task_done, task);
    else
        finish_task(task, error);
}

static void start_task(struct queue *queue)
{
    struct importer *importer = queue->importer;
    struct task *task = list_entry(queue->tasks.next, struct task, link);
    queue->running = true;
    importer->running++;
    if (queue->resource == RESOURCE_SERVICE) {
        struct import_scope scope = scope_of(importer);
        task->service = service_import_new(
            &scope, queue->name + 1,
            task->response_count == 0 ? NULL : task->responses[task->response_count - 1]->payload);
    }
    store_commit(importer->store, task_step, task_done, task);
}

static void run_ready(struct importer *importer)
{
    while (importer->running < RUNNING_MAX && !list_empty(&importer->ready)) {
        struct queue *queue = list_entry(importer->ready.next, struct queue, ready);
        list_remove(&queue->ready);
        start_task(queue);
    }
}

/* ---- taking in ---- */

static struct queue *find_queue(struct importer *importer, enum resource resource, const char *name,
                                bool make)
{
    struct buffer key = {0};
    buffer_add_byte(&key, (char)('0' + resource));
    buffer_add_text(&key, resource == RESOURCE_SERVICE ? name : "");
    text_lower(key.data);
    struct queue *queue;
    HASH_FIND(hh, importer->queues, key.data, key.length, queue);
    if (queue == NULL && make) {
        queue = mem_zalloc(sizeof *queue + key.length + 1);
        queue->importer = importer;
        queue->resource = resource;
        queue->name_length = key.length;
        memcpy(queue->name, key.data, key.length);
        list_init(&queue->tasks);
        list_init(&queue->ready);
        HASH_ADD_KEYPTR(hh, importer->queues, queue->name, queue->name_length, queue);
    }
    buffer_free(&key);
    return queue;
}

static void push_task(struct queue *queue, struct task *task)
{
    task->queue = queue;
    bool idle = list_empty(&queue->tasks);
    list_append(&queue->tasks, &task->link);
    if (idle)
        list_append(&queue->importer->ready, &queue->ready);
}

/* The last task of a queue, if it has not begun and writes what the peer sent. */
static struct task *replaceable_task(struct queue *queue)
{
    if (list_empty(&queue->tasks))
        return NULL;
    struct task *last = list_entry(queue->tasks.prev, struct task, link);
    bool begun = queue->running && queue->tasks.next == &last->link;
    return begun || last->listing != NULL ? NULL : last;
}

static void push_response(struct importer *importer, struct session_response *response)
{
    struct queue *queue = find_queue(importer, response->resource, response->id, true);
    struct task *task = replaceable_task(queue);
    if (task == NULL) {
        task = mem_zalloc(sizeof *task);
        push_task(queue, task);
    }
    task->responses =
        mem_realloc(task->responses, (task->response_count + 1) * sizeof *task->responses);
    task->responses[task->response_count++] = response;
}

static void push_removal(struct importer *importer, const char *name, struct listing *listing)
{
    struct task *task = mem_zalloc(sizeof *task);
    task->listing = listing;
    listing->removals++;
    push_task(find_queue(importer, RESOURCE_SERVICE, name, true), task);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_in(const struct text_list *sorted, const char *name)
{
    return sorted->count > 0 && bsearch(&name, sorted->items, sorted->count, sizeof *sorted->items,
                                        compare_names) != NULL;
}

/* Names that stay: each service that is listed, and its proxy. */
static struct text_list kept_names(const Ps__ExportedServiceList *list)
{
    struct text_list kept = {0};
    for (size_t i = 0; i < list->n_services; i++) {
        char *proxy = mem_printf("%s" PROXY_SUFFIX, list->services[i]);
        text_list_add(&kept, list->services[i]);
        text_list_add(&kept, proxy);
        free(proxy);
    }
    for (size_t i = 0; i < kept.count; i++)
        text_lower(kept.items[i]);
    text_list_sort(&kept);
    return kept;
}

/* Every service that the store has of the peer, or will have once what is queued is written. */
static struct text_list imported_names(struct importer *importer)
{
    struct import_scope scope = scope_of(importer);
    struct tenancy tenancy = import_tenancy(&scope);
    struct text_list names = {0};
    struct view *view = view_new(importer->store);
    struct buffer value = {0};
    size_t count;
    const struct view_value *values =
        view_values(view, TABLE_SERVICE, SERVICE_BY_NAME, key_all(&value, &tenancy), &count);
    for (size_t i = 0; i < count; i++)
        text_list_add(&names, key_name(values[i].bytes, values[i].length, 0));
    buffer_free(&value);
    view_free(view);
    struct queue *queue, *next;
    HASH_ITER (hh, importer->queues, queue, next) {
        if (queue->resource == RESOURCE_SERVICE)
            text_list_add(&names, queue->name + 1);
    }
    text_list_sort(&names);
    return names;
}

static void take_list(struct importer *importer, struct session_response *response)
{
    struct listing *listing = mem_zalloc(sizeof *listing);
    listing->response = response;
    listing->sequence = ++importer->sequence;
    listing->removals = 1; /* our own hold, until all are pushed */
    struct text_list kept = kept_names(response->payload);
    struct text_list names = imported_names(importer);
    for (size_t i = 0; i < names.count; i++) {
        if (!is_in(&kept, names.items[i]))
            push_removal(importer, names.items[i], listing);
    }
    text_list_free(&kept);
    text_list_free(&names);
    if (--listing->removals == 0)
        finish_listing(importer, listing);
}

void importer_submit(struct importer *importer, struct session_response *response)
{
    importer->pending += response->bytes;
    if (response->resource == RESOURCE_LIST)
        take_list(importer, response);
    else
        push_response(importer, response);
    run_ready(importer);
}

void importer_free(struct importer *importer)
{
    if (importer == NULL)
        return;
    struct queue *queue, *next;
    HASH_ITER (hh, importer->queues, queue, next) {
        list_for_each (node, &queue->tasks) {
            struct task *task = list_entry(node, struct task, link);
            bool in_flight = queue->running && queue->tasks.next == node;
            list_remove(node);
            task->queue = NULL;
            if (in_flight)
                queue->running = false; /* its transaction drops it */
            else
                drop_task(task);
        }
        HASH_DEL(importer->queues, queue);
        free(queue);
    }
    text_list_free(&importer->services);
    free(importer->peering_id);
    free(importer->peer_name);
    free(importer->partition);
    free(importer->own_trust_domain);
    free(importer);
}
