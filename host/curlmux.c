/* curlmux.c - the curl multi handle on libuv: time-outs, the start and end of transfers.
 *
 * libcurl's callbacks only note what it wants; transfers are added, removed and reported outside of them.
 */
#include "host/curlmux.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "host/curlmux_internal.h"
#include "host/log.h"
#include "host/mem.h"

enum {
    POOL_MAX = 1024,
    LIMIT_TICK_MS = 50,
    MUX_HANDLES = 2 /* timer, and async of the lookups */
};

static void drain(struct curlmux *mux);

/* ---- libcurl's timer -------------------------------------------------------------------------------- */

static void on_curl_timer_cb(uv_timer_t *timer)
{
    struct curlmux *mux = timer->data;
    mux_run_curl(mux, CURL_SOCKET_TIMEOUT, 0);
}

static int mux_timer_cb(CURLM *multi, long timeout_ms, void *ctx)
{
    struct curlmux *mux = ctx;
    (void)multi;
    if (timeout_ms < 0) {
        uv_timer_stop(&mux->curl_timer);
        return 0;
    }
    if (timeout_ms > 0) uv_update_time(loop_uv(mux->loop));
    uv_timer_start(&mux->curl_timer, on_curl_timer_cb, (uint64_t)timeout_ms, 0);
    return 0;
}

void mux_run_curl(struct curlmux *mux, curl_socket_t fd, int events)
{
    int running = 0;
    mux->in_curl = true;
    CURLMcode rc = curl_multi_socket_action(mux->multi, fd, events, &running);
    if (fd == CURL_SOCKET_TIMEOUT && !uv_is_active((uv_handle_t *)&mux->curl_timer)) {
        long timeout_ms = -1; /* it tells a time-out once: if ours fired early there would be no other */
        curl_multi_timeout(mux->multi, &timeout_ms);
        if (timeout_ms >= 0) mux_timer_cb(mux->multi, timeout_ms, mux);
    }
    mux->in_curl = false;
    if (rc != CURLM_OK) log_write(LOG_LEVEL_ERROR, "http.libcurl", LOG_STR("error", curl_multi_strerror(rc)));
    drain(mux);
}

/* ---- start and end of transfers --------------------------------------------------------------------- */

static void slot_free(struct curlmux_slot *slot)
{
    curl_easy_cleanup(slot->easy);
    mem_free(slot);
}

static void slot_reset(struct curlmux_slot *slot)
{
    curl_easy_reset(slot->easy);
    slot->prepared = false;
}

/* Setting two dozen options anew costs as much as starting the transfer, so what all of them share stays. */
static void pool_put(struct curlmux *mux, struct curlmux_slot *slot, bool reusable)
{
    if (mux->pool_count == POOL_MAX) {
        slot_free(slot);
        return;
    }
    if (!reusable) slot_reset(slot);
    if (mux->pool == NULL) mux->pool = mem_alloc_array(POOL_MAX, sizeof(struct curlmux_slot *));
    mux->pool[mux->pool_count++] = slot;
}

static struct curlmux_slot *pool_take(struct curlmux *mux)
{
    if (mux->pool_count > 0) return mux->pool[--mux->pool_count];
    struct curlmux_slot *slot = mem_alloc(sizeof *slot);
    slot->easy = curl_easy_init();
    if (slot->easy == NULL) {
        log_write(LOG_LEVEL_ERROR, "http.libcurl", LOG_STR("error", "out of memory"));
        abort();
    }
    return slot;
}

/* libcurl is loaded already; what is slow in it (TLS tables, the multi handle) waits for the first use. */
static void start_curl(struct curlmux *mux)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
    mux->multi = curl_multi_init();
    curl_multi_setopt(mux->multi, CURLMOPT_SOCKETFUNCTION, sock_want_cb);
    curl_multi_setopt(mux->multi, CURLMOPT_SOCKETDATA, mux);
    curl_multi_setopt(mux->multi, CURLMOPT_TIMERFUNCTION, mux_timer_cb);
    curl_multi_setopt(mux->multi, CURLMOPT_TIMERDATA, mux);
    /* fewer would close a connection at the end of each transfer once more than that are open */
    curl_multi_setopt(mux->multi, CURLMOPT_MAXCONNECTS, (long)mux->config.total_max);
}

