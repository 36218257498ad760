/* text.c - perigee.core.text: text as a terminal shows it, for VMs that have no terminal.
 *
 *   width(text) -> cells    escape(text) -> text    cut(text, cells) -> text
 * Pure: perigee.core.term has the same functions beside those that write.
 */
#include "host/text.h"

#include "bindings/modules.h"
#include "host/buf.h"
#include "host/luax.h"

static int l_width(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    lua_pushinteger(L, (lua_Integer)text_width(text, len));
    return 1;
}

static int l_escape(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    struct buf *out = luax_new_buf(L);
    text_escape(out, text, len, false);
    luax_push_buf(L, out);
    return 1;
}

static int l_cut(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    lua_Integer cells = luaL_checkinteger(L, 2);
    struct buf *out = luax_new_buf(L);
    text_cut(out, text, len, cells > 0 ? (size_t)cells : 0);
    luax_push_buf(L, out);
    return 1;
}

const luaL_Reg text_functions[] = {{"width", l_width}, {"escape", l_escape}, {"cut", l_cut}, {NULL, NULL}};

int luaopen_perigee_core_text(lua_State *L)
{
    lua_newtable(L);
    luaL_setfuncs(L, text_functions, 0);
    return 1;
}
