/* server.h - an HTTP/1.1 server on the loop: libmicrohttpd in external epoll mode, no threads.
 *
 * A request is handed over when it has been read completely, and its connection then sleeps until it is
 * answered: with one body, with a stream of pieces, or not at all (dropped).  So whoever answers may take
 * seconds or hours, and a thousand waiting requests cost memory only.
 *
 * Limits: size of head and body, number of connections, and two times.  `idle` bounds a silence: between
 * requests, between two pieces of a request, and of a reader who does not take a streamed reply.  `total`
 * bounds the reading of one request, and the sending of one reply that is not streamed, however steadily
 * the bytes drip.  While the request is being worked on, neither runs.
 *
 * A server on a path (a Unix socket) is for its own user alone: the socket has mode 0600, and a peer that is
 * neither the same user nor root is refused with 403.  The socket of a dead process is replaced, that of a
 * living one is an error (unavailable, EADDRINUSE); it goes away when the server closes.
 *
 * Loop thread only.  Events are called from the loop; they may answer requests but must not call
 * server_close, and they must not touch Lua.
 */
#ifndef PERIGEE_SERVER_H
#define PERIGEE_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/buf.h"
#include "host/err.h"
#include "host/loop.h"
#include "host/timers.h"
#include "host/transport.h"

struct server;

/* 0 or NULL takes the default. */
struct server_config {
    const char *host;         /* an address, not a name ("localhost" excepted); default 127.0.0.1 */
    uint16_t port;            /* 0: a free one, see server_port */
    const char *path;         /* in place of host and port: a socket in the file system */
    size_t max_header;        /* request line and headers, bytes: 431 beyond; default 16 kB */
    size_t max_body;          /* bytes: 413 beyond; default 1 MB */
    unsigned max_connections; /* more wait in the system's queue; default 1024 */
    uint64_t idle_ms;         /* default 60 s */
    uint64_t total_ms;        /* default 5 min */
};

/* A request that was read completely.  The receiver owns it until server_request_release. */
struct server_request {
    void *owner;        /* the receiver's to use */
    const char *method; /* "GET" */
    const char *target; /* as sent: path and query, percent-encoded */
    const char *remote; /* the peer's address, without port */
    struct buf headers; /* "name: value\r\n" lines, names in lower case */
    struct buf body;    /* buf_take allowed */
};

struct server_events {
    /* A request to answer. */
    void (*request)(void *ctx, struct server_request *request);
    /* The peer hung up, or the server gave it up, before the answer was sent.  At most once. */
    void (*gone)(void *ctx, struct server_request *request);
    /* A streamed answer can take more: fewer than SERVER_STREAM_LOW bytes are queued. */
    void (*drained)(void *ctx, struct server_request *request);
    /* server_close has finished; the server's memory is gone.  Called once. */
    void (*closed)(void *ctx);
};

enum {
    SERVER_STREAM_LOW = 16 * 1024,  /* below this a stream asks for more */
    SERVER_STREAM_HIGH = 64 * 1024, /* from here on the writer should wait for `drained` */
};

/* Listens at once.  NULL with err filled if the address cannot be bound.  config and events are copied. */
struct server *server_start(struct loop *loop, struct timers *timers, const struct server_config *config,
                            const struct server_events *events, void *ctx, struct err *err);

uint16_t server_port(const struct server *server);

/* "http://127.0.0.1:8080", no slash at the end, or "unix:/path"; valid as long as the server. */
const char *server_url(const struct server *server);

/* Open connections, busy or idle. */
size_t server_connections(const struct server *server);

/* Stops listening, answers what waits with 503, lets replies already given go out for at most linger_ms,
 * then cuts the rest.  With 0 everything ends within the call, but for the `closed` event, which always
 * comes later from the loop.  A second call may only shorten the linger. */
void server_close(struct server *server, uint64_t linger_ms);

/* ---- answering: each request once ------------------------------------------------------------------- */

/* The whole answer; body is copied (NULL with 0 for none).  Content-Length, Transfer-Encoding and Date are
 * the server's and may not be given.  -1 with err: kind `closed` if the peer is gone, `invalid` for a status
 * outside 200..599 or a header that would break the message; after `invalid` the request can still be
 * answered. */
int server_respond(struct server_request *request, int status, const struct http_header *headers,
                   size_t header_count, const void *body, size_t body_len, struct err *err);

/* Starts an answer of unknown length.  Errors as above. */
int server_respond_begin(struct server_request *request, int status, const struct http_header *headers,
                         size_t header_count, struct err *err);

/* Queues a copy of the bytes.  -1 with err `closed` if nobody reads any more. */
int server_respond_write(struct server_request *request, const void *bytes, size_t n, struct err *err);

/* Bytes queued and not yet taken by the connection. */
size_t server_respond_queued(const struct server_request *request);

/* The streamed answer is complete. */
void server_respond_end(struct server_request *request);

/* Closes the connection without a (further) reply byte. */
void server_drop(struct server_request *request);

/* True when no answer can reach the peer any more: it hung up or the server closed. */
bool server_request_is_gone(const struct server_request *request);

/* The receiver is done with it: exactly once for each request.  An unanswered one is answered with 500, an
 * unfinished stream is cut.  No event names the request afterwards. */
void server_request_release(struct server_request *request);

#endif
