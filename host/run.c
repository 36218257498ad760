/* run.c - from the first task of a run to its exit code.
 *
 *   run_command -> [emulator VM: run.emulate -> ready()] -> script VM: run.start -> run.finish -> drained
 *
 * Every step is a task of perigee.run; the done callbacks here start the next.  Signals are run_signals.c's.
 */
#include "host/run.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "host/clock.h"
#include "host/log.h"
#include "host/luax.h"
#include "host/mem.h"
#include "host/run_internal.h"
#include "host/term.h"
#include "host/vm.h"
#include "host/vms.h"

enum { DRAIN_MS = 5, REPORT_MEMORY = 64 * 1024 * 1024 };

/* ---- what ends a run ---------------------------------------------------------------------------------- */

/* The exit code that stands whatever the script says, or -1. */
static int forced_exit(const struct run *run)
{
    if (run->signum) return RUN_SIGNAL + run->signum;
    if (run->timed_out) return RUN_TIMEOUT;
    if (run->script && vm_deadlocked(run->script)) return RUN_DEADLOCK;
    return run->script ? vm_exit_code(run->script) : -1;
}

void run_stop_script(struct run *run, const char *reason)
{
    if (run->script && !run->script_ended) vm_stop(run->script, reason, RUN_GRACE_MS);
    if (run->emulator && (run->script == NULL || vm_task_count(run->script) == 0))
        vm_stop(run->emulator, reason, RUN_GRACE_MS);
}

static void on_timeout_cb(struct timer *timer)
{
    struct run *run = LIST_ENTRY(timer, struct run, timeout);
    run->timed_out = true;
    run_stop_script(run, "the run's time is up");
}

/* ---- steps -------------------------------------------------------------------------------------------- */

/* A step fails to start only for lack of memory or a broken installation. */
static void step_failed(struct run *run, lua_State *L)
{
    const char *text = luax_error_text(L, -1);
    struct term *term = term_process();
    term_write(term, TERM_ERR, "perigee: ", 9);
    term_write_untrusted(term, TERM_ERR, text, strlen(text));
    term_write(term, TERM_ERR, "\n", 1);
    run->exit_code = RUN_ERROR;
}

/* The loop may go on for handles of engines that wait for nobody: the run ends with its tasks. */
static void on_drain_cb(struct timer *timer)
{
    struct run *run = LIST_ENTRY(timer, struct run, drain);
    if (sched_task_count(run->sched) == 0)
        loop_stop(run->loop);
    else
        timer_start(sched_timers(run->sched), &run->drain, DRAIN_MS, on_drain_cb);
}

static void drain(struct run *run)
{
    timer_stop(sched_timers(run->sched), &run->timeout);
    vm_stop(run->script, "the run has ended", RUN_GRACE_MS);
    if (run->emulator) vm_stop(run->emulator, "the run has ended", RUN_GRACE_MS);
    vms_stop_all(run->sched, "the run has ended", RUN_GRACE_MS);
    timer_start(sched_timers(run->sched), &run->drain, 0, on_drain_cb);
}

/* [-0, +1, e] pushes perigee.run[name] */
static void push_step(lua_State *L, const char *name)
{
    lua_getglobal(L, "require");
    lua_pushliteral(L, "perigee.run");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, name);
    lua_remove(L, -2);
}

static void on_finish_done(void *ctx, lua_State *L, bool ok, int results, const char *traceback)
{
    struct run *run = ctx;
    (void)traceback;
    if (!ok && !luax_is_err_kind(L, -1, ERR_CANCELLED)) step_failed(run, L);
    if (ok && results > 0) run->exit_code = (int)lua_tointeger(L, -results);
    drain(run);
}

/* finish(ok, error, traceback, origin) as a task; runs under lua_pcall with ok, error and traceback as
 * arguments */
static int l_start_finish(lua_State *L)
{
    struct run *run = run_of(L);
    push_step(L, "finish");
    lua_insert(L, 1);
    lua_pushstring(L, lua_touserdata(L, 4));
    lua_replace(L, 4);
    task_push_origin(L, 3);
    vm_start(run->script, 4, on_finish_done, run);
    return 0;
}

static void on_script_done(void *ctx, lua_State *co, bool ok, int results, const char *traceback)
{
    struct run *run = ctx;
    lua_State *L = vm_state(run->script);
    run->script_ended = true;
    vm_set_memory_cap(run->script, vm_memory(run->script) + REPORT_MEMORY);
    vm_stop(run->script, "the script has ended", RUN_GRACE_MS); /* what was detached */
    lua_pushlightuserdata(L, run);
    lua_pushcclosure(L, l_start_finish, 1);
    lua_pushboolean(L, ok);
    if (ok || results < 1)
        lua_pushnil(L);
    else
        lua_xmove(co, L, 1);
    lua_pushlightuserdata(L, (void *)traceback);
    if (lua_pcall(L, 3, 0, 0) == LUA_OK) return;
    step_failed(run, L);
    drain(run);
}

