/* journal_sqlite.c - the SQLite engine: connection, batches, and which function serves which verb.
 *
 * One connection, in WAL mode with synchronous=FULL: a commit that was answered survives a power cut.  A
 * batch that writes takes the lock for writing at its begin (BEGIN IMMEDIATE), so that what a verb reads is
 * still true when it writes; each verb runs in a savepoint of its own.
 */
#include "host/journal_sqlite.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "host/mem.h"

enum {
    BUSY_LIMIT_MS = 5000,
    BUSY_AGAIN_MS = 500, /* once it was waited for in vain: what only reads must not wait behind writers */
    CHECK_BYTES_MAX =
        64 * 1024 * 1024, /* quick_check reads all of a file: about half a second for this much */
};

typedef int (*verb_fn)(struct sqlite_call *call);

static const verb_fn verb_fns[JOURNAL_VERB_COUNT] = {
    [VERB_PROCESS_LIST] = sqlite_process_list,
    [VERB_PROCESS_LAST] = sqlite_process_last,
    [VERB_PROCESS_LEAVE] = sqlite_process_leave,
    [VERB_PERMIT_RESERVE] = sqlite_permit_reserve,
    [VERB_PERMIT_INTENT] = sqlite_permit_intent,
    [VERB_PERMIT_MOVE] = sqlite_permit_move,
    [VERB_PERMIT_GET] = sqlite_permit_get,
    [VERB_PERMIT_LIST] = sqlite_permit_list,
    [VERB_PERMIT_TAKE] = sqlite_permit_take,
    [VERB_PERMIT_PRESUME] = sqlite_permit_presume,
    [VERB_BUDGET_LINES] = sqlite_budget_lines,
    [VERB_BUDGET_COUNT] = sqlite_budget_count,
    [VERB_SPEND_REPORT] = sqlite_spend_report,
    [VERB_RATIO_LIST] = sqlite_ratio_list,
    [VERB_JOB_SUBMIT] = sqlite_job_submit,
    [VERB_JOB_GET] = sqlite_job_get,
    [VERB_JOB_LIST] = sqlite_job_list,
    [VERB_JOB_COUNTS] = sqlite_job_counts,
    [VERB_JOB_MOVE] = sqlite_job_move,
    [VERB_JOB_NOTE] = sqlite_job_note,
    [VERB_JOB_CLAIM] = sqlite_job_claim,
    [VERB_JOB_RELEASE] = sqlite_job_release,
    [VERB_JOB_ASK] = sqlite_job_ask,
    [VERB_JOB_ASKED] = sqlite_job_asked,
    [VERB_ATTEMPT_LIST] = sqlite_attempt_list,
    [VERB_DECISION_LIST] = sqlite_decision_list,
    [VERB_STORE_GET] = sqlite_store_get,
    [VERB_STORE_SET] = sqlite_store_set,
    [VERB_STORE_DELETE] = sqlite_store_delete,
    [VERB_STORE_LIST] = sqlite_store_list,
    [VERB_LOCK_TAKE] = sqlite_lock_take,
    [VERB_LOCK_FREE] = sqlite_lock_free,
    [VERB_OUTBOX_PUT] = sqlite_outbox_put,
    [VERB_OUTBOX_DUE] = sqlite_outbox_due,
    [VERB_OUTBOX_LATER] = sqlite_outbox_later,
    [VERB_OUTBOX_DONE] = sqlite_outbox_done,
    [VERB_OUTBOX_LIST] = sqlite_outbox_list,
    [VERB_HOOK_BEGIN] = sqlite_hook_begin,
    [VERB_HOOK_END] = sqlite_hook_end,
    [VERB_HOOK_LIST] = sqlite_hook_list,
    [VERB_HOOK_LAST] = sqlite_hook_last,
    [VERB_JOURNAL_VERIFY] = sqlite_journal_verify,
    [VERB_JOURNAL_EXPORT] = sqlite_journal_export,
    [VERB_JOURNAL_BACKUP] = sqlite_journal_backup,
    [VERB_JOURNAL_COMPACT] = sqlite_journal_compact,
};

static struct sqlite_engine *of(struct journal_engine *engine)
{
    return (struct sqlite_engine *)engine;
}

/* ---- batches ------------------------------------------------------------------------------------------ */

