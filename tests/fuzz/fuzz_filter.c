/* Expressions as strangers send them: parsed against what health lists select from, and evaluated.
 */
#include <stdint.h>
#include <string.h>

#include "text/filter.h"
#include "http/shapes.h"
#include "proto/codec_tables.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static Pb__Node__MetaEntry meta = {
    .base = PROTOBUF_C_MESSAGE_INIT(&pb__node__meta_entry__descriptor),
    .key = "env",
    .value = "production",
};
static Pb__Node__MetaEntry *metas[] = {&meta};
static char *tags[] = {"v1", "primary"};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    shapes_prepare();
    struct arena *arena = arena_new();
    const char *text = arena_strndup(arena, (const char *)data, size);
    Pb__Node node = PB__NODE__INIT;
    node.node = "n1";
    node.n_meta = 1;
    node.meta = metas;
    Pb__NodeService service = PB__NODE_SERVICE__INIT;
    service.service = "web";
    service.port = 8080;
    service.n_tags = 2;
    service.tags = tags;
    const void *parts[] = {&node, &service, NULL};
    static const struct filter_root *const roots[] = {&filter_health, &filter_catalog_service};
    for (size_t i = 0; i < 2; i++) {
        struct error error = {0};
        struct filter *filter = filter_parse(text, roots[i], arena, &error);
        if (filter != NULL)
            filter_match(filter, parts);
    }
    arena_free(arena);
    return 0;
}
