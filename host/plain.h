/* plain.h - plain data as bytes, for values that go from one VM to another.
 *
 * Plain are nil, booleans, numbers, strings, tables of such, amounts, error objects, and what JSON has
 * besides: null, marked arrays, numbers that are kept as their token.  Everything else (functions, userdata,
 * coroutines) belongs to its VM and is refused, with the place named.  The bytes never leave the process:
 * numbers are in the machine's own form.
 */
#ifndef PERIGEE_PLAIN_H
#define PERIGEE_PLAIN_H

#include <lua.h>

#include "host/buf.h"
#include "host/err.h"

enum { PLAIN_DEEPEST = 64, PLAIN_LARGEST = 16 * 1024 * 1024 };

/* [-0, +0, -] appends the value at index; 0, or -1 with an err that names the field.  Never raises. */
int plain_write(lua_State *L, int index, struct buf *out, struct err *err);

/* [-0, +1, m] pushes what was written.  The bytes must come from plain_write. */
void plain_read(lua_State *L, const char *bytes, size_t n);

#endif
