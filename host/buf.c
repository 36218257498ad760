/* buf.c - growable bytes. */
#include "host/buf.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "host/mem.h"

void buf_init(struct buf *b)
{
    b->data = NULL;
    b->len = b->cap = 0;
}

void buf_deinit(struct buf *b)
{
    mem_free(b->data);
    buf_init(b);
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    if (b->data) b->data[0] = '\0';
}

char *buf_reserve(struct buf *b, size_t n)
{
    if (n > SIZE_MAX / 4 - b->len) n = SIZE_MAX - 1 - b->len; /* mem_realloc ends the process */
    size_t need = b->len + n + 1;
    if (need > b->cap) {
        size_t cap = b->cap ? b->cap * 2 : 64;
        if (cap < need) cap = need;
        b->data = mem_realloc(b->data, cap);
        b->cap = cap;
        b->data[b->len] = '\0';
    }
    return b->data + b->len;
}

void buf_commit(struct buf *b, size_t n)
{
    b->len += n;
    b->data[b->len] = '\0';
}

void buf_append(struct buf *b, const void *bytes, size_t n)
{
    if (n == 0) return;
    memcpy(buf_reserve(b, n), bytes, n);
    buf_commit(b, n);
}

void buf_puts(struct buf *b, const char *s)
{
    buf_append(b, s, strlen(s));
}

void buf_putc(struct buf *b, char c)
{
    *buf_reserve(b, 1) = c;
    buf_commit(b, 1);
}

void buf_vprintf(struct buf *b, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    if (n > 0) {
        char *at = buf_reserve(b, (size_t)n);
        vsnprintf(at, (size_t)n + 1, format, again);
        buf_commit(b, (size_t)n);
    }
    va_end(again);
}

void buf_printf(struct buf *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    buf_vprintf(b, format, args);
    va_end(args);
}

void buf_consume(struct buf *b, size_t n)
{
    if (n == 0) return;
    memmove(b->data, b->data + n, b->len - n + 1);
    b->len -= n;
}

const char *buf_str(const struct buf *b)
{
    return b->data ? b->data : "";
}

char *buf_take(struct buf *b, size_t *len)
{
    buf_reserve(b, 0);
    char *data = b->data;
    if (len) *len = b->len;
    buf_init(b);
    return data;
}

size_t buf_utf8_decode(const char *s, size_t n, uint32_t *code_point)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char lead = (unsigned char)s[0];
    size_t len = lead < 0x80 ? 1 : lead < 0xc0 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf8 ? 4 : 0;
    if (len == 0 || len > n) return 0;
    uint32_t value = len == 1 ? lead : lead & (0x7fU >> len);
    for (size_t i = 1; i < len; i++) {
        unsigned char next = (unsigned char)s[i];
        if ((next & 0xc0) != 0x80) return 0;
        value = value << 6 | (next & 0x3f);
    }
    if (value < least[len] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff)) return 0;
    if (code_point) *code_point = value;
    return len;
}

bool buf_utf8_valid(const char *s, size_t n)
{
    for (size_t i = 0, len; i < n; i += len) {
        len = (unsigned char)s[i] < 0x80 ? 1 : buf_utf8_decode(s + i, n - i, NULL);
        if (len == 0) return false;
    }
    return true;
}

void buf_put_percent(struct buf *b, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char c = s[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (plain || c == '-' || c == '.' || c == '_' || c == '~')
            buf_putc(b, c);
        else
            buf_printf(b, "%%%02X", (unsigned char)c);
    }
}

static void put_json_ascii(struct buf *b, unsigned char c)
{
    switch (c) {
    case '"': buf_puts(b, "\\\""); break;
    case '\\': buf_puts(b, "\\\\"); break;
    case '\n': buf_puts(b, "\\n"); break;
    case '\r': buf_puts(b, "\\r"); break;
    case '\t': buf_puts(b, "\\t"); break;
    default:
        if (c < 0x20 || c == 0x7f)
            buf_printf(b, "\\u%04x", c);
        else
            buf_putc(b, (char)c);
    }
}

/* Bytes at the start of s that stand for themselves in a JSON string. */
static size_t plain_run(const char *s, size_t n)
{
    size_t i = 0;
    while (i < n && (unsigned char)(s[i] - 0x20) < 0x5f && s[i] != '"' && s[i] != '\\') i++;
    return i;
}

bool buf_put_json_string(struct buf *b, const char *s, size_t n)
{
    bool all = true;
    size_t i = plain_run(s, n); /* most strings are plain to their end */
    buf_reserve(b, n + 2);
    buf_putc(b, '"');
    buf_append(b, s, i);
    while (i < n) {
        size_t len = plain_run(s + i, n - i);
        if (len == 0) len = buf_utf8_decode(s + i, n - i, NULL);
        if (len == 0) all = false;
        if (len == 0)
            buf_puts(b, "\\ufffd");
        else if (len == 1)
            put_json_ascii(b, (unsigned char)s[i]);
        else
            buf_append(b, s + i, len);
        i += len ? len : 1;
    }
    buf_putc(b, '"');
    return all;
}
