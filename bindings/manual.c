/* manual.c - perigee.core.manual: the pages of docs/ and the editor stubs, as they travel in the program.
 *
 *   text(path)   the file of that path in the source tree ("docs/task.md"), or nil
 *   paths()      all paths, sorted
 */
#include "bindings/modules.h"

#include "host/embedded.h"

static int l_text(lua_State *L)
{
    const struct embedded_file *f =
        embedded_find(embedded_texts, embedded_texts_count, luaL_checkstring(L, 1));
    if (f)
        lua_pushlstring(L, f->text, f->len);
    else
        lua_pushnil(L);
    return 1;
}

static int l_paths(lua_State *L)
{
    lua_newtable(L);
    for (int i = 0; embedded_texts[i].path; i++) {
        lua_pushstring(L, embedded_texts[i].path);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

int luaopen_perigee_core_manual(lua_State *L)
{
    static const luaL_Reg functions[] = {{"text", l_text}, {"paths", l_paths}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
