/* amount_internal.h - what amount.c and amount_text.c share; nobody else includes it.
 *
 * Arithmetic works on magnitudes (amount_magnitude) and signs, so that each function has one overflow test:
 * AMOUNT_MAX, in amount_store.
 */
#ifndef PERIGEE_AMOUNT_INTERNAL_H
#define PERIGEE_AMOUNT_INTERNAL_H

#include "host/amount.h"

__extension__ typedef unsigned __int128 amount_word;

#define AMOUNT_MAX ((((amount_word)1) << 127) - 1)

/* (-1)^negative * mantissa / 10^scale. */
struct amount_decimal {
    bool negative;
    unsigned scale; /* digits after the point */
    amount_word mantissa;
};

/* Reads the decimal number at the start of text; *used gets its length.  NULL, or what is wrong with the
 * text, as the end of a sentence ("is in exponent form"). */
const char *amount_read_decimal(const char *text, size_t n, struct amount_decimal *out, size_t *used);

/* The text as an error may quote it: cut, and without control bytes.  Returns out. */
enum { AMOUNT_SHOWN_SIZE = 64 };
const char *amount_show(char out[AMOUNT_SHOWN_SIZE], const char *text, size_t n);

/* The absolute value in base units. */
static inline amount_word amount_magnitude(const struct amount *a)
{
    amount_word units = (amount_word)(uint64_t)a->high << 64 | a->low;
    return a->high < 0 ? -units : units;
}

/* Writes sign and magnitude; the currency is the caller's affair.  -1 with err if it does not fit. */
int amount_store(struct amount *out, bool negative, amount_word magnitude, struct err *err);

/* err_set with ERR_INVALID and a code word. */
int amount_fail(struct err *err, const char *code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* 10^power; power at most 38. */
amount_word amount_power_of_ten(unsigned power);

#endif
