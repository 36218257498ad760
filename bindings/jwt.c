/* jwt.c - perigee.core.jwt: expiry(token), for the logins of the service clients.  Internal. */
#include "host/jwt.h"

#include "bindings/modules.h"
#include "host/luax.h"

/* expiry(token) -> Unix seconds, or nil if the token never expires; raises `parse` for what is no JWT */
static int l_expiry(lua_State *L)
{
    size_t n;
    int64_t expires_s;
    struct err err;
    const char *token = luax_string(L, 1, &n);
    if (token == NULL) luax_invalid(L, "jwt.expiry: expected a string, got %s", luaL_typename(L, 1));
    if (jwt_expiry(token, n, &expires_s, &err) != 0) luax_raise_err(L, &err);
    if (expires_s == JWT_NEVER)
        lua_pushnil(L);
    else
        lua_pushinteger(L, expires_s);
    return 1;
}

int luaopen_perigee_core_jwt(lua_State *L)
{
    static const luaL_Reg functions[] = {{"expiry", l_expiry}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
