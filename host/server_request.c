/* server_request.c - one request, from its first line to the last byte of its reply.
 *
 * The daemon calls request_line_cb when the first line is there, request_access_cb for the headers, for
 * each piece of the body, at the end of the body, and once more after each resume, and
 * request_completed_cb at the end.  A request is freed when both sides are done with it: the daemon
 * (connection == NULL) and the receiver (owned == false).
 */
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "host/log.h"
#include "host/mem.h"
#include "host/server_internal.h"

enum {
    /* Of a body that is too large, so many more bytes are read and thrown away, so that the peer comes to
     * read the reply instead of a reset. */
    DISCARD_MAX = 4 * 1024 * 1024,
    STREAM_BLOCK = 32 * 1024,
    LARGE_BODY = 1024 * 1024,
};

static struct request *of(struct server_request *pub)
{
    return (struct request *)(void *)pub;
}

static void free_if_done(struct request *r)
{
    if (r->connection || r->owned) return;
    if (r->reply) MHD_destroy_response(r->reply);
    buf_deinit(&r->pub.headers);
    buf_deinit(&r->pub.body);
    buf_deinit(&r->queue);
    mem_free(r->method);
    mem_free(r->target);
    mem_free(r->remote);
    mem_free(r);
}

static void suspend(struct request *r)
{
    r->suspended = true;
    MHD_suspend_connection(r->connection->mhd);
    if (!r->gone) server_watch(r);
}

static void resume(struct request *r)
{
    if (!r->suspended) return;
    r->suspended = false;
    server_unwatch(r);
    MHD_resume_connection(r->connection->mhd);
    server_wake(r->connection->server);
}

static size_t queued(const struct request *r)
{
    return r->queue.len - r->taken;
}

/* ---- time ------------------------------------------------------------------------------------------- */

static void on_time_cb(struct timer *timer)
{
    struct connection *c = LIST_ENTRY(timer, struct connection, timer);
    log_write(LOG_LEVEL_DEBUG, "server.too_slow", LOG_STR("remote", c->remote));
    server_cut(c);
}

void request_arm(struct connection *c)
{
    const struct server *s = c->server;
    const struct request *r = c->request;
    uint64_t now = clock_now_ms(timers_clock(s->timers)), delay = s->config.idle_ms;
    bool idle = true;
    if (r && r->phase <= REQUEST_BODY) {
        uint64_t left = r->deadline_ms > now ? r->deadline_ms - now : 0;
        if (left < delay) delay = left;
    } else if (r && r->phase == REQUEST_SENDING && !r->streaming) {
        delay = s->config.total_ms;
    } else if (r) {
        idle = r->phase == REQUEST_SENDING && queued(r) > 0; /* a reader who does not take its stream */
    }
    if (idle)
        timer_start_background(s->timers, &c->timer, delay, on_time_cb);
    else
        timer_stop(s->timers, &c->timer);
}

/* ---- reading ---------------------------------------------------------------------------------------- */

void *request_line_cb(void *cls, const char *target, struct MHD_Connection *mhd)
{
    struct server *s = cls;
    struct connection *c = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    struct request *r = mem_alloc(sizeof *r);
    r->connection = c;
    r->phase = REQUEST_HEAD;
    r->deadline_ms = clock_now_ms(timers_clock(s->timers)) + s->config.total_ms;
    r->pub.target = r->target = mem_strdup(target);
    r->pub.remote = r->remote = mem_strdup(c->remote);
    c->request = r;
    request_arm(c);
    return r;
}

static enum MHD_Result add_header_cb(void *cls, enum MHD_ValueKind kind, const char *name, size_t name_len,
                                     const char *value, size_t value_len)
{
    (void)kind;
    struct buf *headers = cls;
    for (size_t i = 0; i < name_len; i++) {
        char c = name[i];
        buf_putc(headers, c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c);
    }
    buf_puts(headers, ": ");
    buf_append(headers, value ? value : "", value ? value_len : 0);
    buf_puts(headers, "\r\n");
    return MHD_YES;
}

