/* amount_text.c - amounts from text and to text. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "host/amount.h"
#include "host/amount_internal.h"

const char *amount_show(char out[AMOUNT_SHOWN_SIZE], const char *text, size_t n)
{
    size_t most = AMOUNT_SHOWN_SIZE - 4, len = n > most ? most : n;
    for (size_t i = 0; i < len; i++) out[i] = isprint((unsigned char)text[i]) ? text[i] : '?';
    snprintf(out + len, AMOUNT_SHOWN_SIZE - len, "%s", len < n ? "..." : "");
    return out;
}

/* ---- in ----------------------------------------------------------------------------------------------- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* What a character that is no digit says about the text. */
static const char *complaint(char c)
{
    if (c == 'e' || c == 'E') return "is in exponent form";
    if (c == ',' || c == '_' || c == '\'') return "has a separator between its digits";
    if (c == ' ' || c == '\t' || c == '\n' || c == '\r') return "has a blank in an odd place";
    if (c == '+' || c == '-') return "has a sign in an odd place";
    if (c == '.') return "has a decimal point in an odd place";
    return NULL;
}

static const char *add_digit(struct amount_decimal *d, char c)
{
    amount_word digit = (amount_word)(c - '0');
    if (d->mantissa > (~(amount_word)0 - digit) / 10) return "has too many digits";
    d->mantissa = d->mantissa * 10 + digit;
    return NULL;
}

const char *amount_read_decimal(const char *text, size_t n, struct amount_decimal *out, size_t *used)
{
    size_t i = 0;
    memset(out, 0, sizeof *out);
    if (n == 0) return "is empty";
    if (text[0] == '-') {
        out->negative = true;
        i++;
    }
    if (i == n || !is_digit(text[i])) {
        const char *why = i < n ? complaint(text[i]) : NULL;
        return why ? why : "is not a decimal number";
    }
    const char *why = NULL;
    for (; why == NULL && i < n && is_digit(text[i]); i++) why = add_digit(out, text[i]);
    if (why == NULL && i < n && text[i] == '.') {
        i++;
        if (i == n || !is_digit(text[i])) return "has no digit after its decimal point";
        for (; why == NULL && i < n && is_digit(text[i]); i++, out->scale++) why = add_digit(out, text[i]);
    }
    *used = i;
    return why;
}

/* Length of the currency code at s that goes up to the end, or 0. */
static size_t currency_length(const char *s, size_t n)
{
    if (n < 2 || n >= AMOUNT_CURRENCY_SIZE || s[0] < 'A' || s[0] > 'Z') return 0;
    for (size_t i = 0; i < n; i++)
        if (!is_digit(s[i]) && (s[i] < 'A' || s[i] > 'Z')) return 0;
    return n;
}

static int set_currency(struct amount *out, const char *s, size_t n, struct err *err)
{
    char shown[AMOUNT_SHOWN_SIZE];
    if (currency_length(s, n) == 0)
        return amount_fail(err, "currency", "\"%s\" is no currency: write for example \"CCD\" or \"CNY\"",
                           amount_show(shown, s, n));
    memset(out->currency, 0, sizeof out->currency);
    memcpy(out->currency, s, n);
    return 0;
}

static int bad_text(struct err *err, const char *text, size_t n, const char *why)
{
    char shown[AMOUNT_SHOWN_SIZE];
    return amount_fail(err, "amount", "amount \"%s\" %s: write for example \"0.05 CCD\"",
                       amount_show(shown, text, n), why);
}

/* The rest of the text after the digits: "" or " CCD". */
static int read_currency(struct amount *out, const char *text, size_t n, size_t used,
                         const char *default_currency, struct err *err)
{
    if (used == n) {
        if (default_currency == NULL) return bad_text(err, text, n, "names no currency");
        return set_currency(out, default_currency, strlen(default_currency), err);
    }
    const char *rest = text + used;
    size_t left = n - used;
    if (rest[0] == ' ' && currency_length(rest + 1, left - 1) > 0)
        return set_currency(out, rest + 1, left - 1, err);
    if (currency_length(rest, left) > 0) return bad_text(err, text, n, "needs a blank before its currency");
    if (rest[left - 1] == ' ') return bad_text(err, text, n, complaint(' '));
    if (rest[0] == ' ' && left > 1 && isalpha((unsigned char)rest[1]))
        return bad_text(err, text, n, "names no currency in capital letters");
    const char *why = complaint(rest[0]);
    return bad_text(err, text, n, why ? why : "is not a decimal number");
}

