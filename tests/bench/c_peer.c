/* c_peer.c - what a plain C program reaches: curl multi on uv_poll, keep-alive, nothing else.
 *
 * usage: c_peer URL REQUESTS CONNECTIONS [BODY]
 * The yardstick of tests/bench/run: the textbook way of driving libcurl from libuv, with each request's reply
 * collected in memory.  With BODY each request is a POST of it.  Prints "requests/s cpu-µs/request".
 */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uv.h>

struct watched {
    uv_poll_t poll;
    curl_socket_t fd;
};

struct request {
    char reply[4096];
    size_t len;
};

static CURLM *multi;
static uv_timer_t timer;
static struct curl_slist *headers;
static const char *url, *body;
static long to_start, failed;

static void drain(void);

static double seconds(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static size_t on_body_cb(char *bytes, size_t size, size_t n, void *ctx)
{
    struct request *r = ctx;
    if (r->len + size * n <= sizeof r->reply) memcpy(r->reply + r->len, bytes, size * n);
    r->len += size * n;
    return size * n;
}

static void start(CURL *easy, struct request *r)
{
    to_start--;
    r->len = 0;
    curl_easy_reset(easy);
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, r);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body_cb);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, r);
    if (body) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long)strlen(body));
        curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    }
    curl_multi_add_handle(multi, easy);
}

static void on_poll_cb(uv_poll_t *poll, int status, int events)
{
    struct watched *w = poll->data;
    int running, flags = status < 0 ? CURL_CSELECT_ERR : 0;
    if (events & UV_READABLE) flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE) flags |= CURL_CSELECT_OUT;
    curl_multi_socket_action(multi, w->fd, flags, &running);
    drain();
}

static void on_closed_cb(uv_handle_t *handle)
{
    free(handle->data);
}

static int socket_cb(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socket_ctx)
{
    struct watched *w = socket_ctx;
    (void)easy;
    (void)ctx;
    if (what == CURL_POLL_REMOVE) {
        if (w == NULL) return 0;
        curl_multi_assign(multi, fd, NULL);
        uv_close((uv_handle_t *)&w->poll, on_closed_cb);
        return 0;
    }
    if (w == NULL) {
        w = calloc(1, sizeof *w);
        w->fd = fd;
        uv_poll_init_socket(uv_default_loop(), &w->poll, fd);
        w->poll.data = w;
        curl_multi_assign(multi, fd, w);
    }
    uv_poll_start(&w->poll,
                  (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0),
                  on_poll_cb);
    return 0;
}

static void on_timer_cb(uv_timer_t *t)
{
    int running;
    (void)t;
    curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &running);
    drain();
}

static int timer_cb(CURLM *m, long ms, void *ctx)
{
    (void)m;
    (void)ctx;
    if (ms < 0)
        uv_timer_stop(&timer);
    else
        uv_timer_start(&timer, on_timer_cb, (uint64_t)ms, 0);
    return 0;
}

static void drain(void)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(multi, &left)) != NULL) {
        CURL *easy = message->easy_handle;
        CURLcode result = message->data.result;
        struct request *r;
        long status = 0;
        curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&r);
        curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
        if (result != CURLE_OK || status != 200) failed++;
        curl_multi_remove_handle(multi, easy);
        if (to_start > 0) {
            start(easy, r);
        } else {
            curl_easy_cleanup(easy);
            free(r);
        }
    }
}

int main(int argc, char **argv)
{
    if (argc < 4) return 2;
    url = argv[1];
    long total = to_start = strtol(argv[2], NULL, 10), connections = strtol(argv[3], NULL, 10);
    body = argc > 4 ? argv[4] : NULL;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    headers = curl_slist_append(NULL, "Content-Type: application/json");
    multi = curl_multi_init();
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, socket_cb);
    curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, timer_cb);
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, connections + 64);
    uv_timer_init(uv_default_loop(), &timer);
    double wall = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    for (long i = 0; i < connections && to_start > 0; i++)
        start(curl_easy_init(), calloc(1, sizeof(struct request)));
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    wall = seconds(CLOCK_MONOTONIC) - wall;
    cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    if (failed) fprintf(stderr, "%ld of %ld failed\n", failed, total);
    printf("%.0f %.2f\n", (double)total / wall, cpu * 1e6 / (double)total);
    return failed ? 1 : 0;
}
