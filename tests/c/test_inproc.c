/* test_inproc.c - requests answered in this process: delays on the clock, drops, limits, both holders. */
#include <stdlib.h>
#include <unistd.h>

#include "host/inproc.h"
#include "host/mem.h"
#include "tests/c/harness.h"

struct seen {
    int count, status, waits, arrived;
    bool failed;
    struct err err;
    char body[64], headers[128];
    uint64_t at_ms, downloaded;
};

struct bench {
    struct loop *loop;
    struct clock *clock;
    struct timers *timers;
    struct inproc *inproc;
    struct seen seen;
};

static void on_arrived(void *ctx)
{
    ((struct bench *)ctx)->seen.arrived++;
}

static void on_waiting(void *ctx, int change)
{
    ((struct bench *)ctx)->seen.waits += change;
}

static void on_done(void *ctx, struct http_response *response, const struct err *error)
{
    struct bench *b = ctx;
    struct seen *seen = &b->seen;
    seen->count++;
    seen->status = response->status;
    seen->failed = error != NULL;
    if (error) seen->err = *error;
    seen->at_ms = clock_now_ms(b->clock);
    seen->downloaded = response->downloaded;
    snprintf(seen->body, sizeof seen->body, "%s", buf_str(&response->body));
    snprintf(seen->headers, sizeof seen->headers, "%s", buf_str(&response->headers));
}

static void bench_open(struct bench *b)
{
    static const struct inproc_events events = {on_arrived, on_waiting};
    memset(b, 0, sizeof *b);
    b->loop = loop_new();
    b->clock = clock_new_virtual(0);
    b->timers = timers_new(b->loop, b->clock);
    b->inproc = inproc_new(b->loop, b->timers, &events, b);
}

static void bench_close(struct bench *b)
{
    if (b->inproc) inproc_close(b->inproc);
    CHECK_INT(timers_count(b->timers), 0);
    timers_free(b->timers);
    CHECK_INT(loop_free(b->loop), 0);
    clock_free(b->clock);
}

static struct exchange *start(struct bench *b, struct http_request *request)
{
    static const struct http_header header = {"X-Thing", "One"};
    struct err err;
    if (request->url == NULL) request->url = "http://inner/x?y=1";
    if (request->method == NULL) request->method = "POST";
    request->headers = &header;
    request->header_count = 1;
    return transport_start(inproc_transport(b->inproc), request, on_done, NULL, b, &err);
}

/* Lets time pass until the exchange has ended; a download ends by the loop. */
static void run(struct bench *b)
{
    for (int i = 0; i < 100000 && b->seen.count == 0; i++)
        if (!timers_advance(b->timers)) loop_turn(b->loop);
}

static void test_hands_the_request_over_and_the_answer_back_after_its_delay(void)
{
    struct bench b;
    bench_open(&b);
    start(&b, &(struct http_request){.body = "abc", .body_len = 3});
    CHECK_INT(b.seen.arrived, 1);
    CHECK_INT(b.seen.waits, 1);
    struct exchange *x = inproc_accept(b.inproc);
    const struct inproc_request *request = inproc_request(x);
    CHECK_STR(request->method, "POST");
    CHECK_STR(request->url, "http://inner/x?y=1");
    CHECK_STR(buf_str(&request->headers), "x-thing: One\r\n");
    CHECK_STR(buf_str(&request->body), "abc");
    CHECK(inproc_accept(b.inproc) == NULL);
    inproc_respond(x, 201, (struct http_header[]){{"etag", "1"}}, 1, "done", 4, 2500);
    CHECK_INT(b.seen.count, 0); /* never from within the answer */
    run(&b);
    CHECK(!b.seen.failed);
    CHECK_INT(b.seen.status, 201);
    CHECK_STR(b.seen.body, "done");
    CHECK_STR(b.seen.headers, "etag: 1\r\n");
    CHECK_INT(b.seen.at_ms, 2500);
    CHECK_INT(b.seen.waits, 0);
    bench_close(&b);
}

static void test_a_drop_is_unknown_for_a_post_and_none_for_a_get(void)
{
    struct bench b;
    bench_open(&b);
    start(&b, &(struct http_request){0});
    inproc_drop(inproc_accept(b.inproc), 0);
    run(&b);
    CHECK(b.seen.failed && b.seen.err.kind == ERR_NETWORK && b.seen.err.outcome == OUTCOME_UNKNOWN);
    CHECK(!b.seen.err.retryable);
    CHECK_INT(b.seen.status, 0);
    b.seen.count = 0;
    start(&b, &(struct http_request){.method = "GET"});
    inproc_drop(inproc_accept(b.inproc), 0);
    run(&b);
    CHECK(b.seen.failed && b.seen.err.outcome == OUTCOME_NONE && b.seen.err.retryable);
    bench_close(&b);
}

