/* slow_server.c - answers each request after a fixed time: the far-away service of the benchmarks.
 *
 * usage: slow_server MILLISECONDS        prints its port, then serves until it is killed.
 * One thread on libuv; replies wait in a queue that a timer empties, so latency costs next to nothing here.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

static const char reply[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n"
                            "{\"code\":200}";

struct client {
    uv_tcp_t tcp;
    char buf[4096];
    size_t len;
    int waiting; /* a reply is queued */
    int closed;
};

struct pending {
    struct pending *next;
    struct client *client;
    uint64_t due_ms;
};

static struct pending *first, **last = &first;
static uint64_t delay_ms;

static void on_closed_cb(uv_handle_t *handle)
{
    struct client *c = handle->data;
    c->closed = 1;
    if (!c->waiting) free(c);
}

static void on_timer_cb(uv_timer_t *timer)
{
    uint64_t now = uv_now(timer->loop);
    while (first && first->due_ms <= now) {
        struct pending *p = first;
        first = p->next;
        if (first == NULL) last = &first;
        p->client->waiting = 0;
        uv_buf_t out = uv_buf_init((char *)reply, sizeof reply - 1);
        if (p->client->closed)
            free(p->client);
        else
            uv_try_write((uv_stream_t *)&p->client->tcp, &out, 1);
        free(p);
    }
}

static void on_alloc_cb(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
    struct client *c = handle->data;
    (void)size;
    *buf = uv_buf_init(c->buf + c->len, (unsigned)(sizeof c->buf - c->len));
}

static void on_read_cb(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct client *c = stream->data;
    (void)buf;
    if (n < 0 || c->len == sizeof c->buf) {
        uv_close((uv_handle_t *)stream, on_closed_cb);
        return;
    }
    c->len += (size_t)n;
    if (memmem(c->buf, c->len, "\r\n\r\n", 4) == NULL) return;
    c->len = 0; /* one request at a time, without a body */
    c->waiting = 1;
    struct pending *p = calloc(1, sizeof *p);
    p->client = c;
    p->due_ms = uv_now(stream->loop) + delay_ms;
    *last = p;
    last = &p->next;
}

static void on_connection_cb(uv_stream_t *server, int status)
{
    struct client *c = calloc(1, sizeof *c);
    if (status < 0) return;
    uv_tcp_init(server->loop, &c->tcp);
    c->tcp.data = c;
    if (uv_accept(server, (uv_stream_t *)&c->tcp) == 0)
        uv_read_start((uv_stream_t *)&c->tcp, on_alloc_cb, on_read_cb);
}

int main(int argc, char **argv)
{
    struct sockaddr_in address;
    int n = sizeof address;
    uv_tcp_t server;
    uv_timer_t timer;
    if (argc != 2) return 2;
    delay_ms = strtoull(argv[1], NULL, 10);
    uv_tcp_init(uv_default_loop(), &server);
    uv_ip4_addr("127.0.0.1", 0, &address);
    uv_tcp_bind(&server, (const struct sockaddr *)&address, 0);
    if (uv_listen((uv_stream_t *)&server, 4096, on_connection_cb) != 0) return 1;
    uv_tcp_getsockname(&server, (struct sockaddr *)&address, &n);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    uv_timer_init(uv_default_loop(), &timer);
    uv_timer_start(&timer, on_timer_cb, 1, 1);
    return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}
