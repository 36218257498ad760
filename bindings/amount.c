/* amount.c - what scripts call to make and combine money; the class itself is in host/amountx.c.
 *
 * Returns the table that scripts/lib/amount.lua gives its face to.  Nothing here waits.
 */
#include "host/amount.h"

#include <string.h>

#include "bindings/modules.h"
#include "host/amountx.h"
#include "host/json.h"
#include "host/luax.h"

/* [-0, +0, -] the text of a string or of an exact JSON number; NULL for all else. */
static const char *exact_text(lua_State *L, int index, size_t *n)
{
    const char *text = luax_string(L, index, n);
    return text ? text : json_number_token(L, index, n);
}

static const char *check_currency(lua_State *L, int index, const char *what)
{
    const char *currency = luax_string(L, index, NULL);
    if (currency == NULL) luax_invalid(L, "%s: name the currency, such as \"CCD\"", what);
    return currency;
}

/* parse(text) -> amount */
static int l_parse(lua_State *L)
{
    struct amount out;
    if (amountx_test(L, 1)) {
        lua_settop(L, 1);
        return 1;
    }
    amountx_read(L, 1, "amount", NULL, &out);
    amountx_push(L, &out);
    return 1;
}

/* of(text, currency) -> amount; the text may repeat the currency, but not name another */
static int l_of(lua_State *L)
{
    const char *currency = check_currency(L, 2, "amount.of");
    size_t n;
    const char *text = exact_text(L, 1, &n);
    struct amount out;
    struct err err;
    if (text == NULL || luax_string(L, 1, NULL))
        amountx_read(L, 1, "amount", currency, &out);
    else if (amount_parse(&out, text, n, currency, &err) != 0)
        luax_raise_err(L, &err);
    if (strcmp(out.currency, currency) != 0)
        luax_invalid(L, "amount: expected %s, got %s", currency, out.currency);
    amountx_push(L, &out);
    return 1;
}

/* base(units, currency) -> amount; units: digits in text, an integer, or an exact JSON number */
static int l_base(lua_State *L)
{
    const char *currency = check_currency(L, 2, "amount.base");
    size_t n;
    const char *digits = exact_text(L, 1, &n);
    struct amount out;
    struct err err;
    if (digits == NULL && lua_isinteger(L, 1)) {
        lua_pushvalue(L, 1);
        digits = lua_tolstring(L, -1, &n);
    }
    if (digits == NULL && lua_type(L, 1) == LUA_TNUMBER)
        luax_invalid(L, "amount.base: a float is not exact: write the digits as text");
    if (digits == NULL) luax_invalid(L, "amount.base: expected digits, got %s", luaL_typename(L, 1));
    if (amount_from_base(&out, digits, n, currency, &err) != 0) luax_raise_err(L, &err);
    amountx_push(L, &out);
    return 1;
}

static int l_zero(lua_State *L)
{
    struct amount out;
    struct err err;
    if (amount_zero(&out, check_currency(L, 1, "amount.zero"), &err) != 0) luax_raise_err(L, &err);
    amountx_push(L, &out);
    return 1;
}

static int l_is(lua_State *L)
{
    lua_pushboolean(L, amountx_test(L, 1) != NULL);
    return 1;
}

static int l_ratio(lua_State *L)
{
    struct amount a, b;
    struct err err;
    char text[AMOUNT_TEXT_SIZE];
    amountx_read(L, 1, "amount.ratio", NULL, &a);
    amountx_read(L, 2, "amount.ratio", NULL, &b);
    enum amount_rounding mode = amountx_opt_rounding(L, 3, "amount.ratio");
    if (amount_ratio(text, &a, &b, mode, &err) != 0) luax_raise_err(L, &err);
    lua_pushstring(L, text);
    return 1;
}

/* sum(list, currency?) -> amount; an empty list needs the currency */
static int l_sum(lua_State *L)
{
    struct amount total, item;
    struct err err;
    lua_Unsigned n = lua_istable(L, 1) ? lua_rawlen(L, 1) : 0;
    if (!lua_istable(L, 1))
        luax_invalid(L, "amount.sum: expected a list of amounts, got %s", luaL_typename(L, 1));
    bool named = !lua_isnoneornil(L, 2);
    if (n == 0 && !named)
        luax_invalid(L, "amount.sum: an empty list needs a currency: amount.sum(list, \"CCD\")");
    if (named && amount_zero(&total, check_currency(L, 2, "amount.sum"), &err) != 0) luax_raise_err(L, &err);
    for (lua_Unsigned i = 1; i <= n; i++) {
        lua_rawgeti(L, 1, (lua_Integer)i);
        amountx_read(L, -1, "amount.sum", NULL, &item);
        lua_pop(L, 1);
        if (i == 1 && !named)
            total = item;
        else if (amount_add(&total, &total, &item, &err) != 0)
            luax_raise_err(L, &err);
    }
    amountx_push(L, &total);
    return 1;
}

/* The argument that is first in the wanted order (-1 least, 1 greatest). */
static int pick(lua_State *L, int wanted, const char *what)
{
    struct amount best, item;
    struct err err;
    int order, n = lua_gettop(L);
    amountx_read(L, 1, what, NULL, &best);
    for (int i = 2; i <= n; i++) {
        amountx_read(L, i, what, NULL, &item);
        if (amount_compare(&item, &best, &order, &err) != 0) luax_raise_err(L, &err);
        if (order == wanted) best = item;
    }
    amountx_push(L, &best);
    return 1;
}

static int l_max(lua_State *L)
{
    return pick(L, 1, "amount.max");
}

static int l_min(lua_State *L)
{
    return pick(L, -1, "amount.min");
}

int luaopen_perigee_core_amount(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"parse", l_parse}, {"of", l_of},   {"base", l_base}, {"zero", l_zero}, {"is", l_is},
        {"ratio", l_ratio}, {"sum", l_sum}, {"max", l_max},   {"min", l_min},   {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
