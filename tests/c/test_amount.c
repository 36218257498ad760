/* test_amount.c - exact money: reading, printing, arithmetic against vectors, and what must be refused. */
#include <stdlib.h>

#include "harness.h"
#include "host/amount.h"
#include "host/random.h"

static struct amount amount_of(const char *text)
{
    struct amount a = {0};
    struct err err;
    if (amount_parse(&a, text, strlen(text), "CCD", &err) != 0) {
        harness_failed++;
        printf("not ok - \"%s\" is refused: %s\n", text, err.message);
    }
    return a;
}

static const char *text_of(const struct amount *a)
{
    static char text[AMOUNT_TEXT_SIZE];
    size_t n = amount_format(a, text);
    CHECK_INT(n, strlen(text));
    return text;
}

static void test_text(void)
{
    static const char *const same[] = {
        "0.05 CCD",
        "0 CCD",
        "-12.5 CNY",
        "0.000000000000000001 CCD",
        "500 CCD",
        "0.027870365208168 CCD",
        "170141183460469231731.687303715884105727 CCD",
        "-170141183460469231731.687303715884105727 CCD",
        "1 USDT20",
    };
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        struct amount a = amount_of(same[i]);
        CHECK_STR(text_of(&a), same[i]);
    }
    struct amount a = amount_of("0012.500");
    CHECK_STR(text_of(&a), "12.5 CCD");
    a = amount_of("-0.0 CNY");
    CHECK_STR(text_of(&a), "0 CNY");
    CHECK_INT(amount_sign(&a), 0);
}

static void test_base_units(void)
{
    struct amount a;
    struct err err;
    char text[AMOUNT_TEXT_SIZE];
    CHECK_INT(amount_from_base(&a, "27870365208168000", 17, "CCD", &err), 0);
    CHECK_STR(text_of(&a), "0.027870365208168 CCD");
    CHECK_INT(amount_from_base(&a, "500000000000000000000", 21, "CCD", &err), 0); /* beyond 2^64 */
    CHECK_STR(text_of(&a), "500 CCD");
    amount_base(&a, text);
    CHECK_STR(text, "500000000000000000000");
    amount_decimal(&a, text);
    CHECK_STR(text, "500");
    CHECK(amount_from_base(&a, "1.5", 3, "CCD", &err) != 0);
    CHECK(strstr(err.message, "whole number") != NULL);
    CHECK(amount_from_base(&a, "15", 2, "ccd", &err) != 0);
    CHECK_STR(err.code, "currency");
    CHECK(amount_from_base(&a, "170141183460469231731687303715884105728", 39, "CCD", &err) != 0);
    CHECK_STR(err.code, "overflow");
}

static void test_refused(void)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"", "is empty"},
        {" 1 CCD", "blank"},
        {"1  CCD", "blank"},
        {"1 CCD ", "blank"},
        {"1\tCCD", "blank"},
        {"+1 CCD", "sign"},
        {"--1 CCD", "sign"},
        {"1- CCD", "sign"},
        {"- 1 CCD", "blank"},
        {"1e3 CCD", "exponent"},
        {"1.5E-3 CCD", "exponent"},
        {"1,000 CCD", "separator"},
        {".5 CCD", "decimal point"},
        {"5. CCD", "no digit after"},
        {"1.2.3 CCD", "decimal point"},
        {"0x10 CCD", "is not"},
        {"nan CCD", "is not"},
        {"CCD", "is not"},
        {"1CCD", "needs a blank"},
        {"1 ccd", "capital"},
        {"1 C", "capital"},
        {"1 TOOLONGS", "capital"},
        {"1", "names no currency"},
        {"0.0000000000000000001 CCD", "18 decimals"},
        {"0.0000000000000000000 CCD", "18 decimals"},
        {"170141183460469231732 CCD", "beyond"},
        {"99999999999999999999999999999999999999999999 CCD", "too many digits"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct amount a = {.low = 77};
        struct err err = {0};
        CHECK(amount_parse(&a, cases[i].text, strlen(cases[i].text), NULL, &err) == -1);
        CHECK(err.kind == ERR_INVALID && a.low == 77);
        if (strstr(err.message, cases[i].why) == NULL) {
            harness_failed++;
            printf("not ok - \"%s\": \"%s\" does not say \"%s\"\n", cases[i].text, err.message, cases[i].why);
        }
    }
    struct amount a;
    struct err err;
    CHECK(amount_parse(&a, "1\0CCD", 5, NULL, &err) == -1);
}

static void test_currencies_never_meet(void)
{
    struct amount ccd = amount_of("1 CCD"), cny = amount_of("1 CNY"), out;
    struct err err;
    int order;
    char text[AMOUNT_TEXT_SIZE];
    CHECK(amount_add(&out, &ccd, &cny, &err) == -1);
    CHECK_STR(err.message, "1 CCD and 1 CNY are of different currencies");
    CHECK_STR(err.code, "currency");
    CHECK(amount_sub(&out, &ccd, &cny, &err) == -1);
    CHECK(amount_compare(&ccd, &cny, &order, &err) == -1);
    CHECK(amount_ratio(text, &ccd, &cny, AMOUNT_UP, &err) == -1);
}

