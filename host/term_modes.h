/* term_modes.h - the modes of the terminal while lines are edited, and the sure way back.
 *
 * One terminal for each process.  The modes that were found are put back by term_modes_restore, which may be
 * called from anywhere: signal handlers, other threads, exit.  Signals that end the process with a core call
 * it too while the modes are taken.
 */
#ifndef PERIGEE_TERM_MODES_H
#define PERIGEE_TERM_MODES_H

#include <stdbool.h>

/* The terminal of standard input, opened anew: libuv makes a descriptor non-blocking, and on the inherited
 * open file the shell would find that afterwards.  Returns the descriptor, or -1 with errno. */
int term_modes_open(void);

/* True if the process may change the terminal behind fd: it is in the foreground. */
bool term_modes_mine(int fd);

/* Sets the terminal behind fd: keys come one by one and are not echoed, Ctrl-C and Ctrl-Z stay signals,
 * pastes are marked.  fd must stay open until term_modes_close.  Returns 0, or -1 with errno. */
int term_modes_take(int fd);

/* Async-signal-safe, any thread: puts back what term_modes_take found.  Twice is allowed. */
void term_modes_restore(void);

/* The same for good: the handlers of fatal signals are put back too. */
void term_modes_close(void);

#endif
