/* editor.h - lines that a person types, edited while the loop runs.
 *
 * Keys come as events of the loop; the line is drawn below all output by host/term, which hides it while
 * others write.  One editor for each process, since library and terminal are one.  While nothing is read,
 * what is typed is kept for the next line.  A question takes the terminal from the line that is being
 * typed, once nobody has pressed a key for a second, and gives it back; only keys that came after it was
 * shown answer it. Loop thread only.  No Lua here; the library is behind host/editor_line.h.
 */
#ifndef PERIGEE_EDITOR_H
#define PERIGEE_EDITOR_H

#include <stdbool.h>
#include <stddef.h>

#include "host/buf.h"
#include "host/err.h"
#include "host/list.h"
#include "host/loop.h"
#include "host/term.h"

struct editor;

enum editor_end {
    EDITOR_TEXT,      /* Enter: the text is in the read */
    EDITOR_EOF,       /* Ctrl-D on an empty line, or the terminal has gone */
    EDITOR_INTERRUPT, /* editor_interrupt */
    EDITOR_CLOSED     /* editor_close */
};

/* One line asked for; first member of its owner, who fills it and keeps it until done or editor_cancel. */
struct editor_read {
    struct list_node node;
    struct buf prompt; /* colour sequences pass, other controls are shown as escapes */
    struct buf text;   /* what the line begins with; at the end what was typed */
    size_t point;      /* the cursor's byte in text */
    bool hidden;       /* what is typed is not shown */
    bool question;     /* comes before the line that is being read */
    bool waited;       /* the editor's own: a question that somebody typed at */
    enum editor_end end;
    /* It has ended.  May begin the next read, must not close the editor. */
    void (*done)(struct editor_read *read);
};

struct editor_events {
    /* Tab was pressed; editor_completion_text has the line. */
    void (*tab)(void *ctx);
};

/* Takes the terminal of this process.  NULL and an error of kind `unavailable` if standard input and output
 * are not a terminal that can move its cursor (code no_terminal), if there is an editor already (busy), or if
 * the library is not there (no_library).
 * first_prompt, or NULL: what the first read begins with, as it is. It stands there while the library is
 * still being loaded; only where the cursor is at the left and nothing is drawn below it. */
struct editor *editor_open(struct loop *loop, struct term *term, const struct editor_events *events,
                           void *ctx, const char *first_prompt, struct err *err);

/* Gives the terminal back; reads end with EDITOR_CLOSED.  Memory goes when the loop has turned. */
void editor_close(struct editor *editor);

/* Begins a read: at most one that is no question at a time; questions queue up. */
void editor_begin(struct editor *editor, struct editor_read *read);

/* Takes a read back, off the screen too. */
void editor_cancel(struct editor *editor, struct editor_read *read);

/* Ctrl-C was pressed: ends the question or line on the screen, which stays there with ^C behind it, and drops
 * what was typed ahead.  False if nothing was being read. */
bool editor_interrupt(struct editor *editor);

/* A line, no question, is being read. */
bool editor_is_reading(const struct editor *editor);

/* History: the oldest entry first. */
void editor_history_clear(struct editor *editor);
void editor_history_add(struct editor *editor, const char *text);

/* Cells in a row of the terminal. */
size_t editor_columns(struct editor *editor);

/* ---- completion (host/editor_complete.c) ----------------------------------------------------------------
 */

struct editor_candidate {
    const char *text;    /* what is inserted */
    const char *display; /* what the list shows; NULL: the text */
};

/* Tab was pressed, and editor_completion_text has not been called since. */
bool editor_has_completion(const struct editor *editor);

/* The last Tab: its number, the line, and the cursor's byte in it.  Number 0: there was none. */
unsigned long editor_completion_text(struct editor *editor, const char **text, size_t *n, size_t *point);

/* Answers that Tab: the candidates stand for the bytes from `from` to the cursor.  One is put into the line,
 * of several what they begin with; if that is nothing new, the second Tab lists them above the prompt.
 * What is typed after the Tab waits for the answer, 0.3 s at most; nothing happens if the line has changed
 * meanwhile.  Sorts the candidates. */
void editor_complete(struct editor *editor, unsigned long number, size_t from,
                     struct editor_candidate *candidates, size_t count);

#endif
