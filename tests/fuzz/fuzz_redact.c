/* fuzz_redact.c - a registered secret is in no text that went through redaction, plain or as a JSON string,
 * and what buf_put_json_string writes is one line of printable UTF-8.
 * Input: one byte n, n bytes of secret, the rest is the text. */
#include "host/buf.h"
#include "host/redact.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int ok)
{
    if (!ok) abort();
}

static int contains(const char *text, size_t n, const char *part, size_t part_len)
{
    return n >= part_len && memmem(text, n, part, part_len) != NULL;
}

/* What stands in for a secret may itself hold a secret made of the same letters: such secrets prove nothing.
 */
static int is_telling(const char *secret, size_t n)
{
    if (n < 4) return 0;
    for (size_t i = 0; i < n; i++)
        if (strchr("[secret]", secret[i])) return 0; /* NUL too: it ends the string that strchr reads */
    return 1;
}

/* A JSON string in quotes: no control byte, no bare quote, no byte that UTF-8 never has. */
static void check_json_string(const char *s, size_t n)
{
    must(n >= 2 && s[0] == '"' && s[n - 1] == '"');
    for (size_t i = 1; i < n - 1; i++) {
        unsigned char c = (unsigned char)s[i];
        must(c >= 0x20 && c != '"' && c < 0xF5 && c != 0xC0 && c != 0xC1);
        if (c == '\\') i++;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 4096) return 0;
    size_t n = data[0] % 64;
    if (n > size - 1) n = size - 1;
    const char *secret = (const char *)data + 1, *text = secret + n;
    size_t text_len = size - 1 - n;

    redact_add(secret, n);
    struct buf plain = {0}, json = {0}, url = {0};
    buf_append(&plain, text, text_len);
    redact_buf(&plain, 0);
    if (is_telling(secret, n)) must(!contains(buf_str(&plain), plain.len, secret, n));

    buf_put_json_string(&json, text, text_len);
    check_json_string(json.data, json.len);
    redact_buf(&json, 0);

    redact_url(&url, buf_str(&plain));
    must(strchr(buf_str(&url), '?') == NULL);

    char *fixed = strndup(text, text_len);
    redact_string(fixed, strlen(fixed) + 1);
    if (is_telling(secret, n)) must(!contains(fixed, strlen(fixed), secret, n));
    free(fixed);

    buf_deinit(&plain);
    buf_deinit(&json);
    buf_deinit(&url);
    redact_clear();
    return 0;
}
