/* The verbs of the journal, the same on both engines. */
#include "journal_fixture.h"

static const char *where; /* NULL: a new directory for each case */

static void begin(void)
{
    open_journal(where ? where : fresh_directory());
}

/* ---- permits and lines -------------------------------------------------------------------------------- */

static void test_a_permit_goes_its_way_and_the_sums_with_it(void)
{
    begin();
    CHECK_INT(RESERVE(1, "2 CCD", "line", "team day 5 CCD 10", "line", "all total 0 CCD", NULL), 0);
    CHECK_INT(rows.count, 2);
    CHECK_STR(text_of(0, "held"), "2 CCD");
    CHECK_STR(text_of(0, "spent"), "0 CCD");
    CHECK(!has(0, "denied"));
    ASK("permit.intent", "intent", intent(1), NULL);
    CHECK_INT(MOVE(1, "sent", "held", NULL), 0);
    CHECK_STR(sums_of("team day 5 CCD"), "2 0 0");
    CHECK_INT(MOVE(1, "unknown", "unknown", NULL), 0);
    CHECK_STR(sums_of("team day 5 CCD"), "0 2 0");
    CHECK_INT(MOVE(1, "created", "held", "remote_id", "r7", NULL), 0);
    CHECK_INT(MOVE(1, "settled", "spent", "amount", "1.5 CCD", NULL), 0);
    CHECK_STR(sums_of("team day 5 CCD"), "0 0 1.5");
    CHECK_STR(sums_of("all total 0 CCD"), "0 0 1.5");
    ASK("permit.get", "intent", intent(1), NULL);
    CHECK_STR(text_of(0, "state"), "settled");
    CHECK_STR(text_of(0, "bucket"), "spent");
    CHECK_STR(text_of(0, "amount"), "1.5 CCD");
    CHECK_STR(text_of(0, "remote_id"), "r7");
    CHECK_STR(text_of(0, "process"), journal_process_id(journal));
    CHECK(has(0, "reserved_at") && has(0, "sent_at") && has(0, "answered_at") && has(0, "ended_at"));
    close_journal();
}

static void test_a_limit_denies_and_records_nothing(void)
{
    begin();
    CHECK_INT(RESERVE(1, "6 CCD", "line", "team day 5 CCD 10", NULL), 0);
    CHECK_INT(RESERVE(2, "5 CCD", "line", "all total 0 CCD 100", "line", "team day 5 CCD 10", NULL), 0);
    CHECK(!has(0, "denied"));
    CHECK_INT(number_of(1, "denied"), 1);
    CHECK_STR(text_of(1, "held"), "6 CCD");
    ASK("permit.get", "intent", intent(2), NULL);
    CHECK_INT(rows.count, 0);
    CHECK_STR(sums_of("all total 0 CCD"), "0 0 0");
    CHECK_INT(RESERVE(2, "4 CCD", "line", "team day 5 CCD 10", NULL), 0); /* just fits */
    CHECK(!has(0, "denied"));
    CHECK_INT(RESERVE(3, "0.000000000000000001 CCD", "line", "team day 5 CCD 10", NULL), 0);
    CHECK_INT(number_of(0, "denied"), 1);
    CHECK_INT(RESERVE(3, "9 CCD", "line", "team day 6 CCD 10", NULL), 0); /* another day */
    CHECK(!has(0, "denied"));
    close_journal();
}

static void test_wrong_orders_of_a_permit_are_refused(void)
{
    begin();
    RESERVE(1, "2 CCD", "line", "team day 5 CCD 10", NULL);
    REFUSED("intent", "permit.reserve", "intent", intent(1), "operation", "c", "service", "s", NULL);
    REFUSED("order", "permit.move", "intent", intent(1), "state", "sent", "bucket", "held", NULL);
    REFUSED("not_found", "permit.intent", "intent", intent(9), NULL);
    REFUSED("not_found", "permit.move", "intent", intent(9), "state", "sent", "bucket", "held", NULL);
    CHECK_INT(MOVE(1, "released", "none", NULL), 0);
    CHECK_STR(sums_of("team day 5 CCD"), "0 0 0");
    REFUSED("order", "permit.intent", "intent", intent(1), NULL);
    close_journal();
}

