/* bar.c - composing and timing progress bars. */
#include "host/bar.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "host/mem.h"
#include "host/text.h"

enum {
    DRAW_MS = 100,
    FIRST_LINE_MS = 10 * 1000,        /* plain lines: work shorter than this gets its last line only */
    LONGEST_PAUSE_MS = 5 * 60 * 1000, /* and none is silent for longer than this while it moves */
    RATE_AFTER_MS = 2000,             /* an earlier rate is noise */
    LEAST_BAR = 10,
    MOST_BAR = 30,
    MOST_LABEL = 40
};

struct bar {
    struct term_live live;
    struct term *term;
    struct timers *timers; /* may be NULL */
    struct clock *clock;
    struct timer redraw; /* draws the update that came too soon after another */
    char *label;         /* escaped, one line */
    char *unit;
    double done, total;
    uint64_t started_ms, shown_ms;
    uint64_t pause_ms; /* plain lines: until the next */
};

/* ---- words -------------------------------------------------------------------------------------------- */

static void put_about(struct buf *out, double count, const char *unit)
{
    double whole = round(count);
    buf_printf(out, "about %.0f %s%s", whole, unit, whole == 1 ? "" : "s");
}

static void put_words(struct buf *out, double seconds)
{
    if (seconds < 60)
        buf_puts(out, "less than a minute");
    else if (seconds < 90 * 60)
        put_about(out, seconds / 60, "minute");
    else if (seconds < 36 * 3600)
        put_about(out, seconds / 3600, "hour");
    else
        put_about(out, seconds / 86400, "day");
}

static void put_took(struct buf *out, double seconds)
{
    if (seconds < 60)
        buf_printf(out, "%.1f s", seconds);
    else if (seconds < 3600)
        buf_printf(out, "%d min %02d s", (int)seconds / 60, (int)seconds % 60);
    else
        buf_printf(out, "%d h %02d min", (int)seconds / 3600, (int)seconds / 60 % 60);
}

static bool counts_bytes(const struct bar *bar)
{
    return bar->unit != NULL && strcmp(bar->unit, "bytes") == 0;
}

static void put_bytes(struct buf *out, double n)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    size_t i = 0;
    while (n >= 999.5 && i + 1 < sizeof units / sizeof units[0]) {
        n /= 1000;
        i++;
    }
    buf_printf(out, i == 0 || n >= 99.95 ? "%.0f %s" : "%.1f %s", n, units[i]);
}

static void put_amount(struct buf *out, const struct bar *bar, double n)
{
    if (counts_bytes(bar))
        put_bytes(out, n);
    else
        buf_printf(out, "%.15g", floor(n * 100 + 0.5) / 100);
}

static double elapsed_s(const struct bar *bar)
{
    return (double)(clock_now_ms(bar->clock) - bar->started_ms) / 1000;
}

/* "120 of 500 files", "12.0 MB" */
static void put_count(struct buf *out, const struct bar *bar)
{
    put_amount(out, bar, bar->done);
    if (bar->total > 0) {
        buf_puts(out, " of ");
        put_amount(out, bar, bar->total);
    }
    if (bar->unit && !counts_bytes(bar)) buf_printf(out, " %s", bar->unit);
}

/* ", 12.3 MB/s, about 3 minutes left", as far as known. */
static void put_outlook(struct buf *out, const struct bar *bar)
{
    double elapsed = elapsed_s(bar);
    if (elapsed * 1000 < RATE_AFTER_MS || bar->done <= 0) return;
    double rate = bar->done / elapsed;
    if (counts_bytes(bar)) {
        buf_puts(out, ", ");
        put_bytes(out, rate);
        buf_puts(out, "/s");
    }
    if (bar->total > bar->done) {
        buf_puts(out, ", ");
        put_words(out, (bar->total - bar->done) / rate);
        buf_puts(out, " left");
    }
}

static double fraction(const struct bar *bar)
{
    if (bar->total <= 0) return 0;
    double f = bar->done / bar->total;
    return f < 0 ? 0 : f > 1 ? 1 : f;
}

/* ---- a line on the terminal --------------------------------------------------------------------------- */

static void put_graph(struct buf *out, const struct bar *bar, size_t cells)
{
    bool utf8 = term_has_utf8(bar->term);
    size_t full = (size_t)(fraction(bar) * (double)cells + 0.5);
    if (!utf8) buf_putc(out, '[');
    for (size_t i = 0; i < cells; i++) buf_puts(out, i < full ? (utf8 ? "█" : "#") : (utf8 ? "░" : "-"));
    if (!utf8) buf_putc(out, ']');
}

