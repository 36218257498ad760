/* hmac.c - perigee.core.hmac: text that only this installation can have made.
 *
 *   load(path) -> signer     with the key of the file, which is made if it is not there
 *   fresh() -> signer        with a key of its own, which ends with it
 *   signer:sign(text) -> 32 hex digits;  signer:verify(text, hex) -> boolean, in constant time
 */
#include "bindings/modules.h"

#include <string.h>

#include "host/hmac.h"
#include "host/luax.h"
#include "host/random.h"

static const char signer_class[] = "perigee.signer";

struct signer {
    uint8_t key[HMAC_KEY_SIZE];
};

static int l_load(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    struct signer *signer = luax_new(L, signer_class, sizeof *signer);
    struct err err;
    if (hmac_key_load(path, signer->key, &err) != 0) luax_raise_err(L, &err);
    return 1;
}

static int l_fresh(lua_State *L)
{
    struct signer *signer = luax_new(L, signer_class, sizeof *signer);
    char hex[2 * HMAC_KEY_SIZE + 1];
    random_hex(NULL, hex, HMAC_KEY_SIZE);
    memcpy(signer->key, hex, HMAC_KEY_SIZE); /* 128 bits in hex digits: as strong as a signature is long */
    return 1;
}

static int l_sign(lua_State *L)
{
    const struct signer *signer = luaL_checkudata(L, 1, signer_class);
    size_t n;
    const char *text = luaL_checklstring(L, 2, &n);
    char hex[HMAC_HEX_SIZE + 1];
    hmac_sign(signer->key, text, n, hex);
    lua_pushstring(L, hex);
    return 1;
}

static int l_verify(lua_State *L)
{
    const struct signer *signer = luaL_checkudata(L, 1, signer_class);
    size_t n, hex_len;
    const char *text = luaL_checklstring(L, 2, &n), *hex = luaL_checklstring(L, 3, &hex_len);
    lua_pushboolean(L, hmac_verify(signer->key, text, n, hex, hex_len));
    return 1;
}

int luaopen_perigee_core_hmac(lua_State *L)
{
    static const luaL_Reg functions[] = {{"load", l_load}, {"fresh", l_fresh}, {NULL, NULL}};
    static const luaL_Reg methods[] = {{"sign", l_sign}, {"verify", l_verify}, {NULL, NULL}};
    luax_class(L, signer_class, methods, NULL);
    luaL_newlib(L, functions);
    return 1;
}
