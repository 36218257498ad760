/* fuzz_jsonscan.c - what the scan lets through is JSON: rewritten, it is let through again, with nothing left
 * to rewrite; and its numbers print as themselves.
 * The prefix is readable here, so that the rewritten text is JSON as well. */
#include "host/jsonscan.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char prefix[JSONSCAN_PREFIX_LEN + 1] = "=================================";

static void must(int ok)
{
    if (!ok) abort();
}

static void check_number(const char *token, size_t n)
{
    int64_t integer = 0;
    double real = 0;
    char text[JSONSCAN_REAL_SIZE];
    if (!jsonscan_is_number(token, n)) return;
    if (jsonscan_classify(token, n, &integer, &real) != JSONSCAN_IS_REAL) return;
    size_t len = jsonscan_print_real(real, text);
    must(len < sizeof text && strtod(text, NULL) == real);
    must(strpbrk(text, ".eE") != NULL && jsonscan_is_number(text, len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct buf out = {0}, twice = {0};
    struct jsonscan first = {0}, second = {0};
    struct err err;
    check_number(text, size);
    if (jsonscan_run(text, size, prefix, 100, &out, &first, &err) != 0) {
        must((err.kind == ERR_PARSE || err.kind == ERR_LIMIT) && err.message[0] != '\0');
    } else {
        size_t offset = 0;
        if (jsonscan_duplicate(text, size, &offset)) must(offset < size && first.members >= 2);
        const char *again = first.rewrites ? out.data : text;
        size_t n = first.rewrites ? out.len : size;
        must(jsonscan_run(again, n, prefix, 100, &twice, &second, &err) == 0);
        must(second.rewrites == 0 && second.members == first.members);
    }
    buf_deinit(&out);
    buf_deinit(&twice);
    return 0;
}
