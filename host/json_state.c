/* json_state.c - the JSON parser and scratch memory of one VM, and the classes of JSON values. */
#include "host/json_state.h"

#include <lualib.h>
#include <string.h>

#include "host/luax.h"

static const char state_key; /* its address is the registry key */

static int l_state_gc(lua_State *L)
{
    struct json_state *state = lua_touserdata(L, 1);
    buf_deinit(&state->text);
    buf_deinit(&state->keys);
    return 0;
}

static int l_number_tostring(lua_State *L)
{
    luaL_checkudata(L, 1, JSON_NUMBER_CLASS);
    lua_pushstring(L, json_number_token(L, 1, NULL));
    return 1;
}

static int l_number_eq(lua_State *L)
{
    const char *a = json_number_token(L, 1, NULL), *b = json_number_token(L, 2, NULL);
    lua_pushboolean(L, a && b && strcmp(a, b) == 0);
    return 1;
}

/* [-0, +1, e] a function of the library `package`, which every VM has. */
static void push_package_field(lua_State *L, const char *name)
{
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_getfield(L, -1, LUA_LOADLIBNAME);
    lua_getfield(L, -1, name);
    lua_replace(L, -3);
    lua_pop(L, 1);
}

/* [-0, +1, e] the decode function of a lua-cjson instance of our own.  The library is looked up by its path,
 * not by require, so that no module of a script can stand in for it. */
static void push_new_decoder(lua_State *L)
{
    push_package_field(L, "searchpath");
    lua_pushliteral(L, "cjson");
    push_package_field(L, "cpath");
    lua_call(L, 2, 2);
    if (!lua_isstring(L, -2))
        luaL_error(L, "lua-cjson is not installed (package lua-cjson):%s", lua_tostring(L, -1));
    lua_pop(L, 1);
    push_package_field(L, "loadlib");
    lua_insert(L, -2);
    lua_pushliteral(L, "luaopen_cjson");
    lua_call(L, 2, 2);
    if (!lua_isfunction(L, -2)) luaL_error(L, "lua-cjson does not load: %s", lua_tostring(L, -1));
    lua_pop(L, 1);
    lua_call(L, 0, 1);
    lua_getfield(L, -1, "new");
    lua_call(L, 0, 1);
    lua_getfield(L, -1, "decode");
    lua_replace(L, -3);
    lua_pop(L, 1);
}

static struct json_state *make_state(lua_State *L)
{
    static const luaL_Reg number[] = {{"__tostring", l_number_tostring}, {"__eq", l_number_eq}, {NULL, NULL}};
    luax_class(L, JSON_NUMBER_CLASS, NULL, number);
    luaL_newmetatable(L, JSON_ARRAY_CLASS);
    lua_pop(L, 1);
    struct json_state *state = lua_newuserdatauv(L, sizeof *state, 1);
    memset(state, 0, sizeof *state);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, l_state_gc);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    jsonscan_new_prefix(state->prefix);
    push_new_decoder(L);
    lua_setiuservalue(L, -2, 1);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &state_key);
    return state;
}

struct json_state *json_state_push(lua_State *L)
{
    luaL_checkstack(L, 8, "json");
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &state_key) == LUA_TUSERDATA) return lua_touserdata(L, -1);
    lua_pop(L, 1);
    return make_state(L);
}

void json_state_push_decode(lua_State *L, int index)
{
    lua_getiuservalue(L, index, 1);
}

void json_state_trim(struct buf *b)
{
    if (b->cap > JSON_SCRATCH_KEPT)
        buf_deinit(b);
    else
        buf_clear(b);
}