/* A reply of the server's own; from within the access callback only. */
static enum MHD_Result refuse(struct request *r, int status, const char *text)
{
    struct MHD_Response *reply =
        MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_PERSISTENT);
    MHD_add_response_header(reply, "Content-Type", "text/plain");
    MHD_add_response_header(reply, "Connection", "close");
    r->phase = REQUEST_SENDING;
    enum MHD_Result result = MHD_queue_response(r->connection->mhd, (unsigned)status, reply);
    MHD_destroy_response(reply);
    request_arm(r->connection);
    return result;
}

static enum MHD_Result accept_head(struct request *r, const char *method)
{
    struct connection *c = r->connection;
    struct server *s = c->server;
    r->pub.method = r->method = mem_strdup(method);
    MHD_get_connection_values_n(c->mhd, MHD_HEADER_KIND, add_header_cb, &r->pub.headers);
    r->phase = REQUEST_BODY;
    request_arm(c);

    if (s->closing) return refuse(r, 503, "the server is closing\n");
    if (c->stranger) return refuse(r, 403, "this socket is for its own user\n");
    if (strlen(method) + strlen(r->target) + r->pub.headers.len > s->config.max_header)
        return refuse(r, 431, "the request head is too large\n");
    const char *length = MHD_lookup_connection_value(c->mhd, MHD_HEADER_KIND, "Content-Length");
    if (length == NULL) return MHD_YES;
    /* Two readings of where the request ends: what smuggling is made of. */
    if (MHD_lookup_connection_value(c->mhd, MHD_HEADER_KIND, "Transfer-Encoding"))
        return refuse(r, 400, "both Content-Length and Transfer-Encoding\n");

    unsigned long long n = strtoull(length, NULL, 10); /* the daemon has checked that it is a number */
    if (n <= s->config.max_body) {
        r->expected = (size_t)n;
        return MHD_YES;
    }
    r->too_large = true;
    bool waits = MHD_lookup_connection_value(c->mhd, MHD_HEADER_KIND, "Expect") != NULL;
    if (waits || n - s->config.max_body > DISCARD_MAX) return refuse(r, 413, "the body is too large\n");
    return MHD_YES;
}

static enum MHD_Result take_piece(struct request *r, const char *piece, size_t *piece_len)
{
    size_t max = r->connection->server->config.max_body, n = *piece_len;
    *piece_len = 0;
    r->received += n;
    if (r->received > max) {
        r->too_large = true;
        buf_deinit(&r->pub.body);
        if (r->received - max > DISCARD_MAX) return MHD_NO;
    }
    struct buf *body = &r->pub.body;
    /* A body that has shown to be large gets its whole room at once: doubling would take twice of it. */
    if (body->len >= LARGE_BODY && body->len < r->expected) buf_reserve(body, r->expected - body->len);
    if (!r->too_large) buf_append(body, piece, n);
    request_arm(r->connection);
    return MHD_YES;
}

static enum MHD_Result hand_over(struct request *r)
{
    struct server *s = r->connection->server;
    if (r->too_large) return refuse(r, 413, "the body is too large\n");
    if (s->closing) return refuse(r, 503, "the server is closing\n");
    r->phase = REQUEST_WORKING;
    r->owned = true;
    request_arm(r->connection);
    suspend(r);
    s->events.request(s->ctx, &r->pub);
    return MHD_YES;
}

static enum MHD_Result send_reply(struct request *r)
{
    if (r->drop) return MHD_NO; /* the daemon closes the connection */
    r->phase = REQUEST_SENDING;
    request_arm(r->connection);
    return MHD_queue_response(r->connection->mhd, (unsigned)r->status, r->reply);
}

