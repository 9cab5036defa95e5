/* What lives on a loop and must not outlive it: timers, streams, listeners, signal watches.
 *
 * Each is attached when it is made and detached when it goes. loop_free closes what is still
 * attached: `close` starts the end of the thing (closing its uv handles) and detaches it. */
#pragma once

#include "base/list.h"
#include "net/loop.h"

struct loop_resource {
    struct list node;
    void (*close)(struct loop_resource *resource);
};

void loop_attach(struct loop *loop, struct loop_resource *resource,
                 void (*close)(struct loop_resource *resource));
void loop_detach(struct loop_resource *resource);

/* Scratch that all reads of a loop share: what is in it is handled before the callback returns. */
#define LOOP_SCRATCH_SIZE ((size_t)65536)
uint8_t *loop_read_scratch(struct loop *loop);
uint8_t *loop_plain_scratch(struct loop *loop);
