/* jsonscan.c - the grammar of JSON, checked and marked in one pass. */
#include "host/jsonscan.h"

#include <stdio.h>
#include <string.h>

#include "host/random.h"

/* The digits a double always gives back, and a length that keeps "0.000…1" far from underflow. */
enum { SAFE_DIGITS = 15, SAFE_LENGTH = 40 };

struct scan {
    const unsigned char *start, *at, *end;
    const char *prefix;
    unsigned depth_left;
    struct buf *out;
    const unsigned char *copied; /* text before this is in out */
    size_t max_out;
    struct jsonscan *result;
    const char *problem; /* what is wrong with the text at `at` */
    const char *limit;   /* or which limit it passes: "depth", "size" */
};

static int scan_value(struct scan *s);

static int fail(struct scan *s, const char *problem)
{
    s->problem = problem;
    return -1;
}

static int fail_limit(struct scan *s, const char *limit)
{
    s->limit = limit;
    return -1;
}

static void skip_blanks(struct scan *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\n' || *s->at == '\r' || *s->at == '\t')) s->at++;
}

static bool next_is(const struct scan *s, unsigned char c)
{
    return s->at < s->end && *s->at == c;
}

/* Replaces the token from `from` to the current place by a marker of the given kind. */
static int rewrite(struct scan *s, const unsigned char *from, char kind, const unsigned char *token, size_t n)
{
    buf_append(s->out, s->copied, (size_t)(from - s->copied));
    buf_putc(s->out, '"');
    buf_append(s->out, s->prefix, JSONSCAN_PREFIX_LEN);
    buf_putc(s->out, kind);
    buf_append(s->out, token, n);
    buf_putc(s->out, '"');
    s->copied = s->at;
    s->result->rewrites++;
    return s->out->len > s->max_out ? fail_limit(s, "size") : 0;
}

/* ---- strings ------------------------------------------------------------------------------------------ */

static int hex_digit(unsigned char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* The four hex digits behind "\u"; -1 if they are not there. */
static int read_code_unit(struct scan *s)
{
    int code = 0;
    if (s->end - s->at < 4) return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(s->at[i]);
        if (digit < 0) return -1;
        code = code << 4 | digit;
    }
    s->at += 4;
    return code;
}

static int scan_escape(struct scan *s)
{
    s->at++;
    if (s->at == s->end) return fail(s, "a string is not closed");
    unsigned char c = *s->at++;
    if (c != 'u') return strchr("\"\\/bfnrt", c) && c ? 0 : fail(s, "an escape that JSON does not have");
    int unit = read_code_unit(s);
    if (unit < 0) return fail(s, "\\u needs four hex digits");
    if (unit >= 0xdc00 && unit < 0xe000) return fail(s, "half a surrogate pair");
    if (unit < 0xd800 || unit > 0xdfff) return 0;
    if (s->end - s->at < 6 || s->at[0] != '\\' || s->at[1] != 'u') return fail(s, "half a surrogate pair");
    s->at += 2;
    unit = read_code_unit(s);
    if (unit < 0xdc00 || unit > 0xdfff) return fail(s, "half a surrogate pair");
    return 0;
}

static int scan_string(struct scan *s)
{
    s->at++;
    while (s->at < s->end) {
        unsigned char c = *s->at;
        if (c >= 0x20 && c < 0x80 && c != '"' && c != '\\') {
            s->at++;
        } else if (c == '"') {
            s->at++;
            return 0;
        } else if (c == '\\') {
            if (scan_escape(s) != 0) return -1;
        } else if (c < 0x20) {
            return fail(s, "a control byte in a string: it must be escaped");
        } else {
            size_t len = buf_utf8_decode((const char *)s->at, (size_t)(s->end - s->at), NULL);
            if (len == 0) return fail(s, "bytes that are not UTF-8");
            s->at += len;
        }
    }
    return fail(s, "a string is not closed");
}

/* ---- numbers ------------------------------------------------------------------------------------------ */

