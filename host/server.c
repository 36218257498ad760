/* server.c - the daemon on the loop, its connections, and its end.
 *
 * The daemon runs in external epoll mode: its epoll descriptor sits under one uv_poll, and it does things
 * only inside MHD_run.  Resuming a connection wakes nothing in that mode, so whoever resumes also starts
 * the idle handle: its callback runs the daemon in the same turn, before the loop blocks, and an active
 * idle handle keeps the loop from blocking if the resume came too late in the turn for that.
 *
 * What it listens on is made by server_listen.c.
 *
 * Memory: the server is freed in the last close callback of its three handles; a connection in the
 * daemon's notification; a request by server_request.c.
 */
#include "host/server.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/log.h"
#include "host/mem.h"
#include "host/server_internal.h"

enum {
    DEFAULT_MAX_HEADER = 16 * 1024,
    DEFAULT_MAX_BODY = 1024 * 1024,
    DEFAULT_MAX_CONNECTIONS = 1024,
    DEFAULT_IDLE_MS = 60 * 1000,
    DEFAULT_TOTAL_MS = 5 * 60 * 1000,
    POOL_EXTRA = 16 * 1024, /* beside the head; the daemon clears the whole pool for each request */
    WATCH_BATCH = 64,
};

/* ---- the daemon on the loop ------------------------------------------------------------------------- */

static void finish_if_empty(struct server *s);
static void on_wake_cb(uv_idle_t *handle);

void server_wake(struct server *s)
{
    if (!s->stopped) uv_idle_start(&s->wake, on_wake_cb);
}

static void run_daemon(struct server *s)
{
    s->running = true;
    MHD_run(s->daemon);
    s->running = false;

    /* No time-outs of the daemon's own are set, so any answer but "none" means that it has more to do. */
    MHD_UNSIGNED_LONG_LONG wait_ms;
    if (MHD_get_timeout(s->daemon, &wait_ms) == MHD_YES) server_wake(s);
    finish_if_empty(s);
}

static void on_wake_cb(uv_idle_t *handle)
{
    uv_idle_stop(handle);
    run_daemon(handle->data);
}

static void on_io_cb(uv_poll_t *handle, int status, int events)
{
    (void)status;
    (void)events;
    run_daemon(handle->data);
}

/* ---- peers that hang up while their connection sleeps ----------------------------------------------- */

/* A sleeping connection is in no set of the daemon's.  EPOLLONESHOT: one word is enough. */
void server_watch(struct request *r)
{
    struct epoll_event event = {.events = EPOLLRDHUP | EPOLLONESHOT, .data.ptr = r};
    struct server *s = r->connection->server;
    r->watched = epoll_ctl(s->watch_fd, EPOLL_CTL_ADD, r->connection->fd, &event) == 0;
}

void server_unwatch(struct request *r)
{
    if (!r->watched) return;
    r->watched = false;
    epoll_ctl(r->connection->server->watch_fd, EPOLL_CTL_DEL, r->connection->fd, NULL);
}

static void on_watch_cb(uv_poll_t *handle, int status, int events)
{
    (void)status;
    (void)events;
    struct server *s = handle->data;
    struct epoll_event heard[WATCH_BATCH];
    int n = epoll_wait(s->watch_fd, heard, WATCH_BATCH, 0);
    for (int i = 0; i < n; i++)
        request_peer_gone(heard[i].data.ptr, (heard[i].events & (EPOLLHUP | EPOLLERR)) != 0);
}

/* ---- connections ------------------------------------------------------------------------------------ */

void server_cut(struct connection *c)
{
    shutdown(c->fd, SHUT_RDWR);
    server_wake(c->server);
}

/* A peer whose machine died sends nothing, not even an end: after some two minutes the system finds out. */
static void keep_alive(int fd)
{
    int on = 1, idle_s = 60, interval_s = 15, count = 4;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
}

