/* journal_engine.h - what keeps the journal's records: the seam between host/journal.c and its engines.
 *
 * The core owns the queue, the thread, the order of the answers and the check of the fields; an engine owns
 * the records.  An engine is used by one thread at a time, and never by two at once; it knows nothing of the
 * loop.  What it is given has been checked against the verb's table: needed fields are there, types are
 * right, words are among the allowed ones, amounts can be parsed.
 * Only host/journal*.c includes this.
 */
#ifndef PERIGEE_JOURNAL_ENGINE_H
#define PERIGEE_JOURNAL_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/err.h"
#include "host/journal_process.h"
#include "host/record.h"

/* In the order of docs/journal.md; journal_verbs.c has their names and fields. */
enum journal_verb {
    VERB_PROCESS_LIST,
    VERB_PROCESS_LAST,
    VERB_PROCESS_LEAVE,
    VERB_PERMIT_RESERVE,
    VERB_PERMIT_INTENT,
    VERB_PERMIT_MOVE,
    VERB_PERMIT_GET,
    VERB_PERMIT_LIST,
    VERB_PERMIT_TAKE,
    VERB_PERMIT_PRESUME,
    VERB_BUDGET_LINES,
    VERB_BUDGET_COUNT,
    VERB_SPEND_REPORT,
    VERB_RATIO_LIST,
    VERB_JOB_SUBMIT,
    VERB_JOB_GET,
    VERB_JOB_LIST,
    VERB_JOB_COUNTS,
    VERB_JOB_MOVE,
    VERB_JOB_NOTE,
    VERB_JOB_CLAIM,
    VERB_JOB_RELEASE,
    VERB_JOB_ASK,
    VERB_JOB_ASKED,
    VERB_ATTEMPT_LIST,
    VERB_DECISION_LIST,
    VERB_STORE_GET,
    VERB_STORE_SET,
    VERB_STORE_DELETE,
    VERB_STORE_LIST,
    VERB_LOCK_TAKE,
    VERB_LOCK_FREE,
    VERB_OUTBOX_PUT,
    VERB_OUTBOX_DUE,
    VERB_OUTBOX_LATER,
    VERB_OUTBOX_DONE,
    VERB_OUTBOX_LIST,
    VERB_HOOK_BEGIN,
    VERB_HOOK_END,
    VERB_HOOK_LIST,
    VERB_HOOK_LAST,
    VERB_JOURNAL_VERIFY,
    VERB_JOURNAL_EXPORT,
    VERB_JOURNAL_BACKUP,
    VERB_JOURNAL_COMPACT,
    JOURNAL_VERB_COUNT
};

enum journal_verb_way {
    JOURNAL_WRITES,
    JOURNAL_READS, /* changes nothing: a batch of these alone takes no lock for writing */
    JOURNAL_ALONE  /* in no batch: the engine does its own transactions */
};

/* -1 if there is no such verb. */
int journal_verb_find(const char *name);
const char *journal_verb_name(enum journal_verb verb);
enum journal_verb_way journal_verb_way(enum journal_verb verb);

/* 0, or -1 and err (kind invalid; names the verb and the field). */
int journal_verb_check(enum journal_verb verb, const struct record *in, struct err *err);

struct journal_engine;

/* Functions that return int: 0, or -1 and err. */
struct journal_engine_type {
    const char *name;

    /* Opens, brings the records up to this program's schema, enters the process and buries the dead.  May be
     * called again after it failed, and after close.  0 with an err says that it can only be read for now:
     * the first verb that writes enters the process. */
    int (*open)(struct journal_engine *engine, int64_t now_ms, struct err *err);
    void (*close)(struct journal_engine *engine);
    void (*free)(struct journal_engine *engine); /* closed before */

    /* A batch: what is applied in it becomes durable together, at commit, or not at all. */
    int (*begin)(struct journal_engine *engine, bool writes, struct err *err);
    int (*commit)(struct journal_engine *engine, struct err *err);
    void (*rollback)(struct journal_engine *engine);

    /* Whether the last commit had anything to write: on a full disk an empty one succeeds, and says nothing.
     */
    bool (*wrote)(struct journal_engine *engine);

    /* One verb, wholly or not at all: one that fails leaves the rest of the batch as it was.  Kind
     * ERR_UNAVAILABLE: the engine itself is in trouble, and the batch is lost. */
    int (*apply)(struct journal_engine *engine, enum journal_verb verb, const struct record *in,
                 int64_t now_ms, struct record_list *out, struct err *err);

    /* In a batch that writes: notes that this process lives, and buries the dead. */
    int (*beat)(struct journal_engine *engine, int64_t now_ms, struct err *err);

    /* Bytes of the records where they are kept: file and log, or memory. */
    int64_t (*bytes)(struct journal_engine *engine);
};

/* First member of every engine. */
struct journal_engine {
    const struct journal_engine_type *type;
};

/* Each copies what it is given. */
struct journal_engine *journal_sqlite_new(const char *directory, const struct journal_process *self);
struct journal_engine *journal_memory_new(const struct journal_process *self);

#endif
