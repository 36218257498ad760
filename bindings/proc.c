/* proc.c - perigee.core.proc: child processes whose output is collected.
 *
 *   run(options)    starts a child, waits for its end: {status, signal, stdout, stderr, timed_out}
 *   spawn(options)  starts one and returns it: :wait() :read_until(text[, seconds]) :kill(signal) :output()
 *   environ()       the environment as a table
 *
 * options: args (list), env (list of "NAME=value"; default: inherited), stdin (string), timeout, cwd,
 * output_cap, columns (gives the child a terminal of that width for all three streams).
 * The work is host/child.c; a child belongs to its userdata, or to the op of run(), and is killed with it.
 */
#include "bindings/modules.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "host/child.h"
#include "host/luax.h"
#include "host/mem.h"
#include "host/task.h"

#define CHILD_CLASS "perigee.core.proc.child"

enum { OUTPUT_CAP = 64 * 1024 * 1024 };

/* What the userdata of a child holds. */
struct held {
    struct child *child; /* NULL: closed, or run() has taken it */
    struct wait *waiter; /* at most one */
};

/* A task that waits for the end of a child, or for text in its output. */
struct wait {
    struct op op;
    struct child *child; /* NULL: it could not be started */
    struct held *held;   /* the userdata of the child; NULL: run(), whose op owns it */
    struct timers *timers;
    struct timer timer;
    char *text; /* NULL: waits for the end */
    bool late;
};

/* ---- starting ----------------------------------------------------------------------------------------- */

/* [-0, +1, e] pushes the list's strings as a NULL-terminated array that the table keeps alive. */
static char **push_strings(lua_State *L, int list, const char *field)
{
    lua_Integer n = luaL_len(L, list);
    if (n < 0 || n > 10000) luax_invalid(L, "proc: %s is too long", field);
    char **strings = lua_newuserdatauv(L, ((size_t)n + 1) * sizeof *strings, 0);
    for (lua_Integer i = 0; i < n; i++) {
        size_t len;
        lua_rawgeti(L, list, i + 1);
        const char *s = luax_string(L, -1, &len);
        if (s == NULL || strlen(s) != len)
            luax_invalid(L, "proc: %s[%d] must be a string", field, (int)i + 1);
        strings[i] = (char *)s;
        lua_pop(L, 1);
    }
    strings[n] = NULL;
    return strings;
}

/* [-0, +?, e] what it pushes must stay while the options are used. */
static void check_options(lua_State *L, int index, struct child_options *o)
{
    static const char *const fields[] = {"args", "env",        "stdin",   "timeout",
                                         "cwd",  "output_cap", "columns", NULL};
    luax_check_options(L, index, "proc", fields);
    if (lua_getfield(L, index, "args") != LUA_TTABLE || luaL_len(L, -1) < 1)
        luax_invalid(L, "proc: args must be a list of strings, the program first");
    o->args = push_strings(L, lua_gettop(L), "args");
    if (lua_getfield(L, index, "env") == LUA_TTABLE) o->env = push_strings(L, lua_gettop(L), "env");
    o->input = luax_opt_string(L, index, "proc", "stdin", &o->input_len, NULL);
    o->cwd = luax_opt_string(L, index, "proc", "cwd", NULL, NULL);
    o->timeout_ms = luax_opt_duration(L, index, "proc", "timeout", 0);
    o->columns = (int)luax_opt_integer(L, index, "proc", "columns", 0, 0, 10000);
    o->output_cap = (size_t)luax_opt_integer(L, index, "proc", "output_cap", OUTPUT_CAP, 1, OUTPUT_CAP);
}

/* [-0, +1, e] pushes the userdata of a started child. */
static struct held *push_child(lua_State *L, int index)
{
    struct child_options o = {0};
    check_options(L, index, &o);
    struct sched *sched = vm_sched(vm_of(L));
    struct held *h = luax_new(L, CHILD_CLASS, sizeof *h);
    int rc;
    h->child = child_start(sched_loop(sched), sched_timers(sched), &o, &rc);
    if (h->child) return h;
    struct err e;
    err_set(&e, ERR_UNAVAILABLE, "cannot start %s: %s", o.args[0], uv_strerror(rc));
    luax_raise_err(L, &e);
}

/* ---- waiting ------------------------------------------------------------------------------------------ */

/* [-0, +1, m] */
static void push_output(lua_State *L, const struct child *c, enum child_stream stream)
{
    const struct buf *bytes = child_output(c, stream);
    lua_pushlstring(L, buf_str(bytes), bytes->len);
}

/* [-0, +1, m] */
static void push_result(lua_State *L, const struct child *c)
{
    struct child_end end = child_end(c);
    lua_createtable(L, 0, 6);
    push_output(L, c, CHILD_STDOUT);
    lua_setfield(L, -2, "stdout");
    push_output(L, c, CHILD_STDERR);
    lua_setfield(L, -2, "stderr");
    lua_pushinteger(L, end.status);
    lua_setfield(L, -2, "status");
    lua_pushinteger(L, end.signal);
    lua_setfield(L, -2, "signal");
    lua_pushboolean(L, end.timed_out);
    lua_setfield(L, -2, "timed_out");
    lua_pushboolean(L, end.over_cap);
    lua_setfield(L, -2, "over_cap");
}

/* Nobody waits for the child any more. */
static void stop_waiting(struct wait *w)
{
    child_watch(w->child, NULL, NULL);
    timer_stop(w->timers, &w->timer);
    if (w->held) w->held->waiter = NULL;
}

