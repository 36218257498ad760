/* amountx.h - amounts as Lua values (userdata of class "perigee.amount"), for every binding that takes or
 * gives money.
 *
 * The class with its operators lives here, so that an amount pushed by any C code behaves the same whether
 * or not the script required perigee.amount.  The constructors scripts call are in bindings/amount.c.
 * A Lua number is never money: whoever reads money uses amountx_read, which says what to write instead.
 */
#ifndef PERIGEE_AMOUNTX_H
#define PERIGEE_AMOUNTX_H

#include <lua.h>

#include "host/amount.h"

/* [-0, +1, m] pushes a copy of a. */
void amountx_push(lua_State *L, const struct amount *a);

/* [-0, +0, -] the amount at index, or NULL if the value is none; it lives as long as the value does. */
const struct amount *amountx_test(lua_State *L, int index);

/* [-0, +0, e] reads an amount or its text ("0.05 CCD"; without a currency in default_currency, if that is
 * not NULL) into *out.  Raises `invalid` naming `what` for anything else, a Lua number above all. */
void amountx_read(lua_State *L, int index, const char *what, const char *default_currency,
                  struct amount *out);

/* [-0, +0, e] the rounding mode named at index; AMOUNT_UP if there is none. */
enum amount_rounding amountx_opt_rounding(lua_State *L, int index, const char *what);

#endif
