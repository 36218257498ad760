/* server_fixture.h - a server on the loop and plain sockets as its clients, all in one thread.
 *
 * Clients are non-blocking sockets; every wait pumps the loop, and gives up after GIVE_UP_MS.
 */
#ifndef PERIGEE_TESTS_SERVER_FIXTURE_H
#define PERIGEE_TESTS_SERVER_FIXTURE_H

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "host/clock.h"
#include "host/loop.h"
#include "host/mem.h"
#include "host/random.h"
#include "host/server.h"
#include "host/signals.h"
#include "host/timers.h"

enum { GIVE_UP_MS = 20000 };

struct fixture {
    struct loop *loop;
    struct clock *clock;
    struct timers *timers;
    struct server *server;
    struct server_request *held[2000]; /* /wait and /stream: answered by the test */
    size_t held_count;
    int requests, gone, drained, closed;
};

static void fixture_request(void *ctx, struct server_request *r)
{
    struct fixture *f = ctx;
    r->owner = f;
    f->requests++;
    if (strcmp(r->target, "/echo") == 0) {
        CHECK(server_respond(r, 200, NULL, 0, r->body.data, r->body.len, NULL) == 0);
    } else if (strcmp(r->target, "/drop") == 0) {
        server_drop(r);
    } else if (strcmp(r->target, "/forgotten") == 0) {
        /* released without an answer */
    } else if (strncmp(r->target, "/wait", 5) == 0 || strncmp(r->target, "/stream", 7) == 0) {
        if (r->target[1] == 's') CHECK(server_respond_begin(r, 200, NULL, 0, NULL) == 0);
        f->held[f->held_count++] = r;
        return;
    } else {
        CHECK(server_respond(r, 200, NULL, 0, "hello", 5, NULL) == 0);
    }
    server_request_release(r);
}

static void fixture_gone(void *ctx, struct server_request *r)
{
    CHECK(server_request_is_gone(r));
    ((struct fixture *)ctx)->gone++;
}

static void fixture_drained(void *ctx, struct server_request *r)
{
    CHECK(server_respond_queued(r) < SERVER_STREAM_LOW);
    ((struct fixture *)ctx)->drained++;
}

static void fixture_closed(void *ctx)
{
    ((struct fixture *)ctx)->closed++;
}

static const struct server_events fixture_events = {fixture_request, fixture_gone, fixture_drained,
                                                    fixture_closed};

static void fixture_start(struct fixture *f, const struct server_config *config)
{
    memset(f, 0, sizeof *f);
    f->loop = loop_new();
    f->clock = clock_new();
    f->timers = timers_new(f->loop, f->clock);
    struct err err = {0};
    f->server = server_start(f->loop, f->timers, config, &fixture_events, f, &err);
    CHECK_STR(err.message, "");
    if (f->server == NULL) exit(1);
}

/* One turn of the loop; false when the test should give up. */
static bool fixture_turn(struct fixture *f, uint64_t since_ms)
{
    loop_turn(f->loop);
    nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
    return clock_now_ms(f->clock) - since_ms < GIVE_UP_MS;
}

/* Pumps until the condition holds. */
#define PUMP_UNTIL(f, cond)                                                                                  \
    do {                                                                                                     \
        uint64_t since_ = clock_now_ms((f)->clock);                                                          \
        while (!(cond) && fixture_turn((f), since_)) {                                                       \
        }                                                                                                    \
        CHECK(cond);                                                                                         \
    } while (0)

static void fixture_release_all(struct fixture *f)
{
    for (size_t i = 0; i < f->held_count; i++) server_request_release(f->held[i]);
    f->held_count = 0;
}

/* Closes what is left and checks that nothing of the server's stays behind. */
static void fixture_end(struct fixture *f)
{
    fixture_release_all(f);
    if (!f->closed) server_close(f->server, 0);
    PUMP_UNTIL(f, f->closed == 1);
    CHECK_INT(loop_handle_count(f->loop), 1); /* the timers' */
    CHECK_INT(timers_count(f->timers), 0);
    timers_free(f->timers);
    CHECK_INT(loop_free(f->loop), 0);
    clock_free(f->clock);
}

/* ---- clients ---------------------------------------------------------------------------------------- */

__attribute__((unused)) static int client_connect(struct fixture *f)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(server_port(f->server))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        perror("connect");
        exit(1);
    }
    return fd;
}

/* Sends all of it, pumping while the socket is full; false once the server has closed. */
static bool client_send_bytes(struct fixture *f, int fd, const char *bytes, size_t n)
{
    uint64_t since = clock_now_ms(f->clock);
    while (n > 0) {
        ssize_t sent = send(fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) return false;
        if (sent > 0) bytes += sent, n -= (size_t)sent;
        if (!fixture_turn(f, since)) return false;
    }
    return true;
}

static bool client_send(struct fixture *f, int fd, const char *text)
{
    return client_send_bytes(f, fd, text, strlen(text));
}

/* Reads until `wanted` occurs `times` times in what has come, the server closes (true in *eof), or the
 * test gives up. */
static void client_read_until(struct fixture *f, int fd, struct buf *in, const char *wanted, int times,
                              bool *eof)
{
    uint64_t since = clock_now_ms(f->clock);
    *eof = false;
    for (;;) {
        char piece[65536];
        ssize_t n = recv(fd, piece, sizeof piece, MSG_DONTWAIT);
        if (n > 0) buf_append(in, piece, (size_t)n);
        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            *eof = true;
            return;
        }
        if (n > 0 && wanted) {
            int found = 0;
            for (const char *p = buf_str(in); (p = strstr(p, wanted)); p++) found++;
            if (found >= times) return;
        }
        if (!fixture_turn(f, since)) {
            CHECK(!"something came in time");
            return;
        }
    }
}

/* One exchange on the connection: sends, and reads until `wanted` has come. */
static void client_expect(struct fixture *f, int fd, const char *send_text, const char *wanted)
{
    struct buf in = {0};
    bool eof;
    client_send(f, fd, send_text);
    client_read_until(f, fd, &in, wanted, 1, &eof);
    if (strstr(buf_str(&in), wanted) == NULL) {
        harness_failed++;
        printf("not ok - wanted \"%s\" in reply to \"%.60s\", got \"%.300s\"\n", wanted, send_text,
               buf_str(&in));
    } else {
        harness_passed++;
    }
    buf_deinit(&in);
}

/* The server closes the connection; what came before is in *in (may be NULL). */
__attribute__((unused)) static void client_expect_close(struct fixture *f, int fd, struct buf *in)
{
    struct buf mine = {0};
    bool eof;
    client_read_until(f, fd, in ? in : &mine, NULL, 0, &eof);
    CHECK(eof);
    buf_deinit(&mine);
    close(fd);
}

#endif
