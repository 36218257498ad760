/* editor_line.h - what host/editor needs of a library that edits lines: GNU readline (editor_readline.c) or
 * libedit (editor_libedit.c), chosen when building.
 *
 * There is one line in the process, because the libraries have one.  They write into memory: what a function
 * draws is taken with line_take and goes to the terminal through host/term.
 */
#ifndef PERIGEE_EDITOR_LINE_H
#define PERIGEE_EDITOR_LINE_H

#include <stdbool.h>
#include <stddef.h>

#include "host/buf.h"
#include "host/err.h"

/* Called from line_step. */
struct line_events {
    int (*next_byte)(void *ctx); /* the next byte typed, or -1: none yet */
    bool (*has_byte)(void *ctx); /* there is one already */
    void (*ending)(void *ctx);   /* Enter: the cursor is at the end of the text, the line not yet ended */
    void (*ended)(void *ctx, const char *text, size_t n); /* text NULL: end of input */
    void (*tab)(void *ctx);
    void (*paste)(void *ctx);        /* what follows, up to the mark, is pasted text: not for line_step */
    void (*clear_screen)(void *ctx); /* Ctrl-L */
};

/* fd: the terminal that keys come from.  Returns 0, or -1 and an error of kind `unavailable` (code
 * no_library). */
int line_open(int fd, const struct line_events *events, void *ctx, struct err *err);
void line_close(void);

/* Begins a line: text is in it, the cursor at byte `point`.  The prompt may hold colour sequences. */
void line_begin(const char *prompt, const char *text, size_t point, bool hidden);

/* Forgets the line, whatever was being done with it. */
void line_drop(void);

/* Lets the library have one byte of next_byte. */
void line_step(void);

/* A command over several keys (a search, an argument) ends; the line stays. */
void line_settle(void);

/* The line: bytes, and the cursor's byte. */
const char *line_text(size_t *n);
size_t line_point(void);

/* Replaces bytes from `from` to the cursor; one step for undo.  As everything here, it draws nothing. */
void line_replace(size_t from, const char *text);

/* Puts the cursor behind the last byte. */
void line_to_end(void);

/* What stands in front of the text at present: the prompt, or that of a search. */
const char *line_prompt(void);

/* Clears the rows of the line and puts the cursor at the start of the first.  False: the library does not
 * know how, and has done nothing. */
bool line_erase(void);

/* Draws the whole line from the start of a free row. */
void line_draw(void);

/* Appends what was drawn since the last call. */
void line_take(struct buf *out);

/* The terminal has that many rows and columns now.  Draws nothing. */
void line_resize(int rows, int columns);

void line_history_clear(void);
void line_history_add(const char *text);

struct line_library {
    const char *name, *version;
    const char *license; /* of a program that is built with it, as a whole */
};

const struct line_library *line_library(void);

#endif
