/* ops_check.c - from what a person would write to the exact types of a contract.
 *
 * Takes gpuNumber = "1", ckptVol = 10000, stopType = 1, env = {N = 3}; refuses what cannot be meant, naming
 * the field and the nearest right one, before anything is sent.  The result is a table of exact values:
 * Lua integers, floats, strings, and one table of strings for a map.
 * Raises freely: holds no memory of its own.
 */
#include "host/ops.h"

#include <errno.h>
#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/luax.h"
#include "host/redact.h"

enum { NAMES_MAX = 96, MAP_SECRET_MIN = 8 };

/* ---- names -------------------------------------------------------------------------------------------- */

static const struct ops_field *field_find(const struct ops_def *def, const char *name)
{
    for (const struct ops_field *f = def->fields; f->name; f++)
        if (strcmp(f->name, name) == 0) return f;
    return NULL;
}

/* [-0, +0, e] */
static void refuse_unknown(lua_State *L, const char *who, const struct ops_def *def, const char *name)
{
    const char *names[NAMES_MAX + 1];
    size_t n = 0;
    for (const struct ops_field *f = def->fields; f->name && n < NAMES_MAX; f++) names[n++] = f->name;
    for (const char *const *o = def->options; o && *o && n < NAMES_MAX; o++) names[n++] = *o;
    names[n] = NULL;
    luax_refuse_name(L, who, "field", name, names);
}

/* [-0, +0, e] of several unknown names the first in byte order is reported: lua_next has no order. */
static void check_names(lua_State *L, int index, const char *who, const struct ops_def *def)
{
    const char *worst = NULL;
    lua_pushnil(L);
    while (lua_next(L, index)) {
        lua_pop(L, 1);
        if (lua_type(L, -1) != LUA_TSTRING) luax_invalid(L, "%s: takes named fields, not a list", who);
        const char *name = lua_tostring(L, -1); /* kept alive by the table */
        if (!field_find(def, name) && (!worst || strcmp(name, worst) < 0)) worst = name;
    }
    if (worst) refuse_unknown(L, who, def, worst);
}

/* ---- one value ---------------------------------------------------------------------------------------- */

struct checking {
    lua_State *L;
    const char *who;
    const struct ops_field *field;
    unsigned flags;
};

#define REFUSE(c, format, ...) luax_invalid((c)->L, "%s: %s " format, (c)->who, (c)->field->name, __VA_ARGS__)

/* What the value at index is, for "…, not a boolean". */
static const char *described(lua_State *L, int index)
{
    if (luaL_getmetafield(L, index, "__name") == LUA_TSTRING) return lua_tostring(L, -1);
    switch (lua_type(L, index)) {
    case LUA_TNUMBER: return "a number";
    case LUA_TSTRING: return "a string";
    case LUA_TBOOLEAN: return "a boolean";
    case LUA_TTABLE: return "a table";
    case LUA_TFUNCTION: return "a function";
    default: return luaL_typename(L, index);
    }
}

/* [-0, +0, e] the rules every string keeps. */
static void check_text(const struct checking *c, const char *s, size_t n)
{
    size_t most = c->field->max_len ? c->field->max_len : OPS_STRING_MAX;
    if (n > most) REFUSE(c, "is %zu bytes long; the most is %zu", n, most);
    if (memchr(s, 0, n)) REFUSE(c, "must not contain a %s byte", "zero");
    if (!buf_utf8_valid(s, n)) REFUSE(c, "is not %s", "valid UTF-8");
    if (c->field->forbid && strstr(s, c->field->forbid)) REFUSE(c, "%s", c->field->forbid_why);
}

/* The string of a decimal integer: optional minus, digits.  0 or -1. */
static int parse_integer(const char *s, lua_Integer *value)
{
    const char *digits = *s == '-' ? s + 1 : s;
    if (!*digits || strspn(digits, "0123456789") != strlen(digits)) return -1;
    errno = 0;
    *value = strtoll(s, NULL, 10);
    return errno ? -1 : 0;
}

