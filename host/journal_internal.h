/* journal_internal.h - what journal.c and journal_writer.c share; nobody else includes it.
 *
 * journal.c is the loop's side: calls in, answers out, the thread.  journal_writer.c is what the thread does
 * with the calls (on a virtual clock the loop itself): it owns the engine and knows nothing of the loop.
 */
#ifndef PERIGEE_JOURNAL_INTERNAL_H
#define PERIGEE_JOURNAL_INTERNAL_H

#include "host/clock.h"
#include "host/journal.h"
#include "host/journal_engine.h"
#include "host/list.h"

struct journal_call {
    struct list_node node; /* queue, batch, answers */
    enum journal_verb verb;
    struct record *in;
    int64_t now_ms; /* wall time of the call */
    bool refused;   /* its fields are wrong: err says so, no engine sees it */

    /* The writer's, until it is among the answers. */
    bool failed;
    struct err err;
    struct record_list rows;

    /* The loop's. */
    journal_done_fn done; /* NULL: nobody waits */
    void *ctx;
    bool abandoned;
};

/* What journal_status tells of the writer; copied by the loop under the lock. */
struct journal_figures {
    bool open, ok;
    struct err err;
    uint64_t since_ms, answered_ms;
    uint64_t commits, calls;
    uint64_t last_commit_us, worst_commit_us, total_commit_us;
    int64_t bytes;
};

/* PERIGEE_CRASH: for the tests of what a sudden end leaves behind. */
struct journal_crash {
    int verb;       /* -1: never */
    char state[16]; /* only calls to this state; "": any */
    bool after;
    uint64_t nth, seen;
};

struct journal_writer {
    struct journal_engine *engine;
    const struct clock *clock;
    bool open;
    uint64_t beat_ms; /* monotonic time of the last one */
    uint64_t batch_max;
    struct journal_figures figures; /* the writer's copy */
    struct journal_crash crash;
};

/* Takes the engine over. */
void journal_writer_init(struct journal_writer *writer, struct journal_engine *engine,
                         const struct clock *clock);
void journal_writer_deinit(struct journal_writer *writer);

/* Runs the calls, in their order, in as few commits as may be; each has its answer afterwards. */
void journal_writer_run(struct journal_writer *writer, struct list_node *calls);

/* Says that the process lives, when it is time to; returns the milliseconds until then. */
uint64_t journal_writer_beat(struct journal_writer *writer);

#endif
