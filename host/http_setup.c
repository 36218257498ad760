/* http_setup.c - the options of one transfer, on an easy handle that was reset. */
#include "host/http_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "host/log.h"
#include "host/mem.h"

/* Bodies up to this size go to libcurl whole, in one packet with the headers; longer ones are read. */
enum { WHOLE_BODY_MAX = 60 * 1024, DOWNLOAD_BUFFER = 256 * 1024 };

static bool has_header(const struct exchange *x, const char *name)
{
    size_t n = strlen(name);
    for (const struct curl_slist *h = x->headers; h; h = h->next)
        if (strncasecmp(h->data, name, n) == 0 && (h->data[n] == ':' || h->data[n] == ';')) return true;
    return false;
}

/* "name: value"; libcurl takes "name;" for an empty value and "name:" for "do not send this one". */
static void add_header(struct exchange *x, const char *name, const char *value)
{
    char small[256];
    size_t name_len = strlen(name), value_len = strlen(value);
    if (value_len > 0 && name_len + value_len + 3 <= sizeof small) {
        memcpy(small, name, name_len);
        memcpy(small + name_len, ": ", 2);
        memcpy(small + name_len + 2, value, value_len + 1);
        x->headers = curl_slist_append(x->headers, small);
        return;
    }
    struct buf line = {0};
    buf_printf(&line, *value ? "%s: %s" : "%s;%s", name, value);
    x->headers = curl_slist_append(x->headers, buf_str(&line));
    buf_deinit(&line);
}

void http_copy_headers(struct exchange *x, const struct http_request *request)
{
    for (size_t i = 0; i < request->header_count; i++)
        add_header(x, request->headers[i].name, request->headers[i].value);
    bool has_body = x->body || x->upload || strcmp(x->method, "POST") == 0;
    if (x->upload && (request->file_body->part_name || !has_header(x, "content-type")))
        add_header(x, "Content-Type", upload_content_type(x->upload));
    else if (has_body && !has_header(x, "content-type"))
        x->headers = curl_slist_append(x->headers, "Content-Type:"); /* not libcurl's form default */
    if (x->upload || x->body_len > WHOLE_BODY_MAX)
        x->headers = curl_slist_append(x->headers, "Expect:"); /* no second of waiting for a "100 Continue" */
}

/* ---- after a redirect ------------------------------------------------------------------------------- */

/* Services keep credentials in headers of their own ("token"), so what follows to another server is a list of
 * what is known to be harmless. */
static bool is_harmless(const char *line)
{
    static const char *const names[] = {"accept",     "accept-language", "accept-encoding", "content-type",
                                        "user-agent", "cache-control",   "expect"};
    size_t n = strcspn(line, ":;");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strlen(names[i]) == n && strncasecmp(line, names[i], n) == 0) return true;
    return false;
}

static void keep_headers(struct exchange *x, bool (*keep)(const char *line))
{
    struct curl_slist *kept = NULL;
    for (const struct curl_slist *h = x->headers; h; h = h->next)
        if (keep(h->data)) kept = curl_slist_append(kept, h->data);
    curl_slist_free_all(x->headers);
    x->headers = kept;
}

void http_drop_private_headers(struct exchange *x)
{
    keep_headers(x, is_harmless);
}

static bool is_not_of_body(const char *line)
{
    return strncasecmp(line, "content-", 8) != 0 && strncasecmp(line, "expect", 6) != 0;
}

void http_drop_body(struct exchange *x)
{
    mem_free(x->body);
    x->body = NULL;
    x->body_len = 0;
    upload_close(x->upload);
    x->upload = NULL;
    keep_headers(x, is_not_of_body);
}

/* ---- options ---------------------------------------------------------------------------------------- */

