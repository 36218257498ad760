/* luax.c - strict arguments, classes and the error object. */
#include "host/luax.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char error_class[] = "perigee.error";
static const char buf_class[] = "perigee.buf";

enum { LONGEST_NAME = 64 };

/* ---- error objects ------------------------------------------------------------------------------------ */

/* [-0, +1, m] "kind: message", or what the fields allow. */
static int l_error_tostring(lua_State *L)
{
    lua_settop(L, 1);
    lua_getfield(L, 1, "service");
    lua_getfield(L, 1, "operation");
    lua_getfield(L, 1, "kind");
    lua_getfield(L, 1, "message");
    const char *service = luax_string(L, 2, NULL), *operation = luax_string(L, 3, NULL);
    const char *kind = luax_string(L, 4, NULL), *message = luax_string(L, 5, NULL);
    if (service && operation)
        lua_pushfstring(L, "%s.%s: ", service, operation);
    else
        lua_pushliteral(L, "");
    lua_pushfstring(L, "%s: %s", kind ? kind : "error", message ? message : "no message");
    lua_concat(L, 2);
    return 1;
}

/* [-0, +1, m] the metatable of error objects */
static void push_error_metatable(lua_State *L)
{
    if (!luaL_newmetatable(L, error_class)) return;
    lua_pushcfunction(L, l_error_tostring);
    lua_setfield(L, -2, "__tostring");
}

void luax_make_err(lua_State *L)
{
    push_error_metatable(L);
    lua_setmetatable(L, -2);
}

void luax_push_err(lua_State *L, const struct err *e)
{
    luaL_checkstack(L, 4, "error object");
    lua_createtable(L, 0, 8);
    lua_pushstring(L, err_kind_name(e->kind));
    lua_setfield(L, -2, "kind");
    lua_pushstring(L, outcome_name(e->outcome));
    lua_setfield(L, -2, "outcome");
    lua_pushboolean(L, e->retryable);
    lua_setfield(L, -2, "retryable");
    if (e->code[0]) {
        lua_pushstring(L, e->code);
        lua_setfield(L, -2, "code");
    }
    lua_pushstring(L, e->message);
    lua_setfield(L, -2, "message");
    luax_make_err(L);
}

int luax_raise_err(lua_State *L, const struct err *e)
{
    luax_push_err(L, e);
    lua_error(L);
    abort(); /* lua_error does not return */
}

int luax_invalid(lua_State *L, const char *format, ...)
{
    struct err e = {.kind = ERR_INVALID};
    va_list args;
    va_start(args, format);
    vsnprintf(e.message, sizeof e.message, format, args);
    va_end(args);
    luax_raise_err(L, &e);
}

bool luax_is_err(lua_State *L, int index)
{
    if (lua_type(L, index) != LUA_TTABLE || !lua_getmetatable(L, index)) return false;
    luaL_getmetatable(L, error_class);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same;
}

bool luax_is_err_kind(lua_State *L, int index, enum err_kind kind)
{
    if (!luax_is_err(L, index)) return false;
    index = lua_absindex(L, index);
    lua_pushliteral(L, "kind");
    lua_rawget(L, index);
    const char *name = luax_string(L, -1, NULL);
    bool same = name && strcmp(name, err_kind_name(kind)) == 0;
    lua_pop(L, 1);
    return same;
}

const char *luax_error_text(lua_State *L, int index)
{
    int type = lua_type(L, index);
    bool readable = type == LUA_TSTRING || type == LUA_TNUMBER;
    if (!readable && luaL_getmetafield(L, index, "__tostring") != LUA_TNIL) {
        lua_pop(L, 1);
        readable = true;
    }
    if (readable) return luaL_tolstring(L, index, NULL);
    return lua_pushfstring(L, "(error object is a %s value)", luaL_typename(L, index));
}

/* perigee.error.new{kind=, message=, …} -> error object: the table itself with its metatable. */
static int l_error_new(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    if (lua_getfield(L, 1, "kind") != LUA_TSTRING) luax_invalid(L, "error.new: kind must be a string");
    if (lua_getfield(L, 1, "outcome") == LUA_TNIL) {
        lua_pushliteral(L, "none");
        lua_setfield(L, 1, "outcome");
    }
    if (lua_getfield(L, 1, "retryable") == LUA_TNIL) {
        lua_pushboolean(L, false);
        lua_setfield(L, 1, "retryable");
    }
    push_error_metatable(L);
    lua_setmetatable(L, 1);
    lua_settop(L, 1);
    return 1;
}

static int l_error_is(lua_State *L)
{
    luaL_checkany(L, 1);
    bool is = luax_is_err(L, 1);
    if (is && !lua_isnoneornil(L, 2)) {
        lua_getfield(L, 1, "kind");
        is = lua_rawequal(L, -1, 2);
    }
    lua_pushboolean(L, is);
    return 1;
}

