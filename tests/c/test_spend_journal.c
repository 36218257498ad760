/* test_spend_journal.c - the store on the journal, against a double that keeps what it is asked. */
#include "spend_journal_fixture.h"

/* ---- the way of a call ----------------------------------------------------------------------------------
 */

static struct permit *ask_for_a_job(struct budget *b, struct seen *seen)
{
    struct budget *budgets[] = {b};
    return ask(&(struct spend_request){.priced = true,
                                       .price = money("2 CCD"),
                                       .budgets = budgets,
                                       .budget_count = 1,
                                       .job = "job-1",
                                       .attempt = 2,
                                       .policy = "nightly",
                                       .tags = "[\"a\"]",
                                       .model = "CNN"},
               seen);
}

static void test_a_reservation_says_what_it_is_for_and_has_a_line_for_each_window(void)
{
    setup_journal();
    struct budget *b = durable("team", BUDGET_DAY, "10 CCD", 0);
    struct seen seen;
    struct permit *p = ask_for_a_job(b, &seen);
    next_call("permit.presume");
    CHECK_STR(record_text(next_call("store.set")->in, "name"), "team");
    struct journal_call *reserve = next_call("permit.reserve");
    CHECK_STR(record_text(reserve->in, "intent"), permit_intent_id(p));
    CHECK_STR(record_text(reserve->in, "price"), "2 CCD");
    CHECK_STR(record_text(reserve->in, "job"), "job-1");
    CHECK_STR(record_text(reserve->in, "tags"), "[\"a\"]");
    CHECK_STR(record_text(reserve->in, "model"), "CNN");
    CHECK_INT(record_integer(reserve->in, "attempt"), 2);
    CHECK_INT(record_integer(reserve->in, "governed"), 1);
    const struct record_list *lines = record_rows(reserve->in, "lines");
    CHECK_INT((int)lines->count, 2);
    CHECK_STR(record_text(lines->items[0], "window"), "total");
    CHECK(record_text(lines->items[0], "limit") == NULL);
    CHECK_STR(record_text(lines->items[1], "window"), "day");
    CHECK_STR(record_text(lines->items[1], "limit"), "10 CCD");
    CHECK_STR(record_text(lines->items[1], "budget"), "team");
    CHECK_INT(record_integer(lines->items[1], "number"), START_MS / 86400000);
    permit_drop(p);
    budget_unref(b);
    teardown_journal();
}

static void test_a_call_is_recorded_step_by_step(void)
{
    setup_journal();
    struct budget *b = durable("team", BUDGET_DAY, "10 CCD", 0);
    struct seen seen;
    struct permit *p = ask_for_a_job(b, &seen);
    fake.next = 2;
    tick();
    CHECK_INT(seen.requests, 0); /* not before the commit */
    struct record_list rows = {NULL, 0};
    add_sums(&rows, "2 CCD", "5 CCD", false);
    add_sums(&rows, "2 CCD", "1 CCD", false);
    reply(next_call("permit.reserve"), &rows);
    tick();
    CHECK(seen.granted);
    CHECK_MONEY(budget_line(b, 1).left, "7 CCD"); /* what others spent counts */
    spend_intent(p, intent_done_cb, &seen, NULL);
    struct journal_call *intent = next_call("permit.intent");
    tick();
    CHECK_INT(seen.intents, 0); /* the request must not leave before */
    CHECK_INT(permit_state(p), PERMIT_RECORDING);
    reply(intent, NULL);
    tick();
    CHECK(seen.recorded);
    CHECK_INT(spend_sent(p, NULL), 0);
    CHECK_STR(record_text(next_call("permit.move")->in, "state"), "sent");
    spend_answered(p, SPEND_CREATED, "42", NULL);
    struct journal_call *created = next_call("permit.move");
    CHECK_STR(record_text(created->in, "state"), "created");
    CHECK_STR(record_text(created->in, "bucket"), "held");
    CHECK_STR(record_text(created->in, "remote_id"), "42");
    struct amount charge = money("1.5 CCD");
    spend_settle(p, &charge, false, NULL);
    struct journal_call *settled = next_call("permit.move");
    CHECK_STR(record_text(settled->in, "bucket"), "spent");
    CHECK_STR(record_text(settled->in, "amount"), "1.5 CCD");
    permit_drop(p);
    CHECK(fake.next == fake.count);
    budget_unref(b);
    teardown_journal();
}

