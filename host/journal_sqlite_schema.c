/* journal_sqlite_schema.c - the tables, and how an older file becomes one of this schema.
 *
 * A step that has been released is never changed: what is new is a new step.  Columns have the names of the
 * fields in docs/journal.md.  Money is text; amounts of a line are the sums of the permits in it and of
 * base_…, which is what came from elsewhere or from permits that retention has taken away.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host/journal_rules.h"
#include "host/journal_sqlite.h"

static const char processes_1[] =
    "CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT) STRICT;"
    "CREATE TABLE processes(number INTEGER PRIMARY KEY, process TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,"
    " host TEXT NOT NULL, boot TEXT NOT NULL, pid INTEGER NOT NULL, start INTEGER NOT NULL,"
    " begun_at INTEGER NOT NULL, beat_at INTEGER NOT NULL, ended_at INTEGER, clean INTEGER) STRICT;"
    "CREATE INDEX processes_alive ON processes(ended_at) WHERE ended_at IS NULL;"
    "CREATE INDEX processes_kind ON processes(kind);";

static const char money_1[] =
    "CREATE TABLE permits(number INTEGER PRIMARY KEY, intent TEXT NOT NULL UNIQUE, operation TEXT NOT NULL,"
    " service TEXT NOT NULL, account TEXT, key TEXT, price TEXT, governed INTEGER, job TEXT, attempt INTEGER,"
    " policy TEXT, tags TEXT, model TEXT, state TEXT NOT NULL, bucket TEXT NOT NULL, amount TEXT,"
    " derived INTEGER NOT NULL DEFAULT 0, presumed INTEGER NOT NULL DEFAULT 0, remote_id TEXT,"
    " process TEXT NOT NULL, reserved_at INTEGER NOT NULL, sent_at INTEGER, answered_at INTEGER,"
    " ended_at INTEGER) STRICT;"
    "CREATE INDEX permits_state ON permits(state);"
    "CREATE INDEX permits_open ON permits(process) WHERE ended_at IS NULL;"
    "CREATE INDEX permits_ended ON permits(ended_at) WHERE ended_at IS NOT NULL;"
    "CREATE INDEX permits_reserved ON permits(reserved_at);"
    "CREATE INDEX permits_job ON permits(job) WHERE job IS NOT NULL;"
    "CREATE INDEX permits_key ON permits(key) WHERE key IS NOT NULL;"
    "CREATE TABLE permit_lines(permit INTEGER NOT NULL REFERENCES permits(number) ON DELETE CASCADE,"
    " budget TEXT NOT NULL, window TEXT NOT NULL, number INTEGER NOT NULL, currency TEXT NOT NULL,"
    " UNIQUE(permit, budget, window, number, currency)) STRICT;"
    "CREATE TABLE lines(budget TEXT NOT NULL, window TEXT NOT NULL, number INTEGER NOT NULL,"
    " currency TEXT NOT NULL, held TEXT NOT NULL, unknown TEXT NOT NULL, spent TEXT NOT NULL,"
    " base_unknown TEXT, base_spent TEXT, changed_at INTEGER NOT NULL,"
    " UNIQUE(budget, window, number, currency)) STRICT;"
    "CREATE TABLE daily(live INTEGER NOT NULL, day INTEGER NOT NULL, service TEXT NOT NULL, operation TEXT "
    "NOT NULL,"
    " policy TEXT NOT NULL, tags TEXT NOT NULL, currency TEXT NOT NULL, spent TEXT, derived TEXT,"
    " presumed TEXT, permits INTEGER NOT NULL,"
    " UNIQUE(live, day, service, operation, policy, tags, currency)) STRICT;"
    "CREATE TABLE ratios(service TEXT NOT NULL, model TEXT NOT NULL, currency TEXT NOT NULL,"
    " count INTEGER NOT NULL, estimate TEXT NOT NULL, actual TEXT NOT NULL,"
    " UNIQUE(service, model, currency)) STRICT;";

static const char jobs_1[] =
    "CREATE TABLE jobs(number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL,"
    " key TEXT NOT NULL, service TEXT NOT NULL, kind TEXT NOT NULL, state TEXT NOT NULL,"
    " active INTEGER NOT NULL, reason TEXT, spec TEXT NOT NULL, hash TEXT NOT NULL, options TEXT,"
    " policy TEXT, tags TEXT, attempt INTEGER NOT NULL DEFAULT 0, intent TEXT, remote_id TEXT, price TEXT,"
    " cost TEXT, result TEXT, error TEXT, process TEXT, fence INTEGER NOT NULL, created_at INTEGER NOT NULL,"
    " changed_at INTEGER NOT NULL, started_at INTEGER, ended_at INTEGER, wake_at INTEGER,"
    " expires_at INTEGER, request TEXT, UNIQUE(name, key)) STRICT;"
    "CREATE INDEX jobs_active ON jobs(active) WHERE active = 1;"
    "CREATE INDEX jobs_owner ON jobs(process) WHERE active = 1;"
    "CREATE INDEX jobs_asked ON jobs(process) WHERE request IS NOT NULL;"
    "CREATE INDEX jobs_state ON jobs(state);"
    "CREATE INDEX jobs_counts ON jobs(state, service, policy);"
    "CREATE INDEX jobs_created ON jobs(created_at);"
    "CREATE INDEX jobs_ended ON jobs(ended_at) WHERE ended_at IS NOT NULL;"
    "CREATE TABLE attempts(job TEXT NOT NULL REFERENCES jobs(id) ON DELETE CASCADE, attempt INTEGER NOT NULL,"
    " intent TEXT, state TEXT, remote_id TEXT, spec TEXT, price TEXT, cost TEXT, derived INTEGER, error TEXT,"
    " started_at INTEGER, ended_at INTEGER, UNIQUE(job, attempt)) STRICT;"
    "CREATE TABLE decisions(number INTEGER PRIMARY KEY, job TEXT NOT NULL REFERENCES jobs(id) ON DELETE "
    "CASCADE,"
    " at INTEGER NOT NULL, kind TEXT NOT NULL, text TEXT NOT NULL, data TEXT, policy TEXT) STRICT;"
    "CREATE INDEX decisions_job ON decisions(job);";

static const char rest_1[] =
    "CREATE TABLE store(number INTEGER PRIMARY KEY, space TEXT NOT NULL, name TEXT NOT NULL,"
    " value TEXT NOT NULL, version INTEGER NOT NULL, changed_at INTEGER NOT NULL, UNIQUE(space, name)) "
    "STRICT;"
    "CREATE TABLE locks(name TEXT NOT NULL UNIQUE, process TEXT, since INTEGER NOT NULL, note TEXT) STRICT;"
    "CREATE INDEX locks_process ON locks(process) WHERE process IS NOT NULL;"
    "CREATE TABLE outbox(number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, event TEXT NOT NULL,"
    " target TEXT NOT NULL, body TEXT NOT NULL, not_before INTEGER NOT NULL, job TEXT,"
    " tries INTEGER NOT NULL DEFAULT 0, error TEXT, put_at INTEGER NOT NULL, outcome TEXT,"
    " ended_at INTEGER) STRICT;"
    "CREATE INDEX outbox_due ON outbox(not_before) WHERE outcome IS NULL;"
    "CREATE TABLE hooks(number INTEGER PRIMARY KEY, policy TEXT NOT NULL, hook TEXT NOT NULL, job TEXT,"
    " scheduled_at INTEGER, begun_at INTEGER NOT NULL, ended_at INTEGER, outcome TEXT, error TEXT,"
    " process TEXT NOT NULL) STRICT;"
    "CREATE INDEX hooks_of ON hooks(policy, hook);"
    "CREATE INDEX hooks_running ON hooks(process) WHERE outcome IS NULL;";

static const struct sqlite_step steps[] = {
    {1, {processes_1, money_1, jobs_1, rest_1}},
};

const struct sqlite_step *sqlite_schema_steps(size_t *count)
{
    *count = sizeof steps / sizeof steps[0];
    return steps;
}

/* ---- bringing a file up ------------------------------------------------------------------------------- */

