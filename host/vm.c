/* vm.c - making, bounding and ending a Lua state.
 *
 * Owns: the state, its memory account, its libraries with the dangerous parts taken out, the search for
 * modules.  Loop thread only.  The one place that calls luaL_openlibs and lua_newstate.
 */
#include "host/vm.h"

#include <assert.h>
#include <limits.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/embedded.h"
#include "host/log.h"
#include "host/luax.h"
#include "host/mem.h"
#include "host/task_internal.h"

enum { STEP_LIMIT_MS = 10000, MOST_REFUSALS = 3, WARNING_MAX = 4096 };

/* Half of the machine, so that a runaway script fails before the machine does. */
static size_t default_cap(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    size_t least = (size_t)1 << 30;
    size_t half = pages > 0 && size > 0 ? (size_t)pages * (size_t)size / 2 : 0;
    return half > least ? half : least;
}

/* ---- memory ----------------------------------------------------------------------------------------- */

/* Counts every refusal; at the third within one step the running task is ended. */
static void refuse(struct vm *vm)
{
    if (++vm->refused < MOST_REFUSALS * 2) return; /* Lua tries each allocation twice */
    if (vm->sched->current && vm->sched->current->vm == vm && vm->sched->innermost)
        guard_hook_kill(vm->sched->innermost);
}

static void *vm_alloc(void *ud, void *p, size_t old_size, size_t new_size)
{
    struct vm *vm = ud;
    if (p == NULL) old_size = 0; /* it then holds the kind of object */
    if (new_size == 0) {
        mem_free(p);
        vm->used -= old_size;
        return NULL;
    }
    if (new_size > old_size && vm->fail_allocs > 0) {
        vm->fail_allocs--;
        return NULL;
    }
    if (new_size > old_size && vm->uncapped == 0) {
        if (new_size - old_size > vm->cap || vm->used > vm->cap - (new_size - old_size)) {
            refuse(vm);
            return NULL;
        }
    }
    void *q = mem_try_realloc(p, new_size);
    if (q == NULL) return NULL;
    vm->used += new_size - old_size;
    if (vm->used > vm->peak) vm->peak = vm->used;
    return q;
}

bool vm_account(struct vm *vm, ptrdiff_t bytes)
{
    if (bytes > 0 && ((size_t)bytes > vm->cap || vm->used > vm->cap - (size_t)bytes)) {
        refuse(vm);
        return false;
    }
    vm->used += (size_t)bytes;
    if (vm->used > vm->peak) vm->peak = vm->used;
    return true;
}

static int on_panic(lua_State *L)
{
    const char *message = lua_tostring(L, -1);
    fprintf(stderr, "perigee: internal error outside of protection: %s\n", message ? message : "?");
    abort();
}

/* An error in a finalizer, most often; "@on" and "@off" are words of stock Lua's own and mean nothing here.
 */
static void on_warning(void *ud, const char *message, int more)
{
    struct vm *vm = ud;
    if (vm->warning.len == 0 && !more && message[0] == '@') return;
    if (vm->warning.len < WARNING_MAX) buf_puts(&vm->warning, message);
    if (more) return;
    log_write(LOG_LEVEL_WARN, "lua.warning", LOG_STR("message", buf_str(&vm->warning)));
    buf_clear(&vm->warning);
}

/* ---- modules ---------------------------------------------------------------------------------------- */

static const struct embedded_file *find_embedded(const char *path)
{
    return embedded_find(embedded_files, embedded_files_count, path);
}

/* [-0, +1, e] loads an embedded file; the chunk is named so that tracebacks show the source path */
static void load_embedded(lua_State *L, const struct embedded_file *f)
{
    char name[PATH_MAX];
    snprintf(name, sizeof name, "@perigee/%s", f->path);
    if (luaL_loadbufferx(L, f->text, f->len, name, "t") != LUA_OK) lua_error(L);
}

/* perigee.emulator.x → scripts/emulator/x.lua, perigee.policies.x likewise, perigee.x → scripts/lib/x.lua */
static int l_search_embedded(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    char path[PATH_MAX];
    if (strncmp(name, "perigee.", 8) != 0) return 0;
    const char *rest = name + 8, *dot = strchr(rest, '.');
    int folder = dot ? (int)(dot - rest) : 3;
    snprintf(path, sizeof path, "scripts/%.*s/%s.lua", folder, dot ? rest : "lib", dot ? dot + 1 : rest);
    const struct embedded_file *f = find_embedded(path);
    if (f == NULL) {
        lua_pushfstring(L, "no module '%s' in the program", name);
        return 1;
    }
    load_embedded(L, f);
    lua_pushstring(L, f->path);
    return 2;
}

