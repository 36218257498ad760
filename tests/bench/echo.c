/* echo.c - how long a key takes to its echo, at a prompt above which 1,000 tasks print 100 lines a second.
 *
 * usage: echo PROGRAM    runs tests/bench/echo.lua at a pseudo-terminal, types 500 keys, prints p50, p99 and
 * the worst.
 */
#include <poll.h>
#include <pty.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { KEYS = 500, PAUSE_MS = 20, LIMIT_MS = 10000 };

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1000 + (double)t.tv_nsec / 1e6;
}

/* Reads what comes, until the key is in it; 0: for as long as `ms`. False at the end. */
static bool read_until(int fd, char key, int ms)
{
    char bytes[65536];
    double end = now_ms() + ms;
    while (now_ms() < end) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, (int)(end - now_ms()) + 1) <= 0) continue;
        ssize_t n = read(fd, bytes, sizeof bytes);
        if (n <= 0) return false;
        if (key && memchr(bytes, key, (size_t)n)) return true;
    }
    return key == 0;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Keys a to g: no line that is printed and no escape sequence has them. Ctrl-U before they repeat. */
static int measure(int fd)
{
    static double took[KEYS];
    if (!read_until(fd, '>', LIMIT_MS)) return 1;
    for (int i = 0; i < KEYS; i++) {
        char key = (char)('a' + i % 7);
        if (key == 'a' && write(fd, "\x15", 1) != 1) return 1;
        read_until(fd, 0, PAUSE_MS);
        double start = now_ms();
        if (write(fd, &key, 1) != 1 || !read_until(fd, key, LIMIT_MS)) return 1;
        took[i] = now_ms() - start;
    }
    qsort(took, KEYS, sizeof took[0], compare);
    printf("key echo under 1,000 tasks and 100 lines/s    p50 %.2f ms, p99 %.2f ms, worst %.2f ms\n",
           took[KEYS / 2], took[KEYS * 99 / 100], took[KEYS - 1]);
    return 0;
}

int main(int argc, char **argv)
{
    struct winsize size = {.ws_row = 24, .ws_col = 80};
    int fd;
    pid_t pid = argc == 2 ? forkpty(&fd, NULL, NULL, &size) : -1;
    if (pid < 0) return 2;
    if (pid == 0) {
        setenv("TERM", "xterm", 1);
        execl(argv[1], argv[1], "run", "tests/bench/echo.lua", (char *)NULL);
        _exit(127);
    }
    int status = measure(fd);
    if (write(fd, "\x15\x04", 2) != 2) status = 1;
    close(fd);
    waitpid(pid, NULL, 0);
    if (status) fprintf(stderr, "echo: the keys were not echoed\n");
    return status;
}
