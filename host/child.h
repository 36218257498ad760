/* child.h - child processes whose output is collected.
 *
 * A child is done only when it has exited and both its streams have ended, whichever is last; one that was
 * killed for its time or its output counts as done when it has exited, since a grandchild may hold the
 * streams open.  No shell is involved.  Loop thread only; no Lua here.
 */
#ifndef PERIGEE_CHILD_H
#define PERIGEE_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/buf.h"
#include "host/loop.h"
#include "host/timers.h"

struct child;

enum child_stream { CHILD_STDOUT, CHILD_STDERR, CHILD_STREAMS };

/* Strings and bytes are the caller's, and used during child_start only. */
struct child_options {
    char **args;       /* the program first; ends with NULL */
    char **env;        /* "NAME=value", ends with NULL; NULL: inherited */
    const char *cwd;   /* NULL: ours */
    const void *input; /* NULL: it has no standard input */
    size_t input_len;
    uint64_t timeout_ms; /* killed then; 0 = never */
    size_t output_cap;   /* bytes of a stream; beyond it is killed */
    int columns;         /* above 0: all three streams are a terminal of that width, collected as stdout */
};

/* Output came, or the child is done.  May ask for anything but child_free. */
typedef void (*child_changed_fn)(void *ctx);

/* NULL and a libuv error code in *error if it cannot be started. */
struct child *child_start(struct loop *loop, struct timers *timers, const struct child_options *options,
                          int *error);

/* Whom to tell of changes from now on; changed may be NULL. */
void child_watch(struct child *child, child_changed_fn changed, void *ctx);

/* Kills it if it still runs, and lets go: the memory goes when libuv has closed the last handle. */
void child_free(struct child *child);

void child_kill(struct child *child, int signum);

bool child_is_done(const struct child *child);

/* What came so far; valid until the loop turns. */
const struct buf *child_output(const struct child *child, enum child_stream stream);

/* True if the text stands in either stream. */
bool child_has_text(const struct child *child, const char *text);

struct child_end {
    int64_t status;
    int signal;     /* that ended it, or 0 */
    bool timed_out; /* killed for its time */
    bool over_cap;  /* killed for its output */
};

/* Once it is done. */
struct child_end child_end(const struct child *child);

#endif
