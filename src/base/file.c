#include "base/file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buffer.h"

char *file_read(const char *path, size_t max, size_t *ret_length, struct error *error)
{
    FILE *file = fopen(path, "rbe");
    if (file == NULL) {
        error_set(error, ERR_IO, "%s: %s", path, strerror(errno));
        return NULL;
    }
    struct buffer text = {0};
    size_t got;
    do {
        char *room = buffer_grow(&text, 65536);
        got = fread(room, 1, 65536, file);
        buffer_grow_done(&text, got);
    } while (got > 0 && text.length <= max);
    int failure = ferror(file) ? errno : 0;
    fclose(file);
    if (failure == 0 && text.length <= max) {
        *ret_length = text.length;
        return buffer_take(&text);
    }
    if (failure != 0)
        error_set(error, ERR_IO, "%s: %s", path, strerror(failure));
    else
        error_set(error, ERR_TOO_LARGE, "%s: is larger than %zu bytes", path, max);
    buffer_free(&text);
    return NULL;
}
