/* vms.c - from the start of a child VM to the end of its last task. */
#include "host/vms.h"

#include "host/channel.h"
#include "host/luax.h"
#include "host/mem.h"
#include "host/plain.h"
#include "host/task_internal.h"

enum { MAIN_GRACE_MS = 5000 };

/* ---- the end ------------------------------------------------------------------------------------------ */

void vms_release(struct child_vm *child)
{
    if (--child->refs > 0) return;
    child->sched->ended_children--; /* its VM holds a reference until then */
    buf_deinit(&child->error);
    mem_free(child->traceback);
    mem_free(child);
}

static void keep_error(struct child_vm *child, lua_State *L, const char *traceback)
{
    struct err err;
    if (plain_write(L, -1, &child->error, &err) != 0) { /* an error value that is no plain data */
        buf_clear(&child->error);
        lua_pushstring(L, luax_error_text(L, -1));
        plain_write(L, -1, &child->error, &err);
        lua_pop(L, 1);
    }
    if (traceback) child->traceback = mem_strdup(traceback);
}

static void on_main_done(void *ctx, lua_State *L, bool ok, int results, const char *traceback)
{
    struct child_vm *child = ctx;
    child->main_done = true;
    child->ok = ok;
    if (!ok && results > 0) keep_error(child, L, traceback);
    vm_stop(child->vm, "the main function of its VM has ended", MAIN_GRACE_MS);
}

/* The last task has completed: the Lua state goes now, the record with its last handle. */
static void free_state(struct child_vm *child)
{
    struct vm *vm = child->vm;
    child->peak = vm_memory_peak(vm);
    child->vm = NULL;
    vm_free(vm); /* closes its end of the channel, which wakes the other */
    mem_trim();
    struct list_node *n;
    while ((n = list_pop(&child->waiters)) != NULL) op_complete(&LIST_ENTRY(n, struct child_wait, link)->op);
    list_remove(&child->link);
    child->sched->ended_children++;
    vms_release(child);
}

static void on_emptied(void *ctx)
{
    free_state(ctx);
}

void vms_stop(struct child_vm *child, const char *reason, uint64_t grace_ms)
{
    if (child->vm) vm_stop(child->vm, reason, grace_ms);
}

void vms_kill(struct child_vm *child, const char *reason)
{
    if (child->vm == NULL) return;
    vm_stop(child->vm, reason, 0);
    vm_condemn(child->vm);
}

void vms_stop_all(struct sched *sched, const char *reason, uint64_t grace_ms)
{
    for (struct list_node *n = sched->children.next; n != &sched->children; n = n->next)
        vms_stop(LIST_ENTRY(n, struct child_vm, link), reason, grace_ms);
}

void vms_free_all(struct sched *sched)
{
    while (!list_empty(&sched->children))
        free_state(LIST_ENTRY(list_first(&sched->children), struct child_vm, link));
}

/* ---- the start ---------------------------------------------------------------------------------------- */

static int main_returned(lua_State *L, int status, lua_KContext context)
{
    (void)L, (void)status, (void)context;
    return 0;
}

/* The first task: (channel, module, args as bytes). */
static int l_main(lua_State *L)
{
    size_t len;
    const char *args = luaL_checklstring(L, 3, &len);
    lua_getglobal(L, "require");
    lua_pushvalue(L, 2);
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "main");
    lua_pushvalue(L, 1);
    plain_read(L, args, len);
    lua_callk(L, 2, 0, 0, main_returned);
    return 0;
}

struct child_vm *vms_start(lua_State *L, const struct child_config *config)
{
    struct vm *parent = vm_of(L);
    struct sched *sched = vm_sched(parent);
    struct child_vm *child = mem_alloc(sizeof *child);
    struct vm_config vm_config = {.name = config->name,
                                  .memory_cap = config->memory_cap,
                                  .step_limit_ms = config->step_limit_ms,
                                  .slice_ms = config->slice_ms,
                                  .most_tasks = config->most_tasks,
                                  .allowed = config->allowed,
                                  .emptied = on_emptied,
                                  .emptied_ctx = child};
    vm_copy_surroundings(parent, &vm_config);
    list_init(&child->waiters);
    child->sched = sched;
    child->vm = vm_new(sched, &vm_config);
    child->refs = 2; /* the VM's and the caller's */
    list_append(&sched->children, &child->link);
    lua_State *own = vm_state(child->vm);
    vm_lift_cap(child->vm, true);
    lua_pushcfunction(own, l_main);
    channel_push_ends(L, own, config->capacity, config->most_bytes);
    lua_pushstring(own, config->module);
    lua_pushlstring(own, config->args->data ? config->args->data : "", config->args->len);
    vm_start(child->vm, 3, on_main_done, child);
    vm_lift_cap(child->vm, false);
    return child;
}
