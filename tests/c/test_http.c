/* test_http.c - requests, replies, keep-alive, caps, redirects, and what is refused. */
#include <signal.h>

#include "tests/c/http_case.h"

static void a_get_returns_status_headers_and_body(void)
{
    struct bench b = bench_open(NULL);
    struct peer *peer = peer_start(peer_hello);
    struct answer a = get(&b, at(peer, "/x?y=1#fragment"));
    CHECK(!a.failed);
    CHECK_INT(a.status, 200);
    CHECK_STR(a.body, "hello");
    CHECK_STR(a.version, "1.1");
    CHECK_STR(a.headers, "content-length: 5\r\nx-a: 1\r\n");
    CHECK(strstr(a.url, "/x?y=1") != NULL);
    CHECK(strncmp(peer->last, "GET /x?y=1 HTTP/1.1\r\n", 21) == 0);
    CHECK(strstr(peer->last, "User-Agent: perigee/") != NULL);
    for (int i = 0; i < 5; i++) CHECK_INT(get(&b, at(peer, "/")).status, 200);
    CHECK_INT(peer->connections, 1); /* kept alive */
    bench_close(&b);
    peer_stop(peer);
}

static void serve_statuses(struct peer *peer, int fd, int connection)
{
    char buf[8192];
    (void)connection;
    while (peer_read(peer, fd, buf, sizeof buf) > 0) {
        if (strncmp(buf, "HEAD", 4) == 0) {
            peer_send(fd, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n");
        } else if (strstr(buf, "/interim")) {
            peer_send(fd, "HTTP/1.1 103 Early Hints\r\nX-Early: 1\r\n\r\n");
            peer_reply(fd, "200 OK", "X-B: two\r\n words\r\nX-B: three\r\nx-empty:\r\n", "late");
        } else if (strstr(buf, "/chunked")) {
            peer_send(
                fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
        } else if (strstr(buf, "/garbage")) {
            peer_send(fd, "SMTP ready\r\n\r\n");
            return;
        } else if (strstr(buf, "/short")) {
            peer_send(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc");
            return;
        } else {
            peer_reply(fd, "404 Not Found", "", "nothing here");
        }
    }
}

static void any_status_is_an_answer_and_broken_replies_are_not(void)
{
    struct bench b = bench_open(NULL);
    struct peer *peer = peer_start(serve_statuses);
    struct answer a = get(&b, at(peer, "/missing"));
    CHECK(!a.failed);
    CHECK_INT(a.status, 404);
    CHECK_STR(a.body, "nothing here");
    a = get(&b, at(peer, "/interim"));
    CHECK_INT(a.status, 200);
    CHECK_STR(a.headers, "content-length: 4\r\nx-b: two words\r\nx-b: three\r\nx-empty: \r\n");
    CHECK_STR(get(&b, at(peer, "/chunked")).body, "abcde");
    a = exchange(&b, &(struct http_request){.method = "HEAD", .url = at(peer, "/")});
    CHECK(!a.failed && a.status == 200 && a.body_len == 0);
    a = get(&b, at(peer, "/garbage"));
    CHECK(a.failed && a.err.kind == ERR_PARSE);
    CHECK_STR(a.err.code, "bad_reply");
    a = get(&b, at(peer, "/short"));
    CHECK(a.failed && a.err.kind == ERR_NETWORK && a.err.retryable);
    CHECK_STR(a.err.code, "truncated");
    bench_close(&b);
    peer_stop(peer);
}

static void nothing_of_a_request_leaks_into_the_next(void)
{
    struct bench b = bench_open(NULL);
    struct peer *peer = peer_start(peer_hello);
    struct http_header headers[] = {
        {"token", "s3cret"}, {"X-Empty", ""}, {"Content-Type", "application/json"}};
    struct answer a = exchange(&b, &(struct http_request){.method = "PUT",
                                                          .url = at(peer, "/a"),
                                                          .headers = headers,
                                                          .header_count = 3,
                                                          .body = "{}",
                                                          .body_len = 2});
    CHECK_INT(a.status, 200);
    CHECK(strstr(peer->last, "PUT /a") && strstr(peer->last, "token: s3cret\r\n"));
    CHECK(strstr(peer->last, "X-Empty:\r\n") && strstr(peer->last, "Content-Type: application/json\r\n"));
    CHECK(strstr(peer->last, "\r\n\r\n{}"));
    CHECK_INT(get(&b, at(peer, "/b")).status, 200);
    CHECK(strncmp(peer->last, "GET /b", 6) == 0 && strstr(peer->last, "token") == NULL);
    CHECK(strstr(peer->last, "Content") == NULL);
    a = exchange(&b, &(struct http_request){.method = "POST", .url = at(peer, "/c"), .once = true});
    CHECK(strstr(peer->last, "Content-Length: 0\r\n") && strstr(peer->last, "Content-Type") == NULL);
    a = exchange(&b, &(struct http_request){.method = "DELETE", .url = at(peer, "/d"), .once = true});
    CHECK(strncmp(peer->last, "DELETE /d", 9) == 0 && strstr(peer->last, "Content") == NULL);
    CHECK_INT(peer->connections, 1);
    bench_close(&b);
    peer_stop(peer);
}

/* Handles of libcurl are used again with the options that all exchanges share: the others must be gone. */
static void a_request_is_the_same_bytes_whatever_came_before_it(void)
{
    enum { LONG_BODY = 100 * 1000 };
    struct bench b = bench_open(NULL);
    struct peer *peer = peer_start(peer_hello);
    static const struct http_header token = {"token", "s3cret"};
    char *body = mem_alloc(LONG_BODY), with_user[128], first[sizeof peer->last];
    memset(body, 'x', LONG_BODY);
    snprintf(with_user, sizeof with_user, "http://user:pass@%s/", strstr(peer->url, "://") + 3);
    const struct http_request before[] = {
        {.method = "POST", .body = "{}", .body_len = 2, .headers = &token, .header_count = 1, .once = true},
        {.method = "POST", .once = true},
        {.method = "POST", .body = body, .body_len = LONG_BODY},
        {.method = "GET", .body = "{}", .body_len = 2},
        {.method = "GET", .url = with_user},
        {.method = "GET", .fresh = true},
        {.method = "PUT", .body = "{}", .body_len = 2},
        {.method = "HEAD", .url = "http://127.0.0.1:1/"}, /* fails */
        {.method = "OPTIONS"},
        {.method = "DELETE", .once = true}};
    CHECK_INT(get(&b, at(peer, "/g")).status, 200);
    snprintf(first, sizeof first, "%s", peer->last);
    for (size_t i = 0; i < sizeof before / sizeof before[0]; i++) {
        struct http_request request = before[i];
        if (request.url == NULL) request.url = at(peer, "/before");
        exchange(&b, &request);
        CHECK_INT(get(&b, at(peer, "/g")).status, 200);
        CHECK_STR(peer->last, first);
    }
    mem_free(body);
    bench_close(&b);
    peer_stop(peer);
}

static void what_cannot_be_sent_is_refused_at_once(void)
{
    struct bench b = bench_open(NULL);
    struct answer a;
    static const char *const urls[] = {"",
                                       "ftp://x/",
                                       "http://",
                                       "http:///x",
                                       "//x/y",
                                       "http://a b/",
                                       "http://a/x y",
                                       "http://a/\r\nX: 1",
                                       "http://a:0/",
                                       "http://a:99999/",
                                       "http://a:8x/",
                                       "http://[::1/",
                                       "http://a\x01/",
                                       "file:///etc/passwd"};
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        send_request(&b, &(struct http_request){.method = "GET", .url = urls[i]}, &a);
        CHECK(a.exchange == NULL && a.err.kind == ERR_INVALID && a.err.outcome == OUTCOME_NONE);
    }
    static const struct http_header bad[] = {{"X", "a\r\nY: b"}, {"X\r\nY", "a"},         {"X Y", "a"},
                                             {"", "a"},          {"Content-Length", "5"}, {"X:", "a"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        send_request(&b,
                     &(struct http_request){
                         .method = "GET", .url = "http://127.0.0.1/", .headers = &bad[i], .header_count = 1},
                     &a);
        CHECK(a.exchange == NULL && a.err.kind == ERR_INVALID);
    }
    static const char *const methods[] = {"", "GET /", "get", "CONNECT", "G\r\nX"};
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        send_request(&b, &(struct http_request){.method = methods[i], .url = "http://127.0.0.1/"}, &a);
        CHECK(a.exchange == NULL && a.err.kind == ERR_INVALID);
    }
    bench_close(&b);
}

static void an_origin_is_the_same_however_it_is_written(void)
{
    char origin[CURLMUX_ORIGIN_MAX];
    static const char *const same[][2] = {{"HTTP://ExAmple.com/a?b", "http://example.com:80"},
                                          {"https://u:p%40@h.x:8443#f", "https://h.x:8443"},
                                          {"https://h.x?q=@evil.com/", "https://h.x:443"},
                                          {"http://a@b@c:/", "http://c:80"},
                                          {"http://[::1]:81/", "http://[::1]:81"}};
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        CHECK_INT(curlmux_origin(same[i][0], origin, NULL), 0);
        CHECK_STR(origin, same[i][1]);
    }
}

static void serve_long(struct peer *peer, int fd, int connection)
{
    char buf[8192], line[1100];
    (void)connection;
    while (peer_read(peer, fd, buf, sizeof buf) > 0) {
        memset(line, 'x', sizeof line);
        line[1000] = '\0';
        if (strstr(buf, "/headers")) {
            peer_send(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n");
            for (int i = 0; i < 20; i++) {
                peer_send(fd, "X-Long: ");
                peer_send(fd, line);
                peer_send(fd, "\r\n");
            }
            peer_send(fd, "\r\n");
        } else {
            peer_reply(fd, "200 OK", "", line);
        }
    }
}

static void caps_on_header_and_body_end_the_exchange(void)
{
    struct bench b = bench_open(NULL);
    struct peer *peer = peer_start(serve_long);
    struct answer a =
        exchange(&b, &(struct http_request){.method = "GET", .url = at(peer, "/body"), .body_cap = 999});
    CHECK(a.failed && a.err.kind == ERR_LIMIT && !a.err.retryable);
    CHECK_STR(a.err.code, "body_cap");
    a = exchange(&b, &(struct http_request){.method = "GET", .url = at(peer, "/body"), .body_cap = 1000});
    CHECK(!a.failed && a.body_len == 1000);
    a = exchange(&b,
                 &(struct http_request){.method = "GET", .url = at(peer, "/headers"), .header_cap = 5000});
    CHECK(a.failed && a.err.kind == ERR_LIMIT);
    CHECK_STR(a.err.code, "header_cap");
    bench_close(&b);
    peer_stop(peer);
}

static struct peer *elsewhere;

static void serve_redirects(struct peer *peer, int fd, int connection)
{
    char buf[8192], location[200];
    (void)connection;
    while (peer_read(peer, fd, buf, sizeof buf) > 0) {
        if (strstr(buf, " /same")) {
            peer_reply(fd, "302 Found", "Location: target?a=b\r\n", "moved");
        } else if (strstr(buf, " /other")) {
            snprintf(location, sizeof location, "Location: %s/landed\r\n", elsewhere->url);
            peer_reply(fd, "307 Temporary Redirect", location, "moved");
        } else if (strstr(buf, " /see")) {
            peer_reply(fd, "303 See Other", "Location: /target\r\n", "");
        } else if (strstr(buf, " /loop")) {
            peer_reply(fd, "302 Found", "Location: /loop\r\n", "");
        } else if (strstr(buf, " /bad")) {
            peer_reply(fd, "302 Found", "Location: ftp://x/\r\n", "");
        } else {
            peer_reply(fd, "200 OK", "", "target");
        }
    }
}

static void redirects_are_followed_only_when_asked_and_carry_no_secret_elsewhere(void)
{
    struct bench b = bench_open(NULL);
    struct peer *peer = peer_start(serve_redirects);
    elsewhere = peer_start(peer_hello);
    struct http_header secret[] = {
        {"token", "jwt"}, {"Authorization", "Bearer x"}, {"Cookie", "c=1"}, {"Accept", "text/x"}};
    struct http_request r = {
        .method = "GET", .url = at(peer, "/same"), .headers = secret, .header_count = 4, .max_redirects = 3};
    struct answer a = exchange(&b, &r);
    CHECK_INT(a.status, 200);
    CHECK_STR(a.body, "target");
    CHECK(strstr(a.url, "/target?a=b") && strstr(peer->last, "token: jwt"));
    r.url = at(peer, "/other");
    a = exchange(&b, &r);
    CHECK_STR(a.body, "hello");
    CHECK(strncmp(elsewhere->last, "GET /landed", 11) == 0 && strstr(elsewhere->last, "Accept: text/x"));
    CHECK(!strstr(elsewhere->last, "jwt") && !strstr(elsewhere->last, "Bearer") &&
          !strstr(elsewhere->last, "Cookie"));
    r.max_redirects = 0;
    CHECK_INT(exchange(&b, &r).status, 307);
    r.max_redirects = 3;
    r.url = at(peer, "/loop");
    a = exchange(&b, &r);
    CHECK(a.failed && !a.err.retryable);
    CHECK_STR(a.err.code, "redirects");
    r.url = at(peer, "/bad");
    CHECK_STR(exchange(&b, &r).err.code, "redirect_url");
    r = (struct http_request){
        .method = "POST", .url = at(peer, "/see"), .body = "xyz", .body_len = 3, .max_redirects = 1};
    a = exchange(&b, &r);
    CHECK_STR(a.body, "target");
    CHECK(strncmp(peer->last, "GET /target", 11) == 0 && strstr(peer->last, "Content-") == NULL);
    r.once = true;
    CHECK_INT(exchange(&b, &r).status, 303); /* never a second request behind our back */
    bench_close(&b);
    peer_stop(peer);
    peer_stop(elsewhere);
}

static void many_at_once_share_a_few_connections(void)
{
    struct http_config config = {.mux = {.host_base = 6, .host_max = 6}};
    struct bench b = bench_open(&config);
    struct peer *peer = peer_start(peer_hello);
    static struct answer answers[300];
    for (int i = 0; i < 300; i++)
        send_request(&b, &(struct http_request){.method = "GET", .url = at(peer, "/")}, &answers[i]);
    loop_run(b.loop);
    int good = 0;
    for (int i = 0; i < 300; i++) good += answers[i].calls == 1 && answers[i].status == 200;
    CHECK_INT(good, 300);
    CHECK_INT(peer->requests, 300);
    CHECK(peer->connections <= 6);
    bench_close(&b);
    peer_stop(peer);
}

static void serve_slowly(struct peer *peer, int fd, int connection)
{
    char buf[4096];
    (void)connection;
    while (peer_read(peer, fd, buf, sizeof buf) > 0) {
        peer_pause_ms(40);
        peer_reply(fd, "200 OK", "", "slow");
    }
}

static void a_slow_server_gets_more_connections(void)
{
    struct http_config config = {.mux = {.host_base = 4, .host_max = 64}};
    struct bench b = bench_open(&config);
    struct peer *peer = peer_start(serve_slowly);
    static struct answer answers[600];
    for (int i = 0; i < 600; i++)
        send_request(&b, &(struct http_request){.method = "GET", .url = at(peer, "/")}, &answers[i]);
    loop_run(b.loop);
    CHECK_INT(peer->requests, 600);
    CHECK(peer->open_peak > 8 && peer->open_peak <= 64);
    bench_close(&b);
    peer_stop(peer);
}

static void a_stalled_server_does_not_delay_another(void)
{
    struct http_config config = {.mux = {.total_max = 20, .host_base = 20}};
    struct bench b = bench_open(&config);
    struct peer *stalled = peer_start(peer_silent), *good = peer_start(peer_hello);
    static struct answer waiting[40];
    struct http_request r = {.method = "GET", .url = at(stalled, "/"), .first_byte_ms = 30000};
    for (int i = 0; i < 40; i++) send_request(&b, &r, &waiting[i]);
    struct answer a;
    send_request(&b, &(struct http_request){.method = "GET", .url = at(good, "/")}, &a);
    while (a.calls == 0) loop_turn(b.loop);
    CHECK(a.status == 200 && a.elapsed_ms < 10000);
    for (int i = 0; i < 40; i++) {
        CHECK_INT(waiting[i].calls, 0);
        transport_cancel(b.http, waiting[i].exchange);
    }
    loop_run(b.loop);
    bench_close(&b);
    peer_stop(stalled);
    peer_stop(good);
}

static void cancelling_and_freeing_in_flight_leave_nothing(void)
{
    struct bench b = bench_open(NULL);
    struct peer *peer = peer_start(peer_silent);
    struct answer a[4];
    for (int i = 0; i < 4; i++)
        send_request(&b, &(struct http_request){.method = "GET", .url = at(peer, "/")}, &a[i]);
    transport_cancel(b.http, a[0].exchange); /* before anything ran */
    while (peer->connections < 3) loop_turn(b.loop);
    transport_cancel(b.http, a[1].exchange);
    for (int i = 0; i < 50; i++) loop_turn(b.loop);
    bench_close(&b); /* the other two */
    for (int i = 0; i < 4; i++) CHECK_INT(a[i].calls, 0);
    peer_stop(peer);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    a_get_returns_status_headers_and_body();
    any_status_is_an_answer_and_broken_replies_are_not();
    nothing_of_a_request_leaks_into_the_next();
    a_request_is_the_same_bytes_whatever_came_before_it();
    what_cannot_be_sent_is_refused_at_once();
    an_origin_is_the_same_however_it_is_written();
    caps_on_header_and_body_end_the_exchange();
    redirects_are_followed_only_when_asked_and_carry_no_secret_elsewhere();
    many_at_once_share_a_few_connections();
    a_slow_server_gets_more_connections();
    a_stalled_server_does_not_delay_another();
    cancelling_and_freeing_in_flight_leave_nothing();
    HARNESS_END();
}
