/* log.c - perigee.core.log: structured log lines from Lua.
 *
 *   write(level, event, fields)  fields: a list key, value, key, value … of strings, numbers, booleans
 *   enabled(level)               whether such a line would be written
 *   tap(level, most) -> tap      the lines as they are written
 *   tap:next() -> {line, …}, n   waits for some; n were lost since, because more than `most` waited
 *   tap:close()
 *   set_level(name), set_format("text"|"json"), set_run(id), open_file(path)
 *   level() -> name              of what is shown
 *   keep(level, lines)           keeps the last lines in a ring; 0: none
 *   kept(from, most) -> lines, last
 *                                the last `most` of those kept from that number on, each {number=, level=,
 *                                text=}, and the number of the last line
 *
 * scripts/lib/log.lua makes words and values fit; here they are only copied out.
 */
#include "bindings/modules.h"

#include <string.h>

#include "host/buf.h"
#include "host/list.h"
#include "host/log.h"
#include "host/luax.h"
#include "host/mem.h"
#include "host/task.h"

static const char tap_class[] = "perigee.log.tap";

enum { TAP_MOST = 10000 };

enum { KEPT_MOST = 100000 };

static enum log_level check_level(lua_State *L, int index)
{
    enum log_level level = LOG_LEVEL_OFF;
    const char *name = luaL_checkstring(L, index);
    if (log_level_parse(name, &level) != 0)
        luax_invalid(L, "log: '%s' is no level; debug, info, warn, error or off is", name);
    return level;
}

/* [-0, +0, e] the pair at i and i + 1 of the list; the list keeps the strings. */
static void read_field(lua_State *L, int list, lua_Integer i, struct log_field *field)
{
    lua_rawgeti(L, list, i);
    lua_rawgeti(L, list, i + 1);
    field->key = luax_string(L, -2, NULL);
    if (field->key == NULL) luax_invalid(L, "log: field %d has no name", (int)(i / 2 + 1));
    switch (lua_type(L, -1)) {
    case LUA_TBOOLEAN:
        field->type = LOG_BOOLEAN;
        field->integer = lua_toboolean(L, -1);
        break;
    case LUA_TNUMBER:
        field->type = lua_isinteger(L, -1) ? LOG_INTEGER : LOG_NUMBER;
        field->integer = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : 0;
        field->number = lua_tonumber(L, -1);
        break;
    default:
        field->type = LOG_STRING;
        field->string = luax_string(L, -1, &field->len);
        if (field->string == NULL) luax_invalid(L, "log: field %s is no plain value", field->key);
    }
    lua_pop(L, 2);
}

static int l_write(lua_State *L)
{
    enum log_level level = check_level(L, 1);
    const char *event = luaL_checkstring(L, 2);
    luaL_checktype(L, 3, LUA_TTABLE);
    if (!log_enabled(level)) return 0;
    lua_Integer n = luaL_len(L, 3) / 2;
    struct log_field *fields = lua_newuserdatauv(L, (size_t)n * sizeof *fields + 1, 0);
    memset(fields, 0, (size_t)n * sizeof *fields);
    for (lua_Integer i = 0; i < n; i++) read_field(L, 3, 2 * i + 1, &fields[i]);
    log_event(level, event, fields, (size_t)n);
    return 0;
}

static int l_enabled(lua_State *L)
{
    lua_pushboolean(L, log_enabled(check_level(L, 1)));
    return 1;
}

static int l_set_level(lua_State *L)
{
    log_set_level(check_level(L, 1));
    return 0;
}

static int l_set_format(lua_State *L)
{
    static const char *const names[] = {"text", "json", NULL};
    log_set_format(luaL_checkoption(L, 1, NULL, names) == 0 ? LOG_FORMAT_TEXT : LOG_FORMAT_JSON);
    return 0;
}

static int l_set_run(lua_State *L)
{
    log_set_run(luaL_checkstring(L, 1));
    return 0;
}

static int l_open_file(lua_State *L)
{
    struct err err;
    if (log_open_file(luaL_checkstring(L, 1), &err) != 0) luax_raise_err(L, &err);
    return 0;
}

static int l_level(lua_State *L)
{
    lua_pushstring(L, log_level_name(log_level()));
    return 1;
}

static int l_keep(lua_State *L)
{
    lua_Integer lines = luaL_checkinteger(L, 2);
    luaL_argcheck(L, lines >= 0 && lines <= KEPT_MOST, 2, "too many lines");
    log_keep(check_level(L, 1), (size_t)lines);
    return 0;
}