static void set_tls(struct exchange *x, CURL *easy)
{
    struct http_transport *t = x->owner;
    curl_easy_setopt(easy, CURLOPT_CAPATH, NULL); /* a directory would switch off libcurl's cache of CAs */
    const char *ca_file = curlmux_ca_file(t->mux);
    if (ca_file) curl_easy_setopt(easy, CURLOPT_CAINFO, ca_file);
    if (!x->insecure) return;
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    char origin[CURLMUX_ORIGIN_MAX], key[CURLMUX_ORIGIN_MAX + 2];
    curlmux_origin(x->url, origin, NULL);
    snprintf(key, sizeof key, "\n%s\n", origin);
    if (strstr(buf_str(&t->insecure_said), key)) return;
    buf_puts(&t->insecure_said, key);
    log_write(LOG_LEVEL_WARN, "http.tls_not_verified", LOG_STR("origin", origin));
}

/* True if libcurl was told that a body follows. */
static bool set_body(struct exchange *x, CURL *easy)
{
    bool read = x->upload || x->body_len > WHOLE_BODY_MAX;
    uint64_t size = x->upload ? upload_size(x->upload) : x->body_len;
    x->body_at = 0;
    if (x->upload) upload_rewind(x->upload);
    x->progress.send_total = size;
    x->body_sent = !read;
    if (!x->body && !x->upload && strcmp(x->method, "POST") != 0) {
        curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
        return false;
    }
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)size);
    if (!read) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, x->body ? x->body : "");
        return true;
    }
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, http_read_cb);
    curl_easy_setopt(easy, CURLOPT_READDATA, x);
    if (x->once) return true; /* without a way back libcurl cannot send the body again */
    curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, http_seek_cb);
    curl_easy_setopt(easy, CURLOPT_SEEKDATA, x);
    return true;
}

static void set_range(struct exchange *x, CURL *easy)
{
    uint64_t offset = download_offset(x->download);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)DOWNLOAD_BUFFER);
    x->began_download = x->writes_file = false;
    x->asked_range = offset > 0;
    if (!x->asked_range) return;
    char range[48];
    snprintf(range, sizeof range, "bytes=%" PRIu64 "-", offset);
    add_header(x, "Range", range);
    add_header(x, "If-Range", download_validator(x->download));
}

static bool is_not_range(const char *line)
{
    return strncasecmp(line, "range:", 6) != 0 && strncasecmp(line, "if-range:", 9) != 0;
}

/* What every exchange sets alike. */
static void set_common(struct exchange *x, CURL *easy)
{
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_USERAGENT, x->owner->user_agent);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, http_header_cb);
    curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, http_body_cb);
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, http_issue_cb);
}

bool http_is_unusual(const struct exchange *x)
{
    bool plain_method = strcmp(x->method, "GET") == 0 || strcmp(x->method, "POST") == 0;
    bool read = x->upload || x->body_len > WHOLE_BODY_MAX;
    return !plain_method || read || (x->body && *x->method == 'G') || x->download || x->fresh ||
           x->insecure || x->unix_socket || strchr(x->url, '@') != NULL;
}

void http_begin_cb(struct curlmux_transfer *transfer, CURL *easy, bool clean)
{
    struct exchange *x = (struct exchange *)transfer;
    x->issued = x->replied = false;
    x->sent_before = 0;
    buf_clear(&x->response.headers);
    buf_clear(&x->response.body);
    if (x->download) {
        keep_headers(x, is_not_range);
        set_range(x, easy);
    }
    bool tls = curlmux_is_tls(transfer);
    if (clean) set_common(x, easy);
    if (tls) set_tls(x, easy);
    curl_easy_setopt(easy, CURLOPT_URL, x->url);
    if (x->unix_socket) {
        curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, x->unix_socket);
        curl_easy_setopt(easy, CURLOPT_PROXY, "");
    }
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, x);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, x);
    curl_easy_setopt(easy, CURLOPT_PREREQDATA, x);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)(x->connect_ms + 1000)); /* ours comes first */
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, x->headers);
    curl_easy_setopt(easy, CURLOPT_PIPEWAIT, (long)(tls && !x->fresh)); /* rather a stream than a handshake */
    bool has_body = set_body(x, easy);
    if (strcmp(x->method, "HEAD") == 0)
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    else if (strcmp(x->method, has_body ? "POST" : "GET") != 0)
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, x->method);
    if (x->fresh) {
        curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
        curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
    }
}
