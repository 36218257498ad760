/* buf.h - a growable run of bytes, kept NUL-terminated so that it can be read as a string.
 *
 * The struct is the caller's, zeroed is empty and valid.  The bytes are the buffer's until buf_take.
 */
#ifndef PERIGEE_BUF_H
#define PERIGEE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    char *data; /* NULL while nothing was ever added; else data[len] == 0 */
    size_t len;
    size_t cap;
};

void buf_init(struct buf *b);
void buf_deinit(struct buf *b); /* frees; the buffer is empty and usable again */
void buf_clear(struct buf *b);  /* len = 0, memory kept */

/* Makes room for n more bytes and returns where they go; the caller then adds what it wrote to len with
 * buf_commit. */
char *buf_reserve(struct buf *b, size_t n);
void buf_commit(struct buf *b, size_t n);

void buf_append(struct buf *b, const void *bytes, size_t n);
void buf_puts(struct buf *b, const char *s);
void buf_putc(struct buf *b, char c);
void buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *b, const char *format, va_list args) __attribute__((format(printf, 2, 0)));

/* Drops the first n bytes (n <= len). */
void buf_consume(struct buf *b, size_t n);

/* The bytes as a C string, "" if empty; valid until the next change. */
const char *buf_str(const struct buf *b);

/* Hands the bytes over to the caller (mem_free); the buffer is empty afterwards.  Never NULL. */
char *buf_take(struct buf *b, size_t *len);

/* The code point at the start of n > 0 bytes of UTF-8; returns how many bytes it takes, or 0 if they are not
 * well-formed (then skip one byte).  code_point may be NULL. */
size_t buf_utf8_decode(const char *s, size_t n, uint32_t *code_point);

/* True if all n bytes are well-formed UTF-8. */
bool buf_utf8_valid(const char *s, size_t n);

/* Appends s percent-encoded: all but letters, digits and "-._~". */
void buf_put_percent(struct buf *b, const char *s, size_t n);

/* Appends s as a JSON string in quotes: control bytes, quotes and backslashes escaped, bytes that are
 * not UTF-8 replaced by U+FFFD.  False if there were such. */
bool buf_put_json_string(struct buf *b, const char *s, size_t n);

#endif
