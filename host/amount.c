/* amount.c - arithmetic of exact money; text is in amount_text.c.
 *
 * Products and the dividends of quotients are 256 bits wide (struct wide), so that a result is rounded once,
 * from the exact value.
 */
#include "host/amount.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "host/amount_internal.h"

struct wide {
    amount_word high, low;
};

int amount_fail(struct err *err, const char *code, const char *format, ...)
{
    char message[sizeof err->message];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    err_set(err, ERR_INVALID, "%s", message);
    if (err) snprintf(err->code, sizeof err->code, "%s", code);
    return -1;
}

amount_word amount_power_of_ten(unsigned power)
{
    amount_word result = 1;
    while (power-- > 0) result *= 10;
    return result;
}

int amount_store(struct amount *out, bool negative, amount_word magnitude, struct err *err)
{
    if (magnitude > AMOUNT_MAX)
        return amount_fail(err, "overflow", "the amount is beyond 170141183460469231731 in size");
    amount_word units = negative ? -magnitude : magnitude;
    out->low = (uint64_t)units;
    out->high = (int64_t)(uint64_t)(units >> 64);
    return 0;
}

int amount_sign(const struct amount *a)
{
    if (a->high < 0) return -1;
    return a->high > 0 || a->low > 0;
}

bool amount_same_currency(const struct amount *a, const struct amount *b)
{
    return strncmp(a->currency, b->currency, AMOUNT_CURRENCY_SIZE) == 0;
}

static int check_currency(const struct amount *a, const struct amount *b, struct err *err)
{
    if (amount_same_currency(a, b)) return 0;
    char left[AMOUNT_TEXT_SIZE], right[AMOUNT_TEXT_SIZE];
    amount_format(a, left);
    amount_format(b, right);
    return amount_fail(err, "currency", "%s and %s are of different currencies", left, right);
}

static void take_currency(struct amount *out, const struct amount *from)
{
    if (out != from) memcpy(out->currency, from->currency, sizeof out->currency);
}

int amount_add(struct amount *out, const struct amount *a, const struct amount *b, struct err *err)
{
    if (check_currency(a, b, err) != 0) return -1;
    bool a_negative = a->high < 0, b_negative = b->high < 0;
    amount_word x = amount_magnitude(a), y = amount_magnitude(b);
    bool negative = a_negative;
    amount_word sum;
    if (a_negative == b_negative) {
        sum = x + y; /* at most 2^128 - 2: cannot wrap */
    } else if (x >= y) {
        sum = x - y;
    } else {
        sum = y - x;
        negative = b_negative;
    }
    if (amount_store(out, negative, sum, err) != 0) return -1;
    take_currency(out, a);
    return 0;
}

void amount_negate(struct amount *out, const struct amount *a)
{
    amount_store(out, a->high >= 0, amount_magnitude(a), NULL);
    take_currency(out, a);
}

int amount_sub(struct amount *out, const struct amount *a, const struct amount *b, struct err *err)
{
    struct amount minus_b;
    if (check_currency(a, b, err) != 0) return -1;
    amount_negate(&minus_b, b);
    return amount_add(out, a, &minus_b, err);
}

int amount_compare(const struct amount *a, const struct amount *b, int *order, struct err *err)
{
    if (check_currency(a, b, err) != 0) return -1;
    if (a->high != b->high)
        *order = a->high < b->high ? -1 : 1;
    else
        *order = a->low < b->low ? -1 : a->low > b->low;
    return 0;
}

/* ---- wide intermediate results ---------------------------------------------------------------------- */

static struct wide wide_multiply(amount_word a, amount_word b)
{
    const amount_word mask = UINT64_MAX;
    amount_word low = (a & mask) * (b & mask);
    amount_word cross = (a >> 64) * (b & mask) + (low >> 64);
    amount_word other = (a & mask) * (b >> 64) + (cross & mask);
    return (struct wide){.high = (a >> 64) * (b >> 64) + (cross >> 64) + (other >> 64),
                         .low = other << 64 | (low & mask)};
}

