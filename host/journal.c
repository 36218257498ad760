/* journal.c - the loop's side of the journal: calls in, answers out, and the thread between them.
 *
 * The thread owns the writer (journal_writer.c) from its start to its end.  What both sides touch stands in
 * struct shared, under its mutex.  On a virtual clock there is no thread: a timer of no delay runs the calls
 * on the loop, so that a rehearsal repeats.
 */
#include "host/journal.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "host/journal_internal.h"
#include "host/journal_rules.h"
#include "host/log.h"
#include "host/mem.h"

enum { LEAVE_LIMIT_MS = 10 * 1000 }; /* longer than a writer waits for a lock */

struct shared {
    uv_mutex_t mutex;
    uv_cond_t wake, ended;
    struct list_node queue, answers; /* struct journal_call */
    size_t queued;                   /* calls without an answer */
    bool stop, has_ended;
    struct journal_figures figures;
    uv_async_t *async;
};

struct journal {
    struct timers *timers;
    uv_loop_t *uv;
    char *directory; /* NULL: not placed */
    char kind[16];
    struct journal_process self;
    const char *engine; /* its name */
    bool started, answered, unwritable;
    size_t pending;               /* calls that were not delivered */
    struct journal_writer writer; /* the thread's once it runs */
    struct shared shared;
    uv_thread_t thread;
    bool threaded;
    struct timer timer; /* virtual clock */
};

struct journal *journal_new(struct loop *loop, struct timers *timers)
{
    struct journal *journal = mem_alloc(sizeof *journal);
    journal->uv = loop_uv(loop);
    journal->timers = timers;
    snprintf(journal->kind, sizeof journal->kind, "run");
    list_init(&journal->shared.queue);
    list_init(&journal->shared.answers);
    uv_mutex_init(&journal->shared.mutex);
    uv_cond_init(&journal->shared.wake);
    uv_cond_init(&journal->shared.ended);
    return journal;
}

int journal_place(struct journal *journal, const char *directory, const char *kind, struct err *err)
{
    if (journal->started) {
        if (strcmp(journal->directory, directory) == 0) return 0;
        return journal_invalid(err, "placed", "the journal is open already, at %s", journal->directory);
    }
    mem_free(journal->directory);
    journal->directory = mem_strdup(directory);
    snprintf(journal->kind, sizeof journal->kind, "%s", kind);
    return 0;
}

/* ---- answers ------------------------------------------------------------------------------------------ */

static void free_call(struct journal_call *call)
{
    record_free(call->in);
    record_list_deinit(&call->rows);
    mem_free(call);
}

static void log_failure(const struct journal_call *call)
{
    if (call->abandoned || !call->failed) return;
    log_write(LOG_LEVEL_ERROR, "journal.failed", LOG_STR("verb", journal_verb_name(call->verb)),
              LOG_STR("code", call->err.code), LOG_STR("message", call->err.message));
}

/* Once when it begins, once when it is over. */
static void log_state(struct journal *journal)
{
    struct journal_status status;
    journal_status(journal, &status);
    bool unwritable = !status.ok && status.since_ms;
    if (unwritable == journal->unwritable) return;
    journal->unwritable = unwritable;
    if (unwritable)
        log_write(LOG_LEVEL_ERROR, "journal.unwritable", LOG_STR("code", status.err.code),
                  LOG_STR("message", status.err.message));
    else
        log_write(LOG_LEVEL_INFO, "journal.writable", LOG_STR("directory", journal->directory));
}

static void deliver(struct journal *journal, struct list_node *answers)
{
    log_state(journal);
    struct list_node *n;
    while ((n = list_pop(answers)) != NULL) {
        struct journal_call *call = LIST_ENTRY(n, struct journal_call, node);
        journal->pending--;
        journal->answered = true;
        if (call->done)
            call->done(call->ctx, &call->rows, call->failed ? &call->err : NULL);
        else
            log_failure(call);
        free_call(call);
    }
    if (journal->pending == 0 && journal->threaded) uv_unref((uv_handle_t *)journal->shared.async);
}

static void on_async_closed_cb(uv_handle_t *handle)
{
    mem_free(handle);
}

static void on_async_cb(uv_async_t *async)
{
    struct journal *journal = async->data;
    struct list_node answers;
    list_init(&answers);
    uv_mutex_lock(&journal->shared.mutex);
    list_splice(&answers, &journal->shared.answers);
    uv_mutex_unlock(&journal->shared.mutex);
    deliver(journal, &answers);
}

