/* term.c - writing lines above live lines and prompt, safely. */
#include "host/term.h"

#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "host/mem.h"
#include "host/term_modes.h"
#include "host/text.h"

enum { DEFAULT_COLUMNS = 80, LEAST_COLUMNS = 20, MOST_COLUMNS = 10000, PARTIAL_CAP = 4096 };

struct stream {
    int fd;
    bool tty;
    bool color;
    bool gone; /* the reader has closed its end */
};

struct term {
    struct stream streams[2];
    bool utf8;
    bool cursor; /* standard error is a terminal whose cursor moves */
    bool progress;
    bool quiet;
    struct list_node lives;
    /* The line that was begun on the terminal and not ended: what the live lines must not overwrite. */
    struct buf partial;
    bool partial_lost; /* it grew beyond its cap and is only known to exist */
    /* What stands below the last finished line while live lines are drawn: partial line and live lines. */
    struct buf region;
    bool drawn;
    struct term_prompt *prompt; /* NULL: no line is edited */
    bool prompted;              /* it is on the screen, below all of the above */
};

static atomic_bool blocked;
static atomic_int region_fd; /* where something unfinished stands at the bottom; 0: nowhere */

/* ---- descriptors -------------------------------------------------------------------------------------- */

/* Waits until the reader of a non-blocking descriptor (the parent shell's, often) takes more. */
static void wait_writable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    poll(&p, 1, -1);
}

static int write_all(struct stream *s, const char *bytes, size_t n)
{
    if (s->gone) return -1;
    atomic_store(&blocked, true);
    while (n > 0) {
        ssize_t written = write(s->fd, bytes, n);
        if (written >= 0) {
            bytes += written;
            n -= (size_t)written;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            wait_writable(s->fd);
        } else if (errno != EINTR) {
            s->gone = true;
            break;
        }
    }
    atomic_store(&blocked, false);
    return s->gone ? -1 : 0;
}

bool term_is_blocked(void)
{
    return atomic_load(&blocked);
}

void term_leave(void)
{
    static const char reset[] = "\x1b[0m\r\n";
    term_modes_restore();
    int fd = atomic_load(&region_fd);
    if (fd > 0 && write(fd, reset, sizeof reset - 1) < 0) return;
}

/* ---- set-up ------------------------------------------------------------------------------------------- */

/* A name in the environment that is set and not empty. */
static bool environment_has(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0';
}

/* The C locale says nothing about the terminal: containers have no LANG, and their terminals show UTF-8.
 * A locale of another character set, or LC_ALL=C asked for by name, is believed. */
static bool locale_has_utf8(void)
{
    setlocale(LC_CTYPE, "");
    if (strcmp(nl_langinfo(CODESET), "UTF-8") == 0) return true;
    if (environment_has("LC_ALL") || strcmp(setlocale(LC_CTYPE, NULL), "C") != 0) return false;
    return setlocale(LC_CTYPE, "C.UTF-8") != NULL;
}

struct term *term_new(int out_fd, int err_fd)
{
    struct term *term = mem_alloc(sizeof *term);
    const char *type = getenv("TERM");
    bool smart = type != NULL && type[0] != '\0' && strcmp(type, "dumb") != 0;
    const int fds[] = {out_fd, err_fd};
    for (int i = 0; i < 2; i++) {
        struct stream *s = &term->streams[i];
        s->fd = fds[i];
        s->tty = isatty(fds[i]) == 1;
        s->color = s->tty && smart && !environment_has("NO_COLOR");
    }
    term->utf8 = locale_has_utf8();
    term->cursor = term->streams[TERM_ERR].tty && smart;
    term->progress = true;
    list_init(&term->lives);
    return term;
}

struct term *term_process(void)
{
    static struct term *term;
    if (term == NULL) term = term_new(STDOUT_FILENO, STDERR_FILENO);
    return term;
}

bool term_is_live(const struct term *term)
{
    return term->cursor && term->progress;
}

bool term_is_tty(const struct term *term, enum term_stream stream)
{
    return term->streams[stream].tty;
}

bool term_has_color(const struct term *term, enum term_stream stream)
{
    return term->streams[stream].color;
}

bool term_has_utf8(const struct term *term)
{
    return term->utf8;
}

size_t term_columns(const struct term *term)
{
    const char *wanted = getenv("COLUMNS");
    unsigned long columns = wanted ? strtoul(wanted, NULL, 10) : 0;
    struct winsize size = {0};
    for (int i = TERM_ERR; columns == 0 && i >= TERM_OUT; i--)
        if (ioctl(term->streams[i].fd, TIOCGWINSZ, &size) == 0) columns = size.ws_col;
    if (columns == 0) columns = DEFAULT_COLUMNS;
    if (columns < LEAST_COLUMNS) return LEAST_COLUMNS;
    return columns > MOST_COLUMNS ? MOST_COLUMNS : (size_t)columns;
}

void term_set_progress(struct term *term, bool wanted)
{
    term->progress = wanted;
}

