/* task_guard.c - the watchdog that ends runaway scripts.
 *
 * A thread of its own watches one number, the step counter (odd while a task runs).  It touches nothing
 * else of the process: at the limit it signals the loop thread, whose handler sets a hook on the running
 * coroutine, as lua.c does for Ctrl-C.  The hook yields, which no pcall can catch; where yielding is
 * impossible it makes an allocation fail, again and again, until it can.  What neither yields nor
 * allocates (a backtracking pattern) ends the process with 70, five seconds later.
 */
#include "host/task.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "host/log.h"
#include "host/luax.h"
#include "host/mem.h"
#include "host/task_internal.h"
#include "host/term.h"

enum {
    GUARD_SIGNAL = SIGVTALRM,
    TICK_MS = 20,
    SLOW_MS = 100,
    LAST_RESORT_MS = 5000,
    EXIT_STUCK = 70,
    FAILED_ALLOCS = 2 /* Lua collects garbage and tries once more */
};

struct guard {
    pthread_t watcher, loop_thread;
    clockid_t loop_clock; /* processor time of loop_thread */
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    _Atomic uint64_t step;     /* odd while a task runs */
    _Atomic uint64_t limit_ms; /* of the running step */
    _Atomic uint64_t slow;     /* the last step that took over SLOW_MS */
    _Atomic uint64_t judged;   /* the step the signal is meant for */
    _Atomic uint64_t unwanted; /* the step that somebody wants to end */
    _Atomic int phase;         /* 1: set the hook, 2: end the process */
    _Atomic bool asleep, quit;
    char note_path[PATH_MAX]; /* where the last resort leaves word of which VM it was; "" = nowhere */
};

/* The signal handler's way in; one scheduler for a process. */
static struct sched *volatile guarded;

/* ---- on the loop thread ----------------------------------------------------------------------------- */

/* Ends the running task from within: called by Lua before the next instruction of the coroutine. */
static void kill_hook(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    struct vm *vm = vm_of(L);
    struct guard *g = vm->sched->guard;
    struct task *t = vm->sched->current;
    if (t) t->killed = true;
    if (t && atomic_load(&g->unwanted) == atomic_load(&g->step)) t->interrupted = true;
    if (lua_isyieldable(L)) {
        lua_yield(L, 0);
        return;
    }
    vm->fail_allocs = FAILED_ALLOCS;
    lua_newuserdatauv(L, 1, 0); /* raises "not enough memory", which no message handler sees */
}

void sched_mark_interruptible(struct sched *s)
{
    if (s->current) s->current->interruptible = true;
}

/* Only notes which step it is: what ends by itself soon needs no force. */
void sched_interrupt_step(void)
{
    struct sched *s = guarded;
    if (s == NULL || !pthread_equal(pthread_self(), s->guard->loop_thread)) return;
    uint64_t step = atomic_load(&s->guard->step);
    const struct task *t = s->current;
    if (step % 2 == 1 && t && t->interruptible) atomic_store(&s->guard->unwanted, step);
}

void guard_hook_kill(lua_State *L)
{
    lua_sethook(L, kill_hook, LUA_MASKCOUNT, 1);
}

void sched_note_stuck(struct sched *s, const char *path)
{
    snprintf(s->guard->note_path, sizeof s->guard->note_path, "%s", path ? path : "");
}

static void write_text(int fd, const char *s)
{
    ssize_t ignored = write(fd, s, strlen(s));
    (void)ignored;
}

/* Only lua_getstack and lua_getinfo "Sl": neither allocates. */
static void write_stack(int fd, lua_State *L)
{
    lua_Debug ar;
    for (int level = 0; level < 20 && lua_getstack(L, level, &ar); level++) {
        char line[256];
        lua_getinfo(L, "Sl", &ar);
        snprintf(line, sizeof line, "\t%s:%d\n", ar.short_src, ar.currentline);
        write_text(fd, line);
    }
}

