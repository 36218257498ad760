/* Several processes on one journal: no budget is passed, the dead are buried, nothing half-done is seen. */
#include "journal_fixture.h"

#include "host/journal_engine.h"

static char place[128];

static void fresh_place(void)
{
    snprintf(place, sizeof place, "%s", fresh_directory());
}

/* ---- one budget, eight processes ----------------------------------------------------------------------- */

enum { PROCESSES = 8, EACH = 125 }; /* intents of a process: number * 1000 and on */

/* Counts how many were granted, in a pipe. */
static int results[2], end[2];

struct counts {
    unsigned number; /* of the process */
    int answered, granted;
};

static void count_cb(void *ctx, const struct record_list *got, const struct err *err);

static void reserve(struct counts *counts, unsigned n)
{
    struct record *in = record_new();
    record_set_text(in, "intent", intent(counts->number * 1000 + n));
    record_set_text(in, "operation", "create");
    record_set_text(in, "service", "sxwl");
    record_set_text(in, "price", "0.01 CCD");
    put_line(in, "team day 5 CCD 5");
    journal_call(journal, "permit.reserve", in, count_cb, counts);
}

/* On a machine with too much to do one may wait for its turn longer than the limit: it asks again. */
static void count_cb(void *ctx, const struct record_list *got, const struct err *err)
{
    struct counts *counts = ctx;
    static unsigned again = EACH;
    if (err && err->retryable && strcmp(err->code, "journal_locked") == 0) {
        reserve(counts, again++);
        return;
    }
    counts->answered++;
    if (!err && got->count == 1 && !record_integer(got->items[0], "denied")) counts->granted++;
    if (err) printf("%s\n", err->message);
    CHECK(err == NULL);
}

static void reserve_many(unsigned number)
{
    struct counts counts = {.number = number};
    open_journal(place);
    for (unsigned n = 0; n < EACH; n++) {
        reserve(&counts, n);
        while (n % 5 == 4 && counts.answered <= (int)n) loop_wait();
    }
    for (answered = false; counts.answered < EACH;) loop_wait();
    if (harness_failed) counts.granted = -1000;
    if (write(results[1], &counts.granted, sizeof counts.granted) < 0) abort();
    /* An end without a farewell: what was reserved is the living's to bury, once all have reserved. */
    char byte;
    fflush(stdout);
    close(end[1]);
    if (read(end[0], &byte, 1) != 0) abort();
    kill(getpid(), SIGKILL);
}

static void test_eight_processes_never_pass_a_limit(void)
{
    pid_t children[PROCESSES];
    fresh_place();
    if (pipe(results) != 0 || pipe(end) != 0) abort();
    fflush(stdout);
    for (unsigned i = 0; i < PROCESSES; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            harness_failed = 0;
            reserve_many(i + 1);
        }
    }
    int granted = 0, one;
    for (unsigned i = 0; i < PROCESSES; i++)
        if (read(results[0], &one, sizeof one) == sizeof one) granted += one;
    close(end[1]);
    for (unsigned i = 0; i < PROCESSES; i++) {
        int status;
        waitpid(children[i], &status, 0);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    }
    close(end[0]);
    close(results[0]);
    close(results[1]);
    CHECK_INT(granted, 500); /* 5 CCD of 1000 asked for at 0.01 each: not one more, and not one less */
    open_journal(place);
    CHECK_STR(sums_of("team day 5 CCD"), "0 0 0"); /* reserved by the dead, and given back */
    ASK("permit.list", "state", "released", NULL);
    CHECK_INT(rows.count, 500);
    ASK("journal.verify", NULL);
    CHECK_INT(rows.count, 0);
    close_journal();
}

/* ---- the dead -------------------------------------------------------------------------------------------
 */

static void live_and_die(void *arg)
{
    (void)arg;
    open_kind(place, "daemon");
    static const char *const states[] = {"", "", "sent", "unknown", "created", "created", "settled"};
    for (unsigned n = 1; n <= 6; n++) {
        RESERVE(n, "1 CCD", "line", "b total 0 CCD", "job", n == 5 ? "j1" : NULL, NULL);
        if (n > 1) ask("permit.intent", "intent", intent(n), NULL);
        if (n > 2) MOVE(n, states[n - 1], n == 4 ? "unknown" : "held", NULL);
    }
    MOVE(6, "created", "held", NULL);
    SUBMIT("j1", "n", "k", NULL);
    ask("lock.take", "name", "l", NULL);
    ask("hook.begin", "policy", "p", "hook", "h", NULL);
    kill(getpid(), SIGKILL);
}

