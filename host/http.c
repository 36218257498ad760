/* http.c - the life of an exchange: start, phases and their time-outs, hops, end. */
#include "host/http.h"

#include <stdio.h>
#include <string.h>

#include "host/http_internal.h"
#include "host/mem.h"

static void on_timer_cb(struct timer *timer);
static void transfer_done_cb(struct curlmux_transfer *transfer, CURL *easy, CURLcode result,
                             const char *detail);

/* ---- memory ----------------------------------------------------------------------------------------- */

static void exchange_free(struct exchange *x)
{
    timer_stop(x->owner->timers, &x->timer);
    timer_stop(x->owner->timers, &x->progress_timer);
    list_remove(&x->node);
    curl_slist_free_all(x->headers);
    upload_close(x->upload);
    download_abandon(x->download);
    buf_deinit(&x->response.headers);
    buf_deinit(&x->response.body);
    mem_free(x->url);
    mem_free(x->unix_socket);
    mem_free(x->body);
    mem_free(x->err);
    mem_free(x);
}

/* ---- progress --------------------------------------------------------------------------------------- */

static void tell_progress(struct exchange *x)
{
    if (x->on_progress == NULL || memcmp(&x->progress, &x->progress_told, sizeof x->progress) == 0) return;
    x->progress_told = x->progress;
    x->on_progress(x->ctx, &x->progress);
}

static void on_progress_timer_cb(struct timer *timer)
{
    struct exchange *x = LIST_ENTRY(timer, struct exchange, progress_timer);
    timer_start(x->owner->timers, timer, HTTP_PROGRESS_MS, on_progress_timer_cb);
    tell_progress(x); /* last: the receiver may cancel */
}

/* ---- the end ---------------------------------------------------------------------------------------- */

/* Tells the owner, once, and frees the exchange.  The transfer is over. */
static void complete(struct exchange *x, const struct err *err)
{
    struct http_transport *t = x->owner;
    timer_stop(t->timers, &x->timer);
    timer_stop(t->timers, &x->progress_timer);
    if (err == NULL) tell_progress(x);
    x->response.url = x->url;
    x->response.elapsed_ms = clock_now_ms(t->clock) - x->started_ms;
    if (x->response.http_version == NULL) x->response.http_version = "";
    x->done(x->ctx, &x->response, err);
    exchange_free(x);
}

static void on_downloaded_cb(void *ctx, const struct err *err)
{
    struct exchange *x = ctx;
    x->download = NULL; /* gone, whatever the result */
    if (err) {
        http_fault(x, err->kind, err->code, "%s", err->message);
        x->err->retryable = err->retryable;
    }
    complete(x, err ? x->err : NULL);
}

static void finish_download(struct exchange *x)
{
    x->response.downloaded = download_size(x->download);
    x->response.status = 200;                /* 206 or 416 were the way there */
    timer_stop(x->owner->timers, &x->timer); /* a flush is waited for: it cannot be taken back */
    /* The pool keeps the loop alive meanwhile. */
    download_finish(x->download, on_downloaded_cb, x);
}

/* ---- time-outs -------------------------------------------------------------------------------------- */

struct deadline {
    uint64_t at_ms;
    const char *code;
    const char *text;
};

/* What limits the exchange now, and when. */
static struct deadline next_deadline(const struct exchange *x)
{
    struct deadline d = {x->started_ms + x->total_ms, "total", "not complete in time"};
    struct deadline phase = {UINT64_MAX, NULL, NULL};
    const struct curlmux_transfer *t = &x->transfer;
    if (t->easy == NULL) {
        if (curlmux_is_resolving(t))
            phase = (struct deadline){t->since_ms + x->connect_ms, "resolve",
                                      "the name was not resolved in time"};
    } else if (!x->issued) {
        phase = (struct deadline){t->since_ms + x->connect_ms, "connect", "no connection in time"};
    } else if (x->body_sent && !x->replied) {
        phase =
            (struct deadline){x->active_ms + x->first_byte_ms, "first_byte", "no byte of a reply in time"};
    } else {
        phase = (struct deadline){x->active_ms + x->stall_ms, "stall", "nothing came or went for too long"};
    }
    return phase.at_ms < d.at_ms ? phase : d;
}

