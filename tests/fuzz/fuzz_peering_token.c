/* A token comes by mail or chat from another organisation. The first byte chooses: the text as it
 * is, or the rest as the JSON inside. */
#include <stdlib.h>

#include "base/ident.h"
#include "peering/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    char *text =
        data[0] == 'J' ? base64_encode(data + 1, size - 1) : mem_strndup((const char *)data, size);
    struct arena *arena = arena_new();
    struct error error = {0};
    Pb__PeeringToken *token = token_read(text, arena, &error);
    if (token != NULL)
        free(token_write(token));
    else if (error.code == ERR_NONE)
        abort(); /* refused without a word */
    arena_free(arena);
    free(text);
    return 0;
}
