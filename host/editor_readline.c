/* editor_readline.c - the line of host/editor_line.h by GNU readline's callback interface.
 *
 * The library is loaded when the first line is edited, so that no other start pays for it.  It reads no
 * descriptor and touches no mode or signal: bytes come from next_byte, what it draws goes into `drawn`.
 * A program that uses readline is under the GPL as a whole (LICENSE).
 */
#include "host/editor_line.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <readline/history.h>
#include <readline/readline.h>

#include "host/text.h"

enum { ABORT_KEY = 7 /* Ctrl-G ends whatever command wants more keys */ };

/* What is used of the library, functions and variables alike. */
/* clang-format off */
#define LIBRARY(X)                                                                                \
    X(add_history) X(clear_history) X(rl_begin_undo_group) X(rl_bind_keyseq_in_map)               \
    X(rl_callback_handler_install) X(rl_callback_handler_remove) X(rl_callback_read_char)         \
    X(rl_callback_sigcleanup) X(rl_clear_visible_line) X(rl_delete_text) X(rl_end_undo_group)     \
    X(rl_forced_update_display) X(rl_free) X(rl_free_line_state) X(rl_get_keymap_by_name)         \
    X(rl_initialize) X(rl_insert_text) X(rl_newline) X(rl_redisplay) X(rl_set_screen_size)        \
    X(rl_tty_set_echoing) X(rl_variable_bind) X(using_history) X(where_history) X(history_length) \
    X(rl_instream) X(rl_outstream) X(rl_readline_name) X(rl_getc_function)                        \
    X(rl_input_available_hook) X(rl_prep_term_function) X(rl_deprep_term_function)                \
    X(rl_catch_signals) X(rl_catch_sigwinch) X(rl_change_environment) X(rl_point) X(rl_end)       \
    X(rl_line_buffer) X(rl_display_prompt) X(rl_readline_state)
/* clang-format on */

#define POINTER(name) __typeof__(name) *name;
static struct {
    LIBRARY(POINTER)
} lib;

#define AS_TEXT_(x)  #x
#define AS_TEXT(x)   AS_TEXT_(x)
#define LIBRARY_NAME "libreadline.so." AS_TEXT(RL_VERSION_MAJOR)

static struct {
    const struct line_events *events;
    void *ctx;
    struct buf drawn;
    struct buf prompt; /* with colours marked for readline */
    bool hidden;
    bool searching; /* the step began in a search, whose prompt readline does not always clear away */
} line;

/* ---- the library -------------------------------------------------------------------------------------- */

/* It is never unloaded: it keeps the history and what the user's inputrc said. */
static int load(struct err *err)
{
#define PLACE(name) {#name, offsetof(__typeof__(lib), name)},
    static const struct {
        const char *name;
        size_t offset;
    } places[] = {LIBRARY(PLACE)};
    void *handle = dlopen(LIBRARY_NAME, RTLD_NOW | RTLD_LOCAL);
    for (size_t i = 0; handle && i < sizeof places / sizeof places[0]; i++) {
        void *address = dlsym(handle, places[i].name);
        if (address == NULL) handle = NULL;
        memcpy((char *)&lib + places[i].offset, &address, sizeof address);
    }
    if (handle) return 0;
    err_set(err, ERR_UNAVAILABLE, "lines cannot be edited: %s", dlerror());
    return err_set_code(err, "no_library");
}

static bool in_state(unsigned long states)
{
    return (*lib.rl_readline_state & states) != 0;
}

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
    fflush(*lib.rl_outstream);
    buf_clear(&line.drawn);
}

void line_take(struct buf *out)
{
    fflush(*lib.rl_outstream);
    buf_append(out, line.drawn.data, line.drawn.len);
    buf_clear(&line.drawn);
}

/* ---- keys --------------------------------------------------------------------------------------------- */

static void draw_again(void)
{
    lib.rl_clear_visible_line();
    lib.rl_forced_update_display();
}

static int on_enter(int count, int key)
{
    *lib.rl_point = *lib.rl_end;
    if (line.searching)
        draw_again();
    else
        lib.rl_redisplay();
    line.events->ending(line.ctx);
    return lib.rl_newline(count, key);
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
        Keymap map = lib.rl_get_keymap_by_name(maps[m]);
        for (size_t i = 0; map && i < sizeof bindings / sizeof bindings[0]; i++)
            lib.rl_bind_keyseq_in_map(bindings[i].keys, bindings[i].function, map);
    }
}

static void on_line(char *text)
{
    lib.rl_callback_handler_remove();
    line.events->ended(line.ctx, text, text ? strlen(text) : 0);
    lib.rl_free(text);
}

