/* editor_libedit.c - the line of host/editor_line.h by libedit, one key at a time.
 *
 * Built instead of editor_readline.c by `make LINE_EDITOR=libedit`.  Keys that want more keys (a search, a
 * quoted character) would hold the loop up: they are unbound.
 */
#include "host/editor_line.h"

#include <fcntl.h>
#include <histedit.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#include "host/text.h"

#define AS_TEXT_(x) #x
#define AS_TEXT(x)  AS_TEXT_(x)

enum { MARK = 1, ABORT_KEY = 7, HISTORY_SIZE = 10000 };

static struct {
    const struct line_events *events;
    void *ctx;
    EditLine *el;
    History *history;
    FILE *in, *out;
    struct buf drawn;
    struct buf prompt; /* with colours marked for libedit */
    size_t head;       /* bytes of its upper rows, which libedit would draw in one: they are drawn here */
    bool hidden;
    bool entered, ended; /* what the last key did */
} line;

/* ---- streams ------------------------------------------------------------------------------------------ */

static ssize_t on_write(void *cookie, const char *bytes, size_t n)
{
    (void)cookie;
    if (!line.hidden) buf_append(&line.drawn, bytes, n);
    return (ssize_t)n;
}

static int on_getc(EditLine *el, wchar_t *out)
{
    (void)el;
    mbstate_t state = {0};
    for (;;) {
        int byte = line.events->next_byte(line.ctx);
        char c = (char)(byte < 0 ? ABORT_KEY : byte);
        size_t used = mbrtowc(out, &c, 1, &state);
        if (used == (size_t)-2 && byte >= 0) continue;
        if (used > 1) *out = byte < 0 ? ABORT_KEY : L'?';
        return 1;
    }
}

static void forget_drawn(void)
{
    fflush(line.out);
    buf_clear(&line.drawn);
}

void line_take(struct buf *out)
{
    fflush(line.out);
    buf_append(out, line.drawn.data, line.drawn.len);
    buf_clear(&line.drawn);
}

static char *on_prompt(EditLine *el)
{
    static char none[1];
    (void)el;
    return line.prompt.data ? line.prompt.data + line.head : none;
}

/* ---- keys --------------------------------------------------------------------------------------------- */

static unsigned char on_enter(EditLine *el, int key)
{
    (void)el, (void)key;
    line.entered = true;
    line_to_end();
    return CC_CURSOR;
}

static unsigned char on_eof(EditLine *el, int key)
{
    const LineInfo *info = el_line(el);
    (void)key;
    line.ended = info->lastchar == info->buffer;
    if (info->cursor == info->lastchar) return CC_NORM;
    el_cursor(el, 1);
    el_deletestr(el, 1);
    return CC_REFRESH;
}

static unsigned char on_tab(EditLine *el, int key)
{
    (void)el, (void)key;
    line.events->tab(line.ctx);
    return CC_NORM;
}

static unsigned char on_paste(EditLine *el, int key)
{
    (void)el, (void)key;
    line.events->paste(line.ctx);
    return CC_NORM;
}

static unsigned char on_clear(EditLine *el, int key)
{
    (void)el, (void)key;
    line.events->clear_screen(line.ctx);
    return CC_NORM;
}

static void bind_keys(void)
{
    static const struct {
        const char *keys, *name;
        unsigned char (*function)(EditLine *, int);
    } bindings[] = {{"^M", "perigee-enter", on_enter}, {"^J", "perigee-enter", on_enter},
                    {"^I", "perigee-tab", on_tab},     {"^D", "perigee-eof", on_eof},
                    {"^L", "perigee-clear", on_clear}, {"\\e[200~", "perigee-paste", on_paste}};
    static const char *const more[] = {"^R", "^S", "^V", "^Q"};
    for (size_t i = 0; i < sizeof bindings / sizeof bindings[0]; i++) {
        el_set(line.el, EL_ADDFN, bindings[i].name, "", bindings[i].function);
        el_set(line.el, EL_BIND, bindings[i].keys, bindings[i].name, NULL);
    }
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++) el_set(line.el, EL_BIND, "-r", more[i], NULL);
}

/* ---- start and end ------------------------------------------------------------------------------------ */

int line_open(int fd, const struct line_events *events, void *ctx, struct err *err)
{
    HistEvent event;
    line.events = events;
    line.ctx = ctx;
    line.in = fdopen(fcntl(fd, F_DUPFD_CLOEXEC, 0), "r"); /* not for children */
    line.out = fopencookie(NULL, "w", (cookie_io_functions_t){.write = on_write});
    line.el = line.in ? el_init_fd("perigee", line.in, line.out, line.out, fd, fd, fd) : NULL;
    line.history = line.el ? history_init() : NULL;
    if (line.history == NULL) {
        if (line.el) el_end(line.el);
        if (line.in) fclose(line.in);
        fclose(line.out);
        err_set(err, ERR_UNAVAILABLE, "lines cannot be edited: libedit does not start");
        return err_set_code(err, "no_library");
    }
    history(line.history, &event, H_SETSIZE, HISTORY_SIZE);
    el_set(line.el, EL_EDITOR, "emacs");
    el_set(line.el, EL_HIST, history, line.history);
    el_wset(line.el, EL_GETCFN, on_getc);
    el_set(line.el, EL_PROMPT_ESC, on_prompt, MARK);
    el_set(line.el, EL_SETTY, "-d", "+isig", "-ixon", NULL);
    bind_keys();
    el_set(line.el, EL_UNBUFFERED, 1);
    el_source(line.el, NULL); /* ~/.editrc */
    return 0;
}

