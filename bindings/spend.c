/* spend.c (bindings) - perigee.core.spend: permits as Lua values, and the figures of the kernel.
 *
 * A script gets a permit only when its intent is recorded, so one wait covers gate, reservation and intent.
 * Whoever lets go of a permit (close, error, cancel, collection) drops it: what was not sent is released,
 * what was sent and not answered stays held as unknown.  Policy lives in scripts/lib/budget.lua and
 * retry.lua.
 */
#include "bindings/spend.h"

#include <string.h>

#include "bindings/modules.h"
#include "host/amountx.h"
#include "host/luax.h"
#include "host/mem.h"
#include "host/task.h"

static const char kernel_key;

void spend_install(lua_State *L, struct spend *spend)
{
    lua_pushlightuserdata(L, spend);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &kernel_key);
}

struct spend *spend_of(lua_State *L)
{
    struct spend *spend = lua_touserdata(L, lua_upvalueindex(1)); /* of the module of the running function */
    if (spend) return spend;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &kernel_key);
    spend = lua_touserdata(L, -1);
    lua_pop(L, 1);
    if (!spend) {
        struct err err;
        err_set(&err, ERR_UNAVAILABLE, "no paid calls can be made here");
        luax_raise_err(L, &err);
    }
    return spend;
}

static void set_amount(lua_State *L, const char *field, const struct amount *amount)
{
    amountx_push(L, amount);
    lua_setfield(L, -2, field);
}

/* ---- permits ------------------------------------------------------------------------------------------- */

static struct permit *check_permit(lua_State *L)
{
    struct permit **box = luaL_checkudata(L, 1, PERMIT_CLASS);
    if (!*box) luax_invalid(L, "this permit is closed");
    return *box;
}

static int l_permit_close(lua_State *L)
{
    struct permit **box = luaL_checkudata(L, 1, PERMIT_CLASS);
    permit_drop(*box);
    *box = NULL;
    return 0;
}

static int answer(lua_State *L, int rc, const struct err *err)
{
    if (rc < 0) return luax_raise_err(L, err);
    return 0;
}

static int l_permit_sent(lua_State *L)
{
    struct err err;
    return answer(L, spend_sent(check_permit(L), &err), &err);
}

/* permit:answered("created" | "none" | "unknown" [, remote_id]) */
static int l_permit_answered(lua_State *L)
{
    static const char *const names[] = {"created", "none", "unknown", NULL};
    static const enum spend_outcome outcomes[] = {SPEND_CREATED, SPEND_NONE, SPEND_UNKNOWN};
    struct permit *permit = check_permit(L);
    enum spend_outcome outcome = outcomes[luaL_checkoption(L, 2, NULL, names)];
    const char *remote_id = lua_isnoneornil(L, 3) ? NULL : luaL_checkstring(L, 3);
    struct err err;
    return answer(L, spend_answered(permit, outcome, remote_id, &err), &err);
}

/* permit:settle([charge [, derived]]): without a charge, at its price, derived */
static int l_permit_settle(lua_State *L)
{
    struct permit *permit = check_permit(L);
    struct amount charge;
    bool given = !lua_isnoneornil(L, 2);
    if (given) amountx_read(L, 2, "permit:settle: charge", NULL, &charge);
    struct err err;
    return answer(L, spend_settle(permit, given ? &charge : NULL, lua_toboolean(L, 3), &err), &err);
}

static int l_permit_release(lua_State *L)
{
    struct err err;
    return answer(L, spend_release(check_permit(L), &err), &err);
}

static int l_permit_state(lua_State *L)
{
    lua_pushstring(L, permit_state_name(permit_state(check_permit(L))));
    return 1;
}

static int l_permit_intent_id(lua_State *L)
{
    lua_pushstring(L, permit_intent_id(check_permit(L)));
    return 1;
}

static int l_permit_remote_id(lua_State *L)
{
    const char *id = permit_remote_id(check_permit(L));
    if (id[0])
        lua_pushstring(L, id);
    else
        lua_pushnil(L);
    return 1;
}

static int l_permit_price(lua_State *L)
{
    const struct amount *price = permit_price(check_permit(L));
    if (price)
        amountx_push(L, price);
    else
        lua_pushnil(L);
    return 1;
}

static int l_permit_governed(lua_State *L)
{
    lua_pushboolean(L, permit_governed(check_permit(L)));
    return 1;
}

void spend_push_permit(lua_State *L, struct permit **owner)
{
    struct permit **box = luax_new(L, PERMIT_CLASS, sizeof(struct permit *));
    *box = *owner;
    *owner = NULL;
}

