/* Everything that a peer can send, in both roles. The first byte chooses the role; then messages,
 * each behind its length in two bytes. A length of 65535 stands for time going by. */
#include <stdlib.h>

#include "peering/session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct state {
    struct session *session;
    struct session_time time;
    bool opened, ended;
};

static void on_send(void *arg, const void *message, size_t length)
{
    (void)arg;
    (void)message;
    (void)length;
}

static void on_opened(void *arg, const Ps__Open *open)
{
    struct state *state = arg;
    state->opened = open->peer_id[0] != 'x';
    if (open->peer_id[0] == 'x')
        session_refuse(state->session, open->peer_id[1] == 't', GRPC_ABORTED, "no", state->time);
}

static void on_subscribed(void *arg, enum resource resource)
{
    struct state *state = arg;
    Ps__ExportedServiceList list = PS__EXPORTED_SERVICE_LIST__INIT;
    session_publish(state->session, RESOURCE_LIST, resource_single_id(resource), &list.base,
                    state->time);
}

static void on_received(void *arg, struct session_response *response)
{
    struct state *state = arg;
    struct error error = {.code = ERR_INTERNAL, .message = "no"};
    session_answer(state->session, response, response->id[0] == 'x' ? &error : NULL, state->time);
}

static void on_event(void *arg)
{
    (void)arg;
}

static void on_ended(void *arg, enum grpc_code code, const char *message)
{
    struct state *state = arg;
    (void)code;
    (void)message;
    if (state->ended)
        abort();
    state->ended = true;
}

static const struct session_handler handler = {on_send,  on_opened, on_subscribed, on_received,
                                               on_event, on_event,  on_ended};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct state state = {.time = {1, 1}};
    state.session = session_new(data[0] % 2 == 0 ? SESSION_DIALER : SESSION_ACCEPTOR, &handler,
                                &state, state.time);
    if (data[0] % 2 == 0)
        session_open(state.session, "p", "s", NULL);
    for (size_t at = 1; at + 2 <= size;) {
        size_t length = (size_t)data[at] << 8 | data[at + 1];
        at += 2;
        if (length == 65535) {
            state.time.now_ms += 20000;
            session_tick(state.session, state.time);
            continue;
        }
        if (length > size - at)
            length = size - at;
        session_receive(state.session, data + at, length, state.time);
        at += length;
        if (state.opened)
            session_accept(state.session, state.time);
    }
    session_free(state.session);
    return 0;
}
