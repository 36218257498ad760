/* ops_encode.c - exact values to JSON text or a query string, always in the order of the table of fields.
 *
 * The table comes from ops_check, so every value has its field's type already.  Raises on lack of
 * memory only; the buffer belongs to an op, which frees it whatever happens.
 */
#include "host/ops.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool in_body(const struct ops_field *f)
{
    return f->type != OPS_FILE && f->type != OPS_FILE_NAME;
}

/* The fewest digits that read back the same. */
static void put_number(struct buf *out, double value)
{
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    buf_puts(out, text);
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Keys in byte order: the same table gives the same bytes. */
static void put_map(lua_State *L, int index, struct buf *out)
{
    const char *keys[OPS_MAP_MAX];
    size_t n = 0;
    lua_pushnil(L);
    while (lua_next(L, index)) {
        if (n < OPS_MAP_MAX) keys[n++] = lua_tostring(L, -2); /* a string already: kept by the table */
        lua_pop(L, 1);
    }
    qsort(keys, n, sizeof keys[0], by_bytes);
    buf_putc(out, '{');
    for (size_t i = 0; i < n; i++) {
        if (i) buf_putc(out, ',');
        buf_put_json_string(out, keys[i], strlen(keys[i]));
        buf_putc(out, ':');
        size_t len;
        lua_pushstring(L, keys[i]);
        lua_rawget(L, index);
        const char *value = lua_tolstring(L, -1, &len);
        buf_put_json_string(out, value, len);
        lua_pop(L, 1);
    }
    buf_putc(out, '}');
}

static void put_value(lua_State *L, int index, struct buf *out)
{
    size_t n;
    const char *s;
    switch (lua_type(L, index)) {
    case LUA_TNUMBER:
        if (lua_isinteger(L, index))
            buf_printf(out, "%lld", (long long)lua_tointeger(L, index));
        else
            put_number(out, lua_tonumber(L, index));
        return;
    case LUA_TTABLE: put_map(L, index, out); return;
    default: s = lua_tolstring(L, index, &n); buf_put_json_string(out, s ? s : "", s ? n : 0);
    }
}

void ops_encode(lua_State *L, int index, const struct ops_def *def, struct buf *out)
{
    index = lua_absindex(L, index);
    const char *comma = "";
    buf_putc(out, '{');
    for (const struct ops_field *f = def->fields; f->name; f++) {
        if (!in_body(f)) continue;
        lua_pushstring(L, f->name);
        if (lua_rawget(L, index) != LUA_TNIL) {
            buf_printf(out, "%s\"%s\":", comma, f->name);
            put_value(L, lua_gettop(L), out);
            comma = ",";
        }
        lua_pop(L, 1);
    }
    buf_putc(out, '}');
}

void ops_encode_query(lua_State *L, int index, const struct ops_def *def, struct buf *out)
{
    index = lua_absindex(L, index);
    char separator = '?';
    for (const struct ops_field *f = def->fields; f->name; f++) {
        if (!in_body(f)) continue;
        lua_pushstring(L, f->name);
        if (lua_rawget(L, index) != LUA_TNIL) {
            size_t n;
            const char *s = luaL_tolstring(L, -1, &n);
            buf_putc(out, separator);
            buf_put_percent(out, f->name, strlen(f->name));
            buf_putc(out, '=');
            buf_put_percent(out, s, n);
            lua_pop(L, 1);
            separator = '&';
        }
        lua_pop(L, 1);
    }
}
