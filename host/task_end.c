/* task_end.c - how tasks end: results or an error to whoever waits, children waited for, memory freed; and
 * the ends a task does not choose (killed, cancelled before its first step, a yield to nobody).
 */
#include "host/task.h"

#include "host/log.h"
#include "host/luax.h"
#include "host/mem.h"
#include "host/task_internal.h"

static void wake_joiners(struct task *t)
{
    struct list_node *n;
    while ((n = list_pop(&t->joiners)) != NULL) op_complete(task_joiner_op(n));
}

/* An error of a child nobody waited for becomes the parent's own. */
static void adopt_child_failure(struct task *t)
{
    for (struct scope *s = t->scopes; s; s = s->outer) {
        struct list_node *n = list_first(&s->failures);
        int error_ref = n ? LIST_ENTRY(n, struct failure, link)->error_ref : s->error_ref;
        if (error_ref == LUA_NOREF || !t->ok) continue;
        lua_settop(t->co, 0);
        lua_rawgeti(t->co, LUA_REGISTRYINDEX, error_ref);
        t->ok = false;
        t->results = 1;
    }
}

static void report_to_owner(struct task *t)
{
    struct task_extra *extra = t->extra;
    if (extra && extra->done) extra->done(extra->done_ctx, t->co, t->ok, t->results, extra->traceback);
}

static const char *ending(struct task *t)
{
    if (t->ok) return "ok";
    return luax_is_err_kind(t->co, -1, ERR_CANCELLED) ? "cancelled" : "failed";
}

static void task_free(struct task *t)
{
    while (t->scopes) scope_remove(t->scopes);
    if (t->extra) {
        mem_free(t->extra->chain);
        mem_free(t->extra->traceback);
        mem_free(t->extra);
    }
    luaL_unref(t->vm->L, LUA_REGISTRYINDEX, t->co_ref);
    luaL_unref(t->vm->L, LUA_REGISTRYINDEX, t->locals_ref);
    mem_free(t);
}

/* The body has ended and no child is left: results go to whoever holds the handle, then all is freed. */
static void task_complete(struct task *t)
{
    struct vm *vm = t->vm;
    vm->uncapped++;
    adopt_child_failure(t);
    t->state = TASK_DONE;
    log_write(LOG_LEVEL_DEBUG, "task.end", LOG_INT("task", (int64_t)t->id), LOG_STR("end", ending(t)));
    bool observed = t->ok || !list_empty(&t->joiners);
    struct failure *failure = observed ? NULL : scope_child_failed(t->scope, t);
    task_handle_complete(t, failure);
    wake_joiners(t);
    report_to_owner(t);
    task_forget_cancels(t);
    vm->live_count--;
    if (vm->live_count == 0 && vm->emptied) vm->sched->reap = true;
    scope_child_done(t->scope, t);
    task_free(t);
    vm->uncapped--;
}

void task_drain(struct task *t)
{
    if (!t->ok) {
        for (struct scope *s = t->scopes; s; s = s->outer)
            scope_cancel_tasks(s, "the task they belong to has failed", s->grace_ms);
    }
    if (task_has_children(t))
        t->state = TASK_DRAINING;
    else
        task_complete(t);
}

void task_terminate(struct task *t, const struct err *why)
{
    task_drop_op(t);
    struct sched *s = t->vm->sched;
    t->vm->uncapped++;
    t->vm->fail_allocs = 0;
    s->current = t;
    guard_enter(s->guard, t->vm->step_limit_ms);
    bool closes = !t->vm->condemned; /* its <close> variables are Lua */
    for (size_t i = t->extra && closes ? t->extra->chain_len : 0; i > 0; i--) {
        s->innermost = t->extra->chain[i - 1];
        lua_sethook(s->innermost, NULL, 0, 0);
        luax_reset_thread(s->innermost, t->vm->L);
    }
    s->innermost = t->co;
    lua_sethook(t->co, NULL, 0, 0);
    if (closes) luax_reset_thread(t->co, t->vm->L);
    guard_leave(s->guard, t);
    s->current = NULL;
    t->vm->fail_allocs = 0;
    lua_sethook(t->co, NULL, 0, 0);
    lua_settop(t->co, 0);
    luax_push_err(t->co, why);
    t->vm->uncapped--;
    t->ok = false;
    t->results = 1;
    task_drain(t);
}

static void explain_kill(struct task *t, struct err *e)
{
    struct vm *vm = t->vm;
    if (vm->refused > 0) {
        err_set(e, ERR_LIMIT, "the task was ended: its VM \"%s\" is at its memory limit of %zu MB", vm->name,
                vm->cap >> 20);
        err_set_code(e, "memory");
    } else if (t->interrupted) {
        err_set(e, ERR_CANCELLED, "the task was ended: it was interrupted while it computed");
        err_set_code(e, "interrupted");
    } else if (task_active_cancel(t)) {
        err_set(e, ERR_LIMIT, "the task was ended: it went on after it was cancelled (%s)",
                task_active_cancel(t)->reason);
        err_set_code(e, "grace");
    } else {
        err_set(e, ERR_LIMIT, "the task was ended: it ran for more than %.3g s without waiting",
                (double)vm->step_limit_ms / 1000);
        err_set_code(e, "runaway");
    }
}

void task_end_killed(struct task *t)
{
    struct err e;
    explain_kill(t, &e);
    task_terminate(t, &e);
}

void task_end_unstarted(struct task *t)
{
    struct err e;
    err_set(&e, ERR_CANCELLED, "the task was cancelled before it started: %s", task_active_cancel(t)->reason);
    t->vm->uncapped++;
    lua_settop(t->co, 0);
    luax_push_err(t->co, &e);
    t->vm->uncapped--;
    t->results = 1;
    task_drain(t);
}