static void on_changed(void *ctx)
{
    struct wait *w = ctx;
    if (!child_is_done(w->child) && !(w->text && child_has_text(w->child, w->text))) return;
    stop_waiting(w);
    op_complete(&w->op);
}

static void wait_abort(struct op *op)
{
    struct wait *w = (struct wait *)op;
    if (w->child) stop_waiting(w);
}

static int wait_finish(lua_State *L, struct op *op)
{
    struct wait *w = (struct wait *)op;
    if (w->text == NULL) {
        push_result(L, w->child);
        return 1;
    }
    bool found = child_has_text(w->child, w->text);
    lua_pushboolean(L, found);
    if (found) return 1;
    lua_pushstring(L, w->late ? "timeout" : "ended");
    return 2;
}

static void wait_release(struct op *op)
{
    struct wait *w = (struct wait *)op;
    if (w->held == NULL && w->child) child_free(w->child);
    mem_free(w->text);
}

static void wait_describe(const struct op *op, struct buf *out)
{
    const struct wait *w = (const struct wait *)op;
    buf_puts(out, w->text ? "output of a child process" : "the end of a child process");
}

static const struct op_type wait_type = {
    .name = "proc.wait",
    .abort = wait_abort,
    .finish = wait_finish,
    .release = wait_release,
    .describe = wait_describe,
};

static void on_late_cb(struct timer *timer)
{
    struct wait *w = LIST_ENTRY(timer, struct wait, timer);
    w->late = true;
    stop_waiting(w);
    op_complete(&w->op);
}

/* [-0, +n, e] always a tail call */
static int park(lua_State *L, struct wait *w, uint64_t limit_ms)
{
    if (w->held) w->held->waiter = w;
    child_watch(w->child, on_changed, w);
    if (limit_ms > 0) timer_start(w->timers, &w->timer, limit_ms, on_late_cb);
    on_changed(w); /* it may be so already */
    return op_park(L, &w->op);
}

/* ---- Lua ---------------------------------------------------------------------------------------------- */

static struct held *check_held(lua_State *L)
{
    struct held *h = luaL_checkudata(L, 1, CHILD_CLASS);
    if (h->child == NULL) luax_invalid(L, "proc: the child is closed");
    return h;
}

/* [-0, +0, e] a wait for the child at index 1, with nobody else waiting.  The userdata stays in the frame of
 * the method, which the coroutine keeps meanwhile. */
static struct wait *new_wait(lua_State *L)
{
    struct held *h = check_held(L);
    if (h->waiter) luax_invalid(L, "proc: another task waits for this child");
    struct wait *w = op_new(L, &wait_type, sizeof *w);
    w->child = h->child;
    w->held = h;
    w->timers = sched_timers(vm_sched(vm_of(L)));
    return w;
}

static int l_run(lua_State *L)
{
    struct wait *w = op_new(L, &wait_type, sizeof *w);
    w->timers = sched_timers(vm_sched(vm_of(L)));
    struct held *h = push_child(L, 1);
    w->child = h->child;
    h->child = NULL;
    return park(L, w, 0);
}

static int l_spawn(lua_State *L)
{
    push_child(L, 1);
    return 1;
}

static int l_wait(lua_State *L)
{
    return park(L, new_wait(L), 0);
}

static int l_read_until(lua_State *L)
{
    const char *text = luaL_checkstring(L, 2);
    uint64_t limit_ms = lua_isnoneornil(L, 3) ? 30000 : luax_check_duration(L, 3, "proc.read_until: seconds");
    struct wait *w = new_wait(L);
    w->text = mem_strdup(text);
    return park(L, w, limit_ms);
}

static int l_kill(lua_State *L)
{
    static const char *const names[] = {"HUP", "INT", "USR1", "USR2", "TERM", "KILL", "STOP", "CONT", NULL};
    static const int numbers[] = {SIGHUP, SIGINT, SIGUSR1, SIGUSR2, SIGTERM, SIGKILL, SIGSTOP, SIGCONT};
    child_kill(check_held(L)->child, numbers[luaL_checkoption(L, 2, "TERM", names)]);
    return 0;
}

static int l_output(lua_State *L)
{
    const struct child *c = check_held(L)->child;
    push_output(L, c, CHILD_STDOUT);
    push_output(L, c, CHILD_STDERR);
    return 2;
}

static int l_close(lua_State *L)
{
    struct held *h = luaL_checkudata(L, 1, CHILD_CLASS);
    if (h->child && h->waiter == NULL) {
        child_free(h->child);
        h->child = NULL;
    }
    return 0;
}

static int l_environ(lua_State *L)
{
    lua_newtable(L);
    for (char **item = environ; item && *item; item++) {
        const char *equals = strchr(*item, '=');
        if (equals == NULL) continue;
        lua_pushlstring(L, *item, (size_t)(equals - *item));
        lua_pushstring(L, equals + 1);
        lua_rawset(L, -3);
    }
    return 1;
}

int luaopen_perigee_core_proc(lua_State *L)
{
    static const luaL_Reg methods[] = {{"wait", l_wait},     {"read_until", l_read_until}, {"kill", l_kill},
                                       {"output", l_output}, {"close", l_close},           {NULL, NULL}};
    static const luaL_Reg metamethods[] = {{"__gc", l_close}, {"__close", l_close}, {NULL, NULL}};
    static const luaL_Reg functions[] = {
        {"run", l_run}, {"spawn", l_spawn}, {"environ", l_environ}, {NULL, NULL}};
    luax_class(L, CHILD_CLASS, methods, metamethods);
    luaL_newlib(L, functions);
    return 1;
}
