/* timers.h - any number of timers under one uv_timer.
 *
 * A heap ordered by deadline, then by the order of starting, so that runs repeat.  The struct timer is the
 * owner's memory (often inside an op); stopping is immediate, nothing closes later.  On a virtual clock no
 * uv_timer is armed: the scheduler calls timers_advance when nothing else can happen.
 * Loop thread only.  Callbacks may start and stop any timer; they must not touch Lua.
 */
#ifndef PERIGEE_TIMERS_H
#define PERIGEE_TIMERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/clock.h"
#include "host/loop.h"

struct timers;
struct timer;

typedef void (*timer_fn)(struct timer *timer);

/* Zeroed is stopped. */
struct timer {
    timer_fn fn;
    uint64_t deadline_ms; /* the clock's monotonic time */
    uint64_t order;       /* ties are fired in the order of starting */
    size_t slot;          /* index in the heap + 1; 0 = stopped */
    bool background;      /* does not keep the loop alive */
};

struct timers *timers_new(struct loop *loop, struct clock *clock);

/* No timer may be running; the uv handle's memory goes when the loop has turned. */
void timers_free(struct timers *timers);

/* Fires fn once, delay_ms from now.  Restarts a running timer. */
void timer_start(struct timers *timers, struct timer *timer, uint64_t delay_ms, timer_fn fn);

/* The same, without keeping the loop alive. */
void timer_start_background(struct timers *timers, struct timer *timer, uint64_t delay_ms, timer_fn fn);

/* Safe on a stopped timer. */
void timer_stop(struct timers *timers, struct timer *timer);

bool timer_active(const struct timer *timer);

/* Running timers, background ones included. */
size_t timers_count(const struct timers *timers);

/* Virtual clock: moves the clock to the earliest deadline and fires all timers of that moment.
 * Returns false if there is none. */
bool timers_advance(struct timers *timers);

enum { TIMERS_LAG_BUCKETS = 12 };

/* How late timers have fired, which is how long the loop had no time for them: counts[i] of at most
 * timers_lag_bounds_ms[i], the last of more than all. On a virtual clock nothing is late. */
struct timers_lag {
    uint64_t counts[TIMERS_LAG_BUCKETS + 1];
    uint64_t sum_ms, count;
};
extern const uint64_t timers_lag_bounds_ms[TIMERS_LAG_BUCKETS];

const struct timers_lag *timers_lag(const struct timers *timers);

/* The clock the timers run on. */
struct clock *timers_clock(const struct timers *timers);

#endif
