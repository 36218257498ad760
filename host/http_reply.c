/* http_reply.c - what libcurl hands us while a transfer runs, and the verdict when it ends badly. */
#include "host/http_internal.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "host/mem.h"
#include "host/redact.h"

enum { USUAL_HEADERS = 480 }; /* bytes; most replies need no more */

/* ---- the verdict ------------------------------------------------------------------------------------ */

/* The method only reads, and may be sent again. */
static bool is_safe(const struct exchange *x)
{
    if (x->once) return false;
    return strcmp(x->method, "GET") == 0 || strcmp(x->method, "HEAD") == 0 ||
           strcmp(x->method, "OPTIONS") == 0;
}

/* Bytes of this exchange's requests have left. */
static bool was_sent(const struct exchange *x, CURL *easy)
{
    long bytes = 0;
    if (x->response.sent) return true;
    if (!x->issued || easy == NULL) return false;
    if (curl_easy_getinfo(easy, CURLINFO_REQUEST_SIZE, &bytes) != CURLE_OK) return true;
    return bytes > x->sent_before || x->replied;
}

void http_fault(struct exchange *x, enum err_kind kind, const char *code, const char *format, ...)
{
    struct buf text = {0};
    va_list args;
    if (x->err) return; /* the first thing that went wrong is the one to tell */
    buf_printf(&text, "%s ", x->method);
    redact_url(&text, x->url);
    buf_puts(&text, ": ");
    va_start(args, format);
    buf_vprintf(&text, format, args);
    va_end(args);
    redact_buf(&text, 0);
    x->err = mem_alloc(sizeof *x->err);
    err_set(x->err, kind, "%s", buf_str(&text));
    buf_deinit(&text);
    snprintf(x->err->code, sizeof x->err->code, "%s", code);
}

static void fault_of_disk(struct exchange *x, const struct err *err)
{
    http_fault(x, err->kind, err->code, "%s", err->message);
}

struct verdict {
    CURLcode result;
    enum err_kind kind;
    const char *code;
    const char *text;
};

static const struct verdict verdicts[] = {
    {CURLE_COULDNT_RESOLVE_HOST, ERR_NETWORK, "resolve", "the host name could not be resolved"},
    {CURLE_COULDNT_RESOLVE_PROXY, ERR_NETWORK, "resolve", "the proxy's name could not be resolved"},
    {CURLE_COULDNT_CONNECT, ERR_NETWORK, "connect", "could not connect"},
    {CURLE_PROXY, ERR_NETWORK, "proxy", "the proxy refused"},
    {CURLE_OPERATION_TIMEDOUT, ERR_TIMEOUT, "connect", "no connection in time"},
    {CURLE_SSL_CONNECT_ERROR, ERR_TLS, "tls", "the TLS handshake failed"},
    {CURLE_PEER_FAILED_VERIFICATION, ERR_TLS, "certificate", "the server's certificate is not trusted"},
    {CURLE_SSL_CACERT_BADFILE, ERR_TLS, "certificate", "the file of trusted certificates cannot be read"},
    {CURLE_SSL_CIPHER, ERR_TLS, "tls", "no TLS cipher in common"},
    {CURLE_SSL_CERTPROBLEM, ERR_TLS, "tls", "the TLS handshake failed"},
    {CURLE_SEND_ERROR, ERR_NETWORK, "send", "the request could not be sent"},
    {CURLE_RECV_ERROR, ERR_NETWORK, "receive", "the connection broke before the reply was complete"},
    {CURLE_GOT_NOTHING, ERR_NETWORK, "no_reply", "the server closed the connection without a reply"},
    {CURLE_PARTIAL_FILE, ERR_NETWORK, "truncated", "the reply ended early"},
    {CURLE_SEND_FAIL_REWIND, ERR_NETWORK, "resend_refused",
     "the connection broke after the request was sent; it is not sent twice"},
    {CURLE_HTTP2, ERR_NETWORK, "http2", "the HTTP/2 connection failed"},
    {CURLE_HTTP2_STREAM, ERR_NETWORK, "http2", "the server reset the HTTP/2 stream"},
    {CURLE_WEIRD_SERVER_REPLY, ERR_PARSE, "bad_reply", "the reply is not HTTP"},
    {CURLE_UNSUPPORTED_PROTOCOL, ERR_PARSE, "bad_reply", "the reply is not HTTP"},
    {CURLE_BAD_CONTENT_ENCODING, ERR_PARSE, "bad_reply", "the reply's encoding cannot be read"},
    {CURLE_URL_MALFORMAT, ERR_INVALID, "url", "the URL cannot be read"},
};

