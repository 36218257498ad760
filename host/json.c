/* json.c - decoding: lua-cjson between the scan and the walk that undoes its marks; the values of JSON that
 * Lua has no type for. */
#include "host/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "host/json_state.h"
#include "host/luax.h"

/* ---- values that Lua has no type for ---------------------------------------------------------------- */

void json_push_null(lua_State *L)
{
    lua_pushlightuserdata(L, NULL);
}

bool json_is_null(lua_State *L, int index)
{
    return lua_islightuserdata(L, index) && lua_touserdata(L, index) == NULL;
}

void json_mark_array(lua_State *L, int index)
{
    index = lua_absindex(L, index);
    json_state_push(L); /* makes the class on first use */
    luaL_getmetatable(L, JSON_ARRAY_CLASS);
    lua_setmetatable(L, index);
    lua_pop(L, 1);
}

void json_push_array(lua_State *L)
{
    lua_newtable(L);
    json_mark_array(L, -1);
}

bool json_is_array(lua_State *L, int index)
{
    if (!lua_istable(L, index) || !lua_getmetatable(L, index)) return false;
    luaL_getmetatable(L, JSON_ARRAY_CLASS);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same;
}

void json_push_number(lua_State *L, const char *token, size_t n)
{
    json_state_push(L);
    lua_pop(L, 1);
    char *copy = luax_new(L, JSON_NUMBER_CLASS, n + 1);
    memcpy(copy, token, n);
    copy[n] = '\0';
}

const char *json_number_token(lua_State *L, int index, size_t *n)
{
    const char *token = luaL_testudata(L, index, JSON_NUMBER_CLASS);
    if (token && n) *n = lua_rawlen(L, index) - 1;
    return token;
}

/* ---- the walk --------------------------------------------------------------------------------------- */

struct walk {
    const char *prefix;
    bool rewrites, integers; /* there is something to undo, to convert */
    size_t members;          /* keys seen in objects */
};

/* [-0, +1, m] the value a marker stands for. */
static void push_marked(lua_State *L, const char *marker, size_t n)
{
    const char *token = marker + JSONSCAN_PREFIX_LEN + 1;
    size_t len = n - JSONSCAN_PREFIX_LEN - 1;
    int64_t integer;
    double real;
    if (marker[JSONSCAN_PREFIX_LEN] == JSONSCAN_ARRAY) {
        json_push_array(L);
        return;
    }
    switch (jsonscan_classify(token, len, &integer, &real)) {
    case JSONSCAN_IS_INTEGER: lua_pushinteger(L, integer); break;
    case JSONSCAN_IS_REAL: lua_pushnumber(L, real); break;
    case JSONSCAN_IS_EXACT: json_push_number(L, token, len); break;
    }
}

/* [-0, +0|1, m] true, with what belongs in its place pushed, if the scalar on top is not what the text said.
 */
static bool push_corrected(lua_State *L, const struct walk *w)
{
    int type = lua_type(L, -1);
    if (type == LUA_TNUMBER && w->integers) {
        lua_Number value = lua_tonumber(L, -1);
        if (value != floor(value)) return false;
        lua_pushinteger(L, (lua_Integer)value);
        return true;
    }
    if (type == LUA_TSTRING && w->rewrites) {
        size_t n;
        const char *text = lua_tolstring(L, -1, &n);
        if (n <= JSONSCAN_PREFIX_LEN || memcmp(text, w->prefix, JSONSCAN_PREFIX_LEN) != 0) return false;
        push_marked(L, text, n);
        return true;
    }
    return false;
}

/* [-0, +0, m] the table on top.  Only values of existing keys are assigned, which lua_next allows. */
static void walk_table(lua_State *L, struct walk *w)
{
    luaL_checkstack(L, 12, "json");
    int table = lua_gettop(L);
    lua_pushnil(L);
    while (lua_next(L, table)) {
        bool member = lua_type(L, -2) == LUA_TSTRING;
        if (member) w->members++;
        if (lua_istable(L, -1)) {
            walk_table(L, w);
        } else if (push_corrected(L, w)) {
            if (member) {
                lua_pushvalue(L, -3);
                lua_insert(L, -2);
                lua_rawset(L, table);
            } else {
                lua_rawseti(L, table, lua_tointeger(L, -3));
            }
        }
        lua_pop(L, 1);
    }
}

/* ---- decode ------------------------------------------------------------------------------------------- */

static int too_long(struct err *err, size_t n, size_t most)
{
    err_set(err, ERR_LIMIT, "JSON text of %zu bytes; the limit is %zu", n, most);
    if (err) snprintf(err->code, sizeof err->code, "size");
    return -1;
}

static int report_duplicate(const char *text, size_t n, struct err *err)
{
    size_t offset = 0;
    jsonscan_duplicate(text, n, &offset);
    return jsonscan_fail(err, text, n, offset, "a key that this object has already");
}

int json_decode_at(lua_State *L, int index, const struct json_limits *limits, struct err *err)
{
    size_t n;
    const char *text = lua_tolstring(L, index, &n);
    size_t most = limits && limits->max_bytes ? limits->max_bytes : JSON_BYTES_DEFAULT;
    struct jsonscan_limits bounds = {.max_out = 2 * most};
    bounds.max_depth = limits && limits->max_depth ? limits->max_depth : JSON_DEPTH_DEFAULT;
    struct jsonscan scan;
    if (n > most) return too_long(err, n, most);
    index = lua_absindex(L, index);
    struct json_state *state = json_state_push(L);
    int top = lua_gettop(L);
    json_state_trim(&state->text);
    if (jsonscan_run(text, n, state->prefix, &bounds, &state->text, &scan, err) != 0) {
        lua_settop(L, top - 1);
        return -1;
    }
    json_state_push_decode(L, top);
    if (scan.rewrites > 0)
        lua_pushlstring(L, state->text.data, state->text.len);
    else
        lua_pushvalue(L, index);
    lua_call(L, 1, 1);
    struct walk w = {.prefix = state->prefix, .rewrites = scan.rewrites > 0, .integers = scan.integers};
    if (lua_istable(L, -1))
        walk_table(L, &w);
    else if (push_corrected(L, &w))
        lua_replace(L, -2);
    if (w.members != scan.members) {
        lua_settop(L, top - 1);
        return report_duplicate(text, n, err);
    }
    lua_replace(L, top);
    return 0;
}

int json_decode(lua_State *L, const char *text, size_t n, const struct json_limits *limits, struct err *err)
{
    size_t most = limits && limits->max_bytes ? limits->max_bytes : JSON_BYTES_DEFAULT;
    if (n > most) return too_long(err, n, most);
    lua_pushlstring(L, text, n);
    int failed = json_decode_at(L, -1, limits, err);
    lua_remove(L, failed ? -1 : -2);
    return failed;
}
