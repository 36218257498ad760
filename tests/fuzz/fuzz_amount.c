/* fuzz_amount.c - text that reads as an amount prints and reads back as the same amount, and arithmetic
 * keeps its laws wherever it does not refuse.
 * Input: an amount, a newline, another amount or a factor. */
#include "host/amount.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int ok)
{
    if (!ok) abort();
}

static int same(const struct amount *a, const struct amount *b)
{
    return a->low == b->low && a->high == b->high && strcmp(a->currency, b->currency) == 0;
}

static void check_text(const struct amount *a)
{
    char text[AMOUNT_TEXT_SIZE];
    struct amount again;
    must(amount_parse(&again, text, amount_format(a, text), NULL, NULL) == 0 && same(a, &again));
    must(amount_parse(&again, text, amount_decimal(a, text), a->currency, NULL) == 0 && same(a, &again));
    must(amount_from_base(&again, text, amount_base(a, text), a->currency, NULL) == 0 && same(a, &again));
}

static void check_pair(const struct amount *a, const struct amount *b)
{
    struct amount sum, back, other;
    struct err err;
    int order = 2, reverse = 2;
    if (amount_add(&sum, a, b, &err) == 0) {
        must(amount_add(&other, b, a, &err) == 0 && same(&sum, &other));
        must(amount_sub(&back, &sum, b, &err) == 0 && same(&back, a));
        check_text(&sum);
    } else {
        must(err.kind == ERR_INVALID && err.message[0] != '\0');
    }
    if (amount_compare(a, b, &order, &err) == 0) {
        must(amount_compare(b, a, &reverse, &err) == 0 && order == -reverse);
        must((order == 0) == same(a, b));
    }
}

static void check_factor(const struct amount *a, const char *factor, size_t n)
{
    struct amount up, down, half;
    struct err err;
    int order;
    if (amount_mul(&up, a, factor, n, AMOUNT_UP, &err) == 0 &&
        amount_mul(&down, a, factor, n, AMOUNT_DOWN, &err) == 0 &&
        amount_mul(&half, a, factor, n, AMOUNT_HALF_EVEN, &err) == 0) {
        must(same(&half, &up) || same(&half, &down));
        must(amount_compare(&up, &down, &order, &err) == 0 && order * amount_sign(&up) >= 0);
        check_text(&up);
    }
    if (amount_div(&up, a, factor, n, AMOUNT_UP, &err) == 0) check_text(&up);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    const char *end = size ? memchr(text, '\n', size) : NULL;
    size_t first = end ? (size_t)(end - text) : size, second = end ? size - first - 1 : 0;
    struct amount a, b;
    struct err err;
    if (size == 0 || amount_parse(&a, text, first, "CCD", &err) != 0) return 0;
    check_text(&a);
    if (end == NULL) return 0;
    if (amount_parse(&b, end + 1, second, "CCD", &err) == 0) check_pair(&a, &b);
    check_factor(&a, end + 1, second);
    return 0;
}