/* First line: the VM.  The process ends right after, so nothing is done about failures. */
static void leave_note(const struct sched *s)
{
    if (s->guard->note_path[0] == '\0' || s->current == NULL) return;
    int fd = open(s->guard->note_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return;
    write_text(fd, s->current->vm->name);
    write_text(fd, "\n");
    write_stack(fd, s->innermost);
    close(fd);
}

static void on_guard_signal(int signum)
{
    (void)signum;
    int saved = errno;
    struct sched *s = guarded;
    lua_State *L = s ? s->innermost : NULL;
    bool meant = L && atomic_load(&s->guard->judged) == atomic_load(&s->guard->step); /* else it has ended */
    if (meant && s->guard->phase == 1) guard_hook_kill(L);
    if (meant && s->guard->phase == 2) {
        term_leave();
        leave_note(s);
        write_text(STDERR_FILENO,
                   "perigee: a script is stuck in a C function that cannot be interrupted; ending the "
                   "process (exit code 70)\nstack traceback:\n");
        write_stack(STDERR_FILENO, L);
        _exit(EXIT_STUCK);
    }
    errno = saved;
}

void guard_enter(struct guard *g, uint64_t limit_ms)
{
    atomic_store_explicit(&g->limit_ms, limit_ms, memory_order_relaxed);
    atomic_fetch_add(&g->step, 1);
    if (atomic_load(&g->asleep)) {
        pthread_mutex_lock(&g->mutex);
        atomic_store(&g->asleep, false);
        pthread_cond_signal(&g->wake);
        pthread_mutex_unlock(&g->mutex);
    }
}

void guard_set_limit(struct guard *g, uint64_t limit_ms)
{
    atomic_store_explicit(&g->limit_ms, limit_ms, memory_order_relaxed);
}

void guard_leave(struct guard *g, struct task *t)
{
    uint64_t step = atomic_fetch_add(&g->step, 1);
    if (atomic_load_explicit(&g->slow, memory_order_relaxed) != step) return;
    log_write(LOG_LEVEL_INFO, "task.slow_step", LOG_INT("task", (int64_t)t->id), LOG_INT("over_ms", SLOW_MS));
}

/* ---- the watcher thread ----------------------------------------------------------------------------- */

/* Processor time of the loop thread: a step on a busy machine, or one that a slow terminal holds up, is no
 * runaway. */
static uint64_t worked_ms(const struct guard *g)
{
    struct timespec now;
    clock_gettime(g->loop_clock, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Sleeps while nothing runs: no wake-ups in an idle process. */
static void rest(struct guard *g, uint64_t seen)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until); /* as guard_start has told the condition */
    until.tv_nsec += TICK_MS * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    pthread_mutex_lock(&g->mutex);
    uint64_t step = atomic_load(&g->step);
    if (step % 2 == 0 && step == seen) {
        atomic_store(&g->asleep, true);
        if (atomic_load(&g->step) != step) atomic_store(&g->asleep, false);
        while (atomic_load(&g->asleep) && !atomic_load(&g->quit)) pthread_cond_wait(&g->wake, &g->mutex);
    } else if (!atomic_load(&g->quit)) {
        pthread_cond_timedwait(&g->wake, &g->mutex, &until);
    }
    pthread_mutex_unlock(&g->mutex);
}

static void judge(struct guard *g, uint64_t step, uint64_t ran_ms)
{
    uint64_t limit_ms = atomic_load_explicit(&g->limit_ms, memory_order_relaxed);
    if (ran_ms >= SLOW_MS) atomic_store_explicit(&g->slow, step, memory_order_relaxed);
    bool unwanted = ran_ms >= SLOW_MS && atomic_load(&g->unwanted) == step;
    if (ran_ms < limit_ms && !unwanted) return;
    atomic_store(&g->judged, step);
    atomic_store(&g->phase, ran_ms >= limit_ms + LAST_RESORT_MS ? 2 : 1);
    if (atomic_load(&g->step) == step) pthread_kill(g->loop_thread, GUARD_SIGNAL);
}

static void *watch(void *arg)
{
    struct guard *g = arg;
    uint64_t seen = 0, since_ms = worked_ms(g);
    while (!atomic_load(&g->quit)) {
        uint64_t step = atomic_load(&g->step);
        if (step != seen || term_is_blocked()) /* a slow reader of its output is not the script's fault */
            since_ms = worked_ms(g);
        else if (step % 2 == 1)
            judge(g, step, worked_ms(g) - since_ms);
        seen = step;
        rest(g, seen);
    }
    return NULL;
}

struct guard *guard_start(struct sched *s)
{
    struct guard *g = mem_alloc(sizeof *g);
    g->loop_thread = pthread_self();
    pthread_getcpuclockid(g->loop_thread, &g->loop_clock);
    pthread_mutex_init(&g->mutex, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC); /* a wall clock set back must not stop the watch */
    pthread_cond_init(&g->wake, &attr);
    pthread_condattr_destroy(&attr);
    guarded = s;
    struct sigaction action = {.sa_handler = on_guard_signal, .sa_flags = SA_RESTART};
    sigaction(GUARD_SIGNAL, &action, NULL);
    /* the watcher must not be the thread that gets the program's signals */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&g->watcher, NULL, watch, g);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0) {
        fprintf(stderr, "perigee: cannot start the watchdog: %s\n", strerror(rc));
        abort();
    }
    return g;
}

void guard_stop(struct guard *g)
{
    pthread_mutex_lock(&g->mutex);
    atomic_store(&g->quit, true);
    pthread_cond_signal(&g->wake);
    pthread_mutex_unlock(&g->mutex);
    pthread_join(g->watcher, NULL);
    signal(GUARD_SIGNAL, SIG_IGN);
    guarded = NULL;
    pthread_mutex_destroy(&g->mutex);
    pthread_cond_destroy(&g->wake);
    mem_free(g);
}
