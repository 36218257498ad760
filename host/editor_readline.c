/* editor_readline.c - the line of host/editor_line.h by GNU readline's callback interface.
 *
 * readline reads no descriptor and touches no mode or signal: bytes come from next_byte, what it draws goes
 * into `drawn`.  A binary with this file in it is under the GPL as a whole (LICENSE).
 */
#include "host/editor_line.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <readline/history.h>
#include <readline/readline.h>

#include "host/text.h"

enum { ABORT_KEY = 7 /* Ctrl-G ends whatever command wants more keys */ };

static struct {
    const struct line_events *events;
    void *ctx;
    struct buf drawn;
    struct buf prompt; /* with colours marked for readline */
    bool hidden;
    bool searching; /* the step began in a search, whose prompt readline does not always clear away */
} line;

/* ---- streams ------------------------------------------------------------------------------------------ */

static ssize_t on_write(void *cookie, const char *bytes, size_t n)
{
    (void)cookie;
    buf_append(&line.drawn, bytes, n);
    return (ssize_t)n;
}

static int on_getc(FILE *stream)
{
    (void)stream;
    int byte = line.events->next_byte(line.ctx);
    return byte < 0 ? ABORT_KEY : byte;
}

static int on_available(void)
{
    return line.events->has_byte(line.ctx);
}

static void forget_drawn(void)
{
    fflush(rl_outstream);
    buf_clear(&line.drawn);
}

void line_take(struct buf *out)
{
    fflush(rl_outstream);
    buf_append(out, line.drawn.data, line.drawn.len);
    buf_clear(&line.drawn);
}

/* ---- keys --------------------------------------------------------------------------------------------- */

static void draw_again(void)
{
    rl_clear_visible_line();
    rl_forced_update_display();
}

static int on_enter(int count, int key)
{
    rl_point = rl_end;
    if (line.searching)
        draw_again();
    else
        rl_redisplay();
    line.events->ending(line.ctx);
    return rl_newline(count, key);
}

static int on_tab(int count, int key)
{
    (void)count, (void)key;
    line.events->tab(line.ctx);
    return 0;
}

static int on_paste(int count, int key)
{
    (void)count, (void)key;
    line.events->paste(line.ctx);
    return 0;
}

static int on_clear(int count, int key)
{
    (void)count, (void)key;
    line.events->clear_screen(line.ctx);
    return 0;
}

static void bind_keys(void)
{
    static const struct {
        const char *keys;
        rl_command_func_t *function;
    } bindings[] = {{"\\C-m", on_enter},
                    {"\\C-j", on_enter},
                    {"\\C-i", on_tab},
                    {"\\C-l", on_clear},
                    {"\\e[200~", on_paste}};
    static const char *const maps[] = {"emacs-standard", "vi-insert", "vi-command"};
    for (size_t m = 0; m < sizeof maps / sizeof maps[0]; m++) {
        Keymap map = rl_get_keymap_by_name(maps[m]);
        for (size_t i = 0; map && i < sizeof bindings / sizeof bindings[0]; i++)
            rl_bind_keyseq_in_map(bindings[i].keys, bindings[i].function, map);
    }
}

static void on_line(char *text)
{
    rl_callback_handler_remove();
    line.events->ended(line.ctx, text, text ? strlen(text) : 0);
    rl_free(text);
}

/* ---- start and end ------------------------------------------------------------------------------------ */

void line_open(int fd, const struct line_events *events, void *ctx)
{
    line.events = events;
    line.ctx = ctx;
    rl_instream = fdopen(dup(fd), "r");
    rl_outstream = fopencookie(NULL, "w", (cookie_io_functions_t){.write = on_write});
    rl_readline_name = "perigee";
    rl_getc_function = on_getc;
    rl_input_available_hook = on_available;
    rl_prep_term_function = NULL; /* the modes are host/term_modes' */
    rl_deprep_term_function = NULL;
    rl_catch_signals = 0;
    rl_catch_sigwinch = 0;
    rl_change_environment = 0; /* COLUMNS in the environment is the user's word */
    rl_initialize();
    rl_variable_bind("enable-bracketed-paste", "off"); /* it would wait for the paste's end */
    rl_variable_bind("bell-style", "none");            /* it would ring on standard error */
    rl_tty_set_echoing(1);
    bind_keys();
    using_history();
}

