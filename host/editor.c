/* editor.c - whose line it is: reads, questions, keys typed ahead, pastes. */
#include "host/editor.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "host/editor_internal.h"
#include "host/editor_line.h"
#include "host/mem.h"
#include "host/signals.h"
#include "host/term_modes.h"
#include "host/text.h"

enum { TYPED_CAP = 4 * 1024 * 1024, READ_SIZE = 4096, KEY_WAIT_MS = 1000, PAUSE_MS = 1000, HOLD_MS = 300 };

static const char paste_end[] = "\x1b[201~";

static struct editor *open_editor; /* library and terminal are the process's */

/* ---- keys --------------------------------------------------------------------------------------------- */

static bool has_keys(const struct editor_keys *keys)
{
    return keys->at < keys->bytes.len;
}

static void drop_used(struct editor_keys *keys)
{
    buf_consume(&keys->bytes, keys->at);
    keys->at = 0;
}

static struct editor_keys *keys_of(struct editor *ed)
{
    return ed->active && ed->active->question ? &ed->answer : &ed->typed;
}

/* The keys typed for lines end within a paste: what comes next belongs to it, and answers no question. */
static bool ends_in_paste(const struct editor_keys *keys)
{
    static const char start[] = "\x1b[200~";
    const char *at = buf_str(&keys->bytes) + keys->at;
    const char *end = buf_str(&keys->bytes) + keys->bytes.len;
    const char *found;
    while ((found = memmem(at, (size_t)(end - at), start, sizeof start - 1)) != NULL) {
        at = memmem(found, (size_t)(end - found), paste_end, sizeof paste_end - 1);
        if (at == NULL) return true;
    }
    return false;
}

/* Takes what the terminal has.  What is beyond the cap is lost: left in the terminal it would wake the loop
 * again and again, and keep Ctrl-C behind it. */
static void read_terminal(struct editor *ed)
{
    struct editor_keys *keys = ends_in_paste(&ed->typed) ? &ed->typed : keys_of(ed);
    for (;;) {
        bool full = keys->bytes.len >= TYPED_CAP;
        ssize_t n = read(ed->fd, buf_reserve(&keys->bytes, READ_SIZE), READ_SIZE);
        if (n > 0) {
            if (full) return;
            buf_commit(&keys->bytes, (size_t)n);
            ed->last_key = uv_now(ed->poll.loop);
        } else if (n == 0 || (errno != EINTR && errno != EAGAIN && errno != EWOULDBLOCK)) {
            ed->gone = true;
            return;
        } else if (errno != EINTR) {
            return;
        }
    }
}

/* A command of the library may want a key that has not come: the loop waits for it, but not for long. */
static int next_byte_cb(void *ctx)
{
    struct editor *ed = ctx;
    struct editor_keys *keys = keys_of(ed);
    if (!has_keys(keys)) {
        struct pollfd p = {.fd = ed->fd, .events = POLLIN};
        if (poll(&p, 1, KEY_WAIT_MS) > 0) read_terminal(ed);
    }
    return has_keys(keys) ? (unsigned char)keys->bytes.data[keys->at++] : -1;
}

static bool has_byte_cb(void *ctx)
{
    return has_keys(keys_of(ctx));
}

/* ---- drawing: called by host/term --------------------------------------------------------------------- */

/* What the library has drawn goes to the terminal. */
static void echo(struct editor *ed)
{
    struct buf out = {0};
    line_take(&out);
    term_prompt_echo(ed->term, out.data, out.len);
    buf_deinit(&out);
}

/* Moves the place (cells from the start of the first row) by text as the libraries show it. */
static size_t advance(size_t cells, size_t columns, const char *text, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t style = text_style_len(text + i, n - i);
        size_t len = style ? style : buf_utf8_decode(text + i, n - i, NULL);
        unsigned char c = (unsigned char)text[i];
        if (len == 0) len = 1;
        if (style || c == 1 || c == 2) { /* marks of readline around colours */
        } else if (c == '\n') {
            cells += columns - cells % columns;
        } else if (c == '\t') {
            cells += 8 - cells % columns % 8;
        } else if (c < ' ' || c == 127) {
            cells += 2;
        } else {
            size_t width = text_width(text + i, len);
            if (width > 0 && cells % columns + width > columns) cells += columns - cells % columns;
            cells += width;
        }
        i += len;
    }
    return cells;
}

