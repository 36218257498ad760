/* budget.c - perigee.core.budget: the kernel's budgets as Lua values.
 *
 * A value of class "perigee.budget" holds one reference; permits that count against the budget hold their
 * own, so a budget may be collected while its calls are on their way.  How options are written, and how a
 * budget reaches calls, is in scripts/lib/budget.lua. */
#include "bindings/spend.h"

#include <string.h>

#include "bindings/modules.h"
#include "host/amountx.h"
#include "host/luax.h"
#include "host/task.h"

#define BUDGET_CLASS "perigee.budget"

static const char *const window_options[] = {"total", "hour", "day", "week", "month", NULL};

struct budget *budget_test(lua_State *L, int index)
{
    struct budget **box = luaL_testudata(L, index, BUDGET_CLASS);
    return box ? *box : NULL;
}

static struct budget *check_budget(lua_State *L)
{
    struct budget **box = luaL_checkudata(L, 1, BUDGET_CLASS);
    return *box;
}

static int l_gc(lua_State *L)
{
    struct budget **box = luaL_checkudata(L, 1, BUDGET_CLASS);
    budget_unref(*box);
    *box = NULL;
    return 0;
}

static int l_name(lua_State *L)
{
    lua_pushstring(L, budget_name(check_budget(L)));
    return 1;
}

static int l_tostring(lua_State *L)
{
    const char *name = budget_name(check_budget(L));
    lua_pushfstring(L, name[0] ? "budget \"%s\"" : "budget", name);
    return 1;
}

static void set_amount(lua_State *L, const char *field, const struct amount *amount)
{
    amountx_push(L, amount);
    lua_setfield(L, -2, field);
}

/* budget:lines() -> { {window=, bounded=, limit=, held=, unknown=, spent=, left=}, … } */
static int l_lines(lua_State *L)
{
    struct budget *budget = check_budget(L);
    size_t count = budget_line_count(budget);
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        struct budget_line line = budget_line(budget, i);
        lua_createtable(L, 0, 7);
        lua_pushstring(L, budget_window_name(line.window));
        lua_setfield(L, -2, "window");
        lua_pushboolean(L, line.bounded);
        lua_setfield(L, -2, "bounded");
        set_amount(L, "held", &line.held);
        set_amount(L, "unknown", &line.unknown);
        set_amount(L, "spent", &line.spent);
        if (line.bounded) set_amount(L, "limit", &line.limit);
        if (line.bounded) set_amount(L, "left", &line.left);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* ---- one figure: budget:spent([window [, currency]]) and its like -------------------------------------- */

/* The line of the window and currency; without a currency, of the budget's first one. */
static struct budget_line find_line(lua_State *L, struct budget *budget, enum budget_window window,
                                    const char *currency)
{
    if (!currency) currency = budget_line(budget, 0).limit.currency;
    for (size_t i = 0; i < budget_line_count(budget); i++) {
        struct budget_line line = budget_line(budget, i);
        if (line.window == window && strcmp(line.limit.currency, currency) == 0) return line;
    }
    luax_invalid(L, "this budget has no limit for one %s in %s", budget_window_name(window), currency);
}

static struct budget_line line_asked(lua_State *L)
{
    struct budget *budget = check_budget(L);
    int window = luaL_checkoption(L, 2, "total", window_options);
    return find_line(L, budget, (enum budget_window)window, luaL_optstring(L, 3, NULL));
}

static int l_spent(lua_State *L)
{
    struct budget_line line = line_asked(L);
    amountx_push(L, &line.spent);
    return 1;
}

static int l_held(lua_State *L)
{
    struct budget_line line = line_asked(L);
    amountx_push(L, &line.held);
    return 1;
}

static int l_unknown(lua_State *L)
{
    struct budget_line line = line_asked(L);
    amountx_push(L, &line.unknown);
    return 1;
}

/* Without a window: what the tightest limit leaves, which is what a call can cost now. */
static struct amount tightest_left(struct budget *budget, const struct budget_line *total)
{
    struct amount least = total->limit;
    bool found = false;
    for (size_t i = 0; i < budget_line_count(budget); i++) {
        struct budget_line line = budget_line(budget, i);
        int order;
        if (!line.bounded || !amount_same_currency(&line.limit, &total->limit)) continue;
        if (!found || (amount_compare(&line.left, &least, &order, NULL) == 0 && order < 0)) least = line.left;
        found = true;
    }
    return least;
}

static int l_left(lua_State *L)
{
    struct budget_line line = line_asked(L);
    if (lua_isnoneornil(L, 2))
        line.left = tightest_left(check_budget(L), &line);
    else if (!line.bounded)
        return luax_invalid(L, "this budget has no limit on its total");
    amountx_push(L, &line.left);
    return 1;
}

/* budget:count(amount [, {at=, unknown=}]): paid by an earlier run; at: seconds since 1970, default now */
static int l_count(lua_State *L)
{
    static const char *const fields[] = {"at", "unknown", NULL};
    struct budget *budget = check_budget(L);
    struct amount amount;
    amountx_read(L, 2, "budget:count: amount", NULL, &amount);
    luax_check_options(L, 3, "budget:count", fields);
    bool unknown = luax_opt_boolean(L, 3, "budget:count", "unknown", false);
    int64_t now_ms = clock_wall_ms(sched_clock(vm_sched(vm_of(L))));
    lua_Integer at = luax_opt_integer(L, 3, "budget:count", "at", now_ms / 1000, 0, INT32_MAX);
    struct err err;
    if (budget_count(budget, &amount, (int64_t)at * 1000, unknown, &err) < 0) return luax_raise_err(L, &err);
    return 0;
}

/* ---- making one ---------------------------------------------------------------------------------------- */

/* Fills the limits from field "limits": { {window=, amount=}, … }. */
static size_t read_limits(lua_State *L, int index, struct budget_limit *limits)
{
    lua_getfield(L, index, "limits");
    luaL_checktype(L, -1, LUA_TTABLE);
    size_t count = lua_rawlen(L, -1);
    if (count > BUDGET_LIMITS_MAX) luax_invalid(L, "a budget takes at most %d limits", BUDGET_LIMITS_MAX);
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        lua_getfield(L, -1, "window");
        int window = luaL_checkoption(L, -1, NULL, window_options);
        lua_getfield(L, -2, "amount");
        amountx_read(L, -1, window_options[window], NULL, &limits[i].amount);
        limits[i].window = (enum budget_window)window;
        lua_pop(L, 3);
    }
    lua_pop(L, 1);
    return count;
}