/* The options that all transfers share. */
static void slot_prepare(struct curlmux *mux, struct curlmux_slot *slot)
{
    CURL *easy = slot->easy;
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, slot->detail);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L); /* a hung lookup must not be waited for */
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, sock_open_cb);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, mux);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, sock_close_cb);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, mux);
    curl_easy_setopt(easy, CURLOPT_NOPROXY, "");
}

static void begin(struct curlmux_transfer *t)
{
    struct curlmux_host *host = t->host;
    struct curlmux *mux = host->mux;
    if (mux->multi == NULL) start_curl(mux);
    struct curlmux_slot *slot = t->slot = pool_take(mux);
    CURL *easy = t->easy = slot->easy;
    if (t->unusual) slot_reset(slot);
    bool clean = !slot->prepared;
    if (clean) slot_prepare(mux, slot);
    slot->prepared = true;
    slot->detail[0] = '\0';
    curl_easy_setopt(easy, CURLOPT_PRIVATE, t);
    curl_easy_setopt(easy, CURLOPT_PROXY, host->proxy);
    t->addresses = host_resolve_list(host);
    if (t->addresses) t->addresses_generation = host->name->generation;
    curl_easy_setopt(easy, CURLOPT_RESOLVE, t->addresses);
    t->since_ms = clock_now_ms(mux->clock);
    t->begin(t, easy, clean);
    list_append(&mux->running, &t->node);
    host->active++;
    mux->active++;
    CURLMcode rc = curl_multi_add_handle(mux->multi, easy);
    if (rc != CURLM_OK) log_write(LOG_LEVEL_ERROR, "http.libcurl", LOG_STR("error", curl_multi_strerror(rc)));
}

/* Starts what may start of one origin. */
static void pump_host(struct curlmux_host *host)
{
    struct curlmux *mux = host->mux;
    if (host->waiting_count == 0 || (host->name && !dns_want(host->name))) return;
    while (host->waiting_count > 0 && limit_admits(host)) {
        struct list_node *n = list_pop(&host->waiting);
        host->waiting_count--;
        mux->queued--;
        begin(LIST_ENTRY(n, struct curlmux_transfer, node));
    }
}

static void pump_all(struct curlmux *mux)
{
    for (unsigned i = 0; i < HOST_BUCKETS; i++)
        for (struct curlmux_host *host = mux->buckets[i]; host; host = host->next) pump_host(host);
}

/* Takes a running transfer off libcurl and off the books. */
static void end(struct curlmux_transfer *t)
{
    struct curlmux *mux = t->host->mux;
    curl_multi_remove_handle(mux->multi, t->easy);
    curl_slist_free_all(t->addresses);
    t->addresses = NULL;
    list_remove(&t->node);
    t->host->active--;
    mux->active--;
}

static void note_result(struct curlmux_host *host, const struct curlmux_transfer *t, CURLcode result)
{
    host->completed++;
    if (host->name == NULL) return;
    if (result == CURLE_OK && t->addresses)
        host->told = t->addresses_generation;
    else if (result == CURLE_COULDNT_CONNECT || result == CURLE_OPERATION_TIMEDOUT)
        dns_doubt(host->name);
}

static void report(struct curlmux *mux, struct curlmux_transfer *t, CURLcode result)
{
    struct curlmux_host *host = t->host;
    struct curlmux_slot *slot = t->slot;
    bool was_full = mux->active >= mux->config.total_max, reusable = result == CURLE_OK && !t->unusual;
    note_result(host, t, result);
    end(t);
    t->host = NULL;
    t->easy = NULL;
    host->pins++;
    t->done(t, slot->easy, result, slot->detail); /* t may be gone afterwards */
    pool_put(mux, slot, reusable);
    host->pins--;
    pump_host(host);
    if (was_full && mux->queued > 0) pump_all(mux);
}