/* ---- the thread --------------------------------------------------------------------------------------- */

/* Waits for calls; false when there are none and there will be none. */
static bool take_calls(struct journal *journal, struct list_node *calls)
{
    struct shared *s = &journal->shared;
    uv_mutex_lock(&s->mutex);
    while (list_empty(&s->queue) && !s->stop) {
        uv_mutex_unlock(&s->mutex);
        uint64_t wait_ms = journal_writer_beat(&journal->writer);
        uv_mutex_lock(&s->mutex);
        if (s->figures.ok != journal->writer.figures.ok && !s->stop) uv_async_send(s->async); /* log_state */
        s->figures = journal->writer.figures;
        if (list_empty(&s->queue) && !s->stop) uv_cond_timedwait(&s->wake, &s->mutex, wait_ms * 1000000u);
    }
    list_splice(calls, &s->queue);
    uv_mutex_unlock(&s->mutex);
    return !list_empty(calls);
}

static void give_answers(struct journal *journal, struct list_node *calls)
{
    struct shared *s = &journal->shared;
    size_t count = 0;
    for (const struct list_node *n = calls->next; n != calls; n = n->next) count++;
    uv_mutex_lock(&s->mutex);
    list_splice(&s->answers, calls);
    s->queued -= count;
    s->figures = journal->writer.figures;
    if (!s->stop) uv_async_send(s->async);
    uv_mutex_unlock(&s->mutex);
}

static void leave(struct journal_writer *writer)
{
    if (!writer->open) return;
    struct journal_call call = {.verb = VERB_PROCESS_LEAVE, .now_ms = clock_wall_ms(writer->clock)};
    struct list_node calls;
    call.in = record_new();
    list_init(&calls);
    list_append(&calls, &call.node);
    journal_writer_run(writer, &calls);
    record_list_deinit(&call.rows);
    record_free(call.in);
}

static void thread_main(void *arg)
{
    struct journal *journal = arg;
    struct list_node calls;
    list_init(&calls);
    while (take_calls(journal, &calls)) {
        journal_writer_beat(&journal->writer);
        journal_writer_run(&journal->writer, &calls);
        give_answers(journal, &calls);
    }
    leave(&journal->writer);
    journal_writer_deinit(&journal->writer);
    uv_mutex_lock(&journal->shared.mutex);
    journal->shared.has_ended = true;
    uv_cond_signal(&journal->shared.ended);
    uv_mutex_unlock(&journal->shared.mutex);
}

/* Signals stay the loop's; a file that grows over a limit is an error code here (SIGXFSZ). */
static bool start_thread(struct journal *journal)
{
    struct shared *s = &journal->shared;
    s->async = mem_alloc(sizeof *s->async);
    if (uv_async_init(journal->uv, s->async, on_async_cb) != 0) {
        mem_free(s->async);
        return false;
    }
    s->async->data = journal;
    uv_unref((uv_handle_t *)s->async);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = uv_thread_create(&journal->thread, thread_main, journal);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0) uv_close((uv_handle_t *)s->async, on_async_closed_cb);
    return rc == 0;
}

/* Without a thread (a virtual clock, or a system that has none left) the loop does the work. */
static void start(struct journal *journal)
{
    struct clock *clock = timers_clock(journal->timers);
    if (!journal->directory) journal->directory = mem_strdup(":memory:");
    journal_process_self(&journal->self, journal->kind, NULL);
    bool in_memory = strcmp(journal->directory, ":memory:") == 0;
    struct journal_engine *engine = in_memory ? journal_memory_new(&journal->self)
                                              : journal_sqlite_new(journal->directory, &journal->self);
    journal_writer_init(&journal->writer, engine, clock);
    journal->engine = engine->type->name;
    journal->started = true;
    journal->threaded = !clock_is_virtual(clock) && start_thread(journal);
}

/* ---- without a thread --------------------------------------------------------------------------------- */

static void run_here(struct journal *journal, struct list_node *calls)
{
    list_splice(calls, &journal->shared.queue);
    journal->shared.queued = 0;
    journal_writer_run(&journal->writer, calls);
    journal->shared.figures = journal->writer.figures;
}

static void on_timer_cb(struct timer *timer)
{
    struct journal *journal = LIST_ENTRY(timer, struct journal, timer);
    struct list_node calls;
    list_init(&calls);
    run_here(journal, &calls);
    deliver(journal, &calls);
}

/* ---- the interface ------------------------------------------------------------------------------------ */

