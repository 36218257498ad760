/* jwt.c - the payload of a JSON web token: base64url, JSON, the claim `exp`. */
#include "host/jwt.h"

#include <math.h>
#include <string.h>

#include "host/jsonscan.h"

static const struct jsonscan_limits payload_limits = {.max_depth = 16, .max_out = SIZE_MAX};

static int digit_of(char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == '-') return 62;
    return c == '_' ? 63 : -1;
}

/* Without padding, as RFC 7515 has it. */
static int decode_base64url(struct buf *out, const char *s, size_t n)
{
    unsigned bits = 0, count = 0;
    if (n % 4 == 1) return -1;
    for (size_t i = 0; i < n; i++) {
        int digit = digit_of(s[i]);
        if (digit < 0) return -1;
        bits = (bits << 6 | (unsigned)digit) & 0xffff;
        count += 6;
        if (count < 8) continue;
        count -= 8;
        buf_putc(out, (char)(bits >> count & 0xff));
    }
    return 0;
}

/* The part between the two dots. */
static int read_payload(struct buf *out, const char *token, size_t n)
{
    const char *end = token + n;
    const char *first = memchr(token, '.', n);
    if (first == NULL) return -1;
    const char *second = memchr(first + 1, '.', (size_t)(end - first - 1));
    if (second == NULL || memchr(second + 1, '.', (size_t)(end - second - 1))) return -1;
    return decode_base64url(out, first + 1, (size_t)(second - first - 1));
}

static size_t skip_blanks(const char *text, size_t i)
{
    return i + strspn(text + i, " \t\r\n");
}

static size_t skip_string(const char *text, size_t i)
{
    for (i++; text[i] != '"'; i++)
        if (text[i] == '\\') i++;
    return i + 1;
}

/* Where the value of the outermost object's member `"exp"` starts; NULL if there is none.  The text is valid
 * JSON and NUL-terminated. */
static const char *find_expiry(const char *text, size_t n)
{
    int depth = 0;
    for (size_t i = 0; i < n;) {
        if (text[i] == '{' || text[i] == '[') depth++;
        if (text[i] == '}' || text[i] == ']') depth--;
        if (text[i] != '"') {
            i++;
            continue;
        }
        size_t from = i;
        i = skip_string(text, i);
        size_t colon = skip_blanks(text, i);
        if (depth == 1 && text[colon] == ':' && i - from == 5 && memcmp(text + from, "\"exp\"", 5) == 0)
            return text + skip_blanks(text, colon + 1);
    }
    return NULL;
}

static int read_seconds(const char *token, int64_t *seconds)
{
    size_t n = strspn(token, "+-.0123456789eE");
    double real;
    if (n == 0) return -1;
    switch (jsonscan_classify(token, n, seconds, &real)) {
    case JSONSCAN_IS_INTEGER: return *seconds >= 0 ? 0 : -1;
    case JSONSCAN_IS_REAL:
        if (real < 0 || real > 0x1p53) return -1;
        *seconds = (int64_t)floor(real);
        return 0;
    case JSONSCAN_IS_EXACT: break;
    }
    return -1;
}

static int read_claims(const struct buf *payload, int64_t *expires_s, struct err *err)
{
    char prefix[JSONSCAN_PREFIX_LEN] = {0}; /* the marked copy is thrown away */
    struct buf marked = {0};
    struct jsonscan scan;
    size_t at;
    int bad = jsonscan_run(buf_str(payload), payload->len, prefix, &payload_limits, &marked, &scan, NULL);
    buf_deinit(&marked);
    if (bad || payload->data[strspn(payload->data, " \t\r\n")] != '{')
        return err_set(err, ERR_PARSE, "the token's payload is not a JSON object");
    if (jsonscan_duplicate(payload->data, payload->len, &at))
        return err_set(err, ERR_PARSE, "the token states a claim twice");
    const char *expiry = find_expiry(payload->data, payload->len);
    *expires_s = JWT_NEVER;
    if (expiry && read_seconds(expiry, expires_s) != 0)
        return err_set(err, ERR_PARSE, "the token's exp is not a time");
    return 0;
}

int jwt_expiry(const char *token, size_t n, int64_t *expires_s, struct err *err)
{
    struct buf payload = {0};
    int result = -1;
    if (n > JWT_LONGEST || read_payload(&payload, token, n) != 0)
        err_set(err, ERR_PARSE, "this is not a JSON web token: expected three parts of base64url, with dots");
    else
        result = read_claims(&payload, expires_s, err);
    buf_deinit(&payload);
    return result;
}
