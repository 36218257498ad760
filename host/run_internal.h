/* run_internal.h - the struct that run*.c share.  Nobody else includes it. */
#ifndef PERIGEE_RUN_INTERNAL_H
#define PERIGEE_RUN_INTERNAL_H

#include "host/run.h"
#include "host/signals.h"
#include "host/timers.h"

enum { RUN_GRACE_MS = 5000 };

struct signal_op;
struct interrupt_op;
struct input;

struct run {
    struct loop *loop;
    struct clock *clock;
    struct sched *sched;
    struct signals *signals;
    const struct run_config *config;
    struct vm *script;
    struct vm *emulator; /* NULL unless asked for */
    struct timer timeout;
    struct timer drain;
    int signum;                            /* of the first signal; 0 = none */
    struct signal_op *signal_reader;       /* NULL: nobody waits now */
    struct interrupt_op *interrupt_reader; /* NULL: nobody waits now */
    uint64_t signals_seen;                 /* bit n: signal n came and was not read; with takes_signals */
    struct input *input;                   /* NULL until standard input is read */
    int exit_code;
    uint64_t started_ms;
    bool timed_out;
    bool script_ended;     /* its report is being written */
    bool takes_signals;    /* the command reads them itself */
    bool takes_interrupts; /* the command reads SIGINT itself */
    bool interrupted;      /* a SIGINT came and was not read; with takes_interrupts */
    bool told_to_end;      /* it has been handed SIGINT or SIGTERM */
};

/* run.c: cancels the script's tasks, and the emulator's if no script is there. */
void run_stop_script(struct run *run, const char *reason);

/* run_signals.c: the signals_fn of a run. */
void run_on_signal(void *ctx, int signum);

/* [-0, +0, m] add to the table on top what Lua may ask of the signals, and of standard input */
void run_push_signals(lua_State *L, struct run *run);
void run_push_input(lua_State *L, struct run *run);

/* run_input.c: ends the watch on standard input; no task may read it any more. */
void run_close_input(struct run *run);

static inline struct run *run_of(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

#endif