static void test_the_dead_are_buried(void)
{
    /* reserved, intent, sent, unknown, created for a job, created for none */
    static const char *const after[] = {"released", "unknown", "unknown", "unknown", "created", "settled"};
    fresh_place();
    CHECK_INT(in_child(live_and_die, NULL), 128 + SIGKILL);
    open_kind(place, "daemon");
    for (unsigned n = 1; n <= 6; n++) {
        ASK("permit.get", "intent", intent(n), NULL);
        CHECK_STR(text_of(0, "state"), after[n - 1]);
    }
    CHECK_INT(number_of(0, "derived"), 1);
    CHECK_STR(text_of(0, "amount"), "1 CCD");
    CHECK_STR(sums_of("b total 0 CCD"), "1 3 1");
    REFUSED("fenced", "job.move", "id", "j1", "fence", "#1", "state", "submitting", NULL);
    ASK("job.claim", NULL);
    CHECK_INT(rows.count, 1);
    CHECK(number_of(0, "fence") > 1);
    ASK("permit.take", "intent", intent(5), NULL);
    CHECK_STR(text_of(0, "process"), journal_process_id(journal));
    ASK("lock.take", "name", "l", NULL);
    CHECK_INT(number_of(0, "taken"), 1);
    ASK("hook.last", NULL);
    CHECK_STR(text_of(0, "outcome"), "interrupted");
    CHECK_INT(number_of(0, "failures"), 1);
    ASK("process.last", "kind", "daemon", NULL);
    CHECK_INT(rows.count, 1);
    CHECK_INT(number_of(0, "clean"), 0);
    ASK("process.list", NULL);
    CHECK_INT(rows.count, 1);
    close_journal();
}

/* ---- the living ------------------------------------------------------------------------------------------
 */

static int ready[2], go_on[2];

static void live_on(void *arg)
{
    char byte = 'x';
    (void)arg;
    open_journal(place);
    RESERVE(1, "1 CCD", NULL);
    SUBMIT("j1", "n", "k", NULL);
    ask("lock.take", "name", "l", NULL);
    if (write(ready[1], &byte, 1) != 1 || read(go_on[0], &byte, 1) != 1) abort();
    close_journal(); /* gives everything up */
    if (write(ready[1], &byte, 1) != 1 || read(go_on[0], &byte, 1) != 1) abort();
}

static void test_what_the_living_have_is_theirs(void)
{
    char byte = 'x';
    fresh_place();
    if (pipe(ready) != 0 || pipe(go_on) != 0) abort();
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        harness_failed = 0;
        live_on(NULL);
        _exit(harness_failed ? 1 : 0);
    }
    if (read(ready[0], &byte, 1) != 1) abort();
    open_journal(place);
    REFUSED("taken", "permit.take", "intent", intent(1), NULL);
    ASK("job.claim", NULL);
    CHECK_INT(rows.count, 0);
    CHECK_INT(SUBMIT("j2", "n", "k", NULL), 0);
    CHECK(strcmp(text_of(0, "process"), journal_process_id(journal)) != 0);
    ASK("lock.take", "name", "l", NULL);
    CHECK_INT(number_of(0, "taken"), 0);
    CHECK_INT(number_of(0, "pid"), child);
    ASK("process.list", NULL);
    CHECK_INT(rows.count, 2);
    if (write(go_on[1], &byte, 1) != 1 || read(ready[0], &byte, 1) != 1) abort();
    ASK("job.claim", NULL); /* it lives, and has left */
    CHECK_INT(rows.count, 1);
    ASK("process.last", "kind", "run", NULL);
    CHECK_INT(number_of(0, "clean"), 1);
    ASK("lock.take", "name", "l", NULL);
    CHECK_INT(number_of(0, "taken"), 1);
    if (write(go_on[1], &byte, 1) != 1) abort();
    int status;
    waitpid(child, &status, 0);
    CHECK_INT(status, 0);
    close_journal();
}

