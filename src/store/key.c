#include "store/key.h"

#include <stdbool.h>
#include <string.h>

#include "base/text.h"

void key_part(struct buffer *key, const char *part)
{
    size_t length = part == NULL ? 0 : strlen(part);
    char *room = buffer_grow(key, length + 1);
    for (size_t i = 0; i < length; i++)
        room[i] = part[i] >= 'A' && part[i] <= 'Z' ? (char)(part[i] + ('a' - 'A')) : part[i];
    room[length] = '\0';
    buffer_grow_done(key, length + 1);
}

void key_part_exact(struct buffer *key, const char *part)
{
    if (part == NULL)
        part = "";
    buffer_add(key, part, strlen(part) + 1);
}

void key_tenancy(struct buffer *key, const struct tenancy *tenancy)
{
    key_part(key, text_empty(tenancy->partition) ? "default" : tenancy->partition);
    key_part(key, text_empty(tenancy->namespace) ? "default" : tenancy->namespace);
    key_part(key, tenancy->peer);
}

struct buffer *key_all(struct buffer *key, const struct tenancy *tenancy)
{
    buffer_reset(key);
    key_tenancy(key, tenancy);
    return key;
}

struct buffer *key_named(struct buffer *key, const struct tenancy *tenancy, const char *name)
{
    key_part(key_all(key, tenancy), name);
    return key;
}

struct buffer *key_node(struct buffer *key, const struct tenancy *tenancy, const char *node)
{
    struct tenancy of_node = {tenancy->partition, NULL, tenancy->peer};
    return key_named(key, &of_node, node);
}

struct buffer *key_service(struct buffer *key, const struct tenancy *tenancy, const char *node,
                           const char *service_id)
{
    key_part_exact(key_named(key, tenancy, node), service_id);
    return key;
}

struct buffer *key_check(struct buffer *key, const struct tenancy *tenancy, const char *node,
                         const char *check_id)
{
    return key_service(key, tenancy, node, check_id);
}

const char *key_name(const char *key, size_t length, size_t at)
{
    const char *end = key + length;
    for (size_t part = 0; part < at + 3 && key < end; part++)
        key += strnlen(key, (size_t)(end - key)) + 1;
    return key < end ? key : "";
}
