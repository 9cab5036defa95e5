/* Where something listens or is dialled: TCP by IP literal or name, or a Unix socket. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct address {
    char *host;       /* IP literal or name; NULL for a Unix socket */
    uint16_t port;
    char *path;       /* Unix socket; NULL for TCP */
    unsigned path_mode; /* permissions of a Unix socket that is listened on; 0 = as umask says */
};

/* "host:port", "[v6]:port" or "unix:///path". The result is owned by the caller. */
bool address_parse(const char *text, struct address *ret_address, struct error *error);
void address_clear(struct address *address);
struct address address_copy(const struct address *address);
char *address_format(const struct address *address); /* fresh memory */
