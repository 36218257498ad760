/* files.h - files without blocking the loop.
 *
 * Each job is one verb with everything that belongs to it (a write is temporary file, fsync, rename, fsync
 * of the folder), done with plain system calls on a thread of libuv's pool.  Whoever started it hears from
 * the loop.  A job that was forgotten (files_forget) still runs to its end: files are never left half
 * changed by a cancel.
 *
 * Start and forget on the loop thread only.  Code that runs on the pool touches its own job and nothing
 * else: no log, no list of secrets, no Lua.
 */
#ifndef PERIGEE_FILES_H
#define PERIGEE_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/buf.h"
#include "host/err.h"
#include "host/loop.h"

enum file_verb {
    FILE_READ = 1, /* path, cap -> bytes */
    FILE_WRITE,    /* path, bytes, mode: replaces the whole file or nothing */
    FILE_APPEND,   /* path, bytes, mode, sync */
    FILE_STAT,     /* path, no_follow -> stat; a missing file is no error: found is false */
    FILE_LIST,     /* path -> names, sorted bytewise, each followed by a NUL, in bytes */
    FILE_MKDIR,    /* path with missing parents, mode -> found tells that it was there already */
    FILE_REMOVE,   /* path, recursive -> found tells that there was something to remove */
    FILE_RENAME,   /* path, to: replaces a file of that name */
    FILE_SHA256,   /* path -> bytes: 64 hex digits */
    FILE_OPEN,     /* path -> file, for FILE_READ_NEXT */
    FILE_READ_NEXT /* file, cap -> the next bytes, at most cap; none at the end */
};

/* An open file; counted, since a pool thread may still read when the script has closed it. */
struct file;

struct file_request {
    enum file_verb verb;
    const char *path;
    const char *to;
    const void *bytes;
    size_t n;
    size_t cap;        /* FILE_READ: a longer file is an error of kind limit */
    int mode;          /* permissions; -1: as the file had, else by the umask */
    bool sync;         /* FILE_APPEND: on disk before it is done */
    bool recursive;    /* FILE_REMOVE: a folder with all that is in it; links are not followed */
    bool no_follow;    /* FILE_STAT: the link itself */
    struct file *file; /* FILE_READ_NEXT */
};

struct file_stat {
    char type; /* 'f' file, 'd' folder, 'l' link, 'o' anything else */
    uint64_t size;
    int64_t mtime_ms; /* since 1970 */
    int mode;
};

/* Valid during done(); bytes and file may be taken (set to empty, to NULL). */
struct file_result {
    bool failed;
    struct err err; /* kind unavailable with the errno's name as code; limit; invalid */
    bool found;
    struct buf bytes;
    struct file_stat stat;
    struct file *file;
};

struct file_job;
typedef void (*file_done_fn)(void *ctx, struct file_result *result);

/* Copies the request.  done is called once, from the loop, never from within this call. */
struct file_job *files_start(struct loop *loop, const struct file_request *request, file_done_fn done,
                             void *ctx);

/* done will not be called.  A job that has not begun is not done at all; one that runs is finished. */
void files_forget(struct file_job *job);

/* Gives up the caller's hold; the descriptor is closed with the last one.  file may be NULL. */
void file_release(struct file *file);

/* ---- for whoever works on files itself; any thread ---------------------------------------------------- */

/* err (NULL is allowed) becomes "cannot <what> <path>: …" from errno: kind unavailable, the errno's name as
 * code.  Returns -1. */
int files_fail(struct err *err, const char *what, const char *path);

/* fsync of the folder that holds path, whose entry in it is data as well; 0, or -1 with errno.  Some file
 * systems cannot: that is no error. */
int files_sync_folder(const char *path);

/* 64 lower-case hex digits and a NUL. */
void files_sha256(const void *bytes, size_t n, char out[65]);

#endif
