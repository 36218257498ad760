/* fuzz_jwt.c - a token's expiry is a time or nothing, whatever the token; errors quote none of it.
 *
 * The input is taken as a whole token, and as the payload of a well-formed one (most mutations of base64
 * never get as far as the JSON). */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "host/buf.h"
#include "host/jwt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int ok)
{
    if (!ok) abort();
}

static void put_base64url(struct buf *out, const uint8_t *s, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (size_t i = 0; i < n; i += 3) {
        unsigned bits = (unsigned)s[i] << 16;
        if (i + 1 < n) bits |= (unsigned)s[i + 1] << 8;
        if (i + 2 < n) bits |= s[i + 2];
        buf_putc(out, digits[bits >> 18]);
        buf_putc(out, digits[bits >> 12 & 63]);
        if (i + 1 < n) buf_putc(out, digits[bits >> 6 & 63]);
        if (i + 2 < n) buf_putc(out, digits[bits & 63]);
    }
}

static void check(const char *token, size_t n)
{
    int64_t expires_s = -7;
    struct err err = {0};
    if (jwt_expiry(token, n, &expires_s, &err) == 0)
        must(expires_s >= JWT_NEVER);
    else
        must(err.kind == ERR_PARSE && strstr(err.message, "token") != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf token = {0};
    check((const char *)data, size);
    buf_puts(&token, "e30.");
    put_base64url(&token, data, size);
    buf_puts(&token, ".c2ln");
    check(token.data, token.len);
    buf_deinit(&token);
    return 0;
}
