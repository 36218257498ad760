/* editor_signals.c - the terminal changes hands or size: SIGTSTP, SIGCONT, SIGWINCH; and Ctrl-C, as far as it
 * concerns what was typed (what else it does is said by who calls editor_interrupt). */
#include <signal.h>
#include <sys/ioctl.h>

#include "host/editor_internal.h"
#include "host/editor_line.h"
#include "host/term_modes.h"

enum { DEFAULT_ROWS = 24, DEFAULT_COLUMNS = 80, BACK_MS = 300 };

bool editor_measure(struct editor *ed)
{
    struct winsize size = {0};
    if (ioctl(ed->fd, TIOCGWINSZ, &size) != 0) size = (struct winsize){0};
    int rows = size.ws_row > 0 ? size.ws_row : DEFAULT_ROWS;
    int columns = size.ws_col > 0 ? size.ws_col : DEFAULT_COLUMNS;
    if (rows == ed->rows && columns == ed->columns) return false;
    ed->rows = rows;
    ed->columns = columns;
    line_resize(rows, columns);
    return true;
}

/* The terminal is ours again, if it is: after `bg` it is not, and no signal tells of a later `fg`. */
static void come_back(struct editor *ed);

static void on_back_cb(uv_timer_t *timer)
{
    come_back(timer->data);
}

static void come_back(struct editor *ed)
{
    ed->away = !term_modes_mine(ed->fd) || term_modes_take(ed->fd) != 0;
    if (ed->away) {
        uv_poll_stop(&ed->poll); /* what is typed is for others; to read it would stop the process again */
        uv_timer_start(&ed->back, on_back_cb, BACK_MS, 0);
        return;
    }
    editor_listen(ed);
    editor_measure(ed);
    term_restart(ed->term);
}

/* Stops the process as the key would have done without us. */
static void stop(struct editor *ed)
{
    struct sigaction ours, stops = {.sa_handler = SIG_DFL};
    ed->away = true;
    term_prompt_hide(ed->term);
    uv_poll_stop(&ed->poll);
    term_modes_restore();
    sigaction(SIGTSTP, &stops, &ours);
    raise(SIGTSTP);
    sigaction(SIGTSTP, &ours, NULL);
    come_back(ed);
}

static void on_signal_cb(uv_signal_t *handle, int signum)
{
    struct editor *ed = handle->data;
    if (signum == SIGTSTP) {
        stop(ed);
    } else if (signum == SIGCONT) {
        come_back(ed);
    } else if (signum == SIGINT) {
        editor_drop_typed(ed);
        if (ed->active) editor_hold(ed); /* what follows is for the next line */
    } else if (signum == SIGWINCH && !ed->away) {
        term_live_redraw(ed->term);
    }
}

void editor_signals_start(struct editor *ed, uv_loop_t *loop)
{
    static const int signals[EDITOR_SIGNALS] = {
        [EDITOR_WINCH] = SIGWINCH, [EDITOR_TSTP] = SIGTSTP, [EDITOR_CONT] = SIGCONT, [EDITOR_INT] = SIGINT};
    for (int i = 0; i < EDITOR_SIGNALS; i++) {
        uv_signal_init(loop, &ed->signals[i]);
        ed->signals[i].data = ed;
        ed->handles++;
        uv_signal_start(&ed->signals[i], on_signal_cb, signals[i]);
        uv_unref((uv_handle_t *)&ed->signals[i]);
    }
}
