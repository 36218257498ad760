/* The spend kernel: no wrong order gets through, no money is lost between held, unknown and spent. */
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

static void setup_with(struct spend_store *store)
{
    loop = loop_new();
    clk = clock_new_virtual(START_MS);
    timers = timers_new(loop, clk);
    random_init(&rnd, 42);
    spend = spend_new(&(struct spend_options){.timers = timers, .random = &rnd, .store = store});
}

static void setup(void)
{
    setup_with(NULL);
}

static void teardown(void)
{
    spend_free(spend);
    timers_free(timers);
    loop_free(loop);
    clock_free(clk);
}

static struct amount money(const char *text)
{
    struct amount amount;
    struct err err;
    if (amount_parse(&amount, text, strlen(text), NULL, &err) < 0) {
        printf("%s\n", err.message);
        abort();
    }
    return amount;
}

static void check_money(int line, struct amount got, const char *want)
{
    char text[AMOUNT_TEXT_SIZE];
    amount_format(&got, text);
    if (strcmp(text, want) != 0) printf("line %d: ", line);
    CHECK_STR(text, want);
}
#define CHECK_MONEY(got, want) check_money(__LINE__, (got), (want))

static struct budget *make_budget(enum budget_window window, const char *limit, bool group)
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

static void request_done_cb(void *ctx, struct permit *permit, const struct spend_denial *denial)
{
    struct seen *seen = ctx;
    (void)permit;
    seen->requests++;
    seen->granted = denial == NULL;
    if (denial) seen->denial = *denial;
}

static void intent_done_cb(void *ctx, struct permit *permit, const struct err *err)
{
    struct seen *seen = ctx;
    (void)permit;
    seen->intents++;
    seen->recorded = err == NULL;
    if (err) seen->err = *err;
}

/* One tick: the answers that wait now come. */
static void tick(void)
{
    timers_advance(timers);
}

static struct permit *ask(const struct spend_request *r, struct seen *seen)
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

static struct permit *ask_priced(const char *price, struct budget *budget, struct seen *seen)
{
    struct budget *budgets[1] = {budget};
    return ask(
        &(struct spend_request){
            .priced = true, .price = money(price), .budgets = budgets, .budget_count = budget ? 1 : 0},
        seen);
}

/* A permit driven to the state given, at a price of 2 CCD. */
static struct permit *permit_in(enum permit_state state, struct budget *budget, struct seen *seen)
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

