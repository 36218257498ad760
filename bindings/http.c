/* http.c - perigee.core.http: HTTP exchanges as waits.
 *
 *   request(method, url, options, body, media_type) -> reply     one wait, from the first byte to the last
 *   open(…the same…) -> handle                                   for progress: several waits on one exchange
 *   handle:step() -> reply | false, sent, send_total, received, receive_total
 *   stream(…the same…) -> handle                                 a reply without end
 *   handle:read() -> bytes, status; nil, reply at its end        waits for the next bytes
 *   counts() -> {active=, queued=, lookups=, …}
 *
 * A reply is a table {status, body, url, elapsed, version, raw_headers, size}; scripts/lib/http.lua gives it
 * its methods, builds bodies, and holds the defaults that are policy; arguments are read in http_request.c.
 * The exchange belongs to its op, or to its handle; callbacks of the engine only move what came into the
 * `struct result` there.
 */
#include "bindings/http.h"

#include <string.h>

#include "bindings/modules.h"
#include "host/http.h"
#include "host/luax.h"
#include "host/mem.h"
#include "host/redact.h"
#include "host/task.h"
#include "host/vm.h"

static const char handle_class[] = "perigee.http.handle";
static const char reply_class[] = "perigee.http.response";

enum { STREAM_BACKLOG = 4 * 1024 * 1024 };

/* ---- what came: filled without Lua, pushed later ---------------------------------------------------- */

struct result {
    struct transport *transport;
    struct exchange *exchange; /* NULL once done */
    struct vm *vm;
    struct op *waiter;
    int status;
    uint64_t elapsed_ms, downloaded;
    const char *version;
    struct buf headers, body;
    size_t accounted;  /* of body, on the VM's account */
    const char *asked; /* the URL at ARG_URL of the waiting call; NULL for handles */
    char *url;         /* NULL: the one asked for; of a failure without query and user */
    struct err *err;   /* NULL: a reply */
    bool moved;        /* progress since the last step */
    struct http_progress progress;
    bool streams; /* body holds what has come and was not read yet; max_body bounds it */
    size_t backlog;
};

static void wake(struct result *r)
{
    if (r->waiter == NULL) return;
    struct op *op = r->waiter;
    r->waiter = NULL;
    op_complete(op);
}

static void on_done(void *ctx, struct http_response *response, const struct err *err)
{
    struct result *r = ctx;
    struct err memory = {.kind = ERR_LIMIT};
    r->exchange = NULL;
    r->status = response->status;
    r->elapsed_ms = response->elapsed_ms;
    r->downloaded = response->downloaded;
    r->version = response->http_version;
    if (err == NULL && !vm_account(r->vm, (ptrdiff_t)response->body.len)) {
        err_set(&memory, ERR_LIMIT, "the reply of %zu bytes exceeds the memory of %s", response->body.len,
                vm_name(r->vm));
        memory.outcome = OUTCOME_UNKNOWN; /* it was executed, but what it said is lost */
        err = &memory;
    }
    if (err) {
        r->err = mem_dup(err, sizeof *err);
    } else {
        r->headers = response->headers;
        buf_init(&response->headers);
        if (!r->streams) {
            r->body = response->body;
            r->accounted = r->body.len;
            buf_init(&response->body);
        }
    }
    if (err) {
        struct buf url = {0};
        redact_url(&url, response->url);
        r->url = buf_take(&url, NULL);
    } else if (r->asked == NULL || strcmp(r->asked, response->url) != 0) {
        r->url = mem_strdup(response->url);
    }
    wake(r);
}

static void on_progress(void *ctx, const struct http_progress *progress)
{
    struct result *r = ctx;
    r->progress = *progress;
    r->moved = true;
    wake(r);
}

static bool on_piece(void *ctx, int status, const void *bytes, size_t n)
{
    struct result *r = ctx;
    if (n > r->backlog || r->body.len > r->backlog - n) return false;
    if (!vm_account(r->vm, (ptrdiff_t)n)) return false;
    r->accounted += n;
    r->status = status;
    buf_append(&r->body, bytes, n);
    wake(r);
    return true;
}

static void result_deinit(struct result *r)
{
    if (r->exchange) transport_cancel(r->transport, r->exchange);
    r->exchange = NULL;
    if (r->accounted) vm_account(r->vm, -(ptrdiff_t)r->accounted);
    r->accounted = 0;
    buf_deinit(&r->headers);
    buf_deinit(&r->body);
    mem_free(r->url);
    mem_free(r->err);
    r->url = NULL;
    r->err = NULL;
}