static void enqueue(struct journal *journal, struct journal_call *call)
{
    struct shared *s = &journal->shared;
    if (!journal->threaded) {
        list_append(&s->queue, &call->node);
        s->queued++;
        if (!timer_active(&journal->timer)) timer_start(journal->timers, &journal->timer, 0, on_timer_cb);
        return;
    }
    if (journal->pending == 1) uv_ref((uv_handle_t *)s->async);
    uv_mutex_lock(&s->mutex);
    list_append(&s->queue, &call->node);
    s->queued++;
    uv_cond_signal(&s->wake);
    uv_mutex_unlock(&s->mutex);
}

struct journal_call *journal_call(struct journal *journal, const char *verb, struct record *in,
                                  journal_done_fn done, void *ctx)
{
    if (!journal->started) start(journal);
    struct journal_call *call = mem_alloc(sizeof *call);
    call->in = in;
    call->done = done;
    call->ctx = ctx;
    call->now_ms = clock_wall_ms(timers_clock(journal->timers));
    int known = journal_verb_find(verb);
    if (known < 0)
        call->refused = journal_invalid(&call->err, "verb", "the journal has no verb \"%s\"", verb) < 0;
    else
        call->refused = journal_verb_check((enum journal_verb)known, in, &call->err) < 0;
    call->verb = known < 0 ? VERB_PROCESS_LIST : (enum journal_verb)known;
    call->failed = call->refused;
    journal->pending++;
    enqueue(journal, call);
    return call;
}

void journal_abandon(struct journal_call *call)
{
    call->done = NULL;
    call->abandoned = true;
}

void journal_status(const struct journal *journal, struct journal_status *status)
{
    /* The lock changes, the journal does not. */
    struct shared *s = (struct shared *)(uintptr_t)&journal->shared;
    *status = (struct journal_status){.directory = journal->started ? journal->directory : NULL,
                                      .engine = journal->engine};
    if (journal->threaded) uv_mutex_lock(&s->mutex);
    struct journal_figures f = s->figures;
    status->queued = s->queued;
    if (journal->threaded) uv_mutex_unlock(&s->mutex);
    status->open = f.open;
    status->ok = f.ok;
    status->err = f.err;
    status->since_ms = f.since_ms;
    status->commits = f.commits;
    status->calls = f.calls;
    status->last_commit_us = f.last_commit_us;
    status->worst_commit_us = f.worst_commit_us;
    status->total_commit_us = f.total_commit_us;
    status->bytes = f.bytes;
    status->answered_ms = f.answered_ms;
}

const char *journal_process_id(const struct journal *journal)
{
    return journal->answered ? journal->self.id : "";
}

/* ---- the end ------------------------------------------------------------------------------------------ */

/* True once the thread has done all it was asked, handed over, and closed. */
static bool join(struct journal *journal)
{
    struct shared *s = &journal->shared;
    uint64_t give_up = uv_hrtime() + (uint64_t)LEAVE_LIMIT_MS * 1000000u;
    uv_mutex_lock(&s->mutex);
    s->stop = true;
    uv_cond_signal(&s->wake);
    for (uint64_t now = uv_hrtime(); !s->has_ended && now < give_up; now = uv_hrtime())
        uv_cond_timedwait(&s->ended, &s->mutex, give_up - now);
    bool ended = s->has_ended;
    uv_mutex_unlock(&s->mutex);
    uv_close((uv_handle_t *)s->async, on_async_closed_cb);
    if (ended) uv_thread_join(&journal->thread);
    return ended;
}

static void free_calls(struct list_node *calls)
{
    struct list_node *n;
    while ((n = list_pop(calls)) != NULL) free_call(LIST_ENTRY(n, struct journal_call, node));
}

void journal_free(struct journal *journal)
{
    if (!journal) return;
    struct list_node calls;
    list_init(&calls);
    if (journal->threaded && !join(journal)) {
        /* The thread hangs in the file system and still holds all of this. */
        log_write(LOG_LEVEL_ERROR, "journal.would_not_close", LOG_STR("directory", journal->directory));
        return;
    }
    if (journal->started && !journal->threaded) {
        timer_stop(journal->timers, &journal->timer);
        run_here(journal, &calls);
        leave(&journal->writer);
        journal_writer_deinit(&journal->writer);
    }
    list_splice(&calls, &journal->shared.answers);
    free_calls(&calls);
    uv_cond_destroy(&journal->shared.ended);
    uv_cond_destroy(&journal->shared.wake);
    uv_mutex_destroy(&journal->shared.mutex);
    mem_free(journal->directory);
    mem_free(journal);
}
