/* task.c - ops, parking, and the scheduler: the only place that resumes Lua.
 *
 * Owns: the ready list and the two loop handles that drive it.  Runs on the loop thread.  A callback of
 * an engine calls op_complete, which only queues; task_step, from the check handle, resumes.
 */
#include "host/task.h"

#include <assert.h>
#include <stdlib.h>

#include "host/bucket.h"
#include "host/log.h"
#include "host/luax.h"
#include "host/mem.h"
#include "host/task_internal.h"

/* What a waiting coroutine yields, up to the scheduler: its address cannot be forged by a script. */
static const char sentinel;

/* ---- ops ---------------------------------------------------------------------------------------------- */

static void op_free(struct op *op)
{
    if (op->type->release) op->type->release(op);
    mem_free(op);
}

void task_drop_op(struct task *t)
{
    struct op *op = t->op;
    if (op == NULL) return;
    t->op = NULL;
    if (!op->done) op->type->abort(op);
    op_free(op);
}

static struct task *current_task(lua_State *L, const char *what)
{
    struct sched *s = vm_of(L)->sched;
    if (s->current == NULL || s->current->vm->L == L)
        luax_invalid(L, "%s waits, and can only be called from a task", what);
    if (L != s->innermost)
        luax_invalid(L, "%s waits, and cannot be called from a coroutine that a C library made", what);
    if (!lua_isyieldable(L))
        luax_invalid(L,
                     "%s waits, and cannot be called inside a C function such as table.sort, string.gsub, "
                     "require, coroutine.close or a finalizer",
                     what);
    return s->current;
}

void *op_new(lua_State *L, const struct op_type *type, size_t size)
{
    struct task *t = current_task(L, type->name);
    task_drop_op(t);
    if (!type->stays) task_refuse_if_cancelled(L, t, type->name);
    struct op *op = mem_alloc(size);
    op->type = type;
    op->task = t;
    t->op = op;
    return op;
}

/* [-0, +n, e] runs in the task, when it is resumed for the op */
static int op_continue(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    struct op *op = (struct op *)context;
    if (op->aborted) task_raise_cancelled(L, op->task, op->type->name);
    return op->type->finish(L, op);
}

int op_park(lua_State *L, struct op *op)
{
    assert(op->task->op == op && !op->parked);
    op->parked = true;
    lua_pushlightuserdata(L, (void *)&sentinel);
    return lua_yieldk(L, 1, (lua_KContext)op, op_continue);
}

/* [-0, +1, -] for the prelude's forwarding coroutine functions */
void task_push_sentinel(lua_State *L)
{
    lua_pushlightuserdata(L, (void *)&sentinel);
}

static void count_parked(struct op *op, int change)
{
    struct vm *vm = op->task->vm;
    vm->parked_count += (size_t)change;
    if (op->type->internal) return;
    vm->wakers += (size_t)change;
    if (!op->type->timed) vm->sched->real_ops += (size_t)change;
}

void op_complete(struct op *op)
{
    assert(!op->done);
    op->done = true;
    struct task *t = op->task;
    if (t->state != TASK_PARKED) return; /* completed before the task has yielded: task_step sees done */
    count_parked(op, -1);
    task_queue(t);
}

/* Cancelled: the engine has been told, the task goes on with an error. */
void task_resume_aborted(struct op *op)
{
    op->type->abort(op);
    op->aborted = true;
    op_complete(op);
}

void task_check_not_cancelled(lua_State *L, const char *what)
{
    struct task *t = current_task(L, what);
    if (task_active_cancel(t)) task_raise_cancelled(L, t, what);
}

/* ---- tasks -------------------------------------------------------------------------------------------- */

struct task_extra *task_extra(struct task *t)
{
    if (t->extra == NULL) {
        t->extra = mem_alloc(sizeof *t->extra);
        t->extra->cancel.task = t;
    }
    return t->extra;
}

static void on_idle_cb(uv_idle_t *handle)
{
    (void)handle; /* exists to keep poll from blocking */
}

static void wake(struct sched *s)
{
    if (s->idle_active) return;
    uv_idle_start(&s->idle, on_idle_cb);
    s->idle_active = true;
}

void task_queue(struct task *t)
{
    assert(t->state != TASK_READY && t->state != TASK_DONE);
    t->state = TASK_READY;
    t->vm->ready_count++;
    list_append(&t->vm->sched->ready, &t->ready);
    wake(t->vm->sched);
}

/* [-1, +1, m] message handler of the body: keeps the traceback where the error was raised */
static int body_traceback(lua_State *L)
{
    struct task *t = vm_of(L)->sched->current;
    if (t && !luax_is_err_kind(L, 1, ERR_CANCELLED)) {
        struct task_extra *extra = task_extra(t);
        mem_free(extra->traceback);
        luaL_traceback(L, L, NULL, 1);
        extra->traceback = mem_strdup(lua_tostring(L, -1));
        task_keep_origin(L);
        lua_pop(L, 1);
    }
    return 1;
}