static int engine_begin(struct journal_engine *base, bool writes, struct err *err)
{
    of(base)->left_before = of(base)->left;
    if (writes && sqlite_file_check(of(base), err) < 0) return -1;
    errno = 0; /* what stands there when the batch fails is of the batch */
    if (!writes) return sqlite_exec(of(base), "BEGIN", err);
    int rc = sqlite_exec(of(base), "BEGIN IMMEDIATE", err);
    of(base)->changes = sqlite3_total_changes(of(base)->db);
    of(base)->locked = rc < 0 && strcmp(err->code, "journal_locked") == 0;
    return rc;
}

static int engine_commit(struct journal_engine *base, struct err *err)
{
    return sqlite_exec(of(base), "COMMIT", err);
}

/* SQLite ends a transaction itself after some errors. */
static void engine_rollback(struct journal_engine *base)
{
    struct sqlite_engine *engine = of(base);
    if (!sqlite3_get_autocommit(engine->db)) sqlite3_exec(engine->db, "ROLLBACK", NULL, NULL, NULL);
    engine->left = engine->left || engine->left_before;
}

static bool engine_wrote(struct journal_engine *base)
{
    return sqlite3_total_changes(of(base)->db) != of(base)->changes;
}

/* After process.leave a caller that goes on is a living process again. */
static int reenter(struct sqlite_call *call)
{
    return call->engine->left ? sqlite_process_enter(call) : 0;
}

static int in_savepoint(struct sqlite_call *call, enum journal_verb verb)
{
    struct sqlite_engine *engine = call->engine;
    if (sqlite_exec(engine, "SAVEPOINT verb", call->err) < 0) return -1;
    if (reenter(call) == 0 && verb_fns[verb](call) == 0) {
        engine->left = verb == VERB_PROCESS_LEAVE;
        return sqlite_exec(engine, "RELEASE verb", call->err);
    }
    if (!sqlite3_get_autocommit(engine->db))
        sqlite3_exec(engine->db, "ROLLBACK TO verb; RELEASE verb", NULL, NULL, NULL);
    return -1;
}

static int engine_apply(struct journal_engine *base, enum journal_verb verb, const struct record *in,
                        int64_t now_ms, struct record_list *out, struct err *err)
{
    struct sqlite_call call = {of(base), in, NULL, now_ms, out, err};
    int rc = journal_verb_way(verb) == JOURNAL_WRITES ? in_savepoint(&call, verb) : verb_fns[verb](&call);
    record_free(call.more);
    return rc;
}

/* ---- the connection ----------------------------------------------------------------------------------- */

/* Called while another process writes.  SQLite's own handler waits up to 100 ms at a time; commits take far
 * less, and with many processes the last one in the row must get its turn within the limit. */
static int on_busy_cb(void *ctx, int count)
{
    struct sqlite_engine *engine = ctx;
    struct timespec now, pause = {0, 0};
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t now_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    if (count == 0) engine->busy_since_ns = now_ns;
    uint64_t limit_ms =
        engine->locked && engine->busy_limit_ms > BUSY_AGAIN_MS ? BUSY_AGAIN_MS : engine->busy_limit_ms;
    if (now_ns - engine->busy_since_ns > limit_ms * 1000000u) return 0;
    pause.tv_nsec = 200000 * (1 + (count < 20 ? count : 20)); /* 0.2 to 4 ms */
    nanosleep(&pause, NULL);
    return 1;
}

/* The change of a new file to WAL asks for its locks without the busy handler, for fear of two that wait for
 * each other: of several processes that open a new journal at once all but one would be told that it is
 * locked. */
static int set_wal(struct sqlite_engine *engine, struct err *err)
{
    for (int count = 0;; count++) {
        int rc = sqlite3_exec(engine->db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL);
        if (rc == SQLITE_OK) return 0;
        if ((rc & 0xff) != SQLITE_BUSY || !on_busy_cb(engine, count)) return sqlite_fail(engine, err);
    }
}