/* Long division bit by bit; false if the quotient needs more than 128 bits. */
static bool wide_divide(struct wide n, amount_word d, amount_word *quotient, amount_word *remainder)
{
    if (n.high >= d) return false;
    amount_word q = 0, r = n.high;
    for (int bit = 127; bit >= 0; bit--) {
        bool carry = r >> 127;
        r = r << 1 | (n.low >> bit & 1);
        if (carry || r >= d) {
            r -= d;
            q |= (amount_word)1 << bit;
        }
    }
    *quotient = q;
    *remainder = r;
    return true;
}

static bool rounds_up(amount_word quotient, amount_word remainder, amount_word divisor,
                      enum amount_rounding mode)
{
    if (remainder == 0 || mode == AMOUNT_DOWN) return false;
    if (mode == AMOUNT_UP) return true;
    amount_word rest = divisor - remainder;
    return remainder > rest || (remainder == rest && (quotient & 1) != 0);
}

/* out = (-1)^negative * a * b / divisor, rounded once. */
static int scale(struct amount *out, bool negative, amount_word a, amount_word b, amount_word divisor,
                 enum amount_rounding mode, struct err *err)
{
    amount_word quotient, remainder;
    if (!wide_divide(wide_multiply(a, b), divisor, &quotient, &remainder) || quotient > AMOUNT_MAX)
        return amount_store(out, negative, AMOUNT_MAX + 1, err);
    if (rounds_up(quotient, remainder, divisor, mode)) quotient++;
    return amount_store(out, negative, quotient, err);
}

/* ---- multiplication and division -------------------------------------------------------------------- */

/* Also drops trailing zeros after the point: "2.50000" needs no more room than "2.5". */
static int read_factor(struct amount_decimal *d, const char *text, size_t n, struct err *err)
{
    size_t used;
    const char *why = amount_read_decimal(text, n, d, &used);
    if (why == NULL && used != n) why = "has something after its digits";
    char shown[AMOUNT_SHOWN_SIZE];
    if (why)
        return amount_fail(err, "factor", "factor \"%s\" %s: write a decimal such as \"1.5\"",
                           amount_show(shown, text, n), why);
    while (d->scale > 0 && d->mantissa % 10 == 0) {
        d->mantissa /= 10;
        d->scale--;
    }
    if (d->scale > 38) return amount_fail(err, "factor", "a factor has at most 38 decimals");
    return 0;
}

int amount_mul(struct amount *out, const struct amount *a, const char *factor, size_t n,
               enum amount_rounding mode, struct err *err)
{
    struct amount_decimal d;
    if (read_factor(&d, factor, n, err) != 0) return -1;
    bool negative = (a->high < 0) != d.negative;
    amount_word divisor = amount_power_of_ten(d.scale);
    if (scale(out, negative, amount_magnitude(a), d.mantissa, divisor, mode, err) != 0) return -1;
    take_currency(out, a);
    return 0;
}

int amount_div(struct amount *out, const struct amount *a, const char *divisor, size_t n,
               enum amount_rounding mode, struct err *err)
{
    struct amount_decimal d;
    if (read_factor(&d, divisor, n, err) != 0) return -1;
    if (d.mantissa == 0) return amount_fail(err, "zero", "an amount cannot be divided by zero");
    bool negative = (a->high < 0) != d.negative;
    amount_word power = amount_power_of_ten(d.scale);
    if (scale(out, negative, amount_magnitude(a), power, d.mantissa, mode, err) != 0) return -1;
    take_currency(out, a);
    return 0;
}

int amount_ratio(char out[AMOUNT_TEXT_SIZE], const struct amount *a, const struct amount *b,
                 enum amount_rounding mode, struct err *err)
{
    if (check_currency(a, b, err) != 0) return -1;
    if (amount_sign(b) == 0) return amount_fail(err, "zero", "an amount cannot be divided by zero");
    struct amount ratio = {0};
    bool negative = (a->high < 0) != (b->high < 0);
    amount_word one = amount_power_of_ten(AMOUNT_DECIMALS);
    if (scale(&ratio, negative, amount_magnitude(a), one, amount_magnitude(b), mode, err) != 0) return -1;
    amount_decimal(&ratio, out);
    return 0;
}
