/* inproc.c - a transport whose other end is in this process.
 *
 * An exchange has two holders, the caller (until done or cancel) and, once accepted, the receiver (until it
 * has answered); it goes when both have let go.  done is always called from a timer, so never from within
 * start, cancel or the receiver's answer.
 */
#include "host/inproc.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "host/download.h"
#include "host/list.h"
#include "host/mem.h"
#include "host/upload.h"

enum { FIRST_BYTE_MS = 60 * 1000, TOTAL_MS = 5 * 60 * 1000, BODY_CAP = 16 << 20 };

struct inproc {
    struct transport transport;
    struct loop *loop;
    struct timers *timers;
    struct inproc_events events;
    void *ctx;
    struct list_node arrived; /* exchanges not accepted yet */
    struct list_node taken;   /* accepted and not answered, or answered and not delivered */
    size_t exchanges;
    bool closed;
};

struct exchange {
    struct list_node link;
    struct inproc *inproc;
    struct inproc_request request;
    bool is_safe; /* may be sent again, as with the network side */
    bool held_by_caller, held_by_receiver;
    bool waits; /* counted by events.waiting */

    exchange_done_fn done;
    exchange_progress_fn progress;
    void *ctx;
    uint64_t started_ms, limit_ms;
    size_t body_cap;
    struct download *download;

    struct timer limit, answer;
    struct http_response response;
    struct err err;
    bool failed;
};

/* ---- both holders ---------------------------------------------------------------------------------------
 */

static void set_waiting(struct exchange *x, bool waits)
{
    if (x->waits == waits) return;
    x->waits = waits;
    if (!x->inproc->closed) x->inproc->events.waiting(x->inproc->ctx, waits ? 1 : -1);
}

static void let_go(struct exchange *x)
{
    struct inproc *p = x->inproc;
    if (x->held_by_caller || x->held_by_receiver) return;
    timer_stop(p->timers, &x->limit);
    timer_stop(p->timers, &x->answer);
    set_waiting(x, false);
    list_remove(&x->link);
    download_abandon(x->download);
    mem_free(x->request.method);
    mem_free(x->request.url);
    buf_deinit(&x->request.headers);
    buf_deinit(&x->request.body);
    buf_deinit(&x->response.headers);
    buf_deinit(&x->response.body);
    mem_free(x);
    if (--p->exchanges == 0 && p->closed) mem_free(p);
}

static void fail(struct exchange *x, enum err_kind kind, const char *code, const char *text)
{
    err_set(&x->err, kind, "%s: %s", x->request.method, text);
    snprintf(x->err.code, sizeof x->err.code, "%s", code);
    x->err.outcome = x->is_safe ? OUTCOME_NONE : OUTCOME_UNKNOWN;
    x->err.retryable = x->is_safe && (kind == ERR_NETWORK || kind == ERR_TIMEOUT);
    x->failed = true;
}

static void deliver(struct exchange *x)
{
    struct inproc *p = x->inproc;
    timer_stop(p->timers, &x->limit);
    timer_stop(p->timers, &x->answer);
    set_waiting(x, false);
    x->response.url = x->request.url;
    x->response.http_version = "1.1";
    x->response.sent = true;
    x->response.elapsed_ms = clock_now_ms(timers_clock(p->timers)) - x->started_ms;
    if (x->failed) x->response.status = 0;
    x->done(x->ctx, &x->response, x->failed ? &x->err : NULL);
    x->held_by_caller = false;
    let_go(x);
}

/* ---- the answer -----------------------------------------------------------------------------------------
 */

static void on_flushed(void *ctx, const struct err *err)
{
    struct exchange *x = ctx;
    x->download = NULL;
    if (err) {
        x->err = *err;
        x->failed = true;
    }
    deliver(x);
}

/* The value of a header of the reply into out, or NULL. */
static const char *reply_header(const struct exchange *x, const char *name, char *out, size_t size)
{
    size_t n = strlen(name);
    const char *at = buf_str(&x->response.headers), *eol;
    for (; (eol = strstr(at, "\r\n")) != NULL; at = eol + 2) {
        if (strncmp(at, name, n) != 0 || at[n] != ':') continue;
        snprintf(out, size, "%.*s", (int)(eol - at - (ptrdiff_t)n - 2), at + n + 2);
        return out;
    }
    return NULL;
}

