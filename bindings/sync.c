/* sync.c - perigee.core.sync: semaphores, on which locks and queues are built.
 *
 * A permit is handed over, not put back and fought for: who waits longest gets it.  One that was handed to
 * a task which is ended before it could take it goes on to the next.
 */
#include "host/luax.h"
#include "host/task.h"

#include "bindings/modules.h"

static const char semaphore_class[] = "perigee.semaphore";
static const char permit_class[] = "perigee.semaphore.permit";

struct semaphore {
    struct list_node waiters;
    lua_Integer free;
    bool closed;
};

/* What acquire returns: gives the permit back when closed or collected.  Its user value keeps the
 * semaphore alive. */
struct held_permit {
    struct semaphore *semaphore; /* NULL: given back, or not yet taken */
};

struct take_op {
    struct op op;
    struct list_node link;
    struct semaphore *semaphore;
    struct held_permit *permit; /* NULL for take(): no object wanted */
    bool granted;               /* a permit is ours, but not delivered */
};

static void give(struct semaphore *s)
{
    struct list_node *n = list_pop(&s->waiters);
    if (n == NULL) {
        s->free++;
        return;
    }
    struct take_op *op = LIST_ENTRY(n, struct take_op, link);
    op->granted = true;
    op_complete(&op->op);
}

static void take_abort(struct op *op)
{
    list_remove(&((struct take_op *)op)->link);
}

static int raise_closed(lua_State *L)
{
    struct err e;
    err_set(&e, ERR_CLOSED, "the semaphore is closed");
    luax_raise_err(L, &e);
}

static int take_finish(lua_State *L, struct op *op)
{
    struct take_op *t = (struct take_op *)op;
    bool granted = t->granted;
    t->granted = false;
    if (t->permit == NULL) {
        lua_pushboolean(L, granted);
        return 1;
    }
    if (!granted) return raise_closed(L);
    t->permit->semaphore = t->semaphore;
    lua_settop(L, 2);
    return 1;
}

static void take_release(struct op *op)
{
    struct take_op *t = (struct take_op *)op;
    if (t->granted) give(t->semaphore);
}

static const struct op_type take_type = {
    .name = "task.semaphore",
    .internal = true,
    .abort = take_abort,
    .finish = take_finish,
    .release = take_release,
};

/* [-0, +?, e] the wait of acquire and take; the caller's stack holds semaphore and permit */
static int wait_for_permit(lua_State *L, struct semaphore *s, struct held_permit *permit)
{
    struct take_op *op = op_new(L, &take_type, sizeof *op);
    op->semaphore = s;
    op->permit = permit;
    list_append(&s->waiters, &op->link);
    return op_park(L, &op->op);
}

static struct semaphore *check_semaphore(lua_State *L)
{
    return luaL_checkudata(L, 1, semaphore_class);
}

/* semaphore(n): n permits */
static int l_semaphore(lua_State *L)
{
    lua_Integer n = luaL_checkinteger(L, 1);
    luaL_argcheck(L, n >= 0, 1, "permits must be 0 or more");
    struct semaphore *s = luax_new(L, semaphore_class, sizeof *s);
    list_init(&s->waiters);
    s->free = n;
    return 1;
}

/* s:acquire() -> permit, a value to close; s:acquire(false) -> permit or nil at once; raises `closed` if
 * there will be none */
static int l_acquire(lua_State *L)
{
    struct semaphore *s = check_semaphore(L);
    bool may_wait = lua_isnoneornil(L, 2) || lua_toboolean(L, 2);
    lua_settop(L, 1);
    struct held_permit *p = lua_newuserdatauv(L, sizeof *p, 1);
    p->semaphore = NULL;
    luaL_setmetatable(L, permit_class);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, 2, 1);
    if (s->free > 0) {
        s->free--;
        p->semaphore = s;
        return 1;
    }
    if (s->closed) return raise_closed(L);
    if (!may_wait) return 0;
    return wait_for_permit(L, s, p);
}

/* s:take() -> true, or false once the semaphore is closed and has no permit left */
static int l_take(lua_State *L)
{
    struct semaphore *s = check_semaphore(L);
    lua_settop(L, 1);
    if (s->free > 0 || s->closed) {
        lua_pushboolean(L, s->free > 0);
        if (s->free > 0) s->free--;
        return 1;
    }
    return wait_for_permit(L, s, NULL);
}

/* s:give(): one permit more */
static int l_give(lua_State *L)
{
    give(check_semaphore(L));
    return 0;
}

/* s:close(): who waits in take, now or later, gets false; in acquire, an error */
static int l_close(lua_State *L)
{
    struct semaphore *s = check_semaphore(L);
    s->closed = true;
    struct list_node *n;
    while ((n = list_pop(&s->waiters)) != NULL) op_complete(&LIST_ENTRY(n, struct take_op, link)->op);
    return 0;
}

/* s:free() -> permits nobody holds */
static int l_free(lua_State *L)
{
    lua_pushinteger(L, check_semaphore(L)->free);
    return 1;
}

static int l_permit_close(lua_State *L)
{
    struct held_permit *p = luaL_checkudata(L, 1, permit_class);
    struct semaphore *s = p->semaphore;
    p->semaphore = NULL;
    if (s) give(s);
    return 0;
}

int luaopen_perigee_core_sync(lua_State *L)
{
    static const luaL_Reg functions[] = {{"semaphore", l_semaphore}, {NULL, NULL}};
    static const luaL_Reg methods[] = {{"acquire", l_acquire}, {"take", l_take}, {"give", l_give},
                                       {"close", l_close},     {"free", l_free}, {NULL, NULL}};
    static const luaL_Reg permit_methods[] = {{"release", l_permit_close}, {NULL, NULL}};
    static const luaL_Reg permit_meta[] = {
        {"__close", l_permit_close}, {"__gc", l_permit_close}, {NULL, NULL}};
    luax_class(L, semaphore_class, methods, NULL);
    luax_class(L, permit_class, permit_methods, permit_meta);
    luaL_newlib(L, functions);
    return 1;
}