static void test_unknown_money_is_presumed_spent(void)
{
    begin();
    RESERVE(1, "2 CCD", "line", "team day 5 CCD 10", NULL);
    ASK("permit.intent", "intent", intent(1), NULL);
    MOVE(1, "unknown", "unknown", NULL);
    ASK("permit.presume", "before", "#1", NULL);
    CHECK_INT(rows.count, 0);
    CHECK_STR(sums_of("team day 5 CCD"), "0 2 0");
    ASK("permit.presume", "before", "#99999999999999", NULL);
    CHECK_INT(rows.count, 1);
    CHECK_STR(text_of(0, "bucket"), "spent");
    CHECK_INT(number_of(0, "presumed"), 1);
    CHECK_STR(sums_of("team day 5 CCD"), "0 0 2");
    ASK("permit.presume", "before", "#99999999999999", NULL);
    CHECK_INT(rows.count, 0);
    close_journal();
}

static void test_reports_add_up_exactly(void)
{
    begin();
    for (unsigned n = 1; n <= 3; n++) {
        RESERVE(n, "0.1 CCD", "policy", n == 3 ? "q" : "p", "tags", "[\"x\",\"y\"]", "model", "CNN", NULL);
        ask("permit.intent", "intent", intent(n), NULL);
    }
    MOVE(1, "settled", "spent", "amount", "0.2 CCD", NULL);
    MOVE(2, "settled", "spent", "derived", "#1", NULL);
    RESERVE(4, "7 CNY", NULL);
    ASK("spend.report", "by", "policy", NULL);
    CHECK_INT(rows.count, 3);
    CHECK(!has(0, "group"));
    CHECK_STR(text_of(0, "held"), "7 CNY");
    CHECK_STR(text_of(1, "group"), "p");
    CHECK_STR(text_of(1, "spent"), "0.3 CCD");
    CHECK_STR(text_of(1, "derived"), "0.1 CCD");
    CHECK_STR(text_of(2, "held"), "0.1 CCD");
    ASK("spend.report", "by", "tag", NULL);
    CHECK_INT(rows.count, 2);
    CHECK_STR(text_of(1, "group"), "y");
    CHECK_INT(number_of(1, "permits"), 3);
    ASK("spend.report", "by", "total", NULL);
    CHECK_INT(rows.count, 2);
    CHECK(!has(0, "group"));
    ASK("ratio.list", NULL);
    CHECK_INT(rows.count, 1);
    CHECK_STR(text_of(0, "model"), "CNN");
    CHECK_STR(text_of(0, "estimate"), "0.1 CCD");
    CHECK_STR(text_of(0, "actual"), "0.2 CCD");
    CHECK_INT(number_of(0, "count"), 1);
    close_journal();
}

/* All rows in one text. */
static const char *report(const char *by, const char *since)
{
    static char text[2][2000];
    static int next;
    char *out = text[next++ % 2];
    size_t n = 0;
    out[0] = '\0';
    ASK("spend.report", "by", by, "since", since, NULL);
    for (size_t i = 0; i < rows.count && n < 1500; i++)
        n += (size_t)snprintf(
            out + n, 2000 - n, "%s: held %s unknown %s spent %s derived %s presumed %s %lld\n",
            text_of(i, "group"), text_of(i, "held"), text_of(i, "unknown"), text_of(i, "spent"),
            text_of(i, "derived"), text_of(i, "presumed"), (long long)number_of(i, "permits"));
    return out;
}

/* A report of whole days reads daily totals, one that begins within a day reads permits. */
static void test_daily_totals_agree_with_permits(void)
{
    static const char *const ways[][2] = {{"settled", "spent"}, {"unknown", "unknown"}, {"created", "held"},
                                          {"settled", "spent"}, {"released", "none"},   {"unknown", "spent"},
                                          {"settled", "spent"}};
    static const char *const views[] = {"total", "policy", "tag", "day", "service", "operation"};
    begin();
    for (unsigned n = 1; n <= 20; n++) {
        char amount[24];
        RESERVE(n, n % 7 ? "0.3 CCD" : NULL, "policy", n % 3 ? "p" : NULL, "tags", n % 2 ? "[\"x\"]" : NULL,
                NULL);
        ask("permit.intent", "intent", intent(n), NULL);
        for (unsigned step = 0; step < n % 8; step++) {
            snprintf(amount, sizeof amount, "%u.%u CCD", n, step);
            MOVE(n, ways[step][0], ways[step][1], "amount", step % 2 ? amount : NULL, "derived",
                 step % 3 ? "#1" : NULL, NULL);
            CHECK_INT(failure.kind, 0);
        }
    }
    for (size_t i = 0; i < sizeof views / sizeof views[0]; i++)
        CHECK_STR(report(views[i], NULL), report(views[i], "#1"));
    CHECK(strlen(report("total", NULL)) > 20);
    ASK("journal.verify", NULL);
    CHECK_INT(rows.count, 0);
    close_journal();
}

