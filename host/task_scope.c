/* task_scope.c - scopes: every task lives in one, and leaving one waits for its tasks.
 *
 * A task has an implicit scope for what it spawns (made on first use, left at the end of the body) and any
 * number of explicit ones.  A failed child of an explicit scope cancels the other children and the body;
 * one of an implicit scope is reported when somebody waits for it, at the latest when the scope is left.
 */
#include "host/task.h"

#include <stdio.h>

#include "host/log.h"
#include "host/luax.h"
#include "host/mem.h"
#include "host/task_internal.h"

enum { GRACE_MS = 5000 };

void scope_init(struct scope *scope, struct vm *vm, struct task *owner)
{
    scope->vm = vm;
    scope->owner = owner;
    scope->error_ref = LUA_NOREF;
    scope->grace_ms = GRACE_MS;
    scope->cancel.task = owner;
    list_init(&scope->tasks);
    list_init(&scope->failures);
    if (owner) {
        scope->outer = owner->scopes;
        owner->scopes = scope;
    }
}

/* It is reported, or somebody has seen it. */
void failure_free(lua_State *L, struct failure *f)
{
    for (struct task_handle *h = f->handles; h; h = h->next) h->failure = NULL;
    list_remove(&f->link);
    luaL_unref(L, LUA_REGISTRYINDEX, f->error_ref);
    mem_free(f);
}

static void free_failures(struct scope *scope)
{
    struct list_node *n;
    while ((n = list_first(&scope->failures)) != NULL)
        failure_free(scope->vm->L, LIST_ENTRY(n, struct failure, link));
}

void scope_deinit(struct scope *scope)
{
    free_failures(scope);
    cancel_clear(&scope->cancel);
    if (timer_active(&scope->deadline)) {
        timer_stop(scope->vm->sched->timers, &scope->deadline);
        scope->vm->wakers--;
    }
    luaL_unref(scope->vm->L, LUA_REGISTRYINDEX, scope->error_ref);
    scope->error_ref = LUA_NOREF;
}

struct scope *scope_new(struct task *owner, uint64_t grace_ms)
{
    struct scope *scope = mem_alloc(sizeof *scope);
    scope_init(scope, owner->vm, owner);
    scope->is_explicit = true;
    scope->borrowed = true;
    if (grace_ms) scope->grace_ms = grace_ms;
    return scope;
}

struct scope *scope_implicit(struct task *t)
{
    for (struct scope *s = t->scopes; s; s = s->outer)
        if (!s->is_explicit) return s;
    struct scope *scope = mem_alloc(sizeof *scope);
    scope_init(scope, t->vm, t);
    return scope;
}

/* Where a task's spawns go: the explicit scope opened last, else the implicit one. */
struct scope *scope_innermost(struct task *t)
{
    for (struct scope *s = t->scopes; s; s = s->outer)
        if (s->is_explicit && !s->closing) return s;
    return scope_implicit(t);
}

/* Takes the scope off its task; no child may be left.  A borrowed scope's memory goes with its userdata. */
void scope_remove(struct scope *scope)
{
    struct scope **at = &scope->owner->scopes;
    while (*at != scope) at = &(*at)->outer;
    *at = scope->outer;
    scope_deinit(scope);
    scope->owner = NULL;
    if (!scope->borrowed) mem_free(scope);
}

bool task_has_children(const struct task *t)
{
    for (const struct scope *s = t->scopes; s; s = s->outer)
        if (s->live > 0) return true;
    return false;
}

void scope_cancel_tasks(struct scope *scope, const char *reason, uint64_t grace_ms)
{
    struct list_node *n = scope->tasks.next;
    while (n != &scope->tasks) {
        struct task *child = LIST_ENTRY(n, struct task, sibling);
        n = n->next; /* a cancelled task only becomes ready: it leaves the list later */
        task_cancel(child, reason, grace_ms);
    }
}

/* The body of an explicit scope must stop: its own wait, and the tasks of scopes opened further in. */
static void interrupt_body(struct scope *scope, const char *reason)
{
    if (scope->owner == NULL || scope->closing) return;
    for (struct scope *s = scope->owner->scopes; s != scope; s = s->outer)
        if (s->is_explicit) scope_cancel_tasks(s, reason, scope->grace_ms);
    cancel_request(&scope->cancel, scope->owner, reason, scope->grace_ms);
}