/* [-0, +0, e] */
static lua_Integer take_integer(const struct checking *c, int index)
{
    lua_State *L = c->L;
    const struct ops_field *f = c->field;
    lua_Integer value = 0;
    int exact = 0;
    if (lua_type(L, index) == LUA_TNUMBER)
        value = lua_tointegerx(L, index, &exact);
    else if (lua_type(L, index) == LUA_TSTRING)
        exact = parse_integer(lua_tostring(L, index), &value) == 0;
    else
        REFUSE(c, "must be a whole number, not %s", described(L, index));
    if (!exact) REFUSE(c, "must be a whole number, not %s", luaL_tolstring(L, index, NULL));
    if ((f->least || f->most) && (value < f->least || (f->most > f->least && value > f->most))) {
        if (f->most > f->least)
            REFUSE(c, "must be from %lld to %lld, not %lld", (long long)f->least, (long long)f->most,
                   (long long)value);
        REFUSE(c, "must be at least %lld, not %lld", (long long)f->least, (long long)value);
    }
    return value;
}

/* [-0, +1, e] */
static void push_number(const struct checking *c, int index)
{
    lua_State *L = c->L;
    const struct ops_field *f = c->field;
    int exact = 0;
    double value = 0;
    if (lua_type(L, index) == LUA_TNUMBER || lua_type(L, index) == LUA_TSTRING)
        value = lua_tonumberx(L, index, &exact);
    if (!exact || !isfinite(value)) REFUSE(c, "must be a number, not %s", luaL_tolstring(L, index, NULL));
    if (f->above < f->below && !(value > f->above && value < f->below))
        REFUSE(c, "must be strictly between %g and %g, not %s", f->above, f->below,
               luaL_tolstring(L, index, NULL));
    lua_pushnumber(L, value);
}

/* [-0, +1, e] */
static void push_digits(const struct checking *c, int index)
{
    lua_State *L = c->L;
    if (lua_type(L, index) == LUA_TSTRING) {
        const char *s = lua_tostring(L, index);
        if (!*s || strspn(s, "0123456789") != strlen(s))
            REFUSE(c, "must be a whole number in digits, not \"%.40s\"", s);
    }
    lua_pushfstring(L, "%I", (LUAI_UACINT)take_integer(c, index));
}

/* [-0, +1, e] */
static void push_choice(const struct checking *c, int index)
{
    lua_State *L = c->L;
    const struct ops_field *f = c->field;
    int type = lua_type(L, index), whole = 0;
    if (type == LUA_TNUMBER) {
        lua_Integer value = lua_tointegerx(L, index, &whole);
        if (whole)
            lua_pushfstring(L, "%I", (LUAI_UACINT)value);
        else
            luaL_tolstring(L, index, NULL);
    } else if (type == LUA_TSTRING)
        lua_pushvalue(L, index);
    else
        REFUSE(c, "must be a string, not %s", described(L, index));
    const char *s = lua_tostring(L, -1);
    for (const char *const *choice = f->choices; *choice; choice++)
        if (strcmp(*choice, s) == 0) return;

    luaL_Buffer list;
    luaL_buffinit(L, &list);
    for (const char *const *choice = f->choices; *choice; choice++) {
        if (choice != f->choices) luaL_addstring(&list, choice[1] ? ", " : " or ");
        lua_pushfstring(L, "\"%s\"", *choice);
        luaL_addvalue(&list);
    }
    luaL_pushresult(&list);
    const char *near = luax_nearest(s, f->choices);
    if (near) REFUSE(c, "must be %s, not \"%.40s\"; did you mean \"%s\"?", lua_tostring(L, -1), s, near);
    REFUSE(c, "must be %s, not \"%.40s\"", lua_tostring(L, -1), s);
}

