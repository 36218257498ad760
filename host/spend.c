/* spend.c - the kernel: the gate, the figures, and the answers on their way out of the loop. */
#include "host/spend_internal.h"

#include <assert.h>
#include <string.h>

#include "host/log.h"
#include "host/mem.h"

static const uint64_t UNKNOWN_AFTER_MS = 24u * 3600 * 1000;

static const char *const denial_names[] = {
    [DENIAL_BUDGET_REQUIRED] = "budget_required",
    [DENIAL_NO_PRICE] = "no_price",
    [DENIAL_NO_WORST_CASE] = "no_worst_case",
    [DENIAL_CURRENCY] = "currency",
    [DENIAL_MAX_COST] = "max_cost",
    [DENIAL_OVER_BUDGET] = "over_budget",
    [DENIAL_JOURNAL] = "journal",
};

const char *spend_denial_name(enum spend_denial_code code)
{
    return denial_names[code];
}

/* ---- life ---------------------------------------------------------------------------------------------- */

struct spend *spend_new(const struct spend_options *options)
{
    struct spend *spend = mem_alloc(sizeof *spend);
    spend->timers = options->timers;
    if (clock_is_virtual(timers_clock(options->timers))) spend->random = options->random;
    spend->store = options->store ? options->store : spend_memory_store_new();
    spend->unknown_after_ms = options->unknown_after_ms ? options->unknown_after_ms : UNKNOWN_AFTER_MS;
    list_init(&spend->permits);
    list_init(&spend->answers);
    list_init(&spend->doubts);
    return spend;
}

void spend_free(struct spend *spend)
{
    if (!spend) return;
    timer_stop(spend->timers, &spend->answer_timer);
    struct list_node *node;
    while ((node = list_pop(&spend->permits))) {
        struct permit *permit = LIST_ENTRY(node, struct permit, node);
        assert(permit->dropped);
        permit_free(permit);
    }
    for (size_t i = 0; i < spend->default_count; i++) budget_unref(spend->defaults[i]);
    spend->store->type->free(
        spend->store); /* what it still waited for has lost its permit: it must not look */
    mem_free(spend->sums);
    mem_free(spend);
}

void spend_require_budget(struct spend *spend, bool required)
{
    spend->budget_required = required;
}

void spend_set_unknown_after(struct spend *spend, uint64_t ms)
{
    spend->unknown_after_ms = ms;
}

int spend_add_default_budget(struct spend *spend, struct budget *budget, struct err *err)
{
    if (spend->default_count == SPEND_BUDGETS_MAX)
        return err_set(err, ERR_LIMIT, "at most %d budgets for the whole process", SPEND_BUDGETS_MAX);
    spend->defaults[spend->default_count++] = budget_ref(budget);
    return 0;
}

void spend_remove_default_budget(struct spend *spend, struct budget *budget)
{
    for (size_t i = 0; i < spend->default_count; i++) {
        if (spend->defaults[i] != budget) continue;
        spend->default_count--;
        memmove(&spend->defaults[i], &spend->defaults[i + 1],
                (spend->default_count - i) * sizeof spend->defaults[0]);
        budget_unref(budget);
        return;
    }
}

/* ---- figures ------------------------------------------------------------------------------------------- */

const struct spend_counters *spend_counters(const struct spend *spend)
{
    return &spend->counters;
}

size_t spend_sums_count(const struct spend *spend)
{
    return spend->sum_count;
}

struct spend_sums spend_sums(struct spend *spend, size_t index)
{
    assert(index < spend->sum_count);
    permit_presume_due(spend);
    return spend->sums[index];
}

static struct spend_sums *sums_in(struct spend *spend, const char *currency)
{
    for (size_t i = 0; i < spend->sum_count; i++)
        if (strcmp(spend->sums[i].currency, currency) == 0) return &spend->sums[i];
    spend->sums = mem_realloc(spend->sums, (spend->sum_count + 1) * sizeof *spend->sums);
    struct spend_sums *sums = &spend->sums[spend->sum_count++];
    memset(sums, 0, sizeof *sums);
    memcpy(sums->currency, currency, sizeof sums->currency);
    memcpy(sums->held.currency, currency, sizeof sums->held.currency);
    sums->unknown = sums->spent = sums->derived = sums->presumed = sums->held;
    return sums;
}