/* spend.adopt(intent_id) -> the open permit nobody of this process holds any more, or nil */
static int l_adopt(lua_State *L)
{
    const char *id = luaL_checkstring(L, 1);
    struct permit **box = luax_new(L, PERMIT_CLASS, sizeof(struct permit *));
    *box = spend_adopt(spend_of(L), id);
    if (!*box) lua_pushnil(L);
    return 1;
}

/* ---- spend.take: a permit that a process which has ended left open ------------------------------------- */

struct take_op {
    struct op op;
    struct spend_call *call;
    struct permit *permit; /* the op's until finish hands it to the script */
    struct err err;
};

static void taken_cb(void *ctx, struct permit *permit, const struct err *err)
{
    struct take_op *t = ctx;
    t->call = NULL;
    t->permit = permit;
    if (err) t->err = *err;
    op_complete(&t->op);
}

static void take_abort(struct op *op)
{
    struct take_op *t = (struct take_op *)op;
    spend_call_abandon(t->call);
    t->call = NULL;
}

static void take_release(struct op *op)
{
    struct take_op *t = (struct take_op *)op;
    take_abort(op);
    permit_drop(t->permit);
}

static int take_finish(lua_State *L, struct op *op)
{
    struct take_op *t = (struct take_op *)op;
    if (!t->permit) return luax_raise_err(L, &t->err);
    spend_push_permit(L, &t->permit);
    return 1;
}

static const struct op_type take_type = {
    .name = "spend.take", .timed = true, .abort = take_abort, .finish = take_finish, .release = take_release};

/* spend.take(intent_id) -> the permit, unknown or created; raises `invalid` with code not_found, taken or
 * order */
static int l_take(lua_State *L)
{
    const char *id = luaL_checkstring(L, 1);
    struct spend *spend = spend_of(L);
    struct permit **box = luax_new(L, PERMIT_CLASS, sizeof(struct permit *));
    *box = spend_adopt(spend, id);
    if (*box) return 1;
    if (!spend_is_durable(spend)) {
        struct err err;
        err_set(&err, ERR_INVALID, "no permit has the intent %s", id);
        err_set_code(&err, "not_found");
        return luax_raise_err(L, &err);
    }
    struct take_op *t = op_new(L, &take_type, sizeof *t);
    t->call = spend_take(spend, id, taken_cb, t);
    return op_park(L, &t->op);
}

/* ---- spend.next_low: limits that are nearly used up ------------------------------------------------------
 */

struct low_op {
    struct op op;
    struct spend *spend;
};

static void low_cb(void *ctx)
{
    struct low_op *l = ctx;
    spend_on_low(l->spend, NULL, NULL);
    op_complete(&l->op);
}

static void low_abort(struct op *op)
{
    spend_on_low(((struct low_op *)op)->spend, NULL, NULL);
}

static int low_finish(lua_State *L, struct op *op)
{
    struct budget_low low;
    if (!spend_take_low(((struct low_op *)op)->spend, &low)) {
        lua_pushnil(L);
        return 1;
    }
    lua_createtable(L, 0, 5);
    lua_pushstring(L, low.budget);
    lua_setfield(L, -2, "budget");
    lua_pushstring(L, budget_window_name(low.window));
    lua_setfield(L, -2, "window");
    if (low.window != BUDGET_TOTAL) {
        lua_pushstring(L, low.zone);
        lua_setfield(L, -2, "zone");
    }
    set_amount(L, "used", &low.used);
    set_amount(L, "limit", &low.limit);
    return 1;
}

/* internal: what makes a limit low is a paid call, and another task must make it. */
static const struct op_type low_type = {
    .name = "spend.next_low", .internal = true, .abort = low_abort, .finish = low_finish};

/* spend.next_low() -> {budget=, window=, zone=, used=, limit=}: waits for the next limit of which much is
 * used. One reader for the process. */
static int l_next_low(lua_State *L)
{
    struct spend *spend = spend_of(L);
    if (spend_has_low_reader(spend)) luax_invalid(L, "spend.next_low: somebody waits for it already");
    struct low_op *l = op_new(L, &low_type, sizeof *l);
    l->spend = spend;
    if (spend_has_low(spend))
        op_complete(&l->op);
    else
        spend_on_low(spend, low_cb, l);
    return op_park(L, &l->op);
}

/* ---- figures ------------------------------------------------------------------------------------------- */

static void set_count(lua_State *L, const char *field, uint64_t n)
{
    lua_pushinteger(L, (lua_Integer)n);
    lua_setfield(L, -2, field);
}