void line_close(void)
{
    line_drop();
    clear_history();
    fclose(rl_instream);
    fclose(rl_outstream);
    rl_instream = rl_outstream = NULL;
    buf_deinit(&line.drawn);
    buf_deinit(&line.prompt);
}

/* readline must know which bytes of the prompt take no room. */
static void mark_colors(struct buf *out, const char *prompt)
{
    buf_clear(out);
    size_t n = strlen(prompt);
    for (size_t i = 0; i < n;) {
        size_t style = text_style_len(prompt + i, n - i);
        if (style > 0) {
            buf_putc(out, RL_PROMPT_START_IGNORE);
            buf_append(out, prompt + i, style);
            buf_putc(out, RL_PROMPT_END_IGNORE);
            i += style;
        } else {
            buf_putc(out, prompt[i++]);
        }
    }
}

void line_begin(const char *prompt, const char *text, size_t point, bool hidden)
{
    mark_colors(&line.prompt, prompt);
    line.hidden = hidden;
    rl_tty_set_echoing(!hidden);
    rl_callback_handler_install(buf_str(&line.prompt), on_line);
    rl_insert_text(text);
    rl_point = (int)point;
    forget_drawn(); /* host/term says when it is shown */
}

void line_drop(void)
{
    rl_callback_sigcleanup();
    rl_free_line_state();
    rl_callback_handler_remove();
    forget_drawn();
}

void line_step(void)
{
    enum { SEARCHES = RL_STATE_ISEARCH | RL_STATE_NSEARCH };
    line.searching = RL_ISSTATE(SEARCHES);
    rl_callback_read_char();
    if (line.searching && RL_ISSTATE(RL_STATE_CALLBACK) && !RL_ISSTATE(SEARCHES)) draw_again();
}

void line_settle(void)
{
    rl_callback_sigcleanup();
}

/* ---- the text ----------------------------------------------------------------------------------------- */

const char *line_text(size_t *n)
{
    *n = (size_t)rl_end;
    return rl_line_buffer;
}

size_t line_point(void)
{
    return (size_t)rl_point;
}

void line_replace(size_t from, const char *text)
{
    rl_begin_undo_group();
    rl_delete_text((int)from, rl_point);
    rl_point = (int)from;
    rl_insert_text(text);
    rl_end_undo_group();
}

void line_to_end(void)
{
    rl_point = rl_end;
}

const char *line_prompt(void)
{
    return rl_display_prompt ? rl_display_prompt : buf_str(&line.prompt);
}

/* ---- drawing ------------------------------------------------------------------------------------------ */

void line_erase(void)
{
    rl_clear_visible_line();
}

/* The prompt of a hidden line is all there is to see of it; readline draws nothing then. */
static void draw_prompt(void)
{
    for (const char *p = buf_str(&line.prompt); *p; p++)
        if (*p != RL_PROMPT_START_IGNORE && *p != RL_PROMPT_END_IGNORE) putc(*p, rl_outstream);
}

void line_draw(void)
{
    if (line.hidden)
        draw_prompt();
    else
        rl_forced_update_display();
}

void line_refresh(void)
{
    rl_redisplay();
}

void line_resize(int rows, int columns)
{
    rl_set_screen_size(rows, columns);
}

/* ---- history ------------------------------------------------------------------------------------------ */

void line_history_clear(void)
{
    clear_history();
}

void line_history_add(const char *text)
{
    bool at_end = where_history() == history_length;
    add_history(text);
    if (at_end) using_history(); /* else a line that is being read would not see it */
}

const char *line_library(void)
{
    return "GNU readline";
}
