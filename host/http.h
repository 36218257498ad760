/* http.h - the transport that goes over the network: HTTP by libcurl.
 *
 * Built on curlmux (connections, queues, names), upload and download (files).  Adds requests and replies:
 * checking what the caller asks for, time-outs by phase, caps, redirects, and the verdict on a failure: what
 * went wrong, whether the other side may have executed the request, whether it can be sent again.
 *
 * What is certain about a request with `once`: it is put on a wire at most once.  libcurl repeats a request
 * by itself when a kept-alive connection turns out to be closed; a callback just before each sending refuses
 * the second one if bytes of the first went out, and the error then says `resend_refused`, outcome unknown.
 *
 * err.code of a failed exchange (docs/http.md explains them to users):
 *   resolve connect tls certificate send receive no_reply truncated bad_reply http2 resend_refused proxy
 *   first_byte total stall  body_cap header_cap  redirects redirect_insecure redirect_url  file_changed
 *   and ENOSPC and the like for a download's file
 */
#ifndef PERIGEE_HTTP_H
#define PERIGEE_HTTP_H

#include "host/clock.h"
#include "host/curlmux.h"
#include "host/loop.h"
#include "host/timers.h"
#include "host/transport.h"

struct http_config {
    struct curlmux_config mux;
    const char *user_agent; /* NULL: "perigee/<version>" */
};

/* config may be NULL.  Costs next to nothing before the first request.  End it with type->free, never from
 * within a done callback; what runs then ends without done.  Handles' memory goes when the loop has turned.
 */
struct transport *http_transport_new(struct loop *loop, struct timers *timers, struct clock *clock,
                                     const struct http_config *config);

/* Connections, queues and lookups at this moment. */
void http_transport_stats(struct transport *transport, struct curlmux_stats *out);

/* The value of a header of a reply ("name: value\r\n" lines, name given in lower case), copied to `out`;
 * false if there is none.  The first one counts. */
bool http_reply_header(const struct buf *headers, const char *name, char *out, size_t size);

#endif
