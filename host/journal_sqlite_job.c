/* journal_sqlite_job.c - jobs: submitted once, moved by their owner, found again. */
#include <string.h>

#include "host/journal_rules.h"
#include "host/journal_sqlite.h"

#define COLUMNS                                                                                              \
    "id, name, key, service, kind, state, reason, spec, hash, options, policy, tags, attempt, intent,"       \
    " remote_id, price, cost, result, error, process, fence, created_at, changed_at, started_at, ended_at,"  \
    " wake_at, expires_at, request"
#define SELECT "SELECT " COLUMNS " FROM jobs"

static int not_found(struct sqlite_call *call)
{
    return journal_invalid(call->err, "not_found", "no job has the id %s", record_text(call->in, "id"));
}

/* The job with the id of the call, or -1 and err. */
static int read_job(struct sqlite_call *call, struct record **out)
{
    if (sqlite_row(call, SELECT " WHERE id = :id", out) < 0) return -1;
    return *out ? 0 : not_found(call);
}

static int give_job(struct sqlite_call *call)
{
    return sqlite_rows(call, SELECT " WHERE id = :id", call->out);
}

/* ---- submitting --------------------------------------------------------------------------------------- */

static int give_submitted(struct sqlite_call *call, bool created)
{
    size_t before = call->out->count;
    if (sqlite_rows(call, SELECT " WHERE name = :name AND key = :key", call->out) < 0) return -1;
    if (call->out->count > before) record_set_integer(call->out->items[before], "created", created);
    return 0;
}

/* Of this process from here on, if nobody living has it. */
static int own_if_free(struct sqlite_call *call, const struct record *job)
{
    const char *owner = record_text(job, "process");
    bool alive;
    if (owner && strcmp(owner, call->engine->self.id) == 0) return 0;
    if (sqlite_process_alive(call, owner, &alive) < 0) return -1;
    if (alive) return 0;
    return sqlite_run(
        call, "UPDATE jobs SET process = :me, fence = fence + 1 WHERE name = :name AND key = :key", NULL);
}

static int attach(struct sqlite_call *call, const struct record *job)
{
    const char *id = record_text(job, "id"), *state = record_text(job, "state");
    if (strcmp(record_text(job, "hash"), record_text(call->in, "hash")) != 0)
        return journal_invalid(call->err, "other_spec",
                               "job %s has this name and key and another spec; give the new one another key",
                               id);
    if (journal_job_active(state)) return own_if_free(call, job) < 0 ? -1 : give_submitted(call, false);
    if (!record_text(call->in, "attach"))
        return journal_invalid(call->err, "finished",
                               "job %s has this name and key and is finished (%s); give the new one another "
                               "key, or attach = \"finished\" to have that one",
                               id, state);
    return give_submitted(call, false);
}

int sqlite_job_submit(struct sqlite_call *call)
{
    struct record *job;
    if (sqlite_row(call, SELECT " WHERE name = :name AND key = :key", &job) < 0) return -1;
    if (job) {
        int rc = attach(call, job);
        record_free(job);
        return rc;
    }
    if (sqlite_row(call, SELECT " WHERE id = :id", &job) < 0) return -1;
    record_free(job);
    if (job)
        return journal_invalid(call->err, "id", "a job has the id %s already", record_text(call->in, "id"));
    sqlite_more_integer(call, "is_active", journal_job_active(record_text(call->in, "state")));
    if (sqlite_run(
            call,
            "INSERT INTO jobs(id, name, key, service, kind, state, active, reason, spec, hash, options,"
            " policy, tags, price, process, fence, created_at, changed_at, ended_at, expires_at)"
            " VALUES (:id, :name, :key, :service, :kind, :state, :is_active, :reason, :spec, :hash,"
            " :options, :policy, :tags, :price, :me, 1, :now, :now,"
            " iif(:is_active, NULL, :now), :expires_at)",
            NULL) < 0)
        return -1;
    return give_submitted(call, true);
}

/* ---- finding ------------------------------------------------------------------------------------------ */

