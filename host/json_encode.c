/* json_encode.c - printing Lua values as JSON: sorted keys, exact numbers, and a reason for every refusal.
 *
 * lua-cjson's printer writes at most 14 digits and keys in the order of the hash, so this file prints by
 * itself.  It reads tables raw and calls no metamethod: nothing it meets can run code or change the tables.
 * Output and key lists are scratch of the VM's json_state, so a memory error leaks nothing.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/json.h"
#include "host/json_state.h"
#include "host/luax.h"

struct json_key {
    const char *text; /* owned by the table, which stays on the stack */
    size_t len;
};

/* The way from the outermost value to the current one, for cycles and error messages. */
struct frame {
    const struct frame *up;
    const void *table;
    const char *key; /* NULL: an array element */
    size_t key_len;
    lua_Integer index;
    unsigned depth;
};

struct encoder {
    lua_State *L;
    struct buf *out, *keys;
    size_t max_bytes;
    unsigned max_depth;
    struct err *err;
};

static int encode_value(struct encoder *e, const struct frame *up);

/* ---- refusals ----------------------------------------------------------------------------------------- */

static void put_step(struct buf *b, const struct frame *f)
{
    if (f->key == NULL) {
        buf_printf(b, "[%lld]", (long long)f->index);
        return;
    }
    buf_putc(b, '.');
    for (size_t i = 0; i < f->key_len && i < 40; i++) {
        unsigned char c = (unsigned char)f->key[i];
        buf_putc(b, c < 0x20 || c == 0x7f ? '?' : (char)c);
    }
}

static void put_path(struct buf *b, const struct frame *f)
{
    if (f == NULL) return;
    put_path(b, f->up);
    put_step(b, f);
}

/* Builds the path where the output was: the output of a failed encode is of no use. */
static int refuse(struct encoder *e, const struct frame *at, enum err_kind kind, const char *what)
{
    buf_clear(e->out);
    put_path(e->out, at);
    const char *path = buf_str(e->out);
    return err_set(e->err, kind, "cannot encode %s%s%.200s", what, path[0] ? " at " : "", path);
}

static int refuse_type(struct encoder *e, const struct frame *at)
{
    char what[64];
    if (luaL_testudata(e->L, -1, "perigee.amount"))
        return refuse(e, at, ERR_INVALID, "an amount (services differ: write tostring(x) or x:decimal())");
    const char *name = luaL_typename(e->L, -1);
    if (luaL_getmetafield(e->L, -1, "__name") == LUA_TSTRING) {
        snprintf(what, sizeof what, "a %s", lua_tostring(e->L, -1));
        lua_pop(e->L, 1);
        return refuse(e, at, ERR_INVALID, what);
    }
    snprintf(what, sizeof what, "a %s", name);
    return refuse(e, at, ERR_INVALID, what);
}

/* ---- scalars ------------------------------------------------------------------------------------------ */

static int encode_string(struct encoder *e, const struct frame *at)
{
    size_t n;
    const char *s = lua_tolstring(e->L, -1, &n);
    if (n > e->max_bytes) return refuse(e, at, ERR_LIMIT, "a string beyond the size limit");
    if (!buf_put_json_string(e->out, s, n)) return refuse(e, at, ERR_INVALID, "a string that is not UTF-8");
    return 0;
}

/* printf takes longer for one number than all the rest for a small object. */
static void put_integer(struct buf *out, lua_Integer value)
{
    char text[20], *end = text + sizeof text, *at = end;
    lua_Unsigned left = value < 0 ? 0 - (lua_Unsigned)value : (lua_Unsigned)value;
    do {
        *--at = (char)('0' + left % 10);
    } while ((left /= 10) > 0);
    if (value < 0) *--at = '-';
    buf_append(out, at, (size_t)(end - at));
}

static int encode_number(struct encoder *e, const struct frame *at)
{
    char text[JSONSCAN_REAL_SIZE];
    if (lua_isinteger(e->L, -1)) {
        put_integer(e->out, lua_tointeger(e->L, -1));
        return 0;
    }
    double value = lua_tonumber(e->L, -1);
    if (!isfinite(value)) return refuse(e, at, ERR_INVALID, isnan(value) ? "NaN" : "an infinite number");
    buf_append(e->out, text, jsonscan_print_real(value, text));
    return 0;
}

static int encode_userdata(struct encoder *e, const struct frame *at)
{
    size_t n;
    const char *token = json_number_token(e->L, -1, &n);
    if (token)
        buf_append(e->out, token, n);
    else if (json_is_null(e->L, -1))
        buf_puts(e->out, "null");
    else if (luaL_testudata(e->L, -1, "perigee.secret"))
        buf_puts(e->out, "\"[secret]\"");
    else
        return refuse_type(e, at);
    return 0;
}

/* ---- tables ------------------------------------------------------------------------------------------- */

enum shape { SHAPE_ARRAY = 1, SHAPE_OBJECT, SHAPE_MIXED, SHAPE_SPARSE };

