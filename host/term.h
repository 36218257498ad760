/* term.h - the one writer of standard output and standard error.
 *
 * What scripts print, log lines, reports and the live lines at the bottom (progress bars) of all VMs go
 * through here, so that none lands in the middle of another: lines appear above, live lines are drawn again
 * below.  Writes wait for a slow reader and survive one that has gone.  Text is made safe before it reaches
 * a terminal; a pipe or a file gets the bytes as they are.
 * Loop thread only, but for the two functions that say otherwise.  No Lua here.
 */
#ifndef PERIGEE_TERM_H
#define PERIGEE_TERM_H

#include <stdbool.h>
#include <stddef.h>

#include "host/buf.h"
#include "host/list.h"
#include "host/log.h"

enum term_stream { TERM_OUT, TERM_ERR };

struct term;

/* A line kept at the bottom of the terminal while it is added.  First member of its owner. */
struct term_live {
    struct list_node node;
    /* Appends the line, without a line end, at most `columns` cells wide. */
    void (*draw)(struct term_live *live, size_t columns, struct buf *out);
};

/* The writer of this process, on descriptors 1 and 2, made on first use; never freed. */
struct term *term_process(void);

/* A writer on any two descriptors (tests).  Reads NO_COLOR and TERM. */
struct term *term_new(int out_fd, int err_fd);
void term_free(struct term *term);

/* Standard error is a terminal that can move its cursor: live lines are drawn. */
bool term_is_live(const struct term *term);

/* The stream is a terminal. */
bool term_is_tty(const struct term *term, enum term_stream stream);

/* Colours may be used on the stream: a terminal, TERM not dumb, NO_COLOR not set. */
bool term_has_color(const struct term *term, enum term_stream stream);

/* The user's locale shows characters beyond ASCII. */
bool term_has_utf8(const struct term *term);

/* Cells in a line: COLUMNS, else what the terminal says, else 80. */
size_t term_columns(const struct term *term);

/* --no-progress: nothing is live, bars print nothing at all. --quiet: nor do notices. */
void term_set_progress(struct term *term, bool wanted);
bool term_wants_progress(const struct term *term);
void term_set_quiet(struct term *term, bool quiet);
bool term_is_quiet(const struct term *term);

/* Writes text.  On a terminal it is escaped first (host/text.h); colour sequences pass.  Returns 0, or -1
 * when the reader has gone: the stream then swallows everything. */
int term_write(struct term *term, enum term_stream stream, const char *text, size_t n);

/* The same for text of others (messages of servers, log lines): colour sequences do not pass either. */
int term_write_untrusted(struct term *term, enum term_stream stream, const char *text, size_t n);

/* Sets term as the log's sink: lines on standard error, coloured by level on a terminal. */
void term_take_log(struct term *term);

/* Adds a live line at the bottom; term_live_remove takes it away.  Removing twice is allowed. */
void term_live_add(struct term *term, struct term_live *live);
void term_live_remove(struct term *term, struct term_live *live);

/* Draws the live lines again, after one has changed. */
void term_live_redraw(struct term *term);

/* Any thread: a write is waiting for a slow reader, so time that passes is not the script's. */
bool term_is_blocked(void);

/* Async-signal-safe: leaves the terminal usable (cursor on a line of its own, no colour) just before the
 * process ends without term_free. */
void term_leave(void);

#endif
