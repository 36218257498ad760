/* child.c - a child process, its three streams, and the moment at which it is done.
 *
 * Its memory goes when libuv has closed the last of its handles and nobody holds it any more.
 */
#include "host/child.h"

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "host/list.h"
#include "host/mem.h"

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
    struct output outputs[CHILD_STREAMS];
    union {
        uv_stream_t stream;
        uv_pipe_t pipe;
    } input;
    uv_write_t input_write;
    char *input_bytes;
    struct timer timeout;
    struct timers *timers;
    child_changed_fn changed;
    void *ctx;
    int handles; /* libuv still holds so many */
    size_t output_cap;
    struct child_end end;
    bool input_open, process_open;
    bool exited;
    bool forced;   /* its end counts without the ends of its streams: a grandchild may hold them open */
    bool orphaned; /* nobody holds it: memory goes with the last handle */
};

bool child_is_done(const struct child *c)
{
    return c->exited && (c->forced || (c->outputs[0].ended && c->outputs[1].ended));
}

static void changed(struct child *c)
{
    if (c->changed) c->changed(c->ctx);
}

/* ---- handles ------------------------------------------------------------------------------------------ */

static void free_if_over(struct child *c)
{
    if (c->handles > 0 || !c->orphaned) return;
    for (int i = 0; i < CHILD_STREAMS; i++) buf_deinit(&c->outputs[i].bytes);
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
    c->end.status = status;
    c->end.signal = term_signal;
    timer_stop(c->timers, &c->timeout);
    close_once(&c->process_open, (uv_handle_t *)process);
    close_once(&c->input_open, (uv_handle_t *)&c->input);
    changed(c);
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

void child_kill(struct child *c, int signum)
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
            c->end.over_cap = c->forced = true;
            child_kill(c, SIGKILL);
            end_output(o);
        }
    } else if (n < 0) {
        end_output(o); /* a terminal's master reports its end as EIO */
    }
    changed(c);
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
    c->end.timed_out = c->forced = true;
    child_kill(c, SIGKILL);
}

void child_free(struct child *c)
{
    c->orphaned = true;
    c->changed = NULL;
    timer_stop(c->timers, &c->timeout);
    child_kill(c, SIGKILL);
    close_once(&c->input_open, (uv_handle_t *)&c->input);
    for (int i = 0; i < CHILD_STREAMS; i++) end_output(&c->outputs[i]);
    free_if_over(c); /* the process handle closes when the child's end is known */
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
static int use_terminal(struct child *c, const struct child_options *o, uv_stdio_container_t stdio[3],
                        int *slave)
{
    struct winsize size = {.ws_row = 24, .ws_col = (unsigned short)o->columns};
    int master;
    if (openpty(&master, slave, NULL, NULL, &size) != 0) return -errno;
    fcntl(master, F_SETFD, FD_CLOEXEC);
    int rc = uv_pipe_open(&c->outputs[0].uv.pipe, master);
    if (rc != 0) close(master);
    if (rc != 0) return rc;
    end_output(&c->outputs[1]);
    for (int i = 0; i < 3; i++) {
        stdio[i].flags = UV_INHERIT_FD;
        stdio[i].data.fd = *slave;
    }
    return 0;
}

static void use_pipes(struct loop *loop, struct child *c, const struct child_options *o,
                      uv_stdio_container_t stdio[3])
{
    for (int i = 0; i < CHILD_STREAMS; i++) {
        stdio[i + 1].flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE;
        stdio[i + 1].data.stream = &c->outputs[i].uv.stream;
    }
    stdio[0].flags = UV_IGNORE;
    if (o->input == NULL) return;
    uv_pipe_init(loop_uv(loop), &c->input.pipe, 0);
    c->input.stream.data = c;
    c->input_open = true;
    c->handles++;
    stdio[0].flags = UV_CREATE_PIPE | UV_READABLE_PIPE;
    stdio[0].data.stream = &c->input.stream;
}

static void feed_input(struct child *c, const struct child_options *o)
{
    if (!c->input_open) return;
    c->input_bytes = mem_dup(o->input, o->input_len);
    c->input_write.data = c;
    uv_buf_t bytes = uv_buf_init(c->input_bytes, (unsigned)o->input_len);
    if (uv_write(&c->input_write, &c->input.stream, &bytes, 1, on_written_cb) != 0)
        close_once(&c->input_open, (uv_handle_t *)&c->input);
}

/* 0 or a libuv error; on error the child is to be let go. */
static int start(struct loop *loop, struct child *c, const struct child_options *o)
{
    uv_stdio_container_t stdio[3];
    int slave = -1, rc = 0;
    for (int i = 0; i < CHILD_STREAMS; i++) open_output(loop, c, i);
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
    for (int i = 0; i < CHILD_STREAMS; i++)
        if (c->outputs[i].open) uv_read_start(&c->outputs[i].uv.stream, on_alloc_cb, on_read_cb);
    feed_input(c, o);
    if (o->timeout_ms > 0) timer_start(c->timers, &c->timeout, o->timeout_ms, on_timeout_cb);
    return 0;
}

struct child *child_start(struct loop *loop, struct timers *timers, const struct child_options *options,
                          int *error)
{
    struct child *c = mem_alloc(sizeof *c);
    c->timers = timers;
    c->output_cap = options->output_cap;
    *error = start(loop, c, options);
    if (*error == 0) return c;
    child_free(c);
    return NULL;
}

void child_watch(struct child *c, child_changed_fn changed_fn, void *ctx)
{
    c->changed = changed_fn;
    c->ctx = ctx;
}

/* ---- what became of it -------------------------------------------------------------------------------- */

const struct buf *child_output(const struct child *c, enum child_stream stream)
{
    return &c->outputs[stream].bytes;
}

bool child_has_text(const struct child *c, const char *text)
{
    for (int i = 0; i < CHILD_STREAMS; i++)
        if (c->outputs[i].bytes.len > 0 &&
            memmem(c->outputs[i].bytes.data, c->outputs[i].bytes.len, text, strlen(text)))
            return true;
    return false;
}

struct child_end child_end(const struct child *c)
{
    return c->end;
}
