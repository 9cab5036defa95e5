/* Without these, scripts that drive Consul's command line would break on ours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
/* cmocka.h needs the headers above. */
#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/memory.h"
#include "cli/api.h"
#include "cli/flags.h"
#include "cli/table.h"

struct given {
    bool detailed;
    const char *name;
    int64_t port;
    struct text_list tags;
    int arguments;
    char *argv[16];
    struct error error;
};

/* Splits `line` at blanks and reads it as a command's arguments. */
static enum flags_result read_line(struct given *given, char *line)
{
    const struct flag flags[] = {
        {"detailed", FLAG_BOOL, &given->detailed, ""},
        {"name", FLAG_STRING, &given->name, ""},
        {"port", FLAG_NUMBER, &given->port, ""},
        {"tag", FLAG_LIST, &given->tags, ""},
        {0},
    };
    int argc = 0;
    for (char *word; (word = strsep(&line, " ")) != NULL;)
        given->argv[argc++] = word;
    struct flag_sets sets = {{flags, NULL}};
    return flags_read(&sets, argc, given->argv, &given->arguments, &given->error);
}

static void test_every_form_of_flag(void **state)
{
    (void)state;
    struct given given = {0};
    char line[] = "cmd -detailed --name=a=b -port 0x10 -tag x one --tag y two - -- -three";
    assert_int_equal(read_line(&given, line), FLAGS_READ);
    assert_true(given.detailed);
    assert_string_equal(given.name, "a=b");
    assert_int_equal(given.port, 16);
    assert_int_equal(given.tags.count, 2);
    assert_int_equal(given.arguments, 4);
    assert_string_equal(given.argv[1], "one");
    assert_string_equal(given.argv[2], "two");
    assert_string_equal(given.argv[3], "-");
    assert_string_equal(given.argv[4], "-three");
    text_list_free(&given.tags);
    struct given negative = {.detailed = true};
    char other[] = "cmd -detailed=false -port -1";
    assert_int_equal(read_line(&negative, other), FLAGS_READ);
    assert_false(negative.detailed);
    assert_int_equal(negative.port, -1);
}

static void assert_wrong(const char *text, const char *message)
{
    struct given given = {0};
    char line[100];
    snprintf(line, sizeof line, "%s", text);
    assert_int_equal(read_line(&given, line), FLAGS_WRONG);
    assert_string_equal(given.error.message, message);
    text_list_free(&given.tags);
}

static void test_wrong_flags_are_named(void **state)
{
    (void)state;
    assert_wrong("cmd -nosuchflag", "flag provided but not defined: -nosuchflag");
    assert_wrong("cmd --names=x", "flag provided but not defined: -names");
    assert_wrong("cmd -name", "flag needs an argument: -name");
    assert_wrong("cmd -detailed=maybe",
                 "invalid boolean value \"maybe\" for -detailed: parse error");
    assert_wrong("cmd -port http", "invalid value \"http\" for flag -port: parse error");
    assert_wrong("cmd -=x", "bad flag syntax: -=x");
    assert_wrong("cmd ---x", "bad flag syntax: ---x");
    struct given given = {0};
    char line[] = "cmd -name x -h";
    assert_int_equal(read_line(&given, line), FLAGS_HELP);
}

static void test_columns_are_aligned(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size = 0;
    FILE *output = open_memstream(&text, &size);
    struct cli_table *table = cli_table_new(3);
    cli_table_add_row(table, (const char *const[]){"Name", "State", "Meta"});
    cli_table_add_row(table, (const char *const[]){"clüster", "UP", NULL});
    cli_table_print(table, output);
    assert_int_equal(cli_table_rows(table), 2);
    cli_table_free(table);
    fclose(output);
    assert_string_equal(text, "Name     State  Meta\nclüster  UP     \n");
    free(text);
}

static void test_paths_are_encoded(void **state)
{
    (void)state;
    struct buffer path = {0};
    buffer_add_text(&path, "/v1/peering/");
    cli_api_add_segment(&path, "a/b c");
    cli_api_add_query(&path, "dc", NULL);
    cli_api_add_query(&path, "filter", "A == \"1&2\"");
    cli_api_add_query(&path, "cas", "7");
    assert_string_equal(buffer_text(&path),
                        "/v1/peering/a%2Fb%20c?filter=A%20%3D%3D%20%221%262%22&cas=7");
    buffer_free(&path);
}

/* A server for one request on a Unix socket. */
struct server {
    char path[64];
    int socket;
    const char *reply;
    char request[2000];
    pthread_t thread;
};