/* [-0, +0, e] the embedded searcher comes right after package.preload */
static void add_searcher(lua_State *L)
{
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "searchers");
    for (lua_Integer i = luaL_len(L, -1); i >= 2; i--) {
        lua_rawgeti(L, -1, i);
        lua_rawseti(L, -2, i + 1);
    }
    lua_pushcfunction(L, l_search_embedded);
    lua_rawseti(L, -2, 2);
    lua_pop(L, 2);
}

/* [-0, +0, e] require looks beside the script first */
static void add_script_dir(lua_State *L, const char *dir)
{
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "path");
    lua_pushfstring(L, "%s/?.lua;%s/?/init.lua;%s", dir, dir, lua_tostring(L, -1));
    lua_setfield(L, -3, "path");
    lua_pop(L, 2);
}

static bool is_allowed(const char *name, const char *const *allowed)
{
    if (allowed == NULL) return true;
    for (; *allowed; allowed++)
        if (strcmp(name, *allowed) == 0) return true;
    return false;
}

static void preload(lua_State *L, const luaL_Reg *modules, const char *const *allowed)
{
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    for (; modules && modules->name; modules++) {
        if (!is_allowed(modules->name, allowed)) continue;
        lua_pushcfunction(L, modules->func);
        lua_setfield(L, -2, modules->name);
    }
    lua_pushcfunction(L, luaopen_perigee_error);
    lua_setfield(L, -2, "perigee.error");
    lua_pop(L, 1);
}

/* ---- making and ending ------------------------------------------------------------------------------ */

/* [-0, +0, e] a closed VM never has io; what else must go, prelude_closed.lua takes out */
static void open_libraries(lua_State *L, bool closed)
{
    static const luaL_Reg some[] = {{LUA_GNAME, luaopen_base},          {LUA_LOADLIBNAME, luaopen_package},
                                    {LUA_COLIBNAME, luaopen_coroutine}, {LUA_TABLIBNAME, luaopen_table},
                                    {LUA_OSLIBNAME, luaopen_os},        {LUA_STRLIBNAME, luaopen_string},
                                    {LUA_MATHLIBNAME, luaopen_math},    {LUA_UTF8LIBNAME, luaopen_utf8},
                                    {LUA_DBLIBNAME, luaopen_debug},     {NULL, NULL}};
    if (!closed) {
        luaL_openlibs(L);
        return;
    }
    for (const luaL_Reg *lib = some; lib->name; lib++) {
        luaL_requiref(L, lib->name, lib->func, true);
        lua_pop(L, 1);
    }
}

/* [-0, +0, e] runs under lua_pcall: everything of start-up that may raise */
static int l_open(lua_State *L)
{
    const struct vm_config *config = lua_touserdata(L, 1);
    bool closed = config->allowed != NULL;
    open_libraries(L, closed);
    preload(L, config->modules, config->allowed);
    if (config->install && !closed) config->install(L, config->install_ctx);
    add_searcher(L);
    if (config->script_dir) add_script_dir(L, config->script_dir);
    task_handle_register(L);
    load_embedded(L, find_embedded("scripts/lib/prelude.lua"));
    vm_push_prelude_tools(L);
    lua_call(L, 1, 0);
    if (!closed) return 0;
    load_embedded(L, find_embedded("scripts/lib/prelude_closed.lua"));
    vm_push_closed_tools(L);
    lua_call(L, 1, 0);
    return 0;
}

