/* editor.c - perigee.core.editor: lines that a person types, for Lua.
 *
 *   open() -> editor        takes the terminal; raises `unavailable` (code no_terminal, busy or no_library)
 *
 *   ed:read{prompt=, initial=, hidden=} -> text, or nil and "eof" or "interrupt"; waits, one at a time
 *   ed:ask{prompt=, hidden=} -> text or nil  a question; before the line being typed; several queue up
 *   ed:interrupt() -> boolean                Ctrl-C: ends what is on the screen; true if there was one
 *   ed:next_completion() -> {number=, text=, point=}
 *                                            waits for Tab; point: bytes before the cursor
 *   ed:complete(number, {from=, candidates={{text=, display=}, …}})
 *                                            for the bytes from..point; see host/editor.h
 *   ed:set_history(list)  ed:add_history(text)  ed:clear()  ed:columns()  ed:close()
 */
#include "bindings/modules.h"

#include <string.h>

#include "host/editor.h"
#include "host/luax.h"
#include "host/task.h"
#include "host/term.h"

static const char editor_class[] = "perigee.editor";

struct completion_op;

struct holder {
    struct editor *editor; /* NULL: closed */
    struct completion_op *waiter;
};

struct read_op {
    struct op op;
    struct editor_read read;
    struct holder *holder; /* on the stack of the call: lives as long as the op is parked */
};

struct completion_op {
    struct op op;
    struct holder *holder;
};

static struct holder *check_editor(lua_State *L)
{
    struct holder *holder = luaL_checkudata(L, 1, editor_class);
    struct err err;
    if (holder->editor) return holder;
    err_set(&err, ERR_CLOSED, "the line editor is closed");
    luax_raise_err(L, &err);
}

/* ---- reading ------------------------------------------------------------------------------------------ */

static void on_read_done(struct editor_read *read)
{
    op_complete(&LIST_ENTRY(read, struct read_op, read)->op);
}

static void read_abort(struct op *op)
{
    struct read_op *r = (struct read_op *)op;
    editor_cancel(r->holder->editor, &r->read);
}

static void read_release(struct op *op)
{
    struct read_op *r = (struct read_op *)op;
    buf_deinit(&r->read.prompt);
    buf_deinit(&r->read.text);
}

static int read_finish(lua_State *L, struct op *op)
{
    const struct editor_read *read = &((struct read_op *)op)->read;
    struct err err;
    switch (read->end) {
    case EDITOR_TEXT: lua_pushlstring(L, buf_str(&read->text), read->text.len); return 1;
    case EDITOR_CLOSED:
        err_set(&err, ERR_CLOSED, "the line editor was closed");
        return luax_raise_err(L, &err);
    case EDITOR_EOF:
    case EDITOR_INTERRUPT: break;
    }
    lua_pushnil(L);
    lua_pushstring(L, read->end == EDITOR_EOF ? "eof" : "interrupt");
    return 2;
}

static const struct op_type read_type = {
    .name = "editor:read", .abort = read_abort, .finish = read_finish, .release = read_release};

static void set_text(lua_State *L, const char *who, const char *field, struct buf *out)
{
    size_t n;
    const char *text = luax_opt_string(L, 2, who, field, &n, NULL);
    if (text) buf_append(out, text, n);
    lua_pop(L, 1);
}

/* [-0, +?, e] waits for a line */
static int wait_for_line(lua_State *L, struct holder *holder, const char *who, bool question)
{
    bool hidden = luax_opt_boolean(L, 2, who, "hidden", false);
    struct read_op *op = op_new(L, &read_type, sizeof *op);
    op->holder = holder;
    op->read.done = on_read_done;
    op->read.question = question;
    op->read.hidden = hidden;
    set_text(L, who, "prompt", &op->read.prompt);
    set_text(L, who, "initial", &op->read.text);
    op->read.point = op->read.text.len;
    editor_begin(holder->editor, &op->read);
    return op_park(L, &op->op);
}

static int l_read(lua_State *L)
{
    static const char *const fields[] = {"prompt", "initial", "hidden", NULL};
    struct holder *holder = check_editor(L);
    luax_check_options(L, 2, "editor:read", fields);
    if (editor_is_reading(holder->editor)) luax_invalid(L, "editor:read: another task reads a line");
    return wait_for_line(L, holder, "editor:read", false);
}

static int l_ask(lua_State *L)
{
    static const char *const fields[] = {"prompt", "hidden", NULL};
    struct holder *holder = check_editor(L);
    luax_check_options(L, 2, "editor:ask", fields);
    return wait_for_line(L, holder, "editor:ask", true);
}

static int l_interrupt(lua_State *L)
{
    lua_pushboolean(L, editor_interrupt(check_editor(L)->editor));
    return 1;
}

/* ---- completion --------------------------------------------------------------------------------------- */

static void on_tab(void *ctx)
{
    struct holder *holder = ctx;
    if (holder->waiter) op_complete(&holder->waiter->op);
    holder->waiter = NULL;
}

static void completion_abort(struct op *op)
{
    ((struct completion_op *)op)->holder->waiter = NULL;
}

