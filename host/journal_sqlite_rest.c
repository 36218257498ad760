/* journal_sqlite_rest.c - values of scripts, locks, messages that wait, and runs of hooks. */
#include <string.h>

#include "host/journal_rules.h"
#include "host/journal_sqlite.h"

/* ---- store -------------------------------------------------------------------------------------------- */

int sqlite_store_get(struct sqlite_call *call)
{
    return sqlite_rows(call,
                       "SELECT value, version, changed_at FROM store WHERE space = :space AND name = :name",
                       call->out);
}

/* Refuses when `version` was named and is not the present one. */
static int check_version(struct sqlite_call *call)
{
    struct record *row;
    if (record_type(call->in, "version") == RECORD_NONE) return 0;
    if (sqlite_row(call, "SELECT version FROM store WHERE space = :space AND name = :name", &row) < 0)
        return -1;
    int64_t present = row ? record_integer(row, "version") : 0, wanted = record_integer(call->in, "version");
    record_free(row);
    if (present == wanted) return 0;
    return journal_invalid(call->err, "conflict",
                           "\"%s\" has version %lld by now, not %lld; nothing was changed",
                           record_text(call->in, "name"), (long long)present, (long long)wanted);
}

/* A version is given once in the life of a journal: a value that was deleted and set again is not taken for
 * the one that was read. */
int sqlite_store_set(struct sqlite_call *call)
{
    if (check_version(call) < 0) return -1;
    if (sqlite_run(call,
                   "INSERT INTO meta(name, value) VALUES ('versions', '1') ON CONFLICT(name)"
                   " DO UPDATE SET value = CAST(CAST(value AS INTEGER) + 1 AS TEXT)",
                   NULL) < 0)
        return -1;
    return sqlite_rows(call,
                       "INSERT INTO store(space, name, value, version, changed_at)"
                       " SELECT :space, :name, :value, CAST(value AS INTEGER), :now FROM meta"
                       " WHERE name = 'versions' ON CONFLICT(space, name) DO UPDATE SET"
                       " value = excluded.value, version = excluded.version, changed_at = :now"
                       " RETURNING version",
                       call->out);
}

int sqlite_store_delete(struct sqlite_call *call)
{
    int64_t changed;
    if (check_version(call) < 0) return -1;
    if (sqlite_run(call, "DELETE FROM store WHERE space = :space AND name = :name", &changed) < 0) return -1;
    record_set_integer(record_list_add(call->out), "deleted", changed);
    return 0;
}

int sqlite_store_list(struct sqlite_call *call)
{
    sqlite_more_integer(call, "limit", journal_limit(call->in, INT64_MAX));
    return sqlite_rows(call,
                       "SELECT name, value, version, changed_at FROM store WHERE space = :space"
                       " AND (:after IS NULL OR name > :after) AND name >= coalesce(:prefix, '')"
                       " AND substr(name, 1, length(coalesce(:prefix, ''))) = coalesce(:prefix, '')"
                       " ORDER BY name LIMIT :limit",
                       call->out);
}

/* ---- locks -------------------------------------------------------------------------------------------- */

static int give_holder(struct sqlite_call *call, const struct record *lock)
{
    sqlite_more_field(call, "holder", lock, "process");
    sqlite_more_field(call, "held_since", lock, "since");
    return sqlite_rows(call,
                       "SELECT 0 AS taken, process, kind, host, pid, :held_since AS since FROM processes"
                       " WHERE process = :holder",
                       call->out);
}

/* One holder at a time, whoever it is: this process does not get twice what it has.  A note goes to the next
 * holder and no further: one who dies leaves none. */
int sqlite_lock_take(struct sqlite_call *call)
{
    struct record *lock;
    bool alive = false;
    if (sqlite_row(call, "SELECT process, since, note FROM locks WHERE name = :name", &lock) < 0) return -1;
    int rc = lock ? sqlite_process_alive(call, record_text(lock, "process"), &alive) : 0;
    if (rc == 0 && alive) rc = give_holder(call, lock);
    if (rc == 0 && !alive) {
        struct record *out = record_list_add(call->out);
        record_set_integer(out, "taken", 1);
        if (lock && record_text(lock, "note")) record_set_text(out, "note", record_text(lock, "note"));
        rc = sqlite_run(call,
                        "INSERT INTO locks(name, process, since) VALUES (:name, :me, :now) ON CONFLICT(name)"
                        " DO UPDATE SET process = :me, since = :now, note = NULL",
                        NULL);
    }
    record_free(lock);
    return rc;
}

/* A lock without a note is nothing to remember. */
int sqlite_lock_free(struct sqlite_call *call)
{
    if (!record_text(call->in, "note"))
        return sqlite_run(call, "DELETE FROM locks WHERE name = :name AND process = :me", NULL);
    return sqlite_run(call,
                      "UPDATE locks SET process = NULL, since = :now, note = :note"
                      " WHERE name = :name AND process = :me",
                      NULL);
}