/* [-n, +n, -] what the coroutine of a task ends with: true, results… or false, error */
static int body_done(lua_State *L, int status, lua_KContext context)
{
    (void)context;
    lua_pushboolean(L, status == LUA_OK || status == LUA_YIELD);
    lua_replace(L, 1);
    return lua_gettop(L);
}

/* The trampoline: an error runs the body's <close> variables at once, where they may still wait. */
static int l_body(lua_State *L)
{
    lua_pushcfunction(L, body_traceback);
    lua_insert(L, 1);
    return body_done(L, lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 1, 0, body_done), 0);
}

/* [-(nargs + 1), +0, m] a task in the scope with the function and arguments on L's stack */
struct task *task_new(lua_State *L, struct scope *scope, int nargs)
{
    struct vm *vm = scope->vm;
    lua_State *co = lua_newthread(L);
    luaL_checkstack(co, nargs + 3, "task arguments");
    int ref = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushcfunction(co, l_body);
    lua_xmove(L, co, nargs + 1);
    struct task *t = mem_alloc(sizeof *t);
    t->vm = vm;
    t->scope = scope;
    t->co = co;
    t->co_ref = ref;
    t->locals_ref = LUA_NOREF;
    t->id = ++vm->sched->next_task_id;
    t->state = TASK_PARKED; /* so that task_queue takes it */
    list_init(&t->joiners);
    list_append(&scope->tasks, &t->sibling);
    scope->live++;
    vm->live_count++;
    log_write(LOG_LEVEL_DEBUG, "task.start", LOG_INT("task", (int64_t)t->id), LOG_STR("vm", vm->name));
    task_queue(t);
    return t;
}

static void body_ended(struct task *t, int status, int results)
{
    task_drop_op(t); /* of a binding that raised after op_new: the last thing the body did */
    t->results = results;
    t->ok = status == LUA_OK && lua_toboolean(t->co, -results);
    if (status == LUA_OK) {
        lua_remove(t->co, -results);
        t->results--;
    } else { /* the trampoline itself could not run: only for lack of memory */
        t->results = 1;
    }
    task_drain(t);
}

static void log_op(const char *event, const struct op *op)
{
    log_write(LOG_LEVEL_DEBUG, event, LOG_INT("task", (int64_t)op->task->id), LOG_STR("op", op->type->name));
}

static void park_or_fail(struct task *t, int results)
{
    if (results == 1 && lua_touserdata(t->co, -1) == &sentinel && t->op && t->op->parked) {
        lua_pop(t->co, 1);
        log_op("op.wait", t->op);
        t->state = TASK_PARKED;
        count_parked(t->op, 1);
        if (t->op->done) { /* completed before the yield */
            count_parked(t->op, -1);
            task_queue(t);
        }
        return;
    }
    struct err e;
    err_set(&e, ERR_INVALID,
            "a task yielded outside of a wait: coroutine.yield has nobody to return to here");
    task_terminate(t, &e);
}

static void run_body(struct task *t)
{
    struct sched *s = t->vm->sched;
    struct task_extra *extra = t->extra;
    int nargs = t->started ? 0 : lua_gettop(t->co) - 1, results = 0;
    t->started = true;
    if (t->op) log_op(t->op->aborted ? "op.cancelled" : "op.done", t->op);
    t->ended = t->op;
    t->op = NULL;
    t->vm->refused = 0;
    s->current = t;
    s->innermost = extra && extra->chain_len ? extra->chain[extra->chain_len - 1] : t->co;
    guard_enter(s->guard, t->vm->step_limit_ms);
    int status = lua_resume(t->co, t->vm->L, nargs, &results);
    guard_leave(s->guard, t);
    s->current = NULL;
    if (t->ended) op_free(t->ended);
    t->ended = NULL;
    if (s->gc_stress) lua_gc(t->vm->L, LUA_GCCOLLECT);
    if (t->killed) {
        task_end_killed(t);
    } else if (status == LUA_YIELD) {
        park_or_fail(t, results);
    } else {
        body_ended(t, status, results);
    }
}

static void task_step(struct task *t)
{
    t->vm->ready_count--;
    bool body_over = t->started && lua_status(t->co) != LUA_YIELD;
    t->state = TASK_RUNNING;
    if (body_over)
        task_drain(t);
    else if (t->killed)
        task_end_killed(t);
    else if (!t->started && task_active_cancel(t))
        task_end_unstarted(t);
    else if (t->vm->condemned)
        task_end_killed(t);
    else
        run_body(t);
}

/* ---- the scheduler ------------------------------------------------------------------------------------ */

static void look_for_deadlocks(struct sched *s)
{
    for (struct list_node *n = s->vms.next; n != &s->vms; n = n->next) {
        struct vm *vm = LIST_ENTRY(n, struct vm, link);
        if (vm->ready_count == 0 && vm->live_count > 0 && vm->wakers == 0 && !vm->deadlocked)
            vm_report_deadlock(vm);
    }
}

