/* task_origin.c - remembering where errors began.
 *
 * An error that passes through joins and scopes arrives with the stack of its last stop.  So each VM keeps,
 * in its registry, where its last few errors began: a ring of {error, traceback}.
 */
#include "host/task.h"

enum { ORIGINS = 8 };

static const char origins_key = 0;

/* [-0, +1, m] the entry of the error at index (absolute), or nil */
static void push_origin_entry(lua_State *L, int index)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &origins_key);
    for (int i = 1; i <= ORIGINS && lua_istable(L, -1); i++) {
        if (lua_rawgeti(L, -1, i) == LUA_TTABLE) {
            lua_rawgeti(L, -1, 1);
            bool same = lua_rawequal(L, -1, index);
            lua_pop(L, 1);
            if (same) {
                lua_remove(L, -2);
                return;
            }
        }
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    lua_pushnil(L);
}

void task_push_origin(lua_State *L, int index)
{
    push_origin_entry(L, lua_absindex(L, index));
    if (lua_isnil(L, -1)) return;
    lua_rawgeti(L, -1, 2);
    lua_remove(L, -2);
}

/* One that is known began elsewhere. */
void task_keep_origin(lua_State *L)
{
    push_origin_entry(L, 1);
    bool known = !lua_isnil(L, -1);
    lua_pop(L, 1);
    if (known) return;
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &origins_key) != LUA_TTABLE) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &origins_key);
    }
    lua_rawgeti(L, -1, 0);
    lua_Integer next = lua_tointeger(L, -1) % ORIGINS + 1;
    lua_pop(L, 1);
    lua_createtable(L, 2, 0);
    lua_pushvalue(L, 1);
    lua_rawseti(L, -2, 1);
    lua_pushvalue(L, -3);
    lua_rawseti(L, -2, 2);
    lua_rawseti(L, -2, next);
    lua_pushinteger(L, next);
    lua_rawseti(L, -2, 0);
    lua_pop(L, 1);
}