static int get_by_prefix(struct sqlite_call *call)
{
    struct record_list jobs = {NULL, 0};
    int rc = sqlite_rows(call,
                         SELECT " WHERE id >= :id AND id < :id || '~' AND substr(id, 1, length(:id)) = :id"
                                " ORDER BY id LIMIT 2",
                         &jobs);
    if (rc == 0 && jobs.count == 2)
        rc = journal_invalid(call->err, "ambiguous", "several jobs have an id that begins with %s: %s, %s",
                             record_text(call->in, "id"), record_text(jobs.items[0], "id"),
                             record_text(jobs.items[1], "id"));
    if (rc == 0 && jobs.count == 1) {
        sqlite_more_field(call, "found", jobs.items[0], "id");
        rc = sqlite_rows(call, SELECT " WHERE id = :found", call->out);
    }
    record_list_deinit(&jobs);
    return rc;
}

int sqlite_job_get(struct sqlite_call *call)
{
    if (!record_text(call->in, "id"))
        return sqlite_rows(call, SELECT " WHERE name = :name AND key = :key", call->out);
    if (give_job(call) < 0) return -1;
    return call->out->count > 0 ? 0 : get_by_prefix(call);
}

/* The page before must end with a job that is there. */
static int check_after(struct sqlite_call *call)
{
    struct record *job;
    if (!record_text(call->in, "after")) return 0;
    if (sqlite_row(call, "SELECT number FROM jobs WHERE id = :after", &job) < 0) return -1;
    record_free(job);
    if (job) return 0;
    return journal_invalid(call->err, "not_found", "job.list: there is no job %s to go on after",
                           record_text(call->in, "after"));
}

int sqlite_job_list(struct sqlite_call *call)
{
    if (check_after(call) < 0) return -1;
    static const char *const filters[][2] = {
        {"state", " AND state = :state"},
        {"service", " AND service = :service"},
        {"policy", " AND policy = :policy"},
        {"name", " AND name = :name"},
        {"since", " AND created_at >= :since"},
        {"after", " AND number < (SELECT number FROM jobs WHERE id = :after)"},
    };
    static const char *const truths[][3] = {
        {"active", " AND active = 0", " AND active = 1"},
        {"mine", " AND process IS NOT :me", " AND process = :me"},
        {"orphan", " AND NOT (active = 1 AND process IS NULL)", " AND active = 1 AND process IS NULL"},
    };
    struct buf text = {0};
    buf_puts(&text, SELECT);
    if (record_integer(call->in, "orphan")) buf_puts(&text, " INDEXED BY jobs_owner");
    buf_puts(&text, " WHERE 1");
    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++)
        if (record_type(call->in, filters[i][0]) != RECORD_NONE) buf_puts(&text, filters[i][1]);
    for (size_t i = 0; i < sizeof truths / sizeof truths[0]; i++)
        if (record_type(call->in, truths[i][0]) != RECORD_NONE)
            buf_puts(&text, truths[i][record_integer(call->in, truths[i][0]) ? 2 : 1]);
    buf_puts(&text, " ORDER BY number DESC LIMIT :limit");
    sqlite_more_integer(call, "limit", journal_limit(call->in, INT64_MAX));
    int rc = sqlite_rows(call, buf_str(&text), call->out);
    buf_deinit(&text);
    return rc;
}

int sqlite_job_counts(struct sqlite_call *call)
{
    return sqlite_rows(call,
                       "SELECT state, service, policy, count(*) AS count FROM jobs GROUP BY 1, 2, 3"
                       " ORDER BY 1, 2, 3",
                       call->out);
}

int sqlite_attempt_list(struct sqlite_call *call)
{
    return sqlite_rows(call,
                       "SELECT job, attempt, intent, state, remote_id, spec, price, cost, derived, error,"
                       " started_at, ended_at FROM attempts WHERE job = :job ORDER BY attempt",
                       call->out);
}

int sqlite_decision_list(struct sqlite_call *call)
{
    sqlite_more_integer(call, "limit", journal_limit(call->in, INT64_MAX));
    return sqlite_rows(call,
                       record_text(call->in, "job")
                           ? "SELECT * FROM (SELECT job, number, at, kind, text, data, policy FROM decisions"
                             " WHERE job = :job ORDER BY number DESC LIMIT :limit) ORDER BY number"
                           : "SELECT * FROM (SELECT job, number, at, kind, text, data, policy FROM decisions"
                             " ORDER BY number DESC LIMIT :limit) ORDER BY number",
                       call->out);
}

