/* journal_sqlite_upkeep.c - verify, export, backup, compact: the journal as a file to be looked after.
 *
 * What retention takes away keeps counting: its money goes into the daily totals, the ratios, and the base of
 * the lines it stood in.
 */
#include <stdio.h>
#include <string.h>

#include "host/journal_rules.h"
#include "host/journal_sqlite.h"

enum {
    CHUNK = 500,    /* records for each transaction of compact: other processes get their turn between */
    CHUNKS_MAX = 4, /* for each call, and this process's own calls after it: some 0.5 s */
    VACUUM_BYTES_MAX = 64 * 1024 * 1024,
};

/* ---- verify ------------------------------------------------------------------------------------------- */

static void add_problem(struct sqlite_call *call, const char *text)
{
    record_set_text(record_list_add(call->out), "problem", text);
}

/* Runs a check whose rows are problems, in their column `problem`. */
static int run_check(struct sqlite_call *call, const char *text)
{
    return sqlite_rows(call, text, call->out);
}

static int check_pages(struct sqlite_call *call, const char *pragma)
{
    struct record_list rows = {NULL, 0};
    int rc = sqlite_rows(call, pragma, &rows);
    for (size_t i = 0; i < rows.count; i++) {
        const char *text = record_text(rows.items[i], record_name(rows.items[i], 0));
        if (text && strcmp(text, "ok") != 0) add_problem(call, text);
    }
    record_list_deinit(&rows);
    if (rc == 0 || !call->err || strcmp(call->err->code, "journal_corrupt") != 0) return rc;
    add_problem(call, call->err->message); /* so damaged that the check itself stops there */
    return 0;
}

int sqlite_quick_check(struct sqlite_engine *engine, struct err *err)
{
    struct record *none = record_new();
    struct record_list problems = {NULL, 0};
    struct sqlite_call call = {engine, none, NULL, 0, &problems, err};
    int rc = check_pages(&call, "PRAGMA quick_check(1)");
    if (rc == 0 && problems.count > 0 && strcmp(err->code, "journal_corrupt") == 0) {
        rc = -1; /* it says so already */
    } else if (rc == 0 && problems.count > 0) {
        err_set(
            err, ERR_UNAVAILABLE,
            "the journal %s is damaged: %s; `perigee journal verify` says where, and a backup can be put in "
            "its place",
            engine->path, record_text(problems.items[0], "problem"));
        rc = err_set_code(err, "journal_corrupt");
    }
    record_list_deinit(&problems);
    record_free(none);
    return rc;
}

/* Each line beside the sums of its permits and its base.  Amounts that are the same have the same text. */
static const char check_lines[] =
    "WITH parts(budget, window, number, currency, bucket, amount) AS ("
    "SELECT l.budget, l.window, l.number, l.currency, p.bucket, p.amount FROM permit_lines AS l"
    " JOIN permits AS p ON p.number = l.permit WHERE amount_currency(p.amount) = l.currency"
    " UNION ALL SELECT budget, window, number, currency, 'spent', base_spent FROM lines"
    " UNION ALL SELECT budget, window, number, currency, 'unknown', base_unknown FROM lines),"
    "sums AS (SELECT budget, window, number, currency,"
    " amount_total(currency, iif(bucket = 'held', amount, NULL)) AS held,"
    " amount_total(currency, iif(bucket = 'unknown', amount, NULL)) AS unknown,"
    " amount_total(currency, iif(bucket = 'spent', amount, NULL)) AS spent FROM parts GROUP BY 1, 2, 3, 4) "
    "SELECT 'budget \"' || s.budget || '\", ' || s.window || ' ' || s.number || ': its permits say held ' ||"
    " s.held || ', unknown ' || s.unknown || ', spent ' || s.spent || '; its line says ' ||"
    " coalesce(l.held || ', ' || l.unknown || ', ' || l.spent, 'nothing') AS problem FROM sums AS s"
    " LEFT JOIN lines AS l ON l.budget = s.budget AND l.window = s.window AND l.number = s.number"
    " AND l.currency = s.currency WHERE l.held IS NOT s.held OR l.unknown IS NOT s.unknown"
    " OR l.spent IS NOT s.spent";

