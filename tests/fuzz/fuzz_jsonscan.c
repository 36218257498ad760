/* fuzz_jsonscan.c - what the JSON scan promises the parser above it, for any bytes.
 *
 * Text that passes: its marked copy passes too and holds nothing more to mark; every marker is well-formed;
 * numbers left in place read back as what they were; members are counted alike; duplicates are found inside
 * the text.  Text that fails: the message has a place. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "host/jsonscan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct jsonscan_limits limits = {.max_depth = JSONSCAN_DEPTH_MOST, .max_out = SIZE_MAX};
static const char prefix[JSONSCAN_PREFIX_LEN] = "\xff"
                                                "0123456789abcdef0123456789abcdef";

static void must(int ok)
{
    if (!ok) abort();
}

/* The token of a marker is a number, and keeps its value in the class it is given. */
static void check_number(const char *token, size_t n)
{
    int64_t integer;
    double real;
    char text[JSONSCAN_REAL_SIZE];
    must(jsonscan_is_number(token, n));
    if (jsonscan_classify(token, n, &integer, &real) != JSONSCAN_IS_REAL) return;
    must(isfinite(real));
    size_t printed = jsonscan_print_real(real, text);
    must(jsonscan_is_number(text, printed) && strtod(text, NULL) == real);
}

/* Turns markers into plain strings of the same meaning ("n1", "a"), checking each. */
static size_t check_markers(struct buf *plain, const char *s, size_t n)
{
    size_t markers = 0;
    for (size_t i = 0; i < n;) {
        if (n - i < sizeof prefix || memcmp(s + i, prefix, sizeof prefix) != 0) {
            must(s[i] != '\xff');
            buf_putc(plain, s[i++]);
            continue;
        }
        markers++;
        must(i > 0 && s[i - 1] == '"');
        i += sizeof prefix;
        const char *end = memchr(s + i, '"', n - i);
        must(end != NULL);
        must(s[i] == JSONSCAN_ARRAY ? s[i + 1] == '"' : s[i] == JSONSCAN_NUMBER);
        if (s[i] == JSONSCAN_NUMBER) check_number(s + i + 1, (size_t)(end - s) - i - 1);
    }
    return markers;
}

static void check_passed(const char *text, size_t n, const struct buf *out, const struct jsonscan *first)
{
    struct buf plain = {0}, again = {0};
    struct jsonscan second;
    const char *left = first->rewrites ? out->data : text;
    size_t left_len = first->rewrites ? out->len : n, at = n;
    must(check_markers(&plain, left, left_len) == first->rewrites);
    must(jsonscan_run(buf_str(&plain), plain.len, prefix, &limits, &again, &second, NULL) == 0);
    must(second.rewrites == 0 && second.members == first->members && second.integers == first->integers);
    if (jsonscan_duplicate(text, n, &at)) must(at < n && text[at] == '"' && first->members >= 2);
    buf_deinit(&plain);
    buf_deinit(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct buf out = {0};
    struct jsonscan scan;
    struct err err = {0};
    if (jsonscan_run(text, size, prefix, &limits, &out, &scan, &err) == 0)
        check_passed(text, size, &out, &scan);
    else
        must(err.kind == ERR_LIMIT || strstr(err.message, "(byte ") != NULL);
    buf_deinit(&out);
    return 0;
}
