/* proc.c - perigee.core.proc: child processes whose output is collected.
 *
 *   run(options)    starts a child, waits for its end: {status, signal, stdout, stderr, timed_out}
 *   spawn(options)  starts one and returns it: :wait() :read_until(text[, seconds]) :kill(signal) :output()
 *   environ()       the environment as a table
 *
 * options: args (list), env (list of "NAME=value"; default: inherited), stdin (string), timeout, cwd,
 * output_cap, columns (gives the child a terminal of that width for all three streams).
 * A child is done only when it has exited and both its streams have ended, whichever is last.  Its memory is
 * apart from the userdata and goes when libuv has closed the last handle; a child nobody holds is killed.
 */
#include "bindings/modules.h"

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "host/buf.h"
#include "host/loop.h"
#include "host/luax.h"
#include "host/mem.h"
#include "host/task.h"
#include "host/timers.h"

#define CHILD_CLASS "perigee.core.proc.child"

enum { STREAMS = 2, OUTPUT_CAP = 64 * 1024 * 1024 };

struct child;

struct output {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_pipe_t pipe;
    } uv;
    struct buf bytes;
    bool open; /* initialised and not closing */
    bool ended;
    char room[16384];
};

struct child {
    uv_process_t process;
    struct output outputs[STREAMS];
    union {
        uv_stream_t stream;
        uv_pipe_t pipe;
    } input;
    uv_write_t input_write;
    char *input_bytes;
    struct timer timeout;
    struct timers *timers;
    struct wait *waiter;
    int handles; /* libuv still holds so many */
    size_t output_cap;
    int64_t status;
    int signal;
    bool input_open, process_open;
    bool exited, timed_out, over_cap;
    bool forced;   /* its end counts without the ends of its streams: a grandchild may hold them open */
    bool orphaned; /* nobody will ask: memory goes with the last handle */
};

/* A task that waits for the end of a child, or for text in its output. */
struct wait {
    struct op op;
    struct child *child;
    struct timer timer;
    char *text; /* NULL: waits for the end */
    bool owns;  /* run(): the child ends with the op */
    bool late;
};

static bool child_done(const struct child *c)
{
    return c->exited && (c->forced || (c->outputs[0].ended && c->outputs[1].ended));
}

static bool has_text(const struct child *c, const char *text)
{
    for (int i = 0; i < STREAMS; i++)
        if (c->outputs[i].bytes.len > 0 &&
            memmem(c->outputs[i].bytes.data, c->outputs[i].bytes.len, text, strlen(text)))
            return true;
    return false;
}

static void wake(struct child *c)
{
    struct wait *w = c->waiter;
    if (w == NULL || !(child_done(c) || (w->text && has_text(c, w->text)))) return;
    c->waiter = NULL;
    timer_stop(c->timers, &w->timer);
    op_complete(&w->op);
}

/* ---- handles ------------------------------------------------------------------------------------------ */

static void free_if_over(struct child *c)
{
    if (c->handles > 0 || !c->orphaned) return;
    for (int i = 0; i < STREAMS; i++) buf_deinit(&c->outputs[i].bytes);
    mem_free(c->input_bytes);
    mem_free(c);
}

static void on_close_cb(uv_handle_t *handle)
{
    struct child *c = handle->data;
    c->handles--;
    free_if_over(c);
}

static void close_once(bool *open, uv_handle_t *handle)
{
    if (*open) uv_close(handle, on_close_cb);
    *open = false;
}

static void end_output(struct output *o)
{
    o->ended = true;
    close_once(&o->open, &o->uv.handle);
}

static void on_exit_cb(uv_process_t *process, int64_t status, int term_signal)
{
    struct child *c = process->data;
    c->exited = true;
    c->status = status;
    c->signal = term_signal;
    timer_stop(c->timers, &c->timeout);
    close_once(&c->process_open, (uv_handle_t *)process);
    close_once(&c->input_open, (uv_handle_t *)&c->input);
    wake(c);
}