bool term_wants_progress(const struct term *term)
{
    return term->progress;
}

void term_set_quiet(struct term *term, bool quiet)
{
    term->quiet = quiet;
}

bool term_is_quiet(const struct term *term)
{
    return term->quiet;
}

/* ---- the region at the bottom --------------------------------------------------------------------------
 * While live lines exist the screen ends with: the partial line (if any), then one line for each of them,
 * the cursor behind the last.  Erasing moves up by the rows those lines take at the width of now, so that
 * a terminal that was made narrower is cleared as well. */

static size_t rows_of(const struct buf *lines, size_t columns)
{
    size_t rows = 0;
    for (size_t at = 0; at <= lines->len;) {
        const char *line = buf_str(lines) + at;
        const char *end = memchr(line, '\n', lines->len - at);
        size_t len = end ? (size_t)(end - line) : lines->len - at;
        size_t width = text_width(line, len);
        rows += width == 0 ? 1 : (width + columns - 1) / columns;
        at += len + 1;
    }
    return rows;
}

/* Where the region and the prompt are drawn: either stream, if it is the terminal. */
static enum term_stream bottom(const struct term *term)
{
    return term->cursor ? TERM_ERR : TERM_OUT;
}

static void note_region(const struct term *term)
{
    atomic_store(&region_fd, term->drawn || term->prompted ? term->streams[bottom(term)].fd : 0);
}

/* Appends what clears the end of the screen; the cursor is then where the partial line began. */
static void put_erase(struct term *term, struct buf *out)
{
    const struct buf *lines = term->drawn ? &term->region : &term->partial;
    bool prompted = term->prompted;
    term->prompted = false;
    if (prompted) term->prompt->hide(term->prompt, out);
    if (term->partial_lost) {
        if (!prompted) buf_puts(out, "\r\n");
    } else if (lines->len > 0) {
        if (prompted) buf_puts(out, "\x1b[A");
        size_t rows = rows_of(lines, term_columns(term));
        if (rows > 1) buf_printf(out, "\x1b[%zuA", rows - 1);
        buf_puts(out, "\r\x1b[J");
    }
    term->partial_lost = false;
    term->drawn = false;
}

/* Appends partial line and live lines as they are now. */
static void put_region(struct term *term, struct buf *out)
{
    struct buf *region = &term->region;
    size_t columns = term_columns(term);
    buf_clear(region);
    buf_append(region, buf_str(&term->partial), term->partial.len);
    for (struct list_node *n = term->lives.next; n != &term->lives; n = n->next) {
        struct term_live *live = LIST_ENTRY(n, struct term_live, node);
        if (region->len > 0) buf_putc(region, '\n');
        live->draw(live, columns - 1, region);
    }
    buf_append(out, buf_str(region), region->len);
    term->drawn = !list_empty(&term->lives);
    note_region(term);
}

static void flush(struct term *term, enum term_stream stream, struct buf *out)
{
    if (out->len > 0) write_all(&term->streams[stream], out->data, out->len);
    buf_clear(out);
}

static void wake_prompt(struct term *term)
{
    if (term->prompt && !term->prompted) term->prompt->wake(term->prompt);
}

void term_live_redraw(struct term *term)
{
    struct buf out = {0};
    put_erase(term, &out);
    put_region(term, &out);
    flush(term, bottom(term), &out);
    wake_prompt(term);
    buf_deinit(&out);
}

void term_live_add(struct term *term, struct term_live *live)
{
    list_append(&term->lives, &live->node);
    term_live_redraw(term);
}

void term_live_remove(struct term *term, struct term_live *live)
{
    if (!list_linked(&live->node)) return;
    list_remove(&live->node);
    term_live_redraw(term);
}

/* ---- the prompt: below the region, on rows of its own -------------------------------------------------- */

void term_prompt_set(struct term *term, struct term_prompt *prompt)
{
    term_prompt_hide(term);
    term->prompt = prompt;
}

void term_prompt_show(struct term *term)
{
    if (term->prompt == NULL || term->prompted) return;
    struct buf out = {0};
    if (term->drawn || term->partial.len > 0 || term->partial_lost) buf_puts(&out, "\r\n");
    term->prompt->show(term->prompt, &out);
    term->prompted = true;
    note_region(term);
    flush(term, bottom(term), &out);
    buf_deinit(&out);
}

/* The cursor goes back to where output goes on. */
void term_prompt_hide(struct term *term)
{
    if (!term->prompted) return;
    struct buf out = {0};
    put_erase(term, &out);
    put_region(term, &out);
    flush(term, bottom(term), &out);
    buf_deinit(&out);
}

void term_prompt_echo(struct term *term, const char *bytes, size_t n)
{
    if (n > 0) write_all(&term->streams[bottom(term)], bytes, n);
}

