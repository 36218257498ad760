/* run_signals.c - what signals do to a run.
 *
 * The first SIGINT, SIGTERM or SIGHUP cancels the script's tasks, with grace for their clean-up; the second
 * ends the process.  Two kinds of command read signals themselves: the daemon all of them (next_signal), the
 * REPL SIGINT alone (next_interrupt), which then never ends the process, and ends a step that goes on
 * computing.
 */
#include <signal.h>
#include <unistd.h>

#include "host/log.h"
#include "host/luax.h"
#include "host/run_internal.h"
#include "host/term.h"
#include "host/vm.h"

/* A task of the script that waits for the next signal; see l_next_signal. */
struct signal_op {
    struct op op;
    struct run *run;
};

/* The same for l_next_interrupt. */
struct interrupt_op {
    struct op op;
    struct run *run;
};

static void say_interrupted(int signum)
{
    struct term *term = term_process();
    if (signum != SIGINT || !term_is_tty(term, TERM_ERR) || term_is_quiet(term)) return;
    static const char text[] = "perigee: interrupted, cleaning up; Ctrl-C again ends at once\n";
    term_write(term, TERM_ERR, text, sizeof text - 1);
}

/* To the command that reads them; false for one that says again what it has been told already. */
static bool hand_over(struct run *run, int signum)
{
    bool ends = signum == SIGINT || signum == SIGTERM;
    if (ends && run->told_to_end) return false;
    if (ends) run->told_to_end = true;
    run->signals_seen |= (uint64_t)1 << signum;
    if (run->signal_reader) op_complete(&run->signal_reader->op);
    run->signal_reader = NULL;
    return true;
}

/* To the command that takes SIGINT as a word of its user's. */
static void interrupt(struct run *run)
{
    run->interrupted = true;
    if (run->interrupt_reader) op_complete(&run->interrupt_reader->op);
    run->interrupt_reader = NULL;
}

void run_on_signal(void *ctx, int signum)
{
    struct run *run = ctx;
    if (signum == SIGUSR1) {
        sched_request_dump(run->sched);
        return;
    }
    if (signum == SIGUSR2) log_reopen_file();
    if (run->takes_signals && !run->script_ended && hand_over(run, signum)) return;
    if (signum == SIGUSR2) return;
    if (signum == SIGINT && run->takes_interrupts && !run->script_ended && run->signum == 0) {
        interrupt(run);
        return;
    }
    if (run->signum || run->told_to_end) {
        term_leave();
        _exit(RUN_SIGNAL + signum);
    }
    run->signum = signum;
    say_interrupted(signum);
    run_stop_script(run, signum == SIGINT ? "interrupted" : signum == SIGTERM ? "terminated" : "hung up");
}

/* ---- signals that a command reads itself -------------------------------------------------------------- */

static void signal_abort(struct op *op)
{
    ((struct signal_op *)op)->run->signal_reader = NULL;
}

/* SIGTERM and SIGINT first: what they end needs no reload. */
static int signal_finish(lua_State *L, struct op *op)
{
    static const struct {
        int number;
        const char *name;
    } order[] = {{SIGTERM, "TERM"}, {SIGINT, "INT"}, {SIGHUP, "HUP"}, {SIGUSR2, "USR2"}};
    struct run *run = ((struct signal_op *)op)->run;
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        uint64_t bit = (uint64_t)1 << order[i].number;
        if (!(run->signals_seen & bit)) continue;
        run->signals_seen &= ~bit;
        lua_pushstring(L, order[i].name);
        return 1;
    }
    return 0;
}

/* Timed: a virtual clock does not wait for a signal that may never come. */
static const struct op_type signal_type = {
    .name = "next_signal", .timed = true, .abort = signal_abort, .finish = signal_finish};

/* next_signal() -> "TERM", "INT", "HUP" or "USR2".  From the first call on these signals no longer end the
 * run; the second of TERM and INT still ends the process at once. */
static int l_next_signal(lua_State *L)
{
    struct run *run = run_of(L);
    if (run->signal_reader) return luaL_error(L, "next_signal: another task waits for it");
    struct signal_op *op = op_new(L, &signal_type, sizeof *op);
    op->run = run;
    run->takes_signals = true;
    if (run->signals_seen)
        op_complete(&op->op);
    else
        run->signal_reader = op;
    return op_park(L, &op->op);
}

/* Who took SIGINT has gone: it ends the run again. */
static void interrupt_abort(struct op *op)
{
    struct run *run = ((struct interrupt_op *)op)->run;
    run->interrupt_reader = NULL;
    run->takes_interrupts = false;
}

static int interrupt_finish(lua_State *L, struct op *op)
{
    (void)L;
    ((struct interrupt_op *)op)->run->interrupted = false;
    return 0;
}

static const struct op_type interrupt_type = {
    .name = "next_interrupt", .timed = true, .abort = interrupt_abort, .finish = interrupt_finish};

/* next_interrupt(): waits for a SIGINT, or takes one that has come since the last call.  From the first call
 * on, and until the task that waits is cancelled, SIGINT no longer ends the run, however often it comes; and
 * a marked task that computes when it comes is ended (sched_interrupt_step). */
static int l_next_interrupt(lua_State *L)
{
    struct run *run = run_of(L);
    if (run->interrupt_reader) return luaL_error(L, "next_interrupt: another task waits for it");
    struct interrupt_op *op = op_new(L, &interrupt_type, sizeof *op);
    op->run = run;
    if (!run->takes_interrupts) signals_also_call(SIGINT, sched_interrupt_step);
    run->takes_interrupts = true;
    if (run->interrupted)
        op_complete(&op->op);
    else
        run->interrupt_reader = op;
    return op_park(L, &op->op);
}

void run_push_signals(lua_State *L, struct run *run)
{
    static const luaL_Reg functions[] = {
        {"next_signal", l_next_signal}, {"next_interrupt", l_next_interrupt}, {NULL, NULL}};
    lua_pushlightuserdata(L, run);
    luaL_setfuncs(L, functions, 1);
}