static int set_up(struct sqlite_engine *engine, struct err *err)
{
    sqlite3_busy_handler(engine->db, on_busy_cb, engine);
    sqlite3_extended_result_codes(engine->db, 1);
    sqlite3_db_config(engine->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(engine->db, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
    sqlite3_db_config(engine->db, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
    if (sqlite_exec(engine, "PRAGMA trusted_schema = OFF", err) < 0 || set_wal(engine, err) < 0) return -1;
    if (sqlite_exec(engine,
                    "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY;"
                    "PRAGMA cell_size_check = ON; PRAGMA journal_size_limit = 16777216",
                    err) < 0)
        return -1;
    return sqlite_functions(engine, err);
}

static int connect(struct sqlite_engine *engine, struct err *err)
{
    bool in_memory = strcmp(engine->directory, ":memory:") == 0;
    if (!in_memory && sqlite_file_prepare(engine, err) < 0) return -1;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW;
    const char *name = in_memory ? ":memory:" : engine->path;
    if (sqlite3_open_v2(name, &engine->db, flags, NULL) != SQLITE_OK) return sqlite_fail(engine, err);
    if (set_up(engine, err) < 0) return -1;
    size_t count;
    const struct sqlite_step *steps = sqlite_schema_steps(&count);
    return sqlite_schema_update(engine, steps, count, err);
}

/* Reading all of a large file would cost the second in which a start is to be done; after a sudden end a
 * smaller one is looked at.  `perigee journal verify` looks at everything. */
static int check_after_crash(struct sqlite_call *call)
{
    bool dead;
    if (sqlite_process_any_dead(call, &dead) < 0) return -1;
    if (!dead || sqlite_file_bytes(call->engine) > CHECK_BYTES_MAX) return 0;
    return sqlite_quick_check(call->engine, call->err);
}

static int enter(struct sqlite_engine *engine, int64_t now_ms, struct err *err)
{
    struct record *none = record_new();
    struct record_list out = {NULL, 0};
    struct sqlite_call call = {engine, none, NULL, now_ms, &out, err};
    int rc = check_after_crash(&call);
    if (rc == 0) rc = engine_begin(&engine->base, true, err);
    if (rc == 0) {
        rc = sqlite_process_enter(&call) < 0 || sqlite_process_bury_dead(&call) < 0 ? -1 : 0;
        if (rc == 0) rc = engine_commit(&engine->base, err);
        if (rc < 0) engine_rollback(&engine->base);
    }
    record_free(call.more);
    record_free(none);
    record_list_deinit(&out);
    return rc;
}

static void engine_close(struct journal_engine *base)
{
    struct sqlite_engine *engine = of(base);
    sqlite_forget_statements(engine);
    sqlite3_close(engine->db);
    engine->db = NULL;
}

/* Who cannot write can read all the same: without a row of its own, which the first verb that writes makes.
 */
static bool is_readable(const struct err *err)
{
    static const char *const codes[] = {"journal_full", "journal_readonly", "journal_locked"};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        if (strcmp(err->code, codes[i]) == 0) return true;
    return false;
}

static int engine_open(struct journal_engine *base, int64_t now_ms, struct err *err)
{
    struct sqlite_engine *engine = of(base);
    if (connect(engine, err) == 0) {
        engine->left = false;
        if (enter(engine, now_ms, err) == 0) return 0;
        engine->left = true;
        if (is_readable(err)) return 0;
    }
    engine_close(base);
    return -1;
}

static int engine_beat(struct journal_engine *base, int64_t now_ms, struct err *err)
{
    struct record *none = record_new();
    struct record_list out = {NULL, 0};
    struct sqlite_call call = {of(base), none, NULL, now_ms, &out, err};
    int rc = sqlite_process_enter(&call) < 0 || sqlite_process_bury_dead(&call) < 0 ? -1 : 0;
    record_free(call.more);
    record_free(none);
    record_list_deinit(&out);
    return rc;
}

static int64_t engine_bytes(struct journal_engine *base)
{
    return sqlite_file_bytes(of(base));
}

static void engine_free(struct journal_engine *base)
{
    struct sqlite_engine *engine = of(base);
    mem_free(engine->path);
    mem_free(engine->directory);
    mem_free(engine);
}

static const struct journal_engine_type type = {
    .name = "sqlite",
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

struct journal_engine *journal_sqlite_new(const char *directory, const struct journal_process *self)
{
    struct sqlite_engine *engine = mem_alloc(sizeof *engine);
    engine->base.type = &type;
    engine->directory = mem_strdup(directory);
    engine->self = *self;
    engine->busy_limit_ms = BUSY_LIMIT_MS;
    return &engine->base;
}
