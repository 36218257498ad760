/* run_input.c - standard input in pieces, for a command that reads it while tasks go on.
 *
 * Owns an epoll descriptor with standard input in it, which the loop polls: libuv would make standard input
 * itself non-blocking, for the shell and for all others that share it.  A regular file cannot be waited for:
 * it is read at once.
 */
#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "host/luax.h"
#include "host/mem.h"
#include "host/run_internal.h"

enum { PIECE = 65536 };

struct input {
    uv_poll_t poll;
    int epoll;
    struct input_op *reader; /* NULL: nobody waits now */
};

struct input_op {
    struct op op;
    struct run *run;
};

static void on_readable_cb(uv_poll_t *poll, int status, int events)
{
    struct input *input = poll->data;
    (void)events;
    if (status >= 0 && signals_undelivered()) return; /* a Ctrl-C first, then the line behind it */
    uv_poll_stop(poll);
    if (input->reader) op_complete(&input->reader->op);
    input->reader = NULL;
}

static void on_closed_cb(uv_handle_t *handle)
{
    struct input *input = handle->data;
    close(input->epoll);
    mem_free(input);
}

/* NULL where standard input is nothing that can be waited for. */
static struct input *input_new(struct loop *loop)
{
    struct epoll_event event = {.events = EPOLLIN};
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0) return NULL;
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event) != 0) {
        close(epoll);
        return NULL;
    }
    struct input *input = mem_alloc(sizeof *input);
    input->epoll = epoll;
    uv_poll_init(loop_uv(loop), &input->poll, epoll);
    input->poll.data = input;
    return input;
}

void run_close_input(struct run *run)
{
    if (run->input == NULL) return;
    uv_close((uv_handle_t *)&run->input->poll, on_closed_cb);
    run->input = NULL;
}

static void input_abort(struct op *op)
{
    struct input *input = ((struct input_op *)op)->run->input;
    if (input == NULL) return; /* a file, which is always ready */
    uv_poll_stop(&input->poll);
    input->reader = NULL;
}

static int input_finish(lua_State *L, struct op *op)
{
    (void)op;
    luaL_Buffer piece;
    char *bytes = luaL_buffinitsize(L, &piece, PIECE);
    ssize_t n;
    do n = read(STDIN_FILENO, bytes, PIECE);
    while (n < 0 && errno == EINTR);
    luaL_pushresultsize(&piece, n > 0 ? (size_t)n : 0);
    if (n > 0) return 1;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return 1; /* "": somebody else was faster */
    lua_pushnil(L);
    return 1;
}

static const struct op_type input_type = {
    .name = "read_input", .timed = true, .abort = input_abort, .finish = input_finish};

/* read_input() -> what there is on standard input, "" now and then, nil at its end; waits. */
static int l_read_input(lua_State *L)
{
    struct run *run = run_of(L);
    if (run->input && run->input->reader) return luaL_error(L, "read_input: another task waits for it");
    if (run->input == NULL) run->input = input_new(run->loop);
    struct input_op *op = op_new(L, &input_type, sizeof *op);
    op->run = run;
    if (run->input == NULL) {
        op_complete(&op->op);
    } else {
        run->input->reader = op;
        uv_poll_start(&run->input->poll, UV_READABLE, on_readable_cb);
    }
    return op_park(L, &op->op);
}

void run_push_input(lua_State *L, struct run *run)
{
    static const luaL_Reg functions[] = {{"read_input", l_read_input}, {NULL, NULL}};
    lua_pushlightuserdata(L, run);
    luaL_setfuncs(L, functions, 1);
}