static void test_a_denial_names_the_line_and_undoes_what_is_ours(void)
{
    setup_journal();
    struct budget *shared = durable("team", BUDGET_DAY, "10 CCD", 0);
    struct budget *own = make_budget(BUDGET_TOTAL, "50 CCD", false);
    struct budget *budgets[] = {own, shared};
    struct seen seen;
    struct permit *p = ask(
        &(struct spend_request){
            .priced = true, .price = money("2 CCD"), .budgets = budgets, .budget_count = 2},
        &seen);
    CHECK_LINE(own, "2 CCD", "0 CCD", "0 CCD", "48 CCD");
    next_call("permit.presume");
    next_call("store.set");
    struct record_list rows = {NULL, 0};
    add_sums(&rows, "0 CCD", "9 CCD", false);
    add_sums(&rows, "0 CCD", "9 CCD", true);
    reply(next_call("permit.reserve"), &rows);
    tick();
    CHECK(!seen.granted);
    CHECK_STR(seen.denial.err.code, "over_budget");
    CHECK_STR(seen.denial.budget, "team");
    CHECK_INT(seen.denial.window, BUDGET_DAY);
    CHECK_MONEY(seen.denial.limit, "10 CCD");
    CHECK_MONEY(seen.denial.left, "1 CCD");
    CHECK_STR(seen.denial.err.message, "the price 2 CCD does not fit: the limit (day, UTC) of budget "
                                       "\"team\" is 10 CCD, and 1 CCD is left");
    CHECK_LINE(own, "0 CCD", "0 CCD", "0 CCD", "50 CCD");
    permit_drop(p);
    CHECK(fake.next == fake.count); /* nothing was recorded: nothing is taken back */
    budget_unref(own);
    budget_unref(shared);
    teardown_journal();
}

static void test_an_own_budget_denies_before_the_journal_is_asked(void)
{
    setup_journal();
    struct budget *own = make_budget(BUDGET_TOTAL, "1 CCD", false);
    struct seen seen;
    struct permit *p = ask_priced("2 CCD", own, &seen);
    tick();
    CHECK(!seen.granted);
    CHECK_INT((int)fake.count, 0);
    permit_drop(p);
    budget_unref(own);
    teardown_journal();
}

static void test_two_budgets_of_one_name_are_one_line_with_the_tighter_limit(void)
{
    setup_journal();
    struct budget *wide = durable("team", BUDGET_TOTAL, "10 CCD", 0);
    struct budget *tight = durable("team", BUDGET_TOTAL, "4 CCD", 0);
    struct budget *budgets[] = {wide, tight};
    struct seen seen;
    struct permit *p = ask(
        &(struct spend_request){
            .priced = true, .price = money("2 CCD"), .budgets = budgets, .budget_count = 2},
        &seen);
    next_call("permit.presume");
    next_call("store.set");
    next_call("store.set");
    struct journal_call *reserve = next_call("permit.reserve");
    const struct record_list *lines = record_rows(reserve->in, "lines");
    CHECK_INT((int)lines->count, 1);
    CHECK_STR(record_text(lines->items[0], "limit"), "4 CCD");
    permit_drop(p);
    reply(reserve, NULL);
    CHECK_STR(record_text(next_call("permit.move")->in, "state"), "released");
    budget_unref(wide);
    budget_unref(tight);
    teardown_journal();
}

/* ---- callers that leave -------------------------------------------------------------------------------- */

static void test_a_caller_that_leaves_gives_back_what_the_answer_brings(void)
{
    setup_journal();
    struct budget *own = make_budget(BUDGET_TOTAL, "10 CCD", false);
    struct seen seen;
    struct permit *p = ask_priced("2 CCD", own, &seen);
    next_call("permit.presume");
    struct journal_call *reserve = next_call("permit.reserve");
    permit_drop(p);
    CHECK_LINE(own, "2 CCD", "0 CCD", "0 CCD", "8 CCD"); /* until it is known */
    reply(reserve, NULL);
    struct journal_call *move = next_call("permit.move");
    CHECK_STR(record_text(move->in, "state"), "released");
    CHECK_STR(record_text(move->in, "bucket"), "none");
    CHECK_LINE(own, "0 CCD", "0 CCD", "0 CCD", "10 CCD");
    CHECK_INT(seen.requests, 0);

    p = ask_priced("2 CCD", own, &seen);
    reply(next_call("permit.reserve"), NULL);
    tick();
    spend_intent(p, intent_done_cb, &seen, NULL);
    struct journal_call *intent = next_call("permit.intent");
    permit_drop(p);
    reply(intent, NULL);
    CHECK_STR(record_text(next_call("permit.move")->in, "state"), "released");
    CHECK_INT(seen.intents, 0);
    budget_unref(own);
    teardown_journal();
}

