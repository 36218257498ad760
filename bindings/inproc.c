/* inproc.c - perigee.core.inproc: answers requests of this process from Lua, without a socket.
 *
 * Events of the engine only queue here; `accept` takes requests out as Lua values, in a task.  The userdata
 * of a request answers it exactly once: with a reply, a drop, or, collected unanswered, a drop.
 */
#include "bindings/inproc.h"

#include <limits.h>
#include <string.h>

#include "bindings/modules.h"
#include "host/inproc.h"
#include "host/luax.h"
#include "host/task.h"

static const char inproc_class[] = "perigee.inproc";
static const char request_class[] = "perigee.inproc.request";

struct handle {
    struct inproc *inproc; /* NULL: closed */
    struct sched *sched;
    struct op *accepting; /* at most one */
};

struct accept_op {
    struct op op;
    struct handle *handle;
};

/* ---- events of the engine: no Lua here ------------------------------------------------------------------
 */

static void wake(struct handle *h)
{
    struct op *op = h->accepting;
    if (op == NULL) return;
    h->accepting = NULL;
    op_complete(op);
}

static void on_arrived(void *ctx)
{
    wake(ctx);
}

static void on_waiting(void *ctx, int change)
{
    struct handle *h = ctx;
    sched_count_inner_waits(h->sched, change);
}

static const struct inproc_events events = {on_arrived, on_waiting};

/* ---- the service's side ---------------------------------------------------------------------------------
 */

static struct handle *check_handle(lua_State *L, int index)
{
    return luaL_checkudata(L, index, inproc_class);
}

struct transport *inproc_check_transport(lua_State *L, int index, const char *what)
{
    struct handle *h = luaL_testudata(L, index, inproc_class);
    if (h == NULL || h->inproc == NULL) luax_invalid(L, "%s must be an open in-process transport", what);
    return inproc_transport(h->inproc);
}

/* new() -> inproc */
static int l_new(lua_State *L)
{
    struct sched *sched = vm_sched(vm_of(L));
    struct handle *h = luax_new(L, inproc_class, sizeof *h);
    h->sched = sched;
    h->inproc = inproc_new(sched_loop(sched), sched_timers(sched), &events, h);
    return 1;
}

/* inproc:close(): open exchanges end with an error, the accepting task gets nil */
static int l_close(lua_State *L)
{
    struct handle *h = check_handle(L, 1);
    if (h->inproc == NULL) return 0;
    inproc_close(h->inproc);
    h->inproc = NULL;
    wake(h);
    return 0;
}

static void accept_abort(struct op *op)
{
    ((struct accept_op *)op)->handle->accepting = NULL;
}

static void push_headers(lua_State *L, const struct buf *lines)
{
    lua_newtable(L);
    const char *at = buf_str(lines), *eol;
    for (; (eol = strstr(at, "\r\n")) != NULL; at = eol + 2) {
        const char *colon = memchr(at, ':', (size_t)(eol - at));
        lua_pushlstring(L, at, (size_t)(colon - at));
        lua_pushlstring(L, colon + 2, (size_t)(eol - colon - 2));
        lua_rawset(L, -3);
    }
}

/* [-0, +n, e] see l_accept.  The request is taken first and held by its userdata: nothing is lost if the rest
 * raises. */
static int accept_finish(lua_State *L, struct op *op)
{
    struct handle *h = ((struct accept_op *)op)->handle;
    struct exchange **held = luax_new(L, request_class, sizeof(struct exchange *));
    *held = h->inproc ? inproc_accept(h->inproc) : NULL;
    if (*held == NULL) {
        lua_pushnil(L);
        return 1;
    }
    const struct inproc_request *request = inproc_request(*held);
    lua_pushstring(L, request->method);
    lua_pushstring(L, request->url);
    push_headers(L, &request->headers);
    lua_pushlstring(L, buf_str(&request->body), request->body.len);
    return 5;
}

static const struct op_type accept_type = {
    .name = "inproc:accept",
    .internal = true,
    .timed = true,
    .abort = accept_abort,
    .finish = accept_finish,
};

