/* server.c - perigee.core.server: a listening server and the requests that wait for their answers.
 *
 * Events of the engine only queue here; `accept` takes them out again as Lua values.  A `struct served`
 * lives from listen until the engine's closed event, whatever becomes of its userdata; a request belongs
 * to the queue until it is accepted, then to its userdata.  Handlers, defaults and shapes are Lua's
 * (scripts/lib/http_serve.lua).
 */
#include "bindings/server.h"

#include <string.h>

#include "bindings/modules.h"
#include "host/log.h"
#include "host/luax.h"
#include "host/mem.h"
#include "host/random.h"
#include "host/task.h"

static const char server_class[] = "perigee.server";

enum { LINGER_MS = 1000, SECRET_BYTES = 16 };

struct served {
    struct server *server;    /* NULL: closed */
    struct vm *vm;            /* NULL: the userdata is gone */
    struct list_node arrived; /* of struct arrival */
    struct op *accepting;     /* at most one */
    struct list_node closers; /* of struct close_op */
    lua_Integer last_id;
};

/* A request that nobody has accepted, or word that the peer of an accepted one hung up. */
struct arrival {
    struct list_node link;
    struct server_request *request; /* NULL: hung up */
    lua_Integer id;
};

/* ---- events of the engine: no Lua here -------------------------------------------------------------- */

static void arrive(struct served *s, struct server_request *request, lua_Integer id)
{
    struct arrival *a = mem_alloc(sizeof *a);
    a->request = request;
    a->id = id;
    list_append(&s->arrived, &a->link);
    if (s->accepting) {
        struct op *op = s->accepting;
        s->accepting = NULL;
        op_complete(op);
    }
}

static void on_request(void *ctx, struct server_request *request)
{
    struct served *s = ctx;
    arrive(s, request, ++s->last_id);
}

static void on_gone(void *ctx, struct server_request *request)
{
    struct served *s = ctx;
    struct held *h = request->owner;
    if (h == NULL) return; /* whoever accepts it will see */
    held_changed(h);
    arrive(s, NULL, h->id);
}

static void on_drained(void *ctx, struct server_request *request)
{
    (void)ctx;
    if (request->owner) held_changed(request->owner);
}

struct close_op {
    struct op op;
    struct list_node link;
};

static void drop_arrivals(struct served *s)
{
    struct list_node *n;
    while ((n = list_pop(&s->arrived)) != NULL) {
        struct arrival *a = LIST_ENTRY(n, struct arrival, link);
        if (a->request) server_request_release(a->request);
        mem_free(a);
    }
}

static void on_closed(void *ctx)
{
    struct served *s = ctx;
    s->server = NULL;
    drop_arrivals(s);    /* all answered by now */
    if (s->vm == NULL) { /* nobody is left */
        mem_free(s);
        return;
    }
    vm_source_add(s->vm, -1);
    struct list_node *n;
    while ((n = list_pop(&s->closers)) != NULL) op_complete(&LIST_ENTRY(n, struct close_op, link)->op);
    if (s->accepting) {
        struct op *op = s->accepting;
        s->accepting = NULL;
        op_complete(op);
    }
}

static const struct server_events events = {on_request, on_gone, on_drained, on_closed};

/* ---- listening and closing -------------------------------------------------------------------------- */

static struct served *check_served(lua_State *L)
{
    struct served **holder = luaL_checkudata(L, 1, server_class);
    return *holder;
}

/* [-0, +0, e] an unset time takes the engine's default; 0 would look like "no limit" and be none */
static uint64_t check_limit(lua_State *L, const char *field)
{
    uint64_t ms = luax_opt_duration(L, 1, "http.serve", field, UINT64_MAX);
    if (ms == 0) luax_invalid(L, "http.serve: %s must be above 0", field);
    return ms == UINT64_MAX ? 0 : ms;
}

/* listen{host=, port= | path=, max_header=, …} -> server; handler and cancel_on_close are Lua's and only
 * passed by */
