/* test_server.c - the server's protocol: what is read, how it is answered, and what is dropped. */
#include "server_fixture.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"

static void test_answers_and_keeps_the_connection(void)
{
    struct fixture f;
    fixture_start(&f, &(struct server_config){0});
    CHECK(strncmp(server_url(f.server), "http://127.0.0.1:", 17) == 0);
    int fd = client_connect(&f);
    client_expect(&f, fd, GET("/"), "\r\n\r\nhello");
    client_expect(&f, fd, GET("/again"), "\r\n\r\nhello");
    CHECK_INT(server_connections(f.server), 1);
    CHECK_INT(f.requests, 2);
    close(fd);
    PUMP_UNTIL(&f, server_connections(f.server) == 0);
    fixture_end(&f);
}

static void test_hands_over_all_of_a_request(void)
{
    struct fixture f;
    fixture_start(&f, &(struct server_config){0});
    int fd = client_connect(&f);
    client_send(&f, fd,
                "PUT /wait/a%20b?x=1&y=%2F HTTP/1.1\r\nHost: x\r\nX-Thing: One\r\nX-THING: two\r\n"
                "Content-Length: 3\r\n\r\nabc");
    PUMP_UNTIL(&f, f.held_count == 1);
    struct server_request *r = f.held[0];
    CHECK_STR(r->method, "PUT");
    CHECK_STR(r->target, "/wait/a%20b?x=1&y=%2F");
    CHECK_STR(r->remote, "127.0.0.1");
    CHECK_STR(buf_str(&r->headers), "host: x\r\nx-thing: One\r\nx-thing: two\r\ncontent-length: 3\r\n");
    CHECK_STR(buf_str(&r->body), "abc");
    CHECK(!server_request_is_gone(r));
    CHECK(server_respond(r, 201, (struct http_header[]){{"X-Reply", "yes"}}, 1, NULL, 0, NULL) == 0);
    client_expect(&f, fd, "", "X-Reply: yes\r\n");
    close(fd);
    fixture_end(&f);
}

static void test_pipelined_requests_are_answered_in_order(void)
{
    struct fixture f;
    fixture_start(&f, &(struct server_config){0});
    int fd = client_connect(&f);
    struct buf in = {0};
    bool eof;
    client_send(&f, fd,
                GET("/wait") "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nsecond" GET("/3"));
    PUMP_UNTIL(&f, f.held_count == 1);
    CHECK_INT(f.requests, 1);
    CHECK(server_respond(f.held[0], 200, NULL, 0, "first", 5, NULL) == 0);
    client_read_until(&f, fd, &in, "hello", 1, &eof);
    const char *first = strstr(buf_str(&in), "first"), *second = strstr(buf_str(&in), "second");
    CHECK(first && second && first < second);
    CHECK_INT(f.requests, 3);
    buf_deinit(&in);
    close(fd);
    fixture_end(&f);
}

