/* test_bucket.c - token buckets on a virtual clock. */
#include "host/bucket.h"

#include "tests/c/harness.h"

static void a_burst_is_free_and_what_is_owed_is_waited_for(void)
{
    struct clock *clock = clock_new_virtual(0);
    struct buckets *b = buckets_new(clock);
    for (int i = 0; i < BUCKETS_BURST; i++) {
        CHECK(buckets_wait(b, "a") == 0);
        buckets_take(b, "a");
    }
    CHECK(buckets_wait(b, "a") == 1);
    buckets_take(b, "a");
    CHECK(buckets_wait(b, "a") == 2);
    CHECK(buckets_wait(b, "b") == 0);
    clock_advance_to(clock, 1500);
    CHECK(buckets_wait(b, "a") == 0.5);
    clock_advance_to(clock, 2000);
    CHECK(buckets_wait(b, "a") == 0);
    buckets_free(b);
    clock_free(clock);
}

static void neither_time_nor_gifts_fill_it_above_its_burst(void)
{
    struct clock *clock = clock_new_virtual(0);
    struct buckets *b = buckets_new(clock);
    buckets_give(b, "a");
    clock_advance_to(clock, 1000000);
    for (int i = 0; i < BUCKETS_BURST; i++) buckets_take(b, "a");
    CHECK(buckets_wait(b, "a") == 1);
    buckets_give(b, "a");
    CHECK(buckets_wait(b, "a") == 0);
    buckets_free(b);
    clock_free(clock);
}

int main(void)
{
    a_burst_is_free_and_what_is_owed_is_waited_for();
    neither_time_nor_gifts_fill_it_above_its_burst();
    HARNESS_END();
}
