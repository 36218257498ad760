/* journal_memory_jobs.c - jobs, their attempts and decisions, in memory. */
#include <stdlib.h>
#include <string.h>

#include "host/journal_memory.h"

const struct table_schema memory_jobs = {
    .name = "jobs",
    .columns = {"id",         "name",       "key",        "service",  "kind",    "state",      "reason",
                "spec",       "hash",       "options",    "policy",   "tags",    "attempt",    "intent",
                "remote_id",  "price",      "cost",       "result",   "error",   "process",    "fence",
                "created_at", "changed_at", "started_at", "ended_at", "wake_at", "expires_at", "request"},
    .indexes = {{JOB_ID, -1}, {JOB_NAME, JOB_KEY, -1}},
    .index_count = 2,
};

enum { ATTEMPT_JOB, ATTEMPT_NUMBER };

const struct table_schema memory_attempts = {
    .name = "attempts",
    .columns = {"job", "attempt", "intent", "state", "remote_id", "spec", "price", "cost", "derived", "error",
                "started_at", "ended_at"},
    .indexes = {{ATTEMPT_JOB, ATTEMPT_NUMBER, -1}, {ATTEMPT_JOB, -1}},
    .index_count = 2,
};

enum { DECISION_JOB, DECISION_NUMBER, DECISION_AT };

const struct table_schema memory_decisions = {
    .name = "decisions",
    .columns = {"job", "number", "at", "kind", "text", "data", "policy"},
    .indexes = {{DECISION_JOB, -1}},
    .index_count = 1,
};

static bool is_active(const struct row *job)
{
    return journal_job_active(row_text(job, JOB_STATE));
}

static void put(const struct memory *m, const struct row *job, struct record_list *out)
{
    table_put(&m->jobs, job, record_list_add(out));
}

static struct row *need_job(const struct memory *m, const char *verb, const struct record *in,
                            struct err *err)
{
    const char *id = record_text(in, "id");
    struct row *job = table_find_text(&m->jobs, 0, id);
    if (!job) journal_invalid(err, "not_found", "%s: there is no job %s", verb, id);
    return job;
}

/* Under a new fence: whoever had it before cannot move it any more. */
static void give_to(struct memory *m, struct row *job, const char *process)
{
    table_set_text(&m->jobs, job, JOB_PROCESS, process);
    table_set_integer(&m->jobs, job, JOB_FENCE, row_integer(job, JOB_FENCE) + 1);
}

/* ---- submitting --------------------------------------------------------------------------------------- */

static int attach(struct memory *m, struct row *job, const struct record *in, struct record_list *out,
                  struct err *err)
{
    const char *name = record_text(in, "name"), *key = record_text(in, "key");
    const char *id = row_text(job, JOB_ID), *state = row_text(job, JOB_STATE);
    if (!row_is(job, JOB_HASH, record_text(in, "hash")))
        return journal_invalid(err, "other_spec",
                               "job \"%s\" with key \"%s\" is there with another spec (job %s)", name, key,
                               id);
    if (!journal_job_active(state) && !record_text(in, "attach"))
        return journal_invalid(err, "finished", "job \"%s\" with key \"%s\" is finished: %s (job %s)", name,
                               key, state, id);
    if (journal_job_active(state) && !row_has(job, JOB_PROCESS)) give_to(m, job, m->self.id);
    put(m, job, out);
    record_set_integer(out->items[0], "created", 0);
    return 0;
}

int memory_job_submit(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    const char *id = record_text(in, "id"), *state = record_text(in, "state");
    struct row *job = table_find_texts(&m->jobs, 1, record_text(in, "name"), record_text(in, "key"));
    if (job) return attach(m, job, in, out, err);
    if (table_find_text(&m->jobs, 0, id))
        return journal_invalid(err, "id", "a job has the id %s already", id);
    job = table_add(&m->jobs, in);
    table_set_integer(&m->jobs, job, JOB_ATTEMPT, 0);
    table_set_text(&m->jobs, job, JOB_PROCESS, m->self.id);
    table_set_integer(&m->jobs, job, JOB_FENCE, 1);
    table_set_integer(&m->jobs, job, JOB_CREATED_AT, m->now);
    table_set_integer(&m->jobs, job, JOB_CHANGED_AT, m->now);
    if (!journal_job_active(state)) table_set_integer(&m->jobs, job, JOB_ENDED_AT, m->now);
    put(m, job, out);
    record_set_integer(out->items[0], "created", 1);
    return 0;
}