static void test_limits_end_an_exchange_on_the_clock(void)
{
    struct bench b;
    bench_open(&b);
    start(&b, &(struct http_request){.first_byte_ms = 1000});
    struct exchange *x = inproc_accept(b.inproc);
    inproc_respond(x, 200, NULL, 0, "late", 4, 5000);
    run(&b);
    CHECK(b.seen.failed && b.seen.err.kind == ERR_TIMEOUT);
    CHECK_INT(b.seen.at_ms, 1000);
    b.seen.count = 0;
    start(&b, &(struct http_request){.total_ms = 500});
    x = inproc_accept(b.inproc);
    run(&b);
    CHECK_INT(b.seen.at_ms, 1500);
    inproc_respond(x, 200, NULL, 0, "too late", 8, 0); /* its caller is gone */
    b.seen.count = 0;
    start(&b, &(struct http_request){.body_cap = 3});
    inproc_respond(inproc_accept(b.inproc), 200, NULL, 0, "long", 4, 0);
    run(&b);
    CHECK(b.seen.failed && b.seen.err.kind == ERR_LIMIT);
    bench_close(&b);
}

static void test_cancel_at_every_stage_frees_once(void)
{
    struct bench b;
    bench_open(&b);
    struct transport *t = inproc_transport(b.inproc);
    transport_cancel(t, start(&b, &(struct http_request){0}));
    CHECK(inproc_accept(b.inproc) == NULL);
    start(&b, &(struct http_request){0});
    struct exchange *x = inproc_accept(b.inproc);
    transport_cancel(t, x);
    inproc_respond(x, 200, NULL, 0, "", 0, 0);
    start(&b, &(struct http_request){0});
    x = inproc_accept(b.inproc);
    inproc_respond(x, 200, NULL, 0, "", 0, 10);
    transport_cancel(t, x);
    CHECK(!timers_advance(b.timers));
    CHECK_INT(b.seen.count, 0);
    CHECK_INT(b.seen.waits, 0);
    bench_close(&b);
}

static void test_close_ends_what_is_open_and_refuses_what_comes(void)
{
    struct bench b;
    bench_open(&b);
    struct inproc *inproc = b.inproc;
    start(&b, &(struct http_request){0}); /* keeps the memory until it has ended */
    start(&b, &(struct http_request){0});
    struct exchange *x = inproc_accept(inproc);
    inproc_close(inproc);
    b.inproc = NULL;
    CHECK_INT(b.seen.waits, 0);
    struct err err;
    struct http_request late = {.method = "GET", .url = "http://inner/"};
    CHECK(transport_start(inproc_transport(inproc), &late, on_done, NULL, &b, &err) == NULL);
    CHECK(err.kind == ERR_CLOSED);
    while (timers_advance(b.timers))
        ;
    CHECK_INT(b.seen.count, 2);
    CHECK(b.seen.failed && b.seen.err.kind == ERR_CLOSED && b.seen.err.outcome == OUTCOME_UNKNOWN);
    inproc_drop(x, 0);
    bench_close(&b);
}

static void test_files_go_up_as_a_form_and_come_down_whole(void)
{
    struct bench b;
    bench_open(&b);
    char path[] = "/tmp/perigee-inproc-XXXXXX";
    int fd = mkstemp(path);
    CHECK(write(fd, "1,2,3", 5) == 5);
    close(fd);
    struct http_file_body file = {.path = path, .part_name = "file", .file_name = "a.csv"};
    start(&b, &(struct http_request){.file_body = &file});
    struct exchange *x = inproc_accept(b.inproc);
    CHECK(strstr(buf_str(&inproc_request(x)->headers), "content-type: multipart/form-data; boundary=") !=
          NULL);
    CHECK(strstr(buf_str(&inproc_request(x)->body), "\r\n\r\n1,2,3\r\n--") != NULL);
    inproc_respond(x, 200, NULL, 0, "ok", 2, 0);
    run(&b);
    b.seen.count = 0;
    start(&b, &(struct http_request){.method = "GET", .download_path = path});
    inproc_respond(inproc_accept(b.inproc), 200, NULL, 0, "model", 5, 0);
    run(&b);
    CHECK(!b.seen.failed);
    CHECK_INT(b.seen.downloaded, 5);
    CHECK_STR(b.seen.body, "");
    b.seen.count = 0;
    start(&b, &(struct http_request){.method = "GET", .download_path = path});
    inproc_respond(inproc_accept(b.inproc), 404, NULL, 0, "nothing", 7, 0);
    run(&b);
    CHECK_STR(b.seen.body, "nothing");
    char text[16] = "";
    FILE *in = fopen(path, "rb");
    CHECK(in && fgets(text, sizeof text, in) != NULL);
    if (in) fclose(in);
    CHECK_STR(text, "model");
    unlink(path);
    bench_close(&b);
}

int main(void)
{
    test_hands_the_request_over_and_the_answer_back_after_its_delay();
    test_a_drop_is_unknown_for_a_post_and_none_for_a_get();
    test_limits_end_an_exchange_on_the_clock();
    test_cancel_at_every_stage_frees_once();
    test_close_ends_what_is_open_and_refuses_what_comes();
    test_files_go_up_as_a_form_and_come_down_whole();
    HARNESS_END();
}