static int l_listen(lua_State *L)
{
    static const char *const fields[] = {
        "host",         "port",          "path",    "max_header",      "max_body", "max_connections",
        "idle_timeout", "total_timeout", "handler", "cancel_on_close", NULL};
    luax_check_options(L, 1, "http.serve", fields);
    struct server_config config = {
        .port = (uint16_t)luax_opt_integer(L, 1, "http.serve", "port", 0, 0, UINT16_MAX),
        .max_header = (size_t)luax_opt_integer(L, 1, "http.serve", "max_header", 0, 256, 1 << 20),
        .max_body = (size_t)luax_opt_integer(L, 1, "http.serve", "max_body", 0, 1, 1 << 30),
        .max_connections = (unsigned)luax_opt_integer(L, 1, "http.serve", "max_connections", 0, 1, 100000),
        .idle_ms = check_limit(L, "idle_timeout"),
        .total_ms = check_limit(L, "total_timeout"),
    };
    config.host = luax_opt_string(L, 1, "http.serve", "host", NULL, NULL); /* stays on the stack */
    config.path = luax_opt_string(L, 1, "http.serve", "path", NULL, NULL);
    if (config.path && (config.host || config.port))
        luax_invalid(L, "http.serve: path takes the place of host and port");

    struct vm *vm = vm_of(L);
    struct sched *sched = vm_sched(vm);
    struct served **holder = luax_new(L, server_class, sizeof *holder);
    struct served *s = mem_alloc(sizeof *s);
    struct err err;
    list_init(&s->arrived);
    list_init(&s->closers);
    s->vm = vm;
    s->server = server_start(sched_loop(sched), sched_timers(sched), &config, &events, s, &err);
    if (s->server == NULL) {
        mem_free(s);
        luax_raise_err(L, &err);
    }
    *holder = s;
    vm_source_add(vm, 1);
    return 1;
}

static int l_server_port(lua_State *L)
{
    struct served *s = check_served(L);
    lua_pushinteger(L, s && s->server ? server_port(s->server) : 0);
    return 1;
}

static int l_server_url(lua_State *L)
{
    struct served *s = check_served(L);
    lua_pushstring(L, s && s->server ? server_url(s->server) : NULL);
    return 1;
}

static int l_server_connections(lua_State *L)
{
    struct served *s = check_served(L);
    lua_pushinteger(L, s && s->server ? (lua_Integer)server_connections(s->server) : 0);
    return 1;
}

static void close_abort(struct op *op)
{
    list_remove(&((struct close_op *)op)->link);
}

static int close_finish(lua_State *L, struct op *op)
{
    (void)L, (void)op;
    return 0;
}

static const struct op_type close_type = {
    .name = "server:close",
    .abort = close_abort,
    .finish = close_finish,
};

/* server:close(): answers what waits with 503; returns when nothing of the server is left */
static int l_server_close(lua_State *L)
{
    struct served *s = check_served(L);
    if (s == NULL || s->server == NULL) return 0;
    server_close(s->server, LINGER_MS); /* begun also if the wait below is refused */
    struct close_op *op = op_new(L, &close_type, sizeof *op);
    list_append(&s->closers, &op->link);
    return op_park(L, &op->op);
}

static int l_server_gc(lua_State *L)
{
    struct served **holder = luaL_checkudata(L, 1, server_class);
    struct served *s = *holder;
    *holder = NULL;
    if (s == NULL) return 0;
    if (s->server == NULL) {
        mem_free(s);
        return 0;
    }
    vm_source_add(s->vm, -1);
    s->vm = NULL;
    server_close(s->server, 0);
    return 0;
}

/* ---- accepting -------------------------------------------------------------------------------------- */

struct accept_op {
    struct op op;
    struct served *served;
};

static void accept_abort(struct op *op)
{
    ((struct accept_op *)op)->served->accepting = NULL;
}

/* [-0, +1, e] the lines as {name = value}; a name that comes twice has its values joined by commas */
static void push_headers(lua_State *L, const struct buf *lines)
{
    lua_newtable(L);
    const char *at = buf_str(lines), *eol;
    for (; (eol = strstr(at, "\r\n")) != NULL; at = eol + 2) {
        const char *colon = memchr(at, ':', (size_t)(eol - at));
        if (colon == NULL) continue;
        lua_pushlstring(L, at, (size_t)(colon - at));
        lua_pushvalue(L, -1);
        if (lua_rawget(L, -3) == LUA_TNIL) {
            lua_pop(L, 1);
            lua_pushlstring(L, colon + 2, (size_t)(eol - colon - 2));
        } else {
            lua_pushlstring(L, ", ", 2);
            lua_pushlstring(L, colon + 2, (size_t)(eol - colon - 2));
            lua_concat(L, 3);
        }
        lua_rawset(L, -3);
    }
}

