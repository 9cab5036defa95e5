/* Config entries from clients: what is accepted and normalised must be accepted again, unchanged,
 * since clients read an entry, change a field and write it back. */
#include <stdlib.h>
#include <string.h>

#include "config/entry.h"
#include "proto/proto.h"
#include "text/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void *read_text(const char *text, size_t length, const struct config_kind **kind,
                       struct arena *arena, struct error *error)
{
    json_t *value = json_parse(text, length, NULL, error);
    void *entry = value == NULL ? NULL : config_entry_read(value, 0, kind, arena, error);
    json_decref(value);
    return entry;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new();
    struct error error;
    const struct config_kind *kind, *kind_again;
    void *entry = read_text((const char *)data, size, &kind, arena, &error);
    if (entry != NULL) {
        struct buffer text = {0};
        codec_write(&text, table_class(kind->table)->message, entry);
        void *again = read_text(buffer_text(&text), text.length, &kind_again, arena, &error);
        if (again == NULL || kind_again != kind || !proto_equal(entry, again))
            abort();
        buffer_free(&text);
    }
    arena_free(arena);
    return 0;
}