static int l_kept(lua_State *L)
{
    lua_Integer from = luaL_optinteger(L, 1, 1), most = luaL_optinteger(L, 2, KEPT_MOST), n = 0;
    lua_Integer last = (lua_Integer)log_kept_count();
    luaL_argcheck(L, most >= 1 && most <= KEPT_MOST, 2, "out of range");
    lua_newtable(L);
    if (from < last - most + 1) from = last - most + 1;
    for (lua_Integer i = from < 1 ? 1 : from; i <= last; i++) {
        enum log_level level;
        const char *text = log_kept((uint64_t)i, &level);
        if (text == NULL) continue;
        lua_createtable(L, 0, 3);
        lua_pushinteger(L, i);
        lua_setfield(L, -2, "number");
        lua_pushstring(L, log_level_name(level));
        lua_setfield(L, -2, "level");
        lua_pushstring(L, text);
        lua_setfield(L, -2, "text");
        lua_rawseti(L, -2, ++n);
    }
    lua_pushinteger(L, last);
    return 2;
}

/* ---- taps --------------------------------------------------------------------------------------------- */

struct waiting_line {
    struct list_node link;
    size_t len;
    char text[];
};

struct tap {
    struct log_tap tap;
    struct list_node lines; /* struct waiting_line, oldest first */
    lua_Integer count, most, lost;
    struct op *waiter;
    bool open;
};

static void drop_line(struct tap *t)
{
    mem_free(LIST_ENTRY(list_pop(&t->lines), struct waiting_line, link));
    t->count--;
}

/* From within log_event: no Lua here. */
static void on_line(void *ctx, const char *line, size_t n)
{
    struct tap *t = ctx;
    if (t->count >= t->most) {
        drop_line(t);
        t->lost++;
    }
    struct waiting_line *w = mem_alloc(sizeof *w + n);
    w->len = n > 0 && line[n - 1] == '\n' ? n - 1 : n;
    memcpy(w->text, line, w->len);
    list_append(&t->lines, &w->link);
    t->count++;
    if (t->waiter == NULL) return;
    struct op *op = t->waiter;
    t->waiter = NULL;
    op_complete(op);
}

struct next_op {
    struct op op;
    struct tap *tap; /* the caller's stack keeps it */
};

static void next_abort(struct op *op)
{
    ((struct next_op *)op)->tap->waiter = NULL;
}

static int next_finish(lua_State *L, struct op *op)
{
    struct tap *t = ((struct next_op *)op)->tap;
    lua_createtable(L, (int)t->count, 0);
    for (lua_Integer i = 1; t->count > 0; i++) {
        const struct waiting_line *w = LIST_ENTRY(list_first(&t->lines), struct waiting_line, link);
        lua_pushlstring(L, w->text, w->len);
        lua_rawseti(L, -2, i);
        drop_line(t);
    }
    lua_pushinteger(L, t->lost);
    t->lost = 0;
    return 2;
}

/* Timed: lines come from within, so a virtual clock need not wait for one. */
static const struct op_type next_type = {
    .name = "log.tap", .timed = true, .abort = next_abort, .finish = next_finish};

static int l_tap_next(lua_State *L)
{
    struct tap *t = luaL_checkudata(L, 1, tap_class);
    if (!t->open || t->waiter) luax_invalid(L, "log.tap: it is %s", t->open ? "waited for" : "closed");
    struct next_op *op = op_new(L, &next_type, sizeof *op);
    op->tap = t;
    if (t->count > 0)
        op_complete(&op->op);
    else
        t->waiter = &op->op;
    return op_park(L, &op->op);
}

static int l_tap_close(lua_State *L)
{
    struct tap *t = luaL_checkudata(L, 1, tap_class);
    if (!t->open) return 0;
    t->open = false;
    log_tap_remove(&t->tap);
    while (t->count > 0) drop_line(t);
    if (t->waiter) op_complete(t->waiter); /* with nothing */
    t->waiter = NULL;
    return 0;
}

/* The class is made with the first: no other start pays for it. */
static int l_tap(lua_State *L)
{
    static const luaL_Reg methods[] = {{"next", l_tap_next}, {"close", l_tap_close}, {NULL, NULL}};
    static const luaL_Reg meta[] = {{"__gc", l_tap_close}, {"__close", l_tap_close}, {NULL, NULL}};
    enum log_level level = check_level(L, 1);
    lua_Integer most = luaL_checkinteger(L, 2);
    if (most < 1 || most > TAP_MOST) luax_invalid(L, "log.tap: most is a number from 1 to %d", TAP_MOST);
    luax_class(L, tap_class, methods, meta);
    struct tap *t = luax_new(L, tap_class, sizeof *t);
    list_init(&t->lines);
    t->most = most;
    t->open = true;
    t->tap = (struct log_tap){.level = level, .line = on_line, .ctx = t};
    log_tap_add(&t->tap);
    return 1;
}

int luaopen_perigee_core_log(lua_State *L)
{
    static const luaL_Reg functions[] = {{"write", l_write},
                                         {"enabled", l_enabled},
                                         {"set_level", l_set_level},
                                         {"set_format", l_set_format},
                                         {"set_run", l_set_run},
                                         {"open_file", l_open_file},
                                         {"level", l_level},
                                         {"keep", l_keep},
                                         {"kept", l_kept},
                                         {"tap", l_tap},
                                         {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
