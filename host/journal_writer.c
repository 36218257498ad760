/* journal_writer.c - from calls to commits: batches, what a failure means for each call, the beat.
 *
 * Writer's thread only, or the loop on a virtual clock; never both.  Logs nothing: the loop does.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/journal_internal.h"
#include "host/mem.h"

/* ---- faults for tests --------------------------------------------------------------------------------- */

#ifndef NDEBUG

/* "<verb>[=<state>]:before|after[:n]" */
static void read_crash(struct journal_crash *crash)
{
    const char *text = getenv("PERIGEE_CRASH");
    const char *colon = text ? strchr(text, ':') : NULL;
    if (!colon) return;
    const char *equals = memchr(text, '=', (size_t)(colon - text));
    char *name = mem_strndup(text, (size_t)((equals ? equals : colon) - text));
    crash->verb = journal_verb_find(name);
    mem_free(name);
    if (equals) snprintf(crash->state, sizeof crash->state, "%.*s", (int)(colon - equals - 1), equals + 1);
    crash->after = strncmp(colon, ":after", 6) == 0;
    const char *nth = strchr(colon + 1, ':');
    crash->nth = nth ? strtoull(nth + 1, NULL, 10) : 1;
}

static uint64_t read_batch_max(void)
{
    const char *text = getenv("PERIGEE_JOURNAL_BATCH");
    uint64_t max = text ? strtoull(text, NULL, 10) : 0;
    return max ? max : UINT64_MAX;
}

static bool is_meant(const struct journal_crash *crash, const struct journal_call *call)
{
    if ((int)call->verb != crash->verb || call->refused || call->failed) return false;
    const char *state = record_text(call->in, "state");
    return crash->state[0] == '\0' || (state && strcmp(state, crash->state) == 0);
}

/* How many calls of the verb are among those that are to be committed; true if the one is. */
static bool crash_is_due(struct journal_crash *crash, struct list_node *calls)
{
    if (crash->verb < 0) return false;
    bool due = false;
    for (struct list_node *n = calls->next; n != calls; n = n->next) {
        const struct journal_call *call = LIST_ENTRY(n, struct journal_call, node);
        if (is_meant(crash, call)) due = ++crash->seen == crash->nth || due;
    }
    return due;
}

static void crash_if(bool due, const struct journal_crash *crash, bool after)
{
    if (due && crash->after == after) kill(getpid(), SIGKILL);
}

#else

static void read_crash(struct journal_crash *crash)
{
    crash->verb = -1;
}

static uint64_t read_batch_max(void)
{
    return UINT64_MAX;
}

static bool crash_is_due(struct journal_crash *crash, struct list_node *calls)
{
    (void)crash, (void)calls;
    return false;
}

static void crash_if(bool due, const struct journal_crash *crash, bool after)
{
    (void)due, (void)crash, (void)after;
}

#endif

/* ---- open and closed ---------------------------------------------------------------------------------- */

void journal_writer_init(struct journal_writer *writer, struct journal_engine *engine,
                         const struct clock *clock)
{
    *writer = (struct journal_writer){.engine = engine, .clock = clock, .crash = {.verb = -1}};
    writer->batch_max = read_batch_max();
    read_crash(&writer->crash);
}

static void close_engine(struct journal_writer *writer)
{
    if (writer->open) writer->engine->type->close(writer->engine);
    writer->open = writer->figures.open = false;
}

void journal_writer_deinit(struct journal_writer *writer)
{
    close_engine(writer);
    writer->engine->type->free(writer->engine);
}

static void note_figures(struct journal_writer *writer, const struct err *err)
{
    struct journal_figures *f = &writer->figures;
    if (f->ok != !err || f->since_ms == 0) f->since_ms = clock_now_ms(writer->clock);
    f->ok = !err;
    f->err = err ? *err : (struct err){.kind = 0};
}

/* Notes how the engine is doing. After these errors only opening it anew can help: what is wrong may have
 * been mended meanwhile, or the file may be another one. */
