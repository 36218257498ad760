/* lock.c - perigee.core.lock: a file that one run works on at a time, as a <close> value. */
#include "bindings/modules.h"
#include "host/files_lock.h"
#include "host/luax.h"

static const char lock_class[] = "perigee.file_lock";

/* lock.take(path) -> a lock to keep in a <close> variable; raises `unavailable`, code "locked" */
static int l_take(lua_State *L)
{
    struct err err;
    const char *path = luaL_checkstring(L, 1);
    struct file_lock **box = luax_new(L, lock_class, sizeof(struct file_lock *));
    *box = file_lock_take(path, &err);
    if (!*box) return luax_raise_err(L, &err);
    return 1;
}

static int l_close(lua_State *L)
{
    struct file_lock **box = luaL_checkudata(L, 1, lock_class);
    file_lock_free(*box);
    *box = NULL;
    return 0;
}

int luaopen_perigee_core_lock(lua_State *L)
{
    static const luaL_Reg methods[] = {{"close", l_close}, {NULL, NULL}};
    static const luaL_Reg metamethods[] = {{"__close", l_close}, {"__gc", l_close}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"take", l_take}, {NULL, NULL}};
    luax_class(L, lock_class, methods, metamethods);
    luaL_newlib(L, functions);
    return 1;
}