static const char check_states[] =
    "SELECT 'job ' || id || ': state ' || state || ' does not go with the rest of its record' AS problem"
    " FROM jobs WHERE active <> (state IN ('planned', 'held', 'submitting', 'running', 'unknown'))"
    " OR (active = 1) <> (ended_at IS NULL) "
    "UNION ALL SELECT 'permit ' || intent || ': state ' || state || ' with money in bucket ' || bucket"
    " FROM permits WHERE bucket NOT IN ('none', 'held', 'unknown', 'spent') OR (state = 'released' AND"
    " bucket <> 'none') OR (state IN ('reserved', 'intent', 'sent') AND bucket <> 'held') "
    "UNION ALL SELECT 'permit ' || intent || ': amount ' || amount || ' has no currency' FROM permits"
    " WHERE amount IS NOT NULL AND amount_currency(amount) IS NULL";

int sqlite_journal_verify(struct sqlite_call *call)
{
    if (check_pages(call, "PRAGMA integrity_check") < 0) return -1;
    if (call->out->count > 0) return 0; /* nothing else can be believed */
    if (run_check(call, "SELECT 'a record of ' || \"table\" || ' belongs to none of ' || parent AS problem"
                        " FROM pragma_foreign_key_check") < 0)
        return -1;
    if (run_check(call, check_lines) < 0 || run_check(call, check_states) < 0) return -1;
    return sqlite_daily_verify(call);
}

/* ---- export and backup -------------------------------------------------------------------------------- */

/* One JSON object of all columns. */
static int put_export(struct sqlite_call *call, struct buf *text)
{
    struct record_list columns = {NULL, 0};
    int rc = sqlite_rows(call, "SELECT name FROM pragma_table_info(:table)", &columns);
    for (size_t i = 0; i < columns.count; i++) {
        const char *name = record_text(columns.items[i], "name");
        buf_printf(text, "%s'%s', \"%s\"", i ? ", " : "", name, name);
    }
    record_list_deinit(&columns);
    return rc;
}

