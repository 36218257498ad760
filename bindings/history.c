/* history.c (bindings) - perigee.core.history: the file of what was typed at prompts; see host/history.h.
 *
 *   read(path) -> lines                 text of whole lines, "" if there is no file
 *   append(path, lines)                 makes the file, but no folder
 *   rewrite(path, most, drop)           keeps the last `most` lines that are not among those of `drop`
 *
 * All raise `unavailable`, code "unsafe" for what lies there and is no file of ours alone, "locked", "ENOENT"
 * or "system". At once, without waiting.  What a line means is the business of scripts/lib/repl_history.lua.
 */
#include "bindings/modules.h"

#include "host/history.h"
#include "host/luax.h"

static int l_read(lua_State *L)
{
    struct err err = {0};
    const char *path = luaL_checkstring(L, 1);
    struct buf *text = luax_new_buf(L);
    if (history_read(path, text, &err) != 0) return luax_raise_err(L, &err);
    luax_push_buf(L, text);
    return 1;
}

static int l_append(lua_State *L)
{
    struct err err = {0};
    size_t n;
    const char *path = luaL_checkstring(L, 1);
    const char *lines = luaL_checklstring(L, 2, &n);
    if (history_append(path, lines, n, &err) != 0) return luax_raise_err(L, &err);
    return 0;
}

static int l_rewrite(lua_State *L)
{
    struct err err = {0};
    size_t n;
    const char *path = luaL_checkstring(L, 1);
    lua_Integer most = luaL_checkinteger(L, 2);
    const char *drop = luaL_checklstring(L, 3, &n);
    luaL_argcheck(L, most >= 0, 2, "out of range");
    if (history_rewrite(path, (size_t)most, drop, n, &err) != 0) return luax_raise_err(L, &err);
    return 0;
}

int luaopen_perigee_core_history(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"read", l_read}, {"append", l_append}, {"rewrite", l_rewrite}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