enum MHD_Result request_access_cb(void *cls, struct MHD_Connection *mhd, const char *url, const char *method,
                                  const char *version, const char *piece, size_t *piece_len, void **slot)
{
    (void)cls;
    (void)mhd;
    (void)url;
    (void)version;
    struct request *r = *slot;
    switch (r->phase) {
    case REQUEST_HEAD: return accept_head(r, method);
    case REQUEST_BODY: return *piece_len ? take_piece(r, piece, piece_len) : hand_over(r);
    case REQUEST_WORKING: return MHD_YES;
    case REQUEST_ANSWERED: return send_reply(r);
    case REQUEST_SENDING: break; /* answered before its end: the daemon throws the rest away */
    }
    *piece_len = 0;
    return MHD_YES;
}

/* ---- the end of a request --------------------------------------------------------------------------- */

static void tell_gone(struct request *r)
{
    r->gone = true;
    if (!r->owned || r->told) return;
    r->told = true;
    struct server *s = r->connection->server;
    s->events.gone(s->ctx, &r->pub);
}

void request_finish(struct request *r, bool complete)
{
    struct connection *c = r->connection;
    server_unwatch(r);
    if (complete && (!r->streaming || r->ended))
        r->gone = true;
    else
        tell_gone(r); /* also when a HEAD ended before its stream did */
    c->request = NULL;
    r->connection = NULL;
    free_if_done(r);
}

void request_completed_cb(void *cls, struct MHD_Connection *mhd, void **slot,
                          enum MHD_RequestTerminationCode why)
{
    (void)cls;
    (void)mhd;
    struct request *r = *slot;
    if (r == NULL) return;
    struct connection *c = r->connection;
    *slot = NULL;
    request_finish(r, why == MHD_REQUEST_TERMINATED_COMPLETED_OK && !r->drop);
    request_arm(c);
    if (c->server->closing) server_cut(c); /* no further request on it */
}

/* A peer that only closed its sending side (end of file without reset) may still read: the reply is tried. */
void request_peer_gone(struct request *r, bool reset)
{
    server_unwatch(r);
    tell_gone(r);
    if (reset && r->connection) server_drop(&r->pub);
}

void request_server_closes(struct request *r)
{
    struct connection *c = r->connection;
    if (r->phase <= REQUEST_BODY) {
        server_cut(c);
    } else if (r->phase == REQUEST_WORKING) {
        static const struct http_header close_header[] = {{"Connection", "close"}};
        server_respond(&r->pub, 503, close_header, 1, "the server is closing\n", 22, NULL);
        tell_gone(r);
    } else if (r->streaming && !r->ended) {
        server_drop(&r->pub);
        tell_gone(r);
    }
}

/* ---- answering -------------------------------------------------------------------------------------- */

static bool header_allowed(const struct http_header *h)
{
    static const char separators[] = "()<>@,;:\\\"/[]?={} \t";
    static const char *const ours[] = {"Content-Length", "Transfer-Encoding", "Date"};
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        if (strcasecmp(h->name, ours[i]) == 0) return false;
    if (h->name[0] == '\0') return false;
    for (const char *p = h->name; *p; p++)
        if (*p <= ' ' || *p > '~' || strchr(separators, *p)) return false;
    return strpbrk(h->value, "\r\n") == NULL;
}

/* 0 if the request can take an answer of this shape. */
static int check(const struct request *r, int status, const struct http_header *headers, size_t count,
                 struct err *err)
{
    if (r->connection == NULL || r->drop) return err_set(err, ERR_CLOSED, "the peer has hung up");
    if (r->phase != REQUEST_WORKING) return err_set(err, ERR_INVALID, "the request was answered already");
    if (status < 200 || status > 599)
        return err_set(err, ERR_INVALID, "status %d is not between 200 and 599", status);
    for (size_t i = 0; i < count; i++)
        if (!header_allowed(&headers[i]))
            return err_set(err, ERR_INVALID, "response header \"%.60s\" cannot be sent", headers[i].name);
    return 0;
}

static int answer(struct request *r, int status, struct MHD_Response *reply,
                  const struct http_header *headers, size_t count, struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        if (headers[i].value[0] == '\0') continue; /* the daemon refuses empty values */
        if (MHD_add_response_header(reply, headers[i].name, headers[i].value) != MHD_YES) {
            MHD_destroy_response(reply);
            return err_set(err, ERR_INVALID, "response header \"%.60s\" cannot be sent", headers[i].name);
        }
    }
    r->reply = reply;
    r->status = status;
    r->phase = REQUEST_ANSWERED;
    resume(r);
    return 0;
}

