/* spend_permit.c - a permit's states, and what each transition does to the money held for it. */
#include "host/spend_internal.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "host/log.h"
#include "host/mem.h"

static const char *const state_names[] = {
    [PERMIT_REQUESTED] = "requested", [PERMIT_DENIED] = "denied",   [PERMIT_RESERVED] = "reserved",
    [PERMIT_RECORDING] = "recording", [PERMIT_INTENT] = "intent",   [PERMIT_SENT] = "sent",
    [PERMIT_UNKNOWN] = "unknown",     [PERMIT_CREATED] = "created", [PERMIT_SETTLED] = "settled",
    [PERMIT_RELEASED] = "released",
};

const char *permit_state_name(enum permit_state state)
{
    return state_names[state];
}

/* ---- life ---------------------------------------------------------------------------------------------- */

static void add_booking(struct permit *permit, struct budget *budget)
{
    for (size_t i = 0; i < permit->booking_count; i++)
        if (permit->bookings[i].budget == budget) return;
    permit->bookings[permit->booking_count++].budget = budget_ref(budget);
}

static struct permit *make_permit(struct spend *spend, const struct spend_request *request)
{
    struct permit *permit = mem_alloc(sizeof *permit);
    permit->spend = spend;
    permit->number = ++spend->last_number;
    permit->operation = mem_strdup(request->operation);
    permit->service = mem_strdup(request->service);
    permit->account = mem_strdup(request->account ? request->account : "");
    permit->key = mem_strdup(request->key ? request->key : "");
    permit->job = mem_strdup(request->job ? request->job : "");
    permit->policy = mem_strdup(request->policy ? request->policy : "");
    permit->tags = mem_strdup(request->tags ? request->tags : "");
    permit->model = mem_strdup(request->model ? request->model : "");
    permit->attempt = request->attempt;
    permit->priced = request->priced;
    permit->price = request->price;
    list_append(&spend->permits, &permit->node);
    return permit;
}

struct permit *permit_new(struct spend *spend, const struct spend_request *request)
{
    struct permit *permit = make_permit(spend, request);
    if (request->intent)
        snprintf(permit->intent_id, sizeof permit->intent_id, "%s", request->intent);
    else
        random_hex(spend->random, permit->intent_id, sizeof permit->intent_id / 2);
    permit->bookings =
        mem_alloc_array(spend->default_count + request->budget_count, sizeof *permit->bookings);
    for (size_t i = 0; i < request->budget_count; i++) add_booking(permit, request->budgets[i]);
    for (size_t i = 0; i < spend->default_count; i++) add_booking(permit, spend->defaults[i]);
    permit->governed = permit->booking_count > 0 || request->max_cost || request->max_cost_per_attempt;
    return permit;
}

struct permit *permit_restore(struct spend *spend, const struct spend_request *request, const char *intent_id,
                              enum permit_state state, enum spend_bucket bucket, const struct amount *booked,
                              struct spend_part part, const char *remote_id)
{
    struct permit *permit = make_permit(spend, request);
    snprintf(permit->intent_id, sizeof permit->intent_id, "%s", intent_id);
    permit->state = state;
    permit->recorded = permit->governed = true;
    permit->bucket = booked ? bucket : BUCKET_NONE;
    permit->part = part;
    if (booked) {
        permit->booked = *booked;
        spend_count(spend, bucket, booked, &permit->part, 1);
    }
    if (remote_id) permit->remote_id = mem_strdup(remote_id);
    if (state != PERMIT_UNKNOWN) return permit;
    spend->counters.unknown++;
    permit->presume_at_ms = clock_now_ms(timers_clock(spend->timers)) + spend->unknown_after_ms;
    if (!part.presumed) list_append(&spend->doubts, &permit->doubt);
    return permit;
}

void permit_free(struct permit *permit)
{
    list_remove(&permit->doubt);
    list_remove(&permit->node);
    list_remove(&permit->answer);
    for (size_t i = 0; i < permit->booking_count; i++) budget_unref(permit->bookings[i].budget);
    mem_free(permit->bookings);
    mem_free(permit->operation);
    mem_free(permit->service);
    mem_free(permit->account);
    mem_free(permit->key);
    mem_free(permit->job);
    mem_free(permit->policy);
    mem_free(permit->tags);
    mem_free(permit->model);
    mem_free(permit->remote_id);
    mem_free(permit->denial);
    mem_free(permit->failure);
    mem_free(permit);
}

