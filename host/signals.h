/* signals.h - signals as events of the loop.
 *
 * SIGPIPE is ignored for the whole process (a closed pipe is an error code, not an end).  The watchers do
 * not keep the loop alive.  Loop thread only.
 */
#ifndef PERIGEE_SIGNALS_H
#define PERIGEE_SIGNALS_H

#include <stdbool.h>

#include "host/loop.h"

struct signals;

/* Called on the loop thread, as an ordinary event. */
typedef void (*signals_fn)(void *ctx, int signum);

/* Watches SIGINT, SIGTERM, SIGHUP, SIGUSR1 and SIGUSR2. */
struct signals *signals_start(struct loop *loop, signals_fn fn, void *ctx);

/* The signal also calls fn, in its handler: fn must be async-signal-safe, and may run on any thread.  For one
 * signal of the process, between signals_start and signals_stop. */
void signals_also_call(int signum, void (*fn)(void));

/* That signal has come, and its event is still on the way: what a person has typed since is to wait for it.
 */
bool signals_undelivered(void);

/* Restores the default actions; memory goes when the loop has turned. s may be NULL. */
void signals_stop(struct signals *s);

#endif
