/* spend_call.c - what callers ask of the store besides permits, and the limits that are nearly used up. */
#include "host/spend_internal.h"

#include <stdio.h>

#include "host/log.h"
#include "host/mem.h"

/* ---- calls --------------------------------------------------------------------------------------------- */

bool spend_is_durable(const struct spend *spend)
{
    return spend->store->type->take != NULL;
}

static struct spend_call *new_call(struct spend *spend, struct budget *budget, spend_call_fn done, void *ctx)
{
    struct spend_call *call = mem_alloc(sizeof *call);
    call->spend = spend;
    if (budget) call->budget = budget_ref(budget);
    call->done = done;
    call->ctx = ctx;
    return call;
}

void spend_call_abandon(struct spend_call *call)
{
    if (call) call->abandoned = true;
}

void spend_store_answered(struct spend_call *call, struct permit *permit, const struct err *err)
{
    if (!call->abandoned)
        call->done(call->ctx, permit, err);
    else
        permit_drop(permit);
    budget_unref(call->budget);
    mem_free(call);
}

struct spend_call *budget_refresh(struct budget *budget, spend_call_fn done, void *ctx)
{
    struct spend *spend = budget->spend;
    struct spend_call *call = new_call(spend, budget, done, ctx);
    permit_presume_due(spend); /* its records go first */
    spend->store->type->read(spend->store, call);
    return call;
}

struct spend_call *budget_add(struct budget *budget, const struct amount *amount, int64_t wall_ms,
                              bool unknown, spend_call_fn done, void *ctx, struct err *err)
{
    if (amount_sign(amount) < 0) {
        err_set(err, ERR_INVALID, "what a budget is to count cannot be negative");
        return NULL;
    }
    struct spend *spend = budget->spend;
    struct spend_call *call = new_call(spend, budget, done, ctx);
    call->amount = *amount;
    call->wall_ms = wall_ms;
    call->unknown = unknown;
    spend->store->type->count(spend->store, call);
    return call;
}

struct spend_call *spend_take(struct spend *spend, const char *intent_id, spend_call_fn done, void *ctx)
{
    struct spend_call *call = new_call(spend, NULL, done, ctx);
    snprintf(call->intent_id, sizeof call->intent_id, "%s", intent_id);
    spend->store->type->take(spend->store, call);
    return call;
}

/* ---- lows ---------------------------------------------------------------------------------------------- */

void spend_tell_low(struct spend *spend, const struct budget_low *low)
{
    char used[AMOUNT_TEXT_SIZE], limit[AMOUNT_TEXT_SIZE];
    amount_format(&low->used, used);
    amount_format(&low->limit, limit);
    log_write(LOG_LEVEL_WARN, "budget.low", LOG_STR("budget", low->budget[0] ? low->budget : NULL),
              LOG_STR("window", budget_window_name(low->window)),
              LOG_STR("zone", low->window == BUDGET_TOTAL ? NULL : low->zone), LOG_STR("used", used),
              LOG_STR("limit", limit));
    if (spend->low_count == SPEND_LOWS_MAX) {
        spend->low_first = (spend->low_first + 1) % SPEND_LOWS_MAX;
        spend->low_count--;
    }
    spend->lows[(spend->low_first + spend->low_count++) % SPEND_LOWS_MAX] = *low;
    if (spend->low_fn) spend->low_fn(spend->low_ctx);
}

bool spend_take_low(struct spend *spend, struct budget_low *low)
{
    if (spend->low_count == 0) return false;
    *low = spend->lows[spend->low_first];
    spend->low_first = (spend->low_first + 1) % SPEND_LOWS_MAX;
    spend->low_count--;
    return true;
}

void spend_on_low(struct spend *spend, void (*fn)(void *ctx), void *ctx)
{
    spend->low_fn = fn;
    spend->low_ctx = ctx;
}

bool spend_has_low(const struct spend *spend)
{
    return spend->low_count > 0;
}

bool spend_has_low_reader(const struct spend *spend)
{
    return spend->low_fn != NULL;
}
