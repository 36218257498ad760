/* jsonscan_keys.c - finds the key that stands twice.
 *
 * Runs only when something is known to be wrong, to say where: it collects the keys of all objects, in the
 * form they have without escapes, and sorts them.
 */
#include <stdlib.h>
#include <string.h>

#include "host/jsonscan.h"
#include "host/mem.h"

struct key {
    size_t object; /* the order in which objects open */
    size_t at;     /* of the quote in the text */
    size_t plain;  /* offset of the bytes in keys.plain */
    size_t len;
    const char *bytes; /* set before sorting: plain may have moved */
};

struct keys {
    struct buf list;  /* of struct key */
    struct buf plain; /* all keys, unescaped, one behind the other */
};

static void put_utf8(struct buf *b, unsigned code)
{
    if (code < 0x80) {
        buf_putc(b, (char)code);
        return;
    }
    int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static const unsigned char lead[] = {0, 0xc0, 0xe0, 0xf0};
    buf_putc(b, (char)(lead[more] | code >> (6 * more)));
    while (more-- > 0) buf_putc(b, (char)(0x80 | (code >> (6 * more) & 0x3f)));
}

static unsigned code_unit(const char *hex)
{
    char digits[5] = {hex[0], hex[1], hex[2], hex[3], 0};
    return (unsigned)strtoul(digits, NULL, 16);
}

/* Appends the character of the escape at s (behind the backslash); returns what follows it. */
static const char *put_escape(struct buf *b, const char *s)
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    if (*s != 'u') {
        const char *known = strchr(from, *s);
        buf_putc(b, known ? to[known - from] : *s);
        return s + 1;
    }
    unsigned code = code_unit(s + 1);
    s += 5;
    if (code >= 0xd800 && code < 0xdc00) {
        code = 0x10000 + ((code - 0xd800) << 10) + (code_unit(s + 2) - 0xdc00);
        s += 6;
    }
    put_utf8(b, code);
    return s;
}

/* The string whose opening quote is at text[at]: appends it without escapes, returns the offset behind it. */
static size_t read_string(struct buf *b, const char *text, size_t at)
{
    const char *s = text + at + 1;
    while (*s != '"') {
        if (*s == '\\')
            s = put_escape(b, s + 1);
        else
            buf_putc(b, *s++);
    }
    return (size_t)(s + 1 - text);
}

static bool is_key(const char *text, size_t n, size_t behind)
{
    while (behind < n && strchr(" \t\r\n", text[behind]) && text[behind]) behind++;
    return behind < n && text[behind] == ':';
}

static void collect(struct keys *keys, const char *text, size_t n)
{
    size_t open[JSONSCAN_DEPTH_MOST + 1] = {0}, objects = 0;
    unsigned depth = 0;
    for (size_t i = 0; i < n;) {
        char c = text[i];
        if (c == '{' || c == '[') open[++depth] = objects++;
        if (c == '}' || c == ']') depth--;
        if (c != '"') {
            i++;
            continue;
        }
        struct key key = {.object = open[depth], .at = i, .plain = keys->plain.len};
        i = read_string(&keys->plain, text, i);
        if (is_key(text, n, i)) {
            key.len = keys->plain.len - key.plain;
            buf_append(&keys->list, &key, sizeof key);
        } else {
            keys->plain.len = key.plain;
        }
    }
}

static int compare_keys(const void *left, const void *right)
{
    const struct key *a = left, *b = right;
    if (a->object != b->object) return a->object < b->object ? -1 : 1;
    if (a->len != b->len) return a->len < b->len ? -1 : 1;
    int order = a->len ? memcmp(a->bytes, b->bytes, a->len) : 0;
    if (order != 0) return order;
    return a->at < b->at ? -1 : a->at > b->at;
}

static bool first_duplicate(struct key *key, size_t count, size_t *offset)
{
    bool found = false;
    for (size_t i = 1; i < count; i++) {
        const struct key *a = &key[i - 1], *b = &key[i];
        if (a->object != b->object || a->len != b->len) continue;
        if (a->len && memcmp(a->bytes, b->bytes, a->len) != 0) continue;
        if (!found || b->at < *offset) *offset = b->at;
        found = true;
    }
    return found;
}

bool jsonscan_duplicate(const char *text, size_t n, size_t *offset)
{
    struct keys keys = {0};
    collect(&keys, text, n);
    size_t count = keys.list.len / sizeof(struct key);
    struct key *key = mem_alloc_array(count, sizeof *key);
    for (size_t i = 0; i < count; i++) {
        memcpy(&key[i], keys.list.data + i * sizeof *key, sizeof *key);
        key[i].bytes = buf_str(&keys.plain) + key[i].plain;
    }
    qsort(key, count, sizeof *key, compare_keys);
    bool found = first_duplicate(key, count, offset);
    mem_free(key);
    buf_deinit(&keys.list);
    buf_deinit(&keys.plain);
    return found;
}