/* ---- what Lua may ask of the run ---------------------------------------------------------------------- */

/* why() -> "INT", "TERM", "HUP", "timeout", "deadlock" or nil: what ended or is ending the script. */
static int l_why(lua_State *L)
{
    const struct run *run = run_of(L);
    if (run->signum)
        lua_pushstring(L, run->signum == SIGINT ? "INT" : run->signum == SIGTERM ? "TERM" : "HUP");
    else if (run->timed_out)
        lua_pushliteral(L, "timeout");
    else if (vm_deadlocked(run->script))
        lua_pushliteral(L, "deadlock");
    else
        lua_pushnil(L);
    return 1;
}

/* forced_exit() -> the exit code that stands whatever the script says (signal, time-out, os.exit), or nil. */
static int l_forced_exit(lua_State *L)
{
    int code = forced_exit(run_of(L));
    if (code < 0) return 0;
    lua_pushinteger(L, code);
    return 1;
}

/* set_timeout(seconds): from now. */
static int l_set_timeout(lua_State *L)
{
    struct run *run = run_of(L);
    lua_Number seconds = luaL_checknumber(L, 1);
    timer_start_background(sched_timers(run->sched), &run->timeout, (uint64_t)(seconds * 1000),
                           on_timeout_cb);
    return 0;
}

/* set_memory_cap(bytes) of the script's VM. */
static int l_set_memory_cap(lua_State *L)
{
    vm_set_memory_cap(run_of(L)->script, (size_t)luaL_checkinteger(L, 1));
    return 0;
}

/* set_step_limit(seconds): the longest a task of the script may run without waiting. */
static int l_set_step_limit(lua_State *L)
{
    vm_set_step_limit(run_of(L)->script, (uint64_t)(luaL_checknumber(L, 1) * 1000));
    return 0;
}

/* elapsed() -> seconds since the program started. */
static int l_elapsed(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)(clock_now_ms(run_of(L)->clock) - run_of(L)->started_ms) / 1000);
    return 1;
}

/* read_option(name, text) -> value, or nil and what a right value looks like. */
static int l_read_option(lua_State *L)
{
    const char *complaint = cli_read_option(L, luaL_checkstring(L, 1), luaL_checkstring(L, 2));
    if (complaint == NULL) return 1;
    lua_pushnil(L);
    lua_pushstring(L, complaint);
    return 2;
}

/* note_stuck(path): where the watchdog leaves the name of a VM it cannot end alone. */
static int l_note_stuck(lua_State *L)
{
    sched_note_stuck(run_of(L)->sched, luaL_checkstring(L, 1));
    return 0;
}

static int l_ready(lua_State *L);

/* [-0, +1, m] pushes the table that run.start, run.emulate and run.finish get. */
static void push_host(lua_State *L, struct run *run)
{
    static const luaL_Reg functions[] = {{"why", l_why},
                                         {"forced_exit", l_forced_exit},
                                         {"set_timeout", l_set_timeout},
                                         {"set_memory_cap", l_set_memory_cap},
                                         {"set_step_limit", l_set_step_limit},
                                         {"elapsed", l_elapsed},
                                         {"read_option", l_read_option},
                                         {"note_stuck", l_note_stuck},
                                         {"ready", l_ready},
                                         {NULL, NULL}};
    const struct run_config *config = run->config;
    luaL_newlibtable(L, functions);
    lua_pushlightuserdata(L, run);
    luaL_setfuncs(L, functions, 1);
    run_push_signals(L, run);
    run_push_input(L, run);
    cli_push(L, config->cli);
    lua_setfield(L, -2, "options");
    cli_push_option_names(L);
    lua_setfield(L, -2, "option_names");
    lua_createtable(L, config->argc, 0);
    for (int i = 0; i < config->argc; i++) {
        lua_pushstring(L, config->argv[i]);
        lua_rawseti(L, -2, i);
    }
    lua_setfield(L, -2, "argv");
    lua_pushinteger(L, config->argc - config->cli->arg_count);
    lua_setfield(L, -2, "first_arg");
}

/* ---- starting ----------------------------------------------------------------------------------------- */

/* start(host[, services]): services is what the emulator said of itself, a flat table of strings. */
static int l_start_script(lua_State *L)
{
    struct run *run = run_of(L);
    push_step(L, "start");
    push_host(L, run);
    lua_pushvalue(L, 1);
    vm_start(run->script, 2, on_script_done, run);
    return 0;
}

