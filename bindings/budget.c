/* budget.c - perigee.core.budget: the kernel's budgets as Lua values.
 *
 * A value of class "perigee.budget" holds one reference; permits that count against the budget hold their
 * own, so a budget may be collected while its calls are on their way.  Figures of a durable budget are the
 * journal's, so asking for one waits.  How options are written, and how a budget reaches calls, is in
 * scripts/lib/budget.lua. */
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

static int l_zone(lua_State *L)
{
    lua_pushstring(L, budget_zone(check_budget(L)));
    return 1;
}

static int l_durable(lua_State *L)
{
    lua_pushboolean(L, budget_is_durable(check_budget(L)));
    return 1;
}

/* ---- figures ------------------------------------------------------------------------------------------- */

enum figure { FIGURE_LINES, FIGURE_SPENT, FIGURE_HELD, FIGURE_UNKNOWN, FIGURE_LEFT };

/* Which figure is asked for. */
struct question {
    enum figure figure;
    bool has_window;
    enum budget_window window;
    char currency[AMOUNT_CURRENCY_SIZE]; /* "": that of the budget's first limit */
};

/* { {window=, zone=, bounded=, limit=, held=, unknown=, spent=, left=}, … } */
static void push_lines(lua_State *L, struct budget *budget)
{
    size_t count = budget_line_count(budget);
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        struct budget_line line = budget_line(budget, i);
        lua_createtable(L, 0, 8);
        lua_pushstring(L, budget_window_name(line.window));
        lua_setfield(L, -2, "window");
        if (line.window != BUDGET_TOTAL) {
            lua_pushstring(L, budget_zone(budget));
            lua_setfield(L, -2, "zone");
        }
        lua_pushboolean(L, line.bounded);
        lua_setfield(L, -2, "bounded");
        set_amount(L, "held", &line.held);
        set_amount(L, "unknown", &line.unknown);
        set_amount(L, "spent", &line.spent);
        if (line.bounded) set_amount(L, "limit", &line.limit);
        if (line.bounded) set_amount(L, "left", &line.left);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

/* The line of the window and currency; without a currency, of the budget's first one. */
static struct budget_line find_line(lua_State *L, struct budget *budget, const struct question *q)
{
    const char *currency = q->currency[0] ? q->currency : budget_line(budget, 0).limit.currency;
    for (size_t i = 0; i < budget_line_count(budget); i++) {
        struct budget_line line = budget_line(budget, i);
        if (line.window == q->window && strcmp(line.limit.currency, currency) == 0) return line;
    }
    luax_invalid(L, "this budget has no limit for one %s in %s", budget_window_name(q->window), currency);
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

static int push_answer(lua_State *L, struct budget *budget, const struct question *q)
{
    if (q->figure == FIGURE_LINES) {
        push_lines(L, budget);
        return 1;
    }
    struct budget_line line = find_line(L, budget, q);
    if (q->figure == FIGURE_LEFT && !q->has_window)
        line.left = tightest_left(budget, &line);
    else if (q->figure == FIGURE_LEFT && !line.bounded)
        return luax_invalid(L, "this budget has no limit on its total");
    amountx_push(L, q->figure == FIGURE_SPENT     ? &line.spent
                    : q->figure == FIGURE_HELD    ? &line.held
                    : q->figure == FIGURE_UNKNOWN ? &line.unknown
                                                  : &line.left);
    return 1;
}

/* ---- figures of durable budgets: a wait for the journal --------------------------------------------------
 */

struct figure_op {
    struct op op;
    struct spend_call *call;
    struct budget *budget; /* a reference */
    struct question question;
    bool counts; /* budget:count: gives nothing */
    bool failed;
    struct err err;
};

static void figure_cb(void *ctx, struct permit *permit, const struct err *err)
{
    struct figure_op *f = ctx;
    (void)permit;
    f->call = NULL;
    f->failed = err != NULL;
    if (err) f->err = *err;
    op_complete(&f->op);
}

static void figure_abort(struct op *op)
{
    struct figure_op *f = (struct figure_op *)op;
    spend_call_abandon(f->call);
    f->call = NULL;
}

static void figure_release(struct op *op)
{
    figure_abort(op);
    budget_unref(((struct figure_op *)op)->budget);
}

static int figure_finish(lua_State *L, struct op *op)
{
    struct figure_op *f = (struct figure_op *)op;
    if (f->failed) return luax_raise_err(L, &f->err);
    return f->counts ? 0 : push_answer(L, f->budget, &f->question);
}

static void figure_describe(const struct op *op, struct buf *out)
{
    buf_printf(out, "budget \"%s\" in the journal", budget_name(((const struct figure_op *)op)->budget));
}

static const struct op_type figure_type = {.name = "budget.figures",
                                           .timed = true,
                                           .abort = figure_abort,
                                           .finish = figure_finish,
                                           .release = figure_release,
                                           .describe = figure_describe};

static struct figure_op *new_figure_op(lua_State *L, struct budget *budget)
{
    struct figure_op *f = op_new(L, &figure_type, sizeof *f);
    f->budget = budget_ref(budget);
    return f;
}

static int ask(lua_State *L, const struct question *q)
{
    struct budget *budget = check_budget(L);
    if (!budget_is_durable(budget)) return push_answer(L, budget, q);
    struct figure_op *f = new_figure_op(L, budget);
    f->question = *q;
    f->call = budget_refresh(budget, figure_cb, f);
    return op_park(L, &f->op);
}

static int l_lines(lua_State *L)
{
    return ask(L, &(struct question){.figure = FIGURE_LINES});
}

/* budget:spent([window [, currency]]) and its like */
static int ask_amount(lua_State *L, enum figure figure)
{
    struct question q = {.figure = figure, .has_window = !lua_isnoneornil(L, 2)};
    q.window = (enum budget_window)luaL_checkoption(L, 2, "total", window_options);
    const char *currency = luaL_optstring(L, 3, "");
    if (strlen(currency) >= sizeof q.currency) luax_invalid(L, "\"%s\" is no currency", currency);
    memcpy(q.currency, currency, strlen(currency));
    return ask(L, &q);
}

static int l_spent(lua_State *L)
{
    return ask_amount(L, FIGURE_SPENT);
}

static int l_held(lua_State *L)
{
    return ask_amount(L, FIGURE_HELD);
}

static int l_unknown(lua_State *L)
{
    return ask_amount(L, FIGURE_UNKNOWN);
}

static int l_left(lua_State *L)
{
    return ask_amount(L, FIGURE_LEFT);
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
    int64_t at = luax_opt_integer(L, 3, "budget:count", "at", now_ms / 1000, 0, INT32_MAX) * 1000;
    struct err err;
    if (budget_is_durable(budget)) {
        struct figure_op *f = new_figure_op(L, budget);
        f->counts = true;
        f->call = budget_add(budget, &amount, at, unknown, figure_cb, f, &err);
        if (!f->call) return luax_raise_err(L, &err);
        return op_park(L, &f->op);
    }
    if (budget_count(budget, &amount, at, unknown, &err) < 0) return luax_raise_err(L, &err);
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

/* Field "offsets": { {from=, offset=}, … }, in seconds. Owned by the buffer that it pushes. */
static const struct budget_offset *read_offsets(lua_State *L, size_t *count)
{
    struct buf *bytes = luax_new_buf(L);
    lua_getfield(L, 1, "offsets");
    *count = lua_istable(L, -1) ? lua_rawlen(L, -1) : 0;
    for (size_t i = 0; i < *count; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        lua_getfield(L, -1, "from");
        lua_getfield(L, -2, "offset");
        struct budget_offset offset = {.from_s = luaL_checkinteger(L, -2),
                                       .offset_s = (int32_t)luaL_checkinteger(L, -1)};
        buf_append(bytes, (const char *)&offset, sizeof offset);
        lua_pop(L, 3);
    }
    lua_pop(L, 1);
    return (const struct budget_offset *)(const void *)bytes->data;
}

/* core.new{name=, limits=, zone=, offsets=, warn_percent=, group=, durable=, definition=} */
static int l_new(lua_State *L)
{
    static const char *const fields[] = {"name",  "limits",  "zone",       "offsets", "warn_percent",
                                         "group", "durable", "definition", NULL};
    struct budget_limit limits[BUDGET_LIMITS_MAX];
    struct err err;
    luaL_checktype(L, 1, LUA_TTABLE);
    luax_check_options(L, 1, "budget.new", fields);
    struct budget_spec spec = {.limits = limits,
                               .limit_count = read_limits(L, 1, limits),
                               .warn_percent =
                                   (int)luax_opt_integer(L, 1, "budget.new", "warn_percent", 0, 0, 100),
                               .group = luax_opt_boolean(L, 1, "budget.new", "group", false),
                               .durable = luax_opt_boolean(L, 1, "budget.new", "durable", false)};
    spec.offsets = read_offsets(L, &spec.offset_count);
    spec.name = luax_opt_string(L, 1, "budget.new", "name", NULL, "");
    spec.zone = luax_opt_string(L, 1, "budget.new", "zone", NULL, NULL);
    spec.definition = luax_opt_string(L, 1, "budget.new", "definition", NULL, NULL);
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

static const luaL_Reg methods[] = {
    {"spent", l_spent}, {"held", l_held}, {"unknown", l_unknown}, {"left", l_left},       {"lines", l_lines},
    {"count", l_count}, {"name", l_name}, {"zone", l_zone},       {"durable", l_durable}, {NULL, NULL}};

static const luaL_Reg metamethods[] = {{"__gc", l_gc}, {"__tostring", l_tostring}, {NULL, NULL}};

static const luaL_Reg functions[] = {{"new", l_new}, {"is_budget", l_is_budget}, {NULL, NULL}};

void budget_push_module(lua_State *L, struct spend *spend)
{
    luaL_newlibtable(L, functions);
    lua_pushlightuserdata(L, spend);
    luaL_setfuncs(L, functions, 1);
}

int luaopen_perigee_core_budget(lua_State *L)
{
    luax_class(L, BUDGET_CLASS, methods, metamethods);
    budget_push_module(L, NULL);
    return 1;
}
