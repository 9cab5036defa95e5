#include "base/buffer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

void buffer_free(struct buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct buffer){0};
}

void buffer_reset(struct buffer *buffer)
{
    buffer->length = 0;
    if (buffer->data != NULL)
        buffer->data[0] = '\0';
}

void *buffer_grow(struct buffer *buffer, size_t extra)
{
    if (extra > PTRDIFF_MAX - 1 - buffer->length)
        abort(); /* no such memory exists: a length was computed wrongly */
    size_t need = buffer->length + extra + 1;
    if (need > buffer->capacity) {
        size_t capacity = buffer->capacity < 64 ? 64 : buffer->capacity;
        while (capacity < need)
            capacity += capacity / 2;
        buffer->data = mem_realloc(buffer->data, capacity);
        buffer->capacity = capacity;
    }
    return buffer->data + buffer->length;
}

void buffer_grow_done(struct buffer *buffer, size_t added)
{
    buffer->length += added;
    buffer->data[buffer->length] = '\0';
}

void buffer_add(struct buffer *buffer, const void *data, size_t length)
{
    void *room = buffer_grow(buffer, length);
    if (length > 0)
        memcpy(room, data, length);
    buffer_grow_done(buffer, length);
}

void buffer_add_text(struct buffer *buffer, const char *text)
{
    buffer_add(buffer, text, strlen(text));
}

void buffer_add_byte(struct buffer *buffer, char byte)
{
    buffer_add(buffer, &byte, 1);
}

void buffer_vprintf(struct buffer *buffer, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    char none[1];
    int length = vsnprintf(none, sizeof none, format, args);
    if (length >= 0) {
        char *room = buffer_grow(buffer, (size_t)length);
        vsnprintf(room, (size_t)length + 1, format, again);
        buffer_grow_done(buffer, (size_t)length);
    }
    va_end(again);
}

void buffer_printf(struct buffer *buffer, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    buffer_vprintf(buffer, format, args);
    va_end(args);
}

void buffer_consume(struct buffer *buffer, size_t length)
{
    if (length >= buffer->length) {
        buffer_reset(buffer);
        return;
    }
    memmove(buffer->data, buffer->data + length, buffer->length - length);
    buffer->length -= length;
    buffer->data[buffer->length] = '\0';
}

const char *buffer_text(const struct buffer *buffer)
{
    return buffer->data == NULL ? "" : buffer->data;
}

char *buffer_take(struct buffer *buffer)
{
    if (buffer->data == NULL)
        return mem_strdup("");
    char *data = buffer->data;
    *buffer = (struct buffer){0};
    return data;
}