static struct output *output_of(uv_handle_t *handle)
{
    struct child *c = handle->data;
    return handle == &c->outputs[0].uv.handle ? &c->outputs[0] : &c->outputs[1];
}

static void on_alloc_cb(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct output *o = output_of(handle);
    *buf = uv_buf_init(o->room, sizeof o->room);
}

static void kill_child(struct child *c, int signum)
{
    if (c->process_open) uv_process_kill(&c->process, signum);
}

static void on_read_cb(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct child *c = stream->data;
    struct output *o = output_of((uv_handle_t *)stream);
    if (n > 0) {
        buf_append(&o->bytes, buf->base, (size_t)n);
        if (o->bytes.len > c->output_cap) {
            c->over_cap = c->forced = true;
            kill_child(c, SIGKILL);
            end_output(o);
        }
    } else if (n < 0) {
        end_output(o); /* a terminal's master reports its end as EIO */
    }
    wake(c);
}

static void on_written_cb(uv_write_t *write, int status)
{
    (void)status; /* a child that does not read its input is its own affair */
    struct child *c = write->data;
    close_once(&c->input_open, (uv_handle_t *)&c->input);
}

static void on_timeout_cb(struct timer *timer)
{
    struct child *c = LIST_ENTRY(timer, struct child, timeout);
    c->timed_out = c->forced = true;
    kill_child(c, SIGKILL);
}

/* Nobody asks any more: ends the child and lets go of its memory. */
static void orphan(struct child *c)
{
    c->orphaned = true;
    timer_stop(c->timers, &c->timeout);
    kill_child(c, SIGKILL);
    close_once(&c->input_open, (uv_handle_t *)&c->input);
    for (int i = 0; i < STREAMS; i++) end_output(&c->outputs[i]);
    free_if_over(c); /* the process handle closes when the child's end is known */
}

/* ---- starting ----------------------------------------------------------------------------------------- */

struct options {
    char **args, **env;
    const char *cwd, *stdin_bytes;
    size_t stdin_len;
    uint64_t timeout_ms;
    int columns;
};

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
static void check_options(lua_State *L, int index, struct options *o)
{
    static const char *const fields[] = {"args", "env",        "stdin",   "timeout",
                                         "cwd",  "output_cap", "columns", NULL};
    luax_check_options(L, index, "proc", fields);
    if (lua_getfield(L, index, "args") != LUA_TTABLE || luaL_len(L, -1) < 1)
        luax_invalid(L, "proc: args must be a list of strings, the program first");
    o->args = push_strings(L, lua_gettop(L), "args");
    if (lua_getfield(L, index, "env") == LUA_TTABLE) o->env = push_strings(L, lua_gettop(L), "env");
    o->stdin_bytes = luax_opt_string(L, index, "proc", "stdin", &o->stdin_len, NULL);
    o->cwd = luax_opt_string(L, index, "proc", "cwd", NULL, NULL);
    o->timeout_ms = luax_opt_duration(L, index, "proc", "timeout", 0);
    o->columns = (int)luax_opt_integer(L, index, "proc", "columns", 0, 0, 10000);
}

static void open_output(struct loop *loop, struct child *c, int i)
{
    struct output *o = &c->outputs[i];
    uv_pipe_init(loop_uv(loop), &o->uv.pipe, 0);
    o->uv.handle.data = c;
    o->open = true;
    c->handles++;
}

/* Gives the child a terminal of its own for its three streams; what it shows arrives as stdout. */
static int use_terminal(struct child *c, const struct options *o, uv_stdio_container_t stdio[3], int *slave)
{
    struct winsize size = {.ws_row = 24, .ws_col = (unsigned short)o->columns};
    int master;
    if (openpty(&master, slave, NULL, NULL, &size) != 0) return -errno;
    fcntl(master, F_SETFD, FD_CLOEXEC);
    uv_pipe_open(&c->outputs[0].uv.pipe, master);
    end_output(&c->outputs[1]);
    for (int i = 0; i < 3; i++) {
        stdio[i].flags = UV_INHERIT_FD;
        stdio[i].data.fd = *slave;
    }
    return 0;
}

