/* The spend kernel: no wrong order gets through, no money is lost between held, unknown and spent. */
#include "spend_fixture.h"

static void test_the_way_of_a_call(void)
{
    setup();
    struct seen seen;
    struct budget *b = make_budget(BUDGET_TOTAL, "10 CCD", false);
    struct permit *p = permit_in(PERMIT_RESERVED, b, &seen);
    CHECK(seen.granted && permit_governed(p));
    CHECK_INT((int)strlen(permit_intent_id(p)), 32);
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

/* What the gate would say is told without holding, counting or drawing anything. */
static void test_a_judgement_holds_nothing(void)
{
    setup();
    struct budget *b = make_budget(BUDGET_TOTAL, "10 CCD", false),
                  *own = make_budget(BUDGET_DAY, "3 CCD", false);
    struct budget *found[2 * SPEND_BUDGETS_MAX], *list[] = {own};
    struct spend_request request = {.operation = "start_inference",
                                    .service = "deai",
                                    .budgets = list,
                                    .budget_count = 1,
                                    .priced = true};
    struct spend_denial denial;
    spend_add_default_budget(spend, b, NULL);
    CHECK_INT(spend_budgets_of(spend, &request, found), 2);
    CHECK(found[0] == own && found[1] == b);
    request.price = money("2 CCD");
    CHECK(spend_judge(spend, &request, &denial));
    CHECK_LINE(b, "0 CCD", "0 CCD", "0 CCD", "10 CCD");
    CHECK_INT(spend_counters(spend)->requested, 0);
    request.price = money("4 CCD");
    CHECK(!spend_judge(spend, &request, &denial));
    CHECK_STR(denial.err.code, "over_budget");
    CHECK_MONEY(denial.left, "3 CCD");
    CHECK_INT(spend_counters(spend)->denied[DENIAL_OVER_BUDGET], 1);
    CHECK_INT(spend_counters(spend)->requested, 1);
    request.priced = false;
    CHECK(!spend_judge(spend, &request, &denial));
    CHECK_STR(denial.err.code, "no_price");
    budget_unref(own);
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

static const struct spend_store_type slow_type = {
    .reserve = slow_reserve, .intent = slow_intent, .move = slow_move, .free = slow_free};

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
/* ---- any order of events keeps the books ------------------------------------------------------------ */

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
    test_a_judgement_holds_nothing();
    test_wrong_orders_change_nothing();
    test_drop_fails_safe_in_every_state();
    test_an_unknown_outcome_stays_held_and_is_presumed_spent();
    test_a_dropped_unknown_can_be_adopted();
    test_a_charge_above_its_price_is_counted_in_full();
    test_a_store_may_answer_later();
    test_answers_may_drop_permits();
    test_intent_ids_repeat_on_a_virtual_clock_only();
    test_books_balance_after_any_history();
    HARNESS_END();
}
