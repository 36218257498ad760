/* task_handle.c - what scripts hold of a task: wait, cancel, status.
 *
 * The handle keeps the results once the task has completed; a task whose handle is gone keeps none.
 */
#include "host/task.h"

#include <stdio.h>

#include "host/luax.h"
#include "host/mem.h"
#include "host/task_internal.h"

static const char handle_class[] = "perigee.task";

/* ---- waiting for the end ---------------------------------------------------------------------------- */

struct join_op {
    struct op op;
    struct list_node link;
    struct task_handle *handle; /* kept alive by the caller's stack */
};

struct op *task_joiner_op(struct list_node *joiner)
{
    return &LIST_ENTRY(joiner, struct join_op, link)->op;
}

static void join_abort(struct op *op)
{
    list_remove(&((struct join_op *)op)->link);
}

/* [-0, +n, e] the results, or raises the task's error */
static int push_results(lua_State *L, struct task_handle *h)
{
    if (h->failure) failure_free(L, h->failure); /* somebody has seen it: it is not reported again */
    lua_rawgeti(L, LUA_REGISTRYINDEX, h->result_ref);
    if (!h->ok) return lua_error(L);
    int table = lua_gettop(L);
    lua_getfield(L, table, "n");
    int n = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
    luaL_checkstack(L, n, "task results");
    for (int i = 1; i <= n; i++) lua_rawgeti(L, table, i);
    return n;
}

static int join_finish(lua_State *L, struct op *op)
{
    return push_results(L, ((struct join_op *)op)->handle);
}

static void join_describe(const struct op *op, struct buf *out)
{
    buf_printf(out, "task %llu", (unsigned long long)((const struct join_op *)op)->handle->id);
}

static const struct op_type join_type = {
    .name = "task:wait",
    .internal = true,
    .abort = join_abort,
    .finish = join_finish,
    .describe = join_describe,
};

static struct task_handle *check_handle(lua_State *L, int index)
{
    return luaL_checkudata(L, index, handle_class);
}

static int l_wait(lua_State *L)
{
    struct task_handle *h = check_handle(L, 1);
    if (h->task == NULL) return push_results(L, h);
    if (h->task == vm_of(L)->sched->current) luax_invalid(L, "task:wait: a task cannot wait for itself");
    struct join_op *op = op_new(L, &join_type, sizeof *op);
    op->handle = h;
    list_append(&h->task->joiners, &op->link);
    return op_park(L, &op->op);
}

/* ---- the other methods ------------------------------------------------------------------------------ */

static int l_cancel(lua_State *L)
{
    struct task_handle *h = check_handle(L, 1);
    const char *reason = luaL_optstring(L, 2, "cancelled by the script");
    if (h->task) task_cancel(h->task, reason, h->task->scope->grace_ms);
    lua_settop(L, 1);
    return 1;
}

static const char *status_of(const struct task_handle *h)
{
    if (h->task == NULL) return h->ok ? "done" : h->cancelled ? "cancelled" : "failed";
    switch (h->task->state) {
    case TASK_RUNNING: return "running";
    case TASK_PARKED:
    case TASK_DRAINING: return "waiting";
    default: return "ready";
    }
}

static int l_status(lua_State *L)
{
    lua_pushstring(L, status_of(check_handle(L, 1)));
    return 1;
}

static int l_id(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)check_handle(L, 1)->id);
    return 1;
}

static int l_tostring(lua_State *L)
{
    struct task_handle *h = check_handle(L, 1);
    lua_pushfstring(L, "task %I (%s)", (LUAI_UACINT)h->id, status_of(h));
    return 1;
}

static int l_gc(lua_State *L)
{
    struct task_handle *h = check_handle(L, 1);
    struct task_handle **at = h->task ? &h->task->handle : h->failure ? &h->failure->handles : NULL;
    if (at) {
        while (*at != h) at = &(*at)->next;
        *at = h->next;
    }
    luaL_unref(L, LUA_REGISTRYINDEX, h->result_ref);
    h->result_ref = LUA_NOREF;
    h->task = NULL;
    h->failure = NULL;
    return 0;
}

void task_handle_register(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"wait", l_wait}, {"cancel", l_cancel}, {"status", l_status}, {"id", l_id}, {NULL, NULL}};
    static const luaL_Reg meta[] = {{"__gc", l_gc}, {"__tostring", l_tostring}, {NULL, NULL}};
    luax_class(L, handle_class, methods, meta);
}

/* [-0, +1, m] a handle of the task */
void task_handle_push(lua_State *L, struct task *t)
{
    struct task_handle *h = luax_new(L, handle_class, sizeof *h);
    h->result_ref = LUA_NOREF;
    h->id = t->id;
    h->task = t;
    h->next = t->handle;
    t->handle = h;
}

/* [-0, +1, m] on the task's own stack: {n = …} of its results, or its error */
static void push_outcome(struct task *t)
{
    lua_State *co = t->co;
    lua_checkstack(co, 4);
    if (!t->ok) {
        lua_pushvalue(co, -1);
        return;
    }
    lua_createtable(co, t->results, 1);
    for (int i = 1; i <= t->results; i++) {
        lua_pushvalue(co, -2 - t->results + i);
        lua_rawseti(co, -2, i);
    }
    lua_pushinteger(co, t->results);
    lua_setfield(co, -2, "n");
}

void task_handle_complete(struct task *t, struct failure *failure)
{
    if (t->handle == NULL) return;
    push_outcome(t);
    for (struct task_handle *h = t->handle; h; h = h->next) {
        h->task = NULL;
        h->ok = t->ok;
        h->cancelled = luax_is_err_kind(t->co, -1, ERR_CANCELLED);
        lua_pushvalue(t->co, -1);
        h->result_ref = luaL_ref(t->co, LUA_REGISTRYINDEX);
        h->failure = failure;
    }
    if (failure) failure->handles = t->handle;
    lua_pop(t->co, 1);
}
