/* test_term.c - the writer on pipes and on a pseudo-terminal, whose bytes a small screen interprets. */
#include "host/term.h"

#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/bar.h"
#include "host/mem.h"
#include "host/text.h"
#include "tests/c/harness.h"

enum { ROWS = 12, COLUMNS = 40 };

/* ---- a screen ----------------------------------------------------------------------------------------- */

struct screen {
    char cells[ROWS][COLUMNS + 1]; /* one byte for each cell: '?' for anything beyond ASCII */
    int row, column;
    int unknown; /* escape sequences it does not know: none may come */
    struct buf seen;
};

static void screen_clear_from(struct screen *s, int row, int column)
{
    for (int r = row; r < ROWS; r++, column = 0)
        memset(s->cells[r] + column, ' ', (size_t)(COLUMNS - column));
}

static void screen_down(struct screen *s)
{
    if (s->row + 1 < ROWS) {
        s->row++;
        return;
    }
    memmove(s->cells[0], s->cells[1], sizeof s->cells - sizeof s->cells[0]);
    memset(s->cells[ROWS - 1], ' ', COLUMNS);
}

static size_t screen_escape(struct screen *s, const char *bytes)
{
    int n = 0;
    char last = 0;
    int used = 0;
    if (sscanf(bytes, "\x1b[%d%c%n", &n, &last, &used) < 2) {
        n = 1;
        last = bytes[2];
        used = 3;
    }
    if (last == 'A')
        s->row = s->row < n ? 0 : s->row - n;
    else if (last == 'J')
        screen_clear_from(s, s->row, s->column);
    else if (last != 'm')
        s->unknown++;
    return (size_t)used;
}

static void screen_put(struct screen *s, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n;) {
        uint32_t c = 0;
        size_t len = buf_utf8_decode(bytes + i, n - i, &c);
        size_t width = text_width(bytes + i, len);
        if (c == 0x1b) {
            len = screen_escape(s, bytes + i);
        } else if (c == '\r') {
            s->column = 0;
        } else if (c == '\n') {
            screen_down(s);
        } else {
            if (s->column + (int)width > COLUMNS) {
                s->column = 0;
                screen_down(s);
            }
            for (; width > 0; width--) s->cells[s->row][s->column++] = c < 0x7f ? (char)c : '?';
        }
        i += len;
    }
}

/* The screen's lines without trailing blanks, joined by "|", without empty lines at the end. */
static const char *screen_text(struct screen *s)
{
    static struct buf out;
    buf_clear(&out);
    size_t used = 0;
    for (int r = 0; r < ROWS; r++) {
        int end = COLUMNS;
        while (end > 0 && s->cells[r][end - 1] == ' ') end--;
        if (r > 0) buf_putc(&out, '|');
        buf_append(&out, s->cells[r], (size_t)end);
        if (end > 0) used = out.len;
    }
    out.len = used;
    buf_putc(&out, '\0');
    return buf_str(&out);
}

/* ---- a terminal --------------------------------------------------------------------------------------- */

struct fixture {
    int master, slave;
    struct term *term;
    struct screen screen;
};

static void fixture_init(struct fixture *f)
{
    struct winsize size = {.ws_row = ROWS, .ws_col = COLUMNS};
    memset(f, 0, sizeof *f);
    screen_clear_from(&f->screen, 0, 0);
    if (openpty(&f->master, &f->slave, NULL, NULL, &size) != 0) abort();
    fcntl(f->master, F_SETFL, O_NONBLOCK);
    f->term = term_new(f->slave, f->slave);
}

static void fixture_deinit(struct fixture *f)
{
    term_free(f->term);
    close(f->master);
    close(f->slave);
    buf_deinit(&f->screen.seen);
}

static const char *shown(struct fixture *f)
{
    char bytes[4096];
    for (ssize_t n; (n = read(f->master, bytes, sizeof bytes - 1)) > 0;) {
        bytes[n] = '\0';
        buf_append(&f->screen.seen, bytes, (size_t)n);
        screen_put(&f->screen, bytes, (size_t)n);
    }
    return screen_text(&f->screen);
}

static void print(struct fixture *f, const char *text)
{
    term_write(f->term, TERM_OUT, text, strlen(text));
}

struct note {
    struct term_live live;
    const char *text;
};

static void draw_note_cb(struct term_live *live, size_t columns, struct buf *out)
{
    struct note *note = LIST_ENTRY(live, struct note, live);
    text_cut(out, note->text, strlen(note->text), columns);
}

/* ---- tests -------------------------------------------------------------------------------------------- */

static void test_lines_appear_above_live_lines(void)
{
    struct fixture f;
    struct note a = {{.draw = draw_note_cb}, "[a]"}, b = {{.draw = draw_note_cb}, "[b]"};
    fixture_init(&f);
    print(&f, "one\n");
    term_live_add(f.term, &a.live);
    term_live_add(f.term, &b.live);
    CHECK_STR(shown(&f), "one|[a]|[b]");
    print(&f, "two\nthree\n");
    CHECK_STR(shown(&f), "one|two|three|[a]|[b]");
    term_live_remove(f.term, &a.live);
    CHECK_STR(shown(&f), "one|two|three|[b]");
    term_live_remove(f.term, &b.live);
    term_live_remove(f.term, &b.live);
    CHECK_STR(shown(&f), "one|two|three");
    CHECK_INT(f.screen.unknown, 0);
    fixture_deinit(&f);
}

