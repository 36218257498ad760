/* task.h - tasks, ops, scopes and the scheduler: how a C callback brings a script back.
 *
 * A task is a Lua coroutine with an owner.  Everything it waits for is an op: C memory with a type that
 * knows how to abort it, how to turn its result into Lua values, and how to free it.
 *
 *   binding    op = op_new(L, &type, size);  start the engine;  return op_park(L, op);
 *   callback   fill the op;  op_complete(op);                   (no Lua, no resume)
 *   scheduler  resumes the task; the continuation calls type->finish; afterwards type->release
 *
 * Rules that every op type keeps: no lua_* call in a callback; the op points at its task, never at a
 * lua_State; finish may raise and therefore frees nothing; release frees everything and never raises.
 * Loop thread only.
 */
#ifndef PERIGEE_TASK_H
#define PERIGEE_TASK_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "host/buf.h"
#include "host/err.h"
#include "host/list.h"
#include "host/timers.h"

struct sched;
struct scope;
struct task;
struct vm;
struct op;

/* ---- ops ---------------------------------------------------------------------------------------------- */

struct op_type {
    const char *name; /* "task.sleep": shown in task lists, errors and logs */

    /* Only another task of the VM can complete it (join, lock, queue): such waits alone are a deadlock. */
    bool internal;

    /* Completed by a timer of the clock and nothing else: a virtual clock may move on while it waits. */
    bool timed;

    /* The wait for a scope's own tasks: cancelling goes to them instead, and the wait goes on. */
    bool stays;

    /* Stops the outside work at once.  Called only while the op is parked and not completed; afterwards
     * the engine must never touch the op.  Must not call op_complete. */
    void (*abort)(struct op *op);

    /* [-0, +n, e] pushes the results and returns n; runs inside lua_resume, so it may raise (also
     * luax_raise_err of a failure kept in the op) and must not free. */
    int (*finish)(lua_State *L, struct op *op);

    /* Frees what the op holds, not the op itself.  May be NULL.  Called once, after abort or finish, or
     * when the binding raised between op_new and op_park. */
    void (*release)(struct op *op);

    /* Appends what it waits for ("GET http://host/path"); may be NULL.  No secrets. */
    void (*describe)(const struct op *op, struct buf *out);
};

/* First member of every op struct; zeroed but for type and task. */
struct op {
    const struct op_type *type;
    struct task *task;
    bool done;    /* completed; the result is in the op */
    bool parked;  /* the task has yielded on it */
    bool aborted; /* ended by cancel, not by its engine */
};

/* [-0, +0, e] a zeroed op of `size` bytes, attached to the current task at once (so that it is released
 * whatever happens next).  Raises if the caller is no task, may not wait here (table.sort, string.gsub,
 * require, __gc, …), or is cancelled and out of its grace. */
void *op_new(lua_State *L, const struct op_type *type, size_t size);

/* Waits for the op: always `return op_park(L, op);`.  Also right if the op is completed already. */
int op_park(lua_State *L, struct op *op);

/* The op has its result: queues the task and returns at once.  At most once for each op. */
void op_complete(struct op *op);

/* [-0, +0, e] raises `cancelled` if the current task was told to stop, grace or not: the first thing a
 * paid call does. */
void task_check_not_cancelled(lua_State *L, const char *what);

/* ---- surroundings ------------------------------------------------------------------------------------- */

/* The VM, scheduler and timers the code runs in. */
struct vm *vm_of(lua_State *L);
struct sched *vm_sched(struct vm *vm);
struct timers *sched_timers(struct sched *sched);
struct loop *sched_loop(struct sched *sched);
struct clock *sched_clock(struct sched *sched);
struct random *sched_random(struct sched *sched);

/* What the retries of all VMs take from (host/bucket.h). */
struct buckets;
struct buckets *sched_buckets(struct sched *sched);

/* The network transport that all VMs of the scheduler share, made on first use (host/http.h). */
struct transport;
struct transport *sched_http(struct sched *sched);

/* libuv handles that it keeps open between requests: no leak. */
unsigned sched_http_handles(const struct sched *sched);

/* Tasks that have not completed, and VMs that exist, all together. */
size_t sched_task_count(const struct sched *sched);
size_t sched_vm_count(const struct sched *sched);

/* When the watchdog has to end the process, it leaves the VM's name and the traceback in this file; NULL:
 * nowhere. */
void sched_note_stuck(struct sched *sched, const char *path);

/* The running task lets sched_interrupt_step end it. */
void sched_mark_interruptible(struct sched *sched);

/* Async-signal-safe: a task that was marked, and computes now, is ended unless its step is over soon; with an
 * error of kind cancelled, code interrupted.  On another thread than the loop's it does nothing. */
void sched_interrupt_step(void);

/* The running task, or NULL outside of tasks. */
struct task *sched_current(struct sched *sched);

/* [-0, +0, m] for the scheduler: the error at 1 ends a task, its traceback is on top of the stack. */
void task_keep_origin(lua_State *L);

/* [-0, +1, m] the traceback of the task in which the error at index was first raised, as far as the VM
 * remembers, or nil. */
void task_push_origin(lua_State *L, int index);

/* [-0, +1, m] the task-local value of that name of the running task, or nil. */
void task_push_local(lua_State *L, const char *name);

/* [-0, +1, m] a list of {task=, waits=, value=} of the VM's tasks that have the task-local value of that
 * name, outer ones before those in their scopes. */
void task_push_list(lua_State *L, const char *name);

/* ---- the scheduler ------------------------------------------------------------------------------------ */

/* One for each loop; seed feeds every jitter and fault of the process. */
struct sched *sched_new(struct loop *loop, struct clock *clock, uint64_t seed);

/* All VMs must be gone; handles close when the loop has turned. */
void sched_free(struct sched *sched);

/* Prints every parked task with what it waits for and its traceback to standard error, at the next turn
 * of the loop: may be called from a signal event. */
void sched_request_dump(struct sched *sched);

/* Called from the scheduler when a task started by vm_start has completed; results (or the one error
 * value) are on the stack of L, which is valid during the call only. */
typedef void (*task_done_fn)(void *ctx, lua_State *L, bool ok, int results, const char *traceback);

/* Cancels every task of the VM; each gets grace_ms for its clean-up, then is ended. */
void vm_stop(struct vm *vm, const char *reason, uint64_t grace_ms);

/* Ends every task without asking it: no Lua of the VM runs any more, not even <close> variables.  For a VM
 * that was told to stop and has no memory, or no mind, to do so. */
void vm_condemn(struct vm *vm);

/* Counts a thing of the VM that may wake tasks by itself though no task waits on it now (a listening
 * server, an attached console): while the count is above 0 the VM is not deadlocked. */
void vm_source_add(struct vm *vm, int change);

#endif