/* ---- jobs --------------------------------------------------------------------------------------------- */

static void test_a_job_is_submitted_once(void)
{
    begin();
    CHECK_INT(SUBMIT("j1", "train", "k", NULL), 0);
    CHECK_INT(number_of(0, "created"), 1);
    CHECK_INT(number_of(0, "fence"), 1);
    CHECK_INT(SUBMIT("j2", "train", "k", NULL), 0);
    CHECK_INT(number_of(0, "created"), 0);
    CHECK_STR(text_of(0, "id"), "j1");
    REFUSED("other_spec", "job.submit", "id", "j3", "name", "train", "key", "k", "service", "s", "kind", "k",
            "spec", "{}", "hash", "h2", "state", "planned", NULL);
    ASK("job.move", "id", "j1", "fence", "#1", "state", "failed", NULL);
    CHECK_INT(SUBMIT("j4", "train", "k", NULL), -1);
    CHECK_STR(failure.code, "finished");
    CHECK_INT(SUBMIT("j4", "train", "k", "attach", "finished", NULL), 0);
    CHECK_STR(text_of(0, "state"), "failed");
    close_journal();
}

static void test_a_job_moves_with_its_attempts_and_decisions(void)
{
    begin();
    struct record *in = record_new();
    record_set_text(in, "id", "j1");
    record_set_integer(in, "fence", 1);
    record_set_text(in, "state", "submitting");
    record_set_integer(in, "attempt", 1);
    struct record *attempt = record_append(in, "attempts");
    record_set_integer(attempt, "attempt", 1);
    record_set_text(attempt, "price", "3 CNY");
    struct record *decision = record_append(in, "decisions");
    record_set_text(decision, "kind", "submit");
    record_set_text(decision, "text", "it fits");
    SUBMIT("j1", "train", "k", NULL);
    CHECK_INT(ask_record("job.move", in), 0);
    CHECK_STR(text_of(0, "state"), "submitting");
    in = record_new();
    record_set_text(in, "id", "j1");
    record_set_integer(in, "fence", 1);
    record_set_text(in, "state", "running");
    record_set_text(in, "remote_id", "r1");
    record_set_integer(in, "wake_at", 77);
    attempt = record_append(in, "attempts");
    record_set_integer(attempt, "attempt", 1);
    record_set_text(attempt, "remote_id", "r1");
    CHECK_INT(ask_record("job.move", in), 0);
    CHECK(has(0, "started_at") && number_of(0, "wake_at") == 77);
    ASK("attempt.list", "job", "j1", NULL);
    CHECK_INT(rows.count, 1);
    CHECK_STR(text_of(0, "price"), "3 CNY");
    CHECK_STR(text_of(0, "remote_id"), "r1");
    ASK("decision.list", "job", "j1", NULL);
    CHECK_INT(rows.count, 1);
    CHECK_STR(text_of(0, "text"), "it fits");
    ASK("job.move", "id", "j1", "fence", "#1", "wake_at", "#0", "cost", "2 CNY", NULL);
    CHECK(!has(0, "wake_at"));
    CHECK_STR(text_of(0, "cost"), "2 CNY");
    REFUSED("order", "job.move", "id", "j1", "fence", "#1", "state", "denied", NULL);
    REFUSED("fenced", "job.move", "id", "j1", "fence", "#9", "state", "succeeded", NULL);
    REFUSED("not_found", "job.move", "id", "jx", "fence", "#9", "state", "succeeded", NULL);
    ASK("job.move", "id", "j1", "fence", "#1", "state", "succeeded", NULL);
    CHECK(has(0, "ended_at"));
    REFUSED("order", "job.move", "id", "j1", "fence", "#1", "state", "running", NULL);
    close_journal();
}