static void test_an_unfinished_line_survives(void)
{
    struct fixture f;
    struct note a = {{.draw = draw_note_cb}, "[a]"};
    fixture_init(&f);
    print(&f, "so far");
    term_live_add(f.term, &a.live);
    CHECK_STR(shown(&f), "so far|[a]");
    print(&f, "..");
    CHECK_STR(shown(&f), "so far..|[a]");
    term_write(f.term, TERM_ERR, ".done\nnext ", 11);
    CHECK_STR(shown(&f), "so far...done|next|[a]");
    term_live_remove(f.term, &a.live);
    print(&f, "end\n");
    CHECK_STR(shown(&f), "so far...done|next end");
    fixture_deinit(&f);
}

static void test_lines_wider_than_the_screen(void)
{
    struct fixture f;
    struct note a = {{.draw = draw_note_cb}, "训练训练训练训练训练训练训练训练训练训练训练训练"};
    fixture_init(&f);
    term_live_add(f.term, &a.live);
    print(&f, "0123456789012345678901234567890123456789ab");
    CHECK_STR(shown(&f),
              "0123456789012345678901234567890123456789|ab|???????????????????????????????????????");
    print(&f, "c\n");
    term_live_remove(f.term, &a.live);
    CHECK_STR(shown(&f), "0123456789012345678901234567890123456789|abc");
    fixture_deinit(&f);
}

static void test_a_line_without_end_is_kept(void)
{
    struct fixture f;
    struct note a = {{.draw = draw_note_cb}, "[a]"};
    fixture_init(&f);
    char *dots = mem_alloc(6001);
    memset(dots, '.', 6000);
    print(&f, dots);
    shown(&f);
    term_live_add(f.term, &a.live);
    const char *screen = shown(&f);
    CHECK(strstr(screen, "....|[a]") != NULL);
    print(&f, dots);
    shown(&f);
    print(&f, "x\n");
    screen = shown(&f);
    CHECK(strstr(screen, "|x|[a]") != NULL);
    mem_free(dots);
    fixture_deinit(&f);
}

static void test_escapes_do_not_reach_the_terminal(void)
{
    struct fixture f;
    fixture_init(&f);
    const char *attack = "\x1b]0;owned\a\x1b[31mred\x1b[0m\x1b[2J\n";
    term_write_untrusted(f.term, TERM_OUT, attack, strlen(attack));
    shown(&f);
    CHECK(strchr(buf_str(&f.screen.seen), '\x1b') == NULL);
    buf_clear(&f.screen.seen);
    print(&f, attack);
    shown(&f);
    CHECK(strstr(buf_str(&f.screen.seen), "\x1b[31mred\x1b[0m\\x1b[2J") != NULL);
    CHECK(strstr(buf_str(&f.screen.seen), "\x1b]") == NULL);
    fixture_deinit(&f);
}

static void test_log_lines_are_coloured_and_above(void)
{
    struct fixture f;
    struct note a = {{.draw = draw_note_cb}, "[a]"};
    fixture_init(&f);
    term_take_log(f.term);
    term_live_add(f.term, &a.live);
    log_write(LOG_LEVEL_ERROR, "x", LOG_STR("k", "\x1b[2J"));
    const char *screen = shown(&f);
    CHECK(strstr(screen, "error x") != NULL);
    CHECK(strstr(screen, "|[a]") != NULL);
    CHECK(strstr(buf_str(&f.screen.seen), "\x1b[31m") != NULL);
    CHECK_INT(f.screen.unknown, 0);
    log_set_sink(NULL, NULL);
    term_live_remove(f.term, &a.live);
    fixture_deinit(&f);
}

static void test_environment(void)
{
    struct fixture f;
    fixture_init(&f);
    CHECK(term_has_color(f.term, TERM_OUT) && term_is_live(f.term));
    CHECK_INT(term_columns(f.term), COLUMNS);
    setenv("COLUMNS", "66", 1);
    CHECK_INT(term_columns(f.term), 66);
    unsetenv("COLUMNS");
    fixture_deinit(&f);
    setenv("NO_COLOR", "1", 1);
    fixture_init(&f);
    CHECK(!term_has_color(f.term, TERM_OUT) && term_is_live(f.term));
    fixture_deinit(&f);
    unsetenv("NO_COLOR");
    setenv("TERM", "dumb", 1);
    fixture_init(&f);
    CHECK(!term_has_color(f.term, TERM_OUT) && !term_is_live(f.term) && term_is_tty(f.term, TERM_OUT));
    fixture_deinit(&f);
    setenv("TERM", "xterm", 1);
}