void spend_count(struct spend *spend, enum spend_bucket bucket, const struct amount *amount,
                 const struct spend_part *part, int sign)
{
    struct spend_sums *sums = sums_in(spend, amount->currency);
    switch (bucket) {
    case BUCKET_NONE: return;
    case BUCKET_HELD: spend_sum_add(&sums->held, amount, sign); return;
    case BUCKET_UNKNOWN: spend_sum_add(&sums->unknown, amount, sign); return;
    case BUCKET_SPENT:
        spend_sum_add(&sums->spent, amount, sign);
        if (part->derived) spend_sum_add(&sums->derived, amount, sign);
        if (part->presumed) spend_sum_add(&sums->presumed, amount, sign);
        return;
    }
}

/* ---- answers: one tick later, in the order in which they were found ------------------------------------ */

static void log_denial(const struct permit *permit)
{
    const struct spend_denial *denial = permit->denial;
    char price[AMOUNT_TEXT_SIZE] = "";
    if (denial->has_price) amount_format(&denial->price, price);
    log_write(LOG_LEVEL_INFO, "spend.denied", LOG_INT("permit", (int64_t)permit->number),
              LOG_STR("operation", permit->operation), LOG_STR("code", denial->err.code),
              LOG_STR("price", denial->has_price ? price : NULL),
              LOG_STR("budget", denial->budget[0] ? denial->budget : NULL));
}

static void deliver_request(struct permit *permit)
{
    if (!permit->denial) {
        permit->state = PERMIT_RESERVED;
        permit->request_done(permit->ctx, permit, NULL);
        return;
    }
    struct spend_denial denial = *permit->denial; /* the callback may drop the permit */
    permit->state = PERMIT_DENIED;
    permit->request_done(permit->ctx, permit, &denial);
}

static void deliver_intent(struct permit *permit)
{
    if (!permit->failure) {
        permit->state = PERMIT_INTENT;
        permit->intent_done(permit->ctx, permit, NULL);
        return;
    }
    struct err failure = *permit->failure; /* the callback may drop the permit */
    permit->state = PERMIT_RELEASED;
    permit->intent_done(permit->ctx, permit, &failure);
}

static void deliver_answers_cb(struct timer *timer)
{
    struct spend *spend = LIST_ENTRY(timer, struct spend, answer_timer);
    struct list_node now, *node;
    list_init(&now);
    list_splice(&now, &spend->answers); /* what the callbacks cause comes in the next tick */
    while ((node = list_pop(&now))) {
        struct permit *permit = LIST_ENTRY(node, struct permit, answer);
        if (permit->state == PERMIT_REQUESTED)
            deliver_request(permit);
        else
            deliver_intent(permit);
    }
}

static void post_answer(struct permit *permit)
{
    struct spend *spend = permit->spend;
    list_append(&spend->answers, &permit->answer);
    if (!timer_active(&spend->answer_timer))
        timer_start(spend->timers, &spend->answer_timer, 0, deliver_answers_cb);
}

void spend_count_denial(struct spend *spend, const char *code)
{
    for (size_t i = 0; i < DENIAL_CODE_COUNT; i++)
        if (strcmp(code, denial_names[i]) == 0) spend->counters.denied[i]++;
}

void spend_store_reserved(struct permit *permit, const struct spend_denial *denial)
{
    struct spend *spend = permit->spend;
    permit->in_store = false;
    if (denial) {
        permit->denial = mem_dup(denial, sizeof *denial);
        spend_count_denial(spend, denial->err.code);
        log_denial(permit);
    } else {
        spend->counters.granted++;
        if (!permit->governed) spend->counters.ungoverned++;
        if (!permit->priced) spend->counters.unpriced++;
        permit_hold(permit);
    }
    if (permit->dropped)
        permit_abandon(permit);
    else
        post_answer(permit);
}

void spend_store_recorded(struct permit *permit, const struct err *err)
{
    permit->in_store = false;
    if (err) {
        permit->failure = mem_dup(err, sizeof *err);
        permit_give_back(permit);
    }
    if (permit->dropped)
        permit_abandon(permit);
    else
        post_answer(permit);
}

/* ---- the gate ------------------------------------------------------------------------------------------ */