/* Virtual time moves on when nothing else can happen: no task is ready, no outside work is in flight. */
static void advance_virtual_time(struct sched *s)
{
    if (!clock_is_virtual(s->clock) || s->real_ops > 0) return;
    while (list_empty(&s->ready) && timers_advance(s->timers)) continue;
}

/* A VM with a slice has used it up at this turn of the loop. */
static bool has_had_its_turn(struct vm *vm)
{
    if (vm->slice_ns == 0 || vm->condemned) return false;
    if (vm->turn == vm->sched->turn) return vm->used_ns >= vm->slice_ns;
    vm->turn = vm->sched->turn;
    vm->used_ns = 0;
    return false;
}

static void task_step_timed(struct task *t)
{
    struct vm *vm = t->vm;
    struct clock *clock = vm->sched->clock;
    uint64_t before = vm->slice_ns ? clock_cpu_ns(clock) : 0;
    bool timed = vm->slice_ns > 0;
    task_step(t); /* a VM is freed by sched_reap, not here */
    if (timed) vm->used_ns += clock_cpu_ns(clock) - before;
}

/* Runs what is ready now; what becomes ready meanwhile waits for the next turn, after the loop has
 * polled, so that tasks that wake each other cannot starve input and output.  A VM with a slice leaves its
 * other tasks for the next turn as well, so that however many it has, others come between. */
static void on_check_cb(uv_check_t *handle)
{
    struct sched *s = handle->data;
    if (s->dump_requested) sched_dump(s);
    struct list_node batch;
    list_init(&batch);
    list_splice(&batch, &s->ready);
    struct list_node *n;
    struct list_node later; /* tasks of VMs that have had their turn */
    list_init(&later);
    s->turn++;
    while ((n = list_pop(&batch)) != NULL) {
        struct task *t = LIST_ENTRY(n, struct task, ready);
        if (has_had_its_turn(t->vm))
            list_append(&later, &t->ready);
        else
            task_step_timed(t);
    }
    list_splice(&later, &s->ready); /* before those that have become ready meanwhile */
    list_splice(&s->ready, &later);
    if (s->reap) sched_reap(s);
    if (!list_empty(&s->ready)) return;
    look_for_deadlocks(s);
    advance_virtual_time(s);
    if (list_empty(&s->ready) && s->idle_active) {
        uv_idle_stop(&s->idle);
        s->idle_active = false;
    }
}

struct sched *sched_new(struct loop *loop, struct clock *clock, uint64_t seed)
{
    struct sched *s = mem_alloc(sizeof *s);
    s->loop = loop;
    s->clock = clock;
    s->timers = timers_new(loop, clock);
    s->buckets = buckets_new(clock);
    s->gc_stress = getenv("PERIGEE_GC_STRESS") != NULL;
    random_init(&s->random, seed);
    list_init(&s->ready);
    list_init(&s->vms);
    list_init(&s->children);
    uv_idle_init(loop_uv(loop), &s->idle);
    uv_check_init(loop_uv(loop), &s->check);
    s->idle.data = s->check.data = s;
    s->open_handles = 2;
    uv_check_start(&s->check, on_check_cb);
    uv_unref((uv_handle_t *)&s->check);
    s->guard = guard_start(s);
    return s;
}

static void on_close_cb(uv_handle_t *handle)
{
    struct sched *s = handle->data;
    if (--s->open_handles == 0) mem_free(s);
}

void sched_free(struct sched *s)
{
    assert(list_empty(&s->vms) && list_empty(&s->ready) && s->ended_children == 0);
    guard_stop(s->guard);
    sched_http_stop(s);
    buckets_free(s->buckets);
    timers_free(s->timers);
    uv_close((uv_handle_t *)&s->idle, on_close_cb);
    uv_close((uv_handle_t *)&s->check, on_close_cb);
}

void sched_request_dump(struct sched *s)
{
    s->dump_requested = true;
    wake(s);
}

struct timers *sched_timers(struct sched *s)
{
    return s->timers;
}

struct loop *sched_loop(struct sched *s)
{
    return s->loop;
}

struct clock *sched_clock(struct sched *s)
{
    return s->clock;
}

struct random *sched_random(struct sched *s)
{
    return &s->random;
}

struct buckets *sched_buckets(struct sched *s)
{
    return s->buckets;
}

struct task *sched_current(struct sched *s)
{
    return s->current;
}

void task_push_local(lua_State *L, const char *name)
{
    const struct task *t = sched_current(vm_sched(vm_of(L)));
    if (t == NULL || lua_rawgeti(L, LUA_REGISTRYINDEX, t->locals_ref) != LUA_TTABLE) {
        if (t) lua_pop(L, 1);
        lua_pushnil(L);
        return;
    }
    lua_getfield(L, -1, name);
    lua_remove(L, -2);
}