/* After a change of the width: terminals have wrapped the rows anew, so the line begins as many rows above
 * the cursor as it takes at the width of now.  (A terminal that does not wrap anew keeps remains above.) */
static void put_erase(struct editor *ed, struct buf *out)
{
    size_t n, columns = (size_t)ed->columns;
    const char *prompt = line_prompt(), *text = line_text(&n);
    size_t cells = advance(0, columns, prompt, strlen(prompt));
    if (!ed->active->hidden) cells = advance(cells, columns, text, line_point());
    if (cells / columns > 0) buf_printf(out, "\x1b[%zuA", cells / columns);
    buf_puts(out, "\r\x1b[J");
}

static void hide_cb(struct term_prompt *prompt, struct buf *out)
{
    struct editor *ed = LIST_ENTRY(prompt, struct editor, prompt);
    bool resized = editor_measure(ed);
    line_take(out);
    bool rows = strchr(line_prompt(), '\n') != NULL; /* of a question: libraries erase its last one alone */
    if (resized || rows || ed->active->hidden || !line_erase()) put_erase(ed, out);
    line_take(out);
}

static void show_cb(struct term_prompt *prompt, struct buf *out)
{
    struct editor *ed = LIST_ENTRY(prompt, struct editor, prompt);
    editor_measure(ed);
    line_draw();
    line_take(out);
}

static void on_prepare_cb(uv_prepare_t *handle)
{
    struct editor *ed = handle->data;
    uv_prepare_stop(handle);
    if (!ed->away) term_prompt_show(ed->term);
}

static void wake_cb(struct term_prompt *prompt)
{
    struct editor *ed = LIST_ENTRY(prompt, struct editor, prompt);
    uv_prepare_start(&ed->prepare, on_prepare_cb);
}

/* ---- whose turn it is --------------------------------------------------------------------------------- */

static void start(struct editor *ed, struct editor_read *read)
{
    struct buf prompt = {0};
    if (read->question) read_terminal(ed); /* what came before it was shown is no answer */
    text_escape(&prompt, buf_str(&read->prompt), read->prompt.len, true);
    ed->active = read;
    if (read->point > read->text.len) read->point = read->text.len;
    line_begin(buf_str(&prompt), buf_str(&read->text), read->point, read->hidden);
    term_prompt_set(ed->term, &ed->prompt);
    if (!ed->away) term_prompt_show(ed->term);
    buf_deinit(&prompt);
}

/* The line makes room for a question. */
static void set_aside(struct editor *ed)
{
    size_t n;
    line_settle();
    const char *text = line_text(&n);
    buf_clear(&ed->line->text);
    buf_append(&ed->line->text, text, n);
    ed->line->point = line_point();
    term_prompt_set(ed->term, NULL);
    line_drop();
    ed->active = NULL;
}

static void on_pause_cb(uv_timer_t *timer);

/* A question that comes while somebody types a line waits until they pause: what they were about to type is
 * no answer to it. */
static bool must_wait(struct editor *ed, struct editor_read *question)
{
    uint64_t idle = uv_now(ed->pause.loop) - ed->last_key;
    if (question == ed->active || idle >= PAUSE_MS || (ed->line == NULL && !question->waited)) return false;
    question->waited = true;
    uv_timer_start(&ed->pause, on_pause_cb, PAUSE_MS - idle, 0);
    return true;
}

static void take_turns(struct editor *ed)
{
    if (ed->gone || ed->pasting) return; /* the rest of a paste must answer no question */
    struct list_node *first = list_empty(&ed->questions) ? NULL : ed->questions.next;
    struct editor_read *next = first ? LIST_ENTRY(first, struct editor_read, node) : ed->line;
    if (first && must_wait(ed, next)) next = ed->line;
    if (next == NULL || next == ed->active || (ed->active && ed->active->question)) return;
    if (ed->active) set_aside(ed);
    start(ed, next);
}