/* ---- money --------------------------------------------------------------------------------------------- */

/* now: NULL for what has no price. */
static void move(struct permit *permit, enum spend_bucket to, const struct amount *now,
                 struct spend_part part)
{
    struct spend *spend = permit->spend;
    enum spend_bucket from = permit->bucket;
    struct amount was = permit->booked;
    if (!now) to = BUCKET_NONE;
    if (from != BUCKET_NONE) spend_count(spend, from, &was, &permit->part, -1);
    if (to != BUCKET_NONE) spend_count(spend, to, now, &part, 1);
    permit->bucket = to;
    permit->booked = to == BUCKET_NONE ? was : *now;
    permit->part = part;
    spend->store->type->move(spend->store, permit, from, &was, to, &permit->booked);
}

void permit_hold(struct permit *permit)
{
    if (!permit->priced) return;
    permit->bucket = BUCKET_HELD; /* the store has booked it: only the kernel's own sums are left */
    permit->booked = permit->price;
    spend_count(permit->spend, BUCKET_HELD, &permit->price, &permit->part, 1);
}

void permit_give_back(struct permit *permit)
{
    move(permit, BUCKET_NONE, NULL, (struct spend_part){.derived = false});
    permit->spend->counters.released++;
}

/* Counts as spent, without an end to the doubt: what is found out later still corrects it. */
static void presume(struct permit *permit)
{
    list_remove(&permit->doubt);
    if (permit->priced) move(permit, BUCKET_SPENT, &permit->price, (struct spend_part){.presumed = true});
    log_write(LOG_LEVEL_WARN, "spend.presumed_spent", LOG_INT("permit", (int64_t)permit->number),
              LOG_STR("operation", permit->operation));
}

void permit_presume_due(struct spend *spend)
{
    struct list_node *first;
    uint64_t now_ms = clock_now_ms(timers_clock(spend->timers));
    while ((first = list_first(&spend->doubts))) {
        struct permit *permit = LIST_ENTRY(first, struct permit, doubt);
        if (permit->presume_at_ms > now_ms) return;
        presume(permit);
    }
}

/* ---- transitions --------------------------------------------------------------------------------------- */

int permit_refuse(const struct permit *permit, const char *verb, struct err *err)
{
    err_set(err, ERR_INVALID, "cannot %s a permit for %s that is %s", verb, permit->operation,
            permit_state_name(permit->state));
    if (err) snprintf(err->code, sizeof err->code, "order");
    return -1;
}

static void enter(struct permit *permit, enum permit_state state)
{
    struct spend *spend = permit->spend;
    if (permit->state == PERMIT_UNKNOWN) {
        list_remove(&permit->doubt);
        spend->counters.unknown--;
    }
    permit->state = state;
    log_write(LOG_LEVEL_DEBUG, "spend.permit", LOG_INT("permit", (int64_t)permit->number),
              LOG_STR("operation", permit->operation), LOG_STR("state", permit_state_name(state)));
}

int spend_sent(struct permit *permit, struct err *err)
{
    if (permit->state != PERMIT_INTENT) return permit_refuse(permit, "send", err);
    enter(permit, PERMIT_SENT);
    permit->spend->counters.sent++;
    move(permit, permit->bucket, permit->priced ? &permit->price : NULL, permit->part);
    return 0;
}

static void become_unknown(struct permit *permit)
{
    struct spend *spend = permit->spend;
    enter(permit, PERMIT_UNKNOWN);
    spend->counters.unknown++;
    move(permit, BUCKET_UNKNOWN, permit->priced ? &permit->price : NULL, permit->part);
    permit->presume_at_ms = clock_now_ms(timers_clock(spend->timers)) + spend->unknown_after_ms;
    list_append(&spend->doubts, &permit->doubt);
}