static void test_the_end_of_the_kernel_abandons_what_is_on_its_way(void)
{
    setup_journal();
    struct seen seen;
    struct permit *p = ask_priced("2 CCD", NULL, &seen);
    permit_drop(p);
    next_call("permit.presume");
    struct journal_call *reserve = next_call("permit.reserve");
    teardown_journal();
    CHECK(reserve->abandoned);
}

/* ---- a journal that cannot be written ------------------------------------------------------------------ */

static const char FULL[] = "cannot write /state/journal.db: the disk is full; free some space";

static void test_without_a_journal_governed_calls_are_denied_and_others_go(void)
{
    setup_journal();
    struct budget *own = make_budget(BUDGET_TOTAL, "10 CCD", false);
    struct seen seen;
    struct permit *p = ask_priced("2 CCD", own, &seen);
    next_call("permit.presume");
    fail(next_call("permit.reserve"), ERR_UNAVAILABLE, "journal_full", FULL);
    tick();
    CHECK(!seen.granted);
    CHECK_INT(seen.denial.err.kind, ERR_DENIED);
    CHECK_STR(seen.denial.err.code, "journal");
    CHECK(strstr(seen.denial.err.message, FULL) != NULL);
    CHECK_LINE(own, "0 CCD", "0 CCD", "0 CCD", "10 CCD");
    CHECK_INT(spend_counters(spend)->denied[DENIAL_JOURNAL], 1);
    permit_drop(p);

    p = ask_priced("2 CCD", NULL, &seen);
    fail(next_call("permit.reserve"), ERR_UNAVAILABLE, "journal_full", FULL);
    tick();
    CHECK(seen.granted);
    spend_intent(p, intent_done_cb, &seen, NULL);
    tick();
    CHECK(seen.recorded);
    spend_sent(p, NULL);
    spend_answered(p, SPEND_NONE, NULL, NULL);
    permit_drop(p);
    CHECK(fake.next == fake.count); /* a journal that does not know it is told nothing */
    budget_unref(own);
    teardown_journal();
}

static void test_an_intent_that_cannot_be_written_denies(void)
{
    setup_journal();
    struct budget *own = make_budget(BUDGET_TOTAL, "10 CCD", false);
    struct seen seen;
    struct permit *p = ask_priced("2 CCD", own, &seen);
    next_call("permit.presume");
    reply(next_call("permit.reserve"), NULL);
    tick();
    spend_intent(p, intent_done_cb, &seen, NULL);
    fail(next_call("permit.intent"), ERR_UNAVAILABLE, "journal_full", FULL);
    tick();
    CHECK(!seen.recorded);
    CHECK_INT(seen.err.kind, ERR_DENIED);
    CHECK_STR(seen.err.code, "journal");
    CHECK_INT(permit_state(p), PERMIT_RELEASED);
    CHECK_LINE(own, "0 CCD", "0 CCD", "0 CCD", "10 CCD");
    permit_drop(p);
    budget_unref(own);
    teardown_journal();
}

static void ignore_cb(struct timer *timer)
{
    (void)timer;
}

static void test_a_move_is_tried_again_and_gives_way_to_a_later_one(void)
{
    setup_journal();
    struct seen seen;
    struct permit *p = ask_priced("2 CCD", NULL, &seen);
    next_call("permit.presume");
    reply(next_call("permit.reserve"), NULL);
    tick();
    spend_intent(p, intent_done_cb, &seen, NULL);
    reply(next_call("permit.intent"), NULL);
    tick();
    spend_sent(p, NULL);
    fail(next_call("permit.move"), ERR_UNAVAILABLE, "journal_locked", "locked");
    spend_answered(p, SPEND_CREATED, "42", NULL);
    fail(next_call("permit.move"), ERR_UNAVAILABLE, "journal_locked", "locked");
    CHECK(fake.next == fake.count);
    struct timer second = {.fn = NULL}; /* what retries does not move a virtual clock by itself */
    timer_start(timers, &second, 1000, ignore_cb);
    CHECK(timers_advance(timers));
    struct journal_call *again = next_call("permit.move");
    CHECK_STR(record_text(again->in, "state"), "created"); /* which says all that "sent" said */
    reply(again, NULL);
    CHECK(fake.next == fake.count);
    permit_drop(p);
    CHECK_STR(record_text(next_call("permit.move")->in, "state"), "settled");
    teardown_journal();
}

