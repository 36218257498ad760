/* random.h - the one seeded generator, and the one source of secrets.
 *
 * Jitter, sampling and injected faults draw from a `struct random`, so that --seed repeats a run.
 * Identifiers that must not be guessed come from random_hex, which asks the kernel, except where a virtual
 * clock makes the whole run a rehearsal: then they repeat too.
 */
#ifndef PERIGEE_RANDOM_H
#define PERIGEE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* xoshiro256**; the caller's memory. */
struct random {
    uint64_t state[4];
};

void random_init(struct random *r, uint64_t seed);

/* A seed from the kernel. */
uint64_t random_fresh_seed(void);

uint64_t random_u64(struct random *r);

/* Uniform in [0, 1). */
double random_double(struct random *r);

/* Uniform in [0, n); n > 0. */
uint64_t random_below(struct random *r, uint64_t n);

/* out gets 2n lower-case hex digits and a NUL: from r if it is not NULL (rehearsals only), else from the
 * kernel, without which the process ends. */
void random_hex(struct random *r, char *out, size_t n);

#endif