/* ---- a host that was silent for too long
 * ------------------------------------------------------------------- */

/* One verb in a batch of its own, at a time of the test's choosing. */
static int apply_at(struct journal_engine *engine, int64_t now_ms, enum journal_verb verb, struct record *in)
{
    record_list_deinit(&rows);
    int rc = engine->type->begin(engine, true, &failure);
    if (rc == 0) rc = engine->type->apply(engine, verb, in, now_ms, &rows, &failure);
    engine->type->commit(engine, NULL);
    record_free(in);
    return rc;
}

static int beat_at(struct journal_engine *engine, int64_t now_ms)
{
    int rc = engine->type->begin(engine, true, &failure);
    if (rc == 0) rc = engine->type->beat(engine, now_ms, &failure);
    return rc == 0 ? engine->type->commit(engine, &failure) : rc;
}

static struct record *permit_fields(bool all)
{
    struct record *in = record_new();
    record_set_text(in, "intent", intent(1));
    if (!all) return in;
    record_set_text(in, "operation", "create");
    record_set_text(in, "service", "sxwl");
    record_set_text(in, "price", "2 CCD");
    put_line(in, "b total 0 CCD");
    return in;
}

static void test_who_was_silent_for_too_long_finds_its_claims_gone(void)
{
    const int64_t start = 1700000000000;
    struct journal_process far, near;
    fresh_place();
    journal_process_self(&far, "daemon", NULL);
    snprintf(far.host, sizeof far.host, "far");
    journal_process_self(&near, "daemon", NULL);
    struct journal_engine *a = journal_sqlite_new(place, &far), *b = journal_sqlite_new(place, &near);
    CHECK_INT(a->type->open(a, start, &failure), 0);
    CHECK_INT(b->type->open(b, start, &failure), 0);
    CHECK_INT(apply_at(a, start, VERB_PERMIT_RESERVE, permit_fields(true)), 0);
    CHECK_INT(beat_at(a, start + 10000), 0);
    CHECK_INT(beat_at(b, start + 10000 + JOURNAL_SILENT_MS - 1), 0); /* it may still live */
    CHECK_INT(apply_at(b, start, VERB_PERMIT_GET, permit_fields(false)), 0);
    CHECK_STR(text_of(0, "state"), "reserved");
    CHECK_INT(beat_at(b, start + 10000 + JOURNAL_SILENT_MS), 0);
    CHECK_INT(apply_at(b, start, VERB_PERMIT_GET, permit_fields(false)), 0);
    CHECK_STR(text_of(0, "state"), "released");

    /* It lived after all: it is among the living again, and its permit is not good any more. */
    CHECK_INT(beat_at(b, start + 100000), 0);
    CHECK_INT(beat_at(a, start + 100000), 0);
    CHECK_INT(apply_at(a, start + 100000, VERB_PERMIT_INTENT, permit_fields(false)), -1);
    CHECK_STR(failure.code, "order");
    CHECK_INT(apply_at(b, start + 100001, VERB_PROCESS_LIST, record_new()), 0);
    CHECK_INT(rows.count, 2);
    a->type->close(a);
    b->type->close(b);
    a->type->free(a);
    b->type->free(b);
    record_list_deinit(&rows);
}

#ifndef NDEBUG /* a release build has no fault points */

/* ---- a sudden end around a commit ------------------------------------------------------------------------
 */

struct crash {
    const char *verb;
    const char *before, *after; /* what `look` says of the journal */
};

/* Brings a job and a permit all the way, one call for each commit. */
static void go_all_the_way(void *arg)
{
    setenv("PERIGEE_CRASH", arg, 1);
    setenv("PERIGEE_JOURNAL_BATCH", "1", 1);
    open_journal(place);
    SUBMIT("j1", "n", "k", NULL);
    RESERVE(1, "2 CCD", "line", "b total 0 CCD", "job", "j1", NULL);
    ask("permit.intent", "intent", intent(1), NULL);
    MOVE(1, "sent", "held", NULL);
    MOVE(1, "created", "held", NULL);
    ask("job.move", "id", "j1", "fence", "#1", "state", "submitting", NULL);
    ask("job.move", "id", "j1", "fence", "#1", "state", "running", "remote_id", "r", NULL);
    ask("budget.count", "line", "b total 0 CCD", "amount", "8 CCD", NULL);
    MOVE(1, "settled", "spent", "amount", "1 CCD", NULL);
    ask("job.move", "id", "j1", "fence", "#1", "state", "succeeded", NULL);
    ask("job.ask", "id", "j1", "request", "{}", NULL);
    ask("store.set", "space", "s", "name", "n", "value", "v", NULL);
    ask("outbox.put", "id", "m", "event", "e", "target", "t", "body", "b", NULL);
    close_journal();
}

