/* journal_sqlite.h - the SQLite engine's inside, for host/journal_sqlite*.c and its tests only.
 *
 * SQL is written with named parameters: ":now" and ":me" are the time of the call and this process, every
 * other name is a field of the call's input or of its `more` record; a name that neither has is NULL.
 * Sums of money are formed by functions of ours (amount_total), never by SQLite's numbers.
 */
#ifndef PERIGEE_JOURNAL_SQLITE_H
#define PERIGEE_JOURNAL_SQLITE_H

#include <sqlite3.h>

#include "host/amount.h"
#include "host/buf.h"
#include "host/journal_engine.h"
#include "host/journal_rules.h"

enum { STATEMENTS_MAX = 256 }; /* a power of two, well above the number of texts in use */

struct sqlite_statement {
    char *text;
    sqlite3_stmt *stmt;
};

struct sqlite_engine {
    struct journal_engine base;
    struct journal_process self;
    char *directory;        /* as given; ":memory:" */
    char *path;             /* of the file, once open */
    uint64_t device, inode; /* the file that is open */
    sqlite3 *db;
    bool left;        /* process.leave was called: whoever goes on writing is entered anew */
    bool left_before; /* at the begin of the batch */
    uint64_t busy_since_ns, busy_limit_ms;
    int changes; /* sqlite3_total_changes when the last batch that writes began */
    bool locked; /* the last batch that writes waited in vain */
    struct sqlite_statement statements[STATEMENTS_MAX];
};

/* One verb under way. */
struct sqlite_call {
    struct sqlite_engine *engine;
    const struct record *in;
    struct record *more; /* further parameters; owned by the call */
    int64_t now_ms;
    struct record_list *out;
    struct err *err;
};

/* ---- errors and files (journal_sqlite_file.c) --------------------------------------------------------- */

/* Fills err from the connection's last error; -1. */
int sqlite_fail(struct sqlite_engine *engine, struct err *err);

/* The same from an errno of ours. */
int sqlite_fail_errno(struct sqlite_engine *engine, struct err *err, int error);

/* Makes directory and file if they are not there, with modes 0700 and 0600, and fills engine->path.  A file
 * that is a link, that others own or that has another name too is refused. */
int sqlite_file_prepare(struct sqlite_engine *engine, struct err *err);

/* 0 while the path still leads to the file that was opened. */
int sqlite_file_check(struct sqlite_engine *engine, struct err *err);

/* A copy of the open journal in a new file of mode 0600, synced; *bytes gets its size. */
int sqlite_file_backup(struct sqlite_engine *engine, const char *path, int64_t *bytes, struct err *err);

/* Bytes of the file and its log. */
int64_t sqlite_file_bytes(struct sqlite_engine *engine);

/* ---- statements (journal_sqlite_sql.c) ---------------------------------------------------------------- */

/* Amount functions and the like on a fresh connection. */
int sqlite_functions(struct sqlite_engine *engine, struct err *err);

/* Frees the prepared statements. */
void sqlite_forget_statements(struct sqlite_engine *engine);

/* Statements without parameters and results, several in one text. */
int sqlite_exec(struct sqlite_engine *engine, const char *text, struct err *err);

/* The first column of the first row; 0 if there is none. */
int sqlite_number(struct sqlite_engine *engine, const char *text, int64_t *out, struct err *err);

/* Runs to the end; rows are not looked at.  *changed (may be NULL) gets the rows that it changed. */
int sqlite_run(struct sqlite_call *call, const char *text, int64_t *changed);

/* Each row becomes a record with the names of its columns; what is NULL is absent. */
int sqlite_rows(struct sqlite_call *call, const char *text, struct record_list *out);

/* The first row, or *out = NULL; the caller frees it. */
int sqlite_row(struct sqlite_call *call, const char *text, struct record **out);

/* Further parameters.  text NULL is NULL. */
void sqlite_more_text(struct sqlite_call *call, const char *name, const char *text);
void sqlite_more_integer(struct sqlite_call *call, const char *name, int64_t value);

/* Takes the value of another record's field, NULL included. */
void sqlite_more_field(struct sqlite_call *call, const char *name, const struct record *from,
                       const char *field);

/* ---- schema (journal_sqlite_schema.c) ----------------------------------------------------------------- */

enum { SQLITE_STEP_PARTS = 4 };

struct sqlite_step {
    int to; /* the version it leads to */
    const char *sql[SQLITE_STEP_PARTS];
};

/* Brings the file up: a new one is made, an older one migrated step by step after a backup beside it
 * ("journal.db.v1-backup"), a newer one refused. */
int sqlite_schema_update(struct sqlite_engine *engine, const struct sqlite_step *steps, size_t count,
                         struct err *err);

