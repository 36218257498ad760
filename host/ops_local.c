/* ops_local.c - requests as a queue between the tasks of one process.
 *
 * Owns: the exchanges, from start until done or cancel.  done is always called from a timer, never from
 * within start, cancel or local_reply.
 */
#include "host/ops_local.h"

#include <ctype.h>
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "host/list.h"
#include "host/luax.h"
#include "host/mem.h"
#include "host/task.h"

enum { FILE_MAX = 64 << 20, TOTAL_MS = 5 * 60 * 1000 };

static const char boundary[] = "perigee-local-7d1f4b";

struct local_transport {
    struct transport transport; /* first: transport_start casts back */
    struct timers *timers;
    struct list_node waiting; /* exchanges nobody has taken */
    struct list_node taken;
    struct list_node takers; /* next_ops that wait */
    uint64_t numbers;
};

struct exchange {
    struct list_node node;
    struct local_transport *local;
    uint64_t number, started_ms;
    exchange_done_fn done;
    void *ctx;
    struct timer limit, delivery;
    char *method, *url;
    struct buf headers, body; /* of the request: name, NUL, value, NUL, …; then the body */
    struct http_response response;
    bool dropped;
};

struct next_op {
    struct op op;
    struct list_node node;
    struct local_transport *local;
    uint64_t number; /* of the exchange it was given; that may be gone when the task looks */
};

/* ---- exchanges ---------------------------------------------------------------------------------------- */

static void exchange_free(struct exchange *x)
{
    timer_stop(x->local->timers, &x->limit);
    timer_stop(x->local->timers, &x->delivery);
    list_remove(&x->node);
    mem_free(x->method);
    mem_free(x->url);
    buf_deinit(&x->headers);
    buf_deinit(&x->body);
    buf_deinit(&x->response.headers);
    buf_deinit(&x->response.body);
    mem_free(x);
}

static void deliver(struct exchange *x, const struct err *error)
{
    x->response.url = x->url;
    x->response.http_version = "1.1";
    x->response.sent = true;
    x->response.elapsed_ms = clock_now_ms(timers_clock(x->local->timers)) - x->started_ms;
    x->done(x->ctx, &x->response, error);
    exchange_free(x);
}

static void on_delivery(struct timer *timer)
{
    struct exchange *x = LIST_ENTRY(timer, struct exchange, delivery);
    struct err err;
    if (!x->dropped) {
        deliver(x, NULL);
        return;
    }
    err_set(&err, ERR_NETWORK, "the connection was closed before any reply");
    snprintf(err.code, sizeof err.code, "no_reply");
    err.outcome = OUTCOME_UNKNOWN;
    deliver(x, &err);
}

static void on_limit(struct timer *timer)
{
    struct err err;
    err_set(&err, ERR_TIMEOUT, "no reply in time");
    snprintf(err.code, sizeof err.code, "total");
    err.outcome = OUTCOME_UNKNOWN;
    deliver(LIST_ENTRY(timer, struct exchange, limit), &err);
}

static void hand_over(struct local_transport *local)
{
    while (!list_empty(&local->takers) && !list_empty(&local->waiting)) {
        struct next_op *op = LIST_ENTRY(list_pop(&local->takers), struct next_op, node);
        struct exchange *x = LIST_ENTRY(list_pop(&local->waiting), struct exchange, node);
        list_append(&local->taken, &x->node);
        op->number = x->number;
        op_complete(&op->op);
    }
}

static void put_header(struct exchange *x, const char *name, const char *value)
{
    for (const char *c = name; *c; c++) buf_putc(&x->headers, (char)tolower((unsigned char)*c));
    buf_putc(&x->headers, 0);
    buf_append(&x->headers, value, strlen(value) + 1);
}

/* The file as a form with one part, as the network transport sends it.  0 or -1. */
static int put_file(struct exchange *x, const struct http_file_body *file, struct err *err)
{
    FILE *f = fopen(file->path, "rb");
    if (!f) return err_set(err, ERR_INVALID, "%s cannot be read", file->path);
    buf_printf(&x->body, "--%s\r\nContent-Disposition: form-data; name=\"%s\"; filename=\"%s\"\r\n", boundary,
               file->part_name, file->file_name);
    buf_printf(&x->body, "Content-Type: application/octet-stream\r\n\r\n");
    size_t n = 1;
    while (n && x->body.len <= FILE_MAX) {
        n = fread(buf_reserve(&x->body, 65536), 1, 65536, f);
        buf_commit(&x->body, n);
    }
    bool broken = ferror(f) != 0;
    fclose(f);
    if (broken) return err_set(err, ERR_INVALID, "%s cannot be read", file->path);
    if (x->body.len > FILE_MAX)
        return err_set(err, ERR_INVALID, "%s is too long for a service in this process: at most %d MB",
                       file->path, FILE_MAX >> 20);
    buf_printf(&x->body, "\r\n--%s--\r\n", boundary);
    char type[96];
    snprintf(type, sizeof type, "multipart/form-data; boundary=%s", boundary);
    put_header(x, "content-type", type);
    return 0;
}

