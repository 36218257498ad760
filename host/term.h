/* term.h - the one writer of standard output and standard error.
 *
 * What scripts print, log lines, reports, the live lines at the bottom (progress bars) of all VMs and the
 * prompt below them go through here, so that none lands in the middle of another: lines appear above, live
 * lines and prompt are drawn again below.  Writes wait for a slow reader and survive one that has gone.  Text
 * is made safe before it reaches a terminal; a pipe or a file gets the bytes as they are. Loop thread only,
 * but for the two functions that say otherwise.  No Lua here.
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

/* A line was begun on the terminal and not ended. */
bool term_has_partial(const struct term *term);

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

/* The line that is edited below everything else.  First member of its owner, which draws it. */
struct term_prompt {
    /* Appends what clears its rows and puts the cursor at the start of the first. */
    void (*hide)(struct term_prompt *prompt, struct buf *out);
    /* Appends its rows and puts the cursor where the next key goes; it is at the start of a free row. */
    void (*show)(struct term_prompt *prompt, struct buf *out);
    /* It has been hidden for output: term_prompt_show is to be called before the loop waits. */
    void (*wake)(struct term_prompt *prompt);
};

/* Sets the prompt; it is drawn by term_prompt_show.  NULL takes it off the screen. */
void term_prompt_set(struct term *term, struct term_prompt *prompt);

/* Draw it, if there is one that is not on the screen; take it off until the next term_prompt_show. */
void term_prompt_show(struct term *term);
void term_prompt_hide(struct term *term);

/* What the editor writes while the prompt is on the screen (an echoed key). */
void term_prompt_echo(struct term *term, const char *bytes, size_t n);

/* The line is about to end: moves it above the live lines, where it will stay. */
void term_prompt_lift(struct term *term);

/* The line has ended with these bytes, behind which a free row begins.  It stays on the screen. */
void term_prompt_done(struct term *term, const char *bytes, size_t n);

/* Clears the screen; what stands at the bottom is drawn again at the top. */
void term_clear(struct term *term);

/* Others have written to the terminal (the shell, while the process was stopped): nothing that was drawn is
 * where it was, and all is drawn again. */
void term_restart(struct term *term);

/* Any thread: a write is waiting for a slow reader, so time that passes is not the script's. */
bool term_is_blocked(void);

/* Async-signal-safe: leaves the terminal usable (its modes, cursor on a line of its own, no colour) just
 * before the process ends without term_free. */
void term_leave(void);

#endif
