/* editor_internal.h - the struct behind host/editor.h, for its parts only. */
#ifndef PERIGEE_EDITOR_INTERNAL_H
#define PERIGEE_EDITOR_INTERNAL_H

#include <uv.h>

#include "host/editor.h"

/* Bytes typed and not yet used. */
struct editor_keys {
    struct buf bytes;
    size_t at;
};

/* A Tab and how far it got. */
struct editor_tab {
    unsigned long number; /* 0: none */
    struct buf text;
    size_t point;
    bool again; /* pressed a second time: what is possible is listed */
    bool fresh; /* nobody has been told */
    bool open;  /* not answered */
};

enum { EDITOR_WINCH, EDITOR_TSTP, EDITOR_CONT, EDITOR_INT, EDITOR_SIGNALS };

struct editor {
    struct term_prompt prompt;
    struct term *term;
    const struct editor_events *events;
    void *ctx;
    int fd; /* of an open file of its own: what is set on it is not set for the parent shell */
    uv_poll_t poll;
    uv_prepare_t prepare; /* draws the prompt again before the loop waits */
    uv_timer_t back;      /* while others have the terminal: looks whether it is ours again */
    uv_timer_t hold;      /* bounds `held` */
    uv_timer_t pause;     /* a question waits until nobody types */
    uint64_t last_key;    /* when one came, in the loop's milliseconds */
    uv_signal_t signals[EDITOR_SIGNALS];
    int handles; /* open ones */
    int rows, columns;
    struct editor_read *line;   /* the one that is no question; NULL: none */
    struct editor_read *active; /* the one on the screen */
    struct list_node questions;
    struct editor_keys typed;  /* for lines */
    struct editor_keys answer; /* for the question on the screen */
    struct buf paste;
    bool pasting; /* the end of a paste has not come */
    bool held;    /* keys wait for what a Tab or Ctrl-C before them does */
    bool dropped; /* Ctrl-C was pressed, and what was typed before it is gone */
    bool over;    /* the active read has ended */
    bool away;    /* the process was stopped, or is in the background: the terminal is not ours */
    bool gone;    /* the terminal is no more */
    struct editor_tab tab;
};

/* The line on the screen is this one, not a question. */
static inline bool editor_has_line(const struct editor *ed)
{
    return ed->active != NULL && ed->active == ed->line;
}

/* What is typed from now on waits until the key before it has had its effect, but not for long. */
void editor_hold(struct editor *ed);
void editor_release(struct editor *ed);

/* Ctrl-C was pressed: forgets what was typed before it. */
void editor_drop_typed(struct editor *ed);

/* Keys come as events again. */
void editor_listen(struct editor *ed);

/* Signals of the terminal: size, stop, continue (host/editor_signals.c). */
void editor_signals_start(struct editor *ed, uv_loop_t *loop);

/* Reads the size of the terminal; true if it is another one than before. */
bool editor_measure(struct editor *ed);

/* Tab was pressed (host/editor_complete.c). */
void editor_tab_pressed(struct editor *ed);

#endif