static void fault_of_libcurl(struct exchange *x, CURLcode result, const char *detail)
{
    const char *said = *detail ? detail : curl_easy_strerror(result);
    for (size_t i = 0; i < sizeof verdicts / sizeof verdicts[0]; i++)
        if (verdicts[i].result == result) {
            http_fault(x, verdicts[i].kind, verdicts[i].code, "%s (%s)", verdicts[i].text, said);
            return;
        }
    http_fault(x, ERR_NETWORK, "network", "%s", said);
}

void http_judge(struct exchange *x, CURL *easy, CURLcode result, const char *detail)
{
    x->response.sent = was_sent(x, easy);
    if (x->err == NULL) fault_of_libcurl(x, result, detail);
    bool safe = is_safe(x);
    bool passing = x->err->kind == ERR_NETWORK || x->err->kind == ERR_TIMEOUT;
    bool ours = strncmp(x->err->code, "redirect", 8) == 0;
    x->err->outcome = x->response.sent && !safe ? OUTCOME_UNKNOWN : OUTCOME_NONE;
    x->err->retryable = passing && !ours && x->err->outcome == OUTCOME_NONE;
}

/* ---- callbacks of libcurl --------------------------------------------------------------------------- */

static void sign_of_life(struct exchange *x)
{
    x->active_ms = clock_now_ms(x->owner->clock);
}

/* Just before each sending of the request, libcurl's own repetitions included. */
int http_issue_cb(void *ctx, char *remote_ip, char *local_ip, int remote_port, int local_port)
{
    struct exchange *x = ctx;
    long bytes = 0;
    (void)remote_ip;
    (void)local_ip;
    (void)remote_port;
    (void)local_port;
    curl_easy_getinfo(x->transfer.easy, CURLINFO_REQUEST_SIZE, &bytes);
    if (x->issued && x->once && bytes > x->sent_before) {
        http_fault(x, ERR_NETWORK, "resend_refused",
                   "the connection closed after the request was sent, without a reply; it is not sent twice");
        return CURL_PREREQFUNC_ABORT;
    }
    if (!x->issued) x->sent_before = bytes;
    x->issued = true;
    sign_of_life(x);
    return CURL_PREREQFUNC_OK;
}

size_t http_read_cb(char *bytes, size_t size, size_t count, void *ctx)
{
    struct exchange *x = ctx;
    size_t n = size * count;
    ssize_t got;
    if (x->upload) {
        got = upload_read(x->upload, bytes, n);
    } else {
        size_t left = x->body_len - x->body_at;
        got = (ssize_t)(n < left ? n : left);
        if (got > 0) memcpy(bytes, x->body + x->body_at, (size_t)got);
    }
    if (got < 0) {
        http_fault(x, ERR_UNAVAILABLE, "file_changed", "the file became shorter while it was sent");
        return CURL_READFUNC_ABORT;
    }
    x->body_at += (size_t)got;
    x->progress.sent = x->body_at;
    sign_of_life(x);
    if (x->body_at >= x->progress.send_total && !x->body_sent) {
        x->body_sent = true;
        http_rearm(x); /* from here on the first byte is what we wait for */
    }
    return (size_t)got;
}

int http_seek_cb(void *ctx, curl_off_t offset, int origin)
{
    struct exchange *x = ctx;
    if (offset != 0 || origin != SEEK_SET) return CURL_SEEKFUNC_CANTSEEK;
    if (x->upload) upload_rewind(x->upload);
    x->body_at = 0;
    return CURL_SEEKFUNC_OK;
}

/* "Name: value" with the name in lower case; a folded line goes on with the one before. */
static void keep_header(struct buf *out, const char *line, size_t n)
{
    while (n > 0 && (line[n - 1] == '\r' || line[n - 1] == '\n' || line[n - 1] == ' ')) n--;
    if (n == 0) return;
    if ((line[0] == ' ' || line[0] == '\t') && out->len >= 2) {
        out->len -= 2;
        buf_append(out, line, n);
        buf_append(out, "\r\n", 2);
        return;
    }
    const char *colon = memchr(line, ':', n);
    if (colon == NULL) return;
    char *to = buf_reserve(out, n + 4);
    size_t name = (size_t)(colon - line), value = name + 1, at = name;
    for (size_t i = 0; i < name; i++) to[i] = (char)tolower((unsigned char)line[i]);
    while (value < n && (line[value] == ' ' || line[value] == '\t')) value++;
    memcpy(to + at, ": ", 2);
    memcpy(to + at + 2, line + value, n - value);
    memcpy(to + at + 2 + n - value, "\r\n", 2);
    buf_commit(out, at + 4 + n - value);
}

