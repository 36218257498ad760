/* ops_reply.c - a reply body becomes a Lua table whose listed fields have the types of the table.
 *
 * Ids are strings, digit by digit; money is an amount, from the raw token or the decimal string, never by
 * way of a float; what the table does not list stays as JSON says.  A listed field of the wrong shape is
 * left out; if it was required, the reply is not understood.
 * Raises on lack of memory only.
 */
#include "host/ops.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "host/amount.h"
#include "host/amountx.h"
#include "host/json.h"
#include "host/luax.h"

/* [-0, +0, -] the text of a string, an integer or an exact number at index, in out or in the value; NULL for
 * anything else. */
static const char *scalar_text(lua_State *L, int index, char out[32], size_t *n)
{
    const char *token = json_number_token(L, index, n);
    if (token) return token;
    if (lua_type(L, index) == LUA_TSTRING) return lua_tolstring(L, index, n);
    if (lua_isinteger(L, index)) {
        *n = (size_t)snprintf(out, 32, "%lld", (long long)lua_tointeger(L, index));
        return out;
    }
    return NULL;
}

/* [-0, +1, m] the amount for the value at index, or nothing and false. */
static bool push_money(lua_State *L, int index, const struct ops_reply_field *f)
{
    char digits[32];
    size_t n;
    struct amount amount;
    struct err err;
    const char *text = scalar_text(L, index, digits, &n);
    char decimal[40];
    if (!text && f->type == OPS_REPLY_MONEY && lua_type(L, index) == LUA_TNUMBER) {
        /* A charge sent as a JSON number: the decoder gives a float only if it prints the same number. */
        n = (size_t)snprintf(decimal, sizeof decimal, "%.15g", lua_tonumber(L, index));
        text = decimal;
    }
    if (!text) return false;
    int failed = f->type == OPS_REPLY_BASE_UNITS ? amount_from_base(&amount, text, n, f->currency, &err)
                                                 : amount_parse(&amount, text, n, f->currency, &err);
    if (failed || (f->type == OPS_REPLY_BASE_UNITS && amount_sign(&amount) < 0)) return false;
    amountx_push(L, &amount);
    return true;
}

/* [-0, +1, m] the value at index as the field's type, or nothing and false. */
static bool push_typed(lua_State *L, int index, const struct ops_reply_field *f)
{
    char digits[32];
    size_t n;
    const char *text;
    switch (f->type) {
    case OPS_REPLY_BASE_UNITS:
    case OPS_REPLY_MONEY: return push_money(L, index, f);
    case OPS_REPLY_ID:
        text = scalar_text(L, index, digits, &n);
        if (!text || !n) return false;
        lua_pushlstring(L, text, n);
        return true;
    case OPS_REPLY_STRING:
        if (lua_type(L, index) != LUA_TSTRING || (f->required && lua_rawlen(L, index) == 0)) return false;
        break;
    case OPS_REPLY_INTEGER:
        if (!lua_isinteger(L, index)) return false;
        break;
    case OPS_REPLY_NUMBER:
        if (lua_type(L, index) != LUA_TNUMBER) return false;
        break;
    case OPS_REPLY_ROWS:
    case OPS_REPLY_OBJECT:
        if (lua_type(L, index) != LUA_TTABLE) return false;
        break;
    case OPS_REPLY_ANY:
        if (lua_isnil(L, index) || json_is_null(L, index)) return false;
        break;
    }
    lua_pushvalue(L, index);
    return true;
}

/* [-0, +0, m] converts one field of the object at `object`; false if it is required and not there. */
static bool convert_field(lua_State *L, int object, const char *name, const struct ops_reply_field *f)
{
    lua_pushstring(L, name);
    lua_pushvalue(L, -1);
    lua_rawget(L, object); /* stack: name, value */
    bool there = push_typed(L, lua_gettop(L), f);
    if (!there) lua_pushnil(L);
    lua_remove(L, -2);
    lua_rawset(L, object);
    return there || !f->required;
}

/* [-0, +0, m] converts field f, whose name is relative to the value at index: "jobID", "data.result",
 * "data[].jobID", "[].gpuProd". */
