#include "net/address.h"

#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "base/memory.h"
#include "base/text.h"

#define UNIX_SCHEME "unix://"

static bool parse_unix(const char *path, struct address *ret_address, struct error *error)
{
    size_t length = strlen(path);
    if (length == 0)
        return error_set(error, ERR_INVALID, "the address \"" UNIX_SCHEME "\" lacks a path");
    if (length >= sizeof((struct sockaddr_un *)0)->sun_path)
        return error_set(error, ERR_INVALID,
                         "the socket path \"%s\" is too long: the system takes at most %zu bytes",
                         path, sizeof((struct sockaddr_un *)0)->sun_path - 1);
    *ret_address = (struct address){.path = mem_strdup(path)};
    return true;
}

bool address_parse(const char *text, struct address *ret_address, struct error *error)
{
    if (text_starts(text, UNIX_SCHEME))
        return parse_unix(text + strlen(UNIX_SCHEME), ret_address, error);
    struct address address = {0};
    if (!text_split_host_port(text, true, &address.host, &address.port))
        return error_set(error, ERR_INVALID,
                         "\"%s\" is not an address; write host:port, [IPv6]:port or "
                         "unix:///path",
                         text);
    *ret_address = address;
    return true;
}

void address_clear(struct address *address)
{
    free(address->host);
    free(address->path);
    *address = (struct address){0};
}

struct address address_copy(const struct address *address)
{
    struct address copy = *address;
    copy.host = mem_strdup(address->host);
    copy.path = mem_strdup(address->path);
    return copy;
}

char *address_format(const struct address *address)
{
    if (address->path)
        return mem_printf(UNIX_SCHEME "%s", address->path);
    return text_join_host_port(address->host ? address->host : "", address->port);
}
