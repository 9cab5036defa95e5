/* HCL files: no input may crash the reader, and what it accepts is valid JSON. */
#include <stdlib.h>

#include "text/hcl.h"
#include "text/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error error = {0};
    struct text_list warnings = {0};
    json_t *value = hcl_parse((const char *)data, size, "fuzz.hcl", &warnings, &error);
    text_list_free(&warnings);
    if (value == NULL) {
        if (error.code == ERR_NONE)
            abort();
        return 0;
    }
    struct buffer output = {0};
    json_write(&output, value);
    json_decref(value);
    json_decref(json_loadb(buffer_text(&output), output.length, JSON_DECODE_ANY, NULL));
    buffer_free(&output);
    return 0;
}
