#include "base/text.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buffer.h"
#include "base/memory.h"

void text_list_add(struct text_list *list, const char *text)
{
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? list->capacity * 2 : 8;
        list->items = mem_realloc(list->items, list->capacity * sizeof *list->items);
    }
    list->items[list->count++] = mem_strdup(text);
}

static int compare_items(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void text_list_sort(struct text_list *list)
{
    if (list->count < 2)
        return;
    qsort(list->items, list->count, sizeof *list->items, compare_items);
    size_t kept = 1;
    for (size_t i = 1; i < list->count; i++) {
        if (strcmp(list->items[i], list->items[kept - 1]) == 0)
            free(list->items[i]);
        else
            list->items[kept++] = list->items[i];
    }
    list->count = kept;
}

bool text_list_has(const struct text_list *list, const char *text)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->items[i], text) == 0)
            return true;
    }
    return false;
}

void text_list_free(struct text_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
    *list = (struct text_list){0};
}

char *text_list_join(const struct text_list *list, const char *separator)
{
    struct buffer joined = {0};
    for (size_t i = 0; i < list->count; i++) {
        if (i > 0)
            buffer_add_text(&joined, separator);
        buffer_add_text(&joined, list->items[i]);
    }
    return buffer_take(&joined);
}

bool text_empty(const char *text)
{
    return text == NULL || *text == '\0';
}

bool text_equal(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

bool text_equal_nocase(const char *a, const char *b)
{
    return strcasecmp(a ? a : "", b ? b : "") == 0;
}

bool text_starts(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool text_ends(const char *text, const char *suffix)
{
    size_t length = strlen(text), end = strlen(suffix);
    return length >= end && memcmp(text + length - end, suffix, end) == 0;
}

void text_lower(char *text)
{
    for (; *text != '\0'; text++) {
        if (*text >= 'A' && *text <= 'Z')
            *text = (char)(*text + 32);
    }
}

bool text_to_u64(const char *text, uint64_t max, uint64_t *ret_value)
{
    if (text_empty(text))
        return false;
    uint64_t value = 0;
    for (; *text != '\0'; text++) {
        if (!isdigit((unsigned char)*text))
            return false;
        uint64_t digit = (uint64_t)(*text - '0');
        if (digit > max || value > (max - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *ret_value = value;
    return true;
}

bool text_split_host_port(const char *address, bool zero_ok, char **ret_host, uint16_t *ret_port)
{
    if (address == NULL)
        return false;
    const char *colon = strrchr(address, ':');
    if (colon == NULL)
        return false;
    const char *host = address, *end = colon;
    if (*address == '[') {
        if (colon == address || colon[-1] != ']')
            return false;
        host = address + 1;
        end = colon - 1;
    } else if (memchr(address, ':', (size_t)(colon - address)) != NULL) {
        return false; /* an IPv6 literal needs brackets */
    }
    uint64_t port;
    if (!text_to_u64(colon + 1, 65535, &port) || (port == 0 && !zero_ok))
        return false;
    *ret_host = mem_strndup(host, (size_t)(end - host));
    *ret_port = (uint16_t)port;
    return true;
}

char *text_join_host_port(const char *host, uint16_t port)
{
    bool brackets = strchr(host, ':') != NULL && *host != '[';
    return mem_printf(brackets ? "[%s]:%u" : "%s:%u", host, port);
}

bool text_is_ip(const char *host)
{
    unsigned char address[16];
    return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}
