/* bar.h - a progress bar: drawn on a terminal, told in plain lines elsewhere.
 *
 * The owner reports how far things are; the bar decides when that is worth showing (ten times a second on a
 * terminal; elsewhere a line after ten seconds, then ever more rarely, and one at the end).  No-progress and
 * quiet runs show nothing.  Loop thread only; may be updated from engine callbacks.
 */
#ifndef PERIGEE_BAR_H
#define PERIGEE_BAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/term.h"
#include "host/timers.h"

struct bar;

struct bar_options {
    const char *label; /* untrusted text is fine; copied */
    const char *unit;  /* "bytes" is shown as kB, MB, …; any other word as it is; NULL: none; copied */
    double total;      /* 0 = unknown */
};

/* Shows the bar at once on a terminal.  timers may be NULL: then the last update before a pause may wait
 * for the next one. */
struct bar *bar_new(struct term *term, struct timers *timers, struct clock *clock,
                    const struct bar_options *options);

/* Where it stands.  Going back is allowed. */
void bar_set(struct bar *bar, double done);
void bar_set_total(struct bar *bar, double total);
void bar_set_label(struct bar *bar, const char *label, size_t n);

/* Ends the bar: its last state stays on the screen as an ordinary line, with the time it took and the note,
 * which may be NULL ("3 failed").  failed says that the work did not get to its end.  Frees the bar. */
void bar_finish(struct bar *bar, bool failed, const char *note);

/* Takes the bar away without a trace and frees it.  bar may be NULL. */
void bar_free(struct bar *bar);

#endif