static void test_a_verb_that_fails_changes_nothing_and_spoils_no_other(void)
{
    begin();
    SUBMIT("j1", "train", "k", NULL);
    struct record *in = record_new(), *value = record_new();
    record_set_text(value, "space", "s");
    record_set_text(value, "name", "a");
    record_set_text(value, "value", "v");
    journal_call(journal, "store.set", value, NULL, NULL); /* most likely in the same batch */
    record_set_text(in, "id", "j1");
    record_set_integer(in, "fence", 1);
    record_set_text(in, "state", "running"); /* not from planned */
    record_set_text(in, "reason", "no");
    CHECK_INT(ask_record("job.move", in), -1);
    ASK("job.get", "id", "j1", NULL);
    CHECK_STR(text_of(0, "state"), "planned");
    CHECK(!has(0, "reason"));
    ASK("store.get", "space", "s", "name", "a", NULL);
    CHECK_STR(text_of(0, "value"), "v");
    close_journal();
}

static void test_jobs_are_found_listed_and_counted(void)
{
    begin();
    SUBMIT("aa1", "n1", "k", "policy", "p", NULL);
    SUBMIT("aa2", "n2", "k", NULL);
    SUBMIT("ab3", "n3", "k", NULL);
    ask("job.move", "id", "aa2", "fence", "#1", "state", "stopped", NULL);
    ASK("job.get", "id", "ab", NULL);
    CHECK_STR(text_of(0, "id"), "ab3");
    REFUSED("ambiguous", "job.get", "id", "a", NULL);
    ASK("job.get", "id", "zz", NULL);
    CHECK_INT(rows.count, 0);
    ASK("job.get", "name", "n2", "key", "k", NULL);
    CHECK_STR(text_of(0, "id"), "aa2");
    REFUSED("field", "job.get", "name", "n2", NULL);
    ASK("job.list", NULL);
    CHECK_INT(rows.count, 3);
    CHECK_STR(text_of(0, "id"), "ab3");
    ASK("job.list", "limit", "#1", "after", "ab3", NULL);
    CHECK_STR(text_of(0, "id"), "aa2");
    ASK("job.list", "active", "#1", NULL);
    CHECK_INT(rows.count, 2);
    ASK("job.list", "active", "#0", NULL);
    CHECK_STR(text_of(0, "id"), "aa2");
    ASK("job.list", "policy", "p", "mine", "#1", NULL);
    CHECK_STR(text_of(0, "id"), "aa1");
    ASK("job.counts", NULL);
    CHECK_INT(rows.count, 3);
    for (size_t i = 0; i < rows.count; i++) CHECK_INT(number_of(i, "count"), 1);
    close_journal();
}

static void test_jobs_are_released_claimed_and_asked(void)
{
    begin();
    SUBMIT("j1", "n1", "k", NULL);
    SUBMIT("j2", "n2", "k", NULL);
    ASK("job.claim", NULL);
    CHECK_INT(rows.count, 0);
    ASK("job.release", "id", "j1", NULL);
    ASK("job.list", "orphan", "#1", NULL);
    CHECK_STR(text_of(0, "id"), "j1");
    REFUSED("fenced", "job.move", "id", "j1", "fence", "#1", "state", "held", NULL);
    ASK("job.ask", "id", "j1", "request", "{\"stop\":true}", NULL);
    ASK("job.asked", NULL);
    CHECK_INT(rows.count, 0);
    ASK("job.claim", "limit", "#5", NULL);
    CHECK_INT(rows.count, 1);
    CHECK_STR(text_of(0, "process"), journal_process_id(journal));
    ASK("job.asked", NULL);
    CHECK_STR(text_of(0, "request"), "{\"stop\":true}");
    ASK("job.asked", NULL);
    CHECK_INT(rows.count, 0);
    REFUSED("not_found", "job.ask", "id", "jx", "request", "{}", NULL);
    ASK("job.note", "id", "j2", "kind", "look", "text", "all is well", NULL);
    REFUSED("not_found", "job.note", "id", "jx", "kind", "look", "text", "all is well", NULL);
    close_journal();
}

/* ---- the rest ----------------------------------------------------------------------------------------- */

