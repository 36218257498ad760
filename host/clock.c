/* clock.c - the system's time, or a virtual one. */
#include "host/clock.h"

#include <assert.h>
#include <time.h>

#include "host/mem.h"

struct clock {
    bool is_virtual;
    uint64_t now_ms;       /* virtual only */
    int64_t wall_start_ms; /* virtual only: wall time at monotonic 0 */
};

struct clock *clock_new(void)
{
    return mem_alloc(sizeof(struct clock));
}

struct clock *clock_new_virtual(int64_t wall_ms)
{
    struct clock *clock = mem_alloc(sizeof *clock);
    clock->is_virtual = true;
    clock->wall_start_ms = wall_ms;
    return clock;
}

void clock_free(struct clock *clock)
{
    mem_free(clock);
}

bool clock_is_virtual(const struct clock *clock)
{
    return clock->is_virtual;
}

static uint64_t read_ns(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t clock_now_ns(const struct clock *clock)
{
    return clock->is_virtual ? clock->now_ms * 1000000u : read_ns(CLOCK_MONOTONIC);
}

uint64_t clock_now_ms(const struct clock *clock)
{
    return clock->is_virtual ? clock->now_ms : read_ns(CLOCK_MONOTONIC) / 1000000u;
}

int64_t clock_wall_ms(const struct clock *clock)
{
    if (clock->is_virtual) return clock->wall_start_ms + (int64_t)clock->now_ms;
    return (int64_t)(read_ns(CLOCK_REALTIME) / 1000000u);
}

uint64_t clock_cpu_ns(const struct clock *clock)
{
    return clock->is_virtual ? clock->now_ms * 1000000u : read_ns(CLOCK_PROCESS_CPUTIME_ID);
}

void clock_advance_to(struct clock *clock, uint64_t now_ms)
{
    assert(clock->is_virtual);
    if (now_ms > clock->now_ms) clock->now_ms = now_ms;
}
