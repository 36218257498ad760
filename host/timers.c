/* timers.c - a binary heap of timers on one uv_timer. */
#include "host/timers.h"

#include <assert.h>

#include "host/mem.h"

struct timers {
    uv_timer_t uv;
    struct clock *clock;
    struct timer **heap; /* heap[0] fires first */
    size_t count, cap;
    size_t foreground; /* timers that keep the loop alive */
    uint64_t next_order;
    uint64_t armed_for; /* deadline the uv_timer is set to; 0 = not armed */
    struct timers_lag lag;
};

const uint64_t timers_lag_bounds_ms[TIMERS_LAG_BUCKETS] = {1,   2,   5,   10,   20,   50,
                                                           100, 200, 500, 1000, 2000, 5000};

static bool before(const struct timer *a, const struct timer *b)
{
    if (a->deadline_ms != b->deadline_ms) return a->deadline_ms < b->deadline_ms;
    return a->order < b->order;
}

static void place(struct timers *t, size_t i, struct timer *timer)
{
    t->heap[i] = timer;
    timer->slot = i + 1;
}

static void sift_up(struct timers *t, size_t i)
{
    struct timer *timer = t->heap[i];
    while (i > 0) {
        size_t parent = (i - 1) / 2;
        if (!before(timer, t->heap[parent])) break;
        place(t, i, t->heap[parent]);
        i = parent;
    }
    place(t, i, timer);
}

static void sift_down(struct timers *t, size_t i)
{
    struct timer *timer = t->heap[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= t->count) break;
        if (child + 1 < t->count && before(t->heap[child + 1], t->heap[child])) child++;
        if (!before(t->heap[child], timer)) break;
        place(t, i, t->heap[child]);
        i = child;
    }
    place(t, i, timer);
}

static void take_out(struct timers *t, struct timer *timer)
{
    size_t i = timer->slot - 1;
    timer->slot = 0;
    if (!timer->background) t->foreground--;
    struct timer *last = t->heap[--t->count];
    if (last == timer) return;
    place(t, i, last);
    sift_down(t, i);
    sift_up(t, last->slot - 1);
}

static void on_timer_cb(uv_timer_t *uv);

/* Points the uv_timer at the first deadline, and lets it keep the loop alive only if it should. */
static void arm(struct timers *t)
{
    if (clock_is_virtual(t->clock)) return;
    if (t->foreground > 0)
        uv_ref((uv_handle_t *)&t->uv);
    else
        uv_unref((uv_handle_t *)&t->uv);
    if (t->count == 0) {
        if (t->armed_for) uv_timer_stop(&t->uv);
        t->armed_for = 0;
        return;
    }
    uint64_t first = t->heap[0]->deadline_ms;
    if (t->armed_for == first) return;
    uint64_t now = clock_now_ms(t->clock);
    uv_update_time(t->uv.loop); /* stale after a long script slice: the timer would fire early */
    uv_timer_start(&t->uv, on_timer_cb, first > now ? first - now : 0, 0);
    t->armed_for = first;
}

static void note_lag(struct timers_lag *lag, uint64_t late_ms)
{
    int i = 0;
    while (i < TIMERS_LAG_BUCKETS && late_ms > timers_lag_bounds_ms[i]) i++;
    lag->counts[i]++;
    lag->sum_ms += late_ms;
    lag->count++;
}

/* Fires what is due now; timers started by the callbacks wait for the next round. */
static void fire_due(struct timers *t)
{
    uint64_t now = clock_now_ms(t->clock);
    uint64_t newest = t->next_order;
    while (t->count > 0 && t->heap[0]->deadline_ms <= now && t->heap[0]->order < newest) {
        struct timer *timer = t->heap[0];
        take_out(t, timer);
        note_lag(&t->lag, now - timer->deadline_ms);
        timer->fn(timer);
    }
}

static void on_timer_cb(uv_timer_t *uv)
{
    struct timers *t = uv->data;
    t->armed_for = 0;
    fire_due(t);
    arm(t);
}

struct timers *timers_new(struct loop *loop, struct clock *clock)
{
    struct timers *t = mem_alloc(sizeof *t);
    uv_timer_init(loop_uv(loop), &t->uv);
    t->uv.data = t;
    t->clock = clock;
    return t;
}

static void on_close_cb(uv_handle_t *handle)
{
    struct timers *t = handle->data;
    mem_free(t->heap);
    mem_free(t);
}

void timers_free(struct timers *t)
{
    if (t == NULL) return;
    assert(t->count == 0);
    uv_close((uv_handle_t *)&t->uv, on_close_cb);
}

static void start(struct timers *t, struct timer *timer, uint64_t delay_ms, timer_fn fn, bool background)
{
    if (timer->slot) take_out(t, timer);
    if (t->count == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 64;
        t->heap = mem_realloc(t->heap, t->cap * sizeof(struct timer *));
    }
    uint64_t now = clock_now_ms(t->clock);
    timer->fn = fn;
    timer->deadline_ms = delay_ms > UINT64_MAX / 2 ? UINT64_MAX / 2 : now + delay_ms;
    timer->order = t->next_order++;
    timer->background = background;
    if (!background) t->foreground++;
    place(t, t->count++, timer);
    sift_up(t, t->count - 1);
    arm(t);
}

void timer_start(struct timers *t, struct timer *timer, uint64_t delay_ms, timer_fn fn)
{
    start(t, timer, delay_ms, fn, false);
}

void timer_start_background(struct timers *t, struct timer *timer, uint64_t delay_ms, timer_fn fn)
{
    start(t, timer, delay_ms, fn, true);
}

void timer_stop(struct timers *t, struct timer *timer)
{
    if (timer->slot == 0) return;
    take_out(t, timer);
    arm(t);
}

bool timer_active(const struct timer *timer)
{
    return timer->slot != 0;
}

size_t timers_count(const struct timers *t)
{
    return t->count;
}

bool timers_advance(struct timers *t)
{
    if (t->foreground == 0) return false; /* background timers must not carry time on for ever */
    clock_advance_to(t->clock, t->heap[0]->deadline_ms);
    fire_due(t);
    return true;
}

struct clock *timers_clock(const struct timers *t)
{
    return t->clock;
}

const struct timers_lag *timers_lag(const struct timers *t)
{
    return &t->lag;
}
