/* curlmux_internal.h - what the parts of curlmux share; included by host/curlmux*.c only. */
#ifndef PERIGEE_CURLMUX_INTERNAL_H
#define PERIGEE_CURLMUX_INTERNAL_H

#include <uv.h>

#include "host/curlmux.h"

enum { HOST_BUCKETS = 64, HOSTS_KEPT = 256 };

/* An easy handle and what goes with it, used again and again.  Few exist, so they stay in the cache. */
struct curlmux_slot {
    CURL *easy;
    bool prepared;                /* has the options that all transfers share */
    char detail[CURL_ERROR_SIZE]; /* libcurl's words on a failure */
};

/* ---- names: curlmux_dns.c ----------------------------------------------------------------------------- */

struct dns;

/* A host name and what the resolver said; shared by all origins of that name, kept while the mux lives. */
struct dns_name {
    struct dns_name *next;
    struct list_node node; /* waiting for a lookup thread */
    char *name;
    char *addresses;     /* "10.0.0.1,[::1]"; NULL until the first success */
    unsigned generation; /* counts successes: libcurl is told each list once */
    uint64_t fresh_until_ms;
    bool asked; /* a lookup is under way or queued */
    struct dns *dns;
};

/* done: a lookup has ended; on failure addresses may still be those of an earlier success. */
typedef void (*dns_done_fn)(void *ctx, struct dns_name *name, const char *failure);

struct dns *dns_new(struct loop *loop, struct clock *clock, dns_done_fn done, void *ctx);
void dns_free(struct dns *dns); /* lookups under way go on in their threads and are forgotten */
struct dns_name *dns_find(struct dns *dns, const char *name);
/* Starts a lookup unless the answer is fresh or on its way.  True if addresses can be used now. */
bool dns_want(struct dns_name *name);
/* The addresses did not lead anywhere: the next want asks anew. */
void dns_doubt(struct dns_name *name);
void dns_stats(const struct dns *dns, struct curlmux_stats *out);

/* ---- origins: curlmux_host.c -------------------------------------------------------------------------- */

/* One origin: its queue, its limit, and how to reach it. */
struct curlmux_host {
    struct curlmux_host *next; /* bucket */
    struct curlmux *mux;
    char *origin;
    char *proxy; /* URL of the proxy to go through; "" = none */
    bool tls;
    struct dns_name *name; /* what must be resolved (the proxy's name if there is one); NULL = nothing */
    char *resolve_prefix;  /* "name:port:" of what is resolved */
    unsigned told;         /* generation of addresses libcurl knows */

    struct list_node waiting; /* transfers */
    unsigned waiting_count, active;
    unsigned pins; /* in use by a loop over hosts: must not be dropped */

    /* the limit, see curlmux_limit.c */
    unsigned limit, limit_before;
    uint64_t completed, completed_at_tick;
    uint64_t tick_ms, hold_until_ms;
    double rate_before;
    bool probing;
};

struct curlmux_host *host_find(struct curlmux *mux, const char *origin);
void host_free(struct curlmux_host *host);
/* The address list for libcurl if it does not know it yet, else NULL.  The caller's. */
struct curl_slist *host_resolve_list(const struct curlmux_host *host);

/* ---- limits: curlmux_limit.c -------------------------------------------------------------------------- */

void limit_init(struct curlmux_host *host);
bool limit_admits(const struct curlmux_host *host);
void limit_tick(struct curlmux *mux);

/* ---- sockets: curlmux_sock.c -------------------------------------------------------------------------- */

/* CURLMOPT_SOCKETFUNCTION, CURLOPT_OPENSOCKETFUNCTION and CURLOPT_CLOSESOCKETFUNCTION; ctx is the mux. */
int sock_want_cb(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socket_ctx);
curl_socket_t sock_open_cb(void *ctx, curlsocktype purpose, struct curl_sockaddr *address);
int sock_close_cb(void *ctx, curl_socket_t fd);

/* Kept-alive connections. */
unsigned sock_idle_count(const struct curlmux *mux);

/* ---- the mux: curlmux.c -------------------------------------------------------------------------------- */

struct curlmux {
    CURLM *multi; /* NULL until the first transfer */
    struct loop *loop;
    struct timers *timers;
    struct clock *clock;
    struct curlmux_config config;

    uv_timer_t curl_timer; /* libcurl's own time-outs */
    struct timer limit_timer;
    uint64_t idle_ns_at_tick, ns_at_tick;
    double busy; /* share of the last tick in which the loop did not wait */

    struct sock **socks; /* by file descriptor */
    size_t sock_cap;

    struct curlmux_slot **pool; /* idle ones */
    size_t pool_count;

    struct curlmux_host *buckets[HOST_BUCKETS];
    unsigned host_count;
    unsigned active, queued;
    struct list_node running;
    struct dns *dns;
    char *ca_file;
    bool ca_searched;
    bool in_curl; /* a libcurl callback is on the stack */
};

/* Tells libcurl what happened to a socket, or that its time has come (CURL_SOCKET_TIMEOUT), and reports the
 * transfers that have ended.  Not from a callback of libcurl. */
void mux_run_curl(struct curlmux *mux, curl_socket_t fd, int events);

#endif
