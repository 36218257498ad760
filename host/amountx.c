/* amountx.c - the amount class of Lua: reading money from arguments, operators, methods. */
#include "host/amountx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/luax.h"

static const char class_name[] = "perigee.amount";

const struct amount *amountx_test(lua_State *L, int index)
{
    return luaL_testudata(L, index, class_name);
}

/* ---- reading ------------------------------------------------------------------------------------------ */

/* [-0, +0, e] raises err, naming the place in front. */
static _Noreturn void raise_at(lua_State *L, const char *what, const struct err *err)
{
    luax_push_err(L, err);
    lua_pushfstring(L, "%s: %s", what, err->message);
    lua_setfield(L, -2, "message");
    lua_error(L);
    abort(); /* lua_error does not return, but its declaration does not say so */
}

/* [-0, +0, e] the line to write instead of a number. */
static _Noreturn void refuse_number(lua_State *L, int index, const char *what, const char *currency)
{
    char number[32], line[64];
    if (lua_isinteger(L, index))
        snprintf(number, sizeof number, "%lld", (long long)lua_tointeger(L, index));
    else
        snprintf(number, sizeof number, "%.14g", lua_tonumber(L, index));
    if (currency == NULL || strcmp(currency, "CCD") == 0)
        snprintf(line, sizeof line, "amount.ccd \"%s\"", number);
    else if (strcmp(currency, "CNY") == 0)
        snprintf(line, sizeof line, "amount.cny \"%s\"", number);
    else
        snprintf(line, sizeof line, "amount \"%s %s\"", number, currency);
    luax_invalid(L, "%s: money is exact here, and a number is not: write %s", what, line);
}

void amountx_read(lua_State *L, int index, const char *what, const char *default_currency, struct amount *out)
{
    const struct amount *amount = amountx_test(L, index);
    size_t n;
    const char *text = luax_string(L, index, &n);
    struct err err;
    if (amount)
        *out = *amount;
    else if (text && amount_parse(out, text, n, default_currency, &err) != 0)
        raise_at(L, what, &err);
    else if (lua_type(L, index) == LUA_TNUMBER)
        refuse_number(L, index, what, default_currency);
    else if (text == NULL)
        luax_invalid(L, "%s: expected an amount such as \"0.05 CCD\", got %s", what, luaL_typename(L, index));
}

/* [-0, +0, e] the amount at index, or raises `invalid`; what names the place in words. */
static const struct amount *check_amount(lua_State *L, int index, const char *what)
{
    const struct amount *amount = amountx_test(L, index);
    if (amount == NULL)
        luax_invalid(L, "%s: expected an amount, made by amount \"0.05 CCD\", got %s", what,
                     luaL_typename(L, index));
    return amount;
}

enum amount_rounding amountx_opt_rounding(lua_State *L, int index, const char *what)
{
    enum amount_rounding mode = AMOUNT_UP;
    if (lua_isnoneornil(L, index)) return mode;
    const char *name = luax_string(L, index, NULL);
    if (name == NULL || amount_rounding_parse(name, &mode) != 0)
        luax_invalid(L, "%s: rounding is \"up\", \"down\" or \"half_even\"", what);
    return mode;
}

/* ---- operators ---------------------------------------------------------------------------------------- */

typedef int (*combine_fn)(struct amount *, const struct amount *, const struct amount *, struct err *);

static int combine(lua_State *L, combine_fn f, const char *what)
{
    struct amount a, b, out;
    struct err err;
    amountx_read(L, 1, what, NULL, &a);
    amountx_read(L, 2, what, NULL, &b);
    if (f(&out, &a, &b, &err) != 0) luax_raise_err(L, &err);
    amountx_push(L, &out);
    return 1;
}

static int l_add(lua_State *L)
{
    return combine(L, amount_add, "amount + amount");
}

static int l_sub(lua_State *L)
{
    return combine(L, amount_sub, "amount - amount");
}

static int l_unm(lua_State *L)
{
    struct amount out;
    amount_negate(&out, check_amount(L, 1, "-amount"));
    amountx_push(L, &out);
    return 1;
}

static int order_of(lua_State *L, const char *what)
{
    struct amount a, b;
    struct err err;
    int order;
    amountx_read(L, 1, what, NULL, &a);
    amountx_read(L, 2, what, NULL, &b);
    if (amount_compare(&a, &b, &order, &err) != 0) luax_raise_err(L, &err);
    return order;
}

static int l_lt(lua_State *L)
{
    lua_pushboolean(L, order_of(L, "amount < amount") < 0);
    return 1;
}

static int l_le(lua_State *L)
{
    lua_pushboolean(L, order_of(L, "amount <= amount") <= 0);
    return 1;
}

