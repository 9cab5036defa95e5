/* The HTTP API over loopback, with a store in memory, and a client that sends raw requests. Static
 * functions; include behind cmocka.h. */
#pragma once

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/text.h"
#include "http/api.h"
#include "store_fixture.h"
#include "text/json.h"

/* What the API asked of the agent. */
struct party_agent {
    struct loop *loop;
    char *asked; /* "register web", … */
    struct error answer;
    api_done_fn *done;
    void *arg;
};

struct party {
    struct fixture *fixture;
    struct party_agent agent;
    struct authority *authority;
    struct api *api;
    struct http_server *server;
    uint16_t port;
};

struct answer {
    int fd;
    int status;
    struct buffer got;
    const char *body;
    size_t body_length;
};

/* ---- the agent ---- */

static void party_answer(void *arg)
{
    struct party_agent *agent = arg;
    agent->done(agent->arg, agent->answer.code == ERR_NONE ? NULL : &agent->answer);
}

static void party_note(struct party_agent *agent, api_done_fn *done, void *arg, char *asked)
{
    free(agent->asked);
    agent->asked = asked;
    agent->done = done;
    agent->arg = arg;
    loop_defer(agent->loop, party_answer, agent);
}

static void party_register_service(void *agent, const Pb__ServiceDefinition *definition,
                                   bool replace, api_done_fn *done, void *arg)
{
    party_note(agent, done, arg,
               mem_printf("register %s port %d checks %zu%s", definition->name, definition->port,
                          definition->n_checks, replace ? " replacing" : ""));
}

static void party_deregister_service(void *agent, const struct tenancy *tenancy,
                                     const char *service_id, api_done_fn *done, void *arg)
{
    (void)tenancy;
    party_note(agent, done, arg, mem_printf("deregister %s", service_id));
}

static void party_register_check(void *agent, const Pb__CheckDefinition *definition,
                                 api_done_fn *done, void *arg)
{
    party_note(agent, done, arg,
               mem_printf("check %s ttl %lld", definition->name, (long long)definition->ttl));
}

static void party_deregister_check(void *agent, const struct tenancy *tenancy, const char *check_id,
                                   api_done_fn *done, void *arg)
{
    (void)tenancy;
    party_note(agent, done, arg, mem_printf("uncheck %s", check_id));
}

static void party_update_check(void *agent, const struct tenancy *tenancy, const char *check_id,
                               const char *status, const char *output, api_done_fn *done, void *arg)
{
    (void)tenancy;
    party_note(agent, done, arg, mem_printf("%s is %s: %s", check_id, status, output));
}

static void party_set_maintenance(void *agent, const struct tenancy *tenancy,
                                  const char *service_id, bool enable, const char *reason,
                                  api_done_fn *done, void *arg)
{
    (void)tenancy;
    party_note(agent, done, arg,
               mem_printf("maintenance of %s %s: %s", service_id == NULL ? "node" : service_id,
                          enable ? "on" : "off", reason));
}

static void party_reload(void *agent, api_done_fn *done, void *arg)
{
    party_note(agent, done, arg, mem_strdup("reload"));
}

static void party_leave(void *agent)
{
    struct party_agent *party = agent;
    free(party->asked);
    party->asked = mem_strdup("leave");
}

static void party_describe(void *agent, struct buffer *output)
{
    (void)agent;
    buffer_add_text(output, "\"Config\":{\"NodeName\":\"n1\"},\"DebugConfig\":{},\"Stats\":{},"
                            "\"Meta\":{},\"xDS\":{}");
}

static const struct api_agent party_agent_class = {
    party_register_service, party_deregister_service, party_register_check, party_deregister_check,
    party_update_check,     party_set_maintenance,    party_reload,         party_leave,
    party_describe,
};

/* ---- the servers ---- */

