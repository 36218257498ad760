/* test_http_outcome.c - what is said of a request that failed: executed, or may be executed, or surely not.
 *
 * The peer's ledger (requests read completely) is held against the verdict in each case.
 */
#include <signal.h>

#include "tests/c/http_case.h"

/* Executes everything; the second request of a connection gets no reply, only the end. */
static void serve_then_drop(struct peer *peer, int fd, int connection)
{
    char *buf = malloc(PEER_REQUEST_MAX);
    (void)connection;
    if (peer_read(peer, fd, buf, PEER_REQUEST_MAX) > 0) {
        peer_reply(fd, "200 OK", "", "first");
        peer_read(peer, fd, buf, PEER_REQUEST_MAX);
    }
    free(buf);
}

static struct http_request post(const char *url, const char *body, size_t n)
{
    return (struct http_request){.method = "POST", .url = url, .body = body, .body_len = n, .once = true};
}

static void check_unknown(const struct answer *a, const char *code)
{
    CHECK(a->failed && a->sent);
    CHECK_INT(a->err.outcome, OUTCOME_UNKNOWN);
    CHECK(!a->err.retryable);
    CHECK_STR(a->err.code, code);
}

/* regression: libcurl repeats a POST when a kept-alive connection closes before the first reply byte */
static void a_second_request_that_is_dropped_runs_once_and_is_unknown(void)
{
    static char large[100 * 1024];
    memset(large, 'b', sizeof large);
    struct http_file_body file = {.path = "Makefile", .part_name = "file"};
    struct http_request cases[5];
    for (int i = 0; i < 5; i++) {
        struct bench b = bench_open(NULL);
        struct peer *peer = peer_start(serve_then_drop);
        const char *url = at(peer, "/run");
        cases[0] = post(url, "x=1", 3);
        cases[1] = post(url, NULL, 0);
        cases[2] = post(url, large, sizeof large);
        cases[3] = (struct http_request){.method = "POST", .url = url, .file_body = &file, .once = true};
        cases[4] = (struct http_request){.method = "DELETE", .url = url, .once = true};
        CHECK_INT(get(&b, url).status, 200);
        struct answer a = exchange(&b, &cases[i]);
        check_unknown(&a, "resend_refused");
        CHECK_INT(peer->requests, 2); /* the first GET, and one execution */
        bench_close(&b);
        peer_stop(peer);
    }
}

static void a_read_that_is_dropped_is_repeated(void)
{
    struct bench b = bench_open(NULL);
    struct peer *peer = peer_start(serve_then_drop);
    CHECK_INT(get(&b, at(peer, "/")).status, 200);
    CHECK_INT(get(&b, at(peer, "/")).status, 200);
    CHECK_INT(peer->requests, 3);
    CHECK_INT(peer->connections, 2);
    bench_close(&b);
    peer_stop(peer);
}

static void a_create_has_a_connection_of_its_own(void)
{
    struct bench b = bench_open(NULL);
    struct peer *peer = peer_start(peer_hello);
    struct http_request r = post(at(peer, "/create"), "{}", 2);
    r.fresh = true;
    CHECK_INT(exchange(&b, &r).status, 200);
    CHECK_INT(get(&b, r.url).status, 200);
    CHECK_INT(peer->connections, 2); /* nobody takes it over afterwards */
    CHECK_INT(exchange(&b, &r).status, 200);
    CHECK_INT(peer->connections, 3);
    CHECK_INT(get(&b, r.url).status, 200);
    CHECK_INT(peer->connections, 3); /* the one of the first GET is still there */
    bench_close(&b);
    peer_stop(peer);
}

/* A port where nobody listens: bound, never listened on. */
static int closed_port(char *url, size_t size)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bind(fd, (struct sockaddr *)&address, n);
    getsockname(fd, (struct sockaddr *)&address, &n);
    snprintf(url, size, "http://user:pw@127.0.0.1:%u/path?token=s3cret", ntohs(address.sin_port));
    return fd;
}

static void before_anything_is_sent_the_outcome_is_none(void)
{
    struct bench b = bench_open(NULL);
    char url[100];
    int fd = closed_port(url, sizeof url);
    struct http_request r = post(url, "{}", 2);
    r.fresh = true;
    struct answer a = exchange(&b, &r);
    CHECK(a.failed && !a.sent && a.err.kind == ERR_NETWORK && a.err.retryable);
    CHECK_INT(a.err.outcome, OUTCOME_NONE);
    CHECK_STR(a.err.code, "connect");
    CHECK(strstr(a.err.message, "POST http://127.0.0.1") && !strstr(a.err.message, "s3cret"));
    CHECK(!strstr(a.err.message, "pw@"));
    close(fd);

    struct peer *plain = peer_start(peer_hello); /* no TLS there: the hello is read as a request */
    snprintf(url, sizeof url, "https://127.0.0.1:%u/", plain->port);
    r.url = url;
    r.connect_ms = 300;
    a = exchange(&b, &r);
    CHECK(a.failed && !a.sent && a.err.outcome == OUTCOME_NONE);
    CHECK_STR(a.err.code, "connect"); /* TLS included */
    CHECK_INT(a.err.kind, ERR_TIMEOUT);
    CHECK(a.err.retryable);
    peer_stop(plain);
    bench_close(&b);
}