/* The older one of two moves is never written after the later one. */
static void test_a_move_that_waits_does_not_overtake_a_later_one(void)
{
    setup_journal();
    struct seen seen;
    struct budget *b = durable("team", BUDGET_TOTAL, "10 CCD", 0);
    struct permit *p = ask_priced("2 CCD", b, &seen);
    fake.next = fake.count - 1;
    reply(next_call("permit.reserve"), NULL);
    tick();
    spend_intent(p, intent_done_cb, &seen, NULL);
    reply(next_call("permit.intent"), NULL);
    tick();
    spend_sent(p, NULL);
    struct journal_call *sent = next_call("permit.move");
    spend_answered(p, SPEND_CREATED, "42", NULL);
    struct journal_call *created = next_call("permit.move");
    fail(sent, ERR_UNAVAILABLE, "journal_locked", "locked"); /* "created" is on its way: it says more */
    fail(created, ERR_UNAVAILABLE, "journal_locked", "locked");
    permit_drop(p);
    struct journal_call *settled = next_call("permit.move");
    CHECK_STR(record_text(settled->in, "state"), "settled");
    struct timer later = {.fn = NULL};
    timer_start(timers, &later, 60000, ignore_cb);
    while (timer_active(&later)) CHECK(timers_advance(timers));
    CHECK(fake.next == fake.count); /* "created" is not tried again beside it */
    reply(settled, NULL);
    budget_unref(b);
    teardown_journal();
}

/* ---- what an earlier process left ---------------------------------------------------------------------- */

static struct permit *taken;
static struct err take_err;
static int takes;

static void taken_cb(void *ctx, struct permit *permit, const struct err *err)
{
    (void)ctx;
    takes++;
    taken = permit;
    if (err) take_err = *err;
}

static void add_permit(struct record_list *rows, const char *state, const char *bucket)
{
    struct record *row = record_list_add(rows);
    record_set_text(row, "intent", "00112233445566778899aabbccddeeff");
    record_set_text(row, "service", "sxwl");
    record_set_text(row, "operation", "create_job");
    record_set_text(row, "price", "7 CNY");
    record_set_text(row, "amount", "7 CNY");
    record_set_text(row, "job", "job-1");
    record_set_text(row, "state", state);
    record_set_text(row, "bucket", bucket);
}

static void test_a_permit_of_a_dead_process_is_taken_back(void)
{
    setup_journal();
    struct record_list rows = {NULL, 0};
    spend_take(spend, "00112233445566778899aabbccddeeff", taken_cb, NULL);
    struct journal_call *take = next_call("permit.take");
    CHECK_STR(record_text(take->in, "intent"), "00112233445566778899aabbccddeeff");
    add_permit(&rows, "unknown", "unknown");
    reply(take, &rows);
    CHECK(taken != NULL && permit_state(taken) == PERMIT_UNKNOWN);
    CHECK_MONEY(spend_sums(spend, 0).unknown, "7 CNY"); /* of this process's sums from now on */
    CHECK_INT(spend_counters(spend)->unknown, 1);
    spend_answered(taken, SPEND_CREATED, "cloud-9", NULL);
    CHECK_STR(record_text(next_call("permit.move")->in, "remote_id"), "cloud-9");
    permit_drop(taken);
    CHECK(fake.next == fake.count); /* its job goes on: it is not settled because nobody looks at it now */
    struct permit *again = spend_adopt(spend, "00112233445566778899aabbccddeeff");
    CHECK(again == taken);
    struct amount charge = money("3 CNY");
    CHECK_INT(spend_settle(again, &charge, true, NULL), 0);
    permit_drop(again);
    CHECK_STR(record_text(next_call("permit.move")->in, "amount"), "3 CNY");
    CHECK_MONEY(spend_sums(spend, 0).spent, "3 CNY");
    teardown_journal();
}

