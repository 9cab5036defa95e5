/* Small helpers on C strings, and a growing list of owned strings. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text_list {
    char **items; /* each owned */
    size_t count, capacity;
};

void text_list_add(struct text_list *list, const char *text); /* copies */
void text_list_sort(struct text_list *list); /* bytewise, duplicates dropped */
bool text_list_has(const struct text_list *list, const char *text);
void text_list_free(struct text_list *list); /* leaves it empty */
/* "a, b and c" into fresh memory, for messages. */
char *text_list_join(const struct text_list *list, const char *separator);

bool text_empty(const char *text); /* NULL or "" */
bool text_equal(const char *a, const char *b); /* NULL equals "" */
bool text_equal_nocase(const char *a, const char *b);
bool text_starts(const char *text, const char *prefix);
bool text_ends(const char *text, const char *suffix);
void text_lower(char *text); /* ASCII, in place */
/* Whole-string decimal without sign or blanks, at most `max`. */
bool text_to_u64(const char *text, uint64_t max, uint64_t *ret_value);
/* Splits "host:port" and "[v6]:port"; `ret_host` is fresh memory. The port is 1…65535, or 0 too if `zero_ok`. */
bool text_split_host_port(const char *address, bool zero_ok, char **ret_host, uint16_t *ret_port);
/* "host:port", with brackets around an IPv6 literal; fresh memory. */
char *text_join_host_port(const char *host, uint16_t port);
bool text_is_ip(const char *host); /* an IPv4 or IPv6 literal */
