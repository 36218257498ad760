/* http_internal.h - what the parts of the HTTP client share; included by host/http*.c only. */
#ifndef PERIGEE_HTTP_INTERNAL_H
#define PERIGEE_HTTP_INTERNAL_H

#include "host/download.h"
#include "host/http.h"
#include "host/upload.h"

enum {
    HTTP_CONNECT_MS = 10 * 1000,
    HTTP_FIRST_BYTE_MS = 60 * 1000,
    HTTP_TOTAL_MS = 5 * 60 * 1000,
    HTTP_FILE_TOTAL_MS = 24 * 60 * 60 * 1000, /* files: the stall limit guards them */
    HTTP_STALL_MS = 60 * 1000,
    HTTP_BODY_CAP = 16 * 1024 * 1024,
    HTTP_HEADER_CAP = 64 * 1024,
    HTTP_PROGRESS_MS = 50
};

struct http_transport {
    struct transport transport; /* first */
    struct curlmux *mux;
    struct loop *loop;
    struct timers *timers;
    struct clock *clock;
    char *user_agent;
    struct list_node exchanges;
    struct buf insecure_said; /* "\norigin\n" of each origin whose missing verification was logged */
};

struct exchange {
    struct curlmux_transfer transfer; /* first */
    struct list_node node;            /* in http_transport.exchanges */
    struct http_transport *owner;

    /* the request, copied */
    char method[17];
    char *url;
    char *unix_socket; /* NULL: over the network */
    struct curl_slist *headers;
    char *body;
    size_t body_len, body_at;
    struct upload *upload;
    struct download *download;
    uint64_t connect_ms, first_byte_ms, total_ms, stall_ms;
    size_t body_cap, header_cap;
    int redirects_made, max_redirects;
    bool once, fresh, insecure;

    /* where it is; times of the clock */
    uint64_t started_ms;
    uint64_t active_ms; /* last sign of life, either way */
    bool issued;        /* libcurl was let to send the request of this hop */
    bool body_sent;
    bool replied;     /* the first byte of the reply is here */
    long sent_before; /* request bytes counted before this hop's own (CONNECT to a proxy) */
    bool asked_range, began_download, writes_file, restarted;
    enum download_verdict verdict; /* once began_download */
    struct timer timer;

    struct timer progress_timer;
    struct http_progress progress, progress_told;

    struct http_response response;
    struct err *err; /* the first thing that went wrong; NULL while nothing has */

    exchange_done_fn done;
    exchange_progress_fn on_progress;
    bool (*piece)(void *ctx, int status, const void *bytes, size_t n); /* may be NULL */
    void *ctx;
};

/* ---- http_check.c: refusing what must not be sent --------------------------------------------------- */

int http_check_request(const struct http_request *request, struct err *err);

/* ---- http_setup.c: from a request to libcurl's options ---------------------------------------------- */

void http_begin_cb(struct curlmux_transfer *transfer, CURL *easy, bool clean);

/* It sets options that others do not set anew, or gives libcurl a password to remember. */
bool http_is_unusual(const struct exchange *x);

/* Copies the headers into the list that libcurl sends. */
void http_copy_headers(struct exchange *x, const struct http_request *request);

/* Drops every header that could carry a credential: the reply sent us to another server. */
void http_drop_private_headers(struct exchange *x);
void http_drop_body(struct exchange *x);

/* ---- http_reply.c: libcurl's callbacks and the verdict ---------------------------------------------- */

size_t http_header_cb(char *bytes, size_t size, size_t count, void *ctx);
size_t http_body_cb(char *bytes, size_t size, size_t count, void *ctx);
size_t http_read_cb(char *bytes, size_t size, size_t count, void *ctx);
int http_seek_cb(void *ctx, curl_off_t offset, int origin);
int http_issue_cb(void *ctx, char *remote_ip, char *local_ip, int remote_port, int local_port);

/* Completes x->err; it is made from what libcurl says, unless a callback has found fault before. */
void http_judge(struct exchange *x, CURL *easy, CURLcode result, const char *detail);

/* Sets kind, code and message ("GET http://host/path: <text>"), outcome and retryable. */
void http_fault(struct exchange *x, enum err_kind kind, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Tells the download about a complete set of headers, once for each reply. */
void http_begin_download(struct exchange *x);

/* ---- http_redirect.c -------------------------------------------------------------------------------- */

enum redirect { REDIRECT_NONE, REDIRECT_FOLLOW, REDIRECT_REFUSED };

/* Looks at a complete reply; FOLLOW has put the next URL, method and headers into x; REFUSED has set err. */
enum redirect http_redirect(struct exchange *x);

/* ---- http.c ----------------------------------------------------------------------------------------- */

/* Looks at the deadlines again: a phase has ended earlier than its timer was set for. */
void http_rearm(struct exchange *x);

#endif