struct number {
    size_t digits;     /* significant ones: leading zeros do not count */
    bool fraction;     /* has a point */
    bool nonzero_tail; /* a digit other than 0 behind the point */
    bool exponent;
};

static bool is_digit(const struct scan *s)
{
    return s->at < s->end && *s->at >= '0' && *s->at <= '9';
}

static int scan_fraction(struct scan *s, struct number *number)
{
    s->at++;
    number->fraction = true;
    if (!is_digit(s)) return fail(s, "a number needs a digit behind its point");
    for (; is_digit(s); s->at++) {
        if (*s->at != '0') number->nonzero_tail = true;
        if (number->digits > 0 || *s->at != '0') number->digits++;
    }
    return 0;
}

static int scan_exponent(struct scan *s, struct number *number)
{
    s->at++;
    number->exponent = true;
    if (next_is(s, '+') || next_is(s, '-')) s->at++;
    if (!is_digit(s)) return fail(s, "an exponent needs a digit");
    while (is_digit(s)) s->at++;
    return 0;
}

/* Moves over a number without judging it. */
static int scan_number_token(struct scan *s, struct number *number)
{
    memset(number, 0, sizeof *number);
    if (next_is(s, '-')) s->at++;
    if (!is_digit(s)) return fail(s, "a number needs a digit behind its sign");
    if (*s->at == '0') {
        s->at++;
        if (is_digit(s)) return fail(s, "a number has a leading zero");
    }
    for (; is_digit(s); s->at++) number->digits++;
    if (next_is(s, '.') && scan_fraction(s, number) != 0) return -1;
    if (s->at < s->end && (*s->at == 'e' || *s->at == 'E') && scan_exponent(s, number) != 0) return -1;
    return 0;
}

static int scan_number(struct scan *s)
{
    const unsigned char *from = s->at;
    struct number number;
    if (scan_number_token(s, &number) != 0) return -1;
    size_t n = (size_t)(s->at - from);
    bool minus_zero = *from == '-' && number.digits == 0;
    if (!number.fraction && !number.exponent && number.digits <= SAFE_DIGITS && !minus_zero)
        s->result->integers = true;
    else if (number.exponent || !number.nonzero_tail || number.digits > SAFE_DIGITS || n > SAFE_LENGTH)
        return rewrite(s, from, JSONSCAN_NUMBER, from, n);
    return 0;
}

bool jsonscan_is_number(const char *token, size_t n)
{
    const unsigned char *bytes = (const unsigned char *)token;
    struct scan s = {.start = bytes, .at = bytes, .end = bytes + n};
    struct number number;
    return scan_number_token(&s, &number) == 0 && s.at == s.end;
}

/* ---- arrays, objects, values ------------------------------------------------------------------------ */

/* After an element: 1 if another follows, 0 at the closing bracket, -1 otherwise. */
static int next_element(struct scan *s, unsigned char close, const char *problem)
{
    skip_blanks(s);
    if (s->at == s->end) return fail(s, "the text ends too early");
    if (*s->at != ',' && *s->at != close) return fail(s, problem);
    int more = *s->at++ == ',';
    skip_blanks(s);
    if (more && next_is(s, close)) return fail(s, "a comma before a closing bracket");
    return more;
}

static int scan_array(struct scan *s)
{
    const unsigned char *from = s->at++;
    skip_blanks(s);
    if (next_is(s, ']')) {
        s->at++;
        return rewrite(s, from, JSONSCAN_ARRAY, from, 0);
    }
    int more;
    do {
        if (scan_value(s) != 0) return -1;
        more = next_element(s, ']', "expected a comma or ]");
    } while (more > 0);
    return more;
}