void line_close(void)
{
    el_end(line.el);
    history_end(line.history);
    fclose(line.in);
    fclose(line.out);
    buf_deinit(&line.drawn);
    buf_deinit(&line.prompt);
}

/* libedit must know which bytes of the prompt take no room. */
static void mark_colors(struct buf *out, const char *prompt)
{
    size_t n = strlen(prompt);
    buf_clear(out);
    for (size_t i = 0; i < n;) {
        size_t style = text_style_len(prompt + i, n - i);
        if (style > 0) buf_putc(out, MARK);
        buf_append(out, prompt + i, style > 0 ? style : 1);
        if (style > 0) buf_putc(out, MARK);
        i += style > 0 ? style : 1;
    }
}

static int characters(const char *text, size_t n)
{
    int count = 0;
    for (size_t i = 0; i < n; i++) count += ((unsigned char)text[i] & 0xC0) != 0x80;
    return count;
}

/* An empty line at the end of the history.  libedit sets the modes of before for a moment, then its own,
 * which are those of host/term_modes. */
static void start_anew(void)
{
    el_set(line.el, EL_UNBUFFERED, 0);
    el_set(line.el, EL_UNBUFFERED, 1);
}

void line_begin(const char *prompt, const char *text, size_t point, bool hidden)
{
    mark_colors(&line.prompt, prompt);
    const char *last = memrchr(buf_str(&line.prompt), '\n', line.prompt.len);
    line.head = last ? (size_t)(last + 1 - line.prompt.data) : 0;
    line.hidden = hidden;
    start_anew();
    if (text[0] != '\0') el_insertstr(line.el, text);
    el_cursor(line.el, -characters(text + point, strlen(text) - point));
    forget_drawn(); /* host/term says when it is shown */
}

void line_drop(void)
{
    start_anew();
    forget_drawn();
}

void line_step(void)
{
    int n;
    line.entered = line.ended = false;
    el_wgets(line.el, &n);
    if (line.entered) {
        struct buf text = {0};
        size_t len;
        const char *bytes = line_text(&len);
        buf_append(&text, bytes, len);
        line.events->ending(line.ctx);
        if (!line.hidden) buf_puts(&line.drawn, "\r\n");
        line.events->ended(line.ctx, buf_str(&text), text.len);
        buf_deinit(&text);
    } else if (line.ended) {
        line.events->ended(line.ctx, NULL, 0);
    }
}

void line_settle(void)
{
}

/* ---- the text ----------------------------------------------------------------------------------------- */

const char *line_text(size_t *n)
{
    const LineInfo *info = el_line(line.el);
    *n = (size_t)(info->lastchar - info->buffer);
    return info->buffer;
}

size_t line_point(void)
{
    const LineInfo *info = el_line(line.el);
    return (size_t)(info->cursor - info->buffer);
}

void line_replace(size_t from, const char *text)
{
    const LineInfo *info = el_line(line.el);
    size_t point = (size_t)(info->cursor - info->buffer);
    if (point > from) el_deletestr(line.el, characters(info->buffer + from, point - from));
    if (text[0] != '\0') el_insertstr(line.el, text);
}

void line_to_end(void)
{
    const LineInfo *info = el_line(line.el);
    el_cursor(line.el, characters(info->cursor, (size_t)(info->lastchar - info->cursor)));
}

const char *line_prompt(void)
{
    return buf_str(&line.prompt);
}

/* ---- drawing ------------------------------------------------------------------------------------------ */

bool line_erase(void)
{
    return false;
}

static void draw_prompt(const char *from, const char *to)
{
    for (; from < to; from++) {
        if (*from == '\n') buf_putc(&line.drawn, '\r');
        if (*from != MARK) buf_putc(&line.drawn, *from);
    }
}

void line_draw(void)
{
    const char *prompt = buf_str(&line.prompt);
    draw_prompt(prompt, prompt + line.head);
    if (line.hidden)
        draw_prompt(prompt + line.head, prompt + line.prompt.len);
    else
        el_set(line.el, EL_REFRESH);
}

void line_resize(int rows, int columns)
{
    (void)rows, (void)columns;
    el_resize(line.el); /* asks the terminal */
    forget_drawn();
}

/* ---- history ------------------------------------------------------------------------------------------ */

void line_history_clear(void)
{
    HistEvent event;
    history(line.history, &event, H_CLEAR);
}

void line_history_add(const char *text)
{
    HistEvent event;
    history(line.history, &event, H_ENTER, text);
}

const struct line_library *line_library(void)
{
    static const struct line_library library = {"libedit", AS_TEXT(LIBEDIT_MAJOR) "." AS_TEXT(LIBEDIT_MINOR),
                                                "MIT"};
    return &library;
}
