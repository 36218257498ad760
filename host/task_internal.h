/* task_internal.h - the structs that task*.c, vm*.c and bindings/task.c share.  Nobody else includes it.
 *
 * Ownership: a VM owns its root scope; a scope owns its tasks; a task owns its op and the scopes opened in
 * it.  A task's memory goes when it has completed; its Lua handle, if a script still holds one, keeps the
 * results.
 */
#ifndef PERIGEE_TASK_INTERNAL_H
#define PERIGEE_TASK_INTERNAL_H

#include <lauxlib.h>
#include <stdatomic.h>

#include "host/random.h"
#include "host/task.h"

enum task_state {
    TASK_READY,    /* on the ready list: to be started, resumed or drained */
    TASK_RUNNING,  /* the current task */
    TASK_PARKED,   /* waits for its op */
    TASK_DRAINING, /* its body has ended; children are still alive */
    TASK_DONE
};

/* A request to stop, for a task (task_cancel) or for the body of a scope (deadline, failed child). */
struct cancel {
    bool requested;
    bool pending; /* not raised yet */
    bool expired; /* the grace is over: each further wait raises */
    struct task *task;
    char *reason;
    uint64_t grace_end_ms;
    struct timer grace;
};

/* A child of an implicit scope that failed with nobody waiting: raised at the end of the scope. */
struct failure {
    struct list_node link;
    struct task_handle *handles; /* of the task, linked by next */
    int error_ref;
};

struct scope {
    struct scope *outer; /* next in task->scopes */
    struct task *owner;  /* NULL for the root scope of a VM */
    struct vm *vm;
    struct list_node tasks;
    struct list_node failures;
    size_t live;
    struct op *waiter;    /* the owner, waiting for live == 0 */
    struct cancel cancel; /* of the owner's body while the scope is open */
    struct timer deadline;
    uint64_t grace_ms;
    int error_ref;    /* first failed child of an explicit scope, or LUA_NOREF */
    bool is_explicit; /* made by task.scope: a failed child cancels the others */
    bool closing;
    bool timed_out;
    bool borrowed; /* a Lua userdata points at it and frees it */
};

/* What few tasks need, so that a million sleepers do not pay for it. */
struct task_extra {
    lua_State **chain; /* coroutines of the script between task->co and the innermost, outermost first */
    size_t chain_len, chain_cap;
    struct cancel cancel;
    char *traceback;    /* of the error that ended the body */
    uint64_t shield_ms; /* of the innermost task.shield the body is in; 0 = none */
    task_done_fn done;  /* C owner's callback */
    void *done_ctx;
};

struct task {
    struct list_node ready;
    struct list_node sibling; /* in scope->tasks */
    struct list_node joiners; /* ops waiting for the end */
    struct vm *vm;
    struct scope *scope;
    struct scope *scopes; /* opened in this task, innermost first */
    lua_State *co;
    struct op *op;    /* the one it waits for, or is about to */
    struct op *ended; /* the one it was just resumed for; released after the step */
    struct task_handle *handle;
    struct task_extra *extra;
    uint64_t id;
    int co_ref, locals_ref;
    int results; /* values on co's stack once the body has ended */
    enum task_state state : 8;
    bool started : 1;
    bool ok : 1;
    bool killed : 1;        /* to be ended without asking it */
    bool interruptible : 1; /* sched_interrupt_step may end it */
    bool interrupted : 1;   /* and did */
};

/* Lua's view of a task: class "perigee.task". */
struct task_handle {
    struct task *task;        /* NULL once completed */
    struct task_handle *next; /* another of the same task, while task or failure is set */
    struct failure *failure;
    uint64_t id;
    int result_ref; /* table {n = …} of results, or the error */
    bool ok, cancelled;
};

/* The watchdog's shared state; see task_guard.c. */
struct guard;

struct sched {
    struct loop *loop;
    struct clock *clock;
    struct timers *timers;
    struct random random;
    struct buckets *buckets;
    struct list_node ready;
    struct list_node vms;
    struct task *current;
    lua_State *volatile innermost; /* the coroutine that runs now: read by the watchdog's signal */
    struct guard *guard;
    struct transport *http; /* NULL until first used */
    uv_idle_t idle;         /* active while something is ready, so that poll does not block */
    uv_check_t check;
    int open_handles;
    bool idle_active;
    struct list_node children; /* VMs that scripts have started (host/vms.c) */
    size_t ended_children;     /* those whose record somebody still holds */
    bool dump_requested;
    bool reap; /* a VM has completed its last task and wants to be told */
    bool gc_stress;
    size_t real_ops; /* parked ops that only the outside world completes: hold virtual time */
    uint64_t next_task_id;
    uint64_t turn; /* of the loop */
};

