/* Upstreams of a proxy that have no way yet: accepted, but not to be called until what they name is
 * there. */
#pragma once

#include "base/buffer.h"
#include "consul/service.pb-c.h"
#include "store/store.h"

/* Appends `,"UpstreamsWaiting":{"backend?peer=cluster-02":"…why…"}` (a key of Pons' own) if there
 * are any. */
void waiting_write(struct view *view, const Pb__NodeService *proxy, struct buffer *body);