static void note_state(struct journal_writer *writer, const struct err *err)
{
    static const char *const lasting[] = {"journal_io", "journal_corrupt", "journal_readonly"};
    note_figures(writer, err);
    for (size_t i = 0; err && i < sizeof lasting / sizeof lasting[0]; i++)
        if (strcmp(err->code, lasting[i]) == 0) close_engine(writer);
}

static int ensure_open(struct journal_writer *writer, int64_t now_ms, struct err *err)
{
    struct err trouble = {.kind = 0};
    if (writer->open) return 0;
    if (writer->engine->type->open(writer->engine, now_ms, &trouble) < 0) {
        note_state(writer, &trouble);
        *err = trouble;
        return -1;
    }
    writer->open = writer->figures.open = true;
    writer->beat_ms = clock_now_ms(writer->clock);
    writer->figures.bytes = writer->engine->type->bytes(writer->engine);
    note_figures(writer, trouble.kind ? &trouble : NULL);
    return 0;
}

/* ---- batches ------------------------------------------------------------------------------------------ */

static void fail_call(struct journal_call *call, const struct err *err)
{
    call->failed = true;
    call->err = *err;
    record_list_deinit(&call->rows);
}

/* Fails the calls of a batch that is lost; those that were wrong anyway keep their own answer. */
static void fail_batch(struct list_node *batch, const struct err *err)
{
    for (struct list_node *n = batch->next; n != batch; n = n->next) {
        struct journal_call *call = LIST_ENTRY(n, struct journal_call, node);
        if (!call->refused) fail_call(call, err);
    }
}

/* -1: the batch is lost, err says why. */
static int apply_all(struct journal_writer *writer, struct list_node *batch, struct err *err)
{
    for (struct list_node *n = batch->next; n != batch; n = n->next) {
        struct journal_call *call = LIST_ENTRY(n, struct journal_call, node);
        if (call->refused) continue;
        if (writer->engine->type->apply(writer->engine, call->verb, call->in, call->now_ms, &call->rows,
                                        err) == 0)
            continue;
        if (err->kind == ERR_UNAVAILABLE) return -1;
        fail_call(call, err);
    }
    return 0;
}

static void note_commit(struct journal_writer *writer, uint64_t began_ns)
{
    struct journal_figures *f = &writer->figures;
    uint64_t us = (clock_now_ns(writer->clock) - began_ns) / 1000;
    f->commits++;
    f->last_commit_us = us;
    f->total_commit_us += us;
    if (us > f->worst_commit_us) f->worst_commit_us = us;
    f->bytes = writer->engine->type->bytes(writer->engine);
}

/* One transaction. */
static int run_batch(struct journal_writer *writer, struct list_node *batch, bool writes, struct err *err)
{
    const struct journal_engine_type *type = writer->engine->type;
    uint64_t began_ns = clock_now_ns(writer->clock);
    if (type->begin(writer->engine, writes, err) < 0) return -1;
    if (apply_all(writer, batch, err) < 0) {
        type->rollback(writer->engine);
        return -1;
    }
    bool due = crash_is_due(&writer->crash, batch);
    crash_if(due, &writer->crash, false);
    if (type->commit(writer->engine, err) < 0) {
        type->rollback(writer->engine);
        return -1;
    }
    crash_if(due, &writer->crash, true);
    if (writes) note_commit(writer, began_ns);
    return 0;
}

/* A disk that is full can still be read: what only reads is tried once more without the others. */
static void save_reads(struct journal_writer *writer, struct list_node *batch)
{
    for (struct list_node *n = batch->next; n != batch; n = n->next) {
        struct journal_call *call = LIST_ENTRY(n, struct journal_call, node);
        if (call->refused || journal_verb_way(call->verb) != JOURNAL_READS) continue;
        struct list_node one, *next = n->next, *prev = n->prev;
        struct err err = {.kind = 0};
        list_remove(n);
        list_init(&one);
        list_append(&one, n);
        call->failed = false;
        if (ensure_open(writer, call->now_ms, &err) < 0 || run_batch(writer, &one, false, &err) < 0)
            fail_call(call, &err);
        list_remove(n);
        n->next = next, n->prev = prev;
        next->prev = prev->next = n;
    }
}

