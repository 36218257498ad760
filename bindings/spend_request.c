/* spend_request.c - perigee.core.spend: request and judge.
 *
 * A script gets a permit only when its intent is recorded, so one wait covers gate, reservation and intent.
 * judge tells beforehand what the gate would say, for a person who is asked whether to pay; it holds nothing.
 */
#include "bindings/spend.h"

#include <string.h>

#include "host/amountx.h"
#include "host/luax.h"
#include "host/mem.h"
#include "host/task.h"

static void set_amount(lua_State *L, const char *field, const struct amount *amount)
{
    amountx_push(L, amount);
    lua_setfield(L, -2, field);
}

/* ---- spend.request: gate, reservation and intent in one wait ------------------------------------------- */

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
static void add_call(lua_State *L, const char *service, const char *operation)
{
    lua_pushstring(L, service);
    lua_setfield(L, -2, "service");
    lua_pushstring(L, operation);
    lua_setfield(L, -2, "operation");
}

static int raise_denial(lua_State *L, const struct spend_denial *denial, const char *service,
                        const char *operation)
{
    luax_push_err(L, &denial->err);
    add_call(L, service, operation);
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
    if (r->denial) return raise_denial(L, r->denial, permit_service(r->permit), permit_operation(r->permit));
    if (r->failed) {
        luax_push_err(L, &r->err);
        add_call(L, permit_service(r->permit), permit_operation(r->permit));
        return lua_error(L);
    }
    spend_push_permit(L, &r->permit);
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
        if (!budget_is_of(budgets[i], spend_of(L)))
            luax_invalid(L,
                         "the budget \"%s\" is not of these services: on the emulator budgets are made anew, "
                         "and stay there",
                         budget_name(budgets[i]));
        lua_pop(L, 1);
    }
    return count;
}

/* A request as a script writes it.  What it points to is on the Lua stack or in here. */
struct reading {
    struct spend_request request;
    struct amount price, max_cost, per_attempt;
    struct budget *budgets[SPEND_BUDGETS_MAX];
};

static void read_texts(lua_State *L, struct spend_request *request)
{
    request->account = luax_opt_string(L, 1, "spend.request", "account", NULL, NULL);
    request->key = luax_opt_string(L, 1, "spend.request", "key", NULL, NULL);
    request->job = luax_opt_string(L, 1, "spend.request", "job", NULL, NULL);
    request->policy = luax_opt_string(L, 1, "spend.request", "policy", NULL, NULL);
    request->tags = luax_opt_string(L, 1, "spend.request", "tags", NULL, NULL);
    request->model = luax_opt_string(L, 1, "spend.request", "model", NULL, NULL);
    request->intent = luax_opt_string(L, 1, "spend.request", "intent", NULL, NULL);
    if (request->intent &&
        (strlen(request->intent) != 32 || strspn(request->intent, "0123456789abcdef") != 32))
        luax_invalid(L, "spend.request: intent must have 32 hex digits");
}

static struct spend_request *read_request(lua_State *L, struct reading *r)
{
    static const char *const fields[] = {"operation", "service",       "account",  "key",
                                         "price",     "no_worst_case", "max_cost", "max_cost_per_attempt",
                                         "budgets",   "job",           "attempt",  "policy",
                                         "tags",      "model",         "intent",   "agreed",
                                         NULL};
    luaL_checktype(L, 1, LUA_TTABLE);
    task_check_not_cancelled(L, "spend.request");
    luax_check_options(L, 1, "spend.request", fields);
    struct spend_request *request = &r->request;
    *request = (struct spend_request){.operation = need_string(L, "operation"),
                                      .service = need_string(L, "service"),
                                      .budgets = r->budgets,
                                      .budget_count = read_budgets(L, r->budgets)};
    read_texts(L, request);
    request->attempt = luax_opt_integer(L, 1, "spend.request", "attempt", 0, 0, INT32_MAX);
    request->no_worst_case = luax_opt_boolean(L, 1, "spend.request", "no_worst_case", false);
    request->agreed = luax_opt_boolean(L, 1, "spend.request", "agreed", false);
    request->priced = opt_amount(L, "price", "spend.request: price", &r->price) != NULL;
    if (request->priced) request->price = r->price;
    request->max_cost = opt_amount(L, "max_cost", "max_cost", &r->max_cost);
    request->max_cost_per_attempt =
        opt_amount(L, "max_cost_per_attempt", "max_cost_per_attempt", &r->per_attempt);
    return request;
}

/* spend.request{operation=, service=, account=, key=, price=, no_worst_case=, max_cost=,
 * max_cost_per_attempt=, budgets=, job=, attempt=, policy=, tags=, model=, intent=, agreed=} -> a permit in
 * state "intent"; raises `denied`.  tags: JSON; intent: 32 hex digits that nobody has used, else drawn;
 * agreed: a person has said yes */
static int l_request(lua_State *L)
{
    struct reading reading;
    struct spend_request *request = read_request(L, &reading);
    struct spend *spend = spend_of(L);
    struct request_op *r = op_new(L, &request_type, sizeof *r);
    r->permit = spend_request(spend, request, request_done_cb, r);
    return op_park(L, &r->op);
}

/* ---- spend.judge: the gate without asking ----------------------------------------------------------------
 */

/* { {budget=, window=, zone=, limit=, left=}, … } of the limits that a request in that currency meets; those
 * of every currency if it has no price */
static void push_limits(lua_State *L, struct spend *spend, const struct spend_request *request)
{
    struct budget *budgets[2 * SPEND_BUDGETS_MAX];
    size_t count = spend_budgets_of(spend, request, budgets);
    lua_Integer at = 0;
    lua_newtable(L);
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < budget_line_count(budgets[i]); k++) {
            struct budget_line line = budget_line(budgets[i], k);
            if (!line.bounded) continue;
            if (request->priced && !amount_same_currency(&line.limit, &request->price)) continue;
            lua_createtable(L, 0, 5);
            lua_pushstring(L, budget_name(budgets[i]));
            lua_setfield(L, -2, "budget");
            lua_pushstring(L, budget_window_name(line.window));
            lua_setfield(L, -2, "window");
            lua_pushstring(L, budget_zone(budgets[i]));
            lua_setfield(L, -2, "zone");
            set_amount(L, "limit", &line.limit);
            set_amount(L, "left", &line.left);
            lua_rawseti(L, -2, ++at);
        }
    }
}

/* spend.judge{…}: what spend.request would say now, without holding anything: raises `denied`, or gives the
 * limits that apply.  The figures of durable budgets are those last read: ask them for their lines before. */
static int l_judge(lua_State *L)
{
    struct reading reading;
    struct spend_request *request = read_request(L, &reading);
    struct spend *spend = spend_of(L);
    struct spend_denial denial;
    if (!spend_judge(spend, request, &denial))
        return raise_denial(L, &denial, request->service, request->operation);
    push_limits(L, spend, request);
    return 1;
}

void spend_add_request(lua_State *L)
{
    static const luaL_Reg functions[] = {{"request", l_request}, {"judge", l_judge}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 1);
}