static void test_bodies(void)
{
    struct fixture f;
    fixture_start(&f, &(struct server_config){.max_body = 1000});
    int fd = client_connect(&f);
    client_expect(&f, fd,
                  "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "4\r\nchun\r\n6\r\nky bod\r\n1\r\ny\r\n0\r\n\r\n",
                  "\r\n\r\nchunky body");
    client_expect(&f, fd,
                  "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
                  "100 Continue\r\n\r\n");
    client_expect(&f, fd, "after", "\r\n\r\nafter");
    client_expect(&f, fd, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", "Content-Length: 5\r\n");
    client_expect(&f, fd, GET("/"), "hello"); /* HEAD had no body that could be taken for this reply's */
    close(fd);

    fd = client_connect(&f);
    client_expect(&f, fd, "GET / HTTP/1.0\r\n\r\n", "hello");
    client_expect_close(&f, fd, NULL);
    fixture_end(&f);
}

static void test_large_body_arrives_whole(void)
{
    struct fixture f;
    size_t n = 8 * 1024 * 1024;
    fixture_start(&f, &(struct server_config){.max_body = n});
    char *body = mem_alloc(n), head[100];
    for (size_t i = 0; i < n; i++) body[i] = (char)(i * 7 + i / 251);
    int fd = client_connect(&f);
    snprintf(head, sizeof head, "PUT /wait HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n", n);
    CHECK(client_send(&f, fd, head));
    CHECK(client_send_bytes(&f, fd, body, n));
    PUMP_UNTIL(&f, f.held_count == 1);
    CHECK_INT(f.held[0]->body.len, n);
    CHECK(memcmp(f.held[0]->body.data, body, n) == 0);
    mem_free(body);
    close(fd);
    fixture_end(&f);
}

static void test_refusals(void)
{
    struct fixture f;
    fixture_start(&f, &(struct server_config){.max_body = 10, .max_header = 1000});
    int fd = client_connect(&f);
    client_send(&f, fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n");
    client_expect(&f, fd, "12345678901", " 413 ");
    close(fd);

    fd = client_connect(&f); /* told at once, and never invited to send */
    struct buf in = {0};
    client_send(&f, fd,
                "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n");
    client_expect_close(&f, fd, &in);
    CHECK(strncmp(buf_str(&in), "HTTP/1.1 413 ", 13) == 0);
    buf_clear(&in);

    fd = client_connect(&f);
    client_expect(&f, fd,
                  "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "6\r\n123456\r\n6\r\n123456\r\n0\r\n\r\n",
                  " 413 ");
    close(fd);

    fd = client_connect(&f);
    client_expect(&f, fd,
                  "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "0\r\n\r\n",
                  " 400 ");
    close(fd);

    fd = client_connect(&f);
    client_expect(&f, fd, "GET / HTTP/1.1\r\nno colon here\r\n\r\n", " 400 ");
    close(fd);
    fd = client_connect(&f);
    client_send(&f, fd, "NONSENSE\r\n\r\n");
    client_expect_close(&f, fd, NULL);

    char head[1200];
    snprintf(head, sizeof head, "GET / HTTP/1.1\r\nHost: x\r\nX-Long: %0990d\r\n\r\n", 1);
    fd = client_connect(&f);
    client_expect(&f, fd, head, " 431 ");
    close(fd);
    snprintf(head, sizeof head, "GET / HTTP/1.1\r\nHost: x\r\nX-Long: %0900d\r\n\r\n", 1);
    fd = client_connect(&f);
    client_expect(&f, fd, head, "hello"); /* just within */
    close(fd);

    size_t huge = 200000; /* more than the daemon's own pool */
    char *long_head = mem_alloc(huge + 100);
    snprintf(long_head, huge + 100, "GET / HTTP/1.1\r\nHost: x\r\nX-Long: %0*d\r\n\r\n", (int)huge, 1);
    fd = client_connect(&f);
    client_send(&f, fd, long_head);
    bool eof;
    client_read_until(&f, fd, &in, "\r\n\r\n", 1, &eof);
    CHECK(in.len == 0 || strstr(buf_str(&in), " 431 ")); /* a reset may overtake the reply */
    close(fd);
    mem_free(long_head);
    buf_deinit(&in);
    CHECK_INT(f.requests, 1);
    fixture_end(&f);
}

static void test_endless_chunked_body_is_cut(void)
{
    struct fixture f;
    fixture_start(&f, &(struct server_config){.max_body = 10});
    int fd = client_connect(&f);
    client_send(&f, fd, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    static char chunk[65536 + 8];
    memcpy(chunk, "10000\r\n", 7);
    memset(chunk + 7, 'x', 65536);
    int sent = 0;
    while (sent < 1000 && client_send_bytes(&f, fd, chunk, 7 + 65536) && client_send(&f, fd, "\r\n")) sent++;
    CHECK(sent < 1000);
    close(fd);
    CHECK_INT(f.requests, 0);
    fixture_end(&f);
}

static void test_drop_gives_no_byte(void)
{
    struct fixture f;
    fixture_start(&f, &(struct server_config){0});
    struct buf in = {0};
    int fd = client_connect(&f);
    client_send(&f, fd, GET("/drop"));
    client_expect_close(&f, fd, &in);
    CHECK_INT(in.len, 0);

    fd = client_connect(&f); /* the second request of a kept connection */
    client_expect(&f, fd, GET("/"), "hello");
    client_send(&f, fd, "POST /drop HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi");
    client_expect_close(&f, fd, &in);
    CHECK_INT(in.len, 0);
    CHECK_INT(f.requests, 3);

    fd = client_connect(&f); /* in the middle of a stream */
    client_send(&f, fd, GET("/stream"));
    PUMP_UNTIL(&f, f.held_count == 1);
    server_respond_write(f.held[0], "part", 4, NULL);
    client_expect(&f, fd, "", "part");
    server_drop(f.held[0]);
    client_expect_close(&f, fd, &in);
    CHECK(strstr(buf_str(&in), "0\r\n\r\n") == NULL); /* the end of the chunks never came */
    buf_deinit(&in);
    fixture_end(&f);
}

static void test_forgotten_request_gets_500(void)
{
    struct fixture f;
    fixture_start(&f, &(struct server_config){0});
    int fd = client_connect(&f);
    client_expect(&f, fd, GET("/forgotten"), " 500 ");
    client_expect(&f, fd, GET("/"), "hello");
    close(fd);
    fixture_end(&f);
}

static void test_bad_answers_are_refused(void)
{
    struct fixture f;
    struct err err;
    fixture_start(&f, &(struct server_config){0});
    int fd = client_connect(&f);
    client_send(&f, fd, GET("/wait"));
    PUMP_UNTIL(&f, f.held_count == 1);
    struct server_request *r = f.held[0];
    CHECK(server_respond(r, 99, NULL, 0, NULL, 0, &err) == -1 && err.kind == ERR_INVALID);
    CHECK(server_respond(r, 600, NULL, 0, NULL, 0, &err) == -1 && err.kind == ERR_INVALID);
    const struct http_header bad[] = {{"X", "a\r\nInjected: yes"}, {"X Y", "1"},     {"", "1"},
                                      {"Content-Length", "999"},   {"X:", "1"},      {"Date", "now"},
                                      {"transfer-encoding", "br"}, {"X\r\nY", "no"}, {"X\xc3", "1"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK(server_respond(r, 200, &bad[i], 1, NULL, 0, &err) == -1 && err.kind == ERR_INVALID);
        CHECK(server_respond_begin(r, 200, &bad[i], 1, &err) == -1 && err.kind == ERR_INVALID);
    }
    CHECK(server_respond(r, 200, (struct http_header[]){{"X-Empty", ""}}, 1, "ok", 2, &err) == 0);
    CHECK(server_respond(r, 200, NULL, 0, NULL, 0, &err) == -1); /* once only */
    client_expect(&f, fd, "", "\r\n\r\nok");
    CHECK(server_respond(r, 200, NULL, 0, NULL, 0, &err) == -1);
    close(fd);
    fixture_end(&f);
}

static void test_addresses(void)
{
    struct fixture f;
    struct err err;
    fixture_start(&f, &(struct server_config){.host = "localhost"});
    struct server_config same = {.port = server_port(f.server)};
    CHECK(server_start(f.loop, f.timers, &same, &fixture_events, &f, &err) == NULL);
    CHECK(err.kind == ERR_NETWORK);
    CHECK_STR(err.code, "EADDRINUSE");
    struct server_config named = {.host = "example.org"};
    CHECK(server_start(f.loop, f.timers, &named, &fixture_events, &f, &err) == NULL);
    CHECK(err.kind == ERR_INVALID);
    fixture_end(&f);

    struct server_config six = {.host = "::1"};
    memset(&f, 0, sizeof f);
    struct loop *loop = loop_new();
    struct clock *clock = clock_new();
    struct timers *timers = timers_new(loop, clock);
    struct server *s = server_start(loop, timers, &six, &fixture_events, &f, &err);
    if (s) { /* a machine without IPv6 has nothing to test */
        CHECK(strncmp(server_url(s), "http://[::1]:", 13) == 0);
        server_close(s, 0);
    }
    timers_free(timers);
    loop_free(loop);
    CHECK_INT(f.closed, s ? 1 : 0);
    clock_free(clock);
}

/* Requests with bytes changed, cut, doubled and glued together: the server goes on, and forgets them all. */
static void test_garbage_does_no_harm(void)
{
    static const char *const seeds[] = {
        GET("/"), GET("/wait") GET("/forgotten"), "HEAD /stream HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n",
        "PUT /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello"};
    struct fixture f;
    struct random random;
    struct buf text = {0};
    random_init(&random, 7);
    fixture_start(&f, &(struct server_config){.max_body = 100, .max_header = 400});
    for (int round = 0; round < 400; round++) {
        buf_clear(&text);
        for (uint64_t n = 1 + random_below(&random, 3); n > 0; n--)
            buf_puts(&text, seeds[random_below(&random, 5)]);
        for (uint64_t n = random_below(&random, 6); n > 0; n--) {
            size_t at = (size_t)random_below(&random, text.len);
            switch (random_below(&random, 3)) {
            case 0: text.data[at] = (char)random_u64(&random); break;
            case 1: buf_consume(&text, at / 4); break;
            case 2: buf_append(&text, "\r\n\0:%", 5); break;
            }
        }
        int fd = client_connect(&f);
        client_send_bytes(&f, fd, text.data, text.len);
        for (int turn = 0; turn < 5; turn++) loop_turn(f.loop);
        close(fd);
        if (round % 20 == 0) fixture_release_all(&f);
    }
    int fd = client_connect(&f);
    client_expect(&f, fd, GET("/"), "hello");
    close(fd);
    fixture_release_all(&f);
    PUMP_UNTIL(&f, server_connections(f.server) == 0);
    CHECK(f.requests > 100);
    buf_deinit(&text);
    fixture_end(&f);
}

int main(void)
{
    test_answers_and_keeps_the_connection();
    test_hands_over_all_of_a_request();
    test_pipelined_requests_are_answered_in_order();
    test_bodies();
    test_large_body_arrives_whole();
    test_refusals();
    test_endless_chunked_body_is_cut();
    test_drop_gives_no_byte();
    test_forgotten_request_gets_500();
    test_bad_answers_are_refused();
    test_addresses();
    test_garbage_does_no_harm();
    HARNESS_END();
}
