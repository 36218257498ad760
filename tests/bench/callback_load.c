/* callback_load.c - usage: callback_load PORT RATE SECONDS SLOW < PATHS
 *
 * Posts to the paths (one on each line) in turn, RATE times a second over kept-alive connections, while SLOW
 * further connections send a request byte by byte, a byte each second.  Prints how many posts were answered,
 * how many of them with 200, and the longest wait for an answer in milliseconds.
 */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SENDERS = 8, PATHS_MAX = 4096, PATH_SIZE = 300 };

static struct {
    int port, rate, seconds, slow;
    char paths[PATHS_MAX][PATH_SIZE];
    int path_count;
    double end;
    atomic_int answered, accepted, next, worst_ms;
} load;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void sleep_until(double when)
{
    double left = when - now();
    if (left <= 0) return;
    struct timespec t = {.tv_sec = (time_t)left, .tv_nsec = (long)((left - (double)(time_t)left) * 1e9)};
    nanosleep(&t, NULL);
}

static int connect_to_server(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)load.port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        perror("connect");
        exit(1);
    }
    return fd;
}

/* One exchange; false if the server closed. */
static bool post(int fd, const char *path)
{
    static const char body[] = "{\"status\":\"success\",\"job_id\":\"x\"}";
    char text[PATH_SIZE + 200], reply[2048];
    int n = snprintf(
        text, sizeof text,
        "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
        path, sizeof body - 1, body);
    double began = now();
    if (send(fd, text, (size_t)n, MSG_NOSIGNAL) != n) return false;
    ssize_t got = recv(fd, reply, sizeof reply - 1, 0); /* head and body come in one piece */
    if (got <= 0) return false;
    reply[got] = '\0';
    int ms = (int)((now() - began) * 1000);
    if (ms > atomic_load(&load.worst_ms)) atomic_store(&load.worst_ms, ms);
    atomic_fetch_add(&load.answered, 1);
    if (strncmp(reply, "HTTP/1.1 200", 12) == 0) atomic_fetch_add(&load.accepted, 1);
    return true;
}

static void *sender(void *unused)
{
    (void)unused;
    int fd = connect_to_server();
    double step = (double)SENDERS / load.rate, when = now();
    while (when < load.end) {
        if (!post(fd, load.paths[atomic_fetch_add(&load.next, 1) % load.path_count])) {
            close(fd);
            fd = connect_to_server();
        }
        when += step;
        sleep_until(when);
    }
    close(fd);
    return NULL;
}

/* A byte each second on each of many connections; one that the server gave up is made anew. */
static void dribble(void)
{
    static const char text[] = "POST /cb/slow HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n";
    int *fds = calloc((size_t)load.slow + 1, sizeof *fds);
    for (int i = 0; i < load.slow; i++) fds[i] = connect_to_server();
    for (size_t at = 0; now() < load.end; at = (at + 1) % (sizeof text - 1)) {
        for (int i = 0; i < load.slow; i++) {
            if (send(fds[i], text + at, 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1) continue;
            close(fds[i]);
            fds[i] = connect_to_server();
        }
        double next = now() + 1;
        sleep_until(next < load.end ? next : load.end);
    }
    for (int i = 0; i < load.slow; i++) close(fds[i]);
    free(fds);
}

int main(int argc, char **argv)
{
    if (argc != 5) return 2;
    load.port = (int)strtol(argv[1], NULL, 10);
    load.rate = (int)strtol(argv[2], NULL, 10);
    load.seconds = (int)strtol(argv[3], NULL, 10);
    load.slow = (int)strtol(argv[4], NULL, 10);
    while (load.path_count < PATHS_MAX && fgets(load.paths[load.path_count], PATH_SIZE, stdin)) {
        char *line = load.paths[load.path_count++];
        line[strcspn(line, "\n")] = '\0';
    }
    if (load.path_count == 0) return 2;
    load.end = now() + load.seconds;
    pthread_t threads[SENDERS];
    for (int i = 0; i < SENDERS; i++) pthread_create(&threads[i], NULL, sender, NULL);
    dribble();
    for (int i = 0; i < SENDERS; i++) pthread_join(threads[i], NULL);
    printf("%d %d %d\n", load.answered, load.accepted, load.worst_ms);
    return 0;
}
