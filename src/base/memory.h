/* Memory.
 *
 * Allocation never returns NULL: a process that is out of memory says so and ends (the limits on
 * outside input are what keeps a stranger from getting there). An arena hands out memory that is
 * freed as a whole; it is what one request, one snapshot or one decoded message lives in. */
#pragma once

#include <stdarg.h>
#include <stddef.h>

void *mem_alloc(size_t size);
void *mem_zalloc(size_t size);
void *mem_realloc(void *memory, size_t size);
void *mem_array(size_t count, size_t size); /* zeroed, checked for overflow */
void *mem_dup(const void *memory, size_t size);
char *mem_strdup(const char *text); /* NULL gives NULL */
char *mem_strndup(const char *text, size_t length);
char *mem_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Overwrites memory that held a secret; not optimised away. */
void mem_clear(void *memory, size_t size);

struct arena;

struct arena *arena_new(void);
void arena_free(struct arena *arena); /* NULL is fine */
void *arena_alloc(struct arena *arena, size_t size); /* zeroed, aligned for any type */
void *arena_dup(struct arena *arena, const void *memory, size_t size);
char *arena_strdup(struct arena *arena, const char *text);
char *arena_strndup(struct arena *arena, const char *text, size_t length);
char *arena_printf(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
size_t arena_used(const struct arena *arena); /* bytes handed out, with alignment */