static void drain(struct curlmux *mux)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(mux->multi, &left)) != NULL) {
        if (message->msg != CURLMSG_DONE) continue;
        CURL *easy = message->easy_handle; /* the message is gone once the handle is removed */
        CURLcode result = message->data.result;
        char *transfer = NULL;
        curl_easy_getinfo(easy, CURLINFO_PRIVATE, &transfer);
        report(mux, (struct curlmux_transfer *)(void *)transfer, result);
    }
}

/* ---- names ------------------------------------------------------------------------------------------ */

static void fail_waiting(struct curlmux_host *host, const char *detail)
{
    struct curlmux *mux = host->mux;
    struct list_node failed;
    list_init(&failed);
    list_splice(&failed, &host->waiting); /* what the receivers submit now has another chance */
    struct list_node *n;
    while ((n = list_pop(&failed)) != NULL) {
        struct curlmux_transfer *t = LIST_ENTRY(n, struct curlmux_transfer, node);
        host->waiting_count--;
        mux->queued--;
        t->host = NULL;
        t->done(t, NULL, *host->proxy ? CURLE_COULDNT_RESOLVE_PROXY : CURLE_COULDNT_RESOLVE_HOST,
                detail ? detail : "");
    }
}

static void on_resolved(void *ctx, struct dns_name *name, const char *failure)
{
    struct curlmux *mux = ctx;
    for (unsigned i = 0; i < HOST_BUCKETS; i++)
        for (struct curlmux_host *host = mux->buckets[i], *next; host; host = next) {
            host->pins++;
            if (host->name == name && name->addresses)
                pump_host(host);
            else if (host->name == name)
                fail_waiting(host, failure);
            next = host->next;
            host->pins--;
        }
}

/* ---- limits ----------------------------------------------------------------------------------------- */

static void on_limit_timer_cb(struct timer *timer)
{
    struct curlmux *mux = LIST_ENTRY(timer, struct curlmux, limit_timer);
    limit_tick(mux);
    pump_all(mux);
    if (mux->queued > 0)
        timer_start_background(mux->timers, &mux->limit_timer, LIMIT_TICK_MS, on_limit_timer_cb);
}

/* ---- public ----------------------------------------------------------------------------------------- */

static unsigned total_default(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur == RLIM_INFINITY || files.rlim_cur >= 2048)
        return 1024;
    return (unsigned)(files.rlim_cur / 2);
}

struct curlmux *curlmux_new(struct loop *loop, struct timers *timers, struct clock *clock,
                            const struct curlmux_config *config)
{
    struct curlmux *mux = mem_alloc(sizeof *mux);
    mux->loop = loop;
    mux->timers = timers;
    mux->clock = clock;
    if (config) mux->config = *config;
    if (mux->config.total_max == 0) mux->config.total_max = total_default();
    if (mux->config.host_max == 0) mux->config.host_max = 512;
    if (mux->config.host_max > mux->config.total_max) mux->config.host_max = mux->config.total_max;
    if (mux->config.host_base == 0) mux->config.host_base = 48;
    if (mux->config.host_base > mux->config.host_max) mux->config.host_base = mux->config.host_max;
    list_init(&mux->running);
    uv_timer_init(loop_uv(loop), &mux->curl_timer);
    uv_unref((uv_handle_t *)&mux->curl_timer);
    mux->curl_timer.data = mux;
    mux->dns = dns_new(loop, clock, on_resolved, mux);
    return mux;
}

static void on_mux_closed_cb(uv_handle_t *handle)
{
    mem_free(handle->data);
}