/* [-0, +1, m] the text of a secret at index, or nothing and false. */
static bool push_revealed(lua_State *L, int index)
{
    const char *bytes = luaL_testudata(L, index, OPS_SECRET_CLASS);
    if (bytes) lua_pushlstring(L, bytes, lua_rawlen(L, index));
    return bytes != NULL;
}

/* [-0, +0, e] */
static void check_readable(const struct checking *c, const char *path)
{
    if (access(path, R_OK) != 0) REFUSE(c, "\"%.200s\" cannot be read: %s", path, strerror(errno));
}

/* [-0, +1, e] the value at index if it is a deai.file, whose file must be there; or nothing and false. */
static bool push_local_file(const struct checking *c, int index)
{
    lua_State *L = c->L;
    if (luaL_getmetafield(L, index, "__name") == LUA_TNIL) return false;
    const char *name = luax_string(L, -1, NULL);
    bool marked = name && strcmp(name, OPS_FILE_CLASS) == 0;
    lua_pop(L, 1);
    if (!marked) return false;
    const char *path = lua_getfield(L, index, "path") == LUA_TSTRING ? lua_tostring(L, -1) : "";
    check_readable(c, path);
    lua_pop(L, 1);
    lua_pushvalue(L, index);
    return true;
}

/* [-0, +1, e] */
static void push_string(const struct checking *c, int index)
{
    lua_State *L = c->L;
    const struct ops_field *f = c->field;
    if (push_revealed(L, index)) index = lua_gettop(L);
    if (lua_type(L, index) != LUA_TSTRING) {
        if (f->type == OPS_PATH && (c->flags & OPS_LOCAL_FILES) && push_local_file(c, index)) return;
        REFUSE(c, "must be a string, not %s", described(L, index));
    }
    size_t n;
    const char *s = lua_tolstring(L, index, &n);
    if (f->type == OPS_FILE) { /* any bytes, as the file system has them */
        if (strlen(s) != n) REFUSE(c, "must not contain a %s byte", "zero");
        check_readable(c, s);
        lua_pushvalue(L, index);
        return;
    }
    check_text(c, s, n);
    if (f->type == OPS_URL && strncmp(s, "http://", 7) != 0 && strncmp(s, "https://", 8) != 0)
        REFUSE(c, "must be a full address that starts with %s", "http:// or https://");
    if (f->type == OPS_PATH && access(s, F_OK) == 0)
        REFUSE(c,
               "names a file on this machine, but the service wants a path of its own: upload it first, "
               "or write deai.file \"%.200s\"",
               s);
    lua_pushvalue(L, index);
}

/* True if a variable of that name holds what must not be shown: API_KEY, HfToken, db_password. */
static bool names_secret(const char *key)
{
    static const char *const words[] = {"key", "token", "secret", "pass", "pwd", "credential", "auth"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcasestr(key, words[i])) return true;
    return false;
}

/* [-0, +1, e] a copy in which every value is a string. */
static void push_map(const struct checking *c, int index)
{
    lua_State *L = c->L;
    if (lua_type(L, index) != LUA_TTABLE)
        REFUSE(c, "must be a table of names and values, not %s", described(L, index));
    lua_newtable(L);
    int copy = lua_gettop(L), count = 0;
    lua_pushnil(L);
    while (lua_next(L, index)) {
        if (lua_type(L, -2) != LUA_TSTRING) REFUSE(c, "must have names for keys, not %s", "numbers");
        size_t n;
        const char *key = lua_tolstring(L, -2, &n);
        check_text(c, key, n);
        int type = lua_type(L, -1);
        if (type == LUA_TNUMBER) {
            int whole = 0;
            lua_Integer value = lua_tointegerx(L, -1, &whole); /* 3.0 was meant as 3 */
            if (whole)
                lua_pushfstring(L, "%I", (LUAI_UACINT)value);
            else
                luaL_tolstring(L, -1, NULL);
        } else if (type == LUA_TBOOLEAN)
            lua_pushstring(L, lua_toboolean(L, -1) ? "true" : "false");
        else if (type == LUA_TSTRING)
            lua_pushvalue(L, -1);
        else if (!push_revealed(L, lua_gettop(L)))
            REFUSE(c, "has a value for \"%.40s\" that is no string, but %s", key, described(L, -1));
        const char *value = lua_tolstring(L, -1, &n);
        check_text(c, value, n);
        if (n >= MAP_SECRET_MIN && names_secret(key)) redact_add(value, n);
        lua_setfield(L, copy, key);
        lua_pop(L, 1);
        if (++count > OPS_MAP_MAX) REFUSE(c, "has more than %d entries", OPS_MAP_MAX);
    }
}

