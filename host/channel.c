/* channel.c - two queues of copied values, and the waits at their ends. */
#include "host/channel.h"

#include <stdbool.h>
#include <stdio.h>

#include "host/list.h"
#include "host/luax.h"
#include "host/mem.h"
#include "host/plain.h"
#include "host/task.h"
#include "host/vm.h"

static const char end_class[] = "perigee.channel";

struct message {
    struct list_node link;
    struct buf bytes;
};

/* One direction, or rather: what one end has to read. */
struct inbox {
    struct list_node messages;
    struct list_node readers; /* ops of the end that reads */
    struct list_node writers; /* ops of the other end, waiting for room */
    size_t count;
    bool closed; /* nothing more will come */
};

/* Lives until both ends are gone. */
struct channel {
    struct inbox inboxes[2];
    size_t capacity;
    size_t most_bytes; /* of one message that side 1 sends; 0: any */
    int ends;
};

struct end {
    struct channel *channel; /* NULL: closed */
    int side;
};

struct channel_op {
    struct op op;
    struct list_node link;
    struct channel *channel;
    struct inbox *inbox;
    struct message *message; /* send: not yet delivered; receive: delivered, not yet read */
    struct vm *vm;           /* send: whose memory account has the message while it waits for room */
    size_t accounted;
};

/* ---- queues ----------------------------------------------------------------------------------------- */

static void message_free(struct message *m)
{
    if (m == NULL) return;
    buf_deinit(&m->bytes);
    mem_free(m);
}

static struct channel_op *first_op(struct list_node *list)
{
    struct list_node *n = list_pop(list);
    return n ? LIST_ENTRY(n, struct channel_op, link) : NULL;
}

/* Hands the message to a waiting reader, or queues it. */
static void deliver(struct inbox *inbox, struct message *m)
{
    struct channel_op *reader = first_op(&inbox->readers);
    if (reader) {
        reader->message = m;
        op_complete(&reader->op);
    } else {
        list_append(&inbox->messages, &m->link);
        inbox->count++;
    }
}

/* The oldest message; a writer that waited for room gets it. */
static struct message *take_message(struct inbox *inbox)
{
    struct list_node *n = list_pop(&inbox->messages);
    if (n == NULL) return NULL;
    inbox->count--;
    struct channel_op *writer = first_op(&inbox->writers);
    if (writer) {
        struct message *m = writer->message;
        writer->message = NULL;
        deliver(inbox, m);
        op_complete(&writer->op);
    }
    return LIST_ENTRY(n, struct message, link);
}

static void inbox_init(struct inbox *inbox)
{
    list_init(&inbox->messages);
    list_init(&inbox->readers);
    list_init(&inbox->writers);
}

static void inbox_close(struct inbox *inbox)
{
    struct channel_op *op;
    inbox->closed = true;
    while ((op = first_op(&inbox->readers)) != NULL) op_complete(&op->op);
    while ((op = first_op(&inbox->writers)) != NULL) op_complete(&op->op);
}

static void channel_release(struct channel *c)
{
    if (--c->ends > 0) return;
    for (int i = 0; i < 2; i++) {
        struct list_node *n;
        while ((n = list_pop(&c->inboxes[i].messages)) != NULL)
            message_free(LIST_ENTRY(n, struct message, link));
    }
    mem_free(c);
}

/* ---- waits ------------------------------------------------------------------------------------------ */

static void channel_op_abort(struct op *op)
{
    list_remove(&((struct channel_op *)op)->link);
}

static void send_release(struct op *op)
{
    struct channel_op *c = (struct channel_op *)op;
    message_free(c->message);
    if (c->accounted) vm_account(c->vm, -(ptrdiff_t)c->accounted);
    channel_release(c->channel);
}

/* A message that was handed to a task which was then ended goes to the next reader, or back to the head of
 * the queue. */
static void receive_release(struct op *op)
{
    struct channel_op *c = (struct channel_op *)op;
    if (c->message && !list_empty(&c->inbox->readers)) {
        deliver(c->inbox, c->message);
    } else if (c->message) {
        list_prepend(&c->inbox->messages, &c->message->link);
        c->inbox->count++;
    }
    channel_release(c->channel);
}

static int closed_error(lua_State *L)
{
    struct err e;
    err_set(&e, ERR_CLOSED, "channel: the other end is closed");
    luax_raise_err(L, &e);
}

static int send_finish(lua_State *L, struct op *op)
{
    struct channel_op *c = (struct channel_op *)op;
    if (c->message == NULL) return 0;
    return closed_error(L); /* it never left: the other end was closed */
}

static int receive_finish(lua_State *L, struct op *op)
{
    struct channel_op *c = (struct channel_op *)op;
    lua_pushboolean(L, c->message != NULL);
    if (c->message == NULL) return 1;
    plain_read(L, c->message->bytes.data, c->message->bytes.len);
    message_free(c->message);
    c->message = NULL;
    return 2;
}