struct vm *vm_new(struct sched *sched, const struct vm_config *config)
{
    struct vm *vm = mem_alloc(sizeof *vm);
    vm->sched = sched;
    vm->name = mem_strdup(config->name);
    vm->cap = config->memory_cap ? config->memory_cap : default_cap();
    vm->step_limit_ms = config->step_limit_ms ? config->step_limit_ms : STEP_LIMIT_MS;
    vm->slice_ns = config->slice_ms * 1000000;
    vm->most_tasks = config->most_tasks;
    vm->exit_code = -1;
    vm->modules = config->modules;
    vm->install = config->install;
    vm->install_ctx = config->install_ctx;
    vm->emptied = config->emptied;
    vm->emptied_ctx = config->emptied_ctx;
    vm->uncapped++; /* a small cap is the script's, not that of what opens its libraries */
    scope_init(&vm->root, vm, NULL);
    vm->L = lua_newstate(vm_alloc, vm);
    if (vm->L == NULL) {
        fputs("perigee: cannot make a Lua state\n", stderr);
        abort();
    }
    *(struct vm **)lua_getextraspace(vm->L) = vm; /* every coroutine of the state inherits it */
    lua_atpanic(vm->L, on_panic);
    lua_setwarnf(vm->L, on_warning, vm);
    list_append(&sched->vms, &vm->link);
    lua_gc(vm->L, LUA_GCSTOP);
    lua_pushcfunction(vm->L, l_open);
    lua_pushlightuserdata(vm->L, (void *)config);
    if (lua_pcall(vm->L, 1, 0, 0) != LUA_OK) {
        fprintf(stderr, "perigee: cannot open the Lua libraries: %s\n", luax_error_text(vm->L, -1));
        abort();
    }
    lua_gc(vm->L, LUA_GCRESTART);
    vm->uncapped--;
    return vm;
}

void vm_copy_surroundings(const struct vm *vm, struct vm_config *config)
{
    config->modules = vm->modules;
    config->install = vm->install;
    config->install_ctx = vm->install_ctx;
}

void vm_lift_cap(struct vm *vm, bool on)
{
    vm->uncapped += on ? 1 : -1;
}

void vm_free(struct vm *vm)
{
    if (vm == NULL) return;
    assert(vm->live_count == 0);
    vm->uncapped++;
    scope_deinit(&vm->root);
    lua_close(vm->L);
    list_remove(&vm->link);
    buf_deinit(&vm->warning);
    mem_free(vm->name);
    mem_free(vm);
}

/* The list may change under it: a VM that is freed may hold the last handle of another. */
void sched_reap(struct sched *s)
{
    struct list_node *n = s->vms.next;
    s->reap = false;
    while (n != &s->vms) {
        struct vm *vm = LIST_ENTRY(n, struct vm, link);
        n = n->next;
        if (vm->live_count > 0 || vm->emptied == NULL) continue;
        vm->emptied(vm->emptied_ctx);
        n = s->vms.next;
    }
}

size_t sched_task_count(const struct sched *s)
{
    size_t tasks = 0;
    for (const struct list_node *n = s->vms.next; n != &s->vms; n = n->next)
        tasks += LIST_ENTRY(n, struct vm, link)->live_count;
    return tasks;
}

size_t sched_vm_count(const struct sched *s)
{
    size_t vms = 0;
    for (const struct list_node *n = s->vms.next; n != &s->vms; n = n->next) vms++;
    return vms;
}

struct task *vm_start(struct vm *vm, int nargs, task_done_fn done, void *ctx)
{
    struct task *t = task_new(vm->L, &vm->root, nargs);
    struct task_extra *extra = task_extra(t);
    extra->done = done;
    extra->done_ctx = ctx;
    return t;
}

void vm_stop(struct vm *vm, const char *reason, uint64_t grace_ms)
{
    scope_cancel_tasks(&vm->root, reason, grace_ms);
}

struct vm *vm_of(lua_State *L)
{
    return *(struct vm **)lua_getextraspace(L);
}

struct sched *vm_sched(struct vm *vm)
{
    return vm->sched;
}

const char *vm_name(const struct vm *vm)
{
    return vm->name;
}

lua_State *vm_state(struct vm *vm)
{
    return vm->L;
}

size_t vm_task_count(const struct vm *vm)
{
    return vm->live_count;
}

bool vm_deadlocked(const struct vm *vm)
{
    return vm->deadlocked;
}

int vm_exit_code(const struct vm *vm)
{
    return vm->exit_code;
}

size_t vm_memory(const struct vm *vm)
{
    return vm->used;
}

size_t vm_memory_peak(const struct vm *vm)
{
    return vm->peak;
}

void vm_source_add(struct vm *vm, int change)
{
    vm->wakers += (size_t)change;
}

void vm_set_step_limit(struct vm *vm, uint64_t limit_ms)
{
    vm->step_limit_ms = limit_ms ? limit_ms : STEP_LIMIT_MS;
    if (vm->sched->current && vm->sched->current->vm == vm)
        guard_set_limit(vm->sched->guard, vm->step_limit_ms);
}

void vm_set_memory_cap(struct vm *vm, size_t bytes)
{
    vm->cap = bytes;
}