static void *serve_one(void *arg)
{
    struct server *server = arg;
    int client = accept(server->socket, NULL, NULL);
    size_t length = 0;
    while (strstr(server->request, "\r\n\r\n") == NULL && length + 1 < sizeof server->request) {
        ssize_t count = read(client, server->request + length, sizeof server->request - 1 - length);
        if (count <= 0)
            break;
        length += (size_t)count;
    }
    if (write(client, server->reply, strlen(server->reply)) < 0)
        length = 0;
    close(client);
    return NULL;
}

static void server_start(struct server *server, const char *reply)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memset(server, 0, sizeof *server);
    server->reply = reply;
    snprintf(server->path, sizeof server->path, "/tmp/pons-test-cli-%d.sock", getpid());
    unlink(server->path);
    memcpy(address.sun_path, server->path, sizeof server->path);
    server->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server->socket, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(server->socket, 1), 0);
    assert_int_equal(pthread_create(&server->thread, NULL, serve_one, server), 0);
}

static void server_stop(struct server *server)
{
    pthread_join(server->thread, NULL);
    close(server->socket);
    unlink(server->path);
}

static void test_a_call_over_a_unix_socket(void **state)
{
    (void)state;
    struct server server;
    struct error error = {0};
    server_start(&server, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{\"a\":1}");
    char *address = mem_printf("unix://%s", server.path);
    setenv("CONSUL_HTTP_TOKEN", "environment", 1);
    struct cli_api_settings settings = {
        .address = address, .token = "flag", .datacenter = "dc 2", .stale = true};
    struct cli_api *api = cli_api_new(&settings, &error);
    json_t *answer = cli_api_get(api, "/v1/x", &error);
    server_stop(&server);
    assert_non_null(answer);
    assert_int_equal(json_integer_value(json_object_get(answer, "a")), 1);
    assert_true(text_starts(server.request, "GET /v1/x?dc=dc%202&stale HTTP/1.1\r\n"));
    assert_non_null(strstr(server.request, "X-Consul-Token: flag\r\n"));
    json_decref(answer);
    cli_api_free(api);
    free(address);
}

static void test_refusals_are_told_in_consuls_words(void **state)
{
    (void)state;
    struct server server;
    struct error error = {0};
    server_start(&server, "HTTP/1.1 403 Forbidden\r\nContent-Length: 18\r\n\r\n"
                          "Permission denied\n");
    char *address = mem_printf("unix://%s", server.path);
    struct cli_api_settings settings = {.address = address};
    struct cli_api *api = cli_api_new(&settings, &error);
    assert_string_equal(cli_api_token(api), "environment");
    assert_null(cli_api_get(api, "/v1/x", &error));
    server_stop(&server);
    assert_string_equal(error.message, "Unexpected response code: 403 (Permission denied)");
    assert_int_equal(error.code, ERR_DENIED);
    assert_null(cli_api_get(api, "/v1/x", &error)); /* nobody is there any more */
    assert_int_equal(error.code, ERR_UNAVAILABLE);
    assert_non_null(
        strstr(error.message, "connect: no such file or directory; is an agent running"));
    cli_api_free(api);
    free(address);
}

static void test_addresses(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"10.0.0.1:8500", "http://10.0.0.1:8500"},
        {"https://consul.example:8501/", "https://consul.example:8501"},
        {NULL, "http://127.0.0.1:8500"},
    };
    struct error error = {0};
    unsetenv("CONSUL_HTTP_ADDR");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct cli_api_settings settings = {.address = cases[i][0]};
        struct cli_api *api = cli_api_new(&settings, &error);
        assert_string_equal(cli_api_address(api), cases[i][1]);
        cli_api_free(api);
    }
    struct cli_api_settings wrong = {.address = "ftp://x"};
    assert_null(cli_api_new(&wrong, &error));
    struct cli_api_settings no_file = {.token_file = "/nonexistent/token"};
    assert_null(cli_api_new(&no_file, &error));
    assert_string_equal(error.message, "Error reading the token: open /nonexistent/token: no such "
                                       "file or directory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_form_of_flag),
        cmocka_unit_test(test_wrong_flags_are_named),
        cmocka_unit_test(test_columns_are_aligned),
        cmocka_unit_test(test_paths_are_encoded),
        cmocka_unit_test(test_a_call_over_a_unix_socket),
        cmocka_unit_test(test_refusals_are_told_in_consuls_words),
        cmocka_unit_test(test_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
