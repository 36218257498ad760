/* history.h - the file of what was typed at prompts: lines, oldest first, for its owner alone.
 *
 * Several programs add to it at once and none loses a line: each addition is one write under a lock (flock)
 * on the file, and a rewrite puts a new file in its place while it holds that lock; who waited for the old
 * one sees that and opens the new.  What lies at the path is not trusted: a symbolic link, a file of somebody
 * else or with a second name, a folder, a pipe are refused, with code "unsafe".
 * Everything is done at once, without a loop: small local files only.  It does not know what a line means.
 */
#ifndef PERIGEE_HISTORY_H
#define PERIGEE_HISTORY_H

#include <stddef.h>

#include "host/buf.h"
#include "host/err.h"

/* More of a file is not read: of a longer one its end. */
enum { HISTORY_READ_MAX = 16 * 1024 * 1024 };

/* Appends the whole lines of the file to text; none if there is no file.  Lines with control characters (but
 * tabs) or bytes that are no UTF-8 are left out: a terminal might obey them.  0, or -1 and err: kind
 * unavailable, code "unsafe" for what lies there and is no file of ours alone, "ENOENT" where the folder is
 * missing, "system". */
int history_read(const char *path, struct buf *text, struct err *err);

/* Adds n bytes, which end with a line feed, all or none of them; makes the file if it is not there (mode
 * 0600), but no folder.  A line that a crash cut short before is ended first.  -1 and err as above, or code
 * "locked" if others have held the lock for too long: nothing was written, a later call may succeed. */
int history_append(const char *path, const char *lines, size_t n, struct err *err);

/* Keeps the last `most` lines of those that are not in `drop` (drop_n bytes of whole lines); does nothing if
 * that is all of them, or there is no file.  Errors as above; the file is then as it was. */
int history_rewrite(const char *path, size_t most, const char *drop, size_t drop_n, struct err *err);

#endif
