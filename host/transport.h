/* transport.h - one HTTP exchange, whoever carries it.
 *
 * The operations engine and perigee.http speak to a `struct transport`: curl on the network (host/http.c),
 * or a handler in this process (the emulator).  Both keep the same contract, so nothing above can tell.
 * Loop thread only; no Lua here.
 */
#ifndef PERIGEE_TRANSPORT_H
#define PERIGEE_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/buf.h"
#include "host/err.h"

struct transport;
struct exchange; /* a running exchange; the transport's memory */

struct http_header {
    const char *name;
    const char *value;
};

/* A file sent as the body: raw, or as one part of a multipart form. */
struct http_file_body {
    const char *path;       /* local file, read in pieces while sending */
    const char *part_name;  /* form field name; NULL sends the raw bytes */
    const char *file_name;  /* what the part says its file is called */
    const char *media_type; /* NULL: application/octet-stream */
};

struct http_progress {
    uint64_t sent, send_total;        /* bytes of the request body; total 0 = unknown */
    uint64_t received, receive_total; /* bytes of the reply body */
};

/* Everything is copied by transport_start: the caller's memory may go afterwards. */
struct http_request {
    const char *method;
    const char *url;
    const struct http_header *headers;
    size_t header_count;
    const void *body; /* with body_len; or file_body; or neither */
    size_t body_len;
    const struct http_file_body *file_body; /* may be NULL */

    uint64_t connect_ms;    /* until connected, TLS included; 0 = the engine's default (10 s) */
    uint64_t first_byte_ms; /* from request sent to the first reply byte; 0 = default (60 s) */
    uint64_t total_ms;      /* all of it, queueing included; 0 = default (5 min; 24 h with a file) */
    uint64_t stall_ms;      /* no byte either way for so long; 0 = default (60 s) */
    size_t body_cap;   /* a longer reply is an error of kind limit; 0 = default (16 MB; none for a file) */
    size_t header_cap; /* 0 = default (64 kB) */
    int max_redirects; /* 0 = none; auth headers never follow to another host */

    bool once;  /* must not execute twice: never silently sent again by the library underneath */
    bool fresh; /* a connection of its own (creates); implies once and no redirects */

    const char *download_path; /* body goes to this file (temporary name, fsync, rename); NULL: memory */
    bool resume;               /* download: go on from a partial file, validated */
    const char *unix_socket;   /* connect to this path, whatever the URL's host; plain http, no redirects */
    bool insecure;             /* TLS verification off, named by the user for this host */

    /* Not NULL: the reply's body is handed over as it comes, from the loop, and not kept; the receiver must
     * not cancel in it.  False: it can take no more, which ends the exchange with kind limit.  Not for
     * downloads. */
    bool (*piece)(void *ctx, int status, const void *bytes, size_t n);
};

/* Memory of the exchange; valid during done(), where the receiver may take `body` with buf_take. */
struct http_response {
    int status;
    struct buf headers;       /* "name: value\r\n" lines of the last reply, names in lower case */
    struct buf body;          /* empty for downloads */
    const char *url;          /* the last one, after redirects */
    const char *http_version; /* "1.1", "2" */
    uint64_t elapsed_ms;
    uint64_t downloaded; /* bytes of the finished file */
    bool sent;           /* a request byte went out */
};

/* Called exactly once, from the loop, never from within transport_start or transport_cancel.
 * error is NULL when a complete HTTP reply came, whatever its status.  On error, response still tells
 * what is known (status may be 0), and error->outcome follows the rule: no request byte out = none. */
typedef void (*exchange_done_fn)(void *ctx, struct http_response *response, const struct err *error);

/* Called from the loop as bytes move, at most some 20 times a second; may be NULL. */
typedef void (*exchange_progress_fn)(void *ctx, const struct http_progress *progress);

struct transport_type {
    /* NULL and err filled if the request cannot start (bad URL, unreadable file): nothing was sent and
     * done is never called. */
    struct exchange *(*start)(struct transport *transport, const struct http_request *request,
                              exchange_done_fn done, exchange_progress_fn progress, void *ctx,
                              struct err *err);
    /* done will not be called any more; the exchange is gone on return. */
    void (*cancel)(struct transport *transport, struct exchange *exchange);
    void (*free)(struct transport *transport);
};

/* First member of every transport. */
struct transport {
    const struct transport_type *type;
};

static inline struct exchange *transport_start(struct transport *t, const struct http_request *request,
                                               exchange_done_fn done, exchange_progress_fn progress,
                                               void *ctx, struct err *err)
{
    return t->type->start(t, request, done, progress, ctx, err);
}

static inline void transport_cancel(struct transport *t, struct exchange *exchange)
{
    t->type->cancel(t, exchange);
}

#endif
