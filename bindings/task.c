/* task.c - perigee.core.task: the C part of perigee.task.  Arguments are checked here; composition (map,
 * race, deadline, queues) is Lua, in scripts/lib/task.lua. */
#include "host/luax.h"
#include "host/task_internal.h"

#include "bindings/journal.h"
#include "bindings/modules.h"
#include "host/mem.h"

static const char scope_class[] = "perigee.scope";

/* [-0, +0, e] */
static struct task *check_current(lua_State *L, const char *what)
{
    struct task *t = sched_current(vm_sched(vm_of(L)));
    if (t == NULL) luax_invalid(L, "%s can only be called from a task", what);
    return t;
}

/* [-0, +0, e] a task that was told to stop starts no others, once its grace is over */
static void check_may_spawn(lua_State *L, struct task *t, const char *what)
{
    struct cancel *c = task_active_cancel(t);
    if (c && c->expired) task_raise_cancelled(L, t, what);
}

/* [-n, +1, e] starts the function at `first` with the arguments above it and pushes the task's handle */
static int spawn(lua_State *L, struct scope *scope, int first)
{
    luaL_checktype(L, first, LUA_TFUNCTION);
    struct vm *vm = vm_of(L);
    if (vm->most_tasks > 0 && vm->live_count >= vm->most_tasks) {
        struct err err;
        err_set(&err, ERR_LIMIT, "%zu tasks run already, which is the most there may be here",
                vm->most_tasks);
        err_set_code(&err, "tasks");
        luax_raise_err(L, &err);
    }
    struct task *parent = sched_current(vm_sched(vm));
    struct task *t = task_new(L, scope, lua_gettop(L) - first);
    if (parent && parent->locals_ref != LUA_NOREF) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, parent->locals_ref);
        t->locals_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    task_handle_push(L, t);
    return 1;
}

/* [-0, +0, e] a scope that is ending starts nothing more */
static void check_scope_open(lua_State *L, struct scope *scope, const char *what)
{
    check_may_spawn(L, scope->owner, what);
    if (scope->cancel.requested || scope->error_ref != LUA_NOREF) task_raise_cancelled(L, scope->owner, what);
}

/* spawn(f, ...) -> task: in the innermost open scope of the current task, else in its implicit one */
static int l_spawn(lua_State *L)
{
    struct scope *scope = scope_innermost(check_current(L, "task.spawn"));
    check_scope_open(L, scope, "task.spawn");
    return spawn(L, scope, 1);
}

/* spawn_in_task(f, ...) -> task: in the implicit scope of the current task, whatever scopes are open.  For
 * what has a lifetime and a close of its own, like a server that is made under a deadline. */
static int l_spawn_in_task(lua_State *L)
{
    struct task *t = check_current(L, "task.spawn");
    check_may_spawn(L, t, "task.spawn");
    return spawn(L, scope_implicit(t), 1);
}

/* detach(f, ...) -> task: in the root scope of the VM, which outlives the caller */
static int l_detach(lua_State *L)
{
    struct task *t = check_current(L, "task.detach");
    check_may_spawn(L, t, "task.detach");
    return spawn(L, &vm_of(L)->root, 1);
}

static int l_current(lua_State *L)
{
    task_handle_push(L, check_current(L, "task.current"));
    return 1;
}

/* cancelled() -> the reason if the current task was told to stop, else nil */
static int l_cancelled(lua_State *L)
{
    struct task *t = sched_current(vm_sched(vm_of(L)));
    struct cancel *c = t ? task_active_cancel(t) : NULL;
    lua_pushstring(L, c ? c->reason : NULL);
    return 1;
}

/* interruptible(): from now on Ctrl-C may end a step of the current task that goes on computing */
static int l_interruptible(lua_State *L)
{
    check_current(L, "interruptible");
    sched_mark_interruptible(vm_sched(vm_of(L)));
    return 0;
}

/* ---- sleep --------------------------------------------------------------------------------------------- */

struct sleep_op {
    struct op op;
    struct timer timer;
};