/* perigee.error.invalid(message): raises kind invalid. */
static int l_error_invalid(lua_State *L)
{
    luax_invalid(L, "%s", luaL_checkstring(L, 1));
}

/* perigee.error.nearest(name, candidates) -> the most similar string of the list, or nil. */
static int l_error_nearest(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_Integer n = luaL_len(L, 2);
    if (n > 1000) n = 1000;
    const char **list = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *list, 0);
    size_t count = 0;
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, 2, i); /* the table keeps the string alive */
        const char *s = luax_string(L, -1, NULL);
        if (s) list[count++] = s;
        lua_pop(L, 1);
    }
    list[count] = NULL;
    lua_pushstring(L, luax_nearest(name, list));
    return 1;
}

int luaopen_perigee_error(lua_State *L)
{
    static const luaL_Reg functions[] = {{"new", l_error_new},
                                         {"is", l_error_is},
                                         {"invalid", l_error_invalid},
                                         {"nearest", l_error_nearest},
                                         {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}

/* ---- strict arguments --------------------------------------------------------------------------------- */

const char *luax_string(lua_State *L, int index, size_t *len)
{
    if (lua_type(L, index) != LUA_TSTRING) return NULL;
    return lua_tolstring(L, index, len);
}

static size_t smallest(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

/* Edit distance by one row; names longer than LONGEST_NAME are nobody's typing error. */
static size_t distance(const char *a, const char *b)
{
    size_t row[LONGEST_NAME + 1], n = strlen(b);
    if (n > LONGEST_NAME || strlen(a) > LONGEST_NAME) return LONGEST_NAME;
    for (size_t j = 0; j <= n; j++) row[j] = j;
    for (size_t i = 0; a[i]; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < n; j++) {
            size_t above = row[j + 1];
            row[j + 1] = smallest(above + 1, row[j] + 1, diagonal + (a[i] != b[j]));
            diagonal = above;
        }
    }
    return row[n];
}

const char *luax_nearest(const char *name, const char *const candidates[])
{
    size_t limit = strlen(name) / 3, best_distance = LONGEST_NAME;
    if (limit < 2) limit = 2;
    const char *best = NULL;
    for (size_t i = 0; candidates[i]; i++) {
        size_t d = strcasecmp(name, candidates[i]) == 0 ? 0 : distance(name, candidates[i]);
        if (d <= limit && d < best_distance && d < strlen(name)) {
            best_distance = d;
            best = candidates[i];
        }
    }
    return best;
}

static bool known(const char *name, const char *const fields[])
{
    for (size_t i = 0; fields[i]; i++)
        if (strcmp(name, fields[i]) == 0) return true;
    return false;
}

int luax_refuse_name(lua_State *L, const char *who, const char *what, const char *name,
                     const char *const candidates[])
{
    const char *near = luax_nearest(name, candidates);
    if (near) luax_invalid(L, "%s: unknown %s \"%s\"; did you mean \"%s\"?", who, what, name, near);
    luax_invalid(L, "%s: unknown %s \"%s\"", who, what, name);
}

void luax_check_options(lua_State *L, int index, const char *function, const char *const fields[])
{
    if (lua_isnoneornil(L, index)) return;
    index = lua_absindex(L, index);
    if (!lua_istable(L, index))
        luax_invalid(L, "%s: options must be a table, not a %s", function, luaL_typename(L, index));
    const char *worst = NULL; /* of several the first in byte order: lua_next has none */
    lua_pushnil(L);
    while (lua_next(L, index)) {
        const char *name = luax_string(L, -2, NULL); /* the table keeps it */
        if (name == NULL)
            luax_invalid(L, "%s: options have names; this one is a %s", function, luaL_typename(L, -2));
        if (!known(name, fields) && (worst == NULL || strcmp(name, worst) < 0)) worst = name;
        lua_pop(L, 1);
    }
    if (worst) luax_refuse_name(L, function, "option", worst, fields);
}

/* [-0, +1, e] the field's value, or nil; the type reached */
static int get_option(lua_State *L, int index, const char *field)
{
    if (lua_isnoneornil(L, index)) {
        lua_pushnil(L);
        return LUA_TNIL;
    }
    return lua_getfield(L, index, field);
}

bool luax_opt_boolean(lua_State *L, int index, const char *function, const char *field, bool fallback)
{
    int type = get_option(L, index, field);
    if (type != LUA_TNIL && type != LUA_TBOOLEAN)
        luax_invalid(L, "%s: %s must be true or false, not a %s", function, field, lua_typename(L, type));
    bool value = type == LUA_TNIL ? fallback : lua_toboolean(L, -1);
    lua_pop(L, 1);
    return value;
}

lua_Integer luax_opt_integer(lua_State *L, int index, const char *function, const char *field,
                             lua_Integer fallback, lua_Integer least, lua_Integer most)
{
    int type = get_option(L, index, field), whole = 0;
    lua_Integer value = fallback;
    if (type != LUA_TNIL) {
        value = type == LUA_TNUMBER ? lua_tointegerx(L, -1, &whole) : 0;
        if (!whole) luax_invalid(L, "%s: %s must be a whole number", function, field);
        if (value < least || value > most)
            luax_invalid(L, "%s: %s must be between %lld and %lld, not %lld", function, field,
                         (long long)least, (long long)most, (long long)value);
    }
    lua_pop(L, 1);
    return value;
}

const char *luax_opt_string(lua_State *L, int index, const char *function, const char *field, size_t *len,
                            const char *fallback)
{
    int type = get_option(L, index, field);
    if (type == LUA_TNIL) {
        if (len) *len = fallback ? strlen(fallback) : 0;
        return fallback;
    }
    if (type != LUA_TSTRING)
        luax_invalid(L, "%s: %s must be a string, not a %s", function, field, lua_typename(L, type));
    return lua_tolstring(L, -1, len);
}

static int unit_ms(const char *unit, size_t n, double *ms)
{
    static const struct {
        const char *name;
        double ms;
    } units[] = {{"ms", 1}, {"s", 1e3}, {"m", 60e3}, {"min", 60e3}, {"h", 3600e3}, {"d", 86400e3}};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strlen(units[i].name) == n && strncmp(units[i].name, unit, n) == 0) {
            *ms = units[i].ms;
            return 0;
        }
    }
    return -1;
}

