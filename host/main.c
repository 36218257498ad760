/* main.c - the program: sets up the host, starts the script as a task, and turns its end into an exit code.
 *
 * Owns: the order of starting and stopping.  The one file of host/ that names bindings/.
 */
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/modules.h"
#include "bindings/spend.h"
#include "host/clock.h"
#include "host/log.h"
#include "host/loop.h"
#include "host/luax.h"
#include "host/mem.h"
#include "host/random.h"
#include "host/signals.h"
#include "host/spend.h"
#include "host/task.h"
#include "host/vm.h"

enum { EXIT_ERROR = 1, EXIT_USAGE = 2, EXIT_DEADLOCK = 71, GRACE_MS = 5000 };

struct run {
    struct loop *loop;
    struct clock *clock;
    struct sched *sched;
    struct signals *signals;
    struct spend *spend;
    struct vm *vm;
    int signum;    /* that ended the run; 0 = none */
    int exit_code; /* of the script */
    bool done;
};

static void on_signal(void *ctx, int signum)
{
    struct run *run = ctx;
    if (signum == SIGUSR1) {
        sched_request_dump(run->sched);
        return;
    }
    if (run->signum) { /* the second one ends at once */
        signal(signum, SIG_DFL);
        raise(signum);
        return;
    }
    run->signum = signum;
    vm_stop(run->vm, signum == SIGINT ? "interrupted" : "terminated", GRACE_MS);
}

static void on_script_done(void *ctx, lua_State *L, bool ok, int results, const char *traceback)
{
    struct run *run = ctx;
    (void)results;
    run->done = true;
    if (!ok && !luax_is_err_kind(L, -1, ERR_CANCELLED)) {
        fprintf(stderr, "perigee: %s\n%s\n", luax_error_text(L, -1), traceback ? traceback : "");
        run->exit_code = EXIT_ERROR;
    }
    vm_stop(run->vm, "the script has ended", GRACE_MS);
}

/* [-0, +nargs, m] the global `arg` and the script's arguments */
static int push_arguments(lua_State *L, int argc, char **argv, int script)
{
    lua_createtable(L, argc - script - 1, script + 1);
    for (int i = 0; i < argc; i++) {
        lua_pushstring(L, argv[i]);
        lua_rawseti(L, -2, i - script);
    }
    lua_setglobal(L, "arg");
    luaL_checkstack(L, argc, "arguments");
    for (int i = script + 1; i < argc; i++) lua_pushstring(L, argv[i]);
    return argc - script - 1;
}

static int load_script(struct run *run, int argc, char **argv, int script)
{
    lua_State *L = vm_state(run->vm);
    if (luaL_loadfilex(L, argv[script], "t") != LUA_OK) {
        fprintf(stderr, "perigee: %s\n", luax_error_text(L, -1));
        lua_settop(L, 0);
        return -1;
    }
    int nargs = push_arguments(L, argc, argv, script);
    vm_start(run->vm, nargs, on_script_done, run);
    return 0;
}

static int exit_status(const struct run *run)
{
    if (run->signum) return 128 + run->signum;
    if (vm_deadlocked(run->vm)) return EXIT_DEADLOCK;
    if (vm_exit_code(run->vm) >= 0) return vm_exit_code(run->vm);
    return run->exit_code;
}

int main(int argc, char **argv)
{
    setlocale(LC_CTYPE, "");
    signal(SIGPIPE, SIG_IGN);
    int script = argc > 1 && strcmp(argv[1], "run") == 0 ? 2 : 1;
    if (script >= argc) {
        fputs("usage: perigee run script.lua [args...]\n", stderr);
        return EXIT_USAGE;
    }
    struct run run = {.loop = loop_new(), .clock = clock_new()};
    run.sched = sched_new(run.loop, run.clock, random_fresh_seed());
    run.signals = signals_start(run.loop, on_signal, &run);
    struct vm_config config = {.name = "script", .modules = binding_modules};
    run.spend = spend_new(
        &(struct spend_options){.timers = sched_timers(run.sched), .random = sched_random(run.sched)});
    run.vm = vm_new(run.sched, &config);
    spend_install(vm_state(run.vm), run.spend);
    if (load_script(&run, argc, argv, script) != 0) run.exit_code = EXIT_ERROR;
    loop_run(run.loop);
    int status = exit_status(&run);
    vm_free(run.vm);
    spend_free(run.spend);
    signals_stop(run.signals);
    sched_free(run.sched);
    loop_free(run.loop);
    clock_free(run.clock);
    return status;
}