int sqlite_journal_export(struct sqlite_call *call)
{
    struct record *table;
    if (!record_text(call->in, "table"))
        return sqlite_rows(call,
                           "SELECT name AS \"table\" FROM sqlite_schema WHERE type = 'table'"
                           " AND name NOT LIKE 'sqlite%' ORDER BY name",
                           call->out);
    if (sqlite_row(call, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name = :table", &table) < 0)
        return -1;
    if (!table)
        return journal_invalid(call->err, "table", "the journal has no table \"%s\"",
                               record_text(call->in, "table"));
    struct buf text = {0};
    buf_puts(&text, "SELECT :table AS \"table\", cast(rowid AS TEXT) AS key, json_object(");
    int rc = put_export(call, &text);
    buf_printf(&text,
               ") AS line FROM \"%s\" WHERE rowid > cast(coalesce(:after, '0') AS INTEGER) ORDER BY rowid"
               " LIMIT :limit",
               record_text(table, "name"));
    sqlite_more_integer(call, "limit", journal_limit(call->in, INT64_MAX));
    if (rc == 0) rc = sqlite_rows(call, buf_str(&text), call->out);
    buf_deinit(&text);
    record_free(table);
    return rc;
}

int sqlite_journal_backup(struct sqlite_call *call)
{
    int64_t bytes;
    if (sqlite_file_backup(call->engine, record_text(call->in, "path"), &bytes, call->err) < 0) return -1;
    record_set_integer(record_list_add(call->out), "bytes", bytes);
    return 0;
}

/* ---- compact ------------------------------------------------------------------------------------------ */

/* The permits of :chosen, a temporary table of numbers, become totals. */
static const char *const fold[] = {
    "INSERT INTO ratios(service, model, currency, count, estimate, actual)"
    " SELECT service, coalesce(model, ''), amount_currency(amount), count(*),"
    " amount_total(amount_currency(amount), price), amount_total(amount_currency(amount), amount) FROM "
    "permits"
    " WHERE number IN (SELECT number FROM chosen) AND state = 'settled' AND bucket = 'spent' AND NOT derived"
    " AND amount_currency(amount) = amount_currency(price) GROUP BY 1, 2, 3"
    " ON CONFLICT DO UPDATE SET count = count + excluded.count,"
    " estimate = amount_plus(estimate, excluded.estimate), actual = amount_plus(actual, excluded.actual)",
    "UPDATE lines SET base_spent = amount_plus(base_spent, gone.amount) FROM ("
    "SELECT l.budget, l.window, l.number, l.currency, amount_total(l.currency, p.amount) AS amount"
    " FROM permit_lines AS l JOIN permits AS p ON p.number = l.permit WHERE p.number IN (SELECT number FROM"
    " chosen) AND p.bucket = 'spent' AND amount_currency(p.amount) = l.currency GROUP BY 1, 2, 3, 4) AS gone"
    " WHERE lines.budget = gone.budget AND lines.window = gone.window AND lines.number = gone.number"
    " AND lines.currency = gone.currency",
    "DELETE FROM permits WHERE number IN (SELECT number FROM chosen)",
};

/* A permit stays while its job does, and while its outcome is not known. */
static const char choose_permits[] =
    "INSERT INTO chosen SELECT number FROM permits WHERE ended_at < :cutoff AND state IN ('settled', "
    "'released')"
    " AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.id = permits.job) LIMIT :chunk";
static const char choose_jobs[] =
    "INSERT INTO chosen SELECT number FROM jobs WHERE ended_at < :cutoff AND active = 0 LIMIT :chunk";

static int fold_permits(struct sqlite_call *call, int64_t *gone)
{
    if (sqlite_daily_retire(call) < 0) return -1;
    for (size_t i = 0; i < sizeof fold / sizeof fold[0]; i++)
        if (sqlite_run(call, fold[i], gone) < 0) return -1;
    return 0;
}

static int drop_jobs(struct sqlite_call *call, int64_t *gone, int64_t *decisions)
{
    if (sqlite_run(call,
                   "DELETE FROM decisions WHERE job IN (SELECT id FROM jobs WHERE number IN"
                   " (SELECT number FROM chosen))",
                   decisions) < 0)
        return -1;
    return sqlite_run(call, "DELETE FROM jobs WHERE number IN (SELECT number FROM chosen)", gone);
}

struct gone {
    int64_t jobs, permits, decisions;
};

/* One transaction; *more: there may be more to do. */
static int drop_chunk(struct sqlite_call *call, bool jobs, struct gone *gone, bool *more)
{
    struct sqlite_engine *engine = call->engine;
    int64_t chosen = 0, count = 0, decisions = 0;
    if (sqlite_exec(engine, "BEGIN IMMEDIATE", call->err) < 0) return -1;
    int rc = sqlite_run(call, "DELETE FROM chosen", NULL);
    if (rc == 0) rc = sqlite_run(call, jobs ? choose_jobs : choose_permits, &chosen);
    if (rc == 0 && chosen > 0) rc = jobs ? drop_jobs(call, &count, &decisions) : fold_permits(call, &count);
    if (rc == 0) rc = sqlite_exec(engine, "COMMIT", call->err);
    if (rc < 0 && !sqlite3_get_autocommit(engine->db)) sqlite3_exec(engine->db, "ROLLBACK", NULL, NULL, NULL);
    *more = chosen == CHUNK;
    *(jobs ? &gone->jobs : &gone->permits) += count;
    gone->decisions += decisions;
    return rc;
}

/* What is small and of no use any more: one transaction for all. */
static int drop_rest(struct sqlite_call *call)
{
    static const char *const texts[] = {
        "DELETE FROM outbox WHERE outcome IS NOT NULL AND ended_at < :outbox_cutoff",
        "DELETE FROM hooks WHERE ended_at < :hook_cutoff AND number NOT IN"
        " (SELECT max(number) FROM hooks GROUP BY policy, hook)",
        "DELETE FROM locks WHERE process IS NULL AND since < :cutoff",
        "DELETE FROM processes WHERE ended_at < :cutoff AND number NOT IN"
        " (SELECT max(number) FROM processes GROUP BY kind)",
        "DELETE FROM lines WHERE window <> 'total' AND changed_at < :line_cutoff AND NOT EXISTS (SELECT 1 "
        "FROM"
        " permit_lines AS l WHERE l.budget = lines.budget AND l.window = lines.window"
        " AND l.number = lines.number AND l.currency = lines.currency)",
    };
    struct sqlite_engine *engine = call->engine;
    if (sqlite_exec(engine, "BEGIN IMMEDIATE", call->err) < 0) return -1;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof texts / sizeof texts[0]; i++)
        rc = sqlite_run(call, texts[i], NULL);
    if (rc == 0) rc = sqlite_exec(engine, "COMMIT", call->err);
    if (rc < 0 && !sqlite3_get_autocommit(engine->db)) sqlite3_exec(engine->db, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}

/* A file of which a fifth is empty is written anew, unless others would wait for that too long; its log goes
 * back to nothing.  Room that stays in the file is used again. */
static int shrink(struct sqlite_engine *engine, bool whole, struct err *err)
{
    int64_t pages, empty, page_bytes;
    if (sqlite_number(engine, "PRAGMA page_count", &pages, err) < 0 ||
        sqlite_number(engine, "PRAGMA freelist_count", &empty, err) < 0 ||
        sqlite_number(engine, "PRAGMA page_size", &page_bytes, err) < 0)
        return -1;
    bool quick = whole || (pages - empty) * page_bytes <= VACUUM_BYTES_MAX;
    if (quick && empty > 0 && empty * 5 >= pages && sqlite_exec(engine, "VACUUM", err) < 0) return -1;
    return sqlite_exec(engine, "PRAGMA optimize; PRAGMA wal_checkpoint(TRUNCATE)", err);
}

/* Jobs first: a permit goes when its job has gone. */
static int drop_all(struct sqlite_call *call, bool whole, struct gone *gone, bool *more)
{
    for (int jobs = 1; jobs >= 0; jobs--) {
        *more = true;
        for (int chunk = 0; *more && (whole || chunk < CHUNKS_MAX); chunk++)
            if (drop_chunk(call, jobs, gone, more) < 0) return -1;
        if (*more) return 0;
    }
    return 0;
}

int sqlite_journal_compact(struct sqlite_call *call)
{
    int64_t days = record_type(call->in, "keep_days") == RECORD_NONE ? JOURNAL_KEEP_DAYS
                                                                     : record_integer(call->in, "keep_days");
    if (days < 0 || days > 36500)
        return journal_invalid(call->err, "field", "journal.compact: field \"keep_days\" must be 0 to 36500");
    sqlite_more_integer(call, "cutoff", call->now_ms - days * JOURNAL_DAY_MS);
    sqlite_more_integer(call, "outbox_cutoff",
                        call->now_ms - JOURNAL_OUTBOX_KEEP_DAYS * (int64_t)JOURNAL_DAY_MS);
    sqlite_more_integer(call, "hook_cutoff", call->now_ms - JOURNAL_HOOK_KEEP_DAYS * (int64_t)JOURNAL_DAY_MS);
    sqlite_more_integer(call, "line_cutoff", call->now_ms - journal_line_days(days) * JOURNAL_DAY_MS);
    sqlite_more_integer(call, "chunk", CHUNK);
    if (sqlite_exec(call->engine, "CREATE TEMP TABLE IF NOT EXISTS chosen(number INTEGER PRIMARY KEY)",
                    call->err) < 0)
        return -1;
    struct gone gone = {0, 0, 0};
    bool whole = record_integer(call->in, "whole") != 0, more;
    if (drop_all(call, whole, &gone, &more) < 0) return -1;
    if (!more && (drop_rest(call) < 0 || shrink(call->engine, whole, call->err) < 0)) return -1;
    struct record *row = record_list_add(call->out);
    record_set_integer(row, "jobs", gone.jobs);
    record_set_integer(row, "permits", gone.permits);
    record_set_integer(row, "decisions", gone.decisions);
    record_set_integer(row, "bytes", sqlite_file_bytes(call->engine));
    if (more) record_set_integer(row, "more", 1);
    return 0;
}
