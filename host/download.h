/* download.h - a reply body written to a file: complete under its name, or not there at all.
 *
 * Bytes go to a temporary name beside the target; when all have come they are flushed to the disk and the
 * file is renamed.  With `resume` the temporary name is fixed (<path>.part) and outlives a failure, and what
 * identified the remote bytes (ETag, else Last-Modified) is kept in <path>.part.tag: the next attempt asks
 * for the rest under that condition, so that halves of two different files are never joined.
 * Loop thread only; flushing happens in libuv's pool.
 */
#ifndef PERIGEE_DOWNLOAD_H
#define PERIGEE_DOWNLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/err.h"
#include "host/loop.h"

struct download;

/* NULL and err if the file cannot be made, or another download of this name is under way. */
struct download *download_open(struct loop *loop, const char *path, bool resume, struct err *err);

/* Bytes that an earlier attempt left and that can be asked to be continued; else 0. */
uint64_t download_offset(const struct download *d);

/* What to send as If-Range when the offset is not 0. */
const char *download_validator(const struct download *d);

enum download_verdict {
    DOWNLOAD_TAKE = 1, /* the body belongs into the file: download_write each piece, then finish */
    DOWNLOAD_COMPLETE, /* the file was complete already: finish; the body is no part of it */
    DOWNLOAD_RESTART,  /* what is there does not fit: ask again without a range (the offset is now 0) */
    DOWNLOAD_REFUSED   /* an answer without the file (404, …): its body belongs to the caller */
};

/* Once for each reply, after its headers.  Header values may be NULL.  sent_range: the request asked for
 * the rest. */
struct download_reply {
    int status;
    bool sent_range;
    const char *etag, *last_modified, *content_range;
};

enum download_verdict download_begin(struct download *d, const struct download_reply *reply);

/* -1 and err (`unavailable`, code ENOSPC and the like) if the disk does not take it. */
int download_write(struct download *d, const void *bytes, size_t n, struct err *err);

/* Bytes in the file so far, those of earlier attempts included. */
uint64_t download_size(const struct download *d);

/* err is NULL when the file is complete under its name and on the disk. */
typedef void (*download_done_fn)(void *ctx, const struct err *err);

/* Flushes, renames, and calls done from the loop; d is gone then. */
void download_finish(struct download *d, download_done_fn done, void *ctx);

/* Ends it at any point, also while it finishes (done will not be called).  NULL is allowed. */
void download_abandon(struct download *d);

#endif