static void draw_cb(struct term_live *live, size_t columns, struct buf *out)
{
    struct bar *bar = LIST_ENTRY(live, struct bar, live);
    struct buf line = {0}, tail = {0};
    put_count(&tail, bar);
    put_outlook(&tail, bar);
    text_cut(&line, bar->label, strlen(bar->label), MOST_LABEL);
    if (line.len > 0) buf_puts(&line, "  ");
    if (bar->total > 0) {
        size_t used = text_width(line.data, line.len) + text_width(tail.data, tail.len) + 10;
        size_t room = used + LEAST_BAR > columns ? 0 : columns - used;
        if (room > 0) {
            put_graph(&line, bar, room > MOST_BAR ? MOST_BAR : room);
            buf_puts(&line, "  ");
        }
        buf_printf(&line, "%3d%%  ", (int)(fraction(bar) * 100));
    }
    buf_append(&line, tail.data, tail.len);
    text_cut(out, line.data, line.len, columns);
    buf_deinit(&line);
    buf_deinit(&tail);
}

/* ---- a line elsewhere --------------------------------------------------------------------------------- */

static void put_label(struct buf *out, const struct bar *bar)
{
    if (bar->label[0] != '\0') buf_printf(out, "%s: ", bar->label);
}

static void write_plain(struct bar *bar)
{
    struct buf line = {0};
    put_label(&line, bar);
    put_count(&line, bar);
    if (bar->total > 0) buf_printf(&line, " (%d%%)", (int)(fraction(bar) * 100));
    put_outlook(&line, bar);
    buf_putc(&line, '\n');
    term_write_untrusted(bar->term, TERM_ERR, line.data, line.len);
    buf_deinit(&line);
    bar->pause_ms += bar->pause_ms / 2;
    if (bar->pause_ms > LONGEST_PAUSE_MS) bar->pause_ms = LONGEST_PAUSE_MS;
}

/* ---- when to show ------------------------------------------------------------------------------------- */

static bool is_silent(const struct bar *bar)
{
    return !term_wants_progress(bar->term) || term_is_quiet(bar->term);
}

static void show(struct bar *bar)
{
    bar->shown_ms = clock_now_ms(bar->clock);
    if (term_is_live(bar->term))
        term_live_redraw(bar->term);
    else
        write_plain(bar);
}

static void redraw_cb(struct timer *timer)
{
    show(LIST_ENTRY(timer, struct bar, redraw));
}

static void changed(struct bar *bar)
{
    if (is_silent(bar)) return;
    bool live = term_is_live(bar->term);
    uint64_t pause = live ? DRAW_MS : bar->pause_ms;
    uint64_t since = clock_now_ms(bar->clock) - bar->shown_ms;
    if (since >= pause)
        show(bar);
    else if (live && bar->timers && !timer_active(&bar->redraw))
        timer_start_background(bar->timers, &bar->redraw, pause - since, redraw_cb);
}

void bar_set(struct bar *bar, double done)
{
    if (bar->done == done) return;
    bar->done = done;
    changed(bar);
}

void bar_set_total(struct bar *bar, double total)
{
    if (bar->total == total) return;
    bar->total = total;
    changed(bar);
}

static char *safe_line(const char *s, size_t n)
{
    struct buf safe = {0};
    text_escape(&safe, s, n, false);
    for (size_t i = 0; i < safe.len; i++)
        if (strchr("\r\n\t", safe.data[i]) != NULL) safe.data[i] = ' ';
    return buf_take(&safe, NULL);
}

void bar_set_label(struct bar *bar, const char *label, size_t n)
{
    char *safe = safe_line(label, n);
    bool same = strcmp(safe, bar->label) == 0;
    mem_free(bar->label);
    bar->label = safe;
    if (!same) changed(bar);
}

struct bar *bar_new(struct term *term, struct timers *timers, struct clock *clock,
                    const struct bar_options *options)
{
    struct bar *bar = mem_alloc(sizeof *bar);
    const char *label = options->label ? options->label : "";
    bar->live.draw = draw_cb;
    bar->term = term;
    bar->timers = clock_is_virtual(clock) ? NULL : timers;
    bar->clock = clock;
    bar->label = safe_line(label, strlen(label));
    bar->unit = options->unit ? safe_line(options->unit, strlen(options->unit)) : NULL;
    bar->total = options->total;
    bar->started_ms = bar->shown_ms = clock_now_ms(clock);
    bar->pause_ms = FIRST_LINE_MS;
    if (!is_silent(bar) && term_is_live(term)) term_live_add(term, &bar->live);
    return bar;
}

void bar_finish(struct bar *bar, bool failed, const char *note)
{
    if (!is_silent(bar)) {
        struct buf line = {0};
        put_label(&line, bar);
        if (failed) buf_puts(&line, "stopped at ");
        put_count(&line, bar);
        buf_puts(&line, " in ");
        put_took(&line, elapsed_s(bar));
        if (note && note[0] != '\0') buf_printf(&line, ", %s", note);
        buf_putc(&line, '\n');
        term_live_remove(bar->term, &bar->live);
        term_write_untrusted(bar->term, TERM_ERR, line.data, line.len);
        buf_deinit(&line);
    }
    bar_free(bar);
}

void bar_free(struct bar *bar)
{
    if (bar == NULL) return;
    if (bar->timers) timer_stop(bar->timers, &bar->redraw);
    term_live_remove(bar->term, &bar->live);
    mem_free(bar->label);
    mem_free(bar->unit);
    mem_free(bar);
}
