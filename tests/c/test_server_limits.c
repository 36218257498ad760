/* test_server_limits.c - time, numbers, peers that go away, streams, and closing. */
#include "server_fixture.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"

/* Sends `bytes` one at a time, every `gap_ms`, until the server closes; the time that took, 0 if it never
 * did. */
static uint64_t drip(struct fixture *f, int fd, const char *bytes, uint64_t gap_ms)
{
    uint64_t start = clock_now_ms(f->clock), next = start;
    char piece[4096];
    bool closed = false;
    for (size_t i = 0; !closed && fixture_turn(f, start);) {
        ssize_t n = recv(fd, piece, sizeof piece, MSG_DONTWAIT);
        closed = n == 0 || (n < 0 && errno != EAGAIN);
        if (closed || clock_now_ms(f->clock) < next || bytes[i] == '\0') continue;
        send(fd, &bytes[i++], 1, MSG_NOSIGNAL);
        next += gap_ms;
    }
    close(fd);
    return closed ? clock_now_ms(f->clock) - start : 0;
}

static void test_silent_clients_are_cut(void)
{
    struct fixture f;
    fixture_start(&f, &(struct server_config){.idle_ms = 300, .total_ms = 3600 * 1000});
    CHECK(drip(&f, client_connect(&f), "", 10) >= 290);
    /* The first line must be there within the time for silence, however steadily it drips. */
    CHECK(drip(&f, client_connect(&f), "GET /a-path-that-never-ends-aaaaaaaaaaaaaaaaaaaaaaaa", 20) >= 290);

    int fd = client_connect(&f);
    client_send(&f, fd, "GET / HTTP/1.1\r\nHost: x\r\n");
    CHECK(drip(&f, fd, "", 10) >= 290);

    fd = client_connect(&f);
    client_send(&f, fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n123");
    CHECK(drip(&f, fd, "", 10) >= 290);

    fd = client_connect(&f);
    client_expect(&f, fd, GET("/"), "hello");
    CHECK(drip(&f, fd, "", 10) >= 290); /* between requests */

    CHECK_INT(f.requests, 1);
    CHECK_INT(server_connections(f.server), 0);
    fixture_end(&f);
}

static void test_clients_that_drip_are_cut(void)
{
    struct fixture f;
    fixture_start(&f, &(struct server_config){.idle_ms = 3600 * 1000, .total_ms = 400});
    int fd = client_connect(&f);
    client_send(&f, fd, "GET / HTTP/1.1\r\n");
    CHECK(drip(&f, fd, "a: b\r\nc: d\r\ne: f\r\ng: h\r\ni: j\r\nk: l\r\nm: n\r\no: p\r\n", 15) >= 390);

    fd = client_connect(&f);
    client_send(&f, fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n");
    CHECK(drip(&f, fd, "123456789 123456789 123456789 123456789 ", 20) >= 390);

    CHECK_INT(f.requests, 0);
    CHECK_INT(server_connections(f.server), 0);
    fixture_end(&f);
}

static void test_handlers_may_take_longer_than_the_limits(void)
{
    struct fixture f;
    fixture_start(&f, &(struct server_config){.idle_ms = 50, .total_ms = 100});
    int fd = client_connect(&f);
    client_send(&f, fd, GET("/wait"));
    uint64_t start = clock_now_ms(f.clock);
    PUMP_UNTIL(&f, f.held_count == 1 && clock_now_ms(f.clock) - start > 300);
    CHECK_INT(f.gone, 0);
    CHECK(server_respond(f.held[0], 200, NULL, 0, "late", 4, NULL) == 0);
    client_expect(&f, fd, "", "late");
    close(fd);
    fixture_end(&f);
}

static void test_connections_beyond_the_limit_wait(void)
{
    struct fixture f;
    fixture_start(&f, &(struct server_config){.max_connections = 2});
    int a = client_connect(&f), b = client_connect(&f), c = client_connect(&f);
    client_expect(&f, a, GET("/"), "hello");
    client_expect(&f, b, GET("/"), "hello");
    client_send(&f, c, GET("/"));
    for (int i = 0; i < 200; i++) fixture_turn(&f, clock_now_ms(f.clock));
    CHECK(server_connections(f.server) <= 2);
    CHECK_INT(f.requests, 2);
    close(a);
    client_expect(&f, c, "", "hello");
    close(b);
    close(c);
    fixture_end(&f);
}

static void test_a_peer_that_hangs_up_is_noticed(void)
{
    struct fixture f;
    fixture_start(&f, &(struct server_config){0});
    int fd = client_connect(&f);
    client_send(&f, fd, GET("/wait"));
    PUMP_UNTIL(&f, f.held_count == 1);
    close(fd);
    PUMP_UNTIL(&f, f.gone == 1);
    CHECK(server_request_is_gone(f.held[0]));
    server_respond(f.held[0], 200, NULL, 0, "nobody", 6, NULL); /* harmless */
    PUMP_UNTIL(&f, server_connections(f.server) == 0);
    CHECK_INT(f.gone, 1);

    fd = client_connect(&f); /* a reset frees the connection without an answer */
    client_send(&f, fd, GET("/wait"));
    PUMP_UNTIL(&f, f.held_count == 2);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
    close(fd);
    PUMP_UNTIL(&f, f.gone == 2 && server_connections(f.server) == 0);
    struct err err;
    CHECK(server_respond(f.held[1], 200, NULL, 0, "x", 1, &err) == -1 && err.kind == ERR_CLOSED);

    fd = client_connect(&f); /* closed its sending side only: it still gets its answer */
    client_send(&f, fd, GET("/wait"));
    PUMP_UNTIL(&f, f.held_count == 3);
    shutdown(fd, SHUT_WR);
    PUMP_UNTIL(&f, f.gone == 3);
    CHECK(server_respond(f.held[2], 200, NULL, 0, "still here", 10, NULL) == 0);
    client_expect(&f, fd, "", "still here");
    close(fd);

    fd = client_connect(&f); /* in the middle of sending its body: never handed over */
    client_send(&f, fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n123");
    PUMP_UNTIL(&f, server_connections(f.server) == 1);
    close(fd);
    PUMP_UNTIL(&f, server_connections(f.server) == 0);
    CHECK_INT(f.requests, 3);
    fixture_end(&f);
}

static void test_a_stream_arrives_piece_by_piece(void)
{
    struct fixture f;
    fixture_start(&f, &(struct server_config){0});
    int fd = client_connect(&f);
    client_send(&f, fd, GET("/stream"));
    PUMP_UNTIL(&f, f.held_count == 1);
    struct server_request *r = f.held[0];
    client_expect(&f, fd, "", "\r\n\r\n"); /* the head comes before the first piece */
    CHECK(server_respond_write(r, "one\n", 4, NULL) == 0);
    client_expect(&f, fd, "", "one\n");
    CHECK(server_respond_write(r, "two\n", 4, NULL) == 0);
    client_expect(&f, fd, "", "two\n");
    server_respond_write(r, "three\n", 6, NULL);
    server_respond_end(r);
    client_expect(&f, fd, "", "0\r\n\r\n");
    CHECK(server_respond_write(r, "late", 4, NULL) == -1);
    client_expect(&f, fd, GET("/"), "hello"); /* the connection is kept */
    CHECK_INT(f.gone, 0);
    close(fd);

    fd = client_connect(&f); /* nobody will read what follows a HEAD */
    client_send(&f, fd, "HEAD /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    PUMP_UNTIL(&f, f.held_count == 2);
    client_expect(&f, fd, "", "\r\n\r\n");
    PUMP_UNTIL(&f, f.gone == 1);
    CHECK(server_respond_write(f.held[1], "x", 1, NULL) == -1);
    close(fd);
    fixture_end(&f);
}

static void test_a_slow_reader_holds_the_writer_back(void)
{
    struct fixture f;
    size_t total = 12 * 1024 * 1024, written = 0, most = 0;
    static char piece[10000];
    fixture_start(&f, &(struct server_config){0});
    int fd = client_connect(&f);
    client_send(&f, fd, "GET /stream HTTP/1.0\r\n\r\n");
    PUMP_UNTIL(&f, f.held_count == 1);
    struct server_request *r = f.held[0];

    struct buf in = {0};
    bool eof = false, paused = false, full = false;
    int drained = 0;
    uint64_t start = clock_now_ms(f.clock);
    while (!eof && fixture_turn(&f, start)) {
        if (f.drained > drained) full = false;
        drained = f.drained;
        while (written < total && !full) {
            full =
                server_respond_queued(r) + sizeof piece >= SERVER_STREAM_HIGH; /* then waits for `drained` */
            for (size_t i = 0; i < sizeof piece; i++) piece[i] = (char)((written + i) * 31 >> 3);
            server_respond_write(r, piece, sizeof piece, NULL);
            written += sizeof piece;
            if (written >= total) server_respond_end(r);
        }
        if (server_respond_queued(r) > most) most = server_respond_queued(r);
        if (!paused && clock_now_ms(f.clock) - start < 100) continue; /* reads nothing at first */
        if (!paused) CHECK(written < total / 2); /* what the system's buffers took, and not more */
        paused = true;
        char *room = buf_reserve(&in, 65536);
        ssize_t n = recv(fd, room, 65536, MSG_DONTWAIT);
        if (n > 0) buf_commit(&in, (size_t)n);
        eof = n == 0 || (n < 0 && errno != EAGAIN);
    }
    CHECK(most < SERVER_STREAM_HIGH + sizeof piece);
    CHECK(f.drained > 10);
    const char *body = strstr(buf_str(&in), "\r\n\r\n") + 4;
    size_t n = in.len - (size_t)(body - in.data), wrong = 0;
    CHECK_INT(n, written);
    for (size_t i = 0; i < n; i++) wrong += body[i] != (char)(i * 31 >> 3);
    CHECK_INT(wrong, 0);
    buf_deinit(&in);
    close(fd);
    fixture_end(&f);
}

static void test_a_reader_who_stops_is_cut(void)
{
    struct fixture f;
    static char piece[1 << 20];
    fixture_start(&f, &(struct server_config){.idle_ms = 200});
    int fd = client_connect(&f);
    client_send(&f, fd, GET("/stream"));
    PUMP_UNTIL(&f, f.held_count == 1);
    uint64_t start = clock_now_ms(f.clock);
    PUMP_UNTIL(&f, clock_now_ms(f.clock) - start > 500);
    CHECK_INT(f.gone, 0); /* a stream with nothing to send may stay silent */
    for (int i = 0; i < 20; i++) server_respond_write(f.held[0], piece, sizeof piece, NULL);
    PUMP_UNTIL(&f, f.gone == 1 && server_connections(f.server) == 0);
    close(fd);

    fixture_end(&f);
    fixture_start(&f, &(struct server_config){.max_body = 32 << 20, .total_ms = 400});
    fd = client_connect(&f); /* the same for a reply in one body */
    client_send(&f, fd, GET("/wait"));
    PUMP_UNTIL(&f, f.held_count == 1);
    char *body = mem_alloc(20 << 20);
    server_respond(f.held[0], 200, NULL, 0, body, 20 << 20, NULL);
    mem_free(body);
    PUMP_UNTIL(&f, f.gone == 1 && server_connections(f.server) == 0);
    close(fd);
    fixture_end(&f);
}

static void test_closing_answers_who_waits(void)
{
    struct fixture f;
    fixture_start(&f, &(struct server_config){0});
    int waiting = client_connect(&f), idle = client_connect(&f), half = client_connect(&f);
    int streaming = client_connect(&f);
    struct buf in = {0};
    client_expect(&f, idle, GET("/"), "hello");
    client_send(&f, half, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n123");
    client_send(&f, waiting, GET("/wait"));
    client_send(&f, streaming, GET("/stream"));
    PUMP_UNTIL(&f, f.held_count == 2 && server_connections(f.server) == 4);

    server_close(f.server, 5000);
    CHECK_INT(f.gone, 2);
    client_expect_close(&f, waiting, &in);
    CHECK(strstr(buf_str(&in), " 503 "));
    client_expect_close(&f, idle, NULL);
    client_expect_close(&f, half, NULL);
    client_expect_close(&f, streaming, NULL);
    PUMP_UNTIL(&f, f.closed == 1);
    struct err err;
    CHECK(server_respond(f.held[0], 200, NULL, 0, "x", 1, &err) == -1 && err.kind == ERR_CLOSED);
    buf_deinit(&in);
    fixture_end(&f);
}

static void test_closing_lets_replies_go_out_or_cuts_them(void)
{
    struct fixture f;
    size_t n = 20 << 20;
    char *body = mem_alloc(n);
    fixture_start(&f, &(struct server_config){0});
    int fd = client_connect(&f);
    client_send(&f, fd, GET("/wait"));
    PUMP_UNTIL(&f, f.held_count == 1);
    server_respond(f.held[0], 200, NULL, 0, body, n, NULL);
    loop_turn(f.loop);
    server_close(f.server, 15000);
    struct buf in = {0};
    client_expect_close(&f, fd, &in);
    CHECK(in.len > n);
    buf_deinit(&in);
    fixture_end(&f);

    fixture_start(&f, &(struct server_config){0});
    fd = client_connect(&f);
    client_send(&f, fd, GET("/wait"));
    PUMP_UNTIL(&f, f.held_count == 1);
    server_respond(f.held[0], 200, NULL, 0, body, n, NULL);
    uint64_t start = clock_now_ms(f.clock);
    server_close(f.server, 100); /* nobody reads */
    PUMP_UNTIL(&f, f.closed == 1);
    CHECK(clock_now_ms(f.clock) - start < 10000);
    close(fd);
    mem_free(body);
    fixture_end(&f);
}

static void test_closing_at_once_with_everything_open(void)
{
    struct fixture f;
    fixture_start(&f, &(struct server_config){0});
    int fds[40];
    for (int i = 0; i < 40; i++) {
        static const char *const sent[] = {GET("/wait"), GET("/stream"), "POST / HTTP/1.1\r\nContent-Le", ""};
        fds[i] = client_connect(&f);
        client_send(&f, fds[i], sent[i % 4]);
    }
    PUMP_UNTIL(&f, f.held_count == 20 && server_connections(f.server) == 40);
    server_close(f.server, 5000);
    server_close(f.server, 0); /* a second call only makes it shorter */
    CHECK_INT(f.closed, 0);    /* always from the loop */
    PUMP_UNTIL(&f, f.closed == 1);
    CHECK_INT(f.gone, 20);
    for (int i = 0; i < 40; i++) close(fds[i]);
    fixture_end(&f);
}

static void test_a_thousand_requests_at_once(void)
{
    enum { N = 1000 };
    struct fixture f;
    static int fds[N];
    fixture_start(&f, &(struct server_config){.max_connections = 2000});
    for (int i = 0; i < N; i++) {
        fds[i] = client_connect(&f);
        send(fds[i], GET("/wait"), strlen(GET("/wait")), MSG_NOSIGNAL);
        if (i % 100 == 0) loop_turn(f.loop);
    }
    PUMP_UNTIL(&f, f.held_count == N);
    CHECK_INT(server_connections(f.server), N);
    for (int i = N - 1; i >= 0; i--) server_respond(f.held[i], 200, NULL, 0, "hello", 5, NULL);
    for (int i = 0; i < N; i++) {
        client_expect(&f, fds[i], "", "hello");
        close(fds[i]);
    }
    PUMP_UNTIL(&f, server_connections(f.server) == 0);
    CHECK_INT(f.gone, 0);
    fixture_end(&f);
}

int main(void)
{
    struct loop *loop = loop_new();
    struct signals *signals = signals_start(loop, NULL, NULL); /* SIGPIPE is off, as in the program */
    signals_stop(signals);
    loop_free(loop);
    test_silent_clients_are_cut();
    test_clients_that_drip_are_cut();
    test_handlers_may_take_longer_than_the_limits();
    test_connections_beyond_the_limit_wait();
    test_a_peer_that_hangs_up_is_noticed();
    test_a_stream_arrives_piece_by_piece();
    test_a_slow_reader_holds_the_writer_back();
    test_a_reader_who_stops_is_cut();
    test_closing_answers_who_waits();
    test_closing_lets_replies_go_out_or_cuts_them();
    test_closing_at_once_with_everything_open();
    test_a_thousand_requests_at_once();
    HARNESS_END();
}
