/* editor_complete.c - Tab: what may stand at the cursor is asked for, and put into the line or listed. */
#include <stdlib.h>
#include <string.h>

#include "host/editor_internal.h"
#include "host/editor_line.h"
#include "host/text.h"

enum { GAP = 2, MOST_CELLS = 60, LEAST_ROWS = 3, SPARE_ROWS = 6 };

/* ---- asking ------------------------------------------------------------------------------------------- */

static bool same_line(const struct editor_tab *tab)
{
    size_t n;
    const char *text = line_text(&n);
    return n == tab->text.len && line_point() == tab->point && memcmp(text, buf_str(&tab->text), n) == 0;
}

static void keep_line(struct editor_tab *tab)
{
    size_t n;
    const char *text = line_text(&n);
    buf_clear(&tab->text);
    buf_append(&tab->text, text, n);
    tab->point = line_point();
}

/* Only blanks stand between the start of the cursor's row and the cursor, in a text that has begun. */
static bool is_indent(void)
{
    size_t n, at = line_point();
    const char *text = line_text(&n);
    while (at > 0 && (text[at - 1] == ' ' || text[at - 1] == '\t')) at--;
    return n > 0 && (at == 0 || text[at - 1] == '\n');
}

void editor_tab_pressed(struct editor *ed)
{
    struct editor_tab *tab = &ed->tab;
    if (!editor_has_line(ed)) return;
    if (is_indent()) {
        term_prompt_hide(ed->term);
        line_replace(line_point(), "  ");
        term_prompt_show(ed->term);
        return;
    }
    tab->again = tab->number > 0 && same_line(tab);
    tab->number++;
    tab->fresh = tab->open = true;
    keep_line(tab);
    editor_hold(ed);
    ed->events->tab(ed->ctx);
}

bool editor_has_completion(const struct editor *ed)
{
    return ed->tab.fresh;
}

unsigned long editor_completion_text(struct editor *ed, const char **text, size_t *n, size_t *point)
{
    ed->tab.fresh = false;
    *text = buf_str(&ed->tab.text);
    *n = ed->tab.text.len;
    *point = ed->tab.point;
    return ed->tab.number;
}

/* ---- listing ------------------------------------------------------------------------------------------ */

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct editor_candidate *)a)->text, ((const struct editor_candidate *)b)->text);
}

/* One cell of the table, padded to `cells` unless it is 0. */
static void put_name(struct buf *out, const struct editor_candidate *c, size_t cells)
{
    struct buf safe = {0}, cut = {0};
    const char *name = c->display ? c->display : c->text;
    text_escape(&safe, name, strlen(name), false);
    for (size_t i = 0; i < safe.len; i++)
        if (safe.data[i] == '\n' || safe.data[i] == '\t') safe.data[i] = ' ';
    text_cut(&cut, buf_str(&safe), safe.len, MOST_CELLS);
    buf_append(out, cut.data, cut.len);
    for (size_t width = text_width(buf_str(&cut), cut.len); width < cells; width++) buf_putc(out, ' ');
    buf_deinit(&safe);
    buf_deinit(&cut);
}

static size_t widest(const struct editor_candidate *candidates, size_t count)
{
    size_t most = 1;
    struct buf name = {0};
    for (size_t i = 0; i < count; i++) {
        buf_clear(&name);
        put_name(&name, &candidates[i], 0);
        size_t width = text_width(buf_str(&name), name.len);
        if (width > most) most = width;
    }
    buf_deinit(&name);
    return most;
}

/* Sorted down the columns; at most as many rows as leave the line in sight. */
static void list(struct editor *ed, const struct editor_candidate *candidates, size_t count)
{
    struct buf out = {0};
    size_t cell = widest(candidates, count) + GAP;
    size_t per_row = (size_t)ed->columns / cell;
    size_t most = ed->rows > LEAST_ROWS + SPARE_ROWS ? (size_t)(ed->rows - SPARE_ROWS) : LEAST_ROWS;
    if (per_row == 0) per_row = 1;
    size_t shown = count <= most * per_row ? count : (most - 1) * per_row;
    size_t rows = (shown + per_row - 1) / per_row;
    for (size_t row = 0; row < rows; row++) {
        for (size_t i = row; i < shown; i += rows)
            put_name(&out, &candidates[i], i + rows < shown ? cell : 0);
        buf_putc(&out, '\n');
    }
    if (shown < count) buf_printf(&out, "\u2026 and %zu more\n", count - shown);
    term_write(ed->term, TERM_OUT, buf_str(&out), out.len);
    buf_deinit(&out);
}

/* ---- answering ---------------------------------------------------------------------------------------- */

/* Bytes that all of them begin with, cut at a character. */
static size_t common(const struct editor_candidate *candidates, size_t count)
{
    const char *first = candidates[0].text;
    size_t n = strlen(first);
    for (size_t i = 1; i < count; i++) {
        size_t same = 0;
        while (same < n && first[same] == candidates[i].text[same]) same++;
        n = same;
    }
    while (n > 0 && ((unsigned char)first[n] & 0xC0) == 0x80) n--;
    return n;
}

/* Puts the first n bytes of text in place of what stands before the cursor; false if that changes nothing. */
static bool put(struct editor *ed, size_t from, const char *text, size_t n)
{
    size_t have = ed->tab.point - from;
    if (n < have || (n == have && memcmp(buf_str(&ed->tab.text) + from, text, n) == 0)) return false;
    struct buf part = {0};
    buf_append(&part, text, n);
    term_prompt_hide(ed->term);
    line_replace(from, buf_str(&part));
    term_prompt_show(ed->term);
    buf_deinit(&part);
    return true;
}

static void answer(struct editor *ed, size_t from, struct editor_candidate *candidates, size_t count)
{
    struct editor_tab *tab = &ed->tab;
    if (!editor_has_line(ed) || !same_line(tab) || count == 0 || from > tab->point) return;
    qsort(candidates, count, sizeof *candidates, compare);
    if (count == 1) {
        put(ed, from, candidates[0].text, strlen(candidates[0].text));
        return;
    }
    if (put(ed, from, candidates[0].text, common(candidates, count)))
        keep_line(tab); /* the next Tab lists */
    else if (tab->again)
        list(ed, candidates, count);
}

void editor_complete(struct editor *ed, unsigned long number, size_t from,
                     struct editor_candidate *candidates, size_t count)
{
    if (number == 0 || number != ed->tab.number || !ed->tab.open) return;
    ed->tab.open = false;
    answer(ed, from, candidates, count);
    editor_release(ed);
}