static void remote_of(struct MHD_Connection *mhd, char *out, size_t size)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *address = info ? info->client_addr : NULL;
    out[0] = '\0';
    if (address && address->sa_family == AF_INET) {
        inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)address)->sin_addr, out,
                  (socklen_t)size);
    } else if (address && address->sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, out,
                  (socklen_t)size);
    }
}

static void on_connection_cb(void *cls, struct MHD_Connection *mhd, void **slot,
                             enum MHD_ConnectionNotificationCode what)
{
    struct server *s = cls;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        struct connection *c = mem_alloc(sizeof *c);
        c->server = s;
        c->mhd = mhd;
        c->fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        remote_of(mhd, c->remote, sizeof c->remote);
        if (s->local)
            c->stranger = !server_knows_peer(c->fd);
        else
            keep_alive(c->fd);
        list_append(&s->connections, &c->node);
        s->count++;
        request_arm(c);
        *slot = c;
        return;
    }
    struct connection *c = *slot;
    if (c->request) request_finish(c->request, false);
    timer_stop(s->timers, &c->timer);
    list_remove(&c->node);
    s->count--;
    mem_free(c);
    server_wake(s); /* at its limit the daemon stops listening, and looks again only when it runs */
}

/* ---- starting --------------------------------------------------------------------------------------- */

/* The daemon's complaints are about peers (malformed requests, resets): nothing an operator must see. */
static void on_log_cb(void *cls, const char *format, va_list args) __attribute__((format(printf, 2, 0)));
static void on_log_cb(void *cls, const char *format, va_list args)
{
    (void)cls;
    if (!log_enabled(LOG_LEVEL_DEBUG)) return;
    struct buf text = {0};
    buf_vprintf(&text, format, args);
    while (text.len && text.data[text.len - 1] == '\n') text.data[--text.len] = '\0';
    log_write(LOG_LEVEL_DEBUG, "server.daemon", LOG_STR("text", buf_str(&text)));
    buf_deinit(&text);
}

static void fill_defaults(struct server_config *c)
{
    if (c->max_header == 0) c->max_header = DEFAULT_MAX_HEADER;
    if (c->max_body == 0) c->max_body = DEFAULT_MAX_BODY;
    if (c->max_connections == 0) c->max_connections = DEFAULT_MAX_CONNECTIONS;
    if (c->idle_ms == 0) c->idle_ms = DEFAULT_IDLE_MS;
    if (c->total_ms == 0) c->total_ms = DEFAULT_TOTAL_MS;
    c->host = c->path = NULL;
}

static struct MHD_Daemon *start_daemon(struct server *s, int listen_fd)
{
    const struct server_config *c = &s->config;
    return MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL, request_access_cb, s,
        /* first: the daemon logs while it reads the others */
        MHD_OPTION_EXTERNAL_LOGGER, on_log_cb, NULL,
        /* the daemon's to close */
        MHD_OPTION_LISTEN_SOCKET, listen_fd,
        /* host/signals.c ignores it for the whole process */
        MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1,
        /* limits */
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, c->max_header + POOL_EXTRA, MHD_OPTION_CONNECTION_LIMIT,
        c->max_connections, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        /* what we hear of */
        MHD_OPTION_URI_LOG_CALLBACK, request_line_cb, s, MHD_OPTION_NOTIFY_CONNECTION, on_connection_cb, s,
        MHD_OPTION_NOTIFY_COMPLETED, request_completed_cb, s, MHD_OPTION_END);
}