/* core.new{name=, limits=, offset_minutes=, warn_percent=, group=} */
static int l_new(lua_State *L)
{
    static const char *const fields[] = {"name", "limits", "offset_minutes", "warn_percent", "group", NULL};
    struct budget_limit limits[BUDGET_LIMITS_MAX];
    struct err err;
    luaL_checktype(L, 1, LUA_TTABLE);
    luax_check_options(L, 1, "budget.new", fields);
    struct budget_spec spec = {
        .limits = limits,
        .limit_count = read_limits(L, 1, limits),
        .offset_minutes = (int)luax_opt_integer(L, 1, "budget.new", "offset_minutes", 0, -840, 840),
        .warn_percent = (int)luax_opt_integer(L, 1, "budget.new", "warn_percent", 0, 0, 100),
        .group = luax_opt_boolean(L, 1, "budget.new", "group", false)};
    spec.name = luax_opt_string(L, 1, "budget.new", "name", NULL, "");
    struct budget **box = luax_new(L, BUDGET_CLASS, sizeof(struct budget *));
    *box = budget_new(spend_of(L), &spec, &err);
    if (!*box) return luax_raise_err(L, &err);
    return 1;
}

/* core.is_budget(value) */
static int l_is_budget(lua_State *L)
{
    lua_pushboolean(L, luaL_testudata(L, 1, BUDGET_CLASS) != NULL);
    return 1;
}

static const luaL_Reg methods[] = {{"spent", l_spent}, {"held", l_held},   {"unknown", l_unknown},
                                   {"left", l_left},   {"lines", l_lines}, {"count", l_count},
                                   {"name", l_name},   {NULL, NULL}};

static const luaL_Reg metamethods[] = {{"__gc", l_gc}, {"__tostring", l_tostring}, {NULL, NULL}};

static const luaL_Reg functions[] = {{"new", l_new}, {"is_budget", l_is_budget}, {NULL, NULL}};

int luaopen_perigee_core_budget(lua_State *L)
{
    luax_class(L, BUDGET_CLASS, methods, metamethods);
    luaL_newlib(L, functions);
    return 1;
}
