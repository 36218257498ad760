/* run.h - one run of the program: its loop, its VMs, what ends it, and the exit code.
 *
 * Policy (configuration, reports, the summary) is Lua: scripts/lib/run.lua.  Here is what Lua cannot do
 * itself: start and stop VMs, turn signals and the time-out into cancellation, and remember why it ended.
 * Loop thread only.
 */
#ifndef PERIGEE_RUN_H
#define PERIGEE_RUN_H

#include <lauxlib.h>
#include <lua.h>
#include <stdint.h>

#include "host/cli.h"
#include "host/loop.h"
#include "host/task.h"

struct run;

enum run_exit {
    RUN_OK = 0,
    RUN_ERROR = 1,
    RUN_USAGE = 2,
    RUN_DEADLOCK = 71,
    RUN_TIMEOUT = 124,
    RUN_SIGNAL = 128 /* plus its number */
};

struct run_config {
    const struct cli *cli;
    int argc;
    char **argv;
    const luaL_Reg *modules; /* C modules of every VM */
    /* [-0, +0, e] gives a new VM access to the engines of the process; may be NULL. */
    void (*install)(lua_State *L, void *ctx);
    void *ctx;
};

/* A run with its loop and scheduler, before anything runs.  Never NULL. */
struct run *run_new(uint64_t seed);

/* For what a command makes before it runs. */
struct sched *run_sched(struct run *run);

/* Starts the VMs the command asks for and runs until they have ended; returns the exit code.  The VMs exist
 * until run_close_vms, because engines may still point into them.  config must outlive the run. */
int run_command(struct run *run, const struct run_config *config);

/* Runs finalizers. */
void run_close_vms(struct run *run);

/* Ends scheduler, loop and clock; engines must have stopped. */
void run_free(struct run *run);

#endif