static void test_stored_values_have_versions(void)
{
    begin();
    ASK("store.get", "space", "s", "name", "a", NULL);
    CHECK_INT(rows.count, 0);
    ASK("store.set", "space", "s", "name", "a", "value", "1", "version", "#0", NULL);
    int64_t first = number_of(0, "version");
    REFUSED("conflict", "store.set", "space", "s", "name", "a", "value", "2", "version", "#0", NULL);
    ASK("store.set", "space", "s", "name", "a", "value", "2", NULL);
    CHECK(number_of(0, "version") > first);
    ASK("store.set", "space", "s", "name", "ab", "value", "3", NULL);
    ASK("store.set", "space", "t", "name", "ac", "value", "4", NULL);
    ASK("store.list", "space", "s", "prefix", "a", NULL);
    CHECK_INT(rows.count, 2);
    ASK("store.list", "space", "s", "after", "a", NULL);
    CHECK_STR(text_of(0, "name"), "ab");
    REFUSED("conflict", "store.delete", "space", "s", "name", "a", "version", "#1234", NULL);
    ASK("store.delete", "space", "s", "name", "a", NULL);
    CHECK_INT(number_of(0, "deleted"), 1);
    ASK("store.delete", "space", "s", "name", "a", NULL);
    CHECK_INT(number_of(0, "deleted"), 0);
    close_journal();
}

static void test_a_lock_has_one_holder_and_hands_over_a_note(void)
{
    begin();
    ASK("lock.take", "name", "l", NULL);
    CHECK_INT(number_of(0, "taken"), 1);
    CHECK(!has(0, "note"));
    ASK("lock.take", "name", "l", NULL);
    CHECK_INT(number_of(0, "taken"), 0);
    CHECK_STR(text_of(0, "process"), journal_process_id(journal));
    CHECK_INT(number_of(0, "pid"), getpid());
    ASK("lock.free", "name", "l", "note", "draft 7", NULL);
    ASK("lock.take", "name", "l", NULL);
    CHECK_STR(text_of(0, "note"), "draft 7");
    ASK("lock.free", "name", "l", NULL);
    ASK("lock.take", "name", "l", NULL);
    CHECK_INT(number_of(0, "taken"), 1);
    CHECK(!has(0, "note"));
    close_journal();
}

static void test_messages_wait_and_are_not_sent_twice(void)
{
    begin();
    ASK("outbox.put", "id", "m1", "event", "e", "target", "t", "body", "b", NULL);
    CHECK_INT(number_of(0, "created"), 1);
    ASK("outbox.put", "id", "m1", "event", "e", "target", "t", "body", "c", NULL);
    CHECK_INT(number_of(0, "created"), 0);
    ASK("outbox.put", "id", "m2", "event", "e", "target", "t", "body", "b", "not_before", "#99999999999999",
        NULL);
    ASK("outbox.due", NULL);
    CHECK_INT(rows.count, 1);
    CHECK_STR(text_of(0, "body"), "b");
    ASK("outbox.later", "id", "m1", "not_before", "#99999999999999", "error", "no", NULL);
    ASK("outbox.due", NULL);
    CHECK_INT(rows.count, 0);
    ASK("outbox.later", "id", "m1", "not_before", "#1", "error", "no", NULL);
    ASK("outbox.due", NULL);
    CHECK_INT(number_of(0, "tries"), 2);
    ASK("outbox.done", "id", "m1", "outcome", "sent", NULL);
    ASK("outbox.due", NULL);
    CHECK_INT(rows.count, 0);
    ASK("outbox.put", "id", "m1", "event", "e", "target", "t", "body", "c", NULL);
    CHECK_INT(number_of(0, "created"), 0);
    ASK("outbox.list", NULL);
    CHECK_STR(text_of(1, "outcome"), "sent");
    close_journal();
}