static void run_together(struct journal_writer *writer, struct list_node *batch)
{
    struct err err = {.kind = 0};
    bool writes = false;
    int64_t now_ms = 0;
    size_t good = 0;
    for (struct list_node *n = batch->next; n != batch; n = n->next) {
        const struct journal_call *call = LIST_ENTRY(n, struct journal_call, node);
        if (call->refused) continue;
        good++;
        now_ms = call->now_ms;
        writes = writes || journal_verb_way(call->verb) == JOURNAL_WRITES;
    }
    if (good == 0) return;
    if (ensure_open(writer, now_ms, &err) < 0) {
        fail_batch(batch, &err);
        return;
    }
    if (run_batch(writer, batch, writes, &err) == 0) {
        if (writes && writer->engine->type->wrote(writer->engine)) note_state(writer, NULL);
        return;
    }
    fail_batch(batch, &err);
    note_state(writer, &err);
    if (writes) save_reads(writer, batch);
}

static void run_alone(struct journal_writer *writer, struct list_node *batch)
{
    struct journal_call *call = LIST_ENTRY(batch->next, struct journal_call, node);
    struct err err = {.kind = 0};
    if (ensure_open(writer, call->now_ms, &err) < 0) {
        fail_call(call, &err);
        return;
    }
    bool due = crash_is_due(&writer->crash, batch);
    crash_if(due, &writer->crash, false);
    if (writer->engine->type->apply(writer->engine, call->verb, call->in, call->now_ms, &call->rows, &err) <
        0)
        fail_call(call, &err);
    crash_if(due, &writer->crash, true);
    writer->figures.bytes = writer->engine->type->bytes(writer->engine);
}

static bool is_alone(const struct list_node *node)
{
    const struct journal_call *call = LIST_ENTRY(node, struct journal_call, node);
    return !call->refused && journal_verb_way(call->verb) == JOURNAL_ALONE;
}

void journal_writer_run(struct journal_writer *writer, struct list_node *calls)
{
    struct list_node done;
    list_init(&done);
    while (!list_empty(calls)) {
        struct list_node batch;
        list_init(&batch);
        bool alone = is_alone(list_first(calls));
        uint64_t count = 0;
        do {
            list_append(&batch, list_pop(calls));
            count++;
        } while (!alone && !list_empty(calls) && !is_alone(list_first(calls)) && count < writer->batch_max);
        if (alone)
            run_alone(writer, &batch);
        else
            run_together(writer, &batch);
        writer->figures.calls += count;
        list_splice(&done, &batch);
    }
    writer->figures.answered_ms = clock_now_ms(writer->clock);
    list_splice(calls, &done);
}

/* ---- the beat ----------------------------------------------------------------------------------------- */

uint64_t journal_writer_beat(struct journal_writer *writer)
{
    const struct journal_engine_type *type = writer->engine->type;
    if (!writer->open) return JOURNAL_BEAT_MS;
    uint64_t now_ms = clock_now_ms(writer->clock), gone = now_ms - writer->beat_ms;
    if (gone < JOURNAL_BEAT_MS) return JOURNAL_BEAT_MS - gone;
    writer->beat_ms = now_ms;
    struct err err = {.kind = 0};
    int rc = type->begin(writer->engine, true, &err);
    if (rc == 0) {
        rc = type->beat(writer->engine, clock_wall_ms(writer->clock), &err);
        if (rc == 0) rc = type->commit(writer->engine, &err);
        if (rc < 0) type->rollback(writer->engine);
    }
    note_state(writer, rc < 0 ? &err : NULL);
    writer->figures.answered_ms = clock_now_ms(writer->clock);
    return JOURNAL_BEAT_MS;
}