size_t http_header_cb(char *bytes, size_t size, size_t count, void *ctx)
{
    struct exchange *x = ctx;
    size_t n = size * count;
    struct buf *headers = &x->response.headers;
    x->replied = true;
    if (n > 5 && memcmp(bytes, "HTTP/", 5) == 0) { /* a new reply: an interim one came before */
        sign_of_life(x);
        buf_clear(headers);
        buf_reserve(headers, USUAL_HEADERS);
        const char *space = memchr(bytes, ' ', n);
        x->response.status = 0;
        for (const char *p = space; p && ++p < bytes + n && p <= space + 3 && isdigit((unsigned char)*p);)
            x->response.status = x->response.status * 10 + (*p - '0');
        return n;
    }
    if (headers->len + n > x->header_cap) {
        http_fault(x, ERR_LIMIT, "header_cap", "the reply's headers exceed %zu bytes", x->header_cap);
        return 0;
    }
    keep_header(headers, bytes, n);
    return n;
}

bool http_reply_header(const struct buf *headers, const char *name, char *out, size_t size)
{
    size_t n = strlen(name);
    for (const char *line = buf_str(headers); *line;) {
        const char *end = strstr(line, "\r\n");
        if (end == NULL) break;
        if (strncmp(line, name, n) == 0 && line[n] == ':') {
            const char *value = line + n + 2;
            snprintf(out, size, "%.*s", (int)(end - value), value);
            return true;
        }
        line = end + 2;
    }
    return false;
}

void http_begin_download(struct exchange *x)
{
    char etag[512], modified[128], range[128];
    const struct buf *headers = &x->response.headers;
    struct download_reply reply = {.status = x->response.status, .sent_range = x->asked_range};
    if (http_reply_header(headers, "etag", etag, sizeof etag)) reply.etag = etag;
    if (http_reply_header(headers, "last-modified", modified, sizeof modified))
        reply.last_modified = modified;
    if (http_reply_header(headers, "content-range", range, sizeof range)) reply.content_range = range;
    x->verdict = download_begin(x->download, &reply);
    x->began_download = true;
    x->writes_file = x->verdict == DOWNLOAD_TAKE;
}

static void note_length(struct exchange *x)
{
    curl_off_t length = -1;
    curl_easy_getinfo(x->transfer.easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    uint64_t before = x->writes_file ? download_size(x->download) : 0;
    x->progress.received = before;
    x->progress.receive_total = length > 0 ? before + (uint64_t)length : 0;
}

/* Replies that do not go into the file stay in memory, whatever the file's own limit is. */
static size_t cap_of(const struct exchange *x)
{
    bool file_sized = x->download && !x->writes_file && x->body_cap > HTTP_BODY_CAP;
    return file_sized ? HTTP_BODY_CAP : x->body_cap;
}

size_t http_body_cb(char *bytes, size_t size, size_t count, void *ctx)
{
    struct exchange *x = ctx;
    size_t n = size * count;
    struct err err;
    sign_of_life(x);
    if (x->download && !x->began_download) {
        http_begin_download(x);
        note_length(x);
        if (x->verdict == DOWNLOAD_RESTART) return 0; /* http.c asks anew */
    } else if (x->on_progress && x->progress.received == 0) {
        note_length(x);
    }
    if (x->piece) {
        if (x->piece(x->ctx, x->response.status, bytes, n)) return n;
        http_fault(x, ERR_LIMIT, "body_cap", "nobody takes what is sent");
        return 0;
    }
    size_t cap = cap_of(x);
    uint64_t have = x->writes_file ? download_size(x->download) : x->response.body.len;
    if (n > cap || have > cap - n) {
        http_fault(x, ERR_LIMIT, "body_cap", "the reply's body exceeds %zu bytes", cap);
        return 0;
    }
    x->progress.received += n;
    if (!x->writes_file) {
        buf_append(&x->response.body, bytes, n);
    } else if (download_write(x->download, bytes, n, &err) != 0) {
        fault_of_disk(x, &err);
        return 0;
    }
    return n;
}
