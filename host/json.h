/* json.h - exact JSON for Lua, over lua-cjson.
 *
 * lua-cjson parses.  It makes a float of every number, an empty table of every empty array, and lets
 * through much that is not JSON, so host/json_scan.c checks the text first and rewrites what would lose
 * something; the walk over the result undoes exactly that.  What a script gets:
 *
 *   number tokens   integers of 64 bits: a Lua integer.  Decimals: a float, if that float prints the same
 *                   number again.  All others: a value of class "perigee.json.number" that keeps the token.
 *   []  and  {}     a table marked as array (see json_push_array), and a plain empty table
 *   null            a NULL lightuserdata (json.null)
 *
 * Nothing here waits.  The functions may raise on lack of memory only; what is wrong with the text or the
 * value comes back through struct err (parse, limit, invalid).  Each VM has its own parser and scratch
 * memory, kept in its registry.  Never call them from a libuv, libcurl or server callback.
 */
#ifndef PERIGEE_JSON_H
#define PERIGEE_JSON_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

#include "host/err.h"

enum { JSON_DEPTH_DEFAULT = 100, JSON_DEPTH_MOST = 512, JSON_BYTES_DEFAULT = 64 << 20 };

/* 0 in a field means its default. */
struct json_limits {
    size_t max_bytes;
    unsigned max_depth; /* of arrays and objects within each other */
};

/* [-0, +1, m] decodes n bytes and pushes the value, returning 0; or pushes nothing and returns -1 with err
 * (ERR_PARSE with line, column and byte; ERR_LIMIT).  limits may be NULL. */
int json_decode(lua_State *L, const char *text, size_t n, const struct json_limits *limits, struct err *err);

/* [-0, +1, m] the same for the string at index, which spares a copy. */
int json_decode_at(lua_State *L, int index, const struct json_limits *limits, struct err *err);

/* [-0, +0, m] encodes the value at index: keys in byte order, no blanks.  Returns bytes that stay valid
 * until the next call into this file in the same VM, or NULL with err (ERR_INVALID naming the place in the
 * value; ERR_LIMIT). */
const char *json_encode(lua_State *L, int index, size_t *n, const struct json_limits *limits,
                        struct err *err);

/* [-0, +1, m] pushes a new table that encodes as an array even when empty. */
void json_push_array(lua_State *L);

/* [-0, +0, m] marks the table at index, which must have no metatable of its own, the same way. */
void json_mark_array(lua_State *L, int index);

/* [-0, +0, -] true if the table at index is marked. */
bool json_is_array(lua_State *L, int index);

/* [-0, +1, m] null, as json.null. */
void json_push_null(lua_State *L);
bool json_is_null(lua_State *L, int index);

/* [-0, +1, m] pushes a json.number with this token; the caller knows that it is a JSON number. */
void json_push_number(lua_State *L, const char *token, size_t n);

/* [-0, +0, -] the token of the json.number at index, NUL-terminated; NULL for any other value. */
const char *json_number_token(lua_State *L, int index, size_t *n);

#endif