static void serve_no_tls(struct peer *peer, int fd, int connection)
{
    char buf[4096];
    (void)peer;
    (void)connection;
    if (recv(fd, buf, sizeof buf, 0) > 0) peer_send(fd, "HTTP/1.1 400 Bad Request\r\n\r\n");
}

static void a_failed_handshake_is_a_tls_error_and_nothing_was_sent(void)
{
    struct bench b = bench_open(NULL);
    struct peer *peer = peer_start(serve_no_tls);
    char url[64];
    snprintf(url, sizeof url, "https://127.0.0.1:%u/", peer->port);
    struct http_request r = post(url, "{}", 2);
    struct answer a = exchange(&b, &r);
    CHECK(a.failed && !a.sent && a.err.kind == ERR_TLS && a.err.outcome == OUTCOME_NONE && !a.err.retryable);
    bench_close(&b);
    peer_stop(peer);
}

static void serve_by_path(struct peer *peer, int fd, int connection)
{
    char buf[8192];
    (void)connection;
    while (peer_read(peer, fd, buf, sizeof buf) > 0) {
        if (strstr(buf, " /drop")) return;
        if (strstr(buf, " /reset")) {
            struct linger hard = {1, 0};
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
            return;
        }
        if (strstr(buf, " /half")) {
            peer_send(fd, "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nabc");
            return;
        }
        if (strstr(buf, " /stall")) {
            peer_send(fd, "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nabc");
            peer_silent(peer, fd, connection);
            return;
        }
        if (strstr(buf, " /drip")) {
            peer_send(fd, "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n");
            for (int i = 0; i < 100 && send(fd, ".", 1, MSG_NOSIGNAL) == 1; i++) peer_pause_ms(20);
            return;
        }
        peer_silent(peer, fd, connection);
        return;
    }
}

static void after_bytes_went_out_a_failure_is_unknown_for_what_changes_things(void)
{
    struct bench b = bench_open(NULL);
    struct peer *peer = peer_start(serve_by_path);
    static const char *const paths[] = {"/drop", "/half"};
    static const char *const codes[] = {"no_reply", "truncated"};
    for (int fresh = 0; fresh < 2; fresh++)
        for (int i = 0; i < 2; i++) {
            struct http_request r = post(at(peer, paths[i]), "{}", 2);
            int before = peer->requests;
            r.fresh = fresh;
            struct answer a = exchange(&b, &r);
            check_unknown(&a, codes[i]);
            CHECK_INT(peer->requests - before, 1);
            a = get(&b, r.url);
            CHECK(a.failed && a.err.outcome == OUTCOME_NONE && a.err.retryable);
            CHECK_STR(a.err.code, codes[i]);
        }
    bench_close(&b);
    peer_stop(peer);
}

static void each_phase_has_its_time_out(void)
{
    struct bench b = bench_open(NULL);
    struct peer *peer = peer_start(serve_by_path);
    struct http_request r = post(at(peer, "/silent"), "{}", 2);
    r.first_byte_ms = 150;
    struct answer a = exchange(&b, &r);
    check_unknown(&a, "first_byte");
    CHECK(a.err.kind == ERR_TIMEOUT && a.elapsed_ms >= 150 && a.elapsed_ms < 3000);

    r = post(at(peer, "/stall"), "{}", 2);
    r.stall_ms = 150;
    a = exchange(&b, &r);
    check_unknown(&a, "stall");
    CHECK(a.elapsed_ms >= 150 && a.status == 200);

    r = post(at(peer, "/drip"), "{}", 2);
    r.stall_ms = 1000; /* one byte each 20 ms is life enough, but not for ever */
    r.total_ms = 400;
    a = exchange(&b, &r);
    check_unknown(&a, "total");
    CHECK(a.elapsed_ms >= 400);

    r = (struct http_request){.method = "GET", .url = at(peer, "/silent"), .first_byte_ms = 100};
    a = exchange(&b, &r);
    CHECK(a.failed && a.err.outcome == OUTCOME_NONE && a.err.retryable && a.err.kind == ERR_TIMEOUT);
    bench_close(&b);
    peer_stop(peer);
}

static void time_in_the_queue_counts_and_sends_nothing(void)
{
    struct http_config config = {.mux = {.host_base = 1, .host_max = 1}};
    struct bench b = bench_open(&config);
    struct peer *peer = peer_start(serve_by_path);
    struct answer first, second;
    send_request(&b,
                 &(struct http_request){.method = "GET", .url = at(peer, "/silent"), .first_byte_ms = 600},
                 &first);
    struct http_request r = post(at(peer, "/silent"), "{}", 2);
    r.total_ms = 200;
    send_request(&b, &r, &second);
    loop_run(b.loop);
    CHECK(second.failed && !second.sent && second.err.retryable && second.err.outcome == OUTCOME_NONE);
    CHECK_STR(second.err.code, "total");
    CHECK_INT(peer->requests, 1);
    bench_close(&b);
    peer_stop(peer);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    a_second_request_that_is_dropped_runs_once_and_is_unknown();
    a_read_that_is_dropped_is_repeated();
    a_create_has_a_connection_of_its_own();
    before_anything_is_sent_the_outcome_is_none();
    a_failed_handshake_is_a_tls_error_and_nothing_was_sent();
    after_bytes_went_out_a_failure_is_unknown_for_what_changes_things();
    each_phase_has_its_time_out();
    time_in_the_queue_counts_and_sends_nothing();
    HARNESS_END();
}
