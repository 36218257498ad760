/* journal.h - durable records of money, jobs and decisions, shared by the processes of one state directory.
 *
 * The interface is verbs of the domain ("permit.reserve", "job.move"), each a record in and records out; what
 * each takes and gives is in docs/journal.md and checked by the table in journal_verbs.c.  A verb is one
 * atomic step; many may share one commit.  An engine (journal_engine.h) keeps the records: SQLite, or memory
 * for the place named ":memory:".  SQL stands in host/journal_sqlite*.c and nowhere else.
 *
 * One writer thread owns the engine; the loop never waits for a disk.  A call is answered from the loop when
 * its commit is through, in the order of the calls.  On a virtual clock commits run on the loop.
 *
 * The journal opens with its first call.  If it cannot be opened or written (disk full, read-only, corrupted,
 * locked, newer than this program), calls are answered with that error, kind ERR_UNAVAILABLE and code
 * "journal_…"; a later call may succeed again.  Loop thread only.
 */
#ifndef PERIGEE_JOURNAL_H
#define PERIGEE_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "host/err.h"
#include "host/loop.h"
#include "host/record.h"
#include "host/timers.h"

struct journal;
struct journal_call;

/* "journal.db" in the state directory. */
#define JOURNAL_FILE "journal.db"

struct journal *journal_new(struct loop *loop, struct timers *timers);

/* Commits what is queued, gives up this process's claims (jobs, locks, permits that were not sent) and
 * closes. Calls that were not abandoned must have been answered. */
void journal_free(struct journal *journal);

/* Where and as what, before the first call: a directory (made with mode 0700) or ":memory:"; kind "run",
 * "daemon", "repl", "command".  -1 and err if the journal is open already at another place. */
int journal_place(struct journal *journal, const char *directory, const char *kind, struct err *err);

/* Called once, from the loop, never from within journal_call.  rows are the receiver's to read during the
 * call; err is NULL on success. */
typedef void (*journal_done_fn)(void *ctx, const struct record_list *rows, const struct err *err);

/* Takes the record over.  done may be NULL: then a failure is logged.  The engine adds the caller's process
 * and the time.  An unknown verb or field, or one of a wrong type, is answered with ERR_INVALID. */
struct journal_call *journal_call(struct journal *journal, const char *verb, struct record *in,
                                  journal_done_fn done, void *ctx);

/* The answer does not matter any more; what was asked happens all the same. */
void journal_abandon(struct journal_call *call);

struct journal_status {
    const char *directory; /* NULL: no call yet */
    const char *engine;    /* "sqlite", "memory" */
    bool open, ok;         /* ok: the last commit went through */
    struct err err;        /* why not */
    uint64_t since_ms;     /* monotonic time from which ok has its value */
    size_t queued;         /* calls that wait for their commit */
    uint64_t commits, calls;
    uint64_t last_commit_us, worst_commit_us, total_commit_us;
    int64_t bytes;        /* of the file and its log, at the last commit */
    uint64_t answered_ms; /* monotonic time of the last answer of the writer, an error included */
};

void journal_status(const struct journal *journal, struct journal_status *status);

/* This process in the journal: 32 hex digits, "" before the first call was answered. */
const char *journal_process_id(const struct journal *journal);

#endif