/* ---- the transport ------------------------------------------------------------------------------------ */

static struct exchange *local_start(struct transport *transport, const struct http_request *request,
                                    exchange_done_fn done, exchange_progress_fn progress, void *ctx,
                                    struct err *err)
{
    struct local_transport *local = (struct local_transport *)transport;
    struct exchange *x = mem_alloc(sizeof *x);
    x->local = local;
    x->done = done;
    x->ctx = ctx;
    x->number = ++local->numbers;
    x->started_ms = clock_now_ms(timers_clock(local->timers));
    x->method = mem_strdup(request->method);
    x->url = mem_strdup(request->url);
    for (size_t i = 0; i < request->header_count; i++)
        put_header(x, request->headers[i].name, request->headers[i].value);
    if (request->file_body) {
        if (put_file(x, request->file_body, err) != 0) {
            exchange_free(x);
            return NULL;
        }
        const struct http_progress all = {.sent = x->body.len, .send_total = x->body.len};
        if (progress) progress(ctx, &all);
    } else if (request->body_len) {
        buf_append(&x->body, request->body, request->body_len);
    }
    timer_start(local->timers, &x->limit, request->total_ms ? request->total_ms : TOTAL_MS, on_limit);
    list_append(&local->waiting, &x->node);
    hand_over(local);
    return x;
}

static void local_cancel(struct transport *transport, struct exchange *x)
{
    (void)transport;
    exchange_free(x);
}

static void transport_gone(struct transport *transport)
{
    local_free((struct local_transport *)transport);
}

static const struct transport_type local_type = {local_start, local_cancel, transport_gone};

struct local_transport *local_new(struct timers *timers)
{
    struct local_transport *local = mem_alloc(sizeof *local);
    local->transport.type = &local_type;
    local->timers = timers;
    list_init(&local->waiting);
    list_init(&local->taken);
    list_init(&local->takers);
    return local;
}

void local_free(struct local_transport *local)
{
    if (!local) return;
    struct list_node *n;
    while ((n = list_pop(&local->waiting))) exchange_free(LIST_ENTRY(n, struct exchange, node));
    while ((n = list_pop(&local->taken))) exchange_free(LIST_ENTRY(n, struct exchange, node));
    mem_free(local);
}

struct transport *local_as_transport(struct local_transport *local)
{
    return &local->transport;
}

bool local_is(const struct transport *transport)
{
    return transport->type == &local_type;
}

/* ---- the other end ------------------------------------------------------------------------------------ */

static void next_abort(struct op *op)
{
    list_remove(&((struct next_op *)op)->node);
}

static struct exchange *find(struct local_transport *local, uint64_t number)
{
    for (struct list_node *n = local->taken.next; n != &local->taken; n = n->next) {
        struct exchange *x = LIST_ENTRY(n, struct exchange, node);
        if (x->number == number) return x;
    }
    return NULL;
}

/* [-0, +2, e] nothing if the request is gone already */
static int next_finish(lua_State *L, struct op *op)
{
    struct next_op *next = (struct next_op *)op;
    struct exchange *x = find(next->local, next->number);
    if (!x) return 0;
    lua_pushinteger(L, (lua_Integer)x->number);
    lua_createtable(L, 0, 4);
    lua_pushstring(L, x->method);
    lua_setfield(L, -2, "method");
    lua_pushstring(L, x->url);
    lua_setfield(L, -2, "url");
    lua_pushlstring(L, buf_str(&x->body), x->body.len);
    lua_setfield(L, -2, "body");
    lua_newtable(L);
    for (const char *p = buf_str(&x->headers), *end = p + x->headers.len; p < end;) {
        const char *value = p + strlen(p) + 1;
        lua_pushstring(L, value);
        lua_setfield(L, -2, p);
        p = value + strlen(value) + 1;
    }
    lua_setfield(L, -2, "headers");
    return 2;
}

static const struct op_type next_type = {
    .name = "local request", .internal = true, .abort = next_abort, .finish = next_finish};

int local_next(lua_State *L, struct local_transport *local)
{
    struct next_op *op = op_new(L, &next_type, sizeof *op);
    op->local = local;
    list_append(&local->takers, &op->node);
    hand_over(local);
    return op_park(L, &op->op);
}

bool local_reply(struct local_transport *local, uint64_t number, const struct local_reply *reply)
{
    struct exchange *x = find(local, number);
    if (!x) return false;
    x->dropped = reply->dropped;
    if (!reply->dropped) {
        x->response.status = reply->status;
        buf_puts(&x->response.headers, reply->headers);
        buf_append(&x->response.body, reply->body, reply->body_len);
    }
    timer_start(local->timers, &x->delivery, reply->delay_ms, on_delivery);
    return true;
}
