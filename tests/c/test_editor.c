/* test_editor.c - lines typed at a pseudo-terminal: what the reads get, and the modes before, within and
 * after. */
#include "host/editor.h"

#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "host/editor_line.h"
#include "host/mem.h"
#include "host/term.h"
#include "tests/c/harness.h"

enum { ROWS = 24, COLUMNS = 40, LIMIT_MS = 20000 };

/* ---- the program at the terminal: says what it reads; SIGUSR1 is Ctrl-C, SIGUSR2 asks a question
 * ------------ */

struct program {
    struct loop *loop;
    uv_timer_t ticker; /* prints a line each 10 ms, once "tick" was typed */
    struct editor *editor;
    struct editor_read line, question;
    uv_signal_t signals[2];
    unsigned asked;
};

static struct program program;

static void say(const char *what, const char *text)
{
    struct buf out = {0};
    buf_printf(&out, "%s <%s>\n", what, text);
    term_write(term_process(), TERM_OUT, buf_str(&out), out.len);
    buf_deinit(&out);
}

static void quit(void)
{
    editor_close(program.editor);
    program.editor = NULL;
    for (int i = 0; i < 2; i++) uv_close((uv_handle_t *)&program.signals[i], NULL);
    uv_close((uv_handle_t *)&program.ticker, NULL);
    loop_stop(program.loop);
}

static void on_tick_cb(uv_timer_t *timer)
{
    (void)timer;
    say("TICK", "");
}

static void on_line(struct editor_read *read)
{
    static const char *const names[] = {[EDITOR_TEXT] = "line",
                                        [EDITOR_EOF] = "eof",
                                        [EDITOR_INTERRUPT] = "interrupt",
                                        [EDITOR_CLOSED] = "closed"};
    const char *text = buf_str(&read->text);
    say(names[read->end], read->end == EDITOR_TEXT ? text : "");
    if (read->end == EDITOR_TEXT && strcmp(text, "abort") == 0) abort();
    if (read->end == EDITOR_TEXT && strcmp(text, "leave") == 0) {
        term_leave();
        _exit(9);
    }
    if (strcmp(text, "tick") == 0) uv_timer_start(&program.ticker, on_tick_cb, 10, 10);
    editor_history_add(program.editor, text);
    buf_clear(&read->text);
}

static void on_answer(struct editor_read *read)
{
    say("answer", read->end == EDITOR_TEXT ? buf_str(&read->text) : "none");
    buf_clear(&read->text);
}

static void on_signal_cb(uv_signal_t *handle, int signum)
{
    (void)handle;
    if (signum == SIGUSR1) {
        say("interrupted", editor_interrupt(program.editor) ? "yes" : "no");
    } else {
        program.question.question = true;
        program.question.done = on_answer;
        buf_clear(&program.question.prompt);
        buf_puts(&program.question.prompt, "Sure? ");
        editor_begin(program.editor, &program.question);
        say("asked", "");
    }
}

static void on_tab(void *ctx)
{
    (void)ctx;
}

static int run(void)
{
    static const struct editor_events events = {.tab = on_tab};
    static const int signals[] = {SIGUSR1, SIGUSR2};
    struct err err;
    program.loop = loop_new();
    program.editor = editor_open(program.loop, term_process(), &events, NULL, NULL, &err);
    if (program.editor == NULL) return 2;
    if (editor_open(program.loop, term_process(), &events, NULL, NULL, &err) || strcmp(err.code, "busy") != 0)
        return 3;
    for (int i = 0; i < 2; i++) {
        uv_signal_init(loop_uv(program.loop), &program.signals[i]);
        uv_signal_start(&program.signals[i], on_signal_cb, signals[i]);
    }
    uv_timer_init(loop_uv(program.loop), &program.ticker);
    buf_puts(&program.line.prompt, "\x1b[1mL>\x1b[0m ");
    program.line.done = on_line;
    program.line.end = EDITOR_TEXT;
    while (program.line.end != EDITOR_EOF) {
        if (!editor_is_reading(program.editor)) editor_begin(program.editor, &program.line);
        if (program.line.end != EDITOR_EOF && editor_is_reading(program.editor)) {
            loop_turn(program.loop);
            struct pollfd p = {.fd = uv_backend_fd(loop_uv(program.loop)), .events = POLLIN};
            poll(&p, 1, 20);
        }
    }
    quit();
    buf_deinit(&program.line.prompt);
    buf_deinit(&program.line.text);
    buf_deinit(&program.question.prompt);
    buf_deinit(&program.question.text);
    return loop_free(program.loop) == 0 ? 0 : 4;
}

