/* A growing run of bytes, always followed by a NUL so that text can be read from `data`.
 * A zeroed struct is an empty buffer. */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

struct buffer {
    char *data; /* NULL until something was added */
    size_t length;
    size_t capacity;
};

void buffer_free(struct buffer *buffer); /* leaves it empty and usable */
void buffer_reset(struct buffer *buffer); /* empties it and keeps the memory */
/* Makes room for `extra` bytes at the end and returns where they go; buffer_grow_done counts them. */
void *buffer_grow(struct buffer *buffer, size_t extra);
void buffer_grow_done(struct buffer *buffer, size_t added);
void buffer_add(struct buffer *buffer, const void *data, size_t length);
void buffer_add_text(struct buffer *buffer, const char *text);
void buffer_add_byte(struct buffer *buffer, char byte);
void buffer_printf(struct buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void buffer_vprintf(struct buffer *buffer, const char *format, va_list args);
/* Drops bytes from the front. */
void buffer_consume(struct buffer *buffer, size_t length);
/* The text so far ("" if empty); owned by the buffer. */
const char *buffer_text(const struct buffer *buffer);
/* Hands the memory to the caller, who frees it; the buffer is empty then. Never NULL. */
char *buffer_take(struct buffer *buffer);