/* Takes the read out; whoever is next has the terminal. */
static void leave(struct editor *ed, struct editor_read *read)
{
    if (read->question) {
        list_remove(&read->node);
    } else {
        ed->line = NULL;
    }
    if (read != ed->active) return;
    ed->active = NULL;
    ed->over = ed->pasting = ed->held = false;
    buf_clear(&ed->paste);
    drop_used(&ed->answer);
    buf_append(&ed->typed.bytes, ed->answer.bytes.data, ed->answer.bytes.len);
    buf_clear(&ed->answer.bytes);
}

/* The active read has ended: what it shows stays, the bytes end its last row. */
static void conclude(struct editor *ed, const char *bytes)
{
    struct editor_read *read = ed->active;
    struct buf out = {0};
    line_take(&out);
    buf_puts(&out, bytes);
    term_prompt_done(ed->term, buf_str(&out), out.len);
    term_prompt_set(ed->term, NULL);
    buf_deinit(&out);
    leave(ed, read);
    read->done(read);
    take_turns(ed);
}

/* Nobody will type any more. */
static void end_all(struct editor *ed, enum editor_end end)
{
    if (ed->active) {
        term_prompt_set(ed->term, NULL);
        line_drop();
    }
    while (ed->line || !list_empty(&ed->questions)) {
        struct editor_read *read = ed->line;
        if (read == NULL) read = LIST_ENTRY(ed->questions.next, struct editor_read, node);
        read->end = end;
        leave(ed, read);
        read->done(read);
    }
}

/* ---- what the library says ---------------------------------------------------------------------------- */

static void ending_cb(void *ctx)
{
    struct editor *ed = ctx;
    echo(ed);
    term_prompt_lift(ed->term);
}

static void ended_cb(void *ctx, const char *text, size_t n)
{
    struct editor *ed = ctx;
    ed->over = true;
    ed->active->end = text ? EDITOR_TEXT : EDITOR_EOF;
    buf_clear(&ed->active->text);
    buf_append(&ed->active->text, text, n);
}

static void tab_cb(void *ctx)
{
    editor_tab_pressed(ctx);
}

static void paste_cb(void *ctx)
{
    struct editor *ed = ctx;
    ed->pasting = true;
}

static void clear_screen_cb(void *ctx)
{
    struct editor *ed = ctx;
    echo(ed); /* of the keys before it */
    term_clear(ed->term);
}

static const struct line_events line_events = {.next_byte = next_byte_cb,
                                               .has_byte = has_byte_cb,
                                               .ending = ending_cb,
                                               .ended = ended_cb,
                                               .tab = tab_cb,
                                               .paste = paste_cb,
                                               .clear_screen = clear_screen_cb};

/* Lines of a paste end with \r, as Enter does; other controls would be commands. */
static void insert_paste(struct editor *ed)
{
    struct buf text = {0};
    const char *bytes = buf_str(&ed->paste);
    for (size_t i = 0; i < ed->paste.len; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c == '\r' && bytes[i + 1] == '\n') continue;
        if (c == '\r') c = '\n';
        if (c >= ' ' || c == '\n' || c == '\t') buf_putc(&text, (char)c);
    }
    buf_clear(&ed->paste);
    ed->pasting = false;
    line_settle();
    term_prompt_hide(ed->term);
    line_replace(line_point(), buf_str(&text));
    term_prompt_show(ed->term);
    buf_deinit(&text);
    take_turns(ed);
}