int luax_parse_duration(const char *text, uint64_t *ms)
{
    double total = 0;
    if (*text == '\0') return -1;
    while (*text) {
        char *end;
        if (*text < '0' || *text > '9') return -1;
        double count = strtod(text, &end), scale;
        size_t n = strspn(end, "dhimns");
        if (unit_ms(end, n, &scale) != 0) return -1;
        total += count * scale;
        text = end + n;
    }
    if (!(total >= 0 && total < 1e15)) return -1;
    *ms = (uint64_t)(total + 0.5);
    return 0;
}

/* [-0, +0, e] reads the value at the top or raises; what names it */
static uint64_t read_duration(lua_State *L, int index, const char *what)
{
    uint64_t ms = 0;
    if (lua_type(L, index) == LUA_TNUMBER) {
        double seconds = lua_tonumber(L, index);
        if (!(seconds >= 0 && seconds < 1e12))
            luax_invalid(L, "%s must be a time of 0 seconds or more", what);
        return (uint64_t)ceil(seconds * 1000);
    }
    const char *text = luax_string(L, index, NULL);
    if (text == NULL || luax_parse_duration(text, &ms) != 0)
        luax_invalid(
            L, "%s must be seconds as a number, or a time like \"500ms\", \"5s\", \"10m\", \"2h\", \"1d\"",
            what);
    return ms;
}

uint64_t luax_check_duration(lua_State *L, int index, const char *what)
{
    return read_duration(L, index, what);
}

uint64_t luax_opt_duration(lua_State *L, int index, const char *function, const char *field,
                           uint64_t fallback_ms)
{
    uint64_t ms = fallback_ms;
    if (get_option(L, index, field) != LUA_TNIL) {
        char what[128];
        snprintf(what, sizeof what, "%s: %s", function, field);
        ms = read_duration(L, -1, what);
    }
    lua_pop(L, 1);
    return ms;
}

/* ---- classes ------------------------------------------------------------------------------------------ */

void luax_class(lua_State *L, const char *name, const luaL_Reg *methods, const luaL_Reg *metamethods)
{
    if (luaL_newmetatable(L, name)) {
        if (metamethods) luaL_setfuncs(L, metamethods, 0);
        if (methods) {
            lua_newtable(L);
            luaL_setfuncs(L, methods, 0);
            lua_setfield(L, -2, "__index");
        }
        lua_pushliteral(L, "protected"); /* scripts cannot take the metatable and dress other memory in it */
        lua_setfield(L, -2, "__metatable");
    }
    lua_pop(L, 1);
}

void *luax_new(lua_State *L, const char *name, size_t size)
{
    void *p = lua_newuserdatauv(L, size, 0);
    memset(p, 0, size);
    luaL_setmetatable(L, name);
    return p;
}

static int l_buf_gc(lua_State *L)
{
    buf_deinit(lua_touserdata(L, 1));
    return 0;
}

struct buf *luax_new_buf(lua_State *L)
{
    static const luaL_Reg meta[] = {{"__gc", l_buf_gc}, {NULL, NULL}};
    luax_class(L, buf_class, NULL, meta);
    return luax_new(L, buf_class, sizeof(struct buf));
}

void luax_push_buf(lua_State *L, struct buf *buf)
{
    lua_pushlstring(L, buf_str(buf), buf->len);
    buf_deinit(buf);
}

int luax_reset_thread(lua_State *co, lua_State *from)
{
#if LUA_VERSION_RELEASE_NUM >= 50406
    return lua_closethread(co, from);
#else
    (void)from;
    return lua_resetthread(co);
#endif
}
