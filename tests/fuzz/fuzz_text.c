/* fuzz_text.c - whatever others send, the text that reaches a terminal holds no control character but line
 * feed and tab, no escape sequence but colours that were allowed, and fits the width it was cut to.
 * Input: one byte of width, the rest is the text. */
#include "host/text.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int ok)
{
    if (!ok) abort();
}

static void check_safe(const char *s, size_t n, bool styles)
{
    for (size_t i = 0; i < n;) {
        uint32_t c;
        size_t len = buf_utf8_decode(s + i, n - i, &c), style = styles ? text_style_len(s + i, n - i) : 0;
        must(len > 0);
        bool line_end = c == '\n' || (c == '\r' && i + 1 < n && s[i + 1] == '\n');
        must(style > 0 || line_end || c == '\t' || (c >= 0x20 && (c < 0x7f || c >= 0xa0)));
        must(!(c >= 0x202a && c <= 0x202e) && !(c >= 0x2066 && c <= 0x2069));
        i += style > 0 ? style : len;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    const char *text = (const char *)data + 1;
    size_t n = size - 1, cells = data[0];
    struct buf safe = {0}, styled = {0}, cut = {0};
    text_escape(&safe, text, n, false);
    check_safe(buf_str(&safe), safe.len, false);
    text_escape(&styled, text, n, true);
    check_safe(buf_str(&styled), styled.len, true);
    text_cut(&cut, buf_str(&safe), safe.len, cells);
    must(text_width(buf_str(&cut), cut.len) <= cells);
    if (text_width(buf_str(&safe), safe.len) <= cells)
        must(cut.len == safe.len && memcmp(buf_str(&cut), buf_str(&safe), cut.len) == 0);
    buf_deinit(&safe);
    buf_deinit(&styled);
    buf_deinit(&cut);
    return 0;
}