static int scan_object(struct scan *s)
{
    s->at++;
    skip_blanks(s);
    if (next_is(s, '}')) {
        s->at++;
        return 0;
    }
    int more;
    do {
        if (!next_is(s, '"')) return fail(s, "expected a key in double quotes");
        if (scan_string(s) != 0) return -1;
        skip_blanks(s);
        if (!next_is(s, ':')) return fail(s, "expected a colon behind a key");
        s->at++;
        skip_blanks(s);
        s->result->members++;
        if (scan_value(s) != 0) return -1;
        more = next_element(s, '}', "expected a comma or }");
    } while (more > 0);
    return more;
}

static int scan_nested(struct scan *s)
{
    if (s->depth_left == 0) return fail_limit(s, "depth");
    s->depth_left--;
    int result = *s->at == '[' ? scan_array(s) : scan_object(s);
    s->depth_left++;
    return result;
}

static int scan_word(struct scan *s, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(s->end - s->at) < n || memcmp(s->at, word, n) != 0) return fail(s, "expected a value");
    s->at += n;
    return 0;
}

static int scan_value(struct scan *s)
{
    if (s->at == s->end) return fail(s, "the text ends too early");
    switch (*s->at) {
    case '"': return scan_string(s);
    case '[':
    case '{': return scan_nested(s);
    case 't': return scan_word(s, "true");
    case 'f': return scan_word(s, "false");
    case 'n': return scan_word(s, "null");
    default: break;
    }
    if (*s->at == '-' || is_digit(s)) return scan_number(s);
    return fail(s, "expected a value");
}

static int scan_text(struct scan *s)
{
    skip_blanks(s);
    if (s->at == s->end) return fail(s, "there is nothing here");
    if (scan_value(s) != 0) return -1;
    skip_blanks(s);
    return s->at == s->end ? 0 : fail(s, "something follows the value");
}

static int report_limit(const struct scan *s, unsigned depth, struct err *err)
{
    if (strcmp(s->limit, "depth") == 0)
        err_set(err, ERR_LIMIT, "JSON is nested more than %u deep", depth);
    else
        err_set(err, ERR_LIMIT, "JSON with so many numbers or empty arrays is too large");
    if (err) snprintf(err->code, sizeof err->code, "%s", s->limit);
    return -1;
}

int jsonscan_run(const char *text, size_t n, const char prefix[JSONSCAN_PREFIX_LEN],
                 const struct jsonscan_limits *limits, struct buf *out, struct jsonscan *result,
                 struct err *err)
{
    const unsigned char *bytes = (const unsigned char *)text;
    unsigned depth = limits->max_depth < JSONSCAN_DEPTH_MOST ? limits->max_depth : JSONSCAN_DEPTH_MOST;
    struct scan s = {.start = bytes,
                     .at = bytes,
                     .end = bytes + n,
                     .prefix = prefix,
                     .depth_left = depth,
                     .out = out,
                     .copied = bytes,
                     .max_out = limits->max_out,
                     .result = result};
    memset(result, 0, sizeof *result);
    if (scan_text(&s) != 0) {
        if (s.limit) return report_limit(&s, depth, err);
        return jsonscan_fail(err, text, n, (size_t)(s.at - bytes), s.problem);
    }
    if (result->rewrites > 0) buf_append(out, s.copied, (size_t)(s.end - s.copied));
    return 0;
}

int jsonscan_fail(struct err *err, const char *text, size_t n, size_t offset, const char *what)
{
    size_t line = 1, column = 1;
    for (size_t i = 0; i < offset && i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '\n') {
            line++;
            column = 1;
        } else if ((c & 0xc0) != 0x80) {
            column++;
        }
    }
    return err_set(err, ERR_PARSE, "JSON at line %zu, column %zu (byte %zu): %s", line, column, offset, what);
}

void jsonscan_new_prefix(char prefix[JSONSCAN_PREFIX_LEN])
{
    char hex[JSONSCAN_PREFIX_LEN];
    random_hex(NULL, hex, (JSONSCAN_PREFIX_LEN - 1) / 2);
    prefix[0] = '\xff';
    memcpy(prefix + 1, hex, JSONSCAN_PREFIX_LEN - 1);
}
