/* Blocking: a read that waits for its answer to change. Private to the frame. */
#pragma once

#include "base/list.h"
#include "http/request.h"

struct waiter {
    struct api_request *request;
    struct list link; /* in reply.wakers, if the read has one */
    struct watch *watch;
    struct timer *timer;
    bool expired;
};

/* api.c: sends what a read has made. */
void request_answer_read(struct api_request *request, const struct reply *reply, uint64_t index);
