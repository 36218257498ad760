/* amount.h - exact money: a whole number of 1e-18 units of one currency, 128 bits wide.
 *
 * Nothing here rounds unless a rounding mode is named, nothing wraps, and two currencies never meet:
 * overflow and a mismatch are errors (ERR_INVALID, with code "overflow" or "currency").  The range is
 * symmetric, +-(2^127 - 1) units, about 1.7e20 of the currency, so that negation cannot fail.
 * A struct amount is plain data: copy it freely.  No function keeps a pointer to its arguments, and the
 * result may be one of the operands.
 */
#ifndef PERIGEE_AMOUNT_H
#define PERIGEE_AMOUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/err.h"

enum {
    AMOUNT_DECIMALS = 18,
    AMOUNT_CURRENCY_SIZE = 8, /* 2 to 7 upper-case letters or digits, first a letter, and a NUL */
    AMOUNT_TEXT_SIZE = 64     /* room for every text this file prints, with its NUL */
};

/* The units in two halves of 64 bits, two's complement: an __int128 would want 16-byte alignment, which
 * the userdata of Lua does not have.  Read it with the functions below. */
struct amount {
    uint64_t low;
    int64_t high;
    char currency[AMOUNT_CURRENCY_SIZE];
};

/* Away from zero (the cautious way to state a cost), towards zero, to the nearest with ties to even. */
enum amount_rounding { AMOUNT_UP = 1, AMOUNT_DOWN, AMOUNT_HALF_EVEN };

/* ---- in ----------------------------------------------------------------------------------------------- */

/* Reads "0.05 CCD", or "0.05" in default_currency (NULL: the text must name one).  One optional minus,
 * digits, and at most 18 decimals; one blank before the currency.  0, or -1 with a sentence that quotes the
 * text and says how to write it. */
int amount_parse(struct amount *out, const char *text, size_t n, const char *default_currency,
                 struct err *err);

/* Reads a whole number of base units: "27870365208168000", "CCD" is 0.027870365208168 CCD. */
int amount_from_base(struct amount *out, const char *digits, size_t n, const char *currency, struct err *err);

/* Nothing of the given currency; -1 if that is no currency code. */
int amount_zero(struct amount *out, const char *currency, struct err *err);

/* 0, or -1 if the name is none of "up", "down", "half_even". */
int amount_rounding_parse(const char *name, enum amount_rounding *mode);

/* ---- out ---------------------------------------------------------------------------------------------- */

/* "0.027870365208168 CCD": no trailing zeros, no exponent, no grouping.  Each returns the length. */
size_t amount_format(const struct amount *a, char out[AMOUNT_TEXT_SIZE]);
/* The same without the currency: "0.027870365208168". */
size_t amount_decimal(const struct amount *a, char out[AMOUNT_TEXT_SIZE]);
/* The base units: "27870365208168000". */
size_t amount_base(const struct amount *a, char out[AMOUNT_TEXT_SIZE]);

/* -1, 0 or 1. */
int amount_sign(const struct amount *a);

bool amount_same_currency(const struct amount *a, const struct amount *b);

/* ---- arithmetic: 0, or -1 with err -------------------------------------------------------------------- */

int amount_add(struct amount *out, const struct amount *a, const struct amount *b, struct err *err);
int amount_sub(struct amount *out, const struct amount *a, const struct amount *b, struct err *err);

/* *order becomes -1, 0 or 1 as a is less than, equal to or greater than b. */
int amount_compare(const struct amount *a, const struct amount *b, int *order, struct err *err);

void amount_negate(struct amount *out, const struct amount *a);

/* By a decimal number in text ("1.5", "-0.025"; at most 38 digits, no exponent).  The product or quotient
 * is worked out to the full width and rounded once, to whole base units. */
int amount_mul(struct amount *out, const struct amount *a, const char *factor, size_t n,
               enum amount_rounding mode, struct err *err);
int amount_div(struct amount *out, const struct amount *a, const char *divisor, size_t n,
               enum amount_rounding mode, struct err *err);

/* a / b as a decimal text of at most 18 decimals, rounded once: "0.333333333333333334". */
int amount_ratio(char out[AMOUNT_TEXT_SIZE], const struct amount *a, const struct amount *b,
                 enum amount_rounding mode, struct err *err);

#endif
