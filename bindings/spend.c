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
    lua_rawgetp(L, LUA_REGISTRYINDEX, &kernel_key);
    struct spend *spend = lua_touserdata(L, -1);
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

/* ---- permits ------------------------------------------------------------------------------------------ */

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

static void push_permit(lua_State *L, struct permit **owner)
{
    struct permit **box = luax_new(L, PERMIT_CLASS, sizeof(struct permit *));
    *box = *owner;
    *owner = NULL;
}

/* spend.adopt(intent_id) -> the permit of an unknown outcome nobody holds any more, or nil */
static int l_adopt(lua_State *L)
{
    const char *id = luaL_checkstring(L, 1);
    struct permit **box = luax_new(L, PERMIT_CLASS, sizeof(struct permit *));
    *box = spend_adopt(spend_of(L), id);
    if (!*box) lua_pushnil(L);
    return 1;
}

/* ---- spend.request: gate, reservation and intent in one wait ---------------------------------------- */

struct request_op {
    struct op op;
    struct permit *permit;       /* the op's until finish hands it to the script */
    struct spend_denial *denial; /* NULL if granted */
    struct err err;              /* the intent could not be recorded */
    bool failed;
};

static void intent_done_cb(void *ctx, struct permit *permit, const struct err *err)
{
    struct request_op *r = ctx;
    (void)permit;
    r->failed = err != NULL;
    if (err) r->err = *err;
    op_complete(&r->op);
}

static void request_done_cb(void *ctx, struct permit *permit, const struct spend_denial *denial)
{
    struct request_op *r = ctx;
    if (denial) {
        r->denial = mem_dup(denial, sizeof *denial);
        op_complete(&r->op);
    } else {
        spend_intent(permit, intent_done_cb, r, NULL); /* it is reserved: the order is right */
    }
}

static void request_abort(struct op *op)
{
    struct request_op *r = (struct request_op *)op;
    permit_drop(r->permit);
    r->permit = NULL;
}

static void request_release(struct op *op)
{
    struct request_op *r = (struct request_op *)op;
    permit_drop(r->permit);
    mem_free(r->denial);
}

/* The error on top gets what the call was. */
static void add_call(lua_State *L, const struct permit *permit)
{
    lua_pushstring(L, permit_service(permit));
    lua_setfield(L, -2, "service");
    lua_pushstring(L, permit_operation(permit));
    lua_setfield(L, -2, "operation");
}

static int raise_denial(lua_State *L, const struct request_op *r)
{
    const struct spend_denial *denial = r->denial;
    luax_push_err(L, &denial->err);
    add_call(L, r->permit);
    if (denial->has_price) set_amount(L, "price", &denial->price);
    if (denial->has_limit) {
        set_amount(L, "limit", &denial->limit);
        set_amount(L, "left", &denial->left);
    }
    if (denial->budget[0]) {
        lua_pushstring(L, denial->budget);
        lua_setfield(L, -2, "budget");
    }
    return lua_error(L);
}

static int request_finish(lua_State *L, struct op *op)
{
    struct request_op *r = (struct request_op *)op;
    if (r->denial) return raise_denial(L, r);
    if (r->failed) {
        luax_push_err(L, &r->err);
        add_call(L, r->permit);
        return lua_error(L);
    }
    push_permit(L, &r->permit);
    return 1;
}

static void request_describe(const struct op *op, struct buf *out)
{
    const struct request_op *r = (const struct request_op *)op;
    if (r->permit) buf_printf(out, "the gate of %s", permit_operation(r->permit));
}

static const struct op_type request_type = {.name = "spend.request",
                                            .timed = true,
                                            .abort = request_abort,
                                            .finish = request_finish,
                                            .release = request_release,
                                            .describe = request_describe};

/* Pushes the field; the amount in *out, or NULL if there is none. */
static const struct amount *opt_amount(lua_State *L, const char *field, const char *what, struct amount *out)
{
    lua_getfield(L, 1, field);
    bool given = !lua_isnil(L, -1);
    if (given) amountx_read(L, -1, what, NULL, out);
    return given ? out : NULL;
}

