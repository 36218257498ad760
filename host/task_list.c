/* task_list.c - showing people what the tasks are waiting for: SIGUSR1 and deadlocks. */
#include "host/task.h"

#include "host/log.h"
#include "host/luax.h"
#include "host/mem.h"
#include "host/task_internal.h"
#include "host/term.h"

enum { MOST_TASKS = 100, DEEPEST = 64, EXIT_GRACE_MS = 1000 };

struct listing {
    struct buf text;
    size_t shown, more;
};

static void describe_wait(struct buf *out, const struct task *t)
{
    const struct op *op = t->op;
    if (t->state == TASK_DRAINING) {
        buf_puts(out, "has ended, waits for its tasks");
    } else if (t->state == TASK_PARKED && op) {
        buf_printf(out, "waits in %s", op->type->name);
        if (op->type->describe) {
            buf_puts(out, " for ");
            op->type->describe(op, out);
        }
    } else {
        buf_puts(out, "is ready to run");
    }
}

/* Tracebacks from the innermost coroutine outwards. */
static void append_traceback(struct buf *out, const struct task *t)
{
    lua_State *L = t->vm->L;
    size_t depth = t->extra ? t->extra->chain_len : 0;
    for (size_t i = depth + 1; i > 0; i--) {
        lua_State *co = i == 1 ? t->co : t->extra->chain[i - 2];
        luaL_traceback(L, co, NULL, 0);
        buf_printf(out, "    %s\n", lua_tostring(L, -1));
        lua_pop(L, 1);
    }
}

/* ---- for scripts -------------------------------------------------------------------------------------- */

/* [-0, +0, m] appends {task=, waits=, value=} for each task of the scope that has the task-local value to the
 * table on top */
static void push_scope(lua_State *L, struct scope *scope, const char *key, int depth);

static void push_task(lua_State *L, struct task *t, const char *key, int depth)
{
    luaL_checkstack(L, 8, "task.list");
    lua_rawgeti(L, LUA_REGISTRYINDEX, t->locals_ref);
    if (lua_istable(L, -1))
        lua_getfield(L, -1, key);
    else
        lua_pushnil(L);
    if (!lua_isnil(L, -1)) {
        struct buf *waits = luax_new_buf(L);
        describe_wait(waits, t);
        lua_createtable(L, 0, 3);
        task_handle_push(L, t);
        lua_setfield(L, -2, "task");
        lua_pushlstring(L, buf_str(waits), waits->len);
        lua_setfield(L, -2, "waits");
        lua_pushvalue(L, -3);
        lua_setfield(L, -2, "value");
        lua_rawseti(L, -5, luaL_len(L, -5) + 1);
        lua_pop(L, 1);
    }
    lua_pop(L, 2);
    if (depth >= DEEPEST) return;
    for (struct scope *s = t->scopes; s; s = s->outer) push_scope(L, s, key, depth + 1);
}

static void push_scope(lua_State *L, struct scope *scope, const char *key, int depth)
{
    for (struct list_node *n = scope->tasks.next; n != &scope->tasks; n = n->next)
        push_task(L, LIST_ENTRY(n, struct task, sibling), key, depth);
}

void task_push_list(lua_State *L, const char *key)
{
    lua_newtable(L);
    push_scope(L, &vm_of(L)->root, key, 0);
}

/* ---- for people --------------------------------------------------------------------------------------- */

static void list_scope(struct listing *l, struct scope *scope, int depth);

static void list_task(struct listing *l, struct task *t, int depth)
{
    if (l->shown >= MOST_TASKS || depth > DEEPEST) {
        l->more++;
        return;
    }
    l->shown++;
    buf_printf(&l->text, "  task %llu [%s] ", (unsigned long long)t->id, t->vm->name);
    describe_wait(&l->text, t);
    buf_putc(&l->text, '\n');
    if (t->started && t->state == TASK_PARKED) append_traceback(&l->text, t);
    for (struct scope *s = t->scopes; s; s = s->outer) list_scope(l, s, depth + 1);
}

static void list_scope(struct listing *l, struct scope *scope, int depth)
{
    for (struct list_node *n = scope->tasks.next; n != &scope->tasks; n = n->next)
        list_task(l, LIST_ENTRY(n, struct task, sibling), depth);
}

static void list_vm(struct listing *l, struct vm *vm)
{
    vm->uncapped++;
    list_scope(l, &vm->root, 0);
    vm->uncapped--;
}

static void print_listing(struct listing *l, const char *title)
{
    struct buf out = {0};
    buf_printf(&out, "perigee: %s\n%s", title, buf_str(&l->text));
    if (l->more) buf_printf(&out, "  … and %zu more\n", l->more);
    term_write_untrusted(term_process(), TERM_ERR, buf_str(&out), out.len);
    buf_deinit(&out);
    buf_deinit(&l->text);
}

void sched_dump(struct sched *s)
{
    struct listing l = {0};
    s->dump_requested = false;
    for (struct list_node *n = s->vms.next; n != &s->vms; n = n->next)
        list_vm(&l, LIST_ENTRY(n, struct vm, link));
    print_listing(&l, "the tasks and what they wait for:");
}

void vm_report_deadlock(struct vm *vm)
{
    struct listing l = {0};
    vm->deadlocked = true;
    list_vm(&l, vm);
    print_listing(&l, "deadlock: every task waits for another one, and nothing can wake any of them:");
    log_write(LOG_LEVEL_ERROR, "vm.deadlock", LOG_STR("vm", vm->name));
    vm_stop(vm, "deadlock", EXIT_GRACE_MS);
}