/* The journal in a word for each thing. */
static const char *look(void)
{
    static char text[200];
    char job[24], permit[24], sums[64];
    ask("job.get", "id", "j1", NULL);
    snprintf(job, sizeof job, "%s", rows.count ? text_of(0, "state") : "-");
    ask("permit.get", "intent", intent(1), NULL);
    snprintf(permit, sizeof permit, "%s", rows.count ? text_of(0, "state") : "-");
    snprintf(sums, sizeof sums, "%s", sums_of("b total 0 CCD"));
    ask("store.get", "space", "s", "name", "n", NULL);
    size_t values = rows.count;
    ask("outbox.list", NULL);
    snprintf(text, sizeof text, "%s %s %s %zu%zu", job, permit, sums, values, rows.count);
    return text;
}

static void check_crash(const char *point, const char *want)
{
    fresh_place();
    CHECK_INT(in_child(go_all_the_way, (void *)(uintptr_t)point), 128 + SIGKILL);
    open_journal(place);
    const char *got = look();
    if (strcmp(got, want) != 0) printf("%s:\n", point);
    CHECK_STR(got, want);
    ASK("journal.verify", NULL);
    CHECK_INT(rows.count, 0);
    close_journal();
}

/* What was committed is there, what was not has left no trace, and the dead process is buried. */
static void test_a_sudden_end_leaves_all_or_nothing(void)
{
    static const struct crash crashes[] = {
        {"job.submit", "- - 0 0 0 00", "planned - 0 0 0 00"},
        {"permit.reserve", "planned - 0 0 0 00", "planned released 0 0 0 00"},
        {"permit.intent", "planned released 0 0 0 00", "planned unknown 0 2 0 00"},
        {"permit.move:1", "planned unknown 0 2 0 00", "planned unknown 0 2 0 00"},
        {"permit.move:2", "planned unknown 0 2 0 00", "planned created 2 0 0 00"},
        {"job.move:1", "planned created 2 0 0 00", "submitting created 2 0 0 00"},
        {"job.move:2", "submitting created 2 0 0 00", "running created 2 0 0 00"},
        {"budget.count", "running created 2 0 0 00", "running created 2 0 8 00"},
        {"permit.move:3", "running created 2 0 8 00", "running settled 0 0 9 00"},
        {"job.move:3", "running settled 0 0 9 00", "succeeded settled 0 0 9 00"},
        {"store.set", "succeeded settled 0 0 9 00", "succeeded settled 0 0 9 10"},
        {"outbox.put", "succeeded settled 0 0 9 10", "succeeded settled 0 0 9 11"},
        {"process.leave", "succeeded settled 0 0 9 11", "succeeded settled 0 0 9 11"},
    };
    for (size_t i = 0; i < sizeof crashes / sizeof crashes[0]; i++) {
        char point[64];
        size_t n = strcspn(crashes[i].verb, ":");
        snprintf(point, sizeof point, "%.*s:before%s", (int)n, crashes[i].verb, crashes[i].verb + n);
        check_crash(point, crashes[i].before);
        snprintf(point, sizeof point, "%.*s:after%s", (int)n, crashes[i].verb, crashes[i].verb + n);
        check_crash(point, crashes[i].after);
    }
}

#endif

int main(void)
{
    test_eight_processes_never_pass_a_limit();
    test_the_dead_are_buried();
    test_what_the_living_have_is_theirs();
    test_who_was_silent_for_too_long_finds_its_claims_gone();
#ifndef NDEBUG
    test_a_sudden_end_leaves_all_or_nothing();
#endif
    HARNESS_END();
}