/* ---- the person ------------------------------------------------------------------------------------------
 */

struct person {
    pid_t pid;
    int fd;
    struct buf seen;
    size_t read_to; /* what was expected so far ends here */
};

static void sit_down(struct person *person)
{
    struct winsize size = {.ws_row = ROWS, .ws_col = COLUMNS};
    *person = (struct person){0};
    fflush(stdout);
    person->pid = forkpty(&person->fd, NULL, NULL, &size);
    if (person->pid != 0) return;
    setenv("TERM", "xterm", 1);
    setenv("INPUTRC", "/dev/null", 1);
    exit(run());
}

static void type(const struct person *person, const char *keys)
{
    CHECK(write(person->fd, keys, strlen(keys)) == (ssize_t)strlen(keys));
}

/* Waits until the terminal was sent text, after what was expected before. */
static bool expect(struct person *person, const char *text)
{
    for (;;) {
        const char *at = strstr(buf_str(&person->seen) + person->read_to, text);
        if (at) {
            person->read_to = (size_t)(at - person->seen.data) + strlen(text);
            return true;
        }
        struct pollfd p = {.fd = person->fd, .events = POLLIN};
        ssize_t n = poll(&p, 1, LIMIT_MS) > 0 ? read(person->fd, buf_reserve(&person->seen, 4096), 4096) : 0;
        if (n <= 0) {
            printf("# never came: %s\n# came: %s\n", text, buf_str(&person->seen) + person->read_to);
            return false;
        }
        buf_commit(&person->seen, (size_t)n);
    }
}

static bool is_cooked(const struct person *person)
{
    struct termios modes;
    return tcgetattr(person->fd, &modes) == 0 && (modes.c_lflag & (ICANON | ECHO)) == (ICANON | ECHO);
}

