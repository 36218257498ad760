/* text.c - width, escaping and cutting of UTF-8 text for terminals. */
#include "host/text.h"

#include <locale.h>
#include <wchar.h>

static const char ellipsis[] = "\xe2\x80\xa6";

size_t text_style_len(const char *s, size_t n)
{
    if (n < 3 || s[0] != '\x1b' || s[1] != '[') return 0;
    size_t i = 2;
    while (i < n && ((s[i] >= '0' && s[i] <= '9') || s[i] == ';')) i++;
    return i < n && s[i] == 'm' ? i + 1 : 0;
}

/* Cells of one code point; what a terminal does not show takes none. */
static size_t cells_of(uint32_t code_point)
{
    static locale_t utf8;
    if (code_point >= 0x20 && code_point < 0x7f) return 1;
    if (utf8 == (locale_t)0) utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    if (utf8 == (locale_t)0) return code_point >= 0x1100 ? 2 : 1;
    locale_t before = uselocale(utf8);
    int cells = wcwidth((wchar_t)code_point);
    uselocale(before);
    return cells > 0 ? (size_t)cells : 0;
}

/* Bytes and cells of the next thing in the text: a colour sequence, a character or a stray byte. */
static size_t next_glyph(const char *s, size_t n, size_t *cells)
{
    size_t len = text_style_len(s, n);
    *cells = 0;
    if (len > 0) return len;
    uint32_t code_point;
    len = buf_utf8_decode(s, n, &code_point);
    *cells = len > 0 ? cells_of(code_point) : 1;
    return len > 0 ? len : 1;
}

size_t text_width(const char *s, size_t n)
{
    size_t width = 0, cells;
    for (size_t i = 0; i < n; width += cells) i += next_glyph(s + i, n - i, &cells);
    return width;
}

/* Characters that change how their neighbours are read: they could make one name look like another. */
static bool turns_direction(uint32_t c)
{
    return (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0x200e || c == 0x200f;
}

static bool is_control(uint32_t c)
{
    return (c < 0x20 && c != '\n' && c != '\t') || (c >= 0x7f && c < 0xa0);
}

void text_escape(struct buf *out, const char *s, size_t n, bool keep_styles)
{
    size_t plain = 0; /* start of the run that needs no change */
    for (size_t i = 0; i < n;) {
        uint32_t c = 0;
        size_t len = buf_utf8_decode(s + i, n - i, &c);
        size_t style = keep_styles ? text_style_len(s + i, n - i) : 0;
        bool line_end = c == '\r' && i + 1 < n && s[i + 1] == '\n';
        if (style > 0) {
            i += style;
        } else if (len > 0 && !turns_direction(c) && (line_end || !is_control(c))) {
            i += len;
        } else {
            buf_append(out, s + plain, i - plain);
            if (len > 1)
                buf_printf(out, "\\u{%x}", (unsigned)c);
            else
                buf_printf(out, "\\x%02x", (unsigned)(unsigned char)s[i]);
            i += len > 0 ? len : 1;
            plain = i;
        }
    }
    buf_append(out, s + plain, n - plain);
}

void text_cut(struct buf *out, const char *s, size_t n, size_t cells)
{
    if (text_width(s, n) <= cells) {
        buf_append(out, s, n);
        return;
    }
    size_t used = 0;
    for (size_t i = 0; i < n;) {
        size_t width, len = next_glyph(s + i, n - i, &width);
        if (used + width + 1 > cells) break;
        buf_append(out, s + i, len);
        used += width;
        i += len;
    }
    if (cells > 0) buf_puts(out, ellipsis);
}
