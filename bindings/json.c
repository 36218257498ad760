/* json.c - perigee.core.json: decode, encode and the values Lua has no type for.  The work is host/json.c. */
#include "host/json.h"

#include "bindings/modules.h"
#include "host/jsonscan.h"
#include "host/luax.h"

/* [-0, +0, e] the option table at index. */
static struct json_limits check_limits(lua_State *L, int index, const char *function)
{
    static const char *const fields[] = {"max_depth", "max_bytes", NULL};
    luax_check_options(L, index, function, fields);
    struct json_limits limits;
    limits.max_depth =
        (unsigned)luax_opt_integer(L, index, function, "max_depth", JSON_DEPTH_DEFAULT, 1, JSON_DEPTH_MOST);
    limits.max_bytes =
        (size_t)luax_opt_integer(L, index, function, "max_bytes", JSON_BYTES_DEFAULT, 1, LUA_MAXINTEGER);
    return limits;
}

/* decode(text, {max_depth=, max_bytes=}) -> value */
static int l_decode(lua_State *L)
{
    struct err err;
    if (luax_string(L, 1, NULL) == NULL)
        luax_invalid(L, "json.decode: expected a string, got %s", luaL_typename(L, 1));
    struct json_limits limits = check_limits(L, 2, "json.decode");
    if (json_decode_at(L, 1, &limits, &err) != 0) luax_raise_err(L, &err);
    return 1;
}

/* encode(value, {max_depth=, max_bytes=}) -> text */
static int l_encode(lua_State *L)
{
    struct err err;
    size_t n;
    luaL_checkany(L, 1);
    struct json_limits limits = check_limits(L, 2, "json.encode");
    const char *text = json_encode(L, 1, &n, &limits, &err);
    if (text == NULL) luax_raise_err(L, &err);
    lua_pushlstring(L, text, n);
    return 1;
}

/* array(table?) -> the same table, marked */
static int l_array(lua_State *L)
{
    if (lua_isnoneornil(L, 1)) {
        json_push_array(L);
        return 1;
    }
    if (!lua_istable(L, 1)) luax_invalid(L, "json.array: expected a table, got %s", luaL_typename(L, 1));
    if (!json_is_array(L, 1)) {
        if (lua_getmetatable(L, 1)) luax_invalid(L, "json.array: the table has a metatable of its own");
        json_mark_array(L, 1);
    }
    lua_settop(L, 1);
    return 1;
}

static int l_is_array(lua_State *L)
{
    lua_pushboolean(L, json_is_array(L, 1));
    return 1;
}

/* number(text) -> a number that encodes as exactly these digits */
static int l_number(lua_State *L)
{
    size_t n;
    const char *token = luax_string(L, 1, &n);
    if (token == NULL) luax_invalid(L, "json.number: expected text, got %s", luaL_typename(L, 1));
    if (!jsonscan_is_number(token, n)) luax_invalid(L, "json.number: \"%.40s\" is not a JSON number", token);
    json_push_number(L, token, n);
    return 1;
}

static int l_is_number(lua_State *L)
{
    lua_pushboolean(L, json_number_token(L, 1, NULL) != NULL);
    return 1;
}

int luaopen_perigee_core_json(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"decode", l_decode}, {"encode", l_encode},       {"array", l_array}, {"is_array", l_is_array},
        {"number", l_number}, {"is_number", l_is_number}, {NULL, NULL}};
    luaL_newlib(L, functions);
    json_push_null(L);
    lua_setfield(L, -2, "null");
    return 1;
}