static const char *need_string(lua_State *L, const char *field)
{
    const char *s = luax_opt_string(L, 1, "spend.request", field, NULL, NULL);
    if (!s) luax_invalid(L, "spend.request: %s is missing", field);
    return s;
}

static size_t read_budgets(lua_State *L, struct budget **budgets)
{
    lua_getfield(L, 1, "budgets");
    if (lua_isnil(L, -1)) return 0;
    luaL_checktype(L, -1, LUA_TTABLE);
    size_t count = lua_rawlen(L, -1);
    if (count > SPEND_BUDGETS_MAX)
        luax_invalid(L, "spend.request: at most %d budgets at once", SPEND_BUDGETS_MAX);
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        budgets[i] = budget_test(L, -1); /* the table keeps it alive */
        if (!budgets[i]) luax_invalid(L, "spend.request: budgets[%d] is no budget", (int)i + 1);
        lua_pop(L, 1);
    }
    return count;
}

/* spend.request{operation=, service=, account=, key=, price=, no_worst_case=, max_cost=,
 * max_cost_per_attempt=, budgets=} -> a permit in state "intent"; raises `denied` */
static int l_request(lua_State *L)
{
    static const char *const fields[] = {"operation", "service",
                                         "account",   "key",
                                         "price",     "no_worst_case",
                                         "max_cost",  "max_cost_per_attempt",
                                         "budgets",   NULL};
    struct amount price, max_cost, per_attempt;
    struct budget *budgets[SPEND_BUDGETS_MAX];
    luaL_checktype(L, 1, LUA_TTABLE);
    task_check_not_cancelled(L, "spend.request");
    luax_check_options(L, 1, "spend.request", fields);
    struct spend_request request = {.operation = need_string(L, "operation"),
                                    .service = need_string(L, "service"),
                                    .budgets = budgets,
                                    .budget_count = read_budgets(L, budgets)};
    request.account = luax_opt_string(L, 1, "spend.request", "account", NULL, NULL);
    request.key = luax_opt_string(L, 1, "spend.request", "key", NULL, NULL);
    request.no_worst_case = luax_opt_boolean(L, 1, "spend.request", "no_worst_case", false);
    request.priced = opt_amount(L, "price", "spend.request: price", &price) != NULL;
    if (request.priced) request.price = price;
    request.max_cost = opt_amount(L, "max_cost", "max_cost", &max_cost);
    request.max_cost_per_attempt =
        opt_amount(L, "max_cost_per_attempt", "max_cost_per_attempt", &per_attempt);
    struct spend *spend = spend_of(L);
    struct request_op *r = op_new(L, &request_type, sizeof *r);
    r->permit = spend_request(spend, &request, request_done_cb, r);
    return op_park(L, &r->op);
}

/* ---- figures ------------------------------------------------------------------------------------------ */

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

/* spend.add_default_budget(budget): every call of the process counts against it */
static int l_add_default_budget(lua_State *L)
{
    struct budget *budget = budget_test(L, 1);
    struct err err;
    luaL_argexpected(L, budget != NULL, 1, "budget");
    return answer(L, spend_add_default_budget(spend_of(L), budget, &err), &err);
}

/* ---- registration ------------------------------------------------------------------------------------- */

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

static const luaL_Reg functions[] = {{"request", l_request},
                                     {"adopt", l_adopt},
                                     {"count_denial", l_count_denial},
                                     {"figures", l_figures},
                                     {"require_budget", l_require_budget},
                                     {"add_default_budget", l_add_default_budget},
                                     {NULL, NULL}};

int luaopen_perigee_core_spend(lua_State *L)
{
    luax_class(L, PERMIT_CLASS, permit_methods, permit_meta);
    luaL_newlib(L, functions);
    return 1;
}
