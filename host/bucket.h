/* bucket.h - token buckets by name: how much a process may do of something, in a burst and on average.
 *
 * Retries take from them (scripts/lib/retry.lua), a bucket for each service, so that the tasks of all VMs
 * together do not hammer one that is down.  A bucket exists from its first use on, full.  Loop thread only.
 */
#ifndef PERIGEE_BUCKET_H
#define PERIGEE_BUCKET_H

#include "host/clock.h"

enum { BUCKETS_BURST = 50 }; /* tokens of a full bucket; one comes back each second */

struct buckets;

struct buckets *buckets_new(const struct clock *clock);

/* buckets may be NULL. */
void buckets_free(struct buckets *buckets);

/* Seconds until a token is there; 0 if there is one now. */
double buckets_wait(struct buckets *buckets, const char *name);

/* Takes a token; one that is not there is owed, and those who come later wait longer. */
void buckets_take(struct buckets *buckets, const char *name);

/* Brings one back early, as far as there is room. */
void buckets_give(struct buckets *buckets, const char *name);

#endif
