/* redact.c - blanking secrets in text that leaves the process. */
#include "host/redact.h"

#include <stdio.h>
#include <string.h>

#include "host/mem.h"

enum { SHORTEST_SECRET = 4, FORMS = 3 };

struct secret {
    struct secret *next;
    struct buf forms[FORMS]; /* plain, percent-encoded, JSON-escaped; equal forms are kept once */
};

static struct secret *secrets;

static void json_escape(struct buf *out, const char *s, size_t n)
{
    struct buf quoted = {0};
    buf_put_json_string(&quoted, s, n);
    buf_append(out, quoted.data + 1, quoted.len - 2);
    buf_deinit(&quoted);
}

void redact_add(const char *text, size_t n)
{
    if (n < SHORTEST_SECRET) return;
    for (const struct secret *s = secrets; s; s = s->next)
        if (s->forms[0].len == n && memcmp(s->forms[0].data, text, n) == 0) return;
    struct secret *s = mem_alloc(sizeof *s);
    buf_append(&s->forms[0], text, n);
    buf_put_percent(&s->forms[1], text, n);
    json_escape(&s->forms[2], text, n);
    for (int i = 1; i < FORMS; i++)
        if (strcmp(buf_str(&s->forms[i]), buf_str(&s->forms[0])) == 0) buf_deinit(&s->forms[i]);
    s->next = secrets;
    secrets = s;
}

static void replace_all(struct buf *b, size_t start, const struct buf *what)
{
    static const char mask[] = "[secret]";
    while (what->len > 0 && start + what->len <= b->len) {
        char *hit = memmem(b->data + start, b->len - start, what->data, what->len);
        if (hit == NULL) return;
        size_t at = (size_t)(hit - b->data);
        struct buf tail = {0};
        buf_append(&tail, hit + what->len, b->len - at - what->len);
        b->len = at;
        buf_append(b, mask, sizeof mask - 1);
        start = b->len;
        buf_append(b, tail.data, tail.len);
        buf_deinit(&tail);
    }
}

void redact_buf(struct buf *b, size_t start)
{
    for (const struct secret *s = secrets; s; s = s->next)
        for (int i = 0; i < FORMS; i++) replace_all(b, start, &s->forms[i]);
}

void redact_string(char *text, size_t size)
{
    if (secrets == NULL || size == 0) return;
    struct buf b = {0};
    buf_puts(&b, text);
    redact_buf(&b, 0);
    snprintf(text, size, "%s", buf_str(&b));
    buf_deinit(&b);
}

void redact_url(struct buf *out, const char *url)
{
    size_t start = out->len;
    const char *host = url + strcspn(url, "/?#"); /* "://" of a later part is no scheme's */
    host = host > url && host[-1] == ':' && host[0] == '/' && host[1] == '/' ? host + 2 : url;
    size_t end = strcspn(host, "/?#");
    const char *at = memrchr(host, '@', end);
    buf_append(out, url, (size_t)(host - url));
    const char *rest = at ? at + 1 : host;
    buf_append(out, rest, strcspn(rest, "?#"));
    redact_buf(out, start);
}

void redact_clear(void)
{
    while (secrets) {
        struct secret *s = secrets;
        secrets = s->next;
        for (int i = 0; i < FORMS; i++) {
            if (s->forms[i].data) explicit_bzero(s->forms[i].data, s->forms[i].cap);
            buf_deinit(&s->forms[i]);
        }
        mem_free(s);
    }
}
