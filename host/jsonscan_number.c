/* jsonscan_number.c - which numbers a double keeps, and doubles in their shortest form.
 *
 * Reads and prints in the C locale: the program never sets LC_NUMERIC.
 */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/jsonscan.h"

enum { DOUBLE_DIGITS = 17, EXPONENT_BEYOND = 100000 };

/* A decimal without its zeros: 0.digits x 10^exponent. */
struct plain {
    bool negative;
    int count; /* digits; 0 for zero, DOUBLE_DIGITS + 1 if there were more */
    char digits[DOUBLE_DIGITS + 1];
    long exponent;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static long read_exponent(const char *s, const char *end)
{
    bool negative = *s == '-';
    long value = 0;
    if (*s == '-' || *s == '+') s++;
    for (; s < end; s++)
        if (value < EXPONENT_BEYOND) value = value * 10 + (*s - '0');
    return negative ? -value : value;
}

/* Zeros are kept back until a digit follows them, so that trailing ones never count. */
static void read_plain(struct plain *p, const char *s, size_t n)
{
    const char *end = s + n;
    bool point = false;
    long zeros = 0;
    memset(p, 0, sizeof *p);
    if (s < end && *s == '-') {
        p->negative = true;
        s++;
    }
    for (; s < end && (is_digit(*s) || *s == '.'); s++) {
        if (*s == '.') {
            point = true;
            continue;
        }
        if (!point && (p->count > 0 || *s != '0')) p->exponent++;
        if (point && p->count == 0 && *s == '0') p->exponent--;
        if (*s == '0' && p->count == 0) continue;
        if (*s == '0') {
            zeros++;
            continue;
        }
        for (; zeros > 0 && p->count <= DOUBLE_DIGITS; zeros--) p->digits[p->count++] = '0';
        zeros = 0;
        if (p->count <= DOUBLE_DIGITS) p->digits[p->count++] = *s;
    }
    if (s < end && (*s == 'e' || *s == 'E')) p->exponent += read_exponent(s + 1, end);
}

static bool same_number(const struct plain *a, const struct plain *b)
{
    return a->negative == b->negative && a->count == b->count && a->exponent == b->exponent &&
           memcmp(a->digits, b->digits, (size_t)a->count) == 0;
}

static bool keeps(const struct plain *p, double *real)
{
    *real = p->negative ? -0.0 : 0.0;
    if (p->count == 0) return true;
    if (p->count > DOUBLE_DIGITS || p->exponent > 400 || p->exponent < -400) return false;
    char text[64];
    snprintf(text, sizeof text, "%s0.%.*se%ld", p->negative ? "-" : "", p->count, p->digits, p->exponent);
    *real = strtod(text, NULL);
    if (!isfinite(*real) || *real == 0) return false;
    char again[JSONSCAN_REAL_SIZE];
    struct plain printed;
    read_plain(&printed, again, jsonscan_print_real(*real, again));
    return same_number(p, &printed);
}

static bool fits_integer(const char *s, size_t n, int64_t *integer)
{
    bool negative = *s == '-';
    uint64_t most = negative ? (uint64_t)INT64_MAX + 1 : INT64_MAX, value = 0;
    for (size_t i = negative; i < n; i++) {
        unsigned digit = (unsigned)(s[i] - '0');
        if (value > (most - digit) / 10) return false;
        value = value * 10 + digit;
    }
    *integer = negative ? (int64_t)-value : (int64_t)value;
    return true;
}

enum jsonscan_class jsonscan_classify(const char *token, size_t n, int64_t *integer, double *real)
{
    bool whole =
        memchr(token, '.', n) == NULL && memchr(token, 'e', n) == NULL && memchr(token, 'E', n) == NULL;
    if (whole && !(n == 2 && token[0] == '-' && token[1] == '0'))
        return fits_integer(token, n, integer) ? JSONSCAN_IS_INTEGER : JSONSCAN_IS_EXACT;
    struct plain p;
    read_plain(&p, token, n);
    return keeps(&p, real) ? JSONSCAN_IS_REAL : JSONSCAN_IS_EXACT;
}

/* Numbers of everyday size with few decimals, several times faster than printf and strtod: m / 10^k is the
 * double nearest to that decimal, since both are exact, and of the decimals with up to 15 digits only one
 * reads back as this double.  0: none was found. */
static size_t print_short(double value, char out[JSONSCAN_REAL_SIZE])
{
    enum { MOST_DECIMALS = 6 };
    double size = fabs(value), power = 1;
    if (!(size >= 1e-4 && size < 1e9)) return 0;
    int64_t scaled;
    int decimals = 0;
    do {
        if (decimals++ == MOST_DECIMALS) return 0;
        power *= 10;
        scaled = (int64_t)(size * power + 0.5);
    } while ((double)scaled / power != size);
    char digits[JSONSCAN_REAL_SIZE], *end = digits + sizeof digits, *at = end;
    for (int64_t left = scaled; left > 0 || end - at <= decimals + 1; left /= 10) {
        *--at = (char)('0' + left % 10);
        if (end - at == decimals) *--at = '.';
    }
    if (value < 0) *--at = '-';
    memcpy(out, at, (size_t)(end - at));
    out[end - at] = '\0';
    return (size_t)(end - at);
}

size_t jsonscan_print_real(double value, char out[JSONSCAN_REAL_SIZE])
{
    size_t short_len = print_short(value, out);
    if (short_len > 0) return short_len;
    /* 15 digits are never too many for a normal double, and %g drops the zeros; below DBL_MIN they may be. */
    int digits = fabs(value) < DBL_MIN ? 1 : DBL_DIG;
    int n;
    do {
        n = snprintf(out, JSONSCAN_REAL_SIZE, "%.*g", digits, value);
    } while (strtod(out, NULL) != value && ++digits <= DOUBLE_DIGITS);
    if (strpbrk(out, ".e") == NULL) n += snprintf(out + n, JSONSCAN_REAL_SIZE - (size_t)n, ".0");
    return (size_t)n;
}
