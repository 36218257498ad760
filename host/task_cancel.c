/* task_cancel.c - asking a task to stop, its grace, and ending one that does not listen.
 *
 * A request is raised once at the current or next wait.  Clean-up may then wait until the grace is over;
 * from then on each wait raises again, and a task that still goes on is ended from outside.
 */
#include "host/task.h"

#include <stdio.h>

#include "host/log.h"
#include "host/luax.h"
#include "host/mem.h"
#include "host/task_internal.h"

/* How long a task may go on catching refusals after its grace. */
enum { LAST_CALL_MS = 500 };

static struct sched *sched_for(const struct cancel *c)
{
    return c->task->vm->sched;
}

static bool interruptible(const struct task *t)
{
    return t->state == TASK_PARKED && !t->op->type->stays; /* a completed op has made it ready */
}

static void on_grace_over(struct timer *timer)
{
    struct cancel *c = LIST_ENTRY(timer, struct cancel, grace);
    c->task->vm->wakers--;
    c->expired = true;
    if (interruptible(c->task)) task_resume_aborted(c->task->op);
}

static void start_grace(struct cancel *c, uint64_t grace_ms)
{
    struct timers *timers = sched_for(c)->timers;
    if (!timer_active(&c->grace)) c->task->vm->wakers++;
    c->grace_end_ms = clock_now_ms(sched_for(c)->clock) + grace_ms;
    timer_start(timers, &c->grace, grace_ms, on_grace_over);
}

void cancel_request(struct cancel *c, struct task *t, const char *reason, uint64_t grace_ms)
{
    if (c->requested) return; /* the first reason stays */
    uint64_t shield_ms = t->extra ? t->extra->shield_ms : 0;
    c->requested = c->pending = true;
    c->task = t;
    c->reason = mem_strdup(reason);
    log_write(LOG_LEVEL_DEBUG, "task.cancel", LOG_INT("task", (int64_t)t->id), LOG_STR("reason", reason));
    start_grace(c, shield_ms > grace_ms ? shield_ms : grace_ms);
    if (shield_ms == 0 && interruptible(t)) task_resume_aborted(t->op);
}

void cancel_clear(struct cancel *c)
{
    if (timer_active(&c->grace)) {
        timer_stop(sched_for(c)->timers, &c->grace);
        c->task->vm->wakers--;
    }
    mem_free(c->reason);
    c->reason = NULL;
    c->requested = c->pending = c->expired = false;
}

void task_forget_cancels(struct task *t)
{
    if (t->extra) cancel_clear(&t->extra->cancel);
    for (struct scope *s = t->scopes; s; s = s->outer) cancel_clear(&s->cancel);
}

void task_cancel(struct task *t, const char *reason, uint64_t grace_ms)
{
    if (t->state == TASK_DONE || task_extra(t)->cancel.requested) return;
    for (struct scope *s = t->scopes; s; s = s->outer) scope_cancel_tasks(s, reason, grace_ms);
    cancel_request(&t->extra->cancel, t, reason, grace_ms);
}

/* Those that wait already after they were cancelled would not be woken by another request. */
static void wake_all(struct scope *scope)
{
    for (struct list_node *n = scope->tasks.next; n != &scope->tasks; n = n->next) {
        struct task *t = LIST_ENTRY(n, struct task, sibling);
        for (struct scope *s = t->scopes; s; s = s->outer) wake_all(s);
        if (interruptible(t)) task_resume_aborted(t->op);
    }
}

void vm_condemn(struct vm *vm)
{
    vm->condemned = true;
    wake_all(&vm->root);
}

/* The request that binds the task now, or NULL: its own before those of its open scopes. */
struct cancel *task_active_cancel(struct task *t)
{
    if (t->extra && t->extra->cancel.requested) return &t->extra->cancel;
    struct cancel *found = NULL;
    for (struct scope *s = t->scopes; s; s = s->outer)
        if (s->cancel.requested && !s->closing) found = &s->cancel; /* the outermost wins */
    return found;
}

void task_raise_cancelled(lua_State *L, struct task *t, const char *what)
{
    struct cancel *c = task_active_cancel(t);
    struct err e;
    err_set(&e, ERR_CANCELLED, "%s was cancelled: %s", what, c ? c->reason : "its scope has ended");
    if (c) c->pending = false;
    luax_push_err(L, &e);
    lua_pushstring(L, c ? c->reason : NULL);
    lua_setfield(L, -2, "reason");
    lua_error(L);
}

/* Ends the running task as soon as Lua goes on with it, without asking it. */
static void kill_current(struct task *t)
{
    t->killed = true;
    guard_hook_kill(t->vm->sched->innermost);
}

void task_refuse_if_cancelled(lua_State *L, struct task *t, const char *what)
{
    struct cancel *c = task_active_cancel(t);
    if (c == NULL) return;
    if (c->expired) {
        uint64_t now = clock_now_ms(sched_for(c)->clock);
        if (now >= c->grace_end_ms + LAST_CALL_MS) kill_current(t);
        task_raise_cancelled(L, t, what);
    }
    bool shielded = t->extra && t->extra->shield_ms > 0;
    if (c->pending && !shielded) task_raise_cancelled(L, t, what);
}

/* ---- task.shield ------------------------------------------------------------------------------------ */

uint64_t task_shield_enter(struct task *t, uint64_t ms)
{
    struct task_extra *extra = task_extra(t);
    uint64_t outer = extra->shield_ms;
    extra->shield_ms = ms;
    struct cancel *c = task_active_cancel(t);
    if (c && !c->expired) {
        uint64_t now = clock_now_ms(sched_for(c)->clock);
        if (now + ms > c->grace_end_ms) start_grace(c, ms);
    }
    return outer;
}

void task_shield_leave(struct task *t, uint64_t outer)
{
    task_extra(t)->shield_ms = outer;
}