static bool gate_limit(struct spend_denial *denial, const struct amount *limit, const char *what)
{
    int order;
    if (!limit) return true;
    denial->has_limit = true;
    denial->limit = denial->left = *limit;
    if (amount_compare(&denial->price, limit, &order, NULL) < 0)
        return spend_deny(denial, DENIAL_CURRENCY, "%s is in %s, and the price in %s", what, limit->currency,
                          denial->price.currency);
    if (order > 0) {
        char price[AMOUNT_TEXT_SIZE], most[AMOUNT_TEXT_SIZE];
        amount_format(&denial->price, price);
        amount_format(limit, most);
        return spend_deny(denial, DENIAL_MAX_COST, "the price %s is above %s, %s", price, what, most);
    }
    denial->has_limit = false;
    return true;
}

/* The gates that need no figures of a store.  Governed calls fail closed. */
static bool gate(const struct permit *permit, const struct spend_request *request,
                 struct spend_denial *denial)
{
    if (!permit->governed) {
        if (!permit->spend->budget_required) return true;
        return spend_deny(denial, DENIAL_BUDGET_REQUIRED,
                          "%s is a paid call without max_cost or budget, and a budget is required",
                          permit->operation);
    }
    if (request->no_worst_case)
        return spend_deny(denial, DENIAL_NO_WORST_CASE,
                          "nothing bounds what %s may cost, and a limit applies to it", permit->operation);
    if (!request->priced)
        return spend_deny(denial, DENIAL_NO_PRICE, "the price of %s is not known, and a limit applies to it",
                          permit->operation);
    return gate_limit(denial, request->max_cost_per_attempt, "max_cost_per_attempt") &&
           gate_limit(denial, request->max_cost, "max_cost");
}

/* What a request is denied for before its store is asked. */
static bool judge_request(const struct permit *permit, const struct spend_request *request,
                          struct spend_denial *denial)
{
    *denial = (struct spend_denial){.has_price = request->priced, .price = request->price};
    if (request->priced && amount_sign(&request->price) < 0) {
        err_set(&denial->err, ERR_INVALID, "the price of %s is negative", permit->operation);
        return false;
    }
    return gate(permit, request, denial);
}

/* A permit for the time of a look: no intent is drawn for it. */
static struct permit *permit_to_look(struct spend *spend, const struct spend_request *request)
{
    struct spend_request look = *request;
    look.intent = "";
    return permit_new(spend, &look);
}

bool spend_judge(struct spend *spend, const struct spend_request *request, struct spend_denial *denial)
{
    struct permit *permit = permit_to_look(spend, request);
    bool granted = judge_request(permit, request, denial);
    for (size_t i = 0; granted && request->priced && i < permit->booking_count; i++)
        granted = budget_check(permit->bookings[i].budget, &request->price, denial);
    if (!granted) {
        permit->denial = mem_dup(denial, sizeof *denial);
        spend->counters.requested++;
        spend_count_denial(spend, denial->err.code);
        log_denial(permit);
    }
    permit_free(permit);
    return granted;
}

size_t spend_budgets_of(struct spend *spend, const struct spend_request *request, struct budget **budgets)
{
    struct permit *permit = permit_to_look(spend, request);
    size_t count = permit->booking_count;
    for (size_t i = 0; i < count; i++) budgets[i] = permit->bookings[i].budget;
    permit_free(permit);
    return count;
}

static void warn_ungoverned(struct permit *permit)
{
    if (permit->governed || permit->spend->warned_ungoverned) return;
    permit->spend->warned_ungoverned = true;
    log_write(LOG_LEVEL_WARN, "spend.ungoverned", LOG_STR("operation", permit->operation),
              LOG_STR("hint", "a paid call without max_cost or budget; --require-budget refuses such calls"));
}

struct permit *spend_request(struct spend *spend, const struct spend_request *request,
                             spend_request_done_fn done, void *ctx)
{
    struct permit *permit = permit_new(spend, request);
    struct spend_denial denial;
    permit->request_done = done;
    permit->ctx = ctx;
    permit->in_store = true;
    spend->counters.requested++;
    if (!judge_request(permit, request, &denial)) {
        spend_store_reserved(permit, &denial);
    } else {
        if (!request->agreed) warn_ungoverned(permit);
        spend->store->type->reserve(spend->store, permit);
    }
    return permit;
}

int spend_intent(struct permit *permit, spend_intent_done_fn done, void *ctx, struct err *err)
{
    struct spend *spend = permit->spend;
    if (permit->state != PERMIT_RESERVED) return permit_refuse(permit, "record the intent of", err);
    permit->state = PERMIT_RECORDING;
    permit->intent_done = done;
    permit->ctx = ctx;
    permit->in_store = true;
    spend->store->type->intent(spend->store, permit);
    return 0;
}
