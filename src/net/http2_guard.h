/* What keeps one HTTP/2 connection alive, and one peer from costing more than it should: three
 * small state machines that take the time (milliseconds, monotonic) as an argument.
 *
 * - keepalive: a PING when nothing was heard for an interval; dead when nothing follows it.
 * - pings: a peer that keeps pinging closer than HTTP2_PING_GAP_MS gets told to calm down. Clients
 *   that measure bandwidth ping while data flows to them, so sending data forgives everything.
 * - resets: streams that end in an error, refilled at a steady rate (the "rapid reset" attack). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define HTTP2_PING_GAP_MS 5000
#define HTTP2_PING_STRIKES 10
#define HTTP2_RESET_BURST 800
#define HTTP2_RESET_PER_SECOND 30

struct http2_keepalive {
    uint64_t interval_ms; /* 0: never ping */
    uint64_t timeout_ms;
    uint64_t since; /* when something was heard last, or when the PING went out */
    bool waiting;   /* a PING went out and nothing was heard since */
};

enum http2_keepalive_step { HTTP2_KEEPALIVE_WAIT, HTTP2_KEEPALIVE_PING, HTTP2_KEEPALIVE_DEAD };

void http2_keepalive_heard(struct http2_keepalive *keepalive, uint64_t now);
enum http2_keepalive_step http2_keepalive_tick(struct http2_keepalive *keepalive, uint64_t now);
uint64_t http2_keepalive_deadline(const struct http2_keepalive *keepalive); /* UINT64_MAX: none */

struct http2_pings {
    uint64_t last;
    unsigned strikes;
};

bool http2_pings_allow(struct http2_pings *pings, uint64_t now); /* one more; false: too many */
void http2_pings_forgive(struct http2_pings *pings);

struct http2_resets {
    uint64_t since; /* up to here the refill is counted */
    unsigned used;
};

bool http2_resets_allow(struct http2_resets *resets, uint64_t now); /* one more; false: too many */
