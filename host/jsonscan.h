/* jsonscan.h - one pass over JSON text: is it strict JSON, and what in it would a float-only parser lose?
 *
 * The parser above (host/json.c) is lua-cjson, which turns every number into a float and every empty array
 * into an empty table.  The scan checks the whole grammar, so that the parser never sees anything but JSON,
 * and copies the text with those tokens replaced by strings:
 *
 *   "<prefix>a"           an empty array
 *   "<prefix>n<token>"    a number that a float does not keep, or whose kind the walk could not tell
 *
 * In most texts nothing needs that, and nothing is copied.  Numbers left in place obey: a float with an
 * integral value was an integer token of at most 15 digits; any other was a decimal that prints the same
 * again.  The prefix begins with a byte that cannot occur in UTF-8, and the scan refuses text that is not
 * UTF-8, so no document, escapes included, can forge a marker.  No Lua here, no state.
 */
#ifndef PERIGEE_JSONSCAN_H
#define PERIGEE_JSONSCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/buf.h"
#include "host/err.h"

/* One byte 0xff and 128 random bits in hex. */
enum { JSONSCAN_PREFIX_LEN = 33, JSONSCAN_DEPTH_MOST = 512 };

enum { JSONSCAN_ARRAY = 'a', JSONSCAN_NUMBER = 'n' };

struct jsonscan {
    size_t members;  /* members of all objects, duplicates counted */
    size_t rewrites; /* tokens replaced; if 0, `out` was not touched */
    bool integers;   /* integer tokens were left in place */
};

/* Fills prefix (not NUL-terminated) from the kernel's random source. */
void jsonscan_new_prefix(char prefix[JSONSCAN_PREFIX_LEN]);

/* A marker is up to twelve times as long as what it replaces: max_out bounds the copy. */
struct jsonscan_limits {
    unsigned max_depth; /* at most JSONSCAN_DEPTH_MOST */
    size_t max_out;
};

/* Scans n bytes.  0, or -1 with err: ERR_PARSE with the place, or ERR_LIMIT ("depth" or "size").  Duplicate
 * keys pass: the caller compares `members` with what its parser kept, and asks jsonscan_duplicate on a
 * difference. */
int jsonscan_run(const char *text, size_t n, const char prefix[JSONSCAN_PREFIX_LEN],
                 const struct jsonscan_limits *limits, struct buf *out, struct jsonscan *result,
                 struct err *err);

/* Looks for a key that stands twice in one object of a text that passed the scan: true and the offset of
 * its second appearance. */
bool jsonscan_duplicate(const char *text, size_t n, size_t *offset);

/* Fills err with "JSON at line 2, column 7 (byte 19): what"; returns -1. */
int jsonscan_fail(struct err *err, const char *text, size_t n, size_t offset, const char *what);

/* ---- numbers ------------------------------------------------------------------------------------------ */

enum jsonscan_class {
    JSONSCAN_IS_INTEGER = 1, /* fits 64 bits */
    JSONSCAN_IS_REAL,        /* the double prints the same number again */
    JSONSCAN_IS_EXACT        /* neither: only the token says it all */
};

/* What a number token is best kept as; the token is valid JSON. */
enum jsonscan_class jsonscan_classify(const char *token, size_t n, int64_t *integer, double *real);

/* True if the n bytes are one JSON number and nothing else. */
bool jsonscan_is_number(const char *token, size_t n);

/* Prints a finite double with the fewest digits that read back the same, always with a point or an
 * exponent ("3.0", "0.1", "1e+300"), so that it reads back as a float.  Returns the length. */
enum { JSONSCAN_REAL_SIZE = 32 };
size_t jsonscan_print_real(double value, char out[JSONSCAN_REAL_SIZE]);

#endif
