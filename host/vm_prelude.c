/* vm_prelude.c - the C half of scripts/lib/prelude.lua, which adapts the standard libraries to tasks.
 *
 * The prelude's coroutine.resume and wrap are Lua over the raw functions; what runs inside what is told
 * to the task here, so that the watchdog, tracebacks and the end of a task know the innermost coroutine.
 */
#include "host/vm.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/buf.h"
#include "host/luax.h"
#include "host/mem.h"
#include "host/task_internal.h"

/* enter(co): the task goes on inside co.  [-0, +0, m] */
static int l_enter(lua_State *L)
{
    struct sched *s = vm_of(L)->sched;
    struct task *t = s->current;
    lua_State *co = lua_tothread(L, 1);
    if (t == NULL || co == NULL) return 0;
    struct task_extra *extra = task_extra(t);
    if (extra->chain_len == extra->chain_cap) {
        extra->chain_cap = extra->chain_cap ? extra->chain_cap * 2 : 4;
        extra->chain = mem_realloc(extra->chain, extra->chain_cap * sizeof(lua_State *));
    }
    extra->chain[extra->chain_len++] = co;
    s->innermost = co;
    if (t->killed) guard_hook_kill(co);
    return 0;
}

/* leave(): co has yielded a value, returned or failed; the task goes on outside of it. */
static int l_leave(lua_State *L)
{
    struct sched *s = vm_of(L)->sched;
    struct task *t = s->current;
    if (t == NULL || t->extra == NULL || t->extra->chain_len == 0) return 0;
    t->extra->chain_len--;
    s->innermost = t->extra->chain_len ? t->extra->chain[t->extra->chain_len - 1] : t->co;
    if (t->killed) guard_hook_kill(s->innermost);
    return 0;
}

/* killed() -> true if the running task is being ended: a yield of nothing then goes up to the host. */
static int l_killed(lua_State *L)
{
    struct task *t = vm_of(L)->sched->current;
    lua_pushboolean(L, t && t->killed);
    return 1;
}

/* wall() -> seconds since 1970 by the clock of the host. */
static int l_wall(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)clock_wall_ms(vm_of(L)->sched->clock) / 1000);
    return 1;
}

static int l_cpu(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)clock_cpu_ns(vm_of(L)->sched->clock) / 1e9);
    return 1;
}

/* exit(code): records it and cancels every task of the VM, the caller's wait included. */
static int l_exit(lua_State *L)
{
    struct vm *vm = vm_of(L);
    if (vm->exit_code < 0) vm->exit_code = (int)luaL_checkinteger(L, 1) & 255;
    vm_stop(vm, "os.exit", vm->root.grace_ms);
    if (vm->sched->current) task_raise_cancelled(L, vm->sched->current, "os.exit");
    return 0;
}

/* tmpname() -> the name of a new, empty file of ours alone, in TMPDIR or /tmp: the C library's knows only
 * /tmp. */
static int l_tmpname(lua_State *L)
{
    const char *folder = getenv("TMPDIR");
    struct buf path = {0};
    buf_printf(&path, "%s/lua_XXXXXX", folder && folder[0] == '/' ? folder : "/tmp");
    char name[4096];
    bool fits = path.len < sizeof name;
    if (fits) memcpy(name, buf_str(&path), path.len + 1);
    buf_deinit(&path);
    int fd = fits ? mkostemp(name, O_CLOEXEC) : -1;
    if (fd < 0) return luaL_error(L, "unable to generate a unique filename in %s", folder ? folder : "/tmp");
    close(fd);
    lua_pushstring(L, name);
    return 1;
}

/* seed() -> two integers from the seeded generator, for math.random. */
static int l_seed(lua_State *L)
{
    struct random *r = &vm_of(L)->sched->random;
    lua_pushinteger(L, (lua_Integer)random_u64(r));
    lua_pushinteger(L, (lua_Integer)random_u64(r));
    return 2;
}

/* load_text(text, name, env) -> function | nil, message: Lua's own load goes, so that nobody finds one that
 * takes binary chunks, which can do anything.  env: the value of _ENV; none: the globals. */
static int l_load_text(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    const char *name = luaL_optstring(L, 2, text);
    bool has_env = lua_gettop(L) >= 3;
    if (luaL_loadbufferx(L, text, len, name, "t") != LUA_OK) {
        lua_pushnil(L);
        lua_insert(L, -2);
        return 2;
    }
    if (has_env) {
        lua_pushvalue(L, 3);
        if (lua_setupvalue(L, -2, 1) == NULL) lua_pop(L, 1);
    }
    return 1;
}

/* [-0, +1, m] */
void vm_push_closed_tools(lua_State *L)
{
    static const luaL_Reg tools[] = {{"load_text", l_load_text}, {NULL, NULL}};
    luaL_newlib(L, tools);
}

/* [-0, +1, m] */
void vm_push_prelude_tools(lua_State *L)
{
    static const luaL_Reg tools[] = {{"enter", l_enter}, {"leave", l_leave},     {"killed", l_killed},
                                     {"wall", l_wall},   {"cpu", l_cpu},         {"exit", l_exit},
                                     {"seed", l_seed},   {"tmpname", l_tmpname}, {NULL, NULL}};
    luaL_newlib(L, tools);
    task_push_sentinel(L);
    lua_setfield(L, -2, "sentinel");
}
