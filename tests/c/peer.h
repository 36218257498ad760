/* peer.h - a raw TCP server for tests: what happens on each connection is a C function.
 *
 * A real HTTP server cannot misbehave; this one does just that: answer in pieces, close after having
 * executed, say nothing.  Threads with blocking sockets, 127.0.0.1, a free port.  The counters are the ledger
 * that tests compare with what the client believes.
 */
#ifndef PERIGEE_TESTS_PEER_H
#define PERIGEE_TESTS_PEER_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PEER_REQUEST_MAX = 256 * 1024, PEER_CONNECTIONS_MAX = 512 };

struct peer;
typedef void (*peer_fn)(struct peer *peer, int fd, int connection);

struct peer {
    int listener;
    unsigned port;
    peer_fn serve;
    pthread_t thread;
    pthread_t workers[PEER_CONNECTIONS_MAX];
    int fds[PEER_CONNECTIONS_MAX];
    atomic_int connections; /* accepted so far */
    atomic_int open, open_peak;
    atomic_int requests; /* read completely: "executions" */
    atomic_bool ending;
    pthread_mutex_t mutex;
    char last[8192]; /* the head of the last request */
    char url[64];    /* "http://127.0.0.1:port" */
};

struct peer_worker {
    struct peer *peer;
    int fd, connection;
};

static inline void peer_send(int fd, const char *text)
{
    size_t n = strlen(text), at = 0;
    while (at < n) {
        ssize_t put = send(fd, text + at, n - at, MSG_NOSIGNAL);
        if (put <= 0) return;
        at += (size_t)put;
    }
}

static inline void peer_pause_ms(int ms)
{
    poll(NULL, 0, ms);
}

/* A whole reply with a body. */
static inline void peer_reply(int fd, const char *status, const char *headers, const char *body)
{
    char head[4096];
    snprintf(head, sizeof head, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n%s\r\n", status, strlen(body),
             headers);
    peer_send(fd, head);
    peer_send(fd, body);
}

static inline const char *peer_header(const char *request, const char *name)
{
    const char *hit = strcasestr(request, name);
    return hit ? hit + strlen(name) : NULL;
}

/* Reads one request (its body by Content-Length) into buf, NUL-terminated.  Returns its length; 0 at the end
 * of the connection. */
static inline size_t peer_read(struct peer *peer, int fd, char *buf, size_t size)
{
    size_t len = 0, want = 0;
    for (;;) {
        ssize_t got = recv(fd, buf + len, size - 1 - len, 0);
        if (got <= 0) return 0;
        len += (size_t)got;
        buf[len] = '\0';
        const char *end = want ? NULL : strstr(buf, "\r\n\r\n");
        if (end) {
            const char *length = peer_header(buf, "\r\nContent-Length:");
            want = (size_t)(end + 4 - buf) + (length ? strtoul(length, NULL, 10) : 0);
        }
        if (want && len >= want) break;
    }
    pthread_mutex_lock(&peer->mutex);
    snprintf(peer->last, sizeof peer->last, "%s", buf);
    pthread_mutex_unlock(&peer->mutex);
    peer->requests++;
    return len;
}

static void *peer_worker_main(void *arg)
{
    struct peer_worker w = *(struct peer_worker *)arg;
    free(arg);
    int now = ++w.peer->open;
    int peak = w.peer->open_peak;
    while (now > peak && !atomic_compare_exchange_weak(&w.peer->open_peak, &peak, now)) continue;
    w.peer->serve(w.peer, w.fd, w.connection);
    --w.peer->open;
    shutdown(w.fd, SHUT_RDWR); /* closed by peer_stop: the number must not be reused before */
    return NULL;
}

static void *peer_main(void *arg)
{
    struct peer *peer = arg;
    for (;;) {
        int fd = accept(peer->listener, NULL, NULL);
        if (fd < 0 || peer->ending || peer->connections == PEER_CONNECTIONS_MAX) {
            if (fd >= 0) close(fd);
            return NULL;
        }
        struct peer_worker *w = malloc(sizeof *w);
        w->peer = peer;
        w->fd = fd;
        w->connection = peer->connections;
        peer->fds[w->connection] = fd;
        peer->connections++; /* before the first byte can be answered */
        pthread_create(&peer->workers[w->connection], NULL, peer_worker_main, w);
    }
}

static inline struct peer *peer_start(peer_fn serve)
{
    struct peer *peer = calloc(1, sizeof *peer);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof address;
    peer->serve = serve;
    pthread_mutex_init(&peer->mutex, NULL);
    peer->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(peer->listener, (struct sockaddr *)&address, n) != 0 || listen(peer->listener, 1024) != 0) {
        perror("peer");
        exit(1);
    }
    getsockname(peer->listener, (struct sockaddr *)&address, &n);
    peer->port = ntohs(address.sin_port);
    snprintf(peer->url, sizeof peer->url, "http://127.0.0.1:%u", peer->port);
    pthread_create(&peer->thread, NULL, peer_main, peer);
    return peer;
}

static inline void peer_stop(struct peer *peer)
{
    peer->ending = true;
    shutdown(peer->listener, SHUT_RDWR);
    pthread_join(peer->thread, NULL);
    close(peer->listener);
    for (int i = 0; i < peer->connections; i++) {
        shutdown(peer->fds[i], SHUT_RDWR);
        pthread_join(peer->workers[i], NULL);
        close(peer->fds[i]);
    }
    pthread_mutex_destroy(&peer->mutex);
    free(peer);
}

/* ---- ready-made behaviour --------------------------------------------------------------------------- */

/* Answers every request with 200 and "hello". */
static inline void peer_hello(struct peer *peer, int fd, int connection)
{
    char *buf = malloc(PEER_REQUEST_MAX);
    (void)connection;
    while (peer_read(peer, fd, buf, PEER_REQUEST_MAX) > 0) peer_reply(fd, "200 OK", "X-A: 1\r\n", "hello");
    free(buf);
}

/* Waits for the client to go away. */
static inline void peer_silent(struct peer *peer, int fd, int connection)
{
    char buf[4096];
    (void)peer;
    (void)connection;
    while (recv(fd, buf, sizeof buf, 0) > 0) continue;
}

#endif
