#include "cli/file.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "text/hcl.h"

/* strerror's words begin with a capital; in Go's messages, which scripts compare, they do not. */
static bool open_failed(const char *path, const char *verb, struct error *error)
{
    const char *words = strerror(errno);
    return error_set(error, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s %s: %c%s", verb, path,
                     tolower((unsigned char)words[0]), words + 1);
}

bool cli_file_read(const char *path, struct buffer *output, struct error *error)
{
    bool standard = strcmp(path, "-") == 0;
    FILE *file = standard ? stdin : fopen(path, "re");
    if (file == NULL)
        return open_failed(path, "open", error);
    size_t before = output->length, count;
    do {
        char *room = buffer_grow(output, 16384);
        count = fread(room, 1, 16384, file);
        buffer_grow_done(output, count);
    } while (count > 0 && output->length - before <= CLI_FILE_BYTES_MAX);
    bool ok = true;
    if (ferror(file))
        ok = open_failed(path, "read", error);
    else if (output->length - before > CLI_FILE_BYTES_MAX)
        ok = error_set(error, ERR_TOO_LARGE, "%s is larger than %u MiB", path,
                       CLI_FILE_BYTES_MAX >> 20);
    if (!standard)
        fclose(file);
    return ok;
}

json_t *cli_file_parse(const char *path, struct error *error)
{
    struct buffer text = {0};
    json_t *value = NULL;
    if (cli_file_read(path, &text, error)) {
        struct text_list warnings = {0};
        value = hcl_parse(buffer_text(&text), text.length, strcmp(path, "-") == 0 ? "stdin" : path,
                          &warnings, error);
        for (size_t i = 0; i < warnings.count; i++)
            fprintf(stderr, "%s\n", warnings.items[i]);
        text_list_free(&warnings);
    } else {
        error_prefix(error, "Failed to read file: ");
    }
    buffer_free(&text);
    return value;
}
