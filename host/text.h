/* text.h - what text looks like on a terminal: cells, safe bytes, cutting to a width.
 *
 * Text is UTF-8.  Widths come from the C.UTF-8 locale whatever the process runs in, so that Chinese lines up
 * in a container without LANG too.  Pure functions; no output here (host/term.h).
 */
#ifndef PERIGEE_TEXT_H
#define PERIGEE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/buf.h"

/* Length of the colour sequence (ESC [ digits and semicolons m) that s begins with, or 0. */
size_t text_style_len(const char *s, size_t n);

/* Cells the text takes on a terminal.  Colour sequences take none; a byte that is not UTF-8 takes one. */
size_t text_width(const char *s, size_t n);

/* Appends text that is safe to show: control characters (line feed and tab excepted), bytes that are not
 * UTF-8 and characters that turn the reading direction become visible escapes (\x1b, \u{202e}).  A carriage
 * return is kept in front of a line feed only.  keep_styles lets colour sequences through. */
void text_escape(struct buf *out, const char *s, size_t n, bool keep_styles);

/* Appends at most `cells` cells of text; what is left out is marked by an ellipsis in its last cell.  The
 * text must be escaped and of one line. */
void text_cut(struct buf *out, const char *s, size_t n, size_t cells);

#endif