static void on_deadline(struct timer *timer)
{
    struct scope *scope = LIST_ENTRY(timer, struct scope, deadline);
    scope->vm->wakers--;
    scope->timed_out = true;
    scope_cancel_tasks(scope, "the deadline has passed", scope->grace_ms);
    interrupt_body(scope, "the deadline has passed");
}

void scope_start_deadline(struct scope *scope, uint64_t limit_ms)
{
    scope->vm->wakers++;
    timer_start(scope->vm->sched->timers, &scope->deadline, limit_ms, on_deadline);
}

/* Remembers the failure of a child with nobody waiting for it.  Explicit scopes stop at the first one;
 * implicit ones keep a record, which a later wait on the task takes back. */
struct failure *scope_child_failed(struct scope *scope, struct task *child)
{
    lua_State *co = child->co;
    if (luax_is_err_kind(co, -1, ERR_CANCELLED) && task_active_cancel(child)) return NULL;
    if (scope->owner == NULL) return NULL; /* of the root: its C owner is told */
    lua_pushvalue(co, -1);
    int ref = luaL_ref(co, LUA_REGISTRYINDEX);
    if (!scope->is_explicit) {
        struct failure *f = mem_alloc(sizeof *f);
        f->error_ref = ref;
        list_append(&scope->failures, &f->link);
        return f;
    }
    if (scope->error_ref != LUA_NOREF) {
        luaL_unref(co, LUA_REGISTRYINDEX, ref);
        return NULL;
    }
    scope->error_ref = ref;
    scope_cancel_tasks(scope, "another task of the scope has failed", scope->grace_ms);
    interrupt_body(scope, "a task of the scope has failed");
    return NULL;
}

void scope_child_done(struct scope *scope, struct task *child)
{
    list_remove(&child->sibling);
    if (--scope->live > 0) return;
    if (scope->waiter) {
        struct op *waiter = scope->waiter;
        scope->waiter = NULL;
        op_complete(waiter);
    } else if (scope->owner && scope->owner->state == TASK_DRAINING && !task_has_children(scope->owner)) {
        task_queue(scope->owner);
    }
}

/* ---- waiting for the end of a scope ----------------------------------------------------------------- */

struct scope_op {
    struct op op;
    struct scope *scope;
};

static void scope_op_abort(struct op *op)
{
    ((struct scope_op *)op)->scope->waiter = NULL;
}

/* [-0, +0, e] the scope is over; raises what it ended with */
static int leave(lua_State *L, struct scope *scope)
{
    bool timed_out = scope->timed_out, failed = scope->error_ref != LUA_NOREF;
    lua_rawgeti(L, LUA_REGISTRYINDEX, scope->error_ref);
    struct task *owner = scope->owner;
    scope_remove(scope);
    if (failed) return lua_error(L);
    if (timed_out) {
        struct err e;
        err_set(&e, ERR_TIMEOUT, "the deadline of the scope has passed");
        err_set_code(&e, "deadline");
        luax_raise_err(L, &e);
    }
    task_refuse_if_cancelled(L, owner, "task.scope"); /* told to stop while its tasks were ending */
    return 0;
}

/* [-0, +0, e] all children have ended */
static int scope_finish(lua_State *L, struct op *op)
{
    return leave(L, ((struct scope_op *)op)->scope);
}

static void scope_describe(const struct op *op, struct buf *out)
{
    buf_printf(out, "%zu task(s) of its scope", ((const struct scope_op *)op)->scope->live);
}

static const struct op_type scope_wait_type = {
    .name = "task.scope",
    .internal = true,
    .stays = true,
    .abort = scope_op_abort,
    .finish = scope_finish,
    .describe = scope_describe,
};

int scope_wait(lua_State *L, struct scope *scope)
{
    scope->closing = true;
    if (scope->live == 0) return leave(L, scope);
    struct scope_op *w = op_new(L, &scope_wait_type, sizeof *w);
    w->scope = scope;
    scope->waiter = &w->op;
    return op_park(L, &w->op);
}
