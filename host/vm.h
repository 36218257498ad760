/* vm.h - one Lua state with its own memory account, libraries and tasks: one for each trust domain.
 *
 * VMs share the loop and the scheduler, and nothing else; there is no static state, so that one can be
 * ended for its memory or its time while the others go on.
 */
#ifndef PERIGEE_VM_H
#define PERIGEE_VM_H

#include <lauxlib.h>
#include <lua.h>

#include "host/err.h"
#include "host/task.h"

struct vm_config {
    const char *name;       /* in logs and task lists: "script", "emulator" */
    size_t memory_cap;      /* bytes of Lua memory; 0 = half of the machine, at least 1 GiB */
    uint64_t step_limit_ms; /* longest run of a task without waiting; 0 = 10 s */
    uint64_t slice_ms;      /* processor time at each turn of the loop, but one step at least; 0 = no limit */
    size_t most_tasks;      /* that have not completed, beyond which none is started; 0 = no limit */
    const luaL_Reg *modules; /* C modules for require, ends with {NULL, NULL} */
    const char *script_dir;  /* require also looks here; may be NULL */
    /* A closed VM: of the C modules only these are there (ends with NULL; copied into the state), no engine
     * of the process is installed, and of the standard libraries nothing that reads or writes files, loads
     * binary chunks, looks into other functions, or computes where no hook and no allocation comes by.
     * NULL: an open VM. */
    const char *const *allowed;
    /* [-0, +0, e] gives the VM access to the engines of the process; may be NULL. */
    void (*install)(lua_State *L, void *ctx);
    void *install_ctx;
    /* Called by the scheduler when the VM's last task has completed: may free the VM.  May be NULL. */
    void (*emptied)(void *ctx);
    void *emptied_ctx;
};

/* Never NULL; a Lua state that cannot be made ends the process. */
struct vm *vm_new(struct sched *sched, const struct vm_config *config);

/* The same modules and engines as vm has, for another VM beside it. */
void vm_copy_surroundings(const struct vm *vm, struct vm_config *config);

/* All tasks must have completed (vm_stop, then run the loop).  Runs the state's finalizers. */
void vm_free(struct vm *vm);

const char *vm_name(const struct vm *vm);

/* The main Lua state: for main.c to load a script or set globals under lua_pcall; never for running one. */
lua_State *vm_state(struct vm *vm);

/* Takes the function and nargs arguments from the top of vm_state(vm) and starts a task with them in the
 * VM's root scope.  [-(nargs + 1), +0, m] */
struct task *vm_start(struct vm *vm, int nargs, task_done_fn done, void *ctx);

/* Tasks that have not completed. */
size_t vm_task_count(const struct vm *vm);

/* True if the VM was stopped because no task of it could ever go on. */
bool vm_deadlocked(const struct vm *vm);

/* The code given to os.exit, or -1. */
int vm_exit_code(const struct vm *vm);

/* Lua memory in use and at its highest, in bytes, C buffers that were accounted included. */
size_t vm_memory(const struct vm *vm);
size_t vm_memory_peak(const struct vm *vm);

/* Memory that is counted and not refused meanwhile, while on: host code at work in the VM. */
void vm_lift_cap(struct vm *vm, bool on);

/* Another cap from now on, in bytes. */
void vm_set_memory_cap(struct vm *vm, size_t bytes);

/* The longest a task may run without waiting, from now on; 0 = 10 s. */
void vm_set_step_limit(struct vm *vm, uint64_t limit_ms);

/* Adds to the account (negative: gives back) what C code holds on behalf of a script.  False if the cap
 * does not allow it: nothing was added. */
bool vm_account(struct vm *vm, ptrdiff_t bytes);

#endif