/* True if the body has gone into the file and deliver comes later. */
static bool save(struct exchange *x)
{
    char etag[256], modified[64];
    struct download_reply reply = {
        .status = x->response.status,
        .etag = reply_header(x, "etag", etag, sizeof etag),
        .last_modified = reply_header(x, "last-modified", modified, sizeof modified),
    };
    if (download_begin(x->download, &reply) != DOWNLOAD_TAKE) return false;
    if (download_write(x->download, buf_str(&x->response.body), x->response.body.len, &x->err) != 0) {
        x->failed = true;
        return false;
    }
    x->response.downloaded = download_size(x->download);
    buf_clear(&x->response.body);
    set_waiting(x, false); /* the disk is outside */
    timer_stop(x->inproc->timers, &x->limit);
    download_finish(x->download, on_flushed, x);
    return true;
}

static void on_answer(struct timer *timer)
{
    struct exchange *x = LIST_ENTRY(timer, struct exchange, answer);
    if (x->response.body.len > x->body_cap) fail(x, ERR_LIMIT, "body_cap", "the reply is too long");
    if (x->progress) {
        struct http_progress progress = {x->request.body.len, x->request.body.len, x->response.body.len,
                                         x->response.body.len};
        x->progress(x->ctx, &progress);
    }
    if (!x->failed && x->download && save(x)) return;
    deliver(x);
}

static void on_limit(struct timer *timer)
{
    struct exchange *x = LIST_ENTRY(timer, struct exchange, limit);
    fail(x, ERR_TIMEOUT, "first_byte", "no reply in time");
    deliver(x);
}

/* The receiver has had its say; a caller that is still there hears of it after the delay. */
static void answered(struct exchange *x, uint64_t delay_ms)
{
    assert(x->held_by_receiver);
    x->held_by_receiver = false;
    if (x->held_by_caller && !timer_active(&x->answer))
        timer_start(x->inproc->timers, &x->answer, delay_ms, on_answer);
    let_go(x);
}

void inproc_respond(struct exchange *x, int status, const struct http_header *headers, size_t header_count,
                    const void *body, size_t body_len, uint64_t delay_ms)
{
    x->response.status = status;
    for (size_t i = 0; i < header_count; i++)
        buf_printf(&x->response.headers, "%s: %s\r\n", headers[i].name, headers[i].value);
    buf_append(&x->response.body, body, body_len);
    answered(x, delay_ms);
}

void inproc_drop(struct exchange *x, uint64_t delay_ms)
{
    fail(x, ERR_NETWORK, "no_reply", "the connection was closed without a reply");
    answered(x, delay_ms);
}

bool inproc_pending(const struct inproc *p)
{
    return !list_empty(&p->arrived);
}

struct exchange *inproc_accept(struct inproc *p)
{
    struct list_node *n = list_pop(&p->arrived);
    if (n == NULL) return NULL;
    struct exchange *x = LIST_ENTRY(n, struct exchange, link);
    list_append(&p->taken, &x->link);
    x->held_by_receiver = true;
    return x;
}

const struct inproc_request *inproc_request(const struct exchange *x)
{
    return &x->request;
}

/* ---- the caller's side ----------------------------------------------------------------------------------
 */

static void add_header(struct buf *headers, const char *name, const char *value)
{
    for (; *name; name++) buf_putc(headers, (char)tolower((unsigned char)*name));
    buf_printf(headers, ": %s\r\n", value);
}

