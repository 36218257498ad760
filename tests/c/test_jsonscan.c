/* test_jsonscan.c - strict JSON: what passes, what is refused and where, what is marked, which numbers last.
 */
#include <math.h>
#include <stdlib.h>

#include "harness.h"
#include "host/jsonscan.h"
#include "host/random.h"

static char prefix[JSONSCAN_PREFIX_LEN];

static int scan(const char *text, size_t n, struct buf *out, struct jsonscan *result, struct err *err)
{
    buf_clear(out);
    static const struct jsonscan_limits limits = {.max_depth = 100, .max_out = SIZE_MAX};
    return jsonscan_run(text, n, prefix, &limits, out, result, err);
}

/* What the scan made of the text, with the marker's prefix shown as "@". */
static const char *marked(const char *text)
{
    static char shown[1000];
    struct buf out = {0};
    struct jsonscan result;
    struct err err;
    size_t used = 0;
    snprintf(shown, sizeof shown, "%s", text);
    if (scan(text, strlen(text), &out, &result, &err) != 0) {
        snprintf(shown, sizeof shown, "refused: %s", err.message);
    } else if (result.rewrites > 0) {
        for (size_t i = 0; i < out.len && used + 1 < sizeof shown; i++) {
            bool hit = out.len - i >= sizeof prefix && memcmp(out.data + i, prefix, sizeof prefix) == 0;
            shown[used++] = hit ? '@' : out.data[i];
            if (hit) i += sizeof prefix - 1;
        }
        shown[used] = '\0';
    }
    buf_deinit(&out);
    return shown;
}

static void test_left_alone(void)
{
    static const char *const texts[] = {
        "null",
        " true ",
        "false",
        "0",
        "-1",
        "123456789012345",
        "-123456789012345",
        "1.5",
        "-0.25",
        "0.000000000000001",
        "\"\"",
        "{}",
        "{\"a\":{\"b\":[1,2,{\"c\":null}]}}",
        "\"\\u00e9\\ud83d\\ude00\\n\\/\"",
        "[ 1 ,\t2\r\n, 3 ]",
        "\"算想云\"",
        "[\"]\",\"{\\\"\"]",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) CHECK_STR(marked(texts[i]), texts[i]);
}

