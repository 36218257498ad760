/* term.c - perigee.core.term: the one writer of all output, and progress bars, for Lua.
 *
 *   print(…)                     the script's print
 *   write(stream, text[, true])  stream: "out" or "err"; true: text of others, colour sequences do not pass
 *   width(text) escape(text) cut(text, cells)
 *   columns() at_line_start() is_tty(stream) has_color(stream) is_quiet() set_quiet(on) set_progress(on)
 *   bar{label=, total=, unit=}   a bar: :set(done[, total]) :label(text) :finish(failed[, note])
 * The writer is the process's, so bars and lines of several VMs do not mix.
 */
#include "bindings/modules.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#include "host/bar.h"
#include "host/buf.h"
#include "host/luax.h"
#include "host/task.h"
#include "host/term.h"
#include "host/text.h"

#define BAR_CLASS "perigee.core.term.bar"

static enum term_stream check_stream(lua_State *L, int index)
{
    static const char *const names[] = {"out", "err", NULL};
    return luaL_checkoption(L, index, NULL, names) == 0 ? TERM_OUT : TERM_ERR;
}

/* One write for each call, so that lines of several tasks stay whole. */
static int l_print(lua_State *L)
{
    luaL_Buffer line;
    int n = lua_gettop(L);
    for (int i = 1; i <= n; i++) {
        luaL_tolstring(L, i, NULL);
        lua_replace(L, i);
    }
    luaL_buffinit(L, &line);
    for (int i = 1; i <= n; i++) {
        if (i > 1) luaL_addchar(&line, '\t');
        lua_pushvalue(L, i);
        luaL_addvalue(&line);
    }
    luaL_addchar(&line, '\n');
    luaL_pushresult(&line);
    size_t len;
    const char *text = lua_tolstring(L, -1, &len);
    term_write(term_process(), TERM_OUT, text, len);
    return 0;
}

/* Returns false when nobody reads the stream any more. */
static int l_write(lua_State *L)
{
    enum term_stream stream = check_stream(L, 1);
    size_t len;
    const char *text = luaL_checklstring(L, 2, &len);
    int rc = lua_toboolean(L, 3) ? term_write_untrusted(term_process(), stream, text, len)
                                 : term_write(term_process(), stream, text, len);
    lua_pushboolean(L, rc == 0);
    return 1;
}

static int l_columns(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)term_columns(term_process()));
    return 1;
}

/* at_line_start() -> false where a line was begun on the terminal and not ended */
static int l_at_line_start(lua_State *L)
{
    lua_pushboolean(L, !term_has_partial(term_process()));
    return 1;
}

/* is_tty("out" | "err" | "stdin") */
static int l_is_tty(lua_State *L)
{
    bool input = strcmp(luaL_checkstring(L, 1), "stdin") == 0;
    lua_pushboolean(L, input ? isatty(STDIN_FILENO) : term_is_tty(term_process(), check_stream(L, 1)));
    return 1;
}

static int l_has_color(lua_State *L)
{
    lua_pushboolean(L, term_has_color(term_process(), check_stream(L, 1)));
    return 1;
}

static int l_is_quiet(lua_State *L)
{
    lua_pushboolean(L, term_is_quiet(term_process()));
    return 1;
}

static int l_set_quiet(lua_State *L)
{
    term_set_quiet(term_process(), lua_toboolean(L, 1));
    return 0;
}

static int l_set_progress(lua_State *L)
{
    term_set_progress(term_process(), lua_toboolean(L, 1));
    return 0;
}

/* ---- bars --------------------------------------------------------------------------------------------- */

static struct bar *check_bar(lua_State *L)
{
    struct bar **holder = luaL_checkudata(L, 1, BAR_CLASS);
    if (*holder == NULL) luax_invalid(L, "progress: the bar is finished");
    return *holder;
}

/* A count that a bar can show. */
static double check_count(lua_State *L, int index, const char *what)
{
    double n = luaL_checknumber(L, index);
    if (!isfinite(n) || n < 0) luax_invalid(L, "progress: %s must be 0 or more", what);
    return n;
}

static int l_bar(lua_State *L)
{
    static const char *const fields[] = {"label", "total", "unit", NULL};
    struct bar_options options = {0};
    luax_check_options(L, 1, "progress.new", fields);
    lua_settop(L, 1);
    lua_getfield(L, 1, "total");
    options.total = lua_isnil(L, -1) ? 0 : check_count(L, -1, "total");
    options.label = luax_opt_string(L, 1, "progress.new", "label", NULL, NULL);
    options.unit = luax_opt_string(L, 1, "progress.new", "unit", NULL, NULL);
    struct bar **holder = luax_new(L, BAR_CLASS, sizeof *holder);
    struct sched *sched = vm_sched(vm_of(L));
    *holder = bar_new(term_process(), sched_timers(sched), sched_clock(sched), &options);
    return 1;
}

static int l_bar_set(lua_State *L)
{
    struct bar *bar = check_bar(L);
    if (!lua_isnoneornil(L, 3)) bar_set_total(bar, check_count(L, 3, "total"));
    bar_set(bar, check_count(L, 2, "the count"));
    return 0;
}

static int l_bar_label(lua_State *L)
{
    size_t len;
    struct bar *bar = check_bar(L);
    const char *label = luaL_checklstring(L, 2, &len);
    bar_set_label(bar, label, len);
    return 0;
}

static int l_bar_finish(lua_State *L)
{
    struct bar *bar = check_bar(L);
    const char *note = luaL_optstring(L, 3, NULL);
    *(struct bar **)lua_touserdata(L, 1) = NULL;
    bar_finish(bar, lua_toboolean(L, 2), note);
    return 0;
}

static int l_bar_gc(lua_State *L)
{
    struct bar **holder = luaL_checkudata(L, 1, BAR_CLASS);
    bar_free(*holder);
    *holder = NULL;
    return 0;
}

int luaopen_perigee_core_term(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"set", l_bar_set}, {"label", l_bar_label}, {"finish", l_bar_finish}, {NULL, NULL}};
    static const luaL_Reg metamethods[] = {{"__gc", l_bar_gc}, {"__close", l_bar_gc}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"print", l_print},
                                         {"write", l_write},
                                         {"columns", l_columns},
                                         {"at_line_start", l_at_line_start},
                                         {"is_tty", l_is_tty},
                                         {"has_color", l_has_color},
                                         {"is_quiet", l_is_quiet},
                                         {"set_quiet", l_set_quiet},
                                         {"set_progress", l_set_progress},
                                         {"bar", l_bar},
                                         {NULL, NULL}};
    luax_class(L, BAR_CLASS, methods, metamethods);
    luaL_newlib(L, functions);
    luaL_setfuncs(L, text_functions, 0);
    return 1;
}
