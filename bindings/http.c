/* http.c - perigee.core.http: HTTP exchanges as waits.
 *
 *   request(method, url, options, body, media_type) -> reply     one wait, from the first byte to the last
 *   open(…the same…) -> handle                                   for progress: several waits on one exchange
 *   handle:step() -> reply | false, sent, send_total, received, receive_total
 *   counts() -> {active=, queued=, lookups=, …}
 *
 * A reply is a table {status, body, url, elapsed, version, raw_headers, size}; scripts/lib/http.lua gives it
 * its methods, builds bodies, and holds the defaults that are policy.  The exchange belongs to its op, or
 * to its handle; callbacks of the engine only move what came into the `struct result` there.
 */
#include "host/http.h"

#include <limits.h>
#include <string.h>
#include <strings.h>

#include "bindings/modules.h"
#include "host/luax.h"
#include "host/mem.h"
#include "host/redact.h"
#include "host/task.h"
#include "host/vm.h"

static const char handle_class[] = "perigee.http.handle";
static const char reply_class[] = "perigee.http.response";

enum { HEADERS_MAX = 200, TIME_MAX_MS = 7 * 24 * 3600 * 1000 };

/* The stack of request and open; NUMBERS is for add_header. */
enum { ARG_METHOD = 1, ARG_URL, ARG_OPTIONS, ARG_BODY, ARG_MEDIA_TYPE, NUMBERS };

/* ---- what came: filled without Lua, pushed later
 * ------------------------------------------------------------- */

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
        r->body = response->body;
        r->accounted = r->body.len;
        buf_init(&response->headers);
        buf_init(&response->body);
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

/* ---- options
 * ------------------------------------------------------------------------------------------------------ */

static const char *const option_fields[] = {"headers",
                                            "timeout",
                                            "connect_timeout",
                                            "first_byte_timeout",
                                            "stall_timeout",
                                            "max_body",
                                            "max_headers",
                                            "redirects",
                                            "insecure",
                                            "file",
                                            "part",
                                            "file_name",
                                            "media_type",
                                            "download",
                                            "resume",
                                            "progress",
                                            "json",
                                            "body",
                                            "method",
                                            "url",
                                            "fresh",
                                            NULL};

static const char *check_text(lua_State *L, int index, const char *what)
{
    size_t n;
    const char *s = luax_string(L, index, &n);
    if (s == NULL) luax_invalid(L, "http: %s must be a string, not %s", what, luaL_typename(L, index));
    if (strlen(s) != n) luax_invalid(L, "http: %s holds a zero byte", what);
    return s;
}

/* [-1, +0, e] takes the value on top as one header.  The options keep the strings alive; numbers become
 * strings that the table at NUMBERS keeps, which is made for the first one. */
static void add_header(lua_State *L, struct http_request *request, struct http_header *list, const char *name)
{
    if (request->header_count == HEADERS_MAX) luax_invalid(L, "http: more than %d headers", HEADERS_MAX);
    if (lua_isinteger(L, -1)) {
        if (lua_isnil(L, NUMBERS)) {
            lua_newtable(L);
            lua_replace(L, NUMBERS);
        }
        luaL_tolstring(L, -1, NULL);
        lua_remove(L, -2);
        lua_pushvalue(L, -1);
        lua_rawseti(L, NUMBERS, (lua_Integer)lua_rawlen(L, NUMBERS) + 1);
    }
    struct http_header header = {name, check_text(L, -1, "a header's value")};
    size_t at = request->header_count++;
    /* by name, so that the order of a table never shows; of one name the order given */
    while (at > 0 && strcasecmp(list[at - 1].name, name) > 0) {
        list[at] = list[at - 1];
        at--;
    }
    list[at] = header;
    lua_pop(L, 1);
}

static bool has_header(const struct http_request *request, const char *name)
{
    for (size_t i = 0; i < request->header_count; i++)
        if (strcasecmp(request->headers[i].name, name) == 0) return true;
    return false;
}

/* [-0, +0, e] reads options.headers */
static void read_headers(lua_State *L, struct http_request *request, struct http_header *list)
{
    int type = lua_getfield(L, ARG_OPTIONS, "headers");
    if (type != LUA_TTABLE && type != LUA_TNIL)
        luax_invalid(L, "http: headers must be a table {name = value}");
    if (type == LUA_TTABLE) {
        int headers = lua_gettop(L);
        lua_pushnil(L);
        while (lua_next(L, headers)) {
            const char *name = check_text(L, -2, "a header's name");
            if (!lua_istable(L, -1)) {
                add_header(L, request, list, name);
                continue;
            }
            lua_Integer n = luaL_len(L, -1);
            for (lua_Integer i = 1; i <= n; i++) {
                lua_geti(L, -1, i);
                add_header(L, request, list, name);
            }
            lua_pop(L, 1);
        }
    }
    lua_pop(L, 1);
}

static uint64_t opt_time(lua_State *L, const char *field)
{
    uint64_t ms = luax_opt_duration(L, ARG_OPTIONS, "http", field, 0);
    return ms < TIME_MAX_MS ? ms : TIME_MAX_MS;
}

static bool is_reading(const char *method)
{
    return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0 || strcmp(method, "OPTIONS") == 0;
}

