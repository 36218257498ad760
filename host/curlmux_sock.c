/* curlmux_sock.c - libcurl's sockets under uv_poll handles.
 *
 * Sockets are watched by handles that live as long as the socket (libcurl opens and closes sockets through
 * us), not as long as libcurl's interest: between two requests on a kept-alive connection nothing has to be
 * told to the kernel.
 */
#include "host/curlmux_internal.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/log.h"
#include "host/mem.h"

/* One socket.  Freed in the close callback of its poll handle. */
struct sock {
    uv_poll_t poll;
    struct curlmux *mux;
    curl_socket_t fd;
    int wanted; /* UV_READABLE | UV_WRITABLE, as libcurl says */
    int armed;  /* what the poll handle watches: may lag behind when nothing is wanted */
    bool ours;  /* opened by sock_open_cb, and so closed by sock_close_cb */
};

static struct sock *sock_at(const struct curlmux *mux, curl_socket_t fd)
{
    return (size_t)fd < mux->sock_cap ? mux->socks[fd] : NULL;
}

static void sock_put(struct curlmux *mux, curl_socket_t fd, struct sock *sock)
{
    if ((size_t)fd >= mux->sock_cap) {
        size_t cap = mux->sock_cap ? mux->sock_cap : 64;
        while (cap <= (size_t)fd) cap *= 2;
        mux->socks = mem_realloc(mux->socks, cap * sizeof(struct sock *));
        memset(mux->socks + mux->sock_cap, 0, (cap - mux->sock_cap) * sizeof(struct sock *));
        mux->sock_cap = cap;
    }
    mux->socks[fd] = sock;
}

static void on_sock_closed_cb(uv_handle_t *handle)
{
    mem_free(handle->data);
}

static void sock_close(struct sock *sock)
{
    sock_put(sock->mux, sock->fd, NULL);
    uv_close((uv_handle_t *)&sock->poll, on_sock_closed_cb);
}

static void on_poll_cb(uv_poll_t *poll, int status, int events)
{
    struct sock *sock = poll->data;
    int flags = 0;
    if (sock->wanted == 0) { /* an idle connection: whoever uses it next finds out what happened */
        uv_poll_stop(poll);
        sock->armed = 0;
        return;
    }
    if (status < 0) { /* libuv has stopped watching: libcurl must hear of it */
        sock->armed = 0;
        flags = CURL_CSELECT_ERR;
    }
    if (events & UV_READABLE) flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE) flags |= CURL_CSELECT_OUT;
    mux_run_curl(sock->mux, sock->fd, flags);
}

static struct sock *sock_new(struct curlmux *mux, curl_socket_t fd)
{
    struct sock *sock = mem_alloc(sizeof *sock);
    int rc = uv_poll_init_socket(loop_uv(mux->loop), &sock->poll, fd);
    if (rc != 0) {
        log_write(LOG_LEVEL_ERROR, "http.socket_not_watched", LOG_STR("error", uv_strerror(rc)));
        mem_free(sock);
        return NULL;
    }
    uv_unref((uv_handle_t *)&sock->poll); /* requests keep the loop alive, idle connections must not */
    sock->poll.data = sock;
    sock->mux = mux;
    sock->fd = fd;
    return sock;
}

static void sock_watch(struct sock *sock, int wanted)
{
    sock->wanted = wanted;
    if (wanted == 0 || wanted == sock->armed) return;
    int rc = uv_poll_start(&sock->poll, wanted, on_poll_cb);
    sock->armed = rc == 0 ? wanted : 0;
    if (rc != 0) log_write(LOG_LEVEL_ERROR, "http.socket_not_watched", LOG_STR("error", uv_strerror(rc)));
}

/* From libcurl: what it wants to know of a socket. */
int sock_want_cb(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socket_ctx)
{
    struct curlmux *mux = ctx;
    (void)easy;
    (void)socket_ctx;
    struct sock *sock = sock_at(mux, fd);
    if (what == CURL_POLL_REMOVE) {
        if (sock == NULL) return 0;
        sock->wanted = 0;
        if (!sock->ours) sock_close(sock); /* libcurl may close it without telling us */
        return 0;
    }
    if (sock == NULL) {
        sock = sock_new(mux, fd);
        if (sock == NULL) return 0; /* -1 would fail every transfer; this one will time out */
        sock_put(mux, fd, sock);
    }
    sock_watch(sock, (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0));
    return 0;
}

curl_socket_t sock_open_cb(void *ctx, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct curlmux *mux = ctx;
    (void)purpose;
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, address->protocol);
    if (fd < 0) return CURL_SOCKET_BAD;
    struct sock *sock = sock_new(mux, fd);
    if (sock == NULL) {
        close(fd);
        return CURL_SOCKET_BAD;
    }
    sock->ours = true;
    sock_put(mux, fd, sock);
    return fd;
}

int sock_close_cb(void *ctx, curl_socket_t fd)
{
    struct sock *sock = sock_at(ctx, fd);
    if (sock) sock_close(sock); /* first: a closed descriptor must not be watched */
    return close(fd);
}

unsigned sock_idle_count(const struct curlmux *mux)
{
    unsigned count = 0;
    for (size_t i = 0; i < mux->sock_cap; i++)
        if (mux->socks[i] && mux->socks[i]->wanted == 0) count++;
    return count;
}
