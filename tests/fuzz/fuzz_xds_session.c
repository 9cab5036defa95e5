/* A proxy that says anything. The input is a list of steps: a byte that chooses (0…3: a new
 * snapshot; else: a request), for a request a length of two bytes, and its bytes. */
#include <stdint.h>

#include "../unit/xds_fixture.h"
#include "xds/session.h"

static void on_node(void *arg, const struct xds_node *node)
{
    (void)arg;
    (void)strlen(node->id);
}

static void on_send(void *arg, const uint8_t *message, size_t length)
{
    (void)message;
    *(size_t *)arg += length;
}

static void on_nack(void *arg, enum xds_type type, const char *message)
{
    *(size_t *)arg += type + strlen(message);
}

static struct proxy_snapshot *snapshot(unsigned which)
{
    struct proxy_snapshot *made = which == 3   ? fixture_gateway_dc2()
                                  : which == 2 ? fixture_serving("web-api", "http")
                                               : fixture_web();
    if (which == 1)
        made->upstream_count = 1;
    return made;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct xds_session_handler handler = {on_node, on_send, on_nack};
    size_t sent = 0;
    struct error error;
    struct xds_session *session = xds_session_new(&handler, &sent);
    const uint8_t *end = data + size;
    while (data < end) {
        uint8_t step = *data++;
        if (step < 4) {
            struct proxy_snapshot *made = snapshot(step);
            xds_session_update(session, xds_resources_build(made));
            fixture_free(made);
            continue;
        }
        if (end - data < 2)
            break;
        size_t length = (size_t)data[0] << 8 | data[1];
        data += 2;
        if (length > (size_t)(end - data))
            length = (size_t)(end - data);
        if (!xds_session_receive(session, data, length, &error))
            break;
        data += length;
    }
    xds_session_free(session);
    return 0;
}
