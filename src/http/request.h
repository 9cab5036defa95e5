/* What the frame (api.c, options.c, wait.c) and the handlers of routes share.
 *
 * A read is a function of a view: it appends the answer's body, and the frame does the rest.
 * If the client named an index that the answer has not passed, the frame waits for a change of
 * what the view has read and runs the function again, so a handler knows nothing of blocking.
 *
 * A write answers once, now or later, by api_answer, api_answer_error, or as the end of api_commit
 * or api_finish. Requests live in the HTTP request's arena and end with their answer. */
#pragma once

#include <jansson.h>

#include "http/api.h"
#include "text/filter.h"
#include "store/key.h"

#define BODY_BYTES_MAX (512 * 1024)

struct answers;
struct leaves;

struct api {
    struct api_config config; /* texts are own copies */
    unsigned references;      /* of the owner, and of writes that are not yet done */
    struct buffer body, key;  /* of the read at work; reads are never nested */
    struct answers *answers;
    struct leaves *leaves; /* NULL without an authority */
    struct monitors *monitors;
    uint64_t requests;     /* since the start, for /v1/agent/metrics */
};

enum route_flags {
    ROUTE_INDEXED = 1,       /* carries X-Consul-Index and its like, and blocks on ?index */
    ROUTE_CONSISTENCY = 2,   /* carries X-Consul-Effective-Consistency */
    ROUTE_STREAMING = 4,     /* says so when it blocks */
    ROUTE_PEER = 8,          /* reads what ?peer names; others ignore it, as in Consul */
    ROUTE_AGENT = 16,        /* about this agent: ?dc is ignored */
    ROUTE_CONNECT = 32,      /* refused where connect is disabled */
    ROUTE_PEERING = 64,      /* refused where peering is disabled */
    ROUTE_CACHED = 128,      /* always says where it came from: X-Cache, Age */
    ROUTE_SHARED = 256,      /* made of the store and the URL alone: one body for all who ask */
    ROUTE_INDEX_ALONE = 512, /* of the headers about the index, only itself */
    ROUTE_ANY_METHOD = 1024,
};

struct api_request;
struct reply;
typedef void api_read_fn(struct api_request *request, struct view *view, struct reply *reply);
typedef void api_write_fn(struct api_request *request);

struct route {
    const char *method, *path; /* a path that ends in "/" takes the rest as its argument */
    unsigned flags;
    api_read_fn *read; /* or `write` */
    api_write_fn *write;
    const char *missing;    /* 400 with these words if the argument is empty */
    const char *permission; /* what a token must allow, as documentation shows it; "" for none */
    const struct filter_root *filter; /* what ?filter selects from; NULL: it is ignored */
};

extern const struct route api_routes[];
extern const size_t api_route_count;

/* The row for method and path, or NULL. */
const struct route *route_find(const char *method, const char *path);
/* The methods of a path, as in an Allow header; nothing for an unknown path. */
void route_allow(const char *path, struct buffer *allow);

struct node_meta {
    const char *key, *value;
};

struct api_request {
    struct api *api;
    struct http_request *http;
    struct arena *arena;
    const struct route *route;
    const char *argument; /* the rest of the path, decoded; "" if there is none */
    struct tenancy tenancy;

    uint64_t index;   /* 0: do not block */
    uint64_t wait_ms; /* with jitter */
    const char *hash; /* "" unless ?hash is given */
    bool stale, consistent, cached, pretty;
    struct filter *filter;
    size_t node_meta_count;
    struct node_meta *node_meta;

    const char *success;    /* body of a write that went well; NULL: none */
    const char *warning;    /* of a write that went well and may not mean what its author thinks */
    bool false_on_conflict; /* a check-and-set that lost is answered `false` */
    void *state;            /* a write's own */
    struct waiter *waiter;
};

struct reply {
    int status;
    const char *content_type; /* NULL: JSON, or none for an empty body */
    struct buffer *body;
    uint64_t index;      /* 0: the view's */
    bool unindexed;      /* says nothing of an index, though the route does */
    const char *hash;    /* X-Consul-ContentHash; blocks on ?hash */
    const char *reason;  /* X-Consul-Reason */
    int64_t age_s;       /* Age, where there is one */
    struct list *wakers; /* besides the view: a list that wakes who is linked in it */
};

/* ---- for reads ---- */

__attribute__((format(printf, 3, 4))) void reply_error(struct reply *reply, int status,
                                                       const char *format, ...);
/* Puts a comma between elements: call before each. */
void reply_comma(struct buffer *body);
/* `{…}` of a stored record. */
void reply_record(struct buffer *body, const struct record *record);
/* True if the node has every ?node-meta pair. */
bool request_wants_node(const struct api_request *request, const Pb__Node *node);

/* ---- for writes ---- */

void api_answer(struct api_request *request, int status, const char *content_type, const char *body,
                size_t length);
/* Begins an answer that goes on by http_respond_chunk; api_answer ends the request once its client
 * has gone. */
void api_answer_start(struct api_request *request, const char *content_type);
__attribute__((format(printf, 3, 4))) void api_answer_error(struct api_request *request, int status,
                                                            const char *format, ...);
/* Answers by the error's code, or `success`. An api_done_fn; `request` is a struct api_request. */
void api_finish(void *request, const struct error *error);
/* Runs the transaction with the request as its argument, and api_finish. */
void api_commit(struct api_request *request, txn_fn *fn);
int api_status_of(const struct error *error);
/* The body as JSON; NULL after having answered 400 or 413. A new reference. */
json_t *api_read_body(struct api_request *request);
/* The same where the refusal begins with other words. */
json_t *api_read_body_as(struct api_request *request, const char *prefix);
/* Refuses a body with a key that is none of `known`, which is NULL-terminated. Case does not count.
 */
bool api_check_keys(json_t *body, const char *const *known, struct error *error);
/* The body as a message in the arena; NULL after having answered. Unknown keys are refused. */
void *api_read_message(struct api_request *request, const struct codec_message *type);
/* ?cas: NULL if it is absent. False after having answered 400. */
bool api_read_cas(struct api_request *request, const uint64_t **ret_cas);

/* ---- inside of the frame ---- */

bool request_parse_options(struct api_request *request, struct error *error);
void request_end(
    struct api_request *request); /* before its answer: frees what is not in the arena */
/* Runs a read until it is answered. */
void request_run(struct api_request *request);
/* Wakes all who wait in a list of wakers (reply.wakers). */
void request_wake_all(struct list *wakers);

/* Followers of the log (monitor.c); they are gone before it is freed. */
struct monitors *monitors_new(struct loop *loop);
void monitors_free(struct monitors *monitors);

/* Bodies of shared routes that were made at the store's present index. */
struct answer {
    uint64_t index;
    int status;
    const char *content_type;
    struct buffer body;
};
struct answers *answers_new(void);
void answers_free(struct answers *answers);
/* Fills `key` with what a shared answer depends on. */
void answers_key(const struct api_request *request, struct buffer *key);
const struct answer *answers_get(struct answers *answers, const struct buffer *key,
                                 uint64_t store_index);
void answers_put(struct answers *answers, const struct buffer *key, uint64_t store_index,
                 uint64_t index, const struct reply *reply);
