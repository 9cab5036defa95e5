#include "base/memory.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *checked(void *memory)
{
    if (memory == NULL) {
        fputs("pons: out of memory\n", stderr);
        abort();
    }
    return memory;
}

void *mem_alloc(size_t size)
{
    return checked(malloc(size ? size : 1));
}

void *mem_zalloc(size_t size)
{
    return checked(calloc(1, size ? size : 1));
}

void *mem_realloc(void *memory, size_t size)
{
    return checked(realloc(memory, size ? size : 1));
}

void *mem_array(size_t count, size_t size)
{
    return checked(calloc(count ? count : 1, size ? size : 1));
}

void *mem_dup(const void *memory, size_t size)
{
    void *copy = mem_alloc(size);
    if (size > 0)
        memcpy(copy, memory, size);
    return copy;
}

char *mem_strdup(const char *text)
{
    return text == NULL ? NULL : mem_dup(text, strlen(text) + 1);
}

char *mem_strndup(const char *text, size_t length)
{
    char *copy = mem_alloc(length + 1);
    if (length > 0)
        memcpy(copy, text, length);
    copy[length] = '\0';
    return copy;
}

char *mem_printf(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = NULL;
    if (vasprintf(&text, format, args) < 0)
        text = checked(NULL);
    va_end(args);
    return text;
}

void mem_clear(void *memory, size_t size)
{
    if (memory != NULL)
        explicit_bzero(memory, size);
}

/* Chunks double from 1 KiB to 64 KiB; what is larger than a chunk gets one of its own. */
#define CHUNK_MIN ((size_t)1024)
#define CHUNK_MAX ((size_t)65536)

struct chunk {
    struct chunk *next;
    size_t size, used;
    alignas(max_align_t) unsigned char bytes[];
};

struct arena {
    struct chunk *chunks; /* the first is the one that is filled */
    size_t next_size;
    size_t used;
};

struct arena *arena_new(void)
{
    struct arena *arena = mem_zalloc(sizeof *arena);
    arena->next_size = CHUNK_MIN;
    return arena;
}

void arena_free(struct arena *arena)
{
    if (arena == NULL)
        return;
    for (struct chunk *chunk = arena->chunks, *next; chunk != NULL; chunk = next) {
        next = chunk->next;
        free(chunk);
    }
    free(arena);
}

void *arena_alloc(struct arena *arena, size_t size)
{
    size_t mask = alignof(max_align_t) - 1;
    size = (size + mask) & ~mask;
    struct chunk *chunk = arena->chunks;
    if (chunk == NULL || chunk->size - chunk->used < size) {
        size_t want = arena->next_size > size ? arena->next_size : size;
        chunk = mem_zalloc(sizeof *chunk + want);
        chunk->size = want;
        chunk->next = arena->chunks;
        arena->chunks = chunk;
        if (arena->next_size < CHUNK_MAX)
            arena->next_size *= 2;
    }
    void *memory = chunk->bytes + chunk->used;
    chunk->used += size;
    arena->used += size;
    return memory;
}

void *arena_dup(struct arena *arena, const void *memory, size_t size)
{
    void *copy = arena_alloc(arena, size);
    if (size > 0)
        memcpy(copy, memory, size);
    return copy;
}

char *arena_strdup(struct arena *arena, const char *text)
{
    return text == NULL ? NULL : arena_dup(arena, text, strlen(text) + 1);
}

char *arena_strndup(struct arena *arena, const char *text, size_t length)
{
    char *copy = arena_alloc(arena, length + 1);
    if (length > 0)
        memcpy(copy, text, length);
    return copy;
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    char none[1];
    int length = vsnprintf(none, sizeof none, format, args);
    va_end(args);
    char *text = arena_alloc(arena, (size_t)(length < 0 ? 0 : length) + 1);
    if (length > 0)
        vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    return text;
}

size_t arena_used(const struct arena *arena)
{
    return arena->used;
}
