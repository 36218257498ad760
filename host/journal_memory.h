/* journal_memory.h - the records of the memory engine, shared by the files that hold its verbs.
 *
 * A verb checks first and changes afterwards: what returns -1 has changed nothing.  There is one process
 * only, so nobody else's claims exist but those that were given up.  Only host/journal_memory*.c includes
 * this.
 */
#ifndef PERIGEE_JOURNAL_MEMORY_H
#define PERIGEE_JOURNAL_MEMORY_H

#include "host/journal_engine.h"
#include "host/journal_rules.h"
#include "host/journal_table.h"

struct memory {
    struct journal_engine engine;
    struct journal_process self;
    int64_t now; /* of the verb at hand */
    int64_t begun_at;
    int64_t versions; /* of stored values: none is given twice */
    struct table permits, bookings, lines, daily, ratios;
    struct table jobs, attempts, decisions;
    struct table values, locks, messages, hooks;
};

/* Where their columns stand. */
enum permit_column {
    PERMIT_INTENT_ID,
    PERMIT_OPERATION,
    PERMIT_SERVICE,
    PERMIT_ACCOUNT,
    PERMIT_KEY,
    PERMIT_PRICE,
    PERMIT_GOVERNED,
    PERMIT_JOB,
    PERMIT_ATTEMPT,
    PERMIT_POLICY,
    PERMIT_TAGS,
    PERMIT_MODEL,
    PERMIT_STATE,
    PERMIT_BUCKET,
    PERMIT_AMOUNT,
    PERMIT_DERIVED,
    PERMIT_PRESUMED,
    PERMIT_REMOTE_ID,
    PERMIT_PROCESS,
    PERMIT_RESERVED_AT,
    PERMIT_SENT_AT,
    PERMIT_ANSWERED_AT,
    PERMIT_ENDED_AT
};

enum job_column {
    JOB_ID,
    JOB_NAME,
    JOB_KEY,
    JOB_SERVICE,
    JOB_KIND,
    JOB_STATE,
    JOB_REASON,
    JOB_SPEC,
    JOB_HASH,
    JOB_OPTIONS,
    JOB_POLICY,
    JOB_TAGS,
    JOB_ATTEMPT,
    JOB_INTENT,
    JOB_REMOTE_ID,
    JOB_PRICE,
    JOB_COST,
    JOB_RESULT,
    JOB_ERROR,
    JOB_PROCESS,
    JOB_FENCE,
    JOB_CREATED_AT,
    JOB_CHANGED_AT,
    JOB_STARTED_AT,
    JOB_ENDED_AT,
    JOB_WAKE_AT,
    JOB_EXPIRES_AT,
    JOB_REQUEST
};

/* Each in the file that holds its verbs. */
extern const struct table_schema memory_permits, memory_bookings, memory_lines, memory_daily, memory_ratios;
extern const struct table_schema memory_jobs, memory_attempts, memory_decisions;
extern const struct table_schema memory_values, memory_locks, memory_messages, memory_hooks;

/* What a verb is to the engine: 0, or -1 and err. */
typedef int (*memory_verb)(struct memory *memory, const struct record *in, struct record_list *out,
                           struct err *err);

/* ---- verbs, by the file that holds them -----------------------------------------------------------------
 */

/* journal_memory_money.c */
int memory_permit_reserve(struct memory *, const struct record *, struct record_list *, struct err *);
int memory_permit_intent(struct memory *, const struct record *, struct record_list *, struct err *);
int memory_permit_move(struct memory *, const struct record *, struct record_list *, struct err *);
int memory_permit_get(struct memory *, const struct record *, struct record_list *, struct err *);
int memory_permit_list(struct memory *, const struct record *, struct record_list *, struct err *);
int memory_permit_take(struct memory *, const struct record *, struct record_list *, struct err *);
int memory_permit_presume(struct memory *, const struct record *, struct record_list *, struct err *);
int memory_budget_lines(struct memory *, const struct record *, struct record_list *, struct err *);
int memory_budget_count(struct memory *, const struct record *, struct record_list *, struct err *);