/* options.insecure names the host, so that a copied line does not switch off the checks of another one. */
static bool read_insecure(lua_State *L, const char *url)
{
    char origin[CURLMUX_ORIGIN_MAX];
    struct err err;
    lua_getfield(L, ARG_OPTIONS, "insecure");
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        return false;
    }
    const char *host = luax_string(L, -1, NULL);
    if (curlmux_origin(url, origin, &err) != 0) luax_raise_err(L, &err);
    const char *named = strstr(origin, "://") + 3;
    size_t n = (size_t)(strrchr(named, ':') - named);
    if (host == NULL || strlen(host) != n || strncasecmp(host, named, n) != 0) {
        named = lua_pushlstring(L, named, n);
        luax_invalid(
            L, "http: insecure must name the host whose certificate is not to be checked: insecure = \"%s\"",
            named);
    }
    lua_pop(L, 1);
    return true;
}

static const char *opt_text(lua_State *L, const char *field)
{
    lua_getfield(L, ARG_OPTIONS, field); /* stays on the stack, and so alive */
    return lua_isnil(L, -1) ? NULL : check_text(L, -1, field);
}

static void read_options(lua_State *L, struct http_request *request, struct http_file_body *file)
{
    luax_check_options(L, ARG_OPTIONS, "http", option_fields);
    luaL_checkstack(L, 16, "http");
    request->total_ms = opt_time(L, "timeout");
    request->connect_ms = opt_time(L, "connect_timeout");
    request->first_byte_ms = opt_time(L, "first_byte_timeout");
    request->stall_ms = opt_time(L, "stall_timeout");
    request->body_cap = (size_t)luax_opt_integer(L, ARG_OPTIONS, "http", "max_body", 0, 1, LLONG_MAX);
    request->header_cap = (size_t)luax_opt_integer(L, ARG_OPTIONS, "http", "max_headers", 0, 1, 1 << 20);
    request->max_redirects =
        (int)luax_opt_integer(L, ARG_OPTIONS, "http", "redirects", request->max_redirects, 0, 50);
    request->resume = luax_opt_boolean(L, ARG_OPTIONS, "http", "resume", false);
    request->fresh = luax_opt_boolean(L, ARG_OPTIONS, "http", "fresh", false);
    request->insecure = read_insecure(L, request->url);
    request->download_path = opt_text(L, "download");
    file->path = opt_text(L, "file");
    if (file->path == NULL) return;
    file->part_name = opt_text(L, "part");
    file->file_name = opt_text(L, "file_name");
    file->media_type = opt_text(L, "media_type");
    request->file_body = file;
}

/* [-0, +?, e] starts the exchange that the arguments describe (the slots up to NUMBERS); its result goes to
 * r. */
static void start(lua_State *L, struct result *r, bool with_progress)
{
    struct http_request request = {.method = check_text(L, ARG_METHOD, "the method"),
                                   .url = check_text(L, ARG_URL, "the URL")};
    struct http_file_body file = {0};
    struct http_header headers[HEADERS_MAX];
    struct err err;
    request.headers = headers;
    request.once = !is_reading(request.method);
    request.max_redirects = request.once ? 0 : 5;
    if (!lua_isnil(L, ARG_OPTIONS)) {
        read_headers(L, &request, headers);
        read_options(L, &request, &file);
    }
    if (!lua_isnil(L, ARG_MEDIA_TYPE) && !has_header(&request, "content-type")) {
        lua_pushvalue(L, ARG_MEDIA_TYPE);
        add_header(L, &request, headers, "Content-Type");
    }
    if (!lua_isnil(L, ARG_BODY)) {
        request.body = luax_string(L, ARG_BODY, &request.body_len);
        if (request.body == NULL)
            luax_invalid(L, "http: body must be a string, not %s (json = sends a table)",
                         luaL_typename(L, ARG_BODY));
    }
    r->vm = vm_of(L);
    r->transport = sched_http(vm_sched(r->vm));
    r->exchange =
        transport_start(r->transport, &request, on_done, with_progress ? on_progress : NULL, r, &err);
    if (r->exchange == NULL) luax_raise_err(L, &err);
}

/* ---- request: one wait
 * ------------------------------------------------------------------------------------------- */

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
    lua_settop(L, NUMBERS);
    struct request_op *r = op_new(L, &request_type, sizeof *r);
    r->method = check_text(L, ARG_METHOD, "the method");
    r->url = check_text(L, ARG_URL, "the URL");
    r->result.waiter = &r->op;
    r->result.asked = r->url;
    start(L, &r->result, false);
    return op_park(L, &r->op);
}

/* ---- handles: an exchange that reports its progress
 * ------------------------------------------------------------------ */

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
    lua_settop(L, NUMBERS);
    struct handle *h = luax_new(L, handle_class, sizeof *h);
    start(L, &h->result, true);
    lua_settop(L, NUMBERS + 1);
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

static int l_handle_close(lua_State *L)
{
    struct handle *h = luaL_checkudata(L, 1, handle_class);
    if (!h->closed && h->result.vm) result_deinit(&h->result);
    h->closed = true;
    return 0;
}

/* ---- the module
 * ------------------------------------------------------------------------------------------------------- */

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
        {"request", l_request}, {"open", l_open}, {"counts", l_counts}, {NULL, NULL}};
    static const luaL_Reg methods[] = {{"step", l_step}, {"close", l_handle_close}, {NULL, NULL}};
    static const luaL_Reg meta[] = {{"__gc", l_handle_close}, {"__close", l_handle_close}, {NULL, NULL}};
    luax_class(L, handle_class, methods, meta);
    luaL_newlib(L, functions);
    luaL_newmetatable(L, reply_class);
    lua_setfield(L, -2, "reply");
    return 1;
}