void term_prompt_lift(struct term *term)
{
    if (!term->prompted || !term->drawn) return;
    struct buf out = {0};
    put_erase(term, &out);
    if (term->partial.len > 0) buf_printf(&out, "%s\r\n", buf_str(&term->partial));
    term->prompt->show(term->prompt, &out);
    term->prompted = true;
    flush(term, bottom(term), &out);
    buf_deinit(&out);
}

void term_prompt_done(struct term *term, const char *bytes, size_t n)
{
    struct buf out = {0};
    buf_append(&out, bytes, n);
    term->prompted = term->drawn = term->partial_lost = false;
    buf_clear(&term->partial);
    put_region(term, &out);
    flush(term, bottom(term), &out);
    buf_deinit(&out);
}

static void start_anew(struct term *term, const char *how)
{
    struct buf out = {0};
    buf_puts(&out, how);
    term->prompted = term->drawn = term->partial_lost = false;
    put_region(term, &out);
    flush(term, bottom(term), &out);
    wake_prompt(term);
    buf_deinit(&out);
}

void term_clear(struct term *term)
{
    start_anew(term, "\x1b[H\x1b[2J");
}

void term_restart(struct term *term)
{
    start_anew(term, "\r\x1b[J");
}

/* ---- writing ------------------------------------------------------------------------------------------ */

/* Takes note of the line that the text leaves unfinished. */
bool term_has_partial(const struct term *term)
{
    return term->partial.len > 0 || term->partial_lost;
}

static void keep_partial(struct term *term, const char *text, size_t n)
{
    const char *last = memrchr(text, '\n', n);
    if (last) {
        buf_clear(&term->partial);
        term->partial_lost = false;
        n -= (size_t)(last + 1 - text);
        text = last + 1;
    }
    if (term->partial_lost) return;
    buf_append(&term->partial, text, n);
    if (term->partial.len > PARTIAL_CAP) {
        buf_clear(&term->partial);
        term->partial_lost = true;
    }
}

/* Writes above live lines and prompt: finished lines go to the screen for good, the rest joins the region. */
static int write_above(struct term *term, enum term_stream stream, const struct buf *text)
{
    struct buf out = {0};
    put_erase(term, &out);
    if (stream != bottom(term)) flush(term, bottom(term), &out);
    buf_append(&term->partial, text->data, text->len);
    const char *last = memrchr(buf_str(&term->partial), '\n', term->partial.len);
    size_t finished = last ? (size_t)(last + 1 - term->partial.data) : 0;
    bool endless = finished == 0 && term->partial.len > PARTIAL_CAP;
    if (endless) finished = term->partial.len;
    buf_append(&out, term->partial.data, finished);
    if (endless) buf_puts(&out, "\r\n");
    buf_consume(&term->partial, finished);
    if (stream != bottom(term)) flush(term, stream, &out);
    put_region(term, &out);
    flush(term, bottom(term), &out);
    buf_deinit(&out);
    return term->streams[stream].gone ? -1 : 0;
}

static int write_text(struct term *term, enum term_stream stream, const char *text, size_t n, bool styles)
{
    struct stream *s = &term->streams[stream];
    if (n == 0) return s->gone ? -1 : 0;
    if (!s->tty) return write_all(s, text, n);
    int rc;
    struct buf safe = {0};
    text_escape(&safe, text, n, styles);
    if (list_empty(&term->lives) && !term->prompted) {
        rc = write_all(s, safe.data, safe.len);
        keep_partial(term, safe.data, safe.len);
    } else {
        rc = write_above(term, stream, &safe);
        wake_prompt(term);
    }
    buf_deinit(&safe);
    return rc;
}

int term_write(struct term *term, enum term_stream stream, const char *text, size_t n)
{
    return write_text(term, stream, text, n, true);
}

int term_write_untrusted(struct term *term, enum term_stream stream, const char *text, size_t n)
{
    return write_text(term, stream, text, n, false);
}

static void write_log_cb(void *ctx, enum log_level level, const char *line, size_t n)
{
    static const char *const colors[] = {
        [LOG_LEVEL_DEBUG] = "\x1b[2m", [LOG_LEVEL_WARN] = "\x1b[33m", [LOG_LEVEL_ERROR] = "\x1b[31m"};
    struct term *term = ctx;
    if (!term_has_color(term, TERM_ERR) || level == LOG_LEVEL_INFO || n == 0) {
        term_write_untrusted(term, TERM_ERR, line, n);
        return;
    }
    struct buf colored = {0};
    buf_puts(&colored, colors[level]);
    text_escape(&colored, line, n - 1, false);
    buf_puts(&colored, "\x1b[0m\n");
    term_write(term, TERM_ERR, colored.data, colored.len);
    buf_deinit(&colored);
}

void term_take_log(struct term *term)
{
    log_set_sink(write_log_cb, term);
}

void term_free(struct term *term)
{
    if (term == NULL) return;
    while (!list_empty(&term->lives)) list_pop(&term->lives);
    term_live_redraw(term);
    buf_deinit(&term->partial);
    buf_deinit(&term->region);
    mem_free(term);
}