/* inproc:accept() -> request, method, url, headers, body | nil (closed, or another task was quicker) */
static int l_accept(lua_State *L)
{
    struct handle *h = check_handle(L, 1);
    if (h->accepting) luax_invalid(L, "inproc:accept: another task accepts already");
    struct accept_op *op = op_new(L, &accept_type, sizeof *op);
    op->handle = h;
    if (h->inproc == NULL || inproc_pending(h->inproc))
        op_complete(&op->op);
    else
        h->accepting = &op->op;
    return op_park(L, &op->op);
}

/* ---- answering ------------------------------------------------------------------------------------------
 */

static struct exchange *take_held(lua_State *L)
{
    struct exchange **held = luaL_checkudata(L, 1, request_class);
    struct exchange *x = *held;
    if (x == NULL) luax_invalid(L, "the request was answered already");
    return x;
}

/* [-0, +1, e] the flat list {name, value, …} at index as an array whose strings the list keeps alive */
static struct http_header *check_headers(lua_State *L, int index, size_t *count)
{
    luaL_checktype(L, index, LUA_TTABLE);
    lua_Unsigned n = lua_rawlen(L, index) / 2;
    struct http_header *headers = lua_newuserdatauv(L, (n + 1) * sizeof *headers, 0);
    for (lua_Unsigned i = 0; i < n; i++) {
        lua_rawgeti(L, index, (lua_Integer)(2 * i + 1));
        lua_rawgeti(L, index, (lua_Integer)(2 * i + 2));
        headers[i].name = luax_string(L, -2, NULL);
        headers[i].value = luax_string(L, -1, NULL);
        if (headers[i].name == NULL || headers[i].value == NULL)
            luax_invalid(L, "request:respond: a header is no text");
        lua_pop(L, 2);
    }
    *count = n;
    return headers;
}

static uint64_t opt_delay(lua_State *L, int index)
{
    return lua_isnoneornil(L, index) ? 0 : luax_check_duration(L, index, "the delay of an answer");
}

/* request:respond(status, {name, value, …}, body, delay) */
static int l_respond(lua_State *L)
{
    struct exchange *x = take_held(L);
    lua_Integer status = luaL_checkinteger(L, 2);
    luaL_argcheck(L, status >= 200 && status <= 599, 2, "a status from 200 to 599");
    size_t len, count;
    const char *body = luaL_checklstring(L, 4, &len);
    uint64_t delay_ms = opt_delay(L, 5);
    const struct http_header *headers = check_headers(L, 3, &count);
    *(struct exchange **)lua_touserdata(L, 1) = NULL;
    inproc_respond(x, (int)status, headers, count, body, len, delay_ms);
    return 0;
}

/* request:drop(delay) */
static int l_drop(lua_State *L)
{
    struct exchange *x = take_held(L);
    uint64_t delay_ms = opt_delay(L, 2);
    *(struct exchange **)lua_touserdata(L, 1) = NULL;
    inproc_drop(x, delay_ms);
    return 0;
}

static int l_request_gc(lua_State *L)
{
    struct exchange **held = luaL_checkudata(L, 1, request_class);
    if (*held) inproc_drop(*held, 0);
    *held = NULL;
    return 0;
}

int luaopen_perigee_core_inproc(lua_State *L)
{
    static const luaL_Reg functions[] = {{"new", l_new}, {NULL, NULL}};
    static const luaL_Reg methods[] = {{"accept", l_accept}, {"close", l_close}, {NULL, NULL}};
    static const luaL_Reg meta[] = {{"__gc", l_close}, {NULL, NULL}};
    static const luaL_Reg request_methods[] = {{"respond", l_respond}, {"drop", l_drop}, {NULL, NULL}};
    static const luaL_Reg request_meta[] = {{"__gc", l_request_gc}, {"__close", l_request_gc}, {NULL, NULL}};
    luax_class(L, inproc_class, methods, meta);
    luax_class(L, request_class, request_methods, request_meta);
    luaL_newlib(L, functions);
    return 1;
}