static void use_pipes(struct loop *loop, struct child *c, const struct options *o,
                      uv_stdio_container_t stdio[3])
{
    for (int i = 0; i < STREAMS; i++) {
        stdio[i + 1].flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE;
        stdio[i + 1].data.stream = &c->outputs[i].uv.stream;
    }
    stdio[0].flags = UV_IGNORE;
    if (o->stdin_bytes == NULL) return;
    uv_pipe_init(loop_uv(loop), &c->input.pipe, 0);
    c->input.stream.data = c;
    c->input_open = true;
    c->handles++;
    stdio[0].flags = UV_CREATE_PIPE | UV_READABLE_PIPE;
    stdio[0].data.stream = &c->input.stream;
}

static void feed_input(struct child *c, const struct options *o)
{
    if (!c->input_open) return;
    c->input_bytes = mem_dup(o->stdin_bytes, o->stdin_len);
    c->input_write.data = c;
    uv_buf_t bytes = uv_buf_init(c->input_bytes, (unsigned)o->stdin_len);
    if (uv_write(&c->input_write, &c->input.stream, &bytes, 1, on_written_cb) != 0)
        close_once(&c->input_open, (uv_handle_t *)&c->input);
}

/* 0 or a libuv error; on error the child is to be orphaned. */
static int start(struct loop *loop, struct child *c, const struct options *o)
{
    uv_stdio_container_t stdio[3];
    int slave = -1, rc = 0;
    for (int i = 0; i < STREAMS; i++) open_output(loop, c, i);
    if (o->columns > 0)
        rc = use_terminal(c, o, stdio, &slave);
    else
        use_pipes(loop, c, o, stdio);
    uv_process_options_t spawn = {
        .exit_cb = on_exit_cb, .file = o->args[0], .args = o->args, .env = o->env, .cwd = o->cwd};
    spawn.stdio = stdio;
    spawn.stdio_count = 3;
    if (rc == 0) {
        rc = uv_spawn(loop_uv(loop), &c->process, &spawn);
        c->process.data = c;
        c->process_open = true; /* the handle is initialised even on failure */
        c->handles++;
    }
    if (slave >= 0) close(slave);
    if (rc != 0) {
        close_once(&c->process_open, (uv_handle_t *)&c->process);
        return rc;
    }
    for (int i = 0; i < STREAMS; i++)
        if (c->outputs[i].open) uv_read_start(&c->outputs[i].uv.stream, on_alloc_cb, on_read_cb);
    feed_input(c, o);
    if (o->timeout_ms > 0) timer_start(c->timers, &c->timeout, o->timeout_ms, on_timeout_cb);
    return 0;
}

/* [-0, +1, e] pushes the userdata of a started child. */
static struct child **push_child(lua_State *L, int index)
{
    struct options o = {0};
    check_options(L, index, &o);
    lua_Integer cap = luax_opt_integer(L, index, "proc", "output_cap", OUTPUT_CAP, 1, OUTPUT_CAP);
    struct sched *sched = vm_sched(vm_of(L));
    struct child **holder = luax_new(L, CHILD_CLASS, sizeof *holder);
    struct child *c = *holder = mem_alloc(sizeof *c);
    c->timers = sched_timers(sched);
    c->output_cap = (size_t)cap;
    int rc = start(sched_loop(sched), c, &o);
    if (rc == 0) return holder;
    *holder = NULL;
    orphan(c);
    struct err e;
    err_set(&e, ERR_UNAVAILABLE, "cannot start %s: %s", o.args[0], uv_strerror(rc));
    luax_raise_err(L, &e);
}

/* ---- waiting ------------------------------------------------------------------------------------------ */

/* [-0, +1, m] */
static void push_result(lua_State *L, const struct child *c)
{
    static const char *const names[] = {"stdout", "stderr"};
    lua_createtable(L, 0, 6);
    for (int i = 0; i < STREAMS; i++) {
        lua_pushlstring(L, buf_str(&c->outputs[i].bytes), c->outputs[i].bytes.len);
        lua_setfield(L, -2, names[i]);
    }
    lua_pushinteger(L, c->status);
    lua_setfield(L, -2, "status");
    lua_pushinteger(L, c->signal);
    lua_setfield(L, -2, "signal");
    lua_pushboolean(L, c->timed_out);
    lua_setfield(L, -2, "timed_out");
    lua_pushboolean(L, c->over_cap);
    lua_setfield(L, -2, "over_cap");
}

