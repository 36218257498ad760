/* test_daemon_notify.c - the daemon as systemd sees it: ready, alive, reloading, stopping.
 *
 * Runs the program beside this test (build/<mode>/perigee) with a socket of its own as NOTIFY_SOCKET.
 */
#include "harness.h"

#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_MS = 30000 };

static char directory[80]; /* short: sockets have a place in it */

static long long now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int listen_as_manager(const char *path)
{
    struct sockaddr_un own = {.sun_family = AF_UNIX};
    snprintf(own.sun_path, sizeof own.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CHECK(bind(fd, (struct sockaddr *)&own, sizeof own) == 0);
    return fd;
}

/* The next message that begins with these words, in *text; others are passed over. */
static bool await_message(int fd, const char *words, char text[1024])
{
    long long give_up = now_us() + (long long)PATIENCE_MS * 1000;
    while (now_us() < give_up) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, 1000) <= 0) continue;
        ssize_t n = recv(fd, text, 1023, 0);
        text[n > 0 ? n : 0] = '\0';
        if (strncmp(text, words, strlen(words)) == 0) return true;
    }
    printf("not ok - no message %s came\n", words);
    return false;
}

static pid_t start_daemon(const char *program, const char *socket_path)
{
    char state[96];
    snprintf(state, sizeof state, "%s/state", directory);
    pid_t child = fork();
    if (child != 0) return child;
    setenv("NOTIFY_SOCKET", socket_path, 1);
    setenv("WATCHDOG_USEC", "600000", 1);
    setenv("HOME", directory, 1);
    setenv("XDG_CONFIG_HOME", directory, 1);
    execl(program, program, "daemon", "--state", state, (char *)NULL);
    _exit(127);
}

static void test_tells_the_manager(const char *program)
{
    char path[96], text[1024];
    int status = -1;
    snprintf(path, sizeof path, "%s/notify", directory);
    int fd = listen_as_manager(path);
    pid_t child = start_daemon(program, path);
    CHECK(await_message(fd, "READY=1\nSTATUS=", text));
    for (int i = 0; i < 3; i++) CHECK(await_message(fd, "WATCHDOG=1", text));

    long long before = now_us(), told = 0;
    kill(child, SIGHUP);
    CHECK(await_message(fd, "RELOADING=1\nMONOTONIC_USEC=", text));
    CHECK_INT(sscanf(text, "RELOADING=1\nMONOTONIC_USEC=%lld\n", &told), 1);
    CHECK(told >= before - 1000 && told <= now_us());
    CHECK(await_message(fd, "READY=1\n", text));

    kill(child, SIGSTOP); /* a loop that stands still is fed no more */
    CHECK(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
    while (recv(fd, text, sizeof text, MSG_DONTWAIT) > 0) continue;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    CHECK_INT(poll(&p, 1, 700), 0);
    kill(child, SIGCONT);
    CHECK(await_message(fd, "WATCHDOG=1", text));

    kill(child, SIGTERM);
    CHECK(await_message(fd, "STOPPING=1\n", text));
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(fd);
}

int main(int argc, char **argv)
{
    char program[4096];
    const char *slash = strrchr(argv[0], '/');
    (void)argc;
    snprintf(program, sizeof program, "%.*s/../perigee", slash ? (int)(slash - argv[0]) : 1,
             slash ? argv[0] : ".");
    const char *tmp = getenv("TMPDIR");
    snprintf(directory, sizeof directory, "%s/d-XXXXXX", tmp && strlen(tmp) < 60 ? tmp : "/tmp");
    if (access(program, X_OK) != 0) {
        printf("# skipped: %s is not built\n", program);
    } else if (mkdtemp(directory) != NULL) {
        test_tells_the_manager(program);
    }
    HARNESS_END();
}
