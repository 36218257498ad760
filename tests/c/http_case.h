/* http_case.h - a loop, a transport, and "send this, wait, look at what came": shared by test_http*.c. */
#ifndef PERIGEE_TESTS_HTTP_CASE_H
#define PERIGEE_TESTS_HTTP_CASE_H

#include "host/http.h"
#include "host/mem.h"
#include "tests/c/harness.h"
#include "tests/c/peer.h"

struct bench {
    struct loop *loop;
    struct clock *clock;
    struct timers *timers;
    struct transport *http;
};

struct answer {
    struct exchange *exchange;
    int calls;
    bool failed;
    int status;
    char headers[4096], body[4096], url[512], version[8];
    size_t body_len;
    bool sent;
    uint64_t elapsed_ms, downloaded;
    struct err err;
    int progress_calls;
    struct http_progress progress;
};

static struct bench bench_open(const struct http_config *config)
{
    struct bench b = {loop_new(), clock_new(), NULL, NULL};
    b.timers = timers_new(b.loop, b.clock);
    b.http = http_transport_new(b.loop, b.timers, b.clock, config);
    return b;
}

static void bench_close(struct bench *b)
{
    b->http->type->free(b->http);
    CHECK_INT(timers_count(b->timers), 0);
    timers_free(b->timers);
    CHECK_INT(loop_free(b->loop), 0);
    clock_free(b->clock);
}

static void on_done(void *ctx, struct http_response *r, const struct err *err)
{
    struct answer *a = ctx;
    a->calls++;
    a->failed = err != NULL;
    if (err) a->err = *err;
    a->status = r->status;
    snprintf(a->headers, sizeof a->headers, "%s", buf_str(&r->headers));
    snprintf(a->body, sizeof a->body, "%s", buf_str(&r->body));
    a->body_len = r->body.len;
    snprintf(a->url, sizeof a->url, "%s", r->url);
    snprintf(a->version, sizeof a->version, "%s", r->http_version);
    a->sent = r->sent;
    a->elapsed_ms = r->elapsed_ms;
    a->downloaded = r->downloaded;
}

static inline void on_progress(void *ctx, const struct http_progress *p)
{
    struct answer *a = ctx;
    a->progress_calls++;
    a->progress = *p;
}

static inline void send_request(struct bench *b, const struct http_request *r, struct answer *a)
{
    memset(a, 0, sizeof *a);
    a->exchange = transport_start(b->http, r, on_done, on_progress, a, &a->err);
    CHECK(a->calls == 0);
}

/* Runs the exchange to its end. */
static inline struct answer exchange(struct bench *b, const struct http_request *r)
{
    struct answer a;
    send_request(b, r, &a);
    CHECK(a.exchange != NULL);
    if (a.exchange == NULL) printf("  refused: %s\n", a.err.message);
    loop_run(b->loop);
    CHECK_INT(a.calls, a.exchange != NULL);
    return a;
}

static inline struct answer get(struct bench *b, const char *url)
{
    return exchange(b, &(struct http_request){.method = "GET", .url = url});
}

/* url + path in one of four rotating buffers. */
static inline const char *at(const struct peer *peer, const char *path)
{
    static char urls[4][512];
    static int next;
    char *out = urls[next++ % 4];
    snprintf(out, sizeof urls[0], "%s%s", peer->url, path);
    return out;
}

#endif