static void check_line(int line, struct budget *budget, const char *held, const char *unknown,
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

static void test_the_way_of_a_call(void)
{
    setup();
    struct seen seen;
    struct budget *b = make_budget(BUDGET_TOTAL, "10 CCD", false);
    struct permit *p = permit_in(PERMIT_RESERVED, b, &seen);
    CHECK(seen.granted && permit_governed(p));
    CHECK_STR(permit_intent_id(p), "");
    CHECK_LINE(b, "2 CCD", "0 CCD", "0 CCD", "8 CCD");
    spend_intent(p, intent_done_cb, &seen, NULL);
    CHECK_INT(permit_state(p), PERMIT_RECORDING);
    tick();
    CHECK_INT(permit_state(p), PERMIT_INTENT);
    CHECK_INT(strlen(permit_intent_id(p)), 32);
    CHECK_INT(spend_sent(p, NULL), 0);
    CHECK_INT(spend_answered(p, SPEND_CREATED, "infer-7", NULL), 0);
    CHECK_STR(permit_remote_id(p), "infer-7");
    CHECK_LINE(b, "2 CCD", "0 CCD", "0 CCD", "8 CCD");
    struct amount charge = money("1.5 CCD");
    CHECK_INT(spend_settle(p, &charge, false, NULL), 0);
    CHECK_LINE(b, "0 CCD", "0 CCD", "1.5 CCD", "8.5 CCD");
    permit_drop(p);
    CHECK_LINE(b, "0 CCD", "0 CCD", "1.5 CCD", "8.5 CCD");
    const struct spend_counters *c = spend_counters(spend);
    CHECK_INT(c->requested, 1);
    CHECK_INT(c->granted, 1);
    CHECK_INT(c->sent, 1);
    CHECK_INT(c->created, 1);
    CHECK_INT(c->settled, 1);
    CHECK_INT(c->derived, 0);
    CHECK_INT(c->ungoverned, 0);
    CHECK_INT(spend_sums_count(spend), 1);
    CHECK_MONEY(spend_sums(spend, 0).spent, "1.5 CCD");
    CHECK_MONEY(spend_sums(spend, 0).held, "0 CCD");
    budget_unref(b);
    teardown();
}

/* ---- wrong orders ------------------------------------------------------------------------------------- */

enum verb { VERB_INTENT, VERB_SENT, VERB_CREATED, VERB_NONE, VERB_UNKNOWN, VERB_SETTLE, VERB_RELEASE, VERBS };

static int try_verb(enum verb verb, struct permit *p, struct seen *seen, struct err *err)
{
    switch (verb) {
    case VERB_INTENT: return spend_intent(p, intent_done_cb, seen, err);
    case VERB_SENT: return spend_sent(p, err);
    case VERB_CREATED: return spend_answered(p, SPEND_CREATED, "1", err);
    case VERB_NONE: return spend_answered(p, SPEND_NONE, NULL, err);
    case VERB_UNKNOWN: return spend_answered(p, SPEND_UNKNOWN, NULL, err);
    case VERB_SETTLE: return spend_settle(p, NULL, false, err);
    case VERB_RELEASE: return spend_release(p, err);
    default: abort();
    }
}

/* Every state against every verb: what is not in this table must change nothing. */
static void test_wrong_orders_change_nothing(void)
{
    static const char *const allowed[] = {
        [PERMIT_REQUESTED] = "-------", [PERMIT_DENIED] = "-------",  [PERMIT_RESERVED] = "i-----r",
        [PERMIT_RECORDING] = "-------", [PERMIT_INTENT] = "-s----r",  [PERMIT_SENT] = "--cnu--",
        [PERMIT_UNKNOWN] = "--cn-S-",   [PERMIT_CREATED] = "-----S-", [PERMIT_SETTLED] = "-------",
        [PERMIT_RELEASED] = "-------",
    };
    for (int state = PERMIT_REQUESTED; state <= PERMIT_RELEASED; state++) {
        for (int verb = 0; verb < VERBS; verb++) {
            setup();
            struct seen seen;
            struct budget *b = make_budget(BUDGET_TOTAL, "10 CCD", false);
            struct permit *p = permit_in((enum permit_state)state, b, &seen);
            struct budget_line before = budget_line(b, 0);
            struct err err = {.kind = 0};
            int rc = try_verb((enum verb)verb, p, &seen, &err);
            if (allowed[state][verb] != '-') {
                CHECK_INT(rc, 0);
            } else {
                struct budget_line after = budget_line(b, 0);
                CHECK_INT(rc, -1);
                CHECK_INT(err.kind, ERR_INVALID);
                CHECK_STR(err.code, "order");
                CHECK_INT(permit_state(p), state);
                CHECK(memcmp(&before.held, &after.held, sizeof after.held) == 0);
                CHECK(memcmp(&before.unknown, &after.unknown, sizeof after.unknown) == 0);
                CHECK(memcmp(&before.spent, &after.spent, sizeof after.spent) == 0);
            }
            permit_drop(p);
            budget_unref(b);
            teardown();
        }
    }
}

static void test_drop_fails_safe_in_every_state(void)
{
    static const char *const held[] = {[PERMIT_SENT] = "u",
                                       [PERMIT_UNKNOWN] = "u",
                                       [PERMIT_CREATED] = "s",
                                       [PERMIT_SETTLED] = "s",
                                       [PERMIT_RELEASED] = NULL};
    for (int state = PERMIT_REQUESTED; state <= PERMIT_RELEASED; state++) {
        setup();
        struct seen seen;
        struct budget *b = make_budget(BUDGET_TOTAL, "10 CCD", false);
        struct permit *p = permit_in((enum permit_state)state, b, &seen);
        int requests = seen.requests, intents = seen.intents;
        permit_drop(p);
        while (timers_advance(timers)) continue;
        CHECK_INT(seen.requests, requests); /* a pending answer does not come */
        CHECK_INT(seen.intents, intents);
        char what = held[state] ? held[state][0] : '-';
        CHECK_LINE(b, "0 CCD", what == 'u' ? "2 CCD" : "0 CCD", what == 's' ? "2 CCD" : "0 CCD",
                   what == '-' ? "10 CCD" : "8 CCD");
        budget_unref(b);
        teardown();
    }
}

/* ---- the gate ----------------------------------------------------------------------------------------- */

static void check_denied(int line, const struct spend_request *request, const char *code)
{
    struct seen seen;
    struct permit *p = ask(request, &seen);
    tick();
    if (seen.granted || strcmp(seen.denial.err.code, code) != 0) printf("line %d: ", line);
    CHECK(!seen.granted);
    CHECK_INT(permit_state(p), PERMIT_DENIED);
    CHECK_STR(seen.denial.err.code, code);
    CHECK_INT(seen.denial.err.kind, ERR_DENIED);
    CHECK_INT(seen.denial.err.outcome, OUTCOME_NONE);
    CHECK(!seen.denial.err.retryable);
    permit_drop(p);
}
#define CHECK_DENIED(code, ...) check_denied(__LINE__, &(struct spend_request){__VA_ARGS__}, code)

static void test_governed_calls_fail_closed(void)
{
    setup();
    struct budget *b = make_budget(BUDGET_TOTAL, "1 CCD", false);
    struct budget *budgets[] = {b};
    struct amount one = money("1 CCD"), yuan = money("5 CNY");
    CHECK_DENIED("no_price", .budgets = budgets, .budget_count = 1);
    CHECK_DENIED("no_price", .max_cost = &one);
    CHECK_DENIED("no_worst_case", .no_worst_case = true, .priced = true, .price = one, .max_cost = &one);
    CHECK_DENIED("currency", .priced = true, .price = one, .max_cost = &yuan);
    CHECK_DENIED("currency", .priced = true, .price = yuan, .budgets = budgets, .budget_count = 1);
    CHECK_DENIED("max_cost", .priced = true, .price = money("1.01 CCD"), .max_cost = &one);
    CHECK_DENIED("max_cost", .priced = true, .price = money("1.01 CCD"), .max_cost_per_attempt = &one);
    CHECK_DENIED("over_budget", .priced = true, .price = money("1.000000000000000001 CCD"),
                 .budgets = budgets, .budget_count = 1);
    const struct spend_counters *c = spend_counters(spend);
    CHECK_INT(c->granted, 0);
    CHECK_INT(c->denied[DENIAL_NO_PRICE], 2);
    CHECK_INT(c->denied[DENIAL_MAX_COST], 2);
    CHECK_INT(c->denied[DENIAL_CURRENCY], 2);
    CHECK_INT(c->denied[DENIAL_OVER_BUDGET], 1);
    CHECK_LINE(b, "0 CCD", "0 CCD", "0 CCD", "1 CCD");
    budget_unref(b);
    teardown();
}

static void test_ungoverned_calls_pass_unless_a_budget_is_required(void)
{
    setup();
    struct seen seen;
    struct permit *p = ask(&(struct spend_request){.account = "a"}, &seen);
    tick();
    CHECK(seen.granted && !permit_governed(p));
    CHECK_INT(spend_counters(spend)->ungoverned, 1);
    CHECK_INT(spend_counters(spend)->unpriced, 1);
    permit_drop(p);
    p = ask_priced("3 CCD", NULL, &seen);
    tick();
    CHECK_INT(spend_counters(spend)->ungoverned, 2);
    CHECK_INT(spend_counters(spend)->unpriced, 1);
    CHECK_MONEY(spend_sums(spend, 0).held, "3 CCD"); /* the summary knows it all the same */
    permit_drop(p);
    spend_require_budget(spend, true);
    CHECK_DENIED("budget_required", .priced = true, .price = money("1 CCD"));
    struct amount one = money("1 CCD");
    p = ask(&(struct spend_request){.priced = true, .price = one, .max_cost = &one}, &seen);
    tick();
    CHECK(seen.granted);
    permit_drop(p);
    teardown();
}

static void test_an_unpriced_permit_settles_at_what_was_charged(void)
{
    setup();
    struct seen seen;
    struct permit *p = ask(&(struct spend_request){.key = "k"}, &seen);
    tick();
    spend_intent(p, intent_done_cb, &seen, NULL);
    tick();
    spend_sent(p, NULL);
    spend_answered(p, SPEND_CREATED, "1", NULL);
    struct err err;
    CHECK_INT(spend_settle(p, NULL, false, &err), -1);
    CHECK_INT(permit_state(p), PERMIT_CREATED);
    struct amount charge = money("7 CNY"), minus = money("-7 CNY");
    CHECK_INT(spend_settle(p, &minus, false, &err), -1);
    CHECK_INT(spend_settle(p, &charge, true, &err), 0);
    CHECK_MONEY(spend_sums(spend, 0).spent, "7 CNY");
    CHECK_MONEY(spend_sums(spend, 0).derived, "7 CNY");
    permit_drop(p);
    teardown();
}

static void test_a_default_budget_governs_every_call(void)
{
    setup();
    struct budget *b = make_budget(BUDGET_TOTAL, "1 CCD", false);
    spend_add_default_budget(spend, b, NULL);
    CHECK_DENIED("no_price", .key = "x");
    CHECK_DENIED("over_budget", .priced = true, .price = money("2 CCD"));
    budget_unref(b);
    teardown();
}

static void test_all_budgets_agree_or_none_is_touched(void)
{
    setup();
    struct budget *wide = make_budget(BUDGET_TOTAL, "10 CCD", false);
    struct budget *tight = make_budget(BUDGET_TOTAL, "1 CCD", false);
    struct budget *both[] = {wide, tight, wide};
    CHECK_DENIED("over_budget", .priced = true, .price = money("2 CCD"), .budgets = both, .budget_count = 3);
    CHECK_LINE(wide, "0 CCD", "0 CCD", "0 CCD", "10 CCD");
    CHECK_LINE(tight, "0 CCD", "0 CCD", "0 CCD", "1 CCD");
    struct seen seen;
    struct permit *p = ask(
        &(struct spend_request){.priced = true, .price = money("1 CCD"), .budgets = both, .budget_count = 3},
        &seen);
    tick();
    CHECK(seen.granted);
    CHECK_LINE(wide, "1 CCD", "0 CCD", "0 CCD", "9 CCD"); /* named twice, counted once */
    CHECK_LINE(tight, "1 CCD", "0 CCD", "0 CCD", "0 CCD");
    permit_drop(p);
    budget_unref(wide);
    budget_unref(tight);
    teardown();
}

static void test_a_denial_tells_price_limit_and_left(void)
{
    setup();
    struct seen seen;
    struct budget *b = make_budget(BUDGET_DAY, "5 CCD", false);
    struct permit *first = ask_priced("3 CCD", b, &seen);
    tick();
    struct permit *second = ask_priced("2.5 CCD", b, &seen);
    tick();
    CHECK(seen.denial.has_price && seen.denial.has_limit);
    CHECK_MONEY(seen.denial.price, "2.5 CCD");
    CHECK_MONEY(seen.denial.limit, "5 CCD");
    CHECK_MONEY(seen.denial.left, "2 CCD");
    CHECK_STR(seen.denial.budget, "b");
    CHECK_INT(seen.denial.window, BUDGET_DAY);
    CHECK_STR(seen.denial.err.message,
              "the price 2.5 CCD does not fit: the limit (day) of budget \"b\" is 5 CCD, and 2 CCD is left");
    permit_drop(first);
    permit_drop(second);
    budget_unref(b);
    teardown();
}

static void test_a_thousand_at_once_never_overshoot(void)
{
    enum { CALLS = 1000 };
    setup();
    static struct seen seen[CALLS];
    static struct permit *permits[CALLS];
    struct budget *b = make_budget(BUDGET_TOTAL, "10 CCD", false);
    for (int i = 0; i < CALLS; i++) permits[i] = ask_priced("0.07 CCD", b, &seen[i]);
    tick();
    int granted = 0;
    for (int i = 0; i < CALLS; i++) {
        CHECK_INT(seen[i].requests, 1);
        granted += seen[i].granted;
    }
    CHECK_INT(granted, 142);
    CHECK_LINE(b, "9.94 CCD", "0 CCD", "0 CCD", "0.06 CCD");
    for (int i = 0; i < CALLS; i++) permit_drop(permits[i]);
    CHECK_LINE(b, "0 CCD", "0 CCD", "0 CCD", "10 CCD");
    budget_unref(b);
    teardown();
}

static void test_max_cost_of_a_group_bounds_the_sum_of_attempts(void)
{
    setup();
    struct seen seen;
    struct budget *group = make_budget(BUDGET_TOTAL, "5 CCD", true);
    for (int attempt = 0; attempt < 2; attempt++) {
        struct permit *p = permit_in(PERMIT_SETTLED, group, &seen);
        CHECK(seen.granted);
        permit_drop(p);
    }
    struct permit *third = ask_priced("2 CCD", group, &seen);
    tick();
    CHECK(!seen.granted);
    CHECK_STR(seen.denial.err.code, "max_cost");
    CHECK_MONEY(seen.denial.left, "1 CCD");
    permit_drop(third);
    budget_unref(group);
    teardown();
}

/* ---- windows ------------------------------------------------------------------------------------------ */

static void advance_s(uint64_t s)
{
    clock_advance_to(clk, clock_now_ms(clk) + s * 1000);
}

static void spend_two(struct budget *b)
{
    struct seen seen;
    permit_drop(permit_in(PERMIT_SETTLED, b, &seen));
}

static void check_window(enum budget_window window, int offset_minutes, uint64_t s_to_next)
{
    setup();
    struct budget_limit limit = {.window = window, .amount = money("10 CCD")};
    struct budget *b = budget_new(
        spend, &(struct budget_spec){.limits = &limit, .limit_count = 1, .offset_minutes = offset_minutes},
        NULL);
    size_t w = 1; /* line 0 is the unbounded total */
    spend_two(b);
    CHECK_MONEY(budget_line(b, w).spent, "2 CCD");
    advance_s(s_to_next - 1);
    CHECK_MONEY(budget_line(b, w).spent, "2 CCD");
    advance_s(1);
    CHECK_MONEY(budget_line(b, w).spent, "0 CCD");
    CHECK_MONEY(budget_line(b, 0).spent, "2 CCD");
    CHECK(!budget_line(b, 0).bounded);
    budget_unref(b);
    teardown();
}

static void test_windows_follow_the_calendar(void)
{
    check_window(BUDGET_HOUR, 0, 2800);               /* 23:00:00 */
    check_window(BUDGET_HOUR, 30, 1000);              /* 22:43:20 + 30 min */
    check_window(BUDGET_DAY, 0, 6400);                /* midnight UTC */
    check_window(BUDGET_DAY, 480, 6400 + 16 * 3600);  /* midnight at +08:00 */
    check_window(BUDGET_WEEK, 0, 6400 + 5 * 86400);   /* Monday 20 November */
    check_window(BUDGET_MONTH, 0, 6400 + 16 * 86400); /* 1 December */
}

static void test_a_call_counts_in_the_window_of_its_reservation(void)
{
    setup();
    struct seen seen;
    struct budget *b = make_budget(BUDGET_HOUR, "10 CCD", false);
    struct permit *old = permit_in(PERMIT_CREATED, b, &seen);
    advance_s(3600);
    CHECK_MONEY(budget_line(b, 1).held, "0 CCD");
    spend_two(b);
    spend_settle(old, NULL, false, NULL);
    CHECK_MONEY(budget_line(b, 1).spent, "2 CCD");
    CHECK_MONEY(budget_line(b, 0).spent, "4 CCD");
    permit_drop(old);
    budget_unref(b);
    teardown();
}

static void test_what_an_earlier_run_paid_counts_where_it_belongs(void)
{
    setup();
    struct budget *b = make_budget(BUDGET_DAY, "10 CCD", false);
    struct amount two = money("2 CCD"), minus = money("-2 CCD");
    CHECK_INT(budget_count(b, &two, START_MS - 3600 * 1000, false, NULL), 0);
    CHECK_INT(budget_count(b, &two, START_MS - 86400 * 1000, false, NULL), 0);
    CHECK_INT(budget_count(b, &two, START_MS, true, NULL), 0);
    CHECK_INT(budget_count(b, &minus, START_MS, true, NULL), -1);
    CHECK_MONEY(budget_line(b, 0).spent, "4 CCD");
    CHECK_MONEY(budget_line(b, 1).spent, "2 CCD");
    CHECK_MONEY(budget_line(b, 1).unknown, "2 CCD");
    CHECK_MONEY(budget_line(b, 1).left, "6 CCD");
    budget_unref(b);
    teardown();
}

/* ---- unknown outcomes --------------------------------------------------------------------------------- */

static void test_an_unknown_outcome_stays_held_and_is_presumed_spent(void)
{
    setup();
    struct seen seen;
    struct budget *b = make_budget(BUDGET_TOTAL, "10 CCD", false);
    struct permit *p = permit_in(PERMIT_UNKNOWN, b, &seen);
    CHECK_LINE(b, "0 CCD", "2 CCD", "0 CCD", "8 CCD");
    CHECK_INT(spend_counters(spend)->unknown, 1);
    CHECK_MONEY(spend_sums(spend, 0).unknown, "2 CCD");
    advance_s(24u * 3600 - 1);
    CHECK_LINE(b, "0 CCD", "2 CCD", "0 CCD", "8 CCD");
    advance_s(1);
    CHECK_LINE(b, "0 CCD", "0 CCD", "2 CCD", "8 CCD");
    CHECK_MONEY(spend_sums(spend, 0).presumed, "2 CCD");
    CHECK_INT(permit_state(p), PERMIT_UNKNOWN);
    struct amount charge = money("1 CCD");
    CHECK_INT(spend_settle(p, &charge, false, NULL), 0);
    CHECK_LINE(b, "0 CCD", "0 CCD", "1 CCD", "9 CCD");
    CHECK_MONEY(spend_sums(spend, 0).presumed, "0 CCD");
    CHECK_INT(spend_counters(spend)->unknown, 0);
    permit_drop(p);
    budget_unref(b);
    teardown();
}

static void test_a_dropped_unknown_can_be_adopted(void)
{
    setup();
    struct seen seen;
    struct budget *b = make_budget(BUDGET_TOTAL, "10 CCD", false);
    struct permit *p = permit_in(PERMIT_SENT, b, &seen);
    char id[33];
    memcpy(id, permit_intent_id(p), sizeof id);
    CHECK(spend_adopt(spend, id) == NULL); /* somebody has it */
    permit_drop(p);
    CHECK_LINE(b, "0 CCD", "2 CCD", "0 CCD", "8 CCD");
    CHECK(spend_adopt(spend, "00000000000000000000000000000000") == NULL);
    p = spend_adopt(spend, id);
    CHECK(p != NULL);
    CHECK(spend_adopt(spend, id) == NULL);
    CHECK_INT(spend_answered(p, SPEND_NONE, NULL, NULL), 0); /* it never happened */
    CHECK_LINE(b, "0 CCD", "0 CCD", "0 CCD", "10 CCD");
    permit_drop(p);
    budget_unref(b);
    teardown();
}

static void test_a_charge_above_its_price_is_counted_in_full(void)
{
    setup();
    struct seen seen;
    struct budget *b = make_budget(BUDGET_TOTAL, "3 CCD", false);
    struct permit *p = permit_in(PERMIT_CREATED, b, &seen);
    struct amount charge = money("4 CCD"), yuan = money("1 CNY");
    CHECK_INT(spend_settle(p, &yuan, false, NULL), -1);
    CHECK_INT(spend_settle(p, &charge, false, NULL), 0);
    CHECK_LINE(b, "0 CCD", "0 CCD", "4 CCD", "0 CCD");
    permit_drop(p);
    p = ask_priced("0.000000000000000001 CCD", b, &seen);
    tick();
    CHECK(!seen.granted);
    permit_drop(p);
    budget_unref(b);
    teardown();
}

/* ---- a store that answers later, as a journal does ----------------------------------------------------- */

struct slow_store {
    struct spend_store base;
    struct spend_store *memory;
    struct permit *waiting;
    bool is_intent, fails;
};

static void slow_reserve(struct spend_store *store, struct permit *permit)
{
    struct slow_store *slow = (struct slow_store *)store;
    slow->waiting = permit;
    slow->is_intent = false;
}

static void slow_intent(struct spend_store *store, struct permit *permit)
{
    struct slow_store *slow = (struct slow_store *)store;
    slow->waiting = permit;
    slow->is_intent = true;
}

static void slow_move(struct spend_store *store, struct permit *permit, enum spend_bucket from,
                      const struct amount *was, enum spend_bucket to, const struct amount *now)
{
    struct slow_store *slow = (struct slow_store *)store;
    slow->memory->type->move(slow->memory, permit, from, was, to, now);
}

static void slow_free(struct spend_store *store)
{
    struct slow_store *slow = (struct slow_store *)store;
    slow->memory->type->free(slow->memory);
}

static const struct spend_store_type slow_type = {slow_reserve, slow_intent, slow_move, slow_free};

static void slow_answer(struct slow_store *slow)
{
    struct permit *permit = slow->waiting;
    struct err err;
    err_set(&err, ERR_UNAVAILABLE, "the disk is full");
    slow->waiting = NULL;
    if (slow->is_intent)
        spend_store_recorded(permit, slow->fails ? &err : NULL);
    else
        slow->memory->type->reserve(slow->memory, permit);
}

static void test_a_store_may_answer_later(void)
{
    struct slow_store slow = {.base.type = &slow_type, .memory = spend_memory_store_new()};
    struct seen seen;
    setup_with(&slow.base);
    struct budget *b = make_budget(BUDGET_TOTAL, "10 CCD", false);
    struct permit *p = ask_priced("2 CCD", b, &seen);
    CHECK(!timers_advance(timers));
    slow_answer(&slow);
    tick();
    CHECK(seen.granted);
    spend_intent(p, intent_done_cb, &seen, NULL);
    CHECK(!timers_advance(timers));
    CHECK_INT(spend_sent(p, NULL), -1); /* not durable yet */
    slow.fails = true;
    slow_answer(&slow);
    tick();
    CHECK(!seen.recorded);
    CHECK_INT(permit_state(p), PERMIT_RELEASED);
    CHECK_LINE(b, "0 CCD", "0 CCD", "0 CCD", "10 CCD");
    CHECK_INT(spend_sent(p, NULL), -1);
    permit_drop(p);

    p = ask_priced("2 CCD", b, &seen); /* the caller leaves while the store is at it */
    permit_drop(p);
    slow_answer(&slow);
    CHECK_LINE(b, "0 CCD", "0 CCD", "0 CCD", "10 CCD");
    CHECK_INT(seen.requests, 0);
    for (int fails = 0; fails < 2; fails++) {
        p = ask_priced("2 CCD", b, &seen);
        slow_answer(&slow);
        tick();
        spend_intent(p, intent_done_cb, &seen, NULL);
        permit_drop(p);
        slow.fails = fails;
        slow_answer(&slow);
        CHECK_LINE(b, "0 CCD", "0 CCD", "0 CCD", "10 CCD");
        CHECK_INT(seen.intents, 0);
    }
    budget_unref(b);
    teardown();
}

/* A caller that goes on, or leaves, from within its answer. */
static void drop_cb(void *ctx, struct permit *permit, const struct spend_denial *denial)
{
    (void)denial;
    *(int *)ctx += 1;
    permit_drop(permit);
}

static void test_answers_may_drop_permits(void)
{
    setup();
    int count = 0;
    struct amount one = money("1 CCD"), two = money("2 CCD");
    for (int i = 0; i < 3; i++)
        spend_request(spend,
                      &(struct spend_request){.operation = "o",
                                              .service = "s",
                                              .priced = true,
                                              .price = i == 1 ? two : one,
                                              .max_cost = &one},
                      drop_cb, &count);
    tick();
    CHECK_INT(count, 3);
    CHECK_MONEY(spend_sums(spend, 0).held, "0 CCD");
    teardown();
}

static void test_intent_ids_repeat_on_a_virtual_clock_only(void)
{
    char first[33], again[33];
    struct seen seen;
    for (int run = 0; run < 2; run++) {
        setup();
        struct permit *p = permit_in(PERMIT_INTENT, NULL, &seen);
        memcpy(run ? again : first, permit_intent_id(p), sizeof first);
        permit_drop(p);
        teardown();
    }
    CHECK_STR(again, first);
    for (int run = 0; run < 2; run++) {
        loop = loop_new();
        clk = clock_new();
        timers = timers_new(loop, clk);
        random_init(&rnd, 42);
        spend = spend_new(&(struct spend_options){.timers = timers, .random = &rnd});
        struct permit *p = ask_priced("2 CCD", NULL, &seen);
        while (!seen.requests) loop_turn(loop);
        spend_intent(p, intent_done_cb, &seen, NULL);
        while (!seen.intents) loop_turn(loop);
        memcpy(run ? again : first, permit_intent_id(p), sizeof first);
        permit_drop(p);
        teardown();
    }
    CHECK(strcmp(first, again) != 0);
}

static void test_budgets_that_make_no_sense(void)
{
    setup();
    struct err err;
    struct budget_limit limits[] = {{BUDGET_DAY, money("1 CCD")}, {BUDGET_DAY, money("2 CCD")}};
    CHECK(budget_new(spend, &(struct budget_spec){.limits = limits}, &err) == NULL);
    CHECK(budget_new(spend, &(struct budget_spec){.limits = limits, .limit_count = 2}, &err) == NULL);
    CHECK_STR(err.message, "a budget has two limits for one day in CCD");
    limits[1].amount = money("2 CNY");
    struct budget *b = budget_new(spend, &(struct budget_spec){.limits = limits, .limit_count = 2}, &err);
    CHECK_INT(budget_line_count(b), 4); /* a total for each currency */
    budget_unref(b);
    limits[0].amount = money("-1 CCD");
    CHECK(budget_new(spend, &(struct budget_spec){.limits = limits, .limit_count = 1}, &err) == NULL);
    CHECK(budget_new(spend,
                     &(struct budget_spec){.limits = limits + 1, .limit_count = 1, .warn_percent = 101},
                     &err) == NULL);
    teardown();
}

/* ---- any order of events keeps the books ----------------------------------------------------------------
 */

static void random_step(struct random *r, struct permit *p, struct seen *seen)
{
    struct amount charge = money(random_below(r, 2) ? "0.5 CCD" : "2 CCD");
    switch (random_below(r, 9)) {
    case 0:
    case 1: spend_intent(p, intent_done_cb, seen, NULL); break;
    case 2:
    case 3: spend_sent(p, NULL); break;
    case 4: spend_answered(p, SPEND_CREATED, "1", NULL); break;
    case 5: spend_answered(p, random_below(r, 2) ? SPEND_NONE : SPEND_UNKNOWN, NULL, NULL); break;
    case 6:
    case 7: spend_settle(p, &charge, false, NULL); break;
    default: spend_release(p, NULL); break;
    }
}

static void test_books_balance_after_any_history(void)
{
    enum { PERMITS = 40, STEPS = 20000 };
    setup();
    struct random r;
    random_init(&r, 7);
    struct budget *b = make_budget(BUDGET_TOTAL, "60 CCD", false);
    static struct permit *permits[PERMITS];
    static struct seen seen[PERMITS];
    for (int step = 0; step < STEPS; step++) {
        size_t i = random_below(&r, PERMITS);
        if (!permits[i]) {
            permits[i] = ask_priced("2 CCD", b, &seen[i]);
        } else if (random_below(&r, 12) == 0) {
            permit_drop(permits[i]);
            permits[i] = NULL;
        } else {
            random_step(&r, permits[i], &seen[i]);
        }
        if (random_below(&r, 3) == 0) timers_advance(timers);
        struct budget_line l = budget_line(b, 0);
        struct amount sum = l.held;
        amount_add(&sum, &sum, &l.unknown, NULL);
        amount_add(&sum, &sum, &l.spent, NULL);
        amount_add(&sum, &sum, &l.left, NULL);
        if (memcmp(&sum, &l.limit, sizeof sum) != 0 || amount_sign(&l.held) < 0 ||
            amount_sign(&l.unknown) < 0) {
            CHECK(!"the books do not balance");
            break;
        }
        struct spend_sums s = spend_sums(spend, 0);
        CHECK(memcmp(&s.held, &l.held, sizeof s.held) == 0);
        CHECK(memcmp(&s.spent, &l.spent, sizeof s.spent) == 0);
    }
    for (size_t i = 0; i < PERMITS; i++) permit_drop(permits[i]);
    CHECK_MONEY(budget_line(b, 0).held, "0 CCD");
    budget_unref(b);
    teardown();
}

int main(void)
{
    test_the_way_of_a_call();
    test_wrong_orders_change_nothing();
    test_drop_fails_safe_in_every_state();
    test_governed_calls_fail_closed();
    test_ungoverned_calls_pass_unless_a_budget_is_required();
    test_an_unpriced_permit_settles_at_what_was_charged();
    test_a_default_budget_governs_every_call();
    test_all_budgets_agree_or_none_is_touched();
    test_a_denial_tells_price_limit_and_left();
    test_a_thousand_at_once_never_overshoot();
    test_max_cost_of_a_group_bounds_the_sum_of_attempts();
    test_windows_follow_the_calendar();
    test_a_call_counts_in_the_window_of_its_reservation();
    test_what_an_earlier_run_paid_counts_where_it_belongs();
    test_an_unknown_outcome_stays_held_and_is_presumed_spent();
    test_a_dropped_unknown_can_be_adopted();
    test_a_charge_above_its_price_is_counted_in_full();
    test_a_store_may_answer_later();
    test_answers_may_drop_permits();
    test_intent_ids_repeat_on_a_virtual_clock_only();
    test_budgets_that_make_no_sense();
    test_books_balance_after_any_history();
    HARNESS_END();
}