/* journal_memory_report.c */
int memory_spend_report(struct memory *, const struct record *, struct record_list *, struct err *);
int memory_ratio_list(struct memory *, const struct record *, struct record_list *, struct err *);

/* journal_memory_upkeep.c */
int memory_verify(struct memory *, const struct record *, struct record_list *, struct err *);
int memory_export(struct memory *, const struct record *, struct record_list *, struct err *);
int memory_backup(struct memory *, const struct record *, struct record_list *, struct err *);
int memory_compact(struct memory *, const struct record *, struct record_list *, struct err *);

/* journal_memory_jobs.c */
int memory_job_submit(struct memory *, const struct record *, struct record_list *, struct err *);
int memory_job_get(struct memory *, const struct record *, struct record_list *, struct err *);
int memory_job_list(struct memory *, const struct record *, struct record_list *, struct err *);
int memory_job_counts(struct memory *, const struct record *, struct record_list *, struct err *);
int memory_job_move(struct memory *, const struct record *, struct record_list *, struct err *);
int memory_job_note(struct memory *, const struct record *, struct record_list *, struct err *);
int memory_job_claim(struct memory *, const struct record *, struct record_list *, struct err *);
int memory_job_release(struct memory *, const struct record *, struct record_list *, struct err *);
int memory_job_ask(struct memory *, const struct record *, struct record_list *, struct err *);
int memory_job_asked(struct memory *, const struct record *, struct record_list *, struct err *);
int memory_attempt_list(struct memory *, const struct record *, struct record_list *, struct err *);
int memory_decision_list(struct memory *, const struct record *, struct record_list *, struct err *);

/* journal_memory_rest.c */
int memory_store_get(struct memory *, const struct record *, struct record_list *, struct err *);
int memory_store_set(struct memory *, const struct record *, struct record_list *, struct err *);
int memory_store_delete(struct memory *, const struct record *, struct record_list *, struct err *);
int memory_store_list(struct memory *, const struct record *, struct record_list *, struct err *);
int memory_lock_take(struct memory *, const struct record *, struct record_list *, struct err *);
int memory_lock_free(struct memory *, const struct record *, struct record_list *, struct err *);
int memory_outbox_put(struct memory *, const struct record *, struct record_list *, struct err *);
int memory_outbox_due(struct memory *, const struct record *, struct record_list *, struct err *);
int memory_outbox_later(struct memory *, const struct record *, struct record_list *, struct err *);
int memory_outbox_done(struct memory *, const struct record *, struct record_list *, struct err *);
int memory_outbox_list(struct memory *, const struct record *, struct record_list *, struct err *);
int memory_hook_begin(struct memory *, const struct record *, struct record_list *, struct err *);
int memory_hook_end(struct memory *, const struct record *, struct record_list *, struct err *);
int memory_hook_list(struct memory *, const struct record *, struct record_list *, struct err *);
int memory_hook_last(struct memory *, const struct record *, struct record_list *, struct err *);

/* ---- what the end of the process does in each ------------------------------------------------------------
 */

void memory_leave_permits(struct memory *memory);
void memory_leave_jobs(struct memory *memory);
void memory_leave_rest(struct memory *memory); /* locks, hooks */

/* What a line says is held, and what the permits booked on it hold. */
void memory_line_held(const struct memory *memory, const struct row *line, struct amount *said,
                      struct amount *held);

/* Adds a permit that is going to the totals of its day and to the ratios. */
void memory_fold_permit(struct memory *memory, const struct row *permit);

/* Free locks and lines that nobody has touched since; messages and hooks whose own time is over. */
void memory_compact_rest(struct memory *memory, int64_t before);
void memory_compact_lines(struct memory *memory, int64_t before);

void memory_tables_init(struct memory *memory);
void memory_tables_deinit(struct memory *memory);
int64_t memory_bytes(struct memory *memory);

#endif