static void on_timer_cb(struct timer *timer)
{
    struct exchange *x = LIST_ENTRY(timer, struct exchange, timer);
    struct http_transport *t = x->owner;
    uint64_t now = clock_now_ms(t->clock);
    struct deadline d = next_deadline(x);
    if (now < d.at_ms) {
        timer_start(t->timers, &x->timer, d.at_ms - now, on_timer_cb);
        return;
    }
    http_fault(x, ERR_TIMEOUT, d.code, "%s (%.3g s)", d.text, (double)(now - x->started_ms) / 1000);
    http_judge(x, x->transfer.easy, CURLE_OPERATION_TIMEDOUT, "");
    curlmux_cancel(t->mux, &x->transfer);
    complete(x, x->err);
}

void http_rearm(struct exchange *x)
{
    uint64_t now = clock_now_ms(x->owner->clock), at = next_deadline(x).at_ms;
    timer_start(x->owner->timers, &x->timer, at > now ? at - now : 0, on_timer_cb);
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The timer looks in when the first limit could have passed, and then goes by where the exchange is: phases
 * cost no timer of their own. */
static void arm_first(struct exchange *x)
{
    uint64_t delay = least(least(x->total_ms, x->connect_ms), least(x->first_byte_ms, x->stall_ms));
    timer_start(x->owner->timers, &x->timer, delay, on_timer_cb);
}

/* ---- hops ------------------------------------------------------------------------------------------- */

static int submit(struct exchange *x, struct err *err)
{
    x->transfer.unusual = http_is_unusual(x);
    /* no name is looked up for a path */
    const char *origin = x->unix_socket ? "http://localhost/" : x->url;
    return curlmux_submit(x->owner->mux, &x->transfer, origin, err);
}

static void next_hop(struct exchange *x)
{
    struct err err;
    x->active_ms = clock_now_ms(x->owner->clock);
    if (submit(x, &err) == 0) {
        http_rearm(x);
        return;
    }
    http_fault(x, ERR_NETWORK, "redirect_url", "%s", err.message);
    http_judge(x, NULL, CURLE_URL_MALFORMAT, "");
    complete(x, x->err);
}

static void note_version(struct exchange *x, CURL *easy)
{
    long version = 0;
    curl_easy_getinfo(easy, CURLINFO_HTTP_VERSION, &version);
    x->response.http_version = version == CURL_HTTP_VERSION_2_0   ? "2"
                               : version == CURL_HTTP_VERSION_1_0 ? "1.0"
                                                                  : "1.1";
}

/* A complete reply to a download: is the file complete, must it be asked for anew, or is it no file? */
static void end_download(struct exchange *x)
{
    if (!x->began_download) http_begin_download(x);
    if (x->verdict == DOWNLOAD_TAKE || x->verdict == DOWNLOAD_COMPLETE) {
        finish_download(x);
    } else if (x->verdict == DOWNLOAD_RESTART && !x->restarted) {
        x->restarted = true; /* without a range now, so this cannot come again */
        next_hop(x);
    } else {
        complete(x, NULL);
    }
}

static void transfer_done_cb(struct curlmux_transfer *transfer, CURL *easy, CURLcode result,
                             const char *detail)
{
    struct exchange *x = (struct exchange *)transfer;
    bool restart = result == CURLE_WRITE_ERROR && x->err == NULL && x->download && x->began_download;
    if (easy) note_version(x, easy);
    if (result != CURLE_OK && !restart) {
        http_judge(x, easy, result, detail);
        complete(x, x->err);
        return;
    }
    x->response.sent = true;
    switch (http_redirect(x)) {
    case REDIRECT_FOLLOW: next_hop(x); return;
    case REDIRECT_REFUSED:
        http_judge(x, easy, CURLE_OK, "");
        complete(x, x->err);
        return;
    case REDIRECT_NONE: break;
    }
    if (x->download)
        end_download(x);
    else
        complete(x, NULL);
}

/* ---- the transport ---------------------------------------------------------------------------------- */

static uint64_t or_default(uint64_t value, uint64_t fallback)
{
    return value ? value : fallback;
}

static void copy_limits(struct exchange *x, const struct http_request *r)
{
    bool file = r->file_body || r->download_path;
    x->connect_ms = or_default(r->connect_ms, HTTP_CONNECT_MS);
    x->first_byte_ms = or_default(r->first_byte_ms, HTTP_FIRST_BYTE_MS);
    x->stall_ms = or_default(r->stall_ms, HTTP_STALL_MS);
    x->total_ms = or_default(r->total_ms, file ? HTTP_FILE_TOTAL_MS : HTTP_TOTAL_MS);
    x->body_cap = r->body_cap ? r->body_cap : r->download_path ? SIZE_MAX : HTTP_BODY_CAP;
    x->header_cap = r->header_cap ? r->header_cap : HTTP_HEADER_CAP;
    x->fresh = r->fresh;
    x->once = r->once || r->fresh;
    x->insecure = r->insecure;
    x->piece = r->piece;
    x->max_redirects = x->once || r->unix_socket ? 0 : r->max_redirects;
}

static int copy_request(struct exchange *x, const struct http_request *r, struct err *err)
{
    snprintf(x->method, sizeof x->method, "%s", r->method);
    x->url = mem_strndup(r->url, strcspn(r->url, "#"));
    x->unix_socket = r->unix_socket ? mem_strdup(r->unix_socket) : NULL;
    copy_limits(x, r);
    if (r->body) {
        x->body = mem_dup(r->body, r->body_len);
        x->body_len = r->body_len;
    }
    if (r->file_body && (x->upload = upload_open(r->file_body, err)) == NULL) return -1;
    if (r->download_path &&
        (x->download = download_open(x->owner->loop, r->download_path, r->resume, err)) == NULL)
        return -1;
    http_copy_headers(x, r);
    return 0;
}

static struct exchange *start(struct transport *transport, const struct http_request *request,
                              exchange_done_fn done, exchange_progress_fn progress, void *ctx,
                              struct err *err)
{
    struct http_transport *t = (struct http_transport *)transport;
    if (http_check_request(request, err) != 0) return NULL;
    struct exchange *x = mem_alloc(sizeof *x);
    x->owner = t;
    x->done = done;
    x->on_progress = progress;
    x->ctx = ctx;
    x->transfer.begin = http_begin_cb;
    x->transfer.done = transfer_done_cb;
    x->started_ms = x->active_ms = clock_now_ms(t->clock);
    list_append(&t->exchanges, &x->node);
    if (copy_request(x, request, err) != 0 || submit(x, err) != 0) {
        exchange_free(x);
        return NULL;
    }
    arm_first(x);
    if (progress) timer_start(t->timers, &x->progress_timer, HTTP_PROGRESS_MS, on_progress_timer_cb);
    return x;
}

static void cancel(struct transport *transport, struct exchange *x)
{
    struct http_transport *t = (struct http_transport *)transport;
    curlmux_cancel(t->mux, &x->transfer);
    exchange_free(x);
}

static void transport_free(struct transport *transport)
{
    struct http_transport *t = (struct http_transport *)transport;
    if (t == NULL) return;
    struct list_node *n;
    while ((n = list_first(&t->exchanges)) != NULL) cancel(transport, LIST_ENTRY(n, struct exchange, node));
    curlmux_free(t->mux);
    buf_deinit(&t->insecure_said);
    mem_free(t->user_agent);
    mem_free(t);
}

static const struct transport_type http_type = {start, cancel, transport_free};

struct transport *http_transport_new(struct loop *loop, struct timers *timers, struct clock *clock,
                                     const struct http_config *config)
{
    struct http_transport *t = mem_alloc(sizeof *t);
    t->transport.type = &http_type;
    t->mux = curlmux_new(loop, timers, clock, config ? &config->mux : NULL);
    t->loop = loop;
    t->timers = timers;
    t->clock = clock;
    t->user_agent =
        mem_strdup(config && config->user_agent ? config->user_agent : "perigee/" PERIGEE_VERSION);
    list_init(&t->exchanges);
    return &t->transport;
}

void http_transport_stats(struct transport *transport, struct curlmux_stats *out)
{
    curlmux_stats(((struct http_transport *)transport)->mux, out);
}