static void test_runs_of_hooks_and_how_often_they_failed(void)
{
    static const char *const outcomes[] = {"done", "failed", "skipped", "timeout"};
    begin();
    for (size_t i = 0; i < 4; i++) {
        char number[24];
        ASK("hook.begin", "policy", "p", "hook", "h", NULL);
        snprintf(number, sizeof number, "#%lld", (long long)number_of(0, "number"));
        ASK("hook.end", "number", number, "outcome", outcomes[i], NULL);
    }
    REFUSED("not_found", "hook.end", "number", "#1234", "outcome", "done", NULL);
    ASK("hook.begin", "policy", "p", "hook", "other", NULL);
    ASK("hook.last", NULL);
    CHECK_INT(rows.count, 2);
    size_t h = strcmp(text_of(0, "hook"), "h") == 0 ? 0 : 1;
    CHECK_STR(text_of(h, "outcome"), "timeout");
    CHECK_INT(number_of(h, "failures"), 2);
    CHECK_INT(number_of(1 - h, "failures"), 0);
    ASK("hook.list", "hook", "h", "limit", "#2", NULL);
    CHECK_INT(rows.count, 2);
    CHECK_STR(text_of(0, "outcome"), "timeout");
    close_journal();
}

static void test_fields_are_checked(void)
{
    begin();
    REFUSED("field", "job.list", "state", "planned denied", NULL);
    REFUSED("verb", "job.fly", NULL);
    REFUSED("field", "store.get", "space", "s", NULL);
    CHECK(strstr(failure.message, "\"name\"") != NULL);
    REFUSED("field", "store.get", "space", "s", "name", "n", "colour", "red", NULL);
    CHECK(strstr(failure.message, "\"colour\"") != NULL);
    REFUSED("field", "permit.get", "intent", "12", NULL);
    REFUSED("field", "permit.reserve", "intent", intent(1), "operation", "o", "service", "s", "price", "5",
            NULL);
    REFUSED("field", "permit.reserve", "intent", intent(1), "operation", "o", "service", "s", "price",
            "-5 CCD", NULL);
    REFUSED("field", "job.list", "active", "#2", NULL);
    REFUSED("field", "job.list", "state", "run", NULL);
    REFUSED("field", "job.list", "limit", "3", NULL);
    close_journal();
}

static void test_processes_come_and_go(void)
{
    begin();
    ASK("process.list", NULL);
    CHECK_INT(rows.count, 1);
    CHECK_INT(number_of(0, "mine"), 1);
    CHECK_INT(number_of(0, "alive"), 1);
    CHECK_INT(number_of(0, "pid"), getpid());
    ASK("process.last", "kind", "run", NULL);
    CHECK_INT(rows.count, 0);
    RESERVE(1, "1 CCD", "line", "b total 0 CCD", NULL);
    RESERVE(2, "1 CCD", "line", "b total 0 CCD", NULL);
    ask("permit.intent", "intent", intent(2), NULL);
    MOVE(2, "sent", "held", NULL);
    SUBMIT("j1", "n", "k", NULL);
    ASK("process.leave", NULL);
    CHECK_STR(sums_of("b total 0 CCD"), "0 1 0");
    ASK("job.list", "orphan", "#1", NULL);
    CHECK_INT(rows.count, 1);
    REFUSED("not_found", "permit.intent", "intent", intent(9), NULL); /* it goes on all the same: */
    CHECK_INT(SUBMIT("j2", "n2", "k", NULL), 0);
    CHECK_STR(text_of(0, "kind"), "job");
    ASK("lock.take", "name", "l", NULL);
    ASK("lock.take", "name", "l", NULL);
    CHECK_INT(number_of(0, "taken"), 0);
    close_journal();
}

static void test_export_gives_json_lines(void)
{
    begin();
    SUBMIT("j1", "a \"name\"", "k", NULL);
    ASK("journal.export", NULL);
    CHECK(rows.count > 8);
    ASK("journal.export", "table", "jobs", NULL);
    CHECK_INT(rows.count, 1);
    CHECK(strstr(text_of(0, "line"), "\"name\":\"a \\\"name\\\"\"") != NULL);
    char after[32];
    snprintf(after, sizeof after, "%s", text_of(0, "key"));
    ASK("journal.export", "table", "jobs", "after", after, NULL);
    CHECK_INT(rows.count, 0);
    REFUSED("table", "journal.export", "table", "cars", NULL);
    close_journal();
}

static void test_verify_finds_nothing_wrong(void)
{
    begin();
    RESERVE(1, "1 CCD", "line", "b total 0 CCD", "line", "b day 1 CCD", NULL);
    ask("budget.count", "line", "b total 0 CCD", "amount", "3 CCD", NULL);
    ask("budget.count", "line", "b total 0 CCD", "amount", "2 CCD", "unknown", "#1", NULL);
    CHECK_STR(sums_of("b total 0 CCD"), "1 2 3");
    SUBMIT("j1", "n", "k", NULL);
    ASK("journal.verify", NULL);
    CHECK_INT(rows.count, 0);
    close_journal();
}

