#include "cli/envoy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/ident.h"
#include "base/memory.h"
#include "base/text.h"

/* Resources of 1.21's shapes need fields that came with 1.22; tests run with the range below. */
#define OLDEST_MINOR 22
#define TESTED_MINOR_MIN 36
#define TESTED_MINOR_MAX 40
#define PIPE_TIMEOUT_S 10
/* How long connections live on that a listener which has changed took before: a TCP caller that is
 * denied now is cut after so many seconds. (Envoy's own default is ten minutes.) */
#define DRAIN_TIME_S "10"

char *envoy_find(const char *given, struct error *error)
{
    if (!text_empty(given)) {
        if (access(given, X_OK) == 0)
            return mem_strdup(given);
        error_set(error, ERR_NOT_FOUND, "-envoy-binary %s: %s", given, strerror(errno));
        return NULL;
    }
    const char *path = getenv("PATH");
    char *folders = mem_strdup(path != NULL ? path : ""), *rest = folders, *found = NULL;
    for (char *folder; found == NULL && (folder = strtok_r(rest, ":", &rest)) != NULL;) {
        char *candidate = mem_printf("%s/envoy", folder);
        if (access(candidate, X_OK) == 0)
            found = candidate;
        else
            free(candidate);
    }
    free(folders);
    if (found == NULL)
        error_set(error, ERR_NOT_FOUND,
                  "Couldn't find envoy binary: no envoy on PATH; install Envoy, or name it with "
                  "-envoy-binary");
    return found;
}

bool envoy_read_version(const char *binary, struct envoy_version *ret_version, struct error *error)
{
    int ends[2];
    if (pipe(ends) != 0)
        return error_set(error, ERR_IO, "pipe: %s", strerror(errno));
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        execl(binary, binary, "--version", (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    char text[1024] = "";
    size_t length = 0;
    for (ssize_t got; length < sizeof text - 1 &&
                      (got = read(ends[0], text + length, sizeof text - 1 - length)) > 0;)
        length += (size_t)got;
    text[length] = '\0';
    close(ends[0]);
    int status = 0;
    if (child > 0)
        waitpid(child, &status, 0);
    for (const char *at = text; child > 0 && status == 0 && *at != '\0'; at++) {
        struct envoy_version version;
        if (sscanf(at, "%u.%u.%u", &version.major, &version.minor, &version.patch) == 3) {
            *ret_version = version;
            return true;
        }
    }
    return error_set(error, ERR_INVALID, "%s --version did not name a version: is it an Envoy?",
                     binary);
}

bool envoy_version_works(const struct envoy_version *version, bool *ret_untested)
{
    *ret_untested = version->major != 1 || version->minor < TESTED_MINOR_MIN ||
                    version->minor > TESTED_MINOR_MAX;
    return version->major > 1 || (version->major == 1 && version->minor >= OLDEST_MINOR);
}

static bool write_all(int file, const char *text, size_t length)
{
    while (length > 0) {
        ssize_t wrote = write(file, text, length);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return false;
        text += wrote;
        length -= (size_t)wrote;
    }
    return true;
}

/* Runs in a process of its own, whose parent has ended: nobody has to wait for it. */
static _Noreturn void feed_fifo(const char *path, const char *text)
{
    alarm(PIPE_TIMEOUT_S); /* an Envoy that never reads ends this process */
    int null = open("/dev/null", O_RDWR);
    for (int standard = 0; null >= 0 && standard < 3; standard++)
        dup2(null, standard);
    int file = open(path, O_WRONLY | O_CLOEXEC);
    bool ok = file >= 0 && write_all(file, text, strlen(text));
    unlink(path);
    _exit(ok ? 0 : 1);
}

static bool start_feeder(const char *path, const char *text, struct error *error)
{
    pid_t child = fork();
    if (child < 0)
        return error_set(error, ERR_IO, "fork: %s", strerror(errno));
    if (child == 0) {
        pid_t feeder = fork();
        if (feeder == 0)
            feed_fifo(path, text);
        _exit(feeder > 0 ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return status == 0 || error_set(error, ERR_IO, "the bootstrap cannot be handed over");
}

/* Hot restart is Envoy's own business once the user speaks of it. */
static bool wants_hot_restart(char *const *arguments)
{
    static const char *const flags[] = {"--restart-epoch", "--hot-restart-version",
                                        "--drain-time-s", "--parent-shutdown-time-s"};
    for (; *arguments != NULL; arguments++) {
        for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
            if (text_starts(*arguments, flags[i]))
                return true;
        }
    }
    return false;
}

void envoy_exec(const char *binary, const json_t *bootstrap, char *const *arguments,
                struct error *error)
{
    const char *folder = getenv("TMPDIR");
    uint8_t random[8];
    char hex[2 * sizeof random + 1];
    random_bytes(random, sizeof random);
    char *path = mem_printf("%s/envoy-%s-bootstrap.json", text_empty(folder) ? "/tmp" : folder,
                            hex_encode(random, sizeof random, hex));
    if (mkfifo(path, 0600) != 0) {
        error_set(error, ERR_IO, "%s: %s", path, strerror(errno));
        free(path);
        return;
    }
    char *text = json_dumps(bootstrap, JSON_COMPACT);
    if (start_feeder(path, text, error)) {
        size_t count = 0;
        while (arguments[count] != NULL)
            count++;
        char **command = mem_array(count + 7, sizeof *command);
        size_t at = 0;
        command[at++] = (char *)binary;
        command[at++] = (char *)"--config-path";
        command[at++] = path;
        if (!wants_hot_restart(arguments)) {
            command[at++] = (char *)"--disable-hot-restart";
            command[at++] = (char *)"--drain-time-s";
            command[at++] = (char *)DRAIN_TIME_S;
        }
        for (size_t i = 0; i < count; i++)
            command[at++] = arguments[i];
        execv(binary, command);
        error_set(error, ERR_IO, "%s: %s", binary, strerror(errno));
        free(command);
    }
    unlink(path);
    mem_clear(text, strlen(text));
    free(text);
    free(path);
}
