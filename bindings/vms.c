/* vms.c - perigee.core.vms: VMs that a script starts, each a trust domain with its own memory and time.
 *
 *   start(options) -> vm    options: name, module (its main(channel, args) is the first task), args (plain
 *                           data), memory (bytes), step (seconds without waiting), capacity (of the channel),
 *                           message (most bytes of one that it sends), slice (processor seconds at each
 *                           turn of the loop), tasks (most at once), modules (a list of names: a closed VM,
 *                           which has no C modules but these; host/vm.h)
 *   vm:channel()            this side's end of its channel
 *   vm:stop(reason, grace)  cancels its tasks; after grace seconds (default 5) they are ended
 *   vm:kill(reason)         ends its tasks without asking them: no Lua of it runs any more
 *   vm:wait()               until its last task has completed: true, or false, error, traceback
 *   vm:status()             {name, tasks, memory, peak, ended, ok, error, traceback}
 *
 * The engine is host/vms.c.  Dropping the handle does not stop the VM: the channel's end that goes with it
 * is what its main notices.
 */
#include "bindings/modules.h"

#include <string.h>

#include "host/luax.h"
#include "host/mem.h"
#include "host/plain.h"
#include "host/vms.h"

static const char vm_class[] = "perigee.vm";

enum { GRACE_MS = 5000, CAPACITY = 64, LEAST_MEMORY = 2 * 1024 * 1024 };

/* User value 1: the channel's end; 2: the name. */
struct handle {
    struct child_vm *child; /* NULL: not started */
};

static struct handle *check_handle(lua_State *L)
{
    return luaL_checkudata(L, 1, vm_class);
}

/* [-0, +0, e] the plain data in field "args" */
static void write_args(lua_State *L, int options, struct buf *out)
{
    struct err err;
    lua_getfield(L, options, "args");
    if (plain_write(L, -1, out, &err) != 0) luax_raise_err(L, &err);
    lua_pop(L, 1);
}

/* [-0, +2, e] the names in field "modules" as a list that ends with NULL, kept alive by the stack; NULL: none
 * is given */
static const char *const *check_allowed(lua_State *L, int options, const char *who)
{
    int type = lua_getfield(L, options, "modules");
    if (type != LUA_TTABLE && type != LUA_TNIL) luax_invalid(L, "%s: modules is a list of names", who);
    size_t n = type == LUA_TTABLE ? lua_rawlen(L, -1) : 0;
    const char **names = lua_newuserdatauv(L, (n + 1) * sizeof *names, 0);
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, -2, (lua_Integer)i + 1);
        names[i] = luax_string(L, -1, NULL);
        const luaL_Reg *known = binding_modules;
        while (names[i] && known->name && strcmp(known->name, names[i]) != 0) known++;
        if (names[i] == NULL || known->name == NULL)
            luax_invalid(L, "%s: modules[%d] is no module of the program", who, (int)i + 1);
        names[i] = known->name; /* outlives the table */
        lua_pop(L, 1);
    }
    names[n] = NULL;
    return type == LUA_TTABLE ? names : NULL;
}

static int l_start(lua_State *L)
{
    static const char who[] = "vms.start";
    static const char *const fields[] = {"name",    "module",  "args",  "memory", "step", "capacity",
                                         "message", "modules", "slice", "tasks",  NULL};
    luax_check_options(L, 1, who, fields);
    struct buf *args = luax_new_buf(L);
    write_args(L, 1, args);
    struct child_config config = {.args = args};
    config.memory_cap = (size_t)luax_opt_integer(L, 1, who, "memory", 0, LEAST_MEMORY, (lua_Integer)1 << 46);
    config.step_limit_ms = luax_opt_duration(L, 1, who, "step", 0);
    config.capacity = (size_t)luax_opt_integer(L, 1, who, "capacity", CAPACITY, 1, 1 << 20);
    config.slice_ms = luax_opt_duration(L, 1, who, "slice", 0);
    config.most_tasks = (size_t)luax_opt_integer(L, 1, who, "tasks", 0, 1, 1 << 30);
    config.most_bytes = (size_t)luax_opt_integer(L, 1, who, "message", 0, 1024, 1 << 30);
    config.allowed = check_allowed(L, 1, who);
    config.module = luax_opt_string(L, 1, who, "module", NULL, NULL);
    config.name = luax_opt_string(L, 1, who, "name", NULL, config.module);
    if (config.module == NULL) luax_invalid(L, "%s: module is needed", who);
    struct handle *handle = lua_newuserdatauv(L, sizeof *handle, 2);
    handle->child = NULL;
    luaL_setmetatable(L, vm_class);
    lua_pushstring(L, config.name);
    lua_setiuservalue(L, -2, 2);
    handle->child = vms_start(L, &config);
    lua_setiuservalue(L, -2, 1);
    return 1;
}

