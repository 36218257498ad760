/* secret.c - perigee.core.secret: text that is used but never shown.
 *
 * A secret is a userdata holding the bytes; they are registered with host/redact when it is made, so that
 * they are blanked in logs and errors even after somebody took them out, and wiped when it is collected.
 * tostring, perigee.json, perigee.log and perigee.inspect show "[secret]".
 */
#include <stdint.h>
#include <string.h>

#include "bindings/modules.h"
#include "host/luax.h"
#include "host/redact.h"

static const char class_name[] = "perigee.secret"; /* host/json_encode.c knows it by this name */

/* [-0, +0, e] the bytes of the secret at index. */
static const char *check_secret(lua_State *L, int index, size_t *n)
{
    const char *bytes = luaL_testudata(L, index, class_name);
    if (bytes == NULL) luax_invalid(L, "secret: expected a secret, got %s", luaL_typename(L, index));
    *n = lua_rawlen(L, index);
    return bytes;
}

/* of(text) -> secret; a secret passes through */
static int l_of(lua_State *L)
{
    size_t n;
    lua_settop(L, 1);
    if (luaL_testudata(L, 1, class_name)) return 1;
    const char *text = luax_string(L, 1, &n);
    if (text == NULL) luax_invalid(L, "secret.of: expected text, got %s", luaL_typename(L, 1));
    if (n == 0) luax_invalid(L, "secret.of: the text is empty");
    redact_add(text, n);
    memcpy(luax_new(L, class_name, n), text, n);
    return 1;
}

static int l_is(lua_State *L)
{
    lua_pushboolean(L, luaL_testudata(L, 1, class_name) != NULL);
    return 1;
}

/* secret:reveal() -> text */
static int l_reveal(lua_State *L)
{
    size_t n;
    const char *bytes = check_secret(L, 1, &n);
    lua_pushlstring(L, bytes, n);
    return 1;
}

static int l_tostring(lua_State *L)
{
    lua_pushliteral(L, "[secret]");
    return 1;
}

/* Joined text would say "[secret]" where the secret is meant: a header like that fails far from here. */
static int l_concat(lua_State *L)
{
    luax_invalid(L, "a secret is not joined to text: write secret:reveal() where the text goes out");
}

/* Takes as long for any two secrets of one length. */
static int l_eq(lua_State *L)
{
    const unsigned char *a = luaL_testudata(L, 1, class_name), *b = luaL_testudata(L, 2, class_name);
    size_t n = lua_rawlen(L, 1);
    unsigned char difference = 0;
    bool same = a && b && n == lua_rawlen(L, 2);
    for (size_t i = 0; same && i < n; i++) difference |= a[i] ^ b[i];
    lua_pushboolean(L, same && difference == 0);
    return 1;
}

static int l_gc(lua_State *L)
{
    explicit_bzero(lua_touserdata(L, 1), lua_rawlen(L, 1));
    return 0;
}

int luaopen_perigee_core_secret(lua_State *L)
{
    static const luaL_Reg methods[] = {{"reveal", l_reveal}, {NULL, NULL}};
    static const luaL_Reg metamethods[] = {
        {"__tostring", l_tostring}, {"__concat", l_concat}, {"__eq", l_eq}, {"__gc", l_gc}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"of", l_of}, {"is", l_is}, {NULL, NULL}};
    luax_class(L, class_name, methods, metamethods);
    luaL_newlib(L, functions);
    return 1;
}
