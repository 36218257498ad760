/* test_text.c - widths, escapes and cutting. */
#include "host/text.h"

#include "tests/c/harness.h"

static size_t width(const char *s)
{
    return text_width(s, strlen(s));
}

static const char *escaped(const char *s, bool keep_styles)
{
    static struct buf out;
    buf_clear(&out);
    text_escape(&out, s, strlen(s), keep_styles);
    return buf_str(&out);
}

static const char *cut(const char *s, size_t cells)
{
    static struct buf out;
    buf_clear(&out);
    text_cut(&out, s, strlen(s), cells);
    return buf_str(&out);
}

static void test_width(void)
{
    CHECK_INT(width("perigee"), 7);
    CHECK_INT(width("训练任务"), 8);
    CHECK_INT(width("e\xcc\x81"), 1);
    CHECK_INT(width("\x1b[1;31mred\x1b[0m"), 3);
    CHECK_INT(width("\xff\xfe"), 2);
    CHECK_INT(width("█"), 1);
}

static void test_decode(void)
{
    uint32_t c = 0;
    CHECK_INT(buf_utf8_decode("\xe8\xae\xad", 3, &c), 3);
    CHECK_INT(c, 0x8bad);
    CHECK_INT(buf_utf8_decode("\xe8\xae", 2, &c), 0);
    CHECK_INT(buf_utf8_decode("\xc0\x80", 2, &c), 0);
    CHECK_INT(buf_utf8_decode("\xed\xa0\x80", 3, &c), 0);
    CHECK_INT(buf_utf8_decode("\xf5\x80\x80\x80", 4, &c), 0);
}

static void test_escape(void)
{
    CHECK_STR(escaped("a\tb\n训练", false), "a\tb\n训练");
    CHECK_STR(escaped("\x1b]0;title\a", false), "\\x1b]0;title\\x07");
    CHECK_STR(escaped("\x1b[31mred", false), "\\x1b[31mred");
    CHECK_STR(escaped("\x1b[31mred\x1b[2J", true), "\x1b[31mred\\x1b[2J");
    CHECK_STR(escaped("over\rwritten\r\n", false), "over\\x0dwritten\r\n");
    CHECK_STR(escaped("\xc2\x9b"
                      "31m",
                      true),
              "\\u{9b}31m");
    CHECK_STR(escaped("a\xe2\x80\xae"
                      "b\xffz",
                      false),
              "a\\u{202e}b\\xffz");
    CHECK_STR(escaped("\x1b[", true), "\\x1b[");
}

static void test_cut(void)
{
    CHECK_STR(cut("perigee", 7), "perigee");
    CHECK_STR(cut("perigee", 5), "peri…");
    CHECK_STR(cut("训练任务", 5), "训练…");
    CHECK_STR(cut("训练任务", 4), "训…");
    CHECK_STR(cut("perigee", 0), "");
}

int main(void)
{
    test_width();
    test_decode();
    test_escape();
    test_cut();
    HARNESS_END();
}