/* ---- looking ------------------------------------------------------------------------------------------ */

static int get_by_prefix(const struct memory *m, const char *prefix, struct record_list *out, struct err *err)
{
    const struct row *job, *found = NULL;
    size_t length = strlen(prefix);
    for (size_t at = 0; (job = table_each(&m->jobs, &at));) {
        if (strncmp(row_text(job, JOB_ID), prefix, length) != 0) continue;
        if (found)
            return journal_invalid(err, "ambiguous", "several jobs have an id that begins with \"%s\"",
                                   prefix);
        found = job;
    }
    if (found) put(m, found, out);
    return 0;
}

int memory_job_get(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    const char *id = record_text(in, "id");
    const struct row *job =
        id ? table_find_text(&m->jobs, 0, id)
           : table_find_texts(&m->jobs, 1, record_text(in, "name"), record_text(in, "key"));
    if (!job && id) return get_by_prefix(m, id, out, err);
    if (job) put(m, job, out);
    return 0;
}

static bool fits_flag(const struct record *in, const char *flag, bool value)
{
    return record_type(in, flag) == RECORD_NONE || (record_integer(in, flag) != 0) == value;
}

static bool is_wanted(const struct memory *m, const struct row *job, const struct record *in)
{
    static const struct {
        const char *field;
        enum job_column column;
    } filters[] = {
        {"state", JOB_STATE}, {"service", JOB_SERVICE}, {"policy", JOB_POLICY}, {"name", JOB_NAME}};
    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
        const char *wanted = record_text(in, filters[i].field);
        if (wanted && !row_is(job, filters[i].column, wanted)) return false;
    }
    return fits_flag(in, "active", is_active(job)) &&
           fits_flag(in, "mine", row_is(job, JOB_PROCESS, m->self.id)) &&
           fits_flag(in, "orphan", is_active(job) && !row_has(job, JOB_PROCESS)) &&
           row_integer(job, JOB_CREATED_AT) >= record_integer(in, "since");
}

int memory_job_list(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    const char *after = record_text(in, "after");
    int64_t limit = journal_limit(in, INT64_MAX);
    const struct row *job = after ? table_find_text(&m->jobs, 0, after) : NULL;
    if (after && !job)
        return journal_invalid(err, "not_found", "job.list: there is no job %s to go on after", after);
    for (size_t at = job ? job->slot : m->jobs.slots; (job = table_each_back(&m->jobs, &at));) {
        if (!is_wanted(m, job, in)) continue;
        put(m, job, out);
        if ((int64_t)out->count >= limit) break;
    }
    return 0;
}

static bool has_text(const struct record *record, const char *field, const char *text)
{
    const char *have = record_text(record, field);
    return have && text ? strcmp(have, text) == 0 : have == text;
}

/* There are few combinations: each job is looked up in the list of those that were seen. */
int memory_job_counts(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    (void)in, (void)err;
    const struct row *job;
    for (size_t at = 0; (job = table_each(&m->jobs, &at));) {
        struct record *row = NULL;
        for (size_t i = 0; i < out->count && !row; i++)
            if (has_text(out->items[i], "state", row_text(job, JOB_STATE)) &&
                has_text(out->items[i], "service", row_text(job, JOB_SERVICE)) &&
                has_text(out->items[i], "policy", row_text(job, JOB_POLICY)))
                row = out->items[i];
        if (!row) {
            row = record_list_add(out);
            record_set_text(row, "state", row_text(job, JOB_STATE));
            record_set_text(row, "service", row_text(job, JOB_SERVICE));
            if (row_has(job, JOB_POLICY)) record_set_text(row, "policy", row_text(job, JOB_POLICY));
        }
        record_set_integer(row, "count", record_integer(row, "count") + 1);
    }
    return 0;
}