static void on_sleep_over(struct timer *timer)
{
    op_complete(&LIST_ENTRY(timer, struct sleep_op, timer)->op);
}

static void sleep_abort(struct op *op)
{
    timer_stop(sched_timers(vm_sched(op->task->vm)), &((struct sleep_op *)op)->timer);
}

static int sleep_finish(lua_State *L, struct op *op)
{
    (void)L, (void)op;
    return 0;
}

static void sleep_describe(const struct op *op, struct buf *out)
{
    const struct sleep_op *s = (const struct sleep_op *)op;
    uint64_t now = clock_now_ms(sched_clock(vm_sched(op->task->vm)));
    uint64_t left_ms = s->timer.deadline_ms > now ? s->timer.deadline_ms - now : 0;
    buf_printf(out, "%.3f s more", (double)left_ms / 1000);
}

static const struct op_type sleep_type = {
    .name = "task.sleep",
    .timed = true,
    .abort = sleep_abort,
    .finish = sleep_finish,
    .describe = sleep_describe,
};

static int l_sleep(lua_State *L)
{
    uint64_t ms = luax_check_duration(L, 1, "task.sleep: the time");
    struct sleep_op *s = op_new(L, &sleep_type, sizeof *s);
    timer_start(sched_timers(vm_sched(vm_of(L))), &s->timer, ms, on_sleep_over);
    return op_park(L, &s->op);
}

/* ---- scopes ----------------------------------------------------------------------------------------- */

/* [-0, +0, e] the open scope at index 1; only its owner may use it */
static struct scope *check_scope(lua_State *L, const char *what)
{
    struct scope **holder = luaL_checkudata(L, 1, scope_class);
    if (*holder == NULL || (*holder)->owner == NULL || (*holder)->closing)
        luax_invalid(L, "%s: the scope is closed", what);
    return *holder;
}

/* scope{deadline=, grace=} -> scope, open in the current task */
static int l_scope(lua_State *L)
{
    static const char *const fields[] = {"deadline", "grace", NULL};
    luax_check_options(L, 1, "task.scope", fields);
    struct task *t = check_current(L, "task.scope");
    uint64_t grace_ms = luax_opt_duration(L, 1, "task.scope", "grace", 0);
    uint64_t limit_ms = luax_opt_duration(L, 1, "task.scope", "deadline", UINT64_MAX);
    struct scope **holder = luax_new(L, scope_class, sizeof *holder);
    *holder = scope_new(t, grace_ms);
    if (limit_ms != UINT64_MAX) scope_start_deadline(*holder, limit_ms);
    return 1;
}

static int l_scope_spawn(lua_State *L)
{
    struct scope *scope = check_scope(L, "scope:spawn");
    check_scope_open(L, scope, "scope:spawn");
    return spawn(L, scope, 2);
}

/* scope:cancel(reason): its tasks; the body goes on */
static int l_scope_cancel(lua_State *L)
{
    struct scope *scope = check_scope(L, "scope:cancel");
    scope_cancel_tasks(scope, luaL_optstring(L, 2, "the scope was cancelled"), scope->grace_ms);
    return 0;
}

/* __close(scope, err): waits for the tasks; after an error they are cancelled first */
static int l_scope_close(lua_State *L)
{
    struct scope **holder = luaL_checkudata(L, 1, scope_class);
    struct scope *scope = *holder;
    if (scope == NULL || scope->owner == NULL || scope->closing) return 0;
    if (scope->owner != sched_current(vm_sched(scope->vm)))
        luax_invalid(L, "scope:close: only the task that opened a scope can leave it");
    if (!lua_isnoneornil(L, 2)) scope_cancel_tasks(scope, "the scope was left by an error", scope->grace_ms);
    return scope_wait(L, scope);
}

static int l_scope_gc(lua_State *L)
{
    struct scope **holder = luaL_checkudata(L, 1, scope_class);
    if (*holder == NULL) return 0;
    if ((*holder)->owner)
        (*holder)->borrowed = false; /* still open: its task frees it */
    else
        mem_free(*holder);
    *holder = NULL;
    return 0;
}