static int l_channel(lua_State *L)
{
    check_handle(L);
    lua_getiuservalue(L, 1, 1);
    return 1;
}

static int l_stop(lua_State *L)
{
    struct handle *handle = check_handle(L);
    const char *reason = luaL_optstring(L, 2, "stopped");
    uint64_t grace_ms = lua_isnoneornil(L, 3) ? GRACE_MS : luax_check_duration(L, 3, "vm:stop: grace");
    vms_stop(handle->child, reason, grace_ms);
    return 0;
}

static int l_kill(lua_State *L)
{
    struct handle *handle = check_handle(L);
    vms_kill(handle->child, luaL_optstring(L, 2, "killed"));
    return 0;
}

/* [-0, +1, m] */
static void push_error(lua_State *L, const struct child_vm *child)
{
    if (child->error.len > 0)
        plain_read(L, child->error.data, child->error.len);
    else
        lua_pushnil(L);
}

static void wait_abort(struct op *op)
{
    list_remove(&((struct child_wait *)op)->link);
}

static void wait_release(struct op *op)
{
    struct child_wait *w = (struct child_wait *)op;
    if (w->child) vms_release(w->child);
}

static int wait_finish(lua_State *L, struct op *op)
{
    const struct child_vm *child = ((struct child_wait *)op)->child;
    lua_pushboolean(L, child->ok);
    if (child->ok) return 1;
    push_error(L, child);
    lua_pushstring(L, child->traceback);
    return 3;
}

static const struct op_type wait_type = {
    .name = "vm:wait",
    .timed = true, /* the other VM is on the same clock */
    .abort = wait_abort,
    .finish = wait_finish,
    .release = wait_release,
};

static int l_wait(lua_State *L)
{
    struct child_vm *child = check_handle(L)->child;
    struct child_wait *op = op_new(L, &wait_type, sizeof *op);
    op->child = child;
    child->refs++;
    if (child->vm)
        list_append(&child->waiters, &op->link);
    else
        op_complete(&op->op);
    return op_park(L, &op->op);
}

static int l_status(lua_State *L)
{
    const struct child_vm *child = check_handle(L)->child;
    const struct vm *vm = child->vm;
    lua_createtable(L, 0, 8);
    lua_getiuservalue(L, 1, 2);
    lua_setfield(L, -2, "name");
    lua_pushinteger(L, vm ? (lua_Integer)vm_task_count(vm) : 0);
    lua_setfield(L, -2, "tasks");
    lua_pushinteger(L, vm ? (lua_Integer)vm_memory(vm) : 0);
    lua_setfield(L, -2, "memory");
    lua_pushinteger(L, (lua_Integer)(vm ? vm_memory_peak(vm) : child->peak));
    lua_setfield(L, -2, "peak");
    lua_pushboolean(L, vm == NULL);
    lua_setfield(L, -2, "ended");
    lua_pushboolean(L, child->ok);
    lua_setfield(L, -2, "ok");
    push_error(L, child);
    lua_setfield(L, -2, "error");
    lua_pushstring(L, child->traceback);
    lua_setfield(L, -2, "traceback");
    return 1;
}

static int l_gc(lua_State *L)
{
    struct handle *handle = check_handle(L);
    if (handle->child) vms_release(handle->child);
    handle->child = NULL;
    return 0;
}

int luaopen_perigee_core_vms(lua_State *L)
{
    static const luaL_Reg methods[] = {{"channel", l_channel}, {"stop", l_stop},     {"kill", l_kill},
                                       {"wait", l_wait},       {"status", l_status}, {NULL, NULL}};
    static const luaL_Reg metamethods[] = {{"__gc", l_gc}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"start", l_start}, {NULL, NULL}};
    luax_class(L, vm_class, methods, metamethods);
    luaL_newlib(L, functions);
    return 1;
}