/* What the keys of the table on top make of it; strings are added to the key list. */
static enum shape look_at(struct encoder *e)
{
    lua_State *L = e->L;
    lua_Unsigned integers = 0, strings = 0, length = lua_rawlen(L, -1);
    bool in_range = true, others = false;
    lua_pushnil(L);
    for (; lua_next(L, -2); lua_pop(L, 1)) {
        if (lua_type(L, -2) == LUA_TSTRING) {
            struct json_key key;
            key.text = lua_tolstring(L, -2, &key.len);
            buf_append(e->keys, &key, sizeof key);
            strings++;
        } else if (lua_isinteger(L, -2)) {
            integers++;
            if (lua_tointeger(L, -2) < 1 || (lua_Unsigned)lua_tointeger(L, -2) > length) in_range = false;
        } else {
            others = true;
        }
    }
    if (others || (strings > 0 && (integers > 0 || json_is_array(L, -1)))) return SHAPE_MIXED;
    if (strings > 0) return SHAPE_OBJECT;
    if (integers == 0) return json_is_array(L, -1) ? SHAPE_ARRAY : SHAPE_OBJECT;
    return in_range && integers == length ? SHAPE_ARRAY : SHAPE_SPARSE;
}

static int encode_array(struct encoder *e, struct frame *f)
{
    lua_Integer length = (lua_Integer)lua_rawlen(e->L, -1);
    f->key = NULL;
    buf_putc(e->out, '[');
    for (lua_Integer i = 1; i <= length; i++) {
        if (i > 1) buf_putc(e->out, ',');
        f->index = i;
        lua_rawgeti(e->L, -1, i);
        if (encode_value(e, f) != 0) return -1;
        lua_pop(e->L, 1);
    }
    buf_putc(e->out, ']');
    return 0;
}

static int compare_keys(const void *left, const void *right)
{
    const struct json_key *a = left, *b = right;
    int order = memcmp(a->text, b->text, a->len < b->len ? a->len : b->len);
    if (order != 0) return order;
    return a->len < b->len ? -1 : a->len > b->len;
}

/* The keys of the object are those in the list from offset `first` on. */
static int encode_object(struct encoder *e, struct frame *f, size_t first)
{
    size_t count = (e->keys->len - first) / sizeof(struct json_key);
    if (count > 1) qsort(e->keys->data + first, count, sizeof(struct json_key), compare_keys);
    buf_putc(e->out, '{');
    for (size_t i = 0; i < count; i++) {
        struct json_key key; /* the list may move while values are encoded */
        memcpy(&key, e->keys->data + first + i * sizeof key, sizeof key);
        f->key = key.text;
        f->key_len = key.len;
        if (i > 0) buf_putc(e->out, ',');
        lua_pushlstring(e->L, key.text, key.len);
        if (encode_string(e, f) != 0) return -1;
        buf_putc(e->out, ':');
        lua_rawget(e->L, -2);
        if (encode_value(e, f) != 0) return -1;
        lua_pop(e->L, 1);
    }
    buf_putc(e->out, '}');
    e->keys->len = first;
    return 0;
}

static int encode_table(struct encoder *e, const struct frame *up)
{
    struct frame f = {.up = up, .table = lua_topointer(e->L, -1), .depth = up ? up->depth + 1 : 1};
    for (const struct frame *above = up; above; above = above->up)
        if (above->table == f.table) return refuse(e, up, ERR_INVALID, "a table that contains itself");
    if (f.depth > e->max_depth) return refuse(e, up, ERR_LIMIT, "so deep a table");
    luaL_checkstack(e->L, 8, "json");
    size_t first = e->keys->len;
    switch (look_at(e)) {
    case SHAPE_ARRAY: return encode_array(e, &f);
    case SHAPE_OBJECT: return encode_object(e, &f, first);
    case SHAPE_SPARSE: return refuse(e, up, ERR_INVALID, "an array with holes");
    case SHAPE_MIXED: break;
    }
    return refuse(e, up, ERR_INVALID, "a table that is neither an array nor has only string keys");
}

/* [-0, +0, m] the value on top; on failure the stack is left as it is, the caller restores it. */
static int encode_value(struct encoder *e, const struct frame *up)
{
    if (e->out->len > e->max_bytes) return refuse(e, up, ERR_LIMIT, "more than the size limit");
    switch (lua_type(e->L, -1)) {
    case LUA_TNIL: buf_puts(e->out, "null"); return 0;
    case LUA_TBOOLEAN: buf_puts(e->out, lua_toboolean(e->L, -1) ? "true" : "false"); return 0;
    case LUA_TNUMBER: return encode_number(e, up);
    case LUA_TSTRING: return encode_string(e, up);
    case LUA_TTABLE: return encode_table(e, up);
    case LUA_TUSERDATA:
    case LUA_TLIGHTUSERDATA: return encode_userdata(e, up);
    default: return refuse_type(e, up);
    }
}

const char *json_encode(lua_State *L, int index, size_t *n, const struct json_limits *limits, struct err *err)
{
    int top = lua_gettop(L);
    lua_pushvalue(L, index);
    struct json_state *state = json_state_push(L);
    lua_insert(L, -2);
    json_state_trim(&state->text);
    json_state_trim(&state->keys);
    struct encoder e = {.L = L, .out = &state->text, .keys = &state->keys, .err = err};
    e.max_bytes = limits && limits->max_bytes ? limits->max_bytes : JSON_BYTES_DEFAULT;
    e.max_depth = limits && limits->max_depth ? limits->max_depth : JSON_DEPTH_DEFAULT;
    int failed = encode_value(&e, NULL);
    if (!failed && e.out->len > e.max_bytes) failed = refuse(&e, NULL, ERR_LIMIT, "more than the size limit");
    lua_settop(L, top);
    if (failed) return NULL;
    *n = state->text.len;
    return buf_str(&state->text);
}
