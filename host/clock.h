/* clock.h - monotonic and wall time, and the only source of both.
 *
 * A real clock reads the system.  A virtual one stands still until it is told to advance, so that hours of
 * a policy rehearse in milliseconds and one seed gives the same run twice.  Loop thread only.
 */
#ifndef PERIGEE_CLOCK_H
#define PERIGEE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

struct clock;

struct clock *clock_new(void);

/* Starts at the given wall time (milliseconds since 1970), monotonic 0. */
struct clock *clock_new_virtual(int64_t wall_ms);

void clock_free(struct clock *clock);

bool clock_is_virtual(const struct clock *clock);

/* Monotonic, for deadlines and durations within the process. */
uint64_t clock_now_ms(const struct clock *clock);
uint64_t clock_now_ns(const struct clock *clock);

/* Milliseconds since 1970, UTC; may jump on a real machine. */
int64_t clock_wall_ms(const struct clock *clock);

/* Processor time of the process in nanoseconds; on a virtual clock the monotonic time. */
uint64_t clock_cpu_ns(const struct clock *clock);

/* Virtual clocks only: moves forward to the monotonic time given; never back. */
void clock_advance_to(struct clock *clock, uint64_t now_ms);

#endif