/* The steps of this program; the first makes version 1 of nothing. */
const struct sqlite_step *sqlite_schema_steps(size_t *count);

/* ---- processes (journal_sqlite_process.c) ------------------------------------------------------------- */

int sqlite_process_enter(struct sqlite_call *call);

/* True if someone who has not ended by itself is dead: the last end was not clean. */
int sqlite_process_any_dead(struct sqlite_call *call, bool *dead);

int sqlite_process_bury_dead(struct sqlite_call *call);

/* *alive: the process is there, has not ended, and lives.  One that is found dead is buried. */
int sqlite_process_alive(struct sqlite_call *call, const char *process, bool *alive);

int sqlite_process_list(struct sqlite_call *call);
int sqlite_process_last(struct sqlite_call *call);
int sqlite_process_leave(struct sqlite_call *call);

/* ---- verbs: 0, or -1 and call->err -------------------------------------------------------------------- */

int sqlite_permit_reserve(struct sqlite_call *call);
int sqlite_permit_intent(struct sqlite_call *call);
int sqlite_permit_move(struct sqlite_call *call);
int sqlite_permit_get(struct sqlite_call *call);
int sqlite_permit_list(struct sqlite_call *call);
int sqlite_permit_take(struct sqlite_call *call);
int sqlite_permit_presume(struct sqlite_call *call);

/* The permit's amount goes to another bucket, in all its lines; for burying and presuming.  amount NULL keeps
 * the present one, or else takes the price. */
struct sqlite_change {
    const char *state, *bucket, *amount, *remote_id;
    bool derived, presumed;
};
int sqlite_permit_change(struct sqlite_call *call, const struct record *permit,
                         const struct sqlite_change *change);

int sqlite_budget_lines(struct sqlite_call *call);
int sqlite_budget_count(struct sqlite_call *call);
int sqlite_spend_report(struct sqlite_call *call);
int sqlite_ratio_list(struct sqlite_call *call);

/* The sums of one line by enum journal_bucket; nothing where there is no row. */
int sqlite_line_read(struct sqlite_call *call, const struct record *line, struct amount sums[4]);
int sqlite_line_write(struct sqlite_call *call, const struct record *line, const struct amount sums[4]);

/* Adds an amount that no permit of the journal stands for to what the line is made of. */
int sqlite_line_base(struct sqlite_call *call, const struct record *line, enum journal_bucket bucket,
                     const char *amount);

/* Daily totals (journal_sqlite_report.c): a settled permit, named :permit, begins or ceases to count; those
 * of the table `chosen` are about to go; days that do not agree with their permits are problems. */
int sqlite_daily_add(struct sqlite_call *call);
int sqlite_daily_take(struct sqlite_call *call);
int sqlite_daily_retire(struct sqlite_call *call);
int sqlite_daily_verify(struct sqlite_call *call);

int sqlite_job_submit(struct sqlite_call *call);
int sqlite_job_get(struct sqlite_call *call);
int sqlite_job_list(struct sqlite_call *call);
int sqlite_job_counts(struct sqlite_call *call);
int sqlite_job_move(struct sqlite_call *call);
int sqlite_job_note(struct sqlite_call *call);
int sqlite_job_claim(struct sqlite_call *call);
int sqlite_job_release(struct sqlite_call *call);
int sqlite_job_ask(struct sqlite_call *call);
int sqlite_job_asked(struct sqlite_call *call);
int sqlite_attempt_list(struct sqlite_call *call);
int sqlite_decision_list(struct sqlite_call *call);

int sqlite_store_get(struct sqlite_call *call);
int sqlite_store_set(struct sqlite_call *call);
int sqlite_store_delete(struct sqlite_call *call);
int sqlite_store_list(struct sqlite_call *call);
int sqlite_lock_take(struct sqlite_call *call);
int sqlite_lock_free(struct sqlite_call *call);
int sqlite_outbox_put(struct sqlite_call *call);
int sqlite_outbox_due(struct sqlite_call *call);
int sqlite_outbox_later(struct sqlite_call *call);
int sqlite_outbox_done(struct sqlite_call *call);
int sqlite_outbox_list(struct sqlite_call *call);
int sqlite_hook_begin(struct sqlite_call *call);
int sqlite_hook_end(struct sqlite_call *call);
int sqlite_hook_list(struct sqlite_call *call);
int sqlite_hook_last(struct sqlite_call *call);

int sqlite_journal_verify(struct sqlite_call *call);
int sqlite_journal_export(struct sqlite_call *call);
int sqlite_journal_backup(struct sqlite_call *call);
int sqlite_journal_compact(struct sqlite_call *call);

/* PRAGMA quick_check: 0, or -1 and journal_corrupt. */
int sqlite_quick_check(struct sqlite_engine *engine, struct err *err);

#endif
