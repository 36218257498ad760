/* test_lua_json.c - what only C can ask of the JSON of a Lua state: the real prefix, and failing memory. */
#include <lauxlib.h>
#include <lualib.h>
#include <stdlib.h>

#include "harness.h"
#include "host/json.h"
#include "host/json_state.h"

static lua_State *open_state(lua_Alloc alloc, void *ud)
{
    lua_State *L = alloc ? lua_newstate(alloc, ud) : luaL_newstate();
    luaL_requiref(L, LUA_LOADLIBNAME, luaopen_package, 1);
    lua_pop(L, 1);
    return L;
}

static void read_prefix(lua_State *L, char prefix[JSONSCAN_PREFIX_LEN])
{
    memcpy(prefix, json_state_push(L)->prefix, JSONSCAN_PREFIX_LEN);
    lua_pop(L, 1);
}

static void test_forged_marks(void)
{
    lua_State *L = open_state(NULL, NULL), *other = open_state(NULL, NULL);
    char prefix[JSONSCAN_PREFIX_LEN], second[JSONSCAN_PREFIX_LEN];
    struct buf text = {0};
    struct err err;
    read_prefix(L, prefix);
    read_prefix(other, second);
    CHECK(memcmp(prefix, second, sizeof prefix) != 0);

    buf_puts(&text, "[[],\"");
    buf_append(&text, prefix, sizeof prefix);
    buf_puts(&text, "a\"]");
    CHECK(json_decode(L, text.data, text.len, NULL, &err) == -1);
    CHECK(err.kind == ERR_PARSE);

    /* the nearest an escape comes: U+00FF is two bytes, and stays a string */
    buf_clear(&text);
    buf_puts(&text, "[[],\"\\u00ff");
    buf_append(&text, prefix + 1, sizeof prefix - 1);
    buf_puts(&text, "a\"]");
    CHECK(json_decode(L, text.data, text.len, NULL, &err) == 0);
    lua_rawgeti(L, -1, 1);
    CHECK(json_is_array(L, -1));
    lua_rawgeti(L, -2, 2);
    CHECK(lua_type(L, -1) == LUA_TSTRING);
    buf_deinit(&text);
    lua_close(L);
    lua_close(other);
}

static void test_stack_and_embedded_nul(void)
{
    lua_State *L = open_state(NULL, NULL);
    struct err err;
    size_t n = 0;
    static const char *const texts[] = {"[]", "{\"a\":1}", "7", "[1", "{\"a\":1,\"a\":1}", "\"x\"", "1e400"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        int failed = json_decode(L, texts[i], strlen(texts[i]), NULL, &err);
        CHECK_INT(lua_gettop(L), failed ? 0 : 1);
        if (!failed) CHECK_STR(json_encode(L, 1, &n, NULL, &err), texts[i]);
        CHECK_INT(lua_gettop(L), failed ? 0 : 1);
        lua_settop(L, 0);
    }
    CHECK(json_decode(L, "1\0", 2, NULL, &err) == -1);
    CHECK(json_decode(L, "\"a\\u0000b\"", 10, NULL, &err) == 0);
    lua_tolstring(L, -1, &n);
    CHECK_INT(n, 3);
    struct json_limits limits = {.max_bytes = 4};
    CHECK(json_decode(L, "[1,2]", 5, &limits, &err) == -1);
    CHECK(err.kind == ERR_LIMIT);
    lua_close(L);
}

struct account {
    long left; /* allocations until one fails; below 0: none fails */
};

static void *failing_alloc(void *ud, void *p, size_t old_size, size_t new_size)
{
    struct account *account = ud;
    (void)old_size;
    if (new_size == 0) {
        free(p);
        return NULL;
    }
    if (account->left == 0) return NULL;
    if (account->left > 0) account->left--;
    return realloc(p, new_size);
}

static int l_encode(lua_State *L)
{
    size_t n;
    struct err err;
    const char *text = json_encode(L, 1, &n, NULL, &err);
    lua_pushlstring(L, text ? text : "", n);
    return 1;
}

/* Every allocation fails once: the error is Lua's own, nothing is lost, and the next call works. */
static void test_encode_without_memory(void)
{
    struct account account = {.left = -1};
    lua_State *L = open_state(failing_alloc, &account);
    struct err err;
    static const char text[] = "{\"a\":[1,2.5,\"x\",[],{}],\"bb\":{\"c\":null,\"a\":true}}";
    CHECK(json_decode(L, text, sizeof text - 1, NULL, &err) == 0);
    int failures = 0, status = LUA_ERRMEM;
    for (long at = 0; status != LUA_OK && at < 1000; at++) {
        lua_settop(L, 1);
        lua_pushcfunction(L, l_encode);
        lua_pushvalue(L, 1);
        lua_gc(L, LUA_GCCOLLECT);
        account.left = at;
        status = lua_pcall(L, 1, 1, 0);
        account.left = -1;
        if (status != LUA_OK) failures++;
        CHECK(status == LUA_OK || status == LUA_ERRMEM);
    }
    CHECK(failures > 0);
    CHECK_STR(lua_tostring(L, -1), "{\"a\":[1,2.5,\"x\",[],{}],\"bb\":{\"a\":true,\"c\":null}}");
    lua_close(L);
}

int main(void)
{
    test_forged_marks();
    test_stack_and_embedded_nul();
    test_encode_without_memory();
    HARNESS_END();
}
