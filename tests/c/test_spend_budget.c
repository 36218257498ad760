/* The gate and the budgets: what is denied and why, windows, many calls at once. */
#include "spend_fixture.h"

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
    CHECK_STR(
        seen.denial.err.message,
        "the price 2.5 CCD does not fit: the limit (day, UTC) of budget \"b\" is 5 CCD, and 2 CCD is left");
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

static void spend_two(struct budget *b)
{
    struct seen seen;
    permit_drop(permit_in(PERMIT_SETTLED, b, &seen));
}

static void check_window(enum budget_window window, int offset_minutes, uint64_t s_to_next)
{
    setup();
    struct budget_limit limit = {.window = window, .amount = money("10 CCD")};
    struct budget_offset zone = {.offset_s = offset_minutes * 60};
    struct budget *b = budget_new(
        spend, &(struct budget_spec){.limits = &limit, .limit_count = 1, .offsets = &zone, .offset_count = 1},
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

/* Berlin sets its clocks back on 29 October 2023 at 01:00 UTC: that day has 25 hours, and the hour from 2 to
 * 3 comes twice. */
static void check_change(enum budget_window window, int64_t start_s, uint64_t s_to_next)
{
    static const struct budget_offset berlin[] = {{0, 7200}, {1698541200, 3600}};
    setup();
    clock_free(clk);
    timers_free(timers);
    spend_free(spend);
    clk = clock_new_virtual(start_s * 1000);
    timers = timers_new(loop, clk);
    spend = spend_new(&(struct spend_options){.timers = timers, .random = &rnd});
    struct budget_limit limit = {.window = window, .amount = money("10 CCD")};
    struct budget *b = budget_new(spend,
                                  &(struct budget_spec){.limits = &limit,
                                                        .limit_count = 1,
                                                        .zone = "Europe/Berlin",
                                                        .offsets = berlin,
                                                        .offset_count = 2},
                                  NULL);
    spend_two(b);
    advance_s(s_to_next - 1);
    CHECK_MONEY(budget_line(b, 1).spent, "2 CCD");
    advance_s(1);
    CHECK_MONEY(budget_line(b, 1).spent, "0 CCD");
    CHECK_STR(budget_zone(b), "Europe/Berlin");
    budget_unref(b);
    teardown();
}

static void test_windows_follow_a_zone_over_a_change_of_clocks(void)
{
    check_change(BUDGET_DAY, 1698530400, 25 * 3600);             /* from Sunday 00:00 to Monday 00:00 */
    check_change(BUDGET_DAY, 1698530400 + 25 * 3600, 24 * 3600); /* the next has 24 */
    check_change(BUDGET_HOUR, 1698537600, 3600);                 /* 02:00 summer time */
    check_change(BUDGET_HOUR, 1698541200, 3600);                 /* 02:00 again */
    check_change(BUDGET_WEEK, 1698530400 + 3600, 24 * 3600);     /* Sunday is its last day */
    check_change(BUDGET_MONTH, 1698530400, 3600 + (uint64_t)3 * 86400); /* 1 November */
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
/* ---- options ------------------------------------------------------------------------------------------ */

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

int main(void)
{
    test_governed_calls_fail_closed();
    test_ungoverned_calls_pass_unless_a_budget_is_required();
    test_an_unpriced_permit_settles_at_what_was_charged();
    test_a_default_budget_governs_every_call();
    test_all_budgets_agree_or_none_is_touched();
    test_a_denial_tells_price_limit_and_left();
    test_a_thousand_at_once_never_overshoot();
    test_max_cost_of_a_group_bounds_the_sum_of_attempts();
    test_windows_follow_the_calendar();
    test_windows_follow_a_zone_over_a_change_of_clocks();
    test_a_call_counts_in_the_window_of_its_reservation();
    test_what_an_earlier_run_paid_counts_where_it_belongs();
    test_budgets_that_make_no_sense();
    HARNESS_END();
}