/* ---- moving ------------------------------------------------------------------------------------------- */

static int add_decision(struct sqlite_call *call, const struct record *decision)
{
    static const char *const names[][2] = {
        {"d_kind", "kind"}, {"d_text", "text"}, {"d_data", "data"}, {"d_policy", "policy"}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        sqlite_more_field(call, names[i][0], decision, names[i][1]);
    return sqlite_run(call,
                      "INSERT INTO decisions(job, at, kind, text, data, policy)"
                      " VALUES (:id, :now, :d_kind, :d_text, :d_data, :d_policy)",
                      NULL);
}

/* What is not named stays as it was. */
static int set_attempt(struct sqlite_call *call, const struct record *attempt)
{
    static const char *const names[][2] = {
        {"a_attempt", "attempt"},    {"a_intent", "intent"},   {"a_state", "state"},
        {"a_remote", "remote_id"},   {"a_spec", "spec"},       {"a_price", "price"},
        {"a_cost", "cost"},          {"a_derived", "derived"}, {"a_error", "error"},
        {"a_started", "started_at"}, {"a_ended", "ended_at"}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        sqlite_more_field(call, names[i][0], attempt, names[i][1]);
    return sqlite_run(
        call,
        "INSERT INTO attempts(job, attempt, intent, state, remote_id, spec, price, cost, derived, error,"
        " started_at, ended_at) VALUES (:id, :a_attempt, :a_intent, :a_state, :a_remote, :a_spec, :a_price,"
        " :a_cost, :a_derived, :a_error, :a_started, :a_ended) ON CONFLICT(job, attempt) DO UPDATE SET"
        " intent = coalesce(:a_intent, intent), state = coalesce(:a_state, state),"
        " remote_id = coalesce(:a_remote, remote_id), spec = coalesce(:a_spec, spec),"
        " price = coalesce(:a_price, price), cost = coalesce(:a_cost, cost),"
        " derived = coalesce(:a_derived, derived), error = coalesce(:a_error, error),"
        " started_at = coalesce(:a_started, started_at), ended_at = coalesce(:a_ended, ended_at)",
        NULL);
}

/* The fields that were named; "" and 0 take a value away. */
static int set_fields(struct sqlite_call *call)
{
    static const char *const names[] = {"reason", "attempt", "intent",  "remote_id",  "price", "cost",
                                        "result", "error",   "wake_at", "expires_at", "policy"};
    struct buf text = {0};
    buf_puts(&text, "UPDATE jobs SET changed_at = :now");
    if (record_text(call->in, "spec")) buf_puts(&text, ", spec = :spec");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        enum record_type type = record_type(call->in, names[i]);
        if (type == RECORD_NONE) continue;
        bool counts = strcmp(names[i], "attempt") == 0;
        buf_printf(&text,
                   counts                ? ", %s = :%s"
                   : type == RECORD_TEXT ? ", %s = nullif(:%s, '')"
                                         : ", %s = nullif(:%s, 0)",
                   names[i], names[i]);
    }
    buf_puts(&text, " WHERE id = :id");
    int rc = sqlite_run(call, buf_str(&text), NULL);
    buf_deinit(&text);
    return rc;
}

/* Who makes another's finished job active again owns it, under a new fence: two may have read the same one.
 */
static int set_state(struct sqlite_call *call, const struct record *job)
{
    const char *from = record_text(job, "state"), *to = record_text(call->in, "state");
    if (!to) return 0;
    if (!journal_job_may_follow(from, to))
        return journal_invalid(call->err, "order", "a job that is %s does not become %s", from, to);
    bool was_active = journal_job_active(from), active = journal_job_active(to);
    sqlite_more_integer(call, "is_active", active);
    const char *owner = record_text(job, "process");
    bool mine = owner && strcmp(owner, call->engine->self.id) == 0;
    sqlite_more_integer(call, "revived", active && !was_active && !mine);
    return sqlite_run(call,
                      "UPDATE jobs SET state = :state, active = :is_active,"
                      " process = iif(:revived, :me, process),"
                      " fence = fence + :revived,"
                      " started_at = iif(:state = 'running', coalesce(started_at, :now), started_at),"
                      " ended_at = iif(:is_active, NULL, :now) WHERE id = :id",
                      NULL);
}

static int move(struct sqlite_call *call, const struct record *job)
{
    int64_t fence = record_integer(job, "fence");
    if (fence != record_integer(call->in, "fence"))
        return journal_invalid(call->err, "fenced",
                               "job %s has another owner by now (fence %lld, not %lld); nothing was changed",
                               record_text(job, "id"), (long long)fence,
                               (long long)record_integer(call->in, "fence"));
    if (set_state(call, job) < 0 || set_fields(call) < 0) return -1;
    const struct record_list *attempts = record_rows(call->in, "attempts");
    for (size_t i = 0; i < attempts->count; i++)
        if (set_attempt(call, attempts->items[i]) < 0) return -1;
    const struct record_list *decisions = record_rows(call->in, "decisions");
    for (size_t i = 0; i < decisions->count; i++)
        if (add_decision(call, decisions->items[i]) < 0) return -1;
    return give_job(call);
}

int sqlite_job_move(struct sqlite_call *call)
{
    struct record *job;
    if (read_job(call, &job) < 0) return -1;
    int rc = move(call, job);
    record_free(job);
    return rc;
}

int sqlite_job_note(struct sqlite_call *call)
{
    struct record *job;
    if (read_job(call, &job) < 0) return -1;
    record_free(job);
    return add_decision(call, call->in);
}

/* ---- owners ------------------------------------------------------------------------------------------- */

int sqlite_job_claim(struct sqlite_call *call)
{
    struct record_list jobs = {NULL, 0};
    if (sqlite_process_bury_dead(call) < 0) return -1;
    sqlite_more_integer(call, "limit", journal_limit(call->in, INT64_MAX));
    int rc =
        sqlite_rows(call,
                    record_text(call->in, "id")
                        ? "SELECT number FROM jobs WHERE active = 1 AND process IS NULL AND id = :id"
                        : "SELECT number FROM jobs INDEXED BY jobs_owner WHERE active = 1 AND process IS NULL"
                          " ORDER BY number LIMIT :limit",
                    &jobs);
    for (size_t i = 0; rc == 0 && i < jobs.count; i++) {
        sqlite_more_field(call, "claimed", jobs.items[i], "number");
        rc = sqlite_run(call, "UPDATE jobs SET process = :me, fence = fence + 1 WHERE number = :claimed",
                        NULL);
        if (rc == 0) rc = sqlite_rows(call, SELECT " WHERE number = :claimed", call->out);
    }
    record_list_deinit(&jobs);
    return rc;
}

int sqlite_job_release(struct sqlite_call *call)
{
    return sqlite_run(
        call,
        record_text(call->in, "id")
            ? "UPDATE jobs SET process = NULL, fence = fence + 1 WHERE process = :me AND active = 1"
              " AND id = :id"
            : "UPDATE jobs INDEXED BY jobs_owner SET process = NULL, fence = fence + 1"
              " WHERE process = :me AND active = 1",
        NULL);
}

int sqlite_job_ask(struct sqlite_call *call)
{
    int64_t changed;
    struct record *job;
    if (sqlite_run(call, "UPDATE jobs SET request = :request WHERE id = :id AND active = 1", &changed) < 0)
        return -1;
    if (changed == 1) return 0;
    if (read_job(call, &job) < 0) return -1;
    journal_invalid(call->err, "finished", "job %s is finished (%s): there is nobody to ask",
                    record_text(job, "id"), record_text(job, "state"));
    record_free(job);
    return -1;
}

int sqlite_job_asked(struct sqlite_call *call)
{
    if (sqlite_rows(call,
                    SELECT " INDEXED BY jobs_asked WHERE process = :me AND request IS NOT NULL AND active = "
                           "1 ORDER BY number",
                    call->out) < 0)
        return -1;
    if (call->out->count == 0) return 0;
    return sqlite_run(call, "UPDATE jobs SET request = NULL WHERE process = :me AND request IS NOT NULL",
                      NULL);
}
