/* journal_memory.c - the journal's engine without a file: for ":memory:", the emulator and virtual time.
 *
 * The same verbs as the engine on SQLite, over tables of this process.  A commit is nothing more to do; since
 * a verb checks before it changes, there is nothing to roll back either.
 */
#include "host/journal_memory.h"

#include <string.h>

#include "host/mem.h"

static struct memory *memory_of(struct journal_engine *engine)
{
    return (struct memory *)engine;
}

/* ---- the process, the only one ------------------------------------------------------------------------- */

static int process_list(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    (void)in, (void)err;
    struct record *row = record_list_add(out);
    record_set_text(row, "process", m->self.id);
    record_set_text(row, "kind", m->self.kind);
    record_set_text(row, "host", m->self.host);
    record_set_integer(row, "pid", m->self.pid);
    record_set_integer(row, "begun_at", m->begun_at);
    record_set_integer(row, "beat_at", m->self.beat_at);
    record_set_integer(row, "mine", 1);
    record_set_integer(row, "alive", 1);
    return 0;
}

/* Nothing of an earlier process is left in memory. */
static int process_last(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    (void)m, (void)in, (void)out, (void)err;
    return 0;
}

static int process_leave(struct memory *m, const struct record *in, struct record_list *out, struct err *err)
{
    (void)in, (void)out, (void)err;
    memory_leave_permits(m);
    memory_leave_jobs(m);
    memory_leave_rest(m);
    return 0;
}

static const memory_verb verbs[JOURNAL_VERB_COUNT] = {
    [VERB_PROCESS_LIST] = process_list,
    [VERB_PROCESS_LAST] = process_last,
    [VERB_PROCESS_LEAVE] = process_leave,
    [VERB_PERMIT_RESERVE] = memory_permit_reserve,
    [VERB_PERMIT_INTENT] = memory_permit_intent,
    [VERB_PERMIT_MOVE] = memory_permit_move,
    [VERB_PERMIT_GET] = memory_permit_get,
    [VERB_PERMIT_LIST] = memory_permit_list,
    [VERB_PERMIT_TAKE] = memory_permit_take,
    [VERB_PERMIT_PRESUME] = memory_permit_presume,
    [VERB_BUDGET_LINES] = memory_budget_lines,
    [VERB_BUDGET_COUNT] = memory_budget_count,
    [VERB_SPEND_REPORT] = memory_spend_report,
    [VERB_RATIO_LIST] = memory_ratio_list,
    [VERB_JOB_SUBMIT] = memory_job_submit,
    [VERB_JOB_GET] = memory_job_get,
    [VERB_JOB_LIST] = memory_job_list,
    [VERB_JOB_COUNTS] = memory_job_counts,
    [VERB_JOB_MOVE] = memory_job_move,
    [VERB_JOB_NOTE] = memory_job_note,
    [VERB_JOB_CLAIM] = memory_job_claim,
    [VERB_JOB_RELEASE] = memory_job_release,
    [VERB_JOB_ASK] = memory_job_ask,
    [VERB_JOB_ASKED] = memory_job_asked,
    [VERB_ATTEMPT_LIST] = memory_attempt_list,
    [VERB_DECISION_LIST] = memory_decision_list,
    [VERB_STORE_GET] = memory_store_get,
    [VERB_STORE_SET] = memory_store_set,
    [VERB_STORE_DELETE] = memory_store_delete,
    [VERB_STORE_LIST] = memory_store_list,
    [VERB_LOCK_TAKE] = memory_lock_take,
    [VERB_LOCK_FREE] = memory_lock_free,
    [VERB_OUTBOX_PUT] = memory_outbox_put,
    [VERB_OUTBOX_DUE] = memory_outbox_due,
    [VERB_OUTBOX_LATER] = memory_outbox_later,
    [VERB_OUTBOX_DONE] = memory_outbox_done,
    [VERB_OUTBOX_LIST] = memory_outbox_list,
    [VERB_HOOK_BEGIN] = memory_hook_begin,
    [VERB_HOOK_END] = memory_hook_end,
    [VERB_HOOK_LIST] = memory_hook_list,
    [VERB_HOOK_LAST] = memory_hook_last,
    [VERB_JOURNAL_VERIFY] = memory_verify,
    [VERB_JOURNAL_EXPORT] = memory_export,
    [VERB_JOURNAL_BACKUP] = memory_backup,
    [VERB_JOURNAL_COMPACT] = memory_compact,
};

/* ---- the engine ---------------------------------------------------------------------------------------- */

static int engine_open(struct journal_engine *engine, int64_t now_ms, struct err *err)
{
    (void)err;
    struct memory *m = memory_of(engine);
    m->self.beat_at = now_ms;
    if (!m->begun_at) m->begun_at = now_ms;
    return 0;
}

/* What is in memory stays until the engine goes. */
static void engine_close(struct journal_engine *engine)
{
    (void)engine;
}

static void engine_free(struct journal_engine *engine)
{
    struct memory *m = memory_of(engine);
    memory_tables_deinit(m);
    mem_free(m);
}

static int engine_begin(struct journal_engine *engine, bool writes, struct err *err)
{
    (void)engine, (void)writes, (void)err;
    return 0;
}

static int engine_commit(struct journal_engine *engine, struct err *err)
{
    (void)engine, (void)err;
    return 0;
}

static void engine_rollback(struct journal_engine *engine)
{
    (void)engine;
}

static bool engine_wrote(struct journal_engine *engine)
{
    (void)engine;
    return true;
}

static int engine_apply(struct journal_engine *engine, enum journal_verb verb, const struct record *in,
                        int64_t now_ms, struct record_list *out, struct err *err)
{
    struct memory *m = memory_of(engine);
    m->now = now_ms;
    return verbs[verb](m, in, out, err);
}

static int engine_beat(struct journal_engine *engine, int64_t now_ms, struct err *err)
{
    (void)err;
    memory_of(engine)->self.beat_at = now_ms;
    return 0;
}

static int64_t engine_bytes(struct journal_engine *engine)
{
    return memory_bytes(memory_of(engine));
}

static const struct journal_engine_type memory_type = {
    .name = "memory",
    .open = engine_open,
    .close = engine_close,
    .free = engine_free,
    .begin = engine_begin,
    .commit = engine_commit,
    .rollback = engine_rollback,
    .wrote = engine_wrote,
    .apply = engine_apply,
    .beat = engine_beat,
    .bytes = engine_bytes,
};

struct journal_engine *journal_memory_new(const struct journal_process *self)
{
    struct memory *m = mem_alloc(sizeof *m);
    m->engine.type = &memory_type;
    m->self = *self;
    memory_tables_init(m);
    return &m->engine;
}