static int read_maker(struct sqlite_engine *engine, char *out, size_t size)
{
    sqlite3_stmt *stmt;
    snprintf(out, size, "a newer perigee");
    if (sqlite3_prepare_v2(engine->db, "SELECT value FROM meta WHERE name = 'program'", -1, &stmt, NULL) !=
        SQLITE_OK)
        return -1;
    if (sqlite3_step(stmt) == SQLITE_ROW)
        snprintf(out, size, "perigee %s", (const char *)sqlite3_column_text(stmt, 0));
    return sqlite3_finalize(stmt);
}

static int refuse_newer(struct sqlite_engine *engine, int64_t version, int known, struct err *err)
{
    char maker[80];
    read_maker(engine, maker, sizeof maker);
    err_set(
        err, ERR_UNAVAILABLE,
        "the journal %s has schema %lld, of %s; this is perigee " PERIGEE_VERSION
        ", which knows schema %d: install %s or a later one, or put back the backup made before the upgrade",
        engine->path, (long long)version, maker, known, maker);
    return err_set_code(err, "journal_newer");
}

/* A backup of this version that is there already was made by an upgrade that did not get through: it is as
 * good as a new one, and may hold more. */
static int backup_first(struct sqlite_engine *engine, int64_t version, struct err *err)
{
    struct buf path = {0};
    int64_t bytes;
    buf_printf(&path, "%s.v%lld-backup", engine->path, (long long)version);
    int rc = access(buf_str(&path), F_OK) == 0 ? 0 : sqlite_file_backup(engine, buf_str(&path), &bytes, err);
    buf_deinit(&path);
    return rc;
}

