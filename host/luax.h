/* luax.h - small strict helpers over the Lua API, and the error object scripts see.
 *
 * Stack effects are in the manual's notation: [-popped, +pushed, may raise (e), memory only (m) or never
 * (-)]. Nothing here waits, and nothing here may be called from a libuv, libcurl, server or SQLite callback.
 */
#ifndef PERIGEE_LUAX_H
#define PERIGEE_LUAX_H

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "host/buf.h"
#include "host/err.h"

/* Marks at call sites that may raise while unmanaged C memory is held.  They expand to their argument. */
#define MAY_RAISE(call) call
#define RAISES(call)    call

/* ---- error objects ------------------------------------------------------------------------------------
 * A table with the metatable "perigee.error": kind, outcome, retryable, code, message and further fields
 * (design: service, operation, status, url, …).  tostring gives "kind: message".  Lua code makes them with
 * require "perigee.error".new{…}. */

/* [-0, +1, m] pushes an error object made from e; code is left out when "". */
void luax_push_err(lua_State *L, const struct err *e);

/* [-0, +0, m] makes the table at the top an error object. */
void luax_make_err(lua_State *L);

/* [-0, +0, e] raises it. */
int luax_raise_err(lua_State *L, const struct err *e) __attribute__((noreturn));

/* [-0, +0, e] raises an error object of kind `invalid`. */
int luax_invalid(lua_State *L, const char *format, ...) __attribute__((noreturn, format(printf, 2, 3)));

/* [-0, +0, -] true if the value is an error object; and if its kind is the one given. */
bool luax_is_err(lua_State *L, int index);
bool luax_is_err_kind(lua_State *L, int index, enum err_kind kind);

/* [-0, +1, m] what a person should read for the error value at index (any type). */
const char *luax_error_text(lua_State *L, int index);

/* ---- strict arguments --------------------------------------------------------------------------------- */

/* [-0, +0, -] the string at index without converting numbers in place; NULL if it is not a string. */
const char *luax_string(lua_State *L, int index, size_t *len);

/* An option table: names the function in errors and lists the fields it takes (NULL at the end).
 * [-0, +0, e] raises `invalid` for a value that is neither nil nor a table, and for an unknown field,
 * naming the nearest known one. */
void luax_check_options(lua_State *L, int index, const char *function, const char *const fields[]);

/* Fields of the option table at index; the default if the field or the table is absent.
 * [-0, +0, e] raise `invalid` naming function and field if the type is wrong. */
bool luax_opt_boolean(lua_State *L, int index, const char *function, const char *field, bool fallback);
lua_Integer luax_opt_integer(lua_State *L, int index, const char *function, const char *field,
                             lua_Integer fallback, lua_Integer least, lua_Integer most);
/* Seconds as a number, or "500ms" "5s" "5m" "2h" "1d"; the result is in milliseconds. */
uint64_t luax_opt_duration(lua_State *L, int index, const char *function, const char *field,
                           uint64_t fallback_ms);
/* [-0, +1, e] pushes the string (kept alive by its stack slot) or nil; returns it or the fallback. */
const char *luax_opt_string(lua_State *L, int index, const char *function, const char *field, size_t *len,
                            const char *fallback);

/* [-0, +0, e] the same reading for an argument by position; what: "task.sleep: seconds". */
uint64_t luax_check_duration(lua_State *L, int index, const char *what);

/* 0 and milliseconds, or -1: the text form of a duration ("5m"). */
int luax_parse_duration(const char *text, uint64_t *ms);

/* The candidate nearest to name (edit distance at most 2 or a third of its length), or NULL.
 * candidates ends with NULL. */
const char *luax_nearest(const char *name, const char *const candidates[]);

/* [-0, +0, e] raises `invalid`: "<who>: unknown <what> "<name>"; did you mean "<nearest>"?". */
int luax_refuse_name(lua_State *L, const char *who, const char *what, const char *name,
                     const char *const candidates[]) __attribute__((noreturn));

/* ---- classes ------------------------------------------------------------------------------------------ */

/* [-0, +0, e] registers a userdata class once for each Lua state: `name` is the metatable ("perigee.task");
 * methods go into __index, metamethods into the metatable, both may be NULL. */
void luax_class(lua_State *L, const char *name, const luaL_Reg *methods, const luaL_Reg *metamethods);

/* [-0, +1, e] new zeroed userdata of that class. */
void *luax_new(lua_State *L, const char *name, size_t size);

/* [-0, +1, e] an empty buffer that is freed however the function ends: for C memory held where Lua may raise.
 * Lua frees it when it is collected; buf_deinit does at once. */
struct buf *luax_new_buf(lua_State *L);

/* [-0, +1, e] the bytes of such a buffer as a string; the buffer is empty afterwards. */
void luax_push_buf(lua_State *L, struct buf *buf);

/* lua_resetthread / lua_closethread, whichever this Lua has.  [-?, +?, -] */
int luax_reset_thread(lua_State *co, lua_State *from);

/* [-0, +1, e] opens the library "perigee.error". */
int luaopen_perigee_error(lua_State *L);

#endif