static void test_compact_keeps_what_counts(void)
{
    begin();
    RESERVE(1, "1 CCD", "line", "b total 0 CCD", "model", "CNN", NULL);
    ask("permit.intent", "intent", intent(1), NULL);
    MOVE(1, "settled", "spent", "amount", "2 CCD", NULL);
    RESERVE(2, "5 CCD", "line", "b total 0 CCD", NULL);
    SUBMIT("j1", "n", "k", NULL);
    SUBMIT("j2", "n2", "k", NULL);
    ask("job.note", "id", "j1", "kind", "x", "text", "y", NULL);
    ask("job.move", "id", "j1", "fence", "#1", "state", "stopped", NULL);
    ASK("journal.compact", NULL);
    CHECK_INT(number_of(0, "jobs"), 0);
    static const struct timespec moment = {0, 3000000};
    nanosleep(&moment, NULL); /* older than now */
    ASK("journal.compact", "keep_days", "#0", NULL);
    CHECK_INT(number_of(0, "jobs"), 1);
    CHECK_INT(number_of(0, "permits"), 1);
    CHECK_INT(number_of(0, "decisions"), 1);
    CHECK_STR(sums_of("b total 0 CCD"), "5 0 2");
    ASK("spend.report", "by", "total", NULL);
    CHECK_INT(rows.count, 1);
    CHECK_STR(text_of(0, "spent"), "2 CCD");
    CHECK_STR(text_of(0, "held"), "5 CCD");
    CHECK_INT(number_of(0, "permits"), 2);
    ASK("ratio.list", NULL);
    CHECK_STR(text_of(0, "actual"), "2 CCD");
    ASK("journal.verify", NULL);
    CHECK_INT(rows.count, 0);
    ASK("job.list", NULL);
    CHECK_INT(rows.count, 1);
    close_journal();
}

/* However little is kept, what was spent this month still stands against the month's limit. */
static void test_compact_leaves_present_windows(void)
{
    begin();
    RESERVE(1, "2 CCD", "line", "b month 600 CCD 3", NULL);
    ask("permit.intent", "intent", intent(1), NULL);
    MOVE(1, "settled", "spent", NULL);
    static const struct timespec moment = {0, 3000000};
    nanosleep(&moment, NULL); /* older than now */
    ASK("journal.compact", "keep_days", "#0", NULL);
    CHECK_INT(number_of(0, "permits"), 1);
    CHECK_STR(sums_of("b month 600 CCD"), "0 0 2");
    RESERVE(2, "2 CCD", "line", "b month 600 CCD 3", NULL);
    CHECK_INT(number_of(0, "denied"), 1);
    close_journal();
}

int main(void)
{
    static const char *const places[] = {NULL, ":memory:"};
    for (size_t i = 0; i < 2; i++) {
        where = places[i];
        int failed = harness_failed;
        test_a_permit_goes_its_way_and_the_sums_with_it();
        test_a_limit_denies_and_records_nothing();
        test_wrong_orders_of_a_permit_are_refused();
        test_unknown_money_is_presumed_spent();
        test_reports_add_up_exactly();
        test_daily_totals_agree_with_permits();
        test_a_job_is_submitted_once();
        test_a_job_moves_with_its_attempts_and_decisions();
        test_a_verb_that_fails_changes_nothing_and_spoils_no_other();
        test_jobs_are_found_listed_and_counted();
        test_jobs_are_released_claimed_and_asked();
        test_stored_values_have_versions();
        test_a_lock_has_one_holder_and_hands_over_a_note();
        test_messages_wait_and_are_not_sent_twice();
        test_runs_of_hooks_and_how_often_they_failed();
        test_fields_are_checked();
        test_processes_come_and_go();
        test_export_gives_json_lines();
        test_verify_finds_nothing_wrong();
        test_compact_keeps_what_counts();
        test_compact_leaves_present_windows();
        if (harness_failed > failed) printf("in %s\n", where ? where : "a directory");
    }
    HARNESS_END();
}
