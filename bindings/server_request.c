/* server_request.c - the userdata of one accepted request: answering it, in one piece or as a stream.
 *
 * The userdata owns the request of the engine until it is released, collected or closed, whichever is first.
 */
#include "bindings/server.h"

#include <limits.h>
#include <string.h>

#include "host/luax.h"

static const char request_class[] = "perigee.server.request";

struct held *held_push(lua_State *L)
{
    return luax_new(L, request_class, sizeof(struct held));
}

void held_changed(struct held *h)
{
    if (h->writing == NULL) return;
    struct op *op = h->writing;
    h->writing = NULL;
    op_complete(op);
}

static struct held *check_held(lua_State *L)
{
    return luaL_checkudata(L, 1, request_class);
}

/* [-0, +1, e] the flat list {name, value, …} at index as an array whose strings the list keeps alive */
static struct http_header *check_headers(lua_State *L, int index, size_t *count)
{
    luaL_checktype(L, index, LUA_TTABLE);
    lua_Unsigned n = lua_rawlen(L, index);
    struct http_header *headers = lua_newuserdatauv(L, (n / 2 + 1) * sizeof *headers, 0);
    for (lua_Unsigned i = 0; i < n; i++) {
        size_t len;
        lua_rawgeti(L, index, (lua_Integer)i + 1);
        const char *text = luax_string(L, -1, &len);
        if (text == NULL || strlen(text) != len) luax_invalid(L, "http.serve: a response header is no text");
        if (i % 2 == 0)
            headers[i / 2].name = text;
        else
            headers[i / 2].value = text;
        lua_pop(L, 1);
    }
    *count = n / 2;
    return headers;
}

/* Raises `closed` for a request that has been released. */
static struct server_request *check_open(lua_State *L, struct held *h)
{
    struct err err;
    if (h->request) return h->request;
    err_set(&err, ERR_CLOSED, "the request was answered already");
    luax_raise_err(L, &err);
}

/* [-0, +0, e] the range is the engine's to check; what does not fit an int becomes 0, which it refuses */
static int check_status(lua_State *L, int index)
{
    if (!lua_isinteger(L, index))
        luax_invalid(L, "the status must be an integer, not %s", luaL_typename(L, index));
    lua_Integer status = lua_tointeger(L, index);
    return status < 0 || status > INT_MAX ? 0 : (int)status;
}

/* [-0, +0, e] */
static const char *check_bytes(lua_State *L, int index, const char *what, size_t *len)
{
    const char *bytes = luax_string(L, index, len);
    if (bytes == NULL) luax_invalid(L, "%s must be text, not %s", what, luaL_typename(L, index));
    return bytes;
}

/* request:respond(status, {name, value, …}, body) */
static int l_request_respond(lua_State *L)
{
    struct held *h = check_held(L);
    int status = check_status(L, 2);
    size_t count, len;
    const char *body = check_bytes(L, 4, "the body", &len);
    const struct http_header *headers = check_headers(L, 3, &count);
    struct err err;
    if (server_respond(check_open(L, h), status, headers, count, body, len, &err) != 0)
        luax_raise_err(L, &err);
    return 0;
}

/* request:begin(status, {name, value, …}) */
static int l_request_begin(lua_State *L)
{
    struct held *h = check_held(L);
    int status = check_status(L, 2);
    size_t count;
    const struct http_header *headers = check_headers(L, 3, &count);
    struct err err;
    if (server_respond_begin(check_open(L, h), status, headers, count, &err) != 0) luax_raise_err(L, &err);
    return 0;
}

struct write_op {
    struct op op;
    struct held *held;
};

static void write_abort(struct op *op)
{
    ((struct write_op *)op)->held->writing = NULL;
}

static int write_finish(lua_State *L, struct op *op)
{
    const struct held *h = ((struct write_op *)op)->held;
    struct err err;
    if (h->request && !server_request_is_gone(h->request)) return 0;
    err_set(&err, ERR_CLOSED, "the peer has hung up");
    luax_raise_err(L, &err);
}

static const struct op_type write_type = {
    .name = "http.serve: write",
    .abort = write_abort,
    .finish = write_finish,
};

/* request:write(bytes): returns at once while the connection keeps up, else waits until it does */
static int l_request_write(lua_State *L)
{
    struct held *h = check_held(L);
    size_t len;
    const char *bytes = check_bytes(L, 2, "what is written", &len);
    struct server_request *r = check_open(L, h);
    struct err err;
    if (h->writing) luax_invalid(L, "write: another task is writing to this response");
    if (server_respond_write(r, bytes, len, &err) != 0) luax_raise_err(L, &err);
    if (server_respond_queued(r) < SERVER_STREAM_HIGH) return 0;
    struct write_op *op = op_new(L, &write_type, sizeof *op);
    op->held = h;
    h->writing = &op->op;
    return op_park(L, &op->op);
}

static int l_request_finish(lua_State *L)
{
    struct held *h = check_held(L);
    if (h->request) server_respond_end(h->request);
    return 0;
}

static int l_request_drop(lua_State *L)
{
    struct held *h = check_held(L);
    if (h->request) server_drop(h->request);
    return 0;
}

static int l_request_closed(lua_State *L)
{
    struct held *h = check_held(L);
    lua_pushboolean(L, h->request == NULL || server_request_is_gone(h->request));
    return 1;
}

static int l_request_release(lua_State *L)
{
    struct held *h = check_held(L);
    struct server_request *r = h->request;
    h->request = NULL;
    if (r) server_request_release(r);
    return 0;
}

void held_open(lua_State *L)
{
    static const luaL_Reg methods[] = {{"respond", l_request_respond}, {"begin", l_request_begin},
                                       {"write", l_request_write},     {"finish", l_request_finish},
                                       {"drop", l_request_drop},       {"closed", l_request_closed},
                                       {"release", l_request_release}, {NULL, NULL}};
    static const luaL_Reg meta[] = {
        {"__gc", l_request_release}, {"__close", l_request_release}, {NULL, NULL}};
    luax_class(L, request_class, methods, meta);
}
