/* plain.c - writing and reading plain data: one tag byte for each value, then its content. */
#include "host/plain.h"

#include <assert.h>
#include <string.h>

#include "host/amountx.h"
#include "host/json.h"
#include "host/luax.h"

enum tag {
    TAG_NIL = 'n',
    TAG_FALSE = 'f',
    TAG_TRUE = 't',
    TAG_INTEGER = 'i',
    TAG_NUMBER = 'd',
    TAG_STRING = 's',
    TAG_TABLE = '{',
    TAG_ERROR = '!', /* a table, with the metatable of error objects */
    TAG_ARRAY = '[', /* a table that is marked as JSON's array */
    TAG_NULL = '0',  /* json.null */
    TAG_TOKEN = '#', /* json.number */
    TAG_AMOUNT = '$',
    TAG_END = '}'
};

struct writer {
    lua_State *L;
    struct buf *out;
    struct err *err;
    char path[128]; /* of the value being written: "job.spec.env" */
};

/* ---- writing ---------------------------------------------------------------------------------------- */

static int write_value(struct writer *w, int index, int depth);

static void put_bytes(struct writer *w, enum tag tag, const void *bytes, size_t n)
{
    buf_putc(w->out, (char)tag);
    buf_append(w->out, bytes, n);
}

static void put_string(struct writer *w, enum tag tag, const char *s, size_t n)
{
    put_bytes(w, tag, &n, sizeof n);
    buf_append(w->out, s, n);
}

static int refuse(struct writer *w, const char *why)
{
    err_set(w->err, ERR_INVALID, "%s%s%s cannot go to another VM", w->path, w->path[0] ? ": " : "", why);
    return err_set_code(w->err, "not_plain");
}

/* Adds ".key" to the path; returns the length to cut back to. */
static size_t enter_field(struct writer *w, int key)
{
    size_t len = strlen(w->path);
    if (lua_type(w->L, key) == LUA_TSTRING)
        snprintf(w->path + len, sizeof w->path - len, "%s%s", len ? "." : "", lua_tostring(w->L, key));
    else if (lua_isinteger(w->L, key))
        snprintf(w->path + len, sizeof w->path - len, "[%lld]", (long long)lua_tointeger(w->L, key));
    return len;
}

static int write_table(struct writer *w, int index, int depth)
{
    lua_State *L = w->L;
    bool is_error = luax_is_err(L, index), is_array = !is_error && json_is_array(L, index);
    if (depth >= PLAIN_DEEPEST || !lua_checkstack(L, 8))
        return refuse(w, "a table that is nested too deeply");
    if (!is_error && !is_array && lua_getmetatable(L, index)) {
        lua_pop(L, 1);
        return refuse(w, "a table with a metatable");
    }
    buf_putc(w->out, is_error ? TAG_ERROR : is_array ? TAG_ARRAY : TAG_TABLE);
    lua_pushnil(L);
    while (lua_next(L, index)) {
        int value = lua_gettop(L), key = value - 1;
        size_t len = enter_field(w, key);
        if (write_value(w, key, depth + 1) != 0 || write_value(w, value, depth + 1) != 0) {
            lua_pop(L, 2);
            return -1;
        }
        w->path[len] = '\0';
        lua_pop(L, 1);
    }
    buf_putc(w->out, TAG_END);
    return 0;
}

static int write_userdata(struct writer *w, int index)
{
    size_t n;
    const struct amount *a = amountx_test(w->L, index);
    const char *token = a ? NULL : json_number_token(w->L, index, &n);
    if (a)
        put_bytes(w, TAG_AMOUNT, a, sizeof *a);
    else if (token)
        put_string(w, TAG_TOKEN, token, n);
    else
        return refuse(w, "a userdata");
    return 0;
}