static int read_upload(struct exchange *x, const struct http_file_body *file, struct err *err)
{
    struct upload *upload = upload_open(file, err);
    if (upload == NULL) return -1;
    size_t size = (size_t)upload_size(upload);
    char *room = buf_reserve(&x->request.body, size + 1);
    ssize_t n = 0;
    size_t got = 0;
    while (got <= size && (n = upload_read(upload, room + got, size + 1 - got)) > 0) got += (size_t)n;
    buf_commit(&x->request.body, got);
    if (file->part_name) add_header(&x->request.headers, "content-type", upload_content_type(upload));
    upload_close(upload);
    return n < 0 ? err_set(err, ERR_INVALID, "%s could not be read to its end", file->path) : 0;
}

static int take_request(struct exchange *x, const struct http_request *request, struct err *err)
{
    x->request.method = mem_strdup(request->method);
    x->request.url = mem_strdup(request->url);
    x->is_safe = !request->once && !request->fresh &&
                 (strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0 ||
                  strcmp(request->method, "OPTIONS") == 0);
    for (size_t i = 0; i < request->header_count; i++)
        add_header(&x->request.headers, request->headers[i].name, request->headers[i].value);
    if (request->file_body) {
        if (read_upload(x, request->file_body, err) != 0) return -1;
    } else if (request->body) {
        buf_append(&x->request.body, request->body, request->body_len);
    }
    if (request->download_path == NULL) return 0;
    x->download = download_open(x->inproc->loop, request->download_path, false, err);
    return x->download ? 0 : -1;
}

static struct exchange *start(struct transport *transport, const struct http_request *request,
                              exchange_done_fn done, exchange_progress_fn progress, void *ctx,
                              struct err *err)
{
    struct inproc *p = (struct inproc *)transport;
    if (p->closed) {
        err_set(err, ERR_CLOSED, "the in-process service is closed");
        return NULL;
    }
    struct exchange *x = mem_alloc(sizeof *x);
    x->inproc = p;
    p->exchanges++;
    list_append(&p->arrived, &x->link);
    if (take_request(x, request, err) != 0) {
        let_go(x);
        return NULL;
    }
    uint64_t first = request->first_byte_ms ? request->first_byte_ms : FIRST_BYTE_MS;
    uint64_t total = request->total_ms ? request->total_ms : TOTAL_MS;
    x->held_by_caller = true;
    x->done = done;
    x->progress = progress;
    x->ctx = ctx;
    x->body_cap = request->body_cap ? request->body_cap : BODY_CAP;
    x->started_ms = clock_now_ms(timers_clock(p->timers));
    timer_start(p->timers, &x->limit, first < total ? first : total, on_limit);
    set_waiting(x, true);
    p->events.arrived(p->ctx);
    return x;
}

static void cancel(struct transport *transport, struct exchange *x)
{
    (void)transport;
    x->held_by_caller = false;
    timer_stop(x->inproc->timers, &x->limit);
    timer_stop(x->inproc->timers, &x->answer);
    set_waiting(x, false);
    let_go(x);
}

static void release(struct transport *transport)
{
    inproc_close((struct inproc *)transport);
}

static const struct transport_type inproc_type = {start, cancel, release};

struct inproc *inproc_new(struct loop *loop, struct timers *timers, const struct inproc_events *events,
                          void *ctx)
{
    struct inproc *p = mem_alloc(sizeof *p);
    p->transport.type = &inproc_type;
    p->loop = loop;
    p->timers = timers;
    p->events = *events;
    p->ctx = ctx;
    list_init(&p->arrived);
    list_init(&p->taken);
    return p;
}

struct transport *inproc_transport(struct inproc *p)
{
    return &p->transport;
}

static void close_exchanges(struct inproc *p, struct list_node *list)
{
    for (struct list_node *n = list->next; n != list; n = n->next) {
        struct exchange *x = LIST_ENTRY(n, struct exchange, link);
        set_waiting(x, false);
        if (!x->held_by_caller || timer_active(&x->answer)) continue;
        fail(x, ERR_CLOSED, "closed", "the in-process service was closed");
        timer_start(p->timers, &x->answer, 0, on_answer);
    }
}

void inproc_close(struct inproc *p)
{
    if (p->closed) return;
    close_exchanges(p, &p->arrived);
    close_exchanges(p, &p->taken);
    p->closed = true;
    if (p->exchanges == 0) mem_free(p);
}
