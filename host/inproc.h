/* inproc.h - a transport whose other end is in this process: no socket, no second thread.
 *
 * The caller's side is a struct transport like any other.  The receiver's side accepts requests and answers
 * them, at once or after a delay of the clock, or drops them.  With a handler that never waits (the emulator)
 * this is what a virtual clock needs: while an exchange waits for its answer only timers and tasks of this
 * process are concerned, so time may move on; `waiting` tells the scheduler so.
 *
 * Limits of the request (first byte, total) are kept by the clock; there is no connection to fail.  Uploads
 * are read, and downloads written, by the engines that the network side uses as well. Loop thread only;
 * events must not touch Lua.
 */
#ifndef PERIGEE_INPROC_H
#define PERIGEE_INPROC_H

#include <stddef.h>
#include <stdint.h>

#include "host/buf.h"
#include "host/loop.h"
#include "host/timers.h"
#include "host/transport.h"

struct inproc;

/* A request at the receiver's side. */
struct inproc_request {
    char *method;
    char *url;
    struct buf headers; /* "name: value\r\n" lines, names in lower case */
    struct buf body;    /* all of it; of a file, the multipart frame included */
};

struct inproc_events {
    /* A request can be accepted.  Called from within transport_start. */
    void (*arrived)(void *ctx);
    /* So many more (or less) exchanges wait for an answer from this process. */
    void (*waiting)(void *ctx, int change);
};

/* Never NULL. */
struct inproc *inproc_new(struct loop *loop, struct timers *timers, const struct inproc_events *events,
                          void *ctx);

/* The caller's side; valid as long as the inproc. */
struct transport *inproc_transport(struct inproc *inproc);

/* No event comes any more; open exchanges end with kind `closed`, outcome unknown, and later ones cannot
 * start.  The memory goes with the last exchange and the last accepted request. */
void inproc_close(struct inproc *inproc);

/* True if a request waits to be accepted. */
bool inproc_pending(const struct inproc *inproc);

/* The oldest request, or NULL.  The receiver answers or drops it exactly once, also if its caller has given
 * up meanwhile. */
struct exchange *inproc_accept(struct inproc *inproc);

const struct inproc_request *inproc_request(const struct exchange *exchange);

/* Header names are lower case already. */
void inproc_respond(struct exchange *exchange, int status, const struct http_header *headers,
                    size_t header_count, const void *body, size_t body_len, uint64_t delay_ms);

/* The connection ends without a reply: an error of kind `network`, outcome unknown. */
void inproc_drop(struct exchange *exchange, uint64_t delay_ms);

#endif