static int write_number(struct writer *w, int index)
{
    if (lua_isinteger(w->L, index)) {
        lua_Integer i = lua_tointeger(w->L, index);
        put_bytes(w, TAG_INTEGER, &i, sizeof i);
    } else {
        lua_Number d = lua_tonumber(w->L, index);
        put_bytes(w, TAG_NUMBER, &d, sizeof d);
    }
    return 0;
}

static int write_value(struct writer *w, int index, int depth)
{
    size_t n;
    const char *s;
    if (w->out->len > PLAIN_LARGEST) return refuse(w, "a value of over 16 MB");
    switch (lua_type(w->L, index)) {
    case LUA_TNIL: buf_putc(w->out, TAG_NIL); return 0;
    case LUA_TBOOLEAN: buf_putc(w->out, lua_toboolean(w->L, index) ? TAG_TRUE : TAG_FALSE); return 0;
    case LUA_TNUMBER: return write_number(w, index);
    case LUA_TSTRING:
        s = lua_tolstring(w->L, index, &n);
        put_string(w, TAG_STRING, s, n);
        return 0;
    case LUA_TTABLE: return write_table(w, index, depth);
    case LUA_TUSERDATA: return write_userdata(w, index);
    case LUA_TFUNCTION: return refuse(w, "a function");
    case LUA_TLIGHTUSERDATA:
        if (!json_is_null(w->L, index)) return refuse(w, "a userdata");
        buf_putc(w->out, TAG_NULL);
        return 0;
    default: return refuse(w, luaL_typename(w->L, index));
    }
}

int plain_write(lua_State *L, int index, struct buf *out, struct err *err)
{
    struct writer w = {.L = L, .out = out, .err = err};
    int top = lua_gettop(L), rc = write_value(&w, lua_absindex(L, index), 0);
    lua_settop(L, top);
    return rc;
}

/* ---- reading ---------------------------------------------------------------------------------------- */

static void take(const char **at, void *into, size_t n)
{
    memcpy(into, *at, n);
    *at += n;
}

/* [-0, +1, m] */
static void read_value(lua_State *L, const char **at);

/* [-0, +1, m] */
static void read_table(lua_State *L, const char **at)
{
    luaL_checkstack(L, 8, "plain data");
    lua_newtable(L);
    while (**at != TAG_END) {
        read_value(L, at);
        read_value(L, at);
        lua_rawset(L, -3);
    }
    ++*at;
}

/* [-0, +1, m] */
static void read_string(lua_State *L, const char **at, void (*push)(lua_State *, const char *, size_t))
{
    size_t n;
    take(at, &n, sizeof n);
    push(L, *at, n);
    *at += n;
}

/* [-0, +1, m] */
static void push_text(lua_State *L, const char *s, size_t n)
{
    lua_pushlstring(L, s, n);
}

static void read_value(lua_State *L, const char **at)
{
    lua_Integer i;
    lua_Number d;
    struct amount a;
    switch (*(*at)++) {
    case TAG_NIL: lua_pushnil(L); break;
    case TAG_FALSE: lua_pushboolean(L, 0); break;
    case TAG_TRUE: lua_pushboolean(L, 1); break;
    case TAG_INTEGER: take(at, &i, sizeof i), lua_pushinteger(L, i); break;
    case TAG_NUMBER: take(at, &d, sizeof d), lua_pushnumber(L, d); break;
    case TAG_STRING: read_string(L, at, push_text); break;
    case TAG_TOKEN: read_string(L, at, json_push_number); break;
    case TAG_NULL: json_push_null(L); break;
    case TAG_TABLE: read_table(L, at); break;
    case TAG_ERROR: read_table(L, at), luax_make_err(L); break;
    case TAG_ARRAY: read_table(L, at), json_mark_array(L, -1); break;
    case TAG_AMOUNT: take(at, &a, sizeof a), amountx_push(L, &a); break;
    default: assert(!"bytes that plain_write did not make");
    }
}

void plain_read(lua_State *L, const char *bytes, size_t n)
{
    const char *at = bytes;
    read_value(L, &at);
    assert(at == bytes + n);
    (void)n;
}