/* `leaf_ttl_ns` 0: Consul's. */
static inline struct party *party_new(bool connect, int64_t leaf_ttl_ns)
{
    struct party *party = mem_zalloc(sizeof *party);
    party->fixture = fixture_new();
    party->agent.loop = party->fixture->loop;
    if (connect) {
        const struct authority_config config = {.datacenter = "dc1", .leaf_ttl_ns = leaf_ttl_ns};
        party->fixture->done = false;
        party->authority =
            authority_new(party->fixture->store, &config, fixture_ready, party->fixture);
        fixture_wait_for(party->fixture, fixture_is_done, NULL);
    }
    const struct api_config config = {
        .loop = party->fixture->loop,
        .store = party->fixture->store,
        .authority = party->authority,
        .datacenter = "dc1",
        .node_name = "n1",
        .node_id = "11067155-9fee-d3c1-c6b2-36b3a9051ab3",
        .advertise_address = "127.0.0.1",
        .server_port = 8300,
        .default_allow = true,
        .server = true,
        .agent_class = &party_agent_class,
        .agent = &party->agent,
    };
    party->api = api_new(&config);
    party->server =
        http_server_new(party->fixture->loop, &http_limits_default, api_handle, party->api);
    const struct address address = {.host = "127.0.0.1"};
    struct error error = {0};
    if (!http_server_listen(party->server, &address, NULL, &error))
        fail_msg("%s", error.message);
    party->port = http_server_port(party->server, 0);
    return party;
}

static inline void party_free(struct party *party)
{
    http_server_free(party->server);
    api_free(party->api);
    authority_free(party->authority);
    fixture_free(party->fixture);
    free(party->agent.asked);
    free(party);
}

/* ---- the client ---- */

static bool can_send(struct fixture *fixture, void *arg)
{
    (void)fixture;
    struct pollfd poller = {((struct answer *)arg)->fd, POLLOUT, 0};
    return poll(&poller, 1, 0) == 1;
}

static inline struct answer *party_send(struct party *party, const char *method, const char *path,
                                        const char *headers, const char *body)
{
    struct answer *answer = mem_zalloc(sizeof *answer);
    answer->fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(party->port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(answer->fd, (struct sockaddr *)&to, sizeof to), 0);
    struct buffer request = {0};
    buffer_printf(&request, "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s", method, path,
                  headers);
    if (body != NULL)
        buffer_printf(&request, "Content-Length: %zu\r\n", strlen(body));
    buffer_printf(&request, "\r\n%s", body == NULL ? "" : body);
    for (size_t sent = 0; sent < request.length;) {
        ssize_t count = send(answer->fd, request.data + sent, request.length - sent, MSG_DONTWAIT);
        if (count > 0)
            sent += (size_t)count;
        else
            fixture_wait_for(party->fixture, can_send, answer);
    }
    buffer_free(&request);
    return answer;
}

static bool answer_came(struct fixture *fixture, void *arg)
{
    (void)fixture;
    struct answer *answer = arg;
    char piece[65536];
    ssize_t count;
    while ((count = recv(answer->fd, piece, sizeof piece, MSG_DONTWAIT)) > 0)
        buffer_add(&answer->got, piece, (size_t)count);
    return answer->status != 0 || (count == 0 && answer->got.length > 0);
}

static inline void party_receive(struct party *party, struct answer *answer)
{
    fixture_wait_for(party->fixture, answer_came, answer);
    const char *end = strstr(answer->got.data, "\r\n\r\n");
    assert_non_null(end);
    assert_int_equal(sscanf(answer->got.data, "HTTP/1.1 %d", &answer->status), 1);
    answer->body = end + 4;
    answer->body_length = answer->got.length - (size_t)(answer->body - answer->got.data);
}

/* A header's value in memory that lasts until the next call; NULL if it is absent. */
static inline const char *answer_header(const struct answer *answer, const char *name)
{
    static char value[256];
    char wanted[80];
    snprintf(wanted, sizeof wanted, "\r\n%s: ", name);
    const char *at = strcasestr(answer->got.data, wanted);
    if (at == NULL || at >= answer->body)
        return NULL;
    at += strlen(wanted);
    snprintf(value, sizeof value, "%.*s", (int)strcspn(at, "\r"), at);
    return value;
}

static inline void answer_free(struct answer *answer)
{
    close(answer->fd);
    buffer_free(&answer->got);
    free(answer);
}

static inline struct answer *party_ask(struct party *party, const char *method, const char *path,
                                       const char *body)
{
    struct answer *answer = party_send(party, method, path, "", body);
    party_receive(party, answer);
    return answer;
}

/* Fails unless the status is as given and the body holds the words; NULL: an empty body. */
static inline void party_expect(struct party *party, const char *method, const char *path,
                                const char *body, int status, const char *words)
{
    struct answer *answer = party_ask(party, method, path, body);
    if (answer->status != status ||
        (words == NULL ? answer->body_length != 0 : strstr(answer->body, words) == NULL))
        fail_msg("%s %s: expected %d %s, got %d %s", method, path, status,
                 words == NULL ? "and no body" : words, answer->status, answer->body);
    answer_free(answer);
}
