/* journal.c (bindings) - perigee.core.journal: verbs of the journal as calls that wait.
 *
 *   call(verb, fields) -> rows    docs/journal.md has the verbs; fields is a flat table, rows a list of such
 *   lock(name) -> lock            of a lock that lock.take gave: freed when it is closed or collected
 *   place{state=, kind=}          before the first call
 *   status() process_id()
 *
 * Text, whole numbers, booleans (as 0 and 1), amounts (as their text) and lists of such tables go in; what is
 * NULL in a row is absent.
 */
#include "bindings/journal.h"

#include <stdio.h>
#include <string.h>

#include "bindings/modules.h"
#include "host/amountx.h"
#include "host/clock.h"
#include "host/luax.h"
#include "host/mem.h"
#include "host/task.h"

#define RECORD_CLASS "perigee.core.journal.record"
#define LOCK_CLASS   "perigee.core.journal.lock"

enum { DEEPEST = 3, ROWS_MOST = 100000 };

static const char journal_key;

void journal_install(lua_State *L, struct journal *journal)
{
    lua_pushlightuserdata(L, journal);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &journal_key);
}

static struct journal *journal_or_null(lua_State *L)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &journal_key);
    struct journal *journal = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return journal;
}

/* That of the module the running function is of, else that of the VM. */
struct journal *journal_of(lua_State *L)
{
    struct journal *journal = lua_touserdata(L, lua_upvalueindex(1));
    if (journal == NULL) journal = journal_or_null(L);
    if (journal) return journal;
    struct err err;
    err_set(&err, ERR_UNAVAILABLE, "there is no journal here");
    luax_raise_err(L, &err);
}

size_t journal_handles(lua_State *L)
{
    const struct journal *journal = journal_or_null(L);
    struct journal_status status = {.directory = NULL};
    if (journal) journal_status(journal, &status);
    return status.directory && !clock_is_virtual(sched_clock(vm_sched(vm_of(L))));
}

/* ---- from a table to a record ------------------------------------------------------------------------- */

/* Keeps a record that is being filled: reading a table may raise. */
static int l_record_free(lua_State *L)
{
    struct record **box = luaL_checkudata(L, 1, RECORD_CLASS);
    record_free(*box);
    *box = NULL;
    return 0;
}

static void read_record(lua_State *L, const char *verb, struct record *to, int depth);

/* The list at the top. */
static void read_list(lua_State *L, const char *verb, const char *name, struct record *to, int depth)
{
    lua_Integer count = luaL_len(L, -1);
    if (count == 0 && lua_next(L, (lua_pushnil(L), -2)))
        luax_invalid(L, "%s: field \"%s\" must be a list of tables", verb, name);
    if (count > ROWS_MOST || depth >= DEEPEST)
        luax_invalid(L, "%s: field \"%s\" has too many rows", verb, name);
    for (lua_Integer i = 1; i <= count; i++) {
        if (lua_geti(L, -1, i) != LUA_TTABLE)
            luax_invalid(L, "%s: field \"%s\" must be a list of tables", verb, name);
        read_record(L, verb, record_append(to, name), depth + 1);
        lua_pop(L, 1);
    }
}

static void read_text(lua_State *L, const char *verb, const char *name, struct record *to)
{
    size_t n;
    const char *text = lua_tolstring(L, -1, &n);
    if (memchr(text, 0, n)) luax_invalid(L, "%s: field \"%s\" has a zero byte in its text", verb, name);
    record_set_bytes(to, name, text, n);
}

/* The value at the top. */
static void read_value(lua_State *L, const char *verb, const char *name, struct record *to, int depth)
{
    char text[AMOUNT_TEXT_SIZE];
    const struct amount *amount = amountx_test(L, -1);
    int whole = 0;
    switch (lua_type(L, -1)) {
    case LUA_TSTRING: read_text(L, verb, name, to); return;
    case LUA_TBOOLEAN: record_set_integer(to, name, lua_toboolean(L, -1)); return;
    case LUA_TTABLE: read_list(L, verb, name, to, depth); return;
    case LUA_TNUMBER:
        record_set_integer(to, name, lua_tointegerx(L, -1, &whole));
        if (whole) return;
        break;
    default: break;
    }
    if (!amount)
        luax_invalid(L, "%s: field \"%s\" must be text, a whole number, a boolean, an amount or a list", verb,
                     name);
    amount_format(amount, text);
    record_set_text(to, name, text);
}

/* The table at the top. */
static void read_record(lua_State *L, const char *verb, struct record *to, int depth)
{
    luaL_checkstack(L, 6, "journal");
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        const char *name = luax_string(L, -2, NULL);
        if (!name) luax_invalid(L, "%s: fields have names, and this one is a %s", verb, luaL_typename(L, -2));
        read_value(L, verb, name, to, depth);
    }
}