static void push_sums(lua_State *L, struct spend *spend)
{
    size_t count = spend_sums_count(spend);
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        struct spend_sums sums = spend_sums(spend, i);
        lua_createtable(L, 0, 6);
        lua_pushstring(L, sums.currency);
        lua_setfield(L, -2, "currency");
        set_amount(L, "held", &sums.held);
        set_amount(L, "unknown", &sums.unknown);
        set_amount(L, "spent", &sums.spent);
        set_amount(L, "derived", &sums.derived);
        set_amount(L, "presumed", &sums.presumed);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

/* spend.figures() -> counters, denied = {code = n}, sums = { {currency=, held=, …}, … } */
static int l_figures(lua_State *L)
{
    struct spend *spend = spend_of(L);
    const struct spend_counters *c = spend_counters(spend);
    lua_createtable(L, 0, 13);
    set_count(L, "requested", c->requested);
    set_count(L, "granted", c->granted);
    set_count(L, "sent", c->sent);
    set_count(L, "created", c->created);
    set_count(L, "refused", c->refused);
    set_count(L, "unknown", c->unknown);
    set_count(L, "settled", c->settled);
    set_count(L, "derived", c->derived);
    set_count(L, "released", c->released);
    set_count(L, "ungoverned", c->ungoverned);
    set_count(L, "unpriced", c->unpriced);
    lua_createtable(L, 0, DENIAL_CODE_COUNT);
    for (int i = 0; i < DENIAL_CODE_COUNT; i++)
        set_count(L, spend_denial_name((enum spend_denial_code)i), c->denied[i]);
    lua_setfield(L, -2, "denied");
    push_sums(L, spend);
    lua_setfield(L, -2, "sums");
    return 1;
}

/* spend.count_denial(code): by a gate of the Lua library, before the kernel was asked */
static int l_count_denial(lua_State *L)
{
    spend_count_denial(spend_of(L), luaL_checkstring(L, 1));
    return 0;
}

/* spend.require_budget(): from now on; there is no way back */
static int l_require_budget(lua_State *L)
{
    spend_require_budget(spend_of(L), true);
    return 0;
}

/* spend.set_unknown_after(seconds): when an unknown outcome counts as presumed spent, from now on */
static int l_set_unknown_after(lua_State *L)
{
    spend_set_unknown_after(spend_of(L), (uint64_t)(luaL_checknumber(L, 1) * 1000));
    return 0;
}

/* spend.add_default_budget(budget): every call of the process counts against it */
static int l_add_default_budget(lua_State *L)
{
    struct budget *budget = budget_test(L, 1);
    struct err err;
    luaL_argexpected(L, budget != NULL, 1, "budget");
    return answer(L, spend_add_default_budget(spend_of(L), budget, &err), &err);
}

/* spend.remove_default_budget(budget): calls from now on do not count against it */
static int l_remove_default_budget(lua_State *L)
{
    struct budget *budget = budget_test(L, 1);
    luaL_argexpected(L, budget != NULL, 1, "budget");
    spend_remove_default_budget(spend_of(L), budget);
    return 0;
}

/* ---- registration -------------------------------------------------------------------------------------- */

static const luaL_Reg permit_methods[] = {{"sent", l_permit_sent},
                                          {"answered", l_permit_answered},
                                          {"settle", l_permit_settle},
                                          {"release", l_permit_release},
                                          {"close", l_permit_close},
                                          {"state", l_permit_state},
                                          {"price", l_permit_price},
                                          {"intent_id", l_permit_intent_id},
                                          {"remote_id", l_permit_remote_id},
                                          {"governed", l_permit_governed},
                                          {NULL, NULL}};

static const luaL_Reg permit_meta[] = {{"__gc", l_permit_close}, {"__close", l_permit_close}, {NULL, NULL}};

static const luaL_Reg functions[] = {{"adopt", l_adopt},
                                     {"take", l_take},
                                     {"next_low", l_next_low},
                                     {"count_denial", l_count_denial},
                                     {"figures", l_figures},
                                     {"require_budget", l_require_budget},
                                     {"set_unknown_after", l_set_unknown_after},
                                     {"add_default_budget", l_add_default_budget},
                                     {"remove_default_budget", l_remove_default_budget},
                                     {NULL, NULL}};

void spend_push_module(lua_State *L, struct spend *spend)
{
    luaL_newlibtable(L, functions);
    lua_pushlightuserdata(L, spend);
    luaL_setfuncs(L, functions, 1);
    lua_pushlightuserdata(L, spend);
    spend_add_request(L);
}

int luaopen_perigee_core_spend(lua_State *L)
{
    luax_class(L, PERMIT_CLASS, permit_methods, permit_meta);
    spend_push_module(L, NULL);
    return 1;
}
