/* local.c - perigee.core.local: a transport whose other end is a task of the same VM.
 *
 *   new() -> local          what a client takes as transport=
 *   local:next()            waits; number, {method, url, headers, body}; nothing if it was gone again
 *   local:reply(number, {status=, headers=, body=, delay=, drop=})
 */
#include "bindings/local.h"

#include <lauxlib.h>

#include "bindings/modules.h"
#include "host/luax.h"
#include "host/ops_local.h"
#include "host/task.h"

static const char local_class[] = "perigee.local";

static struct local_transport *check(lua_State *L, int index)
{
    struct local_transport **box = luaL_checkudata(L, index, local_class);
    if (!*box) luax_invalid(L, "the local transport is closed");
    return *box;
}

struct transport *local_check(lua_State *L, int index)
{
    if (!luaL_testudata(L, index, local_class))
        luax_invalid(L, "transport: expected one made by perigee.core.local");
    return local_as_transport(check(L, index));
}

static int l_new(lua_State *L)
{
    struct local_transport **box = luax_new(L, local_class, sizeof *box);
    *box = local_new(sched_timers(vm_sched(vm_of(L))));
    return 1;
}

static int l_gc(lua_State *L)
{
    struct local_transport **box = luaL_checkudata(L, 1, local_class);
    local_free(*box);
    *box = NULL;
    return 0;
}

static int l_next(lua_State *L)
{
    return local_next(L, check(L, 1));
}

/* [-0, +1, e] the header table at index as "name: value\r\n" lines. */
static const char *push_header_lines(lua_State *L, int index)
{
    lua_pushliteral(L, "");
    if (lua_type(L, index) != LUA_TTABLE) return "";
    lua_pushnil(L);
    while (lua_next(L, index)) {                     /* stack: lines, name, value */
        const char *name = luax_string(L, -2, NULL); /* lua_tostring would change a number under lua_next */
        if (name == NULL) luax_invalid(L, "local:reply: a header's name must be text");
        luaL_tolstring(L, -1, NULL);
        lua_pushfstring(L, "%s%s: %s\r\n", lua_tostring(L, -4), name, lua_tostring(L, -1));
        lua_replace(L, -5);
        lua_pop(L, 2);
    }
    return lua_tostring(L, -1);
}

static int l_reply(lua_State *L)
{
    struct local_transport *local = check(L, 1);
    uint64_t number = (uint64_t)luaL_checkinteger(L, 2);
    luaL_checktype(L, 3, LUA_TTABLE);
    lua_settop(L, 3);
    struct local_reply reply = {.body = ""};
    lua_getfield(L, 3, "status");
    reply.status = (int)luaL_optinteger(L, -1, 200);
    lua_getfield(L, 3, "body");
    reply.body = luaL_optlstring(L, -1, "", &reply.body_len);
    lua_getfield(L, 3, "delay");
    reply.delay_ms = (uint64_t)(luaL_optnumber(L, -1, 0) * 1000);
    lua_getfield(L, 3, "drop");
    reply.dropped = lua_toboolean(L, -1);
    lua_getfield(L, 3, "headers");
    reply.headers = push_header_lines(L, lua_gettop(L));
    lua_pushboolean(L, local_reply(local, number, &reply));
    return 1;
}

int luaopen_perigee_core_local(lua_State *L)
{
    static const luaL_Reg methods[] = {{"next", l_next}, {"reply", l_reply}, {NULL, NULL}};
    static const luaL_Reg meta[] = {{"__gc", l_gc}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"new", l_new}, {NULL, NULL}};
    luax_class(L, local_class, methods, meta);
    luaL_newlib(L, functions);
    return 1;
}