static int completion_finish(lua_State *L, struct op *op)
{
    const struct holder *holder = ((struct completion_op *)op)->holder;
    struct err err;
    const char *text;
    size_t n, point;
    unsigned long number;
    if (holder->editor == NULL) {
        err_set(&err, ERR_CLOSED, "the line editor was closed");
        return luax_raise_err(L, &err);
    }
    number = editor_completion_text(holder->editor, &text, &n, &point);
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, (lua_Integer)number);
    lua_setfield(L, -2, "number");
    lua_pushlstring(L, text, n);
    lua_setfield(L, -2, "text");
    lua_pushinteger(L, (lua_Integer)point);
    lua_setfield(L, -2, "point");
    return 1;
}

/* Timed: a virtual clock does not wait for a key that may never come. */
static const struct op_type completion_type = {
    .name = "editor:next_completion", .timed = true, .abort = completion_abort, .finish = completion_finish};

static int l_next_completion(lua_State *L)
{
    struct holder *holder = check_editor(L);
    if (holder->waiter) luax_invalid(L, "editor:next_completion: another task waits for it");
    struct completion_op *op = op_new(L, &completion_type, sizeof *op);
    op->holder = holder;
    if (editor_has_completion(holder->editor))
        op_complete(&op->op);
    else
        holder->waiter = op;
    return op_park(L, &op->op);
}

/* The strings stay alive in the table at index 4 of the stack. */
static size_t read_candidates(lua_State *L, struct editor_candidate *candidates, size_t count)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, 4, (lua_Integer)i + 1);
        luaL_checktype(L, -1, LUA_TTABLE);
        lua_getfield(L, -1, "text");
        lua_getfield(L, -2, "display");
        candidates[n].text = luax_string(L, -2, NULL);
        candidates[n].display = luax_string(L, -1, NULL);
        if (candidates[n].text) n++;
        lua_pop(L, 3);
    }
    return n;
}

static int l_complete(lua_State *L)
{
    struct holder *holder = check_editor(L);
    lua_Integer number = luaL_checkinteger(L, 2);
    luaL_checktype(L, 3, LUA_TTABLE);
    lua_settop(L, 3);
    lua_getfield(L, 3, "candidates");
    luaL_checktype(L, 4, LUA_TTABLE);
    lua_getfield(L, 3, "from");
    lua_Integer from = luaL_checkinteger(L, 5);
    luaL_argcheck(L, number >= 0 && from >= 0, 3, "number and from must be 0 or more");
    size_t count = lua_rawlen(L, 4);
    struct editor_candidate *candidates = lua_newuserdatauv(L, (count + 1) * sizeof *candidates, 0);
    count = read_candidates(L, candidates, count);
    editor_complete(holder->editor, (unsigned long)number, (size_t)from, candidates, count);
    return 0;
}

/* ---- the rest ----------------------------------------------------------------------------------------- */

static int l_set_history(lua_State *L)
{
    struct holder *holder = check_editor(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    editor_history_clear(holder->editor);
    for (lua_Integer i = 1; lua_rawgeti(L, 2, i) != LUA_TNIL; i++) {
        editor_history_add(holder->editor, luaL_checkstring(L, -1));
        lua_pop(L, 1);
    }
    return 0;
}

static int l_add_history(lua_State *L)
{
    struct holder *holder = check_editor(L);
    editor_history_add(holder->editor, luaL_checkstring(L, 2));
    return 0;
}

static int l_clear(lua_State *L)
{
    check_editor(L);
    term_clear(term_process());
    return 0;
}

static int l_columns(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)editor_columns(check_editor(L)->editor));
    return 1;
}

static int l_close(lua_State *L)
{
    struct holder *holder = luaL_checkudata(L, 1, editor_class);
    struct editor *editor = holder->editor;
    holder->editor = NULL;
    if (editor) editor_close(editor);
    on_tab(holder);
    return 0;
}

static int l_open(lua_State *L)
{
    static const struct editor_events events = {.tab = on_tab};
    static const char *const fields[] = {"first_prompt", NULL};
    struct err err;
    luax_check_options(L, 1, "editor.open", fields);
    const char *first_prompt = luax_opt_string(L, 1, "editor.open", "first_prompt", NULL, NULL);
    struct holder *holder = luax_new(L, editor_class, sizeof *holder);
    holder->editor =
        editor_open(sched_loop(vm_sched(vm_of(L))), term_process(), &events, holder, first_prompt, &err);
    if (holder->editor == NULL) luax_raise_err(L, &err);
    return 1;
}

int luaopen_perigee_core_editor(lua_State *L)
{
    static const luaL_Reg methods[] = {{"read", l_read},
                                       {"ask", l_ask},
                                       {"interrupt", l_interrupt},
                                       {"next_completion", l_next_completion},
                                       {"complete", l_complete},
                                       {"set_history", l_set_history},
                                       {"add_history", l_add_history},
                                       {"clear", l_clear},
                                       {"columns", l_columns},
                                       {"close", l_close},
                                       {NULL, NULL}};
    static const luaL_Reg metamethods[] = {{"__gc", l_close}, {"__close", l_close}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"open", l_open}, {NULL, NULL}};
    luax_class(L, editor_class, methods, metamethods);
    luaL_newlib(L, functions);
    return 1;
}