/* [-0, +1, m] a table of strings of another VM */
static int l_copy_strings(lua_State *L)
{
    lua_State *from = lua_touserdata(L, 1);
    lua_newtable(L);
    for (lua_pushnil(from); lua_next(from, 1); lua_pop(from, 1)) {
        const char *key = luax_string(from, -2, NULL), *value = luax_string(from, -1, NULL);
        if (key == NULL || value == NULL) continue;
        lua_pushstring(L, value);
        lua_setfield(L, -2, key);
    }
    return 1;
}

/* Starts the script; services: a table of strings on the stack of that state, or NULL. */
static void start_script(struct run *run, lua_State *services)
{
    lua_State *L = vm_state(run->script);
    int rc = LUA_OK;
    lua_pushlightuserdata(L, run);
    lua_pushcclosure(L, l_start_script, 1);
    if (services) {
        lua_pushcfunction(L, l_copy_strings);
        lua_pushlightuserdata(L, services);
        rc = lua_pcall(L, 1, 1, 0);
    } else {
        lua_pushnil(L);
    }
    if (rc == LUA_OK) rc = lua_pcall(L, 1, 0, 0);
    if (rc == LUA_OK) return;
    step_failed(run, L);
    drain(run);
}

/* ready(services): the emulator listens; the script may start. */
static int l_ready(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    start_script(run_of(L), L);
    return 0;
}

static void on_emulator_done(void *ctx, lua_State *L, bool ok, int results, const char *traceback)
{
    struct run *run = ctx;
    (void)results, (void)traceback;
    if (!ok && !luax_is_err_kind(L, -1, ERR_CANCELLED)) step_failed(run, L);
    if (vm_task_count(run->script) == 0)
        drain(run); /* it ended before the script could start */
    else if (!run->script_ended)
        vm_stop(run->script, "the emulator has ended", RUN_GRACE_MS);
}

static int l_start_emulator(lua_State *L)
{
    struct run *run = run_of(L);
    push_step(L, "emulate");
    push_host(L, run);
    vm_start(run->emulator, 1, on_emulator_done, run);
    return 0;
}

static void start_emulator(struct run *run)
{
    lua_State *L = vm_state(run->emulator);
    lua_pushlightuserdata(L, run);
    lua_pushcclosure(L, l_start_emulator, 1);
    if (lua_pcall(L, 0, 0, 0) == LUA_OK) return;
    step_failed(run, L);
    drain(run);
}

static struct vm *new_vm(struct run *run, const char *name)
{
    struct vm_config config = {.name = name,
                               .modules = run->config->modules,
                               .install = run->config->install,
                               .install_ctx = run->config->ctx};
    return vm_new(run->sched, &config);
}

int run_command(struct run *run, const struct run_config *config)
{
    run->config = config;
    run->script = new_vm(run, "script");
    if (cli_has(config->cli, "emulator")) {
        run->emulator = new_vm(run, "emulator");
        start_emulator(run);
    } else {
        start_script(run, NULL);
    }
    loop_run(run->loop);
    int forced = forced_exit(run);
    return forced >= 0 ? forced : run->exit_code;
}

/* With PERIGEE_VIRTUAL_TIME=<seconds since 1970> the run is a rehearsal: waiting takes no time, and one seed
 * gives the same event log twice. */
static struct clock *make_clock(void)
{
    const char *start = getenv("PERIGEE_VIRTUAL_TIME");
    return start ? clock_new_virtual(strtoll(start, NULL, 10) * 1000) : clock_new();
}

static int64_t log_time_ms(void *ctx)
{
    return clock_wall_ms(ctx);
}

struct run *run_new(uint64_t seed)
{
    struct run *run = mem_alloc(sizeof *run);
    run->loop = loop_new();
    run->clock = make_clock();
    log_set_time(log_time_ms, run->clock);
    run->started_ms = clock_now_ms(run->clock);
    run->sched = sched_new(run->loop, run->clock, seed);
    run->signals = signals_start(run->loop, run_on_signal, run);
    return run;
}

struct sched *run_sched(struct run *run)
{
    return run->sched;
}

void run_close_vms(struct run *run)
{
    vms_free_all(run->sched);
    vm_free(run->emulator);
    vm_free(run->script);
    run->emulator = run->script = NULL;
}

void run_free(struct run *run)
{
    timer_stop(sched_timers(run->sched), &run->timeout);
    timer_stop(sched_timers(run->sched), &run->drain);
    run_close_input(run);
    loop_reap(run->loop); /* children that were killed with the last tasks */
    signals_stop(run->signals);
    sched_free(run->sched);
    loop_free(run->loop);
    log_set_time(NULL, NULL);
    clock_free(run->clock);
    mem_free(run);
}