/* ---- moving ------------------------------------------------------------------------------------------- */

static void add_decision(struct memory *m, const char *job, const struct record *given)
{
    struct row *row = table_add(&m->decisions, given);
    table_set_text(&m->decisions, row, DECISION_JOB, job);
    table_set_integer(&m->decisions, row, DECISION_NUMBER, (int64_t)row->serial);
    table_set_integer(&m->decisions, row, DECISION_AT, m->now);
}

static void put_attempt(struct memory *m, const char *job, const struct record *given)
{
    struct cell key[] = {{.text = (char *)job, .number = (int64_t)strlen(job), .type = RECORD_TEXT},
                         {.number = record_integer(given, "attempt"), .type = RECORD_INTEGER}};
    struct row *row = table_find(&m->attempts, 0, key);
    if (row) {
        table_update(&m->attempts, row, given);
        return;
    }
    row = table_add(&m->attempts, given);
    table_set_text(&m->attempts, row, ATTEMPT_JOB, job);
}

/* The fields that were named; "" and 0 take a value away. */
static void set_fields(struct memory *m, struct row *job, const struct record *in)
{
    static const int columns[] = {JOB_REASON, JOB_ATTEMPT, JOB_INTENT,  JOB_REMOTE_ID,  JOB_PRICE, JOB_COST,
                                  JOB_RESULT, JOB_ERROR,   JOB_WAKE_AT, JOB_EXPIRES_AT, JOB_POLICY};
    if (record_text(in, "spec")) table_set_text(&m->jobs, job, JOB_SPEC, record_text(in, "spec"));
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
        const char *name = memory_jobs.columns[columns[i]], *text = record_text(in, name);
        int64_t number = record_integer(in, name);
        if (record_type(in, name) == RECORD_NONE) continue;
        if (text && *text)
            table_set_text(&m->jobs, job, columns[i], text);
        else if (!text && (number || columns[i] == JOB_ATTEMPT))
            table_set_integer(&m->jobs, job, columns[i], number);
        else
            table_clear(&m->jobs, job, columns[i]);
    }
}

/* Who makes another's finished job active again owns it, under a new fence. */
static void set_state(struct memory *m, struct row *job, const char *state)
{
    bool was_active = is_active(job), active = journal_job_active(state);
    table_set_text(&m->jobs, job, JOB_STATE, state);
    if (strcmp(state, "running") == 0 && !row_has(job, JOB_STARTED_AT))
        table_set_integer(&m->jobs, job, JOB_STARTED_AT, m->now);
    if (active)
        table_clear(&m->jobs, job, JOB_ENDED_AT);
    else
        table_set_integer(&m->jobs, job, JOB_ENDED_AT, m->now);
    if (active && !was_active && !row_is(job, JOB_PROCESS, m->self.id)) give_to(m, job, m->self.id);
}

int memory_job_move(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    struct row *job = need_job(m, "job.move", in, err);
    if (!job) return -1;
    const char *id = row_text(job, JOB_ID), *from = row_text(job, JOB_STATE), *to = record_text(in, "state");
    if (record_integer(in, "fence") != row_integer(job, JOB_FENCE))
        return journal_invalid(err, "fenced", "job %s has another owner by now", id);
    if (to && !journal_job_may_follow(from, to))
        return journal_invalid(err, "order", "job %s is %s and cannot become %s", id, from, to);
    set_fields(m, job, in);
    table_set_integer(&m->jobs, job, JOB_CHANGED_AT, m->now);
    if (to) set_state(m, job, to);
    const struct record_list *decisions = record_rows(in, "decisions"),
                             *attempts = record_rows(in, "attempts");
    for (size_t i = 0; i < decisions->count; i++) add_decision(m, id, decisions->items[i]);
    for (size_t i = 0; i < attempts->count; i++) put_attempt(m, id, attempts->items[i]);
    put(m, job, out);
    return 0;
}