/* [-0, +1, e] the exact value for the one at index. */
static void push_exact(const struct checking *c, int index)
{
    switch (c->field->type) {
    case OPS_INTEGER: lua_pushinteger(c->L, take_integer(c, index)); return;
    case OPS_NUMBER: push_number(c, index); return;
    case OPS_DIGITS: push_digits(c, index); return;
    case OPS_ENUM: push_choice(c, index); return;
    case OPS_MAP: push_map(c, index); return;
    case OPS_STRING:
    case OPS_PATH:
    case OPS_URL:
    case OPS_FILE:
    case OPS_FILE_NAME: push_string(c, index); return;
    }
}

/* ---- the table ---------------------------------------------------------------------------------------- */

static bool is_required(lua_State *L, int exact, const struct ops_field *f)
{
    if (f->required) return true;
    if (!f->required_if) return false;
    const char *value = lua_getfield(L, exact, f->required_if) == LUA_TSTRING ? lua_tostring(L, -1) : "";
    bool same = strcmp(value, f->required_value) == 0;
    lua_pop(L, 1);
    return same;
}

/* [-0, +0, e] field of the table at index -> exact value in the table at `exact`. */
static void check_field(const struct checking *c, int index, int exact)
{
    lua_State *L = c->L;
    const struct ops_field *f = c->field;
    int top = lua_gettop(L);
    lua_getfield(L, index, f->name);
    bool empty = lua_isnil(L, -1) || (lua_type(L, -1) == LUA_TSTRING && lua_rawlen(L, -1) == 0);
    if (empty && f->fallback) {
        lua_pushstring(L, f->fallback);
        empty = false;
    }
    if (empty) {
        bool missing = is_required(L, exact, f) && !(c->flags & OPS_PARTIAL);
        if (missing && !f->required)
            REFUSE(c, "is required when %s is \"%s\"", f->required_if, f->required_value);
        if (missing && lua_isnil(L, -1)) REFUSE(c, "is required (%s)", f->doc);
        if (missing) REFUSE(c, "must not be %s", "empty");
    } else {
        push_exact(c, lua_gettop(L));
        if (f->secret && lua_type(L, -1) == LUA_TSTRING) {
            size_t n;
            const char *secret = lua_tolstring(L, -1, &n);
            redact_add(secret, n);
        }
        lua_setfield(L, exact, f->name);
    }
    lua_settop(L, top);
}

void ops_check(lua_State *L, int index, const char *who, const struct ops_def *def, unsigned flags)
{
    index = lua_absindex(L, index);
    luaL_checkstack(L, 16, who);
    bool nothing = lua_isnoneornil(L, index);
    if (nothing) {
        lua_newtable(L);
        index = lua_gettop(L);
    } else if (lua_type(L, index) != LUA_TTABLE) {
        luax_invalid(L, "%s: takes one table of fields, not %s", who, described(L, index));
    }
    check_names(L, index, who, def);
    lua_newtable(L);
    int exact = lua_gettop(L);
    for (const struct ops_field *f = def->fields; f->name; f++) {
        struct checking c = {.L = L, .who = who, .field = f, .flags = flags};
        check_field(&c, index, exact);
    }
    if (nothing) lua_remove(L, index);
}