/* Moves pasted bytes out of the keys; false if the end has not come. */
static bool collect_paste(struct editor *ed, struct editor_keys *keys)
{
    enum { MARK = sizeof paste_end - 1 };
    buf_append(&ed->paste, keys->bytes.data + keys->at, keys->bytes.len - keys->at);
    const char *end = memmem(buf_str(&ed->paste), ed->paste.len, paste_end, MARK);
    if (end == NULL) {
        keys->at = keys->bytes.len;
        return false;
    }
    size_t behind = ed->paste.len - (size_t)(end + MARK - ed->paste.data);
    keys->at = keys->bytes.len - behind;
    ed->paste.len = (size_t)(end - ed->paste.data);
    ed->paste.data[ed->paste.len] = '\0';
    insert_paste(ed);
    return true;
}

/* Gives the keys to whoever has the terminal. */
static void feed(struct editor *ed)
{
    while (ed->active && has_keys(keys_of(ed)) && !ed->away && !ed->held) {
        struct editor_keys *keys = keys_of(ed);
        term_prompt_show(ed->term);
        if (ed->pasting)
            collect_paste(ed, keys);
        else
            line_step();
        if (ed->over) conclude(ed, ed->active->hidden || ed->active->end == EDITOR_EOF ? "\r\n" : "");
    }
    if (ed->active) echo(ed);
    drop_used(&ed->typed);
    drop_used(&ed->answer);
}

static void on_hold_cb(uv_timer_t *timer)
{
    editor_release(timer->data);
}

void editor_hold(struct editor *ed)
{
    ed->held = true;
    uv_timer_start(&ed->hold, on_hold_cb, HOLD_MS, 0);
}

void editor_release(struct editor *ed)
{
    if (!ed->held) return;
    ed->held = false;
    uv_timer_stop(&ed->hold);
    feed(ed);
}

static void on_pause_cb(uv_timer_t *timer)
{
    struct editor *ed = timer->data;
    if (ed->away) {
        uv_timer_start(timer, on_pause_cb, PAUSE_MS, 0);
        return;
    }
    read_terminal(ed);
    feed(ed);
    take_turns(ed);
}

static void on_poll_cb(uv_poll_t *handle, int status, int events)
{
    struct editor *ed = handle->data;
    (void)events;
    if (status >= 0 && signals_undelivered()) return; /* a Ctrl-C first, then the keys behind it */
    read_terminal(ed);
    feed(ed);
    if (status >= 0 && !ed->gone) return;
    ed->gone = true;
    uv_poll_stop(handle);
    end_all(ed, EDITOR_EOF);
}

void editor_listen(struct editor *ed)
{
    if (!ed->gone) uv_poll_start(&ed->poll, UV_READABLE, on_poll_cb);
}

/* ---- reads -------------------------------------------------------------------------------------------- */

void editor_begin(struct editor *ed, struct editor_read *read)
{
    read->waited = false;
    if (read->question)
        list_append(&ed->questions, &read->node);
    else
        ed->line = read;
    if (ed->gone) {
        end_all(ed, EDITOR_EOF);
        return;
    }
    take_turns(ed);
    feed(ed);
}

void editor_cancel(struct editor *ed, struct editor_read *read)
{
    bool shown = read == ed->active;
    if (shown) {
        term_prompt_set(ed->term, NULL);
        line_drop();
    }
    leave(ed, read);
    take_turns(ed);
}

void editor_drop_typed(struct editor *ed)
{
    buf_clear(&ed->typed.bytes);
    buf_clear(&ed->answer.bytes);
    ed->typed.at = ed->answer.at = 0;
    ed->dropped = true;
}

bool editor_interrupt(struct editor *ed)
{
    if (!ed->dropped) editor_drop_typed(ed);
    ed->dropped = false;
    if (ed->active == NULL) return false;
    line_settle();
    term_prompt_hide(ed->term);
    line_to_end();
    term_prompt_show(ed->term);
    ending_cb(ed);
    line_drop();
    ed->active->end = EDITOR_INTERRUPT;
    conclude(ed, "^C\r\n");
    return true;
}

bool editor_is_reading(const struct editor *ed)
{
    return ed->line != NULL;
}

void editor_history_clear(struct editor *ed)
{
    (void)ed;
    line_history_clear();
}

