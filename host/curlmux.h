/* curlmux.h - many libcurl transfers on the one loop, with a queue in front of libcurl.
 *
 * Owns: the curl multi handle, the sockets' uv_poll handles, a pool of easy handles, the queue and limit
 * of each origin, and name lookups (one for each name, whoever waits for it).
 * Knows nothing of requests and replies: who submits a transfer sets it up in begin() and reads it in done().
 * libcurl is initialised on first use.  Loop thread only; no Lua here.
 */
#ifndef PERIGEE_CURLMUX_H
#define PERIGEE_CURLMUX_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>

#include "host/clock.h"
#include "host/err.h"
#include "host/list.h"
#include "host/loop.h"
#include "host/timers.h"

struct curlmux;
struct curlmux_host;
struct curlmux_transfer;

/* Sets the options of the transfer on an easy handle that belongs to the mux.  If it is not clean, it is as
 * the begin of another transfer left it; only those that are not `unusual` share handles in this way.  Must
 * not start, cancel or complete anything. */
typedef void (*curlmux_begin_fn)(struct curlmux_transfer *transfer, CURL *easy, bool clean);

/* The end of a transfer, from the loop, once.  easy is readable by curl_easy_getinfo until this returns,
 * and NULL if the name could not be resolved; detail is what libcurl or the resolver said of it, or "".
 * May submit and cancel transfers; must not free the mux. */
typedef void (*curlmux_done_fn)(struct curlmux_transfer *transfer, CURL *easy, CURLcode result,
                                const char *detail);

/* The owner's memory; zeroed is idle. */
struct curlmux_transfer {
    curlmux_begin_fn begin;
    curlmux_done_fn done;
    struct list_node node;        /* queue of its host, or the list of running transfers */
    struct curlmux_host *host;    /* NULL while idle */
    CURL *easy;                   /* NULL while queued */
    struct curlmux_slot *slot;    /* what easy is part of */
    uint64_t since_ms;            /* when it was queued, then when it was handed to libcurl */
    struct curl_slist *addresses; /* of its host, if libcurl had to be told */
    unsigned addresses_generation;
    bool unusual; /* set before submitting: wants a clean handle, and leaves none to another transfer */
};

struct curlmux_config {
    unsigned total_max; /* transfers at once; 0 = 1024, or half the open files allowed if that is less */
    unsigned host_max;  /* most for one origin, reached only if it is slow; 0 = 512 */
    unsigned host_base; /* what an origin starts with; 0 = 48 */
};

struct curlmux *curlmux_new(struct loop *loop, struct timers *timers, struct clock *clock,
                            const struct curlmux_config *config);

/* Ends what still runs without calling done.  Memory of handles goes when the loop has turned. */
void curlmux_free(struct curlmux *mux);

enum { CURLMUX_ORIGIN_MAX = 320 };

/* "https://host:port" of url in lower case, without user and password: what limits, connections and the
 * question "is this the same server?" go by.  -1 and err `invalid` if the URL is not absolute http or
 * https, or holds a blank or control byte. */
int curlmux_origin(const char *url, char out[CURLMUX_ORIGIN_MAX], struct err *err);

/* Queues the transfer for the origin of url.  -1 and err if the URL is refused; done is not called then. */
int curlmux_submit(struct curlmux *mux, struct curlmux_transfer *transfer, const char *url, struct err *err);

/* Ends it without done; its connection is closed.  Safe on an idle transfer.  Not from begin, and not from
 * a callback of libcurl. */
void curlmux_cancel(struct curlmux *mux, struct curlmux_transfer *transfer);

/* True while it waits for its host's name to be resolved. */
bool curlmux_is_resolving(const struct curlmux_transfer *transfer);

/* The file of trusted certificates: SSL_CERT_FILE, CURL_CA_BUNDLE, or the system's; NULL if there is none. */
const char *curlmux_ca_file(struct curlmux *mux);

/* True in a transfer's begin: the origin is served over TLS. */
bool curlmux_is_tls(const struct curlmux_transfer *transfer);

struct curlmux_stats {
    unsigned active, queued; /* transfers */
    unsigned hosts;
    unsigned lookups; /* name lookups that have not answered */
    uint64_t lookups_made;
    unsigned limit;        /* highest present limit among the hosts */
    unsigned idle_sockets; /* kept-alive connections */
    unsigned handles;      /* of libuv that stay open between requests, those of kept connections included */
};

void curlmux_stats(struct curlmux *mux, struct curlmux_stats *out);

#endif