/* [-0, +0, e] raises what went wrong, with the fields that only we know. */
static int raise_failure(lua_State *L, const struct result *r)
{
    luax_push_err(L, r->err);
    if (r->status) {
        lua_pushinteger(L, r->status);
        lua_setfield(L, -2, "status");
    }
    lua_pushnumber(L, (lua_Number)r->elapsed_ms / 1000);
    lua_setfield(L, -2, "elapsed");
    lua_pushstring(L, r->url);
    lua_setfield(L, -2, "url");
    return lua_error(L);
}

/* [-0, +1, m] the reply as a table */
static int push_reply(lua_State *L, const struct result *r)
{
    lua_createtable(L, 0, 8); /* room for `headers`, which is made when it is asked for */
    lua_pushinteger(L, r->status);
    lua_setfield(L, -2, "status");
    lua_pushlstring(L, buf_str(&r->body), r->body.len);
    lua_setfield(L, -2, "body");
    lua_pushlstring(L, buf_str(&r->headers), r->headers.len);
    lua_setfield(L, -2, "raw_headers");
    if (r->url)
        lua_pushstring(L, r->url);
    else
        lua_pushvalue(L, ARG_URL);
    lua_setfield(L, -2, "url");
    lua_pushstring(L, r->version);
    lua_setfield(L, -2, "version");
    lua_pushnumber(L, (lua_Number)r->elapsed_ms / 1000);
    lua_setfield(L, -2, "elapsed");
    if (r->downloaded) {
        lua_pushinteger(L, (lua_Integer)r->downloaded);
        lua_setfield(L, -2, "size");
    }
    luaL_setmetatable(L, reply_class);
    return 1;
}

/* [-0, +?, e] starts the exchange that the arguments describe; its result goes to r. */
static void start(lua_State *L, struct result *r, bool with_progress)
{
    struct request_args args;
    struct err err;
    request_read(L, &args);
    if (r->streams) {
        r->backlog = args.request.body_cap ? args.request.body_cap : STREAM_BACKLOG;
        args.request.piece = on_piece;
    }
    r->vm = vm_of(L);
    r->transport = sched_http(vm_sched(r->vm));
    r->exchange =
        transport_start(r->transport, &args.request, on_done, with_progress ? on_progress : NULL, r, &err);
    if (r->exchange == NULL) luax_raise_err(L, &err);
}

/* ---- request: one wait ------------------------------------------------------------------------------ */

struct request_op {
    struct op op;
    struct result result;
    const char *method, *url; /* the caller's stack keeps them */
};

static void request_abort(struct op *op)
{
    struct result *r = &((struct request_op *)op)->result;
    r->waiter = NULL;
    if (r->exchange) transport_cancel(r->transport, r->exchange); /* NULL: refused before it started */
    r->exchange = NULL;
}

static int request_finish(lua_State *L, struct op *op)
{
    const struct result *r = &((struct request_op *)op)->result;
    return r->err ? raise_failure(L, r) : push_reply(L, r);
}

static void request_release(struct op *op)
{
    result_deinit(&((struct request_op *)op)->result);
}

static void describe(const char *method, const char *url, struct buf *out)
{
    buf_printf(out, "%s ", method);
    redact_url(out, url);
}

static void request_describe(const struct op *op, struct buf *out)
{
    const struct request_op *r = (const struct request_op *)op;
    describe(r->method, r->url, out);
}

static const struct op_type request_type = {
    .name = "http.request",
    .abort = request_abort,
    .finish = request_finish,
    .release = request_release,
    .describe = request_describe,
};

static int l_request(lua_State *L)
{
    lua_settop(L, ARG_NUMBERS);
    struct request_op *r = op_new(L, &request_type, sizeof *r);
    r->method = request_text(L, ARG_METHOD, "the method");
    r->url = request_text(L, ARG_URL, "the URL");
    r->result.waiter = &r->op;
    r->result.asked = r->url;
    start(L, &r->result, false);
    return op_park(L, &r->op);
}

/* ---- handles: an exchange that reports its progress ------------------------------------------------- */

struct handle {
    struct result result;
    bool closed;
};

struct step_op {
    struct op op;
    struct handle *handle; /* the caller's stack keeps it */
};

static void step_abort(struct op *op)
{
    ((struct step_op *)op)->handle->result.waiter = NULL; /* the exchange ends with its handle */
}

static int step_finish(lua_State *L, struct op *op)
{
    struct result *r = &((struct step_op *)op)->handle->result;
    if (r->err) return raise_failure(L, r);
    if (!r->moved) return push_reply(L, r); /* the last bytes are told before the reply is given */
    r->moved = false;
    lua_pushboolean(L, false);
    lua_pushinteger(L, (lua_Integer)r->progress.sent);
    lua_pushinteger(L, (lua_Integer)r->progress.send_total);
    lua_pushinteger(L, (lua_Integer)r->progress.received);
    lua_pushinteger(L, (lua_Integer)r->progress.receive_total);
    return 5;
}

