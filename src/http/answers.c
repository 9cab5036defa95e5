/* Bodies that were made since the store last changed. One change wakes a thousand blocking queries
 * for the same service: the first makes the body, the others copy it. */
#include <stdlib.h>
#include <string.h>

#include "http/request.h"

#define SLOTS 64
#define ANSWER_BYTES_MAX (128 * 1024)

struct answers {
    uint64_t store_index;
    struct slot {
        struct buffer key;
        struct answer answer;
    } slots[SLOTS];
};

struct answers *answers_new(void)
{
    return mem_zalloc(sizeof(struct answers));
}

static void clear(struct answers *answers)
{
    for (size_t i = 0; i < SLOTS; i++) {
        buffer_free(&answers->slots[i].key);
        buffer_free(&answers->slots[i].answer.body);
    }
}

void answers_free(struct answers *answers)
{
    clear(answers);
    free(answers);
}

/* Parameters that change how a request is answered, but not the body. Those that say who asks are
 * not among them. */
static bool is_about_delivery(const char *name)
{
    static const char *const names[] = {"index", "wait",   "stale", "consistent",
                                        "hash",  "cached", "pretty"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) == 0)
            return true;
    }
    return false;
}

void answers_key(const struct api_request *request, struct buffer *key)
{
    struct http_request *http = request->http;
    buffer_reset(key);
    buffer_add(key, &request->route, sizeof request->route);
    buffer_add(key, request->argument, strlen(request->argument) + 1);
    const char *namespace = request->tenancy.namespace;
    if (namespace != NULL) /* may also have come by a header */
        buffer_add(key, namespace, strlen(namespace) + 1);
    for (size_t i = 0; i < http_query_count(http); i++) {
        const char *name = http_query_name(http, i);
        if (is_about_delivery(name))
            continue;
        size_t before = 0;
        for (size_t j = 0; j < i; j++)
            before += strcmp(http_query_name(http, j), name) == 0;
        const char *value = http_query(http, name, before);
        buffer_add_byte(key, '&');
        buffer_add(key, name, strlen(name) + 1);
        buffer_add(key, value, strlen(value) + 1);
    }
}

static struct slot *slot_of(struct answers *answers, const struct buffer *key)
{
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < key->length; i++)
        hash = (hash ^ (unsigned char)key->data[i]) * 1099511628211u;
    return &answers->slots[(hash ^ hash >> 32) % SLOTS];
}

const struct answer *answers_get(struct answers *answers, const struct buffer *key,
                                 uint64_t store_index)
{
    if (answers->store_index != store_index) {
        clear(answers);
        answers->store_index = store_index;
    }
    const struct slot *slot = slot_of(answers, key);
    bool same = slot->key.length == key->length && key->length > 0 &&
                memcmp(slot->key.data, key->data, key->length) == 0;
    return same ? &slot->answer : NULL;
}

void answers_put(struct answers *answers, const struct buffer *key, uint64_t store_index,
                 uint64_t index, const struct reply *reply)
{
    if (reply->status != 200 || reply->body->length > ANSWER_BYTES_MAX ||
        answers->store_index != store_index)
        return;
    struct slot *slot = slot_of(answers, key);
    buffer_reset(&slot->key);
    buffer_add(&slot->key, key->data, key->length);
    slot->answer.index = index;
    slot->answer.status = reply->status;
    slot->answer.content_type = reply->content_type;
    buffer_reset(&slot->answer.body);
    buffer_add(&slot->answer.body, reply->body->data, reply->body->length);
}