static struct arrival *first_arrival(struct served *s)
{
    struct list_node *n = list_first(&s->arrived);
    return n ? LIST_ENTRY(n, struct arrival, link) : NULL;
}

/* [-0, +n, e] see l_server_accept.  The arrival leaves the queue only when nothing can raise any more. */
static int accept_finish(lua_State *L, struct op *op)
{
    struct served *s = ((struct accept_op *)op)->served;
    struct arrival *a = first_arrival(s);
    if (a == NULL) { /* closed */
        lua_pushnil(L);
        return 1;
    }
    lua_pushinteger(L, a->id);
    int results = 1;
    struct server_request *r = a->request;
    if (r) {
        struct held *h = held_push(L);
        lua_pushstring(L, r->method);
        lua_pushstring(L, r->target);
        lua_pushstring(L, r->remote);
        push_headers(L, &r->headers);
        lua_pushlstring(L, buf_str(&r->body), r->body.len);
        results = 7;
        buf_deinit(&r->body);
        h->request = r;
        h->id = a->id;
        r->owner = h;
    }
    list_remove(&a->link);
    mem_free(a);
    return results;
}

static void accept_describe(const struct op *op, struct buf *out)
{
    const struct served *s = ((const struct accept_op *)op)->served;
    if (s->server) buf_puts(out, server_url(s->server));
}

static const struct op_type accept_type = {
    .name = "http.serve",
    .abort = accept_abort,
    .finish = accept_finish,
    .describe = accept_describe,
};

/* server:accept() -> id, request, method, target, remote, headers, body | id (its peer hung up) | nil
 * (closed) */
static int l_server_accept(lua_State *L)
{
    struct served *s = check_served(L);
    if (s == NULL || s->server == NULL) {
        lua_pushnil(L);
        return 1;
    }
    if (s->accepting) luax_invalid(L, "server:accept: another task accepts already");
    struct accept_op *op = op_new(L, &accept_type, sizeof *op);
    op->served = s;
    if (list_empty(&s->arrived))
        s->accepting = &op->op;
    else
        op_complete(&op->op);
    return op_park(L, &op->op);
}

/* ---- the module ------------------------------------------------------------------------------------- */

/* report(method, path, text): a handler failed; its peer is told nothing of it */
static int l_report(lua_State *L)
{
    log_write(LOG_LEVEL_ERROR, "http.handler_failed", LOG_STR("method", luaL_checkstring(L, 1)),
              LOG_STR("path", luaL_checkstring(L, 2)), LOG_STR("error", luaL_checkstring(L, 3)));
    return 0;
}

/* secret() -> 32 hex digits that nobody can guess; a rehearsal on a virtual clock repeats them */
static int l_secret(lua_State *L)
{
    struct sched *sched = vm_sched(vm_of(L));
    char hex[2 * SECRET_BYTES + 1];
    random_hex(clock_is_virtual(sched_clock(sched)) ? sched_random(sched) : NULL, hex, SECRET_BYTES);
    lua_pushstring(L, hex);
    return 1;
}

int luaopen_perigee_core_server(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"listen", l_listen}, {"report", l_report}, {"secret", l_secret}, {NULL, NULL}};
    static const luaL_Reg server_methods[] = {{"accept", l_server_accept},
                                              {"close", l_server_close},
                                              {"port", l_server_port},
                                              {"url", l_server_url},
                                              {"connections", l_server_connections},
                                              {NULL, NULL}};
    static const luaL_Reg server_meta[] = {{"__gc", l_server_gc}, {"__close", l_server_close}, {NULL, NULL}};
    luax_class(L, server_class, server_methods, server_meta);
    held_open(L);
    luaL_newlib(L, functions);
    return 1;
}