static int apply_step(struct sqlite_engine *engine, const struct sqlite_step *step, struct err *err)
{
    for (size_t i = 0; i < SQLITE_STEP_PARTS && step->sql[i]; i++)
        if (sqlite_exec(engine, step->sql[i], err) < 0) return -1;
    char text[160];
    snprintf(text, sizeof text,
             "INSERT OR REPLACE INTO meta VALUES ('program', '" PERIGEE_VERSION
             "'); PRAGMA user_version = %d",
             step->to);
    return sqlite_exec(engine, text, err);
}

/* Under the lock for writing: another process may have been quicker. */
static int apply_missing(struct sqlite_engine *engine, const struct sqlite_step *from, size_t count,
                         struct err *err)
{
    int64_t version;
    if (sqlite_number(engine, "PRAGMA user_version", &version, err) < 0) return -1;
    for (size_t i = 0; i < count; i++)
        if (from[i].to > version && apply_step(engine, &from[i], err) < 0) return -1;
    return 0;
}

int sqlite_schema_update(struct sqlite_engine *engine, const struct sqlite_step *from, size_t count,
                         struct err *err)
{
    int64_t version;
    int known = from[count - 1].to;
    if (sqlite_number(engine, "PRAGMA user_version", &version, err) < 0) return -1;
    if (version > known) return refuse_newer(engine, version, known, err);
    if (version == known) return 0;
    if (version > 0 && backup_first(engine, version, err) < 0) return -1;
    if (sqlite_exec(engine, "BEGIN IMMEDIATE", err) < 0) return -1;
    if (apply_missing(engine, from, count, err) == 0 && sqlite_exec(engine, "COMMIT", err) == 0) return 0;
    if (!sqlite3_get_autocommit(engine->db)) sqlite3_exec(engine->db, "ROLLBACK", NULL, NULL, NULL);
    return -1;
}