/* Its exit status, or 128 and the signal. */
static int stand_up(struct person *person)
{
    int status = 0;
    while (read(person->fd, buf_reserve(&person->seen, 4096), 4096) > 0) {
    }
    waitpid(person->pid, &status, 0);
    close(person->fd);
    buf_deinit(&person->seen);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void test_lines(void)
{
    struct person p;
    sit_down(&p);
    CHECK(expect(&p, "\x1b[1mL>\x1b[0m "));
    CHECK(!is_cooked(&p));
    type(&p, "one\r");
    CHECK(expect(&p, "line <one>\r\n"));
    type(&p, "\xe4\xbd\xa0\xe5\xa5\xbdx\x1b[D\x7f!\r"); /* 你好x, left, backspace */
    CHECK(expect(&p, "line <\xe4\xbd\xa0!x>"));
    type(&p, "\x1b[A\x1b[A\r");
    CHECK(expect(&p, "line <one>"));
    if (strcmp(line_library()->name, "libedit") != 0) { /* which cannot search */
        type(&p, "\x12ne\x1b[C2\r");                    /* Ctrl-R, an arrow ends the search */
        CHECK(expect(&p, "line <on2e>"));
    }
    type(&p, "\x1b[200~a\tb\rc\x1b[20");
    type(&p, "1~d\r");
    CHECK(expect(&p, "line <a\tb\r\ncd>"));
    type(&p, "half");
    CHECK(expect(&p, "half"));
    kill(p.pid, SIGUSR1);
    CHECK(expect(&p, "^C"));
    CHECK(expect(&p, "interrupt <>\r\n"));
    CHECK(expect(&p, "interrupted <yes>\r\n"));
    kill(p.pid, SIGTSTP); /* of a group without a parent: it is not stopped, but lets go and takes again */
    CHECK(expect(&p, "\x1b[?2004l"));
    CHECK(expect(&p, "\x1b[?2004h"));
    type(&p, "x\x04\x7f\x04");
    CHECK(expect(&p, "eof <>"));
    CHECK(expect(&p, "\x1b[?2004l"));
    CHECK_INT(stand_up(&p), 0);
}

static void test_questions(void)
{
    struct person p;
    sit_down(&p);
    CHECK(expect(&p, "L>"));
    type(&p, "abc\x1b[D");
    CHECK(expect(&p, "c"));
    kill(p.pid, SIGUSR2);
    CHECK(expect(&p, "Sure? "));
    type(&p, "yes\r");
    CHECK(expect(&p, "answer <yes>\r\n"));
    CHECK(expect(&p, "abc"));
    type(&p, "X\r");
    CHECK(expect(&p, "line <abXc>"));
    /* it waits for who is typing */
    type(&p, "t = ");
    CHECK(expect(&p, "t = "));
    kill(p.pid, SIGUSR2);
    CHECK(expect(&p, "asked"));
    type(&p, "yes\r");
    CHECK(expect(&p, "line <t = yes>"));
    CHECK(expect(&p, "Sure? "));
    type(&p, "no\r");
    CHECK(expect(&p, "answer <no>"));
    /* a question within a paste waits for its end */
    type(&p, "\x1b[200~first\ryes\r");
    kill(p.pid, SIGUSR2);
    type(&p, "yes\ryes\r\x1b[201~");
    CHECK(expect(&p, "Sure? "));
    type(&p, "no\r");
    CHECK(expect(&p, "answer <no>"));
    kill(p.pid, SIGUSR2);
    CHECK(expect(&p, "Sure? "));
    kill(p.pid, SIGUSR1);
    CHECK(expect(&p, "^C"));
    CHECK(expect(&p, "answer <none>"));
    CHECK(expect(&p, "interrupted <yes>"));
    type(&p, "\r");
    CHECK(expect(&p, "line <first\r\nyes\r\nyes\r\nyes\r\n>"));
    type(&p, "\x04");
    CHECK(expect(&p, "eof"));
    CHECK_INT(stand_up(&p), 0);
}

/* A key is echoed with the next lines, however busy the machine is: it does not wait behind them. */
static void test_echo(void)
{
    enum { KEYS = 60, MOST_LINES = 10 };
    struct person p;
    int late = 0;
    sit_down(&p);
    CHECK(expect(&p, "L>"));
    type(&p, "tick\r");
    CHECK(expect(&p, "TICK"));
    for (int i = 0; i < KEYS; i++) {
        char key[2] = {(char)('a' + i % 7), '\0'};
        if (i % 7 == 0) type(&p, "\x15");
        CHECK(expect(&p, "TICK"));
        size_t from = p.read_to;
        type(&p, key);
        CHECK(expect(&p, key));
        int lines = 0;
        for (const char *at = p.seen.data + from; (at = strstr(at, "TICK")) && at < p.seen.data + p.read_to;
             at++)
            lines++;
        late += lines > MOST_LINES;
    }
    CHECK_INT(late, 0);
    type(&p, "\x15\x04");
    CHECK(expect(&p, "eof"));
    CHECK_INT(stand_up(&p), 0);
}

/* However it ends, the terminal is as it was. */
static void test_ways_out(void)
{
    static const struct {
        const char *keys;
        int status;
    } ways[] = {{"abort\r", 128 + SIGABRT}, {"leave\r", 9}, {"\x04", 0}};
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        struct person p;
        sit_down(&p);
        CHECK(expect(&p, "L>"));
        CHECK(!is_cooked(&p));
        type(&p, ways[i].keys);
        CHECK(expect(&p, "\x1b[?2004l"));
        struct termios modes;
        for (int wait = 0; wait < LIMIT_MS && tcgetattr(p.fd, &modes) == 0 && !is_cooked(&p); wait++)
            poll(NULL, 0, 1);
        CHECK(is_cooked(&p));
        CHECK_INT(stand_up(&p), ways[i].status);
    }
}

/* The terminal goes away under a line. */
static void test_hangup(void)
{
    struct person p;
    int status = 0;
    sit_down(&p);
    CHECK(expect(&p, "L>"));
    signal(SIGHUP, SIG_IGN);
    close(p.fd);
    waitpid(p.pid, &status, 0);
    CHECK(WIFEXITED(status) ? WEXITSTATUS(status) == 0 : WTERMSIG(status) == SIGHUP);
    buf_deinit(&p.seen);
}

int main(void)
{
    struct err err;
    unsetenv("TERM");
    CHECK(editor_open(NULL, NULL, NULL, NULL, NULL, &err) == NULL);
    CHECK_STR(err.code, "no_terminal");
    test_lines();
    test_questions();
    test_echo();
    test_ways_out();
    test_hangup();
    HARNESS_END();
}