int spend_answered(struct permit *permit, enum spend_outcome outcome, const char *remote_id, struct err *err)
{
    if (permit->state != PERMIT_SENT && (permit->state != PERMIT_UNKNOWN || outcome == SPEND_UNKNOWN))
        return permit_refuse(permit, "answer", err);
    switch (outcome) {
    case SPEND_UNKNOWN: become_unknown(permit); break;
    case SPEND_NONE:
        enter(permit, PERMIT_RELEASED);
        permit->spend->counters.refused++;
        permit_give_back(permit);
        break;
    case SPEND_CREATED:
        mem_free(permit->remote_id);
        permit->remote_id = mem_strdup(remote_id);
        enter(permit, PERMIT_CREATED);
        permit->spend->counters.created++;
        move(permit, BUCKET_HELD, permit->priced ? &permit->price : NULL,
             (struct spend_part){.derived = false});
        break;
    }
    return 0;
}

static void settle(struct permit *permit, const struct amount *amount, bool derived)
{
    enter(permit, PERMIT_SETTLED);
    permit->spend->counters.settled++;
    if (derived) permit->spend->counters.derived++;
    move(permit, BUCKET_SPENT, amount, (struct spend_part){.derived = derived});
}

int spend_settle(struct permit *permit, const struct amount *actual, bool derived, struct err *err)
{
    if (permit->state != PERMIT_CREATED && permit->state != PERMIT_UNKNOWN)
        return permit_refuse(permit, "settle", err);
    const struct amount *amount = actual ? actual : permit_price(permit);
    if (!amount)
        return err_set(err, ERR_INVALID, "%s has no price: say what it cost to settle it", permit->operation);
    if (amount_sign(amount) < 0)
        return err_set(err, ERR_INVALID, "the charge for %s is negative", permit->operation);
    if (permit->priced && !amount_same_currency(amount, &permit->price))
        return err_set(err, ERR_INVALID, "%s was priced in %s and is charged in %s", permit->operation,
                       permit->price.currency, amount->currency);
    struct amount copy = *amount;
    settle(permit, &copy, derived || !actual);
    return 0;
}

int spend_release(struct permit *permit, struct err *err)
{
    if (permit->state != PERMIT_RESERVED && permit->state != PERMIT_INTENT)
        return permit_refuse(permit, "release", err);
    enter(permit, PERMIT_RELEASED);
    permit_give_back(permit);
    return 0;
}

void permit_abandon(struct permit *permit)
{
    if (permit->state == PERMIT_REQUESTED ? !permit->denial : !permit->failure) permit_give_back(permit);
    permit_free(permit);
}

void permit_drop(struct permit *permit)
{
    if (!permit) return;
    assert(!permit->dropped);
    permit->dropped = true;
    if (permit->in_store) return; /* its answer ends it */
    switch (permit->state) {
    case PERMIT_REQUESTED:
    case PERMIT_RECORDING: permit_abandon(permit); return;
    case PERMIT_RESERVED:
    case PERMIT_INTENT: spend_release(permit, NULL); break;
    case PERMIT_SENT: become_unknown(permit); return;
    case PERMIT_UNKNOWN: return; /* stays held; spend_adopt finds it */
    case PERMIT_CREATED:
        if (permit->job[0] && permit->recorded) return; /* the job goes on, whoever looks after it next */
        settle(permit, permit_price(permit), true);
        break;
    case PERMIT_DENIED:
    case PERMIT_SETTLED:
    case PERMIT_RELEASED: break;
    }
    permit_free(permit);
}

struct permit *spend_adopt(struct spend *spend, const char *intent_id)
{
    for (struct list_node *n = spend->permits.next; n != &spend->permits; n = n->next) {
        struct permit *permit = LIST_ENTRY(n, struct permit, node);
        if (!permit->dropped || permit->in_store) continue;
        if (permit->state != PERMIT_UNKNOWN && permit->state != PERMIT_CREATED) continue;
        if (strcmp(permit->intent_id, intent_id) != 0) continue;
        permit->dropped = false;
        return permit;
    }
    return NULL;
}

/* ---- what others may see ------------------------------------------------------------------------------- */

enum permit_state permit_state(const struct permit *permit)
{
    return permit->state;
}

const char *permit_intent_id(const struct permit *permit)
{
    return permit->intent_id;
}

const struct amount *permit_price(const struct permit *permit)
{
    return permit->priced ? &permit->price : NULL;
}

const char *permit_operation(const struct permit *permit)
{
    return permit->operation;
}

const char *permit_service(const struct permit *permit)
{
    return permit->service;
}

const char *permit_remote_id(const struct permit *permit)
{
    return permit->remote_id ? permit->remote_id : "";
}

bool permit_governed(const struct permit *permit)
{
    return permit->governed;
}
