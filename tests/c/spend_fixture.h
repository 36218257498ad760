/* spend_fixture.h - a kernel on a virtual clock, and permits driven to the state a test wants. */
#ifndef PERIGEE_TESTS_SPEND_FIXTURE_H
#define PERIGEE_TESTS_SPEND_FIXTURE_H

#include "harness.h"

#include <stdlib.h>

#include "host/clock.h"
#include "host/loop.h"
#include "host/mem.h"
#include "host/spend.h"
#include "host/spend_store.h"
#include "host/timers.h"

static const int64_t START_MS = 1700000000000; /* Tuesday 2023-11-14 22:13:20 UTC */

static struct loop *loop;
static struct clock *clk;
static struct timers *timers;
static struct random rnd;
static struct spend *spend;

static inline void setup_with(struct spend_store *store)
{
    loop = loop_new();
    clk = clock_new_virtual(START_MS);
    timers = timers_new(loop, clk);
    random_init(&rnd, 42);
    spend = spend_new(&(struct spend_options){.timers = timers, .random = &rnd, .store = store});
}

static inline void setup(void)
{
    setup_with(NULL);
}

static inline void teardown(void)
{
    spend_free(spend);
    timers_free(timers);
    loop_free(loop);
    clock_free(clk);
}

static inline struct amount money(const char *text)
{
    struct amount amount;
    struct err err;
    if (amount_parse(&amount, text, strlen(text), NULL, &err) < 0) {
        printf("%s\n", err.message);
        abort();
    }
    return amount;
}

static inline void check_money(int line, struct amount got, const char *want)
{
    char text[AMOUNT_TEXT_SIZE];
    amount_format(&got, text);
    if (strcmp(text, want) != 0) printf("line %d: ", line);
    CHECK_STR(text, want);
}
#define CHECK_MONEY(got, want) check_money(__LINE__, (got), (want))

static inline struct budget *make_budget(enum budget_window window, const char *limit, bool group)
{
    struct budget_limit l = {.window = window, .amount = money(limit)};
    struct err err;
    struct budget *budget = budget_new(
        spend, &(struct budget_spec){.name = "b", .limits = &l, .limit_count = 1, .group = group}, &err);
    CHECK(budget != NULL);
    return budget;
}

/* What a caller sees of its answers. */
struct seen {
    int requests, intents;
    bool granted, recorded;
    struct spend_denial denial;
    struct err err;
};

static inline void request_done_cb(void *ctx, struct permit *permit, const struct spend_denial *denial)
{
    struct seen *seen = ctx;
    (void)permit;
    seen->requests++;
    seen->granted = denial == NULL;
    if (denial) seen->denial = *denial;
}

static inline void intent_done_cb(void *ctx, struct permit *permit, const struct err *err)
{
    struct seen *seen = ctx;
    (void)permit;
    seen->intents++;
    seen->recorded = err == NULL;
    if (err) seen->err = *err;
}

/* One tick: the answers that wait now come. */
static inline void tick(void)
{
    timers_advance(timers);
}

static inline struct permit *ask(const struct spend_request *r, struct seen *seen)
{
    struct spend_request request = *r;
    memset(seen, 0, sizeof *seen);
    if (!request.operation) request.operation = "start_inference";
    request.service = "deai";
    struct permit *permit = spend_request(spend, &request, request_done_cb, seen);
    CHECK_INT(seen->requests, 0); /* never from within the call */
    CHECK_INT(permit_state(permit), PERMIT_REQUESTED);
    return permit;
}

static inline struct permit *ask_priced(const char *price, struct budget *budget, struct seen *seen)
{
    struct budget *budgets[1] = {budget};
    return ask(
        &(struct spend_request){
            .priced = true, .price = money(price), .budgets = budgets, .budget_count = budget ? 1 : 0},
        seen);
}

/* A permit driven to the state given, at a price of 2 CCD. */
static inline struct permit *permit_in(enum permit_state state, struct budget *budget, struct seen *seen)
{
    struct permit *p = ask_priced(state == PERMIT_DENIED ? "2000 CCD" : "2 CCD", budget, seen);
    if (state == PERMIT_REQUESTED) return p;
    tick();
    if (state == PERMIT_DENIED || state == PERMIT_RESERVED) return p;
    CHECK_INT(spend_intent(p, intent_done_cb, seen, NULL), 0);
    CHECK_INT(seen->intents, 0);
    if (state == PERMIT_RECORDING) return p;
    tick();
    CHECK(seen->recorded);
    if (state == PERMIT_INTENT) return p;
    CHECK_INT(spend_sent(p, NULL), 0);
    if (state == PERMIT_SENT) return p;
    enum spend_outcome outcome = state == PERMIT_UNKNOWN    ? SPEND_UNKNOWN
                                 : state == PERMIT_RELEASED ? SPEND_NONE
                                                            : SPEND_CREATED;
    CHECK_INT(spend_answered(p, outcome, "42", NULL), 0);
    if (state == PERMIT_SETTLED) CHECK_INT(spend_settle(p, NULL, false, NULL), 0);
    return p;
}

static inline void check_line(int line, struct budget *budget, const char *held, const char *unknown,
                              const char *spent, const char *left)
{
    struct budget_line l = budget_line(budget, 0);
    check_money(line, l.held, held);
    check_money(line, l.unknown, unknown);
    check_money(line, l.spent, spent);
    check_money(line, l.left, left);
}
#define CHECK_LINE(b, held, unknown, spent, left)                                                            \
    check_line(__LINE__, (b), (held), (unknown), (spent), (left))
static inline void advance_s(uint64_t s)
{
    clock_advance_to(clk, clock_now_ms(clk) + s * 1000);
}

#endif