static void test_a_permit_that_is_over_cannot_be_taken(void)
{
    setup_journal();
    struct record_list rows = {NULL, 0};
    spend_take(spend, "00112233445566778899aabbccddeeff", taken_cb, NULL);
    add_permit(&rows, "settled", "spent");
    reply(next_call("permit.take"), &rows);
    CHECK(taken == NULL);
    CHECK_STR(take_err.code, "order");
    spend_take(spend, "00112233445566778899aabbccddeeff", taken_cb, NULL);
    reply(next_call("permit.take"), NULL);
    CHECK_STR(take_err.code, "not_found");
    takes = 0;
    spend_call_abandon(spend_take(spend, "00112233445566778899aabbccddeeff", taken_cb, NULL));
    add_permit(&rows, "unknown", "unknown");
    struct record_list more = {NULL, 0};
    add_permit(&more, "unknown", "unknown");
    record_list_deinit(&rows);
    reply(next_call("permit.take"), &more);
    CHECK_INT(takes, 0);
    CHECK_MONEY(spend_sums(spend, 0).unknown, "7 CNY"); /* ours all the same */
    permit_drop(spend_adopt(spend, "00112233445566778899aabbccddeeff"));
    teardown_journal();
}

static void test_unknown_outcomes_of_any_process_are_presumed_spent(void)
{
    setup_journal();
    struct seen seen;
    struct budget *b = durable("team", BUDGET_TOTAL, "10 CCD", 0);
    struct permit *p = ask_priced("2 CCD", b, &seen);
    struct journal_call *presume = next_call("permit.presume");
    CHECK(record_integer(presume->in, "before") == START_MS - (int64_t)24 * 3600 * 1000);
    next_call("store.set");
    fake.next--; /* sent_permit asks for its own reservation */
    permit_drop(p);
    fake.next++;
    reply(next_call("permit.reserve"), NULL);
    next_call("permit.move");
    p = sent_permit(b, 1, &seen); /* in the same minute: not asked again */
    next_call("permit.move");
    permit_drop(p);
    CHECK_STR(record_text(next_call("permit.move")->in, "state"), "unknown");
    advance_s((uint64_t)24 * 3600);
    spend_call_abandon(budget_refresh(b, taken_cb, NULL));
    struct journal_call *own = next_call("permit.move");
    CHECK_STR(record_text(own->in, "state"), "unknown");
    CHECK_STR(record_text(own->in, "bucket"), "spent");
    CHECK_INT(record_integer(own->in, "presumed"), 1);
    next_call("permit.presume");
    next_call("budget.lines");
    budget_unref(b);
    teardown_journal();
}

/* ---- figures and lows ---------------------------------------------------------------------------------- */

static void test_figures_are_read_from_the_journal(void)
{
    setup_journal();
    struct budget *b = durable("team", BUDGET_DAY, "10 CCD", 0);
    takes = 0;
    budget_refresh(b, taken_cb, NULL);
    next_call("permit.presume");
    struct record_list rows = {NULL, 0};
    add_sums(&rows, "1 CCD", "4 CCD", false);
    add_sums(&rows, "1 CCD", "2 CCD", false);
    reply(next_call("budget.lines"), &rows);
    CHECK_INT(takes, 1);
    CHECK_MONEY(budget_line(b, 0).spent, "4 CCD");
    CHECK_MONEY(budget_line(b, 1).left, "7 CCD");
    struct amount paid = money("1 CCD");
    CHECK(budget_add(b, &paid, START_MS - (int64_t)86400000, true, taken_cb, NULL, NULL) != NULL);
    struct journal_call *count = next_call("budget.count");
    CHECK_INT((int)record_rows(count->in, "lines")->count, 1); /* yesterday counts in the total alone */
    CHECK_INT(record_integer(count->in, "unknown"), 1);
    reply(count, NULL);
    budget_unref(b);
    teardown_journal();
}

static int lows;

static void low_cb(void *ctx)
{
    (void)ctx;
    lows++;
}