static void test_pipes(void)
{
    int fds[2];
    if (pipe2(fds, O_NONBLOCK) != 0) abort();
    struct term *term = term_new(fds[1], fds[1]);
    CHECK(!term_is_tty(term, TERM_OUT) && !term_has_color(term, TERM_ERR) && !term_is_live(term));
    CHECK_INT(term_write(term, TERM_OUT, "\x1b[2Jraw", 7), 0);
    char bytes[16] = {0};
    CHECK_INT(read(fds[0], bytes, sizeof bytes), 7);
    CHECK_STR(bytes, "\x1b[2Jraw");
    close(fds[0]);
    CHECK_INT(term_write(term, TERM_OUT, "x", 1), -1);
    CHECK_INT(term_write(term, TERM_OUT, "x", 1), -1);
    term_free(term);
    close(fds[1]);
}

/* A non-blocking pipe that is full: the writer waits for the reader, here a child, and loses nothing. */
static void test_a_full_pipe_is_waited_for(void)
{
    enum { SIZE = 1 << 20 };
    int fds[2];
    if (pipe(fds) != 0) abort();
    pid_t child = fork();
    if (child == 0) {
        close(fds[1]);
        size_t total = 0;
        char bytes[8192];
        for (ssize_t n; (n = read(fds[0], bytes, sizeof bytes)) > 0;) total += (size_t)n;
        _exit(total == SIZE ? 0 : 1);
    }
    close(fds[0]);
    fcntl(fds[1], F_SETFL, O_NONBLOCK);
    struct term *term = term_new(fds[1], fds[1]);
    char *bytes = mem_alloc(SIZE);
    CHECK_INT(term_write(term, TERM_OUT, bytes, SIZE), 0);
    CHECK(!term_is_blocked());
    mem_free(bytes);
    term_free(term);
    close(fds[1]);
    int status = -1;
    waitpid(child, &status, 0);
    CHECK_INT(status, 0);
}

static void test_bar_on_a_terminal(void)
{
    struct fixture f;
    fixture_init(&f);
    struct clock *clock = clock_new_virtual(0);
    setenv("COLUMNS", "40", 1);
    struct bar *bar = bar_new(f.term, NULL, clock,
                              &(struct bar_options){.label = "fan\x1b[2J", .unit = "files", .total = 4});
    CHECK(strstr(shown(&f), "fan\\x1b[2J") != NULL);
    clock_advance_to(clock, 30 * 1000);
    bar_set(bar, 1);
    const char *screen = shown(&f);
    CHECK(strstr(screen, " 25%  1 of 4 files") != NULL);
    bar_set(bar, 3);
    CHECK(strstr(shown(&f), "1 of 4 files") != NULL); /* too soon after the last */
    clock_advance_to(clock, 90 * 1000);
    bar_finish(bar, true, "1 failed");
    CHECK_STR(shown(&f), "fan\\x1b[2J: stopped at 3 of 4 files in 1| min 30 s, 1 failed");
    unsetenv("COLUMNS");
    clock_free(clock);
    fixture_deinit(&f);
}

static void test_bar_elsewhere(void)
{
    int fds[2];
    if (pipe2(fds, O_NONBLOCK) != 0) abort();
    struct term *term = term_new(fds[1], fds[1]);
    struct clock *clock = clock_new_virtual(0);
    struct bar_options options = {.label = "upload", .unit = "bytes", .total = 200e6};
    struct bar *bar = bar_new(term, NULL, clock, &options);
    for (int second = 1; second <= 100; second++) {
        clock_advance_to(clock, (uint64_t)second * 1000);
        bar_set(bar, second * 1e6);
    }
    bar_finish(bar, false, NULL);
    term_set_progress(term, false);
    bar = bar_new(term, NULL, clock, &options);
    bar_set(bar, 1);
    bar_finish(bar, false, NULL);
    char text[2048] = {0};
    CHECK(read(fds[0], text, sizeof text - 1) > 0);
    CHECK_STR(text, "upload: 10.0 MB of 200 MB (5%), 1.0 MB/s, about 3 minutes left\n"
                    "upload: 25.0 MB of 200 MB (12%), 1.0 MB/s, about 3 minutes left\n"
                    "upload: 48.0 MB of 200 MB (24%), 1.0 MB/s, about 3 minutes left\n"
                    "upload: 82.0 MB of 200 MB (41%), 1.0 MB/s, about 2 minutes left\n"
                    "upload: 100 MB of 200 MB in 1 min 40 s\n");
    clock_free(clock);
    term_free(term);
    close(fds[0]);
    close(fds[1]);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    setenv("TERM", "xterm", 1);
    unsetenv("NO_COLOR");
    unsetenv("COLUMNS");
    test_lines_appear_above_live_lines();
    test_an_unfinished_line_survives();
    test_lines_wider_than_the_screen();
    test_a_line_without_end_is_kept();
    test_escapes_do_not_reach_the_terminal();
    test_log_lines_are_coloured_and_above();
    test_environment();
    test_pipes();
    test_a_full_pipe_is_waited_for();
    test_bar_on_a_terminal();
    test_bar_elsewhere();
    HARNESS_END();
}