static void test_marked(void)
{
    static const char *const cases[][2] = {
        {"[]", "\"@a\""},
        {"[ \n ]", "\"@a\""},
        {"[[],[]]", "[\"@a\",\"@a\"]"},
        {"{\"a\": [] , \"b\":1}", "{\"a\": \"@a\" , \"b\":1}"},
        {"1.0", "\"@n1.0\""},
        {"-0", "\"@n-0\""},
        {"1e3", "\"@n1e3\""},
        {"1234567890123456", "\"@n1234567890123456\""},
        {"[27870365208168000, 7]", "[\"@n27870365208168000\", 7]"},
        {"0.1234567890123456", "\"@n0.1234567890123456\""},
        {"0.00000000000000000000000000000000000000001", "\"@n0.00000000000000000000000000000000000000001\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) CHECK_STR(marked(cases[i][0]), cases[i][1]);
}

static const struct {
    const char *text, *problem;
    size_t byte;
} refused[] = {
    {"", "nothing", 0},
    {" \n", "nothing", 2},
    {"nul", "expected a value", 0},
    {"NaN", "expected a value", 0},
    {"[Infinity]", "expected a value", 1},
    {"-Infinity", "digit behind its sign", 1},
    {"01", "leading zero", 1},
    {"-01", "leading zero", 2},
    {"0x10", "something follows", 1},
    {"+1", "expected a value", 0},
    {".5", "expected a value", 0},
    {"5.", "digit behind its point", 2},
    {"1e", "exponent needs", 2},
    {"1 2", "something follows", 2},
    {"{}x", "something follows", 2},
    {"[1,]", "comma before", 3},
    {"[,1]", "expected a value", 1},
    {"[1 2]", "comma or ]", 3},
    {"[1", "too early", 2},
    {"[1}", "comma or ]", 2},
    {"{\"a\" 1}", "colon", 5},
    {"{\"a\":1,}", "comma before", 7},
    {"{a:1}", "double quotes", 1},
    {"{1:1}", "double quotes", 1},
    {"{\"a\":}", "expected a value", 5},
    {"'a'", "expected a value", 0},
    {"\"a", "not closed", 2},
    {"\"\\", "not closed", 2},
    {"\"\\x41\"", "does not have", 3},
    {"\"\\u12g4\"", "hex digits", 3},
    {"\"\\ud800\"", "surrogate", 7},
    {"\"\\udc00\"", "surrogate", 7},
    {"\"\\ud800\\u0041\"", "surrogate", 13},
    {"\"a\nb\"", "control byte", 2},
    {"\"\xff\"", "not UTF-8", 1},
    {"\"\xc0\x80\"", "not UTF-8", 1},
    {"\"\xed\xa0\x80\"", "not UTF-8", 1},
    {"\"\xf4\x90\x80\x80\"", "not UTF-8", 1},
    {"\xef\xbb\xbf{}", "expected a value", 0},
    {"// x\n1", "expected a value", 0},
};
static void test_refused(void)
{
    struct buf out = {0};
    struct jsonscan result;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        struct err err = {0};
        char byte[32];
        CHECK(scan(refused[i].text, strlen(refused[i].text), &out, &result, &err) == -1);
        CHECK(err.kind == ERR_PARSE);
        snprintf(byte, sizeof byte, "(byte %zu)", refused[i].byte);
        if (strstr(err.message, refused[i].problem) == NULL || strstr(err.message, byte) == NULL) {
            harness_failed++;
            printf("not ok - %s: \"%s\", not \"%s\" %s\n", refused[i].text, err.message, refused[i].problem,
                   byte);
        }
    }
    struct err err;
    CHECK(scan("\"a\0b\"", 5, &out, &result, &err) == -1);
    CHECK(scan("1\0", 2, &out, &result, &err) == -1);
    CHECK(scan("{\n  \"é\": nope\n}", 17, &out, &result, &err) == -1);
    CHECK_STR(err.message, "JSON at line 2, column 8 (byte 10): expected a value");
    buf_deinit(&out);
}

static void test_depth(void)
{
    static const struct jsonscan_limits deep = {512, SIZE_MAX}, less = {511, SIZE_MAX},
                                        huge = {1u << 30, SIZE_MAX};
    struct buf text = {0}, out = {0};
    struct jsonscan result;
    struct err err;
    for (int i = 0; i < 512; i++) buf_putc(&text, '[');
    buf_putc(&text, '1');
    for (int i = 0; i < 512; i++) buf_putc(&text, ']');
    CHECK(jsonscan_run(text.data, text.len, prefix, &deep, &out, &result, &err) == 0);
    CHECK(jsonscan_run(text.data, text.len, prefix, &less, &out, &result, &err) == -1);
    CHECK(err.kind == ERR_LIMIT);
    CHECK_STR(err.code, "depth");
    buf_clear(&text);
    for (int i = 0; i < 1000000; i++) buf_putc(&text, '[');
    CHECK(jsonscan_run(text.data, text.len, prefix, &huge, &out, &result, &err) == -1);
    CHECK(err.kind == ERR_LIMIT);
    buf_deinit(&text);
    buf_deinit(&out);
}

/* Two bytes become 37: the copy stops growing at its limit. */
static void test_size_of_the_copy(void)
{
    static const struct jsonscan_limits limits = {.max_depth = 10, .max_out = 1000};
    struct buf text = {0}, out = {0};
    struct jsonscan result;
    struct err err = {0};
    buf_puts(&text, "[1.0");
    for (int i = 0; i < 100000; i++) buf_puts(&text, ",[]");
    buf_puts(&text, "]");
    CHECK(jsonscan_run(text.data, text.len, prefix, &limits, &out, &result, &err) == -1);
    CHECK(err.kind == ERR_LIMIT && out.len < 1100);
    CHECK_STR(err.code, "size");
    buf_deinit(&text);
    buf_deinit(&out);
}

/* A text can hold the prefix only as bytes, which are not UTF-8: no escape makes the byte 0xff. */
static void test_forged_marker(void)
{
    struct buf text = {0}, out = {0};
    struct jsonscan result;
    struct err err;
    buf_puts(&text, "[[],\"");
    buf_append(&text, prefix, sizeof prefix);
    buf_puts(&text, "n1\"]");
    CHECK(scan(text.data, text.len, &out, &result, &err) == -1);
    CHECK(err.kind == ERR_PARSE && strstr(err.message, "not UTF-8") != NULL);
    char other[JSONSCAN_PREFIX_LEN];
    jsonscan_new_prefix(other);
    CHECK(memcmp(prefix, other, sizeof other) != 0);
    buf_deinit(&text);
    buf_deinit(&out);
}

static void test_members_and_duplicates(void)
{
    static const struct {
        const char *text;
        size_t members;
        long at; /* of the second key; -1 if there is none */
    } cases[] = {
        {"{\"a\":1,\"b\":{\"a\":2}}", 3, -1},
        {"[{\"a\":1},{\"a\":1}]", 2, -1},
        {"{\"a\":\"a\",\"b\":\"a\"}", 2, -1},
        {"{\"a\":1,\"a\":2}", 2, 7},
        {"{\"a\":1,\"\\u0061\":2}", 2, 7},
        {"{\"x\":{\"\":1,\"\":2}, \"\\ud83d\\ude00\":1,\"😀\":1}", 5, 11},
        {"{\"\\n\\u00e9\\u20ac\":0 , \"\\u000aé€\" : 0}", 2, 22},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf out = {0};
        struct jsonscan result;
        size_t at = 0, n = strlen(cases[i].text);
        CHECK(scan(cases[i].text, n, &out, &result, NULL) == 0);
        CHECK_INT(result.members, cases[i].members);
        bool found = jsonscan_duplicate(cases[i].text, n, &at);
        CHECK_INT(found ? (long)at : -1, cases[i].at);
        buf_deinit(&out);
    }
}

static void test_classify(void)
{
    static const struct {
        const char *token;
        enum jsonscan_class class;
    } cases[] = {
        {"0", JSONSCAN_IS_INTEGER},
        {"9223372036854775807", JSONSCAN_IS_INTEGER},
        {"-9223372036854775808", JSONSCAN_IS_INTEGER},
        {"9223372036854775808", JSONSCAN_IS_EXACT},
        {"-9223372036854775809", JSONSCAN_IS_EXACT},
        {"500000000000000000000", JSONSCAN_IS_EXACT},
        {"-0", JSONSCAN_IS_REAL},
        {"0.0", JSONSCAN_IS_REAL},
        {"0e99999999999", JSONSCAN_IS_REAL},
        {"1.0", JSONSCAN_IS_REAL},
        {"1e3", JSONSCAN_IS_REAL},
        {"1000E-3", JSONSCAN_IS_REAL},
        {"0.1", JSONSCAN_IS_REAL},
        {"0.30000000000000004", JSONSCAN_IS_REAL},
        {"0.10000000000000001", JSONSCAN_IS_EXACT}, /* prints 0.1 */
        {"0.10000000000000000000000", JSONSCAN_IS_REAL},
        {"1.7976931348623157e308", JSONSCAN_IS_REAL},
        {"1e400", JSONSCAN_IS_EXACT},
        {"1e-400", JSONSCAN_IS_EXACT},
        {"1e99999999999999999999", JSONSCAN_IS_EXACT},
        {"5e-324", JSONSCAN_IS_REAL},
        {"4.9406564584124654e-324", JSONSCAN_IS_EXACT},
        {"27.870365208168000123", JSONSCAN_IS_EXACT},
        {"9007199254740993.0", JSONSCAN_IS_EXACT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t integer = 7;
        double real = 7;
        enum jsonscan_class class =
            jsonscan_classify(cases[i].token, strlen(cases[i].token), &integer, &real);
        CHECK(jsonscan_is_number(cases[i].token, strlen(cases[i].token)));
        if (class != cases[i].class) printf("# %s\n", cases[i].token);
        CHECK_INT(class, cases[i].class);
        if (class == JSONSCAN_IS_REAL) CHECK(real == strtod(cases[i].token, NULL));
        if (class == JSONSCAN_IS_INTEGER) CHECK(integer == strtoll(cases[i].token, NULL, 10));
    }
    double real = 1;
    int64_t integer;
    jsonscan_classify("-0.0", 4, &integer, &real);
    CHECK(signbit(real));
    CHECK(!jsonscan_is_number("1.", 2) && !jsonscan_is_number("1 ", 2) && !jsonscan_is_number("", 0));
    CHECK(!jsonscan_is_number("0x1", 3) && !jsonscan_is_number("-", 1) && !jsonscan_is_number("nan", 3));
}

static void test_print_real(void)
{
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        {0.1, "0.1"},
        {0.1 + 0.2, "0.30000000000000004"},
        {3, "3.0"},
        {-0.0, "-0.0"},
        {1e300, "1e+300"},
        {1e15, "1e+15"},
        {123456789, "123456789.0"},
        {5e-324, "5e-324"},
        {1.7976931348623157e308, "1.7976931348623157e+308"},
    };
    char text[JSONSCAN_REAL_SIZE];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK_INT(jsonscan_print_real(cases[i].value, text), strlen(cases[i].text));
        CHECK_STR(text, cases[i].text);
    }
    struct random r;
    random_init(&r, 5);
    for (int i = 0; i < 100000; i++) {
        uint64_t bits = random_u64(&r);
        double value, back;
        int64_t integer;
        memcpy(&value, &bits, sizeof value);
        if (!isfinite(value)) continue;
        size_t n = jsonscan_print_real(value, text);
        CHECK(strtod(text, NULL) == value);
        CHECK(jsonscan_is_number(text, n));
        CHECK(jsonscan_classify(text, n, &integer, &back) == JSONSCAN_IS_REAL && back == value);
    }
}

