#include "net/http2_guard.h"

void http2_keepalive_heard(struct http2_keepalive *keepalive, uint64_t now)
{
    keepalive->since = now;
    keepalive->waiting = false;
}

uint64_t http2_keepalive_deadline(const struct http2_keepalive *keepalive)
{
    if (keepalive->interval_ms == 0)
        return UINT64_MAX;
    return keepalive->since + (keepalive->waiting ? keepalive->timeout_ms : keepalive->interval_ms);
}

enum http2_keepalive_step http2_keepalive_tick(struct http2_keepalive *keepalive, uint64_t now)
{
    if (now < http2_keepalive_deadline(keepalive))
        return HTTP2_KEEPALIVE_WAIT;
    if (keepalive->waiting)
        return HTTP2_KEEPALIVE_DEAD;
    keepalive->waiting = true;
    keepalive->since = now;
    return HTTP2_KEEPALIVE_PING;
}

bool http2_pings_allow(struct http2_pings *pings, uint64_t now)
{
    bool close = pings->last != 0 && now - pings->last < HTTP2_PING_GAP_MS;
    pings->last = now;
    if (close)
        pings->strikes++;
    else
        pings->strikes = 0;
    return pings->strikes <= HTTP2_PING_STRIKES;
}

void http2_pings_forgive(struct http2_pings *pings)
{
    pings->strikes = 0;
    pings->last = 0;
}

bool http2_resets_allow(struct http2_resets *resets, uint64_t now)
{
    uint64_t refill = (now - resets->since) * HTTP2_RESET_PER_SECOND / 1000;
    if (refill > 0) {
        resets->used = refill < resets->used ? resets->used - (unsigned)refill : 0;
        resets->since = now;
    }
    return ++resets->used <= HTTP2_RESET_BURST;
}
