/* test_http_dns.c - names: one lookup for all who wait, a hung one delays nobody else.
 *
 * This program has a getaddrinfo of its own: *.test is 127.0.0.1, hang.test takes its time, gone.test fails.
 */
#include <netdb.h>
#include <signal.h>

#include "tests/c/http_case.h"

static atomic_int lookups, lookups_of_gone, hanging;
static atomic_bool moved;

int getaddrinfo(const char *restrict node, const char *restrict service,
                const struct addrinfo *restrict hints, struct addrinfo **restrict result)
{
    (void)service;
    (void)hints;
    lookups++;
    peer_pause_ms(30);
    if (strcmp(node, "gone.test") == 0) {
        lookups_of_gone++;
        return EAI_NONAME;
    }
    if (strcmp(node, "hang.test") == 0) {
        hanging++;
        peer_pause_ms(8000);
        hanging--;
    }
    struct addrinfo *a = calloc(1, sizeof *a + sizeof(struct sockaddr_in));
    struct sockaddr_in *address = (struct sockaddr_in *)(void *)(a + 1);
    address->sin_family = AF_INET;
    address->sin_addr.s_addr = htonl(moved ? INADDR_LOOPBACK + 1 : INADDR_LOOPBACK);
    a->ai_family = AF_INET;
    a->ai_socktype = SOCK_STREAM;
    a->ai_addr = (struct sockaddr *)address;
    a->ai_addrlen = sizeof *address;
    *result = a;
    return 0;
}

void freeaddrinfo(struct addrinfo *list)
{
    free(list);
}

static const char *named(const struct peer *peer, const char *host)
{
    static char urls[4][128];
    static int next;
    char *out = urls[next++ % 4];
    snprintf(out, sizeof urls[0], "http://%s:%u/", host, peer->port);
    return out;
}

static void a_hundred_requests_need_one_lookup(void)
{
    struct bench b = bench_open(NULL);
    struct peer *peer = peer_start(peer_hello);
    static struct answer answers[100];
    lookups = 0;
    for (int i = 0; i < 100; i++)
        send_request(&b, &(struct http_request){.method = "GET", .url = named(peer, "Name.Test")},
                     &answers[i]);
    loop_run(b.loop);
    for (int i = 0; i < 100; i++) CHECK_INT(answers[i].status, 200);
    CHECK_INT(lookups, 1);
    CHECK(strstr(peer->last, "Host: Name.Test") != NULL || strstr(peer->last, "Host: name.test") != NULL);
    CHECK_INT(get(&b, named(peer, "name.test")).status, 200);
    CHECK_INT(lookups, 1); /* and none while the answer is fresh */
    bench_close(&b);
    peer_stop(peer);
}

static void a_failed_lookup_fails_all_who_wait_and_is_tried_anew(void)
{
    struct bench b = bench_open(NULL);
    struct peer *peer = peer_start(peer_hello);
    struct answer answers[10];
    lookups = 0;
    for (int i = 0; i < 10; i++)
        send_request(&b,
                     &(struct http_request){.method = "POST", .url = named(peer, "gone.test"), .fresh = true},
                     &answers[i]);
    loop_run(b.loop);
    for (int i = 0; i < 10; i++) {
        CHECK(answers[i].failed && !answers[i].sent && answers[i].err.retryable);
        CHECK_STR(answers[i].err.code, "resolve");
        CHECK_INT(answers[i].err.outcome, OUTCOME_NONE);
    }
    CHECK_INT(lookups, 1);
    CHECK(get(&b, named(peer, "gone.test")).failed);
    CHECK_INT(lookups, 2);
    bench_close(&b);
    peer_stop(peer);
}

/* regression: libcurl joins its resolver thread, and so the whole loop waits for a hung name server */
static void a_hung_lookup_delays_nobody_else_and_times_out(void)
{
    struct bench b = bench_open(NULL);
    struct peer *peer = peer_start(peer_hello);
    struct answer hung[50];
    struct http_request r = {.method = "GET", .url = named(peer, "hang.test"), .connect_ms = 2500};
    for (int i = 0; i < 50; i++) send_request(&b, &r, &hung[i]);
    uint64_t start = clock_now_ms(b.clock);
    for (int i = 0; i < 5; i++) {
        struct answer a;
        send_request(&b, &(struct http_request){.method = "GET", .url = named(peer, "quick.test")}, &a);
        while (a.calls == 0) loop_turn(b.loop);
        CHECK_INT(a.status, 200);
    }
    CHECK(clock_now_ms(b.clock) - start < 2400);
    CHECK_INT(hanging, 1);
    loop_run(b.loop);
    for (int i = 0; i < 50; i++) {
        CHECK(hung[i].failed && hung[i].err.kind == ERR_TIMEOUT && hung[i].err.outcome == OUTCOME_NONE);
        CHECK_STR(hung[i].err.code, "resolve");
        CHECK(hung[i].elapsed_ms < 10000);
    }
    start = clock_now_ms(b.clock);
    CHECK_INT(hanging, 1);
    struct clock *clock = clock_new();
    bench_close(&b); /* with the lookup still hanging */
    CHECK(clock_now_ms(clock) - start < 5000);
    clock_free(clock);
    peer_stop(peer);
}

/* An address that stopped answering is looked up anew, and libcurl hears of the new one. */
static void a_name_that_moved_is_found_again(void)
{
    struct bench b = bench_open(NULL);
    struct peer *peer = peer_start(peer_hello);
    char url[128];
    snprintf(url, sizeof url, "%s", named(peer, "moves.test"));
    moved = true; /* 127.0.0.2: nobody listens on that port there */
    CHECK_STR(get(&b, url).err.code, "connect");
    moved = false;
    struct answer a = get(&b, url); /* the stale address once more, while the lookup runs */
    for (int i = 0; i < 50 && a.failed; i++) {
        peer_pause_ms(10);
        a = get(&b, url);
    }
    CHECK_INT(a.status, 200);
    bench_close(&b);
    peer_stop(peer);
}

static void the_proxy_of_the_environment_is_asked_instead(void)
{
    struct peer *peer = peer_start(peer_hello);
    char proxy[64];
    snprintf(proxy, sizeof proxy, "http://proxy.test:%u", peer->port);
    setenv("http_proxy", proxy, 1);
    setenv("no_proxy", "other.example, .direct.test,127.0.0.1", 1);
    struct bench b = bench_open(NULL);
    lookups_of_gone = 0;
    CHECK_INT(get(&b, "http://gone.test/through").status, 200); /* only the proxy's name is looked up */
    CHECK_INT(lookups_of_gone, 0);
    CHECK(strncmp(peer->last, "GET http://gone.test/through HTTP/1.1", 37) == 0);
    CHECK_INT(get(&b, named(peer, "a.direct.test")).status, 200);
    CHECK(strncmp(peer->last, "GET / HTTP/1.1", 14) == 0);
    CHECK_INT(get(&b, at(peer, "/x")).status, 200);
    CHECK(strncmp(peer->last, "GET /x HTTP/1.1", 15) == 0);
    unsetenv("http_proxy");
    unsetenv("no_proxy");
    bench_close(&b);
    peer_stop(peer);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    a_hundred_requests_need_one_lookup();
    a_failed_lookup_fails_all_who_wait_and_is_tried_anew();
    a_hung_lookup_delays_nobody_else_and_times_out();
    a_name_that_moved_is_found_again();
    the_proxy_of_the_environment_is_asked_instead();
    while (hanging > 0) peer_pause_ms(10); /* the abandoned thread, so that nothing runs while we end */
    peer_pause_ms(50);
    HARNESS_END();
}