static void test_order(void)
{
    static const char *const rising[] = {
        "-170141183460469231731", "-20", "-0.000000000000000001", "0", "0.000000000000000001", "18", "19",
        "170141183460469231731"};
    const int n = sizeof rising / sizeof rising[0];
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < n; j++) {
            struct amount a = amount_of(rising[i]), b = amount_of(rising[j]);
            int order = 9;
            CHECK(amount_compare(&a, &b, &order, NULL) == 0);
            CHECK_INT(order, i < j ? -1 : i > j);
        }
    }
}

static int apply(const char *op, const char *mode_name, struct amount *a, const char *right,
                 char out[AMOUNT_TEXT_SIZE], struct err *err)
{
    struct amount b, result;
    enum amount_rounding mode = AMOUNT_UP;
    int failed;
    if (mode_name[0] != '-') CHECK_INT(amount_rounding_parse(mode_name, &mode), 0);
    if (strcmp(op, "add") == 0 || strcmp(op, "sub") == 0) {
        b = amount_of(right);
        failed = op[0] == 'a' ? amount_add(&result, a, &b, err) : amount_sub(&result, a, &b, err);
    } else if (strcmp(op, "ratio") == 0) {
        b = amount_of(right);
        return amount_ratio(out, a, &b, mode, err);
    } else if (strcmp(op, "mul") == 0) {
        failed = amount_mul(&result, a, right, strlen(right), mode, err);
    } else {
        failed = amount_div(&result, a, right, strlen(right), mode, err);
    }
    if (!failed) amount_decimal(&result, out);
    return failed;
}

static void test_vectors(void)
{
    FILE *f = fopen("tests/fixtures/amount_vectors.txt", "r");
    char line[400], op[8], mode[12], left[80], right[80], want[80];
    int seen = 0;
    CHECK(f != NULL);
    while (f && fgets(line, sizeof line, f)) {
        if (line[0] == '#') continue;
        CHECK_INT(sscanf(line, "%7s %11s %79s %79s %79s", op, mode, left, right, want), 5);
        char got[AMOUNT_TEXT_SIZE] = "";
        struct err err = {0};
        struct amount a = amount_of(left);
        if (apply(op, mode, &a, right, got, &err) != 0) snprintf(got, sizeof got, "%s", err.code);
        if (strcmp(got, want) != 0) printf("# %s", line);
        CHECK_STR(got, want);
        seen++;
    }
    CHECK(seen >= 900);
    if (f) fclose(f);
}

static struct amount random_amount(struct random *r)
{
    struct amount a = {.low = random_u64(r), .high = (int64_t)random_u64(r), .currency = "CCD"};
    a.high >>= random_below(r, 64);
    if (a.high == INT64_MIN) a.high++; /* the one value outside the symmetric range */
    return a;
}

static void test_properties(void)
{
    struct random r;
    random_init(&r, 20240131);
    for (int i = 0; i < 20000; i++) {
        struct amount a = random_amount(&r), b = random_amount(&r), sum, back, same;
        char text[AMOUNT_TEXT_SIZE];
        size_t n = amount_format(&a, text);
        CHECK(amount_parse(&same, text, n, NULL, NULL) == 0 && memcmp(&a, &same, sizeof a) == 0);
        n = amount_base(&a, text);
        CHECK(amount_from_base(&same, text, n, "CCD", NULL) == 0 && memcmp(&a, &same, sizeof a) == 0);
        if (amount_add(&sum, &a, &b, NULL) == 0) {
            CHECK(amount_sub(&back, &sum, &b, NULL) == 0 && memcmp(&a, &back, sizeof a) == 0);
        }
        int64_t factor = (int64_t)random_u64(&r) >> random_below(&r, 63);
        n = (size_t)snprintf(text, sizeof text, "%lld", (long long)factor);
        if (factor != 0 && amount_mul(&sum, &a, text, n, AMOUNT_HALF_EVEN, NULL) == 0) {
            CHECK(amount_div(&back, &sum, text, n, AMOUNT_HALF_EVEN, NULL) == 0);
            CHECK(memcmp(&a, &back, sizeof a) == 0);
        }
    }
}

static void test_factors(void)
{
    struct amount a = amount_of("10 CCD"), out;
    struct err err;
    CHECK(amount_mul(&out, &a, "1e3", 3, AMOUNT_UP, &err) == -1);
    CHECK(strstr(err.message, "after its digits") != NULL || strstr(err.message, "exponent") != NULL);
    CHECK(amount_mul(&out, &a, "", 0, AMOUNT_UP, &err) == -1);
    CHECK(amount_div(&out, &a, "0.00", 4, AMOUNT_UP, &err) == -1);
    CHECK_STR(err.code, "zero");
    CHECK(amount_mul(&out, &a, "2.500000000000000000000000000000000000000", 41, AMOUNT_UP, &err) == -1);
    CHECK(amount_mul(&out, &a, "2.50000000000000000000000000000000000000", 40, AMOUNT_UP, &err) == 0);
    CHECK_STR(text_of(&out), "25 CCD");
    CHECK(amount_mul(&out, &a, "-9223372036854775808", 20, AMOUNT_UP, &err) == 0);
    CHECK_STR(text_of(&out), "-92233720368547758080 CCD");
    CHECK(amount_mul(&a, &a, "0.1", 3, AMOUNT_UP, &err) == 0); /* the result may be an operand */
    CHECK_STR(text_of(&a), "1 CCD");
}

int main(void)
{
    test_text();
    test_base_units();
    test_refused();
    test_currencies_never_meet();
    test_order();
    test_vectors();
    test_properties();
    test_factors();
    HARNESS_END();
}