/* [-0, +1, e] pushes the keeper of a record read from the table at index, which may be nil. */
static struct record **push_fields(lua_State *L, const char *verb, int index)
{
    struct record **box = luax_new(L, RECORD_CLASS, sizeof(struct record *));
    *box = record_new();
    if (lua_isnoneornil(L, index)) return box;
    if (!lua_istable(L, index))
        luax_invalid(L, "%s: fields must be a table, not a %s", verb, luaL_typename(L, index));
    lua_pushvalue(L, index);
    read_record(L, verb, *box, 0);
    lua_pop(L, 1);
    return box;
}

static struct record *take(struct record **box)
{
    struct record *record = *box;
    *box = NULL;
    return record;
}

/* ---- from records to tables --------------------------------------------------------------------------- */

static void push_rows(lua_State *L, const struct record_list *rows);

/* [-0, +1, m] */
static void push_record(lua_State *L, const struct record *record)
{
    size_t count = record_size(record), n;
    luaL_checkstack(L, 6, "journal");
    lua_createtable(L, 0, (int)count);
    for (size_t i = 0; i < count; i++) {
        const char *name = record_name(record, i);
        switch (record_type(record, name)) {
        case RECORD_TEXT: {
            const char *bytes = record_bytes(record, name, &n);
            lua_pushlstring(L, bytes, n);
            break;
        }
        case RECORD_INTEGER: lua_pushinteger(L, record_integer(record, name)); break;
        case RECORD_LIST: push_rows(L, record_rows(record, name)); break;
        case RECORD_NONE: continue;
        }
        lua_setfield(L, -2, name);
    }
}