void editor_history_add(struct editor *ed, const char *text)
{
    (void)ed;
    line_history_add(text);
}

size_t editor_columns(struct editor *ed)
{
    struct winsize size = {0};
    if (ioctl(ed->fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
    return (size_t)ed->columns;
}

/* ---- open and close ----------------------------------------------------------------------------------- */

static int refuse(struct err *err, const char *code, const char *message)
{
    err_set(err, ERR_UNAVAILABLE, "%s", message);
    return err_set_code(err, code);
}

static int check_terminal(struct err *err)
{
    const char *type = getenv("TERM");
    if (open_editor) return refuse(err, "busy", "a line editor is open already");
    if (isatty(STDIN_FILENO) != 1 || isatty(STDOUT_FILENO) != 1)
        return refuse(err, "no_terminal", "standard input and output are not both a terminal");
    if (type == NULL || type[0] == '\0' || strcmp(type, "dumb") == 0)
        return refuse(err, "no_terminal", "lines cannot be edited on a terminal of this TERM");
    return 0;
}

static int take_terminal(struct editor *ed, const char *first_prompt, struct err *err)
{
    ed->fd = term_modes_open();
    if (ed->fd >= 0 && term_modes_take(ed->fd) == 0) {
        if (first_prompt) dprintf(ed->fd, "%s\r", first_prompt); /* the read writes the same over it */
        if (line_open(ed->fd, &line_events, ed, err) == 0) return 0;
    } else {
        err_set(err, ERR_UNAVAILABLE, "the terminal cannot be used: %s", strerror(errno));
        err_set_code(err, "no_terminal");
    }
    term_modes_close();
    if (ed->fd >= 0) close(ed->fd);
    return -1;
}

struct editor *editor_open(struct loop *loop, struct term *term, const struct editor_events *events,
                           void *ctx, const char *first_prompt, struct err *err)
{
    if (check_terminal(err) != 0) return NULL;
    struct editor *ed = mem_alloc(sizeof *ed);
    if (take_terminal(ed, first_prompt, err) != 0) {
        mem_free(ed);
        return NULL;
    }
    ed->prompt = (struct term_prompt){.hide = hide_cb, .show = show_cb, .wake = wake_cb};
    ed->term = term;
    ed->events = events;
    ed->ctx = ctx;
    list_init(&ed->questions);
    editor_measure(ed);
    uv_loop_t *uv = loop_uv(loop);
    uv_poll_init(uv, &ed->poll, ed->fd);
    uv_prepare_init(uv, &ed->prepare);
    uv_timer_init(uv, &ed->back);
    uv_timer_init(uv, &ed->hold);
    uv_timer_init(uv, &ed->pause);
    ed->poll.data = ed->prepare.data = ed->back.data = ed->hold.data = ed->pause.data = ed;
    ed->handles = 5;
    editor_listen(ed);
    editor_signals_start(ed, uv);
    open_editor = ed;
    return ed;
}

static void on_close_cb(uv_handle_t *handle)
{
    struct editor *ed = handle->data;
    if (--ed->handles > 0) return;
    close(ed->fd);
    mem_free(ed);
}

void editor_close(struct editor *ed)
{
    end_all(ed, EDITOR_CLOSED);
    line_close(); /* libedit sets modes, too */
    term_modes_close();
    open_editor = NULL;
    buf_deinit(&ed->typed.bytes);
    buf_deinit(&ed->answer.bytes);
    buf_deinit(&ed->paste);
    buf_deinit(&ed->tab.text);
    for (int i = 0; i < EDITOR_SIGNALS; i++) uv_close((uv_handle_t *)&ed->signals[i], on_close_cb);
    uv_close((uv_handle_t *)&ed->poll, on_close_cb);
    uv_close((uv_handle_t *)&ed->prepare, on_close_cb);
    uv_close((uv_handle_t *)&ed->back, on_close_cb);
    uv_close((uv_handle_t *)&ed->hold, on_close_cb);
    uv_close((uv_handle_t *)&ed->pause, on_close_cb);
}