/* The promise on numbers left in place, for random short decimals: a float tells their kind and value. */
static void test_numbers_left_in_place(void)
{
    struct random r;
    random_init(&r, 6);
    for (int i = 0; i < 100000; i++) {
        char text[64], again[64];
        int64_t whole = (int64_t)random_u64(&r) >> random_below(&r, 64);
        int decimals = (int)random_below(&r, 18);
        unsigned long long tail = random_u64(&r) >> random_below(&r, 64);
        snprintf(text, sizeof text, "%lld", (long long)whole);
        if (decimals > 0)
            snprintf(text, sizeof text, "%lld.%0*llu", (long long)(whole % 100000), decimals, tail);
        struct buf out = {0};
        struct jsonscan result;
        CHECK(scan(text, strlen(text), &out, &result, NULL) == 0);
        if (result.rewrites == 0) {
            double value = strtod(text, NULL);
            CHECK((value == floor(value)) == (strchr(text, '.') == NULL));
            CHECK(result.integers == (strchr(text, '.') == NULL));
            jsonscan_print_real(value, again);
            CHECK(strtod(again, NULL) == value);
            if (result.integers) CHECK((int64_t)value == whole);
        }
        buf_deinit(&out);
    }
}

int main(void)
{
    jsonscan_new_prefix(prefix);
    test_left_alone();
    test_marked();
    test_refused();
    test_depth();
    test_size_of_the_copy();
    test_forged_marker();
    test_members_and_duplicates();
    test_classify();
    test_print_real();
    test_numbers_left_in_place();
    HARNESS_END();
}