/* ---- start and end ------------------------------------------------------------------------------------ */

int line_open(int fd, const struct line_events *events, void *ctx, struct err *err)
{
    if (load(err) != 0) return -1;
    FILE *terminal = fdopen(fcntl(fd, F_DUPFD_CLOEXEC, 0), "r"); /* not for children */
    if (terminal == NULL) {
        err_set(err, ERR_UNAVAILABLE, "lines cannot be edited: %s", strerror(errno));
        return err_set_code(err, "no_library");
    }
    line.events = events;
    line.ctx = ctx;
    *lib.rl_instream = terminal;
    *lib.rl_outstream = fopencookie(NULL, "w", (cookie_io_functions_t){.write = on_write});
    *lib.rl_readline_name = "perigee";
    *lib.rl_getc_function = on_getc;
    *lib.rl_input_available_hook = on_available;
    *lib.rl_prep_term_function = NULL; /* the modes are host/term_modes' */
    *lib.rl_deprep_term_function = NULL;
    *lib.rl_catch_signals = 0;
    *lib.rl_catch_sigwinch = 0;
    *lib.rl_change_environment = 0; /* COLUMNS in the environment is the user's word */
    lib.rl_initialize();
    lib.rl_variable_bind("enable-bracketed-paste", "off"); /* it would wait for the paste's end */
    lib.rl_variable_bind("bell-style", "none");            /* it would ring on standard error */
    lib.rl_tty_set_echoing(1);
    bind_keys();
    lib.using_history();
    return 0;
}

void line_close(void)
{
    line_drop();
    lib.clear_history();
    fclose(*lib.rl_instream);
    fclose(*lib.rl_outstream);
    *lib.rl_instream = *lib.rl_outstream = NULL;
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
    lib.rl_tty_set_echoing(!hidden);
    lib.rl_callback_handler_install(buf_str(&line.prompt), on_line);
    lib.rl_insert_text(text);
    *lib.rl_point = (int)point;
    forget_drawn(); /* host/term says when it is shown */
}

void line_drop(void)
{
    lib.rl_callback_sigcleanup();
    lib.rl_free_line_state();
    lib.rl_callback_handler_remove();
    forget_drawn();
}

void line_step(void)
{
    enum { SEARCHES = RL_STATE_ISEARCH | RL_STATE_NSEARCH };
    line.searching = in_state(SEARCHES);
    lib.rl_callback_read_char();
    if (line.searching && in_state(RL_STATE_CALLBACK) && !in_state(SEARCHES)) draw_again();
}

void line_settle(void)
{
    lib.rl_callback_sigcleanup();
}

/* ---- the text ----------------------------------------------------------------------------------------- */

const char *line_text(size_t *n)
{
    *n = (size_t)*lib.rl_end;
    return *lib.rl_line_buffer;
}

size_t line_point(void)
{
    return (size_t)*lib.rl_point;
}

void line_replace(size_t from, const char *text)
{
    lib.rl_begin_undo_group();
    lib.rl_delete_text((int)from, *lib.rl_point);
    *lib.rl_point = (int)from;
    lib.rl_insert_text(text);
    lib.rl_end_undo_group();
}

void line_to_end(void)
{
    *lib.rl_point = *lib.rl_end;
}

const char *line_prompt(void)
{
    return *lib.rl_display_prompt ? *lib.rl_display_prompt : buf_str(&line.prompt);
}

/* ---- drawing ------------------------------------------------------------------------------------------ */

bool line_erase(void)
{
    lib.rl_clear_visible_line();
    return true;
}

/* The prompt of a hidden line is all there is to see of it; readline draws nothing then. */
static void draw_prompt(void)
{
    for (const char *p = buf_str(&line.prompt); *p; p++)
        if (*p != RL_PROMPT_START_IGNORE && *p != RL_PROMPT_END_IGNORE) putc(*p, *lib.rl_outstream);
}

void line_draw(void)
{
    if (line.hidden)
        draw_prompt();
    else
        lib.rl_forced_update_display();
}

void line_resize(int rows, int columns)
{
    lib.rl_set_screen_size(rows, columns);
}

/* ---- history ------------------------------------------------------------------------------------------ */

void line_history_clear(void)
{
    lib.clear_history();
}

void line_history_add(const char *text)
{
    bool at_end = lib.where_history() == *lib.history_length;
    lib.add_history(text);
    if (at_end) lib.using_history(); /* else a line that is being read would not see it */
}

const struct line_library *line_library(void)
{
    static const struct line_library library = {
        "GNU readline", AS_TEXT(RL_VERSION_MAJOR) "." AS_TEXT(RL_VERSION_MINOR), "GPL-3.0-or-later"};
    return &library;
}
