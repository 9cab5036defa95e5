/* JSON from clients: whatever is accepted must survive being written and read again. */
#include <stdlib.h>
#include <string.h>

#include "text/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A text that shall stand in a list must not leave it. */
static void read_list(const uint8_t *data, size_t size)
{
    char *text = strndup((const char *)data, size);
    struct error error = {0};
    json_t *list = json_parse_list(text, "fuzz", &error);
    if (list != NULL && !json_is_array(list))
        abort();
    json_decref(list);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error error = {0};
    read_list(data, size);
    json_t *value = json_parse((const char *)data, size, "fuzz", &error);
    if (value == NULL)
        return 0;
    struct buffer compact = {0}, pretty = {0};
    json_write(&compact, value);
    json_write_pretty(&pretty, buffer_text(&compact), compact.length);
    json_t *again = json_parse(buffer_text(&pretty), pretty.length, NULL, &error);
    if (again == NULL)
        abort();
    json_decref(again);
    json_decref(value);
    buffer_free(&compact);
    buffer_free(&pretty);
    return 0;
}