static void reserve_until_low(struct budget *b, struct seen *seen)
{
    struct permit *p = ask_priced("2 CCD", b, seen);
    if (fake.next + 1 < fake.count) {
        next_call("permit.presume");
        next_call("store.set");
    }
    struct record_list rows = {NULL, 0};
    add_sums(&rows, "2 CCD", "6 CCD", false);
    reply(next_call("permit.reserve"), &rows);
    tick();
    permit_drop(p);
}

static void test_a_low_is_told_once_for_all_processes(void)
{
    struct seen seen;
    struct budget_low low;
    setup_journal();
    spend_on_low(spend, low_cb, NULL);
    lows = 0;
    struct budget *b = durable("team", BUDGET_TOTAL, "10 CCD", 80);
    reserve_until_low(b, &seen);
    reply(next_call("store.get"), NULL);
    next_call("permit.move");
    struct journal_call *set = next_call("store.set");
    CHECK_STR(record_text(set->in, "name"), "team|total|10 CCD");
    CHECK_INT(record_integer(set->in, "version"), 0);
    CHECK_INT(lows, 0);
    reply(set, NULL);
    CHECK_INT(lows, 1);
    CHECK(spend_take_low(spend, &low));
    CHECK_MONEY(low.used, "8 CCD");
    CHECK(!spend_take_low(spend, &low));
    budget_unref(b);

    b = durable("team", BUDGET_TOTAL, "10 CCD", 80); /* as another process has it */
    struct permit *p = ask_priced("2 CCD", b, &seen);
    next_call("store.set");
    struct record_list rows = {NULL, 0};
    add_sums(&rows, "2 CCD", "6 CCD", false);
    reply(next_call("permit.reserve"), &rows);
    tick();
    struct record_list known = {NULL, 0};
    struct record *row = record_list_add(&known);
    record_set_text(row, "value", "0");
    record_set_integer(row, "version", 1);
    reply(next_call("store.get"), &known);
    CHECK_INT(lows, 1);
    CHECK(fake.next == fake.count);
    permit_drop(p);
    next_call("permit.move");
    budget_unref(b);

    b = durable("team", BUDGET_TOTAL, "10 CCD", 80); /* and one that is a moment too late */
    p = ask_priced("2 CCD", b, &seen);
    next_call("store.set");
    struct record_list more = {NULL, 0};
    add_sums(&more, "2 CCD", "6 CCD", false);
    reply(next_call("permit.reserve"), &more);
    tick();
    reply(next_call("store.get"), NULL);
    fail(next_call("store.set"), ERR_INVALID, "conflict", "somebody else has set it");
    CHECK_INT(lows, 1);
    permit_drop(p);
    budget_unref(b);
    teardown_journal();
}

static void test_a_low_is_told_at_the_end_when_its_claim_is_on_its_way(void)
{
    struct seen seen;
    setup_journal();
    spend_on_low(spend, low_cb, NULL);
    lows = 0;
    struct budget *b = durable("team", BUDGET_TOTAL, "10 CCD", 80);
    reserve_until_low(b, &seen);
    reply(next_call("store.get"), NULL);
    next_call("permit.move");
    next_call("store.set");
    budget_unref(b);
    CHECK_INT(lows, 0);
    teardown_journal();
    CHECK_INT(lows, 1);
}

int main(void)
{
    test_a_reservation_says_what_it_is_for_and_has_a_line_for_each_window();
    test_a_call_is_recorded_step_by_step();
    test_a_denial_names_the_line_and_undoes_what_is_ours();
    test_an_own_budget_denies_before_the_journal_is_asked();
    test_two_budgets_of_one_name_are_one_line_with_the_tighter_limit();
    test_a_caller_that_leaves_gives_back_what_the_answer_brings();
    test_the_end_of_the_kernel_abandons_what_is_on_its_way();
    test_without_a_journal_governed_calls_are_denied_and_others_go();
    test_an_intent_that_cannot_be_written_denies();
    test_a_move_is_tried_again_and_gives_way_to_a_later_one();
    test_a_move_that_waits_does_not_overtake_a_later_one();
    test_a_permit_of_a_dead_process_is_taken_back();
    test_a_permit_that_is_over_cannot_be_taken();
    test_unknown_outcomes_of_any_process_are_presumed_spent();
    test_figures_are_read_from_the_journal();
    test_a_low_is_told_once_for_all_processes();
    test_a_low_is_told_at_the_end_when_its_claim_is_on_its_way();
    HARNESS_END();
}
