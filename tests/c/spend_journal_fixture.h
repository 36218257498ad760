/* spend_journal_fixture.h - a kernel whose store asks a double of the journal, which answers when a test says
 * so. */
#ifndef PERIGEE_TESTS_SPEND_JOURNAL_FIXTURE_H
#define PERIGEE_TESTS_SPEND_JOURNAL_FIXTURE_H

#include "spend_fixture.h"

#include "host/record.h"

/* ---- the double: answers when the test says so ----------------------------------------------------------
 */

struct journal_call {
    char verb[32];
    struct record *in;
    journal_done_fn done;
    void *ctx;
    bool answered, abandoned;
};

enum { CALLS_MAX = 64 };

struct journal {
    struct journal_call calls[CALLS_MAX];
    size_t count, next;
};

static struct journal fake;

static inline struct journal_call *fake_call(struct journal *journal, const char *verb, struct record *in,
                                             journal_done_fn done, void *ctx)
{
    if (journal->count == CALLS_MAX) abort();
    struct journal_call *call = &journal->calls[journal->count++];
    *call = (struct journal_call){.in = in, .done = done, .ctx = ctx};
    snprintf(call->verb, sizeof call->verb, "%s", verb);
    return call;
}

static inline void fake_abandon(struct journal_call *call)
{
    call->abandoned = true;
}

static inline void setup_journal(void)
{
    memset(&fake, 0, sizeof fake);
    loop = loop_new();
    clk = clock_new_virtual(START_MS);
    timers = timers_new(loop, clk);
    random_init(&rnd, 42);
    struct spend_journal journal = {.journal = &fake, .call = fake_call, .abandon = fake_abandon};
    spend = spend_new(&(struct spend_options){
        .timers = timers, .random = &rnd, .store = spend_journal_store_new(&journal, timers)});
}

static inline void teardown_journal(void)
{
    teardown();
    for (size_t i = 0; i < fake.count; i++) record_free(fake.calls[i].in);
}

/* The next call that the store made, which must be of this verb. */
static inline struct journal_call *next_call(const char *verb)
{
    static struct journal_call none;
    if (!none.in) none.in = record_new();
    if (fake.next == fake.count) {
        CHECK_STR("no call", verb);
        return &none;
    }
    struct journal_call *call = &fake.calls[fake.next++];
    CHECK_STR(call->verb, verb);
    return call;
}

static inline void reply(struct journal_call *call, struct record_list *rows)
{
    static const struct record_list none = {NULL, 0};
    CHECK(!call->answered && !call->abandoned);
    call->answered = true;
    if (call->done) call->done(call->ctx, rows ? rows : &none, NULL);
    if (rows) record_list_deinit(rows);
}

static inline void fail(struct journal_call *call, enum err_kind kind, const char *code, const char *message)
{
    struct err err;
    err_set(&err, kind, "%s", message);
    err_set_code(&err, code);
    call->answered = true;
    call->done(call->ctx, NULL, &err);
}

static inline void add_sums(struct record_list *rows, const char *held, const char *spent, bool denied)
{
    struct record *row = record_list_add(rows);
    record_set_text(row, "held", held);
    record_set_text(row, "unknown", "0 CCD");
    record_set_text(row, "spent", spent);
    if (denied) record_set_integer(row, "denied", 1);
}

static inline struct budget *durable(const char *name, enum budget_window window, const char *limit, int warn)
{
    struct budget_limit l = {.window = window, .amount = money(limit)};
    struct err err;
    struct budget *budget = budget_new(spend,
                                       &(struct budget_spec){.name = name,
                                                             .limits = &l,
                                                             .limit_count = 1,
                                                             .warn_percent = warn,
                                                             .durable = true,
                                                             .definition = "{}"},
                                       &err);
    CHECK(budget != NULL && budget_is_durable(budget));
    return budget;
}

/* Asked, granted, recorded and sent: the reservation's answer has these sums for each of its lines. */
static inline struct permit *sent_permit(struct budget *b, size_t lines, struct seen *seen)
{
    struct permit *p = ask_priced("2 CCD", b, seen);
    struct record_list rows = {NULL, 0};
    for (size_t i = 0; i < lines; i++) add_sums(&rows, "2 CCD", "0 CCD", false);
    reply(next_call("permit.reserve"), &rows);
    tick();
    CHECK_INT(spend_intent(p, intent_done_cb, seen, NULL), 0);
    reply(next_call("permit.intent"), NULL);
    tick();
    CHECK_INT(spend_sent(p, NULL), 0);
    return p;
}

#endif