static const struct op_type send_type = {
    .name = "channel:send",
    .timed = true, /* the other VM is on the same clock */
    .abort = channel_op_abort,
    .finish = send_finish,
    .release = send_release,
};

static const struct op_type receive_type = {
    .name = "channel:receive",
    .timed = true,
    .abort = channel_op_abort,
    .finish = receive_finish,
    .release = receive_release,
};

/* [-0, +0, e] */
static struct channel_op *wait_at(lua_State *L, const struct op_type *type, struct channel *c,
                                  struct inbox *inbox)
{
    struct channel_op *op = op_new(L, type, sizeof *op);
    op->channel = c;
    op->inbox = inbox;
    c->ends++; /* the op may outlive the end */
    return op;
}

/* ---- the ends --------------------------------------------------------------------------------------- */

/* [-0, +0, e] */
static struct end *check_end(lua_State *L)
{
    struct end *end = luaL_checkudata(L, 1, end_class);
    if (end->channel == NULL) luax_invalid(L, "channel: this end is closed");
    return end;
}

/* [-0, +0, e] the value at index 2 as a message, in *holder; raises if it is not plain */
static struct message *copy_value(lua_State *L, struct message **holder)
{
    struct err e;
    struct message *m = *holder = mem_alloc(sizeof *m);
    const struct end *end = lua_touserdata(L, 1);
    size_t most = end->side == 1 ? end->channel->most_bytes : 0;
    if (plain_write(L, 2, &m->bytes, &e) == 0) {
        if (most == 0 || m->bytes.len <= most) return m;
        err_set(&e, ERR_LIMIT, "channel: a message of %zu bytes is too large, at most %zu", m->bytes.len,
                most);
    }
    message_free(m);
    *holder = NULL;
    luax_raise_err(L, &e);
}

/* end:send(value): waits for room; raises `closed` if the other end is gone */
static int l_send(lua_State *L)
{
    struct end *end = check_end(L);
    struct channel *c = end->channel;
    struct inbox *inbox = &c->inboxes[!end->side];
    struct message *m = NULL;
    luaL_checkany(L, 2);
    if (inbox->closed) return closed_error(L);
    if (inbox->count < c->capacity) {
        deliver(inbox, copy_value(L, &m));
        return 0;
    }
    struct channel_op *op = wait_at(L, &send_type, c, inbox);
    op->vm = vm_of(L);
    size_t bytes = copy_value(L, &op->message)->bytes.len;
    if (!vm_account(op->vm, (ptrdiff_t)bytes)) {
        struct err e;
        err_set(&e, ERR_LIMIT, "channel: what waits to be sent exceeds the memory of %s", vm_name(op->vm));
        luax_raise_err(L, &e); /* the op goes with what it holds */
    }
    op->accounted = bytes;
    list_append(&inbox->writers, &op->link);
    return op_park(L, &op->op);
}

/* end:receive() -> true, value | false */
static int l_receive(lua_State *L)
{
    struct end *end = check_end(L);
    struct inbox *inbox = &end->channel->inboxes[end->side];
    if (inbox->count == 0 && inbox->closed) {
        lua_pushboolean(L, false);
        return 1;
    }
    struct channel_op *op = wait_at(L, &receive_type, end->channel, inbox);
    op->message = take_message(inbox);
    if (op->message)
        op_complete(&op->op);
    else
        list_append(&inbox->readers, &op->link);
    return op_park(L, &op->op);
}

static int l_close(lua_State *L)
{
    struct end *end = luaL_checkudata(L, 1, end_class);
    struct channel *c = end->channel;
    if (c == NULL) return 0;
    end->channel = NULL;
    inbox_close(&c->inboxes[0]);
    inbox_close(&c->inboxes[1]);
    channel_release(c);
    return 0;
}

/* [-0, +1, m] */
static void push_end(lua_State *L, struct channel *c, int side)
{
    static const luaL_Reg methods[] = {
        {"send", l_send}, {"receive", l_receive}, {"close", l_close}, {NULL, NULL}};
    static const luaL_Reg meta[] = {{"__close", l_close}, {"__gc", l_close}, {NULL, NULL}};
    luax_class(L, end_class, methods, meta);
    struct end *end = luax_new(L, end_class, sizeof *end);
    end->channel = c;
    end->side = side;
    c->ends++;
}

void channel_push_ends(lua_State *a, lua_State *b, size_t capacity, size_t most_bytes)
{
    struct channel *c = mem_alloc(sizeof *c);
    c->capacity = capacity;
    c->most_bytes = most_bytes;
    inbox_init(&c->inboxes[0]);
    inbox_init(&c->inboxes[1]);
    push_end(a, c, 0);
    push_end(b, c, 1);
}
