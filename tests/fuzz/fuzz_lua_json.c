/* fuzz_lua_json.c - what decodes encodes, and the text that gives decodes and encodes to itself.  What is no
 * JSON is refused with a sentence.
 * One Lua state for all inputs: whatever an input leaves behind meets the next one. */
#include "host/json.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int ok)
{
    if (!ok) abort();
}

/* [-0, +1] encodes the value on top; pushes the text. */
static void push_encoded(lua_State *L)
{
    size_t n = 0;
    struct err err;
    const char *text = json_encode(L, -1, &n, NULL, &err);
    must(text != NULL);
    lua_pushlstring(L, text, n);
}

static int round_trip(lua_State *L)
{
    size_t n = 0;
    const char *text = lua_tolstring(L, 1, &n);
    struct err err;
    if (json_decode(L, text, n, NULL, &err) != 0) {
        must((err.kind == ERR_PARSE || err.kind == ERR_LIMIT) && err.message[0] != '\0');
        return 0;
    }
    push_encoded(L);
    must(json_decode_at(L, -1, NULL, &err) == 0);
    push_encoded(L);
    must(lua_rawequal(L, -1, -3)); /* value, text, value, text */
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static lua_State *L;
    if (L == NULL) {
        L = luaL_newstate();
        luaL_openlibs(L);
    }
    lua_settop(L, 0);
    lua_pushcfunction(L, round_trip);
    lua_pushlstring(L, (const char *)data, size);
    must(lua_pcall(L, 1, 0, 0) == LUA_OK);
    return 0;
}