struct vm {
    struct list_node link; /* in sched->vms */
    struct sched *sched;
    lua_State *L;
    char *name;
    struct scope root;
    size_t ready_count, live_count, parked_count;
    size_t wakers; /* what can wake a task though every task is parked */
    bool deadlocked;
    int exit_code; /* of os.exit; -1 = not called */
    uint64_t step_limit_ms;
    uint64_t slice_ns, used_ns; /* of a turn; used in the turn below */
    uint64_t turn;
    size_t most_tasks;
    bool condemned; /* its tasks end without Lua */
    const luaL_Reg *modules;
    void (*install)(lua_State *L, void *ctx);
    void *install_ctx;
    void (*emptied)(void *ctx); /* the last task has completed */
    void *emptied_ctx;
    struct buf warning; /* what Lua has told of one so far: it comes in pieces */

    /* memory account */
    size_t used, peak, cap;
    int uncapped;    /* host code at work: the cap does not apply */
    int fail_allocs; /* so many growing allocations fail */
    int refused;     /* in this step */
};

/* task.c */
void task_queue(struct task *t);
void task_resume_aborted(struct op *op);
struct task_extra *task_extra(struct task *t);
struct task *task_new(lua_State *L, struct scope *scope, int nargs);

void task_push_sentinel(lua_State *L);
void task_drop_op(struct task *t); /* one whose binding raised between op_new and op_park */

/* task_end.c */
void task_drain(
    struct task *t); /* the body is over: waits for the children, cancelled if it failed, then completes */
/* Ends a task without asking it: its coroutines are closed from the inside out, their <close> variables run
 * but cannot wait. */
void task_terminate(struct task *t, const struct err *why);
void task_end_killed(struct task *t);
void task_end_unstarted(struct task *t); /* cancelled before its first step: its function never runs */

/* task_scope.c */
void scope_init(struct scope *scope, struct vm *vm, struct task *owner);
void scope_deinit(struct scope *scope);
void scope_child_done(struct scope *scope, struct task *child);
void scope_cancel_tasks(struct scope *scope, const char *reason, uint64_t grace_ms);
struct scope *scope_innermost(struct task *t);
struct scope *scope_implicit(struct task *t);
void scope_remove(struct scope *scope);
bool task_has_children(const struct task *t);

void failure_free(lua_State *L, struct failure *f);
struct failure *scope_child_failed(struct scope *scope, struct task *child);
struct scope *scope_new(struct task *owner, uint64_t grace_ms);
void scope_start_deadline(struct scope *scope, uint64_t limit_ms);
int scope_wait(lua_State *L, struct scope *scope);

/* task_handle.c */
void task_handle_register(lua_State *L);
void task_handle_push(lua_State *L, struct task *t);
void task_handle_complete(struct task *t, struct failure *failure);
struct op *task_joiner_op(struct list_node *joiner);

/* task_cancel.c */
void cancel_request(struct cancel *c, struct task *t, const char *reason, uint64_t grace_ms);
void cancel_clear(struct cancel *c);
void task_cancel(struct task *t, const char *reason, uint64_t grace_ms);
uint64_t task_shield_enter(struct task *t, uint64_t ms);
void task_shield_leave(struct task *t, uint64_t outer);
struct cancel *task_active_cancel(struct task *t);
void task_refuse_if_cancelled(lua_State *L, struct task *t, const char *what);
void task_raise_cancelled(lua_State *L, struct task *t, const char *what);
void task_forget_cancels(struct task *t);

/* task_guard.c */
struct guard *guard_start(struct sched *s);
void guard_stop(struct guard *g);
void guard_enter(struct guard *g, uint64_t limit_ms);
void guard_set_limit(struct guard *g, uint64_t limit_ms); /* of the running step */
void guard_leave(struct guard *g, struct task *t);
void guard_hook_kill(lua_State *L);

/* vm.c: tells the owners of VMs whose last task has completed */
void sched_reap(struct sched *s);

/* vm_prelude.c */
void vm_push_prelude_tools(lua_State *L);
void vm_push_closed_tools(lua_State *L); /* [-0, +1, m] for prelude_closed.lua */

/* task_list.c */
void sched_dump(struct sched *s);
void vm_report_deadlock(struct vm *vm);

/* task_http.c: ends the shared transport, before the timers go. */
void sched_http_stop(struct sched *sched);

#endif
