/* journal_fixture.h - a journal on a loop of its own, asked as if it answered at once.
 *
 *   ask("job.submit", "id", "a1", "price", "2 CCD", "expires_at", "#500", NULL)
 *
 * Values are text; "#5" is a number.  The name "line" adds a line to `lines`: "team day 5 CCD" or
 * "team day 5 CCD 10" with a limit.  The answer stands in `rows` and `failure` until the next question.
 */
#ifndef PERIGEE_TESTS_JOURNAL_FIXTURE_H
#define PERIGEE_TESTS_JOURNAL_FIXTURE_H

#include "harness.h"

#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "host/clock.h"
#include "host/journal.h"
#include "host/log.h"
#include "host/loop.h"
#include "host/mem.h"
#include "host/timers.h"

static struct loop *loop;
static struct clock *clk;
static struct timers *timers;
static struct journal *journal;

static struct record_list rows;
static struct err failure;
static bool answered;

static inline void open_kind(const char *directory, const char *kind)
{
    log_set_level(LOG_LEVEL_OFF);
    loop = loop_new();
    clk = clock_new();
    timers = timers_new(loop, clk);
    journal = journal_new(loop, timers);
    CHECK_INT(journal_place(journal, directory, kind, NULL), 0);
}

static inline void open_journal(const char *directory)
{
    open_kind(directory, "run");
}

static inline void close_journal(void)
{
    journal_free(journal);
    timers_free(timers);
    loop_free(loop);
    clock_free(clk);
    record_list_deinit(&rows);
}

/* A new empty directory, in the sandbox that the runner has made. */
static inline const char *fresh_directory(void)
{
    static char path[128];
    const char *sandbox = getenv("TMPDIR");
    snprintf(path, sizeof path, "%.100s/journal.XXXXXX", sandbox ? sandbox : "/tmp");
    if (!mkdtemp(path)) abort();
    return path;
}

static inline void done_cb(void *ctx, const struct record_list *got, const struct err *err)
{
    (void)ctx;
    answered = true;
    for (size_t i = 0; i < got->count; i++) {
        struct record *copy = record_copy(got->items[i]);
        struct record *place = record_list_add(&rows);
        record_free(place);
        rows.items[rows.count - 1] = copy;
    }
    failure = err ? *err : (struct err){.kind = 0};
}

static inline void put_line(struct record *in, const char *text)
{
    char budget[40], window[16], currency[16], limit[40] = "";
    long long number;
    struct record *line = record_append(in, "lines");
    if (sscanf(text, "%39s %15s %lld %15s %39s", budget, window, &number, currency, limit) < 4) abort();
    record_set_text(line, "budget", budget);
    record_set_text(line, "window", window);
    record_set_integer(line, "number", number);
    record_set_text(line, "currency", currency);
    if (!limit[0]) return;
    char amount[64];
    snprintf(amount, sizeof amount, "%s %s", limit, currency);
    record_set_text(line, "limit", amount);
}

static inline struct record *fields_of(va_list args)
{
    struct record *in = record_new();
    const char *name;
    while ((name = va_arg(args, const char *)) != NULL) {
        const char *value = va_arg(args, const char *);
        if (strcmp(name, "line") == 0)
            put_line(in, value);
        else if (value && value[0] == '#')
            record_set_integer(in, name, strtoll(value + 1, NULL, 10));
        else
            record_set_text(in, name, value);
    }
    return in;
}

static inline void loop_wait(void)
{
    static const struct timespec moment = {0, 50000};
    loop_turn(loop);
    if (!answered) nanosleep(&moment, NULL);
}

/* Takes the record over.  0, or -1: then `failure` says why. */
static inline int ask_record(const char *verb, struct record *in)
{
    record_list_deinit(&rows);
    answered = false;
    journal_call(journal, verb, in, done_cb, NULL);
    while (!answered) loop_wait();
    return failure.kind ? -1 : 0;
}

static inline int ask(const char *verb, ...)
{
    va_list args;
    va_start(args, verb);
    struct record *in = fields_of(args);
    va_end(args);
    return ask_record(verb, in);
}

/* "" if it is not there. */
static inline const char *text_of(size_t row, const char *name)
{
    const char *text = row < rows.count ? record_text(rows.items[row], name) : NULL;
    return text ? text : "";
}

static inline int64_t number_of(size_t row, const char *name)
{
    return row < rows.count ? record_integer(rows.items[row], name) : -1;
}

static inline bool has(size_t row, const char *name)
{
    return row < rows.count && record_type(rows.items[row], name) != RECORD_NONE;
}

#define ASK(...)                                                                                             \
    do {                                                                                                     \
        if (ask(__VA_ARGS__) != 0) printf("%s:%d: %s\n", __FILE__, __LINE__, failure.message);               \
        CHECK_INT(failure.kind, 0);                                                                          \
    } while (0)

/* The question is refused with this code. */
#define REFUSED(want, ...)                                                                                   \
    do {                                                                                                     \
        CHECK_INT(ask(__VA_ARGS__), -1);                                                                     \
        CHECK_STR(failure.code, want);                                                                       \
    } while (0)

/* The three sums of the line that was asked for, as "held unknown spent" without their currency. */
static inline const char *sums_of(const char *line)
{
    static char text[200];
    ask("budget.lines", "line", line, NULL);
    snprintf(text, sizeof text, "%.*s %.*s %.*s", (int)strcspn(text_of(0, "held"), " "), text_of(0, "held"),
             (int)strcspn(text_of(0, "unknown"), " "), text_of(0, "unknown"),
             (int)strcspn(text_of(0, "spent"), " "), text_of(0, "spent"));
    return text;
}

/* 32 hex digits. */
static inline const char *intent(unsigned n)
{
    static char text[4][33];
    static int next;
    char *out = text[next++ % 4];
    snprintf(out, 33, "%032x", n);
    return out;
}

#define RESERVE(n, price, ...)                                                                               \
    ask("permit.reserve", "intent", intent(n), "operation", "create", "service", "deai", "price", price,     \
        __VA_ARGS__)
#define MOVE(n, state, bucket, ...)                                                                          \
    ask("permit.move", "intent", intent(n), "state", state, "bucket", bucket, __VA_ARGS__)
#define SUBMIT(id, name, key, ...)                                                                           \
    ask("job.submit", "id", id, "name", name, "key", key, "service", "sxwl", "kind", "job", "spec", "{}",    \
        "hash", "h1", "state", "planned", __VA_ARGS__)

/* Runs f in a process of its own, and gives its exit status (128 + signal if one ended it). */
static inline int in_child(void (*f)(void *arg), void *arg)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        harness_failed = 0;
        f(arg);
        fflush(stdout);
        _exit(harness_failed ? 1 : 0);
    }
    int status = 0;
    while (waitpid(pid, &status, 0) < 0) continue;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

#endif