struct server *server_start(struct loop *loop, struct timers *timers, const struct server_config *config,
                            const struct server_events *events, void *ctx, struct err *err)
{
    struct server *s = mem_alloc(sizeof *s);
    int listen_fd = server_listen(s, config, err);
    if (listen_fd < 0) goto no_socket;
    s->loop = loop;
    s->timers = timers;
    s->config = *config;
    s->local = config->path != NULL;
    fill_defaults(&s->config);
    s->events = *events;
    s->ctx = ctx;
    list_init(&s->connections);

    s->watch_fd = epoll_create1(EPOLL_CLOEXEC);
    if (s->watch_fd < 0) {
        err_set(err, ERR_LIMIT, "cannot start a server: %s", strerror(errno));
        goto no_watch;
    }
    s->daemon = start_daemon(s, listen_fd);
    if (s->daemon == NULL) {
        err_set(err, ERR_LIMIT, "cannot start a server: %s", strerror(errno));
        goto no_daemon;
    }

    uv_loop_t *uv = loop_uv(loop);
    uv_poll_init(uv, &s->io, MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd);
    uv_poll_init(uv, &s->watch, s->watch_fd);
    uv_idle_init(uv, &s->wake);
    s->io.data = s->watch.data = s->wake.data = s;
    s->handles = 3;
    uv_poll_start(&s->io, UV_READABLE, on_io_cb);
    uv_poll_start(&s->watch, UV_READABLE, on_watch_cb);
    return s;

no_daemon:
    close(s->watch_fd);
no_watch:
    server_unlisten(s);
    close(listen_fd);
no_socket:
    mem_free(s);
    return NULL;
}

uint16_t server_port(const struct server *s)
{
    return s->port;
}

const char *server_url(const struct server *s)
{
    return s->url;
}

size_t server_connections(const struct server *s)
{
    return s->count;
}

/* ---- ending ----------------------------------------------------------------------------------------- */

static void on_close_cb(uv_handle_t *handle)
{
    struct server *s = handle->data;
    if (--s->handles > 0) return;
    struct server_events events = s->events;
    void *ctx = s->ctx;
    mem_free(s);
    events.closed(ctx);
}

/* Nothing of the daemon's may sleep any more.  The poll handles go first: the daemon closes its epoll
 * descriptor, and libuv must not find another file under the same number. */
static void stop(struct server *s)
{
    s->stopped = true;
    timer_stop(s->timers, &s->linger);
    uv_close((uv_handle_t *)&s->io, on_close_cb);
    uv_close((uv_handle_t *)&s->watch, on_close_cb);
    uv_close((uv_handle_t *)&s->wake, on_close_cb);
    MHD_stop_daemon(s->daemon);
    close(s->watch_fd);
}

static void finish_if_empty(struct server *s)
{
    if (s->closing && !s->stopped && s->count == 0) stop(s);
}

/* Wakes and cuts every connection, and lets the daemon notice. */
static void cut_all(struct server *s)
{
    for (struct list_node *n = s->connections.next; n != &s->connections; n = n->next) {
        struct connection *c = LIST_ENTRY(n, struct connection, node);
        if (c->request) server_drop(&c->request->pub); /* also wakes it */
        server_cut(c);
    }
    run_daemon(s);
    if (!s->stopped) stop(s); /* what is left is awake: the daemon closes it itself */
}

static void on_linger_cb(struct timer *timer)
{
    cut_all(LIST_ENTRY(timer, struct server, linger));
}

void server_close(struct server *s, uint64_t linger_ms)
{
    if (s->stopped) return;
    assert(!s->running);
    if (!s->closing) {
        s->closing = true;
        server_unlisten(s);
        MHD_socket listen_fd = MHD_quiesce_daemon(s->daemon);
        if (listen_fd != MHD_INVALID_SOCKET) close(listen_fd);
        for (struct list_node *n = s->connections.next; n != &s->connections; n = n->next) {
            struct connection *c = LIST_ENTRY(n, struct connection, node);
            if (c->request)
                request_server_closes(c->request);
            else
                server_cut(c);
        }
        run_daemon(s);
    }
    if (s->stopped) return;
    if (linger_ms == 0)
        cut_all(s);
    else if (!timer_active(&s->linger) ||
             clock_now_ms(timers_clock(s->timers)) + linger_ms < s->linger.deadline_ms)
        timer_start(s->timers, &s->linger, linger_ms, on_linger_cb);
}