int memory_job_note(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    (void)out;
    struct row *job = need_job(m, "job.note", in, err);
    if (!job) return -1;
    add_decision(m, row_text(job, JOB_ID), in);
    return 0;
}

/* ---- owners ------------------------------------------------------------------------------------------- */

int memory_job_claim(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    (void)err;
    const char *id = record_text(in, "id");
    int64_t limit = journal_limit(in, INT64_MAX);
    struct row *job;
    for (size_t at = 0; (int64_t)out->count < limit && (job = table_each(&m->jobs, &at));) {
        if (row_has(job, JOB_PROCESS) || !is_active(job) || (id && !row_is(job, JOB_ID, id))) continue;
        give_to(m, job, m->self.id);
        put(m, job, out);
    }
    return 0;
}

static void release(struct memory *m, const char *id)
{
    struct row *job;
    for (size_t at = 0; (job = table_each(&m->jobs, &at));)
        if (row_is(job, JOB_PROCESS, m->self.id) && is_active(job) && (!id || row_is(job, JOB_ID, id)))
            give_to(m, job, NULL);
}

int memory_job_release(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    (void)out, (void)err;
    release(m, record_text(in, "id"));
    return 0;
}

void memory_leave_jobs(struct memory *m)
{
    release(m, NULL);
}

int memory_job_ask(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    (void)out;
    struct row *job = need_job(m, "job.ask", in, err);
    if (!job) return -1;
    if (!is_active(job))
        return journal_invalid(err, "finished", "job %s is finished (%s): there is nobody to ask",
                               row_text(job, JOB_ID), row_text(job, JOB_STATE));
    table_set_text(&m->jobs, job, JOB_REQUEST, record_text(in, "request"));
    return 0;
}

/* What was asked of a job that has ended meanwhile is forgotten. */
int memory_job_asked(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    (void)in, (void)err;
    struct row *job;
    for (size_t at = 0; (job = table_each(&m->jobs, &at));)
        if (row_has(job, JOB_REQUEST) && row_is(job, JOB_PROCESS, m->self.id) && is_active(job))
            put(m, job, out);
    if (out->count == 0) return 0;
    for (size_t at = 0; (job = table_each(&m->jobs, &at));)
        if (row_has(job, JOB_REQUEST) && row_is(job, JOB_PROCESS, m->self.id))
            table_clear(&m->jobs, job, JOB_REQUEST);
    return 0;
}

/* ---- attempts and decisions ---------------------------------------------------------------------------- */

/* Turns newest first into oldest first. */
static void reverse(struct record_list *list)
{
    for (size_t i = 0; i < list->count / 2; i++) {
        struct record *other = list->items[list->count - 1 - i];
        list->items[list->count - 1 - i] = list->items[i];
        list->items[i] = other;
    }
}

static int by_attempt(const void *a, const void *b)
{
    const struct record *left = *(struct record *const *)a, *right = *(struct record *const *)b;
    int64_t first = record_integer(left, "attempt"), second = record_integer(right, "attempt");
    return first < second ? -1 : first > second;
}

int memory_attempt_list(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    (void)err;
    const struct row *row = table_find_text(&m->attempts, 1, record_text(in, "job"));
    for (; row; row = table_next(&m->attempts, 1, row)) table_put(&m->attempts, row, record_list_add(out));
    if (out->count) qsort(out->items, out->count, sizeof *out->items, by_attempt);
    return 0;
}

/* With a limit the last ones. */
int memory_decision_list(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    (void)err;
    const char *job = record_text(in, "job");
    int64_t limit = journal_limit(in, INT64_MAX);
    size_t at = m->decisions.slots;
    const struct row *row =
        job ? table_find_text(&m->decisions, 0, job) : table_each_back(&m->decisions, &at);
    while (row && (int64_t)out->count < limit) {
        table_put(&m->decisions, row, record_list_add(out));
        row = job ? table_next(&m->decisions, 0, row) : table_each_back(&m->decisions, &at);
    }
    reverse(out);
    return 0;
}