int server_respond(struct server_request *pub, int status, const struct http_header *headers, size_t count,
                   const void *body, size_t len, struct err *err)
{
    struct request *r = of(pub);
    if (check(r, status, headers, count, err) != 0) return -1;
    struct MHD_Response *reply =
        MHD_create_response_from_buffer_with_free_callback(len, len ? mem_dup(body, len) : NULL, mem_free);
    return answer(r, status, reply, headers, count, err);
}

/* Gives the daemon what is queued; with nothing there the connection sleeps until there is. */
static ssize_t read_stream_cb(void *cls, uint64_t position, char *out, size_t max)
{
    (void)position;
    struct request *r = cls;
    struct server *s = r->connection->server;
    if (r->drop) return MHD_CONTENT_READER_END_WITH_ERROR;
    size_t n = queued(r);
    if (n == 0) {
        request_arm(r->connection);
        if (r->ended) return MHD_CONTENT_READER_END_OF_STREAM;
        suspend(r);
        return 0;
    }
    if (n > max) n = max;
    memcpy(out, r->queue.data + r->taken, n);
    r->taken += n;
    if (r->taken == r->queue.len) {
        buf_clear(&r->queue);
        r->taken = 0;
    } else if (r->taken > r->queue.len / 2) { /* not at each piece: a large queue would be moved for ever */
        buf_consume(&r->queue, r->taken);
        r->taken = 0;
    }
    request_arm(r->connection);
    if (r->full && queued(r) < SERVER_STREAM_LOW) {
        r->full = false;
        if (r->owned) s->events.drained(s->ctx, &r->pub);
    }
    return (ssize_t)n;
}

int server_respond_begin(struct server_request *pub, int status, const struct http_header *headers,
                         size_t count, struct err *err)
{
    struct request *r = of(pub);
    if (check(r, status, headers, count, err) != 0) return -1;
    struct MHD_Response *reply =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, read_stream_cb, r, NULL);
    r->streaming = true;
    int rc = answer(r, status, reply, headers, count, err);
    if (rc != 0) r->streaming = false;
    return rc;
}

int server_respond_write(struct server_request *pub, const void *bytes, size_t n, struct err *err)
{
    struct request *r = of(pub);
    if (r->connection == NULL || r->drop) return err_set(err, ERR_CLOSED, "the peer has hung up");
    if (n == 0) return 0;
    bool was_empty = queued(r) == 0;
    buf_append(&r->queue, bytes, n);
    if (queued(r) >= SERVER_STREAM_HIGH) r->full = true;
    if (was_empty) request_arm(r->connection);
    if (r->phase == REQUEST_SENDING) resume(r);
    return 0;
}

size_t server_respond_queued(const struct server_request *pub)
{
    return queued((const struct request *)(const void *)pub);
}

void server_respond_end(struct server_request *pub)
{
    struct request *r = of(pub);
    r->ended = true;
    if (r->connection && r->phase == REQUEST_SENDING) resume(r);
}

void server_drop(struct server_request *pub)
{
    struct request *r = of(pub);
    if (r->connection == NULL) return;
    r->drop = true;
    if (r->phase == REQUEST_WORKING) r->phase = REQUEST_ANSWERED;
    if (r->suspended)
        resume(r);
    else if (r->phase == REQUEST_SENDING)
        server_cut(r->connection);
}

bool server_request_is_gone(const struct server_request *pub)
{
    return ((const struct request *)(const void *)pub)->gone;
}

void server_request_release(struct server_request *pub)
{
    struct request *r = of(pub);
    if (r->connection && r->phase == REQUEST_WORKING && !r->drop)
        server_respond(pub, 500, NULL, 0, NULL, 0, NULL);
    else if (r->connection && r->streaming && !r->ended)
        server_drop(pub);
    r->owned = false;
    free_if_done(r);
}