/* Amounts of different currencies are not equal; asking is no mistake. */
static int l_eq(lua_State *L)
{
    const struct amount *a = amountx_test(L, 1), *b = amountx_test(L, 2);
    int order = 1;
    if (a && b && amount_same_currency(a, b)) amount_compare(a, b, &order, NULL);
    lua_pushboolean(L, order == 0);
    return 1;
}

typedef int (*scale_fn)(struct amount *, const struct amount *, const char *, size_t, enum amount_rounding,
                        struct err *);

/* [-0, +1, e] the amount at `amount` scaled by the integer or decimal text at `factor`. */
static int scale(lua_State *L, scale_fn f, int amount, int factor, enum amount_rounding mode,
                 const char *what)
{
    const struct amount *a = check_amount(L, amount, what);
    char digits[24];
    size_t n;
    const char *text = luax_string(L, factor, &n);
    struct amount out;
    struct err err;
    if (text == NULL && lua_isinteger(L, factor)) {
        n = (size_t)snprintf(digits, sizeof digits, "%lld", (long long)lua_tointeger(L, factor));
        text = digits;
    }
    if (text == NULL && lua_type(L, factor) == LUA_TNUMBER)
        luax_invalid(L, "%s: a float is not exact: write the factor as text, \"%.14g\"", what,
                     lua_tonumber(L, factor));
    if (text == NULL)
        luax_invalid(L, "%s: expected an integer or a decimal text such as \"1.5\", got %s", what,
                     amountx_test(L, factor) ? "an amount (amount.ratio divides two)"
                                             : luaL_typename(L, factor));
    if (f(&out, a, text, n, mode, &err) != 0) raise_at(L, what, &err);
    amountx_push(L, &out);
    return 1;
}

static int l_mul_operator(lua_State *L)
{
    int amount = amountx_test(L, 1) ? 1 : 2;
    return scale(L, amount_mul, amount, 3 - amount, AMOUNT_UP, "amount * factor");
}

static int l_div_operator(lua_State *L)
{
    return scale(L, amount_div, 1, 2, AMOUNT_UP, "amount / divisor");
}

static int l_tostring(lua_State *L)
{
    char text[AMOUNT_TEXT_SIZE];
    lua_pushlstring(L, text, amount_format(check_amount(L, 1, "tostring"), text));
    return 1;
}

static int l_concat(lua_State *L)
{
    luaL_tolstring(L, 1, NULL);
    luaL_tolstring(L, 2, NULL);
    lua_concat(L, 2);
    return 1;
}

/* ---- methods ------------------------------------------------------------------------------------------ */

static int l_mul(lua_State *L)
{
    enum amount_rounding mode = amountx_opt_rounding(L, 3, "amount:mul");
    return scale(L, amount_mul, 1, 2, mode, "amount:mul");
}

static int l_div(lua_State *L)
{
    enum amount_rounding mode = amountx_opt_rounding(L, 3, "amount:div");
    return scale(L, amount_div, 1, 2, mode, "amount:div");
}

static int l_decimal(lua_State *L)
{
    char text[AMOUNT_TEXT_SIZE];
    lua_pushlstring(L, text, amount_decimal(check_amount(L, 1, "amount:decimal"), text));
    return 1;
}

static int l_base(lua_State *L)
{
    char text[AMOUNT_TEXT_SIZE];
    lua_pushlstring(L, text, amount_base(check_amount(L, 1, "amount:base"), text));
    return 1;
}

static int l_currency(lua_State *L)
{
    lua_pushstring(L, check_amount(L, 1, "amount:currency")->currency);
    return 1;
}

static int l_sign(lua_State *L)
{
    lua_pushinteger(L, amount_sign(check_amount(L, 1, "amount:sign")));
    return 1;
}

/* ---- class -------------------------------------------------------------------------------------------- */

static void make_class(lua_State *L)
{
    static const luaL_Reg methods[] = {{"mul", l_mul},   {"div", l_div},   {"decimal", l_decimal},
                                       {"base", l_base}, {"sign", l_sign}, {"currency", l_currency},
                                       {NULL, NULL}};
    static const luaL_Reg metamethods[] = {{"__add", l_add},
                                           {"__sub", l_sub},
                                           {"__mul", l_mul_operator},
                                           {"__div", l_div_operator},
                                           {"__unm", l_unm},
                                           {"__eq", l_eq},
                                           {"__lt", l_lt},
                                           {"__le", l_le},
                                           {"__concat", l_concat},
                                           {"__tostring", l_tostring},
                                           {NULL, NULL}};
    luax_class(L, class_name, methods, metamethods);
}

void amountx_push(lua_State *L, const struct amount *a)
{
    struct amount copy = *a; /* `a` may live in a value that a collection takes away */
    luaL_checkstack(L, 4, "amount");
    bool known = luaL_getmetatable(L, class_name) == LUA_TTABLE;
    lua_pop(L, 1);
    if (!known) make_class(L);
    memcpy(luax_new(L, class_name, sizeof copy), &copy, sizeof copy);
}
