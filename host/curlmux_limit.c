/* curlmux_limit.c - how many transfers one origin may have at once.
 *
 * Throughput is connections divided by latency, until a processor is full; past that point each further
 * connection only makes libcurl slower (38k requests/s with 64, 17k with 1,024).  So an origin starts with
 * a base that fills a fast server, and while requests queue the limit goes where the figures say:
 *
 *   this process mostly waiting  the server is what takes time: more, half as much again at each tick
 *   … but the last rise gained   the server is full: back, and ask again a little later
 *     nothing
 *   this process busy            more would cost, not gain: slowly back towards the base
 *
 * A stalled origin keeps what it holds and no more: another one always gets its first few transfers.
 */
#include "host/curlmux_internal.h"

enum {
    TICK_MS = 50,
    SLOW_TICK_MS = 500, /* patience with an origin that answers little or nothing */
    HOLD_MS = 400,
    ROUNDS = 3, /* answers for each connection that make a rate worth comparing */
    GUARANTEED = 8
};

static const double idle_enough = 0.80, too_busy = 0.97, worthwhile = 1.03;

void limit_init(struct curlmux_host *host)
{
    host->limit = host->mux->config.host_base;
}

bool limit_admits(const struct curlmux_host *host)
{
    if (host->active >= host->limit) return false;
    return host->mux->active < host->mux->config.total_max || host->active < GUARANTEED;
}

static void raise_limit(struct curlmux_host *host, double rate)
{
    unsigned most = host->mux->config.host_max;
    host->limit_before = host->limit;
    host->rate_before = rate;
    host->limit += host->limit / 2 + 1;
    if (host->limit > most) host->limit = most;
    host->probing = host->limit > host->limit_before;
}

/* Judges one origin that has requests waiting. */
static void judge(struct curlmux_host *host, uint64_t now)
{
    uint64_t answered = host->completed - host->completed_at_tick;
    uint64_t span = now - host->tick_ms;
    bool measured = answered >= (uint64_t)host->active * ROUNDS;
    if (span < TICK_MS || (!measured && span < SLOW_TICK_MS)) return;
    double rate = (double)answered / (double)span;
    host->completed_at_tick = host->completed;
    host->tick_ms = now;
    if (host->probing && measured && rate < host->rate_before * worthwhile) {
        host->limit = host->limit_before;
        host->hold_until_ms = now + HOLD_MS;
        host->probing = false;
        return;
    }
    host->probing = false;
    unsigned base = host->mux->config.host_base;
    if (host->mux->busy > too_busy && host->limit > base)
        host->limit -= (host->limit - base + 9) / 10;
    else if (host->mux->busy < idle_enough && now >= host->hold_until_ms)
        raise_limit(host, rate);
}

/* Busy is what the loop did not spend waiting for events: also the time in which other programs had the
 * processor, since more connections do not give it back. */
void limit_tick(struct curlmux *mux)
{
    uint64_t now_ns = clock_now_ns(mux->clock), idle_ns = uv_metrics_idle_time(loop_uv(mux->loop));
    if (now_ns > mux->ns_at_tick)
        mux->busy = 1 - (double)(idle_ns - mux->idle_ns_at_tick) / (double)(now_ns - mux->ns_at_tick);
    mux->ns_at_tick = now_ns;
    mux->idle_ns_at_tick = idle_ns;
    for (unsigned i = 0; i < HOST_BUCKETS; i++)
        for (struct curlmux_host *host = mux->buckets[i]; host; host = host->next) {
            if (host->waiting_count > 0 && host->active > 0) judge(host, now_ns / 1000000);
        }
}