/* ---- outbox ------------------------------------------------------------------------------------------- */

#define MESSAGE "id, event, target, body, not_before, job, tries, error, put_at"

int sqlite_outbox_put(struct sqlite_call *call)
{
    int64_t changed;
    if (sqlite_run(call,
                   "INSERT INTO outbox(id, event, target, body, not_before, job, put_at) VALUES"
                   " (:id, :event, :target, :body, coalesce(:not_before, :now), :job, :now)"
                   " ON CONFLICT(id) DO NOTHING",
                   &changed) < 0)
        return -1;
    record_set_integer(record_list_add(call->out), "created", changed);
    return 0;
}

int sqlite_outbox_due(struct sqlite_call *call)
{
    sqlite_more_integer(call, "limit", journal_limit(call->in, INT64_MAX));
    return sqlite_rows(call,
                       "SELECT " MESSAGE " FROM outbox WHERE outcome IS NULL AND not_before <= :now"
                       " ORDER BY number LIMIT :limit",
                       call->out);
}

/* A change of the one message; invalid if it is not there, or has ended. */
static int change_message(struct sqlite_call *call, const char *text)
{
    int64_t changed;
    if (sqlite_run(call, text, &changed) < 0) return -1;
    if (changed == 1) return 0;
    return journal_invalid(call->err, "not_found", "no message with the id %s waits in the outbox",
                           record_text(call->in, "id"));
}

int sqlite_outbox_later(struct sqlite_call *call)
{
    return change_message(call,
                          "UPDATE outbox SET not_before = :not_before, error = :error, tries = tries + 1"
                          " WHERE id = :id AND outcome IS NULL");
}

int sqlite_outbox_done(struct sqlite_call *call)
{
    return change_message(call, "UPDATE outbox SET outcome = :outcome, ended_at = :now"
                                " WHERE id = :id AND outcome IS NULL");
}

int sqlite_outbox_list(struct sqlite_call *call)
{
    sqlite_more_integer(call, "limit", journal_limit(call->in, INT64_MAX));
    return sqlite_rows(call,
                       "SELECT " MESSAGE ", outcome, ended_at FROM outbox ORDER BY number DESC LIMIT :limit",
                       call->out);
}

/* ---- hooks -------------------------------------------------------------------------------------------- */

#define HOOK "number, policy, hook, job, scheduled_at, begun_at, ended_at, outcome, error"

int sqlite_hook_begin(struct sqlite_call *call)
{
    return sqlite_rows(call,
                       "INSERT INTO hooks(policy, hook, job, scheduled_at, begun_at, process)"
                       " VALUES (:policy, :hook, :job, :scheduled_at, :now, :me) RETURNING number",
                       call->out);
}

int sqlite_hook_end(struct sqlite_call *call)
{
    int64_t changed;
    if (sqlite_run(call,
                   "UPDATE hooks SET outcome = :outcome, error = :error, ended_at = :now"
                   " WHERE number = :number",
                   &changed) < 0)
        return -1;
    if (changed == 1) return 0;
    return journal_invalid(call->err, "not_found", "no run of a hook has the number %lld",
                           (long long)record_integer(call->in, "number"));
}

int sqlite_hook_list(struct sqlite_call *call)
{
    struct buf text = {0};
    buf_puts(&text, "SELECT " HOOK " FROM hooks WHERE 1");
    if (record_text(call->in, "policy")) buf_puts(&text, " AND policy = :policy");
    if (record_text(call->in, "hook")) buf_puts(&text, " AND hook = :hook");
    buf_puts(&text, " ORDER BY number DESC LIMIT :limit");
    sqlite_more_integer(call, "limit", journal_limit(call->in, INT64_MAX));
    int rc = sqlite_rows(call, buf_str(&text), call->out);
    buf_deinit(&text);
    return rc;
}

/* One that was skipped, or runs, says nothing about failing. */
int sqlite_hook_last(struct sqlite_call *call)
{
    return sqlite_rows(
        call,
        "SELECT " HOOK ", (SELECT count(*) FROM hooks AS f WHERE f.policy = h.policy"
        " AND f.hook = h.hook AND f.outcome IN ('failed', 'timeout', 'interrupted')"
        " AND f.number > coalesce((SELECT max(number) FROM hooks AS d WHERE d.policy = h.policy"
        " AND d.hook = h.hook AND d.outcome = 'done'), 0)) AS failures"
        " FROM hooks AS h WHERE number IN (SELECT max(number) FROM hooks GROUP BY policy, hook)"
        " ORDER BY policy, hook",
        call->out);
}
