/* Both engines get the same verbs in the same order, drawn at random, and must answer the same. */
#include "journal_fixture.h"

#include "host/buf.h"
#include "host/journal_engine.h"
#include "host/random.h"

enum { ROUNDS = 10, STEPS = 400 };

static struct random rnd;

static unsigned below(unsigned n)
{
    return (unsigned)random_below(&rnd, n);
}

static const char *one_of(const char *const *words, size_t n)
{
    return words[below((unsigned)n)];
}
#define ONE_OF(...)                                                                                          \
    one_of((const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void maybe_text(struct record *in, const char *name, const char *value)
{
    if (below(2)) record_set_text(in, name, value);
}

static void put_lines(struct record *in)
{
    for (unsigned n = below(3); n > 0; n--) {
        char line[64];
        snprintf(line, sizeof line, "%s %s %u %s%s", ONE_OF("team", "all"), ONE_OF("day", "total"), below(2),
                 ONE_OF("CCD", "CNY"), ONE_OF("", " 3", " 0.5"));
        put_line(in, line);
    }
}

static const char *an_amount(void)
{
    static char text[4][32];
    static int next;
    char *out = text[next++ % 4];
    snprintf(out, 32, "%u.%u %s", below(3), below(100), ONE_OF("CCD", "CCD", "CCD", "CNY"));
    return out;
}

static const char *a_job(void)
{
    return ONE_OF("a1", "a2", "b1", "b2", "c");
}

static void draw_permit(struct record *in, enum journal_verb verb)
{
    if (verb == VERB_PERMIT_RESERVE) {
        record_set_text(in, "operation", ONE_OF("create", "infer"));
        record_set_text(in, "service", ONE_OF("deai", "sxwl"));
        maybe_text(in, "price", an_amount());
        maybe_text(in, "job", a_job());
        maybe_text(in, "policy", ONE_OF("p", "q"));
        maybe_text(in, "tags", ONE_OF("[\"x\"]", "[\"x\",\"y\"]"));
        maybe_text(in, "model", "CNN");
        maybe_text(in, "key", ONE_OF("k1", "k2"));
        put_lines(in);
    } else if (verb == VERB_PERMIT_MOVE) {
        const char *state = ONE_OF("sent", "unknown", "created", "settled", "released");
        record_set_text(in, "state", state);
        record_set_text(in, "bucket",
                        strcmp(state, "released") == 0  ? "none"
                        : strcmp(state, "settled") == 0 ? "spent"
                        : strcmp(state, "unknown") == 0 ? "unknown"
                                                        : "held");
        maybe_text(in, "amount", an_amount());
        maybe_text(in, "remote_id", "r1");
        if (below(2)) record_set_integer(in, "derived", below(2));
    }
    record_set_text(in, "intent", intent(below(12)));
}

static void draw_job(struct record *in, enum journal_verb verb)
{
    const char *id = a_job();
    record_set_text(in, "id", id);
    if (verb == VERB_JOB_SUBMIT) {
        record_set_text(in, "name", ONE_OF("n1", "n2", "n3"));
        record_set_text(in, "key", ONE_OF("", "k"));
        record_set_text(in, "service", ONE_OF("deai", "sxwl"));
        record_set_text(in, "kind", "job");
        record_set_text(in, "spec", "{}");
        record_set_text(in, "hash", ONE_OF("h", "h", "h", "other"));
        record_set_text(in, "state", ONE_OF("planned", "planned", "held", "denied"));
        maybe_text(in, "policy", ONE_OF("p", "q"));
        if (below(3) == 0) record_set_text(in, "attach", "finished");
        return;
    }
    record_set_integer(in, "fence", 1 + (int64_t)below(3));
    if (below(4))
        record_set_text(in, "state",
                        ONE_OF("planned", "held", "submitting", "running", "unknown", "succeeded", "failed",
                               "stopped", "expired"));
    maybe_text(in, "reason", ONE_OF("", "because"));
    maybe_text(in, "cost", an_amount());
    if (below(2)) record_set_integer(in, "wake_at", below(3));
    if (below(2)) record_set_text(record_append(in, "decisions"), "kind", "k");
    const struct record_list *decisions = record_rows(in, "decisions");
    if (decisions->count) record_set_text(decisions->items[0], "text", "words");
    if (below(2)) {
        struct record *attempt = record_append(in, "attempts");
        record_set_integer(attempt, "attempt", 1 + (int64_t)below(2));
        maybe_text(attempt, "remote_id", "r2");
        maybe_text(attempt, "state", ONE_OF("running", "failed"));
    }
}

static void draw_list(struct record *in, enum journal_verb verb)
{
    if (verb == VERB_JOB_LIST) {
        maybe_text(in, "state", ONE_OF("planned", "running", "failed"));
        if (below(2)) record_set_integer(in, "active", below(2));
        if (below(3) == 0) record_set_integer(in, "mine", below(2));
        if (below(3) == 0) record_set_integer(in, "orphan", below(2));
        if (below(3) == 0) record_set_integer(in, "since", 1000 + (int64_t)below(STEPS));
        if (below(3) == 0) record_set_text(in, "after", a_job());
    } else if (verb == VERB_PERMIT_LIST) {
        maybe_text(in, "state", ONE_OF("sent", "settled"));
        maybe_text(in, "job", a_job());
        maybe_text(in, "key", "k1");
        if (below(2)) record_set_integer(in, "since", 1000 + (int64_t)below(STEPS));
    } else if (verb == VERB_SPEND_REPORT) {
        record_set_text(in, "by", ONE_OF("total", "policy", "job", "tag", "day", "service", "operation"));
        if (below(2)) record_set_integer(in, "since", 1000 + (int64_t)below(STEPS));
    }
    if (verb != VERB_SPEND_REPORT && below(2)) record_set_integer(in, "limit", 1 + (int64_t)below(5));
}

static void draw_rest(struct record *in, enum journal_verb verb)
{
    if (verb >= VERB_STORE_GET && verb <= VERB_STORE_DELETE) {
        record_set_text(in, "space", ONE_OF("s", "t"));
        record_set_text(in, "name", ONE_OF("a", "ab", "b"));
        if (verb == VERB_STORE_SET) record_set_text(in, "value", ONE_OF("1", "2"));
        if (verb != VERB_STORE_GET && below(3) == 0) record_set_integer(in, "version", below(6));
    } else if (verb == VERB_STORE_LIST) {
        record_set_text(in, "space", "s");
        maybe_text(in, "prefix", ONE_OF("a", "b", ""));
        maybe_text(in, "after", ONE_OF("a", "ab"));
    } else if (verb == VERB_LOCK_TAKE || verb == VERB_LOCK_FREE) {
        record_set_text(in, "name", ONE_OF("l1", "l2"));
        if (verb == VERB_LOCK_FREE) maybe_text(in, "note", "n");
    } else if (verb == VERB_OUTBOX_PUT) {
        record_set_text(in, "id", ONE_OF("m1", "m2", "m3"));
        record_set_text(in, "event", "e");
        record_set_text(in, "target", "t");
        record_set_text(in, "body", ONE_OF("x", "y"));
        if (below(2)) record_set_integer(in, "not_before", 1000 + (int64_t)below(STEPS));
    } else if (verb == VERB_OUTBOX_LATER || verb == VERB_OUTBOX_DONE) {
        record_set_text(in, "id", ONE_OF("m1", "m2", "m3"));
        if (verb == VERB_OUTBOX_DONE) record_set_text(in, "outcome", ONE_OF("sent", "given_up"));
        if (verb == VERB_OUTBOX_LATER) record_set_integer(in, "not_before", 1000 + (int64_t)below(STEPS));
    } else if (verb == VERB_HOOK_BEGIN) {
        record_set_text(in, "policy", ONE_OF("p", "q"));
        record_set_text(in, "hook", ONE_OF("h", "i"));
    } else if (verb == VERB_HOOK_END) {
        record_set_integer(in, "number", 1 + (int64_t)below(20));
        record_set_text(in, "outcome", ONE_OF("done", "failed", "timeout", "skipped"));
    }
}

static struct record *draw(enum journal_verb verb)
{
    struct record *in = record_new();
    switch (verb) {
    case VERB_PERMIT_RESERVE:
    case VERB_PERMIT_INTENT:
    case VERB_PERMIT_MOVE:
    case VERB_PERMIT_GET:
    case VERB_PERMIT_TAKE: draw_permit(in, verb); break;
    case VERB_PERMIT_PRESUME: record_set_integer(in, "before", 1000 + (int64_t)below(STEPS)); break;
    case VERB_BUDGET_COUNT:
        record_set_text(in, "amount", an_amount());
        if (below(2)) record_set_integer(in, "unknown", below(2));
        put_line(in, "team total 0 CCD");
        break;
    case VERB_BUDGET_LINES:
        put_line(in, "team total 0 CCD");
        put_line(in, "team day 1 CNY");
        put_line(in, "all day 0 CCD 3");
        break;
    case VERB_JOB_SUBMIT:
    case VERB_JOB_MOVE: draw_job(in, verb); break;
    case VERB_JOB_GET: record_set_text(in, "id", ONE_OF("a1", "a", "b", "c", "zz")); break;
    case VERB_JOB_NOTE:
        record_set_text(in, "kind", "k");
        record_set_text(in, "text", "t");
        record_set_text(in, "id", a_job());
        break;
    case VERB_JOB_ASK:
        record_set_text(in, "id", a_job());
        record_set_text(in, "request", "{}");
        break;
    case VERB_JOB_RELEASE:
    case VERB_JOB_CLAIM: maybe_text(in, "id", a_job()); break;
    case VERB_ATTEMPT_LIST: record_set_text(in, "job", a_job()); break;
    case VERB_DECISION_LIST:
        record_set_text(in, "job", a_job());
        if (below(2)) record_set_integer(in, "limit", 2);
        break;
    case VERB_JOB_LIST:
    case VERB_PERMIT_LIST:
    case VERB_SPEND_REPORT: draw_list(in, verb); break;
    case VERB_JOURNAL_COMPACT: record_set_integer(in, "keep_days", below(2)); break;
    default: draw_rest(in, verb); break;
    }
    return in;
}

/* ---- comparing -------------------------------------------------------------------------------------------
 */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* A record as "name=value" in the order of the names. A number that is an engine's own is left out. */
static char *text_of_row(const struct record *row, bool numbers)
{
    char *fields[64];
    size_t count = 0;
    struct buf text = {0};
    for (size_t i = 0; i < record_size(row) && count < 64; i++) {
        const char *name = record_name(row, i);
        if (record_type(row, name) == RECORD_NONE || strcmp(name, "bytes") == 0) continue;
        if (!numbers && strcmp(name, "number") == 0) continue;
        buf_clear(&text);
        if (record_type(row, name) == RECORD_INTEGER)
            buf_printf(&text, "%s=%lld", name, (long long)record_integer(row, name));
        else
            buf_printf(&text, "%s=%s", name, record_text(row, name));
        fields[count++] = mem_strdup(buf_str(&text));
    }
    buf_clear(&text);
    qsort(fields, count, sizeof *fields, by_text);
    for (size_t i = 0; i < count; i++) {
        buf_printf(&text, "%s ", fields[i]);
        mem_free(fields[i]);
    }
    return buf_take(&text, NULL);
}

/* What an engine answers, as text. */
static char *answer(struct journal_engine *engine, enum journal_verb verb, const struct record *in,
                    int64_t now_ms)
{
    struct record_list out = {NULL, 0};
    struct err err = {.kind = 0};
    struct buf text = {0};
    bool numbers = verb != VERB_DECISION_LIST;
    bool writes = journal_verb_way(verb) == JOURNAL_WRITES;
    bool alone = journal_verb_way(verb) == JOURNAL_ALONE;
    if (!alone) CHECK_INT(engine->type->begin(engine, writes, &err), 0);
    int rc = engine->type->apply(engine, verb, in, now_ms, &out, &err);
    if (!alone) CHECK_INT(engine->type->commit(engine, &err), 0);
    if (rc < 0) buf_printf(&text, "%s/%s", err_kind_name(err.kind), err.code);
    char **lines = mem_alloc_array(out.count + 1, sizeof *lines);
    for (size_t i = 0; rc == 0 && i < out.count; i++) lines[i] = text_of_row(out.items[i], numbers);
    bool any_order = verb == VERB_JOB_COUNTS || verb == VERB_HOOK_LAST;
    if (rc == 0 && any_order) qsort(lines, out.count, sizeof *lines, by_text);
    for (size_t i = 0; rc == 0 && i < out.count; i++) {
        buf_printf(&text, "%s\n", lines[i]);
        mem_free(lines[i]);
    }
    mem_free(lines);
    record_list_deinit(&out);
    return buf_take(&text, NULL);
}

static bool is_compared(enum journal_verb verb)
{
    return verb != VERB_PROCESS_LIST && verb != VERB_PROCESS_LAST && verb != VERB_JOURNAL_EXPORT &&
           verb != VERB_JOURNAL_BACKUP;
}

/* True while they agree. */
static bool step(struct journal_engine *engines[2], int64_t now_ms)
{
    enum journal_verb verb;
    do verb = (enum journal_verb)below(JOURNAL_VERB_COUNT);
    while (!is_compared(verb) || (verb == VERB_PROCESS_LEAVE && below(4)));
    if (below(3) == 0) verb = below(2) ? VERB_PERMIT_MOVE : VERB_PERMIT_RESERVE;
    struct record *in = draw(verb);
    struct err err = {.kind = 0};
    if (journal_verb_check(verb, in, &err) < 0) printf("%s\n", err.message);
    CHECK_INT(err.kind, 0);
    char *a = answer(engines[0], verb, in, now_ms), *b = answer(engines[1], verb, in, now_ms);
    bool same = strcmp(a, b) == 0;
    if (!same) {
        char *asked = text_of_row(in, true);
        printf("%s %s\n", journal_verb_name(verb), asked);
        mem_free(asked);
    }
    CHECK_STR(a, b);
    mem_free(a);
    mem_free(b);
    record_free(in);
    return same;
}

static void test_both_engines_answer_the_same(uint64_t seed)
{
    struct journal_process self;
    struct err err = {.kind = 0};
    random_init(&rnd, seed);
    journal_process_self(&self, "run", NULL);
    struct journal_engine *engines[2] = {journal_sqlite_new(fresh_directory(), &self),
                                         journal_memory_new(&self)};
    for (int i = 0; i < 2; i++) CHECK_INT(engines[i]->type->open(engines[i], 1000, &err), 0);
    bool same = true;
    for (int i = 1; i <= STEPS && same; i++) same = step(engines, 1000 + i);
    if (!same) printf("seed %llu\n", (unsigned long long)seed);
    for (int i = 0; i < 2; i++) {
        engines[i]->type->close(engines[i]);
        engines[i]->type->free(engines[i]);
    }
}

int main(void)
{
    for (uint64_t seed = 1; seed <= ROUNDS; seed++) test_both_engines_answer_the_same(seed);
    HARNESS_END();
}