/* [-0, +1, m] */
static void push_rows(lua_State *L, const struct record_list *rows)
{
    lua_createtable(L, (int)rows->count, 0);
    for (size_t i = 0; i < rows->count; i++) {
        push_record(L, rows->items[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

/* ---- call ---------------------------------------------------------------------------------------------- */

struct call_op {
    struct op op;
    struct journal_call *call; /* NULL once it was answered */
    struct record_list rows;
    bool failed;
    struct err err;
    char verb[32];
};

static void call_done_cb(void *ctx, const struct record_list *rows, const struct err *err)
{
    struct call_op *c = ctx;
    c->call = NULL;
    c->failed = err != NULL;
    if (err) c->err = *err;
    c->rows.items = mem_alloc_array(rows->count, sizeof *c->rows.items);
    while (c->rows.count < rows->count) {
        c->rows.items[c->rows.count] = record_copy(rows->items[c->rows.count]);
        c->rows.count++;
    }
    op_complete(&c->op);
}

/* What was asked happens all the same. */
static void call_abort(struct op *op)
{
    struct call_op *c = (struct call_op *)op;
    journal_abandon(c->call);
    c->call = NULL;
}

static int call_finish(lua_State *L, struct op *op)
{
    struct call_op *c = (struct call_op *)op;
    if (c->failed) luax_raise_err(L, &c->err);
    push_rows(L, &c->rows);
    return 1;
}

static void call_release(struct op *op)
{
    struct call_op *c = (struct call_op *)op;
    if (c->call) journal_abandon(c->call);
    record_list_deinit(&c->rows);
}

static void call_describe(const struct op *op, struct buf *out)
{
    buf_puts(out, ((const struct call_op *)op)->verb);
}

static const struct op_type call_type = {.name = "journal.call",
                                         .timed = true, /* where time is virtual */
                                         .abort = call_abort,
                                         .finish = call_finish,
                                         .release = call_release,
                                         .describe = call_describe};

/* call(verb[, fields]) -> rows */
static int l_call(lua_State *L)
{
    const char *verb = luaL_checkstring(L, 1);
    struct journal *journal = journal_of(L);
    lua_settop(L, 2);
    struct record **box = push_fields(L, verb, 2);
    struct call_op *c = op_new(L, &call_type, sizeof *c);
    snprintf(c->verb, sizeof c->verb, "%s", verb);
    c->call = journal_call(journal, verb, take(box), call_done_cb, c);
    return op_park(L, &c->op);
}

/* ---- locks ----------------------------------------------------------------------------------------------
 */

/* Freed without waiting, so that a task that is being cancelled can, and one that is ended from outside. */
struct held_lock {
    struct journal *journal;
    char *name; /* NULL: freed */
    char *note;
};

static int l_lock_close(lua_State *L)
{
    struct held_lock *lock = luaL_checkudata(L, 1, LOCK_CLASS);
    if (lock->name) {
        struct record *in = record_new();
        record_set_text(in, "name", lock->name);
        record_set_text(in, "note", lock->note);
        journal_call(lock->journal, "lock.free", in, NULL, NULL);
    }
    mem_free(lock->name);
    mem_free(lock->note);
    lock->name = lock->note = NULL;
    return 0;
}

/* lock:note([text]): what its next holder is told; without text nothing */
static int l_lock_note(lua_State *L)
{
    struct held_lock *lock = luaL_checkudata(L, 1, LOCK_CLASS);
    const char *note = luaL_optstring(L, 2, NULL);
    mem_free(lock->note);
    lock->note = mem_strdup(note);
    return 0;
}

/* lock(name) -> an object with :note(text) and :close(), of a lock that this task has just taken */
static int l_lock(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    struct journal *journal = journal_of(L);
    struct held_lock *lock = luax_new(L, LOCK_CLASS, sizeof *lock);
    lock->journal = journal;
    lock->name = mem_strdup(name);
    return 1;
}

/* ---- place and state ------------------------------------------------------------------------------------
 */

/* place{state=, kind=} */
static int l_place(lua_State *L)
{
    static const char *const fields[] = {"state", "kind", NULL};
    luax_check_options(L, 1, "journal.place", fields);
    const char *state = luax_opt_string(L, 1, "journal.place", "state", NULL, NULL);
    const char *kind = luax_opt_string(L, 1, "journal.place", "kind", NULL, "run");
    if (!state || !state[0]) luax_invalid(L, "journal.place: state is missing");
    struct err err;
    if (journal_place(journal_of(L), state, kind, &err) < 0) luax_raise_err(L, &err);
    return 0;
}

static void set_milliseconds(lua_State *L, const char *field, uint64_t us)
{
    lua_pushnumber(L, (lua_Number)us / 1000);
    lua_setfield(L, -2, field);
}

static void set_integer(lua_State *L, const char *field, uint64_t n)
{
    lua_pushinteger(L, (lua_Integer)n);
    lua_setfield(L, -2, field);
}

static void set_text(lua_State *L, const char *field, const char *text)
{
    if (!text || !text[0]) return;
    lua_pushstring(L, text);
    lua_setfield(L, -2, field);
}

static void set_boolean(lua_State *L, const char *field, bool value)
{
    lua_pushboolean(L, value);
    lua_setfield(L, -2, field);
}

/* status() -> directory, engine, open, ok, code and message if not ok, queued, calls, commits, their times in
 * milliseconds, bytes, and answered_ago in seconds.  What is not known is absent. */
static int l_status(lua_State *L)
{
    struct journal_status s;
    const struct clock *clock = sched_clock(vm_sched(vm_of(L)));
    journal_status(journal_of(L), &s);
    lua_createtable(L, 0, 16);
    set_text(L, "directory", s.directory);
    set_text(L, "engine", s.engine);
    set_boolean(L, "open", s.open);
    set_boolean(L, "ok", s.ok);
    if (!s.ok) {
        set_text(L, "code", s.err.code);
        set_text(L, "message", s.err.message);
    }
    set_integer(L, "queued", s.queued);
    set_integer(L, "calls", s.calls);
    set_integer(L, "commits", s.commits);
    set_integer(L, "bytes", (uint64_t)s.bytes);
    set_milliseconds(L, "last_commit_ms", s.last_commit_us);
    set_milliseconds(L, "worst_commit_ms", s.worst_commit_us);
    if (s.commits) set_milliseconds(L, "mean_commit_ms", s.total_commit_us / s.commits);
    if (s.answered_ms) set_milliseconds(L, "answered_ago", clock_now_ms(clock) - s.answered_ms);
    if (s.since_ms) set_milliseconds(L, "since", clock_now_ms(clock) - s.since_ms);
    return 1;
}

/* process_id() -> 32 hex digits, or nil before the first answer */
static int l_process_id(lua_State *L)
{
    const char *id = journal_process_id(journal_of(L));
    if (!id[0]) return 0;
    lua_pushstring(L, id);
    return 1;
}

/* ---- registration ---------------------------------------------------------------------------------------
 */

static const luaL_Reg record_meta[] = {{"__gc", l_record_free}, {NULL, NULL}};

static const luaL_Reg lock_methods[] = {{"close", l_lock_close}, {"note", l_lock_note}, {NULL, NULL}};

static const luaL_Reg lock_meta[] = {{"__gc", l_lock_close}, {"__close", l_lock_close}, {NULL, NULL}};

static const luaL_Reg functions[] = {{"call", l_call},
                                     {"lock", l_lock},
                                     {"place", l_place},
                                     {"status", l_status},
                                     {"process_id", l_process_id},
                                     {NULL, NULL}};

void journal_push_module(lua_State *L, struct journal *journal)
{
    luaL_newlibtable(L, functions);
    lua_pushlightuserdata(L, journal);
    luaL_setfuncs(L, functions, 1);
}

int luaopen_perigee_core_journal(lua_State *L)
{
    luax_class(L, RECORD_CLASS, NULL, record_meta);
    luax_class(L, LOCK_CLASS, lock_methods, lock_meta);
    journal_push_module(L, NULL);
    return 1;
}