/* ---- shield, task-local values, counts -------------------------------------------------------------- */

static int l_shield_enter(lua_State *L)
{
    uint64_t ms = luax_check_duration(L, 1, "task.shield: the time");
    lua_pushinteger(L, (lua_Integer)task_shield_enter(check_current(L, "task.shield"), ms));
    return 1;
}

static int l_shield_leave(lua_State *L)
{
    task_shield_leave(check_current(L, "task.shield"), (uint64_t)luaL_checkinteger(L, 1));
    return 0;
}

/* locals() -> the table of task-local values, or nil; set_locals(table) replaces it.  Tables are shared
 * with the tasks spawned later and therefore never changed in place. */
static int l_locals(lua_State *L)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, check_current(L, "task.get_local")->locals_ref);
    return 1;
}

static int l_set_locals(lua_State *L)
{
    struct task *t = check_current(L, "task.set_local");
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    int ref = luaL_ref(L, LUA_REGISTRYINDEX);
    luaL_unref(L, LUA_REGISTRYINDEX, t->locals_ref);
    t->locals_ref = ref;
    return 0;
}

/* list(name) -> { {task=, waits=, value=}, … }: the tasks that have the task-local value of that name */
static int l_list(lua_State *L)
{
    task_push_list(L, luaL_checkstring(L, 1));
    return 1;
}

/* counts() -> {tasks=, handles=, timers=, vms=, stack=, memory=}: what the specs' leak check compares */
static int l_counts(lua_State *L)
{
    struct vm *vm = vm_of(L);
    lua_createtable(L, 0, 6);
    lua_pushinteger(L, (lua_Integer)vm->live_count);
    lua_setfield(L, -2, "tasks");
    lua_pushinteger(L, (lua_Integer)(loop_handle_count(vm->sched->loop) - sched_http_handles(vm->sched) -
                                     journal_handles(L)));
    lua_setfield(L, -2, "handles");
    lua_pushinteger(L, (lua_Integer)timers_count(vm->sched->timers));
    lua_setfield(L, -2, "timers");
    lua_pushinteger(L, (lua_Integer)sched_vm_count(vm->sched));
    lua_setfield(L, -2, "vms");
    lua_pushinteger(L, lua_gettop(vm->L));
    lua_setfield(L, -2, "stack");
    lua_pushinteger(L, (lua_Integer)vm->used);
    lua_setfield(L, -2, "memory");
    return 1;
}

/* now() -> monotonic seconds; random() -> [0, 1) from the seeded generator */
static int l_now(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)clock_now_ns(sched_clock(vm_sched(vm_of(L)))) / 1e9);
    return 1;
}

static int l_random(lua_State *L)
{
    lua_pushnumber(L, random_double(sched_random(vm_sched(vm_of(L)))));
    return 1;
}

int luaopen_perigee_core_task(lua_State *L)
{
    static const luaL_Reg functions[] = {{"spawn", l_spawn},
                                         {"spawn_in_task", l_spawn_in_task},
                                         {"detach", l_detach},
                                         {"current", l_current},
                                         {"cancelled", l_cancelled},
                                         {"interruptible", l_interruptible},
                                         {"sleep", l_sleep},
                                         {"scope", l_scope},
                                         {"shield_enter", l_shield_enter},
                                         {"shield_leave", l_shield_leave},
                                         {"locals", l_locals},
                                         {"set_locals", l_set_locals},
                                         {"list", l_list},
                                         {"counts", l_counts},
                                         {"now", l_now},
                                         {"random", l_random},
                                         {NULL, NULL}};
    static const luaL_Reg scope_methods[] = {
        {"spawn", l_scope_spawn}, {"cancel", l_scope_cancel}, {"close", l_scope_close}, {NULL, NULL}};
    static const luaL_Reg scope_meta[] = {{"__close", l_scope_close}, {"__gc", l_scope_gc}, {NULL, NULL}};
    luax_class(L, scope_class, scope_methods, scope_meta);
    luaL_newlib(L, functions);
    return 1;
}