static const struct op_type step_type = {
    .name = "http.transfer",
    .abort = step_abort,
    .finish = step_finish,
};

static int l_open(lua_State *L)
{
    lua_settop(L, ARG_NUMBERS);
    struct handle *h = luax_new(L, handle_class, sizeof *h);
    start(L, &h->result, true);
    lua_settop(L, ARG_NUMBERS + 1);
    return 1;
}

static struct handle *check_handle(lua_State *L)
{
    struct handle *h = luaL_checkudata(L, 1, handle_class);
    if (h->closed || h->result.waiter)
        luax_invalid(L, "http: the transfer is %s", h->closed ? "closed" : "being waited for");
    return h;
}

static int l_step(lua_State *L)
{
    struct handle *h = check_handle(L);
    struct step_op *op = op_new(L, &step_type, sizeof *op);
    op->handle = h;
    if (h->result.exchange == NULL || h->result.moved)
        op_complete(&op->op);
    else
        h->result.waiter = &op->op;
    return op_park(L, &op->op);
}

/* ---- streams: a reply that is read as it comes ------------------------------------------------------ */

/* What has come is read before the end or an error is told. */
static int read_finish(lua_State *L, struct op *op)
{
    struct result *r = &((struct step_op *)op)->handle->result;
    if (((struct step_op *)op)->handle->closed) {
        struct err err;
        err_set(&err, ERR_CLOSED, "http.stream: it was closed");
        luax_raise_err(L, &err);
    }
    if (r->body.len == 0 && r->err) return raise_failure(L, r);
    if (r->body.len == 0) {
        lua_pushnil(L);
        push_reply(L, r);
        return 2;
    }
    lua_pushlstring(L, r->body.data, r->body.len);
    lua_pushinteger(L, r->status);
    vm_account(r->vm, -(ptrdiff_t)r->accounted);
    r->accounted = 0;
    buf_clear(&r->body);
    return 2;
}

static const struct op_type read_type = {
    .name = "http.stream",
    .abort = step_abort,
    .finish = read_finish,
};

static int l_stream(lua_State *L)
{
    lua_settop(L, ARG_NUMBERS);
    struct handle *h = luax_new(L, handle_class, sizeof *h);
    h->result.streams = true;
    start(L, &h->result, false);
    lua_settop(L, ARG_NUMBERS + 1);
    return 1;
}

static int l_read(lua_State *L)
{
    struct handle *h = check_handle(L);
    struct step_op *op = op_new(L, &read_type, sizeof *op);
    op->handle = h;
    if (h->result.exchange == NULL || h->result.body.len > 0)
        op_complete(&op->op);
    else
        h->result.waiter = &op->op;
    return op_park(L, &op->op);
}

static int l_handle_close(lua_State *L)
{
    struct handle *h = luaL_checkudata(L, 1, handle_class);
    if (!h->closed && h->result.vm) result_deinit(&h->result);
    h->closed = true;
    if (h->result.streams) wake(&h->result); /* another task may wait for what will not come */
    return 0;
}

/* ---- the module ------------------------------------------------------------------------------------- */

static int l_counts(lua_State *L)
{
    struct curlmux_stats stats;
    http_transport_stats(sched_http(vm_sched(vm_of(L))), &stats);
    lua_createtable(L, 0, 5);
    lua_pushinteger(L, stats.active);
    lua_setfield(L, -2, "active");
    lua_pushinteger(L, stats.queued);
    lua_setfield(L, -2, "queued");
    lua_pushinteger(L, stats.lookups);
    lua_setfield(L, -2, "lookups");
    lua_pushinteger(L, stats.idle_sockets);
    lua_setfield(L, -2, "kept");
    lua_pushinteger(L, stats.limit);
    lua_setfield(L, -2, "limit");
    return 1;
}

int luaopen_perigee_core_http(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"request", l_request}, {"open", l_open}, {"stream", l_stream}, {"counts", l_counts}, {NULL, NULL}};
    static const luaL_Reg methods[] = {
        {"step", l_step}, {"read", l_read}, {"close", l_handle_close}, {NULL, NULL}};
    static const luaL_Reg meta[] = {{"__gc", l_handle_close}, {"__close", l_handle_close}, {NULL, NULL}};
    luax_class(L, handle_class, methods, meta);
    luaL_newlib(L, functions);
    luaL_newmetatable(L, reply_class);
    lua_setfield(L, -2, "reply");
    return 1;
}