static void wait_abort(struct op *op)
{
    struct wait *w = (struct wait *)op;
    if (w->child == NULL) return; /* it could not be started */
    timer_stop(w->child->timers, &w->timer);
    w->child->waiter = NULL;
}

static int wait_finish(lua_State *L, struct op *op)
{
    struct wait *w = (struct wait *)op;
    if (w->text == NULL) {
        push_result(L, w->child);
        return 1;
    }
    bool found = has_text(w->child, w->text);
    lua_pushboolean(L, found);
    if (found) return 1;
    lua_pushstring(L, w->late ? "timeout" : "ended");
    return 2;
}

static void wait_release(struct op *op)
{
    struct wait *w = (struct wait *)op;
    if (w->owns && w->child) orphan(w->child);
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
    w->child->waiter = NULL;
    op_complete(&w->op);
}

static int park(lua_State *L, struct wait *w, uint64_t limit_ms)
{
    struct child *c = w->child;
    c->waiter = w;
    if (limit_ms > 0) timer_start(c->timers, &w->timer, limit_ms, on_late_cb);
    wake(c);
    return op_park(L, &w->op);
}

/* ---- Lua ---------------------------------------------------------------------------------------------- */

static struct child *check_child(lua_State *L)
{
    struct child **holder = luaL_checkudata(L, 1, CHILD_CLASS);
    if (*holder == NULL) luax_invalid(L, "proc: the child is closed");
    return *holder;
}

static struct child *check_free_child(lua_State *L)
{
    struct child *c = check_child(L);
    if (c->waiter) luax_invalid(L, "proc: another task waits for this child");
    return c;
}

static int l_run(lua_State *L)
{
    struct wait *w = op_new(L, &wait_type, sizeof *w);
    struct child **holder = push_child(L, 1);
    w->child = *holder;
    w->owns = true;
    *holder = NULL;
    return park(L, w, 0);
}

static int l_spawn(lua_State *L)
{
    push_child(L, 1);
    return 1;
}

/* The userdata stays in the frame of the method, which the coroutine keeps while it waits. */
static int l_wait(lua_State *L)
{
    struct child *c = check_free_child(L);
    struct wait *w = op_new(L, &wait_type, sizeof *w);
    w->child = c;
    return park(L, w, 0);
}

static int l_read_until(lua_State *L)
{
    struct child *c = check_free_child(L);
    const char *text = luaL_checkstring(L, 2);
    uint64_t limit_ms = lua_isnoneornil(L, 3) ? 30000 : luax_check_duration(L, 3, "proc.read_until: seconds");
    struct wait *w = op_new(L, &wait_type, sizeof *w);
    w->child = c;
    w->text = mem_strdup(text);
    return park(L, w, limit_ms);
}

static int l_kill(lua_State *L)
{
    static const char *const names[] = {"HUP", "INT", "USR1", "TERM", "KILL", "STOP", "CONT", NULL};
    static const int numbers[] = {SIGHUP, SIGINT, SIGUSR1, SIGTERM, SIGKILL, SIGSTOP, SIGCONT};
    kill_child(check_child(L), numbers[luaL_checkoption(L, 2, "TERM", names)]);
    return 0;
}

static int l_output(lua_State *L)
{
    const struct child *c = check_child(L);
    for (int i = 0; i < STREAMS; i++)
        lua_pushlstring(L, buf_str(&c->outputs[i].bytes), c->outputs[i].bytes.len);
    return STREAMS;
}

static int l_close(lua_State *L)
{
    struct child **holder = luaL_checkudata(L, 1, CHILD_CLASS);
    if (*holder && (*holder)->waiter == NULL) {
        orphan(*holder);
        *holder = NULL;
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