static bool convert_path(lua_State *L, int index, const char *path, const struct ops_reply_field *f)
{
    if (lua_type(L, index) != LUA_TTABLE) return !f->required;
    luaL_checkstack(L, 8, "reply");
    if (strncmp(path, "[].", 3) == 0) {
        bool ok = true;
        for (lua_Integer i = 1; lua_rawgeti(L, index, i) != LUA_TNIL; i++) {
            ok = convert_path(L, lua_gettop(L), path + 3, f) && ok;
            lua_pop(L, 1);
        }
        lua_pop(L, 1);
        return ok;
    }
    const char *end = strpbrk(path, ".[");
    if (!end) return convert_field(L, index, path, f);
    lua_pushlstring(L, path, (size_t)(end - path));
    lua_rawget(L, index);
    bool ok = convert_path(L, lua_gettop(L), *end == '.' ? end + 1 : end, f);
    lua_pop(L, 1);
    return ok;
}

/* [-0, +0, -] the string at a key of the table at index, kept alive by the table; NULL if there is none. */
static const char *text_of(lua_State *L, int index, const char *key)
{
    lua_pushstring(L, key);
    lua_rawget(L, index);
    const char *text = lua_type(L, -1) == LUA_TSTRING && lua_rawlen(L, -1) ? lua_tostring(L, -1) : NULL;
    lua_pop(L, 1);
    return text;
}

/* [-0, +0, m] */
static void read_envelope(lua_State *L, int index, struct ops_answer *answer)
{
    lua_pushliteral(L, "code");
    lua_rawget(L, index);
    answer->envelope = lua_isinteger(L, -1);
    answer->body_code = lua_tointeger(L, -1);
    lua_pop(L, 1);
    static const char *const words[] = {"msg", "message", "error"};
    for (size_t i = 0; i < sizeof words / sizeof words[0] && !answer->message; i++)
        answer->message = text_of(L, index, words[i]);
}

/* [-0, +0, m] takes code and msg out of a success, unless the table asks for them. */
static void strip_envelope(lua_State *L, int value, const struct ops_def *def)
{
    bool keep_msg = false;
    for (const struct ops_reply_field *f = def->reply; f->name; f++)
        if (strcmp(f->name, "msg") == 0) keep_msg = true;
    lua_pushnil(L);
    lua_setfield(L, value, "code");
    if (keep_msg) return;
    lua_pushnil(L);
    lua_setfield(L, value, "msg");
}

void ops_decode(lua_State *L, const struct ops_service *service, const struct ops_def *def,
                struct ops_answer *answer)
{
    answer->envelope = answer->understood = answer->unknown_thing = false;
    answer->message = NULL;
    bool empty = answer->body_len == 0;
    struct err err;
    if (empty || json_decode(L, answer->body, answer->body_len, NULL, &err) != 0) {
        lua_pushnil(L);
        /* An empty or plain-text 200 is all that some operations ever say. */
        answer->understood = service->envelope == OPS_ENVELOPE_PLAIN && !def->reply[0].name;
        return;
    }
    int value = lua_gettop(L);
    if (lua_type(L, value) != LUA_TTABLE) {
        answer->understood = service->envelope == OPS_ENVELOPE_PLAIN && !def->reply[0].name;
        return;
    }
    read_envelope(L, value, answer);
    if (answer->status < 200 || answer->status >= 300) return;
    if (service->envelope == OPS_ENVELOPE_CODE && !(answer->envelope && answer->body_code == 200)) return;
    if (def->missing && !json_is_array(L, value)) {
        lua_pushstring(L, def->missing);
        lua_rawget(L, value);
        answer->unknown_thing = lua_isnil(L, -1) || json_is_null(L, -1) ||
                                (lua_type(L, -1) == LUA_TSTRING && lua_rawlen(L, -1) == 0);
        lua_pop(L, 1);
    }
    answer->understood = true;
    answer->message = NULL;
    if (service->envelope == OPS_ENVELOPE_CODE) strip_envelope(L, value, def);
    for (const struct ops_reply_field *f = def->reply; f->name; f++)
        if (!convert_path(L, value, f->name, f)) answer->understood = false;
}