int amount_parse(struct amount *out, const char *text, size_t n, const char *default_currency,
                 struct err *err)
{
    struct amount parsed;
    struct amount_decimal d;
    size_t used = 0;
    const char *why = amount_read_decimal(text, n, &d, &used);
    if (why) return bad_text(err, text, n, why);
    if (read_currency(&parsed, text, n, used, default_currency, err) != 0) return -1;
    if (d.scale > AMOUNT_DECIMALS) return bad_text(err, text, n, "has more than 18 decimals");
    amount_word unit = amount_power_of_ten(AMOUNT_DECIMALS - d.scale);
    if (d.mantissa > AMOUNT_MAX / unit)
        return amount_fail(err, "overflow", "the amount is beyond 170141183460469231731 in size");
    if (amount_store(&parsed, d.negative, d.mantissa * unit, err) != 0) return -1;
    *out = parsed;
    return 0;
}

int amount_from_base(struct amount *out, const char *digits, size_t n, const char *currency, struct err *err)
{
    struct amount parsed;
    struct amount_decimal d;
    size_t used = 0;
    const char *why = amount_read_decimal(digits, n, &d, &used);
    if (why == NULL && (used != n || d.scale > 0)) why = "is not a whole number";
    char shown[AMOUNT_SHOWN_SIZE];
    if (why)
        return amount_fail(err, "amount", "base units \"%s\" %s: write digits alone, such as \"1000\"",
                           amount_show(shown, digits, n), why);
    if (set_currency(&parsed, currency, strlen(currency), err) != 0) return -1;
    if (amount_store(&parsed, d.negative, d.mantissa, err) != 0) return -1;
    *out = parsed;
    return 0;
}

int amount_zero(struct amount *out, const char *currency, struct err *err)
{
    return amount_from_base(out, "0", 1, currency, err);
}

int amount_rounding_parse(const char *name, enum amount_rounding *mode)
{
    static const char *const names[] = {"up", "down", "half_even"};
    for (int i = 0; i < 3; i++) {
        if (strcmp(name, names[i]) != 0) continue;
        *mode = (enum amount_rounding)(AMOUNT_UP + i);
        return 0;
    }
    return -1;
}

/* ---- out ---------------------------------------------------------------------------------------------- */

/* At least `least` digits, zeros in front, no NUL; returns how many. */
static size_t put_digits(char *out, amount_word value, size_t least)
{
    char reversed[40];
    size_t n = 0;
    while (value > 0 || n < least) {
        reversed[n++] = (char)('0' + (int)(value % 10));
        value /= 10;
    }
    for (size_t i = 0; i < n; i++) out[i] = reversed[n - 1 - i];
    return n;
}

size_t amount_base(const struct amount *a, char out[AMOUNT_TEXT_SIZE])
{
    size_t n = 0;
    if (a->high < 0) out[n++] = '-';
    n += put_digits(out + n, amount_magnitude(a), 1);
    out[n] = '\0';
    return n;
}

size_t amount_decimal(const struct amount *a, char out[AMOUNT_TEXT_SIZE])
{
    amount_word one = amount_power_of_ten(AMOUNT_DECIMALS);
    amount_word size = amount_magnitude(a);
    size_t n = 0;
    if (a->high < 0) out[n++] = '-';
    n += put_digits(out + n, size / one, 1);
    if (size % one != 0) {
        out[n++] = '.';
        n += put_digits(out + n, size % one, AMOUNT_DECIMALS);
        while (out[n - 1] == '0') n--;
    }
    out[n] = '\0';
    return n;
}

size_t amount_format(const struct amount *a, char out[AMOUNT_TEXT_SIZE])
{
    size_t n = amount_decimal(a, out);
    int added = snprintf(out + n, AMOUNT_TEXT_SIZE - n, " %.*s", AMOUNT_CURRENCY_SIZE - 1, a->currency);
    return n + (size_t)added;
}
