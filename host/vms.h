/* vms.h - VMs that a script has started: made, watched, ended, freed.
 *
 * A child VM runs one function of one module, main(channel, args), as its first task; when that has
 * returned, what it left behind is cancelled.  When the last task has completed the Lua state is freed; what
 * is known of its end stays until the last handle is gone.  Loop thread only.
 */
#ifndef PERIGEE_VMS_H
#define PERIGEE_VMS_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/buf.h"
#include "host/list.h"
#include "host/task.h"
#include "host/vm.h"

/* Lives while its VM does or a handle of it does. */
struct child_vm {
    struct list_node link; /* in the scheduler's list */
    struct sched *sched;
    struct vm *vm; /* NULL: ended and freed */
    int refs;
    size_t peak; /* memory, once ended */
    bool ok;     /* its main has returned */
    bool main_done;
    struct buf error;         /* plain data: what its main raised */
    char *traceback;          /* of that; may be NULL */
    struct list_node waiters; /* ops, completed when the VM has ended */
};

/* Waits for the end of a child; on child->waiters. */
struct child_wait {
    struct op op;
    struct list_node link;
    struct child_vm *child;
};

struct child_config {
    const char *name;
    const char *module;
    const struct buf *args;     /* plain data */
    size_t memory_cap;          /* 0: as for every VM */
    uint64_t step_limit_ms;     /* 0: as for every VM */
    uint64_t slice_ms;          /* of a turn of the loop; 0: no limit */
    size_t most_tasks;          /* 0: no limit */
    size_t capacity;            /* of its channel */
    size_t most_bytes;          /* of one message from it; 0: any */
    const char *const *allowed; /* a closed VM with these C modules (host/vm.h); NULL: an open one */
};

/* [-0, +1, m] starts a VM beside L's own and pushes L's end of its channel.  Never NULL; the caller gets a
 * reference. */
struct child_vm *vms_start(lua_State *L, const struct child_config *config);

/* Gives a reference back. */
void vms_release(struct child_vm *child);

/* Cancels every task of the child; each gets grace_ms. */
void vms_stop(struct child_vm *child, const char *reason, uint64_t grace_ms);

/* Ends it without asking its tasks: no Lua of it runs any more. */
void vms_kill(struct child_vm *child, const char *reason);

/* vms_stop for all children of the scheduler. */
void vms_stop_all(struct sched *sched, const char *reason, uint64_t grace_ms);

/* Frees the Lua states of all children; their tasks must have completed. */
void vms_free_all(struct sched *sched);

#endif