void curlmux_free(struct curlmux *mux)
{
    if (mux == NULL) return;
    timer_stop(mux->timers, &mux->limit_timer);
    struct list_node *n;
    while ((n = list_first(&mux->running)) != NULL)
        curlmux_cancel(mux, LIST_ENTRY(n, struct curlmux_transfer, node));
    for (unsigned i = 0; i < HOST_BUCKETS; i++)
        while (mux->buckets[i]) {
            struct curlmux_host *host = mux->buckets[i];
            while ((n = list_pop(&host->waiting)) != NULL)
                LIST_ENTRY(n, struct curlmux_transfer, node)->host = NULL;
            mux->buckets[i] = host->next;
            host_free(host);
        }
    while (mux->pool_count > 0) slot_free(mux->pool[--mux->pool_count]);
    mem_free(mux->pool);
    if (mux->multi) {
        curl_multi_cleanup(mux->multi); /* closes the kept connections through sock_close_cb */
        curl_global_cleanup();
    }
    dns_free(mux->dns);
    mem_free(mux->socks);
    mem_free(mux->ca_file);
    uv_close((uv_handle_t *)&mux->curl_timer, on_mux_closed_cb);
}

int curlmux_submit(struct curlmux *mux, struct curlmux_transfer *t, const char *url, struct err *err)
{
    char origin[CURLMUX_ORIGIN_MAX];
    assert(t->host == NULL && t->begin && t->done);
    if (curlmux_origin(url, origin, err) != 0) return -1;
    struct curlmux_host *host = host_find(mux, origin);
    if (host->waiting_count == 0) { /* the origin's figures start anew with its queue */
        host->tick_ms = clock_now_ms(mux->clock);
        host->completed_at_tick = host->completed;
    }
    t->host = host;
    if (host->proxy && *host->proxy) t->unusual = true; /* its password stays with its transfers */
    t->since_ms = clock_now_ms(mux->clock);
    list_append(&host->waiting, &t->node);
    host->waiting_count++;
    mux->queued++;
    pump_host(host);
    if (mux->queued > 0 && !timer_active(&mux->limit_timer)) {
        mux->ns_at_tick = clock_now_ns(mux->clock);
        mux->idle_ns_at_tick = uv_metrics_idle_time(loop_uv(mux->loop));
        timer_start_background(mux->timers, &mux->limit_timer, LIMIT_TICK_MS, on_limit_timer_cb);
    }
    return 0;
}

void curlmux_cancel(struct curlmux *mux, struct curlmux_transfer *t)
{
    struct curlmux_host *host = t->host;
    if (host == NULL) return;
    assert(!mux->in_curl);
    if (t->easy) {
        end(t);
        pool_put(mux, t->slot, false);
    } else {
        list_remove(&t->node);
        host->waiting_count--;
        mux->queued--;
    }
    t->host = NULL;
    t->easy = NULL;
}

bool curlmux_is_resolving(const struct curlmux_transfer *t)
{
    return t->host && t->easy == NULL && t->host->name && t->host->name->addresses == NULL;
}

bool curlmux_is_tls(const struct curlmux_transfer *t)
{
    return t->host->tls;
}

const char *curlmux_ca_file(struct curlmux *mux)
{
    static const char *const places[] = {"/etc/ssl/certs/ca-certificates.crt",
                                         "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
                                         "/etc/ssl/cert.pem"};
    if (mux->ca_searched) return mux->ca_file;
    mux->ca_searched = true;
    const char *named = getenv("CURL_CA_BUNDLE");
    if (named == NULL || *named == '\0') named = getenv("SSL_CERT_FILE");
    if (named && *named) return mux->ca_file = mem_strdup(named);
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        if (access(places[i], R_OK) == 0) return mux->ca_file = mem_strdup(places[i]);
    return NULL;
}

void curlmux_stats(struct curlmux *mux, struct curlmux_stats *out)
{
    memset(out, 0, sizeof *out);
    out->active = mux->active;
    out->queued = mux->queued;
    out->hosts = mux->host_count;
    dns_stats(mux->dns, out);
    out->idle_sockets = sock_idle_count(mux);
    out->handles = out->idle_sockets + MUX_HANDLES;
    for (unsigned i = 0; i < HOST_BUCKETS; i++)
        for (const struct curlmux_host *host = mux->buckets[i]; host; host = host->next)
            if (host->limit > out->limit) out->limit = host->limit;
}
